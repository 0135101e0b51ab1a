"""What the arrays of Tolba et al. have in common, compiled: blocks, their passes, and the link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simhw import core
from simhw import fast as untyped_fast
from simhw.core import Ragged
from simhw.core.dataflow import Array, Layer, Outcome, Phase, Role
from simhw.core.machine import Machine, Part
from simhw.errors import DescriptionError, MappingError
from simhw.mapping.reuse_array import ArrayLimits, Cut, Grouping, ReuseMapping, choose, faults
from simhw.mapping.reuse_layout import Layout
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]
ACTIVATIONS: dict[str | None, int] = {None: fast.NONE, "relu": fast.RELU, "relu6": fast.RELU6}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a layer asks of the machine, without time between blocks."""

    layout: Layout
    loads: Counts  # link words that each block brings
    works: Counts  # cycles of the array
    results: Counts  # link words that leave after each block, 0 within a tile
    drain_cycles: int
    outputs: Array | None
    unfit_sums: int | None


def fit_of(layer: Layer) -> Array | None:
    """Return how a layer's coefficients are to be read, None where its weights are weights and no more."""
    lines = layer.side("fit_groups")
    return None if lines is None else lines.fit


class DiagonalArray(core.Dataflow):
    """PEs whose inputs come along diagonals and whose sums climb columns, one column of windows a cycle.

    What a PE multiplies, and by what, the dataflows that derive from it say: `layer_faults`, `grouping`,
    `coefficient_bits`; and in which registers windows lie, for rows of kernels and for runs of weights:
    `WINDOWS`, role and part.
    """

    TRANSFORMS = ("fit_groups",)
    WINDOWS: ClassVar[tuple[tuple[str, str], tuple[str, str]]]

    ROLES: ClassVar[Mapping[str, Role]] = {
        "pes": Role(
            fields=("terms", "coefficient_words", "latency_cycles", "word_bits"), grid=True, about="the array"
        ),
        "psums": Role(grid=True, about="an adder above each PE: sums climb, and join the buffer's"),
        "glb": Role(fields=("shared_words", "filter_region_words"), about="the global buffer"),
        "noc": Role(
            fields=("coefficient_words_per_cycle", "input_words_per_cycle", "sum_words_per_cycle"),
            about="buses and wires",
        ),
        "relu": Role(about="the activation unit"),
        "dram": Role(fields=("word_bits", "clock_mhz"), about="off-chip memory"),
    }

    def __init__(self, parts: Mapping[str, Part], options: Any, clock_mhz: float) -> None:
        super().__init__(parts, options, clock_mhz)
        self.pes: Any = parts["pes"].spec
        self.glb: Any = parts["glb"].spec
        self.noc: Any = parts["noc"].spec
        self.dram: Any = parts["dram"].spec
        self.rows, self.columns = parts["pes"].rows or 1, parts["pes"].columns or 1
        turns = self.pes.coefficient_words // (2 * self.pes.terms)
        self.limits = ArrayLimits(
            rows=self.rows,
            columns=self.columns,
            row_windows=self.WINDOWS[0][0],
            row_blocks=parts[self.WINDOWS[0][0]].instances,
            run_blocks=parts[self.WINDOWS[1][0]].instances,
            filters_at_once=min(options.filters_at_once, turns),
            most_turns=turns,
            buffer_words=self.glb.shared_words,
            coefficient_words=self.glb.filter_region_words,
            sums_per_cycle=self.noc.sum_words_per_cycle,
        )

    @property
    def word_bits(self) -> dict[str, int]:
        """The width of each part that has words, memory outside left out."""
        specs = {role: part.spec.to_dict() for role, part in self.parts.items() if role != "dram"}
        return {role: spec["word_bits"] for role, spec in specs.items() if "word_bits" in spec}

    # plan

    def plan(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterable[Phase]:
        """Yield a phase a layer, mapped as published where `mapping` names the layer."""
        found = [*self.machine_faults(), *(fault for layer in layers for fault in self.layer_faults(layer))]
        if found:
            raise DescriptionError(found)
        published = self._published(layers, mapping or {})
        for layer in layers:
            own = published.get(layer.name) or self.choose(
                layer.name, layer.shape, self.grouping(layer.shape, fit_of(layer))
            )
            yield Phase(name=layer.name, layers=(layer,), mapping=own.to_dict())

    def _published(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, ReuseMapping]:
        """Return the mappings of a file, or raise all that is wrong with them."""
        found: dict[str, ReuseMapping] = {}
        wrong: list[str] = []
        for layer in layers:
            if layer.name not in mapping:
                continue
            try:
                given = ReuseMapping.read(mapping[layer.name], layer.name)
            except MappingError as error:
                wrong += error.faults
                continue
            illegal = faults(given, layer.shape, self.grouping(layer.shape, fit_of(layer)), self.limits)
            wrong += [f"{layer.name}: {fault}" for fault in illegal]
            found[layer.name] = given
        if wrong:
            raise MappingError(wrong)
        return found

    def machine_faults(self) -> Iterable[str]:
        """Yield what keeps the machine from running anything."""
        sums = self.parts["psums"]
        if (sums.rows, sums.columns) != (self.rows, self.columns):
            yield (
                f"components.psums: is {sums.rows} x {sums.columns}; wants an adder for each of "
                f"{self.rows} x {self.columns} PEs"
            )
        if len(set(self.word_bits.values())) > 1:
            told = ", ".join(f"{role} {bits}" for role, bits in self.word_bits.items())
            yield f"components: word_bits: wants one width for all on chip, got {told}"

    def map_shape(self, name: str, shape: LayerShape) -> dict[str, Any]:
        """Return the mapping of a layer whose weights run as they are."""
        return self.choose(name, shape, self.grouping(shape, None)).to_dict()

    def map_layer(self, layer: Layer) -> dict[str, Any]:
        grouping = self.grouping(layer.shape, fit_of(layer))
        return self.choose(layer.name, layer.shape, grouping).to_dict()

    def choose(self, name: str, shape: LayerShape, grouping: Grouping) -> ReuseMapping:
        try:
            return choose(shape, grouping, self.limits)
        except MappingError as error:
            raise MappingError([f"{name}: {fault}" for fault in error.faults]) from None

    def layer_faults(self, layer: Layer) -> Iterable[str]:
        """Yield what keeps a layer from running here, and what would do."""
        raise NotImplementedError

    def grouping(self, shape: LayerShape, fit: Array | None) -> Grouping:
        """Return how the weights of a layer are taken that come from coefficients of this fit, or None."""
        raise NotImplementedError

    def coefficient_bits(self, layer: Layer) -> int:
        """Return the bits of a word that PEs multiply by, as it lies in DRAM."""
        raise NotImplementedError

    def too_wide(self, layer: Layer, part: str, bits: int) -> str:
        """Return the message that what a layer stores has more bits than the machine's words."""
        settings = " ".join(f"--set components.{role}.word_bits={bits}" for role in self.word_bits)
        fitted = part == "weights" and fit_of(layer) is not None
        told = "fitted weights" if fitted else part
        other = "a trace of the exact network's weights, or " if fitted else ""
        return (
            f"{layer.name}: {told} of {bits} bits, words have {self.pes.word_bits}; wants {other}{settings}"
        )

    def reuse_block(self, grouping: Grouping) -> Any:
        """Return the spec of the reuse blocks that make a layer's sums; None where nothing makes any."""
        return None

    # execute

    def execute(self, phase: Phase, values: bool) -> Work:
        """Compute the outputs, every count, and how long the array takes for each block."""
        layer = phase.layers[0]
        grouping = self.grouping(layer.shape, fit_of(layer))
        role, part = self.WINDOWS[0 if grouping.by_rows else 1]
        held, made = self.parts[role], self.reuse_block(grouping)
        layout = Layout(
            Cut(layer.shape, grouping),
            ReuseMapping(**phase.mapping),
            rows=self.rows,
            columns=self.columns,
            windows=(role, part, held.rows or 1, held.columns or 1),
            rates=(
                self.noc.input_words_per_cycle,
                self.noc.coefficient_words_per_cycle,
                self.noc.sum_words_per_cycle,
            ),
            working={n: made.adders.working(n) for n in range(1, grouping.size + 1)}
            if made is not None and grouping.fitted
            else {},
            play=fast.play_sweeps,
        )
        loads, results = layout.link_words(
            self.pes.word_bits, self.coefficient_bits(layer), self.dram.word_bits
        )
        outputs, unfit = self._values(layer) if values else (None, None)
        latency = self.pes.latency_cycles + layout.hops + (0 if made is None else made.latency_cycles)
        return Work(
            layout=layout,
            loads=loads,
            works=layout.works(),
            results=results,
            drain_cycles=latency,
            outputs=outputs,
            unfit_sums=unfit,
        )

    def _values(self, layer: Layer) -> tuple[Array, int]:
        shape, form = layer.shape, layer.formats["expected"]
        lines = layer.side("fit_groups")
        sums = fast.conv_of_coefficients(
            np.asarray(layer.inputs),
            np.asarray(layer.weights),
            None if lines is None else np.asarray(lines.coefficients),
            None if lines is None else np.asarray(lines.fit),
            np.asarray(layer.bias),
            shape.stride, shape.pad, shape.dilation, shape.groups,
        )  # fmt: skip
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
        """One mover brings blocks, two ahead, and takes tiles away, one thing after another."""
        table = core.Schedule()
        blocks = np.arange(len(work.works))
        ends = np.flatnonzero(work.results)  # blocks that end a tile
        starts = np.concatenate([[0], ends[:-1] + 1])
        # in the order of what they follow: load b + 2 and then outputs b follow block b
        loads = blocks + np.searchsorted(ends, blocks - 2)
        leaves = np.arange(len(ends)) + np.minimum(ends + 3, len(blocks))
        words: Counts = np.zeros(len(blocks) + len(ends), np.int64)
        words[loads], words[leaves] = work.loads, work.results[ends]
        writes = np.zeros(len(words), np.bool_)
        writes[leaves] = True
        blocks_moved = table.mover("blocks", "dram", words, writes=writes)
        array = table.worker("pes", np.append(work.works, 0), doing="block")
        # tiles drain side by side where they are shorter than that takes: so many at most, in turn
        tiles = len(ends)
        shortest = int(np.add.reduceat(work.works, starts).min())
        side = min(tiles, -(-work.drain_cycles // max(shortest, 1)) or 1)
        turns = np.zeros((side, -(-tiles // side)), np.int64)  # tiles of each
        turns.T.flat[:tiles] = np.arange(tiles)
        counts: Counts = -(-(tiles - np.arange(side)) // side)
        drain = table.workers("drain", np.full(turns.shape, work.drain_cycles), tasks=counts)

        blocks_moved.wait(array.done[blocks[:-2]], tasks=loads[2:])
        drain.wait(array.done[Ragged(ends[turns], counts)])
        blocks_moved.wait(drain.done, tasks=Ragged(leaves[turns], counts))
        array.wait(blocks_moved.done[loads], "dram_loads", tasks=slice(0, -1))
        array.wait(blocks_moved.done[leaves[:-2]], "dram_outputs", tasks=starts[2:])
        array.wait(drain.done.of((tiles - 1) % side)[-1:], "drain", tasks=slice(-1, None))
        array.wait(blocks_moved.done[-1:], "dram_outputs", tasks=slice(-1, None))
        return table

    def account(self, machine: Machine, phase: Phase, work: Work, played: core.Played) -> Outcome:
        """Book the work, and where every PE's cycles went."""
        sim, layout, layer = machine.sim, work.layout, phase.layers[0]
        for (role, part, action), counts in layout.grids.items():
            sim.ledger.add_grid(role, part, action, counts)
        for (instance, action), n in layout.counts.items():
            sim.ledger.add(instance, action, n)
        if layer.activation is not None:
            sim.ledger.add("relu", "apply", layer.shape.outputs)
        waited = played["pes"].waited
        stalls = dict(zip(("coefficients", "inputs", "sums"), layout.waits, strict=True))
        stalls |= {cause: waited[cause] for cause in ("dram_loads", "dram_outputs", "drain")}
        busy = layout.busy
        steps = int(work.works.sum()) - sum(layout.waits)
        ones = np.ones_like(busy)
        edge = steps * ones - busy
        sim.activity.add_grid("pes", "", "busy", busy)
        sim.activity.add_grid("pes", "", "edge", edge)
        for cause, n in stalls.items():
            sim.activity.add_grid("pes", "", cause, n * ones)
        details: dict[str, Any] = {
            "cycles": played.cycles,
            "stall_cycles": {cause: n for cause, n in stalls.items() if n},
            "macs_executed": layout.multiplications,
            "array_steps": steps,
            "blocks": len(work.works),
            "coefficients_sent": layout.coefficients_sent,
            "reuse_additions": layout.reuse_additions,
            "lost_pe_cycles": {"edge": int(edge.sum())}
            | {cause: n * self.parts["pes"].instances for cause, n in stalls.items()},
            "final_sums_that_do_not_fit": work.unfit_sums,
        }
        outputs = {} if work.outputs is None else {layer.name: work.outputs}
        return Outcome(outputs=outputs, details={layer.name: details})
