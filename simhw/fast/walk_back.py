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

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from simhw.fast.pairs import FILTERS, INTERPRETED, _load, _spread
from simhw.fast.requantize import requantize_flat_plain
from simhw.fast.tiles import TILE, Tile, add_panel, gather_rows, loop, place_windows

COMPLETE, BY_SIGN, BY_PREDICTION = 0, 1, 2  # why a window stopped
_LARGEST = (1 << 31) - 1
_ROWS_BYTES = 1 << 18  # of inputs gathered at once: they stay in a cache while all filters meet them
_LONG = 200  # weights that may be taken back, from which on every second sum is looked at
_NEVER = -(1 << 62)  # no sum is lower
_HIGHEST = (1 << 63) - 1


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


def narrow_plain(sums, stopped, shift, high):
    """Return what a layer with a ReLU puts out, int16: 0 where a sum stopped, else as `requantize` has it."""
    outputs, _ = requantize_flat_plain(sums.ravel(), shift, 0, high, 0, 0)
    return np.where(stopped == COMPLETE, outputs.reshape(sums.shape), 0).astype(np.int16)


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
    negatives_from, inclusive, cuts, complete, shift, high, first_tile, end_tile, first, end, panel, sums,
    macs, stopped,
):  # fmt: skip
    """Say where the sums [N, M, E * F] of some windows stopped, and what they were then.

    The windows are those of tiles `first_tile` to `end_tile`, TILE each, in the order (n, e, f); a row
    has `width` of them. The filters are `first` to `end`, whose inputs lie `group` places behind an
    image's first. `values` to `taps` are those of `Windows`, `ends` and `owners` the blocks of the
    prefixes, the others arguments of `early_termination`. Inputs are not negative, weights behind
    `negatives_from` not positive. Writes sums, macs and stopped. Where sums are int16, they are what a layer
    with a ReLU makes of them: 0 if they stopped, else rounded and saturated as `requantize` with `shift` and
    `high` has it.

    For the compiled twin alone: `complete` are the complete sums, int64, unless it is empty; then `packed`
    are the filters in panels, of which `panel` begins with filter `first`, and `cuts` their blocks.
    """
    count = sums.shape[2]
    n, p = np.divmod(np.arange(first_tile * TILE, min(end_tile * TILE, len(sums) * count)), count)
    inputs = values[np.add.outer(n * image + group + p // width * pitch + p % width, taps)].astype(np.int64)
    for m in range(first, end):
        products = inputs[:, order[m]] * weights[m].astype(np.int64)
        after = bias[m] + products.cumsum(axis=-1)
        found, taken, why = stop_plain(after, prefix[m], thresholds[m], negatives_from[m], inclusive)
        found = found if sums.dtype == np.int64 else narrow_plain(found, why, shift, high)
        sums[n, m, p], macs[n, m, p], stopped[n, m, p] = found, taken, why


@njit(cache=True, nogil=True)
def walk_tiles(
    values, image, group, pitch, taps, width, weights, order, bias, packed, prefix, ends, owners, thresholds,
    negatives_from, inclusive, cuts, complete, shift, high, first_tile, end_tile, first, end, panel, sums,
    macs, stopped,
):  # fmt: skip
    images, filters, count = sums.shape
    size = taps.size
    height = size + size % 2
    all_sums, all_macs, all_stopped = sums.reshape(-1), macs.reshape(-1), stopped.reshape(-1)
    known, all_known = complete.size > 0, complete.reshape(-1)
    totals = np.empty((FILTERS, TILE), dtype=np.int64)
    all_totals = totals.reshape(-1)
    so_far, own_sums = np.empty(TILE, dtype=np.int64), np.empty(TILE, dtype=sums.dtype)
    own_macs, own_stopped = np.empty(TILE, dtype=macs.dtype), np.empty(TILE, dtype=np.uint8)
    some_tiles = max(1, min(_ROWS_BYTES // (2 * TILE * size), end_tile - first_tile))
    room = np.zeros((some_tiles * height + 3) * TILE, dtype=np.int16)
    rows = room[-room.ctypes.data % 64 // 2 :]  # so that each row is one line of the cache
    for block in range(first_tile, end_tile, some_tiles):
        tiles = min(some_tiles, end_tile - block)
        wide = min(TILE, images * count - (block + tiles - 1) * TILE)  # of the last; all others are full
        places, spots = place_windows(
            block, tiles, count, width, images * count, image, group, pitch, filters * count
        )
        for t in range(tiles):
            gather_rows(values, places[t], taps, rows, t * height * TILE)
        for base in range(first, end, FILTERS):
            which = panel + (base - first) // FILTERS
            for t in range(tiles):
                row = t * height
                lanes = wide if t == tiles - 1 else TILE
                together = lanes == TILE and spots[t, TILE - 1] == spots[t, 0] + TILE - 1
                if known:
                    for m in range(base, min(base + FILTERS, end)):
                        for i in range(lanes):
                            totals[m - base, i] = all_known[spots[t, i] + m * count]
                else:
                    for f in range(FILTERS):
                        totals[f] = bias[min(base + f, end - 1)]
                    start = 0
                    for k in range(cuts.shape[1]):
                        add_panel(rows, row, packed, which, start, cuts[which, k], totals)
                        start = cuts[which, k]
                        if start == cuts.shape[1]:
                            break
                totals[:, lanes:] = -_NEVER
                for m in range(base, min(base + FILTERS, end)):
                    top = np.int64(0) if inclusive else np.int64(-1)  # where top - S is not negative S stops
                    if negatives_from[m] == size:
                        top = np.int64(_NEVER)
                    by_pairs = np.int64(size - negatives_from[m] > _LONG)
                    at, begin = spots[t, 0] + m * count, (m - base) * TILE
                    if prefix[m] > 0:
                        so_far[:] = bias[m]
                        start = 0
                        for k in range(owners[m], owners[m + 1]):
                            _add_products(rows, row, order, weights, m, start, ends[k], so_far)
                            start = ends[k]
                        limit = thresholds[m]
                        if inclusive and limit < _HIGHEST:
                            limit += 1
                        _mark_below(so_far, limit, all_totals, begin)
                        if sums.itemsize == 2:  # a window that is predicted to stop puts out 0
                            so_far[:] = 0
                    # no array gets a second name in here: references would be counted for each tile, filter
                    if together:
                        late = _walk_back(
                            rows, row, order, weights, m, negatives_from[m], top, by_pairs, all_totals,
                            begin, all_macs, all_stopped, at,
                        )  # fmt: skip
                    else:
                        late = _walk_back(
                            rows, row, order, weights, m, negatives_from[m], top, by_pairs, all_totals,
                            begin, own_macs, own_stopped, 0,
                        )  # fmt: skip
                        if prefix[m] > 0:
                            _put_predicted(all_totals, begin, so_far, prefix[m], own_macs, own_stopped, 0)
                        for i in range(lanes):
                            spot = spots[t, i] + m * count
                            all_macs[spot], all_stopped[spot] = own_macs[i], own_stopped[i]
                    for i in range(lanes if late else 0):
                        spot = spots[t, i] + m * count
                        while late >> i & 1 and all_macs[spot] > negatives_from[m] + 1:
                            j = all_macs[spot] - 1
                            product = np.int64(weights[m, j]) * np.int64(rows[(row + order[m, j]) * TILE + i])
                            if totals[m - base, i] - product > top:
                                break
                            totals[m - base, i] -= product
                            all_macs[spot] = j
                    if together and prefix[m] > 0:
                        _put_predicted(all_totals, begin, so_far, prefix[m], all_macs, all_stopped, at)
                    if together:
                        _put_sums(all_totals, begin, shift, high, all_sums, at)
                    else:
                        _put_sums(all_totals, begin, shift, high, own_sums, 0)
                        for i in range(lanes):
                            all_sums[spots[t, i] + m * count] = own_sums[i]


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
        """Return (inputs, weights) of j and j + 1 for `Tile.add`."""
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

    def take_one_more(self, begun, least, removed, negatives_from, window):
        """Take one product back in each of 16 windows, each its own, where the rest stays at zero or above.

        Returns (rests, numbers of products taken back).
        """
        tile, builder, i32 = self.tile, self.builder, ir.IntType(32)
        run = builder.sub(builder.sub(self.size, negatives_from), ir.Constant(ir.IntType(64), 1))
        size, run = (_spread(builder, builder.trunc(x, i32), 16) for x in (self.size, run))
        wants = builder.and_(
            builder.icmp_signed(">=", begun, tile.zero), builder.icmp_signed("<", removed, run)
        )

        def gather(array, places, scale):
            base = builder.bitcast(array, ir.IntType(8).as_pointer())
            return tile.call(
                "llvm.x86.avx512.mask.gather.dpi.512", tile.vector, tile.zero, base, places, wants,
                ir.Constant(i32, scale),
            )  # fmt: skip

        before = builder.sub(builder.sub(size, removed), tile.splat(2))  # the weight ahead of the one in turn
        weights = builder.ashr(gather(self.weights, before, 2), tile.splat(16))
        rows = gather(self.order, builder.add(before, tile.splat(1)), 4)
        places = builder.add(builder.shl(rows, tile.splat(5)), tile.indices([*range(window, window + 16)]))
        inputs = builder.and_(gather(tile.first_row, places, 2), tile.splat(0xFFFF))
        rest = builder.add(least, builder.mul(weights, inputs))
        more = builder.and_(wants, builder.icmp_signed(">=", rest, tile.zero))
        return builder.select(more, rest, least), builder.add(removed, builder.zext(more, tile.vector))


@intrinsic
def _add_products(typingctx, rows, row, order, weights, m, start, stop, totals):
    """Add to totals, int64 [TILE], the products of weights start..stop, whose sums fit an int32."""

    def codegen(context, builder, signature, args):
        tile = Tile(context, builder).at_row(context, signature, args)
        own = _Filter(tile, context, signature, args)
        j, sums = args[5], [tile.zero] * (2 * tile.parts)
        for step, products in ((2, own.pair), (1, own.single)):
            by = ir.Constant(ir.IntType(64), step)
            j, sums = loop(
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
def _mark_below(typingctx, so_far, limit, totals, begin):
    """Put a mark, which never falls below zero, for those totals whose sums so_far [TILE] are below limit."""

    def codegen(context, builder, signature, args):
        tile = Tile(context, builder)
        so_far, totals = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2)
        )
        wide = ir.VectorType(ir.IntType(64), tile.lanes)
        limit = _spread(builder, args[1], tile.lanes)
        for place in tile.places():
            address = builder.gep(totals, [builder.add(args[3], place)])
            sums = _load(builder, builder.gep(so_far, [place]), wide)
            below = builder.icmp_signed("<", sums, limit)
            tile.store(builder.select(below, _mark(wide), _load(builder, address, wide)), address)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(so_far, i64, totals, i64), codegen


def _mark(vector):
    return ir.Constant(vector, [-_NEVER] * vector.count)


@intrinsic
def _put_predicted(typingctx, totals, begin, so_far, taken, macs, stopped, at):
    """Put so_far [TILE] into totals where `_mark_below` has marked them.

    There write `taken` to macs and BY_PREDICTION to stopped, from `at` on.
    """

    def codegen(context, builder, signature, args):
        tile = Tile(context, builder)
        totals, so_far, *targets = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2, 4, 5)
        )
        wide = ir.VectorType(ir.IntType(64), tile.lanes)
        bits = signature.args[4].dtype.bitwidth
        taken = _spread(builder, builder.trunc(args[3], ir.IntType(bits)), tile.lanes)
        why = ir.Constant(ir.VectorType(ir.IntType(8), tile.lanes), [BY_PREDICTION] * tile.lanes)
        for place in tile.places():
            total = builder.gep(totals, [builder.add(args[1], place)])
            hit = builder.icmp_signed("==", _load(builder, total, wide), _mark(wide))
            value = _load(builder, builder.gep(so_far, [place]), wide)
            addresses = [builder.gep(target, [builder.add(args[6], place)]) for target in targets]
            for address, new in zip((total, *addresses), (value, taken, why), strict=True):
                tile.store(builder.select(hit, new, _load(builder, address, new.type)), address)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(totals, i64, so_far, i64, macs, stopped, i64), codegen


@intrinsic
def _put_sums(typingctx, totals, begin, shift, high, sums, at):
    """Write totals [TILE] from `begin` on to sums from `at` on: to int16 what `narrow_plain` makes of them.

    Totals that stopped by their sign are not above zero, and those predicted to are zero.
    """

    def codegen(context, builder, signature, args):
        tile = Tile(context, builder)
        totals, sums = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 4))
        i16, i32, i64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
        wide = ir.VectorType(i64, tile.lanes)
        zero, one, shift = ir.Constant(i64, 0), ir.Constant(i64, 1), args[2]

        def spread(number):
            return _spread(builder, number, tile.lanes)

        def larger(a, b):
            return builder.select(builder.icmp_signed(">", a, b), a, b)

        def smaller(a, b):
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        def put_each(change):
            for place in tile.places():
                value = _load(builder, builder.gep(totals, [builder.add(args[1], place)]), wide)
                tile.store(change(value), builder.gep(sums, [builder.add(args[5], place)]))

        def put_rounded():
            """To the nearest: that is down from half a unit more, and from a whole one to even."""
            unit = builder.shl(one, shift)
            half, below = spread(builder.ashr(unit, one)), spread(builder.sub(unit, one))
            least, most = (ir.Constant(wide, [x] * tile.lanes) for x in (-1 - _LARGEST, _LARGEST))
            highest, steps = spread(builder.trunc(args[3], i32)), spread(shift)

            def change(value):
                lifted = builder.add(value, half)
                middle = builder.icmp_signed("==", builder.and_(lifted, below), ir.Constant(wide, None))
                quotient = larger(smaller(builder.ashr(lifted, steps), most), least)
                rounded = builder.trunc(quotient, tile.vector)
                rounded = builder.select(middle, builder.and_(rounded, tile.splat(-2)), rounded)
                kept = smaller(larger(rounded, tile.zero), highest)
                return builder.trunc(kept, ir.VectorType(i16, tile.lanes))

            put_each(change)

        def put_multiplied():
            """By a power of two, from a number no larger than makes one above `high`."""
            up = builder.sub(zero, shift)
            limit = builder.add(builder.ashr(args[3], up), one)
            limit, high, steps = spread(limit), spread(args[3]), spread(up)

            def change(value):
                kept = smaller(larger(value, ir.Constant(wide, None)), limit)
                return builder.trunc(smaller(builder.shl(kept, steps), high), ir.VectorType(i16, tile.lanes))

            put_each(change)

        if signature.args[4].dtype == types.int16:
            with builder.if_else(builder.icmp_signed(">", shift, zero)) as (divides, multiplies):
                with divides:
                    put_rounded()
                with multiplies:
                    put_multiplied()
        else:
            put_each(lambda value: value)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(totals, i64, i64, i64, sums, i64), codegen


