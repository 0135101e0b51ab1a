"""The recurrence over passes and link against its definition, cycle by cycle."""

from __future__ import annotations

import random

import numpy as np
import pytest

from simhw.fast.link_schedule import play_passes, play_passes_plain


def drawn(seed: int) -> tuple:
    rng = random.Random(seed)
    tiles, visits = rng.randint(1, 4), rng.randint(1, 3)
    passes = np.array([rng.randint(1, 3) for _ in range(tiles)])
    blocks = np.array([rng.choice([0, 1, 5, 20]) for _ in range(tiles * visits)])
    filters = np.array([rng.randint(1, 15) for _ in range(int(passes.sum()) * visits)])
    outputs = np.array([rng.randint(1, 30) for _ in range(tiles)])
    rooms = (rng.randint(1, 2), rng.choice([0, 1, 2, 3]), rng.randint(1, 2))
    times = (rng.randint(0, 9), rng.randint(1, 20), rng.randint(1, 20))
    clock = rng.choice([(10, 3), (1, 1), (1, 4), (3, 2), (2000, 1333)])
    return (
        blocks,
        filters,
        outputs,
        passes,
        visits,
        rooms,
        times,
        clock,
        rng.choice([0, 13]),
        rng.choice([0, 5]),
    )


@pytest.mark.parametrize("block", range(10))
def test_play_passes_is_its_definition(block: int) -> None:
    for seed in range(20 * block, 20 * block + 20):
        case = drawn(seed)
        np.testing.assert_array_equal(play_passes(*case), play_passes_plain(*case), err_msg=f"seed {seed}")


def test_one_pass_by_hand() -> None:
    """Input 4 words, filters 3, output 2, a word a cycle; the pass loads 5 cycles and works 10."""
    one = np.array([1])
    cycles, for_outputs, for_inputs, for_filters, busy = play_passes_plain(
        4 * one, 3 * one, 2 * one, one, 1, (1, 1, 1), (5, 10, 99), (1, 1), 0, 0
    )
    assert (for_inputs, for_filters) == (4, 3)
    assert cycles == 4 + 3 + 5 + 10 + 2
    assert (for_outputs, busy) == (2, 4 + 3 + 2)
