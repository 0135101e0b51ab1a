"""How many of the products of a convolution have an input that is not zero."""

from __future__ import annotations

import numpy as np
from numba import njit


def nonzero_taps_plain(inputs, pad, kernel_width, stride_x, dilation_x, out_width):
    """For each padded row, the taps of its windows that fall on a value other than zero.

    One filter row of `kernel_width` taps is slid over each row of inputs [N, C, H, W], padded by
    (top, bottom, left, right); every (window, tap) whose input is not zero counts once.
    Returns int64 [N, C, H + top + bottom].
    """
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:])) != 0
    taps = np.zeros(padded.shape[:3], dtype=np.int64)
    for x in range(out_width):
        for s in range(kernel_width):
            taps += padded[:, :, :, x * stride_x + s * dilation_x]
    return taps


def nonzero_taps(inputs, pad, kernel_width, stride_x, dilation_x, out_width):
    """Return `nonzero_taps_plain` of the same arguments; each input is looked at once."""
    images, channels, height, width = inputs.shape
    top, bottom, left, right = pad
    columns = np.add.outer(np.arange(out_width) * stride_x, np.arange(kernel_width) * dilation_x)
    uses = np.bincount(columns.ravel(), minlength=left + width + right)[left : left + width]
    rows = np.ascontiguousarray(inputs).reshape(-1, width)
    rows.flags.writeable = False  # one type to numba, whoever owns the inputs
    taps = np.zeros((images, channels, top + height + bottom), dtype=np.int64)
    taps[:, :, top : top + height] = weighted_nonzeros(rows, uses.astype(np.int32)).reshape(
        images, channels, height
    )
    return taps


def weighted_nonzeros_plain(rows, weights):
    """Sum, for each row, of the weights at its places that are not zero; below 2**31."""
    return (rows != 0) @ weights.astype(np.int64)


@njit(cache=True, nogil=True)
def weighted_nonzeros(rows, weights):
    totals = np.empty(rows.shape[0], dtype=np.int64)
    for i in range(rows.shape[0]):
        total = np.int32(0)
        for j in range(rows.shape[1]):
            total += weights[j] if rows[i, j] != 0 else np.int32(0)
        totals[i] = total
    return totals
