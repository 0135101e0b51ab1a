"""A schedule as arrays, which is what players read; `simhw.core.schedule` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
WORKS, MOVES, GANGS = 0, 1, 2  # kinds of units
BEGUN, DONE = 0, 1  # events of a task
LISTED = -1  # as a step: the numbers stand in a list

# what a row says of a unit, and of a wait
KIND, TASKS, FIRST, LANES, CYCLES, WORDS, LINK, WAITS, CAUSES, WIDTHS = range(10)
UNIT, OF, EVENT, CAUSE, COUNT, AT, AT_STEP, ON, ON_STEP, UP_TO, UP_TO_STEP = range(11)


@dataclass(frozen=True)
class Ragged:
    """Numbers of tasks, [units, most] of which unit i has the first counts[i]."""

    values: Ints
    counts: Ints


class Packed(NamedTuple):
    """A schedule as arrays, which is what the compiled player reads.

    `units` and `waits` have the columns named at the head of this module; waits lie by unit. Places are a
    first number and a step, or where the list of them begins in `lists`.
    """

    units: NDArray[np.int64]
    waits: NDArray[np.int64]
    first_wait: NDArray[np.int64]  # of each unit, and behind the last
    readers: NDArray[np.int64]  # units that wait for each, one unit's after another's
    first_reader: NDArray[np.int64]
    lists: NDArray[np.int32]
    cycles: NDArray[np.int64]  # of workers
    lane_cycles: Ints  # of gangs
    words: NDArray[np.int64]


def within(values: NDArray[Any], counts: Ints) -> NDArray[np.bool_]:
    """Return which of padded numbers [units, most] count."""
    return np.arange(values.shape[1]) < np.asarray(counts)[:, None]


def spread(first: Any, step: Any, count: Any, lists: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return places as numbers."""
    if step == LISTED:
        return lists[int(first) : int(first) + int(count)].astype(np.int64)
    return int(first) + int(step) * np.arange(int(count), dtype=np.int64)


def joined(arrays: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, kind)
