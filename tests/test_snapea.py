"""SnaPEA as a machine that ships: outputs untouched, predictions as tuned, its inputs checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simhw.accelerator import simulate
from simhw.comparison import compare
from simhw.description import load_accelerator
from simhw.errors import DescriptionError, TuningError
from simhw.parameters import load
from simhw.reports.table import comparison_table, lane_cycles, lanes_table, result_text
from simhw.trace import Trace
from simhw.transforms.speculation import orderings
from simhw.tuning import evaluate, network_of
from simhw.workload import export, load_workload

DATA = os.environ.get("SIMHW_DATA")
NETWORKS = ("squeezenet_v1_1", "alexnet_conv", "lenet5_mnist", "resnet20_cifar10")
TRACE, TUNING = "lenet_digits", "lenet_digits-1"


def real(name: str) -> Trace:
    workload = load_workload(name)
    if DATA is None or not (Path(DATA) / str(workload.weights.file)).exists():
        pytest.skip(f"SIMHW_DATA names no folder with {workload.weights.file}")
    return export(workload, images=1)


@pytest.mark.parametrize("signed", ["whole", "shift"])
@pytest.mark.parametrize("name", NETWORKS)
def test_exact_mode_changes_no_output_of_a_real_network(name: str, signed: str) -> None:
    result = simulate("snapea", real(name), overrides={"options.signed_inputs": signed})
    assert result.exact
    assert [layer.name for layer in result.layers if layer.output_matches is not True] == []
    assert sum(layer.details["macs_cut"] for layer in result.layers) > 0


def test_the_largest_negatives_first_stop_earlier_in_every_layer_that_stops() -> None:
    original, magnitude = (
        [
            x.details["macs_cut"]
            for x in simulate("snapea", TRACE, overrides={"transforms.sign_order.negatives": order}).layers
        ]
        for order in ("original", "magnitude")
    )
    assert all(later > earlier for earlier, later in zip(original[:4], magnitude[:4], strict=True))
    assert original[4] == magnitude[4] == 0  # no ReLU follows


def test_engines_agree_on_a_tuned_network() -> None:
    fast, slow = (simulate("snapea", TRACE, tuning=TUNING, engine=e) for e in ("compiled", "stepped"))
    assert fast.cycles == slow.cycles
    for one, two in zip(fast.layers, slow.layers, strict=True):
        assert dict(one.actions) == dict(two.actions)
        assert dict(one.activity) == dict(two.activity)
        assert one.output_error == two.output_error
        assert one.details == two.details


def test_predictions_cut_more_and_are_booked() -> None:
    exact, tuned = simulate("snapea", TRACE), simulate("snapea", TRACE, tuning=TUNING)
    assert not tuned.exact
    assert tuned.layers[0].details["termination"] == "predictive"
    assert tuned.layers[0].details["windows_stopped_by_prediction"] > 0
    assert sum(x.macs_executed for x in tuned.layers) < sum(x.macs_executed for x in exact.layers)
    assert "tuning" not in exact.digests
    other = simulate("snapea", TRACE, tuning="lenet_digits-2", layers=["conv1"])
    again = simulate("snapea", TRACE, tuning=TUNING, layers=["conv1"])
    assert tuned.digests["tuning"] == again.digests["tuning"] != other.digests["tuning"]
    # named as it was asked for: no folder of this computer, on which the result's digest would depend
    assert (exact.options["tuning"], other.options["tuning"]) == (None, "lenet_digits-2")
    loaded = simulate("snapea", TRACE, tuning=load("lenet_digits-2", "speculation"), layers=["conv1"])
    assert loaded.to_dict() == other.to_dict()
    predicted = [layer for layer in tuned.layers if layer.details["termination"] == "predictive"]
    assert all("mispredictions" in layer.details for layer in predicted)


def test_no_output_is_further_off_than_the_largest_prediction_missed() -> None:
    """In an open loop a layer reads what the reference read, so all that it loses it loses by prediction."""
    for layer in simulate("snapea", TRACE, tuning=TUNING).layers:
        if layer.output_error is None:
            continue
        assert layer.details["mispredictions"] > 0
        step = 2.0**-8  # an output's last place, by which rounding may move it
        assert layer.output_error["max"] <= layer.details["mispredicted_max"] + step


@pytest.mark.parametrize("tuning", ["lenet_digits-1", "lenet_digits-2"])
def test_what_a_tuning_is_measured_to_do_the_machine_does_in_a_closed_loop(tuning: str) -> None:
    trace = export(load_workload(TRACE), images=12, first=40, data="digits")
    measured, ran = evaluate(tuning, trace), simulate("snapea", trace, tuning=tuning, closed_loop=True)
    exact = simulate("snapea", trace, closed_loop=True)
    assert ran.accuracy == measured.accuracy
    assert exact.accuracy == measured.exact_accuracy
    for one, layer, alone in zip(measured.layers, ran.layers, exact.layers, strict=True):
        assert (one.name, one.macs, one.exact_macs) == (layer.name, layer.macs_executed, alone.macs_executed)
        assert one.whole_macs == layer.macs
        if not one.predictive_filters:
            assert layer.details["termination"] != "predictive"
            continue
        stopped = layer.details["windows_stopped_by_prediction"]
        assert stopped == one.true_negatives + one.false_negatives > 0
        assert layer.details["mispredictions"] == one.false_negatives
        assert layer.details["positive_windows"] == one.positives


def test_what_a_tuning_puts_out_is_what_the_machine_puts_out() -> None:
    """Layer by layer, all of a network's layers reading what was mispredicted before them."""
    trace = export(load_workload(TRACE), images=5, first=7, data="digits")
    loaded: Any = load(TUNING, "speculation", trace)
    network = network_of(trace)
    seen: dict[str, Any] = {}
    ordered = {name: network.by_name[name].exact for name in network.stopping} | orderings(loaded, network)
    network.predictions(
        ordered, lambda layer, out: seen.update({layer.name: np.where(out.predicted, 0, out.outputs)})
    )
    for layer in simulate("snapea", trace, tuning=TUNING, closed_loop=True).layers:
        expected = trace.layer(layer.name).expected.astype(np.float64)
        apart = abs(seen[layer.name].reshape(expected.shape) - expected)
        step = 2.0 ** -trace.layer(layer.name).formats["expected"].fraction
        if layer.output_matches:
            assert not apart.any()
        else:
            assert layer.output_error == {
                "max": apart.max() * step,
                "mean": pytest.approx(apart.mean() * step),
            }


