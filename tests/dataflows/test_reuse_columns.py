"""The pipeline of the reuse array's twin, by hand: when a product climbs, and when a sum may be read."""

from __future__ import annotations

from typing import Any

import pytest

from simhw.components.arithmetic import Adder
from simhw.components.global_buffer import GlobalBuffer
from simhw.components.reuse_noc import ReuseNoc
from simhw.components.reuse_pe import ReusePE
from simhw.core import Simulation
from simhw.core.machine import Machine, Part
from simhw.stepped.reuse_columns import Columns, Step, Sum, Tile

HERE, THERE = (0, 0, 0, 0), (0, 0, 0, 1)  # two outputs of one filter
BIAS = 1000


def columns(
    rows: int = 3, wide: int = 1, high: int = 3, block_cycles: int = 2, latency: int = 1, sums: int = 9
) -> Columns:
    """Columns whose PEs multiply by 1, 10, 100, ... from the bottom up, so that a sum tells what is in it."""
    sim = Simulation()
    machine = Machine(
        sim,
        {
            "pes": Part(kind=ReusePE, spec=ReusePE.Spec(latency_cycles=latency), rows=rows, columns=wide),
            "psums": Part(kind=Adder, spec=Adder.Spec(), rows=rows, columns=wide),
            "glb": Part(kind=GlobalBuffer, spec=GlobalBuffer.Spec(size_kib=2, filter_kib=1)),
            "noc": Part(kind=ReuseNoc, spec=ReuseNoc.Spec(sum_words_per_cycle=sums)),
        },
    )
    one = Columns(
        *(machine[role] for role in ("pes", "psums", "glb", "noc")),
        bias=[BIAS],
        shifts=[0, 0],
        high=high,
        block_cycles=block_cycles,
    )
    for row in range(rows):
        for column in range(wide):
            one.pes[row, column].coefficients.words[0] = 10**row
    return one


def step(cycle: int, *sums: tuple[int, int, Any, int], value: int = 1) -> Step:
    """A step in which the lowest PEs of columns work: (column, PEs, key, visit) of each sum."""
    work = {(row, column): Sum(key, visit) for column, high, key, visit in sums for row in range(high)}
    return Step(cycle, {place: [value] for place in work}, work, 0)


def work(one: Columns, cycles: int) -> None:
    for cycle in range(cycles):
        one.work(cycle)


def cycles_until_written(one: Columns, key: Any) -> int:
    cycle = 0
    while key not in one.glb.psum.held:
        one.work(cycle)
        cycle += 1
    return cycle


@pytest.mark.parametrize("latency", [0, 1, 4])
@pytest.mark.parametrize("block_cycles", [0, 1, 3])
@pytest.mark.parametrize("high", [1, 2, 3])
def test_a_sum_is_in_the_buffer_after_block_pe_and_an_adder_a_row(high, block_cycles, latency) -> None:
    """It sets out in cycle 0; the block, the PE and each adder take theirs, and the buffer has it then."""
    one = columns(high=high, block_cycles=block_cycles, latency=latency)
    one.enter(step(0, (0, high, HERE, 1)), Tile(None))
    assert cycles_until_written(one, HERE) == 1 + block_cycles + latency + high
    assert one.glb.psum.held[HERE] == BIAS + sum(10**row for row in range(high))


@pytest.mark.parametrize("latency", [0, 1, 20])
def test_steps_on_one_sum_follow_each_other_cycle_by_cycle(latency: int) -> None:
    """The loop through the buffer is the head's adder: latency is paid once, not by each step."""
    one = columns(latency=latency)
    for cycle in range(3 + 2 + latency + 3):
        if cycle < 3:
            one.enter(step(cycle, (0, 3, HERE, cycle + 1), value=cycle + 1), Tile(None))
        one.work(cycle)
        assert one.held.get(HERE, (0, -1))[0] == max(0, cycle - (2 + latency + 3) + 1)
    assert one.glb.psum.held[HERE] == BIAS + 111 * (1 + 2 + 3)


def test_a_sum_with_fewer_pes_climbs_on_as_it_is() -> None:
    """Two PEs of three: the second adder has nothing to add, and the head's place is that of the layer."""
    one = columns()
    one.enter(step(0, (0, 2, HERE, 1)), Tile(None))
    assert cycles_until_written(one, HERE) == 1 + 2 + 1 + 3
    assert one.glb.psum.held[HERE] == BIAS + 11
    assert one.noc.sim.ledger["noc.links", "hop"] == 2
    added = {key: n for key, n in one.noc.sim.ledger.flat().items() if key.startswith("psums")}
    assert added == {"psums[0,0].add": 1, "psums[2,0].add": 1}


def test_a_low_sum_that_sets_out_later_does_not_overtake_a_high_one() -> None:
    one = columns()
    one.enter(step(0, (0, 3, HERE, 1)), Tile(None))
    one.work(0)
    one.enter(step(1, (0, 1, HERE, 2)), Tile(None))
    for cycle in range(1, 9):
        one.work(cycle)
    assert one.glb.psum.held[HERE] == BIAS + 111 + 1


def test_a_sum_read_before_it_is_written_stops_the_twin() -> None:
    """As it would be if the sum joined at the foot: its second visit comes while the first still climbs."""
    one = columns()
    one.enter(step(0, (0, 3, HERE, 2)), Tile(None))
    with pytest.raises(AssertionError, match="a sum is read that is not yet written"):
        cycles_until_written(one, HERE)


def test_a_sum_read_in_the_cycle_in_which_it_is_written_stops_the_twin() -> None:
    one = columns(wide=2)
    one.enter(step(0, (0, 3, HERE, 1), (1, 3, HERE, 2)), Tile(None))
    with pytest.raises(AssertionError, match="a sum is read that is not yet written"):
        cycles_until_written(one, HERE)


def test_a_step_that_does_not_wait_for_the_heads_stops_the_twin() -> None:
    """Two columns, a sum a cycle: each step keeps the heads for two cycles."""
    one = columns(wide=2, sums=1)
    for cycle in range(2):
        one.enter(step(cycle, (0, 3, HERE, cycle + 1), (1, 3, THERE, cycle + 1)), Tile(None))
    with pytest.raises(AssertionError, match="heads that are not free"):
        work(one, 9)


def test_products_of_two_steps_are_not_added_together() -> None:
    """A column whose second PE works for another output than the first."""
    one = columns(high=2)
    wrong = {(0, 0): Sum(HERE, 1), (1, 0): Sum(THERE, 1)}
    one.enter(Step(0, {place: [1] for place in wrong}, wrong, 0), Tile(None))
    with pytest.raises(AssertionError, match="a product meets another's sum"):
        work(one, 9)


def test_coefficients_come_to_a_pe_with_the_sums_that_they_meet() -> None:
    """A word that sets out in cycle 5 is not read by a step that set out in cycle 4, but by one of cycle 6.

    Blocks take two cycles and the third PE is one row behind the second: the words take 2, 2 and 3.
    """
    one = columns(latency=0)
    for cycle in range(13):
        if cycle == 4:
            one.enter(step(cycle, (0, 3, HERE, 1)), Tile(None))
        if cycle == 5:
            for row in range(3):
                one.send_coefficient(cycle, (row, 0), 0, 5)
        if cycle == 6:
            one.enter(step(cycle, (0, 3, THERE, 1)), Tile(None))
        one.work(cycle)
    assert one.glb.psum.held == {HERE: BIAS + 111, THERE: BIAS + 15}
