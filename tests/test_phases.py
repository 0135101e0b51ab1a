"""Phases beyond one layer: two layers at once, and a machine that iterates until the outcome says stop."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from simhw import core
from simhw.accelerator import simulate
from simhw.description import load_accelerator
from simhw.result import Result
from simhw.trace import Trace
from simhw.workload import export, load_workload

QUARTERS = 4  # of a window, as in phase_machines.py

MACHINE = """
name: {kind}
clock_mhz: 100
dataflow: test_{kind}
technology: null
components:
  first: {{kind: test_stage}}
  second: {{kind: test_stage}}
  dram: {{kind: dram_link, clock_mhz: 50, word_bits: 16}}
"""

NETWORK = """
name: chain
input: {channels: 12, height: 1, width: 1}
layers:
  - {name: fc1, type: linear, out_features: 10, activation: relu}
  - {name: fc2, type: linear, out_features: 8, activation: relu}
  - {name: fc3, type: linear, out_features: 6}
"""


@pytest.fixture(autouse=True)
def plugged_in(monkeypatch) -> None:
    """Register the machines of phase_machines.py for the length of a test."""
    for module, name in (("component", "_KINDS"), ("dataflow", "_DATAFLOWS"), ("dataflow", "_TWINS")):
        at = f"simhw.core.{module}.{name}"
        monkeypatch.setattr(at, dict(getattr(sys.modules[f"simhw.core.{module}"], name)))
    core.load_plugin(Path(__file__).parent / "phase_machines.py")


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Trace:
    file = tmp_path_factory.mktemp("chain") / "chain.yaml"
    file.write_text(NETWORK)
    return export(load_workload(file), images=3, data="synthetic", weights="random", seed=3)


def machine(kind: str, folder: Path) -> Any:
    file = folder / f"{kind}.yaml"
    file.write_text(MACHINE.format(kind=kind))
    return load_accelerator(file)


def same(one: Result, other: Result) -> None:
    """Hold two engines' results to each other in everything but the engine's name."""
    left, right = one.to_dict(), other.to_dict()
    for data in (left, right):
        del data["engine"], data["digests"], data["timeline"]
    assert left == right


@pytest.mark.parametrize("closed_loop", [False, True])
@pytest.mark.parametrize("kind", ["pair", "quarters"])
def test_both_engines_agree_in_open_and_closed_loop(kind, closed_loop, chain, tmp_path):
    runs = [
        simulate(machine(kind, tmp_path), chain, engine=engine, closed_loop=closed_loop)
        for engine in ("compiled", "stepped")
    ]
    same(*runs)
    assert runs[0].faults() == []
    again = Result.from_dict(runs[0].to_dict())
    assert [phase.name for phase in again.phases] == [phase.name for phase in runs[0].phases]


def test_layers_that_run_at_once_are_one_phase(chain, tmp_path):
    result = simulate(machine("pair", tmp_path), chain)
    assert [(phase.name, phase.layers) for phase in result.phases] == [
        ("fc1+fc2", ("fc1", "fc2")),
        ("fc3", ("fc3",)),
    ]
    together, alone = result.phases
    # inputs of image i are there at 24 (i + 1); the first stage takes 120 cycles an image, the second 80;
    # its 8 words leave in 16
    assert together.cycles == 24 + 3 * 120 + 80 + 16
    assert together.stall_cycles == {"waiting": 24}
    assert [result.layer(name).details["last_cycle"] for name in ("fc1", "fc2")] == [384, 464]
    assert result.cycles == result.totals["cycles"] == together.cycles + alone.cycles
    assert result.layer("fc1").cycles == result.layer("fc2").cycles == together.cycles
    assert result.outputs_match
    # what lies between the two never crosses the link
    assert result.layer("fc1").bytes == {"dram": 3 * 12 * 2}
    assert result.layer("fc2").bytes == {"dram": 3 * 8 * 2}
    executed = sum(layer.macs_executed for layer in result.layers)
    assert result.totals["utilization"] == pytest.approx(executed / (2 * result.cycles))


def test_in_a_closed_loop_the_map_between_comes_from_the_machine(chain, tmp_path):
    result = simulate(machine("pair", tmp_path), chain, closed_loop=True)
    assert result.outputs_match
    assert [phase.layers for phase in result.phases] == [("fc1", "fc2"), ("fc3",)]


def test_an_iterating_machine_is_asked_for_one_more_until_every_image_has_settled(chain, tmp_path):
    result = simulate(machine("quarters", tmp_path), chain)
    for layer in result.layers:
        phases = [phase for phase in result.phases if phase.layers == (layer.name,)]
        assert 2 <= len(phases) <= QUARTERS
        assert layer.cycles == sum(phase.cycles for phase in phases) == layer.macs_executed
        assert layer.details["iterations"] == len(phases)
        assert phases[0].details["images"] == 3
        images = [phase.details["images"] for phase in phases]
        assert images == sorted(images, reverse=True)
        for phase, following in itertools.pairwise(phases):
            assert len(phase.details["again"]) == following.details["images"]
        assert phases[-1].details["again"] == []
        assert layer.actions["first.mul"] == layer.macs_executed <= layer.macs
    assert len({phase.name for phase in result.phases}) == len(result.phases)


def test_in_a_closed_loop_an_iteration_gets_what_the_machine_made(chain, tmp_path):
    once = simulate(machine("quarters", tmp_path), chain, closed_loop=True)
    assert [layer.name for layer in once.layers] == ["fc1", "fc2", "fc3"]
    open_loop = simulate(machine("quarters", tmp_path), chain)
    assert once.layer("fc1").details == open_loop.layer("fc1").details