def test_what_reordering_costs_in_storage_is_told_by_transform_and_layer() -> None:
    exact, tuned = simulate("snapea", TRACE), simulate("snapea", TRACE, tuning=TUNING)
    bits = {x.name: x.details["index_bits"] for x in exact.layers if "index_bits" in x.details}
    assert exact.storage_bits == {"sign_order": bits}
    predicting = {x.name for x in tuned.layers if x.details["termination"] == "predictive"}
    assert set(tuned.storage_bits["speculation"]) == predicting
    assert {**tuned.storage_bits["sign_order"], **tuned.storage_bits["speculation"]} == bits
    assert exact.options["transforms"] == {"sign_order": {"negatives": "original"}, "speculation": {}}
    assert simulate("eyeriss", TRACE).storage_bits == {}


def test_a_tuning_needs_a_machine_that_predicts() -> None:
    with pytest.raises(
        DescriptionError,
        match=r"^tuning: eyeriss takes no tuning; wants an accelerator with "
        r"transforms: {speculation: {}}$",
    ):
        simulate("eyeriss", TRACE, tuning=TUNING)


def test_a_tuning_needs_termination() -> None:
    with pytest.raises(DescriptionError, match=r"^tuning: snapea has options.termination off; wants exact$"):
        simulate("snapea", TRACE, tuning=TUNING, overrides={"options.termination": "off"})


def test_a_tuning_of_another_network_or_other_weights_is_refused() -> None:
    trace = export(load_workload("cifar10_quick"), images=1, data="synthetic", weights="random")
    with pytest.raises(
        TuningError, match=r"made for another network, of lenet_digits, and not for cifar10_quick"
    ):
        simulate("snapea", trace, tuning=TUNING)
    with pytest.raises(
        TuningError, match=r"made for other weights, of lenet5_mnist, and not for lenet_digits"
    ):
        simulate("snapea", TRACE, tuning="lenet5_mnist-1")


