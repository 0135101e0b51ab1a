"""From wide sums to the narrow numbers that a layer puts out."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numba import njit

NONE, RELU, RELU6 = 0, 1, 2  # activation codes


def requantize(acc, shift, lowest, highest, activation=NONE, cap=0, psum_bits=63):
    """Bring sums to the output's format, once, and count those a psum register could not hold.

    A sum becomes acc / 2**shift (shift may be negative: a multiplication), rounded to nearest even and
    saturated to lowest..highest; then RELU raises negatives to zero, and RELU6 also lowers to `cap`.
    Returns (int16 array of acc's shape, count); the count is of rounded values, before saturation, that
    do not fit `psum_bits` (at most 63) in two's complement.
    """
    if not (-62 <= shift <= 62 and 1 <= psum_bits <= 63):
        raise ValueError(f"wants shift -62 to 62 and psum_bits 1 to 63, got {shift} and {psum_bits}")
    low = lowest if activation == NONE else 0
    high = min(highest, cap) if activation == RELU6 else highest
    psum_high = (1 << (psum_bits - 1)) - 1
    flat = np.ascontiguousarray(acc, dtype=np.int64).reshape(-1)
    out, unfit = requantize_flat(flat, shift, low, high, -psum_high - 1, psum_high)
    return out.reshape(np.shape(acc)), int(unfit)


def requantize_flat_plain(acc, shift, low, high, psum_low, psum_high):
    """Return (int16 clip(round_half_even(acc / 2**shift), low, high), count outside psum_low..psum_high)."""
    rounded = [round(Fraction(int(a)) / Fraction(2) ** shift) for a in acc]
    clipped = [min(max(y, low), high) for y in rounded]
    return np.array(clipped, dtype=np.int16), sum(not psum_low <= y <= psum_high for y in rounded)


@njit(cache=True, nogil=True)
def requantize_flat(acc, shift, low, high, psum_low, psum_high):
    out = np.empty(acc.size, dtype=np.int16)
    unfit = 0
    if shift > 0:
        half = np.int64(1) << (shift - 1)
        for i in range(acc.size):
            floor = acc[i] >> shift
            above = acc[i] - (floor << shift)
            y = floor + ((above > half) | ((above == half) & ((floor & 1) == 1)))
            unfit += (y < psum_low) | (y > psum_high)
            out[i] = min(max(y, low), high)
    else:
        # acc * 2**up is compared by dividing the limits, so that nothing overflows
        up = -shift
        least, most = -(-psum_low >> up), psum_high >> up
        lower, upper = -(-low >> up) - 1, (high >> up) + 1
        for i in range(acc.size):
            unfit += (acc[i] < least) | (acc[i] > most)
            out[i] = min(max(min(max(acc[i], lower), upper) << up, low), high)
    return out, unfit
