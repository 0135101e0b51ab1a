"""Where the files that come with simhw lie: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from simhw.errors import SimhwError, did_you_mean

_PACKAGE = Path(__file__).resolve().parent


def folder(kind: str) -> Path:
    """Return the folder of shipped `accelerators`, `workloads` or `traces`."""
    inside = _PACKAGE / "_shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def names(kind: str, suffix: str) -> list[str]:
    """Return the names under which shipped files can be asked for."""
    return sorted(p.name.removesuffix(suffix) for p in folder(kind).glob(f"*{suffix}"))


def find(kind: str, name: str | Path, suffix: str, error: type[SimhwError] = SimhwError) -> Path:
    """Return the file meant by `name`: a path, a file here, or the name of a shipped file.

    A path or a file in the current directory wins over a shipped one.
    """
    given = Path(name)
    for candidate in (given, Path(f"{name}{suffix}")):
        if candidate.is_file():
            return candidate
    if given.is_dir():
        raise error(f"{name}: is a directory; wants a {suffix} file")
    if given.suffix == "" or given.suffix == suffix:
        inside = folder(kind) / f"{given.name.removesuffix(suffix)}{suffix}"
        if given.parent in (Path("."), Path(kind)) and inside.is_file():
            return inside
    hint = did_you_mean(given.name.removesuffix(suffix), names(kind, suffix))
    raise error(f"{name}: no such file, and no shipped {kind.removesuffix('s')} has that name{hint}")
