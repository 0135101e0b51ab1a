"""Exact sums of layers whose weights are made of coefficients, wider than the products of `conv` take."""

from __future__ import annotations

import numpy as np

from simhw.fast.conv import conv_accumulate

_DIGIT_BITS = 16


def weights_of(coefficients, fit, shape):
    """Return the integers that coefficients [M, groups, terms] make, int64 of a weight shape [M, C, R, S].

    `fit` is N_w (0: each weight its own c0), bits, and the binary places of each term: weight x of a
    group is the sum of c_t x**t, every c_t brought to the most places.
    """
    group, places = int(fit[0]) or 1, np.asarray(fit[2:], dtype=np.int64)
    shifted = coefficients.astype(np.int64) << (places.max() - places)
    runs = shifted @ (np.arange(group, dtype=np.int64) ** np.arange(len(places))[:, None])
    filters = shape[0]
    return np.ascontiguousarray(runs.reshape(filters, -1)[:, : int(np.prod(shape[1:]))]).reshape(shape)


def conv_wide(inputs, weights, bias, stride, pad, dilation, groups):
    """Return `conv_accumulate_plain` of the same arguments, for weights of up to 32 bits.

    Weights are taken apart, w = d0 + 2**16 d1 + ..., into digits of 16 bits with a sign, and the sums of
    each digit put together: exact, as sums of integers are, as long as they have room in int64.
    """
    rest = np.asarray(weights, dtype=np.int64)
    sums, place = None, 0
    while sums is None or rest.any():
        digit = ((rest + (1 << (_DIGIT_BITS - 1))) & ((1 << _DIGIT_BITS) - 1)) - (1 << (_DIGIT_BITS - 1))
        rest = (rest - digit) >> _DIGIT_BITS
        own = bias if sums is None else np.zeros_like(bias)
        part = conv_accumulate(inputs, digit.astype(np.int16), own, stride, pad, dilation, groups)
        sums = part if sums is None else sums + (part << place)
        place += _DIGIT_BITS
    return sums


def conv_of_coefficients(inputs, weights, coefficients, fit, bias, stride, pad, dilation, groups):
    """Return the sums of a layer, int64: of its coefficients where it has any, else of its weights."""
    if coefficients is not None:
        weights = weights_of(coefficients, fit, weights.shape)
    return conv_wide(inputs, weights, bias, stride, pad, dilation, groups)
