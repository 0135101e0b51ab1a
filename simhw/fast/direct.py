"""Exact sums of products for layers too thin for `pairs`: few filters per group, or few windows."""

from __future__ import annotations

import numpy as np
from numba import njit

_BLOCK = 4096  # weights of a row that stay in the cache while all images meet them


def dot_rows_plain(weights, inputs, bias, first, end, acc):
    """Write bias plus the product of rows `first` to `end` of weights with inputs into acc.

    weights [M, K] and inputs [N, K] are int16, bias [M] and acc [N, M] int64.
    """
    acc[:, first:end] = inputs.astype(np.int64) @ weights[first:end].T.astype(np.int64) + bias[first:end]


@njit(cache=True, nogil=True)
def dot_rows(weights, inputs, bias, first, end, acc):
    size = weights.shape[1]
    for m in range(first, end):
        acc[:, m] = bias[m]
        for start in range(0, size, _BLOCK):
            w = weights[m, start : start + _BLOCK]
            for n in range(inputs.shape[0]):
                x = inputs[n, start : start + _BLOCK]
                total = 0
                for k in range(w.size):
                    total += np.int64(w[k]) * np.int64(x[k])
                acc[n, m] += total


def convolve_planes_plain(inputs, weights, bias, stride, dilation, group_filters, first, end, acc):
    """Write the sums of filters `first` to `end` into acc [N, M, E, F], plane by plane.

    inputs [N, C, H, W] are padded already; `group_filters` filters share the channels of a group.
    """
    depth, kernel_height, kernel_width = weights.shape[1:]
    _, _, out_height, out_width = acc.shape
    for m in range(first, end):
        channel = m // group_filters * depth
        windows = np.lib.stride_tricks.sliding_window_view(
            inputs[:, channel : channel + depth],
            (dilation[0] * (kernel_height - 1) + 1, dilation[1] * (kernel_width - 1) + 1),
            axis=(2, 3),
        )[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
        products = windows[:, :, :out_height, :out_width] * weights[m].astype(np.int64)[:, None, None]
        acc[:, m] = bias[m] + products.sum(axis=(1, 4, 5))


@njit(cache=True, nogil=True)
def convolve_planes(inputs, weights, bias, stride, dilation, group_filters, first, end, acc):
    depth, kernel_height, kernel_width = weights.shape[1:]
    images, _, out_height, out_width = acc.shape
    for n in range(images):
        for m in range(first, end):
            channel = m // group_filters * depth
            for y in range(out_height):
                sums = acc[n, m, y]
                sums[:] = bias[m]
                for c in range(depth):
                    for r in range(kernel_height):
                        row = inputs[n, channel + c, y * stride[0] + r * dilation[0]]
                        for s in range(kernel_width):
                            w = np.int64(weights[m, c, r, s])
                            source = row[s * dilation[1] :]
                            if stride[1] == 1:  # the compiler makes vectors of consecutive inputs only
                                for x in range(out_width):
                                    sums[x] += w * np.int64(source[x])
                            else:
                                for x in range(out_width):
                                    sums[x] += w * np.int64(source[x * stride[1]])
