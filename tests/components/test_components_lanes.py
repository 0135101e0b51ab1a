"""SnaPEA's processing element: what its Spec refuses, and what it is built from."""

from __future__ import annotations

import pytest

from simhw.components.lane_pe import LanePE
from simhw.errors import DescriptionError


def test_a_half_without_room_for_a_word_is_refused() -> None:
    with pytest.raises(DescriptionError, match=r"^io_kib: wants room for a word in each half, got 0\.001$"):
        LanePE.Spec(io_kib=0.001)


def test_sums_narrower_than_words_are_refused() -> None:
    with pytest.raises(DescriptionError, match=r"^sum_bits: wants at least word_bits, 16; got 8$"):
        LanePE.Spec(sum_bits=8)


def test_a_parked_sum_takes_as_many_words_as_it_has_bits_for() -> None:
    assert LanePE.Spec(sum_bits=48).parked_words == 3
    assert LanePE.Spec(sum_bits=49).parked_words == 4


def test_a_pe_is_built_from_its_lanes_and_memories() -> None:
    built = LanePE.structure(LanePE.Spec(lanes=4))
    assert built["multipliers"] == built["adders"] == 4
    assert built["sram_bits"] == int((20 + 0.5 + 0.5) * 1024 * 8)
    assert built["register_bits"] == 4 * 48
