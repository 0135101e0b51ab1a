"""The twin of `early_termination`: every lane of every PE, one weight at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import simpy

from simhw import core
from simhw.core.dataflow import Outcome, Phase
from simhw.core.machine import Machine
from simhw.stepped.lane_layout import Block, Layout, Round, Window

INPUTS, FILTERS, OUTPUTS = 0, 1, 10_000  # requesters of the link, by precedence
LOST = (
    "lockstep", "no_window", "parking", "stream", "barrier", "no_filter", "no_portion",
    "row_bus", "pooling", "dram_filters", "dram_inputs", "dram_outputs",
)  # fmt: skip
Steps = Generator[simpy.Event, Any, Any]


@dataclass
class Unit:
    """Weights that are loaded together, and the PEs that have still to use them."""

    round: Round | None
    filters: dict[int, int]  # by row of PEs: number within the group
    low: int
    high: int
    stream: int | None  # the group of windows for which they come, if not for all
    ready: simpy.Event
    freed: simpy.Event  # its value says whether any window goes on
    waiting: int
    asked: int = 0
    goes_on: bool = False


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
        self.pes, self.noc, self.dram = machine["pes"], machine["noc"], machine["dram"]
        self.spec = self.pes.spec
        letters: Any = phase.mapping
        self.kept_inputs = letters.get("inputs") == "chip"
        self.kept_outputs = letters.get("outputs") == "chip"
        self.layout = Layout(self.layer, options, letters, self.spec, self.pes.rows, self.pes.columns)
        self.index_bits = 1
        while 1 << self.index_bits < self.shape.window:
            self.index_bits += 1
        self.room = 2 if options.weight_buffer == "halves" else 1
        self.unit = max(self.spec.weight_words // 2, 1) if self.room == 2 else self.spec.weight_words
        long = self.shape.window > self.unit
        self.staged = long and options.long_filters == "staged"
        self.again = long and options.long_filters == "restreamed" and not self.layout.spread
        self.together = (options.pace == "column" or self.again) and not self.layout.spread
        kind = np.int8 if self.layer.formats["expected"].bits <= 8 else np.int16
        self.outputs = np.zeros(self.shape.output_shape, dtype=kind)
        self.walks: dict[tuple[int, int, int], list[list[Window]]] = {}  # row, column, filter
        self.units: list[list[Unit]] = [[] for _ in range(self.pes.columns)]
        self.news = [simpy.Event(self.sim) for _ in range(self.pes.columns)]  # of the next unit
        self.taken = {  # units of the rounds before
            (row, column): 0 for row in range(self.pes.rows) for column in range(self.pes.columns)
        }
        self.meetings: dict[tuple[int, int, int], list[Any]] = {}
        self.stalls: dict[str, int] = dict.fromkeys(("dram_inputs", "row_bus", "dram_outputs", "pooling"), 0)
        self.executed = self.cut = self.by_sign = self.by_prediction = self.cycles = 0
        self.missed: list[int] = []

    def _link_words(self, bits: int) -> int:
        return -(-bits // self.dram.spec.word_bits)

    # time

    def all(self) -> Steps:
        for column in range(self.pes.columns):
            self.sim.process(self._load(column))
        everybody = range(self.pes.rows)
        if self.options.barrier == "array" or self.layout.spread:
            yield from self._rounds(everybody, (INPUTS, OUTPUTS))
        else:
            rows = [
                self.sim.process(self._rounds([row], (row - self.pes.rows, OUTPUTS + row)))
                for row in everybody
            ]
            ended: Any = yield self.sim.all_of(rows)
            for row, process in enumerate(rows):
                for column in range(self.pes.columns):
                    self._wait(row, column, "no_portion", self.sim.cycle - ended[process])
        self.cycles = self.sim.cycle
        self.sim.activity.add("dram", "idle", self.cycles - self.sim.activity["dram", "busy"])

    def _rounds(self, rows: Sequence[int], requesters: tuple[int, int]) -> Generator[simpy.Event, Any, int]:
        """Go through the rounds with some rows of PEs, which meet at the end of each."""
        sim = self.sim
        written: simpy.Event | None = None
        for round in self.layout.rounds:
            present = [row for row in rows if row < self.layout.present(round)]
            if not present:
                continue
            yield from self._bring_inputs(round, present, rows, requesters[0])
            since = sim.cycle
            if written is not None:
                yield written
            self._stalled("dram_outputs", since, rows)
            begun = sim.cycle
            running = {
                (row, column): sim.process(self._pe(round, row, column))
                for row in present
                for column in range(self.pes.columns)
                if any(True for _ in self.layout.dealt(column))
            }
            ended: Any = yield sim.all_of(running.values())
            for row in rows:
                for column in range(self.pes.columns):
                    if row not in present:
                        self._wait(row, column, "no_portion", sim.cycle - begun)
                    elif (row, column) not in running:
                        self._wait(row, column, "no_filter", sim.cycle - begun)
                    else:
                        self._wait(row, column, "barrier", sim.cycle - ended[running[row, column]])
            values = yield from self._pool(round, present, rows)
            words = 0 if self.kept_outputs else self._link_words(values * self.spec.word_bits)
            written = self.dram.write(requesters[1], words)
        since = sim.cycle
        if written is not None:
            yield written
        self._stalled("dram_outputs", since, rows)
        return sim.cycle

    def _stalled(self, cause: str, since: int, rows: Sequence[int]) -> None:
        """Book a wait of some rows; if no row is left out, it is one of the whole array."""
        if self.options.barrier == "array" or self.layout.spread:
            self.stalls[cause] += self.sim.cycle - since
        for row in rows:
            for column in range(self.pes.columns):
                self._wait(row, column, cause, self.sim.cycle - since)

    def _wait(self, row: int, column: int, cause: str, cycles: int) -> None:
        for lane in self.pes[row, column].lanes:
            self.sim.activity.add(lane.name, cause, cycles)

    def _bring_inputs(
        self, round: Round, present: Sequence[int], rows: Sequence[int], requester: int
    ) -> Steps:
        taps = self.shape.kernel_height * self.shape.kernel_width
        channels = (round.end - round.first) // taps
        free = self.kept_inputs and self.options.activations == "as_printed"
        total = slowest = 0
        for row in present:
            block = round.blocks[0 if self.layout.spread else row]
            words = self.layout.plane_words(block)
            self._hold(block, words, channels)
            if row < len(round.blocks):
                total += words * channels
            if free:
                continue
            slowest = max(slowest, words * channels)
            self.noc.rows.count("send", words * channels)
            for column in range(self.pes.columns):
                self.noc.rows.count("receive", words * channels)
                self.pes[row, column].io.count("write", words * channels)
            if self.kept_inputs:
                for channel in range(channels):  # its filter was in this column
                    self.pes[row, channel % self.pes.columns].io.count("read", words)
        since = self.sim.cycle
        asked = 0 if self.kept_inputs else self._link_words(total * self.spec.word_bits)
        yield self.dram.read(requester, asked)
        self._stalled("dram_inputs", since, rows)
        carried = since + -(-slowest // self.noc.spec.row_words)
        since = self.sim.cycle
        if carried > since:
            yield self.sim.timeout(carried - since)
        self._stalled("row_bus", since, rows)

    def _hold(self, block: Block, words: int, channels: int) -> None:
        """See that a PE has room: for its inputs in one half, for what comes of them in the other."""
        half, windows = self.spec.half_words, len(block.places)
        assert words * channels <= half, f"{words} x {channels} inputs in {half}"
        filters = -(-self.shape.group_out_channels // self.pes.columns)
        parks = self.shape.window > self.unit and self.options.long_filters == "parked"
        sums = (-(-self.spec.sum_bits // self.spec.word_bits) if parks else 1) * windows
        held = (filters - 1) * windows + sums
        assert held <= half, f"{held} words of outputs and sums in {half}"

    def _pool(
        self, round: Round, present: Sequence[int], rows: Sequence[int]
    ) -> Generator[simpy.Event, Any, int]:
        """Pool what the round has computed; return the values that are left."""
        pool = self.layer.pool if self.options.pooling != "none" else None
        left = most = 0
        for row in present if round.last_slice else ():
            block = round.blocks[0 if self.layout.spread else row]
            ends, raw = (block.places, 0) if pool is None else self.layout.pooled(pool, block)
            for column in range(self.pes.columns):
                own = sum(row in filters for filters in self.layout.dealt(column))
                left += own * (len(ends) + raw)
                most = max(most, own * len(block.places))
                if pool is not None:
                    pe = self.pes[row, column]
                    pe.pool.count("take", own * len(block.places))
                    pe.io.count("read", own * len(block.places))
                    pe.io.count("write", own * len(ends))
        since = self.sim.cycle
        if pool is not None and self.options.pooling == "serial":
            yield self.sim.timeout(-(-most // self.spec.pool_words))
        self._stalled("pooling", since, rows)
        return left

    # a column's weights on their way

    def _load(self, column: int) -> Steps:
        bits = self.spec.word_bits + (self.index_bits if self.layout.stops else 0)
        for round in self.layout.rounds:
            for filters in self.layout.dealt(column):
                filters = {p: f for p, f in filters.items() if p < self.layout.present(round)}
                for stream in self._streams(round):
                    yield from self._load_stream(column, round, filters, stream, bits)
        self._announce(column, Unit(None, {}, 0, 0, None, simpy.Event(self.sim), simpy.Event(self.sim), 0))

    def _streams(self, round: Round) -> list[int | None]:
        """Return the groups of windows for each of which filters come by themselves, or [None]."""
        if not self.again:
            return [None]
        return list(range(max(len(block.groups) for block in round.blocks)))

    def _load_stream(
        self, column: int, round: Round, filters: dict[int, int], stream: int | None, bits: int
    ) -> Steps:
        step = round.end - round.first if self.staged else self.unit
        for i, low in enumerate(range(round.first, round.end, step)):
            number = len(self.units[column])
            goes_on = True
            if number >= self.room:
                goes_on = yield self.units[column][number - self.room].freed
            if i >= self.room and not goes_on:
                return
            high = min(low + step, round.end)
            unit = Unit(
                round, filters, low, high, stream, simpy.Event(self.sim), simpy.Event(self.sim),
                self.layout.present(round), self.sim.cycle,
            )  # fmt: skip
            self._announce(column, unit)
            copies = len(filters) if self.layout.spread else 1
            yield self.dram.read(FILTERS + column, self._link_words((high - low) * copies * bits))
            if not self.staged:
                self._carry(column, (high - low) * copies)
                for row in filters:
                    self._draw(row, column, high - low)
            unit.ready.succeed()

    def _announce(self, column: int, unit: Unit) -> None:
        self.units[column].append(unit)
        self.news[column].succeed()
        self.news[column] = simpy.Event(self.sim)

    def _carry(self, column: int, words: int) -> None:
        self.noc.columns.count("send", words * (2 if self.layout.stops else 1))

    def _draw(self, row: int, column: int, words: int) -> None:
        """Weights and their indices arrive in a PE's buffers."""
        self.noc.columns.count("receive", words * (2 if self.layout.stops else 1))
        pe = self.pes[row, column]
        pe.weights.count("write", words)
        if self.layout.stops:
            pe.indexes.count("write", words)

    # one PE

    def _pe(self, round: Round, row: int, column: int) -> Generator[simpy.Event, Any, int]:
        sim, number = self.sim, self.taken[row, column]
        while True:
            since = sim.cycle
            unit = yield from self._announced(column, number)
            while unit.round is not None and unit.round.number < round.number:  # this row had no part in it
                number += 1
                unit = yield from self._announced(column, number)
            if unit.round is not round:
                self.taken[row, column] = number
                return since
            yield unit.ready
            held = min(max(unit.asked - since, 0), sim.cycle - since)
            self._wait(row, column, "stream", held)
            self._wait(row, column, "dram_filters", sim.cycle - since - held)
            yield from self._use(unit, number, row, column)
            unit.waiting -= 1
            if not unit.waiting:
                unit.freed.succeed(unit.goes_on)
            number += 1

    def _announced(self, column: int, number: int) -> Generator[simpy.Event, Any, Unit]:
        while len(self.units[column]) <= number:
            yield self.news[column]
        return self.units[column][number]

    def _use(self, unit: Unit, number: int, row: int, column: int) -> Steps:
        """Take a unit of weights to all windows that want it."""
        round: Any = unit.round
        groups: list[list[Window]] = []
        m = -1
        if row in unit.filters:
            m = self.layout.turns[round.group][unit.filters[row]]
            groups = self._walk(round, row, column, m)
        most = max(len(block.groups) for block in round.blocks) if self.together else len(groups)
        for j in range(most) if unit.stream is None else [unit.stream]:
            products = 0
            if j < len(groups):
                alone = len(groups) == 1 or self.again
                products = yield from self._group(
                    unit, self.pes[row, column], groups[j], m,
                    takes=unit.low > 0 and (not alone or unit.low == round.first),
                    lays=not alone or unit.high == round.end,
                )  # fmt: skip
                unit.goes_on |= any(not window.stopped for window in groups[j])
            if self.staged and not self.together:
                self._carry(column, products)
                self._draw(row, column, products)
            if self.together:
                yield from self._meet(number, unit, j, row, column, products)

    def _walk(self, round: Round, row: int, column: int, m: int) -> list[list[Window]]:
        block = round.blocks[0 if self.layout.spread else row]
        key = (row, column, m)
        begun = self.walks.get(key)
        if begun is None or (begun[0][0].image, begun[0][0].row, begun[0][0].column) != (
            block.image, *block.groups[0][0],
        ):  # fmt: skip
            begun = [
                [Window(block.image, y, x, self.layout.bias[m]) for y, x in group] for group in block.groups
            ]
            self.walks[key] = begun
        return begun

    def _meet(self, number: int, unit: Unit, j: int, row: int, column: int, products: int) -> Steps:
        """Wait for the slowest PE of the column."""
        key = (column, number, j)
        event, arrived = self.meetings.setdefault(key, [simpy.Event(self.sim), []])
        arrived.append(products)
        since = self.sim.cycle
        if len(arrived) < self.layout.present(unit.round):  # type: ignore[arg-type]
            yield event
            self._wait(row, column, "stream", self.sim.cycle - since)
            return
        if self.staged:
            self._carry(column, max(arrived))
            for p in unit.filters:
                self._draw(p, column, max(arrived))
        event.succeed()

    def _group(
        self, unit: Unit, pe: Any, group: list[Window], m: int, *, takes: bool, lays: bool
    ) -> Generator[simpy.Event, Any, int]:
        """Take a unit of weights to one group of windows; return the weights it took."""
        going = [window for window in group if not window.stopped]
        if takes and going:
            yield from self._park(pe, len(going), "read")
        for lane, window in zip(pe.lanes, group, strict=False):
            lane.sum = window.sum
        at = unit.low
        while at < unit.high and not all(window.stopped for window in group):
            self._step(pe, group, m, at)
            at += 1
            yield self.sim.timeout(1)
        for lane, window in zip(pe.lanes, group, strict=False):
            window.sum = lane.sum
        going = [window for window in group if not window.stopped]
        if lays and going:
            yield from self._park(pe, len(going), "write")
        return at - unit.low

    def _park(self, pe: Any, sums: int, action: str) -> Steps:
        """Sums move between the lanes and the memory, those of all lanes together."""
        words = -(-self.spec.sum_bits // self.spec.word_bits)
        pe.io.count(action, sums * words)
        for lane in pe.lanes:
            self.sim.activity.add(lane.name, "parking", words)
        yield self.sim.timeout(words)

    def _step(self, pe: Any, group: list[Window], m: int, at: int) -> None:
        """One weight, in all lanes."""
        weights, order, falls_from, speculating, threshold = self.layout.filters[m]
        inclusive = self.options.test == "at_or_below"
        pe.weights.count("read")
        if self.layout.stops:
            pe.indexes.count("read")
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
            lane.multiply_accumulate(weights[at], self.layout.input(window, m, order[at]))
            if speculating and at == speculating - 1:
                if pe.paus[number].predict(lane.sum, threshold, inclusive):
                    self.by_prediction += 1
                    if self._complete(window, m) > 0:
                        self.missed.append(self._complete(window, m))
                    self._stop(pe, window, m, len(weights) - at - 1)
            elif at >= falls_from and pe.paus[number].check(lane.sum, inclusive):
                self.by_sign += 1
                self._stop(pe, window, m, len(weights) - at - 1)
            if at == len(weights) - 1 and not window.stopped:
                window.stopped = True
                self._put_out(pe, window, m, self._finish(lane.sum))

    def _stop(self, pe: Any, window: Window, m: int, left: int) -> None:
        window.stopped = True
        self.cut += left
        self._put_out(pe, window, m, 0)

    def _complete(self, window: Window, m: int) -> int:
        """Return what the sum would have come to."""
        weights, order, *_ = self.layout.filters[m]
        products = (w * self.layout.input(window, m, place) for w, place in zip(weights, order, strict=True))
        return self.layout.bias[m] + sum(products)

    def _positive(self) -> int:
        """Return how many windows would have come to a sum above zero."""
        shape = self.shape
        return sum(
            self._complete(Window(image, row, column), m) > 0
            for image in range(shape.batch)
            for m in range(shape.out_channels)
            for row in range(shape.out_height)
            for column in range(shape.out_width)
        )

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

    def _lost(self) -> dict[str, int]:
        """Return the cycles of all lanes in which they did no product, by cause."""
        lost: dict[str, int] = dict.fromkeys(LOST, 0)
        for lane, cause, cycles in self.sim.activity.items():
            if ".lane" in lane and cause != "busy":
                lost[cause] += cycles
        return lost

    def details(self) -> dict[str, Any]:
        scale = 2.0 ** -self.layer.formats["bias"].fraction
        found = {
            "cycles": self.cycles,
            "stall_cycles": {cause: n for cause, n in self.stalls.items() if n},
            "macs_executed": self.executed,
            "rounds": len(self.layout.rounds),
            "macs_cut": self.cut,
            "windows_stopped_by_sign": self.by_sign,
            "windows_stopped_by_prediction": self.by_prediction,
            "lost_lane_cycles": self._lost(),
            "termination": f"off: {self.layout.why_not}" if self.layout.why_not else "exact",
        }
        if self.layout.stops:
            found["index_bits"] = self.index_bits * self.shape.out_channels * self.shape.window
        if self.layout.stops and any(speculating for *_, speculating, _ in self.layout.filters):
            found |= {
                "termination": "predictive",
                "positive_windows": self._positive(),
                "mispredictions": len(self.missed),
                "mispredicted_max": max(self.missed, default=0) * scale,
                "mispredicted_mean": sum(self.missed) / len(self.missed) * scale if self.missed else 0.0,
            }
        return found
