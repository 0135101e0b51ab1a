"""What windows that stop early ask of lanes, PEs and columns: work without time (SnaPEA's array)."""

from __future__ import annotations

import numpy as np
from numba import njit

CHECKS, PREDICTS, BUSY, LOCKSTEP, NO_WINDOW, WINDOWS = 0, 1, 2, 3, 4, 5  # rows of what each lane did
# rows of what each PE did; the first three are its cycles but for waits that only time decides
PARKING, STREAM, READS, PARKED, TAKEN, DRAWN = 0, 1, 2, 3, 4, 5
LANE_KINDS, PE_KINDS = 6, 6
_MANY = 8  # groups to a unit, from which on to go through all of them for each unit is faster
PARKS, STAGED, AGAIN = 0, 1, 2  # what becomes of filters longer than a unit


def deal_lanes_plain(
    macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long, together,
    spread,
):  # fmt: skip
    """Deal windows to lanes and filters to columns, and cut the work where other weights are loaded.

    macs [N, M, P] says after how many products each of P windows of N maps stops in each of M filters,
    which come in `groups`. From product checked_from[m] on a check follows each; a window of a filter that
    speculates[m] is looked at once more. places [B, G, L] deals the windows of a map: portion, group, lane;
    -1 stands for none, after all windows. A round gives each of `rows` one portion of a map, and each column
    its filters one after another: filter m of a group is in column m % columns, step m // columns. With
    `spread` there is one portion, all rows have it, and filters go round all PEs.

    The K products of a window, `edges` [S + 1] from 0 to K, come in S slices, a round each. Filters are
    loaded in units of `unit` products, of which `room` fit the buffers; the loader looks ahead no further
    than that, and stops loading a filter once the unit it has room for again left no window going. Longer
    filters (`long`) PARK the sums of all windows between two units, are STAGED whole, so that a filter is
    one unit, or come AGAIN for every group. A sum that is parked, because its PE has more than one group
    or because the slice ends, takes `park` cycles to lay down and as many to take up, in all lanes.
    `together` has the PEs of a column keep step at every group of windows; else each goes its own pace.
    Filters that come again keep step in any case.

    Returns work [rounds, steps, columns, units, rows] in cycles; int64 words [rounds, steps, columns,
    units], weights of a unit, 0 where there is none; what lanes did, [6, rows, columns, L]: CHECKS, windows
    that PREDICT, BUSY, LOCKSTEP and NO_WINDOW cycles, and WINDOWS; what PEs did, [6, rows, columns]: cycles
    of PARKING and of waiting for the STREAM, weights READ, sums PARKED and TAKEN up, weights DRAWN into
    buffers; and weights sent along columns. Rounds count groups, then rows of portions, then slices.
    """
    images, filters, _ = macs.shape
    portions, most, lanes = places.shape
    per_group, size, cuts = filters // groups, int(edges[-1]), len(edges) - 1
    is_long = size > unit
    again, staged = is_long and long == AGAIN, is_long and long == STAGED
    together = together or again
    whole = max(edges[s + 1] - edges[s] for s in range(cuts)) if staged else unit
    blocks = images * portions
    turns = -(-blocks // rows)
    share = columns * (rows if spread else 1)
    steps = -(-per_group // share)
    units = max(-(-(edges[s + 1] - edges[s]) // whole) for s in range(cuts)) * (most if again else 1)
    work = np.zeros((groups * turns * cuts, steps, columns, units, rows), np.int64)
    words = np.zeros(work.shape[:-1], np.int64)
    by_lane = np.zeros((LANE_KINDS, rows, columns, lanes), np.int64)
    by_pe = np.zeros((PE_KINDS, rows, columns), np.int64)
    sent = 0

    def windows_of(m, block):
        image, portion = divmod(block, portions)
        counts = np.where(places[portion] >= 0, macs[image, m, places[portion]], 0)
        return counts[places[portion][:, 0] >= 0].astype(np.int64), places[portion]

    for g in range(groups):
        for turn in range(turns):
            for step in range(steps):
                for c in range(columns):
                    there = {}  # row: (filter, its windows' products [group, lane])
                    for p in range(rows):
                        m = (step * rows + p) * columns + c if spread else step * columns + c
                        block = 0 if spread else turn * rows + p
                        if m < per_group and block < blocks:
                            there[p] = (g * per_group + m, *windows_of(g * per_group + m, block))
                    for p, (m, counts, where) in there.items():
                        pace, has = counts.max(axis=1, keepdims=True), where[: len(counts)] >= 0
                        by_lane[BUSY, p, c] += counts.sum(axis=0)
                        by_lane[LOCKSTEP, p, c] += ((pace - counts) * has).sum(axis=0)
                        by_lane[NO_WINDOW, p, c] += (pace * ~has).sum(axis=0)
                        by_lane[CHECKS, p, c] += np.maximum(counts - checked_from[m], 0).sum(axis=0)
                        by_lane[WINDOWS, p, c] += has.sum(axis=0)
                        by_lane[PREDICTS, p, c] += has.sum(axis=0) * bool(speculates[m])
                        by_pe[READS, p, c] += pace.sum()
                    for s in range(cuts) if there else ():
                        r = (g * turns + turn) * cuts + s
                        done, sends = _slice_plain(
                            {p: counts for p, (_, counts, _) in there.items()},
                            (int(edges[s]), int(edges[s + 1])), whole, room, park, again, staged, together,
                        )  # fmt: skip
                        for u, (length, cycles) in enumerate(done):
                            words[r, step, c, u] = length * (len(there) if spread else 1)
                            for p, n in cycles.items():
                                work[r, step, c, u, p] = n
                        for kind, found in sends.items():
                            for p, n in found.items():
                                by_pe[kind, p, c] += n
                        drawn = sends[DRAWN].values()
                        sent += sum(drawn) if spread or (staged and not together) else max(drawn)
    return work, words, by_lane, by_pe, sent


def _slice_plain(there, span, unit, room, park, again, staged, together):
    """Return ([(weights, cycles by row)] of each unit, what PEs did by row) of one filter in one slice."""
    first, end = span
    found = {kind: dict.fromkeys(there, 0) for kind in (PARKING, STREAM, PARKED, TAKEN, DRAWN)}
    starts = list(range(first, end, unit))
    most = max(len(counts) for counts in there.values())
    done = []
    for some in [[j] for j in range(most)] if again else [list(range(most))]:
        paces = {p: [c.max() for c in counts[some[0] : some[-1] + 1]] for p, counts in there.items()}
        furthest = max(max(pace, default=0) for pace in paces.values())
        used = sum(furthest > start for start in starts)
        for start in starts[: used + room - 1]:
            stop = min(start + unit, end)
            cycles = dict.fromkeys(there, 0)
            for j in some:
                took = dict.fromkeys(there, 0)
                for p, counts in there.items():
                    if j >= len(counts):
                        continue
                    moves = len(counts) > 1 and not again
                    takes, lays = start > 0 and (moves or start == first), moves or stop == end
                    going, goes_on = counts[j] > start, counts[j] > stop
                    if takes and going.any():
                        found[TAKEN][p] += int(going.sum())
                        found[PARKING][p] += park
                        took[p] += park
                    if lays and goes_on.any():
                        found[PARKED][p] += int(goes_on.sum())
                        found[PARKING][p] += park
                        took[p] += park
                    products = int(np.clip(counts[j].max() - start, 0, stop - start))
                    took[p] += products
                    if staged and not together:
                        found[DRAWN][p] += products
                slowest = max(took.values())
                for p, n in took.items():
                    cycles[p] += slowest if together else n
                    found[STREAM][p] += slowest - n if together else 0
                if staged and together:
                    fastest = max(int(np.clip(pace[j], start, stop)) - start if j < len(pace) else 0
                                  for pace in paces.values())  # fmt: skip
                    for p in there:
                        found[DRAWN][p] += fastest
            if not staged:
                for p in there:
                    found[DRAWN][p] += stop - start
            done.append((stop - start, cycles))
    return done, found


def deal_lanes(
    macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long, together,
    spread,
):  # fmt: skip
    size = int(edges[-1])
    own_pace = len(edges) == 2 and not together and (long == PARKS or size <= unit)
    own_pace = own_pace and size * len(checked_from) < 1 << 31 and size * unit < 1 << 32
    own_pace = own_pace and places.shape[1] * (min(unit, size) + 2 * park) < 1 << 31
    return (deal_at_own_pace if own_pace else deal_in_step)(
        macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long,
        together, spread,
    )  # fmt: skip


def deal_whole(
    images, filters, places, groups, rows, columns, edges, unit, room, park, long, together, spread
):  # fmt: skip
    """Return `deal_lanes` of windows that all run to their end: what one filter asks for, all of them do."""
    windows, size, per_group = int(places.max()) + 1, int(edges[-1]), filters // groups
    kind = np.int16 if size < 1 << 15 else np.int32
    work, words, by_lane, by_pe, sent = deal_lanes(
        np.full((images, 1, windows), size, kind), np.array([size], np.int32), np.zeros(1, np.bool_),
        places, 1, 1 if spread else rows, 1, edges, unit, room, park, long, together, False,
    )  # fmt: skip
    deep = rows if spread else 1
    share = np.arange(-(-per_group // (deep * columns)) * deep * columns) < per_group
    there = share.reshape(-1, deep, columns).transpose(0, 2, 1).astype(np.int64, order="C")  # [step, c, p]
    met = groups * np.ascontiguousarray(there.sum(axis=0).T if spread else there.sum(axis=(0, 2)))
    if there.all() and not spread:  # every column has as many filters
        whole = work.reshape(len(work), 1, -1).repeat(there.size // deep, axis=1)
        work = whole.reshape(len(work), *there.shape[:2], *work.shape[3:])
    else:
        work = work * there[:, :, None].astype(work.dtype)
    work = work if groups == 1 else np.concatenate([work] * groups)
    words = np.concatenate([words * there.sum(axis=2)[..., None]] * groups)
    return work, words, by_lane * met[..., None], by_pe * met, sent * filters


def deal_at_own_pace_plain(
    macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long, together,
    spread,
):  # fmt: skip
    """Deal lanes where nothing makes PEs or windows wait for each other: one slice, sums that are parked.

    All products of a window with all filters are fewer than 2**31, cycles of a unit on a PE too, and
    size * unit is less than 2**32. Cycles come as int32: most of what moves through memory are these.
    """
    return deal_lanes_plain(
        macs, checked_from, speculates, places, groups, rows, columns, edges[[0, -1]], unit, room, park,
        PARKS, False, spread,
    )  # fmt: skip


@njit(cache=True)
def deal_at_own_pace(
    macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long, together,
    spread,
):  # fmt: skip
    images, filters, _ = macs.shape
    portions, most, lanes = places.shape
    per_group, size = filters // groups, edges[-1]
    blocks = images * portions
    turns = (blocks + rows - 1) // rows
    share = columns * rows if spread else columns
    steps = (per_group + share - 1) // share
    units = (size + unit - 1) // unit
    work = np.zeros((groups * turns, steps, columns, units, rows), np.int32)
    words = np.zeros((groups * turns, steps, columns, units), np.int64)
    by_lane = np.zeros((LANE_KINDS, rows, columns, lanes), np.int64)
    by_pe = np.zeros((PE_KINDS, rows, columns), np.int64)
    sent = 0
    # Groups side by side, portion after portion, and so their windows. Those are at places of a map; masks
    # are -1 where a group has a window for the lane, and where that one's sum may be parked.
    firsts = np.zeros(portions + 1, np.int64)
    for b in range(portions):
        firsts[b + 1] = firsts[b]
        while firsts[b + 1] - firsts[b] < most and places[b, firsts[b + 1] - firsts[b], 0] >= 0:
            firsts[b + 1] += 1
    end = firsts[portions]
    at, here = np.zeros(lanes * end, np.uint32), np.zeros(lanes * end, np.int32)
    parks = np.zeros(lanes * end if units > 1 else 0, np.int32)
    dealt = np.zeros((portions, lanes), np.int64)  # windows of each lane
    for b in range(portions):
        for j in range(firsts[b], firsts[b + 1]):
            for lane in range(lanes):
                if places[b, j - firsts[b], lane] >= 0:
                    at[j * lanes + lane] = places[b, j - firsts[b], lane]
                    here[j * lanes + lane] = -1
                    dealt[b, lane] += 1
                    if units > 1 and firsts[b + 1] - firsts[b] > 1:  # a single group keeps its sums
                        parks[j * lanes + lane] = -1
    counts, pace = np.zeros(lanes * end, np.int32), np.zeros(end, np.int32)
    # of all filters of a column that one row of PEs after another has, each window by itself
    busy, checks, going = np.zeros_like(counts), np.zeros_like(counts), np.zeros_like(parks)
    paces = np.zeros(end, np.int32)
    ending, left = np.zeros(units + 1, np.int64), np.zeros(units + 1, np.int64)  # of the groups of a portion
    sums = np.zeros((2, lanes), np.int64)  # of a portion's windows: busy, checks
    furthest = np.zeros((steps, turns), np.int64)
    present = np.zeros(steps, np.int64)
    whole_unit = np.int32(min(unit, size))
    inverse = np.uint64((np.int64(1) << 32) // unit + 1)  # x // unit as a product, as long as size is allowed
    for g in range(groups):
        for c in range(columns):
            furthest[:] = 0
            present[:] = 0
            for k in range(rows if spread else images):
                n = 0 if spread else k
                looked_at = filters_met = 0
                for step in range(steps):
                    m = (step * rows + k) * columns + c if spread else step * columns + c
                    if m >= per_group:
                        break
                    present[step] += 1
                    m += g * per_group
                    filters_met += 1
                    looked_at += speculates[m]
                    start, own = np.int32(checked_from[m]), macs[n, m]
                    for j in range(counts.size):  # loops of a line each, which the compiler makes vectors of
                        counts[j] = own[at[j]] & here[j]
                    for j in range(counts.size):
                        busy[j] += counts[j]
                    for j in range(counts.size):
                        checks[j] += max(np.int32(counts[j] - start), np.int32(0))
                    if units > 1:
                        for j in range(counts.size):
                            x = np.uint64(max(np.int32(counts[j] - 1), np.int32(0)))
                            going[j] += np.int32(x * inverse >> np.uint64(32)) & parks[j]
                    if lanes == 4:
                        for j in range(end):
                            first = max(counts[4 * j], counts[4 * j + 1])
                            pace[j] = max(first, max(counts[4 * j + 2], counts[4 * j + 3]))
                    else:
                        for j in range(end):
                            pace[j] = counts[j * lanes : (j + 1) * lanes].max()
                    for j in range(end):
                        paces[j] += pace[j]
                    turn, p = (0, k) if spread else divmod(n * portions, rows)
                    b = 0
                    while most == 1 and b < portions:  # a single group in each: those of all rows at once
                        some = min(1 if spread else rows - p, portions - b)
                        here_paces = pace[b : b + some]
                        longest = np.int64(0)
                        for j in range(here_paces.size):
                            longest = max(longest, np.int64(here_paces[j]))
                        furthest[step, turn] = max(furthest[step, turn], longest)
                        own_work = work[g * turns + turn, step, c]
                        for i in range((longest + unit - 1) // unit):
                            low, takes = np.int32(i * unit), own_work[i, p : p + some]
                            for j in range(takes.size):
                                takes[j] = max(min(np.int32(here_paces[j] - low), whole_unit), np.int32(0))
                        turn, p, b = turn + 1, 0, b + some
                    turn, p = turn - 1, p - 1 + rows
                    for b in range(portions if most > 1 else 0):
                        p += 1
                        if p >= rows:
                            turn, p = turn + 1, p - rows
                        own_work = work[g * turns + turn, step, c]
                        here_paces = pace[firsts[b] : firsts[b + 1]]
                        longest = whole = np.int64(here_paces[0])
                        for j in range(1, here_paces.size):
                            whole += here_paces[j]
                            longest = max(longest, np.int64(here_paces[j]))
                        furthest[step, turn] = max(furthest[step, turn], longest)
                        if longest <= unit:
                            own_work[0, p] = whole
                            continue
                        cost = park if here_paces.size > 1 else 0  # a single group keeps its sums
                        reached = (longest - 1) // unit + 1
                        came = np.int64(0)  # groups that go on behind the unit before
                        if here_paces.size > _MANY * reached:  # each unit by itself, as vectors
                            for i in range(reached):
                                low, took, goes = np.int32(i * unit), np.int32(0), np.int32(0)
                                for j in range(here_paces.size):
                                    rest = np.int32(here_paces[j] - low)
                                    took = np.int32(took + max(min(rest, whole_unit), np.int32(0)))
                                    goes = np.int32(goes + np.int32(rest > whole_unit))
                                moves = cost * (came + goes)
                                own_work[i, p] = took + moves
                                by_pe[PARKING, p, c] += moves
                                came = np.int64(goes)
                            continue
                        for j in range(here_paces.size):
                            x = max(here_paces[j], np.int32(1)) - 1
                            i = np.int64(np.uint64(x) * inverse >> np.uint64(32))
                            ending[i] += 1
                            left[i] += here_paces[j] - i * unit
                        on = np.int64(0)  # groups that go on behind a unit
                        for i in range(reached - 1, -1, -1):
                            moves = cost * (on + (on + ending[i] if i else 0))
                            own_work[i, p] = left[i] + on * unit + moves
                            by_pe[PARKING, p, c] += moves
                            on += ending[i]
                            ending[i] = left[i] = 0
                p = k if spread else n * portions % rows
                for b in range(portions if filters_met else 0):
                    steady = spent = np.int64(0)
                    for j in range(firsts[b], firsts[b + 1]):
                        steady += paces[j]
                    by_pe[READS, p, c] += steady
                    if units > 1:
                        for j in range(firsts[b] * lanes, firsts[b + 1] * lanes):
                            spent += going[j]
                    by_pe[PARKED, p, c] += spent
                    by_pe[TAKEN, p, c] += spent
                    if lanes == 4:  # side by side
                        b0 = b1 = b2 = b3 = k0 = k1 = k2 = k3 = np.int64(0)
                        for j in range(firsts[b], firsts[b + 1]):
                            b0, b1 = b0 + busy[4 * j], b1 + busy[4 * j + 1]
                            b2, b3 = b2 + busy[4 * j + 2], b3 + busy[4 * j + 3]
                            k0, k1 = k0 + checks[4 * j], k1 + checks[4 * j + 1]
                            k2, k3 = k2 + checks[4 * j + 2], k3 + checks[4 * j + 3]
                        sums[0, 0], sums[0, 1], sums[0, 2], sums[0, 3] = b0, b1, b2, b3
                        sums[1, 0], sums[1, 1], sums[1, 2], sums[1, 3] = k0, k1, k2, k3
                    else:
                        sums[:] = 0
                        for j in range(firsts[b], firsts[b + 1]):
                            for lane in range(lanes):
                                sums[0, lane] += busy[j * lanes + lane]
                                sums[1, lane] += checks[j * lanes + lane]
                    for lane in range(lanes):
                        empty = np.int64(0)
                        if dealt[b, lane] < firsts[b + 1] - firsts[b]:
                            for j in range(firsts[b], firsts[b + 1]):
                                empty += 0 if here[j * lanes + lane] else paces[j]
                        by_lane[BUSY, p, c, lane] += sums[0, lane]
                        by_lane[NO_WINDOW, p, c, lane] += empty
                        by_lane[LOCKSTEP, p, c, lane] += steady - empty - sums[0, lane]
                        by_lane[CHECKS, p, c, lane] += sums[1, lane]
                        by_lane[WINDOWS, p, c, lane] += dealt[b, lane] * filters_met
                        by_lane[PREDICTS, p, c, lane] += dealt[b, lane] * looked_at
                    p = p + 1 if p + 1 < rows else 0
                busy[:] = 0
                checks[:] = 0
                going[:] = 0
                paces[:] = 0
            for step in range(steps):
                times = present[step] if spread else 1
                for turn in range(turns if present[step] else 0):
                    used = (furthest[step, turn] + unit - 1) // unit
                    fetched = min(units, used + room - 1)
                    drawn = min(fetched * unit, size)
                    for i in range(fetched):
                        weights = min((i + 1) * unit, size) - i * unit
                        words[g * turns + turn, step, c, i] = weights * times
                    for p in range(times if spread else min(rows, blocks - turn * rows)):
                        by_pe[DRAWN, p, c] += drawn
                    sent += drawn * times
    return work, words, by_lane, by_pe, sent


def deal_in_step_plain(
    macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long, together,
    spread,
):  # fmt: skip
    """Deal lanes however PEs wait for each other: the whole of `deal_lanes_plain`, group by group."""
    return deal_lanes_plain(
        macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long,
        together, spread,
    )  # fmt: skip


@njit(cache=True)
def deal_in_step(
    macs, checked_from, speculates, places, groups, rows, columns, edges, unit, room, park, long, together,
    spread,
):  # fmt: skip
    images, filters, _ = macs.shape
    portions, most, lanes = places.shape
    per_group, size, cuts = filters // groups, edges[-1], len(edges) - 1
    again, staged = size > unit and long == AGAIN, size > unit and long == STAGED
    together = together or again
    longest = 0
    for s in range(cuts):
        longest = max(longest, edges[s + 1] - edges[s])
    whole = longest if staged else unit
    blocks = images * portions
    turns = (blocks + rows - 1) // rows
    share = columns * rows if spread else columns
    steps = (per_group + share - 1) // share
    units = (longest + whole - 1) // whole * (most if again else 1)
    work = np.zeros((groups * turns * cuts, steps, columns, units, rows), np.int64)
    words = np.zeros((groups * turns * cuts, steps, columns, units), np.int64)
    by_lane = np.zeros((LANE_KINDS, rows, columns, lanes), np.int64)
    by_pe = np.zeros((PE_KINDS, rows, columns), np.int64)
    sent = 0
    held = np.zeros(portions, np.int64)  # groups of windows in each portion
    for b in range(portions):
        while held[b] < most and places[b, held[b], 0] >= 0:
            held[b] += 1
    windows = np.zeros((portions, most), np.int64)  # of each group: they have the first lanes
    dealt = np.zeros((portions, lanes), np.int64)
    for b in range(portions):
        for j in range(held[b]):
            for lane in range(lanes):
                windows[b, j] += places[b, j, lane] >= 0
                dealt[b, lane] += places[b, j, lane] >= 0
    adjacent = np.zeros((portions, most), np.bool_)
    for b in range(portions if lanes == 4 else 0):
        for j in range(held[b]):
            adjacent[b, j] = windows[b, j] == 4
            for lane in range(1, windows[b, j]):
                adjacent[b, j] &= places[b, j, lane] == places[b, j, 0] + lane
    busy, checks = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    waiting = np.zeros(lanes, np.int64)
    paces = np.zeros((rows, most), np.int64)
    mine = np.zeros(rows, np.int64)  # groups of each row; 0 where it has none
    which = np.zeros(rows, np.int64)  # filter
    images_of, portions_of = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    took = np.zeros(rows, np.int64)
    for g in range(groups):
        for turn in range(turns):
            for step in range(steps):
                for c in range(columns):
                    present = 0
                    deepest = furthest = 0
                    for p in range(rows):
                        m = (step * rows + p) * columns + c if spread else step * columns + c
                        block = 0 if spread else turn * rows + p
                        mine[p] = 0
                        if m >= per_group or block >= blocks:
                            continue
                        present += 1
                        n, b = block // portions, block % portions
                        which[p], images_of[p], portions_of[p] = g * per_group + m, n, b
                        mine[p] = held[b]
                        deepest = max(deepest, held[b])
                        counts, start = macs[n, which[p]], checked_from[which[p]]
                        busy[:] = 0
                        checks[:] = 0
                        waiting[:] = 0
                        together_for = 0
                        b0 = b1 = b2 = b3 = k0 = k1 = k2 = k3 = np.int64(0)
                        for j in range(held[b]):
                            pace = np.int64(0)
                            if adjacent[b, j]:  # four windows side by side, as almost all are: registers
                                at = places[b, j, 0]
                                m0, m1 = np.int64(counts[at]), np.int64(counts[at + 1])
                                m2, m3 = np.int64(counts[at + 2]), np.int64(counts[at + 3])
                                pace = max(max(m0, m1), max(m2, m3))
                                b0, b1, b2, b3 = b0 + m0, b1 + m1, b2 + m2, b3 + m3
                                k0, k1 = k0 + max(m0 - start, 0), k1 + max(m1 - start, 0)
                                k2, k3 = k2 + max(m2 - start, 0), k3 + max(m3 - start, 0)
                                paces[p, j] = pace
                                together_for += pace
                                furthest = max(furthest, pace)
                                continue
                            for lane in range(windows[b, j]):
                                own = np.int64(counts[places[b, j, lane]])
                                pace = max(pace, own)
                                busy[lane] += own
                                checks[lane] += max(own - start, 0)
                            for lane in range(windows[b, j], lanes):
                                waiting[lane] += pace
                            paces[p, j] = pace
                            together_for += pace
                            furthest = max(furthest, pace)
                        if lanes == 4:
                            busy[0], busy[1] = busy[0] + b0, busy[1] + b1
                            busy[2], busy[3] = busy[2] + b2, busy[3] + b3
                            checks[0], checks[1] = checks[0] + k0, checks[1] + k1
                            checks[2], checks[3] = checks[2] + k2, checks[3] + k3
                        by_pe[READS, p, c] += together_for
                        for lane in range(lanes):
                            by_lane[BUSY, p, c, lane] += busy[lane]
                            by_lane[NO_WINDOW, p, c, lane] += waiting[lane]
                            by_lane[LOCKSTEP, p, c, lane] += together_for - busy[lane] - waiting[lane]
                            by_lane[CHECKS, p, c, lane] += checks[lane]
                            by_lane[WINDOWS, p, c, lane] += dealt[b, lane]
                            if speculates[which[p]]:
                                by_lane[PREDICTS, p, c, lane] += dealt[b, lane]
                    if not present:
                        continue
                    for s in range(cuts):
                        r = (g * turns + turn) * cuts + s
                        first, end = edges[s], edges[s + 1]
                        total = (end - first + whole - 1) // whole
                        u = 0
                        for stream in range(deepest if again else 1):
                            begin, stop = (stream, stream + 1) if again else (0, deepest)
                            reach = furthest
                            if again:
                                reach = 0
                                for p in range(rows):
                                    if stream < mine[p]:
                                        reach = max(reach, paces[p, stream])
                            used = (max(min(reach, end) - first, 0) + whole - 1) // whole
                            fetched = min(total, used + room - 1)
                            for i in range(fetched):
                                low = first + i * whole
                                high = min(low + whole, end)
                                words[r, step, c, u] = (high - low) * (present if spread else 1)
                                for j in range(begin, stop):
                                    slowest = fastest = 0
                                    for p in range(rows):
                                        took[p] = 0
                                        if j >= mine[p]:
                                            continue
                                        took[p] = max(min(paces[p, j], high) - low, 0)
                                        fastest = max(fastest, took[p])
                                        if staged and not together:
                                            by_pe[DRAWN, p, c] += took[p]
                                            sent += took[p]
                                        moves = mine[p] > 1 and not again
                                        takes = low > 0 and (moves or low == first)
                                        lays = moves or high == end
                                        if (takes and paces[p, j] > low) or (lays and paces[p, j] > high):
                                            n_taken = n_laid = 0
                                            for lane in range(lanes):
                                                place = places[portions_of[p], j, lane]
                                                if place >= 0:
                                                    own = macs[images_of[p], which[p], place]
                                                    n_taken += own > low
                                                    n_laid += own > high
                                            if takes and n_taken:
                                                by_pe[TAKEN, p, c] += n_taken
                                                by_pe[PARKING, p, c] += park
                                                took[p] += park
                                            if lays and n_laid:
                                                by_pe[PARKED, p, c] += n_laid
                                                by_pe[PARKING, p, c] += park
                                                took[p] += park
                                        slowest = max(slowest, took[p])
                                    for p in range(rows):
                                        if mine[p] == 0:
                                            continue
                                        if together:
                                            work[r, step, c, u, p] += slowest
                                            by_pe[STREAM, p, c] += slowest - took[p]
                                            if staged:
                                                by_pe[DRAWN, p, c] += fastest
                                        else:
                                            work[r, step, c, u, p] += took[p]
                                    if staged and together:
                                        sent += fastest * (present if spread else 1)
                                if not staged:
                                    for p in range(rows):
                                        if mine[p]:
                                            by_pe[DRAWN, p, c] += high - low
                                    sent += (high - low) * (present if spread else 1)
                                u += 1
    return work, words, by_lane, by_pe, sent
