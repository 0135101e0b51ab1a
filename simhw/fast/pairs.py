"""Convolution of int16 by pairs of products, the fastest exact product that vector units have.

One instruction (x86: pmaddwd, or vpdpwssd with the addition) multiplies two int16 by two int16 in every
lane and adds both products to an int32: twice the products of a float32 multiply-add of the same width.
An int32 sum wraps around, so it is right whenever its true value fits, whatever happened on the way.
Weights are known before anything is summed: `prove_blocks` cuts the taps of eight filters into the longest
blocks whose sums fit an int32 for every input in the range at hand, and after each block the sums move to
int64. Nothing is assumed and nothing is lost.

Two int16 that are multiplied together lie in one int32: the same pixel of two channels, or, where the
channels are few, of two filter rows. Inputs are laid out as planes of such pairs (`pair_planes`), one for
each offset modulo the stride, so that the windows of a tap are consecutive: window (y, x) of image n is
found `(n * rows + y) * pitch + x` after the tap's own offset. Windows that run over a row's end are
computed and dropped; rows share their padding, so these are few.
"""

# numba's intrinsics and its config carry no types
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

_BAND = 240  # windows summed before they are put where they belong: a multiple of WIDEST, not of 512
FILTERS = 8  # filters summed at once: as many vectors of sums stay in registers on every machine
WIDEST = 16  # int32 in the longest vector; that many pairs may be read, and ignored, behind the last window
INTERPRETED = bool(config.DISABLE_JIT)


class Layout(NamedTuple):
    """Where pairs of inputs, and the weights that meet them, lie."""

    row_pairs: bool  # a pair is of two filter rows, and not of two channels
    phases: np.ndarray  # int64 [Q, 2]: the offsets modulo the stride for which planes are made
    rows: int  # of a plane
    pitch: int  # from one row of a plane to the next
    places: np.ndarray  # int64 [K, 2]: plane in which the first window of a pair of taps lies, offset there
    lows: np.ndarray  # int64 [K]: which weight of a flat filter meets the lower half of a pair
    highs: np.ndarray  # int64 [K]: and which the upper half, or -1


