"""Where the parts of a layer lie on a row-stationary array, and in which order they come, for the twin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simhw.core.dataflow import Phase
from simhw.core.machine import Machine


@dataclass(frozen=True)
class Tile:
    """Sums that live in the buffer together: group, filter and image blocks, and a strip of rows."""

    groups: int
    filters: int
    images: int
    strip: int


@dataclass(frozen=True)
class Visit:
    """One block of input under one tile: which channels, which kernel rows."""

    tile: Tile
    channels: int
    segment: int

    @property
    def begins_sums(self) -> bool:
        return self.channels == 0 and self.segment == 0


@dataclass(frozen=True)
class Pass:
    visit: Visit
    number: int


@dataclass
class Slot:
    """One filter's sums of one window, in all columns: made, then carried up, then put away."""

    image: int
    column: int
    filter: int
    entry: int
    products: int = 0
    ready_at: int | None = None
    came_at: int | None = None
    climbs_at: int | None = None
    sums: dict[tuple[int, int, int], Any] = field(default_factory=dict)


class PlacedLayer:
    """One layer on the machine: which PE has which part of it, and in which order that comes."""

    def __init__(self, machine: Machine, options: Any, phase: Phase) -> None:
        self.machine, self.options, self.sim = machine, options, machine.sim
        self.layer: Any = phase.layers[0]
        self.shape = self.layer.shape
        letters: Any = phase.mapping
        self.m, self.n, self.e, self.p, self.q = (letters[k] for k in "mnepq")
        self.r, self.t, self.g, self.rows = (letters[k] for k in ("r", "t", "g", "rows"))
        self.pes, self.glb, self.noc = machine["pes"], machine["glb"], machine["noc"]
        self.relu, self.codec, self.dram = machine["relu"], machine["codec"], machine["dram"]
        self.inputs = np.asarray(self.layer.inputs).tolist()
        self.weights = np.asarray(self.layer.weights).tolist()
        self.bias = np.asarray(self.layer.bias).tolist()
        form = self.layer.formats["expected"]
        kind = np.float32 if form.is_float else np.int8 if form.bits <= 8 else np.int16
        self.outputs = np.zeros(self.shape.output_shape, dtype=kind)
        self.unfit = self.passes_done = self.cycles = 0
        self.stalls: dict[str, int] = {}
        self.chain, self.where = self._place_sets()
        # the input rows and columns that PEs ask for, in the order in which they are sent
        stride, dilation = self.shape.stride, self.shape.dilation
        self.row_offsets = sorted(
            {k * stride[0] + j * dilation[0] for k in range(self.e) for j in range(self.rows)}
        )
        self.span = (self.shape.kernel_width - 1) * dilation[1] + 1
        self.compressed_inputs = options.compression == "all" or (
            options.compression == "after_first" and not self.layer.reads_network_input
        )
        self._plane_words: dict[tuple[int, int], list[int]] = {}

    # what goes where

    def _place_sets(self) -> tuple[list[tuple[int, int]], dict[tuple[int, int, int, int, int], Any]]:
        """Lay the sets on the array from the bottom up, column of sets by column of sets."""
        height, width = self.pes.rows, self.pes.columns
        tall = self.r * self.rows  # of one chain: its sets stand on each other
        cuts = range(0, self.e, width)
        corners: list[list[tuple[int, int]]] = []  # of each chain: where each of its pieces begins
        if len(cuts) == 1:
            for left in range(0, width - self.e + 1, self.e):
                corners += [[(bottom, left)] for bottom in range(0, height - tall + 1, tall)]
        else:
            high = tall * len(cuts)
            for bottom in range(0, height - high + 1, high):
                corners.append([(bottom + i * tall, 0) for i in range(len(cuts))])
        where: dict[tuple[int, int, int, int, int], Any] = {}
        free = iter(corners)
        for group in range(self.g):
            for filters in range(self.t):
                pieces = next(free)
                for column in range(self.e):
                    bottom, left = pieces[column // width] if len(cuts) > 1 else pieces[0]
                    across = column % width if len(cuts) > 1 else left + column
                    for channels in range(self.r):
                        for row in range(self.rows):
                            pe = self.pes[bottom + channels * self.rows + row, across]
                            where[group, filters, channels, row, column] = pe
        chain = [(channels, row) for channels in range(self.r) for row in range(self.rows)]
        return chain, where

    def _tiles(self) -> Iterator[Tile]:
        shape = self.shape
        for groups in range(0, shape.groups, self.g):
            for filters in range(0, shape.group_out_channels, self.m):
                for images in range(0, shape.batch, self.n):
                    for strip in range(0, shape.out_height, self.e):
                        yield Tile(groups, filters, images, strip)

    def _visits(self, tile: Tile) -> Iterator[Visit]:
        for channels in range(0, self.shape.group_in_channels, self.q * self.r):
            for segment in range(0, self.shape.kernel_height, self.rows):
                yield Visit(tile, channels, segment)

    def _passes(self, visit: Visit) -> Iterator[Pass]:
        first = visit.tile.filters
        last = min(first + self.m, self.shape.group_out_channels)
        for number, _ in enumerate(range(first, last, self.p * self.t)):
            yield Pass(visit, number)

    def _columns(self) -> list[int]:
        shape = self.shape
        return sorted(
            {
                x * shape.stride[1] + s * shape.dilation[1]
                for x in range(shape.out_width)
                for s in range(shape.kernel_width)
            }
        )

    # is it part of the layer? None if not

    def _group(self, tile: Tile, group: int) -> int | None:
        there = tile.groups + group
        return there if there < self.shape.groups else None

    def _image(self, tile: Tile, image: int) -> int | None:
        there = tile.images + image
        return there if there < self.shape.batch else None

    def _filter(self, one: Pass, filters: int, f: int) -> int | None:
        """Number within its group of filter f of filter set `filters`."""
        first = one.visit.tile.filters
        there = first + (one.number * self.t + filters) * self.p + f
        return there if there < min(first + self.m, self.shape.group_out_channels) else None

    def _channel(self, visit: Visit, channels: int, c: int) -> int | None:
        there = visit.channels + channels * self.q + c
        return there if there < self.shape.group_in_channels else None

    def _kernel_row(self, visit: Visit, row: int) -> int | None:
        there = visit.segment + row
        return there if there < self.shape.kernel_height else None

    def _output_row(self, tile: Tile, column: int) -> int | None:
        there = tile.strip + column
        return there if there < self.shape.out_height else None

    def _input(
        self, visit: Visit, rows: set[int], image: int, group: int, channels: int, c: int, row: int, x: int
    ) -> Any:
        """Return one word of the input if it is loaded, None where padding or nothing is."""
        tile, shape = visit.tile, self.shape
        n, g, ch = self._image(tile, image), self._group(tile, group), self._channel(visit, channels, c)
        y = tile.strip * shape.stride[0] + visit.segment * shape.dilation[0] + row - shape.pad[0]
        x -= shape.pad[2]
        if n is None or g is None or ch is None or y not in rows or not 0 <= x < shape.in_width:
            return None
        return self.inputs[n][g * shape.group_in_channels + ch][y][x]

    def _weight(
        self, one: Pass, group: int, filters: int, channels: int, row: int, f: int, c: int, s: int
    ) -> Any:
        visit = one.visit
        g, m = self._group(visit.tile, group), self._filter(one, filters, f)
        ch, r = self._channel(visit, channels, c), self._kernel_row(visit, row)
        if g is None or m is None or ch is None or r is None:
            return None
        return self.weights[g * self.shape.group_out_channels + m][ch][r][s]
