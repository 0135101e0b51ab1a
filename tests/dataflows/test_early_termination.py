"""SnaPEA's array: outputs untouched, both engines alike, lane-cycles all accounted for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from machines import DrawnLayer

from simhw import core
from simhw.components.dram_link import DramLink
from simhw.components.lane_noc import LaneNoc
from simhw.components.lane_pe import LanePE
from simhw.core.machine import Machine, Part
from simhw.dataflows.early_termination import EarlyTermination
from simhw.errors import MappingError
from simhw.shapes import LayerShape
from simhw.stepped.early_termination import EarlyTerminationTwin
from simhw.transforms import sign_order

COMMON = ("cycles", "stall_cycles", "macs_executed", "rounds", "macs_cut", "windows_stopped_by_sign")


class OrderedLayer(DrawnLayer):
    """A drawn layer behind a ReLU, whose machine asks for weights by sign."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inputs = np.abs(self.inputs)

    @property
    def ordering(self) -> sign_order.Ordering:
        return sign_order.apply(self.weights)


@dataclass(frozen=True)
class LaneRig:
    parts: dict[str, Part]
    options: Any = field(default_factory=EarlyTermination.Options)
    clock_mhz: float = 500.0

    def run(self, layer: Any, engine: str = "compiled") -> tuple[core.Simulation, Any, dict[str, Any]]:
        dataflow = EarlyTermination(self.parts, self.options, self.clock_mhz)
        (phase,) = dataflow.plan([layer])
        sim = core.Simulation(clock_mhz=self.clock_mhz)
        machine = Machine(sim, self.parts)
        if engine == "stepped":
            playing = EarlyTerminationTwin(self.options).run(machine, phase)
        else:
            playing = dataflow.schedule(machine, phase, dataflow.execute(phase, True))
        ended = sim.process(playing)
        sim.run()
        outcome: Any = ended.value
        return sim, outcome.outputs[layer.name], outcome.details[layer.name]


def rig(rows: int = 2, columns: int = 2, options: Any = None, dram: Any = None, **pes: Any) -> LaneRig:
    spec = replace(LanePE.Spec(io_kib=0.25, weight_words=16, lanes=2), **pes)
    return LaneRig(
        {
            "pes": Part(kind=LanePE, spec=spec, rows=rows, columns=columns),
            "noc": Part(kind=LaneNoc, spec=LaneNoc.Spec()),
            "dram": Part(kind=DramLink, spec=DramLink.Spec(**(dram or {"clock_mhz": 2400}))),
        },
        options or EarlyTermination.Options(),
    )


def assert_alike(machine: LaneRig, layer: OrderedLayer) -> dict[str, Any]:
    (one, out, found), (two, stepped_out, stepped) = (machine.run(layer, e) for e in ("compiled", "stepped"))
    np.testing.assert_array_equal(out, layer.expected)
    np.testing.assert_array_equal(stepped_out, layer.expected)
    assert {k: found[k] for k in COMMON} == {k: stepped[k] for k in COMMON}
    assert one.cycle == two.cycle == found["cycles"]
    assert one.ledger.flat() == two.ledger.flat()
    assert one.activity.flat() == two.activity.flat()
    units: dict[str, int] = {}
    for key, n in one.activity.flat().items():
        assert n >= 0
        unit = key.rpartition(".")[0]
        units[unit] = units.get(unit, 0) + n
    assert set(units.values()) == {one.cycle}
    slots = machine.parts["pes"].instances * machine.parts["pes"].spec.lanes
    assert found["macs_executed"] + sum(found["lost_lane_cycles"].values()) == slots * one.cycle
    assert found["macs_executed"] + found["macs_cut"] == layer.shape.macs
    return found


def drawn(seed: int) -> tuple[LaneRig, OrderedLayer] | None:
    rng = random.Random(seed)
    groups, kernel = rng.choice([1, 1, 2]), (rng.randint(1, 3), rng.randint(1, 3))
    try:
        shape = LayerShape(
            batch=rng.choice([1, 1, 2]),
            in_channels=groups * rng.randint(1, 4),
            in_height=rng.randint(1, 7),
            in_width=rng.randint(1, 7),
            out_channels=groups * rng.randint(1, 6),
            kernel_height=kernel[0],
            kernel_width=kernel[1],
            stride=(rng.randint(1, 2), rng.randint(1, 3)),
            pad=(rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2)),
            dilation=(rng.choice([1, 1, 2]), rng.choice([1, 1, 2])),
            groups=groups,
        )
    except ValueError:
        return None
    layer = OrderedLayer(
        shape, seed=seed, zeros=rng.random(), activation=rng.choice(["relu", "relu", "relu6", None])
    )
    if rng.random() < 0.15:
        layer.inputs = -layer.inputs
    options = EarlyTermination.Options(
        termination=rng.choice(["exact", "exact", "exact", "off"]), test=rng.choice(["below", "at_or_below"])
    )
    machine = rig(
        rng.randint(1, 3),
        rng.randint(1, 3),
        options,
        {
            "clock_mhz": rng.choice([60, 500, 2400, 133.3]),
            "word_bits": rng.choice([16, 64, 128]),
            "latency_cycles": rng.choice([0, 9]),
        },
        lanes=rng.randint(1, 5),
        weight_words=rng.choice([1, 8, 16, 64]),
        io_kib=rng.choice([0.0625, 0.25, 1.0]),
    )
    return machine, layer


