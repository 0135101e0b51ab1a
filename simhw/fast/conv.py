"""Exact integer convolution: int16 inputs and weights in, int64 sums out."""

from __future__ import annotations

import numpy as np

_BLOCK_BYTES = 1 << 24  # working copies of weights and windows stay below this, whatever the layer


def conv_accumulate_plain(inputs, weights, bias, stride, pad, dilation, groups):
    """Sum of products of every window with every filter, plus bias, exact in int64.

    inputs [N, C, H, W], weights [M, C / groups, R, S] and bias [M] are integers; stride and dilation
    are (vertical, horizontal), pad is (top, bottom, left, right). Returns int64 [N, M, E, F].
    """
    images = inputs.shape[0]
    filters, depth, kernel_height, kernel_width = weights.shape
    out_height, out_width = _output_size(inputs.shape, weights.shape, stride, pad, dilation)
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:])).astype(np.int64)
    acc = np.empty((images, filters, out_height, out_width), dtype=np.int64)
    for m in range(filters):
        acc[:, m] = bias[m]
        first = m // (filters // groups) * depth
        for c in range(depth):
            for r in range(kernel_height):
                for s in range(kernel_width):
                    top, left = r * dilation[0], s * dilation[1]
                    seen = padded[:, first + c, top :: stride[0], left :: stride[1]]
                    acc[:, m] += int(weights[m, c, r, s]) * seen[:, :out_height, :out_width]
    return acc


def conv_accumulate(inputs, weights, bias, stride, pad, dilation, groups, threads=None):
    """Return `conv_accumulate_plain` of the same arguments, at the speed of dense BLAS.

    inputs and weights are int16 (or int8), bias is int64.
    """
    del threads
    return _by_float64(inputs, weights, bias, stride, pad, dilation, groups)


def _output_size(inputs, weights, stride, pad, dilation):
    return tuple(
        (inputs[2 + axis] + pad[2 * axis] + pad[2 * axis + 1] - dilation[axis] * (weights[2 + axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in (0, 1)
    )


def _by_float64(inputs, weights, bias, stride, pad, dilation, groups):
    """Convolution as products of float64 matrices, in blocks.

    A product of int16 is at most 2**30, so sums of fewer than 2**23 of them are exact in float64.
    """
    images = inputs.shape[0]
    filters, depth, kernel_height, kernel_width = weights.shape
    out_height, out_width = _output_size(inputs.shape, weights.shape, stride, pad, dilation)
    per_group, window = filters // groups, depth * kernel_height * kernel_width
    if window >= 1 << 23:
        return conv_accumulate_plain(inputs, weights, bias, stride, pad, dilation, groups)
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:]))
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (groups, depth, kernel_height, kernel_width, images, out_height, out_width),
        (
            padded.strides[1] * depth,
            padded.strides[1],
            padded.strides[2] * dilation[0],
            padded.strides[3] * dilation[1],
            padded.strides[0],
            padded.strides[2] * stride[0],
            padded.strides[3] * stride[1],
        ),
        writeable=False,
    )
    acc = np.empty((images, filters, out_height, out_width), dtype=np.int64)
    matrix = weights.reshape(filters, window)
    some_filters = max(1, _BLOCK_BYTES // (8 * window))
    some_images = max(1, _BLOCK_BYTES // (8 * window * out_height * out_width))
    some_rows = max(1, _BLOCK_BYTES // (8 * window * out_width * min(some_images, images)))
    for g in range(groups):
        for n in range(0, images, some_images):
            for y in range(0, out_height, some_rows):
                block = windows[g, :, :, :, n : n + some_images, y : y + some_rows]
                columns = block.astype(np.float64, order="C").reshape(window, -1)
                for m in range(g * per_group, (g + 1) * per_group, some_filters):
                    end = min(m + some_filters, (g + 1) * per_group)
                    sums = matrix[m:end].astype(np.float64) @ columns
                    target = acc[n : n + some_images, m:end, y : y + some_rows]
                    target[...] = sums.reshape(end - m, *block.shape[3:]).swapaxes(0, 1)
                    target += bias[m:end, None, None]
    return acc
