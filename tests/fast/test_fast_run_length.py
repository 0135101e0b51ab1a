"""The run-length code gives back what it was given, and rows lie in the words that the code puts them in."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast import run_length
from simhw.fast.run_length import (
    rlc_decode,
    rlc_decode_plain,
    rlc_encode,
    rlc_encode_plain,
    rlc_pairs_plain,
    rlc_row_words,
    rlc_row_words_plain,
)


def stream(count, density, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << 15), 1 << 15, count)
    return np.where(rng.random(count) < density, values, 0).astype(np.int16)


STREAMS = {
    f"{count} values, density {density}": stream(count, density, seed=count)
    for count in (0, 1, 2, 3, 4, 31, 32, 33, 64, 65, 96, 1000)
    for density in (0.0, 0.02, 0.1, 0.5, 1.0)
}


@pytest.mark.parametrize(
    ("values", "pairs"),
    [
        ([5, -6], [(0, 5), (0, -6)]),
        ([0, 0, 7], [(2, 7)]),
        ([7, 0, 0], [(0, 7), (1, 0)]),
        ([0] * 31 + [1], [(31, 1)]),
        ([0] * 32 + [1], [(31, 0), (0, 1)]),
        ([0] * 33 + [1], [(31, 0), (1, 1)]),
        ([0] * 32, [(31, 0)]),
        ([0] * 65, [(31, 0), (31, 0), (0, 0)]),
        ([], []),
    ],
)
def test_pairs_written_out_by_hand(values, pairs):
    assert rlc_pairs_plain(values) == pairs
    words = rlc_encode(np.array(values, dtype=np.int16))
    placed = [(run | (level & 0xFFFF) << 5) << (21 * (i % 3)) for i, (run, level) in enumerate(pairs)]
    expected = [sum(placed[i : i + 3]) for i in range(0, len(placed), 3)]
    if expected:
        expected[-1] += 1 << 63
    assert words.tolist() == expected


@pytest.mark.parametrize("values", STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_survives_the_round_trip(values):
    words = rlc_encode(values)
    np.testing.assert_array_equal(words, rlc_encode_plain(values))
    assert words.dtype == np.uint64
    ends = words >> np.uint64(63)
    assert ends.tolist() == [0] * (words.size - 1) + [1] * (words.size > 0)
    for decode in (rlc_decode, rlc_decode_plain):
        decoded = decode(words, values.size)
        assert decoded.dtype == np.int16
        np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize("count", [0, 1, 5, 40, 63])
def test_a_stream_can_be_decoded_in_part(count):
    values = stream(64, 0.2, seed=9)
    words = rlc_encode(values)
    np.testing.assert_array_equal(rlc_decode(words, count), values[:count])
    np.testing.assert_array_equal(rlc_decode_plain(words, count), values[:count])


@pytest.mark.parametrize("density", [0.0, 0.01, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (2, 13, 13), (2, 6, 16), (2, 5, 33), (1, 4, 227)])
def test_row_words_equal_plain(shape, density):
    planes = stream(np.prod(shape), density, seed=sum(shape)).reshape(shape)
    for compiled, plain in zip(rlc_row_words(planes), rlc_row_words_plain(planes), strict=True):
        np.testing.assert_array_equal(compiled, plain)


@pytest.mark.parametrize("density", [0.0, 0.03, 0.4])
def test_the_words_of_a_row_and_no_fewer_hold_its_values(density):
    planes = stream(2 * 9 * 21, density, seed=4).reshape(2, 9, 21)
    firsts, lasts, words = rlc_row_words(planes)
    for plane, first, last, total in zip(planes, firsts, lasts, words, strict=True):
        encoded = rlc_encode(plane.ravel())
        assert encoded.size == total
        starts = np.cumsum([0] + [len(rlc_decode_plain([word], 99)) for word in encoded])
        for y in range(9):
            assert starts[first[y]] <= y * 21 < starts[first[y] + 1]
            assert starts[last[y]] <= y * 21 + 20 < starts[last[y] + 1]


def test_a_row_inside_a_run_touches_the_word_that_holds_the_run():
    plane = np.zeros((1, 4, 8), dtype=np.int16)
    plane[0, 0] = 1  # eight pairs: words 0, 1 and two thirds of 2; then one run of 24 zeros in word 2
    first, last, words = rlc_row_words(plane)
    assert first.tolist() == [[0, 2, 2, 2]]
    assert last.tolist() == [[2, 2, 2, 2]]
    assert words.tolist() == [3]


def test_the_field_widths_fill_a_word():
    assert run_length.PAIRS_PER_WORD * run_length.PAIR_BITS + 1 == 64
