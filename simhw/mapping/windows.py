"""How the windows of a layer are cut into portions that fit a PE's memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from simhw.shapes import LayerShape


@dataclass(frozen=True, kw_only=True)
class Portion:
    """A block of output rows and columns whose windows one row of PEs works on."""

    height: int
    width: int


@functools.lru_cache(maxsize=4096)
def portions(shape: LayerShape, half_words: int, *, rows: int, columns: int, lanes: int) -> Portion:
    """Return the portion that keeps `rows` rows of PEs busy best, its inputs and outputs in half a memory.

    Rounds times window groups of a round decide, then fewer rounds, then broader portions. A single
    window is a portion even where its inputs do not fit (they then come in pieces, which takes no time
    of its own here).
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
        return rounds * -(-cut.height * cut.width // lanes), rounds, -cut.width

    widths = {-(-shape.out_width // parts) for parts in range(1, shape.out_width + 1)}
    found = [Portion(height=1, width=1)]
    for width in widths:
        height = 1
        while height <= shape.out_height and fits(height, width):
            found.append(Portion(height=height, width=width))
            height += 1
    return min(found, key=cost)
