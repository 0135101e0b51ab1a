"""A timeline read off a schedule's events: what workers did and waited for, what links carried."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simhw.core import packed as column
from simhw.core.engine import Span
from simhw.core.schedule import Played

Cycles = NDArray[np.int64]


def spans(played: Played) -> list[Span]:
    """Return what went on in every worker that says what it does, and on every link."""
    found: list[tuple[str, str, Cycles, Cycles]] = []
    table, packed = played.table, played.table.packed()
    begun, ended, served, left = played.times
    for group in table.groups:
        for i in range(group.size):
            row, label = packed.units[group.first + i], group.label(i)
            tasks = slice(row[column.FIRST], row[column.FIRST] + row[column.TASKS])
            if group.kind == column.MOVES:
                link = table.links[int(row[column.LINK])]
                found.append((link, group.name, served[tasks], left[tasks]))
            if group.kind != column.WORKS or not group.doing:
                continue
            done = ended[tasks]
            come = np.concatenate([[0], done[:-1]])
            for wait in packed.waits_of(group.first + i):
                own, others = packed.places(wait)
                events = played.times[wait[column.EVENT]]
                until = np.maximum(come[own], events[packed.units[wait[column.OF], column.FIRST] + others])
                found.append((label, group.causes[int(wait[column.CAUSE])], come[own], until))
                come[own] = until
            for k, doing in enumerate(group.doing):
                each = slice(k, None, len(group.doing))
                found.append((label, doing, begun[tasks][each], done[each]))
    return _in_order([group for group in found if group[1]])


def _in_order(found: list[tuple[str, str, Cycles, Cycles]]) -> list[Span]:
    """Return spans of units by their start, those that took no time left out."""
    if not found:
        return []
    units, doings, starts, ends = zip(*found, strict=True)
    which = np.arange(len(found)).repeat([len(cycles) for cycles in starts])
    start, end = np.concatenate(starts), np.concatenate(ends)
    order = np.lexsort((end, start))
    order = order[start[order] < end[order]]
    of = which[order].tolist()
    unit_of, doing_of = map(units.__getitem__, of), map(doings.__getitem__, of)
    return list(map(Span, unit_of, doing_of, start[order].tolist(), end[order].tolist()))
