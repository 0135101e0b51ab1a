"""A network with a set of images, run in the machine's fixed point: exact, or with filters that predict.

Every value is the integer that the reference model and the accelerator have. Only the layers that change
are computed anew: of one channel of one layer, what lies behind it, for the images that it touches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simhw.errors import TuningError
from simhw.fast import BY_PREDICTION, NONE, RELU, RELU6, conv_accumulate, early_termination, requantize
from simhw.reference import datasets
from simhw.reference.fold import fuse
from simhw.reference.graph import Graph, calibrate, quantize_params
from simhw.reference.numbers import quantize, storage_dtype
from simhw.reference.ops import LAYERS, OPS, Call, Node, layer_shape, part_formats
from simhw.shapes import FLOAT32, LayerShape, NumberFormat
from simhw.trace import Trace, image_digests_of, sha256_of
from simhw.transforms import sign_order
from simhw.transforms.sign_order import Ordering
from simhw.workload import Workload, export, load_inputs, load_params

ACTIVATIONS: Mapping[str | None, int] = {None: NONE, "relu": RELU, "relu6": RELU6}
NEVER_BELOW_ZERO = ("relu", "relu6", "sigmoid", "softmax")
KEEPS_SIGN = ("maxpool", "avgpool", "globalavgpool", "flatten", "subsample_pad", "concat", "lrn", "add")
_AT_ONCE = 1 << 23  # outputs of the largest layer that are held at once
_FEW_LEFT = 0.75  # of the images, below which those that no longer differ are dropped

Array = np.ndarray


@dataclass(frozen=True)
class Images:
    """Some images of a data set: `images` of them, from number `first` of a split on."""

    images: int
    first: int = 0
    split: str = "test"

    def __str__(self) -> str:
        return f"{self.split} {self.first} to {self.first + self.images}"


@dataclass(frozen=True)
class Outcome:
    """What became of a layer's windows [N, M, E, F]; `complete` are the sums they would have had.

    Where a layer runs to the end, no window stopped and every one took all products.
    """

    complete: Array
    outputs: Array  # as they leave the layer where nothing is predicted
    macs: Array
    predicted: Array  # bool: taken to end below zero


@dataclass(frozen=True)
class NetworkLayer:
    """A layer as a tuning sees it."""

    name: str
    kind: str
    activation: str | None
    shape: LayerShape  # of one image
    weights: Array
    bias: Array
    formats: Mapping[str, NumberFormat]

    @property
    def shift(self) -> int:
        return self.formats["bias"].fraction - self.formats["expected"].fraction

    def accumulate(self, inputs: Array, weights: Array | None = None) -> Array:
        """Return the complete sums int64 [N, M, E, F]."""
        shape = self.shape
        chosen = self.weights if weights is None else weights
        return conv_accumulate(
            inputs, chosen, self.bias, shape.stride, shape.pad, shape.dilation, shape.groups
        )

    def stop(self, inputs: Array, ordering: Ordering, complete: Array) -> tuple[Array, Array, Array]:
        """Return the sums at which windows stopped, the products they took, and why."""
        shape = self.shape
        sums, macs, stopped = early_termination(
            inputs, ordering.weights, ordering.order, self.bias, ordering.prefix, ordering.thresholds,
            ordering.negatives_from, (shape.kernel_height, shape.kernel_width), shape.stride, shape.pad,
            shape.dilation, shape.groups, complete=complete, natural=self.weights,
        )  # fmt: skip
        return sums, macs, stopped

    def finish(self, sums: Array) -> Array:
        """Return sums as the layer puts them out: rounded, activated."""
        form = self.formats["expected"]
        six = min(round(6 * 2.0**form.fraction), form.highest)
        outputs, _ = requantize(
            sums, self.shift, form.lowest, form.highest, ACTIVATIONS[self.activation], six
        )
        return outputs.astype(storage_dtype(form), copy=False)

    @cached_property
    def exact(self) -> Ordering:
        """The weights by sign, as exact mode has them."""
        return sign_order.apply(self.weights, where=self.name)


class Network:
    """A network in fixed point and the images it runs with; a tuning may be held against it.

    `stopping` are the layers whose sums may stop early: a ReLU follows, and what they read is never below
    zero. `convolutions` are those of them that are convolutions. All others run to the end.
    """

    def __init__(
        self,
        *,
        name: str,
        graph: Graph,
        params: Mapping[str, Array],
        formats: Mapping[str, NumberFormat],
        inputs: Array,
        labels: Array | None,
        digests: Mapping[str, str],
        provenance: Mapping[str, Any],
    ) -> None:
        if formats[graph.input].is_float:
            raise TuningError(f"{name}: holds float32; prediction wants integers, such as those of fixed16")
        self.name, self.graph, self.params, self.formats = name, graph, params, formats
        self.inputs, self.labels = inputs, labels
        self.digests, self.provenance = digests, provenance
        self._forms = _node_formats(graph, formats)
        self._shapes = graph.shapes(inputs.shape[1:])
        made = [self._layer(node) for node in graph.nodes if node.op in LAYERS]
        self.by_name: dict[str, NetworkLayer] = {layer.name: layer for layer in made}
        below_zero = self._may_be_below_zero()
        self.stopping = tuple(
            layer.name
            for layer in made
            if layer.activation in ("relu", "relu6") and graph[layer.name].inputs[0] not in below_zero
        )
        self.convolutions = tuple(name for name in self.stopping if self.by_name[name].kind == "conv")

    @property
    def layers(self) -> tuple[NetworkLayer, ...]:
        return tuple(self.by_name.values())

    @property
    def images(self) -> int:
        return len(self.inputs)

    @property
    def macs(self) -> int:
        """Products of one image where nothing stops."""
        return sum(layer.shape.macs for layer in self.layers)

    def predictions(
        self,
        orderings: Mapping[str, Ordering],
        observe: Callable[[NetworkLayer, Outcome], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Array:
        """Return the class that the network names for each image, layers run by the orderings given.

        `observe` is told what became of each layer's windows, a few images at a time; layers without an
        ordering run to the end.
        """
        largest = max(math.prod(shape[1:]) for shape in self._shapes.values())
        step = max(1, _AT_ONCE // largest)
        named = []
        for start in range(0, self.images, step):
            part = self.inputs[start : start + step]
            named.append(self._classes(self._run(part, orderings, observe)))
            if progress:
                progress(min(start + step, self.images), self.images)
        return np.concatenate(named)

    def tensors(self, images: Array) -> dict[str, Array]:
        """Return what every node puts out for some images, by number, in exact mode; the input too."""
        live = {self.graph.input: self.inputs[images]}
        for node in self.graph.nodes:
            live[node.name] = self._compute(node, live, {}, None)
        return live

    def classes_with(self, tensors: Mapping[str, Array], name: str, output: Array, classes: Array) -> Array:
        """Return the classes named if `name` put out `output`, all else as in `tensors`.

        `classes` are those named without the change. Only what lies behind the node is computed, and
        only of images that the change still touches.
        """
        differs = _differing(output, tensors[name])
        which = np.flatnonzero(differs)
        if not which.size:
            return classes
        all_live = which.size == len(output)
        changed = {name: output if all_live else output[which]}
        base: Mapping[str, Array] = tensors if all_live else _Rows(tensors, which)
        for node in self.graph.nodes:
            if not any(read in changed for read in node.inputs) or node.name == name:
                continue
            live = {read: changed[read] if read in changed else base[read] for read in node.inputs}
            changed[node.name] = self._compute(node, live, {}, None)
            open_ends = self._still_read(changed, node)
            if open_ends == [node.name] and node.name != self.graph.output:
                differs = _differing(changed[node.name], base[node.name])
                if not differs.any():
                    return classes
                if differs.mean() < _FEW_LEFT:
                    which = which[differs]
                    changed = {node.name: changed[node.name][differs]}
                    base = _Rows(tensors, which)
        renamed = classes.copy()
        renamed[which] = self._classes(changed[self.graph.output])
        return renamed

    def _still_read(self, changed: Mapping[str, Array], after: Node) -> list[str]:
        """Return which of some tensors a node behind `after` reads, or is the network's output."""
        order, last = self._order
        return [name for name in changed if last.get(name, -1) > order[after.name]]

    @cached_property
    def _order(self) -> tuple[dict[str, int], dict[str, int]]:
        """The number of each node, and that of the last node that reads it."""
        order = {node.name: i for i, node in enumerate(self.graph.nodes)}
        last = {read: order[node.name] for node in self.graph.nodes for read in node.inputs}
        return order, last | {self.graph.output: len(order)}

    def _run(
        self,
        inputs: Array,
        orderings: Mapping[str, Ordering],
        observe: Callable[[NetworkLayer, Outcome], None] | None,
    ) -> Array:
        last = {read: node.name for node in self.graph.nodes for read in node.inputs}
        last[self.graph.output] = ""
        live = {self.graph.input: inputs}
        for node in self.graph.nodes:
            live[node.name] = self._compute(node, live, orderings, observe)
            for read in set(node.inputs):
                if last[read] == node.name:
                    del live[read]
        return live[self.graph.output]

    def _compute(
        self,
        node: Node,
        live: Mapping[str, Array],
        orderings: Mapping[str, Ordering],
        observe: Callable[[NetworkLayer, Outcome], None] | None,
    ) -> Array:
        if node.op in LAYERS:
            return self._compute_layer(self.by_name[node.name], live[node.inputs[0]], orderings, observe)
        op, inputs = OPS[node.op], [live[read] for read in node.inputs]
        own = {kind: self.params[f"{node.name}.{kind}"] for kind in op.params(node, inputs[0].shape)}
        given = [self._forms[read] for read in node.inputs]
        parts = part_formats(node, self.formats)
        return op.whole(Call(node, inputs, own, given, FLOAT32, self._forms[node.name], parts))

    def _compute_layer(
        self,
        layer: NetworkLayer,
        inputs: Array,
        orderings: Mapping[str, Ordering],
        observe: Callable[[NetworkLayer, Outcome], None] | None,
    ) -> Array:
        complete = layer.accumulate(inputs)
        outputs = layer.finish(complete)
        ordering = orderings.get(layer.name)
        if ordering is None:
            if observe:
                macs = np.full(complete.shape, layer.shape.window, np.int32)
                observe(layer, Outcome(complete, outputs, macs, np.zeros(complete.shape, bool)))
            return outputs
        _, macs, stopped = layer.stop(inputs, ordering, complete)
        predicted = stopped == BY_PREDICTION
        if observe:
            observe(layer, Outcome(complete, outputs, macs, predicted))
        return np.where(predicted, 0, outputs).astype(outputs.dtype, copy=False)

    def _classes(self, outputs: Array) -> Array:
        return outputs.reshape(len(outputs), -1).argmax(axis=1)

    def _layer(self, node: Node) -> NetworkLayer:
        shape = layer_shape(node, self._shapes[node.inputs[0]])
        weights = self.formats[f"{node.name}.weights"]
        given, out = self._forms[node.inputs[0]], self._forms[node.name]
        sums = NumberFormat(bits=64, fraction=given.fraction + weights.fraction)
        bias = self.params.get(f"{node.name}.bias")
        return NetworkLayer(
            name=node.name,
            kind=node.op,
            activation=node.attrs.get("activation"),
            shape=shape,
            weights=self.params[f"{node.name}.weights"].reshape(shape.weight_shape),
            bias=np.zeros(shape.out_channels, np.int64) if bias is None else bias,
            formats={"weights": weights, "bias": sums, "inputs": given, "expected": out},
        )

    def _may_be_below_zero(self) -> set[str]:
        """Return the tensors that may hold numbers below zero; of the input, these images decide."""
        found = {self.graph.input} if self.inputs.min(initial=0) < 0 else set()
        for node in self.graph.nodes:
            activated = node.op in NEVER_BELOW_ZERO or node.attrs.get("activation") in NEVER_BELOW_ZERO
            keeps = node.op in KEEPS_SIGN and not any(read in found for read in node.inputs)
            if not activated and not keeps:
                found.add(node.name)
        return found


