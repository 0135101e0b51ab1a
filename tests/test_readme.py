"""What README shows is run: its shell blocks one after the other, its Python, and its links are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A directory of its own and an environment in which `simhw` is this one."""
    folder = tmp_path_factory.mktemp("readme")
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "simhw"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m simhw "$@"\n')
    program.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k != "SIMHW_DATA"}
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    return folder, environment


def test_every_command_that_readme_shows_works(elsewhere):
    folder, environment = elsewhere
    script = "set -e\n" + "\n".join(blocks("shell"))
    assert script.count("simhw ") >= 6
    ran = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for name in ("eyeriss.json", "energy.png", "report.html", "timeline.json"):
        assert (folder / name).stat().st_size > 0


def test_the_python_that_readme_shows_works(elsewhere):
    folder, environment = elsewhere
    [code] = blocks("python")
    assert len(code.splitlines()) <= 11
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    first, second = (line.rsplit(" ", 4) for line in ran.stdout.splitlines())
    assert (first[0], second[0]) == ("12 x 14", "12 x 7")
    assert (int(first[2]), int(second[2])) == (12 * 14, 12 * 7)
    assert (folder / "cycles.png").exists()


def test_every_file_that_readme_and_its_neighbours_link_to_is_there():
    for page in ("README.md", "CONTRIBUTING.md", "docs/commands.md", "docs/results.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in link:
                assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_readme_names_every_command_and_no_other():
    from simhw.cli import app

    names = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    assert set(re.findall(r"^\| `simhw (\w+)", README, flags=re.MULTILINE)) == names
