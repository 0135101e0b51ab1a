"""Requantization rounds to nearest even, saturates, and counts what a psum register could not hold."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.requantize import NONE, RELU, RELU6, requantize, requantize_flat, requantize_flat_plain

LIMITS = (-(1 << 15), (1 << 15) - 1)


def test_halves_go_to_the_even_neighbour():
    acc = np.array([-12, -10, -6, -5, -2, 2, 3, 6, 10, 12])
    out, unfit = requantize(acc, 2, *LIMITS)
    assert out.tolist() == [-3, -2, -2, -1, 0, 0, 1, 2, 2, 3]
    assert (out.dtype, unfit) == (np.int16, 0)


def test_a_negative_shift_multiplies_and_saturates():
    out, _ = requantize(np.array([[3, -3], [1 << 40, -(1 << 40)]]), -12, *LIMITS)
    assert out.tolist() == [[12288, -12288], [32767, -32768]]


@pytest.mark.parametrize(
    ("activation", "expected"), [(NONE, [-7, 0, 5, 127]), (RELU, [0, 0, 5, 127]), (RELU6, [0, 0, 5, 96])]
)
def test_the_activation_follows_saturation(activation, expected):
    out, _ = requantize(np.array([-7, 0, 5, 900]), 0, -128, 127, activation, cap=96)
    assert out.tolist() == expected


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_only_sums_outside_the_psum_width_are_counted(shift):
    scale = 2.0**shift
    acc = (np.array([-129, -128, -127, 0, 126, 127, 128, 4000]) * max(scale, 1)).astype(np.int64)
    rounded = acc / scale  # whole numbers at each of the three shifts
    _, unfit = requantize(acc, shift, *LIMITS, psum_bits=8)
    assert unfit == np.count_nonzero((rounded < -128) | (rounded > 127))


@pytest.mark.parametrize("shift", [-62, -20, -1, 0, 1, 2, 17, 33, 62])
@pytest.mark.parametrize(
    "limits", [(*LIMITS, -(1 << 15), (1 << 15) - 1), (0, 200, -(1 << 62), (1 << 62) - 1)]
)
def test_compiled_equals_plain(shift, limits):
    rng = np.random.default_rng(5)
    wide = rng.integers(-(1 << 62), 1 << 62, 300) >> rng.integers(0, 62, 300)
    ends = [-(1 << 63), (1 << 63) - 1, -1, 0, 1, 1 << 61, 3 << 60, -(3 << 60)]
    acc = np.concatenate([wide, np.array(ends)])
    out, unfit = requantize_flat(acc, shift, *limits)
    plain, plain_unfit = requantize_flat_plain(acc, shift, *limits)
    np.testing.assert_array_equal(out, plain)
    assert unfit == plain_unfit


def test_nothing_in_nothing_out():
    out, unfit = requantize(np.empty((0, 3), dtype=np.int64), 4, *LIMITS)
    assert (out.shape, unfit) == ((0, 3), 0)


@pytest.mark.parametrize(("shift", "psum_bits"), [(63, 16), (-63, 16), (0, 0), (0, 64)])
def test_what_int64_cannot_hold_is_refused(shift, psum_bits):
    with pytest.raises(ValueError, match="wants shift -62 to 62 and psum_bits 1 to 63"):
        requantize(np.zeros(1, dtype=np.int64), shift, *LIMITS, psum_bits=psum_bits)
