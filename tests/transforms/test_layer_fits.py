"""`trace --fit`: weights that exist become coefficients, and a trace with these is one as any other."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from simhw.accelerator import simulate
from simhw.cli import app
from simhw.errors import SimhwError, TransformError
from simhw.reference.fitted import LayerFit
from simhw.reference.fold import fuse
from simhw.trace import Trace
from simhw.training.recipe import load_recipe
from simhw.training.sgd import Training, coefficients_of, load_sets
from simhw.transforms import fit_groups
from simhw.transforms.layer_fits import FitPlan, parse
from simhw.workload import export, load_params, load_workload

NORMED = """\
name: normed
input: {channels: 2, height: 9, width: 9}
data: {default: "synthetic:sparsity=0.3,negative=0.2"}
layers:
  - {name: conv, type: conv, out_channels: 4, kernel: 3, pad: 1, bias: false}
  - {name: norm, type: batchnorm, activation: relu}
  - {name: flatten, type: flatten}
  - {name: fc, type: linear, out_features: 5}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    (tmp_path / "normed.yaml").write_text(NORMED)
    return tmp_path


@pytest.fixture
def command(here):
    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


def test_the_shipped_network_runs_on_the_reuse_array_with_its_weights_on_lines(command, here):
    done = command(
        "trace", "lenet_digits", "--images", 3, "--fit", "conv*=linear:5", "--fit", "fc1=linear:24",
        "-o", "t.safetensors",
    )  # fmt: skip
    assert done.exit_code == 0
    assert done.stderr == (
        "wrote t.safetensors\nweights: lenet_digits_weights.npz, fitted with 8 bits: linear 5 (conv1, "
        "conv2), linear 24 (fc1), exact (fc2, fc3); inputs: digits (test)\n"
    )
    trace = Trace.load(here / "t.safetensors")
    _, params, _ = load_params(load_workload("lenet_digits"))
    fits = {"conv1": LayerFit("linear", 5), "conv2": LayerFit("linear", 5), "fc1": LayerFit("linear", 24)}
    for layer in trace.layers:
        fit = fits.get(layer.name, LayerFit())
        wanted = fit_groups.apply(params[f"{layer.name}.weights"], fit.kind, fit.group)
        np.testing.assert_array_equal(layer.coefficients, wanted.coefficients)
        np.testing.assert_array_equal(layer.weights, wanted.weights())
        assert layer.fit.tolist() == [fit.group, 8, *wanted.fractions]
    found = json.loads(command("run", "tolba", "t.safetensors", "--json").stdout)
    assert [layer["output_matches"] for layer in found["layers"]] == [True] * 5
    assert command("check", "t.safetensors").stdout == "t.safetensors: ok, trace lenet_digits\n"


@pytest.mark.parametrize("engine", ["compiled", "stepped"])
def test_a_batch_norm_is_folded_before_lines_are_fitted(here, engine):
    workload = load_workload("normed.yaml")
    trace = export(workload, images=2, fit=parse(["conv=linear:3", "fc=linear:40"], bits=6))
    graph, params, _ = load_params(workload)
    _, folded = fuse(graph, params)
    for layer, kind, group in ((trace.layer("conv"), "linear", 3), (trace.layer("fc"), "linear", 40)):
        wanted = fit_groups.apply(folded[f"{layer.name}.weights"], kind, group, bits=6)
        np.testing.assert_array_equal(layer.coefficients, wanted.coefficients)
        assert layer.fit[1] == 6
    plain = export(workload, images=2)
    assert trace.layer("conv").coefficients.size < plain.layer("conv").weights.size
    overrides = {"components.run_reuse.inputs": 40}
    result = simulate("tolba", trace, engine=engine, overrides=overrides)
    assert result.outputs_match


def test_the_fit_of_a_file_is_the_fit_after_a_training(here):
    """Coefficients of a recipe with fit_when: inference, and `--fit` of the weights it learnt: one trace."""
    (here / "r.yaml").write_text(
        "name: r\nworkload: fc_64_32\nfit: {fc1: {kind: linear, group: 24}}\nfit_when: inference\n"
        "epochs: 1\nrate: 0.1\n"
    )
    recipe = load_recipe(here / "r.yaml")
    training = Training(recipe, load_sets(recipe, "digits", 200))
    training.epoch()
    coefficients_of(training).save(here / "c.npz")
    np.savez(here / "w.npz", **{k.removesuffix("s"): x for k, x in training.state.params.items()})
    one = export(recipe.workload, images=2, weights="c.npz")
    other = export(recipe.workload, images=2, weights="w.npz", fit=parse(["fc1=linear:24"]))
    assert one.digests == other.digests
    assert one.tensor_names == other.tensor_names
    for name in one.tensor_names:
        np.testing.assert_array_equal(one.tensor(name), other.tensor(name))


def test_the_later_of_two_patterns_counts_and_bits_are_those_given():
    plan = parse(["*=linear:3", "fc*=quadratic:6", "fc2=exact"], bits=5)
    shapes = {"conv": (2, 2, 3, 3), "fc1": (4, 12, 1, 1), "fc2": (3, 4, 1, 1)}
    weights = {name: np.ones(shape) for name, shape in shapes.items()}
    found = plan(weights)
    assert {name: (f.kind, f.group, f.bits) for name, f in found.items()} == {
        "conv": ("linear", 3, 5), "fc1": ("quadratic", 6, 5), "fc2": ("exact", 0, 5)
    }  # fmt: skip


