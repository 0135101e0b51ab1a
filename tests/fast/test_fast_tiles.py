"""Inputs laid out in tiles and filters packed in panels each equal their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_fast_conv import GEOMETRIES, HIGHEST, LOWEST
from test_fast_early_termination import drawn, ordered

from simhw.fast import pairs, tiles
from simhw.fast.early_termination import early_termination

GEOMETRIES = [geometry for geometry in GEOMETRIES if geometry[0]]


def panels_of(natural, groups):
    """The filters packed, as int32 [panel, pair, filter of the panel]."""
    per_group = len(natural) // groups
    panels = groups * -(-per_group // pairs.FILTERS)
    packed = np.empty((panels, -(-natural.shape[1] // 2), pairs.FILTERS), np.int32)
    tiles.pack_filters(natural, per_group, 0, panels, packed)
    return packed


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_windows_lie_where_their_places_and_taps_say(geometry):
    inputs, *_, taps, stride, pad, dilation, groups = drawn(geometry, seed=3)
    borders = -np.arange(inputs.shape[1])
    windows = tiles.lay_windows(inputs, pad, borders, taps, stride, dilation, groups)
    margins = ((0, 0), (0, 0), pad[:2], pad[2:])
    padded = np.concatenate(
        [np.pad(inputs[:, c : c + 1], margins, constant_values=-c) for c in range(inputs.shape[1])], axis=1
    )
    span = [dilation[i] * (taps[i] - 1) + 1 for i in (0, 1)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
    seen = seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    n, g, y, x = np.indices((len(inputs), groups, *seen.shape[2:4]))
    places = n * windows.image + g * windows.group + y * windows.pitch + x
    expected = seen.reshape(len(inputs), groups, -1, *seen.shape[2:]).transpose(0, 1, 3, 4, 2, 5, 6)
    found = windows.values[np.add.outer(places, windows.taps)]
    np.testing.assert_array_equal(found, expected.reshape(*places.shape, -1))


@pytest.mark.parametrize("count", [1, 6, 31, 32, 90, 169])
def test_windows_of_tiles_are_placed_over_the_ends_of_rows_and_images(count):
    width = next(width for width in (13, 6, 31, 1) if count % width == 0)
    windows = 3 * count
    number = -(-windows // tiles.TILE)
    for first, some in ((0, number), (number - 1, 1), (number // 2, 1)):
        layout = first, some, count, width, windows, 5000, 700, width + 2, 9 * count
        placed = tiles.place_windows(*layout), tiles.place_windows_plain(*layout)
        there = np.arange(first * tiles.TILE, (first + some) * tiles.TILE) < windows
        np.testing.assert_array_equal(placed[0][0], placed[1][0])
        np.testing.assert_array_equal(placed[0][1].ravel()[there], placed[1][1].ravel()[there])


def test_rows_are_gathered_over_the_ends_of_rows_and_images():
    rng = np.random.default_rng(4)
    values = rng.integers(LOWEST, HIGHEST, 3000).astype(np.int16)
    places = np.concatenate([np.arange(5, 9), np.arange(40, 57), [300], np.arange(299, 309)])
    taps = rng.integers(0, 900, 17)
    rows = [np.zeros(20 * tiles.TILE, np.int16) for _ in range(2)]
    for gather, target in zip((tiles.gather_rows, tiles.gather_rows_plain), rows, strict=True):
        gather(values, places, taps, target, tiles.TILE)
    end = (1 + len(taps)) * tiles.TILE  # behind it may lie what is overwritten next
    np.testing.assert_array_equal(rows[0][:end], rows[1][:end])


@pytest.mark.parametrize("part", [(0, 3), (1, 2), (3, 3)])
@pytest.mark.parametrize(("filters", "groups"), [(16, 1), (40, 1), (51, 3), (4, 4)])
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_packed_filters_equal_plain(size, filters, groups, part):
    natural = np.random.default_rng(5).integers(LOWEST, HIGHEST, (filters, size)).astype(np.int16)
    results = []
    for pack in (tiles.pack_filters, tiles.pack_filters_plain):
        panels = groups * -(-(filters // groups) // pairs.FILTERS)
        packed = np.full((panels, -(-size // 2), pairs.FILTERS), 77, np.int32)
        pack(natural, filters // groups, *(min(at, panels) for at in part), packed)
        results.append(packed)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("part", [(0, 12), (2, 5), (3, 3)])
def test_orders_are_checked_and_undone_as_their_definitions_say(part):
    rng = np.random.default_rng(5)
    weights = rng.integers(LOWEST, HIGHEST, (12, 7)).astype(np.int16)
    weights, order, negatives_from = ordered(weights, rng.integers(0, 7, 12), rng)
    for check in (tiles.check_order, tiles.check_order_plain):
        assert check(weights, order, negatives_from, *part) == 0
        positive = np.count_nonzero(weights[slice(*part)] > 0)
        assert check(weights, order, np.zeros(12, np.int32), *part) == positive
    results = []
    for undo in (tiles.put_back, tiles.put_back_plain):
        natural = np.full((12, 7), 77, np.int16)
        undo(weights, order, *part, natural)
        results.append(natural)
    np.testing.assert_array_equal(*results)
    assert (results[0][part[1] :] == 77).all()


@pytest.mark.parametrize("place", [-1, 4])
def test_orders_that_name_no_weight_do_not_pass(place):
    order = np.array([[0, 1, 2, place]], np.int32)
    for check in (tiles.check_order, tiles.check_order_plain):
        with pytest.raises(IndexError, match="names a weight that the filter does not have"):
            check(np.ones((1, 4), np.int16), order, np.array([4]), 0, 1)


@pytest.mark.parametrize("scale", [1, 30, 3000, 1 << 15])
@pytest.mark.parametrize("top", [0, 63, 64, 5000, HIGHEST])
def test_proven_panels_equal_plain_and_are_proven(scale, top):
    rng = np.random.default_rng(6)
    weights = rng.integers(-scale, scale, (4, 50, pairs.FILTERS, 2)).astype(np.int16)
    weights[1] = -scale
    weights[:, 49, :, 1] = 0  # a window of 99 inputs
    tops = rng.integers(0, top, 2 * 33, endpoint=True)  # of two groups, two panels each
    packed = weights.view(np.int32)[..., 0]
    ends = [np.zeros((4, 50), np.int64) for _ in range(2)]
    tiles.prove_panels(packed, tops, 3, 2, 1, 4, ends[0])
    tiles.prove_panels_plain(packed, tops, 3, 2, 1, 4, ends[1])
    np.testing.assert_array_equal(*ends)
    for panel in (1, 2, 3):
        highest = np.append(np.repeat(tops[33:] if panel > 1 else tops[:33], 3), 0)
        cuts = [0, *ends[0][panel, : ends[0][panel].tolist().index(50) + 1].tolist()]
        for start, end in itertools.pairwise(cuts):  # the proof itself
            products = weights[panel, start:end].astype(np.int64) * highest[2 * start : 2 * end].reshape(
                -1, 1, 2
            )
            for part in (np.maximum(products, 0), np.maximum(-products, 0)):
                assert start < end
                assert part.sum(axis=(0, 2)).max() < 1 << 31


@pytest.mark.skipif(pairs.INTERPRETED, reason="numpy has its own words")
@pytest.mark.parametrize("place", [-1, 4])
def test_an_order_that_names_no_weight_is_refused(place):
    order = np.array([[0, 1, 2, place]], np.int32)
    layer = np.ones((1, 4, 1, 1), np.int16), np.ones((1, 4), np.int16), order, [0], [0], [0], [4]
    with pytest.raises(IndexError, match="names a weight that the filter does not have"):
        early_termination(*map(np.asarray, layer), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1)
