"""A layer's passes and the link that feeds them, as one recurrence over their meetings."""

from __future__ import annotations

import numpy as np
from numba import njit

IFMAP, FILTER, OFMAP = 0, 1, 2


def play_passes_plain(blocks, filters, outputs, passes, visits, rooms, times, clock, begun, latency):
    """Return [cycles, waits for outputs, for inputs, for filters, cycles of a busy link], cycle by cycle.

    An array runs passes; tile i makes `visits` blocks of `passes[i]` passes each. Three movers share a
    link, one whole transaction at a time: inputs (`blocks[j]` words for block j), filters (`filters[k]`
    for pass k) and finished tiles (`outputs[i]`). `rooms` says how many blocks, passes' filters (0: the
    array asks for them itself, when its pass begins) and tiles the buffers hold at once.

    A tile begins when it has room, a block when its words are there, a pass when its filters are; it
    then loads for `times[0]` cycles, which frees the filters' room, and works `times[1]` more (in the
    first visit of a tile) or `times[2]`. A block's room is free when its last pass ends, a tile's when
    its words have left. A mover asks for room, then for the link, and goes on when its words have moved.
    Whoever asked first is served first, inputs before filters before outputs among those of one cycle.
    All begin at cycle `begun`. Edge t of the link's clock is seen at cycle
    ceil(t * clock[0] / clock[1]), a word moves per edge, and it takes `latency` cycles more until the
    words are there.
    """
    block_room, filter_room, tile_room = rooms
    load, first, steady = times
    asked: dict[int, tuple[int, int]] = {}  # requester: (cycle, words)
    moved: dict[int, list[int]] = {IFMAP: [], FILTER: [], OFMAP: []}  # cycles at which words are there
    block_free, filter_free, tile_end = [], [], []
    link_free_tick = link_free_at = busy = 0
    waits = [0, 0, 0]
    work = [(tile, visit, k) for tile, n in enumerate(passes) for visit in range(visits) for k in range(n)]
    at, stage, streaming = 0, 0, False
    cycle = array_free_at = waiting_since = begun

    def there(requester, number):
        return number < len(moved[requester]) and moved[requester][number] <= cycle

    def ask(requester, words):
        if words:
            asked[requester] = (cycle, int(words))
        else:
            moved[requester].append(cycle)

    while not (at == len(work) and there(OFMAP, len(outputs) - 1)):
        again = True
        while again:  # everything that can happen in this cycle, but for the link's decision
            again = False
            n = len(moved[IFMAP])
            ready = n == 0 or moved[IFMAP][n - 1] <= cycle
            room = n < block_room or (
                n - block_room < len(block_free) and block_free[n - block_room] <= cycle
            )
            if IFMAP not in asked and n < len(blocks) and ready and room:
                ask(IFMAP, blocks[n])
                again = True
            n = len(moved[FILTER])
            ready = n == 0 or moved[FILTER][n - 1] <= cycle
            room = n < filter_room or (
                n - filter_room < len(filter_free) and filter_free[n - filter_room] <= cycle
            )
            if filter_room and FILTER not in asked and n < len(filters) and ready and room:
                ask(FILTER, filters[n])
                again = True
            n = len(moved[OFMAP])
            ready = n == 0 or moved[OFMAP][n - 1] <= cycle
            if OFMAP not in asked and n < len(tile_end) and ready and tile_end[n] <= cycle:
                ask(OFMAP, outputs[n])
                again = True
            if at == len(work) or array_free_at > cycle:
                continue
            tile, visit, k = work[at]
            block = tile * visits + visit
            begins_tile, begins_block = visit == 0 and k == 0, k == 0
            if stage == 0 and (not begins_tile or tile < tile_room or there(OFMAP, tile - tile_room)):
                waits[0] += cycle - waiting_since
                stage, waiting_since, again = 1, cycle, True
            if stage == 1 and (not begins_block or there(IFMAP, block)):
                waits[1] += cycle - waiting_since
                stage, waiting_since, again = 2, cycle, True
            if stage == 2 and not filter_room and not streaming:
                ask(FILTER, filters[at])
                streaming = again = True
            if stage == 2 and there(FILTER, at):
                waited = cycle - waiting_since
                took = steady if visit else first
                if filter_room:
                    waits[2] += waited
                    filter_free.append(cycle + load)
                    end = cycle + load + took
                else:
                    waits[2] += max(waited - load, 0)
                    end = cycle + max(load - waited, 0) + took
                if k == passes[tile] - 1:
                    block_free.append(end)
                    if visit == visits - 1:
                        tile_end.append(end)
                at, stage, streaming = at + 1, 0, False
                array_free_at = waiting_since = end
                again = True
        if asked and link_free_at <= cycle:
            requester = min(asked, key=lambda r: (asked[r][0], r))
            since, words = asked.pop(requester)
            start = max(link_free_tick, -(-since * clock[1] // clock[0]))
            link_free_tick = start + words
            starts_at, link_free_at = (-(-t * clock[0] // clock[1]) for t in (start, link_free_tick))
            busy += link_free_at - starts_at
            moved[requester].append(link_free_at + latency)
            if link_free_at == cycle:
                continue  # a link faster than the array may serve more in this same cycle
        cycle += 1
    waits[0] += moved[OFMAP][-1] - array_free_at
    return np.array([moved[OFMAP][-1], *waits, busy], dtype=np.int64)


@njit(cache=True)
def play_passes(blocks, filters, outputs, passes, visits, rooms, times, clock, begun, latency):
    block_room, filter_room, tile_room = rooms
    load, first, steady = times
    block_there = np.empty(blocks.size, dtype=np.int64)
    filter_there = np.empty(filters.size, dtype=np.int64)
    tile_there = np.empty(outputs.size, dtype=np.int64)
    block_free = np.zeros(blocks.size, dtype=np.int64)
    filter_free = np.zeros(filters.size, dtype=np.int64)
    tile_end = np.zeros(outputs.size, dtype=np.int64)
    # how far each has come: transactions done (their ends known), tiles, blocks and passes done
    brought = loaded = taken = 0
    tile = block = done = 0
    visit = k = 0
    now = begun
    stage = 0
    wait_ofmap = wait_ifmap = wait_filter = 0
    free_tick = free_at = busy = 0
    asks = np.full(3, -1, dtype=np.int64)
    streamed_since = -1
    while taken < outputs.size:
        # let the array go as far as what is known to come allows
        moving = True
        while moving and done < filters.size:
            moving = False
            if stage == 0:
                if visit > 0 or k > 0 or tile < tile_room:
                    stage = 1
                elif tile - tile_room < taken:
                    wait_ofmap += max(tile_there[tile - tile_room] - now, 0)
                    now = max(now, tile_there[tile - tile_room])
                    stage = 1
            if stage == 1:
                if k > 0:
                    stage = 2
                elif block < brought:
                    wait_ifmap += max(block_there[block] - now, 0)
                    now = max(now, block_there[block])
                    stage = 2
            if stage == 2:
                if filter_room == 0 and streamed_since < 0:
                    streamed_since = now
                if done < loaded:
                    took = steady if visit > 0 else first
                    if filter_room == 0:
                        waited = filter_there[done] - streamed_since
                        wait_filter += max(waited - load, 0)
                        now = filter_there[done] + max(load - waited, 0) + took
                        streamed_since = -1
                    else:
                        wait_filter += max(filter_there[done] - now, 0)
                        now = max(now, filter_there[done])
                        filter_free[done] = now + load
                        now += load + took
                    done += 1
                    k += 1
                    stage = 0
                    moving = True
                    if k == passes[tile]:
                        block_free[block] = now
                        k = 0
                        block += 1
                        visit += 1
                        if visit == visits:
                            tile_end[tile] = now
                            visit = 0
                            tile += 1
        # who asks the link next, and since when
        asks[:] = -1
        if brought < blocks.size and (brought < block_room or brought - block_room < block):
            asks[IFMAP] = begun
            if brought > 0:
                asks[IFMAP] = block_there[brought - 1]
            if brought >= block_room:
                asks[IFMAP] = max(asks[IFMAP], block_free[brought - block_room])
            if blocks[brought] == 0:
                block_there[brought] = asks[IFMAP]
                brought += 1
                continue
        if filter_room == 0:
            asks[FILTER] = streamed_since
        elif loaded < filters.size and (loaded < filter_room or loaded - filter_room < done):
            asks[FILTER] = begun
            if loaded > 0:
                asks[FILTER] = filter_there[loaded - 1]
            if loaded >= filter_room:
                asks[FILTER] = max(asks[FILTER], filter_free[loaded - filter_room])
        if taken < tile:
            asks[OFMAP] = tile_end[taken]
            if taken > 0:
                asks[OFMAP] = max(asks[OFMAP], tile_there[taken - 1])
        who = -1
        for requester in range(3):
            if asks[requester] >= 0 and (who < 0 or asks[requester] < asks[who]):
                who = requester
        words = blocks[brought] if who == IFMAP else filters[loaded] if who == FILTER else outputs[taken]
        start = max(free_tick, -(-asks[who] * clock[1] // clock[0]))
        free_tick = start + words
        free_at = -(-free_tick * clock[0] // clock[1])
        busy += free_at - -(-start * clock[0] // clock[1])
        there = free_at + latency
        if who == IFMAP:
            block_there[brought] = there
            brought += 1
        elif who == FILTER:
            filter_there[loaded] = there
            loaded += 1
        else:
            tile_there[taken] = there
            taken += 1
    end = tile_there[outputs.size - 1]
    return np.array([end, wait_ofmap + end - now, wait_ifmap, wait_filter, busy], dtype=np.int64)
