"""Exact integer convolution: int16 inputs and weights in, int64 sums out."""

from __future__ import annotations

from threading import Thread

import numpy as np
from numba import config

from simhw.fast import direct, pairs

_BLOCK_BYTES = 1 << 24  # working copies of weights and windows stay below this, whatever the layer
_PLANE_BYTES = 1 << 22  # and so do planes of pairs, unless one image takes more
_FEW_FILTERS = 4  # of a group: below this, most of a panel would be empty
_MANY_WINDOWS = 8  # from here on a layer with one window for each image is worth packing


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
    """Return `conv_accumulate_plain` of the same arguments, at about the speed of dense float32 BLAS.

    inputs and weights are int16 (or int8), bias is int64. `threads` is at most how many threads work on
    it: by default as many as NUMBA_NUM_THREADS says, which is one for each core. Any number of callers
    may be inside at once, on threads or processes. Working memory is bounded, whatever the batch.
    """
    threads = threads or config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    stride, pad, dilation = tuple(stride), tuple(pad), tuple(dilation)
    inputs, weights, bias = _frozen(inputs, np.int16), _frozen(weights, np.int16), _frozen(bias, np.int64)
    if pairs.INTERPRETED or _pairs_may_overflow(inputs, weights):
        return _by_float64(inputs, weights, bias, stride, pad, dilation, groups)
    if groups == 1 and inputs.shape[1:] == weights.shape[1:] and not any(pad):
        return _as_matrices(inputs, weights, bias, threads)
    if weights.shape[0] // groups < _FEW_FILTERS:
        return _by_planes(inputs, weights, bias, stride, pad, dilation, groups, threads)
    return _by_pairs(inputs, weights, bias, stride, pad, dilation, groups, threads)


def _pairs_may_overflow(inputs, weights):
    """Only (-2**15)**2 + (-2**15)**2 is too large for the sum of a pair of products."""
    lowest = -(1 << 15)
    return inputs.min(initial=0) == lowest and weights.min(initial=0) == lowest


def _frozen(array, kind):
    """Return the array as numba sees it fastest: contiguous, and read-only whoever owns it.

    Arrays that may and arrays that may not be written are two types to numba, each compiled for itself.
    """
    if isinstance(array, np.ndarray) and array.dtype == kind:
        flags = array.flags
        if flags.c_contiguous and not flags.writeable:
            return array
    view = np.ascontiguousarray(array, dtype=kind).view()
    view.flags.writeable = False
    return view


def _as_matrices(inputs, weights, bias, threads):
    """A window as large as its input: a product of matrices."""
    images, filters = inputs.shape[0], weights.shape[0]
    rows, columns = weights.reshape(filters, -1), inputs.reshape(images, -1)
    if images >= _MANY_WINDOWS:
        # images become the windows of a 1x1 convolution
        across = np.ascontiguousarray(columns.T)[None, :, None, :]
        acc = _by_pairs(
            _frozen(across, np.int16), rows[:, :, None, None], bias, (1, 1), (0, 0, 0, 0), (1, 1), 1, threads
        )
        return np.ascontiguousarray(acc[0, :, 0].T)[:, :, None, None]
    acc = np.empty((images, filters), dtype=np.int64)
    _share_out(
        lambda first, end: direct.dot_rows(rows, columns, bias, first, end, acc),
        _cut(0, filters, 1, 8 * threads),
        threads,
    )
    return acc[:, :, None, None]


