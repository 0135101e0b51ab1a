"""When rows of PEs work that wait for each other only where they share weights (SnaPEA's array)."""

from __future__ import annotations

import numpy as np
from numba import njit

from simhw.fast.column_schedule import (
    BARRIER,
    FILTERS,
    INPUTS,
    NO_FILTER,
    NO_PORTION,
    OUTPUTS,
    POOLING,
    ROW_BUS,
    STREAM,
    WAITS,
    list_units,
    list_units_plain,
    serve_plain,
)

READS, HOLDS, WORKS, ENDS = 0, 1, 2, 3  # what a row is at


def play_rows_plain(work, link, present, inputs, carrying, pooling, outputs, whole, room, clock, latency):
    """Play an array whose rows go through their rounds by themselves, cycle by cycle.

    All is as in `play_columns_plain`, but that inputs, carrying, pooling and outputs [rounds, rows] are each
    row's, which does in each round that it is present in what there the array does. Weights are shared: a
    unit makes room once every row of its round is done with it. A row is through with a round once its PEs
    are, and in each of its columns the unit that follows has been asked for, or, behind the last one,
    found to be the last: if it is not the end of a filter of `whole` units, by all PEs having left the
    one that makes room. In one cycle the link serves inputs in the order of rows, then columns, then outputs.

    Returns (cycles, cycles of a busy link, waits [9, rows, columns] of each PE).
    """
    rounds, _, columns, _, rows = work.shape
    waits = np.zeros((WAITS, rows, columns), np.int64)
    before, places = list_units_plain(link)
    units = [[np.unravel_index(k, link.shape) for k in places[c, : before[c, -1]]] for c in range(columns)]
    asked, there = [[] for _ in units], [[] for _ in units]
    left = [[{} for _ in own] for own in units]  # of each unit: row: when it is done
    asking, done_at, free_tick, free_at, busy = {}, {}, 0, 0, 0
    turns = [[r for r in range(rounds) if present[r] > p] for p in range(rows)]
    at, begun, since = [0] * rows, [0] * rows, [0] * rows
    stage = ["read" if own else "end" for own in turns]
    written, ended = [True] * rows, [None] * rows
    last = rows + columns  # from here on requesters write outputs

    def freed(c, k, cycle):
        return len(left[c][k]) == present[units[c][k][0]] and max(left[c][k].values()) <= cycle

    def followed(c, k, cycle):
        """Whether it is known what follows unit k - 1."""
        if k < len(units[c]):
            return len(asked[c]) > k
        if len(there[c]) < k or there[c][-1] > cycle:
            return False
        return units[c][-1][3] + 1 >= whole or k < room or freed(c, k - room, cycle)

    def step_row(p, cycle):
        """Take a row one step further; returns whether it was."""
        if stage[p] == "read":
            r = turns[p][at[p]]
            since[p] = begun[p] = cycle
            if inputs[r, p]:
                asking[p] = cycle, int(inputs[r, p])
            else:
                done_at[p] = cycle
            stage[p] = "wait"
            return True
        if stage[p] == "hold" and cycle >= since[p] and written[p]:
            waits[NO_FILTER + OUTPUTS, p] += cycle - since[p]
            stage[p], begun[p] = "work", cycle
            return True
        if stage[p] == "leave" and cycle >= since[p]:
            r = turns[p][at[p]]
            if outputs[r, p]:
                asking[last + p], written[p] = (cycle, int(outputs[r, p])), False
            at[p] += 1
            stage[p], since[p] = "read" if at[p] < len(turns[p]) else "end", cycle
            return True
        if stage[p] == "end" and written[p] and ended[p] is None:
            waits[NO_FILTER + OUTPUTS, p] += cycle - since[p]
            ended[p] = cycle
            return True
        return stage[p] == "work" and work_row(p, turns[p][at[p]], cycle)

    def work_row(p, r, cycle):
        moved, over = False, True
        for c in range(columns):
            done = begun[p]
            for k in range(before[c, r], before[c, r + 1]):
                if p in left[c][k]:
                    done = left[c][k][p]
                    continue
                over = False
                if done > cycle or len(there[c]) <= k or there[c][k] > cycle:
                    break
                held = min(max(asked[c][k] - done, 0), cycle - done)
                waits[STREAM, p, c] += held
                waits[FILTERS, p, c] += cycle - done - held
                left[c][k][p] = cycle + int(work[(*units[c][k], p)])
                return True
            there_is = before[c, r + 1] > before[c, r]
            over = over and (not there_is or (done <= cycle and followed(c, before[c, r + 1], cycle)))
        if over:
            for c in range(columns):
                if before[c, r + 1] == before[c, r]:
                    waits[NO_FILTER, p, c] += cycle - begun[p]
                else:
                    waits[BARRIER, p, c] += cycle - left[c][before[c, r + 1] - 1][p]
            waits[NO_FILTER + POOLING, p] += int(pooling[r, p])
            stage[p], since[p], moved = "leave", cycle + int(pooling[r, p]), True
        return moved

    cycle = 0
    while True:
        again = True
        while again:
            again = False
            for requester in [q for q, at_cycle in done_at.items() if at_cycle <= cycle]:
                del done_at[requester]
                again = True
                if requester >= last:
                    written[requester - last] = True
                    continue
                r = turns[requester][at[requester]]
                waits[NO_FILTER + INPUTS, requester] += cycle - begun[requester]
                since[requester] = max(cycle, begun[requester] + int(carrying[r, requester]))
                waits[NO_FILTER + ROW_BUS, requester] += since[requester] - cycle
                stage[requester] = "hold"
            for c in range(columns):
                k = len(there[c])
                idle = k == len(asked[c]) and k < len(units[c]) and (k == 0 or there[c][-1] <= cycle)
                if idle and (k < room or freed(c, k - room, cycle)):
                    asked[c].append(cycle)
                    asking[rows + c] = cycle, int(link[units[c][k]])
                    again = True
            for p in range(rows):
                again = step_row(p, cycle) or again
        if all(end is not None for end in ended):
            break
        if asking and free_at <= cycle:
            requester, free_tick, free_at, held = serve_plain(asking, free_tick, clock)
            busy += held
            if rows <= requester < last:
                there[requester - rows].append(free_at + latency)
            else:
                done_at[requester] = free_at + latency
            if free_at == cycle:
                continue
        cycle += 1
    waits[NO_PORTION] += cycle - np.array(ended)[:, None]
    return cycle, busy, waits


