"""Counting the taps that fall on values other than zero."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.zeros import nonzero_taps, nonzero_taps_plain, weighted_nonzeros, weighted_nonzeros_plain


def sparse(shape, density, seed):
    rng = np.random.default_rng(seed)
    return (rng.integers(-99, 99, shape) * (rng.random(shape) < density)).astype(np.int16)


# height, width, pad, kernel_width, stride, dilation
ROWS = [
    (1, 1, (0, 0, 0, 0), 1, 1, 1),
    (5, 13, (1, 1, 1, 1), 3, 1, 1),
    (7, 31, (0, 2, 3, 1), 11, 4, 1),
    (4, 70, (2, 0, 0, 4), 5, 2, 3),
    (3, 9, (1, 1, 0, 0), 2, 5, 1),
]


@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_taps_are_those_of_the_definition(row, density):
    height, width, pad, kernel, stride, dilation = row
    out_width = (width + pad[2] + pad[3] - dilation * (kernel - 1) - 1) // stride + 1
    inputs = sparse((2, 3, height, width), density, seed=3)
    taps = nonzero_taps(inputs, pad, kernel, stride, dilation, out_width)
    np.testing.assert_array_equal(taps, nonzero_taps_plain(inputs, pad, kernel, stride, dilation, out_width))
    assert taps.shape == (2, 3, height + pad[0] + pad[1])
    assert taps.dtype == np.int64


def test_without_zeros_or_padding_every_tap_counts():
    assert (nonzero_taps(np.ones((1, 2, 4, 20), np.int16), (0, 0, 0, 0), 5, 3, 1, 6) == 6 * 5).all()


def test_a_single_value_counts_once_for_each_window_that_sees_it():
    inputs = np.zeros((1, 1, 1, 5), dtype=np.int16)
    inputs[0, 0, 0, 2] = -1
    assert nonzero_taps(inputs, (1, 0, 1, 1), 3, 1, 1, 5).tolist() == [[[0, 3]]]
    inputs[0, 0, 0] = [9, 0, 0, 0, 0]
    assert nonzero_taps(inputs, (1, 0, 1, 1), 3, 1, 1, 5).tolist() == [[[0, 2]]]


def test_no_rows_give_no_totals():
    assert weighted_nonzeros(np.empty((0, 4), np.int16), np.ones(4, np.int32)).size == 0


@pytest.mark.parametrize("width", [1, 15, 16, 17, 300])
def test_weighted_count_equals_plain(width):
    rows = sparse((6, width), 0.5, seed=width)
    weights = np.random.default_rng(1).integers(0, 1 << 20, width).astype(np.int32)
    np.testing.assert_array_equal(weighted_nonzeros(rows, weights), weighted_nonzeros_plain(rows, weights))
