"""A workload's YAML, checked: the network, and where its weights and inputs come from.

    name: lenet_300_10
    cites: LeCun et al., Proc. IEEE 1998
    input: {channels: 1, height: 28, width: 28}
    data: {file: mnist.npz, divide_by: 255}
    weights: {file: lenet_300_10_weights.npz, seed: 1}
    layers:
      - {name: flatten, type: flatten}
      - {name: fc1, type: linear, out_features: 300, activation: relu}
      - {name: fc2, type: linear, out_features: 10}

A layer reads the layer above it, or what its `input` names. Its other fields are those of the reference
model's op of that type, with two more ways to say `pad`: two numbers (height, width), or `same`, which is
TensorFlow's: ceil(size / stride) outputs, the smaller half of the padding first.

A layer of type `elementwise` lists `operations`, as `simhw.stream` has them. What it reads, one tensor or
several of one shape, they call by its `names`, or failing that by the layers' own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from simhw.errors import WorkloadError, did_you_mean
from simhw.reference.graph import Graph, check_node
from simhw.reference.ops import OPS, Node
from simhw.workload.fields import DATA, WANTS_NAME, WEIGHTS, count, layer_name, names, text
from simhw.workload.network import DataSource, WeightsSource, Workload
from simhw.yamlfile import Document, Place, read, show, written

_InputShape = tuple[int, int, int] | None
_LAYER_FIELDS = ("name", "type", "input")
_FIELDS = ("name", "cites", "notes", "input", "data", "weights", "layers")


def parse(path: Path) -> Workload:
    """Read a workload file; every fault of it is raised at once."""
    file = read(path, WorkloadError, "a workload")
    reader = _Reader(file)
    top = reader.known_fields((), file.value, _FIELDS)
    values = {
        "name": reader.take(("name",), top, text, "a name", required=True),
        "cites": reader.take(("cites",), top, text, "words", ""),
        "notes": reader.take(("notes",), top, text, "words", ""),
        "input_shape": reader.input_shape(top),
        "data": reader.source("data", top, DATA, DataSource),
        "weights": reader.source("weights", top, WEIGHTS, WeightsSource),
    }
    graph = reader.graph(top, values["input_shape"])
    if values["input_shape"]:
        reader.check_channels(values["data"], values["input_shape"])
    file.finish()
    assert graph is not None, "a file without a fault has a graph"
    return Workload(**values, graph=graph, path=path)


class _Reader:
    """Takes a file apart; its faults gather in the file's document."""

    def __init__(self, file: Document) -> None:
        self.file = file

    def fault(self, place: Place, what: str, *, at: Place | None = None) -> None:
        """Add a fault of a place; its line is that of `at` where that is given."""
        words = self.words(place)
        self.file.fault((), f"{words}: {what}" if words else what, line=self.file.line(at or place))

    def words(self, place: Place) -> str:
        """Return "layers.conv1.kernel" of a place: a layer is called by its name where it has one."""
        name = self.file.at((*place[:2], "name")) if place[:1] == ("layers",) else None
        return written((place[0], name, *place[2:]) if isinstance(name, str) else place)

    def known_fields(self, place: Place, value: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
        """Return the known fields of a map; a misspelt one is told once, and not missed again."""
        found = {name: given for name, given in value.items() if name in known}
        for name, given in value.items():
            if name not in known:
                self.fault(place, f"unknown field {name!r}{did_you_mean(name, known)}", at=(*place, name))
                for meant in difflib.get_close_matches(name, known, n=1):
                    found.setdefault(meant, given)
        return found

    def take(
        self,
        place: Place,
        table: Mapping[str, Any],
        convert: Callable[[Any], Any],
        wants: str,
        default: Any = None,
        required: bool = False,
    ) -> Any:
        """Return one converted field of a table, or its default and a fault."""
        name = str(place[-1])
        if name not in table:
            if required:
                self.fault(place[:-1], f"{name} is missing; wants {wants}")
            return default
        try:
            return convert(table[name])
        except (ValueError, TypeError, OverflowError):
            self.fault(place, f"wants {wants}, got {show(table[name])}")
            return default

    def input_shape(self, top: Mapping[str, Any]) -> tuple[int, int, int] | None:
        if "input" not in top:
            self.fault((), "input is missing; wants {channels, height, width}")
            return None
        axes = ("channels", "height", "width")
        table = self.known_fields(("input",), top["input"], axes) if isinstance(top["input"], dict) else None
        if table is None:
            self.fault(("input",), f"wants {{channels, height, width}}, got {show(top['input'])}")
            return None
        wants = "a whole number of at least 1"
        c, h, w = (self.take(("input", axis), table, count, wants, required=True) for axis in axes)
        return (c, h, w) if c and h and w else None

    def source(self, name: str, top: Mapping[str, Any], known: Mapping[str, Any], kind: type) -> Any:
        if name not in top:
            return kind()
        if not isinstance(top[name], dict):
            self.fault((name,), f"wants a map that says where {name} come from, got {show(top[name])}")
            return kind()
        table = self.known_fields((name,), top[name], tuple(known))
        defaults = {one.name: one.default for one in fields(kind)}
        return kind(
            **{
                key: self.take((name, key), table, convert, wants, defaults[key])
                for key, (convert, wants) in known.items()
            }
        )

    def check_channels(self, data: DataSource, shape: tuple[int, int, int]) -> None:
        for name in ("mean", "std"):
            if len(getattr(data, name)) not in (1, shape[0]):
                wants = "1 number" if shape[0] == 1 else f"1 or {shape[0]} numbers"
                self.fault(("data", name), f"wants {wants}, one a channel, got {len(getattr(data, name))}")
        if data.order == "bgr" and shape[0] != 3:
            self.fault(("data", "order"), f"bgr wants 3 channels, and the input has {shape[0]}")

    # Layers

    def graph(self, top: Mapping[str, Any], shape: _InputShape) -> Graph | None:
        """Return the network; without the input's shape, only what needs none is checked."""
        layers = self.file.at(("layers",))
        if "layers" not in self.file.value:
            if "layers" not in top:  # nor a misspelt one, which is told already
                self.fault((), "layers is missing; wants a list of at least one layer")
            return None
        if not isinstance(layers, list) or not layers:
            self.fault(("layers",), f"wants a list of at least one layer, got {show(layers)}")
            return None
        nodes: list[Node] = []
        for i in range(len(layers)):
            node = self.node(i, nodes[-1].name if nodes else "input", nodes, shape)
            if node is not None:
                nodes.append(node)
        if len(nodes) == len(layers):
            return self.checked(tuple(nodes), shape)
        for node in nodes:  # how the layers hang together cannot be said; each alone can be
            for fault in check_node(node, "")[1]:
                self.relay(fault.removeprefix(":"))
        return None

    def checked(self, nodes: tuple[Node, ...], shape: _InputShape) -> Graph | None:
        source = self.file.file
        try:
            graph = Graph(nodes, source=source)
            if shape:
                graph.shapes(shape)
        except WorkloadError as error:
            for fault in error.faults:
                self.relay(fault.removeprefix(f"{source}:"))
            return None
        return graph

    def node(self, i: int, above: str, nodes: list[Node], shape: _InputShape) -> Node | None:
        place = ("layers", i)
        given = self.file.at(place)
        if not isinstance(given, dict):
            self.fault(place, f"wants a map that describes a layer, got {show(given)}")
            return None
        op: str = self.take((*place, "type"), given, text, "the type of a layer", "", required=True)
        if op and op not in OPS:
            self.fault((*place, "type"), f"unknown type {op!r}{did_you_mean(op, OPS)}")
        known = {_in_files(op, attr): attr for attr in OPS[op].attrs} if op in OPS else {}
        table = self.known_fields(place, given, (*_LAYER_FIELDS, *known)) if op in OPS else given
        name = self.take((*place, "name"), table, layer_name, WANTS_NAME, required=True)
        wants = "the name of a layer, or a list of names"
        inputs = self.take((*place, "input"), table, names, wants, None if "input" in table else (above,))
        if name is None or op not in OPS or inputs is None:
            return None
        attrs = {attr: table[field] for field, attr in known.items() if field in table}
        if "pad" in attrs:
            attrs["pad"] = self.pad(place, Node(name, op, inputs, attrs), nodes, shape)
        return Node(name, op, inputs, attrs)

    def pad(self, place: Place, node: Node, nodes: list[Node], shape: _InputShape) -> Any:
        """Return `pad` as the reference model wants it: top, bottom, left, right."""
        pad = node.attrs["pad"]
        if isinstance(pad, list) and len(pad) == 2:
            return [pad[0], pad[0], pad[1], pad[1]]
        if isinstance(pad, str) and pad != "same":
            wants = "same, a whole number, two (height, width) or four (top, bottom, left, right)"
            self.fault((*place, "pad"), f"wants {wants}, got {show(pad)}")
            return 0
        if pad != "same" or not shape:
            return 0 if pad == "same" else pad
        unpadded = Node(node.name, node.op, node.inputs, {k: v for k, v in node.attrs.items() if k != "pad"})
        try:
            graph = Graph((*nodes, unpadded), source="here")
            (_, _, *size) = Graph(tuple(nodes)).shapes(shape)[node.inputs[0]] if nodes else (0, *shape)
        except (WorkloadError, KeyError):
            return 0  # what is wrong is found again, and told, by the whole graph
        attrs = graph.nodes[-1].attrs
        around: list[int] = []
        for axis in (0, 1):
            kernel, stride = attrs["kernel"][axis], attrs["stride"][axis]
            reach = attrs.get("dilation", (1, 1))[axis] * (kernel - 1) + 1
            total = max(0, (-(-size[axis] // stride) - 1) * stride + reach - size[axis])
            around += [total // 2, total - total // 2]
        return around

    def relay(self, fault: str) -> None:
        """Add a fault of the graph, "layer: field: what", as one of the file."""
        name, _, what = fault.partition(": ")
        layers: list[Any] = self.file.value["layers"]
        named = [i for i, layer in enumerate(layers) if isinstance(layer, dict) and layer.get("name") == name]
        if not named:  # its name is itself misspelt, and told
            self.fault(("layers",), fault)
            return
        place: Place = ("layers", named[-1])  # of two of one name, the last is the fault
        attr, _, rest = what.partition(": ")
        op = layers[named[-1]]["type"]
        attr, _, item = attr.removesuffix("]").partition("[")
        if rest and attr in OPS[op].attrs:
            place, what = (*place, _in_files(op, attr), *([int(item)] if item else [])), rest
        self.fault(place, what)


def _in_files(op: str, attr: str) -> str:
    """Return how a field is written in a file; a linear layer has features."""
    return "out_features" if (op, attr) == ("linear", "out_channels") else attr
