"""SnaPEA's array: outputs untouched, both engines alike, lane-cycles all accounted for."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from machines import DrawnLayer, simulated

from simhw import core
from simhw.components.dram_link import DramLink
from simhw.components.lane_noc import LaneNoc
from simhw.components.lane_pe import LanePE
from simhw.core.dataflow import Pool
from simhw.core.machine import Part
from simhw.dataflows.early_termination import LOST, EarlyTermination, ordering_of
from simhw.errors import DescriptionError, MappingError
from simhw.fast.early_termination import BY_PREDICTION, early_termination_plain
from simhw.shapes import LayerShape
from simhw.stepped.early_termination import EarlyTerminationTwin
from simhw.transforms import sign_order, speculation

STOPPED = ("macs_cut", "windows_stopped_by_sign", "windows_stopped_by_prediction", "mispredictions")


class OrderedLayer(DrawnLayer):
    """A drawn layer behind a ReLU, whose machine asks for weights by sign, or for speculation."""

    negatives = "original"
    thresholds: Any = None
    groups: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inputs = np.abs(self.inputs)

    def side(self, transform: str) -> sign_order.Ordering | None:
        if transform == "sign_order":
            return sign_order.apply(self.weights, self.negatives)
        if self.groups is None:
            return None
        return speculation.apply(self.weights, self.thresholds, self.groups, self.negatives)


@dataclass(frozen=True)
class LaneRig:
    parts: dict[str, Part]
    options: Any = field(default_factory=EarlyTermination.Options)
    clock_mhz: float = 500.0
    places: dict[str, str] = field(default_factory=dict)  # of inputs and outputs: chip or dram

    def run(
        self, layer: Any, engine: str = "compiled", log: bool = False
    ) -> tuple[core.Simulation, Any, dict[str, Any]]:
        dataflow = EarlyTermination(self.parts, self.options, self.clock_mhz)
        (phase,) = dataflow.plan([layer])
        phase = replace(phase, mapping=dict(phase.mapping) | self.places)
        kinds = EarlyTermination, EarlyTerminationTwin
        sim, outcome = simulated(kinds, self.parts, self.options, self.clock_mhz, phase, engine, log)
        return sim, outcome.outputs[layer.name], outcome.details[layer.name]


def rig(
    rows: int = 2, columns: int = 2, options: Any = None, dram: Any = None, row_words: int = 4, **pes: Any
) -> LaneRig:
    spec = replace(LanePE.Spec(io_kib=0.25, weight_words=16, lanes=2), **pes)
    return LaneRig(
        {
            "pes": Part(kind=LanePE, spec=spec, rows=rows, columns=columns),
            "noc": Part(kind=LaneNoc, spec=LaneNoc.Spec(row_words=row_words)),
            "dram": Part(kind=DramLink, spec=DramLink.Spec(**(dram or {"clock_mhz": 2400}))),
        },
        options or EarlyTermination.Options(),
    )


def assert_alike(machine: LaneRig, layer: OrderedLayer) -> dict[str, Any]:
    """Hold both engines, and the shortcut to the schedule, to each other and to the reference."""
    try:
        machine.run(layer)
    except DescriptionError as refused:
        with pytest.raises(DescriptionError, match=f"^{re.escape(str(refused))}$"):
            machine.run(layer, "stepped")
        return {"termination": "refused"}
    runs = [machine.run(layer), machine.run(layer, log=True), machine.run(layer, "stepped")]
    sim, out, found = runs[0]
    if not found.get("mispredictions"):
        np.testing.assert_array_equal(out, layer.expected)
    for other, other_out, details in runs[1:]:
        np.testing.assert_array_equal(out, other_out)
        assert found == details
        assert sim.cycle == other.cycle == found["cycles"]
        assert sim.ledger.flat() == other.ledger.flat()
        assert sim.activity.flat() == other.activity.flat()
    units: dict[str, int] = {}
    for key, n in sim.activity.flat().items():
        assert n >= 0
        unit = key.rpartition(".")[0]
        units[unit] = units.get(unit, 0) + n
    assert set(units.values()) == {sim.cycle}
    slots = machine.parts["pes"].instances * machine.parts["pes"].spec.lanes
    assert found["macs_executed"] + sum(found["lost_lane_cycles"].values()) == slots * sim.cycle
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
    if rng.random() < 0.2:
        layer.inputs = (
            np.where(np.random.default_rng(seed).random(layer.inputs.shape) < 0.5, -1, 1) * layer.inputs
        )
        layer.inputs = layer.inputs.astype(np.int16)
    layer.negatives = rng.choice(["original", "original", "magnitude"])
    if rng.random() < 0.4:
        layer.groups = [rng.randint(1, min(shape.window, 6)) for _ in range(shape.out_channels)]
        layer.thresholds = [rng.choice([0, rng.randint(-5000, 5000)]) for _ in range(shape.out_channels)]
    kernel = (rng.randint(1, 3), rng.randint(1, 3))
    if rng.random() < 0.3 and kernel[0] <= shape.out_height and kernel[1] <= shape.out_width:
        size = [(n - k) // 2 + 1 for n, k in zip((shape.out_height, shape.out_width), kernel, strict=True)]
        layer.pool = Pool(kernel=kernel, stride=(2, 2), pad=(0, 0), height=size[0], width=size[1])
    fewest, barrier = rng.choice(["groups", "rounds"]), rng.choice(["array", "array", "row"])
    options = EarlyTermination.Options(
        termination=rng.choice(["exact", "exact", "exact", "off"]),
        test=rng.choice(["below", "at_or_below"]),
        signed_inputs=rng.choice(["whole", "whole", "shift", "shift", "refuse"]),
        long_filters=rng.choice(
            ["parked", "parked", "staged", "restreamed"][: 4 if barrier == "array" else 3]
        ),
        weight_buffer=rng.choice(["halves", "whole"]),
        pace=rng.choice(["own", "column"]) if barrier == "array" else "own",
        barrier=barrier,
        filters=rng.choice(["in_turn", "by_work"]),
        grouping=rng.choice(["wrapped", "rows", "blocks"]),
        fewest=fewest,
        one_portion=rng.choice(["columns", "pes"]),
        activations=rng.choice(["where_they_fit", "as_printed", "off_chip"]),
        pooling=rng.choice(["none", "overlapped", "serial"]),
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
        row_words=rng.randint(1, 5),
        lanes=rng.randint(1, 5),
        weight_words=rng.choice([1, 8, 16, 64]),
        io_kib=rng.choice([0.125, 0.25, 1.0]),
        sum_bits=rng.choice([16, 48]),
        pool_words=rng.randint(1, 3),
    )
    places = {side: rng.choice(["dram", "dram", "chip"]) for side in ("inputs", "outputs")}
    return replace(machine, places=places), layer


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


@st.composite
def layers(draw: st.DrawFn) -> OrderedLayer:
    """Draw a layer of small integers, weights and inputs one by one."""
    small = st.integers(1, 4)
    shape = LayerShape(
        batch=1, in_channels=draw(small), in_height=draw(small), in_width=draw(small),
        out_channels=draw(small),
        kernel_height=draw(st.integers(1, 2)), kernel_width=draw(st.integers(1, 2)), pad=(1, 0, 0, 1),
    )  # fmt: skip
    layer = OrderedLayer(shape)
    layer.weights = draw(arrays(np.int16, shape.weight_shape, elements=st.integers(-40, 40)))
    layer.inputs = draw(arrays(np.int16, shape.input_shape, elements=st.integers(0, 60)))
    layer.bias = draw(arrays(np.int64, shape.out_channels, elements=st.integers(-5000, 5000)))
    layer.negatives = draw(st.sampled_from(["original", "magnitude"]))
    return layer


@settings(max_examples=60, deadline=None)
@given(layers(), st.sampled_from(["below", "at_or_below"]))
def test_exact_mode_changes_no_output_of_any_layer(layer: OrderedLayer, test: str) -> None:
    machine = rig(options=EarlyTermination.Options(test=test))
    assert_alike(machine, layer)


CHOICES = {
    name: get_args(hint)
    for name, hint in get_type_hints(EarlyTermination.Options, include_extras=True).items()
}


@st.composite
def machines(draw: st.DrawFn) -> LaneRig:
    """Draw any choice of options, and sizes that make each of them matter."""
    chosen = {name: draw(st.sampled_from(words)) for name, words in CHOICES.items()}
    if chosen["barrier"] == "row":
        chosen["pace"] = "own"
        chosen["long_filters"] = draw(st.sampled_from(["parked", "staged"]))
    small = st.integers(1, 3)
    return rig(
        draw(small), draw(small), EarlyTermination.Options(**chosen),
        {"clock_mhz": draw(st.sampled_from([60, 500, 2400]))},
        lanes=draw(st.integers(1, 4)), weight_words=draw(st.sampled_from([2, 8, 64])),
        io_kib=draw(st.sampled_from([0.125, 0.25])),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_engines_agree_whatever_is_chosen_and_predicted(data: st.DataObject) -> None:
    layer = data.draw(layers())
    filters, window = layer.shape.out_channels, layer.shape.window
    if data.draw(st.booleans()):
        each = {"min_size": filters, "max_size": filters}
        layer.groups = data.draw(st.lists(st.integers(1, window), **each))
        layer.thresholds = data.draw(st.lists(st.integers(-3000, 3000), **each))
    assert_alike(data.draw(machines()), layer)


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
        ({"side": lambda layer, transform: None}, "off: the description asks for no sign_order"),
        ({}, "exact"),
    ],
)
def test_a_layer_that_stopping_could_change_runs_to_the_end(change: dict, why: str) -> None:
    class Layer(OrderedLayer):
        side = change.get("side", OrderedLayer.side)

    shape = LayerShape(
        batch=1, in_channels=2, in_height=5, in_width=5, out_channels=3, kernel_height=3, kernel_width=3
    )
    layer = Layer(shape, activation=change.get("activation", "relu"))
    if "negative" in change:
        layer.inputs = -layer.inputs
    found = assert_alike(rig(), layer)
    assert found["termination"] == why
    assert (found["macs_cut"] > 0) == (why == "exact")


SQUARE = LayerShape(
    batch=1, in_channels=4, in_height=6, in_width=6, out_channels=4, kernel_height=3, kernel_width=3
)


def with_options(machine: LaneRig, **options: Any) -> LaneRig:
    return replace(machine, options=replace(machine.options, **options))


def test_at_one_pace_a_column_waits_for_its_slowest_pe_at_every_group() -> None:
    layer = OrderedLayer(replace(SQUARE, in_height=10, in_width=10), zeros=0.3)
    machine = rig(weight_words=128, io_kib=1.0, dram={"clock_mhz": 50_000})
    own, column = (assert_alike(with_options(machine, pace=pace), layer) for pace in ("own", "column"))
    assert own["cycles"] < column["cycles"]
    assert own["macs_executed"] == column["macs_executed"]
    assert column["lost_lane_cycles"]["stream"] > 0


def test_long_filters_are_parked_staged_or_brought_again() -> None:
    """36 weights, units of 8: parked sums cost cycles, what comes again costs words, staging neither."""
    layer = OrderedLayer(replace(SQUARE, in_height=10, in_width=10), zeros=0.3)
    machine = rig(weight_words=16, io_kib=1.0, dram={"clock_mhz": 50_000})
    found, words = {}, {}
    for how in ("parked", "staged", "restreamed"):
        one = with_options(machine, long_filters=how)
        found[how] = assert_alike(one, layer)["lost_lane_cycles"]
        words[how] = one.run(layer)[0].ledger["dram", "read"]
    assert found["parked"]["parking"] > 0
    assert found["staged"]["parking"] == found["restreamed"]["parking"] == 0
    assert words["restreamed"] > 2 * words["staged"]


@pytest.mark.parametrize("grouping", ["wrapped", "rows", "blocks"])
def test_windows_are_grouped_along_rows_around_their_ends_or_in_blocks(grouping: str) -> None:
    """3 x 4 outputs in one PE, lanes for 3 (or 4): what does not divide leaves lanes without a window."""
    shape = replace(SQUARE, in_height=5, in_width=6)
    lanes = {"wrapped": 3, "rows": 3, "blocks": 4}[grouping]
    machine = rig(1, 1, lanes=lanes, io_kib=1.0, weight_words=128)
    machine = with_options(machine, grouping=grouping, termination="off")
    lost = assert_alike(machine, OrderedLayer(shape))["lost_lane_cycles"]
    # rows of 4 take two groups of 3: two places empty in each of 3 rows; 2 x 2 blocks leave 2 x 2 of 4 x 4
    expected = {"wrapped": 0, "rows": 3 * 2 * 36 * 4, "blocks": 4 * 36 * 4}[grouping]
    assert lost["no_window"] == expected


def test_filters_of_a_layer_with_one_portion_may_go_round_all_pes() -> None:
    layer = OrderedLayer(LayerShape.linear(1, 20, 12))
    machine = rig(3, 2, dram={"clock_mhz": 50_000})
    columns, pes = (
        assert_alike(with_options(machine, one_portion=place), layer) for place in ("columns", "pes")
    )
    assert columns["lost_lane_cycles"]["no_portion"] > 0
    assert pes["lost_lane_cycles"]["no_portion"] == 0
    assert pes["cycles"] < columns["cycles"]
    for others in ({"termination": "off"}, {"termination": "off", "barrier": "row"}):
        assert assert_alike(with_options(machine, one_portion="pes", **others), layer)["cycles"] > 0


def test_a_window_that_does_not_fit_half_a_memory_comes_in_slices_and_runs_whole() -> None:
    layer = OrderedLayer(LayerShape.linear(1, 300, 4))
    machine = rig(io_kib=0.25)  # halves of 64 words
    found = assert_alike(machine, layer)
    assert found["rounds"] == 5
    assert found["termination"] == "off: a window of 300 inputs does not fit 64 words"
    assert found["lost_lane_cycles"]["parking"] > 0


def test_signed_inputs_may_be_raised_and_then_stop_early() -> None:
    layer = OrderedLayer(replace(SQUARE, pad=(1, 1, 1, 1)))
    layer.inputs = (layer.inputs - 40).astype(np.int16)
    assert assert_alike(rig(), layer)["termination"] == "off: inputs may be negative"
    shifted = assert_alike(with_options(rig(), signed_inputs="shift"), layer)
    assert shifted["termination"] == "exact"
    assert shifted["macs_cut"] > 0


def test_raised_inputs_are_predicted_as_if_they_were_not() -> None:
    """A threshold speaks of the sum of the inputs as they are, whatever was added to them."""
    layer = OrderedLayer(replace(SQUARE, pad=(1, 1, 1, 1)))
    layer.inputs = (layer.inputs - 40).astype(np.int16)
    layer.groups, layer.thresholds = [5] * 4, [-2000, 0, 1000, 500]
    found = assert_alike(with_options(rig(), signed_inputs="shift"), layer)
    order = ordering_of(layer)
    stopped = early_termination_plain(
        layer.inputs, order.weights, order.order, layer.bias, order.prefix, order.thresholds,
        np.full(4, SQUARE.window), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1,
    )[2]  # fmt: skip
    assert found["windows_stopped_by_prediction"] == np.count_nonzero(stopped == BY_PREDICTION) > 0


def test_signed_inputs_may_be_refused() -> None:
    layer = OrderedLayer(SQUARE)
    layer.inputs = (layer.inputs - 40).astype(np.int16)
    with pytest.raises(
        DescriptionError,
        match=r"^layer: inputs are as low as -40, stopping early would change its outputs; "
        r"options\.signed_inputs: whole runs such layers to the end, shift makes inputs non-negative$",
    ):
        with_options(rig(), signed_inputs="refuse").run(layer)


def test_activations_on_chip_are_handed_on_along_the_rows() -> None:
    """A row's bus moves four words a cycle, the row with the most inputs decides; as printed it is free."""
    layer = OrderedLayer(replace(SQUARE, in_height=4), activation=None)
    machine = rig(1, 2, io_kib=1.0)
    kept = replace(machine, places={"inputs": "chip", "outputs": "chip"})
    assert assert_alike(kept, layer)["stall_cycles"]["row_bus"] == 4 * 4 * 6 // 4
    assert kept.run(layer)[0].ledger["dram", "write"] == 0
    free = with_options(kept, activations="as_printed")
    assert "row_bus" not in assert_alike(free, layer)["stall_cycles"]
    assert free.run(layer)[0].ledger["noc.rows", "send"] == 0