@njit(cache=True)
def play_rows(work, link, present, inputs, carrying, pooling, outputs, whole, room, clock, latency):
    rounds, _, columns, units, rows = work.shape
    waits = np.zeros((WAITS, rows, columns), np.int64)
    before, places = list_units(link)
    words_of, work_of = link.reshape(-1), work.reshape(-1, rows)
    turn = room + 1  # of the last units alone, in turn
    asked, there = np.zeros((columns, turn), np.int64), np.zeros((columns, turn), np.int64)
    latest, done = np.zeros((columns, turn), np.int64), np.zeros((columns, turn), np.int64)
    free = np.zeros((columns, turn), np.bool_)  # whether all are done with it, at `latest`
    wanted, loaded = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    used, pe_end = np.zeros((columns, rows), np.int64), np.zeros((columns, rows), np.int64)
    at, stage = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    since, begun, written = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    never = np.int64((1 << 63) - 1)
    # since when: inputs of rows, columns, outputs of rows
    asks = np.full(2 * rows + columns, never, np.int64)
    last = rows + columns
    came = np.full(rows, never, np.int64)  # inputs that are there
    for p in range(rows):
        while at[p] < rounds and present[at[p]] <= p:
            at[p] += 1
        stage[p] = READS if at[p] < rounds else ENDS
        if stage[p] == READS and inputs[at[p], p]:
            asks[p] = 0
        else:
            came[p] = 0
    free_tick = end_at = busy = np.int64(0)
    while True:
        moving = True
        while moving:
            moving = False
            for c in range(columns):
                k = wanted[c]
                if k == loaded[c] and k < before[c, rounds]:
                    slot, old = k % turn, (k + 1) % turn  # of the unit that makes room
                    if k < room or free[c, old]:
                        asked[c, slot] = there[c, (k - 1) % turn] if k else 0
                        if k >= room:
                            asked[c, slot] = max(asked[c, slot], latest[c, old])
                        asks[rows + c] = asked[c, slot]
                        latest[c, slot], done[c, slot], free[c, slot] = 0, 0, False
                        wanted[c] += 1
                        moving = True
            for p in range(rows):
                r = at[p]
                if stage[p] == READS and came[p] != never:
                    waits[NO_FILTER + INPUTS, p] += came[p] - since[p]
                    carried = max(came[p], since[p] + carrying[r, p])
                    waits[NO_FILTER + ROW_BUS, p] += carried - came[p]
                    since[p], came[p], stage[p] = carried, never, HOLDS
                if stage[p] == HOLDS and asks[last + p] == never and written[p] != never:
                    begun[p] = max(since[p], written[p])
                    waits[NO_FILTER + OUTPUTS, p] += begun[p] - since[p]
                    stage[p] = WORKS
                    for c in range(columns):
                        pe_end[c, p], used[c, p] = begun[p], before[c, r]
                if stage[p] != WORKS:
                    continue
                over, end = True, begun[p]
                for c in range(columns):
                    behind = before[c, r + 1]
                    while used[c, p] < min(loaded[c], behind):
                        slot, now = used[c, p] % turn, pe_end[c, p]
                        gap = max(there[c, slot] - now, 0)
                        held = min(max(asked[c, slot] - now, 0), gap)
                        waits[STREAM, p, c] += held
                        waits[FILTERS, p, c] += gap - held
                        now += gap + work_of[places[c, used[c, p]], p]
                        pe_end[c, p] = now
                        latest[c, slot] = max(latest[c, slot], now)
                        done[c, slot] += 1
                        free[c, slot] = done[c, slot] == present[r]
                        used[c, p] += 1
                        moving = True
                    if behind == before[c, r]:
                        continue
                    over = over and used[c, p] == behind
                    if behind < before[c, rounds]:
                        over = over and wanted[c] > behind
                        end = max(end, asked[c, behind % turn])
                    else:
                        over = over and loaded[c] == behind
                        end = max(end, there[c, (behind - 1) % turn])
                        if places[c, behind - 1] % units + 1 < whole and behind >= room:
                            over = over and free[c, (behind - room) % turn]
                            end = max(end, latest[c, (behind - room) % turn])
                    end = max(end, pe_end[c, p])
                if not over:
                    continue
                for c in range(columns):
                    if before[c, r + 1] == before[c, r]:
                        waits[NO_FILTER, p, c] += end - begun[p]
                    else:
                        waits[BARRIER, p, c] += end - pe_end[c, p]
                waits[NO_FILTER + POOLING, p] += pooling[r, p]
                since[p] = written[p] = end + pooling[r, p]
                if outputs[r, p]:
                    asks[last + p], written[p] = since[p], never
                at[p] += 1
                while at[p] < rounds and present[at[p]] <= p:
                    at[p] += 1
                stage[p] = READS if at[p] < rounds else ENDS
                if stage[p] == READS:
                    if inputs[at[p], p]:
                        asks[p] = since[p]
                    else:
                        came[p] = since[p]
                moving = True
        who, earliest = 0, never
        for q in range(asks.size):
            if asks[q] < earliest:
                who, earliest = q, asks[q]
        if earliest == never:
            break
        if who < rows:
            words = inputs[at[who], who]
        elif who < last:
            words = words_of[places[who - rows, loaded[who - rows]]]
        else:
            r = at[who - last] - 1  # the last round in which the row was present
            while present[r] <= who - last:
                r -= 1
            words = outputs[r, who - last]
        start_at = end_at
        if earliest * clock[1] > free_tick * clock[0]:
            free_tick = -(-earliest * clock[1] // clock[0])
            start_at = -(-free_tick * clock[0] // clock[1])
        free_tick += words
        end_at = -(-free_tick * clock[0] // clock[1])
        busy += end_at - start_at
        asks[who] = never
        if who < rows:
            came[who] = end_at + latency
        elif who < last:
            there[who - rows, loaded[who - rows] % turn] = end_at + latency
            loaded[who - rows] += 1
        else:
            written[who - last] = end_at + latency
    cycles = np.int64(0)
    for p in range(rows):
        end = max(since[p], written[p])
        waits[NO_FILTER + OUTPUTS, p] += end - since[p]
        cycles = max(cycles, end)
    for p in range(rows):
        waits[NO_PORTION, p] += cycles - max(since[p], written[p])
    return cycles, busy, waits
