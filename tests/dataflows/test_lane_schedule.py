"""SnaPEA's rounds as a schedule: both players and the shortcut find the same, and cases counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simhw.core import ClockDomain, SteadyLink
from simhw.core.player import play as play_processes
from simhw.dataflows.lane_schedule import WAITS, Ended, Moves, Rounds, read_off, shortcut, tabulate
from simhw.fast.column_schedule import list_units, list_units_plain
from simhw.play import play

EVERY_CYCLE = (1, 1)


def link(clock=EVERY_CYCLE, latency_cycles=0):
    cycles, ticks = clock
    return SteadyLink(ClockDomain(100 * ticks / cycles, 100), latency_cycles)


def drawn(seed: int, by_row: bool) -> tuple[Rounds, tuple[int, int], int]:
    rng = np.random.default_rng(seed)
    n, steps, columns, units, rows = (int(rng.integers(1, n)) for n in (5, 3, 4, 4, 5))
    present = rng.integers(0 if by_row else 1, rows + 1, n)
    present[0] = max(present[0], 1)
    room = int(rng.integers(1, 4))
    words = rng.integers(1, 9, (n, steps, columns, units))
    dropped = words[..., room:] if by_row else words
    dropped[rng.random(dropped.shape) < 0.3] = 0
    words[present == 0] = 0
    words[..., rng.random(columns) < 0.2, :] = 0
    work = rng.integers(0, 20, (*words.shape, rows)) * (words > 0)[..., None]
    work *= np.arange(rows) < present[:, None, None, None, None]
    size = (n, rows) if by_row else (n,)
    moved = [rng.integers(0, 12, size) * (rng.random(size) < 0.8) for _ in range(4)]
    rounds = Rounds(
        work=work,
        link=words,
        present=present,
        moves=Moves(inputs=moved[0], carrying=moved[1], pooling=moved[2], outputs=moved[3]),
        room=room,
        by_row=by_row,
        whole_units=int(rng.integers(1, units + 2)),
    )
    clock = [EVERY_CYCLE, (5, 24), (7, 2), (10, 3)][rng.integers(4)]
    return rounds, clock, int(rng.choice([0, 0, 5]))


def assert_alike(one: Ended, other: Ended) -> None:
    assert (one.cycles, one.busy, one.moved, one.stalls) == (
        other.cycles,
        other.busy,
        other.moved,
        other.stalls,
    )
    np.testing.assert_array_equal(one.waits, other.waits)


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("block", range(10))
def test_players_and_shortcut_find_the_same(block: int, by_row: bool) -> None:
    for seed in range(12 * block, 12 * block + 12):
        rounds, clock, latency = drawn(seed, by_row)
        table = tabulate(rounds)
        found = [
            read_off(rounds, player(table, {"dram": link(clock, latency)}))
            for player in (play, play_processes)
        ]
        assert_alike(*found)
        short = shortcut(rounds, link(clock, latency))
        assert (short is None) == by_row
        if short is not None:
            assert_alike(short, found[0])
        for one, two in zip(list_units(rounds.link), list_units_plain(rounds.link), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.long
@pytest.mark.parametrize("block", range(10))
def test_the_shortcut_is_the_schedule_on_many_drawn_rounds(block: int) -> None:
    for seed in range(1000 + 500 * block, 1500 + 500 * block):
        rounds, clock, latency = drawn(seed, False)
        short = shortcut(rounds, link(clock, latency))
        assert short is not None
        assert_alike(short, read_off(rounds, play(tabulate(rounds), {"dram": link(clock, latency)})))


def test_numbers_that_may_overflow_take_no_shortcut() -> None:
    rounds, _, _ = drawn(0, False)
    assert shortcut(rounds, link()) is not None
    assert shortcut(replace(rounds, work=rounds.work + (1 << 60)), link()) is None


def ended(work: list, words: list, *, room: int = 2, by_row: bool = False, present=None, **moved) -> dict:
    """Play rounds [round, step, column, unit, row] of cycles, a word a cycle, and return waits by cause."""
    cycles = np.array(work)
    each = (len(cycles), cycles.shape[4]) if by_row else (len(cycles),)
    moves = {
        kind: np.array(moved.get(kind, np.zeros(each, np.int64)))
        for kind in ("inputs", "carrying", "pooling", "outputs")
    }
    rounds = Rounds(
        work=cycles,
        link=np.array(words),
        present=np.full(len(cycles), cycles.shape[4]) if present is None else np.array(present),
        moves=Moves(**moves),
        room=room,
        by_row=by_row,
        whole_units=1,
    )
    found = read_off(rounds, play(tabulate(rounds), {"dram": link()}))
    return {"cycles": found.cycles, "busy": found.busy["dram"], "stalls": found.stalls} | {
        cause: waits.tolist() for cause, waits in zip(WAITS, found.waits, strict=True)
    }


def one_column(units: list[list[int]], words: list[int], room: int = 2) -> dict:
    """A round with one column: cycles of each unit by row, words of each unit."""
    return ended([[[units]]], [[[words]]], room=room)


def test_a_unit_loads_while_the_one_before_it_is_used() -> None:
    found = one_column([[10], [10]], [3, 4])
    assert found["cycles"] == 3 + 10 + 10
    assert found["dram_filters"] == [[3]]


def test_with_room_for_one_unit_loading_and_using_take_turns() -> None:
    found = one_column([[10], [10]], [3, 4], room=1)
    assert found["cycles"] == 3 + 10 + 4 + 10
    assert found["dram_filters"] == [[7]]


def test_a_slow_pe_holds_back_the_unit_that_would_take_its_place() -> None:
    """Unit 2 may come once both PEs have left unit 0: at 1 + 9; the fast one has waited since 3."""
    found = one_column([[1, 9], [1, 1], [1, 1]], [1, 1, 1])
    assert found["cycles"] == 1 + 9 + 1 + 1
    assert found["stream"][0] == [10 - 3]
    assert found["dram_filters"][0] == [1 + 1]
    assert found["barrier"] == [[0], [0]]


def test_rounds_wait_for_inputs_and_for_the_outputs_before_them() -> None:
    """Inputs to 4, both filters to 6; round one to 10; inputs to 14, outputs to 21; round two to 26."""
    found = ended(np.full((2, 1, 1, 1, 1), 5), np.ones((2, 1, 1, 1), int), inputs=[4, 4], outputs=[7, 7])
    assert found["cycles"] == 33
    assert (found["stalls"]["dram_inputs"], found["stalls"]["dram_outputs"]) == (8, 7 + 7)


@pytest.mark.parametrize(("words", "carrying", "begins"), [(4, 3, 4), (4, 9, 9), (0, 9, 9)])
def test_inputs_are_carried_while_they_are_read(words: int, carrying: int, begins: int) -> None:
    found = ended([[[[[5]]]]], [[[[1]]]], inputs=[words], carrying=[carrying])
    assert found["stalls"]["dram_inputs"] + found["stalls"]["row_bus"] == begins


def test_pes_without_a_portion_or_a_filter_are_booked_so() -> None:
    found = ended([[[[[6, 0]], [[0, 0]]]]], [[[[1], [0]]]], present=[1])
    assert found["no_portion"] == [[0, 0], [7, 7]]
    assert found["no_filter"] == [[0, 7], [0, 0]]


def two_rows(work: list[list[int]], words: list[int], **moved: list[list[int]]) -> dict:
    """Rounds of one unit, one column, two rows that meet by themselves: cycles [round][row]."""
    cycles = np.array(work).reshape(-1, 1, 1, 1, 2)
    return ended(cycles, np.array(words).reshape(-1, 1, 1, 1), by_row=True, **moved)


def test_a_fast_row_goes_on_without_the_slow_one() -> None:
    """Units are there at 1 and 2: the first row works 1-3 and 3-6, the second 1-9 and 9-10."""
    found = two_rows([[2, 8], [3, 1]], [1, 1])
    assert (found["cycles"], found["busy"]) == (10, 2)
    assert found["no_portion"] == [[10 - 6], [0]]
    assert found["dram_filters"] == [[1], [1]]
    assert found["barrier"] == found["stream"] == found["no_filter"] == [[0], [0]]


def test_a_fast_row_gets_no_further_than_the_units_that_the_slow_one_has_left_room_for() -> None:
    """Unit 2 may come at 9, when the slow row has left unit 0: until then the fast one is not through."""
    found = two_rows([[2, 8], [3, 1], [1, 1]], [1, 1, 1])
    assert found["barrier"] == [[9 - 6], [0]]
    assert found["cycles"] == 11
    assert found["dram_filters"] == [[1 + 1], [1]]


def test_each_row_waits_for_its_own_inputs_and_outputs() -> None:
    """Inputs come 0-4 and 4-7, the unit 7-8; outputs leave 10-15 and 15-16."""
    found = two_rows([[2, 2]], [1], inputs=[[4, 3]], outputs=[[5, 1]])
    assert found["dram_inputs"] == [[4], [7]]
    assert found["dram_filters"] == [[4], [1]]
    assert found["dram_outputs"] == [[5], [6]]
    assert found["cycles"] == 16
