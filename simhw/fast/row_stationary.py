"""How long one row-stationary pass takes, once its data are in the buffer."""

from __future__ import annotations

import numpy as np
from numba import njit


def pass_timing_plain(arrived, filters, products, entries, wave_in, wave_out, hops, serial, stolen):
    """Return the cycles of a pass from its first product's readiness on, by what they went to.

    `arrived[w]` is the cycle by which the input of window w is there; every window is used by
    `filters` filters in turn, `products` cycles each.
    A sum then climbs `hops` PEs, one a cycle, and leaves over a bus that takes `wave_out` cycles
    for all columns; the sum that it adds to comes in over another, `wave_in` cycles, from the
    moment the first product is made. A wave climbs only when its way out is clear, and a PE has
    `entries` sums: the oldest must have left before a new one begins. If `serial`, sums do not move
    while products are made: one comes in after the last product, and the next waits until it has left.
    After each sum the PEs make no product for `stolen` cycles, in which their adder serves a climbing one.

    Result: [cycles waiting for input, waiting for sums, after the last product, all].
    """
    begun, ready, climbing = [], [], []
    came, left = 0, 0
    for slot in range(len(arrived) * filters):
        window, first = divmod(slot, filters)
        input_there = int(arrived[window]) if first == 0 else 0
        entry_free = climbing[slot - entries] + hops if slot >= entries else 0
        before = (left if serial else ready[-1] + stolen) if ready else 0
        begun.append(max(before, input_there, entry_free))
        ready.append(begun[-1] + products)
        came = max(came, ready[-1] if serial else begun[-1]) + wave_in
        climbing.append(max(ready[-1], came, left - hops))
        left = climbing[-1] + hops + wave_out
    waits = [0, 0]
    for slot, start in enumerate(begun):
        idle = start - (ready[slot - 1] if slot else 0)
        for_input = slot % filters == 0 and int(arrived[slot // filters]) == start
        waits[0 if for_input else 1] += idle
    return np.array([waits[0], waits[1], left - ready[-1], left], dtype=np.int64)


@njit(cache=True)
def pass_timing(arrived, filters, products, entries, wave_in, wave_out, hops, serial, stolen):
    climbed = np.zeros(entries, dtype=np.int64)
    ready = came = left = 0
    for_input = for_sums = 0
    slot = 0
    for window in range(arrived.size):
        for first in range(filters):
            begun = left if serial else ready + stolen
            if slot == 0:
                begun = ready
            if first == 0 and arrived[window] > begun:
                begun = arrived[window]
            entry = slot % entries
            if slot >= entries and climbed[entry] + hops > begun:
                begun = climbed[entry] + hops
            if first == 0 and begun == arrived[window]:
                for_input += begun - ready
            else:
                for_sums += begun - ready
            ready = begun + products
            came = max(came, ready if serial else begun) + wave_in
            climbing = max(ready, came, left - hops)
            climbed[entry] = climbing
            left = climbing + hops + wave_out
            slot += 1
    return np.array([for_input, for_sums, left - ready, left], dtype=np.int64)
