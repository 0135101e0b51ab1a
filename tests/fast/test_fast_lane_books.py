"""What lanes and PEs did is booked as the definition has it."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.lane_books import book_lanes, book_lanes_plain
from simhw.fast.lane_work import BUSY, LANE_KINDS, PARKED, PE_KINDS, TAKEN, WINDOWS


@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize(("rows", "columns", "lanes"), [(1, 1, 1), (3, 2, 4), (8, 8, 4), (2, 5, 3)])
def test_books_equal_the_definition(rows, columns, lanes, pools):
    rng = np.random.default_rng(rows)
    by_lane = rng.integers(0, 1 << 40, (LANE_KINDS, rows, columns, lanes))
    by_pe = rng.integers(0, 1 << 40, (PE_KINDS, rows, columns))
    moved = rng.integers(0, 99, (3, rows, columns))
    books = [book(by_lane, by_pe, *moved[:2], pools, moved[2], 3) for book in (book_lanes, book_lanes_plain)]
    for one, other in zip(*books, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_pe_by_hand():
    by_lane, by_pe = np.zeros((LANE_KINDS, 1, 1, 2), np.int64), np.zeros((PE_KINDS, 1, 1), np.int64)
    by_lane[BUSY], by_lane[WINDOWS], by_pe[PARKED], by_pe[TAKEN] = [10, 20], [1, 2], 5, 4
    one = np.ones((1, 1), np.int64)
    actions, cycles, totals = book_lanes(by_lane, by_pe, one, 2 * one, True, 7 * one, 3)
    assert actions[:, 0, 0].tolist() == [0, 0, 10, 10, 0, 0, 20, 20, 30 + 12 + 1 + 3, 3 + 15 + 2 + 7, 3, 0, 0]
    assert cycles[:, 0, 0].tolist() == [10, 0, 0, 20, 0, 0]
    assert totals.tolist() == [30, 0, 0, 0]
