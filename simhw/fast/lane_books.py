"""What lanes and PEs did (see `lane_work`), in the order in which a machine's books have it."""

from __future__ import annotations

import numpy as np
from numba import njit

from simhw.fast.lane_work import (
    BUSY,
    CHECKS,
    DRAWN,
    LOCKSTEP,
    NO_WINDOW,
    PARKED,
    PREDICTS,
    READS,
    TAKEN,
    WINDOWS,
)

ACTIONS = 4  # of each lane: checks, predictions, products, sums
OF_PES = 5  # words that its memory gives and takes, pooled windows, weights used, weights drawn
CYCLES = 3  # of each lane: busy, in lockstep, without a window
TOTALS = 4  # cycles of all lanes, three; weights drawn


def book_lanes_plain(by_lane, by_pe, reads, writes, pools, pooled, parked_words):
    """Return int64 (actions [4 L + 5, rows, columns], cycles [3 L, rows, columns], totals [4]).

    by_lane [6, rows, columns, L] and by_pe [6, rows, columns] are those of `deal_lanes`; what moves besides,
    reads and writes [rows, columns], is known from shapes. If it `pools`, every PE's pooling unit reads its
    windows again and writes `pooled` [rows, columns] values. A parked sum is `parked_words` words.
    """
    lanes = by_lane.shape[3]
    of_lanes, windows = by_lane.transpose(3, 0, 1, 2), by_lane[WINDOWS].sum(axis=2)
    again = windows if pools else windows * 0
    actions = np.concatenate(
        [
            of_lanes[:, [CHECKS, PREDICTS, BUSY, BUSY]].reshape(ACTIONS * lanes, *by_pe.shape[1:]),
            [
                by_lane[BUSY].sum(axis=2) + by_pe[TAKEN] * parked_words + reads + again,
                windows + by_pe[PARKED] * parked_words + writes + (pooled if pools else 0),
                again,
                by_pe[READS],
                by_pe[DRAWN],
            ],
        ]
    )
    cycles = of_lanes[:, [BUSY, LOCKSTEP, NO_WINDOW]].reshape(CYCLES * lanes, *by_pe.shape[1:])
    totals = [by_lane[kind].sum() for kind in (BUSY, LOCKSTEP, NO_WINDOW)]
    totals.append(by_pe[DRAWN].sum())
    return actions, cycles, np.array(totals, np.int64)


@njit(cache=True)
def book_lanes(by_lane, by_pe, reads, writes, pools, pooled, parked_words):
    _, rows, columns, lanes = by_lane.shape
    actions = np.empty((ACTIONS * lanes + OF_PES, rows, columns), np.int64)
    cycles = np.empty((CYCLES * lanes, rows, columns), np.int64)
    totals = np.zeros(TOTALS, np.int64)
    for p in range(rows):
        for c in range(columns):
            busy = windows = np.int64(0)
            for lane in range(lanes):
                at = ACTIONS * lane
                actions[at, p, c] = by_lane[CHECKS, p, c, lane]
                actions[at + 1, p, c] = by_lane[PREDICTS, p, c, lane]
                actions[at + 2, p, c] = actions[at + 3, p, c] = by_lane[BUSY, p, c, lane]
                busy += by_lane[BUSY, p, c, lane]
                windows += by_lane[WINDOWS, p, c, lane]
                for kind in range(CYCLES):
                    spent = by_lane[BUSY + kind, p, c, lane]
                    cycles[CYCLES * lane + kind, p, c] = spent
                    totals[kind] += spent
            again = windows if pools else np.int64(0)
            at = ACTIONS * lanes
            actions[at, p, c] = busy + by_pe[TAKEN, p, c] * parked_words + reads[p, c] + again
            actions[at + 1, p, c] = windows + by_pe[PARKED, p, c] * parked_words + writes[p, c]
            actions[at + 1, p, c] += pooled[p, c] if pools else 0
            actions[at + 2, p, c] = again
            actions[at + 3, p, c], actions[at + 4, p, c] = by_pe[READS, p, c], by_pe[DRAWN, p, c]
            totals[CYCLES] += by_pe[DRAWN, p, c]
    return actions, cycles, totals