KNOWN = "known: conv1, conv2, fc1, fc2, fc3"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--fit", "fcl=linear:5"], f"fit: no layer has the name 'fcl'; did you mean 'fc3'? {KNOWN}"),
        (["--fit", "x*=linear:5"], f"fit: no layer has the name 'x*'; {KNOWN}"),
        (["--fit", "fc1=linaer:5"],
         "fit: fc1: unknown kind of fit 'linaer'; did you mean 'linear'? known: exact, linear, quadratic"),
        (["--fit", "fc1=linear:900"],
         "fit: fc1: N_w: is 900, more than the 400 weights of a row; wants at most 400"),
        (["--fit", "fc1=linear:0"], "fit: fc1: N_w: is 0; a linear fit wants at least 2"),
        (["--fit", "fc1=linear:-3"], "fit: fc1: N_w: is -3; a linear fit wants at least 2"),
        (["--fit", "fc1=quadratic:2"],
         "fit: fc1: N_w: is 2; a quadratic fit wants at least 3 weights a group"),
        (["--fit", "conv1=linear:4"],
         "fit: conv1: N_w: is 4; a 5x5 kernel wants 5, a row, or 25, the whole kernel"),
        (["--fit", "fc1=linear"], "fit: fc1: wants linear:N_w, N_w a whole number, got 'linear'"),
        (["--fit", "fc1=linear:2.5"], "fit: fc1: wants linear:N_w, N_w a whole number, got 'linear:2.5'"),
        (["--fit", "fc1"], "fit: wants LAYER=linear:N_w, LAYER=quadratic:N_w or LAYER=exact, got 'fc1'"),
        (["--fit", "fc1=exact:4"], "fit: fc1: exact weights have no N_w; wants fc1=exact, got 'fc1=exact:4'"),
        (["--fit", "fc1=exact", "--fit", "fc1=linear:4"], "fit: names fc1 twice; wants each layer once"),
        (["--fit", ""], "fit: wants LAYER=linear:N_w, LAYER=quadratic:N_w or LAYER=exact, got ''"),
        (["--fit", "fc1=linear:4", "--format", "float32"],
         "fit: a float32 trace has no coefficients; wants fixed16 or fixed8"),
        (["--fit", "fc1=linear:4", "--bits", "1"], "bits: is 1; wants a whole number from 2 to 16"),
        (["--fit", "fc1=linear:4", "--bits", "17"], "bits: is 17; wants a whole number from 2 to 16"),
        (["--bits", "6"], "--bits: has no effect without --fit; name a layer to fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_told_in_a_line(command, here, words, fault):
    done = command("trace", "lenet_digits", "-o", "t.safetensors", *words)
    assert done.exit_code == 2
    assert done.stderr == f"{fault}\n"
    assert not (here / "t.safetensors").exists()


def test_every_fault_of_a_plan_is_told_at_once():
    weights = {"fc1": np.zeros((2, 8, 1, 1)), "fc2": np.full((2, 8, 1, 1), np.nan)}
    plan = FitPlan({"fc3": LayerFit("linear", 2), "fc1": LayerFit("linear", 9), "fc2": LayerFit("linear", 4)})
    with pytest.raises(TransformError) as caught:
        plan(weights)
    assert caught.value.faults == (
        "fit: no layer has the name 'fc3'; did you mean 'fc2'? known: fc1, fc2",
        "fit: fc1: N_w: is 9, more than the 8 weights of a row; wants at most 8",
        "fit: fc2: 16 of 16 weights are NaN or infinite; wants finite numbers",
    )
    with pytest.raises(TransformError) as caught:
        parse(["a", "b=line:3"])
    assert len(caught.value.faults) == 2


def test_weights_that_are_not_finite_are_refused(command, here):
    _, params, _ = load_params(load_workload("lenet_digits"))
    arrays = {name.removesuffix("s") if "weights" in name else name: x for name, x in params.items()}
    arrays["fc1.weight"][0, 3] = np.inf
    np.savez(here / "w.npz", **arrays)
    words = ("lenet_digits", "--weights", "w.npz", "--fit", "fc1=linear:4", "-o", "t.safetensors")
    assert command("trace", *words).stderr == (
        "w.npz: fc1.weight: holds values that are not finite (NaN or infinity), 1 in all, the first at "
        "[0, 3, 0, 0]; wants finite numbers\n"
    )


def test_coefficients_are_not_fitted_again(here):
    workload = load_workload("normed.yaml")
    workload = replace(workload, graph=fuse(*load_params(workload)[:2])[0])
    fitted = parse(["conv=linear:3"])(
        {"conv": np.ones((4, 2, 3, 3), np.float32), "fc": np.ones((5, 324, 1, 1), np.float32)}
    )
    arrays = {f"{name}.{part}": x for name, f in fitted.items() for part, x in f.to_arrays().items()}
    np.savez(here / "c.npz", **arrays, **{f"{n}.bias": np.zeros(k) for n, k in (("conv", 4), ("fc", 5))})
    with pytest.raises(SimhwError) as caught:
        export(workload, weights="c.npz", fit=parse(["fc=linear:4"]))
    assert caught.value.faults == ("c.npz: holds coefficients already, of conv, fc; fit wants plain weights",)


DATA = os.environ.get("SIMHW_DATA")


@pytest.mark.skipif(
    DATA is None or not os.path.exists(os.path.join(DATA, "resnet20_cifar10_weights.npz")),
    reason="SIMHW_DATA names no folder with the weights of ResNet-20",
)
def test_a_residual_network_with_its_own_weights_runs_fitted():
    trace = export(load_workload("resnet20_cifar10"), fit=parse(["*=linear:3", "linear=linear:8"]))
    assert trace.provenance["weights"] == (
        "resnet20_cifar10_weights.npz, fitted with 8 bits: linear 3 (19 layers), linear 8 (linear)"
    )
    result = simulate("tolba", trace)
    assert result.outputs_match
    assert len(result.layers) == 20
