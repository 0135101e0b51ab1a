"""The meetings of a reuse array: its passes with the buses that feed them, its blocks with the link."""

from __future__ import annotations

import numpy as np
from numba import njit


def play_sweeps_plain(passes, steps, takes, arrivals, inputs, coefficients):
    """Return [cycles, waits for coefficients, waits for inputs] of an array's passes, cycle by cycle.

    Pass i is of kind k = `passes[i]`: `steps[k]` steps, of which step s takes `takes[k, s]` cycles, one or
    as many as its sums need. Two buses bring what it needs, pass after pass, each a pass ahead at most:
    what a pass needs sets out when the bus has brought all of the pass before, and that pass has taken its
    first step. No step is taken before the coefficients are there, `coefficients[k]` cycles after they set
    out, and step s not before its inputs are, `arrivals[k, s]` cycles after the first of them set out; all
    have come after `inputs[k]`. A cycle in which both are missing is one of waiting for coefficients.
    """
    cycle = for_coefficients = for_inputs = 0
    begun = inputs_free = coefficients_free = 0
    for k in passes:
        inputs_out = max(inputs_free, begun)
        inputs_free = inputs_out + inputs[k]
        coefficients_free = max(coefficients_free, begun) + coefficients[k]
        for step in range(steps[k]):
            while cycle < coefficients_free:
                for_coefficients += 1
                cycle += 1
            while cycle < inputs_out + arrivals[k, step]:
                for_inputs += 1
                cycle += 1
            if step == 0:
                begun = cycle
            cycle += takes[k, step]
    return np.array([cycle, for_coefficients, for_inputs], dtype=np.int64)


@njit(cache=True, nogil=True)
def play_sweeps(passes, steps, takes, arrivals, inputs, coefficients):
    kinds = steps.size
    # a pass whose inputs set out at 0 ends no sooner than this: its latest step, and those after it
    latest = np.zeros(kinds, dtype=np.int64)
    whole = np.zeros(kinds, dtype=np.int64)
    for k in range(kinds):
        for step in range(steps[k] - 1, -1, -1):
            whole[k] += takes[k, step]
            latest[k] = max(latest[k], arrivals[k, step] + whole[k])
    end = begun = inputs_free = coefficients_free = np.int64(0)
    for_coefficients = for_inputs = np.int64(0)
    for k in passes:
        inputs_out = max(inputs_free, begun)
        inputs_free = inputs_out + inputs[k]
        coefficients_free = max(coefficients_free, begun) + coefficients[k]
        ready = max(end, coefficients_free)
        for_coefficients += ready - end
        begun = max(ready, inputs_out + arrivals[k, 0])
        end = max(ready + whole[k], inputs_out + latest[k])
        for_inputs += end - ready - whole[k]
    return np.array([end, for_coefficients, for_inputs], dtype=np.int64)


