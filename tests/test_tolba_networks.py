"""The networks of Tolba et al., fitted, on the reuse array: from shipped coefficients to results."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from simhw.accelerator import plan_mapping, simulate
from simhw.cli import app
from simhw.comparison import compare
from simhw.dataflows.subexpression_reuse import INPUTS, QUADRATIC
from simhw.description import load_accelerator
from simhw.trace import Trace
from simhw.training.evaluate import shipped_file
from simhw.workload import export, load_workload

# workload, coefficients, machine
NETWORKS = {
    "rows and runs": ("lenet5_tolba", "tolba_table3_lin6", "tolba"),
    "runs and exact": ("fc_64_32", "tolba_table2_case3", "tolba"),
    "quadratic": ("fc_64_32", "tolba_table2_case7", "tolba_quadratic"),
    "quadratic rows and runs of 192": ("lenet5_tolba", "tolba_table3_quad192", "tolba_quadratic"),
    "quadratic kernels and runs of 96": ("lenet5_tolba", "tolba_table3_quad25", "tolba_quadratic"),
    "exact": ("lenet5_tolba", "tolba_table3_without", "tolba"),
}


def trace_of(name: str, images: int = 1) -> Trace:
    workload, coefficients, _ = NETWORKS[name]
    return export(
        load_workload(workload),
        images=images,
        data="synthetic:sparsity=0.5",
        weights=shipped_file(coefficients),
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_both_engines_put_out_what_the_reference_does(name: str) -> None:
    trace, machine = trace_of(name), NETWORKS[name][2]
    compiled, stepped = (simulate(machine, trace, engine=engine) for engine in ("compiled", "stepped"))
    assert compiled.outputs_match
    assert stepped.outputs_match
    for one, two in zip(compiled.layers, stepped.layers, strict=True):
        assert (one.cycles, one.stall_cycles, one.bytes) == (two.cycles, two.stall_cycles, two.bytes)
        assert dict(one.actions) == dict(two.actions)
        assert dict(one.activity) == dict(two.activity)
        assert one.energy_pj == two.energy_pj


@pytest.mark.parametrize("fit", ["lin6", "lin32", "lin64", "lin96", "quad192", "quad25"])
def test_every_fit_of_table_3_runs_on_the_quadratic_array(fit: str) -> None:
    trace = export(
        load_workload("lenet5_tolba"),
        images=1,
        data="synthetic:sparsity=0.5",
        weights=shipped_file(f"tolba_table3_{fit}"),
    )
    assert simulate("tolba_quadratic", trace).outputs_match


def test_the_quadratic_array_has_what_refusals_say_it_has() -> None:
    parts = load_accelerator(QUADRATIC).parts
    for role, inputs in INPUTS.items():
        spec = parts[role].spec.to_dict()
        assert (spec["inputs"], spec["terms"]) == (inputs, 3)
    assert parts["pes"].spec.to_dict()["terms"] == 3


def test_in_a_closed_loop_nothing_is_lost() -> None:
    trace = trace_of("rows and runs", images=3)
    open_loop, closed = simulate("tolba", trace), simulate("tolba", trace, closed_loop=True)
    assert closed.outputs_match
    assert [layer.cycles for layer in closed.layers] == [layer.cycles for layer in open_loop.layers]


def test_beside_the_unrolled_array_products_fall_and_outputs_do_not() -> None:
    """Two products for five weights in convolutions, for six in the linear layer: 192 / 6 groups."""
    trace = trace_of("rows and runs")
    proposed, unrolled = simulate("tolba", trace), simulate("tolba_rs", trace)
    assert compare([unrolled, proposed]).differences() == []
    assert unrolled.outputs_match
    fitted, exact = ([layer.multiplies for layer in result.layers] for result in (proposed, unrolled))
    assert fitted == [86400 * 2 // 5, 115200 * 2 // 5, 1920 * 2 // 6]
    assert exact == [86400, 115200, 1920]
    stored = {layer.name: 8 * layer.stored("coefficients").size for layer in trace.layers}
    assert proposed.storage_bits == {"fit_groups": stored}
    for ours, theirs in zip(proposed.layers, unrolled.layers, strict=True):
        assert ours.bytes["dram"] < theirs.bytes["dram"]


def test_coefficients_cross_the_link_packed_at_their_own_width() -> None:
    """fc2 of case 3: 32 neurons of 16 groups, two coefficients of 8 bits each, and biases of 32 bits."""
    trace = trace_of("runs and exact")
    layer = simulate("tolba", trace, layers=["fc2"]).layers[0]
    inputs, outputs = -(-64 * 16 // 64), -(-32 * 16 // 64)
    assert layer.bytes["dram"] == 8 * (inputs + outputs + -(-(32 * 16 * 2 * 8 + 32 * 32) // 64))


def test_the_mapping_that_map_prints_is_the_one_that_runs(tmp_path: Path) -> None:
    trace = trace_of("rows and runs")
    shapes = [(layer.name, layer.shape) for layer in trace.layers]
    planned = plan_mapping("tolba", shapes, trace=trace)
    result = simulate("tolba", trace)
    assert planned == {layer.name: layer.mapping for layer in result.layers}
    path = trace.save(tmp_path / "lines.safetensors")
    made = CliRunner().invoke(app, ["map", "tolba", str(path), "-o", str(tmp_path / "own.yaml")])
    assert made.exit_code == 0
    again = simulate("tolba", trace, mapping=tmp_path / "own.yaml")
    assert [layer.cycles for layer in again.layers] == [layer.cycles for layer in result.layers]


def test_map_says_what_a_mapping_of_unfitted_weights_wants(tmp_path: Path) -> None:
    note = (
        "# conv1, conv2, fc: mapped with weights as they are, which run with --set options.unfitted=exact "
        "only; a trace of fitted weights is mapped by its groups\n"
    )
    run = CliRunner().invoke
    plain = run(app, ["map", "tolba", "lenet5_tolba", "-o", str(tmp_path / "own.yaml")])
    assert plain.stdout.startswith(note)
    assert plain.stdout.count("#") == 1
    exact = run(app, ["map", "tolba", "lenet5_tolba", "--set", "options.unfitted=exact"])
    assert exact.stdout == plain.stdout.removeprefix(note)
    path = trace_of("exact").save(tmp_path / "exact.safetensors")
    fitted = run(app, ["map", "tolba", str(path)])
    assert "#" not in fitted.stdout
    assert run(app, ["check", str(tmp_path / "own.yaml")]).exit_code == 0
