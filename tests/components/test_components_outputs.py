"""Activation and run-length code, between the array and DRAM; buses and links on the way there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhw.components.multicast_noc import MulticastNoc
from simhw.components.output_units import Relu, RunLengthCodec
from simhw.core import Simulation


@pytest.mark.parametrize(
    ("value", "cap", "result"),
    [(5, None, 5), (-5, None, 0), (0, None, 0), (5, 6, 5), (7, 6, 6), (-7, 6, 0)],
)
def test_relu_cuts_below_zero_and_relu6_also_above(value, cap, result):
    relu = Relu(Simulation(), "relu", Relu.Spec())
    assert relu.apply(value, cap) == result
    assert relu.sim.ledger.flat() == {"relu.apply": 1}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], []),
        ([7], [0]),
        ([1, 2, 3, 4], [0, 0, 0, 1]),  # no zeros: a pair for each value, three pairs to a word
        ([0] * 31 + [5], [0] * 32),  # 31 zeros and the level after them are one pair
        ([0] * 32 + [5], [0] * 33),  # the 32nd zero ends a pair; the level is a pair of its own
        ([0] * 96 + [5], [0] * 96 + [1]),  # 96 zeros are three pairs of 32
        ([0, 0, 0], [0, 0, 0]),  # zeros at the end are a pair whose level is zero
    ],
)
def test_values_share_words_as_counted_by_hand(values, words):
    assert RunLengthCodec.words_of(values) == words


def words_by_hand(values: list[int]) -> int:
    """Count pairs of (run, level) greedily, and three of them to a word."""
    pairs, rest = 0, list(values)
    while rest:
        run = 0
        while run < 31 and run < len(rest) - 1 and rest[run] == 0:
            run += 1
        del rest[: run + 1]
        pairs += 1
    return -(-pairs // 3)


@given(st.lists(st.integers(-3, 3) | st.just(0) | st.just(0), max_size=200))
def test_a_stream_takes_as_many_words_as_its_pairs_need(values):
    words = RunLengthCodec.words_of(values)
    assert words == sorted(words)
    assert len(set(words)) == words_by_hand(values)


def test_the_codec_is_charged_per_value():
    codec = RunLengthCodec(Simulation(), "codec", RunLengthCodec.Spec())
    assert codec.encode([1, 0, 0, 2]) == RunLengthCodec.words_of([1, 0, 0, 2])
    codec.decode(7)
    assert codec.sim.ledger.flat() == {"codec.decode": 7, "codec.encode": 4}


def test_each_bus_has_its_own_width_and_name():
    spec = MulticastNoc.Spec(
        filter_words_per_cycle=4,
        ifmap_words_per_cycle=1,
        psum_in_words_per_cycle=3,
        psum_out_words_per_cycle=2,
    )
    noc = MulticastNoc(Simulation(), "noc", spec)
    widths = {
        bus.name: bus.spec.words_per_cycle for bus in (noc.filter, noc.ifmap, noc.psum_in, noc.psum_out)
    }
    assert widths == {"noc.filter": 4, "noc.ifmap": 1, "noc.psum_in": 3, "noc.psum_out": 2}
    noc.links.count("hop", 11)
    noc.filter.count("send")
    noc.filter.count("receive", 12)
    assert noc.sim.ledger.flat() == {"noc.filter.receive": 12, "noc.filter.send": 1, "noc.links.hop": 11}
