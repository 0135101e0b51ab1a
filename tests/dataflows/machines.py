"""Small layers and machines for the tests of dataflows: drawn from a seed, or made to measure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simhw import core
from simhw.components.dram_link import DramLink
from simhw.components.global_buffer import GlobalBuffer
from simhw.components.multicast_noc import MulticastNoc
from simhw.components.output_units import Relu, RunLengthCodec
from simhw.components.row_stationary_pe import RowStationaryPE
from simhw.core.dataflow import Outcome, Phase, Pool
from simhw.core.machine import Machine, Part
from simhw.core.player import play as play_processes
from simhw.dataflows.row_stationary import RowStationary
from simhw.errors import MappingError
from simhw.mapping.row_stationary import candidates, mapping_of
from simhw.play import run
from simhw.reference.fixed import conv_plain
from simhw.shapes import LayerShape, NumberFormat
from simhw.stepped.row_stationary import RowStationaryTwin


@dataclass
class DrawnLayer:
    """A layer whose tensors come from a seed; its expected output from the plain int64 definition."""

    shape: LayerShape
    seed: int = 0
    zeros: float = 0.5
    activation: str | None = "relu"
    reads_network_input: bool = False
    name: str = "layer"
    kind: str = "conv"
    shift: int = 8
    fed_by: tuple[str, ...] | None = None
    feeds: tuple[str, ...] | None = None
    pool: Pool | None = None
    formats: dict[str, NumberFormat] = field(
        default_factory=lambda: {
            "weights": NumberFormat(bits=16, fraction=8),
            "inputs": NumberFormat(bits=16, fraction=8),
            "bias": NumberFormat(bits=64, fraction=16),
            "expected": NumberFormat(bits=16, fraction=8),
        }
    )

    def side(self, transform: str) -> Any:
        return None

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        inputs = rng.integers(-200, 200, self.shape.input_shape)
        inputs[rng.random(inputs.shape) < self.zeros] = 0
        self.inputs = inputs.astype(np.int16)
        self.weights = rng.integers(-100, 100, self.shape.weight_shape).astype(np.int16)
        self.bias = rng.integers(-1000, 1000, self.shape.out_channels)

    @property
    def expected(self) -> np.ndarray:
        shape = self.shape
        sums = conv_plain(shape, self.inputs, self.weights, self.bias)
        out = np.clip(np.round(sums / 2.0**self.shift), -32768, 32767)  # numpy rounds half to even
        if self.activation is not None:
            out = np.maximum(out, 0)
        if self.activation == "relu6":
            out = np.minimum(out, 6 * 2**8)
        return out.astype(np.int16)


def simulated(
    kinds: tuple[Any, Any],
    parts: dict[str, Part],
    options: Any,
    clock_mhz: float,
    phase: Phase,
    engine: str = "compiled",
    log: bool = False,
    values: bool = True,
) -> tuple[core.Simulation, Outcome]:
    """Run a phase on a fresh machine of a dataflow and its twin.

    The engines are compiled, stepped, and `table`: the compiled one, with its schedule played as processes.
    """
    sim = core.Simulation(clock_mhz=clock_mhz, log=log)
    machine = Machine(sim, parts)
    if engine == "stepped":
        ended = sim.process(kinds[1](options).run(machine, phase))
        sim.run()
        return sim, ended.value
    dataflow = kinds[0](parts, options, clock_mhz)
    player = play_processes if engine == "table" else None
    outcome = run(machine, dataflow, phase, values, player)
    (details,) = outcome.details.values()
    if details["cycles"]:
        sim.run(until=details["cycles"])
    return sim, outcome


@dataclass(frozen=True)
class Rig:
    """A machine with its options, ready to run a layer on either engine."""

    parts: dict[str, Part]
    options: Any = field(default_factory=RowStationary.Options)
    clock_mhz: float = 200.0

    def with_spec(self, role: str, **changes: Any) -> Rig:
        part = self.parts[role]
        return replace(self, parts=self.parts | {role: replace(part, spec=replace(part.spec, **changes))})

    def phase(self, layer: DrawnLayer, mapping: dict[str, int] | None = None) -> Phase:
        dataflow = RowStationary(self.parts, self.options, self.clock_mhz)
        return next(iter(dataflow.plan([layer], {layer.name: mapping} if mapping else None)))

    def run(self, phase: Phase, engine: str = "compiled", values: bool = True, log: bool = False) -> Run:
        kinds = RowStationary, RowStationaryTwin
        sim, outcome = simulated(kinds, self.parts, self.options, self.clock_mhz, phase, engine, log, values)
        (layer,) = phase.layers
        return Run(
            sim.cycle,
            outcome.outputs.get(layer.name),
            outcome.details[layer.name],
            sim.ledger.flat(),
            sim.ledger.grouped(),
            sim.activity.flat(),
        )


@dataclass(frozen=True)
class Run:
    """What a run left."""

    cycles: int
    outputs: np.ndarray | None
    details: dict[str, Any]
    actions: dict[str, int]
    grouped: dict[str, int]
    activity: dict[str, int]

    def units(self) -> dict[str, int]:
        """Return the cycles that each unit accounts for."""
        sums: dict[str, int] = {}
        for key, n in self.activity.items():
            unit = key.rpartition(".")[0]
            sums[unit] = sums.get(unit, 0) + n
        return sums


def rig(
    rows: int = 12, columns: int = 14, clock_mhz: float = 200.0, options: Any = None, **specs: Any
) -> Rig:
    """The chip's machine, with Spec fields of roles replaced: rig(pes={"psum_words": 2})."""
    given = {
        "pes": RowStationaryPE.Spec(),
        "glb": GlobalBuffer.Spec(size_kib=108, filter_kib=8),
        "noc": MulticastNoc.Spec(
            filter_words_per_cycle=4,
            ifmap_words_per_cycle=1,
            psum_in_words_per_cycle=4,
            psum_out_words_per_cycle=4,
        ),
        "relu": Relu.Spec(),
        "codec": RunLengthCodec.Spec(),
        "dram": DramLink.Spec(clock_mhz=60),
    }
    kinds = {
        "pes": RowStationaryPE, "glb": GlobalBuffer, "noc": MulticastNoc,
        "relu": Relu, "codec": RunLengthCodec, "dram": DramLink,
    }  # fmt: skip
    parts = {
        role: Part(kind=kinds[role], spec=replace(spec, **specs.get(role, {})))
        for role, spec in given.items()
    }
    parts["pes"] = replace(parts["pes"], rows=rows, columns=columns)
    return Rig(parts, options or RowStationary.Options(), clock_mhz)


