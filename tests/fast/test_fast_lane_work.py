"""Windows dealt to lanes: the compiled function against its definition, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.lane_work import (
    AGAIN,
    BUSY,
    CHECKS,
    DRAWN,
    LOCKSTEP,
    NO_WINDOW,
    PARKED,
    PARKING,
    PARKS,
    PREDICTS,
    READS,
    STAGED,
    STREAM,
    TAKEN,
    WINDOWS,
    deal_lanes,
    deal_lanes_plain,
    deal_whole,
)


def drawn(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    images, groups, columns, rows, lanes = (int(rng.integers(1, n)) for n in (3, 3, 4, 4, 5))
    per_group, size = (int(rng.integers(1, n)) for n in (6, 30))
    height = int(rng.choice([1, 7, 19, 70]))
    portions = int(rng.integers(1, 4))
    places = []
    for own in np.array_split(np.arange(height), min(portions, height)):
        places.append([own[i : i + lanes] for i in range(0, len(own), lanes)])
    table = np.full((len(places), max(map(len, places)), lanes), -1, np.int32)
    for b, dealt in enumerate(places):
        for j, group in enumerate(dealt):
            table[b, j, : len(group)] = group
    cuts = int(rng.integers(1, 4)) if size > 3 else 1
    edges = np.unique(np.r_[0, rng.integers(1, size, cuts - 1), size]) if size > 1 else np.array([0, 1])
    macs = rng.integers(1, size + 1, (images, groups * per_group, height))
    macs = macs.astype(np.int16 if seed % 2 else np.int32)
    if len(edges) > 2:
        macs[:] = size
    spread = images * len(places) == 1 and rng.random() < 0.5
    return (
        macs, rng.integers(0, size + 1, groups * per_group).astype(np.int32),
        rng.random(groups * per_group) < 0.5, table, groups, rows, columns,
        edges.astype(np.int64), int(rng.integers(1, 12)), int(rng.integers(1, 4)), int(rng.integers(0, 4)),
        int(rng.integers(3)), bool(rng.random() < 0.5) and not spread, spread,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_compiled_equals_definition(seed: int) -> None:
    case = drawn(seed)
    for one, two in zip(deal_lanes_plain(*case), deal_lanes(*case), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("seed", range(100))
def test_windows_that_all_run_to_their_end_are_dealt_as_those_of_one_filter(seed: int) -> None:
    macs, checked_from, speculates, places, groups, rows, columns, edges, *rest = drawn(seed)
    macs[:], checked_from[:], speculates[:] = edges[-1], edges[-1], False
    whole = deal_whole(*macs.shape[:2], places, groups, rows, columns, edges, *rest)
    plain = deal_lanes_plain(macs, checked_from, speculates, places, groups, rows, columns, edges, *rest)
    for one, two in zip(plain, whole, strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(array.flags.c_contiguous for array in whole[:-1])


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_windows_as_long_as_an_int16_counts_are_dealt(kind: type) -> None:
    size = (1 << 15) - 1
    macs = np.random.default_rng(2).integers(1, size, (1, 3, 90), endpoint=True).astype(kind)
    places = np.append(np.arange(90), [-1, -1]).astype(np.int32).reshape(1, 23, 4)
    case = (
        macs, np.full(3, size // 2, np.int32), np.zeros(3, bool), places, 1, 2, 2, np.array([0, size]), 1000,
        2, 3, PARKS, False, False,
    )  # fmt: skip
    for one, two in zip(deal_lanes_plain(*case), deal_lanes(*case), strict=True):
        np.testing.assert_array_equal(one, two)


def one_pe(macs: list[int], lanes: int, size: int, **options: int) -> tuple:
    """One filter, one PE: its windows in row-major groups."""
    given = {"unit": size, "room": 2, "park": 3, "long": PARKS, "together": False} | options
    places = np.full(-(-len(macs) // lanes) * lanes, -1, np.int32)
    places[: len(macs)] = np.arange(len(macs))
    return deal_lanes(
        np.array(macs, np.int32).reshape(1, 1, -1), np.zeros(1, np.int32), np.ones(1, bool),
        places.reshape(1, -1, lanes),
        1, 1, 1, np.array([0, size]), given["unit"], given["room"], given["park"], given["long"],
        given["together"], False,
    )  # fmt: skip


def test_the_last_lane_sets_the_pace_of_its_group() -> None:
    work, words, lanes, pes, sent = one_pe([5, 8, 2], lanes=2, size=8)
    assert work.ravel().tolist() == [8 + 2]
    assert words.ravel().tolist() == [8]
    assert sent == 8
    assert lanes[BUSY].ravel().tolist() == [5 + 2, 8]
    assert lanes[LOCKSTEP].ravel().tolist() == [3, 0]
    assert lanes[NO_WINDOW].ravel().tolist() == [0, 2]
    assert lanes[CHECKS].sum() == 15
    assert lanes[WINDOWS].ravel().tolist() == lanes[PREDICTS].ravel().tolist() == [2, 1]
    assert pes[READS].item() == 10


def test_sums_are_parked_between_units_where_a_pe_has_more_than_one_group() -> None:
    """Windows of 5 and 8 products, one lane, units of 4: both go on, so both are laid down and taken up."""
    work, words, _, pes, _ = one_pe([5, 8], lanes=1, size=8, unit=4)
    assert words.ravel().tolist() == [4, 4]
    assert work.ravel().tolist() == [(4 + 3) + (4 + 3), (3 + 1) + (3 + 4)]
    assert pes[[PARKED, TAKEN, PARKING]].ravel().tolist() == [2, 2, 12]


def test_a_single_group_keeps_its_sums() -> None:
    work, _, _, pes, _ = one_pe([5, 8], lanes=2, size=8, unit=4)
    assert work.ravel().tolist() == [4, 4]
    assert pes[PARKING].item() == 0


@pytest.mark.parametrize(("room", "loaded"), [(1, [4, 0, 0]), (2, [4, 4, 0]), (3, [4, 4, 4])])
def test_the_loader_looks_ahead_as_far_as_it_has_room(room: int, loaded: list[int]) -> None:
    _, words, _, pes, sent = one_pe([3, 2], lanes=2, size=12, unit=4, room=room)
    assert words.ravel().tolist() == loaded
    assert sent == pes[DRAWN].item() == sum(loaded)


def test_filters_that_come_again_come_for_every_group() -> None:
    work, words, _, pes, _ = one_pe([5, 8], lanes=1, size=8, unit=4, long=AGAIN)
    assert words.ravel().tolist() == [4, 4, 4, 4]
    assert work.ravel().tolist() == [4, 1, 4, 4]
    assert pes[PARKING].item() == 0


def test_staged_filters_are_one_unit() -> None:
    work, words, _, pes, _ = one_pe([5, 8], lanes=1, size=8, unit=4, long=STAGED)
    assert words.ravel().tolist() == [8]
    assert work.ravel().tolist() == [13]
    assert pes[DRAWN].item() == 13


def test_at_one_pace_the_slowest_pe_of_a_column_decides_at_every_group() -> None:
    places = np.arange(4, dtype=np.int32).reshape(2, 2, 1)  # two portions of two windows
    macs = np.array([2, 9, 7, 3], np.int32).reshape(1, 1, 4)
    fixed = (np.zeros(1, np.int32), np.zeros(1, bool), places, 1, 2, 1, np.array([0, 9]), 9, 2, 0, PARKS)
    own, *_ = deal_lanes(macs, *fixed, False, False)
    kept, _, _, pes, _ = deal_lanes(macs, *fixed, True, False)
    assert own.ravel().tolist() == [11, 10]
    assert kept.ravel().tolist() == [7 + 9, 7 + 9]
    assert pes[STREAM].ravel().tolist() == [16 - 11, 16 - 10]
