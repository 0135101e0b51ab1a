"""Who works on what in the twin of `early_termination`: windows, portions, rounds, filters in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simhw.errors import DescriptionError


@dataclass
class Window:
    """One convolution window under one filter: where it lies, and how far it has come."""

    image: int
    row: int
    column: int
    sum: int = 0
    stopped: bool = False


@dataclass
class Block:
    """A portion of the map: the windows of one row of PEs, in the groups that its lanes take together."""

    image: int
    top: int
    left: int
    groups: list[list[tuple[int, int]]] = field(default_factory=list)

    @property
    def places(self) -> list[tuple[int, int]]:
        return [place for group in self.groups for place in group]


@dataclass
class Round:
    """One portion for each row of PEs, and the products of each window that fall into it."""

    number: int
    group: int  # of the convolution
    blocks: list[Block]
    first: int
    end: int
    last_slice: bool


class Layout:
    """A layer dealt out to rows, columns and lanes, with nothing of time in it."""

    def __init__(self, layer: Any, options: Any, letters: Any, spec: Any, rows: int, columns: int) -> None:
        self.layer, self.options, self.spec = layer, options, spec
        self.shape = layer.shape
        predicting = layer.side("speculation")
        self.ordering = layer.side("sign_order") if predicting is None else predicting
        if self.ordering is not None:
            self.thresholds = self.ordering.thresholds_of(inclusive=options.test == "at_or_below")
        self.pe_rows, self.pe_columns = rows, columns
        self.high, self.wide = letters["portion_rows"], letters["portion_columns"]
        self.inputs = np.asarray(layer.inputs).tolist()
        self.bias: list[int] = np.asarray(layer.bias).tolist()
        self.slices = self._slices()
        self.raised = [0] * self.shape.in_channels
        self.why_not = self._why_not()
        self.stops = self.why_not is None
        self.filters = self._filters()
        self.rounds = list(self._rounds())
        one = sum(len(r.blocks) for r in self.rounds[:1]) == 1
        one = one and len(self.rounds) == self.shape.groups * len(self.slices)
        self.spread = options.one_portion == "pes" and one
        self.turns = [self._turn(group) for group in range(self.shape.groups)]

    # what may stop, and the order of the weights

    def _why_not(self) -> str | None:
        layer, options = self.layer, self.options
        if options.termination == "off":
            return "as the description says"
        if layer.activation not in ("relu", "relu6"):
            return "no ReLU follows"
        if len(self.slices) > 1:
            return f"a window of {self.shape.window} inputs does not fit {self.spec.half_words} words"
        if self.ordering is None:
            return "the description asks for no sign_order"
        lows, highs = [0] * self.shape.in_channels, [0] * self.shape.in_channels
        for image in self.inputs:
            for c, plane in enumerate(image):
                lows[c] = min([lows[c], *(v for line in plane for v in line)])
                highs[c] = max([highs[c], *(v for line in plane for v in line)])
        if not any(lows):
            return None
        if options.signed_inputs == "refuse":
            raise DescriptionError(
                f"{layer.name}: inputs are as low as {min(lows)}, stopping early would change its outputs; "
                "options.signed_inputs: whole runs such layers to the end, shift makes inputs non-negative"
            )
        if options.signed_inputs == "whole":
            return "inputs may be negative"
        if max(h - v for h, v in zip(highs, lows, strict=True)) > 32767:
            return "shifted inputs would not fit 16 bits"
        self.raised = [-low for low in lows]
        return None

    def _filters(self) -> list[tuple[list[int], list[int], int, int, int]]:
        """Return (weights, their places (c, r, s), first of the last falling run, N, Th) of each filter."""
        flat = np.asarray(self.layer.weights).reshape(self.shape.out_channels, -1).tolist()
        if not self.stops:
            size = len(flat[0])
            return [(filter, list(range(size)), size, 0, 0) for filter in flat]
        found: list[tuple[list[int], list[int], int, int, int]] = []
        per_group = self.shape.group_out_channels
        taps = self.shape.kernel_height * self.shape.kernel_width
        for m, filter in enumerate(flat):
            groups, threshold = int(self.ordering.prefix[m]), int(self.thresholds[m])
            chosen = self._speculating(filter, groups)
            rest = [i for i in range(len(filter)) if i not in chosen]
            falling = [i for i in rest if filter[i] < 0]
            if self.ordering.negatives == "magnitude":
                falling.sort(key=lambda i: filter[i])
            order = chosen + [i for i in rest if filter[i] >= 0] + falling
            found.append(([filter[i] for i in order], order, len(filter) - len(falling), groups, threshold))
            first = m // per_group * self.shape.group_in_channels
            extra = [w * self.raised[first + i // taps] for i, w in enumerate(filter)]
            self.bias[m] -= sum(extra)
            if groups:  # the bias is corrected for products that are still to come
                found[-1] = (*found[-1][:4], threshold - sum(extra[i] for i in order[groups:]))
        return found

    def _speculating(self, filter: list[int], groups: int) -> list[int]:
        """Return the largest magnitude of each of as many groups of the ascending weights."""
        ascending = sorted(range(len(filter)), key=lambda i: filter[i])
        chosen: list[int] = []
        for g in range(groups):
            size, more = divmod(len(filter), groups)
            own = ascending[g * size + min(g, more) : (g + 1) * size + min(g + 1, more)]
            chosen.append(max(own, key=lambda i: (abs(filter[i]), -filter[i], -i)))
        return chosen

    # who works on what

    def _slices(self) -> list[tuple[int, int]]:
        shape, half = self.shape, self.spec.half_words
        tall = (shape.kernel_height - 1) * shape.dilation[0] + 1
        broad = (shape.kernel_width - 1) * shape.dilation[1] + 1
        channels = shape.group_in_channels
        if channels * tall * broad > half:
            channels = max(half // (tall * broad), 1)
        taps = shape.kernel_height * shape.kernel_width
        cuts = list(range(0, shape.group_in_channels, channels))
        return [(c * taps, min(c + channels, shape.group_in_channels) * taps) for c in cuts]

    def _rounds(self) -> Iterator[Round]:
        shape, number = self.shape, 0
        for group in range(shape.groups):
            blocks = [
                self._block(image, top, left)
                for image in range(shape.batch)
                for top in range(0, shape.out_height, self.high)
                for left in range(0, shape.out_width, self.wide)
            ]
            for start in range(0, len(blocks), self.pe_rows):
                for first, end in self.slices:
                    own = blocks[start : start + self.pe_rows]
                    yield Round(number, group, own, first, end, end == shape.window)
                    number += 1

    def _block(self, image: int, top: int, left: int) -> Block:
        shape, lanes = self.shape, self.spec.lanes
        block = Block(image, top, left)
        rows = range(top, min(top + self.high, shape.out_height))
        columns = range(left, min(left + self.wide, shape.out_width))
        tall = max(n for n in range(1, lanes + 1) if n * n <= lanes and lanes % n == 0)
        if self.options.grouping == "blocks":
            for y in rows[::tall]:
                for x in columns[:: lanes // tall]:
                    block.groups.append(
                        [
                            (b, a)
                            for b in range(y, y + tall)
                            for a in range(x, x + lanes // tall)
                            if b in rows and a in columns
                        ]
                    )
            return block
        runs = [[(y, x) for x in columns] for y in rows]
        if self.options.grouping == "wrapped":
            runs = [[place for run in runs for place in run]]
        for run in runs:
            block.groups += [run[i : i + lanes] for i in range(0, len(run), lanes)]
        return block

    def plane_words(self, block: Block) -> int:
        """Return the values of one channel of the inputs under a portion's windows."""
        shape = self.shape
        ys = [y * shape.stride[0] - shape.pad[0] for y, _ in block.places]
        xs = [x * shape.stride[1] - shape.pad[2] for _, x in block.places]
        tall = (shape.kernel_height - 1) * shape.dilation[0]
        broad = (shape.kernel_width - 1) * shape.dilation[1]
        rows = [y for y in range(min(ys), max(ys) + tall + 1) if 0 <= y < shape.in_height]
        columns = [x for x in range(min(xs), max(xs) + broad + 1) if 0 <= x < shape.in_width]
        return len(rows) * len(columns)

    def present(self, round: Round) -> int:
        return self.pe_rows if self.spread else len(round.blocks)

    def dealt(self, column: int) -> Iterator[dict[int, int]]:
        """Yield, step by step, the filters (within the group) that the rows of a column work on."""
        filters, columns = range(self.shape.group_out_channels), self.pe_columns
        if not self.spread:
            for filter in filters[column::columns]:
                yield dict.fromkeys(range(self.pe_rows), filter)
            return
        for first in range(column, len(filters), columns * self.pe_rows):
            own = {p: first + p * columns for p in range(self.pe_rows)}
            yield {p: filter for p, filter in own.items() if filter in filters}

    def _turn(self, group: int) -> list[int]:
        """Return a group's filters in the order in which they are dealt."""
        per_group = self.shape.group_out_channels
        filters = list(range(group * per_group, (group + 1) * per_group))
        if self.options.filters == "in_turn" or not self.stops:
            return filters
        filters.sort(key=lambda m: -self._products(m))  # of those with as many the first stays first
        at_once = self.pe_columns * (self.pe_rows if self.spread else 1)
        turn: list[int] = []
        while filters:
            dealt, filters = filters[:at_once], filters[at_once:]
            turn += dealt if len(turn) // at_once % 2 == 0 else dealt[::-1]
        return turn

    def _products(self, m: int) -> int:
        """Return the products that all windows take with a filter."""
        weights, order, falls_from, speculating, threshold = self.filters[m]
        inclusive, shape, taken = self.options.test == "at_or_below", self.shape, 0
        for image in range(shape.batch):
            for row in range(shape.out_height):
                for column in range(shape.out_width):
                    window = Window(image, row, column, self.bias[m])
                    for at, (weight, place) in enumerate(zip(weights, order, strict=True)):
                        window.sum += weight * self.input(window, m, place)
                        taken += 1
                        limit = threshold if speculating and at == speculating - 1 else 0
                        looks = at >= falls_from or (speculating and at == speculating - 1)
                        if looks and (window.sum <= limit if inclusive else window.sum < limit):
                            break
        return taken

    def pooled(self, pool: Any, block: Block) -> tuple[list[tuple[int, int]], int]:
        """Return the pooled values all of whose windows a portion has, and how many windows others want."""
        places, found = set(block.places), []
        wanted: set[tuple[int, int]] = set()
        for i in range(pool.height):
            for j in range(pool.width):
                top, left = i * pool.stride[0] - pool.pad[0], j * pool.stride[1] - pool.pad[1]
                own = {
                    (y, x)
                    for y in range(max(top, 0), min(top + pool.kernel[0], self.shape.out_height))
                    for x in range(max(left, 0), min(left + pool.kernel[1], self.shape.out_width))
                }
                if own <= places:
                    found.append((i, j))
                else:
                    wanted |= own & places
        return found, len(wanted)

    def input(self, window: Window, m: int, place: int) -> int:
        shape = self.shape
        taps = shape.kernel_height * shape.kernel_width
        channel, tap = divmod(place, taps)
        r, s = divmod(tap, shape.kernel_width)
        y = window.row * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
        x = window.column * shape.stride[1] + s * shape.dilation[1] - shape.pad[2]
        channel += m // shape.group_out_channels * shape.group_in_channels
        raised = self.raised[channel]
        if not (0 <= y < shape.in_height and 0 <= x < shape.in_width):
            return raised
        return self.inputs[window.image][channel][y][x] + raised
