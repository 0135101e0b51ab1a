"""Books of whole numbers kept per instance: what was done how often, which cycle went where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_INDEX = re.compile(r"\[[^\]]*\]")
_PLACE = re.compile(r"(?P<grid>[^\[]+)\[(?P<row>\d+),(?P<column>\d+)\](?:\.(?P<part>.+))?$")


def strip_indexes(path: str) -> str:
    """Return `pes.filter_spad` for `pes[2,3].filter_spad`."""
    return _INDEX.sub("", path)


class Tally:
    """Counts under (instance, what), exact whole numbers of any size.

    A grid of equal instances may be booked at once, as one array: a count of `read` for part
    `filter_spad` of grid `pes` stands for `pes[i,j].filter_spad`, `read`, for every i and j.
    """

    def __init__(self) -> None:
        self._single: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._grids: dict[tuple[str, str, str], NDArray[np.int64]] = {}

    def add(self, instance: str, what: str, n: int = 1) -> None:
        self._single[instance, what] += n

    def add_grid(self, grid: str, part: str, what: str, counts: NDArray[np.int64]) -> None:
        key = (grid, part, what)
        if key in self._grids:
            self._grids[key] = self._grids[key] + counts
        else:
            self._grids[key] = np.array(counts, dtype=np.int64)

    def __getitem__(self, key: tuple[str, str]) -> int:
        instance, what = key
        total = self._single.get(key, 0)
        place = _PLACE.match(instance)
        if place:
            counts = self._grids.get((place["grid"], place["part"] or "", what))
            if counts is not None:
                total += int(counts[int(place["row"]), int(place["column"])])
        return total

    def items(self) -> Iterator[tuple[str, str, int]]:
        """Yield (instance, what, count), zeros left out."""
        for (instance, what), n in self._single.items():
            if n:
                yield instance, what, n
        for (grid, part, what), counts in self._grids.items():
            tail = f".{part}" if part else ""
            for i, j in zip(*np.nonzero(counts), strict=True):
                yield f"{grid}[{i},{j}]{tail}", what, int(counts[i, j])

    def flat(self) -> dict[str, int]:
        """Return every count under `instance.what`, in the order of the names."""
        merged: defaultdict[str, int] = defaultdict(int)
        for instance, what, n in self.items():
            merged[f"{instance}.{what}"] += n
        return dict(sorted(merged.items()))

    def grouped(self) -> dict[str, int]:
        """Return the sums over the indexes of grids, under `pes.filter_spad.read`."""
        merged: defaultdict[str, int] = defaultdict(int)
        for (instance, what), n in self._single.items():
            merged[f"{strip_indexes(instance)}.{what}"] += n
        for (grid, part, what), counts in self._grids.items():
            merged[".".join(w for w in (grid, part, what) if w)] += int(counts.sum())
        return {k: v for k, v in sorted(merged.items()) if v}

    def total(self, what: str, of: str = "") -> int:
        """Return the sum of `what` over all instances, or over those whose path begins with `of`."""
        single = (n for (instance, w), n in self._single.items() if w == what and instance.startswith(of))
        grids = (counts for (grid, _, w), counts in self._grids.items() if w == what and grid.startswith(of))
        return sum(single) + sum(int(counts.sum()) for counts in grids)
