"""SnaPEA's behaviour, compiled: adjacent windows in lockstep lanes, stopped once their outcome is known."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy import Event

from simhw import core
from simhw import fast as untyped_fast
from simhw.core.dataflow import Array, Layer, Outcome, Phase, Role, Steps
from simhw.core.machine import Machine, Part
from simhw.errors import DescriptionError, MappingError
from simhw.mapping.windows import Portion, portions
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]
ACTIVATIONS: dict[str | None, int] = {None: fast.NONE, "relu": fast.RELU, "relu6": fast.RELU6}
INPUTS, FILTERS, OUTPUTS = 0, 1, 10_000  # requesters of the link; columns follow FILTERS in their order
CAUSES = ("dram_inputs", "dram_filters", "rows", "columns", "lockstep", "no_window", "dram_outputs")


@dataclass(frozen=True, kw_only=True)
class Round:
    """One portion for each row of PEs, and what the columns make of it."""

    input_words: int
    output_words: int
    work: Counts  # cycles: column, filter step (0 where a column has no filter left)
    filters: Counts  # link words: column, filter step


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a layer asks of the machine, without time."""

    rounds: tuple[Round, ...]
    grids: Mapping[tuple[str, str], Counts]
    counts: Mapping[tuple[str, str], int]
    lanes: Mapping[tuple[str, str], Counts]  # (lane, busy or cause): lane-cycles inside filter steps
    outputs: Array | None
    details: Mapping[str, Any]


