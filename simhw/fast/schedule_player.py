"""A schedule played: when each task of each unit begins and ends, and what each lane waits for.

The definition is `simhw.core.player`, where a schedule is played as processes. Here no clock runs: a unit
goes as far as the events it waits for are known, and when none can go further, the transfer that was asked
for first is served. Any transfer that is not known yet follows from one that is, and is asked for no sooner.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# columns of the rows of units and waits, as in simhw.core.schedule
KIND, TASKS, FIRST, LANES, CYCLES, WORDS, LINK, WAITS, CAUSES, WIDTHS = range(10)
UNIT, OF, EVENT, CAUSE, COUNT, AT, AT_STEP, ON, ON_STEP, UP_TO, UP_TO_STEP = range(11)
WORKS, MOVES, GANGS = 0, 1, 2
BEGUN, DONE = 0, 1
LISTED = -1
NEVER = np.int64((1 << 63) - 1)


@njit(cache=True)
def play_schedule(
    units, waits, first_wait, readers, first_reader, lists, cycles, lane_cycles, words, tasks, charges, links
):  # fmt: skip
    """Return begun, done, served and left [tasks], charges, cycles of busy links, and tasks that came to
    begin and to be done by unit; the last wait that names tasks out of order, or -1.

    All but `tasks` and `charges` (how many there are), and `links`, are those of a packed schedule. Of each
    link, `links` has the cycles and ticks of its clock and its latency: edge t is seen at cycle
    ceil(t * cycles / ticks), a word moves with each.
    """
    n = len(units)
    begun, done = np.zeros(tasks, np.int64), np.zeros(tasks, np.int64)
    served, left = np.zeros(tasks, np.int64), np.zeros(tasks, np.int64)
    charged = np.zeros(charges, np.int64)
    busy = np.zeros(len(links), np.int64)
    free_tick, free_at = np.zeros(len(links), np.int64), np.zeros(len(links), np.int64)
    # of each unit: tasks begun and done, as far as is known; of each wait: its turn, and the task of that
    came, went = np.zeros(n, np.int64), np.zeros(n, np.int64)
    turn, due = np.zeros(len(waits), np.int64), np.full(len(waits), -1, np.int64)
    for w in range(len(waits)):
        if waits[w, COUNT]:
            due[w] = lists[waits[w, AT]] if waits[w, AT_STEP] == LISTED else waits[w, AT]
    lane_of = np.zeros(n + 1, np.int64)
    movers = np.zeros(n, np.int64)
    n_movers = 0
    for u in range(n):
        lane_of[u + 1] = lane_of[u] + units[u, LANES]
        if units[u, KIND] == MOVES:
            movers[n_movers] = u
            n_movers += 1
    at = np.zeros(lane_of[n], np.int64)  # of each lane: the cycle it has come to
    asks = np.full(n_movers, NEVER, np.int64)
    mover_of = np.zeros(n, np.int64)
    for m in range(n_movers):
        mover_of[movers[m]] = m
    # a unit that goes no further has met a wait that is not over, for so many tasks of another
    wants, want_of, want_event = np.zeros(n, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    stuck_at = first_wait[:n].copy()
    stack = np.arange(n)[::-1].copy()
    waiting = np.ones(n, np.bool_)  # in the stack
    height = n
    while True:
        while height:
            height -= 1
            u = stack[height]
            waiting[u] = False
            row = units[u]
            kind, lanes, count, base, lane0 = row[KIND], row[LANES], row[TASKS], row[FIRST], lane_of[u]
            first, last = first_wait[u], first_wait[u + 1]
            if kind == MOVES and asks[mover_of[u]] != NEVER:
                continue
            moved = False
            want_of[u] = -1
            while came[u] < count:
                task = came[u]
                free = True
                for w in range(stuck_at[u], last):
                    if due[w] != task:
                        continue
                    of, k = waits[w, OF], turn[w]
                    on = (
                        lists[waits[w, ON] + k]
                        if waits[w, ON_STEP] == LISTED
                        else waits[w, ON] + waits[w, ON_STEP] * k
                    )
                    known = went[of] if waits[w, EVENT] == DONE else came[of]
                    if on >= known:
                        wants[u], want_of[u], want_event[u] = on, of, waits[w, EVENT]
                        stuck_at[u] = w
                        free = False
                        break
                if not free:
                    break
                stuck_at[u] = first
                moved = True
                width = lanes if row[WIDTHS] == LISTED else np.int64(lists[row[WIDTHS] + task])
                for w in range(first, last):
                    if due[w] != task:
                        continue
                    of, k = waits[w, OF], turn[w]
                    on = (
                        lists[waits[w, ON] + k]
                        if waits[w, ON_STEP] == LISTED
                        else waits[w, ON] + waits[w, ON_STEP] * k
                    )
                    event = units[of, FIRST] + on
                    ready = done[event] if waits[w, EVENT] == DONE else begun[event]
                    up_to = (
                        np.int64(lists[waits[w, UP_TO] + k])
                        if waits[w, UP_TO_STEP] == LISTED
                        else waits[w, UP_TO]
                    )
                    up_to = min(up_to, width)
                    to = row[WAITS] + waits[w, CAUSE] * lanes
                    for p in range(up_to):
                        late = max(ready - at[lane0 + p], 0)
                        charged[to + p] += late
                        at[lane0 + p] += late
                    turn[w] = k + 1
                    if k + 1 == waits[w, COUNT]:
                        due[w] = -1
                    elif waits[w, AT_STEP] == LISTED:
                        due[w] = lists[waits[w, AT] + k + 1]
                    else:
                        due[w] += waits[w, AT_STEP]
                came[u] += 1
                if kind == MOVES:
                    begun[base + task] = at[lane0]
                    if words[row[WORDS] + task]:
                        asks[mover_of[u]] = at[lane0]
                        break
                    done[base + task] = at[lane0]
                    went[u] += 1
                elif kind == WORKS:
                    begun[base + task] = at[lane0]
                    at[lane0] += cycles[row[CYCLES] + task]
                    done[base + task] = at[lane0]
                    went[u] += 1
                else:
                    start = end = np.int64(0)
                    takes = row[CYCLES] + task * lanes
                    for p in range(width):
                        start = max(start, at[lane0 + p])
                        at[lane0 + p] += lane_cycles[takes + p]
                        end = max(end, at[lane0 + p])
                    begun[base + task], done[base + task] = start, end
                    went[u] += 1
            if moved:
                for i in range(first_reader[u], first_reader[u + 1]):
                    reader = readers[i]
                    known = went[u] if want_event[reader] == DONE else came[u]
                    if want_of[reader] == u and wants[reader] < known and not waiting[reader]:
                        stack[height] = reader
                        waiting[reader] = True
                        height += 1
        who, earliest = 0, NEVER
        for m in range(n_movers):
            if asks[m] < earliest:
                who, earliest = m, asks[m]
        if earliest == NEVER:
            break
        u = movers[who]
        link = units[u, LINK]
        task = went[u]
        event = units[u, FIRST] + task
        per_ticks, ticks = np.uint64(links[link, 0]), np.uint64(links[link, 1])
        start_at = free_at[link]
        # rounded up, as whole numbers without a sign; divided is no more often than it must be
        if np.uint64(earliest) * ticks > np.uint64(free_tick[link]) * per_ticks:
            tick = (np.uint64(earliest) * ticks + (per_ticks - np.uint64(1))) // per_ticks
            free_tick[link] = np.int64(tick)
            start_at = np.int64((tick * per_ticks + (ticks - np.uint64(1))) // ticks)
        free_tick[link] += words[units[u, WORDS] + task]
        free_at[link] = np.int64((np.uint64(free_tick[link]) * per_ticks + (ticks - np.uint64(1))) // ticks)
        busy[link] += free_at[link] - start_at
        served[event], left[event] = start_at, free_at[link]
        done[event] = free_at[link] + links[link, 2]
        at[lane_of[u]] = done[event]
        went[u] += 1
        asks[who] = NEVER
        stack[0] = u
        waiting[u] = True
        height = 1
        for i in range(first_reader[u], first_reader[u + 1]):
            reader = readers[i]
            if (
                want_of[reader] == u
                and want_event[reader] == DONE
                and wants[reader] < went[u]
                and not waiting[reader]
            ):
                stack[height] = reader
                waiting[reader] = True
                height += 1
    unordered = -1
    for w in range(len(waits)):
        if turn[w] < waits[w, COUNT] and came[waits[w, UNIT]] == units[waits[w, UNIT], TASKS]:
            unordered = w
    return begun, done, served, left, charged, busy, came, went, unordered