def play_blocks_plain(loads, works, outputs, drain, clock, latency):
    """Return [cycles, waits for loads, for outputs, for the drain, cycles of a busy link], cycle by cycle.

    An array works `works[b]` cycles on block b. One mover brings `loads[b]` words of the link before and
    takes `outputs[b]` words away after (0: the block ends no tile). It does one thing after another:
    loads 0 and 1, then for each block b load b + 2, once block b has been worked on, and outputs b,
    `drain` cycles after that. The blocks up to one with outputs are a tile; the first block of tile t
    waits until the outputs of tile t - 2 have left. Words move on edges of the link's clock: edge t is
    seen at cycle ceil(t * clock[0] / clock[1]), a word per edge, and they are there `latency` cycles
    later. At the end the array waits for the drain, then for outputs.
    """
    blocks = len(works)
    tile_of = np.cumsum([0, *(n > 0 for n in outputs)])[:blocks]
    errands = [("load", b) for b in range(min(2, blocks))]
    for b in range(blocks):
        if b + 2 < blocks:
            errands.append(("load", b + 2))
        if outputs[b] > 0:
            errands.append(("outputs", b))
    loaded: dict[int, int] = {}
    worked: dict[int, int] = {}  # cycle at which a block was done
    left: list[int] = []  # cycle at which a tile's outputs had left
    cycle = waits_loads = waits_outputs = waits_drain = busy = 0
    free_tick, moving_until = 0, 0
    at, working_until = 0, None
    errand = 0
    while errand < len(errands) or moving_until > cycle:
        moved = True
        while moved:
            moved = False
            if working_until == cycle:
                worked[at] = cycle
                at, working_until, moved = at + 1, None, True
            if errand < len(errands) and moving_until <= cycle:
                what, b = errands[errand]
                after = worked.get(b if what == "outputs" else b - 2, 0 if b < 2 and what == "load" else None)
                if after is not None and after + (drain if what == "outputs" else 0) <= cycle:
                    words = loads[b] if what == "load" else outputs[b]
                    there = cycle
                    if words:
                        start = max(free_tick, -(-cycle * clock[1] // clock[0]))
                        free_tick = start + words
                        begin, end = (-(-tick * clock[0] // clock[1]) for tick in (start, free_tick))
                        busy += end - begin
                        there = end + latency
                    if what == "load":
                        loaded[b] = there
                    else:
                        left.append(there)
                    moving_until, errand, moved = there, errand + 1, True
            if at < blocks and working_until is None and loaded.get(at, cycle + 1) <= cycle:
                first = at == 0 or outputs[at - 1] > 0
                tile = tile_of[at]
                if not first or tile < 2 or (len(left) > tile - 2 and left[tile - 2] <= cycle):
                    working_until = cycle + works[at]
        if working_until is None and at < blocks:
            if loaded.get(at, cycle + 1) > cycle:
                waits_loads += 1
            else:
                waits_outputs += 1
        elif at == blocks and (errand < len(errands) or moving_until > cycle):
            if cycle < worked[blocks - 1] + drain:
                waits_drain += 1
            else:
                waits_outputs += 1
        cycle += 1
    cycle = max(moving_until, worked[blocks - 1])
    return np.array([cycle, waits_loads, waits_outputs, waits_drain, busy], dtype=np.int64)


@njit(cache=True, nogil=True)
def play_blocks(loads, works, outputs, drain, clock, latency):
    blocks = works.size
    cycles, ticks = clock
    done = np.zeros(blocks, dtype=np.int64)  # load b and, in another array, work b
    worked = np.zeros(blocks, dtype=np.int64)
    left = np.zeros(blocks + 1, dtype=np.int64)  # by tile
    mover = tick = busy = np.int64(0)
    end = waits_loads = waits_outputs = np.int64(0)
    tile = gone = np.int64(0)
    for step in range(-2, blocks):
        bring = step + 2
        if step >= 0:  # the array works on block `step`, whose load is done
            waits_loads += max(done[step] - end, 0)
            begin = max(end, done[step])
            if tile >= 2 and (step == 0 or outputs[step - 1] > 0):
                waits_outputs += max(left[tile - 2] - begin, 0)
                begin = max(begin, left[tile - 2])
            end = begin + works[step]
            worked[step] = end
            mover = max(mover, end)
        if bring < blocks:
            if loads[bring]:
                start = max(tick, -(-mover * ticks // cycles))
                tick = start + loads[bring]
                there = -(-tick * cycles // ticks)
                busy += there - -(-start * cycles // ticks)
                mover = there + latency
            done[bring] = mover
        if step >= 0 and outputs[step] > 0:
            start = max(tick, -(-max(mover, end + drain) * ticks // cycles))
            tick = start + outputs[step]
            there = -(-tick * cycles // ticks)
            busy += there - -(-start * cycles // ticks)
            mover = there + latency
            left[gone] = mover
            gone += 1
            tile += 1
    last = mover
    waits_drain = min(drain, last - end)
    waits_outputs += last - end - waits_drain
    return np.array([last, waits_loads, waits_outputs, waits_drain, busy], dtype=np.int64)
