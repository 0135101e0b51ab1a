"""When columns of PEs work, given what they work on and the link that feeds them (SnaPEA's array)."""

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


def serve_plain(asking, free_tick, clock):
    """Serve who asked first, of {requester: (cycle, words)}, on a link that is free from a tick on.

    Returns (requester, tick and cycle at which the link is free again, cycles in which it was busy).
    """
    requester = min(asking, key=lambda q: (asking[q][0], q))
    asked_in, words = asking.pop(requester)
    start = max(free_tick, -(-asked_in * clock[1] // clock[0]))
    starts_at, free_at = (-(-tick * clock[0] // clock[1]) for tick in (start, start + words))
    return requester, start + words, free_at, free_at - starts_at


def play_columns_plain(work, link, present, inputs, carrying, pooling, outputs, room, clock, latency):
    """Play rounds of an array of PEs, cycle by cycle.

    work [rounds, steps, columns, units, rows] are the cycles for which each PE works on each unit of
    weights, link [rounds, steps, columns, units] the link's words that bring a unit (0: no unit). A column
    brings its units one after another, through all rounds, at most `room` ahead of the last one that all
    its PEs are done with. A PE goes through the units of its column at its own pace. Only the first
    present[r] rows of PEs take part in round r.

    A round begins by reading inputs[r] words, while buses carry them to the PEs for carrying[r] cycles at
    least; then it waits for the outputs of the round before to have left. It ends when all PEs are done;
    after pooling[r] cycles its outputs[r] words begin to leave, and the next round begins. The link moves
    a word per edge of its clock: edge t is seen at cycle ceil(t * clock[0] / clock[1]); `latency` cycles
    more, and the words are there. It serves whole transactions, first who asked first; in one cycle inputs,
    then columns in their order, then outputs.

    Returns int64 [cycles, waits for inputs, buses, outputs, pooling, cycles of a busy link]; each PE's
    waits [9, rows, columns]: for the STREAM (units that slower PEs of its column hold back), for FILTERS
    on the link, at the BARRIER, for rounds without a portion or a filter for it, and those of the whole
    array; [rounds, 2] the cycles in which the PEs begin and end each round.
    """
    rounds, steps, columns, units, rows = work.shape
    waits = np.zeros((WAITS, rows, columns), np.int64)
    spans = np.zeros((rounds, 2), np.int64)
    todo = [
        [(r, s, u) for r in range(rounds) for s in range(steps) for u in range(units) if link[r, s, c, u]]
        for c in range(columns)
    ]
    asked_at = [[] for _ in range(columns)]  # of each unit
    there_at = [[] for _ in range(columns)]
    passed = [[[] for _ in range(rows)] for _ in range(columns)]  # ends of each PE's units
    asking: dict[int, tuple[int, int]] = {}  # requester: (cycle, words)
    done_at: dict[int, int] = {}  # requester: when its words are there
    free_tick = free_at = busy = 0
    stalls = {kind: 0 for kind in (INPUTS, ROW_BUS, OUTPUTS, POOLING)}
    cycle, r, stage, since, begun_at = 0, 0, "ask", 0, 0
    last = columns + 1  # the requester that writes outputs; 0 reads inputs
    written = True

    def freed(c, k):
        """When all PEs that take part are done with unit k of a column, or None."""
        taking = [passed[c][p] for p in range(present[todo[c][k][0]])]
        return None if any(len(ends) <= k for ends in taking) else max(ends[k] for ends in taking)

    while True:
        again = True
        while again:
            again = False
            for requester in [q for q, at in done_at.items() if at <= cycle]:
                del done_at[requester]
                again = True
                if requester == 0:
                    stage = "carry"
                elif requester == last:
                    written = True
            if stage == "ask" and r < rounds:
                again, since, begun_at = True, cycle, cycle
                if inputs[r]:
                    asking[0], stage = (cycle, int(inputs[r])), "inputs"
                else:
                    stage = "carry"
            if stage == "carry":
                stalls[INPUTS] += cycle - since
                since = max(cycle, begun_at + int(carrying[r]))
                stalls[ROW_BUS] += since - cycle
                stage, again = "outputs", True
            if stage == "outputs" and cycle >= since and written:
                stalls[OUTPUTS] += cycle - since
                stage, again, spans[r, 0] = "work", True, cycle
            for c in range(columns):
                k = len(there_at[c])
                if k == len(asked_at[c]) and k < len(todo[c]) and (k == 0 or there_at[c][-1] <= cycle):
                    free = freed(c, k - room) if k >= room else 0
                    if free is not None and free <= cycle:
                        asked_at[c].append(cycle)
                        asking[1 + c] = cycle, int(link[todo[c][k][0], todo[c][k][1], c, todo[c][k][2]])
                        again = True
                for p in range(present[r] if stage == "work" else 0):
                    ends = passed[c][p]
                    while (
                        len(ends) < len(there_at[c])
                        and todo[c][len(ends)][0] == r
                        and there_at[c][len(ends)] <= cycle
                        and (not ends or ends[-1] <= cycle)
                    ):
                        k = len(ends)
                        waited_from = max(spans[r, 0], ends[-1] if ends else 0)
                        held = min(max(asked_at[c][k] - waited_from, 0), cycle - waited_from)
                        waits[STREAM, p, c] += held
                        waits[FILTERS, p, c] += cycle - waited_from - held
                        ends.append(cycle + int(work[(*todo[c][k][:2], c, todo[c][k][2], p)]))
                        again = True
                for p in range(present[r], rows) if stage == "work" else ():
                    while len(passed[c][p]) < len(todo[c]) and todo[c][len(passed[c][p])][0] == r:
                        passed[c][p].append(0)
            if stage == "work":
                mine = [[k for k, unit in enumerate(todo[c]) if unit[0] == r] for c in range(columns)]
                over = all(
                    len(passed[c][p]) > mine[c][-1] and passed[c][p][mine[c][-1]] <= cycle
                    for c in range(columns)
                    for p in range(present[r])
                    if mine[c]
                )
                if over:
                    spans[r, 1] = cycle
                    for c in range(columns):
                        for p in range(rows):
                            if p >= present[r]:
                                waits[NO_PORTION, p, c] += cycle - spans[r, 0]
                            elif not mine[c]:
                                waits[NO_FILTER, p, c] += cycle - spans[r, 0]
                            else:
                                waits[BARRIER, p, c] += cycle - passed[c][p][mine[c][-1]]
                    stalls[POOLING] += int(pooling[r])
                    since, stage, again = cycle + int(pooling[r]), "leave", True
            if stage == "leave" and cycle >= since:
                if outputs[r]:
                    asking[last], written = (cycle, int(outputs[r])), False
                r, stage, again, since = r + 1, "ask", True, cycle
        if r == rounds and written:
            stalls[OUTPUTS] += cycle - since
            break
        if asking and free_at <= cycle:
            requester, free_tick, free_at, held = serve_plain(asking, free_tick, clock)
            busy += held
            if 0 < requester < last:
                there_at[requester - 1].append(free_at + latency)
            else:
                done_at[requester] = free_at + latency
            if free_at == cycle:
                continue
        cycle += 1
    summary = [cycle, *(stalls[kind] for kind in (INPUTS, ROW_BUS, OUTPUTS, POOLING)), busy]
    for kind in stalls:
        waits[NO_FILTER + kind] = stalls[kind]
    return np.array(summary, np.int64), waits, spans


@njit(cache=True)
def play_columns(work, link, present, inputs, carrying, pooling, outputs, room, clock, latency):
    rounds, _, columns, _, rows = work.shape
    waits = np.zeros((WAITS, rows, columns), np.int64)
    spans = np.zeros((rounds, 2), np.int64)
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
                spans[r, 0] = begun
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
                spans[r, 1] = end
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
    return np.array([cycles, wait_inputs, moved, wait_outputs, pooled, busy], np.int64), waits, spans
