"""The twin of `subexpression_reuse`: every reuse block, PE and bus, one cycle at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from fractions import Fraction
from typing import Any

import numpy as np
import simpy

from simhw import core
from simhw.core.dataflow import Outcome, Phase
from simhw.core.machine import Machine
from simhw.stepped.reuse_columns import Columns, Step, Sum, Tile
from simhw.stepped.reuse_order import Block, LayerOrder, Pass, Place

BIAS_BITS = 32


class SubexpressionReuseTwin(core.Twin, kind="subexpression_reuse"):
    """The reuse array, block by block and PE by PE."""

    def run(self, machine: Machine, phase: Phase) -> Generator[simpy.Event, Any, Outcome]:
        run = LayerRun(machine, self.options, phase, reuses=True)
        yield from run.all()
        return Outcome(outputs={run.layer.name: run.outputs}, details={run.layer.name: run.details()})


class UnrolledRowsTwin(core.Twin, kind="unrolled_rows"):
    """The unrolled row-stationary array, PE by PE."""

    def run(self, machine: Machine, phase: Phase) -> Generator[simpy.Event, Any, Outcome]:
        run = LayerRun(machine, self.options, phase, reuses=False)
        yield from run.all()
        return Outcome(outputs={run.layer.name: run.outputs}, details={run.layer.name: run.details()})


class LayerRun(LayerOrder):
    """One layer on the machine."""

    def __init__(self, machine: Machine, options: Any, phase: Phase, *, reuses: bool) -> None:
        super().__init__(phase.layers[0], dict(phase.mapping), machine["pes"], reuses)
        self.reuse: Any = machine["row_reuse" if self.by_rows else "run_reuse"] if reuses else None
        self.windows: Any = machine["windows"] if self.reuse is None else None
        self.options, self.sim = options, machine.sim
        self.glb, self.noc = machine["glb"], machine["noc"]
        self.relu, self.dram = machine["relu"], machine["dram"]
        self.inputs = np.asarray(self.layer.inputs).tolist()
        self.bias = np.asarray(self.layer.bias).tolist()
        kind = np.int8 if self.layer.formats["expected"].bits <= 8 else np.int16
        self.outputs = np.zeros(self.shape.output_shape, dtype=kind)
        self.stalls: dict[str, int] = {}
        self.cycles = self.steps = 0
        self.visits: dict[Any, int] = {}  # times that each sum has set out
        self.columns = Columns(
            self.pes,
            machine["psums"],
            self.glb,
            self.noc,
            bias=self.bias,
            shifts=self.shifts,
            high=min(self.shape.kernel_height, self.pes.rows) if self.by_rows else self.letters["g"],
            block_cycles=0 if self.reuse is None else self.reuse.spec.latency_cycles,
        )

    # time

    def all(self) -> Generator[simpy.Event, Any, None]:
        sim = self.sim
        self.blocks = list(self.blocks_in_order())
        self.loaded = [sim.event() for _ in self.blocks]
        self.worked = [sim.event() for _ in self.blocks]
        self.tiles = [Tile(sim.event()) for block in self.blocks if block.ends_tile]
        self.gone = [sim.event() for _ in self.tiles]
        self.all_set_out = False
        mover = sim.process(self._move())
        sim.process(self._flow())
        tiles = 0
        for number, block in enumerate(self.blocks):
            yield from self._wait_for(self.loaded[number], "dram_loads")
            if tiles >= 2 and block.units.start == 0:
                yield from self._wait_for(self.gone[tiles - 2], "dram_outputs")
            yield from self._work(block, self.tiles[tiles])
            self.worked[number].succeed()
            if block.ends_tile:
                self.columns.close(self.tiles[tiles])
                tiles += 1
        self.all_set_out = True
        yield from self._wait_for(self.tiles[-1].settled, "drain")
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

    def _flow(self) -> Generator[simpy.Event, Any, None]:
        """Let the columns work in every cycle, whatever the array waits for, until no sum is on its way."""
        self.columns.work(self.sim.cycle)
        while not (self.all_set_out and self.columns.is_empty):
            yield self.sim.timeout(1)
            self.columns.work(self.sim.cycle)

    def _move(self) -> Generator[simpy.Event, Any, None]:
        """Bring what blocks need, two ahead, and take away what they made."""
        tile = 0
        self.inputs_held: Any = None
        self.weights_held: Any = None
        for number in range(-2, len(self.blocks)):
            if number >= 0:
                yield self.worked[number]
            if number + 2 < len(self.blocks):
                yield self.dram.read(0, self._load(number + 2))
                self.loaded[number + 2].succeed()
            if number >= 0 and self.blocks[number].ends_tile:
                yield self.tiles[tile].settled
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
                len(self.words[self.filter_of(block, m)][run])
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
        channels = {self.place_of(block, 0, w, 0, 0)[1] for w in weights}
        per_channel = self.shape.kernel_height * self.shape.kernel_width
        some = [self.place_of(block, 0, w, e, f) for w in range(per_channel) for e in block.out_rows
                for f in range(self.shape.out_width)]  # fmt: skip
        rows = {y for _, _, y, _ in some if 0 <= y < self.shape.in_height}
        columns = {x for *_, x in some if 0 <= x < self.shape.in_width}
        return {(n, c, y, x) for n in block.image_range for c in channels for y in rows for x in columns}

    # one block, cycle by cycle

    def _work(self, block: Block, tile: Tile) -> Generator[simpy.Event, Any, None]:
        passes = list(self.passes(block))
        words = [deque(one.words) for one in passes]  # coefficients on their way
        inputs = [self._input_order(one) for one in passes]
        held: list[list[dict[Place, int]]] = [[{} for _ in one.stages] for one in passes]
        bus = 0, 0  # the pass that each bus is at: coefficients, inputs
        begun = 0  # passes that have taken their first step
        held_up = 0  # cycles for which sums of the last step keep the heads busy
        for number, one in enumerate(passes):
            for window in range(one.windows):
                shared: dict[tuple[int, int], list[Any]] = {}
                for k in range(one.turn):
                    stepped = False
                    while not stepped:
                        if held_up:
                            held_up -= 1
                            self._everywhere("sums", 1)
                        elif words[number]:
                            self._everywhere("coefficients", 1)
                        elif inputs[number] and inputs[number][0][0] <= window:
                            self._everywhere("inputs", 1)
                        else:
                            stepped, begun = True, number + 1
                            if k == 0:
                                shared = self._reduce(one, window, held[number])
                            sums = self._step(one, window, k, number % 2, shared, tile)
                            held_up = -(-sums // self.noc.spec.sum_words_per_cycle) - 1
                        bus = yield from self._tick(block, words, inputs, held, bus, begun)
        for _ in range(held_up):
            self._everywhere("sums", 1)
            bus = yield from self._tick(block, words, inputs, held, bus, begun)

    def _tick(
        self, block: Block, words: Any, inputs: Any, held: Any, bus: tuple[int, int], begun: int
    ) -> Generator[simpy.Event, Any, tuple[int, int]]:
        """Let a cycle pass, in which both buses send; return the passes that they are at."""
        for_coefficients, for_inputs = self._next(words, bus[0], begun), self._next(inputs, bus[1], begun)
        self._send_coefficients(words[for_coefficients], for_coefficients % 2)
        self._send_inputs(block, inputs[for_inputs], held[for_inputs])
        yield self.sim.timeout(1)
        return for_coefficients, for_inputs

    def _next(self, queues: list[deque[Any]], at: int, begun: int) -> int:
        """Return the pass that a bus is at: it goes on once a pass has all it needs, and has begun."""
        while at + 1 < len(queues) and not queues[at] and begun > at:
            at += 1
        return at

    def _input_order(self, one: Pass) -> deque[tuple[int, int, int, Place]]:
        """Return (window, stage, block, input) as they are sent; a row's window keeps what it has seen."""
        order: deque[tuple[int, int, int, Place]] = deque()
        sent: list[set[Place]] = [set() for _ in one.stages]
        for window in range(one.windows):
            for number, stage in enumerate(one.stages):
                for place in stage.windows[window] or ():
                    if self.is_real(place) and not (self.by_rows and place in sent[number]):
                        sent[number].add(place)
                        order.append((window, number, stage.block, place))
        return order

    def _send_coefficients(self, words: deque[Any], half: int) -> None:
        for _ in range(min(len(words), self.noc.spec.coefficient_words_per_cycle)):
            word, takers = words.popleft()
            self.glb.filter.count("read")
            self.noc.coefficients.count("send")
            for row, column, address in takers:
                self.noc.coefficients.count("receive")
                address += half * (self.pes.spec.coefficient_words // 2)
                self.columns.send_coefficient(self.sim.cycle, (row, column), address, word)

    def _send_inputs(self, block: Block, inputs: deque[Any], held: list[dict[Place, int]]) -> None:
        for _ in range(min(len(inputs), self.noc.spec.input_words_per_cycle)):
            _, stage, blocks, place = inputs.popleft()
            self.noc.inputs.count("send")
            self.noc.inputs.count("receive")
            self._window(blocks).count("write")
            held[stage][place] = self.glb.ifmap.read((block.generation, *place))

    def _window(self, block: int) -> Any:
        """Return the registers in which a block's window lies."""
        grid = self.windows if self.reuse is None else self.reuse
        one = grid[divmod(block, grid.columns)]
        return one if self.reuse is None else one.window

    def _reduce(
        self, one: Pass, window: int, held: list[dict[Place, int]]
    ) -> dict[tuple[int, int], list[Any]]:
        """Let each reuse block make its sums of a window, and send them to the PEs that share them."""
        shared: dict[tuple[int, int], list[Any]] = {}
        for stage, values in zip(one.stages, held, strict=True):
            places = stage.windows[window]
            if places is None:
                continue
            seen = [values[place] if self.is_real(place) else 0 for place in places]
            self._window(stage.block).count("read", len(seen))
            if self.fitted:
                place = divmod(stage.block, self.reuse.columns)
                seen = self.reuse[place].compute(seen)[: stage.products]
            self.noc.shared.count("send", len(seen))
            for pe in stage.pes:
                self.noc.shared.count("receive", len(seen))
                shared[pe] = seen
        return shared

    def _step(self, one: Pass, window: int, k: int, half: int, shared: Any, tile: Tile) -> int:
        """Let a step set out: the values that PEs take, and the sum each works for; return its sums."""
        sums: dict[tuple[int, int], Sum] = {}
        setting_out = 0
        for chain in one.chains:
            key = chain.sums[window][k]
            if key is None:
                continue
            setting_out += 1
            self.visits[key] = self.visits.get(key, 0) + 1
            for row in chain.rows:
                sums[row, chain.column] = Sum(key, self.visits[key])
        address = half * (self.pes.spec.coefficient_words // 2) + k * self.pes.spec.terms
        self.columns.enter(Step(self.sim.cycle, shared, sums, address), tile)
        self.steps += 1
        for row in range(self.pes.rows):
            for column in range(self.pes.columns):
                what = "busy" if (row, column) in sums else "edge"
                self.sim.activity.add(f"pes[{row},{column}]", what)
        return setting_out

    def _finish(self, block: Block) -> int:
        """Put a tile out and free its room; return the link's words."""
        values = 0
        for n in block.image_range:
            for m in (self.filter_of(block, m) for m in block.filters):
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
            "macs_executed": self.columns.multiplications,
            "array_steps": self.steps,
            "blocks": len(self.blocks),
        }