class EarlyTermination(core.Dataflow, kind="early_termination"):
    """SnaPEA's schedule (Akhlaghi et al., ISCA 2018), in rounds.

    A round gives each row of PEs one portion of the input and each column its filters, one after
    another. A filter that fits the weight buffers is loaded once, and PEs go through their windows
    at their own pace; a longer one streams past the column again for every group of windows, whose PEs
    wait for each other. Rows meet at the end of the round.
    """

    ROLES = {  # noqa: RUF012 - a class's own table, never written
        "pes": Role(
            fields=("lanes", "weight_words", "half_words", "word_bits"), grid=True, about="the array"
        ),
        "noc": Role(about="broadcasts along rows and columns"),
        "dram": Role(fields=("word_bits", "clock_mhz"), about="off-chip memory"),
    }
    TRANSFORMS = ("sign_order",)

    @dataclass(frozen=True, kw_only=True)
    class Options(core.Spec):
        termination: Literal["exact", "off"] = "exact"
        test: Literal["below", "at_or_below"] = "below"  # equation 3.1 of the thesis prints <=

    def __init__(self, parts: Mapping[str, Part], options: Any, clock_mhz: float) -> None:
        super().__init__(parts, options, clock_mhz)
        self.pes: Any = parts["pes"].spec
        self.dram: Any = parts["dram"].spec
        self.rows, self.columns = parts["pes"].rows or 1, parts["pes"].columns or 1

    def plan(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterable[Phase]:
        """Yield a phase a layer. This machine has one mapping of a layer, and takes no other."""
        if mapping:
            raise MappingError(f"{', '.join(mapping)}: early_termination takes no mapping")
        for layer in layers:
            if layer.formats["expected"].is_float:
                raise DescriptionError(
                    f"{layer.name}: early_termination wants integers, the trace holds float32; "
                    "make it with --format fixed16"
                )
            yield Phase(name=layer.name, layers=(layer,), mapping=self.map_shape(layer.name, layer.shape))

    def map_shape(self, name: str, shape: LayerShape) -> dict[str, Any]:
        cut = portions(shape, self.pes.half_words, rows=self.rows, columns=self.columns, lanes=self.pes.lanes)
        return {"portion_rows": cut.height, "portion_columns": cut.width}

    # execute

    def execute(self, phase: Phase, values: bool) -> Work:
        """Find every window's products, and what they come to in lanes, PEs and columns."""
        layer: Any = phase.layers[0]
        shape: LayerShape = layer.shape
        inputs = np.asarray(layer.inputs)
        why_not = self.why_not(layer, inputs)
        weights, bias = np.asarray(layer.weights), np.asarray(layer.bias)
        geometry = (shape.stride, shape.pad, shape.dilation, shape.groups)
        if why_not is None:
            order = layer.ordering
            sums, macs, stopped = fast.early_termination(
                inputs.astype(np.int16, copy=False), order.weights, order.order, bias, order.prefix,
                order.thresholds, order.negatives_from, (shape.kernel_height, shape.kernel_width), *geometry,
                inclusive=self.options.test == "at_or_below",
            )  # fmt: skip
            checks = np.maximum(macs - order.negatives_from[:, None, None], 0)
        else:
            sums = fast.conv_accumulate(inputs, weights, bias, *geometry)
            macs = np.full(shape.output_shape, shape.window, dtype=np.int32)
            stopped, checks = np.zeros(shape.output_shape, dtype=np.uint8), np.zeros_like(macs)
        outputs = self._finished(layer, sums, stopped) if values else None
        return Division(self, shape, phase.mapping).work(
            macs,
            checks,
            outputs,
            {
                "termination": "exact" if why_not is None else f"off: {why_not}",
                "windows_stopped_by_sign": int(np.count_nonzero(stopped == fast.BY_SIGN)),
                "macs_cut": shape.macs - int(macs.sum(dtype=np.int64)),
                "index_bits": 0 if why_not is not None else layer.ordering.storage_bits,
            },
        )

    def why_not(self, layer: Any, inputs: Array) -> str | None:
        """Return why a layer must run to the end, or None: stopping must leave every output as it is."""
        if self.options.termination == "off":
            return "as the description says"
        if layer.ordering is None:
            return "the description asks for no sign_order"
        if layer.activation not in ("relu", "relu6"):
            return "no ReLU follows"
        if inputs.size and inputs.min() < 0:
            return "inputs may be negative"
        return None

    def _finished(self, layer: Layer, sums: Array, stopped: Array) -> Array:
        form = layer.formats["expected"]
        outputs, _ = fast.requantize(
            sums,
            layer.shift,
            form.lowest,
            form.highest,
            ACTIVATIONS[layer.activation],
            min(round(6 * 2.0**form.fraction), form.highest),
        )
        outputs[stopped != fast.COMPLETE] = 0
        return outputs.astype(np.int8 if form.bits <= 8 else np.int16, copy=False)

    # schedule

    def schedule(self, machine: Machine, phase: Phase, work: Work) -> Generator[Event, Any, Outcome]:
        """Play the rounds, then book what they did."""
        play = Schedule(self, machine, work)
        yield from play.run()
        name = phase.layers[0].name
        outputs = {} if work.outputs is None else {name: work.outputs}
        return Outcome(outputs=outputs, details={name: play.account() | dict(work.details)})


class Division:
    """A layer dealt out: windows to rows and lanes, filters to columns."""

    def __init__(self, dataflow: EarlyTermination, shape: LayerShape, mapping: Mapping[str, Any]) -> None:
        self.dataflow, self.shape = dataflow, shape
        self.cut = Portion(height=mapping["portion_rows"], width=mapping["portion_columns"])
        self.resident = shape.window <= dataflow.pes.weight_words
        self.index_bits = max(shape.window - 1, 1).bit_length()
        size = (dataflow.rows, dataflow.columns)
        self.grids: dict[tuple[str, str], Counts] = {}
        self.lanes: dict[tuple[str, str], Counts] = {}
        self.size = size

    def work(self, macs: Array, checks: Array, outputs: Array | None, details: Mapping[str, Any]) -> Work:
        shape, rows = self.shape, self.dataflow.rows
        rounds: list[Round] = []
        sent = 0
        for group in range(shape.groups):
            own = slice(group * shape.group_out_channels, (group + 1) * shape.group_out_channels)
            blocks = [
                (image, top, left)
                for image in range(shape.batch)
                for top in range(0, shape.out_height, self.cut.height)
                for left in range(0, shape.out_width, self.cut.width)
            ]
            for first in range(0, len(blocks), rows):
                one, words = self._round(blocks[first : first + rows], macs[:, own], checks[:, own])
                rounds.append(one)
                sent += words
        columns = self.dataflow.columns
        loaded = self.grids["io", "write"][:, 0].sum() - self.grids["io", "out"][:, 0].sum()
        counts = {
            ("noc.columns", "send"): sent,
            ("noc.columns", "receive"): sent * rows,
            ("noc.rows", "send"): int(loaded),
            ("noc.rows", "receive"): int(loaded) * columns,
        }
        self.grids.pop(("io", "out"))
        return Work(
            rounds=tuple(rounds),
            grids=self.grids,
            counts=counts,
            lanes=self.lanes,
            outputs=outputs,
            details=details,
        )

    def _add(
        self, book: dict[tuple[str, str], Counts], key: tuple[str, str], row: int, by_column: Array
    ) -> None:
        if key not in book:
            book[key] = np.zeros(self.size, dtype=np.int64)
        book[key][row] += by_column

    def _by_column(self, by_filter: Array) -> Counts:
        """Return sums of what belongs to filters, by the column that has them."""
        columns = self.dataflow.columns
        whole = np.zeros(-(-len(by_filter) // columns) * columns, dtype=np.int64)
        whole[: len(by_filter)] = by_filter
        return whole.reshape(-1, columns).sum(axis=0)

    def _round(self, blocks: Sequence[tuple[int, int, int]], macs: Array, checks: Array) -> tuple[Round, int]:
        shape, lanes, pes = self.shape, self.dataflow.pes.lanes, self.dataflow.pes
        filters = shape.group_out_channels
        paces: list[Counts] = []  # by row: cycles of each filter and window group
        inputs = output_words = 0
        for row, (image, top, left) in enumerate(blocks):
            window = (
                image,
                slice(None),
                slice(top, top + self.cut.height),
                slice(left, left + self.cut.width),
            )
            own = macs[window].reshape(filters, -1).astype(np.int64)
            looked = checks[window].reshape(filters, -1)
            windows = own.shape[1]
            groups = -(-windows // lanes)
            padded = np.zeros((filters, groups * lanes), dtype=np.int64)
            padded[:, :windows] = own
            seen = np.zeros_like(padded)
            seen[:, :windows] = looked
            by_lane = padded.reshape(filters, groups, lanes)
            pace = by_lane.max(axis=2)
            paces.append(pace)
            places: Counts = np.arange(groups * lanes, dtype=np.int64)
            has: NDArray[np.bool_] = (places < windows).reshape(groups, lanes)
            for lane in range(lanes):
                done = self._by_column(by_lane[:, :, lane].sum(axis=1))
                for action in ("mul", "add"):
                    self._add(self.grids, (f"lane{lane}", action), row, done)
                self._add(
                    self.grids,
                    (f"pau{lane}", "check"),
                    row,
                    self._by_column(seen[:, lane::lanes].sum(axis=1)),
                )
                self._add(self.lanes, (f"lane{lane}", "busy"), row, done)
                idle = (pace - by_lane[:, :, lane]) * has[:, lane]
                self._add(self.lanes, (f"lane{lane}", "lockstep"), row, self._by_column(idle.sum(axis=1)))
                without = pace * ~has[:, lane]
                self._add(self.lanes, (f"lane{lane}", "no_window"), row, self._by_column(without.sum(axis=1)))
            cycles = self._by_column(pace.sum(axis=1))
            for buffer in ("weights", "indexes"):
                self._add(self.grids, (buffer, "read"), row, cycles)
            self._add(self.grids, ("io", "read"), row, self._by_column(own.sum(axis=1)))
            written = self._by_column(np.full(filters, windows))
            words = self._input_words(top, left)
            self._add(self.grids, ("io", "out"), row, written)
            self._add(self.grids, ("io", "write"), row, written + words)
            inputs += words
            output_words += windows * filters
        most = max(pace.shape[1] for pace in paces)
        together = np.zeros((len(paces), filters, most), dtype=np.int64)
        for row, pace in enumerate(paces):
            together[row, :, : pace.shape[1]] = pace
        if self.resident:
            work = together.sum(axis=2).max(axis=0)
            streamed = np.full(filters, shape.window)
        else:
            work = streamed = together.max(axis=0).sum(axis=1)
        for row in range(self.dataflow.rows):  # every word reaches all PEs of the column
            for buffer in ("weights", "indexes"):
                self._add(self.grids, (buffer, "write"), row, self._by_column(streamed))
        for row, pace in enumerate(paces):
            waits = self._by_column(work - pace.sum(axis=1))
            for lane in range(lanes):
                self._add(self.lanes, (f"lane{lane}", "rows"), row, waits)
        for row in range(len(paces), self.dataflow.rows):  # rows without a portion
            for lane in range(lanes):
                self._add(self.lanes, (f"lane{lane}", "rows"), row, self._by_column(work))
        link = self.dataflow.dram.word_bits
        steps = -(-filters // self.dataflow.columns)
        dealt = np.zeros((steps, self.dataflow.columns), dtype=np.int64)
        dealt.reshape(-1)[:filters] = work
        words = np.zeros_like(dealt)
        words.reshape(-1)[:filters] = -(-(shape.window * (pes.word_bits + self.index_bits)) // link)
        one = Round(
            input_words=-(-inputs * pes.word_bits // link),
            output_words=-(-output_words * pes.word_bits // link),
            work=dealt.T.copy(),
            filters=words.T.copy(),
        )
        return one, 2 * int(streamed.sum())

    def _input_words(self, top: int, left: int) -> int:
        """Return the input values under a portion's windows, padding left out."""
        shape = self.shape
        spans: list[int] = []
        for axis, (start, size, extent) in enumerate(
            ((top, self.cut.height, shape.out_height), (left, self.cut.width, shape.out_width))
        ):
            kernel = (shape.kernel_height, shape.kernel_width)[axis]
            first = start * shape.stride[axis] - shape.pad[2 * axis]
            last = (min(start + size, extent) - 1) * shape.stride[axis] - shape.pad[2 * axis]
            last += (kernel - 1) * shape.dilation[axis]
            whole = (shape.in_height, shape.in_width)[axis]
            spans.append(max(min(last + 1, whole) - max(first, 0), 0))
        return spans[0] * spans[1] * shape.group_in_channels


class Schedule:
    """A layer's rounds on the machine: inputs in, columns through their filters, outputs out."""

    def __init__(self, dataflow: EarlyTermination, machine: Machine, work: Work) -> None:
        self.dataflow, self.work = dataflow, work
        self.machine, self.sim, self.dram = machine, machine.sim, machine["dram"]
        columns = dataflow.columns
        self.staged = [simpy.Store(self.sim) for _ in range(columns)]
        self.room = [simpy.Container(self.sim, capacity=2, init=2) for _ in range(columns)]
        self.waits = np.zeros((columns, 2), dtype=np.int64)  # for filters, for other columns
        self.stalls = dict.fromkeys(("dram_inputs", "dram_outputs"), 0)
        self.cycles = 0

    def run(self) -> Steps:
        sim = self.sim
        for column in range(self.dataflow.columns):
            sim.process(self._stage(column))
        written: Event | None = None
        for one in self.work.rounds:
            since = sim.cycle
            yield self.dram.read(INPUTS, one.input_words, "inputs")
            self.stalls["dram_inputs"] += sim.cycle - since
            since = sim.cycle
            if written is not None:
                yield written
            self.stalls["dram_outputs"] += sim.cycle - since
            begun = sim.cycle
            running = [sim.process(self._column(one, column)) for column in range(self.dataflow.columns)]
            ended = yield sim.all_of(running)
            sim.log("pes", "round", begun, sim.cycle)
            for column, process in enumerate(running):
                self.waits[column, 1] += sim.cycle - ended[process]
            written = self.dram.write(OUTPUTS, one.output_words, "outputs")
        since = sim.cycle
        if written is not None:
            yield written
        self.stalls["dram_outputs"] += sim.cycle - since
        self.cycles = sim.cycle

    def _stage(self, column: int) -> Steps:
        """Bring a column's filters, one ahead of the one in use."""
        for one in self.work.rounds:
            for words in one.filters[column].tolist():
                if words:
                    yield self.room[column].get(1)
                    yield self.dram.read(FILTERS + column, words, "filters")
                    yield self.staged[column].put(words)

    def _column(self, one: Round, column: int) -> Generator[Event, Any, int]:
        for words, cycles in zip(one.filters[column].tolist(), one.work[column].tolist(), strict=True):
            if not words:
                continue
            since = self.sim.cycle
            yield self.staged[column].get()
            self.waits[column, 0] += self.sim.cycle - since
            yield self.sim.timeout(cycles)
            yield self.room[column].put(1)
        return self.sim.cycle

    def account(self) -> dict[str, Any]:
        """Book the work, and where every lane's cycles went; return the layer's own figures."""
        sim, work, dataflow = self.sim, self.work, self.dataflow
        for (part, action), counts in work.grids.items():
            sim.ledger.add_grid("pes", part, action, counts)
        for (instance, action), n in work.counts.items():
            sim.ledger.add(instance, action, n)
        ones = np.ones((dataflow.rows, dataflow.columns), dtype=np.int64)
        for (lane, cause), counts in work.lanes.items():
            sim.activity.add_grid("pes", lane, cause, counts)
        for lane in range(dataflow.pes.lanes):
            for cause, n in self.stalls.items():
                sim.activity.add_grid("pes", f"lane{lane}", cause, ones * n)
            for i, cause in enumerate(("dram_filters", "columns")):
                sim.activity.add_grid("pes", f"lane{lane}", cause, ones * self.waits[:, i])
        sim.activity.add("dram", "idle", self.cycles - sim.activity["dram", "busy"])
        busy = sum(int(n.sum()) for (_, what), n in work.lanes.items() if what == "busy")
        slots = dataflow.rows * dataflow.columns * dataflow.pes.lanes
        lost = {
            cause: sum(int(n.sum()) for (_, w), n in work.lanes.items() if w == cause) for cause in CAUSES
        }
        for cause, n in self.stalls.items():
            lost[cause] = n * slots
        per_column = dataflow.rows * dataflow.pes.lanes
        lost["dram_filters"] = int(self.waits[:, 0].sum()) * per_column
        lost["columns"] = int(self.waits[:, 1].sum()) * per_column
        return {
            "cycles": self.cycles,
            "stall_cycles": {cause: n for cause, n in self.stalls.items() if n},
            "macs_executed": busy,
            "rounds": len(work.rounds),
            "lost_lane_cycles": lost,
        }
