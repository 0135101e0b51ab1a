"""Whole cycles, and who decides last in each of them."""

from __future__ import annotations

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from timing import finishes_at

from simhw.core import ClockDomain, Simulation, Span

CLOCKS = st.decimals("0.1", "5000", places=2).map(float)


def test_an_arbiter_decides_after_everything_else_of_its_cycle():
    sim = Simulation()
    heard: list[str] = []

    def asker(name: str, steps: int):
        yield sim.timeout(4)
        for _ in range(steps):  # the cycle goes on: more events of the same cycle, each made by the last
            yield sim.timeout(0)
        heard.append(f"{name} at {sim.cycle}")

    def first():
        yield sim.timeout(4)
        sim.at_end_of_cycle(lambda: heard.append(f"decided at {sim.cycle}"))

    sim.process(first())
    for steps, name in enumerate(("a", "b", "c")):
        sim.process(asker(name, steps))
    sim.run()
    assert heard == ["a at 4", "b at 4", "c at 4", "decided at 4"]


def test_what_an_arbiter_lets_happen_in_its_own_cycle_comes_before_the_next_arbiter():
    sim = Simulation()
    heard: list[str] = []
    granted = simpy.Event(sim)
    granted.callbacks.append(lambda _: heard.append("granted"))
    sim.at_end_of_cycle(lambda: sim.fire(granted, 0))
    sim.at_end_of_cycle(lambda: heard.append("second arbiter"))
    sim.run()
    assert heard == ["granted", "second arbiter"]


@pytest.mark.parametrize("cycles", [0, 1, 7])
def test_a_fired_event_happens_that_many_cycles_later_with_its_value(cycles):
    sim = Simulation()
    event = simpy.Event(sim)
    sim.fire(event, cycles, "word")
    assert finishes_at(event, cycles)
    assert event.value == "word"
    assert sim.cycle == cycles + 1


def test_nothing_can_be_fired_into_the_past():
    sim = Simulation()
    with pytest.raises(ValueError, match=r"-1 cycles: time only goes forward"):
        sim.fire(simpy.Event(sim), -1)


def test_a_timeline_is_kept_only_if_asked_for_and_holds_no_empty_spans():
    silent, logging = Simulation(), Simulation(log=True)
    for sim in (silent, logging):
        sim.log("dram", "read", 3, 3)
        sim.log("dram", "read", 3, 5)
    assert silent.timeline is None
    assert logging.timeline == [Span("dram", "read", 3, 5)]


def test_time_is_a_whole_number():
    sim = Simulation()
    sim.run(until=3)
    assert sim.cycle == 3
    assert type(sim.cycle) is int


def test_edges_of_60_mhz_are_seen_in_200_mhz_cycles_as_counted_by_hand():
    # an edge every 3 1/3 cycles: at 0, 3.33, 6.67, 10, 13.33, 16.67, 20
    link = ClockDomain(60, 200)
    assert [link.cycle_of(tick) for tick in range(7)] == [0, 4, 7, 10, 14, 17, 20]
    assert [link.tick_from(cycle) for cycle in range(11)] == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_a_faster_clock_has_several_edges_within_a_cycle():
    memory = ClockDomain(500, 200)  # 2.5 edges a cycle
    assert [memory.cycle_of(tick) for tick in range(6)] == [0, 1, 1, 2, 2, 2]
    assert [memory.tick_from(cycle) for cycle in range(4)] == [0, 3, 5, 8]


@given(CLOCKS, CLOCKS, st.integers(0, 10**6))
def test_an_edge_is_seen_never_before_and_less_than_a_cycle_after_it_falls(other, own, tick):
    clock = ClockDomain(other, own)
    late = clock.cycle_of(tick) * round(other * 100) - tick * round(own * 100)  # in 1/100 of both clocks
    assert 0 <= late < round(other * 100)


@given(CLOCKS, CLOCKS, st.integers(0, 10**6))
def test_the_first_edge_from_a_cycle_is_not_before_it_and_the_one_before_is(other, own, cycle):
    clock = ClockDomain(other, own)
    tick = clock.tick_from(cycle)
    assert tick * round(own * 100) >= cycle * round(other * 100)
    assert tick == 0 or (tick - 1) * round(own * 100) < cycle * round(other * 100)
    assert clock.cycle_of(tick) >= cycle


@given(CLOCKS, CLOCKS, st.integers(0, 10**6), st.integers(0, 1000))
def test_time_goes_the_same_way_on_both_clocks(other, own, start, later):
    clock = ClockDomain(other, own)
    assert clock.cycle_of(start) <= clock.cycle_of(start + later)
    assert clock.tick_from(start) <= clock.tick_from(start + later)


def test_a_million_edges_add_up_without_drift():
    assert ClockDomain(60, 200).cycle_of(3 * 10**6) == 10**7
    assert ClockDomain(66.7, 200).cycle_of(667) == 2000
