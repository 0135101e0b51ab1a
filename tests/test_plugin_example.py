"""The example of docs/plugins.md: a component, a transform, a dataflow and a twin, all from one file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simhw import core
from simhw.accelerator import simulate
from simhw.cli import app
from simhw.trace import Trace
from simhw.workload import export, load_workload

EXAMPLE = Path(__file__).parent.parent / "docs" / "example"
MACHINE = EXAMPLE / "skipper.yaml"

CONVOLUTIONS = """
name: small
input: {channels: 4, height: 6, width: 5}
layers:
  - {name: conv1, type: conv, out_channels: 4, kernel: 3, pad: 1, stride: 2, activation: relu}
  - {name: conv2, type: conv, out_channels: 6, kernel: 2, groups: 2, activation: relu}
  - {name: flatten, type: flatten}
  - {name: fc1, type: linear, out_features: 3}
"""


@pytest.fixture(autouse=True)
def registries(monkeypatch) -> None:
    """Let what a plug-in registers be gone after a test."""
    kinds = {"component": "_KINDS", "transform": "_TRANSFORMS"}
    for module, name in [*kinds.items(), ("dataflow", "_DATAFLOWS"), ("dataflow", "_TWINS")]:
        known = getattr(sys.modules[f"simhw.core.{module}"], name)
        monkeypatch.setattr(f"simhw.core.{module}.{name}", dict(known))


@pytest.fixture
def trace(tmp_path) -> Trace:
    """A small network, half of whose weights are zero."""
    file = tmp_path / "small.yaml"
    file.write_text(CONVOLUTIONS)
    made = export(load_workload(file), images=2, data="synthetic", weights="random", seed=1)
    pruned = {
        f"{x.name}.weights": np.where(np.arange(x.weights.size).reshape(x.weights.shape) % 2, x.weights, 0)
        for x in made.layers
    }
    path = made.replace(pruned).save(tmp_path / "small.safetensors")
    return Trace.load(path)


def test_all_four_run_and_both_engines_agree(trace):
    core.load_plugin(EXAMPLE / "skipper.py")
    assert "nonzero_weights" in core.transform_kinds()
    compiled, stepped = (simulate(MACHINE, trace, engine=engine) for engine in ("compiled", "stepped"))
    left, right = compiled.to_dict(), stepped.to_dict()
    for name in ("layers", "phases", "totals", "storage_bits"):
        assert left[name] == right[name]
    for layer in compiled.layers:
        traced = trace.layer(layer.name)
        used = int(np.count_nonzero(traced.weights))
        assert layer.macs_executed == used * layer.macs // traced.weights.size < layer.macs
        assert compiled.storage_bits["nonzero_weights"][layer.name] == 16 * used
    assert compiled.faults() == []


def test_its_outputs_are_the_references():
    core.load_plugin(EXAMPLE / "skipper.py")
    assert simulate(MACHINE, "lenet_digits").outputs_match


def test_the_commands_of_the_page_run():
    page = (EXAMPLE.parent / "plugins.md").read_text("utf-8")
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("    simhw ")]
    assert len(commands) == 2
    for command in commands:
        found = [str(EXAMPLE.parent.parent / word) if word.startswith("docs/") else word for word in command]
        ran = CliRunner().invoke(app, found)
        assert ran.exit_code == 0, ran.output
