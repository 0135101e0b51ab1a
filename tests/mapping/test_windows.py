"""Portions, slices and groups of windows, held to counts by hand over every layer of a small kind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simhw.mapping.windows import (
    Portion,
    axis_cuts,
    block_size,
    count_portions,
    lane_places,
    portions,
    slices,
)
from simhw.shapes import LayerShape

SHAPES = [
    LayerShape(
        batch=batch, in_channels=channels, in_height=high, in_width=wide, out_channels=filters,
        kernel_height=kernel, kernel_width=1 + kernel % 2, stride=stride, pad=(pad, 0, pad, pad),
        dilation=(dilation, 1),
    )
    for batch, channels, high, wide, filters, kernel, stride, pad, dilation in [
        (1, 3, 7, 5, 4, 3, (1, 1), 0, 1),
        (1, 3, 7, 5, 4, 3, (1, 1), 1, 1),
        (2, 2, 8, 8, 9, 2, (2, 1), 0, 1),
        (1, 5, 6, 9, 3, 1, (1, 2), 0, 1),
        (3, 1, 4, 4, 1, 2, (1, 1), 1, 2),
        (1, 12, 3, 3, 7, 3, (1, 1), 0, 1),
        (1, 40, 1, 2, 6, 1, (1, 1), 0, 1),
    ]
]  # fmt: skip


def held(shape: LayerShape, cut: Portion, columns: int, sum_words: int) -> tuple[int, int]:
    """Count the inputs, padding too, and the outputs that a PE of the fullest portion holds, one by one."""
    span = (
        (shape.kernel_height - 1) * shape.dilation[0] + 1,
        (shape.kernel_width - 1) * shape.dilation[1] + 1,
    )
    most = outputs = 0
    filters = len(range(0, shape.group_out_channels, columns))
    for top in range(0, shape.out_height, cut.height):
        for left in range(0, shape.out_width, cut.width):
            windows = [
                (y, x)
                for y in range(top, min(top + cut.height, shape.out_height))
                for x in range(left, min(left + cut.width, shape.out_width))
            ]
            tops = [y * shape.stride[0] for y, _ in windows]
            lefts = [x * shape.stride[1] for _, x in windows]
            rows = {y + dy for y in tops for dy in range(span[0])}
            columns_met = {x + dx for x in lefts for dx in range(span[1])}
            # what lies between two windows of a long stride comes, too
            area = (max(rows) - min(rows) + 1) * (max(columns_met) - min(columns_met) + 1)
            most = max(most, area * shape.group_in_channels)
            outputs = max(outputs, len(windows) * (filters - 1 + sum_words))
    return most, outputs


@pytest.mark.parametrize("sum_words", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("half_words", [8, 30, 64, 100_000])
def test_a_portion_fits_and_none_that_fits_takes_fewer_steps(
    shape: LayerShape, half_words: int, sum_words: int
) -> None:
    rows, columns, lanes = 2, 2, 3

    def cost(cut: Portion) -> int:
        groups = -(-cut.height * cut.width // lanes)
        return -(-shape.batch * count_portions(shape, cut) // rows) * groups

    found = portions(shape, half_words, rows=rows, columns=columns, lanes=lanes, sum_words=sum_words)
    fitting = [
        cut
        for cut in itertools.starmap(
            lambda height, width: Portion(height=height, width=width),
            itertools.product(range(1, shape.out_height + 1), range(1, shape.out_width + 1)),
        )
        if max(held(shape, cut, columns, sum_words)) <= half_words
    ]
    if (found.height, found.width) != (1, 1):
        assert found in fitting
    assert cost(found) <= min(map(cost, [*fitting, Portion(height=1, width=1)]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("grouping", ["wrapped", "rows", "blocks"])
def test_every_window_has_one_lane_and_windows_come_before_empty_lanes(
    shape: LayerShape, grouping: str
) -> None:
    for height, width, lanes in itertools.product((1, 2, 9), (1, 3, 9), (1, 3, 4)):
        cut = Portion(height=min(height, shape.out_height), width=min(width, shape.out_width))
        places = lane_places(shape, cut, lanes, grouping)
        assert len(places) == count_portions(shape, cut)
        own = places[places >= 0]
        assert sorted(own.tolist()) == list(range(shape.out_height * shape.out_width))
        filled = places >= 0
        assert not (filled[..., 1:] & ~filled[..., :-1]).any()
        assert not (filled[:, 1:, 0] & ~filled[:, :-1, 0]).any()
        tall, broad = block_size(lanes) if grouping == "blocks" else (1, lanes)
        for portion, groups in enumerate(places):
            down, across = divmod(portion, -(-shape.out_width // cut.width))
            for group in groups:
                ys, xs = np.divmod(group[group >= 0], shape.out_width)
                assert all(down * cut.height <= y < (down + 1) * cut.height for y in ys)
                assert all(across * cut.width <= x < (across + 1) * cut.width for x in xs)
                if grouping != "wrapped" and len(ys):
                    assert np.ptp(ys) < tall
                    assert np.ptp(xs) < broad


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cuts_along_an_axis_cover_it_once(shape: LayerShape) -> None:
    for height, width in itertools.product((1, 2, 5), (1, 3, 4)):
        for (starts, sizes), extent in zip(
            axis_cuts(shape, Portion(height=height, width=width)),
            (shape.out_height, shape.out_width),
            strict=True,
        ):
            covered = [i for s, n in zip(starts, sizes, strict=True) for i in range(s, s + n)]
            assert covered == list(range(extent))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("half_words", [1, 8, 20, 1000])
def test_slices_are_whole_channels_that_fit(shape: LayerShape, half_words: int) -> None:
    found = slices(shape, half_words)
    taps = shape.kernel_height * shape.kernel_width
    assert [first for first, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == shape.window
    span = ((shape.kernel_height - 1) * shape.dilation[0] + 1) * (
        (shape.kernel_width - 1) * shape.dilation[1] + 1
    )
    for first, end in found:
        channels, rest = divmod(end - first, taps)
        assert rest == 0
        assert channels * span <= half_words or channels == 1
    if len(found) > 1:  # and no more slices than needed
        assert (found[0][1] // taps + 1) * span > half_words
