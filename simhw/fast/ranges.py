"""Between which numbers the values of each channel lie."""

from __future__ import annotations

import numpy as np
from numba import njit


def channel_ranges_plain(values):
    """Return int64 (lowest, highest) of each channel of integers [N, C, H, W]; 0 counts as one of them."""
    lows, tops = (each(axis=(0, 2, 3), initial=0) for each in (values.min, values.max))
    return lows.astype(np.int64), tops.astype(np.int64)


def channel_ranges(values):
    images, channels, height, width = values.shape
    return planes_ranges(np.ascontiguousarray(values).reshape(images, channels, height * width))


def planes_ranges_plain(planes):
    """Return `channel_ranges_plain` of [N, C, H * W]."""
    return channel_ranges_plain(planes[..., None])


@njit(cache=True, nogil=True)
def planes_ranges(planes):
    images, channels, size = planes.shape
    lows, tops = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for n in range(images):
        for c in range(channels):
            plane = planes[n, c]
            low = high = plane.dtype.type(0)
            for i in range(size):
                low = min(low, plane[i])
                high = max(high, plane[i])
            lows[c], tops[c] = min(lows[c], low), max(tops[c], high)
    return lows, tops
