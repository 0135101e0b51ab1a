"""Weights in two runs: those that raise a sum, then those that lower it."""

from __future__ import annotations

import numpy as np
from numba import njit


def sign_partition_plain(weights):
    """Return (weights, their places, how many are not negative) of each row [M, K].

    In each row those >= 0 come first, then the negative ones, both in the order in which they were.
    """
    order = (weights < 0).argsort(axis=1, kind="stable").astype(np.int32)
    return np.take_along_axis(weights, order, axis=1), order, (weights >= 0).sum(axis=1, dtype=np.int32)


@njit(cache=True)
def sign_partition(weights):
    rows, size = weights.shape
    ordered = np.empty_like(weights)
    order = np.empty((rows, size), np.int32)
    firsts = np.empty(rows, np.int32)
    for m in range(rows):
        at = 0
        for k in range(size):
            at += weights[m, k] >= 0
        firsts[m] = at
        up, down = 0, at
        for k in range(size):
            weight = weights[m, k]
            raising = weight >= 0
            place = up if raising else down
            ordered[m, place] = weight
            order[m, place] = k
            up += raising
            down += not raising
    return ordered, order, firsts
