"""The passes of a reuse array within a block: when they run, as buses feed them."""

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
