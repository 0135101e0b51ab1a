"""Exact sums of layers whose weights are made of coefficients, wider than the products of `conv` take."""

from __future__ import annotations

import numpy as np

from simhw.fast.conv import conv_accumulate

_DIGIT_BITS = 16
_IMAGES_AT_ONCE = 1024


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
    if coefficients is None:
        return conv_wide(inputs, weights, bias, stride, pad, dilation, groups)
    whole = groups == 1 and inputs.shape[1:] == weights.shape[1:] and not any(pad)
    if whole and int(fit[0]) > 1:
        sums = _by_shared_sums(inputs, coefficients, fit, bias)
        if sums is not None:
            return sums
    made = weights_of(coefficients, fit, weights.shape)
    return conv_wide(inputs, made, bias, stride, pad, dilation, groups)


def _by_shared_sums(inputs, coefficients, fit, bias):
    """Return the sums of a layer whose window is its input, as the array makes them; None if not exact so.

    d_t of each group, the sum of x**t y_x, is worked out once for all filters: the sum of |y_x| x**t is at
    most the largest |y| times that of x**t, and below 2**24 every partial sum of it is exact in float32,
    in any order. Then c_t d_t is summed in float64, exact as long as the sum of |c_t| times that bound
    stays below 2**53.
    """
    group, places = int(fit[0]), np.asarray(fit[2:], dtype=np.int64)
    filters, count, terms = coefficients.shape
    powers = np.arange(group, dtype=np.int64)[:, None] ** np.arange(terms)
    largest = max(-int(inputs.min(initial=0)), int(inputs.max(initial=0)))
    bounds = largest * powers.sum(axis=0)
    scaled = coefficients.astype(np.int64) << (places.max() - places)
    if bounds.max() >= 1 << 53 or (np.abs(scaled) @ bounds).sum(axis=1).max() >= 1 << 53:
        return None
    kind = np.float32 if bounds.max() < 1 << 24 else np.float64
    matrix = np.ascontiguousarray(scaled.reshape(filters, -1).T, dtype=np.float64)
    flat = inputs.reshape(len(inputs), -1)
    sums = np.empty((len(inputs), filters), dtype=np.int64)
    for first in range(0, len(inputs), _IMAGES_AT_ONCE):
        some = flat[first : first + _IMAGES_AT_ONCE]
        filled = np.zeros((len(some), count * group), dtype=kind)
        filled[:, : some.shape[1]] = some
        shared = filled.reshape(-1, group) @ powers.astype(kind)
        sums[first : first + len(some)] = shared.astype(np.float64).reshape(len(some), -1) @ matrix
    sums += bias
    return sums[:, :, None, None]
