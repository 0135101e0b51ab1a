"""Convolution whose sums stop early, as SnaPEA's do: exact integers, and how far each window came."""

from __future__ import annotations

import numpy as np
from numba import config, njit

from simhw.fast import pairs, tiles, walk_back
from simhw.fast.conv import _cut, _frozen, _output_size, _share_out, conv_accumulate
from simhw.fast.ranges import channel_ranges
from simhw.fast.requantize import requantize
from simhw.fast.walk_back import BY_PREDICTION, BY_SIGN, COMPLETE, narrow_plain, stop_plain

__all__ = ["BY_PREDICTION", "BY_SIGN", "COMPLETE", "early_termination", "early_termination_plain"]

_TILE = 64  # windows stepped at once
_FEW_WINDOWS = 16  # fewer than these are summed one by one, and not in vectors
_MANY_WEIGHTS, _MANY_PRODUCTS = 1 << 19, 1 << 24  # below these a second thread takes longer to start
_LOOK = 16  # weights between two looks at whether any window of a tile goes on


def early_termination_plain(
    inputs, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, pad, dilation, groups,
    inclusive=False, pad_value=0, narrow=None,
):  # fmt: skip
    """Sum the products of every window with every filter, in the filter's own order, until a sum may stop.

    inputs [N, C, H, W] are integers, padded with `pad_value`: one for all channels or one for each.
    weights [M, K] are in the order in which they are executed: weight j of filter m meets input
    `order[m, j]` of its K = C / groups * R * S, counted (c, r, s), where `kernel` is (R, S). A sum starts at
    bias[m]. Where prefix[m] is not 0, a sum below thresholds[m] after that many products stops (by
    prediction). From weight `negatives_from[m]` on it stops after each product that leaves it below zero
    (by sign). `inclusive` has it stop at the threshold, and at zero, too. stride and dilation are
    (vertical, horizontal), pad is (top, bottom, left, right).

    `narrow` = (shift, high) asks for what a layer with a ReLU makes of the sums: 0 where a window stopped,
    else as `requantize` has it, from 0 to `high`, which is below 2**15.

    Returns int64 sums [N, M, E, F], complete or as they were when they stopped, or if `narrow` int16 outputs;
    int32 products executed, or if `narrow` int16 where a window has fewer than 2**15; uint8 COMPLETE,
    BY_SIGN or BY_PREDICTION.
    """
    images = inputs.shape[0]
    filters, size = weights.shape
    padded = _padded(inputs.astype(np.int64), pad, pad_value)
    spans = [dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    out_size = windows.shape[2:4]
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(images, *out_size, groups, size)
    sums = np.empty((images, filters, *out_size), dtype=np.int64)
    macs = np.empty(sums.shape, dtype=np.int32)
    stopped = np.empty(sums.shape, dtype=np.uint8)
    for m in range(filters):
        group = m // (filters // groups)
        products = columns[:, :, :, group, order[m]] * weights[m].astype(np.int64)
        after = bias[m] + products.cumsum(axis=-1)
        sums[:, m], macs[:, m], stopped[:, m] = stop_plain(
            after, prefix[m], thresholds[m], negatives_from[m], inclusive
        )
    if narrow is None:
        return sums, macs, stopped
    return narrow_plain(sums, stopped, *narrow), macs.astype(_kinds(narrow, size)[1]), stopped


def early_termination(
    inputs, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, pad, dilation, groups,
    inclusive=False, pad_value=0, narrow=None, complete=None, out=None, threads=None, ranges=None,
    natural=None,
):  # fmt: skip
    """Return `early_termination_plain` of the same arguments; inputs and weights are int16 (or int8).

    At about the speed of dense convolution where inputs are not negative and no weight is positive from
    `negatives_from` on: such sums, once below zero, stay there. Else as the definition has it, window by
    window, which is some ten times slower. `complete` are the complete sums [N, M, E, F], if the caller has
    them: then only what stopping saves is computed. `out` are arrays for the three results: without them
    new memory is asked for, which may take as long as the rest. `threads` is at most how many threads
    work on it, by default NUMBA_NUM_THREADS. `ranges` are `channel_ranges` of the inputs, and `natural`
    the weights [M, C / groups, R, S] where they are from, if the caller has them; both are taken at their
    word. `order` names each weight of a filter once. No bias is as large as 2**61.
    """
    if narrow is not None and not (-62 <= narrow[0] <= 62 and 0 <= narrow[1] < 1 << 15):
        raise ValueError(f"narrow: wants a shift of -62 to 62 and a highest output below 2**15, got {narrow}")
    bias = np.asarray(bias)
    if max(int(bias.max(initial=0)), -int(bias.min(initial=0))) >= 1 << 61:
        raise ValueError("bias: wants less than 2**61")
    threads = threads or config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    kernel, stride, pad, dilation = tuple(kernel), tuple(stride), tuple(pad), tuple(dilation)
    shape = len(inputs), len(weights), *_output_size(inputs.shape, (0, 0, *kernel), stride, pad, dilation)
    kinds = _kinds(narrow, weights.shape[1])
    results = out or [np.empty(shape, kind) for kind in kinds]
    for result, kind in zip(results, kinds, strict=True) if out else ():
        if result.shape != shape or result.dtype != kind or not result.flags.c_contiguous:
            wanted = ", ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"out: wants contiguous arrays {shape} of {wanted}")
    if pairs.INTERPRETED:
        made = early_termination_plain(
            inputs, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, pad, dilation,
            groups, inclusive, pad_value, narrow,
        )  # fmt: skip
        for result, value in zip(results, made, strict=True):
            result[...] = value
        return tuple(results)
    weights, order = _frozen(weights, np.int16), _frozen(order, np.int32)
    bias, thresholds = _frozen(bias, np.int64), _frozen(thresholds, np.int64)
    prefix, negatives_from = _frozen(prefix, np.int32), _frozen(negatives_from, np.int32)
    layer = weights, order, bias, prefix, thresholds, negatives_from
    geometry = kernel, stride, dilation, groups
    few = shape[0] * shape[2] * shape[3] < _FEW_WINDOWS
    border = np.asarray(pad_value if any(pad) else 0)
    lows, tops = channel_ranges(inputs) if ranges is None else ranges
    tops = np.maximum(tops, border)
    falls, natural = _natural(weights, order, negatives_from, natural, threads)
    if not falls or lows.any() or border.min(initial=0) < 0:
        padded = _padded(inputs, pad, pad_value)
        sums = results[0] if narrow is None else np.empty(shape, np.int64)
        _by_steps(padded, *layer, *geometry, bool(inclusive), sums, *results[1:], threads)  # pyright: ignore
        if narrow is not None:
            outputs, _ = requantize(sums, narrow[0], 0, narrow[1])
            results[0][...] = np.where(results[2] == COMPLETE, outputs, 0)
        return tuple(results)
    if few and complete is None:
        padded, dense = _padded(inputs, pad, pad_value), natural.reshape(len(weights), -1, *kernel)
        complete = conv_accumulate(padded, dense, bias, stride, (0, 0, 0, 0), dilation, groups, threads)
    if results[0].size:
        packed, cuts = _packed(natural, groups, tops if complete is None else None, threads)
        if complete is None:
            complete = np.empty((0, 0, 0, 0), np.int64)
        windows = tiles.lay_windows(inputs, pad, pad_value, *geometry)
        top = max(1, int(tops.max()))
        rest = (packed, cuts, _frozen(complete, np.int64), groups, bool(inclusive), *(narrow or (0, 0)))
        _by_walks(windows, top, *layer, *rest, *results, threads)  # pyright: ignore
    return tuple(results)


def _kinds(narrow, size):
    """Return of which types the results are."""
    if narrow is None:
        return np.int64, np.int32, np.uint8
    return np.int16, np.int16 if size < 1 << 15 else np.int32, np.uint8


def _natural(weights, order, negatives_from, natural, threads):
    """Return whether no weight behind `negatives_from` is positive, and the weights [M, K] in their order."""
    filters = len(weights)
    known = natural is not None
    natural = np.reshape(natural, weights.shape) if known else np.zeros(weights.shape, np.int16)
    rising = []

    def check(first, end):
        rising.append(tiles.check_order(weights, order, negatives_from, first, end))
        if not known:
            tiles.put_back(weights, order, first, end, natural)

    threads = threads if weights.size >= _MANY_WEIGHTS else 1
    _share_out(check, _cut(0, filters, 1, _shares(threads)), threads)
    return not any(rising), _frozen(natural, np.int16)


def _packed(natural, groups, tops, threads):
    """Return int32 panels of filters and their blocks.

    `tops` are the largest inputs of each channel; without them nothing is to be multiplied.
    """
    filters, size = natural.shape
    taps = 1 if tops is None else size * groups // len(tops)
    panels = -(-filters // groups // pairs.FILTERS)
    packed = np.empty((0 if tops is None else groups * panels, -(-size // 2), pairs.FILTERS), np.int32)
    cuts = np.empty(packed.shape[:2], np.int64)

    def pack(first, end):
        tiles.pack_filters(natural, filters // groups, first, end, packed)
        tiles.prove_panels(packed, tops, taps, panels, first, end, cuts)

    threads = threads if natural.size >= _MANY_WEIGHTS else 1
    _share_out(pack, _cut(0, len(packed), 1, _shares(threads)), threads)
    return _frozen(packed, np.int32), cuts


def _by_walks(
    windows, top, weights, order, bias, prefix, thresholds, negatives_from, packed, cuts, complete, groups,
    inclusive, shift, high, sums, macs, stopped, threads,
):  # fmt: skip
    """Make the complete sums, unless there are some, and walk them back to where they stopped.

    No input is above `top`.
    """
    per_group, panels = len(weights) // groups, len(packed) // groups
    blocks = walk_back.prefix_blocks(weights, prefix, ((1 << 31) - 1) // top)
    threads = threads if sums.size * weights.shape[1] >= _MANY_PRODUCTS else 1
    count = sums.shape[2] * sums.shape[3]
    complete, *flat = [result.reshape(*result.shape[:2], count) for result in (complete, sums, macs, stopped)]
    ranges = _cut(0, -(-len(sums) * count // tiles.TILE), 1, _shares(threads))
    filters = _cut(0, per_group, pairs.FILTERS, -(-_shares(threads) // (groups * len(ranges))))
    jobs = [
        (g, *some, g * per_group + first, g * per_group + end, g * panels + first // pairs.FILTERS)
        for g in range(groups)
        for first, end in filters
        for some in ranges
    ]
    _share_out(
        lambda g, *job: walk_back.walk_tiles(
            windows.values, windows.image, g * windows.group, windows.pitch, windows.taps, sums.shape[3],
            weights, order, bias, packed, prefix, *blocks, thresholds, negatives_from, inclusive, cuts,
            complete, shift, high, *job, *flat,
        ),
        jobs,
        threads,
    )  # fmt: skip


def _shares(threads):
    """Into how many parts work is cut for so many threads."""
    return 1 if threads == 1 else 4 * threads


def _padded(inputs, pad, pad_value):
    images, channels, height, width = inputs.shape
    padded = np.empty((images, channels, pad[0] + height + pad[1], pad[2] + width + pad[3]), inputs.dtype)
    padded[...] = np.reshape(pad_value, (-1, 1, 1))
    padded[:, :, pad[0] : pad[0] + height, pad[2] : pad[2] + width] = inputs
    return padded


def _by_steps(
    padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, dilation, groups,
    inclusive, sums, macs, stopped, threads,
):  # fmt: skip
    """Stop sums as they grow, whatever the signs."""
    padded, out_size = _frozen(padded, np.int16), sums.shape[2:]
    flat = [result.reshape(*result.shape[:2], -1) for result in (sums, macs, stopped)]
    _share_out(
        lambda first, end: step_windows(
            padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, dilation,
            groups, inclusive, out_size, first, end, *flat,
        ),
        _cut(0, len(padded) * groups * -(-out_size[0] * out_size[1] // _TILE), 1, _shares(threads)),
        threads,
    )  # fmt: skip


def step_windows_plain(
    padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, dilation,
    groups, inclusive, out_size, first, end, sums, macs, stopped,
):  # fmt: skip
    """Write what becomes of the windows of tiles `first` to `end` into sums, macs and stopped [N, M, E * F].

    A tile is 64 consecutive windows of one image and one group; groups vary before images.
    """
    results = early_termination_plain(
        padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, (0, 0, 0, 0),
        dilation, groups, inclusive,
    )  # fmt: skip
    tiles, per_group = -(-sums.shape[2] // _TILE), len(weights) // groups
    for tile in range(first, end):
        (n, group), start = divmod(tile // tiles, groups), tile % tiles * _TILE
        part = n, slice(group * per_group, (group + 1) * per_group), slice(start, start + _TILE)
        for target, result in zip((sums, macs, stopped), results, strict=True):
            target[part] = result.reshape(sums.shape)[part]


@njit(cache=True, nogil=True)
def step_windows(
    padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, dilation,
    groups, inclusive, out_size, first, end, sums, macs, stopped,
):  # fmt: skip
    size = order.shape[1]
    depth = padded.shape[1] // groups
    per_group = weights.shape[0] // groups
    count = out_size[0] * out_size[1]
    tiles = (count + _TILE - 1) // _TILE
    rows = np.zeros((size, _TILE), dtype=np.int16)
    total = np.empty(_TILE, dtype=np.int64)
    going = np.empty(_TILE, dtype=np.int64)  # -1 while a window goes on, else 0
    steps = np.empty(_TILE, dtype=np.int64)
    predicted = np.empty(_TILE, dtype=np.int64)
    slack = 1 if inclusive else 0
    for tile in range(first, end):
        n, group = divmod(tile // tiles, groups)
        start = tile % tiles * _TILE
        wide = min(_TILE, count - start)
        k = 0
        for c in range(group * depth, (group + 1) * depth):
            for r in range(kernel[0]):
                for s in range(kernel[1]):
                    for i in range(wide):
                        y, x = divmod(start + i, out_size[1])
                        rows[k, i] = padded[
                            n, c, y * stride[0] + r * dilation[0], x * stride[1] + s * dilation[1]
                        ]
                    k += 1
        for m in range(group * per_group, (group + 1) * per_group):
            total[:] = bias[m]
            going[:] = -1
            steps[:] = 0
            predicted[:] = 0
            for j in range(prefix[m]):
                w = np.int64(weights[m, j])
                row = rows[order[m, j]]
                for i in range(_TILE):
                    total[i] += w * np.int64(row[i])
            if prefix[m] > 0:
                for i in range(_TILE):
                    if total[i] < thresholds[m] or (inclusive and total[i] == thresholds[m]):
                        going[i] = 0
                        steps[i] = prefix[m] - negatives_from[m]
                        predicted[i] = 1
            for j in range(prefix[m], negatives_from[m]):
                w = np.int64(weights[m, j])
                row = rows[order[m, j]]
                for i in range(_TILE):
                    total[i] += w * np.int64(row[i]) & going[i]
            for chunk in range(negatives_from[m], size, _LOOK):
                any_going = np.int64(0)
                for i in range(_TILE):
                    any_going |= going[i]
                if any_going == 0:
                    break
                for j in range(chunk, min(chunk + _LOOK, size)):
                    w = np.int64(weights[m, j])
                    row = rows[order[m, j]]
                    for i in range(_TILE):
                        total[i] += w * np.int64(row[i]) & going[i]
                        steps[i] -= going[i]
                        going[i] = going[i] if total[i] >= slack else 0
            for i in range(wide):
                sums[n, m, start + i] = total[i]
                macs[n, m, start + i] = negatives_from[m] + steps[i]
                by_sign = BY_SIGN if going[i] == 0 else COMPLETE
                stopped[n, m, start + i] = BY_PREDICTION if predicted[i] else by_sign