@pytest.mark.parametrize("seed", range(80))
def test_engines_agree_on_drawn_layers(seed: int) -> None:
    case = drawn(seed)
    if case is not None:
        assert_alike(*case)


@pytest.mark.long
@pytest.mark.parametrize("block", range(12))
def test_engines_agree_on_many_drawn_layers(block: int) -> None:
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        case = drawn(seed)
        if case is not None:
            assert_alike(*case)


def test_enough_cases_are_drawn() -> None:
    assert sum(drawn(seed) is not None for seed in range(80)) >= 60
    assert sum(drawn(seed) is not None for seed in range(1000, 1600)) >= 500


def one_window(weights: list[int], inputs: list[int]) -> OrderedLayer:
    layer = OrderedLayer(LayerShape.linear(1, len(weights), 1))
    layer.weights = np.array(weights, dtype=np.int16).reshape(1, -1, 1, 1)
    layer.inputs = np.array(inputs, dtype=np.int16).reshape(1, -1, 1, 1)
    layer.bias = np.zeros(1, dtype=np.int64)
    return layer


def test_the_paper_s_example_takes_two_products_of_three() -> None:
    """Figure 3.4: sums run 2, -3, -9; the sign stops the second product, nothing stops unaltered ones."""
    layer = one_window([-5, 2, -6], [1, 1, 1])
    machine = rig(1, 1, lanes=1)
    assert machine.run(layer)[2]["macs_executed"] == 2
    off = replace(machine, options=EarlyTermination.Options(termination="off"))
    assert off.run(layer)[2]["macs_executed"] == 3
    assert assert_alike(machine, layer)["windows_stopped_by_sign"] == 1


def test_the_slowest_lane_sets_the_pace() -> None:
    """Two windows of three products in two lanes; one stops after two, its lane waits a cycle."""
    layer = OrderedLayer(
        LayerShape(
            batch=1, in_channels=3, in_height=1, in_width=2, out_channels=1, kernel_height=1, kernel_width=1
        )
    )
    layer.weights = np.array([2, -5, -6], dtype=np.int16).reshape(1, 3, 1, 1)
    layer.inputs = np.array([[1, 9], [1, 0], [1, 1]], dtype=np.int16).reshape(1, 3, 1, 2)
    layer.bias = np.zeros(1, dtype=np.int64)
    sim, _, found = rig(1, 1, lanes=2).run(layer)
    assert found["macs_executed"] == 5
    assert found["lost_lane_cycles"]["lockstep"] == 1
    assert sim.activity["pes[0,0].lane0", "busy"] == 2
    assert sim.activity["pes[0,0].lane1", "busy"] == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"activation": None}, "off: no ReLU follows"),
        ({"negative": True}, "off: inputs may be negative"),
        ({"ordering": None}, "off: the description asks for no sign_order"),
        ({}, "exact"),
    ],
)
def test_a_layer_that_stopping_could_change_runs_to_the_end(change: dict, why: str) -> None:
    class Layer(OrderedLayer):
        ordering = change.get("ordering", OrderedLayer.ordering)

    shape = LayerShape(
        batch=1, in_channels=2, in_height=5, in_width=5, out_channels=3, kernel_height=3, kernel_width=3
    )
    layer = Layer(shape, activation=change.get("activation", "relu"))
    if "negative" in change:
        layer.inputs = -layer.inputs
    found = assert_alike(rig(), layer)
    assert found["termination"] == why
    assert (found["macs_cut"] > 0) == (why == "exact")


def test_filters_that_fit_the_buffers_let_pes_of_a_column_go_their_own_pace() -> None:
    shape = LayerShape(
        batch=1, in_channels=4, in_height=6, in_width=6, out_channels=4, kernel_height=3, kernel_width=3
    )
    layer = OrderedLayer(shape, zeros=0.3)
    own, together = (assert_alike(rig(weight_words=n), layer) for n in (64, 8))
    assert own["lost_lane_cycles"]["rows"] < together["lost_lane_cycles"]["rows"]
    assert own["macs_executed"] == together["macs_executed"]


def test_a_mapping_is_refused() -> None:
    machine = rig()
    layer = OrderedLayer(LayerShape.linear(1, 4, 4))
    dataflow = EarlyTermination(machine.parts, machine.options, 500)
    with pytest.raises(MappingError, match=r"^layer: early_termination takes no mapping$"):
        list(dataflow.plan([layer], {"layer": {"m": 1}}))