def drawn_case(seed: int, largest: int = 9) -> tuple[Rig, DrawnLayer, Phase] | None:
    """Draw a layer, a machine and options; None if the drawn layer or mapping does not exist."""
    rng = random.Random(seed)
    groups, kernel = rng.choice([1, 1, 1, 2, 3]), (rng.randint(1, 5), rng.randint(1, 4))
    try:
        shape = LayerShape(
            batch=rng.choice([1, 1, 2, 3]),
            in_channels=groups * rng.randint(1, largest // 2),
            in_height=rng.randint(max(1, kernel[0] - 2), largest),
            in_width=rng.randint(max(1, kernel[1] - 2), largest),
            out_channels=groups * rng.randint(1, largest * 2 // 3),
            kernel_height=kernel[0],
            kernel_width=kernel[1],
            stride=(rng.randint(1, 3), rng.randint(1, 3)),
            pad=(rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2)),
            dilation=(rng.choice([1, 1, 2]), rng.choice([1, 1, 2])),
            groups=groups,
        )
    except ValueError:
        return None
    options = RowStationary.Options(
        filter_load=rng.choice(["serial", "serial", "overlapped"]),
        first_window=rng.choice(["after_filters", "with_filters"]),
        psum_traffic=rng.choice(["overlapped", "overlapped", "serial"]),
        ifmap_prefetch=rng.choice(["when_it_fits", "never"]),
        ofmap_drain=rng.choice(["when_it_fits", "never"]),
        compression=rng.choice(["after_first", "all", "none"]),
        configuration=rng.choice(["serial", "hidden"]),
        configuration_bits=rng.choice([0, 17]),
    )
    buffers = [(2, 0.25), (108, 8), (1.5, 0.03125)]
    size_kib, filter_kib = rng.choice(buffers)
    machine = rig(
        rng.randint(1, largest // 2 + 1),
        rng.randint(1, largest // 2 + 2),
        clock_mhz=rng.choice([200, 200, 33.3, 1000]),
        options=options,
        pes={
            "ifmap_words": rng.randint(7, 15),
            "filter_words": rng.choice([12, 24, 60, 224]),
            "psum_words": rng.randint(1, 6),
            "zero_gating": rng.random() < 0.8,
            "climb_adder": rng.random() < 0.7,
        },
        glb={"size_kib": size_kib, "filter_kib": filter_kib},
        noc={
            "filter_words_per_cycle": rng.randint(1, 4),
            "ifmap_words_per_cycle": rng.randint(1, 3),
            "psum_in_words_per_cycle": rng.randint(1, 4),
            "psum_out_words_per_cycle": rng.randint(1, 4),
        },
        dram={
            "clock_mhz": rng.choice([60, 200, 133.3, 500, 66.66666666666667, 7.3]),
            "word_bits": rng.choice([16, 64, 128]),
            "latency_cycles": rng.choice([0, 0, 7]),
        },
    )
    layer = DrawnLayer(
        shape,
        seed=seed,
        zeros=rng.random(),
        activation=rng.choice(["relu", None, "relu6"]),
        reads_network_input=rng.random() < 0.5,
    )
    mapping: dict[str, int] | None = None
    if rng.random() < 0.5:  # not the mapper's own, but any legal one
        legal = candidates(shape, RowStationary(machine.parts, options, 200).limits)
        if len(legal):
            mapping = mapping_of(legal[rng.randrange(len(legal))]).to_dict()
    try:
        return machine, layer, machine.phase(layer, mapping)
    except MappingError:
        return None
