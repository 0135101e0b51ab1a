"""A timeline read off a schedule's events: what workers did and waited for, what links carried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw.core import packed as column
from simhw.core.engine import Span
from simhw.core.schedule import Played


def spans(played: Played) -> list[Span]:
    """Return what went on in every worker that says what it does, and on every link."""
    found: list[Span] = []
    table, packed = played.table, played.table.packed()
    begun, ended, served, left = played.times
    for group in table.groups:
        for i in range(group.size):
            row, label = packed.units[group.first + i], group.label(i)
            tasks = slice(row[column.FIRST], row[column.FIRST] + row[column.TASKS])
            if group.kind == column.MOVES:
                link = table.links[int(row[column.LINK])]
                found += _spans(link, group.name, served[tasks], left[tasks])
            if group.kind != column.WORKS or not group.doing:
                continue
            done = ended[tasks]
            come = np.concatenate([[0], done[:-1]])
            for wait in packed.waits_of(group.first + i):
                own, others = packed.places(wait)
                events = played.times[wait[column.EVENT]]
                until = np.maximum(come[own], events[packed.units[wait[column.OF], column.FIRST] + others])
                found += _spans(label, group.causes[int(wait[column.CAUSE])], come[own], until)
                come[own] = until
            for k, doing in enumerate(group.doing):
                each = slice(k, None, len(group.doing))
                found += _spans(label, doing, begun[tasks][each], done[each])
    return sorted(found, key=lambda span: (span.start_cycle, span.end_cycle))


def _spans(unit: str, what: str, start: NDArray[Any], end: NDArray[Any]) -> Iterator[Span]:
    """Yield spans, those that took no time and those without a name left out."""
    if what:
        for a, b in zip(start.tolist(), end.tolist(), strict=True):
            if b > a:
                yield Span(unit, what, a, b)