def _by_planes(inputs, weights, bias, stride, pad, dilation, groups, threads):
    """Depthwise convolution and its like, where a group has too few filters to fill a panel."""
    filters = weights.shape[0]
    images, channels, height, width = inputs.shape
    over = -(pad[0] + height + pad[1]) % stride[0], -(pad[2] + width + pad[3]) % stride[1]
    padded = np.pad(inputs, ((0, 0), (0, 0), (pad[0], pad[1] + over[0]), (pad[2], pad[3] + over[1])))
    rows, pitch = padded.shape[2] // stride[0], padded.shape[3] // stride[1]
    dealt = padded.reshape(images, channels, rows, stride[0], pitch, stride[1]).transpose(0, 1, 3, 5, 2, 4)
    phases = _frozen(dealt.reshape(images, channels, stride[0] * stride[1], rows * pitch), np.int16)
    out_size = _output_size(inputs.shape, weights.shape, stride, pad, dilation)
    acc = np.empty((images, filters, *out_size), dtype=np.int64)
    _share_out(
        lambda first, end: direct.convolve_planes(
            phases, pitch, weights, bias, stride, dilation, filters // groups, first, end, acc
        ),
        _cut(0, filters, 1, 4 * threads),
        threads,
    )
    return acc


def _by_pairs(inputs, weights, bias, stride, pad, dilation, groups, threads):
    """Convolution by pairs of products, some images at a time."""
    images, _, height, width = inputs.shape
    filters, depth, *kernel = weights.shape
    out_size = _output_size(inputs.shape, weights.shape, stride, pad, dilation)
    layout = pairs.pair_layout(depth, height, width, kernel, stride, pad, dilation, out_size[1])
    below, above = max(0, -int(inputs.min(initial=0))), max(0, int(inputs.max(initial=0)))
    flat = weights.reshape(filters, -1)
    acc = np.empty((images, filters, *out_size), dtype=np.int64)
    plane_size = layout.rows * layout.pitch
    planes_per_group = -(-depth // (1 if layout.row_pairs else 2)) * len(layout.phases)
    some_images = max(1, _PLANE_BYTES // (4 * groups * planes_per_group * plane_size))
    per_group = filters // groups
    for n in range(0, images, some_images):
        batch, target = inputs[n : n + some_images], acc[n : n + some_images]
        offsets = layout.places @ np.array([len(batch) * plane_size, 1])
        planes = [
            pairs.pair_planes(
                batch, g * depth, depth, layout.row_pairs, layout.phases, stride, pad, dilation,
                layout.rows, layout.pitch,
            )
            for g in range(groups)
        ]  # fmt: skip
        jobs = [
            (planes[g], first, end)
            for g in range(groups)
            for first, end in _cut(g * per_group, (g + 1) * per_group, pairs.FILTERS, 4 * threads)
        ]
        _share_out(
            lambda some_planes, first, end, offsets=offsets, target=target: pairs.convolve_panels(
                some_planes, offsets, flat, layout.lows, layout.highs, bias, below, above,
                layout.rows, layout.pitch, first, end, target,
            ),
            jobs,
            threads,
        )  # fmt: skip
    return acc


def _cut(first, end, step, parts):
    """Cut first..end into about `parts` ranges, each but the last a multiple of step long."""
    if parts == 1:
        return [(first, end)] if first < end else []
    length = step * max(1, -(-(end - first) // (step * parts)))
    return [(start, min(start + length, end)) for start in range(first, end, length)]


def _share_out(work, jobs, threads):
    """Call `work` with each of the jobs, on this thread and on up to threads - 1 more.

    Threads of our own and not numba's: any number of callers may use these at once (numba's `workqueue`
    layer ends the process when two do), and no parallel loops need compiling. The work itself holds no
    interpreter lock.
    """
    if threads == 1 or len(jobs) == 1:
        for job in jobs:
            work(*job)
        return
    waiting = iter(jobs)  # a list's iterator may be shared by threads
    faults = []

    def take():
        try:
            for job in waiting:
                work(*job)
        except BaseException as fault:
            faults.append(fault)

    helpers = [Thread(target=take) for _ in range(min(threads, len(jobs)) - 1)]
    for helper in helpers:
        helper.start()
    take()
    for helper in helpers:
        helper.join()
    if faults:
        raise faults[0]


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
    some_rows = max(1, _BLOCK_BYTES // (8 * window * out_width * max(1, min(some_images, images))))
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
