"""Weights: from an .npz or .safetensors file, or drawn from a seed.

A file names them `<layer>.weight` and `.bias`, a batch norm's `.gamma`, `.beta`, `.mean` and `.var`;
convolutions as [out, in/groups, height, width], linear layers as [out, in]. A file whose batch norms
are folded already, so that it holds a bias for a layer that has none and nothing of the batch norm after
it, is taken as it is: that batch norm goes. In place of `<layer>.weight` a file may hold what its weights
are made of, as parameters of the kind `coefficients` do (`simhw.parameters`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simhw import parameters
from simhw.errors import WorkloadError, did_you_mean
from simhw.reference.fitted import TENSORS, Fitted
from simhw.reference.graph import Graph
from simhw.reference.npz import Npz
from simhw.reference.ops import LAYERS, Node
from simhw.workload.network import BareNetwork, Workload

_TERMS = ("gamma", "beta", "mean", "var")


class _Arrays(Protocol):
    names: tuple[str, ...]

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> np.ndarray: ...


def load_weights(path: Path, workload: Workload) -> tuple[Graph, dict[str, np.ndarray]]:
    """Return the graph, less what the file has folded, and its parameters as float32; every fault at once."""
    arrays = _opened(path)
    graph = _without_folded(workload.graph, arrays)
    fitted = _fitted(path, arrays, workload)
    fault = None if fitted else _of_another_network(graph, arrays)
    if fault is not None:
        raise WorkloadError(f"{path}: {fault}")
    params: dict[str, np.ndarray] = {}
    faults: list[str] = []
    for name, shape in graph.param_shapes(workload.input_shape).items():
        stored, lines = _stored_name(name), fitted.get(name.removesuffix(".weights"))
        if name.endswith(".weights") and lines is not None:
            if stored in arrays:
                faults.append(f"{path}: {stored}: stands beside its coefficients; wants the one or the other")
            params[name] = lines.real_weights().astype(np.float32)
            continue
        if stored not in arrays:
            hint = did_you_mean(stored, arrays.names) if len(arrays.names) <= 40 else ""
            faults.append(f"{path}: {stored}: is missing; wants an array of shape {list(shape)}{hint}")
            continue
        array = arrays[stored]
        fault = _fault(array, shape, name)
        if fault:
            faults.append(f"{path}: {stored}: {fault}")
        else:
            params[name] = array.astype(np.float32).reshape(shape)
    if faults:
        raise WorkloadError(faults)
    return graph, params


def load_fitted(path: Path, workload: Workload) -> dict[str, Fitted]:
    """Return the layers whose weights a file gives as coefficients, by name."""
    return _fitted(path, _opened(path), workload)


def _fitted(path: Path, arrays: _Arrays, workload: Workload) -> dict[str, Fitted]:
    if not any(name.rpartition(".")[2] in TENSORS for name in arrays.names):
        return {}
    given = parameters.load_arrays(arrays, path, "coefficients", BareNetwork(workload))
    shapes = workload.graph.param_shapes(workload.input_shape)
    return {name: own.fitted(shapes[f"{name}.weights"]) for name, own in given.layers.items()}


def _of_another_network(graph: Graph, arrays: _Arrays) -> str | None:
    """Return what is to be said of a file that gives layers' weights, and none of this network's."""
    wanted = [node.name for node in graph.nodes if node.op in LAYERS]
    held = list(
        dict.fromkeys(
            layer for layer, _, kind in (name.rpartition(".") for name in arrays.names) if kind == "weight"
        )
    )
    if not held or not wanted or set(held) & set(wanted):
        return None
    return (
        f"is of another network: it has weights of {_few(held)}, and this one's layers are {_few(wanted)}; "
        "name the workload it was made for, or its arrays after these layers"
    )


def _few(names: list[str]) -> str:
    return ", ".join(names if len(names) <= 6 else [*names[:3], "...", names[-1]])


def draw_weights(graph: Graph, input_shape: tuple[int, int, int], seed: int) -> dict[str, np.ndarray]:
    """Return parameters drawn from a seed, each layer's from its name and the seed alone.

    Weights are normal with the deviation that keeps a ReLU network's activations at one size: sqrt(2 /
    products a window) (He et al., ICCV 2015). Biases are normal with deviation 0.05; batch norms scale
    by 0.75 to 1.25 and shift a little, so that folding them matters.
    """
    params: dict[str, np.ndarray] = {}
    for name, shape in graph.param_shapes(input_shape).items():
        words = np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32).tolist()
        rng = np.random.default_rng([seed, *words])
        kind = name.rpartition(".")[2]
        if kind in ("gamma", "var"):
            params[name] = rng.uniform(0.75, 1.25, shape).astype(np.float32)
        else:
            scale = math.sqrt(2 / math.prod(shape[1:])) if kind == "weights" else 0.05
            params[name] = rng.standard_normal(shape, np.float32) * np.float32(scale)
    return params


def _stored_name(param: str) -> str:
    return param.removesuffix("s") if param.endswith(".weights") else param


def _fault(array: np.ndarray, shape: tuple[int, ...], name: str) -> str | None:
    """Return what is wrong with an array for a parameter of this shape."""
    linear = len(shape) == 4 and shape[2:] == (1, 1)
    if array.shape != shape and not (linear and array.shape == shape[:2]):
        wanted = list(shape[:2]) if linear and array.ndim == 2 else list(shape)
        return f"has shape {list(array.shape)}; wants {wanted}"
    if not np.isfinite(array).all():
        wrong = np.argwhere(~np.isfinite(array))
        return (
            f"holds values that are not finite (NaN or infinity), {len(wrong)} in all, the first at "
            f"{wrong[0].tolist()}; wants finite numbers"
        )
    if name.endswith(".var") and array.size and array.min() < 0:
        return f"holds a variance of {array.min():g}; wants none below 0"
    return None


def _without_folded(graph: Graph, arrays: _Arrays) -> Graph:
    """Return the graph less each batch norm that the file has folded into the layer before it."""
    by_name = {node.name: node for node in graph.nodes}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    instead: dict[str, Node] = {}
    gone: dict[str, str] = {}
    for node in graph.nodes:
        layer = by_name.get(node.inputs[0])
        folded = (
            node.op == "batchnorm"
            and layer is not None
            and layer.op in LAYERS
            and not layer.attrs["bias"]
            and readers[layer.name] == 1
            and f"{layer.name}.bias" in arrays
            and not any(f"{node.name}.{term}" in arrays for term in _TERMS)
        )
        if folded and layer is not None:
            activation = layer.attrs["activation"] or node.attrs["activation"]
            instead[layer.name] = replace(
                layer, attrs={**layer.attrs, "bias": True, "activation": activation}
            )
            gone[node.name] = layer.name
    if not gone:
        return graph
    nodes = tuple(
        replace(kept, inputs=tuple(gone.get(name, name) for name in kept.inputs))
        for kept in (instead.get(node.name, node) for node in graph.nodes if node.name not in gone)
    )
    return replace(graph, nodes=nodes, output=gone.get(graph.output, graph.output))


def _opened(path: Path) -> _Arrays:
    if os.path.isdir(path):
        raise WorkloadError(f"{path}: is a directory; wants an .npz or .safetensors file of weights")
    if not os.path.isfile(path):
        raise WorkloadError(f"{path}: no such file; wants an .npz or .safetensors file of weights")
    if path.suffix.lower() == ".safetensors":
        return _Safetensors(path)
    return Npz(path, WorkloadError)


class _Safetensors:
    """An open .safetensors file, read by the library it is named after."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._path, self._error = path, SafetensorError
        try:
            self._file = safe_open(path, framework="numpy")
            self.names = tuple(self._file.keys())
        except (SafetensorError, OSError) as fault:
            raise WorkloadError(
                f"{path}: is not a whole .safetensors file ({fault}); copy it again"
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            array: Any = self._file.get_tensor(name)
        except (self._error, TypeError, KeyError, AttributeError) as fault:
            raise WorkloadError(f"{self._path}: {name}: cannot be read ({fault}); wants numbers") from None
        return array


def described(graph: Graph, params: Mapping[str, np.ndarray]) -> str:
    """Return a SHA-256 of real parameters, for the provenance."""
    digest = hashlib.sha256(json.dumps(sorted(params)).encode())
    for name in sorted(params):
        digest.update(np.ascontiguousarray(params[name]).data)
    return digest.hexdigest()
