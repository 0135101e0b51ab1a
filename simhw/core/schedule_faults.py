"""Why a schedule cannot be played: the first fault that a player would meet, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simhw.core import packed as column
from simhw.core.link import Link
from simhw.core.packed import Packed
from simhw.core.schedule import LONGEST, Schedule
from simhw.errors import ScheduleError

WANTS_LENGTH = {column.WORKS: "cycles", column.GANGS: "cycles", column.MOVES: "words"}


def refuse(table: Schedule) -> None:
    """Raise what a schedule cannot mean, whenever it is played; it may still never end."""
    packed = table.packed()
    for unit, row in enumerate(packed.units):
        lengths = packed.lengths(unit)
        if lengths.size and lengths.min() < 0:
            task = int(np.argmax((lengths < 0).any(axis=1)))
            raise ScheduleError(
                f"schedule: {table.task(unit, task)}: takes {lengths[task].min()} "
                f"{WANTS_LENGTH[int(row[column.KIND])]}; wants at least 0"
            )
        widths = packed.widths(unit)
        wrong = np.flatnonzero((widths < 1) | (widths > row[column.LANES]))
        if wrong.size:
            raise ScheduleError(
                f"schedule: {table.task(unit, int(wrong[0]))}: has {widths[wrong[0]]} lanes; "
                f"wants 1 to {row[column.LANES]}"
            )
    for wait in packed.waits:
        _refuse_wait(table, packed, wait)


def _refuse_wait(table: Schedule, packed: Packed, wait: NDArray[np.int64]) -> None:
    own, of = int(wait[column.UNIT]), int(wait[column.OF])
    tasks, others = packed.places(wait)
    for unit, named in ((own, tasks), (of, others)):
        there = int(packed.units[unit, column.TASKS])
        absent = named[(named < 0) | (named >= there)]
        if absent.size:
            raise ScheduleError(
                f"schedule: {table.task(unit, int(absent[0]))}: is no task; "
                f"{table.label(unit)} has {there}, from 0 on"
            )
    if (np.diff(tasks) <= 0).any():
        raise ScheduleError(
            f"schedule: {table.label(own)}: a wait names its tasks out of order, or one twice; "
            "wants each once, the first first"
        )
    lanes, up_to = int(packed.units[own, column.LANES]), packed.up_to(wait)
    wrong = np.flatnonzero((up_to < 1) | (up_to > lanes))
    if wrong.size:
        raise ScheduleError(
            f"schedule: {table.task(own, int(tasks[wrong[0]]))}: {up_to[wrong[0]]} of its lanes wait; "
            f"wants 1 to {lanes}"
        )
    later = np.flatnonzero(others >= tasks)
    if own == of and later.size:
        task, for_task = (table.task(own, int(named[later[0]])) for named in (tasks, others))
        raise ScheduleError(
            f"schedule: {task}: waits for {for_task}; a task can wait only for earlier ones of its own unit"
        )


def links_of(table: Schedule, links: Mapping[str, Link]) -> list[Link]:
    """Return the links that a schedule names, in its order."""
    for name in table.links:
        if name not in links:
            known = ", ".join(sorted(links)) or "none"
            raise ScheduleError(f"schedule: no link {name!r}; known: {known}")
    return [links[name] for name in table.links]


def why_not(
    table: Schedule, came: NDArray[np.int64], went: NDArray[np.int64], *, long: bool = False
) -> ScheduleError:
    """Return why a schedule came to no end: as a rule a circle of waits, or it takes too `long`.

    `came` and `went` are how many tasks of each unit began, and were done.
    """
    try:
        refuse(table)
    except ScheduleError as fault:
        return fault
    if long:
        return too_long()
    return _circle(table, came, went)


def too_long() -> ScheduleError:
    return ScheduleError(f"schedule: takes {LONGEST:.1e} cycles, or edges of a clock, or more; wants fewer")


def _circle(table: Schedule, came: NDArray[np.int64], went: NDArray[np.int64]) -> ScheduleError:
    packed = table.packed()
    unit = int(np.flatnonzero(came < packed.units[:, column.TASKS])[0])
    seen: list[int] = []
    said: list[str] = []
    while unit not in seen:
        seen.append(unit)
        of, task, event = _unmet(packed, unit, came, went)
        said.append(
            f"{table.task(unit, int(came[unit]))} waits for {table.task(of, task)} "
            f"to {('begin', 'be done')[event]}"
        )
        unit = of
    return ScheduleError(f"schedule: never ends: {'; '.join(said[seen.index(unit) :])}")


def _unmet(
    packed: Packed, unit: int, came: NDArray[np.int64], went: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Return the first thing that a unit's next task waits for and that has not come: unit, task, event."""
    for wait in packed.waits_of(unit):
        tasks, others = packed.places(wait)
        of, event = int(wait[column.OF]), int(wait[column.EVENT])
        for other in others[tasks == came[unit]].tolist():
            if other >= (went if event == column.DONE else came)[of]:
                return of, other, event
    raise AssertionError(f"unit {unit} waits for nothing")
