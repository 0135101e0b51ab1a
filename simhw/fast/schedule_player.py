"""A schedule played: when each task of each unit begins and ends, and what each lane waits for.

The definition is `simhw.core.player`, where a schedule is played as processes. Here no clock runs: a unit
goes as far as the events it waits for are known, and when none can go further, the transfer that was asked
for first is served. Any transfer that is not known yet follows from one that is, and is asked for no sooner.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# columns of the rows of units and waits, kinds and events, as in simhw.core.packed
KIND, TASKS, FIRST, LANES, LENGTHS, LINK, CHARGES, WIDTHS = range(8)
UNIT, OF, EVENT, CAUSE, COUNT, AT, AT_STEP, ON, ON_STEP, UP_TO, UP_TO_STEP = range(11)
WORKS, MOVES, GANGS = 0, 1, 2
BEGUN, DONE = 0, 1
LISTED = -1
ENDED, TOO_LONG, WRONG = 0, 1, 2  # how it came out
NEVER = np.int64((1 << 63) - 1)
NO_TASK = np.uint64((1 << 64) - 1)


def sorted_by_plain(keys, n):
    """Return the order of keys from 0 to n - 1, stable, and where each key's begin, and behind the last."""
    order = np.argsort(keys, kind="stable")
    return order, np.searchsorted(keys[order], np.arange(n + 1))


@njit(cache=True)
def sorted_by(keys, n):
    first = np.zeros(n + 1, np.int64)
    for key in keys:
        first[key + 1] += 1
    for key in range(n):
        first[key + 1] += first[key]
    into, order = first[:n].copy(), np.empty(keys.size, np.int64)
    for i in range(keys.size):
        order[into[keys[i]]] = i
        into[keys[i]] += 1
    return order, first


