"""Rounding and saturation: by hand where a table says it best, else against Python's exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhw.reference.numbers import (
    activation_range,
    choose_format,
    dequantize,
    divide,
    format_for,
    magnitude,
    quantize,
    quantize_bias,
    requantize,
    storage_dtype,
)
from simhw.shapes import FLOAT32, NumberFormat

FIXED16 = NumberFormat(bits=16, fraction=8)
FIXED8 = NumberFormat(bits=8, fraction=4)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
INT64_ENDS = [-(1 << 63), 1 - (1 << 63), -(1 << 62), -1, 0, 1, 1 << 62, (1 << 62) + 1, (1 << 63) - 1]


def by_fractions(value: int, shift: int, fmt: NumberFormat) -> int:
    """Python's round() of a Fraction is exact and takes halves to even."""
    return min(max(round(Fraction(value) / Fraction(2) ** shift), fmt.lowest), fmt.highest)


@pytest.mark.parametrize(
    ("shift", "sums", "expected"),
    [
        (1, [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6], [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3]),
        (2, [-10, -7, -6, -5, -2, -1, 1, 2, 3, 5, 6, 7, 10], [-2, -2, -2, -1, 0, 0, 0, 0, 1, 1, 2, 2, 2]),
        (0, [-3, 0, 7], [-3, 0, 7]),
        (-2, [-3, 0, 7], [-12, 0, 28]),
    ],
)
def test_halves_go_to_the_even_neighbour(shift, sums, expected):
    np.testing.assert_array_equal(requantize(np.array(sums), shift, FIXED16), expected)


def test_what_does_not_fit_saturates():
    sums = np.array([32767, 32768, -32768, -32769, (1 << 63) - 1, -(1 << 63)])
    expected = [32767, 32767, -32768, -32768, 32767, -32768]
    np.testing.assert_array_equal(requantize(sums, 0, FIXED16), expected)
    np.testing.assert_array_equal(
        requantize(np.array([255, 254, -257, -256]), 1, FIXED8), [127, 127, -128, -128]
    )


@pytest.mark.parametrize(
    "shift", [0, 1, 2, 30, 61, 62, 63, 64, 65, 1000, -1, -7, -8, -15, -16, -17, -63, -1000]
)
@pytest.mark.parametrize("fmt", [FIXED16, FIXED8], ids=["fixed16", "fixed8"])
def test_the_ends_of_int64_are_rounded_exactly(shift, fmt):
    expected = [by_fractions(value, shift, fmt) for value in INT64_ENDS]
    np.testing.assert_array_equal(requantize(np.array(INT64_ENDS), shift, fmt), expected)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(INT64, min_size=1, max_size=8), st.integers(-70, 70), st.sampled_from([2, 5, 8, 12, 16]))
def test_any_int64_is_rounded_exactly(sums, shift, bits):
    fmt = NumberFormat(bits=bits, fraction=0)
    expected = [by_fractions(value, shift, fmt) for value in sums]
    np.testing.assert_array_equal(requantize(np.array(sums, dtype=np.int64), shift, fmt), expected)


def test_integers_of_python_beyond_int64_are_rounded_exactly():
    sums = [(3 << 99), (5 << 99), -(3 << 99), 1 << 200, -1]
    expected = [by_fractions(value, 100, FIXED16) for value in sums]
    np.testing.assert_array_equal(requantize(np.array(sums, dtype=object), 100, FIXED16), expected)


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1])
def test_rounding_in_blocks_leaves_no_element_out(size):
    sums = np.arange(size, dtype=np.int64)
    np.testing.assert_array_equal(requantize(sums, 3, FIXED16), np.minimum(np.rint(sums / 8), 32767))
    np.testing.assert_array_equal(quantize(sums / 2.0**11, FIXED16), np.minimum(np.rint(sums / 8), 32767))


@pytest.mark.parametrize(
    ("activation", "fmt", "expected"),
    [
        (None, FIXED16, (-32768, 32767)),
        ("relu", FIXED8, (0, 127)),
        ("relu6", NumberFormat(bits=8, fraction=4), (0, 96)),
        ("relu6", NumberFormat(bits=8, fraction=5), (0, 127)),  # 6 is 192, beyond the format
        ("relu6", NumberFormat(bits=8, fraction=-2), (0, 2)),  # 1.5 goes to even
        ("relu6", NumberFormat(bits=16, fraction=2000), (0, 32767)),
    ],
)
def test_an_activation_is_a_range_of_integers(activation, fmt, expected):
    assert activation_range(fmt, activation) == expected


