"""Convolution in float32 for traces that are not fixed point; the order of its sums is BLAS's own."""

from __future__ import annotations

import numpy as np


def conv_float32(inputs, weights, bias, stride, pad, dilation, groups):
    """Return float32 sums [N, M, E, F] of inputs [N, C, H, W] and weights [M, C / groups, R, S]."""
    filters, depth, high, wide = weights.shape
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:])) if any(pad) else inputs
    span = (dilation[0] * (high - 1) + 1, dilation[1] * (wide - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    images, _, out_height, out_width = windows.shape[:4]
    out = np.empty((images, groups, filters // groups, out_height * out_width), dtype=np.float32)
    matrices = weights.reshape(groups, filters // groups, depth * high * wide)
    for image in range(images):
        for group in range(groups):
            columns = windows[image, group * depth : (group + 1) * depth].transpose(0, 3, 4, 1, 2)
            np.matmul(matrices[group], columns.reshape(depth * high * wide, -1), out=out[image, group])
    return out.reshape(images, filters, out_height, out_width) + np.asarray(bias, np.float32)[:, None, None]
