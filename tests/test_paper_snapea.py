"""The chapter's printed numbers, recomputed: closed forms exact, the rest at an honest distance."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Any

import pytest

from simhw.accelerator import simulate
from simhw.errors import SimhwError
from simhw.papers import reproduce, snapea
from simhw.papers.snapea import predictive, runs

DATA = os.environ.get("SIMHW_DATA")
needs_data = pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "squeezenet_v1_1_weights.npz").exists(),
    reason="SIMHW_DATA names no folder with the networks' weights and images",
)
EXACT = (
    *(f"table3_1.{name}.year" for name in ("AlexNet", "GoogLeNet", "SqueezeNet")),
    *(f"table3_1.{name}.convolutions" for name in ("AlexNet", "GoogLeNet", "SqueezeNet", "VGGNet")),
    *(f"table3_2.snapea.{part}_mm2" for part in ("lanes", "weights", "indexes", "io", "paus")),
    *(f"table3_2.snapea.{part}_register_mm2" for part in ("partial_sum", "input")),
    *(f"table3_2.eyeriss.{part}_register_mm2" for part in ("partial_sum", "input")),
    "table3_2.eyeriss.lanes_mm2", "table3_2.eyeriss.weights_mm2",
    *(
        f"table3_2.snapea.{what}"
        for what in (
            "pes_mm2", "total_mm2", "pes", "rows", "columns", "lanes", "weight_buffer_kb", "index_buffer_kb",
            "io_ram_kb", "paus", "global_buffers", "clock_mhz", "macs", "on_chip_mb",
        )
    ),
    *(
        f"table3_2.eyeriss.{what}"
        for what in (
            "pes", "lanes", "partial_sum_register_bytes", "input_register_bytes", "weight_buffer_kb",
            "global_buffer_mb", "clock_mhz", "macs", "global_buffer_mm2",
        )
    ),
    *(
        f"table3_3.{name}.{what}"
        for name in ("register_file", "pe", "inter_pe", "global_buffer", "ddr4")
        for what in ("pj_per_bit", "relative")
    ),
    "table3_3.eyeriss_pe.relative", "fig3_8.average.speedup_in_text",
    *(f"fig3_4.{mode}.{what}" for mode in ("unaltered", "exact", "predictive") for what in ("macs", "sum")),
    *(f"table3_4.average.{key}" for key in ("conv_layers_pct", "speedup", "energy_reduction")),
    *(f"table3_5.average.{key}" for key in ("true_negative_pct", "false_negative_pct")),
)  # fmt: skip
ERRATA = (
    "table3_2.eyeriss.pes_mm2", "sec3_1.SqueezeNet.energy_reduction", "table3_1.AlexNet.model_mb",
    "table3_1.SqueezeNet.fully_connected", "sec3_7_1.AlexNet.inputs_on_chip",
)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict:
    """All but what is measured on thousands of images."""
    data = None if DATA is None else Path(DATA)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(predictive, "one_by_one", lambda *_: None)
        patched.setattr(runs.Runs, "measured", lambda *_: None)
        return {item.id: item.to_dict() for item in snapea.items(data, None)}


@pytest.fixture(scope="module")
def predicted() -> dict:
    (paper,) = reproduce("snapea", Path(str(DATA)))
    return {item["id"]: item for item in paper["items"]}


@pytest.mark.parametrize("name", EXACT)
def test_closed_forms_are_exact(found: dict, name: str) -> None:
    assert found[name]["verdict"] == "exact"


@needs_data
@pytest.mark.parametrize("name", ERRATA)
def test_what_the_print_contradicts_is_shown_as_such(found: dict, name: str) -> None:
    assert found[name]["verdict"] == "printed value inconsistent"
    assert found[name]["why"]


@needs_data
def test_the_causes_named_beside_a_speedup_multiply_to_it(found: dict) -> None:
    item = found["fig3_8.SqueezeNet.speedup"]
    factors = [float(word) for word in item["why"].replace(" x ", " ").split() if _is_number(word)]
    # the sentence names two versions of the network first; factors that round to one are left out of it
    assert math.prod(factors[2:]) == pytest.approx(item["simulated"], rel=0.01)


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdigit()


@needs_data
def test_a_baseline_that_hides_its_loads_takes_most_of_the_speedup(found: dict) -> None:
    fair = found["fig3_8.SqueezeNet.speedup.loads_hidden"]["simulated"]
    assert 1 < fair < found["fig3_8.SqueezeNet.speedup.nothing_cut"]["simulated"]


@needs_data
@pytest.mark.long
def test_more_accepted_loss_is_hardly_ever_slower(predicted: dict) -> None:
    speeds = [predicted[f"fig3_11.loss_{loss}.lenet5_mnist"]["simulated"] for loss in range(4)]
    assert all(later >= earlier - 0.05 for earlier, later in itertools.pairwise(speeds))
    assert speeds[3] > speeds[0]


@needs_data
@pytest.mark.long
def test_tables_of_prediction_are_measured_and_what_is_not_at_hand_is_not_filled_in(predicted: dict) -> None:
    for key in ("table3_4.SqueezeNet.speedup", "table3_5.SqueezeNet.true_negative_pct"):
        assert predicted[key]["simulated"] > 0
    assert predicted["fig3_11.loss_3.AlexNet_of_table3_4"]["verdict"] == "printed value inconsistent"
    for name in ("table3_4.GoogLeNet.speedup", "table3_5.VGGNet.true_negative_pct"):
        assert predicted[name]["verdict"] == "data not at hand"


def test_an_average_over_networks_that_are_not_at_hand_is_not_filled_in(found: dict) -> None:
    for name in ("fig3_8.average.speedup", "fig3_8.max.energy_reduction"):
        assert found[name]["verdict"] == "data not at hand"
        assert found[name]["simulated"] is None


@needs_data
@pytest.mark.parametrize("name", ["SqueezeNet", "AlexNet", "lenet5_mnist", "resnet20_cifar10"])
def test_the_array_alone_times_what_stopping_gains_is_the_speedup(found: dict, name: str) -> None:
    whole, array, gain = (
        found[f"fig3_8.{name}.speedup{part}"]["simulated"] for part in ("", ".nothing_cut", ".of_stopping")
    )
    assert array * gain == pytest.approx(whole, rel=1e-12)
    assert gain > 1


@needs_data
def test_whole_networks_have_their_fully_connected_layers(found: dict) -> None:
    for key in ("speedup", "energy_reduction"):
        squeezed = found[f"fig3_8.SqueezeNet.whole_network.{key}"]["simulated"]
        assert squeezed == found[f"fig3_8.SqueezeNet.{key}"]["simulated"]  # it has none
        for name in ("lenet5_mnist", "resnet20_cifar10"):
            whole, alone = found[f"fig3_8.{name}.whole_network.{key}"], found[f"fig3_8.{name}.{key}"]
            assert whole["simulated"] != alone["simulated"]
            assert "fully connected layers" in whole["why"]
    assert not any(name.startswith("fig3_8.AlexNet.whole") for name in found)


def test_what_comes_near_by_coincidence_is_never_called_exact(found: dict) -> None:
    assert {x["verdict"] for x in found.values() if x["tolerance"] is None} <= {
        "differs", "data not at hand", "not readable in the copy", "printed value inconsistent"
    }  # fmt: skip


def test_equal_layers_of_table_3_4_do_not_make_the_average_at_three_per_cent(found: dict) -> None:
    for name, value in (("AlexNet", 1.68), ("VGGNet", 1.59)):
        item = found[f"fig3_11.loss_3.{name}_of_table3_4"]
        assert round(item["simulated"], 2) == value
        assert item["verdict"] == "printed value inconsistent"
        assert item["why"].endswith(f"make {value}")


@pytest.mark.parametrize(
    "wanted",
    ["table3_1", "table3_2", "table3_4.GoogLeNet", "table3_4.average", "fig3_9.GoogLeNet", "fig3_10"],
)
def test_an_item_runs_nothing_that_it_does_not_need(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    for name in ("simulate", "export", "evaluate", "run_exact"):
        monkeypatch.setattr(runs, name, refuse)
    (paper,) = reproduce(f"snapea.{wanted}")
    assert all(item["id"].startswith(wanted) for item in paper["items"])


@needs_data
def test_no_run_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(accelerator: Any, trace: Any, **rest: Any) -> Any:
        made.append(repr((accelerator, trace.name, sorted(rest["overrides"].items()))))
        return simulate(accelerator, trace, **rest)

    monkeypatch.setattr(runs, "simulate", counted)
    reproduce("snapea.fig3_8.lenet5_mnist", Path(str(DATA)))
    assert len(made) == len(set(made)) == 4


def test_the_lane_cycles_that_prediction_frees_are_all_told() -> None:
    exact, tuned = (simulate("snapea", "lenet_digits", tuning=t) for t in (None, "lenet_digits-2"))
    executed, cycles = (
        [sum(getattr(layer, what) for layer in result.layers[:2]) for result in (exact, tuned)]
        for what in ("macs_executed", "cycles")
    )
    sooner = 256 * (cycles[0] - cycles[1]) / (executed[0] - executed[1])
    said = runs.where_cuts_went([(exact, tuned)])
    assert said.startswith("of the lane-cycles whose products prediction cuts beyond exact mode ")
    assert said.endswith(f" {100 * sooner:.0f} % end the convolutions sooner")
    shares = [int(word) for word in said.replace("%", " ").split() if word.isdigit()]
    less = shares.pop(-2) if "lose less" in said else 0
    assert sum(shares) == pytest.approx(100 + less, abs=3)  # each is rounded
    assert runs.where_cuts_went([(tuned, tuned)]) == "prediction cuts no products"


def test_without_data_what_needs_them_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    (paper,) = reproduce("snapea", tmp_path)
    items = {item["id"]: item for item in paper["items"]}
    assert items["fig3_8.SqueezeNet.speedup"]["verdict"] == "data not at hand"
    assert items["table3_2.snapea.pes_mm2"]["verdict"] == "exact"


def test_an_item_that_is_none_is_told_at_once_with_the_groups_there_are() -> None:
    with pytest.raises(
        SimhwError, match=r"^reproduce: no item 'fig99'; .*known: abstract, fig3_1, fig3_10, .*table3_5$"
    ):
        reproduce("snapea.fig99")
    with pytest.raises(SimhwError, match=r"^reproduce: snapea has no item 'table3_3.pee'; did you mean"):
        reproduce("snapea.table3_3.pee")
