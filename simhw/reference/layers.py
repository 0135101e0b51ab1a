"""Layers in float32, tensors in N, C, H, W. Labelled inexact: the order of a sum is the BLAS's own.

`lrn`, `sigmoid`, `softmax` and `batchnorm` compute in the dtype they are given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simhw.reference.convolution import convolve
from simhw.shapes import LayerShape


def layer(
    shape: LayerShape,
    inputs: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """Return a convolution or linear layer with its bias and activation, in float32."""
    out = np.empty(shape.output_shape, dtype=np.float32)
    offsets = None if bias is None else bias.astype(np.float32).reshape(shape.groups, -1, 1)

    def finish(sums: np.ndarray, place: tuple[slice, slice]) -> None:
        if offsets is not None:
            sums += offsets[place]
        activate(sums, activation)

    return convolve(shape, inputs, weights, out, np.float32, finish)


def activate(values: np.ndarray, activation: str | None) -> np.ndarray:
    """Apply relu or relu6 in place; None leaves the values as they are."""
    if activation == "relu":
        np.maximum(values, 0, out=values)
    elif activation == "relu6":
        np.clip(values, 0, 6, out=values)
    elif activation is not None:
        raise ValueError(f"unknown activation {activation!r}")
    return values


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The windows of a pooling layer.

    With `ceil_mode` a last window may overhang the padded map, if it begins inside the input or its
    leading padding (Caffe's rule). An average divides by its window clipped to the padded map, padding
    included, or with `count_include_pad` off by what lies on the input alone.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    ceil_mode: bool = False
    count_include_pad: bool = True

    def out_size(self, height: int, width: int) -> tuple[int, int]:
        """Return how many windows there are along each axis; below 1 where none fits."""
        return self._along(0, height), self._along(1, width)

    def _along(self, axis: int, size: int) -> int:
        before, after = self.pad[2 * axis : 2 * axis + 2]
        beyond_first = size + before + after - self.kernel[axis]
        stride = self.stride[axis]
        if not self.ceil_mode:
            return beyond_first // stride + 1
        count = -(-beyond_first // stride) + 1
        while count > 1 and (count - 1) * stride >= size + before:
            count -= 1
        return count

    def counts(self, height: int, width: int) -> np.ndarray:
        """Return by how much each window's sum [E, F] is divided."""
        rows, columns = (self._counts_along(axis, size) for axis, size in enumerate((height, width)))
        return rows[:, None] * columns[None, :]

    def _counts_along(self, axis: int, size: int) -> np.ndarray:
        before, after = self.pad[2 * axis : 2 * axis + 2]
        start = np.arange(self._along(axis, size), dtype=np.int64) * self.stride[axis] - before
        end = np.minimum(start + self.kernel[axis], size + after)
        if not self.count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        return end - start


def reduce_windows(pool: Pool, inputs: np.ndarray, ufunc: np.ufunc, neutral: float) -> np.ndarray:
    """Combine each window with `ufunc`, down the columns first, then across; `neutral` lies around."""
    n, c, h, w = inputs.shape
    sizes = pool.out_size(h, w)
    top, left = pool.pad[0], pool.pad[2]
    height, width = ((sizes[i] - 1) * pool.stride[i] + pool.kernel[i] for i in (0, 1))  # all windows together
    if (top, left) != (0, 0) or height > h or width > w:
        around = np.full((n, c, max(height, top + h), max(width, left + w)), neutral, dtype=inputs.dtype)
        around[:, :, top : top + h, left : left + w] = inputs
        inputs = around
    for axis, size, stride, kernel in zip((2, 3), sizes, pool.stride, pool.kernel, strict=True):
        before = (slice(None),) * axis
        starts = [inputs[(*before, slice(k, k + (size - 1) * stride + 1, stride))] for k in range(kernel)]
        inputs = starts[0].copy()
        for other in starts[1:]:
            ufunc(inputs, other, out=inputs)
    return inputs


def maxpool(pool: Pool, inputs: np.ndarray) -> np.ndarray:
    """Return each window's maximum, exact in any dtype; padding is lower than every input."""
    lowest = -np.inf if inputs.dtype.kind == "f" else np.iinfo(inputs.dtype).min
    return reduce_windows(pool, inputs, np.maximum, lowest)


def avgpool(pool: Pool, inputs: np.ndarray) -> np.ndarray:
    """Return each window's average."""
    sums = reduce_windows(pool, inputs, np.add, 0)
    return (sums / pool.counts(*inputs.shape[2:])).astype(inputs.dtype, copy=False)


def globalavgpool(inputs: np.ndarray) -> np.ndarray:
    """Return each map's average as a map of one element."""
    return inputs.mean(axis=(2, 3), keepdims=True, dtype=inputs.dtype)


def batchnorm(
    inputs: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> np.ndarray:
    """Return gamma * (x - mean) / sqrt(var + eps) + beta, by channel."""
    scale, offset = batchnorm_terms(gamma, beta, mean, var, eps)
    scale, offset = (v.astype(inputs.dtype)[:, None, None] for v in (scale, offset))
    return inputs * scale + offset


def batchnorm_terms(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and offset by channel, in float64, to which a batch norm comes down at inference."""
    scale = gamma.astype(np.float64) / np.sqrt(var.astype(np.float64) + eps)
    return scale, beta - scale * mean


def lrn(inputs: np.ndarray, size: int, alpha: float, beta: float, k: float = 1.0) -> np.ndarray:
    """Return x / (k + alpha / size * sum of x**2 over `size` channels around x's) ** beta.

    Krizhevsky et al., NIPS 2012, with Caffe's alpha / size; channels beyond the ends count as zero.
    """
    channels, reach = inputs.shape[1], size // 2
    squares = np.square(inputs)
    sums = squares.copy()
    for d in range(1, min(reach, channels - 1) + 1):
        sums[:, d:] += squares[:, :-d]
        sums[:, :-d] += squares[:, d:]
    sums *= alpha / size
    sums += k
    if beta == 0.75:  # the value in use; two square roots cost a fraction of a power
        root = np.sqrt(sums)
        return inputs / (root * np.sqrt(root))
    return inputs / sums**beta


def sigmoid(inputs: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), written so that no exponential overflows."""
    small = np.exp(-np.abs(inputs))
    return np.where(inputs >= 0, 1, small) / (1 + small)


def softmax(inputs: np.ndarray) -> np.ndarray:
    """Return the softmax across channels."""
    powers = np.exp(inputs - inputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def add(operands: Sequence[np.ndarray], activation: str | None = None) -> np.ndarray:
    """Return the elementwise sum of the operands, from the first to the last."""
    out = operands[0].copy()
    for operand in operands[1:]:
        out += operand
    return activate(out, activation)


def concat(operands: Sequence[np.ndarray]) -> np.ndarray:
    """Return the operands joined along the channels."""
    return np.concatenate(list(operands), axis=1)


def flatten(inputs: np.ndarray) -> np.ndarray:
    """Return each image's values as channels of a map of one element, in their order C, H, W."""
    return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]), 1, 1)


def subsample_pad(inputs: np.ndarray, stride: tuple[int, int], channels: tuple[int, int]) -> np.ndarray:
    """Return every stride-th row and column, with channels of zeros before and after.

    The shortcut without weights of He et al., CVPR 2016 (option A); exact in any dtype.
    """
    kept = inputs[:, :, :: stride[0], :: stride[1]]
    n, c, h, w = kept.shape
    out = np.zeros((n, channels[0] + c + channels[1], h, w), dtype=inputs.dtype)
    out[:, channels[0] : channels[0] + c] = kept
    return out
