"""Compiled pass timing against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.row_stationary import pass_timing, pass_timing_plain


@pytest.mark.parametrize("seed", range(40))
def test_pass_timing_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrived = np.cumsum(rng.integers(0, 9, rng.integers(1, 12)))
    numbers = [int(rng.integers(low, high)) for low, high in ((1, 5), (1, 9), (1, 6), (0, 7), (1, 7), (1, 9))]
    filters, products, entries, wave_in, wave_out, hops = numbers
    given = (arrived, filters, products, entries, wave_in, wave_out, hops, bool(seed % 2), seed % 3)
    np.testing.assert_array_equal(pass_timing(*given), pass_timing_plain(*given))


def test_one_window_one_product() -> None:
    """There at 5, one product, up two PEs, out in three cycles."""
    waited_for_input, waited_for_sums, after_last, all_cycles = pass_timing_plain(
        np.array([5]), 1, 1, 1, 0, 3, 2, False, 1
    )
    assert (waited_for_input, waited_for_sums, after_last, all_cycles) == (5, 0, 5, 11)
