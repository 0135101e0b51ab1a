"""The steps of a convolution by pairs each equal their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_fast_conv import GEOMETRIES, drawn

from simhw.fast import pairs

GEOMETRIES = [geometry for geometry in GEOMETRIES if geometry[0]]


def laid_out(geometry):
    inputs, weights, bias, stride, pad, dilation, groups = drawn(geometry, seed=6, low=1 - (1 << 15))
    depth, height, width = weights.shape[1], *inputs.shape[2:]
    out_width = (width + pad[2] + pad[3] - dilation[1] * (weights.shape[3] - 1) - 1) // stride[1] + 1
    out_height = (height + pad[0] + pad[1] - dilation[0] * (weights.shape[2] - 1) - 1) // stride[0] + 1
    layout = pairs.pair_layout(depth, height, width, weights.shape[2:], stride, pad, dilation, out_width)
    shape = stride, pad, dilation, layout.rows, layout.pitch
    arguments = (inputs, (groups - 1) * depth, depth, layout.row_pairs, layout.phases, *shape)
    return layout, arguments, weights.reshape(len(weights), -1), bias, (out_height, out_width)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_planes_equal_plain(geometry):
    _, arguments, *_ = laid_out(geometry)
    planes = pairs.pair_planes(*arguments)
    assert planes.dtype == np.int32
    np.testing.assert_array_equal(planes, pairs.pair_planes_plain(*arguments))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_every_weight_meets_one_half_of_one_pair(geometry):
    layout, _, weights, *_ = laid_out(geometry)
    met = np.concatenate([layout.lows, layout.highs[layout.highs >= 0]])
    assert sorted(met.tolist()) == list(range(weights.shape[1]))


@pytest.mark.parametrize(
    ("channels", "kernel", "pairs_of_taps"),
    [(3, (11, 11), 3 * 6 * 11), (1, (5, 5), 3 * 5), (48, (5, 5), 24 * 25), (3, (1, 1), 2), (4, (4, 2), 16)],
)
def test_pairs_are_of_rows_or_of_channels_whichever_are_fewer(channels, kernel, pairs_of_taps):
    layout = pairs.pair_layout(channels, 20, 20, kernel, (1, 1), (0, 0, 0, 0), (1, 1), 21 - kernel[1])
    assert layout.lows.size == pairs_of_taps


@pytest.mark.parametrize("first", [0, 3, 8, 11])
def test_packed_weights_equal_plain(first):
    layout, _, weights, *_ = laid_out(GEOMETRIES[3])
    packed = pairs.pack_panel(weights, layout.lows, layout.highs, first, 12)
    expected = pairs.pack_panel_plain(weights, layout.lows, layout.highs, first, 12)
    np.testing.assert_array_equal(packed, expected)
    assert packed.shape == (layout.lows.size, pairs.FILTERS)


@pytest.mark.parametrize("size", [1, 2, 17, 600])
@pytest.mark.parametrize("scale", [1, 50, 1 << 15])
@pytest.mark.parametrize(
    ("below", "above"), [(0, 0), (0, 1), (0, 32767), (32768, 0), (9, 32767), (32767, 32767)]
)
def test_proven_blocks_equal_plain(size, scale, below, above):
    weights = np.random.default_rng(size).integers(-scale, scale, (size, pairs.FILTERS, 2)).astype(np.int16)
    packed = weights.view(np.int32)[..., 0]
    ends = pairs.prove_blocks(packed, below, above)
    np.testing.assert_array_equal(ends, pairs.prove_blocks_plain(packed, below, above))
    assert ends[-1] == size
    wide = weights.astype(np.int64)
    up = np.where(wide > 0, wide * above, -wide * below).sum(axis=2)
    down = np.where(wide > 0, wide * below, -wide * above).sum(axis=2)
    for start, end in itertools.pairwise([0, *ends]):  # the proof itself, for every input there may be
        assert max(up[start:end].sum(axis=0).max(), down[start:end].sum(axis=0).max()) < 1 << 31


def test_a_block_ends_one_pair_before_its_sum_could_wrap():
    weights = np.zeros((40, pairs.FILTERS, 2), dtype=np.int16)
    weights[:, 5, 0] = 4096  # times 32767: 16 of them stay below 2**31, 17 do not

    def ends(signs, below):
        packed = (weights * signs[:, None, None]).astype(np.int16).view(np.int32)[..., 0]
        return pairs.prove_blocks(packed, below, 32767).tolist()

    same, alternating = np.ones(40, dtype=int), np.arange(40) % 2 * 2 - 1
    assert ends(same, below=0) == [16, 32, 40]
    assert ends(-same, below=0) == [16, 32, 40]
    assert ends(alternating, below=0) == [32, 40]  # inputs of one sign: positives and negatives sum apart
    assert ends(alternating, below=32767) == [16, 32, 40]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_panels_equal_plain(geometry):
    layout, arguments, weights, bias, out_size = laid_out(geometry)
    inputs = arguments[0]
    planes = pairs.pair_planes(*arguments)
    offsets = layout.places @ np.array([len(inputs) * layout.rows * layout.pitch, 1])
    filters = len(weights)
    results = []
    for convolve in (pairs.convolve_panels, pairs.convolve_panels_plain):
        acc = np.full((len(inputs), filters, *out_size), -7)
        below, above = max(0, -int(inputs.min())), max(0, int(inputs.max()))
        convolve(
            planes, offsets, weights, layout.lows, layout.highs, bias, below, above,
            layout.rows, layout.pitch, filters // 3, filters, acc,
        )  # fmt: skip
        assert (acc[:, : filters // 3] == -7).all()
        results.append(acc)
    np.testing.assert_array_equal(*results)
