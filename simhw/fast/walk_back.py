"""Where sums that can only fall fell below zero, found from their end.

Once all weights that may raise a sum are through, inputs that are never negative let it fall with every
product. A sum that ends at or above zero never was below it; one that ends below zero was there from some
product on. So the complete sums, which the fastest dense convolution gives, say which windows stopped, and
taking products back off a sum, the last one first, says after how many and at which sum: that is as much
work as stopping early saves, and no more.

Taken back are 32 windows at once. A sum S below zero is kept as T = -1 - S in an int32, which falls with
every negative product taken back and is below zero from the moment that S is not. No proof of its size is
wanted: T begins at most at 2**31 - 1 (where S is lower yet, the rest of the way is gone in int64, window by
window), it is no larger later, and a T below zero has done its work: it may stick to the lowest number
(saturation, or a lower bound of -1) without harm.
"""

# numba's intrinsics and its config carry no types
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from simhw.fast.pairs import FILTERS, INTERPRETED, _load, _spread, _vector

TILE = 32  # windows walked at once: a row of their inputs is one line of the cache
COMPLETE, BY_SIGN, BY_PREDICTION = 0, 1, 2  # why a window stopped
_LARGEST = (1 << 31) - 1
_ROWS_BYTES = 1 << 18  # of inputs gathered at once: they stay in a cache while all filters meet them
_NEVER = -(1 << 62)  # no sum is lower


class Windows(NamedTuple):
    """Where the inputs of windows lie, so that neighbouring windows have neighbouring inputs."""

    values: np.ndarray  # int16: padded inputs, [N, C, row % U, column % V, rows, pitch], flat, and some zeros
    image: int  # from one image to the next
    group: int  # from one group of channels to the next
    pitch: int  # from one row of windows to the next
    taps: np.ndarray  # int64 [K]: from a window's place to its inputs, for (c, r, s)