def test_a_network_without_relus_has_nothing_to_terminate_and_says_so() -> None:
    workload = load_workload("lenet5_tolba")  # sigmoids
    trace = export(workload, images=1, data="synthetic", weights="random")
    result = simulate("snapea", trace)
    assert {layer.details["termination"] for layer in result.layers} == {"off: no ReLU follows"}
    assert result.outputs_match
    said = "sums stopped early: nowhere, there is nothing to terminate (no ReLU follows)"
    assert said in result_text(result).splitlines()


def test_a_run_says_which_layers_stop_early_and_why_the_others_do_not() -> None:
    lines = result_text(simulate("snapea", TRACE)).splitlines()
    assert "sums stopped early: exact (conv1, conv2, fc1, fc2); off: no ReLU follows (fc3)" in lines
    assert not any("stopped early" in line for line in result_text(simulate("eyeriss", TRACE)).splitlines())


def test_layers_that_follow_each_other_keep_activations_where_they_fit() -> None:
    """conv1 feeds conv2 through a pooling only, and both fit half a memory in one round."""
    kept = {layer.name: layer.mapping for layer in simulate("snapea", TRACE).layers}
    assert kept["conv1"]["inputs"] == "dram"
    assert all(kept[name]["inputs"] == "chip" for name in ("conv2", "fc1", "fc2", "fc3"))
    assert kept["fc3"]["outputs"] == "dram"
    small = simulate("snapea", TRACE, overrides={"components.pes.io_kib": 1.0})
    assert small.layers[1].mapping["inputs"] == "dram"
    assert small.outputs_match


def test_the_machine_of_the_table_has_256_multipliers_and_a_quarter_more_than_a_megabyte() -> None:
    description = load_accelerator("snapea")
    built = description.structure()["pes"]
    assert built["multipliers"] == built["adders"] == 256
    # 64 PEs of 20 KB, and two buffers of 0.5 KB each
    assert built["sram_bits"] == 64 * (20 + 0.5 + 0.5) * 1024 * 8


def test_without_values_time_is_the_same() -> None:
    whole, timed = simulate("snapea", TRACE), simulate("snapea", TRACE, values=False)
    assert whole.cycles == timed.cycles
    assert timed.outputs_match is None


def test_outputs_of_predictions_are_near_and_said_to_be_so() -> None:
    result = simulate("snapea", TRACE, tuning=TUNING)
    text = result_text(result)
    assert "DIFFERS" not in text
    for layer in result.layers:
        if layer.output_error is not None:
            assert f"near, {layer.output_error['max']:.3g} off" in text


def test_a_run_says_where_the_cycles_of_lanes_went() -> None:
    result = simulate("snapea", TRACE)
    (line,) = (line for line in result_text(result).splitlines() if line.startswith("cycles of lanes: "))
    shares = dict(part.rsplit(" ", 2)[:2] for part in line.removeprefix("cycles of lanes: ").split(", "))
    assert shares["products"] == f"{100 * result.totals['utilization']:.1f}"
    assert "lockstep" in shares
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=0.6)
    table = lanes_table(result)
    assert table is not None
    assert [row[0] for row in table.rows] == [layer.name for layer in result.layers]
    lanes = lane_cycles(result)
    slots = 256 * result.cycles
    assert sum(sum(own.values()) for own in lanes.values()) == slots
    assert lanes_table(simulate("eyeriss", TRACE, layers=["conv1"])) is None


def test_a_closed_loop_beside_an_open_one_is_told() -> None:
    closed, opened = (simulate("snapea", TRACE, tuning=TUNING, closed_loop=loop) for loop in (True, False))
    rows = {row[0]: row[1:] for row in comparison_table(compare([closed, opened], ["one", "two"])).rows}
    assert rows["loop"] == ("closed", "open")
    assert "loop" not in comparison_table(compare([closed, closed], ["one", "two"])).text()