def test_an_activation_acts_after_rounding():
    fmt = NumberFormat(bits=8, fraction=3)
    sums = np.array([-100, -1, 3, 94, 95, 97, 1000])
    np.testing.assert_array_equal(requantize(sums, 1, fmt, "relu6"), [0, 0, 2, 47, 48, 48, 48])
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        requantize(sums, 1, fmt, "tanh")


@pytest.mark.parametrize(
    ("largest", "bits", "fraction"),
    [
        (1.0, 8, 6),  # 1 * 2**6 = 64 fits 127; 128 does not
        (127 / 128, 8, 7),
        (127.49 / 128, 8, 7),  # rounds to 127
        (127.5 / 128, 8, 6),  # would round to 128
        (255.0, 16, 7),
        (32767.0, 16, 0),
        (32768.0, 16, -1),
        (3.0e9, 16, -17),
        (0.0, 16, 15),
        (6.0, 16, 12),
        (2.0**-30, 16, 44),
    ],
)
def test_the_largest_fraction_that_fits_is_chosen(largest, bits, fraction):
    assert format_for(largest, bits) == NumberFormat(bits=bits, fraction=fraction)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.floats(1e-30, 1e30), st.sampled_from([4, 8, 16]))
def test_a_chosen_format_never_saturates_and_one_more_bit_would(largest, bits):
    fmt = choose_format(np.array([0.0, -largest]), bits)
    assert round(math.ldexp(largest, fmt.fraction)) <= fmt.highest
    assert round(math.ldexp(largest, fmt.fraction + 1)) > fmt.highest


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_format_fits_what_is_not_a_number(bad):
    with pytest.raises(ValueError, match="finite magnitude"):
        choose_format(np.array([1.0, bad]), 16)


def test_quantizing_rounds_half_to_even_and_saturates():
    fmt = NumberFormat(bits=8, fraction=1)
    real = np.array([0.25, 0.75, 1.25, -0.25, -0.75, 63.25, 63.75, 1e30, -64.25, -np.inf], dtype=np.float32)
    quantized = quantize(real, fmt)
    assert quantized.dtype == np.int8
    np.testing.assert_array_equal(quantized, [0, 2, 2, 0, -2, 126, 127, 127, -128, -128])
    with pytest.raises(ValueError, match="NaN"):
        quantize(np.array([np.nan]), fmt)


@pytest.mark.parametrize("fraction", [-3, 0, 9, 40])
def test_integers_go_to_real_numbers_and_back_unchanged(fraction):
    fmt = NumberFormat(bits=16, fraction=fraction)
    integers = np.arange(-32768, 32768, dtype=np.int16).reshape(4, -1)
    np.testing.assert_array_equal(quantize(dequantize(integers, fmt), fmt), integers)
    assert dequantize(integers, fmt).dtype == np.float32


def test_storage_is_as_wide_as_the_bits_want():
    widths = [storage_dtype(NumberFormat(bits=bits)) for bits in (2, 8, 9, 16, 17, 32)]
    assert widths == [np.int8, np.int8, np.int16, np.int16, np.int32, np.int32]
    assert storage_dtype(FLOAT32) == np.float32
    with pytest.raises(ValueError, match="bits: wants 2 to 32 for a stored tensor, got 33"):
        storage_dtype(NumberFormat(bits=33))


def test_magnitude_of_the_lowest_integer_does_not_overflow():
    assert magnitude(np.array([-32768, 5], dtype=np.int16)) == 32768
    assert magnitude(np.array([-128, 127], dtype=np.int8)) == 128
    assert magnitude(np.empty((0, 3), dtype=np.int8)) == 0


def test_a_bias_keeps_the_accumulators_fraction():
    np.testing.assert_array_equal(quantize_bias(np.array([0.5, -1.25, 0.0]), 3), [4, -10, 0])
    np.testing.assert_array_equal(quantize_bias(np.array([1.0], dtype=np.float32), 40), [1 << 40])
    with pytest.raises(ValueError, match=r"a bias of magnitude 1\.0 does not fit 63 bits at fraction 62"):
        quantize_bias(np.array([1.0]), 62)


def test_an_average_rounds_half_to_even():
    sums, counts = np.array([2, 6, 10, -2, -6, 7, -7, 5]), np.array([4, 4, 4, 4, 4, 3, 3, 5])
    np.testing.assert_array_equal(divide(sums, counts, FIXED8), [0, 2, 2, 0, -2, 2, -2, 1])
