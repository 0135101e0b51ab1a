"""Layers in fixed point: the same integers as plain int64 arithmetic, at the speed of a BLAS.

A sum of products is exact in floating point as long as no partial sum leaves the integers that the
mantissa holds: |sum| <= sum |w| * max |x| + |bias|, for each filter, against 2**24 (float32) or 2**53
(float64). The narrowest type whose bound is proven for the operands at hand is used; beyond both, int64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simhw.reference import layers
from simhw.reference.convolution import blocks, convolve
from simhw.reference.layers import Pool
from simhw.reference.numbers import (
    activation_range,
    dequantize,
    divide,
    magnitude,
    quantize,
    requantize,
    storage_dtype,
)
from simhw.shapes import LayerShape, NumberFormat

_FLOAT32_HOLDS, _FLOAT64_HOLDS = 1 << 24, 1 << 53
_SCALES = range(-64, 65)  # shifts by which scaling a proven float32 or float64 sum stays exact
_BLOCK = 1 << 18  # elements of the images treated at once where a wider type is needed between


def conv_plain(
    shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """The definition: sums of products plus bias, in int64 [N, M, E, F].

    Each filter element (r, s) meets the inputs that lie r * dilation rows and s * dilation columns into
    every window; what lies outside the map is zero.
    """
    top, bottom, left, right = shape.pad
    maps = np.pad(inputs.astype(np.int64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    maps = maps.reshape(shape.batch, shape.groups, shape.group_in_channels, *maps.shape[2:])
    filters = weights.astype(np.int64)
    filters = filters.reshape(shape.groups, shape.group_out_channels, *filters.shape[1:])
    e, f = shape.out_height, shape.out_width
    (down, across), (apart_down, apart_across) = shape.stride, shape.dilation
    sums = np.zeros((shape.batch, shape.groups, shape.group_out_channels, e, f), dtype=np.int64)
    for r in range(shape.kernel_height):
        for s in range(shape.kernel_width):
            met = maps[..., r * apart_down :: down, s * apart_across :: across][..., :e, :f]
            sums += np.einsum("gmc,ngcef->ngmef", filters[..., r, s], met)
    sums = sums.reshape(shape.output_shape)
    return sums if bias is None else sums + bias.astype(np.int64)[:, None, None]


def accumulate(
    shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """Return what `conv_plain` returns, int64 [N, M, E, F], fast."""
    dtype = exact_dtype(shape, inputs, weights, bias)
    if dtype is np.int64:
        return conv_plain(shape, inputs, weights, bias)
    out = np.empty(shape.output_shape, dtype=np.int64)
    return convolve(shape, inputs, weights, out, dtype, _adder(shape, bias, dtype))


def layer(
    shape: LayerShape,
    inputs: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    shift: int,
    fmt: NumberFormat,
    activation: str | None = None,
) -> np.ndarray:
    """Return a layer's output in `fmt`: saturate(round_half_even((w * x + bias) / 2**shift)), activated.

    `bias` is int64 in accumulator format; `shift` is the accumulator's fraction less the output's.
    """
    dtype = exact_dtype(shape, inputs, weights, bias)
    if dtype is np.int64 or shift not in _SCALES:
        return requantize(accumulate(shape, inputs, weights, bias), shift, fmt, activation)
    low, high = activation_range(fmt, activation)
    add_bias = _adder(shape, bias, dtype)

    def finish(sums: np.ndarray, place: tuple[slice, slice]) -> None:
        add_bias(sums, place)
        sums *= dtype(2.0**-shift)  # a power of two: only the exponent changes
        np.rint(sums, out=sums)  # half to even, on exact values
        np.clip(sums, low, high, out=sums)

    out = np.empty(shape.output_shape, dtype=storage_dtype(fmt))
    return convolve(shape, inputs, weights, out, dtype, finish)


def _adder(shape: LayerShape, bias: np.ndarray | None, dtype: type) -> Callable:
    offsets = None if bias is None else bias.astype(dtype).reshape(shape.groups, -1, 1)

    def add_bias(sums: np.ndarray, place: tuple[slice, slice]) -> None:
        if offsets is not None:
            sums += offsets[place]

    return add_bias


def exact_dtype(
    shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None
) -> type:
    """Return the narrowest of float32, float64, int64 in which every partial sum of the layer is exact."""
    largest_input, largest_weight = int(magnitude(inputs)), int(magnitude(weights))
    offset = 0 if bias is None else int(magnitude(bias))
    coarse = shape.window * largest_weight * largest_input + offset
    if coarse <= _FLOAT32_HOLDS:
        return np.float32
    if coarse <= _FLOAT64_HOLDS and largest_weight * largest_input > _FLOAT32_HOLDS:
        return np.float64  # one product may be beyond float32: no need to sum the weights
    bound = largest_input * _largest_filter(weights) + offset
    if bound <= _FLOAT32_HOLDS:
        return np.float32
    if bound <= _FLOAT64_HOLDS:
        return np.float64
    if bound < 1 << 63:
        return np.int64
    raise OverflowError("a sum of products may leave int64")


def _largest_filter(weights: np.ndarray) -> int:
    """Return the largest sum of |w| over one filter."""
    filters = weights.reshape(weights.shape[0], -1)
    sums = [
        int(np.abs(filters[part].astype(np.int64)).sum(axis=1).max())
        for part in blocks(len(filters), _BLOCK // max(1, filters.shape[1]))
    ]
    return max(sums)


def avgpool(pool: Pool, inputs: np.ndarray, fmt: NumberFormat) -> np.ndarray:
    """Return each window's sum over its count, rounded half to even, in the input's format."""
    counts = pool.counts(*inputs.shape[2:])

    def average(block: np.ndarray) -> np.ndarray:
        return divide(layers.reduce_windows(pool, block.astype(np.int64), np.add, 0), counts, fmt)

    return _by_images(average, inputs, pool.out_size(*inputs.shape[2:]), fmt)


def globalavgpool(inputs: np.ndarray, fmt: NumberFormat) -> np.ndarray:
    """Return each map's sum over its count, rounded half to even, in the input's format."""
    sums = inputs.sum(axis=(2, 3), keepdims=True, dtype=np.int64)
    return divide(sums, inputs.shape[2] * inputs.shape[3], fmt)


def activate(inputs: np.ndarray, fmt: NumberFormat, activation: str | None) -> np.ndarray:
    """Return relu or relu6 of integers in `fmt`, in the same format."""
    low, high = activation_range(fmt, activation)
    return np.clip(inputs, low, high)


def add(
    operands: Sequence[np.ndarray],
    formats: Sequence[NumberFormat],
    fmt: NumberFormat,
    activation: str | None = None,
) -> np.ndarray:
    """Return the exact sum of operands of several formats, requantized to `fmt`, then activated."""
    common = max(given.fraction for given in formats)
    widest = max(given.bits + common - given.fraction for given in formats) + len(operands)
    exact = np.int64 if widest < 63 else object  # Python's integers, for formats absurdly far apart

    def total(*blocks_of_operands: np.ndarray) -> np.ndarray:
        sums = 0
        for block, given in zip(blocks_of_operands, formats, strict=True):
            sums = sums + (block.astype(exact) << (common - given.fraction))
        return requantize(np.asarray(sums), common - fmt.fraction, fmt, activation)

    out = np.empty(operands[0].shape, dtype=storage_dtype(fmt))
    for images in _image_blocks(operands[0]):
        out[images] = total(*(operand[images] for operand in operands))
    return out


def concat(operands: Sequence[np.ndarray], formats: Sequence[NumberFormat], fmt: NumberFormat) -> np.ndarray:
    """Return the operands joined along the channels, each requantized to `fmt`."""
    n, _, h, w = operands[0].shape
    out = np.empty((n, sum(o.shape[1] for o in operands), h, w), dtype=storage_dtype(fmt))
    start = 0
    for operand, given in zip(operands, formats, strict=True):
        part = out[:, start : start + operand.shape[1]]
        for images in _image_blocks(operand):
            part[images] = requantize(operand[images].astype(np.int64), given.fraction - fmt.fraction, fmt)
        start += operand.shape[1]
    return out


def through_real(
    function: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, given: NumberFormat, fmt: NumberFormat
) -> np.ndarray:
    """Return `function` of the real numbers that `inputs` stand for, in float64, quantized to `fmt`.

    For what has no integer definition: LRN, sigmoid, softmax, a batch norm that is not folded.
    `function` keeps shapes and treats images alone.
    """

    def step(block: np.ndarray) -> np.ndarray:
        return quantize(function(dequantize(block, given, np.float64)), fmt)

    return _by_images(step, inputs, inputs.shape[2:], fmt)


def _by_images(
    function: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, size: tuple[int, ...], fmt: NumberFormat
) -> np.ndarray:
    out = np.empty((*inputs.shape[:2], *size), dtype=storage_dtype(fmt))
    for images in _image_blocks(inputs):
        out[images] = function(inputs[images])
    return out


def _image_blocks(array: np.ndarray) -> list[slice]:
    return blocks(array.shape[0], _BLOCK // max(1, array[:1].size))
