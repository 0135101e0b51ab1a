"""Passes that make an equivalent graph of fewer nodes, in real numbers, before anything is quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simhw.reference.graph import Graph
from simhw.reference.layers import batchnorm_terms
from simhw.reference.ops import LAYERS, OPS, Node


def fold_batchnorm(
    weights: np.ndarray,
    bias: np.ndarray | None,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the float32 weights and bias of a layer that does what layer and batch norm did together."""
    scale, offset = batchnorm_terms(gamma, beta, mean, var, eps)
    folded = weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
    if bias is not None:
        offset = offset + scale * bias
    return folded.astype(np.float32), offset.astype(np.float32)


def fuse(graph: Graph, params: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """Return an equivalent graph and its parameters, with batch norms folded and activations fused.

    A batch norm goes into the conv or linear node it reads, a relu or relu6 into any node that has an
    `activation`, where it is the only reader of that node and nothing is activated in between. The
    merged node keeps the name of its first. `params` must be complete (Graph.check_params).
    """
    nodes: dict[str, Node] = {}
    fused = dict(params)
    kept: dict[str, str] = {}  # a node that went -> the node that does its work
    last = {node.name: node.name for node in graph.nodes}  # a node that stayed -> the last whose work it does
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    for original in graph.nodes:
        node = replace(original, inputs=tuple(kept.get(name, name) for name in original.inputs))
        before = nodes.get(node.inputs[0])
        merged = None
        if before is not None and readers[last[before.name]] == 1 and last[before.name] != graph.output:
            merged = _merge(before, node, fused)
        if merged is None:
            nodes[node.name] = node
        else:
            nodes[merged.name] = merged
            kept[node.name] = merged.name
            last[merged.name] = node.name
    output = kept.get(graph.output, graph.output)
    return Graph(tuple(nodes.values()), graph.input, output, graph.source), fused


def _merge(before: Node, node: Node, params: dict[str, np.ndarray]) -> Node | None:
    """Return `before` doing the work of `node` too, its parameters replaced; None where it cannot."""
    if before.attrs.get("activation") is not None:
        return None
    if node.op in ("relu", "relu6") and "activation" in OPS[before.op].attrs:
        return replace(before, attrs={**before.attrs, "activation": node.op})
    if node.op == "batchnorm" and before.op in LAYERS:
        terms = [params.pop(f"{node.name}.{term}") for term in ("gamma", "beta", "mean", "var")]
        bias = params.get(f"{before.name}.bias") if before.attrs["bias"] else None
        weights, bias = fold_batchnorm(params[f"{before.name}.weights"], bias, *terms, eps=node.attrs["eps"])
        params |= {f"{before.name}.weights": weights, f"{before.name}.bias": bias}
        return replace(before, attrs={**before.attrs, "bias": True, "activation": node.attrs["activation"]})
    return None