def test_pooling_takes_every_output_once_and_leaves_fewer_to_write() -> None:
    layer = OrderedLayer(replace(SQUARE, in_height=6, in_width=6))  # 4 x 4 outputs of 4 filters
    layer.pool = Pool(kernel=(2, 2), stride=(2, 2), pad=(0, 0), height=2, width=2)
    machine = rig(1, 1, io_kib=1.0)
    sim, *_ = machine.run(layer)
    assert sim.ledger["pes[0,0].pool", "take"] == 64
    assert sim.ledger["dram", "write"] == 16 * 16 // 64
    serial = assert_alike(with_options(machine, pooling="serial"), layer)
    assert serial["stall_cycles"]["pooling"] == 64


def test_a_prediction_stops_after_the_paper_s_one_product() -> None:
    """Figure 3.4, predictive: a sum of 2 after one weight is below Th = 3, and the output is zero."""
    layer = one_window([-5, 2, -6], [1, 1, 1])
    layer.groups, layer.thresholds = [1], [3]
    layer.weights = np.array([2, -1, -1], dtype=np.int16).reshape(1, 3, 1, 1)
    found = assert_alike(rig(1, 1, lanes=1), layer)
    assert (found["macs_executed"], found["windows_stopped_by_prediction"]) == (1, 1)
    assert found["mispredictions"] == 0  # 2 - 1 - 1 is not above zero


