"""A processing element: what it computes, and what a product costs with and without gating."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhw.components.mac_unit import MacUnit
from simhw.components.register_file import RegisterFile
from simhw.components.row_stationary_pe import RowStationaryPE
from simhw.core import Simulation

WORDS = st.integers(-(1 << 15), (1 << 15) - 1)
TAP = {
    "pe.ifmap_spad.read": 1,
    "pe.filter_spad.read": 1,
    "pe.mac.mul": 1,
    "pe.mac.add": 1,
    "pe.psum_spad.read": 1,
    "pe.psum_spad.write": 1,
}


def pe_holding(ifmap: list[int], filter: list[int], **spec) -> RowStationaryPE:
    sim = Simulation()
    pe = RowStationaryPE(sim, "pe", RowStationaryPE.Spec(**spec))
    pe.ifmap_spad.words[: len(ifmap)] = ifmap
    pe.filter_spad.words[: len(filter)] = filter
    return pe


def test_a_product_reads_both_words_and_reads_and_writes_the_sum():
    pe = pe_holding([3], [-5])
    assert pe.multiply_accumulate(0, 0, 0)
    assert pe.psum_spad.words[0] == -15
    assert pe.sim.ledger.flat() == dict(sorted(TAP.items()))


def test_a_product_with_a_zero_input_is_gated_after_the_input_was_read():
    pe = pe_holding([0], [-5])
    assert not pe.multiply_accumulate(0, 0, 0)
    assert pe.sim.ledger.flat() == {"pe.ifmap_spad.read": 1}


def test_a_zero_weight_is_not_gated():
    pe = pe_holding([3], [0])
    assert pe.multiply_accumulate(0, 0, 0)
    assert pe.sim.ledger.flat() == dict(sorted(TAP.items()))


def test_without_gating_a_zero_input_costs_as_much_as_any_other():
    pe = pe_holding([0], [-5], zero_gating=False)
    assert pe.multiply_accumulate(0, 0, 0)
    assert pe.psum_spad.words[0] == 0
    assert pe.sim.ledger.flat() == dict(sorted(TAP.items()))


@given(st.lists(st.tuples(WORDS | st.just(0), WORDS), min_size=1, max_size=12), st.booleans())
def test_gating_changes_counts_and_never_values(taps, gating):
    pe = pe_holding([x for x, _ in taps], [w for _, w in taps], zero_gating=gating)
    for at in range(len(taps)):
        pe.multiply_accumulate(at, at, 0)
    assert pe.psum_spad.words[0] == sum(x * w for x, w in taps)
    executed = sum(x != 0 for x, _ in taps) if gating else len(taps)
    assert pe.sim.ledger.total("mul") == pe.sim.ledger.total("add") == executed
    assert pe.sim.ledger["pe.ifmap_spad", "read"] == len(taps)
    assert pe.sim.ledger["pe.filter_spad", "read"] == executed
    assert pe.sim.ledger["pe.psum_spad", "write"] == executed


def test_sums_are_cleared_and_passed_upwards():
    pe = pe_holding([3, 4], [5, 6])
    pe.multiply_accumulate(0, 0, 1)
    assert pe.pass_on(1, 100) == 115
    pe.clear(1)
    assert pe.pass_on(1, 100) == 100
    assert pe.sim.ledger["pe.mac", "add"] == 1 + 2
    assert pe.sim.ledger["pe.psum_spad", "write"] == 1 + 1


def test_a_pe_is_built_from_registers_an_sram_for_filters_a_multiplier_and_its_adders():
    spec = RowStationaryPE.Spec(ifmap_words=12, filter_words=224, psum_words=24, word_bits=16)
    assert RowStationaryPE.structure(spec) == {
        "register_bits": (12 + 24) * 16,
        "sram_bits": 224 * 16,
        "adders": 2,  # one of them for sums on their way up
        "multipliers": 1,
    }


def test_registers_keep_words_at_addresses_and_read_zero_before():
    spad = RegisterFile(Simulation(), "spad", RegisterFile.Spec(words=2))
    assert spad.read(1) == 0
    spad.write(1, -7)
    assert spad.read(1) == -7
    assert spad.read(0) == 0
    assert spad.sim.ledger.flat() == {"spad.read": 3, "spad.write": 1}


def test_registers_have_no_address_beyond_their_words():
    spad = RegisterFile(Simulation(), "spad", RegisterFile.Spec(words=2))
    with pytest.raises(IndexError, match=r"^spad: has addresses 0 to 1, not 2$"):
        spad.write(2, 1)
    with pytest.raises(IndexError, match=r"^spad: has addresses 0 to 1, not -1$"):
        spad.read(-1)
    assert spad.sim.ledger.flat() == {}


@given(WORDS, WORDS, st.integers(-(1 << 62), 1 << 62))
def test_products_and_sums_are_exact(left, right, total):
    mac = MacUnit(Simulation(), "mac", MacUnit.Spec())
    assert mac.add(total, mac.multiply(left, right)) == total + left * right
    assert mac.sim.ledger.flat() == {"mac.add": 1, "mac.mul": 1}
