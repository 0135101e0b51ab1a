"""What a name means: a path, a file here, or a file that comes with simhw, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from simhw import shipped
from simhw.errors import MappingError, SimhwError


def refusal(kind: str, name: str | Path, error: type[SimhwError] = SimhwError) -> str:
    with pytest.raises(error) as refused:
        shipped.find(kind, name, ".yaml", error)
    return str(refused.value)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", shipped.KINDS)
def test_files_of_every_kind_come_with_simhw(kind):
    suffix = ".safetensors" if kind == "traces" else ".yaml"
    names = shipped.names(kind, suffix)
    assert names
    for name in names:
        assert shipped.find(kind, name, suffix) == shipped.folder(kind) / f"{name}{suffix}"


@pytest.mark.parametrize("name", ["eyeriss", "eyeriss.yaml", Path("eyeriss"), "accelerators/eyeriss.yaml"])
def test_a_shipped_file_may_be_asked_for_with_and_without_its_suffix_and_folder(here, name):
    assert shipped.find("accelerators", name, ".yaml") == shipped.folder("accelerators") / "eyeriss.yaml"


@pytest.mark.parametrize("name", ["eyeriss.yml", "chips/eyeriss", "../eyeriss", "/eyeriss"])
def test_other_suffixes_and_folders_are_not_looked_for_among_the_shipped(here, name):
    assert refusal("accelerators", name).startswith(f"{name}: ")


def test_a_file_here_wins_over_a_shipped_one(here):
    Path("eyeriss.yaml").touch()
    assert shipped.find("accelerators", "eyeriss", ".yaml") == Path("eyeriss.yaml")
    Path("eyeriss").touch()
    assert shipped.find("accelerators", "eyeriss", ".yaml") == Path("eyeriss")


def test_a_folder_hides_no_shipped_file(here):
    Path("eyeriss").mkdir()
    assert shipped.find("accelerators", "eyeriss", ".yaml") == shipped.folder("accelerators") / "eyeriss.yaml"
    Path("chips").mkdir()
    assert refusal("accelerators", "chips") == "chips: is a directory; wants a .yaml file"


@pytest.mark.parametrize(
    ("kind", "noun"),
    [
        ("accelerators", "accelerator"),
        ("accelerators/parameters/mapping", "mapping"),
        ("accelerators/parameters/speculation", "tuning"),
        ("technology", "technology table"),
        ("workloads", "workload"),
        ("workloads/recipes", "recipe"),
    ],
)
def test_a_name_of_nothing_is_told_what_it_could_have_been(here, kind, noun):
    known = shipped.names(kind, ".yaml")
    name = f"{known[0]}x"
    assert refusal(kind, name, MappingError) == (
        f"{name}: no such file, and no shipped {noun} has that name; "
        f"did you mean {known[0]!r}? known: {', '.join(known)}"
    )


@pytest.mark.parametrize("name", ["x" * 300, "eyeriss/" + "x" * 300, "/".join(["x"] * 5000)])
def test_a_name_too_long_for_the_file_system_is_told(here, name):
    Path("eyeriss").mkdir()
    assert refusal("accelerators", name) == (
        f"{name}: cannot be read: File name too long; wants a .yaml file"
    )
