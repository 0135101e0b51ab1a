"""Eyeriss's behaviour, compiled: passes of row-stationary sets, played against buffer and link."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
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
from simhw.mapping import row_stationary as mapping_room
from simhw.mapping.row_stationary import ArrayLimits, Rates, RowStationaryMapping, ceil_div
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
LEVEL_BITS = 16  # of the run-length code
IFMAP, FILTER, OFMAP = 0, 1, 2  # who asks the DRAM, in the order in which they are served
CAUSES = (
    "configuration", "dram_ofmap", "dram_ifmap", "dram_filter", "filter_load", "ifmap", "psum", "drain",
)  # fmt: skip
ACTIVATIONS: dict[str | None, int] = {None: fast.NONE, "relu": fast.RELU, "relu6": fast.RELU6}
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Words of the link that each transaction moves; axes are the loops of the mapping."""

    blocks: Counts  # group block, image block, strip, channel block, segment
    filters: Counts  # group block, filter block, channel block, segment, pass; short blocks end in zeros
    outputs: Counts  # group block, filter block, image block, strip


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a layer asks of the machine, without time."""

    plan: Geometry
    traffic: Traffic
    grids: Mapping[tuple[str, str], Counts]  # (part of a PE, action): counts by array place
    counts: Mapping[tuple[str, str], int]  # (instance, action)
    busy: Counts  # products with an output behind them, by array place
    outputs: Array | None = None
    unfit_sums: int | None = None


class RowStationary(core.Dataflow, kind="row_stationary"):
    """Row stationary (Chen, Krishna, Emer, Sze, JSSC 2017).

    A pass loads its filters, fills the first windows, multiplies, and lets the last sums leave; all
    PEs move together. Inputs of the next block, filters of the next passes and finished outputs
    cross the link meanwhile, as far as the buffer has room.
    """

    ROLES = {  # noqa: RUF012 - a class's own table, never written
        "pes": Role(
            fields=("ifmap_words", "filter_words", "psum_words", "word_bits", "zero_gating", "climb_adder"),
            grid=True,
            about="the array",
        ),
        "glb": Role(fields=("shared_words", "filter_region_words"), about="the global buffer"),
        "noc": Role(
            fields=(
                "filter_words_per_cycle",
                "ifmap_words_per_cycle",
                "psum_in_words_per_cycle",
                "psum_out_words_per_cycle",
            ),
            about="the network between buffer and array",
        ),
        "relu": Role(about="the activation unit"),
        "codec": Role(about="the run-length codec before DRAM"),
        "dram": Role(fields=("word_bits", "clock_mhz"), about="off-chip memory"),
    }

    @dataclass(frozen=True, kw_only=True)
    class Options(core.Spec):
        filter_load: Literal["serial", "overlapped"] = "serial"
        first_window: Literal["after_filters", "with_filters"] = "after_filters"
        psum_traffic: Literal["overlapped", "serial"] = "overlapped"
        ifmap_prefetch: Literal["when_it_fits", "never"] = "when_it_fits"
        ofmap_drain: Literal["when_it_fits", "never"] = "when_it_fits"
        compression: Literal["after_first", "all", "none"] = "after_first"
        configuration: Literal["serial", "hidden"] = "serial"
        configuration_bits: core.Cycles = 0
        objective: Literal["cycles", "processing", "energy", "dram", "buffer"] = "cycles"

    def __init__(self, parts: Mapping[str, Part], options: Any, clock_mhz: float) -> None:
        super().__init__(parts, options, clock_mhz)
        pes, glb, noc, dram = (parts[role].spec for role in ("pes", "glb", "noc", "dram"))
        self.pes: Any = pes
        self.glb: Any = glb
        self.noc: Any = noc
        self.dram: Any = dram
        self.limits = ArrayLimits(
            rows=parts["pes"].rows or 1,
            columns=parts["pes"].columns or 1,
            ifmap_words=self.pes.ifmap_words,
            filter_words=self.pes.filter_words,
            psum_words=self.pes.psum_words,
            buffer_words=self.glb.shared_words,
            double_filters=options.filter_load == "overlapped",
        )

    # plan

    def plan(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterable[Phase]:
        """Yield a phase a layer, mapped as published where `mapping` names the layer."""
        published = mapping or {}
        faults: list[str] = []
        self._refuse_widths(layers)
        chosen: dict[str, RowStationaryMapping] = {}
        for layer in layers:
            if layer.name not in published:
                continue
            try:
                given = RowStationaryMapping.read(published[layer.name], layer.shape, layer.name)
            except MappingError as error:
                faults += error.faults
                continue
            faults += [f"{layer.name}: {f}" for f in mapping_room.faults(given, layer.shape, self.limits)]
            chosen[layer.name] = given
        if faults:
            raise MappingError(faults)
        for layer in layers:
            own = chosen.get(layer.name) or self.choose(layer.name, layer.shape)
            yield Phase(name=layer.name, layers=(layer,), mapping=own.to_dict())

    def _refuse_widths(self, layers: Sequence[Layer]) -> None:
        """Words have one width on their whole way, and hold what the trace puts in them."""
        widths = {
            role: self.parts[role].spec.to_dict()["word_bits"]
            for role in ("pes", "glb", "noc", "relu", "codec")
        }
        faults: list[str] = []
        if len(set(widths.values())) > 1:
            told = ", ".join(f"{role} {bits}" for role, bits in widths.items())
            faults.append(f"components: word_bits: wants one width for all on chip, got {told}")
        if self.options.compression != "none" and self.pes.word_bits != LEVEL_BITS:
            faults.append(
                f"options.compression: run-length words hold levels of {LEVEL_BITS} bits, pes.word_bits is "
                f"{self.pes.word_bits}; set it to none"
            )
        found = {
            f"{layer.name}.{k}": f.bits for layer in layers for k, f in layer.formats.items() if k != "bias"
        }
        widest = max(found.values(), default=0)
        if widest > self.pes.word_bits:
            settings = [f"--set components.{role}.word_bits={widest}" for role in widths]
            if self.options.compression != "none" and widest != LEVEL_BITS:
                settings.append("--set options.compression=none")
            narrower = "of narrower numbers" if widest <= LEVEL_BITS else "of the exact network's weights"
            where = max(found, key=found.__getitem__)
            faults.append(
                f"components.pes.word_bits: the trace holds {widest}-bit values ({where}), the words have "
                f"{self.pes.word_bits}; wants a trace {narrower}, or {' '.join(settings)}"
            )
        if faults:
            raise DescriptionError(faults)

    def map_shape(self, name: str, shape: LayerShape) -> dict[str, Any]:
        return self.choose(name, shape).to_dict()

    def choose(self, name: str, shape: LayerShape) -> RowStationaryMapping:
        """Return the mapper's own mapping of a layer."""
        parts = tuple(sorted(self.parts.items(), key=lambda item: item[0]))
        try:
            return _best_mapping(parts, self.options, self.clock_mhz, shape)
        except MappingError as error:
            raise MappingError([f"{name}: {fault}" for fault in error.faults]) from None

    def rates(self) -> Rates:
        return Rates(
            filter=self.noc.filter_words_per_cycle,
            ifmap=self.noc.ifmap_words_per_cycle,
            psum_in=self.noc.psum_in_words_per_cycle,
            psum_out=self.noc.psum_out_words_per_cycle,
            dram=self.dram.word_bits / self.pes.word_bits * self.dram.clock_mhz / self.clock_mhz,
            serial_fill=self.options.first_window == "after_filters",
        )

    def cost(self, shape: LayerShape, mapping: RowStationaryMapping) -> int:
        """Return the exact cycles of a layer whose values are not known, so that nothing compresses.

        With the objective `processing`, DRAM is taken to be there in time.
        """
        plan = Geometry(self, shape, mapping)
        if self.options.objective == "processing":
            return plan.processing_cycles
        work = Work(plan=plan, traffic=plan.traffic(), grids={}, counts={}, busy=np.zeros((1, 1), np.int64))
        sim = core.Simulation(clock_mhz=self.clock_mhz)
        sim.process(Schedule(self, Machine(sim, self.parts), work).run())
        sim.run()
        return sim.cycle

    # execute

    def execute(self, phase: Phase, values: bool) -> Work:
        """Compute the layer's outputs and every count that does not depend on time."""
        layer = phase.layers[0]
        plan = Geometry(self, layer.shape, RowStationaryMapping(**phase.mapping))
        inputs = np.asarray(layer.inputs)
        outputs, unfit = self._values(layer, inputs) if values else (None, None)
        compress = self.options.compression != "none"
        compress_inputs = compress and not (
            layer.reads_network_input and self.options.compression == "after_first"
        )
        finished = (outputs if values else np.asarray(layer.expected)) if compress else None
        traffic = plan.traffic(
            inputs=_patterns(inputs) if compress_inputs else None,
            outputs=None if finished is None else _patterns(finished),
        )
        busy = plan.products()
        multiplied = plan.multiplied(_patterns(inputs)) if self.pes.zero_gating else busy
        grids, counts = plan.counts(busy, multiplied)
        if layer.activation is not None:
            counts["relu", "apply"] = layer.shape.outputs
        if compress:
            counts["codec", "encode"] = layer.shape.outputs
        if compress_inputs:
            counts["codec", "decode"] = plan.values_loaded()
        return Work(
            plan=plan,
            traffic=traffic,
            grids=grids,
            counts=counts,
            busy=busy,
            outputs=outputs,
            unfit_sums=unfit,
        )

    def _values(self, layer: Layer, inputs: Array) -> tuple[Array, int]:
        shape = layer.shape
        weights, bias = np.asarray(layer.weights), np.asarray(layer.bias)
        geometry = (shape.stride, shape.pad, shape.dilation, shape.groups)
        form = layer.formats["expected"]
        if form.is_float:
            sums = fast.conv_float32(inputs, weights, bias, *geometry)
            if layer.activation is not None:
                np.maximum(sums, 0, out=sums)
            if layer.activation == "relu6":
                np.minimum(sums, 6, out=sums)
            return sums, 0
        is_wide = layer.formats["weights"].bits > 16  # weights that coefficients make, in words of 32 bits
        sums = (
            fast.conv_of_coefficients(inputs, weights, None, None, bias, *geometry)
            if is_wide
            else fast.conv_accumulate(inputs, weights, bias, *geometry)
        )
        outputs, unfit = fast.requantize(
            sums,
            layer.shift,
            form.lowest,
            form.highest,
            ACTIVATIONS[layer.activation],
            min(round(6 * 2.0**form.fraction), form.highest),
            min(self.pes.word_bits, 63),
        )
        return outputs.astype(np.int8 if form.bits <= 8 else np.int16, copy=False), unfit

    # schedule

    def schedule(self, machine: Machine, phase: Phase, work: Work) -> Generator[Event, Any, Outcome]:
        """Play the passes, then book what they did."""
        play = Schedule(self, machine, work)
        yield from play.run()
        play.account()
        outputs = {} if work.outputs is None else {phase.layers[0].name: work.outputs}
        details: dict[str, Any] = play.details() | {"final_sums_that_do_not_fit": work.unfit_sums}
        return Outcome(outputs=outputs, details={phase.layers[0].name: details})


