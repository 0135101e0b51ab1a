"""Exact convolution equals its definition, on every geometry and at the ends of the number range."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.conv import conv_accumulate, conv_accumulate_plain

# images, channels, height, width, filters, kernel, stride, pad, dilation, groups
GEOMETRIES = [
    (1, 1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (2, 3, 7, 5, 4, (3, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 3, 23, 19, 5, (11, 11), (4, 4), (0, 0, 0, 0), (1, 1), 1),
    (1, 4, 9, 9, 6, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 2),
    (3, 6, 13, 13, 16, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (2, 6, 8, 11, 6, (3, 3), (2, 3), (1, 0, 2, 1), (1, 1), 6),
    (1, 5, 9, 10, 3, (3, 2), (1, 2), (2, 1, 0, 3), (2, 3), 1),
    (2, 7, 6, 6, 9, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    (1, 2, 4, 4, 3, (1, 1), (1, 1), (1, 2, 2, 1), (1, 1), 1),
    (1, 1, 28, 28, 20, (5, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 37, 1, 1, 19, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (40, 37, 1, 1, 19, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (5, 16, 4, 4, 12, (4, 4), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 8, 6, 6, 4, (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 4),
]


def drawn(geometry, seed, low=-(1 << 15), high=1 << 15):
    images, channels, height, width, filters, kernel, *_, groups = geometry
    rng = np.random.default_rng(seed)
    inputs = rng.integers(low, high, (images, channels, height, width)).astype(np.int16)
    weights = rng.integers(-(1 << 15), 1 << 15, (filters, channels // groups, *kernel)).astype(np.int16)
    bias = rng.integers(-(1 << 40), 1 << 40, filters)
    return inputs, weights, bias, *geometry[6:]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("low", [-(1 << 15), 0], ids=["any input", "inputs from a ReLU"])
def test_sums_are_those_of_the_definition(geometry, low):
    layer = drawn(geometry, seed=1, low=low)
    np.testing.assert_array_equal(conv_accumulate(*layer), conv_accumulate_plain(*layer))


def test_the_definition_agrees_with_a_sum_written_out_by_hand():
    inputs = np.array([[[[1, 2, 3], [4, 5, 6]]]], dtype=np.int16)
    weights = np.array([[[[10, 1]]], [[[0, -1]]]], dtype=np.int16)
    acc = conv_accumulate_plain(inputs, weights, np.array([100, 7]), (1, 1), (0, 0, 0, 1), (1, 1), 1)
    assert acc.tolist() == [[[[112, 123, 130], [145, 156, 160]], [[5, 4, 7], [2, 1, 7]]]]
    assert acc.dtype == np.int64