@intrinsic
def _walk_back(
    typingctx, rows, row, order, weights, m, negatives_from, top, pairs, totals, begin, macs, stopped, at
):
    """Take products back off totals[begin : begin + TILE], as long as they stay at `top` or below.

    The first product behind `negatives_from` stays. Writes from `at` on the products left to macs and BY_SIGN
    to stopped, or where a sum is above top, all of them and COMPLETE. Returns as bits which windows have
    more to be taken back than an int32 counts: for these, what was written is how far they came.
    """

    def codegen(context, builder, signature, args):
        i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
        tile = Tile(context, builder).at_row(context, signature, args)
        own = _Filter(tile, context, signature, args)
        totals, macs, stopped = (
            builder.gep(context.make_array(signature.args[i])(context, builder, args[i]).data, [args[first]])
            for i, first in ((8, 9), (10, 12), (11, 12))
        )
        wide = ir.VectorType(i64, tile.lanes)
        top = _spread(builder, args[6], tile.lanes)
        places = tile.places()
        complete = [_load(builder, builder.gep(totals, [place]), wide) for place in places]
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

        def take_and_look(each_pair, j, state):
            """Take products back with four looks at which rests are below zero.

            They are counted at every fourth look, which is every fourth number r of looks that a window
            may come to pass; the lower bits of r are the parities of how many were below zero at
            each look and at every second one.
            """
            rest, least, dead, odd, twos = parts_of(state)
            seen = []
            while len(seen) < 4:
                j = builder.sub(j, ir.Constant(i64, 2))
                inputs, both = own.pair(j)
                if not each_pair:
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
        j = own.size
        by_pairs = args[7] if tile.lanes == 16 else ir.Constant(i64, 0)
        for each_pair in (0, 1):
            chosen = builder.icmp_signed("==", by_pairs, ir.Constant(i64, each_pair))
            j, state = loop(
                builder,
                j,
                state,
                lambda j, s, of=each_pair, chosen=chosen: builder.and_(chosen, goes_on(j, s, 4 << of)),
                functools.partial(take_and_look, each_pair),
            )
        rest, least, dead, odd, twos = parts_of(state)
        looks = builder.ashr(builder.sub(own.size, j), by_pairs)
        looks = _spread(builder, builder.trunc(looks, i32), tile.lanes)
        by_two = _spread(builder, builder.trunc(by_pairs, i32), tile.lanes)
        removed = []
        for at_four, at_two, at_one in zip(dead, twos, odd, strict=True):
            passed = builder.add(looks, builder.shl(at_four, tile.splat(2)))
            lost = builder.add(builder.shl(signs(at_two), tile.splat(1)), signs(at_one))
            removed.append(builder.shl(builder.sub(passed, lost), by_two))
        j, state = loop(builder, j, [*rest, *least, *removed], lambda j, s: goes_on(j, s, 1), take_one)
        _, least, removed = (tile.collect(part) for part in parts_of(state))
        if tile.lanes == 16:
            ahead = builder.block
            with builder.if_then(builder.icmp_signed("==", by_pairs, ir.Constant(i64, 1))):
                inside = builder.block
                tried = [
                    own.take_one_more(*values, args[5], p * tile.lanes)
                    for p, values in enumerate(zip(begun, least, removed, strict=True))
                ]
            least, removed = (
                [
                    _merge(builder, [(old, ahead), (new[k], inside)])
                    for old, new in zip(part, tried, strict=True)
                ]
                for k, part in enumerate((least, removed))
            )
        everything = _spread(builder, builder.trunc(own.size, i32), tile.lanes)
        narrow = ir.VectorType(ir.IntType(signature.args[10].dtype.bitwidth), tile.lanes)

        def kept(counts):
            return counts if narrow == tile.vector else builder.trunc(counts, narrow)

        late = ir.Constant(i64, 0)
        for p, place in enumerate(places):
            alive = builder.icmp_signed(">=", begun[p], tile.zero)
            back = builder.select(alive, builder.sub(begun[p], least[p]), tile.zero)
            taken = builder.select(alive, removed[p], tile.zero)
            for target, value in (
                (totals, builder.add(complete[p], builder.sext(back, wide))),
                (macs, kept(builder.sub(everything, taken))),
                (stopped, builder.zext(alive, ir.VectorType(i8, tile.lanes))),
            ):
                tile.store(value, builder.gep(target, [place]))
            beyond = builder.icmp_signed("==", begun[p], tile.splat(_LARGEST))
            bits = builder.zext(builder.bitcast(beyond, ir.IntType(tile.lanes)), i64)
            late = builder.or_(late, builder.shl(bits, place))
        return late

    i64 = types.int64
    return i64(rows, i64, order, weights, *[i64] * 4, totals, i64, macs, stopped, i64), codegen


def _merge(builder, sources):
    """Return the value of whichever block control came from."""
    phi = builder.phi(sources[0][0].type)
    for value, block in sources:
        phi.add_incoming(value, block)
    return phi


if INTERPRETED:  # vector instructions cannot be
    walk_tiles = walk_tiles_plain
