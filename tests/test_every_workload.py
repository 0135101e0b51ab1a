"""Every shipped network runs on every shipped machine, and every layer's output is the reference's."""

from __future__ import annotations

import pytest

from simhw import shipped
from simhw.accelerator import simulate
from simhw.workload import export, load_workload

MACHINES = shipped.names("accelerators", ".yaml")
SETTINGS = {name: {"options.unfitted": "exact"} for name in ("tolba", "tolba_quadratic")}  # not on lines
SMALL = [
    "cifar10_quick",
    "fc_64_32",
    "lenet5_caffe",
    "lenet5_mnist",
    "lenet5_tolba",
    "lenet_300_100",
    "lenet_digits",
]
OF_STREAMS = {"image_filters"}  # which no machine that ships takes
LARGE = sorted(set(shipped.names("workloads", ".yaml")) - set(SMALL) - OF_STREAMS)


def assert_runs(name: str) -> None:
    trace = export(load_workload(name), images=1)
    layers = [layer.name for layer in trace.layers]
    for machine in MACHINES:
        result = simulate(machine, trace, overrides=SETTINGS.get(machine, {}))
        assert [layer.name for layer in result.layers] == layers
        assert [layer.name for layer in result.layers if not layer.output_matches] == []
        assert result.faults() == []
        cut = sum(layer.details.get("macs_cut", 0) for layer in result.layers)
        assert result.totals["macs_executed"] + cut == sum(layer.shape.macs for layer in trace.layers)
        others = {node["name"] for node in trace.graph["nodes"]} - set(layers)
        assert {node["name"] for node in result.not_simulated} == others


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network_runs(name: str) -> None:
    assert_runs(name)


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_a_large_network_runs(name: str) -> None:
    assert_runs(name)
