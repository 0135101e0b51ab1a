"""In which order the twin of the reuse array does a layer: blocks, their passes, and who meets whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Place = tuple[int, int, int, int]  # image, channel, row, column of an input, padding included


@dataclass
class Stage:
    """What one reuse block does in a pass: a window of places for each step, for the PEs that share it."""

    block: int
    windows: list[list[Place] | None]  # by window; None where it rests
    pes: list[tuple[int, int]]  # row and column
    products: int


@dataclass
class Chain:
    """PEs of a column whose sums climb to one sum: rows from the bottom up."""

    column: int
    rows: list[int]
    sums: list[list[tuple[int, int, int, int] | None]]  # by window, then by filter in turn


@dataclass
class Pass:
    """Windows that go by while PEs hold one set of coefficients for each filter in turn."""

    turn: int  # filters (or sets of filters) that take turns
    windows: int
    stages: list[Stage]
    chains: list[Chain]
    # coefficient words in order: value, and (row, column, address) of the PEs that take it
    words: list[tuple[int, list[tuple[int, int, int]]]] = field(default_factory=list)


@dataclass
class Block:
    image_range: range
    group: int
    out_rows: range
    filters: range
    units: range
    ends_tile: bool
    generation: int = 0  # of the inputs it works on


class LayerOrder:
    """A layer cut up for the array. Without a reuse block its weights are taken as they are."""

    def __init__(self, layer: Any, letters: Any, pes: Any, reuses: bool) -> None:
        self.layer, self.shape, self.letters = layer, layer.shape, letters
        self.lines = layer.side("fit_groups")
        self.pes, self.reuses = pes, reuses
        self._take_weights()

    def _take_weights(self) -> None:
        """Cut each filter into runs: {(filter, run): coefficients}, and what a run's windows look like."""
        shape = self.shape
        record = self.lines.fit if self.reuses and self.lines is not None else None
        group = 0 if record is None else int(record[0])
        width, kernel = shape.kernel_width, (shape.kernel_height, shape.kernel_width)
        self.fitted = group > 0
        self.by_rows = kernel != (1, 1) and group in (0, width)
        self.size = group or self.pes.spec.terms
        flat = np.asarray(self.layer.weights).reshape(shape.out_channels, -1).tolist()
        self.shifts = [0] * self.pes.spec.terms
        self.bits = self.layer.formats["weights"].bits
        if record is not None:
            self.bits, places = int(record[1]), [int(n) for n in record[2:]]
            assert self.lines is not None  # or there was no record
            words = np.asarray(self.lines.coefficients).tolist()
            if self.fitted:
                self.shifts = [max(places) - n for n in places]
            else:
                flat = [[c for (c,) in filter] for filter in words]
        per_filter = len(flat[0])
        if self.by_rows:
            rows = [range(first, first + width) for first in range(0, per_filter, width)]
            self.runs = [row[k : k + self.size] for row in rows for k in range(0, width, self.size)]
            per_row = len(range(0, width, self.size))
            self.unit_runs = per_row * shape.kernel_height  # runs of one channel
            self.units = shape.group_in_channels
        else:
            self.runs = [
                range(first, min(first + self.size, per_filter)) for first in range(0, per_filter, self.size)
            ]
            self.unit_runs, self.units = 1, len(self.runs)
        self.words: list[list[list[int]]] = []  # by filter and run
        for m in range(shape.out_channels):
            mine = []
            for number, run in enumerate(self.runs):
                whole = words[m][number] if self.fitted else [flat[m][i] for i in run]
                mine.append(whole[: self._products(len(run))])
            self.words.append(mine)

    def _products(self, weights: int) -> int:
        if not self.fitted:
            return weights
        return len(self.lines.fit) - 2 if weights > 1 else 1

    # what is done in which order

    def blocks_in_order(self) -> Iterator[Block]:
        shape, letters = self.shape, self.letters
        for image in range(0, shape.batch, letters["n"]):
            for group in range(shape.groups):
                for top in range(0, shape.out_height, letters["e"]):
                    for filter in range(0, shape.group_out_channels, letters["m"]):
                        for unit in range(0, self.units, letters["c"]):
                            end = min(unit + letters["c"], self.units)
                            yield Block(
                                range(image, min(image + letters["n"], shape.batch)),
                                group,
                                range(top, min(top + letters["e"], shape.out_height)),
                                range(filter, min(filter + letters["m"], shape.group_out_channels)),
                                range(unit, end),
                                end == self.units,
                            )

    def place_of(self, block: Block, image: int, weight: int, e: int, f: int) -> Place:
        """Return the input that a weight, counted in its filter, meets in the window of output (e, f)."""
        shape = self.shape
        channel, tap = divmod(weight, shape.kernel_height * shape.kernel_width)
        r, s = divmod(tap, shape.kernel_width)
        y = e * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
        x = f * shape.stride[1] + s * shape.dilation[1] - shape.pad[2]
        return image, block.group * shape.group_in_channels + channel, y, x

    def is_real(self, place: Place) -> bool:
        return 0 <= place[2] < self.shape.in_height and 0 <= place[3] < self.shape.in_width

    def passes(self, block: Block) -> Iterator[Pass]:
        yield from self._row_passes(block) if self.by_rows else self._run_passes(block)

    def _row_passes(self, block: Block) -> Iterator[Pass]:
        """A PE for each kernel row and output row; a reuse block for each row of the input."""
        shape, (image,) = self.shape, block.image_range
        high = min(shape.kernel_height, self.pes.rows)
        per_row = self.unit_runs // shape.kernel_height
        for first in range(0, len(block.filters), self.letters["t"]):
            turn = block.filters[first : first + self.letters["t"]]
            for unit in block.units:
                for bottom in range(0, shape.kernel_height, high):
                    kernel_rows = range(bottom, min(bottom + high, shape.kernel_height))
                    for piece in range(per_row):
                        runs = {r: unit * self.unit_runs + r * per_row + piece for r in kernel_rows}
                        yield self._row_pass(block, image, list(turn), runs)

    def _row_pass(self, block: Block, image: int, turn: list[int], runs: dict[int, int]) -> Pass:
        shape = self.shape
        rows_read: dict[int, list[tuple[int, int]]] = {}
        for j, r in enumerate(runs):
            for column, e in enumerate(block.out_rows):
                y = e * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
                rows_read.setdefault(y, []).append((j, column))
        kernel_rows = list(runs)
        stages = []
        for number, y in enumerate(sorted(rows_read)):
            j, column = rows_read[y][0]
            run = self.runs[runs[kernel_rows[j]]]
            windows: list[list[Place] | None] = [
                [self.place_of(block, image, w, block.out_rows[column], f) for w in run]
                for f in range(shape.out_width)
            ]
            stages.append(Stage(number, windows, rows_read[y], self._products(len(run))))
        chains = [
            Chain(
                column,
                list(range(len(runs))),
                [[(image, self.filter_of(block, m), e, f) for m in turn] for f in range(shape.out_width)],
            )
            for column, e in enumerate(block.out_rows)
        ]
        one = Pass(len(turn), shape.out_width, stages, chains)
        for k, m in enumerate(turn):
            for j, run in enumerate(runs.values()):
                words = self.words[self.filter_of(block, m)][run]
                for place, word in enumerate(words):
                    address = k * self.pes.spec.terms + place
                    takers = [(j, column, address) for column in range(len(block.out_rows))]
                    one.words.append((word, takers))
        return one

    def _run_passes(self, block: Block) -> Iterator[Pass]:
        """Runs of weights stand on each other, windows beside them; a column is a filter."""
        shape, g, p, columns = self.shape, self.letters["g"], self.letters["p"], self.pes.columns
        windows = [
            (n, e, f) for n in block.image_range for e in block.out_rows for f in range(shape.out_width)
        ]
        for first in range(0, len(block.filters), columns * self.letters["t"]):
            turn = block.filters[first : first + columns * self.letters["t"]]
            sets = [list(turn[k : k + columns]) for k in range(0, len(turn), columns)]
            for unit in range(block.units.start, block.units.stop, g):
                runs = range(unit, min(unit + g, block.units.stop))
                yield self._run_pass(block, windows, sets, list(runs), g, p)

    def _run_pass(
        self, block: Block, windows: list[Any], sets: list[list[int]], runs: list[int], g: int, p: int
    ) -> Pass:
        steps = [windows[k : k + p] for k in range(0, len(windows), p)]
        stages, chains = [], []
        stacks = min(p, len(windows))
        one = Pass(len(sets), len(steps), stages, chains)
        for stack in range(stacks):
            for j, number in enumerate(runs):
                run = self.runs[number]
                seen: list[list[Place] | None] = []
                for step in steps:
                    if stack < len(step):
                        n, e, f = step[stack]
                        seen.append([self.place_of(block, n, w, e, f) for w in run])
                    else:
                        seen.append(None)
                pes = [(stack * g + j, column) for column in range(len(sets[0]))]
                stages.append(Stage(stack * g + j, seen, pes, self._products(len(run))))
            for column in range(len(sets[0])):
                sums: list[list[tuple[int, int, int, int] | None]] = []
                for step in steps:
                    mine: list[tuple[int, int, int, int] | None] = []
                    for some in sets:
                        if stack < len(step) and column < len(some):
                            n, e, f = step[stack]
                            mine.append((n, self.filter_of(block, some[column]), e, f))
                        else:
                            mine.append(None)
                    sums.append(mine)
                chains.append(Chain(column, [stack * g + j for j in range(len(runs))], sums))
        for k, some in enumerate(sets):
            for column, m in enumerate(some):
                for j, number in enumerate(runs):
                    for place, word in enumerate(self.words[self.filter_of(block, m)][number]):
                        address = k * self.pes.spec.terms + place
                        takers = [(stack * g + j, column, address) for stack in range(stacks)]
                        one.words.append((word, takers))
        return one

    def filter_of(self, block: Block, m: int) -> int:
        return block.group * self.shape.group_out_channels + m
