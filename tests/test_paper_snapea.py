"""The chapter's printed numbers, recomputed: closed forms exact, the rest at an honest distance."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import pytest

from simhw.errors import SimhwError
from simhw.papers import reproduce, snapea

DATA = os.environ.get("SIMHW_DATA")
needs_data = pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "squeezenet_v1_1_weights.npz").exists(),
    reason="SIMHW_DATA names no folder with the networks' weights and images",
)
EXACT = (
    *(f"table3_1.{name}.convolutions" for name in ("AlexNet", "GoogLeNet", "SqueezeNet", "VGGNet")),
    *(f"table3_2.snapea.{part}_mm2" for part in ("lanes", "weights", "indexes", "io", "paus")),
    "table3_2.snapea.pes_mm2", "table3_2.snapea.total_mm2",
    "table3_2.snapea.macs", "table3_2.eyeriss.macs", "table3_2.snapea.on_chip_mb",
    *(f"table3_3.{name}.relative" for name in ("register_file", "pe", "inter_pe", "global_buffer", "ddr4")),
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
        patched.setattr(snapea, "_predictive_items", lambda *_: [])
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


def test_without_data_what_needs_them_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    (paper,) = reproduce("snapea", tmp_path)
    items = {item["id"]: item for item in paper["items"]}
    assert items["fig3_8.SqueezeNet.speedup"]["verdict"] == "data not at hand"
    assert items["table3_2.snapea.pes_mm2"]["verdict"] == "exact"


def test_an_item_that_is_none_is_told_at_once_with_the_groups_there_are() -> None:
    with pytest.raises(
        SimhwError, match=r"^reproduce: no item 'fig99'; .*known: fig3_1, fig3_10, .*table3_5$"
    ):
        reproduce("snapea.fig99")
    with pytest.raises(SimhwError, match=r"^reproduce: snapea has no item 'table3_3.pee'; did you mean"):
        reproduce("snapea.table3_3.pee")
