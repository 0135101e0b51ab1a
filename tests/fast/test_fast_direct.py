"""Sums of thin layers equal their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast import direct

LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("size", [1, 5, 4096, 9000])
def test_rows_equal_plain(images, size):
    rng = np.random.default_rng(size)
    weights, inputs = (rng.integers(LOWEST, HIGHEST, (rows, size)).astype(np.int16) for rows in (7, images))
    weights[3], inputs[0] = LOWEST, LOWEST
    bias = rng.integers(-(1 << 50), 1 << 50, 7)
    acc, plain = np.zeros((2, images, 7), dtype=np.int64)
    direct.dot_rows(weights, inputs, bias, 2, 6, acc)
    direct.dot_rows_plain(weights, inputs, bias, 2, 6, plain)
    np.testing.assert_array_equal(acc, plain)
    assert acc[0, 3] == size * (1 << 30) + bias[3]
    assert not acc[:, [0, 1, 6]].any()


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (3, 2)])
@pytest.mark.parametrize(("depth", "group_filters"), [(1, 1), (2, 3)])
def test_planes_equal_plain(stride, dilation, depth, group_filters):
    rng = np.random.default_rng(7)
    groups, kernel, out_size = 4, (2, 3), (4, 19)
    size = [stride[i] * (out_size[i] - 1) + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    rows, pitch = (-(-size[i] // stride[i]) for i in (0, 1))
    phases = rng.integers(LOWEST, HIGHEST, (2, groups * depth, stride[0] * stride[1], rows * pitch))
    phases = phases.astype(np.int16)
    weights = rng.integers(LOWEST, HIGHEST, (groups * group_filters, depth, *kernel)).astype(np.int16)
    bias = rng.integers(-(1 << 50), 1 << 50, len(weights))
    acc, plain = np.zeros((2, 2, len(weights), *out_size), dtype=np.int64)
    for first, end in ((0, 3), (3, len(weights))):
        layer = phases, pitch, weights, bias, stride, dilation, group_filters, first, end
        direct.convolve_planes(*layer, acc)
        direct.convolve_planes_plain(*layer, plain)
    np.testing.assert_array_equal(acc, plain)