@functools.lru_cache(maxsize=4096)
def _best_mapping(
    parts: tuple[tuple[str, Part], ...], options: Any, clock_mhz: float, shape: LayerShape
) -> RowStationaryMapping:
    """Search once for each machine and shape: the answer is a function of these alone."""
    dataflow = RowStationary(dict(parts), options, clock_mhz)
    return mapping_room.search(
        shape,
        dataflow.limits,
        dataflow.rates(),
        objective=options.objective,
        cost=functools.partial(dataflow.cost, shape),
        # loads that overlap are played by processes, which takes far longer than the recurrence
        shortlist=2 if options.filter_load == "overlapped" and options.objective == "cycles" else 48,
    )


def _patterns(values: Array) -> NDArray[np.int16]:
    """Return what decides gating and compression: which values are zero."""
    return values if values.dtype == np.int16 else (values != 0).astype(np.int16)


def _blocks(values: Counts, axis: int, size: int) -> Counts:
    """Return the sums of `values` over runs of `size` along an axis; the last run may be short."""
    return np.add.reduceat(values, list(range(0, values.shape[axis], size)), axis=axis)


def _parts(total: int, size: int) -> Counts:
    """Return how many of `total` things fall in each run of `size`."""
    return np.minimum(size, total - np.arange(0, total, size))


