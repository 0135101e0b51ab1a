"""The LeNet that ships: its accuracy, and its trace, made again from its weights."""

from __future__ import annotations

import numpy as np
import pytest

from simhw import shipped
from simhw.trace import Trace
from simhw.training import lenet_digits
from simhw.workload import export, load_inputs, load_params, load_workload

HELD_OUT = 1797 - 1437


@pytest.fixture(autouse=True)
def _no_data_but_what_ships(monkeypatch):
    monkeypatch.delenv("SIMHW_DATA", raising=False)


def test_it_names_97_in_100_of_the_digits_that_were_held_out():
    workload = load_workload("lenet_digits")
    assert lenet_digits.accuracy(workload) >= 0.97
    batch = load_inputs(workload, images=HELD_OUT)
    graph, params, source = load_params(workload)
    named = graph.infer(batch.pixels, params).reshape(HELD_OUT, 10).argmax(axis=1)
    assert source == "lenet_digits_weights.npz"
    assert (named == batch.labels).sum() >= 0.97 * HELD_OUT


@pytest.mark.parametrize(("format", "least"), [("fixed16", 0.97), ("fixed8", 0.96)])
def test_fixed_point_names_them_as_well(format, least):
    trace = export(load_workload("lenet_digits"), images=HELD_OUT, format=format)
    named = trace.output.reshape(HELD_OUT, 10).argmax(axis=1)
    assert (named == trace.labels).mean() >= least


def test_its_trace_is_made_again_from_its_weights():
    ships = Trace.load("lenet_digits")
    again = export(load_workload("lenet_digits"), images=lenet_digits.IMAGES)
    assert again.digests == ships.digests
    for name in ships.tensor_names:
        np.testing.assert_array_equal(again.tensor(name), ships.tensor(name))


def test_the_same_version_writes_the_same_bytes(tmp_path):
    ships = Trace.load("lenet_digits")
    again = export(load_workload("lenet_digits"), images=lenet_digits.IMAGES)
    again.provenance = dict(ships.provenance)  # which names the version that made it
    file = again.save(tmp_path / "again.safetensors")
    assert file.read_bytes() == shipped.find("traces", "lenet_digits", ".safetensors").read_bytes()


def test_weights_and_trace_are_small():
    assert sum(file.stat().st_size for file in shipped.folder("traces").glob("lenet_digits*")) < 2_000_000


def test_its_trace_is_sound_and_knows_its_labels():
    trace = Trace.load("lenet_digits")
    trace.verify()
    assert (trace.batch, trace.format) == (lenet_digits.IMAGES, "fixed16")
    assert [layer.name for layer in trace.layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    named = trace.output.reshape(trace.batch, 10).argmax(axis=1)
    assert (named == trace.labels).sum() >= trace.batch - 1


@pytest.mark.long
def test_training_again_reaches_the_same_accuracy(tmp_path):
    """The bytes may differ on another BLAS; the accuracy may not, much."""
    params = lenet_digits.train()
    lenet_digits.save(params, tmp_path)
    accuracy = lenet_digits.accuracy(load_workload("lenet_digits"), tmp_path / "lenet_digits_weights.npz")
    assert accuracy >= 0.97


def test_a_gradient_is_the_slope_of_the_loss():
    """Along a random direction, by finite differences in float64."""
    workload = load_workload("lenet_digits")
    batch = load_inputs(workload, images=4)
    params = {name: array.astype(np.float64) for name, array in load_params(workload, "random")[1].items()}
    rng = np.random.default_rng(0)
    gradients = lenet_digits._gradients(params, batch.pixels.astype(np.float64), batch.labels)

    def loss(moved):
        values = batch.pixels
        for name, pool in (("conv1", True), ("conv2", True), ("fc1", False), ("fc2", False), ("fc3", False)):
            if pool:
                values = np.pad(values, ((0, 0), (0, 0), (2, 2), (2, 2))) if name == "conv1" else values
                windows = np.lib.stride_tricks.sliding_window_view(values, (5, 5), axis=(2, 3))
                values = np.einsum("ncefrs,mcrs->nmef", windows, moved[f"{name}.weights"])
                values = np.maximum(values + moved[f"{name}.bias"][:, None, None], 0)
                n, m, e, f = values.shape
                values = values.reshape(n, m, e // 2, 2, f // 2, 2).max(axis=(3, 5))
            else:
                values = values.reshape(len(values), -1)
                values = values @ moved[f"{name}.weights"][:, :, 0, 0].T + moved[f"{name}.bias"]
                values = values if name == "fc3" else np.maximum(values, 0)
        shifted = values - values.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(values)), batch.labels])

    for name in params:
        direction = rng.standard_normal(params[name].shape)
        step = 1e-6
        up, down = ({**params, name: params[name] + sign * step * direction} for sign in (1, -1))
        slope = (loss(up) - loss(down)) / (2 * step)
        np.testing.assert_allclose((gradients[name] * direction).sum(), slope, rtol=1e-4, atol=1e-8)
