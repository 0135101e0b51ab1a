"""Layers in float32, against their formulas written out and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_to_try import AWKWARD, conv_by_loops, convolutions

from simhw.reference import convolution, layers
from simhw.reference.layers import Pool
from simhw.shapes import LayerShape

EPSILON = np.finfo(np.float32).eps


def real_operands(shape: LayerShape, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = (shape.input_shape, shape.weight_shape, (shape.out_channels,))
    inputs, weights, bias = (rng.standard_normal(size).astype(np.float32) for size in sizes)
    return inputs, weights, bias


def assert_is_the_sum(shape: LayerShape, inputs, weights, bias, out) -> None:
    """Any order of n float32 additions errs by at most n * epsilon * the sum of magnitudes."""
    exact = conv_by_loops(shape, inputs.astype(float), weights.astype(float), bias.astype(float))
    size = conv_by_loops(shape, *(np.abs(v).astype(float) for v in (inputs, weights, bias)))
    assert out.dtype == np.float32
    assert (np.abs(out - exact) <= (shape.window + 1) * EPSILON * size).all()


@pytest.mark.parametrize("shape", AWKWARD.values(), ids=AWKWARD)
def test_a_layer_is_the_sum_of_its_products(shape):
    inputs, weights, bias = real_operands(shape)
    assert_is_the_sum(shape, inputs, weights, bias, layers.layer(shape, inputs, weights, bias))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(convolutions(), st.integers(0, 99))
def test_drawn_layers_are_the_sum_of_their_products(shape, seed):
    inputs, weights, bias = real_operands(shape, seed)
    assert_is_the_sum(shape, inputs, weights, bias, layers.layer(shape, inputs, weights, bias))


@pytest.mark.parametrize("tile", [1, 50, 600])
@pytest.mark.parametrize("shape", AWKWARD.values(), ids=AWKWARD)
def test_where_a_layer_is_cut_changes_no_more_than_the_order_of_sums(shape, tile, monkeypatch):
    inputs, weights, bias = real_operands(shape)
    for limit in ("_COLUMN_ELEMENTS", "_FILTER_ELEMENTS", "_TAP_ELEMENTS"):
        monkeypatch.setattr(convolution, limit, tile)
    assert_is_the_sum(shape, inputs, weights, bias, layers.layer(shape, inputs, weights, bias))


def test_a_layer_leaves_its_operands_as_they_were():
    for shape in (AWKWARD["one_by_one"], AWKWARD["depthwise_without_pad"], AWKWARD["linear"]):
        operands = real_operands(shape)
        copies = [operand.copy() for operand in operands]
        layers.layer(shape, *operands, "relu")
        for operand, copy in zip(operands, copies, strict=True):
            np.testing.assert_array_equal(operand, copy)


@pytest.mark.parametrize(
    ("activation", "expected"), [(None, [-1, 2, 7]), ("relu", [0, 2, 7]), ("relu6", [0, 2, 6])]
)
def test_an_activation_comes_after_the_bias(activation, expected):
    shape = LayerShape.linear(1, 1, 3)
    inputs, weights = np.ones((1, 1, 1, 1), np.float32), np.array([1, 1, 1], np.float32).reshape(3, 1, 1, 1)
    out = layers.layer(shape, inputs, weights, np.array([-2, 1, 6], np.float32), activation)
    np.testing.assert_array_equal(out.ravel(), expected)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        layers.activate(np.zeros(1), "tanh")


# Pooling


def square(size: int, **more) -> Pool:
    return Pool(kernel=(size, size), **{"stride": (size, size), **more})


@pytest.mark.parametrize(
    ("size", "pool", "outputs"),
    [
        (55, square(3, stride=(2, 2)), 27),  # AlexNet
        (112, square(3, stride=(2, 2), ceil_mode=True), 56),  # GoogLeNet
        (112, square(3, stride=(2, 2)), 55),
        (113, square(3, stride=(2, 2), ceil_mode=True), 56),  # SqueezeNet 1.1
        (28, square(3, stride=(1, 1), pad=(1, 1, 1, 1)), 28),  # GoogLeNet's branches
        (
            3,
            square(2, pad=(1, 1, 1, 1), ceil_mode=True),
            2,
        ),  # a third would begin at 4, on the padding behind
        (4, square(2, pad=(1, 1, 1, 1), ceil_mode=True), 3),  # a third begins at 4, on the last input
        (5, square(1, stride=(3, 3), ceil_mode=True), 2),  # a third would begin at 6, outside
        (2, square(3, stride=(2, 2), ceil_mode=True), 1),  # one window, overhanging
        (2, square(3, stride=(2, 2)), 0),
    ],
)
def test_a_window_begins_inside_the_input_or_its_leading_padding(size, pool, outputs):
    assert pool.out_size(size, size) == (outputs, outputs)


NINE = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)


def test_windows_that_overhang_are_clipped():
    pool = square(2, ceil_mode=True)
    np.testing.assert_array_equal(layers.maxpool(pool, NINE)[0, 0], [[5, 6], [8, 9]])
    np.testing.assert_array_equal(layers.avgpool(pool, NINE)[0, 0], [[3, 4.5], [7.5, 9]])


def test_without_ceil_mode_what_is_left_over_is_not_read():
    np.testing.assert_array_equal(layers.maxpool(square(2), NINE)[0, 0], [[5]])
    np.testing.assert_array_equal(layers.avgpool(square(2), NINE)[0, 0], [[3]])


@pytest.mark.parametrize(("include", "expected"), [(True, [[1, 2], [3, 4]]), (False, [[4, 8], [12, 16]])])
def test_an_average_counts_the_padding_or_not(include, expected):
    inputs = np.array([[4, 8], [12, 16]], dtype=np.float32)[None, None]
    pool = square(2, pad=(1, 1, 1, 1), count_include_pad=include)
    np.testing.assert_array_equal(layers.avgpool(pool, inputs)[0, 0], expected)


@pytest.mark.parametrize(("include", "expected"), [(True, [6, 18, 12]), (False, [9, 18, 24])])
def test_an_overhanging_average_counts_as_far_as_the_padded_map(include, expected):
    # windows of 3 from -1, 1 and 3: {pad, 6, 12}, {12, 18, 24}, {24, pad} and one place beyond the padding
    inputs = np.array([6, 12, 18, 24], dtype=np.float32).reshape(1, 1, 4, 1)
    pool = Pool(
        kernel=(3, 1), stride=(2, 1), pad=(1, 1, 0, 0), ceil_mode=True, count_include_pad=include
    )  # fmt: skip
    np.testing.assert_array_equal(layers.avgpool(pool, inputs).ravel(), expected)


def test_padding_is_lower_than_any_input_of_a_maximum():
    pool = square(3, stride=(1, 1), pad=(1, 1, 1, 1))
    np.testing.assert_array_equal(
        layers.maxpool(pool, -NINE)[0, 0], [[-1, -1, -2], [-1, -1, -2], [-4, -4, -5]]
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.booleans(),
    st.booleans(),
)
def test_drawn_pools_are_what_each_window_holds(size, kernel, stride, pad, ceil_mode, include):
    pad = tuple(min(p, kernel[i // 2] - 1) for i, p in enumerate(pad))
    pool = Pool(kernel=kernel, stride=stride, pad=pad, ceil_mode=ceil_mode, count_include_pad=include)
    if min(pool.out_size(*size)) < 1:
        return
    inputs = np.random.default_rng(0).integers(-9, 9, (2, 2, *size)).astype(np.float32)
    highest, average = layers.maxpool(pool, inputs), layers.avgpool(pool, inputs)
    for n, c, e, f in np.ndindex(*highest.shape):
        y, x = e * stride[0] - pad[0], f * stride[1] - pad[2]
        held = inputs[n, c, max(y, 0) : y + kernel[0], max(x, 0) : x + kernel[1]]
        places = (min(y + kernel[0], size[0] + pad[1]) - y) * (min(x + kernel[1], size[1] + pad[3]) - x)
        assert highest[n, c, e, f] == held.max()
        assert average[n, c, e, f] == np.float32(held.sum() / (places if include else held.size))


def test_a_global_average_leaves_one_element():
    out = layers.globalavgpool(np.concatenate([NINE, 2 * NINE], axis=1))
    assert out.shape == (1, 2, 1, 1)
    np.testing.assert_array_equal(out.ravel(), [5, 10])


# What stands between layers


def random_maps(channels: int = 6) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, channels, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0])
@pytest.mark.parametrize(("size", "channels"), [(1, 4), (3, 6), (5, 6), (5, 2), (7, 1)])
def test_lrn_divides_by_the_squares_of_neighbouring_channels(size, channels, beta):
    inputs, alpha, k = random_maps(channels), 0.5, 2.0
    out = layers.lrn(inputs, size, alpha, beta, k)
    assert out.dtype == np.float32
    for channel in range(channels):
        near = inputs[:, max(0, channel - size // 2) : channel + size // 2 + 1].astype(float)
        expected = inputs[:, channel] / (k + alpha / size * (near**2).sum(axis=1)) ** beta
        np.testing.assert_allclose(out[:, channel], expected, rtol=1e-6)


def test_lrn_of_alexnet_by_hand():
    # five channels of 100: the middle one sees 5 * 100**2 * 1e-4 / 5 = 1 above k = 1
    inputs = np.full((1, 5, 1, 1), 100.0)
    assert layers.lrn(inputs, 5, 1e-4, 0.75)[0, 2, 0, 0] == pytest.approx(100 / 2**0.75)


def test_batch_norm_is_its_formula():
    gamma, beta, mean = (np.array(v, np.float32) for v in ([1, 2], [0.5, -1], [3, -4]))
    var = np.array([4 - 1e-5, 9 - 1e-5], np.float32)
    inputs = np.array([[3, 5], [-4, -1]], np.float32).reshape(1, 2, 1, 2)
    out = layers.batchnorm(inputs, gamma, beta, mean, var, eps=1e-5)
    np.testing.assert_allclose(out.reshape(2, 2), [[0.5, 1.5], [-1, 1]], rtol=1e-6)
    assert out.dtype == np.float32


def test_sigmoid_overflows_nowhere():
    inputs = np.array([-1e4, -100, -1, 0, 1, 100, 1e4], dtype=np.float32)
    expected = [0, 0, 1 / (1 + math.e), 0.5, math.e / (1 + math.e), 1, 1]
    np.testing.assert_allclose(layers.sigmoid(inputs), expected, rtol=1e-6, atol=1e-40)
    assert layers.sigmoid(inputs).dtype == np.float32


def test_softmax_runs_across_channels_and_overflows_nowhere():
    inputs = np.array([[0, math.log(3), -1e4], [1e4, 1e4, 0]], dtype=np.float32).reshape(2, 3, 1, 1)
    expected = [[0.25, 0.75, 0], [0.5, 0.5, 0]]
    np.testing.assert_allclose(layers.softmax(inputs).reshape(2, 3), expected, rtol=1e-6)


def test_addition_takes_any_number_of_operands_and_an_activation():
    a, b, c = (np.array(v, np.float32).reshape(1, 1, 1, 2) for v in ([1, 2], [-4, 3], [1, 4]))
    np.testing.assert_array_equal(layers.add([a, b, c]).ravel(), [-2, 9])
    np.testing.assert_array_equal(layers.add([a, b, c], "relu6").ravel(), [0, 6])
    np.testing.assert_array_equal(a.ravel(), [1, 2])


def test_joining_is_along_the_channels():
    out = layers.concat([NINE, np.concatenate([2 * NINE, 3 * NINE], axis=1)])
    np.testing.assert_array_equal(out[0, :, 0, 0], [1, 2, 3])


def test_flattening_keeps_the_order_channel_row_column():
    inputs = np.arange(24).reshape(1, 2, 3, 4)
    out = layers.flatten(inputs)
    assert out.shape == (1, 24, 1, 1)
    assert out[0, 1 * 12 + 2 * 4 + 3, 0, 0] == inputs[0, 1, 2, 3]


def test_a_shortcut_takes_every_second_element_between_channels_of_zeros():
    inputs = np.arange(1, 31, dtype=np.int8).reshape(1, 2, 3, 5)
    out = layers.subsample_pad(inputs, (2, 2), (1, 2))
    assert out.shape == (1, 5, 2, 3)
    assert out.dtype == np.int8
    np.testing.assert_array_equal(out[0, 1], [[1, 3, 5], [11, 13, 15]])
    np.testing.assert_array_equal(out[0, 2], [[16, 18, 20], [26, 28, 30]])
    assert not out[0, [0, 3, 4]].any()
