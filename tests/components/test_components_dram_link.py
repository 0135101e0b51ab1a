"""The link to DRAM: exact to the cycle, one whole transaction at a time, deaf to the order of calls."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timing import finishes_at

from simhw.components.dram_link import DramLink
from simhw.core import Simulation, Span

OWN_MHZ = 200


def link_of(clock_mhz: float = 60, latency_cycles: int = 0, log: bool = False):
    sim = Simulation(clock_mhz=OWN_MHZ, log=log)
    return sim, DramLink(sim, "dram", DramLink.Spec(clock_mhz=clock_mhz, latency_cycles=latency_cycles))


@pytest.mark.parametrize(("words", "cycle"), [(1, 4), (2, 7), (3, 10), (4, 14), (6, 20)])
def test_words_move_one_per_edge_of_a_60_mhz_link(words, cycle):
    _, dram = link_of()
    assert finishes_at(dram.read(0, words), cycle)


def test_a_transaction_begins_with_the_first_edge_after_it_was_asked_for():
    sim, dram = link_of()
    sim.run(until=5)  # the next edge is at 6.67, and a word takes up to the one after, at 10
    assert finishes_at(dram.write(0, 1), 10)


def test_latency_comes_on_top_and_does_not_hold_the_link():
    _, dram = link_of(latency_cycles=5)
    first, second = dram.read(0, 3), dram.read(1, 3)
    assert finishes_at(first, 15)
    assert finishes_at(second, 25)


def test_no_words_take_no_time_and_cost_nothing():
    sim, dram = link_of()
    assert finishes_at(dram.read(0, 0), 0)
    assert sim.ledger.flat() == {}
    assert sim.activity.flat() == {}


def test_transactions_asked_for_at_once_are_served_by_requester():
    _, dram = link_of()
    third, first, second = dram.write(9, 3), dram.read(1, 3), dram.read(4, 3)
    assert finishes_at(first, 10)
    assert finishes_at(second, 20)
    assert finishes_at(third, 30)


def test_who_asked_in_an_earlier_cycle_goes_first():
    sim, dram = link_of()
    running = dram.read(5, 6)
    sim.run(until=2)
    patient = dram.read(9, 3)
    sim.run(until=3)
    hasty = dram.read(0, 3)
    assert finishes_at(running, 20)
    assert finishes_at(patient, 30)
    assert finishes_at(hasty, 40)


def test_a_transaction_is_whole_even_if_a_more_important_one_comes():
    sim, dram = link_of()
    long = dram.read(9, 30)
    sim.run(until=1)
    urgent = dram.read(0, 3)
    assert finishes_at(long, 100)
    assert finishes_at(urgent, 110)


def test_a_link_for_which_someone_always_waits_moves_a_word_with_every_edge():
    _, dram = link_of()
    transactions = [dram.read(requester, 1) for requester in range(9)]
    for n, transaction in enumerate(transactions, start=1):
        assert finishes_at(transaction, ceil(n * Fraction(200, 60)))


def test_words_are_counted_and_cycles_on_the_link_are_busy():
    sim, dram = link_of(log=True)
    dram.read(0, 3, "filters")
    dram.write(1, 6)
    sim.run()
    assert sim.ledger.flat() == {"dram.read": 3, "dram.write": 6}
    assert sim.activity.flat() == {"dram.busy": 30}
    assert sim.timeline == [Span("dram", "filters", 0, 10), Span("dram", "write", 10, 30)]


@dataclass(frozen=True)
class Ask:
    cycle: int
    requester: int
    words: int


ASKS = st.lists(
    st.builds(Ask, st.integers(0, 12), st.integers(0, 5), st.integers(1, 7)),
    max_size=10,
    unique_by=lambda ask: (ask.cycle, ask.requester),
)


def served_by_hand(asks: list[Ask], clock_mhz: float, latency_cycles: int) -> dict[Ask, int]:
    """Serve transactions one after another, in exact time, and return the cycle in which each is done."""
    period = Fraction(OWN_MHZ) / Fraction(str(clock_mhz))
    done: dict[Ask, int] = {}
    waiting, free = sorted(asks, key=lambda ask: (ask.cycle, ask.requester)), Fraction(0)
    while waiting:
        turn = waiting.pop(0)
        start = max(free, ceil(turn.cycle / period) * period)
        free = start + turn.words * period
        done[turn] = ceil(free) + latency_cycles
    return done


def simulated(asks: list[Ask], clock_mhz: float, latency_cycles: int):
    sim, dram = link_of(clock_mhz, latency_cycles)
    done: dict[Ask, int] = {}

    def asking(ask: Ask):
        yield sim.timeout(ask.cycle)
        yield dram.read(ask.requester, ask.words)
        done[ask] = sim.cycle

    for ask in asks:
        sim.process(asking(ask))
    sim.run()
    return done, sim.activity.flat().get("dram.busy", 0)


@given(ASKS, st.sampled_from([60, 66.7, 200, 500, 1]), st.sampled_from([0, 1, 9]), st.randoms())
def test_service_depends_on_cycle_and_requester_and_never_on_the_order_of_calls(asks, mhz, latency, random):
    shuffled = list(asks)
    random.shuffle(shuffled)
    done, busy = simulated(shuffled, mhz, latency)
    assert (done, busy) == simulated(asks, mhz, latency)
    assert done == served_by_hand(asks, mhz, latency)
    assert busy <= max(done.values(), default=0)
