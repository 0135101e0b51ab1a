"""Rows by themselves on one link: the recurrence against the cycle-by-cycle definition, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.column_schedule import (
    BARRIER,
    FILTERS,
    INPUTS,
    NO_FILTER,
    NO_PORTION,
    OUTPUTS,
    STREAM,
    list_units,
    list_units_plain,
)
from simhw.fast.row_schedule import play_rows, play_rows_plain


def drawn(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    rounds, steps, columns, units, rows = (int(rng.integers(1, n)) for n in (5, 3, 4, 4, 5))
    present = rng.integers(0, rows + 1, rounds)
    present[0] = max(present[0], 1)
    room = int(rng.integers(1, 4))
    link = rng.integers(1, 9, (rounds, steps, columns, units))
    link[..., room:][rng.random(link[..., room:].shape) < 0.3] = 0
    link[present == 0] = 0
    link[..., rng.random(columns) < 0.2, :] = 0
    work = rng.integers(0, 20, (*link.shape, rows)) * (link > 0)[..., None]
    work *= np.arange(rows) < present[:, None, None, None, None]
    clock = [(1, 1), (5, 24), (7, 2), (10, 3)][rng.integers(4)]
    moved = [rng.integers(0, 12, (rounds, rows)) * (rng.random((rounds, rows)) < 0.8) for _ in range(4)]
    return (
        work, link, present, *moved, int(rng.integers(1, units + 2)), room, clock, int(rng.choice([0, 0, 5])),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_recurrence_equals_definition(seed: int) -> None:
    case = drawn(seed)
    for one, two in zip(list_units(case[1]), list_units_plain(case[1]), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(play_rows_plain(*case), play_rows(*case), strict=True):
        np.testing.assert_array_equal(one, two)


def two_rows(work: list[list[int]], link: list[int], room: int = 2, **moved: list[list[int]]) -> tuple:
    """Rounds of one unit, one column, two rows: cycles [round][row], words of each unit, a word a cycle."""
    cycles, words = np.array(work).reshape(-1, 1, 1, 1, 2), np.array(link).reshape(-1, 1, 1, 1)
    none = np.zeros((len(work), 2), np.int64)
    moves = [np.array(moved.get(kind, none)) for kind in ("inputs", "carrying", "pooling", "outputs")]
    return play_rows(cycles, words, np.full(len(work), 2), *moves, 1, room, (1, 1), 0)


def test_a_fast_row_goes_on_without_the_slow_one() -> None:
    """Units are there at 1 and 2: the first row works 1-3 and 3-6, the second 1-9 and 9-10."""
    cycles, busy, waits = two_rows([[2, 8], [3, 1]], [1, 1])
    assert (cycles, busy) == (10, 2)
    assert waits[NO_PORTION, :, 0].tolist() == [10 - 6, 0]
    assert waits[FILTERS, :, 0].tolist() == [1, 1]
    assert not waits[[BARRIER, STREAM, NO_FILTER]].any()


def test_a_fast_row_gets_no_further_than_the_units_that_the_slow_one_has_left_room_for() -> None:
    """Unit 2 may come at 9, when the slow row has left unit 0: until then the fast one is not through."""
    cycles, _, waits = two_rows([[2, 8], [3, 1], [1, 1]], [1, 1, 1])
    assert waits[BARRIER, :, 0].tolist() == [9 - 6, 0]
    assert cycles == 11
    assert waits[FILTERS, :, 0].tolist() == [1 + 1, 1]


def test_each_row_waits_for_its_own_inputs_and_outputs() -> None:
    """Inputs come 0-4 and 4-7, the unit 7-8; outputs leave 10-15 and 15-16."""
    cycles, _, waits = two_rows([[2, 2]], [1], inputs=[[4, 3]], outputs=[[5, 1]])
    assert waits[NO_FILTER + INPUTS, :, 0].tolist() == [4, 7]
    assert waits[FILTERS, :, 0].tolist() == [4, 1]
    assert waits[NO_FILTER + OUTPUTS, :, 0].tolist() == [5, 6]
    assert cycles == 16