class _Rows(Mapping[str, Array]):
    """Some images of tensors, taken when they are asked for."""

    def __init__(self, tensors: Mapping[str, Array], which: Array) -> None:
        self._tensors, self._which = tensors, which

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name][self._which]

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _differing(one: Array, other: Array) -> Array:
    """Return which images differ: bool [N]."""
    return (one != other).reshape(len(one), -1).any(axis=1)


def _node_formats(graph: Graph, formats: Mapping[str, NumberFormat]) -> dict[str, NumberFormat]:
    found = {graph.input: formats[graph.input]}
    for node in graph.nodes:
        kept = OPS[node.op].keeps_format
        found[node.name] = found[node.inputs[0]] if kept else formats[f"{node.name}.expected"]
    return found


def network_of(
    source: Workload | Trace,
    images: Images | None = None,
    data: str | Path | None = None,
    weights: str | Path | None = None,
) -> Network:
    """Return the network of a trace with its images, or of a workload with those asked for.

    Its number formats are those that a trace of the same images would have.
    """
    if isinstance(source, Trace):
        return Network(
            name=source.name,
            graph=Graph.from_dict(source.graph),
            params={name: source.tensor(name) for name in source.tensor_names},
            formats=source.formats,
            inputs=source.inputs,
            labels=source.labels,
            digests={"network": source.digests["network"]},
            provenance=source.provenance,
        )
    chosen = images or Images(1)
    batch = load_images(source, chosen, data)
    graph, params, origin = load_params(source, weights, data)
    graph, params = fuse(graph, params)
    formats = calibrate(graph, params, batch.pixels, 16)
    one = export(source, images=1, first=chosen.first, split=chosen.split, data=data, weights=weights)
    return Network(
        name=source.name,
        graph=graph,
        params=quantize_params(graph, params, formats),
        formats=formats,
        inputs=quantize(batch.pixels, formats[graph.input]),
        labels=batch.labels,
        digests={"network": one.digests["network"], "inputs": sha256_of(image_digests_of(batch.pixels))},
        provenance={"weights": origin, "inputs": batch.source},
    )


def load_images(workload: Workload, images: Images, data: str | Path | None = None) -> datasets.Images:
    """Return some images of a workload's data, as the network wants them, and their labels."""
    return load_inputs(
        workload,
        data,
        images=images.images,
        first=images.first,
        split=images.split,
        seed=workload.weights.seed,
    )
