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


def convolve_planes_plain(phases, pitch, weights, bias, stride, dilation, group_filters, first, end, acc):
    """Write the sums of filters `first` to `end` into acc [N, M, E, F], plane by plane.

    phases [N, C, U * V, rows * pitch] are the padded inputs, dealt out by the remainders of row and column
    modulo the stride (U, V), so that neighbouring windows have neighbouring inputs. A group has
    `group_filters` filters.
    """
    images, channels = phases.shape[:2]
    dealt = phases.reshape(images, channels, *stride, -1, pitch).transpose(0, 1, 4, 2, 5, 3)
    inputs = dealt.reshape(images, channels, -1, pitch * stride[1])
    depth, kernel_height, kernel_width = weights.shape[1:]
    out_height, out_width = acc.shape[2:]
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
def convolve_planes(phases, pitch, weights, bias, stride, dilation, group_filters, first, end, acc):
    depth, kernel_height, kernel_width = weights.shape[1:]
    images, _, out_height, out_width = acc.shape
    sums = np.empty((out_height - 1) * pitch + out_width, dtype=np.int64)  # windows over a row's end too
    for n in range(images):
        for m in range(first, end):
            sums[:] = bias[m]
            for c in range(depth):
                for r in range(kernel_height):
                    for s in range(kernel_width):
                        y, x = r * dilation[0], s * dilation[1]
                        plane = phases[
                            n, m // group_filters * depth + c, y % stride[0] * stride[1] + x % stride[1]
                        ]
                        start = y // stride[0] * pitch + x // stride[1]
                        source = plane[start : start + sums.size]
                        w = np.int64(weights[m, c, r, s])
                        for i in range(sums.size):
                            sums[i] += w * np.int64(source[i])
            for y in range(out_height):
                acc[n, m, y] = sums[y * pitch : y * pitch + out_width]