def lay_windows(inputs, pad, pad_value, kernel, stride, dilation, groups):
    """Pad inputs [N, C, H, W], and deal them out by the remainders of row and column modulo the stride."""
    images, channels, height, width = inputs.shape
    rows, pitch = -(-(pad[0] + height + pad[1]) // stride[0]), -(-(pad[2] + width + pad[3]) // stride[1])
    values = np.full(images * channels * rows * stride[0] * pitch * stride[1] + TILE, pad_value, np.int16)
    padded = values[:-TILE].reshape(images, channels, rows * stride[0], pitch * stride[1])
    padded[:, :, pad[0] : pad[0] + height, pad[2] : pad[2] + width] = inputs
    if stride != (1, 1):
        dealt = padded.reshape(images, channels, rows, stride[0], pitch, stride[1])
        values = np.append(dealt.transpose(0, 1, 3, 5, 2, 4), values[-TILE:])
    y, x = (np.arange(kernel[axis]) * dilation[axis] for axis in (0, 1))
    column = (x % stride[1]) * rows * pitch + x // stride[1]
    row = (y % stride[0]) * stride[1] * rows * pitch + y // stride[0] * pitch
    plane = np.arange(channels // groups) * (stride[0] * stride[1] * rows * pitch)
    taps = np.add.outer(np.add.outer(plane, row), column)
    image = channels * stride[0] * stride[1] * rows * pitch
    return Windows(values, image, image // groups, pitch, taps.ravel())


def pack_filters_plain(weights, order, negatives_from, width, group_filters, first, end, packed):
    """Put weights [M, K] where `order` says they are from, in panels of `width` filters of one group.

    packed is int16 [panel, pair of weights, filter of the panel, half of the pair]; where a panel lacks
    filters or a pair its second weight, it stays as it is. Only filters `first` to `end` are put.
    Returns how many of their weights behind `negatives_from` [M] may raise a sum.
    """
    panels = -(-group_filters // width)
    for m in range(first, end):
        group, place = divmod(m, group_filters)
        natural = np.empty_like(weights[m])
        natural[order[m]] = weights[m]
        panel = packed[group * panels + place // width, :, place % width]
        panel[np.arange(natural.size) // 2, np.arange(natural.size) % 2] = natural
    behind = np.arange(weights.shape[1]) >= negatives_from[first:end, None]
    return int(np.count_nonzero(behind & (weights[first:end] > 0)))


@njit(cache=True, nogil=True)
def pack_filters(weights, order, negatives_from, width, group_filters, first, end, packed):
    size = weights.shape[1]
    panels = (group_filters + width - 1) // width
    rising = 0
    for m in range(first, end):
        own, places = weights[m], order[m]
        highest = np.uint32(0)
        for j in range(size):
            highest = max(highest, np.uint32(places[j]))
        if highest >= size:  # or below zero
            raise IndexError("order: names a weight that the filter does not have")
        group, place = divmod(m, group_filters)
        panel = packed[group * panels + place // width].reshape(-1)
        start = np.uint32(2 * (place % width))
        for j in range(size):
            k = np.uint32(places[j])
            panel[start + (k >> np.uint32(1)) * np.uint32(2 * width) + (k & np.uint32(1))] = own[j]
        last = own[negatives_from[m] :]
        here = 0
        for j in range(last.size):
            here += last[j] > 0
        rising += here
    return rising


def gather_rows_plain(values, places, taps, rows, at):
    """Write into rows, from `at` on, the inputs [K, TILE] that each tap meets in windows at `places`."""
    rows[at : at + taps.size * TILE] = values[np.add.outer(taps, places)].ravel()


@njit(cache=True, nogil=True)
def gather_rows(values, places, taps, rows, at):
    starts, runs = np.empty(TILE, dtype=np.int64), 0
    for i in range(TILE):
        if i == 0 or places[i] != places[i - 1] + 1:
            starts[runs] = i
            runs += 1
    for k in range(taps.size):
        for run in range(runs):  # each is copied in full width, and what is too much overwritten by the next
            start = starts[run]
            _copy_row(values, places[start] + taps[k], rows, at + k * TILE + start)


def stop_plain(after, prefix, threshold, negatives_from, inclusive):
    """Say where a sum stops, given what it is after each of its products, int64 [..., K].

    Returns [...] the sum then, how many products it had, and COMPLETE, BY_SIGN or BY_PREDICTION.
    """
    taken = np.arange(1, after.shape[-1] + 1)
    by_sign = (taken > negatives_from) & (after < 1 if inclusive else after < 0)
    by_prediction = (taken == prefix) & (after <= threshold if inclusive else after < threshold)
    stops = np.where(by_prediction, BY_PREDICTION, np.where(by_sign, BY_SIGN, COMPLETE))
    last = np.where(stops.any(axis=-1), (stops > 0).argmax(axis=-1), after.shape[-1] - 1)[..., None]
    sums, why = (np.take_along_axis(x, last, axis=-1)[..., 0] for x in (after, stops))
    return sums, (last[..., 0] + 1).astype(np.int32), why.astype(np.uint8)


def prove_panels_plain(packed, tops, first_panel, end_panel, ends):
    """Cut the pairs of panels into blocks whose sums fit an int32, whatever the inputs.

    packed is int32 [panel, pair, filter], tops int64 [2 * pairs] the largest input of each tap; no
    input is negative. A block takes as many pairs as the larger of the sums of the positive and of the
    negative products allows for the worst filter, where inputs are counted in 64ths, rounded up, and one
    pair at least. Writes into ends [panel, pair] where blocks end, the last of them again and again.
    """
    coarse = (tops.reshape(-1, 2) >> 6) + 1
    for panel in range(first_panel, end_panel):
        products = packed[panel, ..., None].view(np.int16).astype(np.int64) * coarse[:, None]
        bounds = [np.maximum(part, 0).sum(axis=2) for part in (products, -products)]
        start, cuts = 0, []
        while start < len(products):
            worst = np.maximum(*(bound[start:].cumsum(axis=0) for bound in bounds)).max(axis=1)
            start += max(1, int(np.count_nonzero(worst < 1 << 25)))
            cuts.append(start)
        ends[panel] = len(products)
        ends[panel, : len(cuts)] = cuts


@njit(cache=True, nogil=True)
def prove_panels(packed, tops, first_panel, end_panel, ends):
    pairs = packed.shape[1]
    coarse = (tops >> 6).astype(np.int32) + np.int32(1)
    for panel in range(first_panel, end_panel):
        cuts = start = 0
        while start < pairs:
            start = max(start + 1, _proven_end(packed, panel, coarse, start))
            ends[panel, cuts] = start
            cuts += 1
        ends[panel, cuts:] = pairs


def prefix_blocks_plain(weights, prefix, limit):
    """Cut the first `prefix` [M] weights of each filter into blocks whose magnitudes sum to at most `limit`.

    A block takes as many as it can, and one at least. Returns where blocks end, those of one filter
    after those of another, and int64 [M + 1] which are whose.
    """
    ends, owners = [], [0]
    for own, count in zip(weights.astype(np.int64), prefix, strict=True):
        start = 0
        while start < count:
            start += max(1, int((np.abs(own[start:count]).cumsum() <= limit).sum()))
            ends.append(start)
        owners.append(len(ends))
    return np.array(ends, dtype=np.int64), np.array(owners, dtype=np.int64)


@njit(cache=True, nogil=True)
def prefix_blocks(weights, prefix, limit):
    ends = np.empty(prefix.sum(), dtype=np.int64)
    owners = np.zeros(prefix.size + 1, dtype=np.int64)
    blocks = 0
    for m in range(prefix.size):
        start, weight = 0, np.int64(0)
        for j in range(prefix[m]):
            size = abs(np.int64(weights[m, j]))
            if weight + size > limit and j > start:
                ends[blocks] = j
                blocks += 1
                start, weight = j, np.int64(0)
            weight += size
        if prefix[m] > 0:
            ends[blocks] = prefix[m]
            blocks += 1
        owners[m + 1] = blocks
    return ends[:blocks].copy(), owners


def walk_tiles_plain(
    values, image, group, pitch, taps, width, weights, order, bias, packed, prefix, ends, owners, thresholds,
    negatives_from, inclusive, cuts, known, first_tile, end_tile, first, end, panel, sums, macs, stopped,
):  # fmt: skip
    """Say where the sums [N, M, E * F] of some windows stopped, and what they were then.

    The windows are those of tiles `first_tile` to `end_tile`, TILE each, in the order (n, e, f); a row
    has `width` of them. The filters are `first` to `end`, whose inputs lie `group` places behind an
    image's first. `values` to `taps` are those of `Windows`, `ends` and `owners` the blocks of the
    prefixes, the others arguments of `early_termination`. Inputs are not negative, weights behind
    `negatives_from` not positive. Writes sums, macs and stopped.

    For the compiled twin alone: sums hold the complete ones if they are `known`; else `packed` are the
    filters in panels, of which `panel` begins with filter `first`, and `cuts` their blocks.
    """
    count = sums.shape[2]
    n, p = np.divmod(np.arange(first_tile * TILE, min(end_tile * TILE, len(sums) * count)), count)
    inputs = values[np.add.outer(n * image + group + p // width * pitch + p % width, taps)].astype(np.int64)
    for m in range(first, end):
        products = inputs[:, order[m]] * weights[m].astype(np.int64)
        after = bias[m] + products.cumsum(axis=-1)
        outcome = stop_plain(after, prefix[m], thresholds[m], negatives_from[m], inclusive)
        sums[n, m, p], macs[n, m, p], stopped[n, m, p] = outcome


@njit(cache=True, nogil=True)
def walk_tiles(
    values, image, group, pitch, taps, width, weights, order, bias, packed, prefix, ends, owners, thresholds,
    negatives_from, inclusive, cuts, known, first_tile, end_tile, first, end, panel, sums, macs, stopped,
):  # fmt: skip
    images, filters, count = sums.shape
    size = taps.size
    height = size + size % 2
    all_sums, all_macs, all_stopped = sums.reshape(-1), macs.reshape(-1), stopped.reshape(-1)
    totals = np.empty((FILTERS, TILE), dtype=np.int64)
    all_totals = totals.reshape(-1)
    own_sums, so_far = np.empty(TILE, dtype=np.int64), np.empty(TILE, dtype=np.int64)
    own_macs, own_stopped = np.empty(TILE, dtype=np.int32), np.empty(TILE, dtype=np.uint8)
    some_tiles = max(1, min(_ROWS_BYTES // (2 * TILE * size), end_tile - first_tile))
    places, spots = np.empty(TILE, dtype=np.int64), np.empty((some_tiles, TILE), dtype=np.int64)
    room = np.zeros((some_tiles * height + 3) * TILE, dtype=np.int16)
    rows = room[-room.ctypes.data % 64 // 2 :]  # so that each row is one line of the cache
    for block in range(first_tile, end_tile, some_tiles):
        tiles = min(some_tiles, end_tile - block)
        wide = min(TILE, images * count - (block + tiles - 1) * TILE)  # of the last; all others are full
        n, p = divmod(block * TILE, count)
        y, x = divmod(p, width)
        for t in range(tiles):
            for i in range(TILE):
                places[i] = n * image + group + y * pitch + x
                spots[t, i] = n * filters * count + y * width + x
                x += 1
                if x == width:
                    x, y = 0, y + 1
                    if y * width == count:
                        y, n = 0, n + 1
            if t == tiles - 1:
                for i in range(wide, TILE):
                    places[i] = places[i - 1] + 1
            gather_rows(values, places, taps, rows, t * height * TILE)
        for base in range(first, end, FILTERS):
            which = panel + (base - first) // FILTERS
            for t in range(tiles):
                row = t * height
                lanes = wide if t == tiles - 1 else TILE
                together = lanes == TILE and spots[t, TILE - 1] == spots[t, 0] + TILE - 1
                if known:
                    for m in range(base, min(base + FILTERS, end)):
                        for i in range(lanes):
                            totals[m - base, i] = all_sums[spots[t, i] + m * count]
                else:
                    for f in range(FILTERS):
                        totals[f] = bias[min(base + f, end - 1)]
                    start = 0
                    for k in range(cuts.shape[1]):
                        _add_panel(rows, row, packed, which, start, cuts[which, k], totals)
                        start = cuts[which, k]
                        if start == cuts.shape[1]:
                            break
                totals[:, lanes:] = -_NEVER
                for m in range(base, min(base + FILTERS, end)):
                    top = np.int64(0) if inclusive else np.int64(-1)  # where top - S is not negative S stops
                    if negatives_from[m] == size:
                        top = np.int64(_NEVER)
                    # no array gets a second name in here: references would be counted for each tile, filter
                    if together and prefix[m] == 0:
                        late = _walk_back(
                            rows, row, order, weights, m, negatives_from[m], top, all_totals,
                            (m - base) * TILE, all_sums, all_macs, all_stopped, spots[t, 0] + m * count,
                        )  # fmt: skip
                    else:
                        if prefix[m] > 0:
                            so_far[:] = bias[m]
                            start = 0
                            for k in range(owners[m], owners[m + 1]):
                                _add_products(rows, row, order, weights, m, start, ends[k], so_far)
                                start = ends[k]
                            for i in range(TILE):
                                if so_far[i] < thresholds[m] or (inclusive and so_far[i] == thresholds[m]):
                                    totals[m - base, i] = -_NEVER
                        late = _walk_back(
                            rows, row, order, weights, m, negatives_from[m], top, all_totals,
                            (m - base) * TILE, own_sums, own_macs, own_stopped, 0,
                        )  # fmt: skip
                        for i in range(lanes):
                            spot = spots[t, i] + m * count
                            all_sums[spot], all_macs[spot] = own_sums[i], own_macs[i]
                            all_stopped[spot] = own_stopped[i]
                            if own_sums[i] == -_NEVER:
                                all_sums[spot], all_macs[spot] = so_far[i], prefix[m]
                                all_stopped[spot] = BY_PREDICTION
                    for i in range(lanes if late else 0):
                        spot = spots[t, i] + m * count
                        while late >> i & 1 and all_macs[spot] > negatives_from[m] + 1:
                            j = all_macs[spot] - 1
                            product = np.int64(weights[m, j]) * np.int64(rows[(row + order[m, j]) * TILE + i])
                            if all_sums[spot] - product > top:
                                break
                            all_sums[spot] -= product
                            all_macs[spot] = j


@intrinsic
def _proven_end(typingctx, packed, panel, coarse, start):
    """Return behind which pair of a panel the first block from `start` on ends; see `prove_panels_plain`."""

    def codegen(context, builder, signature, args):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(i32, FILTERS)
        packed = context.make_array(signature.args[0])(context, builder, args[0])
        tops = context.make_array(signature.args[2])(context, builder, args[2]).data
        pairs, one = builder.extract_value(packed.shape, 1), ir.Constant(i64, 1)
        skipped = builder.mul(builder.mul(args[1], pairs), ir.Constant(i64, FILTERS))
        weights = builder.gep(packed.data, [skipped])
        zero, sixteen, limit = (ir.Constant(vector, [x] * FILTERS) for x in (0, 16, 1 << 25))
        last = builder.sub(pairs, one)
        grown = []

        def pick(sign, a, b):
            return builder.select(builder.icmp_signed(sign, a, b), a, b)

        def fits(q, bounds):
            at = builder.select(builder.icmp_signed("<", q, last), q, last)
            word = _load(builder, builder.gep(weights, [builder.mul(at, ir.Constant(i64, FILTERS))]), vector)
            halves = builder.ashr(builder.shl(word, sixteen), sixteen), builder.ashr(word, sixteen)
            first = builder.gep(tops, [builder.mul(at, ir.Constant(i64, 2))])
            up, down = bounds
            for half, top in zip(halves, (first, builder.gep(first, [one])), strict=True):
                top = _spread(builder, builder.load(top), FILTERS)
                up = builder.add(up, builder.mul(pick(">", half, zero), top))
                down = builder.sub(down, builder.mul(pick("<", half, zero), top))
            grown[:] = [up, down]
            below = builder.icmp_signed("<", pick(">", up, down), limit)
            bits = builder.bitcast(below, ir.IntType(FILTERS))
            whole = builder.icmp_unsigned("==", bits, ir.Constant(bits.type, -1))
            return builder.and_(whole, builder.icmp_signed("<", q, pairs))

        return _loop(builder, args[3], [zero, zero], fits, lambda q, _: (builder.add(q, one), list(grown)))[0]

    i64 = types.int64
    return i64(packed, i64, coarse, i64), codegen


@intrinsic
def _add_panel(typingctx, rows, row, packed, panel, start, stop, totals):
    """Add to totals, int64 [FILTERS, TILE], the products of pairs start..stop of a panel: a proven block."""

    def codegen(context, builder, signature, args):
        i64 = ir.IntType(64)
        tile = _Tile(context, builder, signature, args)
        packed = context.make_array(signature.args[2])(context, builder, args[2])
        totals = context.make_array(signature.args[6])(context, builder, args[6]).data
        skipped = builder.mul(args[3], builder.extract_value(packed.shape, 1))
        weights = builder.gep(packed.data, [builder.mul(skipped, ir.Constant(i64, FILTERS))])
        together = {16: 8, 8: 2}.get(tile.lanes, 1)  # filters whose sums stay in registers
        vectors = 2 * tile.parts

        def add_pair(base, q, sums):
            first = tile.row_at(tile.first_row, builder.mul(q, ir.Constant(i64, 2)))
            inputs = tile.interleave(first, tile.row_at(first, ir.Constant(i64, 1)))
            own = builder.gep(weights, [builder.mul(q, ir.Constant(i64, FILTERS))])
            added = []
            for f in range(together):
                word = builder.load(builder.gep(own, [ir.Constant(i64, base + f)]))
                part = sums[f * vectors : (f + 1) * vectors]
                added += tile.add(part, inputs, _spread(builder, word, tile.lanes))
            return builder.add(q, ir.Constant(i64, 1)), added

        for base in range(0, FILTERS, together):
            _, sums = _loop(
                builder,
                args[4],
                [tile.zero] * (vectors * together),
                lambda q, sums: builder.icmp_signed("<", q, args[5]),
                lambda q, sums, base=base: add_pair(base, q, sums),
            )
            for f in range(together):
                own = builder.gep(totals, [ir.Constant(i64, (base + f) * TILE)])
                tile.widen_into(own, sums[f * vectors : (f + 1) * vectors])
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(rows, i64, packed, i64, i64, i64, totals), codegen


@intrinsic
def _copy_row(typingctx, source, start, target, to):
    """Copy TILE int16 from one array and place to another."""

    def codegen(context, builder, signature, args):
        arrays = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2))
        source, target = (builder.gep(data, [at]) for data, at in zip(arrays, args[1::2], strict=True))
        row = ir.VectorType(ir.IntType(16), TILE)
        builder.store(_load(builder, source, row), builder.bitcast(target, row.as_pointer())).align = 2
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), codegen


class _Tile:
    """Code for the windows of a tile: inputs in rows, products, and sums of these.

    Sums are int32: a list of pairs of vectors, each pair for as many windows as fill one vector of int16.
    The first of a pair has the windows whose inputs `interleave` puts into the first.
    """

    def __init__(self, context, builder, signature, args):
        """The first two arguments of the function being compiled are the rows and the tile's first row."""
        self.builder = builder
        self.lanes, self.instruction = _vector(context)
        self.saturating = "+avx512vnni" in context.codegen().magic_tuple()[-1].split(",") and self.lanes == 16
        self.first_row = self.row_at(
            context.make_array(signature.args[0])(context, builder, args[0]).data, args[1]
        )
        self.halves = ir.VectorType(ir.IntType(16), 2 * self.lanes)
        self.vector = ir.VectorType(ir.IntType(32), self.lanes)
        self.parts = TILE // (2 * self.lanes)
        # within each 128 bits, as the instructions that interleave have it
        low = [8 * q + i for q in range(self.lanes // 4) for i in range(4)]
        self.shares = low, [i + 4 for i in low]
        self.zero = ir.Constant(self.vector, None)

    def row_at(self, first, k):
        return self.builder.gep(first, [self.builder.mul(k, ir.Constant(ir.IntType(64), TILE))])

    def interleave(self, *rows):
        """Return the inputs of two rows, side by side, as vectors of int32 to be multiplied."""
        inputs = []
        for part in range(self.parts):
            at = ir.Constant(ir.IntType(64), 2 * part * self.lanes)
            halves = [_load(self.builder, self.builder.gep(row, [at]), self.halves) for row in rows]
            for share in self.shares:
                picked = [x for i in share for x in (i, 2 * self.lanes + i)]
                mixed = self.builder.shuffle_vector(*halves, self.indices(picked))
                inputs.append(self.builder.bitcast(mixed, self.vector))
        return inputs

    def add(self, sums, inputs, weights, sticky=False):
        """Return the sums with products added; with `sticky` those below zero stay there."""
        builder, halves = self.builder, self.halves
        added = []
        for total, x in zip(sums, inputs, strict=True):
            if sticky and self.saturating:
                added.append(self.call("llvm.x86.avx512.vpdpwssds.512", self.vector, total, x, weights))
                continue
            if self.instruction:
                product = self.call(
                    self.instruction, self.vector, *(builder.bitcast(v, halves) for v in (x, weights))
                )
            else:
                low = [builder.ashr(builder.shl(v, self.splat(16)), self.splat(16)) for v in (x, weights)]
                high = [builder.ashr(v, self.splat(16)) for v in (x, weights)]
                product = builder.add(builder.mul(*low), builder.mul(*high))
            total = builder.add(total, product)
            lowest = self.splat(-1)
            below = builder.icmp_signed("<", total, lowest)
            added.append(builder.select(below, lowest, total) if sticky else total)
        return added

    def call(self, name, result, *values):
        kind = ir.FunctionType(result, [value.type for value in values])
        return self.builder.call(self.builder.module.declare_intrinsic(name, (), kind), values)

    def deal(self, windows):
        """Turn vectors of consecutive windows into pairs of vectors as they are summed."""
        return [
            self.builder.shuffle_vector(*windows[p : p + 2], self.indices(share))
            for p in range(0, len(windows), 2)
            for share in self.shares
        ]

    def collect(self, sums):
        """Turn pairs of vectors as they are summed into vectors of consecutive windows."""
        back = np.argsort(self.shares[0] + self.shares[1]).tolist()
        return [
            self.builder.shuffle_vector(*sums[p : p + 2], self.indices(back[half : half + self.lanes]))
            for p in range(0, len(sums), 2)
            for half in (0, self.lanes)
        ]

    def widen_into(self, totals, sums):
        """Add sums to int64 from the address `totals` on."""
        builder, wide = self.builder, ir.VectorType(ir.IntType(64), self.lanes)
        for p, part in enumerate(self.collect(sums)):
            address = builder.gep(totals, [ir.Constant(ir.IntType(64), p * self.lanes)])
            value = builder.add(_load(builder, address, wide), builder.sext(part, wide))
            builder.store(value, builder.bitcast(address, wide.as_pointer())).align = 8

    def indices(self, lanes):
        return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)

    def splat(self, number):
        return ir.Constant(self.vector, [number] * self.lanes)

    def none_alive(self, sums):
        """Return whether all of the sums are below zero."""
        builder, bits = self.builder, ir.IntType(self.lanes)
        together = functools.reduce(builder.and_, sums)
        signs = builder.bitcast(builder.icmp_signed("<", together, self.zero), bits)
        return builder.icmp_unsigned("==", signs, ir.Constant(bits, -1))


class _Filter:
    """Code for the weights of a filter in the order in which they are executed."""

    def __init__(self, tile, context, signature, args):
        """Arguments 2 to 4 of the function being compiled are order, weights and the filter's number."""
        self.tile, self.builder = tile, tile.builder
        order, weights = (
            context.make_array(signature.args[i])(context, self.builder, args[i]) for i in (2, 3)
        )
        self.size = self.builder.extract_value(order.shape, 1)
        begin = self.builder.mul(args[4], self.size)
        self.order, self.weights = (self.builder.gep(array.data, [begin]) for array in (order, weights))

    def row(self, j):
        """Return the address of the inputs that weight j meets."""
        place = self.builder.load(self.builder.gep(self.order, [j]))
        return self.tile.row_at(self.tile.first_row, self.builder.sext(place, ir.IntType(64)))

    def pair(self, j):
        """Return (inputs, weights) of j and j + 1 for `_Tile.add`."""
        builder = self.builder
        rows = self.row(j), self.row(builder.add(j, ir.Constant(ir.IntType(64), 1)))
        weights = builder.load(builder.bitcast(builder.gep(self.weights, [j]), ir.IntType(32).as_pointer()))
        weights.align = 2
        return self.tile.interleave(*rows), _spread(builder, weights, self.tile.lanes)

    def single(self, j):
        """Return (inputs, weights) of j alone, as the upper one of a pair."""
        row, i32 = self.row(j), ir.IntType(32)
        weight = self.builder.zext(self.builder.load(self.builder.gep(self.weights, [j])), i32)
        upper = self.builder.shl(weight, ir.Constant(i32, 16))
        return self.tile.interleave(row, row), _spread(self.builder, upper, self.tile.lanes)


@intrinsic
def _add_products(typingctx, rows, row, order, weights, m, start, stop, totals):
    """Add to totals, int64 [TILE], the products of weights start..stop, whose sums fit an int32."""

    def codegen(context, builder, signature, args):
        tile = _Tile(context, builder, signature, args)
        own = _Filter(tile, context, signature, args)
        j, sums = args[5], [tile.zero] * (2 * tile.parts)
        for step, products in ((2, own.pair), (1, own.single)):
            by = ir.Constant(ir.IntType(64), step)
            j, sums = _loop(
                builder,
                j,
                sums,
                lambda j, sums, by=by: builder.icmp_signed("<=", builder.add(j, by), args[6]),
                lambda j, sums, by=by, products=products: (builder.add(j, by), tile.add(sums, *products(j))),
            )
        tile.widen_into(context.make_array(signature.args[7])(context, builder, args[7]).data, sums)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(rows, i64, order, weights, i64, i64, i64, totals), codegen


@intrinsic
def _walk_back(
    typingctx, rows, row, order, weights, m, negatives_from, top, complete, begin, sums, macs, stopped, at
):  # fmt: skip
    """Take products back off complete[begin : begin + TILE], as long as they stay at `top` or below.

    The first product behind `negatives_from` stays. Writes what is left to sums, from `at` on, the products
    left to macs and BY_SIGN to stopped, or where a sum is above top, all of them and COMPLETE. Returns as
    bits which windows have more to be taken back than an int32 counts: for these, what was written is how
    far they came.
    """

    def codegen(context, builder, signature, args):
        i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
        tile = _Tile(context, builder, signature, args)
        own = _Filter(tile, context, signature, args)
        complete, sums, macs, stopped = (
            builder.gep(context.make_array(signature.args[i])(context, builder, args[i]).data, [args[first]])
            for i, first in ((7, 8), (9, 12), (10, 12), (11, 12))
        )
        wide = ir.VectorType(i64, tile.lanes)
        top = _spread(builder, args[6], tile.lanes)
        places = [ir.Constant(i64, p * tile.lanes) for p in range(2 * tile.parts)]
        complete = [_load(builder, builder.gep(complete, [place]), wide) for place in places]
        begun = []
        for total in complete:
            rest = builder.sub(top, total)
            for sign, bound in (("<", _LARGEST), (">", -1)):
                limit = ir.Constant(wide, [bound] * tile.lanes)
                rest = builder.select(builder.icmp_signed(sign, rest, limit), rest, limit)
            begun.append(builder.trunc(rest, tile.vector))

        def parts_of(state):
            return [list(state[q : q + len(begun)]) for q in range(0, len(state), len(begun))]

        def each(operation, *vectors):
            return [operation(*values) for values in zip(*vectors, strict=True)]

        def lower(least, rest):
            """The last rest that is not below zero: as unsigned numbers, all others are larger."""
            return builder.select(builder.icmp_unsigned("<", rest, least), rest, least)

        def signs(rest):
            return builder.ashr(rest, tile.splat(31))

        def take_four(j, state):
            """Take four products back. Rests below zero are counted at every fourth product, which is every
            fourth number r of products that a window may come to have taken back; the lower bits of r are
            the parities of how many are below zero at each product and at every second one."""
            rest, least, dead, odd, twos = parts_of(state)
            seen = []
            for _ in range(2):
                j = builder.sub(j, ir.Constant(i64, 2))
                inputs, both = own.pair(j)
                upper = builder.and_(both, tile.splat(-1 << 16))
                seen.append(tile.add(rest, inputs, upper, sticky=True))
                rest = tile.add(rest, inputs, both, sticky=True)
                seen.append(rest)
            for now in seen:
                least = each(lower, least, now)
                odd = each(builder.xor, odd, now)
            for now in seen[1::2]:
                twos = each(builder.xor, twos, now)
            dead = each(builder.add, dead, each(signs, rest))
            return j, [*rest, *least, *dead, *odd, *twos]

        def take_one(j, state):
            rest, least, removed = parts_of(state)
            j = builder.sub(j, ir.Constant(i64, 1))
            rest = tile.add(rest, *own.single(j), sticky=True)
            least = each(lower, least, rest)
            removed = each(builder.sub, removed, each(signs, each(builder.not_, rest)))
            return j, [*rest, *least, *removed]

        def goes_on(j, state, steps):
            there = builder.icmp_signed(">", j, builder.add(args[5], ir.Constant(i64, steps)))
            return builder.and_(there, builder.not_(tile.none_alive(parts_of(state)[0])))

        zeros = [tile.zero] * len(begun)
        dealt = tile.deal(begun)
        state = [*dealt, *dealt, *zeros, *zeros, *zeros]
        j, state = _loop(builder, own.size, state, lambda j, s: goes_on(j, s, 4), take_four)
        rest, least, dead, odd, twos = parts_of(state)
        steps = _spread(builder, builder.trunc(builder.sub(own.size, j), i32), tile.lanes)
        removed = [
            builder.sub(
                builder.add(steps, builder.shl(dead[q], tile.splat(2))),
                builder.add(builder.shl(signs(twos[q]), tile.splat(1)), signs(odd[q])),
            )
            for q in range(len(dead))
        ]
        j, state = _loop(builder, j, [*rest, *least, *removed], lambda j, s: goes_on(j, s, 1), take_one)
        _, least, removed = (tile.collect(part) for part in parts_of(state))
        everything = _spread(builder, builder.trunc(own.size, i32), tile.lanes)
        late = ir.Constant(i64, 0)
        for p, place in enumerate(places):
            alive = builder.icmp_signed(">=", begun[p], tile.zero)
            back = builder.select(alive, builder.sub(begun[p], least[p]), tile.zero)
            taken = builder.select(alive, removed[p], tile.zero)
            for target, value in (
                (sums, builder.add(complete[p], builder.sext(back, wide))),
                (macs, builder.sub(everything, taken)),
                (stopped, builder.zext(alive, ir.VectorType(i8, tile.lanes))),
            ):
                address = builder.bitcast(builder.gep(target, [place]), value.type.as_pointer())
                builder.store(value, address).align = value.type.element.width // 8
            beyond = builder.icmp_signed("==", begun[p], tile.splat(_LARGEST))
            bits = builder.zext(builder.bitcast(beyond, ir.IntType(tile.lanes)), i64)
            late = builder.or_(late, builder.shl(bits, place))
        return late

    i64 = types.int64
    return i64(rows, i64, order, weights, i64, i64, i64, complete, i64, sums, macs, stopped, i64), codegen


def _loop(builder, j, state, goes_on, step):
    """Emit `while goes_on(j, state): j, state = step(j, state)`; state is a list of vectors."""
    before = builder.block
    head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.type) for value in (j, *state)]
    for phi, value in zip(phis, (j, *state), strict=True):
        phi.add_incoming(value, before)
    now = phis[0], phis[1:]
    builder.cbranch(goes_on(*now), body, done)
    builder.position_at_end(body)
    j, state = step(*now)
    for phi, value in zip(phis, (j, *state), strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return now


if INTERPRETED:  # vector instructions cannot be
    gather_rows, prove_panels, walk_tiles = gather_rows_plain, prove_panels_plain, walk_tiles_plain
