"""The recurrence of a reuse array's passes against its definition, cycle by cycle."""

from __future__ import annotations

import random

import numpy as np
import pytest

from simhw.fast.sweeps import play_sweeps, play_sweeps_plain


def drawn_sweeps(seed: int) -> tuple:
    rng = random.Random(seed)
    kinds = rng.randint(1, 3)
    steps = np.array([rng.randint(1, 6) for _ in range(kinds)])
    arrivals = np.zeros((kinds, int(steps.max())), dtype=np.int64)
    for k, n in enumerate(steps):
        arrivals[k, :n] = np.cumsum([rng.choice([0, 0, 1, 3]) for _ in range(n)])
    inputs = arrivals.max(axis=1) + np.array([rng.choice([0, 1]) for _ in range(kinds)])
    coefficients = np.array([rng.choice([0, 1, 4, 9]) for _ in range(kinds)])
    passes = np.array([rng.randrange(kinds) for _ in range(rng.randint(1, 8))])
    takes = np.array([[rng.choice([1, 1, 2, 5]) for _ in range(steps.max())] for _ in range(kinds)])
    return passes, steps, takes, arrivals, inputs, coefficients


@pytest.mark.parametrize("block", range(10))
def test_play_sweeps_is_its_definition(block: int) -> None:
    for seed in range(30 * block, 30 * block + 30):
        case = drawn_sweeps(seed)
        np.testing.assert_array_equal(play_sweeps(*case), play_sweeps_plain(*case), err_msg=f"seed {seed}")


def test_two_passes_by_hand() -> None:
    """Three steps each; inputs come in 2 cycles, all before the first step, coefficients in 4.

    The first pass begins at 4 and its step lets the second's coefficients set out: they are there at 8,
    one cycle after the first pass ended at 7.
    """
    one = np.array([0, 0])
    found = play_sweeps_plain(
        one, np.array([3]), np.array([[1, 1, 1]]), np.array([[2, 2, 2]]), np.array([2]), np.array([4])
    )
    assert found.tolist() == [11, 4 + 1, 0]


def test_a_step_that_takes_longer_by_hand() -> None:
    """As before, but the second step takes 3 cycles: the second pass's coefficients come meanwhile.

    The first pass works from 4 to 9, its first step at 4 lets the coefficients set out, there at 8.
    """
    one = np.array([0, 0])
    found = play_sweeps_plain(
        one, np.array([3]), np.array([[1, 3, 1]]), np.array([[2, 2, 2]]), np.array([2]), np.array([4])
    )
    assert found.tolist() == [4 + 5 + 5, 4, 0]