def pair_layout(channels, height, width, kernel, stride, pad, dilation, out_width):
    """Lay out a convolution over `channels` channels, so that few pairs stay half empty."""
    row_pairs = channels * -(-kernel[0] // 2) < -(-channels // 2) * kernel[0]
    c = np.arange(0, channels, 1 if row_pairs else 2)
    r = np.arange(0, kernel[0], 2 if row_pairs else 1)
    s = np.arange(kernel[1])
    lows = np.add.outer(np.add.outer(c * kernel[0], r) * kernel[1], s)
    highs = lows + (kernel[1] if row_pairs else kernel[0] * kernel[1])
    if row_pairs and kernel[0] % 2:
        highs[:, -1] = -1
    if not row_pairs and channels % 2:
        highs[-1] = -1

    y, x = r * dilation[0], s * dilation[1]
    phases_y, phases_x = (sorted(set((v % u).tolist())) for v, u in zip((y, x), stride, strict=True))
    which_y, which_x = np.searchsorted(phases_y, y % stride[0]), np.searchsorted(phases_x, x % stride[1])
    phase = np.add.outer(which_y * len(phases_x), which_x)
    phases = np.array(list(itertools.product(phases_y, phases_x)))
    rows = -(-(pad[0] + height + pad[1]) // stride[0])
    if stride[1] == 1:
        pitch = max(width + max(pad[2:]), out_width)  # one row's right padding is the next one's left
    else:
        pitch = -(-(pad[2] + width + pad[3]) // stride[1])
    places = np.empty((*lows.shape, 2), dtype=np.int64)
    places[..., 0] = np.add.outer(np.arange(c.size) * len(phases), phase)
    places[..., 1] = np.add.outer(y // stride[0] * pitch, x // stride[1])
    return Layout(row_pairs, phases, rows, pitch, places.reshape(-1, 2), lows.ravel(), highs.ravel())


def pair_planes_plain(inputs, first, channels, row_pairs, phases, stride, pad, dilation, rows, pitch):
    """Lay out `channels` of inputs [N, C, H, W] from channel `first` on as planes of pairs.

    Returns int32: [pair of channels (or channel, if row_pairs), phase, N, rows, pitch], flat, and some zeros.
    The lower half of a pair is the pixel itself; the upper one is the same pixel of the next channel, or
    with row_pairs the pixel `dilation[0]` below. Pixels that do not exist are zero.
    """
    images, _, height, width = inputs.shape
    top, left = pad[0], pad[2]
    step = 1 if row_pairs else 2
    planes = -(-channels // step)
    bottom, right = top + height, left + width
    size = bottom + rows * stride[0] + dilation[0], right + pitch * stride[1]
    padded = np.zeros((planes * step + 1, images, *size), dtype=np.int64)
    padded[:channels, :, top:bottom, left:right] = inputs[:, first : first + channels].swapaxes(0, 1)
    out = np.zeros((planes, len(phases), images, rows, pitch), dtype=np.int64)
    for q, (y, x) in enumerate(phases):
        down = dilation[0] if row_pairs else 0
        for part, c, at in ((1, 0, y), (1 << 16, 1 - row_pairs, y + down)):
            picked = padded[c : c + planes * step : step, :, at :: stride[0], x :: stride[1]]
            out[:, q] += picked[:, :, :rows, :pitch] % (1 << 16) * part
    return np.append(out.ravel(), np.zeros(pitch + WIDEST, np.int64)).astype(np.uint32).view(np.int32)


@njit(cache=True, nogil=True)
def pair_planes(inputs, first, channels, row_pairs, phases, stride, pad, dilation, rows, pitch):
    images, _, height, width = inputs.shape
    top, left = pad[0], pad[2]
    step = 1 if row_pairs else 2
    planes = (channels + step - 1) // step
    out = np.zeros(planes * len(phases) * images * rows * pitch + pitch + WIDEST, dtype=np.int32)
    start = 0
    for p in range(planes):
        low = first + p * step
        high = low if row_pairs else low + 1
        down = dilation[0] if row_pairs else 0
        for q in range(len(phases)):
            begin = max(0, -((phases[q, 1] - left) // stride[1]))
            end = min(pitch, (width - 1 + left - phases[q, 1]) // stride[1] + 1)
            x0 = phases[q, 1] - left + begin * stride[1]
            for n in range(images):
                for row in range(rows):
                    y = row * stride[0] + phases[q, 0] - top
                    target = out[start + begin : start + end]
                    if 0 <= y < height:
                        source = inputs[n, low, y, x0 : x0 + stride[1] * target.size]
                        if stride[1] == 1:  # the compiler makes vectors of consecutive inputs only
                            for i in range(target.size):
                                target[i] = np.uint16(source[i])
                        else:
                            for i in range(target.size):
                                target[i] = np.uint16(source[i * stride[1]])
                    if 0 <= y + down < height and high < first + channels:
                        source = inputs[n, high, y + down, x0 : x0 + stride[1] * target.size]
                        if stride[1] == 1:
                            for i in range(target.size):
                                target[i] |= np.int32(source[i]) << np.int32(16)
                        else:
                            for i in range(target.size):
                                target[i] |= np.int32(source[i * stride[1]]) << np.int32(16)
                    start += pitch
    return out


def pack_panel_plain(weights, lows, highs, first, end):
    """Pair the weights of FILTERS filters from `first` on, as int32 [K, FILTERS].

    weights are int16 [M, C * R * S]; lows and highs say which make the pairs (a high of -1 is no weight).
    From `end` on, where no filters are left, the last one stands in for them.
    """
    chosen = weights[np.minimum(np.arange(first, first + FILTERS), end - 1)].astype(np.int64) % (1 << 16)
    high = np.where(highs < 0, 0, chosen[:, highs])
    return (chosen[:, lows] + (high << 16)).T.astype(np.uint32).view(np.int32)


@njit(cache=True, nogil=True)
def pack_panel(weights, lows, highs, first, end):
    packed = np.empty((lows.size, FILTERS), dtype=np.int32)
    for k in range(lows.size):
        low, high = lows[k], highs[k]
        for i in range(FILTERS):
            filter_weights = weights[min(first + i, end - 1)]
            upper = np.int32(filter_weights[high]) << 16 if high >= 0 else 0
            packed[k, i] = np.int32(np.uint16(filter_weights[low])) | upper
    return packed


def prove_blocks_plain(packed, below, above):
    """Cut the pairs of a panel into blocks whose sums fit an int32; return where each block ends.

    Inputs lie between -below and above, neither of which is negative. A filter's sum is no larger than
    the largest input times the sum of its weights' magnitudes; where all inputs have one sign, the larger of
    the sum of its positive and that of its negative weights does. A block is as long as this allows for the
    worst of its filters, up to weights of 2**30, and is at least one pair.
    """
    weights = packed.view(np.int16).reshape(*packed.shape, 2).astype(np.int64)
    positive = np.maximum(weights, 0).sum(axis=2)
    negative = np.maximum(-weights, 0).sum(axis=2)
    ends, start = [], 0
    while start < len(packed):
        up, down = np.cumsum(positive[start:], axis=0), np.cumsum(negative[start:], axis=0)
        worst = (up + down if below and above else np.maximum(up, down)).max(axis=1)
        fits = (worst * max(below, above) < 1 << 31) & (worst <= 1 << 30)
        start += max(1, np.count_nonzero(fits))
        ends.append(start)
    return np.array(ends, dtype=np.int64)


@njit(cache=True, nogil=True)
def prove_blocks(packed, below, above):
    limit = np.int32(min(1 << 30, ((1 << 31) - 1) // max(below, above, 1)))
    both_signs = np.int32(-1 if below > 0 and above > 0 else 0)
    ends = np.empty(packed.shape[0], dtype=np.int64)
    blocks, start = 0, 0
    while start < packed.shape[0]:
        start = max(start + 1, _proven_end(packed, start, limit, both_signs))
        ends[blocks] = start
        blocks += 1
    return ends[:blocks].copy()


def convolve_panels_plain(
    planes, offsets, weights, lows, highs, bias, below, above, rows, pitch, first, end, acc
):
    """Write the sums of every window with filters `first` to `end` into acc, int64 [N, M, E, F].

    `planes`, `rows` and `pitch` are those of `pair_planes`, `offsets` says for each pair of taps where in
    planes its first window lies, `weights`, `lows` and `highs` are those of `pack_panel`; inputs lie between
    -below and above, and not all four numbers of a pair and its weights are -2**15.
    """
    images, _, out_height, out_width = acc.shape
    n, y, x = np.indices((images, out_height, out_width)).reshape(3, -1)
    pairs = planes[np.add.outer(offsets, (n * rows + y) * pitch + x)]
    low, high = pairs << 16 >> 16, pairs >> 16
    for m in range(first, end):
        taps = weights[m].astype(np.int64)
        sums = bias[m] + taps[lows] @ low + np.where(highs < 0, 0, taps[highs]) @ high
        acc[:, m] = sums.reshape(images, out_height, out_width)


@njit(cache=True, nogil=True)
def convolve_panels(planes, offsets, weights, lows, highs, bias, below, above, rows, pitch, first, end, acc):
    images, _, out_height, out_width = acc.shape
    windows = ((images - 1) * rows + out_height - 1) * pitch + out_width
    lanes = _lanes()
    band = np.empty((FILTERS, _BAND), dtype=np.int64)
    for m in range(first, end, FILTERS):
        packed = pack_panel(weights, lows, highs, m, end)
        ends = prove_blocks(packed, below, above)
        filters = min(FILTERS, end - m)
        for begin in range(0, windows, _BAND):
            finish = min(begin + _BAND, windows)
            for i in range(filters):
                band[i] = bias[m + i]
            for at in range(begin, finish, lanes):
                start = 0
                for stop in ends:
                    _multiply_pairs(planes, at, offsets, packed, start, stop, band, at - begin)
                    start = stop
            at = begin
            while at < finish:
                row, x = divmod(at, pitch)
                n, y = divmod(row, rows)
                if y < out_height and x < out_width:
                    count = min(out_width - x, finish - at)
                    for i in range(filters):
                        acc[n, m + i, y, x : x + count] = band[i, at - begin : at - begin + count]
                at += pitch - x


@intrinsic
def _lanes(typingctx):
    """How many int32 fill a vector of the machine that the code is compiled for."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), _vector(context)[0])

    return types.int64(), codegen


@intrinsic
def _proven_end(typingctx, packed, start, limit, both_signs):
    """Return the first k from `start` on at which a filter's weights in start..k+1 exceed `limit`, or K.

    What counts is the larger of the sums of positive weights and of magnitudes of negative weights, or
    where both_signs is -1 and not 0, the sum of both.
    """

    def codegen(context, builder, signature, args):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(i32, FILTERS)
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pairs = builder.extract_value(array.shape, 0)
        limit, both_signs = _spread(builder, args[2], FILTERS), _spread(builder, args[3], FILTERS)
        zero, sixteen = ir.Constant(vector, None), ir.Constant(vector, [16] * FILTERS)

        def larger(a, b):
            return builder.select(builder.icmp_signed(">", a, b), a, b)

        def smaller(a, b):
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        before = builder.block
        loop, following, done = (builder.append_basic_block(name) for name in ("weigh", "fits", "proven"))
        builder.branch(loop)
        builder.position_at_end(loop)
        k, positive, negative = builder.phi(i64), builder.phi(vector), builder.phi(vector)
        pair = _load(builder, builder.gep(array.data, [builder.mul(k, ir.Constant(i64, FILTERS))]), vector)
        low = builder.ashr(builder.shl(pair, sixteen), sixteen)
        high = builder.ashr(pair, sixteen)
        more = builder.add(positive, builder.add(larger(low, zero), larger(high, zero)))
        less = builder.sub(negative, builder.add(smaller(low, zero), smaller(high, zero)))
        counts = builder.add(larger(more, less), builder.and_(smaller(more, less), both_signs))
        exceeds = builder.bitcast(builder.icmp_signed(">", counts, limit), ir.IntType(FILTERS))
        builder.cbranch(builder.icmp_unsigned("==", exceeds, exceeds.type(0)), following, done)
        builder.position_at_end(following)
        next_k = builder.add(k, ir.Constant(i64, 1))
        builder.cbranch(builder.icmp_signed("<", next_k, pairs), loop, done)
        for phi, first, later in ((k, args[1], next_k), (positive, zero, more), (negative, zero, less)):
            phi.add_incoming(first, before)
            phi.add_incoming(later, following)
        builder.position_at_end(done)
        end = builder.phi(i64)
        end.add_incoming(k, loop)
        end.add_incoming(next_k, following)
        return end

    return types.int64(packed, types.int64, types.int32, types.int32), codegen


@intrinsic
def _multiply_pairs(typingctx, planes, at, offsets, packed, start, stop, sums, first):
    """Add to sums[m, first + j], for k in start..stop, both products of packed[k, m] with the pair at j.

    That pair is planes[at + offsets[k] + j], and j goes over the lanes. Products are summed in int32, and
    added to `sums`, int64 [FILTERS, _BAND], after the last; start < stop.
    """

    def codegen(context, builder, signature, args):
        lanes, instruction = _vector(context)
        i16, i32, i64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
        vector, halves = ir.VectorType(i32, lanes), ir.VectorType(i16, 2 * lanes)
        planes, offsets, packed, sums = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2, 3, 6)
        )
        at, start, stop, first = args[1], args[4], args[5], args[7]

        def product(x, w):
            if instruction:
                multiply = builder.module.declare_intrinsic(
                    instruction, (), ir.FunctionType(vector, [halves, halves])
                )
                return builder.call(multiply, [builder.bitcast(x, halves), builder.bitcast(w, halves)])
            sixteen = ir.Constant(vector, [16] * lanes)
            low_x, low_w = (builder.ashr(builder.shl(v, sixteen), sixteen) for v in (x, w))
            high_x, high_w = (builder.ashr(v, sixteen) for v in (x, w))
            return builder.add(builder.mul(low_x, low_w), builder.mul(high_x, high_w))

        windows = builder.gep(planes, [at])
        before = builder.block
        loop, after = builder.append_basic_block("pairs"), builder.append_basic_block("widen")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(i64)
        k.add_incoming(start, before)
        totals = [builder.phi(vector) for _ in range(FILTERS)]
        x = _load(builder, builder.gep(windows, [builder.load(builder.gep(offsets, [k]))]), vector)
        weights = builder.gep(packed, [builder.mul(k, ir.Constant(i64, FILTERS))])
        raised = []
        for m, total in enumerate(totals):
            w = _spread(builder, builder.load(builder.gep(weights, [ir.Constant(i64, m)])), lanes)
            raised.append(builder.add(total, product(x, w)))
            total.add_incoming(ir.Constant(vector, None), before)
            total.add_incoming(raised[m], loop)
        following = builder.add(k, ir.Constant(i64, 1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
        builder.position_at_end(after)
        wide = ir.VectorType(i64, lanes)
        for m, total in enumerate(raised):
            address = builder.gep(sums, [builder.add(first, ir.Constant(i64, m * _BAND))])
            value = builder.add(_load(builder, address, wide), builder.sext(total, wide))
            builder.store(value, builder.bitcast(address, wide.as_pointer())).align = 8
        # Without this barrier LLVM may keep the sums of all blocks in registers, of which it has too few.
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)
        return context.get_dummy_value()

    return types.void(planes, at, offsets, packed, start, stop, sums, first), codegen


def _load(builder, address, vector):
    """Load a vector from the address of its first element."""
    value = builder.load(builder.bitcast(address, vector.as_pointer()))
    value.align = vector.element.width // 8
    return value


def _spread(builder, word, lanes):
    """Return a vector with `word` in every lane."""
    undefined = ir.Constant(ir.VectorType(word.type, lanes), ir.Undefined)
    one = builder.insert_element(undefined, word, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )


def _vector(context):
    """Return (int32 lanes, name of the pairwise multiply-add or None) for the machine compiled for."""
    features = context.codegen().magic_tuple()[-1].split(",")
    for feature, lanes, instruction in (
        ("+avx512bw", 16, "llvm.x86.avx512.pmaddw.d.512"),
        ("+avx2", 8, "llvm.x86.avx2.pmadd.wd"),
        ("+sse2", 4, "llvm.x86.sse2.pmadd.wd"),
    ):
        if feature in features:
            return lanes, instruction
    return 4, None


if INTERPRETED:  # vector instructions cannot be
    prove_blocks, convolve_panels = prove_blocks_plain, convolve_panels_plain
