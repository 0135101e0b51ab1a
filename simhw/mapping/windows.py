"""How the windows of a layer are cut into portions that fit a PE's memory, and dealt to its lanes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
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
    shape: LayerShape, half_words: int, *, rows: int, columns: int, lanes: int, grouping: str = "wrapped"
) -> Portion:
    """Return the portion that keeps `rows` rows of PEs busy best, its inputs and outputs in half a memory.

    Rounds times groups of windows in a round decide, then fewer rounds, then broader portions. A single
    window is a portion even where its inputs do not fit: they then come in slices.
    """
    filters = -(-shape.group_out_channels // columns)

    def fits(height: int, width: int) -> bool:
        high = (height - 1) * shape.stride[0] + (shape.kernel_height - 1) * shape.dilation[0] + 1
        wide = (width - 1) * shape.stride[1] + (shape.kernel_width - 1) * shape.dilation[1] + 1
        inputs = shape.group_in_channels * min(high, shape.padded_height) * min(wide, shape.padded_width)
        return inputs <= half_words and filters * height * width <= half_words

    def cost(cut: Portion) -> tuple[int, int, int]:
        down, across = -(-shape.out_height // cut.height), -(-shape.out_width // cut.width)
        rounds = -(-shape.batch * down * across // rows)
        return rounds * _groups(cut.height, cut.width, lanes, grouping), rounds, -cut.width

    widths = {-(-shape.out_width // parts) for parts in range(1, shape.out_width + 1)}
    found = [Portion(height=1, width=1)]
    for width in widths:
        height = 1
        while height <= shape.out_height and fits(height, width):
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
    dealt = [list(_dealt(span, shape.out_width, lanes, grouping)) for span in portion_spans(shape, cut)]
    places = np.full((len(dealt), max(map(len, dealt)), lanes), -1, dtype=np.int32)
    for portion, groups in enumerate(dealt):
        for number, group in enumerate(groups):
            places[portion, number, : len(group)] = group
    return places


def portion_spans(shape: LayerShape, cut: Portion) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first row, first column, rows, columns) of a map's portions."""
    for top in range(0, shape.out_height, cut.height):
        for left in range(0, shape.out_width, cut.width):
            yield (
                top, left,
                min(cut.height, shape.out_height - top), min(cut.width, shape.out_width - left),
            )  # fmt: skip


def _dealt(
    span: tuple[int, int, int, int], pitch: int, lanes: int, grouping: str
) -> Iterator[NDArray[np.int64]]:
    top, left, height, width = span
    at = (np.arange(top, top + height)[:, None] * pitch + np.arange(left, left + width)).astype(np.int64)
    if grouping == "blocks":
        tall, broad = block_size(lanes)
        for y in range(0, height, tall):
            for x in range(0, width, broad):
                yield at[y : y + tall, x : x + broad].reshape(-1)
        return
    for run in at if grouping == "rows" else [at.reshape(-1)]:
        for first in range(0, len(run), lanes):
            yield run[first : first + lanes]


def slices(shape: LayerShape, half_words: int) -> list[tuple[int, int]]:
    """Return [first, end) of the products of a window between which its inputs change.

    One slice, wherever the inputs of a window fit half a memory; else as many whole channels each as fit,
    or single products of a channel that does not fit.
    """
    taps = shape.kernel_height * shape.kernel_width
    # what lies between the taps of a dilated kernel is held, too
    span = (shape.kernel_height - 1) * shape.dilation[0] + 1
    span *= (shape.kernel_width - 1) * shape.dilation[1] + 1
    if shape.group_in_channels * span <= half_words:
        return [(0, shape.window)]
    step = max(half_words // span, 1) * taps
    return [(first, min(first + step, shape.window)) for first in range(0, shape.window, step)]
