"""Convolution windows in tiles: their inputs in rows, filters in panels, products in vector registers.

A tile is 32 windows. Its row k holds the inputs of all of them that weight k of a filter meets: 32 int16, one
line of the cache, so that weights may come in any order. Two rows are interleaved, so that one instruction
multiplies two weights of a filter with the inputs of a window and adds both products (see `pairs`).
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

TILE = 32  # windows


class Windows(NamedTuple):
    """Where the inputs of windows lie, so that neighbouring windows have neighbouring inputs."""

    values: np.ndarray  # int16: padded inputs, [N, C, row % U, column % V, rows, pitch], flat, and some zeros
    image: int  # from one image to the next
    group: int  # from one group of channels to the next
    pitch: int  # from one row of windows to the next
    taps: np.ndarray  # int64 [K]: from a window's place to its inputs, for (c, r, s)


def lay_windows(inputs, pad, pad_value, kernel, stride, dilation, groups):
    """Pad inputs [N, C, H, W], and deal them out by the remainders of row and column modulo the stride.

    `pad_value` is one for all channels or one for each.
    """
    images, channels, height, width = inputs.shape
    rows, pitch = -(-(pad[0] + height + pad[1]) // stride[0]), -(-(pad[2] + width + pad[3]) // stride[1])
    values = np.empty(images * channels * rows * stride[0] * pitch * stride[1] + TILE, np.int16)
    values[-TILE:] = 0
    padded = values[:-TILE].reshape(images, channels, rows * stride[0], pitch * stride[1])
    if padded.shape[2:] != (height, width):
        padded[...] = np.asarray(pad_value, np.int16).reshape(-1, 1, 1)
    padded[:, :, pad[0] : pad[0] + height, pad[2] : pad[2] + width] = inputs
    if stride != (1, 1):
        dealt = padded.reshape(images, channels, rows, stride[0], pitch, stride[1])
        values = np.append(dealt.transpose(0, 1, 3, 5, 2, 4), values[-TILE:])
    image = channels * stride[0] * stride[1] * rows * pitch
    taps = _taps(channels // groups, kernel, stride, dilation, rows, pitch)
    return Windows(values, image, image // groups, pitch, taps)


@functools.lru_cache(maxsize=256)
def _taps(depth, kernel, stride, dilation, rows, pitch):
    y, x = (np.arange(kernel[axis]) * dilation[axis] for axis in (0, 1))
    column = (x % stride[1]) * rows * pitch + x // stride[1]
    row = (y % stride[0]) * stride[1] * rows * pitch + y // stride[0] * pitch
    plane = np.arange(depth) * (stride[0] * stride[1] * rows * pitch)
    taps = np.add.outer(np.add.outer(plane, row), column).ravel()
    taps.flags.writeable = False
    return taps


def place_windows_plain(first_tile, tiles, count, width, windows, image, group, pitch, image_sums):
    """Say where the windows of some tiles lie, each [tiles, TILE] int64: their inputs, and their sums.

    Windows count (n, e, f), `count` to an image and `width` to a row; there are `windows` of them, and those
    of the last tile that do not exist lie behind. `image` to `pitch` are those of `walk_tiles_plain`;
    the sums of a filter lie `image_sums` from one image to the next.
    """
    which = np.arange(first_tile * TILE, (first_tile + tiles) * TILE)
    n, p = np.divmod(np.minimum(which, windows - 1), count)
    places = n * image + group + p // width * pitch + p % width + which - np.minimum(which, windows - 1)
    return places.reshape(tiles, TILE), (n * image_sums + p).reshape(tiles, TILE)


@njit(cache=True, nogil=True)
def place_windows(first_tile, tiles, count, width, windows, image, group, pitch, image_sums):
    places = np.empty((tiles, TILE), dtype=np.int64)
    spots = np.empty((tiles, TILE), dtype=np.int64)
    n, p = divmod(first_tile * TILE, count)
    y, x = divmod(p, width)
    place = spot = np.int64(0)
    for t in range(tiles):
        for i in range(TILE):
            if (first_tile + t) * TILE + i < windows:
                place = n * image + group + y * pitch + x
                spot = n * image_sums + y * width + x
            else:
                place += 1
            places[t, i], spots[t, i] = place, spot
            x += 1
            if x == width:
                x, y = 0, y + 1
                if y * width == count:
                    y, n = 0, n + 1
    return places, spots


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


def check_order_plain(weights, order, negatives_from, first, end):
    """Return how many weights of filters `first` to `end` behind `negatives_from` [M] may raise a sum.

    weights [M, K] are in the order in which they are executed, `order` says where they are from.
    """
    if ((order[first:end] < 0) | (order[first:end] >= weights.shape[1])).any():
        raise IndexError("order: names a weight that the filter does not have")
    behind = np.arange(weights.shape[1]) >= negatives_from[first:end, None]
    return int(np.count_nonzero(behind & (weights[first:end] > 0)))


@njit(cache=True, nogil=True)
def check_order(weights, order, negatives_from, first, end):
    size = weights.shape[1]
    rising = 0
    for m in range(first, end):
        places, last = order[m], weights[m, negatives_from[m] :]
        highest = np.uint32(0)
        for j in range(size):
            highest = max(highest, np.uint32(places[j]))
        if highest >= size:  # or below zero
            raise IndexError("order: names a weight that the filter does not have")
        here = 0
        for j in range(last.size):
            here += last[j] > 0
        rising += here
    return rising


def put_back_plain(weights, order, first, end, natural):
    """Write into natural [M, K] weights of filters `first` to `end` where `order` says they are from."""
    np.put_along_axis(natural[first:end], order[first:end].astype(np.int64), weights[first:end], axis=1)


@njit(cache=True, nogil=True)
def put_back(weights, order, first, end, natural):
    for m in range(first, end):
        for j in range(weights.shape[1]):
            natural[m, order[m, j]] = weights[m, j]


def pack_filters_plain(natural, group_filters, first, end, packed):
    """Put filters int16 [M, K] into panels `first` to `end` of packed, int32 [panel, pair, FILTERS].

    A panel has the filters of one group, of `group_filters`; two weights of a filter are the halves of a
    number. Where a panel lacks filters or a pair its second weight, there is zero.
    """
    panels = -(-group_filters // FILTERS)
    halves = np.zeros((*packed.shape, 2), np.int16)
    for m, own in enumerate(natural):
        group, place = divmod(m, group_filters)
        panel = halves[group * panels + place // FILTERS, :, place % FILTERS]
        panel[np.arange(own.size) // 2, np.arange(own.size) % 2] = own
    packed[first:end] = halves.view(np.int32)[first:end, ..., 0]


@njit(cache=True, nogil=True)
def pack_filters(natural, group_filters, first, end, packed):
    size = natural.shape[1]
    panels = (group_filters + FILTERS - 1) // FILTERS
    for which in range(first, end):
        group, place = divmod(which, panels)
        count = min(FILTERS, group_filters - place * FILTERS)
        panel = packed[which].reshape(-1)
        if size % 2 or count < FILTERS:
            panel[:] = 0
        for f in range(count):
            own = natural[group * group_filters + place * FILTERS + f]
            for q in range(size // 2):
                low, high = np.int32(np.uint16(own[2 * q])), np.int32(own[2 * q + 1])
                panel[np.uint32(q * FILTERS + f)] = low | high << 16
            if size % 2:
                panel[size // 2 * FILTERS + f] = np.int32(np.uint16(own[size - 1]))


def prove_panels_plain(packed, tops, taps, panels, first, end, ends):
    """Cut the pairs of panels `first` to `end` into blocks whose sums fit an int32, whatever the inputs.

    packed is int32 [panel, pair, FILTERS], a group has `panels`. tops [C] are the largest inputs of each
    channel, which `taps` weights of a filter meet; no input is negative. A block takes as many pairs as
    the larger of the sums of the positive and of the negative products allows for the worst filter, where
    inputs are counted in 64ths, rounded up, and one pair at least. Writes into ends [panel, pair] where
    blocks end, the last of them again and again.
    """
    of_groups = tops.reshape(len(packed) // panels, -1)
    for panel in range(first, end):
        coarse = np.ones(2 * packed.shape[1], np.int64)
        own = np.repeat((of_groups[panel // panels] >> 6) + 1, taps)
        coarse[: own.size] = own
        products = packed[panel, ..., None].view(np.int16).astype(np.int64) * coarse.reshape(-1, 1, 2)
        bounds = [np.maximum(part, 0).sum(axis=2) for part in (products, -products)]
        start, cuts = 0, []
        while start < len(products):
            worst = np.maximum(*(bound[start:].cumsum(axis=0) for bound in bounds)).max(axis=1)
            start += max(1, int(np.count_nonzero(worst < 1 << 25)))
            cuts.append(start)
        ends[panel] = len(products)
        ends[panel, : len(cuts)] = cuts


@njit(cache=True, nogil=True)
def prove_panels(packed, tops, taps, panels, first, end, ends):
    pairs = packed.shape[1]
    depth = tops.size // (len(packed) // panels)
    coarse = np.ones(2 * pairs, np.int32)
    for panel in range(first, end):
        if panel == first or panel % panels == 0:
            group = panel // panels
            for c in range(depth):
                coarse[c * taps : (c + 1) * taps] = (tops[group * depth + c] >> 6) + 1
        cuts = start = 0
        while start < pairs:
            start = max(start + 1, _proven_end(packed, panel, coarse, start))
            ends[panel, cuts] = start
            cuts += 1
        ends[panel, cuts:] = pairs


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

        return loop(builder, args[3], [zero, zero], fits, lambda q, _: (builder.add(q, one), list(grown)))[0]

    i64 = types.int64
    return i64(packed, i64, coarse, i64), codegen


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


class Tile:
    """Code for the windows of a tile: inputs in rows, products, and sums of these.

    Sums are int32: a list of pairs of vectors, each pair for as many windows as fill one vector of int16.
    The first of a pair has the windows whose inputs `interleave` puts into the first.
    """

    def __init__(self, context, builder):
        self.builder = builder
        self.lanes, self.instruction = _vector(context)
        self.saturating = "+avx512vnni" in context.codegen().magic_tuple()[-1].split(",") and self.lanes == 16
        self.halves = ir.VectorType(ir.IntType(16), 2 * self.lanes)
        self.vector = ir.VectorType(ir.IntType(32), self.lanes)
        self.parts = TILE // (2 * self.lanes)
        # within each 128 bits, as the instructions that interleave have it
        low = [8 * q + i for q in range(self.lanes // 4) for i in range(4)]
        self.shares = low, [i + 4 for i in low]
        self.zero = ir.Constant(self.vector, None)
        self.first_row = None

    def at_row(self, context, signature, args):
        """Take the first two arguments of the function being compiled: rows, and the tile's first one."""
        rows = context.make_array(signature.args[0])(context, self.builder, args[0])
        self.first_row = self.row_at(rows.data, args[1])
        return self

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
        for place, part in zip(self.places(), self.collect(sums), strict=True):
            address = builder.gep(totals, [place])
            self.store(builder.add(_load(builder, address, wide), builder.sext(part, wide)), address)

    def store(self, value, address):
        """Store a vector from the address of its first element on."""
        target = self.builder.bitcast(address, value.type.as_pointer())
        self.builder.store(value, target).align = value.type.element.width // 8

    def places(self):
        """Return the first window of each vector of consecutive windows."""
        return [ir.Constant(ir.IntType(64), p * self.lanes) for p in range(2 * self.parts)]

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


@intrinsic
def add_panel(typingctx, rows, row, packed, panel, start, stop, totals):
    """Add to totals, int64 [FILTERS, TILE], the products of pairs start..stop of a panel: a proven block."""

    def codegen(context, builder, signature, args):
        i64 = ir.IntType(64)
        tile = Tile(context, builder).at_row(context, signature, args)
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
            _, sums = loop(
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


def loop(builder, j, state, goes_on, step):
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
    gather_rows, prove_panels = gather_rows_plain, prove_panels_plain
