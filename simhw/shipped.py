"""Where the files that come with simhw lie: in the package, or beside it in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from simhw.errors import SimhwError, did_you_mean

_PACKAGE = Path(__file__).resolve().parent

# the folders, and what messages call a file of each; one that is not here goes by its last name
KINDS = {
    "accelerators": "accelerator",
    "workloads/recipes": "recipe",
    "accelerators/parameters/speculation": "tuning",
    "accelerators/parameters/speculation/recipes": "recipe",
    "technology": "technology table",
    "traces": "trace",
    "workloads": "workload",
}


def folder(kind: str) -> Path:
    """Return the folder of the shipped files of a kind, one of KINDS."""
    places = (_PACKAGE / "_shipped" / kind, _PACKAGE / kind)
    return next((place for place in places if place.is_dir()), _PACKAGE.parent / kind)


def names(kind: str, suffix: str) -> list[str]:
    """Return the names under which shipped files can be asked for."""
    return sorted(p.name.removesuffix(suffix) for p in folder(kind).glob(f"*{suffix}"))


def find(kind: str, name: str | Path, suffix: str, error: type[SimhwError] = SimhwError) -> Path:
    """Return the file meant by `name`: a path, a file here, or the name of a shipped file.

    A path or a file in the current directory wins over a shipped one.
    """
    given = Path(name)
    for candidate in (given, Path(f"{name}{suffix}")):
        if os.path.isfile(candidate):
            return candidate
    if given.suffix == "" or given.suffix == suffix:
        inside = folder(kind) / f"{given.name.removesuffix(suffix)}{suffix}"
        if given.parent in (Path("."), Path(kind)) and os.path.isfile(inside):
            return inside
    try:
        if given.is_dir():
            raise error(f"{name}: is a directory; wants a {suffix} file")
    except OSError as reason:  # too long a name, or one behind a locked door
        raise error(f"{name}: cannot be read: {reason.strerror}; wants a {suffix} file") from None
    noun = KINDS.get(kind, kind.rpartition("/")[2])
    hint = did_you_mean(given.name.removesuffix(suffix), names(kind, suffix))
    raise error(f"{name}: no such file, and no shipped {noun} has that name{hint}")
