"""Networks small enough to know: one filter to count by hand, and a few layers to go through one by one."""

from __future__ import annotations

import numpy as np

from simhw.reference.graph import Graph, Node
from simhw.shapes import NumberFormat
from simhw.tuning import Network

STORED = NumberFormat(bits=16, fraction=0)


def network(nodes, params, inputs, labels=None, name="toy") -> Network:
    """A network whose numbers are whole: weights, inputs and outputs have no binary places."""
    graph = Graph(tuple(nodes))
    formats = {graph.input: STORED}
    for node in graph.nodes:
        formats[f"{node.name}.expected"] = STORED
        formats[f"{node.name}.weights"] = STORED
    return Network(
        name=name,
        graph=graph,
        params={
            key: np.array(value, np.int64 if "bias" in key else np.int16) for key, value in params.items()
        },
        formats=formats,
        inputs=np.array(inputs, np.int16),
        labels=None if labels is None else np.array(labels),
        digests={"network": "toy", "inputs": "toy"},
        provenance={},
    )


def conv(name, reads, filters, kernel=1, activation: str | None = "relu", **attrs) -> Node:
    attrs |= {"out_channels": filters, "kernel": kernel, "activation": activation}
    return Node(name, "conv", (reads,), attrs)


def one_layer(weights, inputs, **rest) -> Network:
    """One 1x1 convolution, weights [M, C], and images of one window each, inputs [N, C]."""
    weights, inputs = np.array(weights), np.array(inputs)
    return network(
        [conv("conv", "input", len(weights))],
        {"conv.weights": weights[:, :, None, None], "conv.bias": np.zeros(len(weights))},
        inputs[:, :, None, None],
        **rest,
    )


def branching(seed: int, images: int = 24) -> Network:
    """Two convolutions that predict, a branch beside the second, and five classes."""
    rng = np.random.default_rng(seed)
    nodes = [
        conv("a", "input", 3, 3, pad=1),
        Node("pool", "maxpool", ("a",), {"kernel": 2, "stride": 2}),
        conv("b", "pool", 4, 3, pad=1),
        conv("c", "pool", 4, 1, activation=None),
        Node("add", "add", ("b", "c"), {"activation": "relu"}),
        Node("flatten", "flatten", ("add",), {}),
        Node("classes", "linear", ("flatten",), {"out_channels": 5}),
    ]
    shapes = {"a": (3, 2, 3, 3), "b": (4, 3, 3, 3), "c": (4, 3, 1, 1), "classes": (5, 36, 1, 1)}
    params = {f"{name}.weights": rng.integers(-9, 9, shape) for name, shape in shapes.items()}
    params |= {f"{name}.bias": rng.integers(-20, 20, shape[0]) for name, shape in shapes.items()}
    return labelled(nodes, params, rng.integers(0, 9, (images, 2, 6, 6)), rng)


def grouped(seed: int, images: int = 24) -> Network:
    """A convolution in two groups with a stride, one of a channel each with holes, and five classes."""
    rng = np.random.default_rng(seed)
    nodes = [
        conv("a", "input", 4, 3, groups=2, stride=2, activation="relu6"),
        conv("b", "a", 4, 2, groups=4, dilation=2),
        Node("flatten", "flatten", ("b",), {}),
        Node("classes", "linear", ("flatten",), {"out_channels": 5}),
    ]
    shapes = {"a": (4, 2, 3, 3), "b": (4, 1, 2, 2), "classes": (5, 16, 1, 1)}
    params = {f"{name}.weights": rng.integers(-9, 9, shape) for name, shape in shapes.items()}
    params |= {f"{name}.bias": rng.integers(-20, 20, shape[0]) for name, shape in shapes.items()}
    return labelled(nodes, params, rng.integers(0, 9, (images, 4, 9, 9)), rng)


def labelled(nodes, params, inputs, rng) -> Network:
    """Most labels are what the network says, so that there is something to lose."""
    labels = network(nodes, params, inputs).predictions({})
    labels[rng.random(len(inputs)) < 0.2] = 0
    return network(nodes, params, inputs, labels)