def test_what_predictions_miss_is_counted_with_its_size() -> None:
    layer = one_window([4, 2, 3], [256, 256, 256])
    layer.groups, layer.thresholds = [1], [2000]
    found = assert_alike(rig(1, 1, lanes=1), layer)
    assert found["mispredictions"] == 1
    assert found["mispredicted_max"] == found["mispredicted_mean"] == 9 * 256 / 2**16
    assert found["positive_windows"] == 1


def test_every_choice_occurs_among_the_drawn_cases() -> None:
    seen: set[str] = set()
    for seed in range(1000, 1200):
        case = drawn(seed)
        if case is None:
            continue
        seen |= set(case[0].options.to_dict().values())
        try:
            found = case[0].run(case[1])[2]
        except DescriptionError:
            seen.add("refused")
            continue
        seen |= {cause for cause, n in found["lost_lane_cycles"].items() if n}
        seen |= {key for key in STOPPED if found.get(key)}
        seen.add(found["termination"].partition(" ")[0])
    assert seen >= {*LOST, *STOPPED, "exact", "predictive", "off:", "refused"}
    hints = get_type_hints(EarlyTermination.Options, include_extras=True)
    assert seen >= {word for hint in hints.values() for word in get_args(hint)}


def test_rows_that_move_by_themselves_do_not_wait_for_the_slowest() -> None:
    layer = OrderedLayer(replace(SQUARE, in_height=14, in_width=14), zeros=0.3)
    machine = rig(3, 2, weight_words=128, io_kib=0.5, dram={"clock_mhz": 50_000})
    array, row = (assert_alike(with_options(machine, barrier=who), layer) for who in ("array", "row"))
    assert row["rounds"] == array["rounds"] > 2
    assert row["macs_executed"] == array["macs_executed"]
    assert row["cycles"] < array["cycles"]
    assert row["lost_lane_cycles"]["barrier"] < array["lost_lane_cycles"]["barrier"]
    assert row["stall_cycles"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pace": "column"}, "pace: wants own where barrier is row, got column"),
        (
            {"long_filters": "restreamed"},
            "long_filters: wants parked or staged where barrier is row, got restreamed",
        ),
    ],
)
def test_rows_that_move_by_themselves_keep_no_step_with_others(options: dict, message: str) -> None:
    with pytest.raises(DescriptionError, match=f"^{message}$"):
        EarlyTermination.Options(barrier="row", **options)


