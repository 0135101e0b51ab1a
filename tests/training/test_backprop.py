"""Gradients against finite differences, and the reference model's own outputs."""

import numpy as np
import pytest

from simhw.errors import WorkloadError
from simhw.reference.graph import Graph
from simhw.reference.ops import Node
from simhw.training import backprop
from simhw.training.backprop import Network, cross_entropy
from simhw.workload.weights import draw_weights

INPUT = (2, 8, 10)


def graph_of(*layers):
    """Return a chain of (op, attributes)."""
    nodes, before = [], "input"
    for i, (op, attrs) in enumerate(layers):
        nodes.append(Node(f"{op}{i}", op, (before,), attrs))
        before = nodes[-1].name
    return Graph(tuple(nodes))


CONV = {"out_channels": 3, "kernel": 3}
CLASSES = ("linear", {"out_channels": 4})
NETWORKS = {
    "linear": [("flatten", {}), ("linear", {"out_channels": 5, "activation": "relu"}), CLASSES],
    "sigmoid": [("flatten", {}), ("linear", {"out_channels": 5}), ("sigmoid", {}), CLASSES],
    "no bias": [("flatten", {}), ("linear", {"out_channels": 4, "bias": False})],
    "conv": [
        ("conv", {**CONV, "activation": "relu"}), ("conv", CONV), ("relu", {}), ("flatten", {}), CLASSES,
    ],
    "padded": [
        ("conv", {**CONV, "pad": 1}), ("conv", {**CONV, "pad": (2, 1, 0, 3)}), ("flatten", {}), CLASSES,
    ],
    "wide kernel": [("sigmoid", {}), ("conv", {**CONV, "kernel": (2, 5)}), ("flatten", {}), CLASSES],
    "average": [
        ("conv", {**CONV, "pad": 1}), ("sigmoid", {}), ("avgpool", {"kernel": 2, "stride": 2}),
        ("conv", CONV), ("flatten", {}), CLASSES,
    ],
    "maximum": [
        ("conv", {**CONV, "pad": 1}), ("maxpool", {"kernel": (2, 5), "stride": (2, 5)}), ("flatten", {}),
        CLASSES, ("softmax", {}),
    ],
}  # fmt: skip


def case(name, images=3):
    """Return a network, its graph, float64 parameters, images and labels."""
    graph = graph_of(*NETWORKS[name])
    rng = np.random.default_rng(7)
    params = {k: v.astype(np.float64) for k, v in draw_weights(graph, INPUT, 1).items()}
    return (
        Network(graph, INPUT),
        graph,
        params,
        rng.standard_normal((images, *INPUT)),
        rng.integers(0, 4, images),
    )


@pytest.mark.parametrize("columns_bytes", [backprop.COLUMNS_BYTES, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_finite_differences(monkeypatch, name, columns_bytes):
    monkeypatch.setattr(backprop, "COLUMNS_BYTES", columns_bytes)
    network, _, params, images, labels = case(name)
    _, _, found = network.gradients(params, images, labels)
    assert set(found) == set(params)
    rng = np.random.default_rng(3)
    for param, array in params.items():
        assert found[param].shape == array.shape
        for place in rng.integers(0, array.size, 6):
            step, kept = 1e-6, array.flat[place]
            losses = []
            for moved in (kept + step, kept - step):
                array.flat[place] = moved
                losses.append(network.gradients(params, images, labels)[0])
            array.flat[place] = kept
            slope = (losses[0] - losses[1]) / (2 * step)
            assert found[param].flat[place] == pytest.approx(slope, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_named_is_what_the_reference_model_names(name):
    network, graph, params, images, _ = case(name, images=20)
    params = {k: v.astype(np.float32) for k, v in params.items()}
    images = images.astype(np.float32)
    named = graph.infer(images, params).reshape(len(images), -1).argmax(axis=1)
    assert network.named_rightly(params, images, named, images_at_once=7) == 20
    assert network.named_rightly(params, images, (named + 1) % 4) == 0


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_rows_laid_out_together_change_no_gradient(monkeypatch, rows):
    """Five or six rows of output: by threes and fives, fewer are left for the last time."""
    network, _, params, images, labels = case("conv")
    loss, rightly, whole = network.gradients(params, images, labels)
    monkeypatch.setattr(backprop, "COLUMNS_BYTES", rows * 8 * 2 * 9 * 8 * 3)  # of the first convolution
    parts = [start for start, _ in network.steps[0]._columns(images.transpose(1, 2, 3, 0))]
    assert parts == list(range(0, 6, rows))
    found = network.gradients(params, images, labels)
    assert found[:2] == (pytest.approx(loss), rightly)
    for name, slope in whole.items():
        np.testing.assert_allclose(found[2][name], slope, rtol=1e-9, atol=1e-15)


def test_room_for_columns_follows_the_batch():
    network, _, params, images, labels = case("conv", images=6)
    whole = network.gradients(params, images, labels)[2]
    first, second = (network.gradients(params, images[p], labels[p])[2] for p in (slice(4), slice(4, 6)))
    for name, slope in whole.items():
        np.testing.assert_allclose((4 * first[name] + 2 * second[name]) / 6, slope, atol=1e-12)


def test_the_loss_of_equal_scores_is_that_of_guessing():
    loss, rightly, slope = cross_entropy(np.zeros((2, 4)), np.array([0, 3]))
    assert loss == pytest.approx(np.log(4))
    assert rightly == 1  # the first of equal scores is named
    np.testing.assert_allclose(slope[:, 0, 0], np.array([[-3, 1], [1, 1], [1, 1], [1, -3]]) / 8)


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        (
            [("lrn", {"size": 3, "alpha": 1, "beta": 1})],
            "graph:lrn0: is lrn; training knows conv, linear, relu, sigmoid, avgpool, maxpool, flatten, "
            "softmax",
        ),
        ([("conv", {**CONV, "activation": "relu6"})],
         "graph:conv0: activation: is relu6; training knows relu"),
        ([("conv", {**CONV, "stride": 2})], "graph:conv0: stride: is (2, 2); training wants (1, 1)"),
        ([("conv", {**CONV, "groups": 1, "out_channels": 2, "dilation": 2})],
         "graph:conv0: dilation: is (2, 2); training wants (1, 1)"),
        ([("avgpool", {"kernel": 3, "stride": 2})],
         "graph:avgpool0: training wants pooling windows side by side, without padding"),
        ([("maxpool", {"kernel": 3, "stride": 3})],
         "graph:maxpool0: pools 8x10 by 3x3; training wants windows that leave nothing over"),
        ([("softmax", {}), ("flatten", {})],
         "graph:softmax0: stands before other layers; training wants it at the end"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_told_in_a_line(layers, fault):
    with pytest.raises(WorkloadError) as caught:
        Network(graph_of(*layers), INPUT)
    assert caught.value.faults == (fault,)


def test_a_graph_that_is_no_chain_is_told():
    nodes = (Node("a", "relu", ("input",)), Node("b", "relu", ("input",)), Node("c", "add", ("a", "b")))
    with pytest.raises(WorkloadError) as caught:
        Network(Graph(nodes), INPUT)
    assert caught.value.faults == (
        "graph:b: reads input; training wants a chain of layers",
        "graph:c: reads a, b; training wants a chain of layers",
        "graph:c: is add; training knows conv, linear, relu, sigmoid, avgpool, maxpool, flatten, softmax",
    )
