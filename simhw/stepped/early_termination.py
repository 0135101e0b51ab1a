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
Steps = Generator[simpy.Event, Any, Any]


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
        self.high, self.wide = letters["portion_rows"], letters["portion_columns"]
        self.kept_inputs = letters.get("inputs") == "chip"
        self.kept_outputs = letters.get("outputs") == "chip"
        self.inputs = np.asarray(self.layer.inputs).tolist()
        self.bias = np.asarray(self.layer.bias).tolist()
        self.slices = self._slices()
        self.raised = [0] * self.shape.in_channels
        self.stops = self._may_stop()
        self.filters = self._filters()
        self.rounds = list(self._rounds())
        self.spread = options.one_portion == "pes" and sum(len(r.blocks) for r in self.rounds[:1]) == 1
        self.spread = self.spread and len(self.rounds) == self.shape.groups * len(self.slices)
        self.room = 2 if options.weight_buffer == "halves" else 1
        self.unit = max(self.spec.weight_words // 2, 1) if self.room == 2 else self.spec.weight_words
        long = self.shape.window > self.unit
        self.staged = long and options.long_filters == "staged"
        self.again = long and options.long_filters == "restreamed" and not self.spread
        self.together = (options.pace == "column" or self.again) and not self.spread
        kind = np.int8 if self.layer.formats["expected"].bits <= 8 else np.int16
        self.outputs = np.zeros(self.shape.output_shape, dtype=kind)
        self.walks: dict[tuple[int, int, int], list[list[Window]]] = {}  # row, column, filter
        self.units: list[list[Unit]] = [[] for _ in range(self.pes.columns)]
        self.news = [simpy.Event(self.sim) for _ in range(self.pes.columns)]  # of the next unit
        self.taken = [0] * self.pes.columns  # units of the rounds before
        self.meetings: dict[tuple[int, int, int], list[Any]] = {}
        self.stalls: dict[str, int] = dict.fromkeys(("dram_inputs", "row_bus", "dram_outputs", "pooling"), 0)
        self.executed = self.cut = self.by_sign = self.by_prediction = self.cycles = 0
        self.missed: list[int] = []

    # what may stop, and the order of the weights

    def _may_stop(self) -> bool:
        layer, options = self.layer, self.options
        if options.termination == "off" or layer.ordering is None or len(self.slices) > 1:
            return False
        if layer.activation not in ("relu", "relu6"):
            return False
        lows, highs = [0] * self.shape.in_channels, [0] * self.shape.in_channels
        for image in self.inputs:
            for c, plane in enumerate(image):
                lows[c] = min([lows[c], *(v for line in plane for v in line)])
                highs[c] = max([highs[c], *(v for line in plane for v in line)])
        if not any(lows):
            return True
        if options.signed_inputs == "whole" or max(h - v for h, v in zip(highs, lows, strict=True)) > 32767:
            return False
        self.raised = [-low for low in lows]
        return True

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
            groups, threshold = int(self.layer.ordering.prefix[m]), int(self.layer.ordering.thresholds[m])
            chosen = self._speculating(filter, groups)
            rest = [i for i in range(len(filter)) if i not in chosen]
            falling = [i for i in rest if filter[i] < 0]
            if self.options.negatives == "magnitude":
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
            for start in range(0, len(blocks), self.pes.rows):
                for first, end in self.slices:
                    own = blocks[start : start + self.pes.rows]
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

    def _plane_words(self, block: Block) -> int:
        """Return the values of one channel of the inputs under a portion's windows."""
        shape = self.shape
        ys = [y * shape.stride[0] - shape.pad[0] for y, _ in block.places]
        xs = [x * shape.stride[1] - shape.pad[2] for _, x in block.places]
        tall = (shape.kernel_height - 1) * shape.dilation[0]
        broad = (shape.kernel_width - 1) * shape.dilation[1]
        rows = [y for y in range(min(ys), max(ys) + tall + 1) if 0 <= y < shape.in_height]
        columns = [x for x in range(min(xs), max(xs) + broad + 1) if 0 <= x < shape.in_width]
        return len(rows) * len(columns)

    def _present(self, round: Round) -> int:
        return self.pes.rows if self.spread else len(round.blocks)

    def _dealt(self, column: int) -> Iterator[dict[int, int]]:
        """Yield, step by step, the filters (within the group) that the rows of a column work on."""
        filters, columns = range(self.shape.group_out_channels), self.pes.columns
        if not self.spread:
            for filter in filters[column::columns]:
                yield dict.fromkeys(range(self.pes.rows), filter)
            return
        for first in range(column, len(filters), columns * self.pes.rows):
            own = {p: first + p * columns for p in range(self.pes.rows)}
            yield {p: filter for p, filter in own.items() if filter in filters}

    def _link_words(self, bits: int) -> int:
        return -(-bits // self.dram.spec.word_bits)

    # time

    def all(self) -> Steps:
        sim = self.sim
        for column in range(self.pes.columns):
            sim.process(self._load(column))
        written: simpy.Event | None = None
        for round in self.rounds:
            yield from self._bring_inputs(round)
            since = sim.cycle
            if written is not None:
                yield written
            self._stalled("dram_outputs", since)
            begun = sim.cycle
            running = {
                (row, column): sim.process(self._pe(round, row, column))
                for row in range(self._present(round))
                for column in range(self.pes.columns)
                if any(True for _ in self._dealt(column))
            }
            ended: Any = yield sim.all_of(running.values())
            for row in range(self.pes.rows):
                for column in range(self.pes.columns):
                    if row >= self._present(round):
                        self._wait(row, column, "no_portion", sim.cycle - begun)
                    elif (row, column) not in running:
                        self._wait(row, column, "no_filter", sim.cycle - begun)
                    else:
                        self._wait(row, column, "barrier", sim.cycle - ended[running[row, column]])
            for column in range(self.pes.columns):
                self.taken[column] = sum(
                    unit.round is not None and unit.round.number <= round.number
                    for unit in self.units[column]
                )
            values = yield from self._pool(round)
            words = 0 if self.kept_outputs else self._link_words(values * self.spec.word_bits)
            written = self.dram.write(OUTPUTS, words)
        since = sim.cycle
        if written is not None:
            yield written
        self._stalled("dram_outputs", since)
        self.cycles = sim.cycle
        sim.activity.add("dram", "idle", self.cycles - sim.activity["dram", "busy"])

    def _stalled(self, cause: str, since: int) -> None:
        self.stalls[cause] += self.sim.cycle - since
        for row in range(self.pes.rows):
            for column in range(self.pes.columns):
                self._wait(row, column, cause, self.sim.cycle - since)

    def _wait(self, row: int, column: int, cause: str, cycles: int) -> None:
        for lane in self.pes[row, column].lanes:
            self.sim.activity.add(lane.name, cause, cycles)

    def _bring_inputs(self, round: Round) -> Steps:
        taps = self.shape.kernel_height * self.shape.kernel_width
        channels = (round.end - round.first) // taps
        free = self.kept_inputs and self.options.activations == "as_printed"
        total = slowest = 0
        for row in range(self._present(round)):
            words = self._plane_words(round.blocks[0 if self.spread else row])
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
        yield self.dram.read(INPUTS, asked)
        self._stalled("dram_inputs", since)
        carried = since + -(-slowest // self.noc.spec.row_words)
        since = self.sim.cycle
        if carried > since:
            yield self.sim.timeout(carried - since)
        self._stalled("row_bus", since)

    def _pool(self, round: Round) -> Generator[simpy.Event, Any, int]:
        """Pool what the round has computed; return the values that are left."""
        pool = self.layer.pool if self.options.pooling != "none" else None
        left = most = 0
        for row in range(self._present(round) if round.last_slice else 0):
            block = round.blocks[0 if self.spread else row]
            ends, raw = (block.places, 0) if pool is None else self._pooled(pool, block)
            for column in range(self.pes.columns):
                own = sum(row in filters for filters in self._dealt(column))
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
        self._stalled("pooling", since)
        return left

    def _pooled(self, pool: Any, block: Block) -> tuple[list[tuple[int, int]], int]:
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

    # a column's weights on their way

    def _load(self, column: int) -> Steps:
        index_bits = 1
        while 1 << index_bits < self.shape.window:
            index_bits += 1
        bits = self.spec.word_bits + (index_bits if self.stops else 0)
        for round in self.rounds:
            for filters in self._dealt(column):
                filters = {p: f for p, f in filters.items() if p < self._present(round)}
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
                self._present(round), self.sim.cycle,
            )  # fmt: skip
            self._announce(column, unit)
            copies = len(filters) if self.spread else 1
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
        self.noc.columns.count("send", words * (2 if self.stops else 1))

    def _draw(self, row: int, column: int, words: int) -> None:
        """Weights and their indices arrive in a PE's buffers."""
        self.noc.columns.count("receive", words * (2 if self.stops else 1))
        pe = self.pes[row, column]
        pe.weights.count("write", words)
        if self.stops:
            pe.indexes.count("write", words)

    # one PE

    def _pe(self, round: Round, row: int, column: int) -> Generator[simpy.Event, Any, int]:
        sim, number = self.sim, self.taken[column]
        while True:
            since = sim.cycle
            while len(self.units[column]) <= number:
                yield self.news[column]
            unit = self.units[column][number]
            if unit.round is not round:
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

    def _use(self, unit: Unit, number: int, row: int, column: int) -> Steps:
        """Take a unit of weights to all windows that want it."""
        round: Any = unit.round
        groups: list[list[Window]] = []
        m = -1
        if row in unit.filters:
            m = round.group * self.shape.group_out_channels + unit.filters[row]
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
        block = round.blocks[0 if self.spread else row]
        key = (row, column, m)
        begun = self.walks.get(key)
        if begun is None or (begun[0][0].image, begun[0][0].row, begun[0][0].column) != (
            block.image, *block.groups[0][0],
        ):  # fmt: skip
            begun = [[Window(block.image, y, x, self.bias[m]) for y, x in group] for group in block.groups]
            self.walks[key] = begun
        return begun

    def _meet(self, number: int, unit: Unit, j: int, row: int, column: int, products: int) -> Steps:
        """Wait for the slowest PE of the column."""
        key = (column, number, j)
        event, arrived = self.meetings.setdefault(key, [simpy.Event(self.sim), []])
        arrived.append(products)
        since = self.sim.cycle
        if len(arrived) < self._present(unit.round):  # type: ignore[arg-type]
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
        weights, order, falls_from, speculating, threshold = self.filters[m]
        inclusive = self.options.test == "at_or_below"
        pe.weights.count("read")
        if self.stops:
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
            lane.multiply_accumulate(weights[at], self._input(window, m, order[at]))
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
        weights, order, *_ = self.filters[m]
        products = (w * self._input(window, m, place) for w, place in zip(weights, order, strict=True))
        return self.bias[m] + sum(products)

    def _input(self, window: Window, m: int, place: int) -> int:
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
        scale = 2.0 ** -self.layer.formats["bias"].fraction
        found = {
            "cycles": self.cycles,
            "stall_cycles": {cause: n for cause, n in self.stalls.items() if n},
            "macs_executed": self.executed,
            "rounds": len(self.rounds),
            "macs_cut": self.cut,
            "windows_stopped_by_sign": self.by_sign,
            "windows_stopped_by_prediction": self.by_prediction,
        }
        if self.stops and any(speculating for *_, speculating, _ in self.filters):
            found |= {
                "mispredictions": len(self.missed),
                "mispredicted_max": max(self.missed, default=0) * scale,
                "mispredicted_mean": sum(self.missed) / len(self.missed) * scale if self.missed else 0.0,
            }
        return found
