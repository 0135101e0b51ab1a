"""A schedule as arrays, which is what players read; `simhw.core.schedule` writes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
WORKS, MOVES, GANGS = 0, 1, 2  # kinds of units
BEGUN, DONE = 0, 1  # events of a task
LISTED = -1  # as a step: the numbers stand in a list

# What a row says of a unit: where its tasks begin among all, its lengths among `cycles`, `lane_cycles` or
# `words`, its charges among all; WIDTHS is where the lanes of its tasks are listed, or LISTED for all lanes.
KIND, TASKS, FIRST, LANES, LENGTHS, LINK, CHARGES, WIDTHS = range(8)
# and of a wait: tasks AT, AT + AT_STEP, ... of UNIT wait for those ON, ON + ON_STEP, ... of OF
UNIT, OF, EVENT, CAUSE, COUNT, AT, AT_STEP, ON, ON_STEP, UP_TO, UP_TO_STEP = range(11)


class Ragged(NamedTuple):
    """Numbers of tasks, [units, most] of which unit i has the first counts[i], or as many as all others."""

    values: Ints
    counts: int | Ints


class Packed(NamedTuple):
    """A schedule as arrays; waits lie in the order in which they were declared.

    Places are a first number and a step, or where the list of them begins in `lists`.
    """

    units: NDArray[np.int64]
    waits: NDArray[np.int64]
    lists: NDArray[np.int32]
    cycles: NDArray[np.int64]  # of workers
    lane_cycles: Ints  # of gangs
    words: NDArray[np.int64]
    tasks: int  # in all, those that pad a group included
    charges: int  # numbers of lanes and causes

    def waits_of(self, unit: int) -> list[NDArray[np.int64]]:
        """Return the rows of a unit's waits, in order."""
        return list(self.waits[self.waits[:, UNIT] == unit])

    def places(self, wait: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which tasks wait, and for which."""
        return self._spread(wait, AT, AT_STEP), self._spread(wait, ON, ON_STEP)

    def up_to(self, wait: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many lanes of each of the tasks wait."""
        return self._spread(wait, UP_TO, UP_TO_STEP)

    def widths(self, unit: int) -> NDArray[np.int64]:
        """Return how many lanes take part in each task of a unit."""
        row = self.units[unit]
        if row[WIDTHS] == LISTED:
            return np.full(int(row[TASKS]), row[LANES])
        return _cut(self.lists, row[WIDTHS], row[TASKS]).astype(np.int64)

    def lengths(self, unit: int) -> Ints:
        """Return the cycles of each task [tasks, lanes], or the words it moves."""
        row = self.units[unit]
        block = {WORKS: self.cycles, MOVES: self.words, GANGS: self.lane_cycles}[int(row[KIND])]
        return _cut(block, row[LENGTHS], row[TASKS] * row[LANES]).reshape(row[TASKS], row[LANES])

    def _spread(self, wait: NDArray[np.int64], first: int, step: int) -> NDArray[np.int64]:
        if wait[step] == LISTED:
            return _cut(self.lists, wait[first], wait[COUNT]).astype(np.int64)
        steps: NDArray[np.int64] = np.arange(int(wait[COUNT]))
        return int(wait[first]) + int(wait[step]) * steps


def _cut(numbers: Any, first: Any, count: Any) -> Any:
    return numbers[first : first + count]