class Geometry:
    """A mapping laid over a layer: what each pass holds, and what that adds up to by array place."""

    def __init__(self, dataflow: RowStationary, shape: LayerShape, mapping: RowStationaryMapping) -> None:
        self.dataflow, self.shape, self.mapping = dataflow, shape, mapping
        m, noc, options = mapping, dataflow.noc, dataflow.options
        self.overlapped = options.filter_load == "overlapped"
        self.high = mapping_room.rows_read(m.e, m.rows, shape)
        self.wide = mapping_room.columns_read(shape)
        self.segments = ceil_div(shape.kernel_height, m.rows)
        self.channel_blocks = ceil_div(shape.group_in_channels, m.q * m.r)
        self.group_parts = _parts(shape.groups, m.g)
        self.filter_parts = _parts(shape.group_out_channels, m.m)
        self.image_parts = _parts(shape.batch, m.n)
        self.strip_parts = _parts(shape.out_height, m.e)
        self.channel_parts = _parts(shape.group_in_channels, m.q * m.r)
        self.row_parts = _parts(shape.kernel_height, m.rows)
        self.passes_in_block = [ceil_div(int(k), m.p * m.t) for k in self.filter_parts]
        self.block_words = mapping_room.block_words(m, shape)
        self.tile_words = mapping_room.tile_words(m, shape)
        blocks, tiles = mapping_room.buffers_that_fit(m, shape, dataflow.glb.shared_words)
        self.block_buffers = blocks if options.ifmap_prefetch == "when_it_fits" else 1
        self.tile_buffers = tiles if options.ofmap_drain == "when_it_fits" else 1

        taps = shape.kernel_width
        self.filter_words = m.g * m.t * m.r * m.rows * m.p * m.q * taps
        self.load_cycles = ceil_div(self.filter_words, noc.filter_words_per_cycle)
        self.slots = m.n * shape.out_width * m.p
        self.slot_products = m.q * taps
        self.wave = m.g * m.t * m.e
        self.wave_in = ceil_div(self.wave, noc.psum_in_words_per_cycle)
        self.wave_out = ceil_div(self.wave, noc.psum_out_words_per_cycle)
        column_words = m.g * m.r * m.q * self.high
        self.stream_words = m.n * self.wide * column_words
        self.stream_cycles = ceil_div(self.stream_words, noc.ifmap_words_per_cycle)
        columns = _columns_needed(shape)
        needed = (np.arange(m.n)[:, None] * self.wide + columns).reshape(-1)
        arrived = ceil_div(needed * column_words, noc.ifmap_words_per_cycle)
        # filters too many for the buffer come at DRAM's pace; inputs then wait for the last of them
        self.streamed = self.filter_words > dataflow.glb.filter_region_words
        beside_filters = options.first_window == "with_filters" and not self.overlapped
        if beside_filters and not self.streamed:
            arrived = np.maximum(arrived - self.load_cycles, 0)
        timing = functools.partial(
            fast.pass_timing, arrived, m.p, self.slot_products, dataflow.pes.psum_words
        )
        hops, serial = m.rows * m.r, options.psum_traffic == "serial"
        stolen = 0 if dataflow.pes.climb_adder else 1
        self.first = timing(0, self.wave_out, hops, serial, stolen).tolist()
        self.steady = timing(self.wave_in, self.wave_out, hops, serial, stolen).tolist()

    @functools.cached_property
    def tiles(self) -> int:
        parts = (self.group_parts, self.filter_parts, self.image_parts, self.strip_parts)
        return int(np.prod([len(p) for p in parts]))

    @functools.cached_property
    def passes(self) -> int:
        per_filter_block = sum(self.passes_in_block) * self.channel_blocks * self.segments
        return len(self.group_parts) * len(self.image_parts) * len(self.strip_parts) * per_filter_block

    @property
    def processing_cycles(self) -> int:
        """Cycles of all passes when nothing waits for DRAM."""
        begun, steady = self.first_passes, self.passes - self.first_passes
        load, first, later = self.load_cycles, self.first[3], self.steady[3]
        if not self.overlapped:
            return begun * (load + first) + steady * (load + later)
        # the first load is not hidden, and each other one lasts at least as long as itself
        last = later if self.channel_blocks * self.segments > 1 else first
        waits = begun * max(first, load) + steady * max(later, load) - max(last, load)
        return load + waits + last

    @functools.cached_property
    def first_passes(self) -> int:
        """Passes that begin sums."""
        return self.passes // (self.channel_blocks * self.segments)

    @property
    def inner_tiles(self) -> int:
        """Tiles of one block of groups and one of filters."""
        return len(self.image_parts) * len(self.strip_parts)

    def filter_sequence(self, traffic: Traffic) -> Counts:
        """Return the link's words of every pass's filters, in order."""
        return np.concatenate(
            [
                np.tile(by_group[block, :, :, :passes].reshape(-1), self.inner_tiles)
                for by_group in traffic.filters
                for block, passes in enumerate(self.passes_in_block)
            ]
        )

    def filter_sum(self, traffic: Traffic) -> int:
        """Return the link's words of all filters together."""
        return int(traffic.filters.sum()) * self.inner_tiles

    # traffic with DRAM

    def traffic(
        self, inputs: NDArray[np.int16] | None = None, outputs: NDArray[np.int16] | None = None
    ) -> Traffic:
        """Return the link's words per transaction; what is None is not compressed."""
        return Traffic(
            blocks=self._input_words(inputs),
            filters=self._filter_words(),
            outputs=self._output_words(outputs),
        )

    def _link_words(self, words: Any, word_bits: int) -> Any:
        return ceil_div(words * word_bits, self.dataflow.dram.word_bits)

    def _rows_loaded(self) -> list[list[list[tuple[int, int]]]]:
        """Return, by strip and segment, runs of input rows that real outputs need: first, one after last."""
        shape, m = self.shape, self.mapping
        loaded: list[list[list[tuple[int, int]]]] = []
        for strip, strip_rows in enumerate(self.strip_parts.tolist()):
            loaded.append([])
            for segment, rows in enumerate(self.row_parts.tolist()):
                first = strip * m.e * shape.stride[0] + segment * m.rows * shape.dilation[0] - shape.pad[0]
                starts: Counts = np.arange(strip_rows, dtype=np.int64) * shape.stride[0] + first
                taps: Counts = np.arange(rows, dtype=np.int64) * shape.dilation[0]
                needed = np.unique(np.add.outer(starts, taps))
                needed = needed[(needed >= 0) & (needed < shape.in_height)]
                breaks = np.flatnonzero(np.diff(needed) > 1) + 1
                runs = [run for run in np.split(needed, breaks) if run.size]
                loaded[-1].append([(int(run[0]), int(run[-1]) + 1) for run in runs])
        return loaded

    def _input_words(self, inputs: NDArray[np.int16] | None) -> Counts:
        shape, m = self.shape, self.mapping
        ranges = self._rows_loaded()
        size = (len(self.group_parts), len(self.image_parts), len(ranges), self.channel_blocks, self.segments)
        if inputs is None:
            rows = np.array(
                [[sum(high - low for low, high in runs) for runs in strip] for strip in ranges],
                dtype=np.int64,
            )
            planes = (
                self.group_parts[:, None, None, None, None]
                * self.image_parts[:, None, None, None]
                * self.channel_parts[:, None]
            )
            values = planes * rows[:, None, :] * shape.in_width
            return np.broadcast_to(self._link_words(values, self.dataflow.pes.word_bits), size)
        first, last, _ = fast.rlc_row_words(inputs.reshape(-1, shape.in_height, shape.in_width))
        words = np.zeros(size, dtype=np.int64)
        for strip, by_segment in enumerate(ranges):
            for segment, runs in enumerate(by_segment):
                planes = np.zeros((shape.batch, shape.groups, shape.group_in_channels), dtype=np.int64)
                for low, high in runs:
                    planes += (last[:, high - 1] - first[:, low] + 1).reshape(planes.shape)
                by_block = _blocks(_blocks(_blocks(planes, 2, m.q * m.r), 1, m.g), 0, m.n)
                words[:, :, strip, :, segment] = self._link_words(by_block, 64).transpose(1, 0, 2)
        return words

    def _filter_words(self) -> Counts:
        """Filters as they are, with the biases of their sums in the passes that begin these."""
        m = self.mapping
        filters = np.zeros((len(self.filter_parts), max(self.passes_in_block)), dtype=np.int64)
        for block, size in enumerate(self.filter_parts.tolist()):
            filters[block, : self.passes_in_block[block]] = _parts(size, m.p * m.t)
        weights = (
            filters[:, None, None, :]
            * self.channel_parts[:, None, None]
            * self.row_parts[:, None]
            * self.shape.kernel_width
        )
        weights[:, 0, 0, :] += filters
        words = self.group_parts[:, None, None, None, None] * weights
        return self._link_words(words, self.dataflow.pes.word_bits)

    def _output_words(self, outputs: NDArray[np.int16] | None) -> Counts:
        shape, m = self.shape, self.mapping
        if outputs is None:
            values = (
                self.group_parts[:, None, None, None]
                * self.filter_parts[:, None, None]
                * self.image_parts[:, None]
                * self.strip_parts
                * shape.out_width
            )
            return self._link_words(values, self.dataflow.pes.word_bits)
        streams = np.empty((shape.batch * shape.out_channels, len(self.strip_parts)), dtype=np.int64)
        planes = outputs.reshape(-1, shape.out_height, shape.out_width)
        whole = shape.out_height // m.e
        if whole:
            strips = np.ascontiguousarray(planes[:, : whole * m.e]).reshape(-1, m.e, shape.out_width)
            streams[:, :whole] = fast.rlc_row_words(strips)[2].reshape(len(planes), whole)
        if whole < len(self.strip_parts):
            streams[:, whole] = fast.rlc_row_words(np.ascontiguousarray(planes[:, whole * m.e :]))[2]
        by_plane = streams.reshape(shape.batch, shape.groups, shape.group_out_channels, -1)
        by_tile = _blocks(_blocks(_blocks(by_plane, 2, m.m), 1, m.g), 0, m.n)
        return self._link_words(by_tile, 64).transpose(1, 2, 0, 3)

    def values_loaded(self, width: int | None = None) -> int:
        """Return the input values that come in, again or not: of whole rows, or of `width` columns."""
        rows = sum(high - low for strip in self._rows_loaded() for runs in strip for low, high in runs)
        planes = self.shape.batch * self.shape.in_channels * len(self.filter_parts)
        return rows * (self.shape.in_width if width is None else width) * planes

    # work by array place; axes of a set's PEs: group, filter set, channel set, kernel row, output row

    def _in_turn(self, total: int, size: int, parts: int) -> Counts:
        """Return how many of `total` things fall to each of `parts` sets that take `size` at a time."""
        return np.bincount(np.arange(total) // size % parts, minlength=parts).astype(np.int64)

    @functools.cached_property
    def _groups(self) -> Counts:
        return self._in_turn(self.shape.groups, 1, self.mapping.g)

    @functools.cached_property
    def _filters(self) -> Counts:
        m = self.mapping
        within = [self._in_turn(int(size), m.p, m.t) for size in self.filter_parts]
        return np.sum(within, axis=0)

    @functools.cached_property
    def _channels(self) -> Counts:
        return self._in_turn(self.shape.group_in_channels, self.mapping.q, self.mapping.r)

    @functools.cached_property
    def _kernel_rows(self) -> Counts:
        return self._in_turn(self.shape.kernel_height, 1, self.mapping.rows)

    @functools.cached_property
    def _output_rows(self) -> Counts:
        return self._in_turn(self.shape.out_height, 1, self.mapping.e)

    @functools.cached_property
    def place(self) -> tuple[Counts, Counts]:
        return mapping_room.placement(self.mapping, self.dataflow.limits)

    def _on_array(self, by_set: Counts) -> Counts:
        """Return counts of sets' PEs as counts of the array's."""
        whole = np.zeros((self.dataflow.limits.rows, self.dataflow.limits.columns), dtype=np.int64)
        whole[self.place] = by_set
        return whole

    @functools.cached_property
    def mapped(self) -> NDArray[np.bool_]:
        """Which PEs of the array have a place in the mapping."""
        ones = np.ones((1, 1, 1, 1, 1), dtype=np.int64)
        return self._on_array(np.broadcast_to(ones, self.place[0].shape)).astype(np.bool_)

    def products(self) -> Counts:
        """Products that belong to an output, by array place."""
        by_set = (
            self._groups[:, None, None, None, None]
            * self._filters[:, None, None, None]
            * self._channels[:, None, None]
            * self._kernel_rows[:, None]
            * self._output_rows
        )
        return self._on_array(by_set * self.shape.batch * self.shape.out_width * self.shape.kernel_width)

    def multiplied(self, inputs: NDArray[np.int16]) -> Counts:
        """Products among them whose input is not zero."""
        shape, m = self.shape, self.mapping
        by_row = fast.nonzero_taps(
            inputs, shape.pad, shape.kernel_width, shape.stride[1], shape.dilation[1], shape.out_width
        ).sum(axis=0)
        by_row = by_row.reshape(shape.groups, shape.group_in_channels, -1)
        by_set = np.zeros((m.g, m.r, by_row.shape[2]), dtype=np.int64)
        set_of_group = np.arange(shape.groups) % m.g
        set_of_channel = np.arange(shape.group_in_channels) // m.q % m.r
        np.add.at(by_set, (set_of_group[:, None], set_of_channel[None, :]), by_row)
        nonzero = np.zeros((m.g, m.r, m.rows, m.e), dtype=np.int64)
        output_rows = np.arange(shape.out_height)
        for row in range(shape.kernel_height):
            read = by_set[:, :, output_rows * shape.stride[0] + row * shape.dilation[0]]
            strips = np.zeros((m.g, m.r, len(self.strip_parts) * m.e), dtype=np.int64)
            strips[:, :, : shape.out_height] = read
            nonzero[:, :, row % m.rows] += strips.reshape(m.g, m.r, -1, m.e).sum(axis=2)
        return self._on_array(self._filters[:, None, None, None] * nonzero[:, None])

    def counts(
        self, busy: Counts, multiplied: Counts
    ) -> tuple[dict[tuple[str, str], Counts], dict[tuple[str, str], int]]:
        """Return every action that time does not decide: of PEs by array place, of the rest by name."""
        shape, m = self.shape, self.mapping
        visits = self.channel_blocks * self.segments
        # sums that pass through a PE on their way up, in every visit
        sums_by_set = (
            self._groups[:, None, None, None, None]
            * self._filters[:, None, None, None]
            * np.ones((m.r, m.rows, 1), dtype=np.int64)
            * self._output_rows
        )
        sums = self._on_array(sums_by_set * (shape.batch * shape.out_width * visits))
        mapped = self.mapped.astype(np.int64)
        grids = {
            ("ifmap_spad", "read"): busy,
            ("ifmap_spad", "write"): mapped * (self.passes * m.n * m.q * self.wide),
            ("filter_spad", "read"): multiplied,
            ("filter_spad", "write"): mapped * (self.passes * m.p * m.q * shape.kernel_width),
            ("psum_spad", "read"): multiplied + sums,
            ("psum_spad", "write"): multiplied + sums,
            ("mac", "mul"): multiplied,
            ("mac", "add"): multiplied + sums,
        }
        outputs = shape.outputs
        waves_back = outputs * (visits - 1)
        block_loads = self.tiles * visits
        places = m.sets * m.rows * m.e
        inputs_held = self.values_loaded(_real_columns(shape))
        weights_held = shape.weights * len(self.image_parts) * len(self.strip_parts)
        counts = {
            ("noc.filter", "send"): self.passes * self.filter_words,
            ("noc.filter", "receive"): self.passes * places * m.p * m.q * shape.kernel_width,
            ("noc.ifmap", "send"): self.passes * self.stream_words,
            ("noc.ifmap", "receive"): self.passes * places * m.n * m.q * self.wide,
            ("noc.psum_in", "send"): waves_back,
            ("noc.psum_in", "receive"): waves_back,
            ("noc.psum_out", "send"): outputs * visits,
            ("noc.psum_out", "receive"): outputs * visits,
            ("noc.links", "hop"): outputs * visits * (m.rows * m.r - 1),
            ("glb.ifmap", "write"): inputs_held,
            ("glb.ifmap", "fill"): block_loads * self.block_words - inputs_held,
            ("glb.ifmap", "read"): self.passes * self.stream_words,
            ("glb.psum", "write"): outputs * visits,
            ("glb.psum", "read"): waves_back + outputs,
            ("glb.filter", "write"): weights_held,
            ("glb.filter", "fill"): self.passes * self.filter_words - weights_held,
            ("glb.filter", "read"): self.passes * self.filter_words,
        }
        return grids, counts


def _real_columns(shape: LayerShape) -> int:
    """Return how many columns of the unpadded input its outputs need."""
    taps = np.arange(shape.kernel_width) * shape.dilation[1] - shape.pad[2]
    needed = np.unique(np.add.outer(np.arange(shape.out_width) * shape.stride[1], taps))
    return int(np.count_nonzero((needed >= 0) & (needed < shape.in_width)))


def _columns_needed(shape: LayerShape) -> Counts:
    """Return, by output column, how many input columns have been needed once it is done."""
    stride, dilation = shape.stride[1], shape.dilation[1]
    starts = np.arange(shape.out_width) * stride
    needed = np.unique(np.add.outer(starts, np.arange(shape.kernel_width) * dilation))
    return np.searchsorted(needed, starts + (shape.kernel_width - 1) * dilation, side="right").astype(
        np.int64
    )


class Schedule:
    """One layer's passes on the machine: the array, what moves its data, and what they wait for."""

    def __init__(self, dataflow: RowStationary, machine: Machine, work: Work) -> None:
        self.dataflow, self.work, self.plan = dataflow, work, work.plan
        self.sim, self.dram = machine.sim, machine["dram"]
        region = dataflow.glb.filter_region_words
        self.streamed = work.plan.streamed
        self.overlapped = work.plan.overlapped
        self.filter_room = _Room(self.sim, region // work.plan.filter_words)
        self.block_room = _Room(self.sim, work.plan.block_buffers)
        self.tile_room = _Room(self.sim, work.plan.tile_buffers)
        self.half_room = _Room(self.sim, 2)  # halves of the filter scratchpads, if loads overlap
        self.filters = _Arrivals(self.sim)
        self.blocks = _Arrivals(self.sim)
        self.loaded = _Arrivals(self.sim)
        self.finished = _Arrivals(self.sim)
        steady_link = self.dram.KIND == "dram_link" and self.sim.timeline is None
        self.recurrence = steady_link and not self.overlapped and self._fits_int64()
        self.stalls: dict[str, int] = dict.fromkeys(CAUSES, 0)
        self.cycles = 0

    def run(self) -> Steps:
        sim, options = self.sim, self.dataflow.options
        if options.configuration == "serial" and options.configuration_bits:
            # the scan chain takes one bit with each edge of the link's clock
            yield sim.timeout(self.dram.clock.cycle_of(options.configuration_bits))
            self._stalled("configuration", 0)
        if self.recurrence:
            yield from self._by_recurrence()
            return
        sim.process(self._bring_blocks())
        if self.overlapped:
            sim.process(self._load_ahead())
        if not self.streamed:
            sim.process(self._bring_filters())
        writer = sim.process(self._take_outputs())
        yield from self._array()
        since = sim.cycle
        yield writer
        self._stalled("dram_ofmap", since)
        self.cycles = sim.cycle

    def _by_recurrence(self) -> Steps:
        """Find in one call what the processes below would meet: nobody else is on the machine.

        It holds for a link that moves words at a steady rate; tests hold it to the processes.
        """
        plan, traffic, link = self.plan, self.work.traffic, self.dram
        begun = self.sim.cycle
        passes = np.repeat(np.tile(plan.passes_in_block, len(plan.group_parts)), plan.inner_tiles)
        blocks = np.concatenate(
            [np.tile(by_group.reshape(-1), len(plan.passes_in_block)) for by_group in traffic.blocks]
        )
        rooms = (plan.block_buffers, self.filter_room.places, plan.tile_buffers)
        times = (plan.load_cycles, plan.first[3], plan.steady[3])
        cycles, *waits, busy = fast.play_passes(
            blocks,
            plan.filter_sequence(traffic),
            traffic.outputs.reshape(-1),
            passes,
            plan.channel_blocks * plan.segments,
            rooms,
            times,
            (link.clock.cycles, link.clock.ticks),
            begun,
            link.spec.latency_cycles,
        ).tolist()
        yield self.sim.timeout(cycles - begun)
        for cause, waited in zip(("dram_ofmap", "dram_ifmap", "dram_filter"), waits, strict=True):
            self.stalls[cause] += waited
        self.stalls["filter_load"] += plan.passes * plan.load_cycles
        link.count("read", int(blocks.sum()) + plan.filter_sum(traffic))
        link.count("write", int(traffic.outputs.sum()))
        self.sim.activity.add(link.name, "busy", busy)
        self.cycles = cycles

    def _fits_int64(self) -> bool:
        """Whether no number of the recurrence can overflow; the processes count without bound."""
        plan, traffic, clock = self.plan, self.work.traffic, self.dram.clock
        transactions = 2 * plan.passes + plan.tiles * (plan.channel_blocks * plan.segments + 1)
        words = int(traffic.blocks.sum()) * len(plan.passes_in_block) + plan.filter_sum(traffic)
        ticks = words + int(traffic.outputs.sum()) + transactions + self.dataflow.options.configuration_bits
        per_tick = ceil_div(clock.cycles, clock.ticks)
        cycles = plan.processing_cycles + ticks * per_tick + transactions * self.dram.spec.latency_cycles
        return (cycles + ticks) * max(clock.cycles, clock.ticks) < 1 << 62

    def _stalled(self, cause: str, since: int) -> None:
        self.stalls[cause] += self.sim.cycle - since
        self.sim.log("pes", cause, since, self.sim.cycle)

    def _filter_words(self) -> Iterator[int]:
        """Yield the link's words of every pass's filters, in order."""
        return iter(self.plan.filter_sequence(self.work.traffic).tolist())

    def _bring_filters(self) -> Steps:
        for words in self._filter_words():
            yield from self.filter_room.acquire()
            yield self.dram.read(FILTER, words, "filters")
            self.filters.put()

    def _bring_blocks(self) -> Steps:
        by_group = self.work.traffic.blocks
        for group in range(by_group.shape[0]):
            words = by_group[group].reshape(-1).tolist()
            for _ in self.plan.passes_in_block:
                for n in words:
                    yield from self.block_room.acquire()
                    yield self.dram.read(IFMAP, n, "ifmaps")
                    self.blocks.put()

    def _take_outputs(self) -> Steps:
        for words in self.work.traffic.outputs.reshape(-1).tolist():
            yield from self.finished.take()
            yield self.dram.write(OFMAP, words, "ofmaps")
            self.tile_room.release(self.sim.cycle)

    def _load_ahead(self) -> Steps:
        """Fill one half of the filter scratchpads while the other is used."""
        load = self.plan.load_cycles
        for words in self._filter_words():
            yield from self.half_room.acquire()
            since = self.sim.cycle
            if self.streamed:
                yield self.dram.read(FILTER, words, "filters")
                yield self.sim.timeout(max(load - (self.sim.cycle - since), 0))
            else:
                yield from self.filters.take()
                yield self.sim.timeout(load)
                self.filter_room.release(self.sim.cycle)
            self.loaded.put()

    def _array(self) -> Steps:
        sim, plan = self.sim, self.plan
        visits = plan.channel_blocks * plan.segments
        filters = self._filter_words()
        for passes in plan.passes_in_block * len(plan.group_parts):
            for _ in range(plan.inner_tiles):
                since = sim.cycle
                yield from self.tile_room.acquire()
                self._stalled("dram_ofmap", since)
                for visit in range(visits):
                    since = sim.cycle
                    yield from self.blocks.take()
                    self._stalled("dram_ifmap", since)
                    took = plan.steady if visit else plan.first
                    for _ in range(passes):
                        yield from self._one_pass(next(filters), took[3])
                    self.block_room.release(sim.cycle)
                self.finished.put()

    def _one_pass(self, words: int, took: int) -> Steps:
        sim, load, since = self.sim, self.plan.load_cycles, self.sim.cycle
        if self.overlapped:
            yield from self.loaded.take()
            waited = sim.cycle - since
            self.stalls["filter_load"] += min(waited, load)
            self.stalls["dram_filter"] += max(waited - load, 0)
        elif self.streamed:
            yield self.dram.read(FILTER, words, "filters")
            waited = sim.cycle - since
            self.stalls["filter_load"] += load
            self.stalls["dram_filter"] += max(waited - load, 0)
            took += max(load - waited, 0)
        else:
            yield from self.filters.take()
            self.stalls["dram_filter"] += sim.cycle - since
            self.stalls["filter_load"] += load
            self.filter_room.release(sim.cycle + load)
            took += load
        begun = sim.cycle
        yield sim.timeout(took)
        sim.log("pes", "pass", begun, sim.cycle)
        if self.overlapped:
            self.half_room.release(sim.cycle)

    # books

    def account(self) -> None:
        """Book the work on the ledger, and where every unit's cycles went."""
        sim, plan, work, cycles = self.sim, self.plan, self.work, self.cycles
        for (part, action), counts in work.grids.items():
            sim.ledger.add_grid("pes", part, action, counts)
        for (instance, action), n in work.counts.items():
            sim.ledger.add(instance, action, n)
        steady = plan.passes - plan.first_passes
        for i, cause in enumerate(("ifmap", "psum", "drain")):
            self.stalls[cause] = plan.first_passes * plan.first[i] + steady * plan.steady[i]
        mapped = plan.mapped
        compute = plan.passes * plan.slots * plan.slot_products
        activity = sim.activity
        activity.add_grid("pes", "", "busy", work.busy)
        activity.add_grid("pes", "", "edge", mapped * compute - work.busy)
        activity.add_grid("pes", "", "unmapped", ~mapped * np.int64(cycles))
        for cause, stalled in self.stalls.items():
            activity.add_grid("pes", "", cause, mapped * np.int64(stalled))
        buses = {
            "noc.filter": plan.passes * plan.load_cycles,
            "noc.ifmap": plan.passes * plan.stream_cycles,
            "noc.psum_in": steady * plan.slots * plan.wave_in,
            "noc.psum_out": plan.passes * plan.slots * plan.wave_out,
        }
        for bus, busy in buses.items():
            activity.add(bus, "busy", busy)
            activity.add(bus, "idle", cycles - busy)
        activity.add("dram", "idle", cycles - activity["dram", "busy"])

    def details(self) -> dict[str, Any]:
        """Return the layer's own figures: stalls of the array, passes, and what one pass takes."""
        plan = self.plan
        return {
            "cycles": self.cycles,
            "stall_cycles": {cause: n for cause, n in self.stalls.items() if n},
            "processing_cycles": self.cycles
            - sum(self.stalls[c] for c in ("configuration", "dram_ofmap", "dram_ifmap", "dram_filter")),
            "macs_executed": int(self.work.busy.sum()),
            "active_pes": int(np.count_nonzero(plan.mapped)),
            "passes": plan.passes,
            "block_buffers": plan.block_buffers,
            "tile_buffers": plan.tile_buffers,
        }


class _Room:
    """Places to put something: taken by one process, freed by another now or at a known cycle."""

    def __init__(self, sim: core.Simulation, places: int) -> None:
        self.sim, self.places = sim, places
        self._free_at: deque[int] = deque([0] * places)
        self._wanted: Event | None = None

    def acquire(self) -> Steps:
        if not self._free_at:
            self._wanted = simpy.Event(self.sim)
            yield self._wanted
        at = self._free_at.popleft()
        if at > self.sim.cycle:
            yield self.sim.timeout(at - self.sim.cycle)

    def release(self, at_cycle: int) -> None:
        self._free_at.append(at_cycle)
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            wanted.succeed()


class _Arrivals:
    """Things brought by one process and taken in order by another."""

    def __init__(self, sim: core.Simulation) -> None:
        self.sim = sim
        self._there = 0
        self._wanted: Event | None = None

    def put(self) -> None:
        self._there += 1
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            wanted.succeed()

    def take(self) -> Steps:
        if not self._there:
            self._wanted = simpy.Event(self.sim)
            yield self._wanted
        self._there -= 1
