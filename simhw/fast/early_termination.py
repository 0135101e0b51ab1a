"""Convolution whose sums stop early, as SnaPEA's do: exact integers, and how far each window came."""

from __future__ import annotations

import numpy as np
from numba import config, njit

from simhw.fast import pairs, walk_back
from simhw.fast.conv import _cut, _frozen, _output_size, _share_out, conv_accumulate
from simhw.fast.walk_back import BY_PREDICTION, BY_SIGN, COMPLETE, stop_plain

__all__ = ["BY_PREDICTION", "BY_SIGN", "COMPLETE", "early_termination", "early_termination_plain"]

_TILE = 64  # windows summed at once
_FEW_WINDOWS = 16  # fewer than these are summed one by one, and not in vectors
_LOOK = 16  # weights between two looks at whether any window of a tile goes on


def early_termination_plain(
    inputs, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, pad, dilation, groups,
    inclusive=False, pad_value=0,
):  # fmt: skip
    """Sum the products of every window with every filter, in the filter's own order, until a sum may stop.

    inputs [N, C, H, W] are integers, padded with `pad_value`. weights [M, K] are in the order in which they
    are executed: weight j of filter m meets input `order[m, j]` of its K = C / groups * R * S, counted
    (c, r, s), where `kernel` is (R, S). A sum starts at bias[m]. Where prefix[m] is not 0, a sum below
    thresholds[m] after that many products stops (by prediction). From weight `negatives_from[m]` on it
    stops after each product that leaves it below zero (by sign). `inclusive` has it stop at the threshold,
    and at zero, too. stride and dilation are (vertical, horizontal), pad is (top, bottom, left, right).

    Returns int64 sums [N, M, E, F], complete or as they were when they stopped; int32 products executed;
    uint8 COMPLETE, BY_SIGN or BY_PREDICTION.
    """
    images = inputs.shape[0]
    filters, size = weights.shape
    padding = ((0, 0), (0, 0), pad[:2], pad[2:])
    padded = np.pad(inputs.astype(np.int64), padding, constant_values=pad_value)
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
    return sums, macs, stopped


