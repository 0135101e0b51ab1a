"""What a speedup is made of: factors that multiply to it, whatever the machines."""

from __future__ import annotations

import math

import pytest

from simhw.accelerator import simulate
from simhw.comparison import multiplier_cycles, speedup_causes

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