def test_filters_dealt_by_work_leave_columns_with_alike_much() -> None:
    """One window, filters of 9, 1, 9 and 1 products, two columns: in turn 18 and 2, by work 10 and 10."""
    layer = OrderedLayer(LayerShape.linear(1, 9, 4))
    layer.inputs = np.ones((1, 9, 1, 1), dtype=np.int16)
    layer.weights = np.full((4, 9, 1, 1), -1, dtype=np.int16)
    layer.weights[::2] = 1
    layer.bias = np.zeros(4, dtype=np.int64)
    machine = rig(1, 2, lanes=1, dram={"clock_mhz": 50_000, "word_bits": 1024})
    for filters, busy in (("in_turn", [18, 2]), ("by_work", [10, 10])):
        one = with_options(machine, filters=filters)
        assert assert_alike(one, layer)["macs_executed"] == 20
        sim = one.run(layer)[0]
        assert [sim.activity[f"pes[0,{column}].lane0", "busy"] for column in (0, 1)] == busy


def test_its_own_mapping_is_taken_and_any_other_refused() -> None:
    machine = rig()
    layer = OrderedLayer(LayerShape.linear(1, 4, 4))
    dataflow = EarlyTermination(machine.parts, machine.options, 500)
    own = dataflow.map_shape("layer", layer.shape)
    assert list(dataflow.plan([layer], {"layer": own, "another": {}})) == list(dataflow.plan([layer]))
    with pytest.raises(
        MappingError, match=r"^layer: wants portion_rows: 1, portion_columns: 1, the one mapping .* got m: 1$"
    ):
        list(dataflow.plan([layer], {"layer": {"m": 1}}))


@pytest.mark.parametrize(
    ("shape", "io_kib", "wanted"),
    [
        (
            SQUARE,
            0.01,
            "half of a PE's memory has 2 words, one channel of a window 9; wants .* of at least 0.0352$",
        ),
        (replace(SQUARE, dilation=(2, 2)), 0.05, "one channel of a window 25; wants .* at least 0.0977$"),
        (LayerShape.linear(1, 4, 90), 0.125, "has 32 words, outputs of 45 filters 45; .* 0.1758$"),
    ],
)
def test_a_memory_that_holds_no_channel_of_a_window_or_not_its_outputs_is_refused(
    shape: LayerShape, io_kib: float, wanted: str
) -> None:
    layer = OrderedLayer(shape)
    with pytest.raises(DescriptionError, match=f"(?m)^layer: .*{wanted}"):
        rig(io_kib=io_kib).run(layer)
    enough = float(wanted.rstrip("$").split()[-1])
    assert assert_alike(rig(io_kib=enough), layer)["cycles"] > 0
