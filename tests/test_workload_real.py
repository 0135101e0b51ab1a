"""Trained networks on real images, where SIMHW_DATA names a folder that has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from simhw.workload import export, load_inputs, load_params, load_workload

DATA = Path(os.environ.get("SIMHW_DATA", ""))


def needs(*names: str):
    absent = [name for name in names if not os.environ.get("SIMHW_DATA") or not (DATA / name).exists()]
    return pytest.mark.skipif(bool(absent), reason=f"SIMHW_DATA has no {', '.join(absent)}")


def accuracy(name: str, images: int) -> tuple[float, float]:
    """Return top-1 and top-5 of float32 inference."""
    workload = load_workload(name)
    batch = load_inputs(workload, images=images)
    graph, params, source = load_params(workload)
    assert source == workload.weights.file
    scores = graph.infer(batch.pixels, params, images_at_once=40).reshape(images, -1)
    best = np.argsort(-scores, axis=1)[:, :5]
    hits = best == batch.labels[:, None]
    return hits[:, 0].mean(), hits.any(axis=1).mean()


@needs("mnist.npz", "lenet5_mnist_weights.npz")
def test_lenet5_names_99_in_100_of_mnist():
    assert accuracy("lenet5_mnist", 10_000)[0] == pytest.approx(0.9907, abs=1e-4)


@needs("cifar10_test.npz", "resnet20_cifar10_weights.npz")
def test_resnet20_is_as_good_on_a_slice_as_on_the_whole():
    """91.73 % of the test set: within two standard errors on 400 images."""
    assert accuracy("resnet20_cifar10", 400)[0] == pytest.approx(0.9173, abs=0.028)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "images", "top1", "within"),
    [
        ("resnet20_cifar10", 10_000, 0.9173, 1e-4),
        ("resnet32_cifar10", 2_000, 0.9263, 0.012),
        ("resnet56_cifar10", 1_000, 0.9339, 0.016),
        ("mobilenet_v2_cifar10", 1_000, 0.8459, 0.023),
    ],
)
@needs("cifar10_test.npz", "resnet56_cifar10_weights.npz", "mobilenet_v2_cifar10_weights.npz")
def test_cifar_networks_are_as_good_as_measured_elsewhere(name, images, top1, within):
    """Two standard errors where a slice is taken; all images where it is exact."""
    assert accuracy(name, images)[0] == pytest.approx(top1, abs=within)


@needs("imagenet_sample120.npz", "squeezenet_v1_1_weights.npz")
def test_squeezenet_is_as_good_as_measured_elsewhere():
    """69.2 % and 88.3 %: 83 and 106 of 120 images."""
    top1, top5 = accuracy("squeezenet_v1_1", 120)
    assert (round(120 * top1), round(120 * top5)) == (83, 106)


@needs("imagenet_sample120.npz", "mobilenet_v2_weights.npz")
def test_mobilenet_with_its_batch_norms_folded_beforehand_names_most_images():
    top1, top5 = accuracy("mobilenet_v2", 40)
    assert top1 >= 0.7
    assert top5 >= 0.9


@pytest.mark.long
@needs("speech_commands_mfcc.npz", "ds_cnn_l_kws_weights.npz")
def test_the_keyword_network_is_as_good_as_measured_elsewhere():
    assert accuracy("ds_cnn_l_kws", 4890)[0] == pytest.approx(0.9160, abs=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs(data, f"{name}_weights.npz"))
        for name, data in {
            "lenet5_mnist": "mnist.npz",
            "resnet20_cifar10": "cifar10_test.npz",
            "alexnet_conv": "imagenet_sample120.npz",
            "squeezenet_v1_1": "imagenet_sample120.npz",
            "mobilenet_v2": "imagenet_sample120.npz",
        }.items()
    ],
)
def test_fixed16_agrees_with_float32(name):
    """The same class, and every value of every layer within a fiftieth of the layer's largest."""
    workload = load_workload(name)
    fixed, real = export(workload), export(workload, format="float32")
    assert fixed.provenance["weights"] == f"{name}_weights.npz"
    assert fixed.output.argmax() == real.output.argmax()
    for layer in fixed.layers:
        values = np.ldexp(layer.expected.astype(float), -layer.formats["expected"].fraction)
        expected = real.layer(layer.name).expected
        assert np.abs(values - expected).max() <= 0.02 * np.abs(expected).max(), layer.name


@needs("imagenet_sample120.npz", "alexnet_conv_weights.npz")
def test_alexnets_weights_are_exact_in_fixed_point():
    """They are multiples of 1/256 (16-bit weights of a published test suite): fixed16 keeps each."""
    workload = load_workload("alexnet_conv")
    trace = export(workload)
    _, params, _ = load_params(workload)
    for layer in trace.layers:
        number = layer.formats["weights"]
        np.testing.assert_array_equal(
            np.ldexp(layer.weights.astype(float), -number.fraction), params[f"{layer.name}.weights"]
        )
