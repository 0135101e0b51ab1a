"""How the windows of a layer are cut into portions that fit a PE's memory, and dealt to its lanes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhw.shapes import LayerShape

GROUPINGS = ("wrapped", "rows", "blocks")


@dataclass(frozen=True, kw_only=True)
class Portion:
    """A block of output rows and columns whose windows one row of PEs works on."""

    height: int
    width: int


@functools.lru_cache(maxsize=4096)
def portions(
    shape: LayerShape,
    half_words: int,
    *,
    rows: int,
    columns: int,
    lanes: int,
    grouping: str = "wrapped",
    fewest: str = "groups",
    sum_words: int = 1,
) -> Portion:
    """Return the portion that keeps `rows` rows of PEs busy best, its inputs and outputs in half a memory.

    Of the filter at work a window takes `sum_words` words, and one of each filter that is done.
    Rounds times groups of windows in a round decide, then fewer rounds, then broader portions; with
    `fewest` "rounds" these decide first, since filters come again with each. A single
    window is a portion even where its inputs do not fit: they then come in slices.
    """
    filters = -(-shape.group_out_channels // columns)

    high, wide = shape.out_height, shape.out_width
    deep, spans = shape.group_in_channels, (
        (shape.kernel_height - 1) * shape.dilation[0] + 1, (shape.kernel_width - 1) * shape.dilation[1] + 1,
    )  # fmt: skip

    def fits(height: int, width: int) -> bool:
        tall = min((height - 1) * shape.stride[0] + spans[0], shape.padded_height)
        broad = min((width - 1) * shape.stride[1] + spans[1], shape.padded_width)
        held = (filters - 1 + sum_words) * height * width
        return deep * tall * broad <= half_words and held <= half_words

    def cost(cut: Portion) -> tuple[int, int, int]:
        down, across = -(-high // cut.height), -(-wide // cut.width)
        rounds = -(-shape.batch * down * across // rows)
        steps = rounds * _groups(cut.height, cut.width, lanes, grouping)
        return (rounds, steps, -cut.width) if fewest == "rounds" else (steps, rounds, -cut.width)

    widths = {-(-wide // parts) for parts in range(1, wide + 1)}
    found = [Portion(height=1, width=1)]
    for width in widths:
        height = 1
        while height <= high and fits(height, width):
            found.append(Portion(height=height, width=width))
            height += 1
    return min(found, key=cost)


def _groups(height: int, width: int, lanes: int, grouping: str) -> int:
    if grouping == "wrapped":
        return -(-height * width // lanes)
    if grouping == "rows":
        return height * -(-width // lanes)
    tall, broad = block_size(lanes)
    return -(-height // tall) * -(-width // broad)


def block_size(lanes: int) -> tuple[int, int]:
    """Return height and width of the squarest block of as many windows as there are lanes."""
    tall = next(n for n in range(math.isqrt(lanes), 0, -1) if lanes % n == 0)
    return tall, lanes // tall


def lane_places(shape: LayerShape, cut: Portion, lanes: int, grouping: str) -> NDArray[np.int32]:
    """Return which window of the output map each lane has: [portion, group of windows, lane], -1 for none.

    Portions count row by row over the map. `wrapped` fills groups in row-major order, `rows` begins a
    new group with each row, `blocks` takes the squarest blocks of windows.
    """
    return _lane_places((shape.out_height, shape.out_width), cut, lanes, grouping)


@functools.lru_cache(maxsize=64)
def _lane_places(out_size: tuple[int, int], cut: Portion, lanes: int, grouping: str) -> NDArray[np.int32]:
    (tops, heights), (lefts, widths) = _axis_cuts(out_size, cut)
    corners = np.add.outer(tops * out_size[1], lefts)
    kinds = {
        (int(heights[i]), int(widths[j])) for i in (0, -1) for j in (0, -1)
    }  # all but the last are alike
    dealt = {kind: _dealt(*kind, out_size[1], lanes, grouping) for kind in kinds}
    most = max(map(len, dealt.values()))
    places = np.full((len(tops), len(lefts), most, lanes), -1, dtype=np.int32)
    for rows, tall in ((slice(-1), heights[0]), (slice(-1, None), heights[-1])):
        for columns, broad in ((slice(-1), widths[0]), (slice(-1, None), widths[-1])):
            groups = dealt[int(tall), int(broad)]
            own = places[rows, columns, : len(groups)]
            own[...] = corners[rows, columns, None, None]
            own += groups
            own[..., groups < 0] = -1
    places = places.reshape(-1, most, lanes)
    places.flags.writeable = False
    return places


Cuts = tuple[tuple[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Along rows, then columns of a map: where portions begin, and how far they go."""


def axis_cuts(shape: LayerShape, cut: Portion) -> Cuts:
    """Return where a map is cut into portions; they are all pairs of a part of rows and one of columns."""
    return _axis_cuts((shape.out_height, shape.out_width), cut)


def _axis_cuts(out_size: tuple[int, int], cut: Portion) -> Cuts:
    tops, lefts = np.arange(0, out_size[0], cut.height), np.arange(0, out_size[1], cut.width)
    return (
        (tops, np.minimum(cut.height, out_size[0] - tops)),
        (lefts, np.minimum(cut.width, out_size[1] - lefts)),
    )


def count_portions(shape: LayerShape, cut: Portion) -> int:
    """Return how many portions a map is cut into."""
    return -(-shape.out_height // cut.height) * -(-shape.out_width // cut.width)


def _dealt(height: int, width: int, pitch: int, lanes: int, grouping: str) -> NDArray[np.int32]:
    """Return the windows of a portion at the map's corner: [group, lane], -1 for none."""
    at = (np.arange(height)[:, None] * pitch + np.arange(width)).astype(np.int32)
    tall, broad = block_size(lanes) if grouping == "blocks" else (1, lanes)
    if grouping == "wrapped":
        at = at.reshape(1, -1)
    down, across = -(-at.shape[0] // tall), -(-at.shape[1] // broad)
    whole = np.full((down * tall, across * broad), -1, dtype=np.int32)
    whole[: at.shape[0], : at.shape[1]] = at
    groups = whole.reshape(down, tall, across, broad).transpose(0, 2, 1, 3).reshape(-1, lanes)
    if tall == 1:
        return groups
    # windows come before empty lanes
    return np.take_along_axis(groups, (groups < 0).argsort(axis=1, kind="stable"), axis=1)


def tap_span(shape: LayerShape) -> int:
    """Return how many inputs of a channel a window spans: those between dilated taps are held, too."""
    tall = (shape.kernel_height - 1) * shape.dilation[0] + 1
    return tall * ((shape.kernel_width - 1) * shape.dilation[1] + 1)


def slices(shape: LayerShape, half_words: int) -> list[tuple[int, int]]:
    """Return [first, end) of the products of a window between which its inputs change.

    One slice, wherever the inputs of a window fit half a memory; else as many whole channels each as fit,
    and one at least.
    """
    taps, span = shape.kernel_height * shape.kernel_width, tap_span(shape)
    if shape.group_in_channels * span <= half_words:
        return [(0, shape.window)]
    step = max(half_words // span, 1) * taps
    return [(first, min(first + step, shape.window)) for first in range(0, shape.window, step)]
