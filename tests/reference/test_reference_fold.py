"""Folding and fusing leave an equivalent graph of fewer nodes."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.reference.fold import fold_batchnorm, fuse
from simhw.reference.graph import Graph, Node

TERMS = ("gamma", "beta", "mean", "var")


def conv(name: str, reads: str, channels: int = 4, **attrs) -> Node:
    return Node(name, "conv", (reads,), {"out_channels": channels, "kernel": 3, "pad": 1, **attrs})


def random_params(graph: Graph, input_chw: tuple[int, int, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    params = {}
    for name, shape in graph.param_shapes(input_chw).items():
        values = rng.standard_normal(shape).astype(np.float32)
        params[name] = np.abs(values) + 0.5 if name.endswith(".var") else values
    return params


def ops_of(graph: Graph) -> list[tuple[str, str, str | None]]:
    return [(node.name, node.op, node.attrs.get("activation")) for node in graph.nodes]


def check_equivalent(nodes: list[Node], output: str = "") -> Graph:
    graph = Graph(tuple(nodes), output=output)
    params = random_params(graph, (3, 8, 8))
    before = {name: array.copy() for name, array in params.items()}
    fused, fused_params = fuse(graph, params)
    inputs = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(
        fused.infer(inputs, fused_params), graph.infer(inputs, params), rtol=1e-4, atol=1e-4
    )  # fmt: skip
    fused.check_params(fused_params, (3, 8, 8))
    assert set(fused_params) == set(fused.param_shapes((3, 8, 8)))
    for name, array in before.items():
        np.testing.assert_array_equal(params[name], array)
    return fused


def test_folding_is_arithmetic_by_channel():
    # scale 6 / sqrt(8.99 + 0.01) = 2 and 1 / sqrt(0.99 + 0.01) = 1
    weights = np.array([1.0, -3.0], np.float32).reshape(2, 1, 1, 1)
    terms = [np.array(v) for v in ([6.0, 1.0], [10.0, 0.0], [4.0, 1.0], [8.99, 0.99])]
    folded, bias = fold_batchnorm(weights, np.array([0.5, 5.0], np.float32), *terms, eps=0.01)
    np.testing.assert_allclose(folded.ravel(), [2, -3], rtol=1e-6)
    np.testing.assert_allclose(bias, [10 + 2 * (0.5 - 4), 5 - 1], rtol=1e-6)
    assert folded.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(
        fold_batchnorm(weights, None, *terms, eps=0.01)[1], [10 - 2 * 4, -1], rtol=1e-6
    )


@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_and_an_activation_go_into_the_layer_before(bias):
    fused = check_equivalent([
        conv("c1", "input", bias=bias), Node("b1", "batchnorm", ("c1",)), Node("r1", "relu", ("b1",)),
        conv("c2", "r1", groups=2, bias=bias), Node("b2", "batchnorm", ("c2",), {"activation": "relu6"}),
        Node("flat", "flatten", ("b2",)), Node("fc", "linear", ("flat",), {"out_channels": 5}),
        Node("b3", "batchnorm", ("fc",), {"eps": 0.1}), Node("r3", "relu6", ("b3",)),
    ])  # fmt: skip
    assert ops_of(fused) == [
        ("c1", "conv", "relu"), ("c2", "conv", "relu6"), ("flat", "flatten", None), ("fc", "linear", "relu6"),
    ]  # fmt: skip
    assert fused.output == "fc"


def test_a_residual_block_keeps_its_shortcut():
    fused = check_equivalent([
        conv("c1", "input"), Node("b1", "batchnorm", ("c1",), {"activation": "relu"}),
        conv("c2", "b1"), Node("b2", "batchnorm", ("c2",)),
        Node("sum", "add", ("b2", "b1")), Node("r", "relu", ("sum",)),
    ])  # fmt: skip
    assert ops_of(fused) == [("c1", "conv", "relu"), ("c2", "conv", None), ("sum", "add", "relu")]
    assert fused["sum"].inputs == ("c2", "c1")


def test_what_others_read_is_not_changed():
    fused = check_equivalent([
        conv("c1", "input"), Node("b1", "batchnorm", ("c1",)), Node("sum", "add", ("b1", "c1")),
        conv("c2", "sum"), Node("r2", "relu", ("c2",)), Node("both", "concat", ("r2", "c2")),
    ])  # fmt: skip
    assert [node.name for node in fused.nodes] == ["c1", "b1", "sum", "c2", "r2", "both"]


def test_the_graphs_output_is_not_activated():
    nodes = [conv("c1", "input"), Node("b1", "batchnorm", ("c1",)), Node("r1", "relu", ("b1",))]
    assert ops_of(check_equivalent(nodes, output="c1"))[0] == ("c1", "conv", None)
    kept = check_equivalent(nodes, output="b1")
    assert ops_of(kept) == [("c1", "conv", None), ("r1", "relu", None)]
    assert kept.output == "c1"


def test_nothing_passes_an_activation():
    fused = check_equivalent([
        conv("c1", "input", activation="relu"), Node("b1", "batchnorm", ("c1",)), Node("r1", "relu", ("b1",)),
        conv("c2", "r1"), Node("r2", "relu", ("c2",)), Node("b2", "batchnorm", ("r2",)),
        Node("six", "relu6", ("b2",)), Node("again", "relu", ("six",)),
    ])  # fmt: skip
    assert ops_of(fused) == [
        ("c1", "conv", "relu"), ("b1", "batchnorm", "relu"), ("c2", "conv", "relu"),
        ("b2", "batchnorm", "relu6"), ("again", "relu", None),
    ]  # fmt: skip
