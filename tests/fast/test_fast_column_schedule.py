"""Rounds of columns on one link: the recurrence against the cycle-by-cycle definition, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.column_schedule import (
    BARRIER,
    CYCLES,
    FILTERS,
    INPUTS,
    NO_FILTER,
    NO_PORTION,
    OUTPUTS,
    ROW_BUS,
    STREAM,
    play_columns,
    play_columns_plain,
)


def drawn(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    rounds, steps, columns, units, rows = (int(rng.integers(1, n)) for n in (4, 3, 4, 4, 4))
    present = rng.integers(1, rows + 1, rounds)
    link = rng.integers(1, 9, (rounds, steps, columns, units))
    link[rng.random(link.shape) < 0.3] = 0
    work = rng.integers(0, 20, (*link.shape, rows)) * (link > 0)[..., None]
    work *= np.arange(rows) < present[:, None, None, None, None]
    clock = [(1, 1), (5, 24), (7, 2), (10, 3)][rng.integers(4)]
    moved = [rng.integers(0, 12, rounds) * (rng.random(rounds) < 0.8) for _ in range(4)]
    return (
        work, link, present, moved[0], moved[1], moved[2], moved[3],
        int(rng.integers(1, 4)), clock, int(rng.choice([0, 0, 5])),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(120))
def test_recurrence_equals_definition(seed: int) -> None:
    case = drawn(seed)
    for one, two in zip(play_columns_plain(*case), play_columns(*case), strict=True):
        np.testing.assert_array_equal(one, two)


def one_column(work: list[list[int]], link: list[int], room: int = 2) -> tuple:
    """A round with one column: cycles of each unit by row, words of each unit; a link of a word a cycle."""
    units = np.array(work).reshape(1, 1, 1, len(work), -1)
    words, none = np.array(link).reshape(1, 1, 1, -1), np.zeros(1, np.int64)
    return play_columns(units, words, np.array([units.shape[-1]]), none, none, none, none, room, (1, 1), 0)


def test_a_unit_loads_while_the_one_before_it_is_used() -> None:
    summary, waits, _ = one_column([[10], [10]], [3, 4])
    assert summary[CYCLES] == 3 + 10 + 10
    assert waits[FILTERS, 0, 0] == 3


def test_with_room_for_one_unit_loading_and_using_take_turns() -> None:
    summary, waits, _ = one_column([[10], [10]], [3, 4], room=1)
    assert summary[CYCLES] == 3 + 10 + 4 + 10
    assert waits[FILTERS, 0, 0] == 7


def test_a_slow_pe_holds_back_the_unit_that_would_take_its_place() -> None:
    """Unit 2 may come once both PEs have left unit 0: at 1 + 9; the fast one has waited since 3."""
    summary, waits, _ = one_column([[1, 9], [1, 1], [1, 1]], [1, 1, 1])
    assert summary[CYCLES] == 1 + 9 + 1 + 1
    assert waits[STREAM, 0, 0] == 10 - 3
    assert waits[FILTERS, 0, 0] == 1 + 1
    assert waits[BARRIER].tolist() == [[0], [0]]


def test_rounds_wait_for_inputs_and_for_the_outputs_before_them() -> None:
    work, link = np.full((2, 1, 1, 1, 1), 5), np.ones((2, 1, 1, 1), np.int64)
    inputs, none, outputs = np.array([4, 4]), np.zeros(2, np.int64), np.array([7, 7])
    summary, _, spans = play_columns(work, link, np.array([1, 1]), inputs, none, none, outputs, 2, (1, 1), 0)
    # inputs 0-4, filters of both rounds 4-6; round one 5-10; inputs 10-14, outputs 14-21; round two 21-26
    assert spans.tolist() == [[5 - 1, 10], [21, 26]]
    assert summary[[CYCLES, INPUTS, OUTPUTS]].tolist() == [33, 8, 7 + 7]


def test_inputs_are_carried_while_they_are_read() -> None:
    work, link = np.full((1, 1, 1, 1, 1), 5), np.ones((1, 1, 1, 1), np.int64)
    none, one = np.zeros(1, np.int64), np.array([1])
    for words, carrying, begins in ((4, 3, 4), (4, 9, 9), (0, 9, 9)):
        summary, _, spans = play_columns(
            work, link, one, np.array([words]), np.array([carrying]), none, none, 2, (1, 1), 0
        )
        assert spans[0, 0] == begins
        assert summary[INPUTS] + summary[ROW_BUS] == begins


def test_pes_without_a_portion_or_a_filter_are_booked_so() -> None:
    work = np.zeros((1, 1, 2, 1, 2), np.int64)
    work[0, 0, 0, 0, 0] = 6
    link, none = np.array([1, 0]).reshape(1, 1, 2, 1), np.zeros(1, np.int64)
    _, waits, _ = play_columns(work, link, np.array([1]), none, none, none, none, 2, (1, 1), 0)
    assert waits[NO_PORTION].tolist() == [[0, 0], [7, 7]]
    assert waits[NO_FILTER].tolist() == [[0, 7], [0, 0]]
