"""When columns of PEs work that a steady link feeds, by a player for this one schedule (SnaPEA's array).

What it finds is what `simhw.dataflows.lane_schedule` says as a table, whose definition it has. VGG-16 has a
million units of weights, for which it takes a quarter of the time (`benchmarks/bench_snapea.py`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

CYCLES, INPUTS, ROW_BUS, OUTPUTS, POOLING, BUSY = 0, 1, 2, 3, 4, 5
SUMMARY = 6
STREAM, FILTERS, BARRIER, NO_PORTION, NO_FILTER = 0, 1, 2, 3, 4
WAITS = 9  # and the waits of the whole array, in the order of the summary


def list_units_plain(link):
    """Return int64 (units before each round [columns, rounds + 1], where link has each [columns, most]).

    link [rounds, steps, columns, units] is above 0 where there is a unit; places are those of flat arrays.
    """
    rounds, _, columns, _ = link.shape
    before = np.zeros((columns, rounds + 1), np.int64)
    before[:, 1:] = (link > 0).sum(axis=(1, 3)).cumsum(axis=0).T
    places = np.zeros((columns, before[:, -1].max(initial=0)), np.int64)
    numbers = np.arange(link.size).reshape(link.shape)
    for c in range(columns):
        places[c, : before[c, -1]] = numbers[:, :, c][link[:, :, c] > 0]
    return before, places


@njit(cache=True)
def list_units(link):
    rounds, steps, columns, units = link.shape
    before = np.zeros((columns, rounds + 1), np.int64)
    for c in range(columns):
        for r in range(rounds):
            before[c, r + 1] = before[c, r]
            for s in range(steps):
                for u in range(units):
                    before[c, r + 1] += link[r, s, c, u] > 0
    most = 0
    for c in range(columns):
        most = max(most, before[c, rounds])
    places = np.zeros((columns, most), np.int64)
    for c in range(columns):
        k = 0
        for r in range(rounds):
            for s in range(steps):
                for u in range(units):
                    if link[r, s, c, u]:
                        places[c, k] = ((r * steps + s) * columns + c) * units + u
                        k += 1
    return before, places


@njit(cache=True)
def play_columns(work, link, present, inputs, carrying, pooling, outputs, room, clock, latency):
    """Return int64 [cycles, waits for inputs, buses, outputs, pooling, cycles of a busy link], and the waits
    of each PE [9, rows, columns].

    work [rounds, steps, columns, units, rows] are the cycles for which each PE works on each unit of
    weights, link [rounds, steps, columns, units] the link's words that bring a unit (0: no unit). The waits:
    for the STREAM (units that slower PEs of its column hold back), for FILTERS on the link, at the BARRIER,
    for rounds without a portion or a filter for it, and those of the whole array.
    """
    rounds, _, columns, _, rows = work.shape
    waits = np.zeros((WAITS, rows, columns), np.int64)
    counts, places = list_units(link)
    which = places.astype(np.uint64)
    words_of, work_of = link.reshape(-1), work.reshape(-1, rows)
    ticks, cycles_of_ticks = np.uint64(clock[1]), np.uint64(clock[0])
    one = np.uint64(1)
    # of the last units alone, in turn: those before are of no interest, and they may be many
    turn = room + 1
    load_slot, use_slot = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    asked, there, freed = (
        np.zeros((columns, turn), np.int64), np.zeros((columns, turn), np.int64),
        np.zeros((columns, turn), np.int64),
    )  # fmt: skip
    loaded, used = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    pe_end = np.zeros((columns, rows), np.int64)
    held_back, late = np.zeros((columns, rows), np.int64), np.zeros((columns, rows), np.int64)
    never = np.int64((1 << 63) - 1)
    asks = np.full(columns + 2, never, np.int64)  # who asks the link, since when: inputs, columns, outputs
    wait_inputs = wait_outputs = moved = pooled = 0
    free_tick = end_at = busy = np.int64(0)
    r = 0
    at_link = True  # whether inputs of round r are still to come, asked for at `asked_at`
    since = asked_at = np.int64(0)
    begun = np.int64(-1)
    leaving = written = np.int64(0)  # words of outputs that are to leave, and when the last ones have
    first, last = 0, columns  # the columns of which something has changed
    while True:
        moving = True
        while moving:
            moving = False
            if r < rounds and at_link and inputs[r] == 0:
                at_link = False
            if r < rounds and not at_link and begun < 0 and leaving == 0:
                carried = max(since, asked_at + carrying[r])
                moved += carried - since
                wait_outputs += max(written - carried, 0)
                begun = max(carried, written)
                pe_end[:] = begun
                first, last = 0, columns
            over = begun >= 0
            for c in range(first, last):
                while begun >= 0 and used[c] < min(loaded[c], counts[c, r + 1]):
                    slot = use_slot[c]
                    latest = np.int64(0)
                    since_asked, ready = asked[c, slot], there[c, slot]
                    ends, takes = pe_end[c], work_of[which[c, used[c]]]
                    for p in range(present[r]):
                        end = ends[p]
                        gap = max(ready - end, 0)
                        held = min(max(since_asked - end, 0), gap)
                        held_back[c, p] += held
                        late[c, p] += gap - held
                        end += gap + takes[p]
                        ends[p] = end
                        latest = max(latest, end)
                    freed[c, slot] = latest
                    used[c] += 1
                    use_slot[c] = slot + 1 if slot + 1 < turn else 0
                k = loaded[c]
                asks[1 + c] = never
                if k < counts[c, rounds] and (k < room or k - room < used[c]):
                    slot = load_slot[c]
                    asks[1 + c] = there[c, slot - 1 if slot > 0 else turn - 1] if k > 0 else 0
                    if k >= room:
                        asks[1 + c] = max(asks[1 + c], freed[c, slot + 1 if slot + 1 < turn else 0])
                over = over and used[c] == counts[c, r + 1]
            for c in range(columns if over else 0):
                over = over and used[c] == counts[c, r + 1]
            if over:
                end = begun
                for c in range(columns):
                    for p in range(present[r]):
                        end = max(end, pe_end[c, p])
                for c in range(columns):
                    for p in range(rows):
                        if p >= present[r]:
                            waits[NO_PORTION, p, c] += end - begun
                        elif counts[c, r + 1] == counts[c, r]:
                            waits[NO_FILTER, p, c] += end - begun
                        else:
                            waits[BARRIER, p, c] += end - pe_end[c, p]
                pooled += pooling[r]
                since = asked_at = written = end + pooling[r]
                leaving = outputs[r]
                r += 1
                begun = np.int64(-1)
                at_link = r < rounds
                moving = True
                first = last = 0
        asks[0] = asked_at if r < rounds and at_link else never
        asks[columns + 1] = written if leaving else never
        who, earliest = 0, never
        for q in range(asks.size):
            if asks[q] < earliest:
                who, earliest = q, asks[q]
        if earliest == never:
            break
        if who == 0:
            words = inputs[r]
        elif who <= columns:
            words = words_of[which[who - 1, loaded[who - 1]]]
        else:
            words = leaving
        # rounded up, as whole numbers without a sign; divided is no more often than it must be
        start_at = end_at
        if np.uint64(earliest) * ticks > np.uint64(free_tick) * cycles_of_ticks:
            asked_tick = (np.uint64(earliest) * ticks + (cycles_of_ticks - one)) // cycles_of_ticks
            free_tick = np.int64(asked_tick)
            start_at = np.int64((asked_tick * cycles_of_ticks + (ticks - one)) // ticks)
        free_tick += words
        end_at = np.int64((np.uint64(free_tick) * cycles_of_ticks + (ticks - one)) // ticks)
        busy += end_at - start_at
        first = last = 0
        if who == 0:
            wait_inputs += end_at + latency - since
            since = end_at + latency
            at_link = False
        elif who <= columns:
            slot = load_slot[who - 1]
            asked[who - 1, slot] = earliest
            there[who - 1, slot] = end_at + latency
            loaded[who - 1] += 1
            load_slot[who - 1] = slot + 1 if slot + 1 < turn else 0
            first, last = who - 1, who
        else:
            leaving = np.int64(0)
            written = end_at + latency
    waits[STREAM], waits[FILTERS] = held_back.T, late.T
    wait_outputs += max(written - since, 0)
    waits[NO_FILTER + INPUTS], waits[NO_FILTER + ROW_BUS] = wait_inputs, moved
    waits[NO_FILTER + OUTPUTS], waits[NO_FILTER + POOLING] = wait_outputs, pooled
    cycles = max(since, written)
    return np.array([cycles, wait_inputs, moved, wait_outputs, pooled, busy], np.int64), waits
