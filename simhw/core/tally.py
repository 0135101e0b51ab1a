"""Books of whole numbers kept per instance: what was done how often, which cycle went where."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_FEW = 100  # names of single instances: more come from machines whose parts count one by one
_INDEX = re.compile(r"\[[^\]]*\]")
_PLACE = re.compile(r"(?P<grid>[^\[]+)\[(?P<row>\d+),(?P<column>\d+)\](?:\.(?P<part>.+))?$")


@functools.lru_cache(maxsize=4096)
def strip_indexes(path: str) -> str:
    """Return `pes.filter_spad` for `pes[2,3].filter_spad`."""
    return _INDEX.sub("", path)


@functools.lru_cache(maxsize=256)
def _paths(grid: str, names: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return `pes.filter_spad.read` for each of a grid's names."""
    return tuple(f"{grid}.{part}.{what}" if part else f"{grid}.{what}" for part, what in names)


@functools.lru_cache(maxsize=256)
def _places(
    single: tuple[tuple[str, str], ...], grids: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
) -> list[tuple[str, int, list[int]]]:
    """Return the names of grouped counts in their order, and which of all counts, in a row, are each's.

    Of these the first one stands by itself: most have no other.
    """
    paths = [f"{strip_indexes(instance)}.{what}" for instance, what in single]
    paths += [path for grid, names in grids for path in _paths(grid, names)]
    places: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        places.setdefault(path, []).append(i)
    return [(path, where[0], where[1:]) for path, where in sorted(places.items())]


class Tally:
    """Counts under (instance, what), exact whole numbers of any size.

    A grid of equal instances may be booked at once, as one array: a count of `read` for part
    `filter_spad` of grid `pes` stands for `pes[i,j].filter_spad`, `read`, for every i and j.
    """

    def __init__(self) -> None:
        self._single: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._grids: list[tuple[str, Sequence[tuple[str, str]], NDArray[np.int64]]] = []

    def add(self, instance: str, what: str, n: int = 1) -> None:
        self._single[instance, what] += n

    def add_grid(self, grid: str, part: str, what: str, counts: NDArray[np.int64]) -> None:
        self.add_grids(grid, ((part, what),), np.array(counts, dtype=np.int64)[None])

    def add_grids(self, grid: str, names: Sequence[tuple[str, str]], counts: NDArray[np.int64]) -> None:
        """Book counts[i] of a grid under names[i], (part, what); they are kept, not copied."""
        self._grids.append((grid, names, counts))

    def merge(self, other: Tally) -> None:
        """Add all counts of another."""
        for key, n in other._single.items():
            self._single[key] += n
        self._grids += other._grids

    def __getitem__(self, key: tuple[str, str]) -> int:
        instance, what = key
        total = self._single.get(key, 0)
        place = _PLACE.match(instance)
        if place:
            row, column, name = int(place["row"]), int(place["column"]), (place["part"] or "", what)
            for grid, names, counts in self._grids:
                if grid == place["grid"]:
                    total += sum(int(counts[i, row, column]) for i, own in enumerate(names) if own == name)
        return total

    def items(self) -> Iterator[tuple[str, str, int]]:
        """Yield (instance, what, count), zeros left out."""
        for (instance, what), n in self._single.items():
            if n:
                yield instance, what, n
        for grid, names, counts in self._grids:
            for k, i, j in np.argwhere(counts).tolist():
                part, what = names[k]
                yield f"{grid}[{i},{j}]{f'.{part}' if part else ''}", what, int(counts[k, i, j])

    def flat(self) -> dict[str, int]:
        """Return every count under `instance.what`, in the order of the names."""
        merged: defaultdict[str, int] = defaultdict(int)
        for instance, what, n in self.items():
            merged[f"{instance}.{what}"] += n
        return dict(sorted(merged.items()))

    def grouped(self) -> dict[str, int]:
        """Return the sums over the indexes of grids, under `pes.filter_spad.read`."""
        counts = list(self._single.values())
        for _, _, of_grid in self._grids:
            counts += of_grid.reshape(len(of_grid), -1).sum(axis=1).tolist()
        names = tuple(self._single), tuple((grid, tuple(names)) for grid, names, _ in self._grids)
        places = _places(*names) if len(self._single) < _FEW else _places.__wrapped__(*names)
        found: dict[str, int] = {}
        for path, first, others in places:
            n = counts[first]
            for i in others:
                n += counts[i]
            if n:
                found[path] = n
        return found

    def total(self, what: str, of: str = "") -> int:
        """Return the sum of `what` over all instances, or over those whose path begins with `of`."""
        single = (n for (instance, w), n in self._single.items() if w == what and instance.startswith(of))
        return sum(single) + sum(
            int(counts[i].sum())
            for grid, names, counts in self._grids
            if grid.startswith(of)
            for i, (_, w) in enumerate(names)
            if w == what
        )
