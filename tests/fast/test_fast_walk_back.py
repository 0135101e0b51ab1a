"""The steps of walking back from complete sums each equal their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fast_conv import GEOMETRIES, HIGHEST, LOWEST, any_geometry
from test_fast_early_termination import drawn
from test_fast_tiles import panels_of

from simhw.fast import conv_accumulate, tiles, walk_back
from simhw.fast.early_termination import (
    BY_PREDICTION,
    BY_SIGN,
    COMPLETE,
    early_termination,
    early_termination_plain,
)

GEOMETRIES = [geometry for geometry in GEOMETRIES if geometry[0]]
NARROW = None, (20, HIGHEST)


def natural_of(weights, order):
    natural = np.empty_like(weights)
    np.put_along_axis(natural, order.astype(np.int64), weights, axis=1)
    return natural


def assert_walks(geometry, seed, inclusive, known=False, narrow=None, some_tiles=None, **options):
    """Walk some tiles of each group, but not the last of its filters if there are more than two."""
    inputs, weights, order, bias, prefix, thresholds, negatives_from, taps, stride, pad, dilation, groups = (
        drawn(geometry, seed, **options)
    )
    dense = natural_of(weights, order).reshape(len(weights), -1, *taps)
    complete = conv_accumulate(inputs, dense, bias, stride, pad, dilation, groups)
    windows = tiles.lay_windows(inputs, pad, 0, taps, stride, dilation, groups)
    packed = panels_of(dense.reshape(weights.shape), groups)
    tops = np.full(inputs.shape[1], inputs.max(), np.int64)
    cuts = np.empty(packed.shape[:2], np.int64)
    tiles.prove_panels(packed, tops, taps[0] * taps[1], len(packed) // groups, 0, len(packed), cuts)
    blocks = walk_back.prefix_blocks(weights, prefix, ((1 << 31) - 1) // max(1, int(inputs.max())))
    shape = *complete.shape[:2], complete.shape[2] * complete.shape[3]
    layer = (
        weights,
        order,
        bias,
        packed,
        prefix,
        *blocks,
        thresholds,
        negatives_from,
        inclusive,
        cuts,
        complete.reshape(shape) if known else np.empty((0, 0, 0), np.int64),
        *(narrow or (0, 0)),
    )
    some_tiles = some_tiles or (0, -(-shape[0] * shape[2] // tiles.TILE))
    per_group = len(weights) // groups
    results = []
    for walk in (walk_back.walk_tiles, walk_back.walk_tiles_plain):
        sums = np.full(shape, -77, np.int16 if narrow else np.int64)
        written = sums, np.full(shape, 77, np.int16 if narrow else np.int32), np.full(shape, 77, np.uint8)
        for g in range(groups):
            walk(
                windows.values, windows.image, g * windows.group, windows.pitch, windows.taps,
                complete.shape[3], *layer, *some_tiles, g * per_group,
                (g + 1) * per_group - (per_group > 2), g * (len(packed) // groups), *written,
            )  # fmt: skip
        results.append(written)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("predictive", [False, True], ids=["exact", "predictive"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_walks_equal_plain_and_leave_alone_what_is_not_theirs(geometry, predictive):
    for inclusive, known, narrow in itertools.product([False, True], [False, True], NARROW):
        assert_walks(geometry, 1, inclusive, known, narrow, predictive=predictive)
        assert_walks(geometry, 2, inclusive, known, narrow, some_tiles=(0, 1), predictive=predictive)


@given(
    seed=st.integers(0, 1 << 32),
    high=st.sampled_from([0, 1, 255, HIGHEST]),
    within=st.sampled_from([(-2, 2), (-100, 100), (LOWEST, HIGHEST), (LOWEST, LOWEST), (-9, -1)]),
    predictive=st.booleans(),
    inclusive=st.booleans(),
    known=st.booleans(),
    narrow=st.none() | st.tuples(st.integers(-62, 62), st.integers(0, HIGHEST)),
)
def test_drawn_walks_equal_plain(seed, high, within, predictive, inclusive, known, narrow):
    geometry = any_geometry(np.random.default_rng(seed))
    assert_walks(
        geometry, seed, inclusive, known, narrow, high=high, predictive=predictive, weights_within=within
    )


@pytest.mark.parametrize("limit", [1, 1000, 40000, 1 << 20])
def test_blocks_of_prefixes_equal_plain_and_are_proven(limit):
    rng = np.random.default_rng(6)
    weights = rng.integers(LOWEST, HIGHEST, (9, 60)).astype(np.int16) >> rng.integers(0, 12, (9, 1))
    weights[3, :7] = 0
    prefix = np.array([0, 60, 1, 30, 2, 17, 0, 59, 0], np.int32)
    ends, owners = walk_back.prefix_blocks(weights, prefix, limit)
    expected = walk_back.prefix_blocks_plain(weights, prefix, limit)
    np.testing.assert_array_equal(ends, expected[0])
    np.testing.assert_array_equal(owners, expected[1])
    for m, count in enumerate(prefix):
        cut = [0, *ends[owners[m] : owners[m + 1]].tolist()]
        assert cut[-1] == count
        for start, end in itertools.pairwise(cut):
            assert end == start + 1 or np.abs(weights[m, start:end].astype(int)).sum() <= limit


@pytest.mark.parametrize("size", [1, 2, 5, 199, 200, 201, 202, 208, 209, 350])
@pytest.mark.parametrize("zeros", [0.0, 0.7])
def test_short_and_long_runs_are_walked_to_any_place_in_them(size, zeros):
    rng = np.random.default_rng(size)
    inputs = rng.integers(0, 4, (2, size, 5, 9)).astype(np.int16)
    inputs[rng.random(inputs.shape) < zeros] = 0
    weights = -rng.integers(0, 4, (60, size)).astype(np.int16)
    order = np.argsort(rng.random((60, size)), axis=1).astype(np.int32)
    exact, begins = np.zeros(60, int), np.zeros(60, int)
    bias = np.arange(60) * size // 15 - 1
    layer = (
        inputs, weights, order, bias, exact, exact, begins, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1,
    )  # fmt: skip
    for inclusive in (False, True):
        results = early_termination(*layer, inclusive=inclusive)
        expected = early_termination_plain(*layer, inclusive=inclusive)
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, wanted)
    assert set(results[2].ravel()) == {COMPLETE, BY_SIGN} or size < 5
    assert len(np.unique(results[1])) > size // 2


@pytest.mark.parametrize("bias", [-(1 << 31), -(1 << 31) - 1, -(1 << 31) + 1, -(1 << 40), -1, 0])
def test_sums_below_what_an_int32_holds_are_walked_to_their_end(bias):
    size = 301
    weights = np.full((1, size), LOWEST, np.int16)
    weights[0, ::3] = -7
    inputs = np.random.default_rng(7).integers(0, HIGHEST, (1, size, 5, 9), endpoint=True).astype(np.int16)
    lift = 200 * -LOWEST * 16000  # most windows fall to it somewhere in the middle
    layer = (
        inputs, weights, np.arange(size, dtype=np.int32)[None], np.array([bias + lift]), np.zeros(1, int),
        np.zeros(1, int), np.zeros(1, int), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1,
    )  # fmt: skip
    for result, expected in zip(early_termination(*layer), early_termination_plain(*layer), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_complete_sums_of_the_callers_own_will_do_and_stay_as_they_are():
    inputs, weights, order, bias, *rest = layer = drawn(GEOMETRIES[4], seed=8, predictive=True)
    natural = natural_of(weights, order).reshape(len(weights), -1, *rest[3])
    complete = conv_accumulate(inputs, natural, bias, *rest[4:])
    before, expected = complete.copy(), early_termination(*layer)
    for result, wanted in zip(early_termination(*layer, complete=complete), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(complete, before)
    done = expected[2] == COMPLETE
    np.testing.assert_array_equal(expected[0][done], complete[done])
    assert (expected[2] == BY_PREDICTION).any()
    assert done.any()