def early_termination(
    inputs, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, pad, dilation, groups,
    inclusive=False, pad_value=0, complete=None, threads=None,
):  # fmt: skip
    """Return `early_termination_plain` of the same arguments; inputs and weights are int16 (or int8).

    At about the speed of dense convolution where inputs are not negative and no weight is positive from
    `negatives_from` on: such sums, once below zero, stay there. Else, as the definition has it, window by
    window, which is some ten times slower. `complete` are the complete sums [N, M, E, F], if the caller has
    them. `threads` is at most how many threads work on it, by default NUMBA_NUM_THREADS.
    """
    if pairs.INTERPRETED:
        return early_termination_plain(
            inputs, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, pad, dilation,
            groups, inclusive, pad_value,
        )  # fmt: skip
    threads = threads or config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    kernel, stride, pad, dilation = tuple(kernel), tuple(stride), tuple(pad), tuple(dilation)
    weights, order = _frozen(weights, np.int16), _frozen(order, np.int32)
    bias, thresholds = _frozen(bias, np.int64), _frozen(thresholds, np.int64)
    prefix, negatives_from = _frozen(prefix, np.int32), _frozen(negatives_from, np.int32)
    filters, per_group = len(weights), len(weights) // groups
    shares = 1 if threads == 1 else 4 * threads
    shape = len(inputs), filters, *_output_size(inputs.shape, (0, 0, *kernel), stride, pad, dilation)
    known = complete is not None or shape[0] * shape[2] * shape[3] < _FEW_WINDOWS
    width = 1 if known else pairs.FILTERS
    panels, rising = -(-per_group // width), []
    half_size = -(-weights.shape[1] // 2)
    packed = np.empty((groups * panels, half_size, width, 2), np.int16)
    if weights.shape[1] % 2 or per_group % width:
        packed[:] = 0
    _share_out(
        lambda first, end: rising.append(
            walk_back.pack_filters(weights, order, negatives_from, width, per_group, first, end, packed)
        ),
        _cut(0, filters, 1, shares),
        threads,
    )
    layer = weights, order, bias, prefix, thresholds, negatives_from
    lowest_input = min(int(inputs.min(initial=0)), pad_value if any(pad) else 0)
    if lowest_input < 0 or any(rising):
        padded = _padded(inputs, pad, pad_value)
        return _by_steps(padded, *layer, kernel, stride, dilation, groups, inclusive, threads)
    if complete is not None:
        sums = np.array(complete, dtype=np.int64)
    elif known:
        natural = packed.reshape(filters, -1)[:, : weights.shape[1]].reshape(filters, -1, *kernel)
        margin = pad if pad_value == 0 else (0, 0, 0, 0)
        source = inputs if pad_value == 0 else _padded(inputs, pad, pad_value)
        sums = conv_accumulate(source, natural, bias, stride, margin, dilation, groups, threads)
    else:
        sums = np.empty(shape, dtype=np.int64)
    macs = np.empty(shape, dtype=np.int32)
    stopped = np.empty(shape, dtype=np.uint8)
    if not sums.size:
        return sums, macs, stopped
    windows = walk_back.lay_windows(inputs, pad, pad_value, kernel, stride, dilation, groups)
    tops = np.maximum(inputs.max(axis=(0, 2, 3)).astype(np.int64), pad_value if any(pad) else 0)
    blocks = walk_back.prefix_blocks(weights, prefix, ((1 << 31) - 1) // max(1, int(tops.max())))
    cuts = np.empty(packed.shape[:2], np.int64)
    packed = _frozen(packed.view(np.int32)[..., 0], np.int32)
    if not known:
        tops = np.repeat(tops.reshape(groups, -1).max(axis=0), kernel[0] * kernel[1])
        tops = np.append(tops, np.zeros(len(tops) % 2, np.int64))
        _share_out(
            lambda first, end: walk_back.prove_panels(packed, tops, first, end, cuts),
            _cut(0, len(packed), 1, shares),
            threads,
        )
    layer = (
        weights, order, bias, packed, prefix, *blocks, thresholds, negatives_from, bool(inclusive), cuts,
        known,
    )  # fmt: skip
    results = [result.reshape(*shape[:2], -1) for result in (sums, macs, stopped)]
    tiles = _cut(0, -(-shape[0] * shape[2] * shape[3] // walk_back.TILE), 1, shares)
    jobs = [
        (g, *some_tiles, g * per_group + first, g * per_group + end, g * panels + first // pairs.FILTERS)
        for g in range(groups)
        for first, end in _cut(0, per_group, pairs.FILTERS, -(-shares // (groups * len(tiles))))
        for some_tiles in tiles
    ]
    _share_out(
        lambda g, *job: walk_back.walk_tiles(
            windows.values, windows.image, g * windows.group, windows.pitch, windows.taps, shape[3],
            *layer, *job, *results,
        ),
        jobs,
        threads,
    )  # fmt: skip
    return sums, macs, stopped


def _padded(inputs, pad, pad_value):
    return np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=pad_value)


def _by_steps(
    padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, dilation, groups,
    inclusive, threads,
):  # fmt: skip
    """Stop sums as they grow, whatever the signs."""
    padded = _frozen(padded, np.int16)
    images, filters = len(padded), len(weights)
    out_size = _output_size(padded.shape, (0, 0, *kernel), stride, (0, 0, 0, 0), dilation)
    sums = np.empty((images, filters, *out_size), dtype=np.int64)
    macs = np.empty(sums.shape, dtype=np.int32)
    stopped = np.empty(sums.shape, dtype=np.uint8)
    flat = images, filters, -1
    _share_out(
        lambda first, end: step_windows(
            padded, weights, order, bias, prefix, thresholds, negatives_from, kernel, stride, dilation,
            groups, bool(inclusive), out_size, first, end,
            sums.reshape(flat), macs.reshape(flat), stopped.reshape(flat),
        ),
        _cut(0, images * groups * -(-out_size[0] * out_size[1] // _TILE), 1, 4 * threads),
        threads,
    )  # fmt: skip
    return sums, macs, stopped


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
