"""What is installed runs from anywhere: the wheel carries its data, the archive makes the same wheel."""

from __future__ import annotations

import ast
import json
import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import simhw

ROOT = Path(__file__).parent.parent
SHIPPED = {
    f"simhw/_shipped/{path.relative_to(ROOT)}"
    for folder in ("accelerators", "workloads", "traces")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
}


def run(*words: object, where: Path = ROOT) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SIMHW_DATA")}
    command = [str(word) for word in words]
    ran = subprocess.run(command, cwd=where, env=clean, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", folder, source)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_version_is_said_once_and_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == simhw.__version__
    assert f"\nversion: {simhw.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert simhw.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_whole_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_import_from_outside_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {name.partition(">")[0] for name in project["dependencies"]}
    known = {"yaml": "pyyaml", "pandas": None}  # pandas is an extra
    imported = {name for path in (ROOT / "simhw").rglob("*.py") for name in imports_of(path)}
    outside = imported - sys.stdlib_module_names - {"simhw"}
    assert {known.get(name, name) for name in outside} - {None} <= declared


def imports_of(path: Path) -> set[str]:
    """The first words of all that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.long
def test_the_wheel_carries_accelerators_recipes_workloads_and_traces(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names >= SHIPPED
    assert {"simhw/reports/page.css", "simhw/technology/eyeriss_65nm.yaml"} <= names
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.long
def test_the_source_archive_makes_the_same_wheel(wheel, tmp_path):
    (tmp_path / "sdist").mkdir()
    archive = build("sdist", tmp_path / "sdist")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    [source] = [path for path in tmp_path.iterdir() if path.name.startswith("simhw-")]
    (tmp_path / "again").mkdir()
    again = build("wheel", tmp_path / "again", source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
    for name in ("tests", "Makefile", "docs", "benchmarks", "LICENSE", "README.md", "CHANGELOG.md"):
        assert (source / name).exists(), name


@pytest.mark.long
def test_an_installed_wheel_runs_from_another_directory(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        wheel,
    )
    # what simhw depends on comes from this environment, as a plain path: its own .pth files, and with them
    # an editable simhw, are not followed
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    home = run(python, "-c", "import simhw; print(simhw.__file__)", where=elsewhere)
    assert Path(home.strip()).is_relative_to(tmp_path / "venv")
    program = tmp_path / "venv" / "bin" / "simhw"
    assert run(program, "--version", where=elsewhere) == f"simhw {simhw.__version__}\n"
    assert "eyeriss" in run(program, "list", where=elsewhere)
    made = json.loads(run(program, "run", "eyeriss", "lenet_digits", "--json", where=elsewhere))
    assert {layer["output_matches"] for layer in made["layers"]} == {True}
    run(program, "report", "r.json", "-o", "r.html", where=_with_result(elsewhere, made))
    assert (elsewhere / "r.html").stat().st_size > 0


def _with_result(folder: Path, made: dict) -> Path:
    (folder / "r.json").write_text(json.dumps(made))
    return folder
