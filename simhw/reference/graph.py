"""A network as a graph of nodes: checked when built, run lazily, in float32 or in fixed point.

Tensors bear the names they have in a trace: a node's output is `<node>.expected` and its parameters
`<node>.weights`, `.bias` (conv and linear), `.gamma`, `.beta`, `.mean`, `.var` (batchnorm); the graph's
input has its own name. `params` and `formats` are keyed by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simhw.errors import WorkloadError, did_you_mean
from simhw.reference import elementwise, ops
from simhw.reference.numbers import (
    choose_format,
    format_for,
    magnitude,
    quantize,
    quantize_bias,
    storage_dtype,
)
from simhw.reference.ops import LAYERS, OPS, Call, Node, Shape, layer_shape
from simhw.shapes import FLOAT32, LayerShape, NumberFormat
from simhw.stream import KIND, Operation, StreamShape

Params = Mapping[str, np.ndarray]
Formats = Mapping[str, NumberFormat]
Override = Mapping[str, Callable[..., np.ndarray]]

_BIAS_BITS = 52  # a quantized bias stays below 2**52: float64 holds it, and int64 its sum with any products


def check_node(node: Node, source: str) -> tuple[Node, list[str]]:
    """Return a node with every attribute read and defaulted, and its faults, wherever it stands."""
    place = f"{source}:{node.name}"
    op = OPS.get(node.op)
    if op is None:
        return node, [f"{place}: unknown op {node.op!r}{did_you_mean(node.op, OPS)}"]
    faults: list[str] = []
    if op.many and len(node.inputs) < op.many:
        faults.append(f"{place}: reads {len(node.inputs)} tensors; {node.op} wants at least {op.many}")
    elif not op.many and len(node.inputs) != 1:
        faults.append(f"{place}: reads {len(node.inputs)} tensors; {node.op} wants 1")
    faults += [
        f"{place}: unknown attribute {name!r}{did_you_mean(name, op.attrs)}"
        for name in node.attrs
        if name not in op.attrs
    ]
    attrs = {}
    for name, attr in op.attrs.items():
        if name not in node.attrs:
            attrs[name] = attr.default
            if attr.required:
                faults.append(f"{place}: {name}: missing; wants {attr.wants}")
            continue
        try:
            attrs[name] = attr.read(node.attrs[name])
        except (ValueError, TypeError, OverflowError):
            faults.append(f"{place}: {name}: wants {attr.wants}, got {node.attrs[name]!r}")
    read = Node(node.name, node.op, tuple(node.inputs), attrs)
    if faults:
        return read, faults
    checked, wrong = op.check(read)
    return checked, [f"{place}: {fault}" for fault in wrong]


@dataclass(frozen=True)
class Graph:
    """Nodes, each below those it reads, from the tensor `input` to the output of the node `output`.

    `source` is the file the graph came from, for messages. Building it checks everything that needs no
    shapes and raises one WorkloadError with a line per fault; defaults are then written into the nodes.
    """

    nodes: tuple[Node, ...]
    input: str = "input"
    output: str = ""  # the last node where not given
    source: str = "graph"

    def __post_init__(self) -> None:
        faults: list[str] = []
        if not self.nodes:
            raise WorkloadError(f"{self.source}:nodes: none found; wants at least one")
        checked = [check_node(node, self.source) for node in self.nodes]
        nodes = tuple(node for node, _ in checked)
        faults += [fault for _, of_node in checked for fault in of_node]
        self._check_wiring(faults)
        if faults:
            raise WorkloadError(faults)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "output", self.output or nodes[-1].name)

    def _check_wiring(self, faults: list[str]) -> None:
        names = [node.name for node in self.nodes]
        known = {self.input, *names}
        made = {self.input}
        for node in self.nodes:
            place = f"{self.source}:{node.name}"
            for name in node.inputs:
                if name not in known:
                    faults.append(f"{place}: reads {name!r}, which no node makes{did_you_mean(name, known)}")
                elif name not in made:
                    faults.append(f"{place}: reads {name!r}, which is made only below it; wants it above")
            if node.name in made:
                what = "the graph's input" if node.name == self.input else "another node"
                faults.append(f"{place}: has the name of {what}; wants a name of its own")
            made.add(node.name)
        if self.output and self.output not in names:
            hint = did_you_mean(self.output, names)
            faults.append(f"{self.source}:output: no node is named {self.output!r}{hint}")

    def __getitem__(self, name: str) -> Node:
        """Return the node of this name (KeyError where there is none)."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain data, as a trace keeps it."""
        plain = [
            {
                "name": node.name,
                "op": node.op,
                "inputs": list(node.inputs),
                "attrs": {k: list(v) if isinstance(v, tuple) else v for k, v in node.attrs.items()},
            }
            for node in self.nodes
        ]
        return {"inputs": [self.input], "nodes": plain, "output": self.output}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "graph") -> Graph:
        """Return the graph that `to_dict` described."""
        nodes = tuple(Node(n["name"], n["op"], tuple(n["inputs"]), n["attrs"]) for n in values["nodes"])
        return cls(nodes, values["inputs"][0], values["output"], source)

    # Shapes

    def shapes(self, input_chw: Sequence[int], batch: int = 1) -> dict[str, Shape]:
        """Return the shape [N, C, H, W] of the input and of every node's output, by name.

        Raises WorkloadError with a line for each node whose inputs do not suit it.
        """
        c, h, w = input_chw
        shapes: dict[str, Shape] = {self.input: (batch, c, h, w)}
        faults = []
        for node in self.nodes:
            if not all(name in shapes for name in node.inputs):
                continue  # a fault above it is told already
            try:
                shapes[node.name] = OPS[node.op].shape(node, [shapes[name] for name in node.inputs])
            except ValueError as fault:
                faults.append(f"{self.source}:{node.name}: {fault}")
        if faults:
            raise WorkloadError(faults)
        return shapes

    def layer_shapes(self, input_chw: Sequence[int], batch: int = 1) -> dict[str, LayerShape]:
        """Return the LayerShape of every conv and linear node, in order."""
        shapes = self.shapes(input_chw, batch)
        return {n.name: layer_shape(n, shapes[n.inputs[0]]) for n in self.nodes if n.op in LAYERS}

    def stream_shapes(self, input_chw: Sequence[int], batch: int = 1) -> dict[str, StreamShape]:
        """Return the StreamShape of every elementwise node, in order."""
        shapes = self.shapes(input_chw, batch)
        streams = [node for node in self.nodes if node.op == KIND]
        return {node.name: ops.stream_shape(node, [shapes[name] for name in node.inputs]) for node in streams}

    def param_shapes(self, input_chw: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter the graph needs, by tensor name."""
        shapes = self.shapes(input_chw)
        return {
            f"{node.name}.{kind}": shape
            for node in self.nodes
            for kind, shape in OPS[node.op].params(node, shapes[node.inputs[0]]).items()
        }

    def check_params(self, params: Params, input_chw: Sequence[int]) -> None:
        """Raise WorkloadError with a line for each parameter that is missing, misshapen or not finite."""
        faults = []
        for name, shape in self.param_shapes(input_chw).items():
            fault = _param_fault(params, name, shape)
            if fault is None and params[name].dtype.kind == "f":
                size = params[name].size
                strange = size - int(np.isfinite(params[name]).sum())
                if strange:
                    fault = f"{strange} of {size} values are NaN or infinite; wants finite numbers"
                elif name.endswith(".var") and params[name].min() < 0:
                    fault = "holds a variance below 0; wants at least 0"
            if fault is not None:
                faults.append(f"{self.source}:{name}: {fault}")
        if faults:
            raise WorkloadError(faults)

    # Running

    def run(
        self,
        inputs: np.ndarray,
        params: Params,
        formats: Formats | None = None,
        override: Override | None = None,
    ) -> Iterator[tuple[Node, np.ndarray]]:
        """Yield every node with its output for the batch `inputs` [N, C, H, W], one node at a time.

        A tensor is dropped once the last node that reads it is done; what the caller keeps, it must not
        write to. Without `formats`, or where all are float32, so is the run. Otherwise it is fixed point:
        real inputs and parameters are quantized by their formats as they are needed, integers are taken
        as they are. `override[name]` takes the place of a node's computation: it is given the node's
        inputs, in the integers of their formats (or float32), and returns what the node would. Errors are
        raised here, before the first node is computed, except those of parameters, which are read when
        their node's turn comes.
        """
        names = [node.name for node in self.nodes]
        for name in override or ():
            if name not in names:
                hint = did_you_mean(name, names)
                raise WorkloadError(f"{self.source}:override: no node is named {name!r}{hint}")
        if inputs.ndim != 4:
            raise WorkloadError(
                f"{self.source}:{self.input}: has shape {inputs.shape}; wants images, channels, height, width"
            )
        self.shapes(inputs.shape[1:], inputs.shape[0])
        if formats is not None and all(fmt.is_float for fmt in formats.values()):
            formats = None
        node_formats = self._node_formats(formats)
        live = {self.input: self._stored(self.input, inputs, node_formats[self.input])}
        return self._steps(live, params, formats, node_formats, override or {})

    def infer(
        self,
        inputs: np.ndarray,
        params: Params,
        formats: Formats | None = None,
        override: Override | None = None,
        images_at_once: int | None = None,
    ) -> np.ndarray:
        """Return the graph's output for a batch; `images_at_once` bounds the memory of a large one."""
        step = images_at_once or max(1, len(inputs))
        outputs = []
        for start in range(0, max(1, len(inputs)), step):
            for node, output in self.run(inputs[start : start + step], params, formats, override):
                if node.name == self.output:
                    outputs.append(output)
                    break
        return np.concatenate(outputs)

    def _steps(
        self,
        live: dict[str, np.ndarray],
        params: Params,
        formats: Formats | None,
        node_formats: dict[str, NumberFormat],
        override: Override,
    ) -> Iterator[tuple[Node, np.ndarray]]:
        last_reader = {name: node.name for node in self.nodes for name in node.inputs}
        for node in self.nodes:
            if node.name in override:
                output = override[node.name](*(live[name] for name in node.inputs))
                self._check_override(node, output, live, node_formats[node.name])
            else:
                output = self._compute(node, live, params, formats, node_formats)
            for name in set(node.inputs):
                if last_reader[name] == node.name:
                    del live[name]
            if node.name in last_reader:
                live[node.name] = output
            yield node, output
            del output

    def _compute(
        self,
        node: Node,
        live: Mapping[str, np.ndarray],
        params: Params,
        formats: Formats | None,
        node_formats: Mapping[str, NumberFormat],
    ) -> np.ndarray:
        op = OPS[node.op]
        inputs = [live[name] for name in node.inputs]
        own: dict[str, np.ndarray] = {}
        for kind, shape in op.params(node, inputs[0].shape).items():
            name = f"{node.name}.{kind}"
            fault = _param_fault(params, name, shape)
            if fault is not None:
                raise WorkloadError(f"{self.source}:{name}: {fault}")
            own[kind] = params[name]
        given = [node_formats[name] for name in node.inputs]
        if formats is None:
            return op.real(Call(node, inputs, own))
        weights_format = FLOAT32
        if node.op in LAYERS:
            weights_format = formats[f"{node.name}.weights"]
            own["weights"] = self._stored(f"{node.name}.weights", own["weights"], weights_format)
            if "bias" in own and own["bias"].dtype.kind == "f":
                own["bias"] = quantize_bias(own["bias"], given[0].fraction + weights_format.fraction)
        parts = ops.part_formats(node, formats)
        return op.whole(Call(node, inputs, own, given, weights_format, node_formats[node.name], parts))

    def _stored(self, name: str, array: np.ndarray, fmt: NumberFormat) -> np.ndarray:
        """Return the array as `fmt` stores it: real numbers quantized, integers taken as they are."""
        dtype = storage_dtype(fmt)
        if fmt.is_float:
            return array.astype(np.float32, copy=False)
        if array.dtype.kind == "f":
            if not np.isfinite(array).all():
                raise WorkloadError(f"{self.source}:{name}: holds NaN or infinity; wants finite numbers")
            return quantize(array, fmt)
        if array.dtype != dtype:
            raise WorkloadError(f"{self.source}:{name}: holds {array.dtype}; its number format wants {dtype}")
        return array

    def _check_override(
        self, node: Node, output: np.ndarray, live: Mapping[str, np.ndarray], fmt: NumberFormat
    ) -> None:
        shape = OPS[node.op].shape(node, [live[name].shape for name in node.inputs])
        dtype = storage_dtype(fmt)
        if (output.shape, output.dtype) != (shape, dtype):
            raise ValueError(
                f"{node.name}: the override returned {output.dtype} {output.shape}; wants {dtype} {shape}"
            )

    def _node_formats(self, formats: Formats | None) -> dict[str, NumberFormat]:
        """Return the format of the input and of every node's output, by node name; check all formats."""
        if formats is None:
            return dict.fromkeys((self.input, *(node.name for node in self.nodes)), FLOAT32)
        faults: list[str] = []

        def given(name: str) -> NumberFormat:
            if name not in formats:
                faults.append(f"{self.source}:{name}: has no number format; wants one")
            return formats.get(name, NumberFormat(bits=16))

        found = {self.input: given(self.input)}
        for node in self.nodes:
            own, first = f"{node.name}.expected", found.get(node.inputs[0], NumberFormat(bits=16))
            if not OPS[node.op].keeps_format:
                found[node.name] = given(own)
            else:
                found[node.name] = first
                if formats.get(own, first) != first:
                    faults.append(
                        f"{self.source}:{own}: differs in format from its input; {node.op} keeps the format"
                    )
            for part in OPS[node.op].parts(node):
                given(f"{node.name}.{part}")
            if node.op in LAYERS:
                sums = first.fraction + given(f"{node.name}.weights").fraction
                bias = formats.get(f"{node.name}.bias")
                if bias is not None and bias.fraction != sums:
                    faults.append(
                        f"{self.source}:{node.name}.bias: has fraction {bias.fraction}; wants {sums}, "
                        "that of its inputs plus that of its weights"
                    )
        if faults:
            raise WorkloadError(faults)
        return found


def _param_fault(params: Params, name: str, shape: tuple[int, ...]) -> str | None:
    if name not in params:
        return f"missing; wants an array of shape {shape}"
    if params[name].shape != shape:
        return f"has shape {params[name].shape}; wants {shape}"
    return None


def calibrate(
    graph: Graph,
    params: Params,
    inputs: np.ndarray,
    bits: int,
    given: Formats | None = None,
    images_at_once: int = 16,
) -> dict[str, NumberFormat]:
    """Return the format of every tensor, keyed by tensor name, from a float32 run of the batch `inputs`.

    Each gets the largest fraction in which nothing of this batch saturates, but for those in `given`. A
    weight's fraction is held down where the layer's bias, in accumulator format, would pass 2**52.
    """
    given = given or {}
    graph.check_params(params, inputs.shape[1:])
    largest: dict[str, float] = {}

    def measure(name: str, tensor: np.ndarray) -> None:
        size = float(magnitude(tensor))
        if not math.isfinite(size):
            raise WorkloadError(f"{graph.source}:{name}: holds NaN or infinity; wants finite numbers")
        largest[name] = max(largest.get(name, 0.0), size)

    def watched(node: Node) -> Callable[..., np.ndarray]:
        """Return what runs a stream and measures each array that it makes, and its numbers."""
        found = ops.operations(node)

        def compute(one: Operation, operands: Sequence[np.ndarray]) -> np.ndarray:
            made = elementwise.in_float32(one, operands)
            measure(node.name if one.makes == found[-1].makes else f"{node.name}.{one.makes}", made)
            return made

        measure(f"{node.name}.constants", elementwise.constants(found))
        names = node.attrs["names"]
        return lambda *given: elementwise.run(found, dict(zip(names, given, strict=True)), compute)

    streams = {node.name: watched(node) for node in graph.nodes if node.op == KIND}
    measure(graph.input, inputs)
    for start in range(0, len(inputs), images_at_once):
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found by `measure`
            for node, output in graph.run(inputs[start : start + images_at_once], params, override=streams):
                if not OPS[node.op].keeps_format:
                    measure(node.name, output)
    formats = {graph.input: given.get(graph.input) or format_for(largest[graph.input], bits)}
    by_node = dict(formats)
    for node in graph.nodes:
        if node.op in LAYERS:
            formats |= _layer_formats(node, params, by_node[node.inputs[0]], bits, given)
        for part in OPS[node.op].parts(node):
            name = f"{node.name}.{part}"
            formats[name] = given.get(name) or format_for(largest[name], bits)
        own = f"{node.name}.expected"
        if OPS[node.op].keeps_format:
            fmt = by_node[node.inputs[0]]
        else:
            fmt = given.get(own) or format_for(largest[node.name], bits)
        formats[own] = by_node[node.name] = fmt
    return formats | {name: given[name] for name in given if name in formats}


def _layer_formats(
    node: Node, params: Params, inputs: NumberFormat, bits: int, given: Formats
) -> dict[str, NumberFormat]:
    name = f"{node.name}.weights"
    weights = given.get(name) or choose_format(params[name], bits)
    if not node.attrs["bias"]:
        return {name: weights}
    largest_bias = float(magnitude(params[f"{node.name}.bias"]))
    if name not in given and largest_bias > 0:
        widest = _BIAS_BITS - math.frexp(largest_bias)[1] - inputs.fraction
        weights = replace(weights, fraction=min(weights.fraction, widest))
    bias = NumberFormat(bits=64, fraction=inputs.fraction + weights.fraction)
    return {name: weights, f"{node.name}.bias": bias}


def quantize_params(graph: Graph, params: Params, formats: Formats) -> dict[str, np.ndarray]:
    """Return the parameters as a fixed-point run uses them: weights as stored, biases in int64.

    Those of a batch norm that was not folded stay real.
    """
    out = {}
    for node in graph.nodes:
        for kind in ("weights", "bias", "gamma", "beta", "mean", "var"):
            name = f"{node.name}.{kind}"
            if name in params:
                if kind == "weights":
                    out[name] = quantize(params[name], formats[name])
                elif kind == "bias":
                    out[name] = quantize_bias(params[name], formats[name].fraction)
                else:
                    out[name] = params[name]
    return out
