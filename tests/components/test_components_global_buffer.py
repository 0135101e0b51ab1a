"""Buffers hold what they have room for, and no more."""

from __future__ import annotations

import pytest

from simhw.components.global_buffer import BufferRegion, GlobalBuffer
from simhw.core import Simulation
from simhw.errors import DescriptionError


def region(words: int) -> BufferRegion:
    spec = BufferRegion.Spec(size_kib=words * 16 / 8 / 1024)
    assert spec.words == words
    return BufferRegion(Simulation(), "glb.ifmap", spec)


def test_a_region_gives_back_what_was_written_and_counts_each_word():
    glb = region(4)
    glb.write(("row", 0), 11)
    glb.write(("row", 1), -5)
    assert [glb.read(("row", 1)), glb.read(("row", 0)), glb.read(("row", 0))] == [-5, 11, 11]
    assert glb.sim.ledger.flat() == {"glb.ifmap.read": 3, "glb.ifmap.write": 2}


def test_a_region_is_full_at_its_last_word_and_overflows_at_the_next():
    glb = region(3)
    for word in range(3):
        glb.write(word, word)
    with pytest.raises(OverflowError, match=r"^glb\.ifmap: holds 4 words, has room for 3$"):
        glb.write(3, 3)


def test_writing_over_a_word_takes_no_more_room():
    glb = region(1)
    glb.write("sum", 1)
    glb.write("sum", 2)
    assert glb.read("sum") == 2


def test_dropping_a_word_makes_room_and_is_no_access():
    glb = region(1)
    glb.write("a", 1)
    assert glb.drop("a") == 1
    glb.write("b", 2)
    assert glb.sim.ledger.flat() == {"glb.ifmap.write": 2}


def test_what_was_never_written_cannot_be_read():
    with pytest.raises(KeyError):
        region(1).read("nothing")


def test_the_chips_buffer_is_108_kib_of_which_filters_take_8():
    spec = GlobalBuffer.Spec(size_kib=108, filter_kib=8)
    assert spec.shared_words == 100 * 1024 * 8 // 16 == 51_200
    assert spec.filter_region_words == 8 * 1024 * 8 // 16 == 4096
    assert GlobalBuffer.structure(spec) == {"sram_bits": 108 * 1024 * 8}


def test_inputs_and_sums_are_booked_apart():
    glb = GlobalBuffer(Simulation(), "glb", GlobalBuffer.Spec(size_kib=108, filter_kib=8))
    glb.ifmap.write(0, 1)
    glb.psum.write(0, 2)
    glb.filter.write(0, 3)
    assert (glb.ifmap.read(0), glb.psum.read(0), glb.filter.read(0)) == (1, 2, 3)
    assert set(glb.sim.ledger.flat()) == {
        f"glb.{part}.{action}" for part in ("ifmap", "psum", "filter") for action in ("read", "write")
    }


@pytest.mark.parametrize("filter_kib", [108, 200])
def test_filters_cannot_take_the_whole_buffer(filter_kib):
    with pytest.raises(DescriptionError) as refused:
        GlobalBuffer.Spec(size_kib=108, filter_kib=filter_kib)
    assert str(refused.value) == (
        f"filter_kib: wants less than size_kib, 108, so that inputs and sums have room; got {filter_kib}"
    )


def test_a_buffer_too_small_for_a_word_is_refused():
    with pytest.raises(DescriptionError) as refused:
        BufferRegion.Spec(size_kib=0.001)
    assert str(refused.value) == "size_kib: wants room for a word of 16 bits, got 0.001"
    with pytest.raises(DescriptionError) as refused:
        GlobalBuffer.Spec(size_kib=108, filter_kib=0.001)
    assert str(refused.value) == "filter_kib: wants room for a word of 16 bits, got 0.001"
