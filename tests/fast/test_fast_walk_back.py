"""The steps of walking back from complete sums each equal their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fast_conv import GEOMETRIES, HIGHEST, LOWEST, any_geometry
from test_fast_early_termination import drawn, ordered

from simhw.fast import conv_accumulate, pairs, walk_back
from simhw.fast.early_termination import BY_PREDICTION, COMPLETE, early_termination, early_termination_plain

GEOMETRIES = [geometry for geometry in GEOMETRIES if geometry[0]]


def natural_of(weights, order):
    natural = np.empty_like(weights)
    np.put_along_axis(natural, order.astype(np.int64), weights, axis=1)
    return natural


def panels_of(weights, order, negatives_from, groups, width=pairs.FILTERS):
    """The filters packed, as int32 [panel, pair, filter of the panel]."""
    per_group = len(weights) // groups
    panels = groups * -(-per_group // width)
    packed = np.zeros((panels, -(-weights.shape[1] // 2), width, 2), np.int16)
    walk_back.pack_filters(weights, order, negatives_from, width, per_group, 0, len(weights), packed)
    return packed.view(np.int32)[..., 0]


def assert_walks(geometry, seed, inclusive, known=False, some_tiles=None, **options):
    """Walk some tiles of each group, but not the last of its filters if there are more than two."""
    inputs, weights, order, bias, prefix, thresholds, negatives_from, taps, stride, pad, dilation, groups = (
        drawn(geometry, seed, **options)
    )
    dense = natural_of(weights, order).reshape(len(weights), -1, *taps)
    complete = conv_accumulate(inputs, dense, bias, stride, pad, dilation, groups)
    windows = walk_back.lay_windows(inputs, pad, 0, taps, stride, dilation, groups)
    packed = panels_of(weights, order, negatives_from, groups)
    tops = np.full(2 * packed.shape[1], inputs.max(), np.int64)
    cuts = np.empty(packed.shape[:2], np.int64)
    walk_back.prove_panels(packed, tops, 0, len(packed), cuts)
    blocks = walk_back.prefix_blocks(weights, prefix, ((1 << 31) - 1) // max(1, int(inputs.max())))
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
        known,
    )
    shape = *complete.shape[:2], complete.shape[2] * complete.shape[3]
    some_tiles = some_tiles or (0, -(-shape[0] * shape[2] // walk_back.TILE))
    per_group = len(weights) // groups
    results = []
    for walk in (walk_back.walk_tiles, walk_back.walk_tiles_plain):
        sums = complete.reshape(shape).copy() if known else np.full(shape, -77)
        written = sums, np.full(shape, 77, np.int32), np.full(shape, 77, np.uint8)
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
    for inclusive, known in ((False, False), (True, False), (False, True)):
        assert_walks(geometry, 1, inclusive, known, predictive=predictive)
        assert_walks(geometry, 2, inclusive, known, some_tiles=(0, 1), predictive=predictive)


@given(
    seed=st.integers(0, 1 << 32),
    high=st.sampled_from([0, 1, 255, HIGHEST]),
    within=st.sampled_from([(-2, 2), (-100, 100), (LOWEST, HIGHEST), (LOWEST, LOWEST), (-9, -1)]),
    predictive=st.booleans(),
    inclusive=st.booleans(),
)
def test_drawn_walks_equal_plain(seed, high, within, predictive, inclusive):
    geometry = any_geometry(np.random.default_rng(seed))
    assert_walks(geometry, seed, inclusive, high=high, predictive=predictive, weights_within=within)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_windows_lie_where_their_places_and_taps_say(geometry):
    inputs, *_, taps, stride, pad, dilation, groups = drawn(geometry, seed=3)
    windows = walk_back.lay_windows(inputs, pad, -5, taps, stride, dilation, groups)
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=-5)
    span = [dilation[i] * (taps[i] - 1) + 1 for i in (0, 1)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
    seen = seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    n, g, y, x = np.indices((len(inputs), groups, *seen.shape[2:4]))
    places = n * windows.image + g * windows.group + y * windows.pitch + x
    expected = seen.reshape(len(inputs), groups, -1, *seen.shape[2:]).transpose(0, 1, 3, 4, 2, 5, 6)
    found = windows.values[np.add.outer(places, windows.taps)]
    np.testing.assert_array_equal(found, expected.reshape(*places.shape, -1))


def test_rows_are_gathered_over_the_ends_of_rows_and_images():
    rng = np.random.default_rng(4)
    values = rng.integers(LOWEST, HIGHEST, 3000).astype(np.int16)
    places = np.concatenate([np.arange(5, 9), np.arange(40, 57), [300], np.arange(299, 309)])
    taps = rng.integers(0, 900, 17)
    rows = [np.zeros(20 * walk_back.TILE, np.int16) for _ in range(2)]
    for gather, target in zip((walk_back.gather_rows, walk_back.gather_rows_plain), rows, strict=True):
        gather(values, places, taps, target, walk_back.TILE)
    end = (1 + len(taps)) * walk_back.TILE  # behind it may lie what is overwritten next
    np.testing.assert_array_equal(rows[0][:end], rows[1][:end])


@pytest.mark.parametrize("part", [(0, 12), (2, 5), (3, 3)])
@pytest.mark.parametrize(("width", "groups"), [(1, 1), (1, 3), (8, 1), (8, 3), (3, 2)])
def test_packed_filters_equal_plain(width, groups, part):
    rng = np.random.default_rng(5)
    weights = rng.integers(LOWEST, HIGHEST, (12, 7)).astype(np.int16)
    weights, order, negatives_from = ordered(weights, rng.integers(0, 7, 12), rng)
    results = []
    for pack in (walk_back.pack_filters, walk_back.pack_filters_plain):
        packed = np.full((groups * -(-12 // groups // width), 4, width, 2), 77, np.int16)
        counts = [
            pack(weights, order, ends, width, 12 // groups, *part, packed)
            for ends in (negatives_from, np.zeros(12, np.int32))
        ]
        results.append((packed, counts))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1] == [0, np.count_nonzero(weights[slice(*part)] > 0)]


def test_panels_of_one_filter_are_the_filters_as_they_were():
    weights, order, negatives_from = ordered(np.arange(-9, 9).reshape(2, 9), np.array([2, 0]), np.random)
    packed = panels_of(weights.astype(np.int16), order, negatives_from, 1, width=1)
    np.testing.assert_array_equal(packed.view(np.int16).reshape(2, -1)[:, :9], np.arange(-9, 9).reshape(2, 9))


@pytest.mark.parametrize("scale", [1, 30, 3000, 1 << 15])
@pytest.mark.parametrize("top", [0, 63, 64, 5000, HIGHEST])
def test_proven_panels_equal_plain_and_are_proven(scale, top):
    rng = np.random.default_rng(6)
    weights = rng.integers(-scale, scale, (3, 50, pairs.FILTERS, 2)).astype(np.int16)
    weights[1] = -scale
    tops = rng.integers(0, top, 100, endpoint=True)
    packed = weights.view(np.int32)[..., 0]
    ends = [np.zeros((3, 50), np.int64) for _ in range(2)]
    walk_back.prove_panels(packed, tops, 1, 3, ends[0])
    walk_back.prove_panels_plain(packed, tops, 1, 3, ends[1])
    np.testing.assert_array_equal(*ends)
    for panel in (1, 2):
        cuts = [0, *ends[0][panel, : ends[0][panel].tolist().index(50) + 1].tolist()]
        for start, end in itertools.pairwise(cuts):  # the proof itself
            products = weights[panel, start:end].astype(np.int64) * tops[2 * start : 2 * end].reshape(
                -1, 1, 2
            )
            for part in (np.maximum(products, 0), np.maximum(-products, 0)):
                assert start < end
                assert part.sum(axis=(0, 2)).max() < 1 << 31


@pytest.mark.skipif(walk_back.INTERPRETED, reason="numpy has its own words")
@pytest.mark.parametrize("place", [-1, 4])
def test_an_order_that_names_no_weight_is_refused(place):
    order = np.array([[0, 1, 2, place]], np.int32)
    layer = np.ones((1, 4, 1, 1), np.int16), np.ones((1, 4), np.int16), order, [0], [0], [0], [4]
    with pytest.raises(IndexError, match="names a weight that the filter does not have"):
        early_termination(*map(np.asarray, layer), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1)


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