@njit(cache=True)
def play_schedule(units, declared, lists, cycles, lane_cycles, words, tasks, charges, links, limit, log):
    """Return times [4, tasks], charges, cycles of busy links, how it ended, tasks begun and done by unit.

    The first are those of a packed schedule; times are those in which a task has begun and is done, and, if
    a `log` is kept, in which the link began with a transfer and was free again. Of each link, `links` has the
    cycles and ticks of its clock and its latency: edge t is seen at cycle ceil(t * cycles / ticks), a word
    moves with each. Cycles and edges beyond the limit are too many.
    """
    size = len(units)
    times = np.zeros((4 if log else 2, tasks), np.int64)
    begun, done, events = times[0], times[1], times.reshape(-1)
    charged, busy = np.zeros(charges, np.int64), np.zeros(len(links), np.int64)
    free_tick, free_at = np.zeros(len(links), np.int64), np.zeros(len(links), np.int64)
    # Numbers of places have no sign here: numba then looks for none that is counted from the end, which saves
    # two fifths of the time. One with a sign and one without must not meet: their sum would be a float.
    numbers, none, one = units.astype(np.uint64), np.uint64(0), np.uint64(1)
    kind, varies = units[:, KIND].copy(), units[:, WIDTHS] != LISTED
    count, base, lanes = numbers[:, TASKS].copy(), numbers[:, FIRST].copy(), numbers[:, LANES].copy()
    takes, widths = numbers[:, LENGTHS].copy(), numbers[:, WIDTHS].copy()
    lane_of = np.zeros(size + 1, np.uint64)
    movers, mover_of, n_movers = np.zeros(size, np.uint64), np.zeros(size, np.uint64), 0
    for i in range(size):
        lane_of[i + 1] = lane_of[i] + lanes[i]
        if kind[i] == MOVES:
            movers[n_movers], mover_of[i] = np.uint64(i), np.uint64(n_movers)
            n_movers += 1
    at = np.zeros(np.int64(lane_of[size]), np.int64)  # of each lane: the cycle it has come to
    asks = np.full(n_movers, NEVER, np.int64)
    # of each unit: tasks that have begun, and then of each unit: that are done, as far as is known
    known, n = np.zeros(2 * size, np.uint64), np.uint64(size)
    # of each wait, by unit and as declared: how often it was met, the task that meets it next, and for which
    order, first_wait = sorted_by(declared[:, UNIT], size)
    waits = declared[order]
    n_waits = len(waits)
    is_listed, of_wait = waits == LISTED, waits.astype(np.uint64)
    often, other, waiter = of_wait[:, COUNT].copy(), of_wait[:, OF].copy(), of_wait[:, UNIT].copy()
    turn, due, on = np.zeros(n_waits, np.uint64), np.full(n_waits, NO_TASK), np.zeros(n_waits, np.uint64)
    source, counter, charge = on.copy(), on.copy(), on.copy()
    up_to, at_listed, on_listed = on.copy(), is_listed[:, AT_STEP].copy(), is_listed[:, ON_STEP].copy()
    at_first, at_step = of_wait[:, AT].copy(), of_wait[:, AT_STEP].copy()
    on_first, on_step = of_wait[:, ON].copy(), of_wait[:, ON_STEP].copy()
    for w in range(n_waits):
        u, of = waits[w, UNIT], waits[w, OF]
        source[w] = np.uint64(waits[w, EVENT] * tasks + units[of, FIRST])
        counter[w] = np.uint64(waits[w, EVENT] * size + of)
        charge[w] = np.uint64(units[u, CHARGES] + waits[w, CAUSE] * units[u, LANES])
        up_to[w] = of_wait[w, UP_TO]
        if often[w]:
            due[w] = np.uint64(lists[at_first[w]]) if at_listed[w] else at_first[w]
            on[w] = np.uint64(lists[on_first[w]]) if on_listed[w] else on_first[w]
            if is_listed[w, UP_TO_STEP]:
                up_to[w] = np.uint64(lists[of_wait[w, UP_TO]])
    # who may go on when a unit has, each once; and where they begin and end
    by_other, first_of = sorted_by(waits[:, OF], size)
    readers, first_reader, last_reader = on.copy(), first_of[:size].copy(), first_of[:size].copy()
    for u in range(size):
        for i in range(first_of[u], first_of[u + 1]):
            reader = waiter[by_other[i]]
            if last_reader[u] == first_reader[u] or readers[last_reader[u] - 1] != reader:
                readers[last_reader[u]] = reader
                last_reader[u] += 1
    first_wait, first_reader = first_wait.astype(np.uint64), first_reader.astype(np.uint64)
    last_reader = last_reader.astype(np.uint64)
    held = np.full(size, NO_TASK)  # the wait that holds up a unit
    met, ready = np.zeros(n_waits + 1, np.uint64), np.zeros(n_waits + 1, np.int64)  # of one task
    stack, height, stacked = np.arange(size)[::-1].astype(np.uint64), n, np.ones(size, np.bool_)
    status = ENDED
    while status == ENDED:
        while height:
            height -= one
            u = stack[height]
            stacked[u] = False
            is_mover = kind[u] == MOVES
            lane0, width, task = lane_of[u], lanes[u], known[u]
            before, first, n_own = task, first_wait[u], first_wait[u + one] - first_wait[u]
            held[u] = NO_TASK
            while task < count[u]:
                n_met = none
                for back in range(n_own):  # the last wait as a rule is over last
                    w = first + (n_own - one - back)
                    if due[w] == task:
                        if on[w] >= known[counter[w]]:
                            held[u] = w
                            break
                        met[n_met], ready[n_met] = w, events[source[w] + on[w]]
                        n_met += one
                if held[u] != NO_TASK:
                    break
                if varies[u]:
                    width = np.uint64(lists[widths[u] + task])
                    if width < one or width > lanes[u]:
                        status = WRONG
                        break
                event, length_at = base[u] + task, takes[u] + task * lanes[u]
                for back in range(n_met):
                    i = n_met - one - back
                    w, until = met[i], ready[i]
                    to = charge[w]
                    if up_to[w] < one or up_to[w] > lanes[u]:
                        status = WRONG
                    for p in range(min(up_to[w], width)):
                        late = max(until - at[lane0 + p], 0)
                        charged[to + p] += late
                        at[lane0 + p] += late
                    k = turn[w] + one
                    turn[w], due[w] = k, NO_TASK
                    if k < often[w]:
                        due[w] = (
                            np.uint64(lists[at_first[w] + k])
                            if at_listed[w]
                            else at_first[w] + at_step[w] * k
                        )
                        on[w] = (
                            np.uint64(lists[on_first[w] + k])
                            if on_listed[w]
                            else on_first[w] + on_step[w] * k
                        )
                        if is_listed[w, UP_TO_STEP]:
                            up_to[w] = np.uint64(lists[of_wait[w, UP_TO] + k])
                task += one
                start = end = at[lane0]
                bits = np.int64(0)  # of all lengths: a sign, or more than the limit
                if is_mover:
                    if words[length_at]:
                        begun[event] = asks[mover_of[u]] = start
                        break
                elif kind[u] == WORKS:
                    bits = cycles[length_at]
                    end = at[lane0] = start + bits
                else:
                    for p in range(width):
                        here = at[lane0 + p]
                        start = max(start, here)
                        length = np.int64(lane_cycles[length_at + p])
                        bits |= length
                        here += length
                        at[lane0 + p] = here
                        end = max(end, here)
                begun[event], done[event] = start, end
                known[n + u] += one
                if bits < 0 or bits > limit or end > limit:
                    status = WRONG if bits < 0 else TOO_LONG
                    break
            known[u] = task
            for i in range(first_reader[u], last_reader[u] if task > before else none):
                reader = readers[i]
                w = held[reader]
                if not stacked[reader] and w != NO_TASK and other[w] == u and on[w] < known[counter[w]]:
                    stack[height], stacked[reader] = reader, True
                    height += one
            if status != ENDED:
                height = none
        mover, earliest = 0, NEVER
        for m in range(n_movers):
            if asks[m] < earliest:
                mover, earliest = m, asks[m]
        if earliest == NEVER or status != ENDED:
            break
        u = movers[mover]
        link, task = units[u, LINK], known[n + u]
        event, length = base[u] + task, words[takes[u] + task]
        if length < 0 or length > limit:
            status = WRONG if length < 0 else TOO_LONG
            break
        per_ticks, ticks = np.uint64(links[link, 0]), np.uint64(links[link, 1])
        start = free_at[link]
        # rounded up; divided is no more often than it must be
        if np.uint64(earliest) * ticks > np.uint64(free_tick[link]) * per_ticks:
            tick = (np.uint64(earliest) * ticks + (per_ticks - one)) // per_ticks
            free_tick[link] = np.int64(tick)
            start = np.int64((tick * per_ticks + (ticks - one)) // ticks)
        free_tick[link] += length
        if free_tick[link] > limit:
            status = TOO_LONG
            break
        free_at[link] = np.int64((np.uint64(free_tick[link]) * per_ticks + (ticks - one)) // ticks)
        busy[link] += free_at[link] - start
        if log:
            times[2][event], times[3][event] = start, free_at[link]
        done[event] = at[lane_of[u]] = free_at[link] + links[link, 2]
        if done[event] > limit:
            status = TOO_LONG
        known[n + u] = task + one
        asks[mover] = NEVER
        stack[none], stacked[u], height = u, True, one
        for i in range(first_reader[u], last_reader[u]):
            reader = readers[i]
            w = held[reader]
            if not stacked[reader] and w != NO_TASK and other[w] == u and on[w] < known[counter[w]]:
                stack[height], stacked[reader] = reader, True
                height += one
    came, went = known[:size].astype(np.int64), known[size:].astype(np.int64)
    if status == ENDED and (turn < often).any():  # a circle, or a wait names tasks out of order, or none
        status = WRONG
    return times, charged, busy, status, came, went
