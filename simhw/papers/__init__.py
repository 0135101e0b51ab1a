"""Papers whose numbers are recomputed here, each in a module with `items(data, progress, wanted)`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simhw.errors import SimhwError, did_you_mean

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
