"""Papers whose numbers are recomputed here, each in a module with `items(data, progress, wanted)`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simhw.errors import ResultError, SimhwError, did_you_mean

Progress = Callable[[int, int, str], None]
_NO_PAPERS = ("items",)  # nor is what begins with an underscore


def names() -> list[str]:
    """Return the papers there are."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in _NO_PAPERS and not name.startswith("_"))


def about(name: str) -> str:
    """Return the first line of what a paper's module says of itself."""
    return (importlib.import_module(f"{__name__}.{name}").__doc__ or "").strip().partition("\n")[0]


def reproduce(
    wanted: str | None = None, data: Path | None = None, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Return {"paper", "items"} of a paper, of an item or group of items of one, or of all papers.

    `data` is the folder of weights and images that the papers' networks need; items whose data are
    not there say so.
    """
    paper, _, item = (wanted or "").partition(".")
    if wanted is not None and paper not in names():
        raise SimhwError(f"reproduce: unknown paper {paper!r}{did_you_mean(paper, names())}")
    found = []
    for name in [paper] if wanted is not None else names():
        items = importlib.import_module(f"{__name__}.{name}").items(data, progress, item)
        chosen = [x for x in items if not item or x.id == item or x.id.startswith(f"{item}.")]
        if not chosen:
            # one of hundreds: the groups, and what begins as the one that was meant
            group = item.partition(".")[0]
            near = [x.id for x in items if x.id.startswith(f"{group}.")]
            near = near or list(dict.fromkeys(x.id.partition(".")[0] for x in items))
            raise SimhwError(f"reproduce: {name} has no item {item!r}{did_you_mean(item, near)}")
        found.append({"paper": name, "items": [x.to_dict() for x in chosen]})
    return found


def draw(wanted: str, folder: Path) -> list[Path]:
    """Draw what `wanted` (a paper, or a figure of one: paper.figure9) names, into a folder that is made.

    Return the files. A paper that has figures to draw has a module of them, with a function for each.
    """
    paper, _, item = wanted.partition(".")
    item = item.partition(".")[0]
    drawable = {name: module for name in names() if (module := _figures(name)) is not None}
    known = {name: [f for f in vars(module) if f.startswith("figure")] for name, module in drawable.items()}
    known = {name: [f for f in found if "_" not in f] for name, found in known.items()}
    chosen = [figure for figure in known.get(paper, ()) if item in ("", figure)]
    if not chosen:
        listed = ", ".join(f"{name}.{figure}" for name, found in known.items() for figure in found)
        raise ResultError(f"--plots: draws {listed}; name one, or {' or '.join(known)} for all")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be made: {error.strerror}; wants a folder") from None
    return [file for figure in chosen for file in getattr(drawable[paper], figure)(folder)]


def _figures(paper: str) -> Any:
    """Return the module of a paper's figures, or None where it has none."""
    try:
        return importlib.import_module(f"{__name__}.{paper}.figures")
    except ModuleNotFoundError as missing:
        if missing.name not in (f"{__name__}.{paper}", f"{__name__}.{paper}.figures"):
            raise
        return None
