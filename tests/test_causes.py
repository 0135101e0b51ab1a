"""What a speedup is made of: factors that multiply to it, whatever the machines."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from simhw.accelerator import simulate
from simhw.cli import app
from simhw.comparison import _growth, compare, multiplier_cycles, speedup_causes

TRACE = "lenet_digits"


@pytest.fixture(scope="module")
def results():
    return {
        "eyeriss_256": simulate("eyeriss_256", TRACE),
        "eyeriss": simulate("eyeriss", TRACE),
        "snapea": simulate("snapea", TRACE),
        "off": simulate("snapea", TRACE, overrides={"options.termination": "off"}),
    }


@pytest.mark.parametrize("name", ["eyeriss_256", "eyeriss", "snapea", "off"])
def test_every_cycle_of_every_multiplier_has_a_cause(results, name):
    result = results[name]
    assert sum(multiplier_cycles(result).values()) == result.cycles * result.built_from("multipliers")
    busy = multiplier_cycles(result)["busy"]
    assert busy == sum(layer.macs_executed for layer in result.layers)


@pytest.mark.parametrize("first", ["eyeriss_256", "eyeriss"])
@pytest.mark.parametrize("other", ["snapea", "off", "eyeriss"])
def test_causes_multiply_to_the_speedup(results, first, other):
    causes = speedup_causes(results[first], results[other])
    product = math.prod(cause.factor for cause in causes)
    assert product == pytest.approx(results[first].seconds / results[other].seconds, rel=1e-12)


def test_causes_of_one_layer_multiply_to_its_own_speedup(results):
    first, other = results["eyeriss_256"], results["snapea"]
    for layer in first.layers:
        causes = speedup_causes(first, other, [layer.name])
        expected = layer.cycles / other.layer(layer.name).cycles
        assert math.prod(cause.factor for cause in causes) == pytest.approx(expected, rel=1e-12)


def test_what_one_machine_does_not_multiply_is_a_cause_of_its_own(results):
    (products,) = [c for c in speedup_causes(results["off"], results["snapea"]) if c.name == "products"]
    executed = sum(layer.macs_executed for layer in results["snapea"].layers)
    assert products.factor == sum(layer.macs for layer in results["off"].layers) / executed


def test_a_machine_beside_itself_has_nothing_to_explain(results):
    causes = {
        c.name: c.factor for c in speedup_causes(results["snapea"], results["snapea"]) if c.of == "both"
    }
    assert causes == {"products": 1.0, "multipliers and clock": 1.0}


def test_layers_side_by_side_add_up_to_the_whole(results):
    compared = compare([results["eyeriss_256"], results["snapea"]])
    rows = compared.by_layer()
    for label, result in zip(compared.labels, compared.results, strict=True):
        assert sum(row["of"][label]["cycles"] for row in rows) == result.cycles
    one = rows[0]["of"]
    assert one["snapea"]["speedup"] == one["eyeriss_256"]["cycles"] / one["snapea"]["cycles"]
    assert one["eyeriss_256"]["speedup"] == 1


def test_compare_prints_layers_and_causes_if_asked():
    ran = CliRunner().invoke(app, ["compare", "eyeriss_256", "snapea", "--by-layer", "--causes"])
    assert ran.exit_code == 0
    assert "cycles: eyeriss_256" in ran.output
    assert "speedup of snapea" in ran.output
    note = (
        "each cause has its share of the logarithm, by convention; what is gained without one is measured by "
        "running without it"
    )
    assert ran.output.splitlines()[-1] == note
    plain = CliRunner().invoke(app, ["compare", "eyeriss_256", "snapea"])
    assert "cycles: eyeriss_256" not in plain.output
    assert note not in plain.output
    found = json.loads(
        CliRunner()
        .invoke(app, ["compare", "eyeriss_256", "snapea", "--json", "--causes", "--by-layer"])
        .output
    )
    product = math.prod(cause["factor"] for cause in found["causes"]["snapea"])
    assert product == pytest.approx(found["rows"][1]["speedup"], rel=1e-12)
    assert [row["layer"] for row in found["layers"]] == ["conv1", "conv2", "fc1", "fc2", "fc3"]


def test_equal_causes_have_equal_factors():
    factors = dict(_growth({"busy": 100, "one": 150, "other": 150}))
    assert factors == {"one": 2.0, "other": 2.0}
