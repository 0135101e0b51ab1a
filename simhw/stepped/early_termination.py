"""The twin of `early_termination`: every lane of every PE, one weight at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import simpy

from simhw import core
from simhw.core.dataflow import Outcome, Phase
from simhw.core.machine import Machine

INPUTS, FILTERS, OUTPUTS = 0, 1, 10_000  # requesters of the link, by precedence


@dataclass
class Window:
    """One convolution window in a lane: where it lies, and how far it has come."""

    image: int
    row: int
    column: int
    stopped: bool = False


@dataclass
class Walk:
    """A PE on its way through its windows with one filter."""

    groups: list[list[Window]]
    number: int = 0  # of the group at work
    at: int = 0  # of the weight to come
    begun: bool = False

    @property
    def finished(self) -> bool:
        return self.number == len(self.groups)


@dataclass
class Block:
    """A portion: one row of PEs has its windows."""

    image: int
    windows: list[Window] = field(default_factory=list)
    words: int = 0


class EarlyTerminationTwin(core.Twin, kind="early_termination"):
    """SnaPEA, lane by lane."""

    def run(self, machine: Machine, phase: Phase) -> Generator[simpy.Event, Any, Outcome]:
        run = LayerRun(machine, self.options, phase)
        yield from run.all()
        return Outcome(outputs={run.layer.name: run.outputs}, details={run.layer.name: run.details()})


class LayerRun:
    """One layer on the machine."""

    def __init__(self, machine: Machine, options: Any, phase: Phase) -> None:
        self.machine, self.options, self.sim = machine, options, machine.sim
        self.layer: Any = phase.layers[0]
        self.shape = self.layer.shape
        letters: Any = phase.mapping
        self.high, self.wide = letters["portion_rows"], letters["portion_columns"]
        self.pes, self.noc, self.dram = machine["pes"], machine["noc"], machine["dram"]
        self.inputs = np.asarray(self.layer.inputs).tolist()
        self.stops = self._may_stop()
        self.weights, self.order, self.negatives_from = self._filters()
        self.bias = np.asarray(self.layer.bias).tolist()
        kind = np.int8 if self.layer.formats["expected"].bits <= 8 else np.int16
        self.outputs = np.zeros(self.shape.output_shape, dtype=kind)
        self.room = [simpy.Container(self.sim, capacity=2, init=2) for _ in range(self.pes.columns)]
        self.staged = [simpy.Store(self.sim) for _ in range(self.pes.columns)]
        self.stalls = {"dram_inputs": 0, "dram_outputs": 0}
        self.rounds = self.executed = self.cut = self.by_sign = self.cycles = 0

    def _may_stop(self) -> bool:
        if self.options.termination == "off" or self.layer.ordering is None:
            return False
        values = (v for image in self.inputs for plane in image for row in plane for v in row)
        return self.layer.activation in ("relu", "relu6") and all(v >= 0 for v in values)

    def _filters(self) -> tuple[list[list[int]], list[list[int]], list[int]]:
        """Return weights and their places (c, r, s) flattened, in the order of execution."""
        flat = np.asarray(self.layer.weights).reshape(self.shape.out_channels, -1).tolist()
        if not self.stops:
            size = len(flat[0])
            return flat, [list(range(size)) for _ in flat], [size for _ in flat]
        weights, order, falling = [], [], []
        for filter in flat:
            raising = [i for i, w in enumerate(filter) if w >= 0]
            lowering = [i for i, w in enumerate(filter) if w < 0]
            order.append(raising + lowering)
            weights.append([filter[i] for i in order[-1]])
            falling.append(len(raising))
        return weights, order, falling

    def _rounds(self) -> Iterator[tuple[int, list[Block]]]:
        """Yield (group, a portion for each row of PEs)."""
        shape = self.shape
        for group in range(shape.groups):
            blocks: list[Block] = []
            for image in range(shape.batch):
                for top in range(0, shape.out_height, self.high):
                    for left in range(0, shape.out_width, self.wide):
                        blocks.append(self._block(image, top, left))
            for first in range(0, len(blocks), self.pes.rows):
                yield group, blocks[first : first + self.pes.rows]

    def _block(self, image: int, top: int, left: int) -> Block:
        shape = self.shape
        block = Block(image)
        for y in range(top, min(top + self.high, shape.out_height)):
            for x in range(left, min(left + self.wide, shape.out_width)):
                block.windows.append(Window(image, y, x))
        ys = [w.row * shape.stride[0] - shape.pad[0] for w in block.windows]
        xs = [w.column * shape.stride[1] - shape.pad[2] for w in block.windows]
        tall, broad = (
            (shape.kernel_height - 1) * shape.dilation[0],
            (shape.kernel_width - 1) * shape.dilation[1],
        )
        rows = [y for y in range(min(ys), max(ys) + tall + 1) if 0 <= y < shape.in_height]
        columns = [x for x in range(min(xs), max(xs) + broad + 1) if 0 <= x < shape.in_width]
        block.words = len(rows) * len(columns) * shape.group_in_channels
        return block

    def _dealt(self, column: int) -> range:
        """Return the filters, within a group, that a column has."""
        return range(column, self.shape.group_out_channels, self.pes.columns)

    def _link_words(self, bits: int) -> int:
        return -(-bits // self.dram.spec.word_bits)

    # time

    def all(self) -> Generator[simpy.Event, Any, None]:
        sim, bits = self.sim, self.pes.spec.word_bits
        for column in range(self.pes.columns):
            sim.process(self._stage(column))
        written: simpy.Event | None = None
        for group, blocks in self._rounds():
            self.rounds += 1
            since = sim.cycle
            yield self.dram.read(INPUTS, self._link_words(sum(b.words for b in blocks) * bits))
            self._broadcast(blocks)
            self._stalled("dram_inputs", since)
            since = sim.cycle
            if written is not None:
                yield written
            self._stalled("dram_outputs", since)
            running = [sim.process(self._column(group, blocks, column)) for column in range(self.pes.columns)]
            ended = yield sim.all_of(running)
            for column, process in enumerate(running):
                self._wait(range(self.pes.rows), column, "columns", sim.cycle - ended[process])
            values = sum(len(b.windows) for b in blocks) * self.shape.group_out_channels
            written = self.dram.write(OUTPUTS, self._link_words(values * bits))
        since = sim.cycle
        if written is not None:
            yield written
        self._stalled("dram_outputs", since)
        self.cycles = sim.cycle
        sim.activity.add("dram", "idle", self.cycles - sim.activity["dram", "busy"])

    def _stalled(self, cause: str, since: int) -> None:
        self.stalls[cause] += self.sim.cycle - since
        for column in range(self.pes.columns):
            self._wait(range(self.pes.rows), column, cause, self.sim.cycle - since)

    def _wait(self, rows: Any, column: int, cause: str, cycles: int) -> None:
        for row in rows:
            for lane in self.pes[row, column].lanes:
                self.sim.activity.add(lane.name, cause, cycles)

    def _broadcast(self, blocks: list[Block]) -> None:
        for row, block in enumerate(blocks):
            self.noc.rows.count("send", block.words)
            for column in range(self.pes.columns):
                self.noc.rows.count("receive", block.words)
                self.pes[row, column].io.count("write", block.words)

    def _stage(self, column: int) -> Generator[simpy.Event, Any, None]:
        size = self.shape.window
        index_bits = 1
        while 1 << index_bits < size:
            index_bits += 1
        words = self._link_words(size * (self.pes.spec.word_bits + index_bits))
        for _ in self._rounds():
            for filter in self._dealt(column):
                yield self.room[column].get(1)
                yield self.dram.read(FILTERS + column, words)
                yield self.staged[column].put(filter)

    def _column(self, group: int, blocks: list[Block], column: int) -> Generator[simpy.Event, Any, int]:
        sim, lanes = self.sim, self.pes.spec.lanes
        resident = self.shape.window <= self.pes.spec.weight_words
        for filter in self._dealt(column):
            since = sim.cycle
            yield self.staged[column].get()
            self._wait(range(self.pes.rows), column, "dram_filters", sim.cycle - since)
            m = group * self.shape.group_out_channels + filter
            walks = []
            for block in blocks:
                fresh = [Window(w.image, w.row, w.column) for w in block.windows]
                walks.append(Walk([fresh[i : i + lanes] for i in range(0, len(fresh), lanes)]))
            if resident:
                for _ in range(self.shape.window):
                    self._send_weight(column)
            together = 0  # of streamed filters: the group that all PEs of the column are at
            while not all(walk.finished for walk in walks):
                if not resident:
                    self._send_weight(column)
                for row in range(self.pes.rows):
                    walk = walks[row] if row < len(walks) else None
                    if walk is None or walk.finished or (not resident and walk.number > together):
                        self._wait([row], column, "rows", 1)
                    else:
                        self._step(self.pes[row, column], walk, m)
                if all(walk.finished or walk.number > together for walk in walks):
                    together += 1
                yield sim.timeout(1)
            yield self.room[column].put(1)
        return sim.cycle

    def _send_weight(self, column: int) -> None:
        """One weight and its index, to all PEs of the column."""
        self.noc.columns.count("send", 2)
        for row in range(self.pes.rows):
            self.noc.columns.count("receive", 2)
            pe = self.pes[row, column]
            pe.weights.count("write")
            pe.indexes.count("write")

    # one PE, one cycle

    def _step(self, pe: Any, walk: Walk, m: int) -> None:
        group, at = walk.groups[walk.number], walk.at
        if not walk.begun:
            walk.begun = True
            for lane, _ in zip(pe.lanes, group, strict=False):
                lane.sum = self.bias[m]
        pe.weights.count("read")
        pe.indexes.count("read")
        size = len(self.weights[m])
        for number, lane in enumerate(pe.lanes):
            if number >= len(group):
                self.sim.activity.add(lane.name, "no_window")
                continue
            window = group[number]
            if window.stopped:
                self.sim.activity.add(lane.name, "lockstep")
                continue
            self.sim.activity.add(lane.name, "busy")
            self.executed += 1
            pe.io.count("read")
            lane.multiply_accumulate(self.weights[m][at], self._input(window, m, self.order[m][at]))
            if at >= self.negatives_from[m]:
                at_or_below = self.options.test == "at_or_below"
                if pe.paus[number].check(lane.sum, at_or_below):
                    window.stopped = True
                    self.by_sign += 1
                    self.cut += size - at - 1
                    self._put_out(pe, window, m, 0)
            if at == size - 1 and not window.stopped:
                window.stopped = True
                self._put_out(pe, window, m, self._finish(lane.sum))
        walk.at += 1
        if all(window.stopped for window in group):
            walk.number, walk.at, walk.begun = walk.number + 1, 0, False

    def _input(self, window: Window, m: int, place: int) -> int:
        shape = self.shape
        taps = shape.kernel_height * shape.kernel_width
        channel, tap = divmod(place, taps)
        r, s = divmod(tap, shape.kernel_width)
        y = window.row * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
        x = window.column * shape.stride[1] + s * shape.dilation[1] - shape.pad[2]
        if not (0 <= y < shape.in_height and 0 <= x < shape.in_width):
            return 0
        channel += m // shape.group_out_channels * shape.group_in_channels
        return self.inputs[window.image][channel][y][x]

    def _put_out(self, pe: Any, window: Window, m: int, value: int) -> None:
        pe.io.count("write")
        self.outputs[window.image, m, window.row, window.column] = value

    def _finish(self, total: int) -> int:
        form = self.layer.formats["expected"]
        value = round(Fraction(total) / Fraction(2) ** self.layer.shift)
        value = min(max(value, form.lowest), form.highest)
        if self.layer.activation is not None:
            value = max(value, 0)
        if self.layer.activation == "relu6":
            value = min(value, round(Fraction(6) * 2**form.fraction), form.highest)
        return value

    def details(self) -> dict[str, Any]:
        return {
            "cycles": self.cycles,
            "stall_cycles": {cause: n for cause, n in self.stalls.items() if n},
            "macs_executed": self.executed,
            "rounds": self.rounds,
            "macs_cut": self.cut,
            "windows_stopped_by_sign": self.by_sign,
        }
