"""Trained networks, whole: the float32 graph gives the accuracies known of their weights.

They need data sets and weights that do not ship, found through SIMHW_DATA.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from simhw.reference.fold import fuse
from simhw.reference.graph import Graph, Node, calibrate

FILES = ("mnist.npz", "lenet5_mnist_weights.npz", "cifar10_test.npz", "resnet20_cifar10_weights.npz")
DATA = Path(os.environ.get("SIMHW_DATA", ""))
pytestmark = pytest.mark.skipif(
    "SIMHW_DATA" not in os.environ or not all((DATA / name).is_file() for name in FILES),
    reason=f"SIMHW_DATA names no folder with {', '.join(FILES)}",
)
Params = dict[str, np.ndarray]


def load_params(graph: Graph, name: str, input_chw: tuple[int, int, int]) -> Params:
    """Read arrays named `<layer>.weight`, linear ones two-dimensional, as a graph names and shapes them."""
    with np.load(DATA / name) as arrays:
        return {
            param: arrays[param.replace(".weights", ".weight")].reshape(shape)
            for param, shape in graph.param_shapes(input_chw).items()
        }


def lenet5() -> tuple[Graph, Params]:
    graph = Graph((
        Node("conv1", "conv", ("input",), {"out_channels": 6, "kernel": 5, "pad": 2, "activation": "relu"}),
        Node("pool1", "maxpool", ("conv1",), {"kernel": 2, "stride": 2}),
        Node("conv2", "conv", ("pool1",), {"out_channels": 16, "kernel": 5, "activation": "relu"}),
        Node("pool2", "maxpool", ("conv2",), {"kernel": 2, "stride": 2}),
        Node("flat", "flatten", ("pool2",)),
        Node("fc1", "linear", ("flat",), {"out_channels": 120, "activation": "relu"}),
        Node("fc2", "linear", ("fc1",), {"out_channels": 84, "activation": "relu"}),
        Node("fc3", "linear", ("fc2",), {"out_channels": 10}),
    ))  # fmt: skip
    return graph, load_params(graph, "lenet5_mnist_weights.npz", (1, 28, 28))


def resnet20() -> tuple[Graph, Params]:
    """He et al., CVPR 2016, for CIFAR-10: three stages of three blocks, shortcuts without weights."""
    nodes: list[Node] = []

    def conv_norm(
        name: str, norm: str, reads: str, channels: int, stride: int, activation: str | None
    ) -> str:
        attrs = {"out_channels": channels, "kernel": 3, "stride": stride, "pad": 1, "bias": False}
        nodes.append(Node(name, "conv", (reads,), attrs))
        nodes.append(Node(norm, "batchnorm", (name,), {"activation": activation}))
        return norm

    last, channels = conv_norm("conv1", "bn1", "input", 16, 1, "relu"), 16
    for stage, wide in enumerate((16, 32, 64), start=1):
        for block in range(3):
            at = f"layer{stage}.{block}"
            stride = 2 if wide > channels else 1
            middle = conv_norm(f"{at}.conv1", f"{at}.bn1", last, wide, stride, "relu")
            body = conv_norm(f"{at}.conv2", f"{at}.bn2", middle, wide, 1, None)
            if wide > channels:
                more = (wide - channels) // 2
                shortcut = Node(
                    f"{at}.short", "subsample_pad", (last,), {"stride": 2, "channels": [more, more]}
                )
                nodes.append(shortcut)
                last = shortcut.name
            nodes.append(Node(f"{at}.add", "add", (body, last), {"activation": "relu"}))
            last, channels = f"{at}.add", wide
    nodes += [
        Node("gap", "globalavgpool", (last,)),
        Node("linear", "linear", ("gap",), {"out_channels": 10}),
    ]
    graph = Graph(tuple(nodes))
    return graph, load_params(graph, "resnet20_cifar10_weights.npz", (3, 32, 32))


def mnist(images: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / "mnist.npz") as arrays:
        pixels, labels = arrays["test_images"][:images], arrays["test_labels"][:images]
    return ((pixels[:, None] / 255 - 0.1307) / 0.3081).astype(np.float32), labels


def cifar10(images: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / "cifar10_test.npz") as arrays:
        pixels, labels = arrays["images"][:images], arrays["labels"][:images]
    scaled = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32), labels


def right(graph: Graph, params: Params, inputs: np.ndarray, labels: np.ndarray, formats=None) -> int:
    outputs = graph.infer(inputs, params, formats, images_at_once=50)
    return int((outputs.reshape(len(labels), -1).argmax(axis=1) == labels).sum())


def test_lenet5_reads_digits():
    graph, params = lenet5()
    images, labels = mnist(1000)
    assert right(graph, params, images, labels) >= 985


@pytest.mark.long
def test_lenet5_reads_9907_of_10000_digits():
    graph, params = lenet5()
    assert right(graph, params, *mnist(10000)) == 9907


def test_resnet20_sees_what_is_in_pictures_folded_or_not():
    graph, params = resnet20()
    images, labels = cifar10(100)
    fused, fused_params = fuse(graph, params)
    kept = {"conv", "linear", "add", "subsample_pad", "globalavgpool"}
    assert {node.op for node in fused.nodes} == kept
    np.testing.assert_allclose(
        fused.infer(images, fused_params), graph.infer(images, params), rtol=1e-3, atol=1e-3
    )
    assert right(fused, fused_params, images, labels) >= 88


@pytest.mark.long
def test_resnet20_is_right_on_9173_of_10000_pictures():
    assert right(*resnet20(), *cifar10(10000)) == 9173


@pytest.mark.parametrize(("bits", "least"), [(16, 0.985), (8, 0.98)])
def test_lenet5_in_fixed_point_reads_as_well(bits, least):
    graph, params = lenet5()
    images, labels = mnist(1000)
    formats = calibrate(graph, params, images, bits)
    assert right(graph, params, images, labels, formats) >= least * len(labels)


@pytest.mark.long
@pytest.mark.parametrize(("bits", "lost"), [(16, 5), (8, 30)])
def test_resnet20_in_fixed_point_sees_nearly_as_well(bits, lost):
    graph, params = fuse(*resnet20())
    images, labels = cifar10(1000)
    formats = calibrate(graph, params, images, bits)
    assert right(graph, params, images, labels, formats) >= right(graph, params, images, labels) - lost
