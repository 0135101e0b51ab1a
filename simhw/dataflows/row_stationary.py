"""Eyeriss's behaviour, compiled: passes of row-stationary sets, played against buffer and link."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simhw import core
from simhw import fast as untyped_fast
from simhw.core.dataflow import Array, Layer, Outcome, Phase, Role
from simhw.core.machine import Machine, Part
from simhw.dataflows.row_stationary_passes import Passes, Traffic
from simhw.errors import DescriptionError, MappingError
from simhw.mapping import row_stationary as mapping_room
from simhw.mapping.row_stationary import ArrayLimits, Rates, RowStationaryMapping
from simhw.play import play
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
LEVEL_BITS = 16  # of the run-length code
CAUSES = (
    "configuration", "dram_ofmap", "dram_ifmap", "dram_filter", "filter_load", "ifmap", "psum", "drain",
)  # fmt: skip
ACTIVATIONS: dict[str | None, int] = {None: fast.NONE, "relu": fast.RELU, "relu6": fast.RELU6}
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a layer asks of the machine, without time."""

    plan: Passes
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

    @functools.cached_property
    def key(self) -> tuple[tuple[str, Part], ...]:
        """The machine's parts, as what is kept of it is kept under."""
        return tuple(sorted(self.parts.items(), key=lambda item: item[0]))

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
        try:
            return _best_mapping(self.key, self.options, self.clock_mhz, shape)
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
        plan = Passes(self, shape, mapping)
        if self.options.objective == "processing":
            return plan.processing_cycles
        clock = core.ClockDomain(self.dram.clock_mhz, self.clock_mhz)
        links = {"dram": core.SteadyLink(clock, self.dram.latency_cycles)}
        return play(self.tabulate(plan, plan.traffic()), links).cycles

    # execute

    def execute(self, phase: Phase, values: bool) -> Work:
        """Compute the layer's outputs and every count that does not depend on time."""
        layer = phase.layers[0]
        mapping = RowStationaryMapping(**phase.mapping)
        plan = _passes(self.key, self.options, self.clock_mhz, layer.shape, mapping)
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

    def schedule(self, phase: Phase, work: Work) -> core.Schedule:
        return self.tabulate(work.plan, work.traffic)

    def tabulate(self, plan: Passes, traffic: Traffic) -> core.Schedule:
        """Return when the passes run: inputs, filters and outputs cross the link as far as there is room."""
        table = core.Schedule()
        passes = plan.sequence
        n, ends = plan.passes, passes.ends_block
        blocks, tiles = traffic.block_sequence(plan), traffic.outputs.reshape(-1)
        configuration = table.worker("configuration", [self.configuration_cycles])
        ifmaps = table.mover("ifmaps", "dram", blocks)
        filters = table.mover("filters", "dram", plan.filter_sequence(traffic))
        ofmaps = table.mover("ofmaps", "dram", tiles, writes=True)
        # two tasks for each pass, and the wait for the last outputs
        took = np.zeros(2 * n + 1, np.int64)
        took[1::2] = np.where(passes.is_first, plan.first[3], plan.steady[3])
        if not plan.overlapped:
            took[:-1:2] = plan.load_cycles
        array = table.worker("pes", took, doing=("load", "pass"))
        for units in (ifmaps, filters):
            units.wait(configuration.done, tasks=slice(0, 1))
        array.wait(configuration.done, "configuration", tasks=slice(0, 1))

        room = plan.tile_buffers
        starts_tile = 2 * passes.starts_tile[room:]
        array.wait(ofmaps.done[: len(starts_tile)], "dram_ofmap", tasks=starts_tile)
        array.wait(ifmaps.done, "dram_ifmap", tasks=2 * passes.starts_block)
        ifmaps.wait(
            array.done[2 * ends[: max(len(blocks) - plan.block_buffers, 0)] + 1],
            tasks=slice(plan.block_buffers, None),
        )
        ofmaps.wait(array.done[2 * passes.ends_tile + 1])
        room = self.glb.filter_region_words // plan.filter_words
        if plan.overlapped:
            self._load_ahead(table, plan, room)
        elif plan.streamed:  # the array asks for them itself, and loads what has come
            filters.wait(array.begun[0:-1:2])
            array.wait(filters.done, "dram_filter", tasks=slice(1, None, 2))
        else:
            filters.wait(array.done[0 : 2 * max(n - room, 0) : 2], tasks=slice(room, None))
            array.wait(filters.done, "dram_filter", tasks=slice(0, -1, 2))
        array.wait(ofmaps.done[-1:], "dram_ofmap", tasks=slice(-1, None))
        return table

    def _load_ahead(self, table: core.Schedule, plan: Passes, room: int) -> None:
        """Let loads fill one half of the filter scratchpads while the other is used."""
        array, filters, n = table.group("pes"), table.group("filters"), plan.passes
        took = np.zeros((n, 2), np.int64)
        took[:, 0] = plan.load_cycles
        loads = table.worker("loads", took.reshape(-1))  # and then it is seen whether all has come
        loads.wait(table.group("configuration").done, tasks=slice(0, 1))
        loads.wait(array.done[1 : 2 * max(n - 2, 0) : 2], tasks=slice(4, None, 2))
        if plan.streamed:
            filters.wait(loads.begun[0::2])
            loads.wait(filters.done, tasks=slice(1, None, 2))
        else:
            loads.wait(filters.done, tasks=slice(0, None, 2))
            filters.wait(loads.done[0 : 2 * max(n - room, 0) : 2], tasks=slice(room, None))
        array.wait(loads.done[1::2], "filters", tasks=slice(1, None, 2))

    @property
    def configuration_cycles(self) -> int:
        """Cycles of the scan chain, which takes one bit with each edge of the link's clock."""
        if self.options.configuration != "serial":
            return 0
        clock = core.ClockDomain(self.dram.clock_mhz, self.clock_mhz)
        return clock.cycle_of(self.options.configuration_bits)

    def stalls(self, plan: Passes, played: core.Played) -> dict[str, int]:
        """Return the cycles in which the array did not multiply, by cause."""
        array = played["pes"]
        stalls = dict.fromkeys(CAUSES, 0) | array.waited
        stalls["filter_load"] = plan.passes * plan.load_cycles
        if plan.overlapped:  # of a wait for filters the last part is loading, and what is before DRAM's
            waits = array.begun[1::2] - array.done[0:-1:2]
            stalls["filter_load"] = int(np.minimum(waits, plan.load_cycles).sum())
            stalls["dram_filter"] = stalls.pop("filters") - stalls["filter_load"]
        steady = plan.passes - plan.first_passes
        for i, cause in enumerate(("ifmap", "psum", "drain")):
            stalls[cause] = plan.first_passes * plan.first[i] + steady * plan.steady[i]
        return stalls

    def account(self, machine: Machine, phase: Phase, work: Work, played: core.Played) -> Outcome:
        """Book the work on the ledger, and where every unit's cycles went."""
        sim, plan, cycles = machine.sim, work.plan, played.cycles
        stalls = self.stalls(plan, played)
        for (part, action), counts in work.grids.items():
            sim.ledger.add_grid("pes", part, action, counts)
        for (instance, action), n in work.counts.items():
            sim.ledger.add(instance, action, n)
        mapped = plan.mapped
        compute = plan.passes * plan.slots * plan.slot_products
        activity = sim.activity
        activity.add_grid("pes", "", "busy", work.busy)
        activity.add_grid("pes", "", "edge", mapped * compute - work.busy)
        activity.add_grid("pes", "", "unmapped", ~mapped * np.int64(cycles))
        for cause, stalled in stalls.items():
            activity.add_grid("pes", "", cause, mapped * np.int64(stalled))
        for bus, busy in plan.bus_cycles.items():
            activity.add(bus, "busy", busy)
            activity.add(bus, "idle", cycles - busy)
        name = phase.layers[0].name
        details: dict[str, Any] = {
            "cycles": cycles,
            "stall_cycles": {cause: n for cause, n in stalls.items() if n},
            "processing_cycles": cycles
            - sum(stalls[c] for c in ("configuration", "dram_ofmap", "dram_ifmap", "dram_filter")),
            "macs_executed": int(work.busy.sum()),
            "active_pes": int(np.count_nonzero(mapped)),
            "passes": plan.passes,
            "block_buffers": plan.block_buffers,
            "tile_buffers": plan.tile_buffers,
            "final_sums_that_do_not_fit": work.unfit_sums,
        }
        return Outcome(outputs={} if work.outputs is None else {name: work.outputs}, details={name: details})


@functools.lru_cache(maxsize=256)
def _passes(
    parts: tuple[tuple[str, Part], ...],
    options: Any,
    clock_mhz: float,
    shape: LayerShape,
    mapping: RowStationaryMapping,
) -> Passes:
    """Lay a mapping over a layer once for each machine and shape: no data has a part in it."""
    return Passes(RowStationary(dict(parts), options, clock_mhz), shape, mapping)


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
        # two for loads that overlap: more of them would find other mappings, and move published numbers
        shortlist=2 if options.filter_load == "overlapped" and options.objective == "cycles" else 48,
    )


def _patterns(values: Array) -> NDArray[np.int16]:
    """Return what decides gating and compression: which values are zero."""
    return values if values.dtype == np.int16 else (values != 0).astype(np.int16)
