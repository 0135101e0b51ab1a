"""Fixed point: the fast layers give the integers of plain int64, whatever the operands and the shape."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_to_try import AWKWARD, conv, conv_by_loops, convolutions

from simhw.reference import convolution, fixed, layers
from simhw.reference.numbers import requantize
from simhw.shapes import LayerShape, NumberFormat

INT16, INT8 = np.iinfo(np.int16), np.iinfo(np.int8)
awkward = pytest.mark.parametrize("shape", AWKWARD.values(), ids=AWKWARD)


def operands(shape: LayerShape, dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    inputs = rng.integers(low, high, shape.input_shape, dtype=dtype, endpoint=True)
    weights = rng.integers(low, high, shape.weight_shape, dtype=dtype, endpoint=True)
    return inputs, weights, rng.integers(-(1 << 20), 1 << 20, shape.out_channels)


@awkward
def test_the_plain_definition_is_what_loops_over_every_product_give(shape):
    inputs, weights, bias = operands(shape, np.int16)
    plain = fixed.conv_plain(shape, inputs, weights, bias)
    assert plain.dtype == np.int64
    np.testing.assert_array_equal(plain, conv_by_loops(shape, inputs, weights, bias).astype(np.int64))


@awkward
@pytest.mark.parametrize("dtype", [np.int16, np.int8])
def test_sums_equal_plain_int64(shape, dtype):
    inputs, weights, bias = operands(shape, dtype)
    for some_bias in (bias, None):
        sums = fixed.accumulate(shape, inputs, weights, some_bias)
        assert sums.dtype == np.int64
        np.testing.assert_array_equal(sums, fixed.conv_plain(shape, inputs, weights, some_bias))


@awkward
@pytest.mark.parametrize("dtype", [np.int16, np.int8])
def test_sums_of_the_lowest_integers_equal_plain_int64(shape, dtype):
    lowest = np.iinfo(dtype).min
    inputs, weights = (np.full(s, lowest, dtype) for s in (shape.input_shape, shape.weight_shape))
    bias = np.full(shape.out_channels, (1 << 45) + 1)
    sums = fixed.accumulate(shape, inputs, weights, bias)
    np.testing.assert_array_equal(sums, fixed.conv_plain(shape, inputs, weights, bias))


@awkward
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize(("bits", "shift"), [(16, 17), (16, 2), (8, 9), (8, 0), (8, -3), (16, 70)])
def test_a_layer_rounds_its_sums_once_at_the_end(shape, activation, bits, shift):
    dtype = np.int16 if bits == 16 else np.int8
    inputs, weights, bias = operands(shape, dtype)
    fmt = NumberFormat(bits=bits, fraction=4)
    expected = requantize(fixed.conv_plain(shape, inputs, weights, bias), shift, fmt, activation)
    out = fixed.layer(shape, inputs, weights, bias, shift, fmt, activation)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


def drawn_case_is_exact(shape: LayerShape, dtype: type, seed: int, shift: int) -> None:
    inputs, weights, bias = operands(shape, dtype, seed)
    fmt = NumberFormat(bits=np.iinfo(dtype).bits, fraction=3)
    plain = fixed.conv_plain(shape, inputs, weights, bias)
    np.testing.assert_array_equal(fixed.accumulate(shape, inputs, weights, bias), plain)
    out = fixed.layer(shape, inputs, weights, bias, shift, fmt, "relu")
    np.testing.assert_array_equal(out, requantize(plain, shift, fmt, "relu"))


CASE = (convolutions(), st.sampled_from([np.int16, np.int8]), st.integers(0, 99), st.integers(-4, 40))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(*CASE)
def test_drawn_convolutions_equal_plain_int64(shape, dtype, seed, shift):
    drawn_case_is_exact(shape, dtype, seed, shift)


@pytest.mark.long
@settings(deadline=None, max_examples=3000)
@given(*CASE)
def test_many_drawn_convolutions_equal_plain_int64(shape, dtype, seed, shift):
    drawn_case_is_exact(shape, dtype, seed, shift)


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
@awkward
def test_where_a_layer_is_cut_changes_nothing(shape, tile, monkeypatch):
    inputs, weights, bias = operands(shape, np.int16)
    fmt = NumberFormat(bits=16, fraction=4)
    whole = fixed.layer(shape, inputs, weights, bias, 16, fmt)
    for limit in ("_COLUMN_ELEMENTS", "_FILTER_ELEMENTS", "_TAP_ELEMENTS"):
        monkeypatch.setattr(convolution, limit, tile)
    np.testing.assert_array_equal(fixed.layer(shape, inputs, weights, bias, 16, fmt), whole)


def full(shape: LayerShape, value: int, dtype: type = np.int8) -> tuple[np.ndarray, np.ndarray]:
    return np.full(shape.input_shape, value, dtype), np.full(shape.weight_shape, value, dtype)


def test_float32_is_used_just_as_far_as_24_bits_hold_every_sum():
    # -128 * -128 is 2**14, so 2**10 products fill 2**24
    just, beyond = LayerShape.linear(1, 1024, 1), LayerShape.linear(1, 1025, 1)
    assert fixed.exact_dtype(just, *full(just, -128)) is np.float32
    assert fixed.exact_dtype(just, *full(just, -128), np.array([1])) is np.float64
    assert fixed.exact_dtype(beyond, *full(beyond, -128)) is np.float64
    assert fixed.exact_dtype(beyond, *full(beyond, 127)) is np.float32  # the operands count, not their type


def test_the_bound_is_taken_per_filter():
    shape = LayerShape.linear(1, 4096, 2)
    inputs, weights = full(shape, -128)
    weights[0, 1024:] = 0
    weights[1, :-1024] = 0
    assert fixed.exact_dtype(shape, inputs, weights) is np.float32  # no filter has more than 1024 weights
    np.testing.assert_array_equal(fixed.accumulate(shape, inputs, weights).ravel(), [1 << 24, 1 << 24])


def test_sums_beyond_float64_are_taken_in_int64_and_those_beyond_int64_refused():
    shape = LayerShape.linear(1, 3, 2)
    inputs = np.array([[1, -1, 1]], dtype=np.int64).reshape(shape.input_shape)
    weights = np.array([[1 << 60, 1, 1], [1 << 60, -1, (1 << 60) + 1]]).reshape(shape.weight_shape)
    assert fixed.exact_dtype(shape, inputs, weights) is np.int64
    expected = [[1 << 60], [(1 << 61) + 2]]
    np.testing.assert_array_equal(fixed.accumulate(shape, inputs, weights).reshape(2, 1), expected)
    fmt = NumberFormat(bits=8, fraction=0)
    np.testing.assert_array_equal(fixed.layer(shape, inputs, weights, None, 56, fmt).ravel(), [16, 32])
    with pytest.raises(OverflowError, match="may leave int64"):
        fixed.accumulate(shape, inputs * 16, weights)


@pytest.mark.parametrize("shift", [-70, -65, 65, 200, 2000])
def test_absurd_shifts_are_still_exact(shift):
    shape = AWKWARD["grouped"]
    inputs, weights, bias = operands(shape, np.int8)
    fmt = NumberFormat(bits=8, fraction=0)
    expected = requantize(fixed.conv_plain(shape, inputs, weights, bias), shift, fmt)
    np.testing.assert_array_equal(fixed.layer(shape, inputs, weights, bias, shift, fmt), expected)


def peak_mb(function, *arguments) -> float:
    tracemalloc.start()
    function(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def test_many_weights_are_never_copied_whole():
    shape = LayerShape.linear(2, 8192, 4096)  # in float64 its weights are 268 MB
    weights = np.ones(shape.weight_shape, dtype=np.int16)
    inputs = np.full(shape.input_shape, 30000, dtype=np.int16)
    fmt = NumberFormat(bits=16, fraction=0)
    assert peak_mb(fixed.layer, shape, inputs, weights, None, 16, fmt) < 64


def test_the_windows_of_a_large_map_are_never_laid_out_whole():
    shape = conv(1, 64, 112, 224, 8, 3, 3, pad=(1, 1, 1, 1))  # in float64 its windows are 116 MB
    inputs, weights = np.ones(shape.input_shape, np.int16), np.ones(shape.weight_shape, np.int16)
    padded_mb = 64 * 114 * 226 * 8 / 1e6
    fmt = NumberFormat(bits=16, fraction=0)
    assert peak_mb(fixed.layer, shape, inputs, weights, None, 16, fmt) < padded_mb + 20


# Other operations


def column(*values: int, dtype: type = np.int16) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(1, 1, -1, 1)


def test_an_average_of_integers_rounds_half_to_even():
    pool = layers.Pool(kernel=(4, 1), stride=(4, 1))
    inputs = column(1, 1, 0, 0, 3, 3, 0, 0, 5, 5, 0, 0, -1, -1, 0, 0, -3, -3, 0, 0)
    fmt = NumberFormat(bits=16, fraction=5)
    np.testing.assert_array_equal(fixed.avgpool(pool, inputs, fmt).ravel(), [0, 2, 2, 0, -2])


def test_averages_of_the_lowest_integers_do_not_overflow():
    inputs = np.full((2, 3, 9, 9), INT16.min, dtype=np.int16)
    pool = layers.Pool(kernel=(5, 5), stride=(2, 2), pad=(1, 1, 1, 1), count_include_pad=False)
    fmt = NumberFormat(bits=16, fraction=0)
    assert (fixed.avgpool(pool, inputs, fmt) == INT16.min).all()
    assert (fixed.globalavgpool(inputs, fmt) == INT16.min).all()


def test_a_global_average_is_the_sum_over_the_count():
    inputs = np.array([[[1, 2], [3, 4]], [[1, 2], [3, 0]]], dtype=np.int8)[None]  # 2.5 and 1.5
    out = fixed.globalavgpool(inputs, NumberFormat(bits=8, fraction=0))
    assert out.dtype == np.int8
    np.testing.assert_array_equal(out.ravel(), [2, 2])


def test_a_maximum_of_integers_ignores_padding():
    pool = layers.Pool(kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1), ceil_mode=True)
    inputs = np.full((1, 2, 4, 4), INT8.min, dtype=np.int8)
    out = layers.maxpool(pool, inputs)
    assert out.dtype == np.int8
    assert (out == INT8.min).all()


def test_operands_are_added_exactly_before_one_rounding():
    a, b = column(3), column(1)  # 1.5 at fraction 1, 0.25 at fraction 2: together 1.75
    formats = [NumberFormat(bits=16, fraction=1), NumberFormat(bits=16, fraction=2)]
    for fraction, expected in ((0, 2), (1, 4), (2, 7), (3, 14), (-2, 0), (20, INT16.max)):
        out = fixed.add([a, b], formats, NumberFormat(bits=16, fraction=fraction))
        assert out.item() == expected


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(-128, 127), st.integers(-80, 80)), min_size=2, max_size=4),
    st.integers(-80, 80),
)
def test_addition_is_exact_however_far_apart_the_formats(terms, fraction):
    formats = [NumberFormat(bits=8, fraction=f) for _, f in terms]
    fmt = NumberFormat(bits=8, fraction=fraction)
    exact = sum(Fraction(value) / Fraction(2) ** f for value, f in terms) * Fraction(2) ** fraction
    out = fixed.add([column(value, dtype=np.int8) for value, _ in terms], formats, fmt)
    assert out.item() == min(max(round(exact), -128), 127)


def test_an_activation_of_a_sum_acts_after_rounding():
    formats = [NumberFormat(bits=8, fraction=3)] * 2
    out = fixed.add(
        [column(-40, 30, 60, dtype=np.int8), column(10, -10, 60, dtype=np.int8)], formats, formats[0], "relu6"
    )
    np.testing.assert_array_equal(out.ravel(), [0, 20, 48])


def test_joined_operands_each_come_to_the_common_format():
    fine, coarse = NumberFormat(bits=8, fraction=4), NumberFormat(bits=8, fraction=1)
    out = fixed.concat(
        [column(40, 12, -4, dtype=np.int8), column(7, -128, 1, dtype=np.int8)], [fine, coarse], coarse
    )
    assert out.shape == (1, 2, 3, 1)
    np.testing.assert_array_equal(out[0, 0].ravel(), [5, 2, 0])  # 2.5, 0.75, -0.25 in halves, ties to even
    np.testing.assert_array_equal(out[0, 1].ravel(), [7, -128, 1])


def test_separate_activations_keep_the_format():
    fmt = NumberFormat(bits=8, fraction=4)
    inputs = column(-128, -1, 0, 95, 96, 97, 127, dtype=np.int8)
    relu, relu6 = (fixed.activate(inputs, fmt, name) for name in ("relu", "relu6"))
    np.testing.assert_array_equal(relu.ravel(), [0, 0, 0, 95, 96, 97, 127])
    np.testing.assert_array_equal(relu6.ravel(), [0, 0, 0, 95, 96, 96, 96])
    assert relu.dtype == relu6.dtype == np.int8


def test_what_has_no_integer_definition_goes_through_float64():
    given, fmt = NumberFormat(bits=16, fraction=8), NumberFormat(bits=16, fraction=14)
    inputs = np.arange(-600, 600, dtype=np.int16).reshape(3, 4, 10, 10)
    out = fixed.through_real(layers.sigmoid, inputs, given, fmt)
    expected = np.rint(2.0**14 / (1 + np.exp(-inputs / 256.0)))
    np.testing.assert_array_equal(out, expected)


def test_images_are_alone_in_every_operation(monkeypatch):
    rng = np.random.default_rng(1)
    fmt = NumberFormat(bits=16, fraction=8)
    x, y = (rng.integers(-5000, 5000, (5, 6, 7, 7), dtype=np.int16) for _ in range(2))
    pool = layers.Pool(kernel=(3, 3), stride=(2, 2), pad=(1, 0, 1, 0), ceil_mode=True)

    def everything(x, y):
        return [
            fixed.avgpool(pool, x, fmt),
            fixed.globalavgpool(x, fmt),
            fixed.add([x, y], [fmt, replace(fmt, fraction=9)], fmt),
            fixed.concat([x, y], [fmt, replace(fmt, fraction=9)], fmt),
            fixed.through_real(lambda v: layers.lrn(v, 5, 1e-4, 0.75), x, fmt, fmt),
        ]

    whole = everything(x, y)
    monkeypatch.setattr(fixed, "_BLOCK", 1)
    for cut, uncut in zip(everything(x, y), whole, strict=True):
        np.testing.assert_array_equal(cut, uncut)
    for one, all_images in zip(everything(x[2:3], y[2:3]), whole, strict=True):
        np.testing.assert_array_equal(one, all_images[2:3])
