"""The twin of `subexpression_reuse`: every reuse block, PE and bus, one cycle at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import simpy

from simhw import core
from simhw.core.dataflow import Outcome, Phase
from simhw.core.machine import Machine

BIAS_BITS = 32

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
    first: bool = False  # of its sums


@dataclass
class Block:
    image_range: range
    group: int
    out_rows: range
    filters: range
    units: range
    ends_tile: bool
    generation: int = 0  # of the inputs it works on


class SubexpressionReuseTwin(core.Twin, kind="subexpression_reuse"):
    """The reuse array, block by block and PE by PE."""

    def run(self, machine: Machine, phase: Phase) -> Generator[simpy.Event, Any, Outcome]:
        run = LayerRun(machine, self.options, phase, machine["reuse"])
        yield from run.all()
        return Outcome(outputs={run.layer.name: run.outputs}, details={run.layer.name: run.details()})


class UnrolledRowsTwin(core.Twin, kind="unrolled_rows"):
    """The unrolled row-stationary array, PE by PE."""

    def run(self, machine: Machine, phase: Phase) -> Generator[simpy.Event, Any, Outcome]:
        run = LayerRun(machine, self.options, phase, None)
        yield from run.all()
        return Outcome(outputs={run.layer.name: run.outputs}, details={run.layer.name: run.details()})


class LayerRun:
    """One layer on the machine."""

    def __init__(self, machine: Machine, options: Any, phase: Phase, reuse: Any) -> None:
        self.machine, self.options, self.sim, self.reuse = machine, options, machine.sim, reuse
        self.layer: Any = phase.layers[0]
        self.shape = self.layer.shape
        self.letters: Any = dict(phase.mapping)
        self.pes, self.psums, self.glb = machine["pes"], machine["psums"], machine["glb"]
        self.noc, self.relu, self.dram = machine["noc"], machine["relu"], machine["dram"]
        self.inputs = np.asarray(self.layer.inputs).tolist()
        self.bias = np.asarray(self.layer.bias).tolist()
        self._take_weights()
        kind = np.int8 if self.layer.formats["expected"].bits <= 8 else np.int16
        self.outputs = np.zeros(self.shape.output_shape, dtype=kind)
        self.stalls: dict[str, int] = {}
        self.cycles = self.steps = self.multiplications = 0

    def _take_weights(self) -> None:
        """Cut each filter into runs: {(filter, run): coefficients}, and what a run's windows look like."""
        shape = self.shape
        record = self.layer.fit if self.reuse is not None else None
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
            words = np.asarray(self.layer.coefficients).tolist()
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
        return len(self.layer.fit) - 2 if weights > 1 else 1

    # what is done in which order

    def _blocks(self) -> Iterator[Block]:
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

    def _place(self, block: Block, image: int, weight: int, e: int, f: int) -> Place:
        """Return the input that a weight, counted in its filter, meets in the window of output (e, f)."""
        shape = self.shape
        channel, tap = divmod(weight, shape.kernel_height * shape.kernel_width)
        r, s = divmod(tap, shape.kernel_width)
        y = e * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
        x = f * shape.stride[1] + s * shape.dilation[1] - shape.pad[2]
        return image, block.group * shape.group_in_channels + channel, y, x

    def _real(self, place: Place) -> bool:
        return 0 <= place[2] < self.shape.in_height and 0 <= place[3] < self.shape.in_width

    def _passes(self, block: Block) -> Iterator[Pass]:
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
                        one = self._row_pass(block, image, list(turn), runs)
                        one.first = block.units.start == unit == bottom == piece == 0
                        yield one

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
                [self._place(block, image, w, block.out_rows[column], f) for w in run]
                for f in range(shape.out_width)
            ]
            stages.append(Stage(number, windows, rows_read[y], self._products(len(run))))
        chains = [
            Chain(
                column,
                list(range(len(runs))),
                [[(image, self._filter(block, m), e, f) for m in turn] for f in range(shape.out_width)],
            )
            for column, e in enumerate(block.out_rows)
        ]
        one = Pass(len(turn), shape.out_width, stages, chains)
        for k, m in enumerate(turn):
            for j, run in enumerate(runs.values()):
                words = self.words[self._filter(block, m)][run]
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
                one = self._run_pass(block, windows, sets, list(runs), g, p)
                one.first = unit == 0
                yield one

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
                        seen.append([self._place(block, n, w, e, f) for w in run])
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
                            mine.append((n, self._filter(block, some[column]), e, f))
                        else:
                            mine.append(None)
                    sums.append(mine)
                chains.append(Chain(column, [stack * g + j for j in range(len(runs))], sums))
        for k, some in enumerate(sets):
            for column, m in enumerate(some):
                for j, number in enumerate(runs):
                    for place, word in enumerate(self.words[self._filter(block, m)][number]):
                        address = k * self.pes.spec.terms + place
                        takers = [(stack * g + j, column, address) for stack in range(stacks)]
                        one.words.append((word, takers))
        return one

    def _filter(self, block: Block, m: int) -> int:
        return block.group * self.shape.group_out_channels + m

    # time

    def all(self) -> Generator[simpy.Event, Any, None]:
        sim = self.sim
        self.blocks = list(self._blocks())
        self.loaded = [sim.event() for _ in self.blocks]
        self.worked = [sim.event() for _ in self.blocks]
        self.gone = [sim.event() for block in self.blocks if block.ends_tile]
        mover = sim.process(self._move())
        tiles = 0
        for number, block in enumerate(self.blocks):
            yield from self._wait_for(self.loaded[number], "dram_loads")
            if tiles >= 2 and block.units.start == 0:
                yield from self._wait_for(self.gone[tiles - 2], "dram_outputs")
            yield from self._work(block)
            self.worked[number].succeed(sim.cycle)
            tiles += block.ends_tile
        for _ in range(self._drain_cycles()):
            self._everywhere("drain", 1)
            yield sim.timeout(1)
        yield from self._wait_for(mover, "dram_outputs")
        self.cycles = sim.cycle
        sim.activity.add("dram", "idle", self.cycles - sim.activity["dram", "busy"])

    def _wait_for(self, event: simpy.Event, cause: str) -> Generator[simpy.Event, Any, None]:
        since = self.sim.cycle
        yield event
        self._everywhere(cause, self.sim.cycle - since)

    def _everywhere(self, what: str, cycles: int) -> None:
        if not cycles:
            return
        self.stalls[what] = self.stalls.get(what, 0) + cycles
        for pe in self.pes:
            self.sim.activity.add(pe.name, what, cycles)

    def _drain_cycles(self) -> int:
        high = min(self.shape.kernel_height, self.pes.rows) if self.by_rows else self.letters["g"]
        made = 0 if self.reuse is None else self.reuse.spec.latency_cycles
        return made + self.pes.spec.latency_cycles + high

    def _move(self) -> Generator[simpy.Event, Any, None]:
        """Bring what blocks need, two ahead, and take away what they made."""
        sim, tile, ended = self.sim, 0, 0
        self.inputs_held: Any = None
        self.weights_held: Any = None
        for number in range(-2, len(self.blocks)):
            if number >= 0:
                ended = yield self.worked[number]
            if number + 2 < len(self.blocks):
                yield self.dram.read(0, self._load(number + 2))
                self.loaded[number + 2].succeed()
            if number >= 0 and self.blocks[number].ends_tile:
                left = ended + self._drain_cycles() - sim.cycle
                if left > 0:
                    yield sim.timeout(left)
                yield self.dram.write(0, self._finish(self.blocks[number]))
                self.gone[tile].succeed()
                tile += 1

    def _link_words(self, bits: int) -> int:
        return -(-bits // self.dram.spec.word_bits)

    def _load(self, number: int) -> int:
        """Put a block's inputs and coefficients in the buffer, what is not there; return the link's words."""
        block, words = self.blocks[number], 0
        before = self.blocks[number - 1].generation if number else 0
        inputs = (block.image_range, block.group, block.out_rows, block.units)
        if inputs != self.inputs_held:
            block.generation = before + 1
            for key in [key for key in self.glb.ifmap.held if key[0] < before]:
                self.glb.ifmap.drop(key)
            places = sorted(self._inputs_of(block))
            for n, c, y, x in places:
                self.glb.ifmap.write((block.generation, n, c, y, x), self.inputs[n][c][y][x])
            words += self._link_words(len(places) * self.pes.spec.word_bits)
            self.inputs_held = inputs
        else:
            block.generation = before
        weights = (block.group, block.filters, block.units)
        if weights != self.weights_held:
            held = sum(
                len(self.words[self._filter(block, m)][run])
                for m in block.filters
                for unit in block.units
                for run in range(unit * self.unit_runs, (unit + 1) * self.unit_runs)
            )
            self.glb.filter.count("write", held)
            bits = held * self.bits + (0 if block.units.start else len(block.filters) * BIAS_BITS)
            words += self._link_words(bits)
            self.weights_held = weights
        return words

    def _inputs_of(self, block: Block) -> set[Place]:
        """Return all inputs under the block's windows: whole rows and columns of its channels."""
        runs = range(block.units.start * self.unit_runs, block.units.stop * self.unit_runs)
        weights = [w for run in runs for w in self.runs[run]]
        channels = {self._place(block, 0, w, 0, 0)[1] for w in weights}
        per_channel = self.shape.kernel_height * self.shape.kernel_width
        some = [self._place(block, 0, w, e, f) for w in range(per_channel) for e in block.out_rows
                for f in range(self.shape.out_width)]  # fmt: skip
        rows = {y for _, _, y, _ in some if 0 <= y < self.shape.in_height}
        columns = {x for *_, x in some if 0 <= x < self.shape.in_width}
        return {(n, c, y, x) for n in block.image_range for c in channels for y in rows for x in columns}

    # one block, cycle by cycle

    def _work(self, block: Block) -> Generator[simpy.Event, Any, None]:
        passes = list(self._passes(block))
        words = [deque(one.words) for one in passes]  # coefficients on their way
        inputs = [self._input_order(one) for one in passes]
        held: list[list[dict[Place, int]]] = [[{} for _ in one.stages] for one in passes]
        bus = [0, 0]  # the pass that each bus is at: coefficients, inputs
        begun = 0  # passes that have taken their first step
        for number, one in enumerate(passes):
            for window in range(one.windows):
                shared: dict[tuple[int, int], list[Any]] = {}
                for k in range(one.turn):
                    stepped = False
                    while not stepped:
                        if words[number]:
                            self._everywhere("coefficients", 1)
                        elif inputs[number] and inputs[number][0][0] <= window:
                            self._everywhere("inputs", 1)
                        else:
                            stepped, begun = True, number + 1
                            if k == 0:
                                shared = self._reduce(one, window, held[number])
                            self._step(one, window, k, number % 2, shared)
                        bus[0] = self._next(words, bus[0], begun)
                        self._send_coefficients(words[bus[0]], bus[0] % 2)
                        bus[1] = self._next(inputs, bus[1], begun)
                        self._send_inputs(block, inputs[bus[1]], held[bus[1]])
                        yield self.sim.timeout(1)

    def _next(self, queues: list[deque[Any]], at: int, begun: int) -> int:
        """Return the pass that a bus is at: it goes on once a pass has all it needs, and has begun."""
        while at + 1 < len(queues) and not queues[at] and begun > at:
            at += 1
        return at

    def _input_order(self, one: Pass) -> deque[tuple[int, int, Place]]:
        """Return (window, stage, input) as they are sent; a row's window keeps what it has seen."""
        order: deque[tuple[int, int, Place]] = deque()
        sent: list[set[Place]] = [set() for _ in one.stages]
        for window in range(one.windows):
            for number, stage in enumerate(one.stages):
                for place in stage.windows[window] or ():
                    if self._real(place) and not (self.by_rows and place in sent[number]):
                        sent[number].add(place)
                        order.append((window, number, place))
        return order

    def _send_coefficients(self, words: deque[Any], half: int) -> None:
        for _ in range(min(len(words), self.noc.spec.coefficient_words_per_cycle)):
            word, takers = words.popleft()
            self.glb.filter.count("read")
            self.noc.coefficients.count("send")
            for row, column, address in takers:
                pe = self.pes[row, column]
                self.noc.coefficients.count("receive")
                pe.coefficients.write(half * (pe.spec.coefficient_words // 2) + address, word)

    def _send_inputs(self, block: Block, inputs: deque[Any], held: list[dict[Place, int]]) -> None:
        for _ in range(min(len(inputs), self.noc.spec.input_words_per_cycle)):
            _, stage, place = inputs.popleft()
            self.noc.inputs.count("send")
            self.noc.inputs.count("receive")
            held[stage][place] = self.glb.ifmap.read((block.generation, *place))

    def _reduce(
        self, one: Pass, window: int, held: list[dict[Place, int]]
    ) -> dict[tuple[int, int], list[Any]]:
        """Let each reuse block make its sums of a window, and send them to the PEs that share them."""
        shared: dict[tuple[int, int], list[Any]] = {}
        for stage, values in zip(one.stages, held, strict=True):
            places = stage.windows[window]
            if places is None:
                continue
            seen = [values[place] if self._real(place) else 0 for place in places]
            if self.fitted:
                seen = self.reuse[0, stage.block].compute(seen)[: stage.products]
            self.noc.shared.count("send", len(seen))
            for pe in stage.pes:
                self.noc.shared.count("receive", len(seen))
                shared[pe] = seen
        return shared

    def _step(self, one: Pass, window: int, k: int, half: int, shared: Any) -> None:
        """One cycle of the array: every PE multiplies, and the sums of each chain climb."""
        busy: set[tuple[int, int]] = set()
        for chain in one.chains:
            key = chain.sums[window][k]
            if key is None:
                continue
            if one.first:
                total = self.bias[key[1]]
            else:
                total = self.glb.psum.read(key)
                self._cross()
            for height, row in enumerate(chain.rows):
                place = row, chain.column
                pe, values = self.pes[place], shared[place]
                address = half * (pe.spec.coefficient_words // 2) + k * pe.spec.terms
                product = pe.multiply(address, values, self.shifts)
                self.multiplications += len(values)
                if height:
                    self.noc.links.count("hop")
                total = self.psums[place].add(total, product)
                busy.add(place)
            self.glb.psum.write(key, total)
            self._cross()
        self.steps += 1
        for row in range(self.pes.rows):
            for column in range(self.pes.columns):
                what = "busy" if (row, column) in busy else "edge"
                self.sim.activity.add(f"pes[{row},{column}]", what)

    def _cross(self) -> None:
        """A sum goes between buffer and column."""
        self.noc.sums.count("send")
        self.noc.sums.count("receive")

    def _finish(self, block: Block) -> int:
        """Put a tile out and free its room; return the link's words."""
        values = 0
        for n in block.image_range:
            for m in (self._filter(block, m) for m in block.filters):
                for e in block.out_rows:
                    for f in range(self.shape.out_width):
                        total = self.glb.psum.read((n, m, e, f))
                        self.glb.psum.drop((n, m, e, f))
                        self.outputs[n, m, e, f] = self._output(total)
                        values += 1
        return self._link_words(values * self.pes.spec.word_bits)

    def _output(self, total: int) -> int:
        form = self.layer.formats["expected"]
        value = round(Fraction(total) / Fraction(2) ** self.layer.shift)
        value = min(max(value, form.lowest), form.highest)
        if self.layer.activation is None:
            return value
        cap = round(Fraction(6) * 2**form.fraction) if self.layer.activation == "relu6" else None
        return self.relu.apply(value, cap)

    def details(self) -> dict[str, Any]:
        return {
            "cycles": self.cycles,
            "stall_cycles": {cause: n for cause, n in self.stalls.items() if n},
            "macs_executed": self.multiplications,
            "array_steps": self.steps,
            "blocks": len(self.blocks),
        }
