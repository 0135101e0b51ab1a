"""A workload's YAML, checked: the network, and where its weights and inputs come from.

    name: lenet_300_100
    cites: LeCun et al., Proc. IEEE 1998
    input: {channels: 784, height: 1, width: 1}
    data: {file: mnist.npz, divide_by: 255}
    weights: {seed: 1}
    layers:
      - {name: fc1, type: linear, out_features: 300, activation: relu}
      - {name: fc2, type: linear, out_features: 10}

A layer reads the layer above it, or what its `input` names. Its other fields are those of the reference
model's op of that type, with two more ways to say `pad`: two numbers (height, width), or `same`, which is
TensorFlow's: ceil(size / stride) outputs, the smaller half of the padding first.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from simhw.errors import DataError, WorkloadError, did_you_mean
from simhw.reference.datasets import FITS, check_source
from simhw.reference.graph import Graph
from simhw.reference.ops import OPS, Node
from simhw.workload.yamlfile import YamlFile, read

_InputShape = tuple[int, int, int] | None
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_LAYER_FIELDS = ("name", "type", "input")
_FIELDS = ("name", "cites", "notes", "input", "data", "weights", "layers")


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where inputs come from, and what the network wants done to their pixels (0 to 255).

    `file` is looked for in the folder of data; `default` is used where it is not found. A pixel x becomes
    (x / divide_by - mean) / std, its channels in the `order` asked for, means and deviations in that order.
    """

    default: str = "digits"
    file: str | None = None
    array: str | None = None
    fit: str = "whole"
    order: str = "rgb"
    divide_by: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where weights come from: a `file` of the folder of data, or where it is not found, the `seed`."""

    file: str | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network, as its description gives it: batch norms apart, nothing fused."""

    name: str
    graph: Graph
    input_shape: tuple[int, int, int]  # C, H, W
    cites: str = ""
    notes: str = ""
    data: DataSource = field(default_factory=DataSource)
    weights: WeightsSource = field(default_factory=WeightsSource)
    path: Path | None = None

    @property
    def macs(self) -> int:
        """Products of one image: convolutions and linear layers, padding included."""
        return sum(shape.macs for shape in self.graph.layer_shapes(self.input_shape).values())

    @property
    def parameters(self) -> int:
        """Learnable parameters: weights, biases, and each batch norm's scale and offset."""
        learnt = ("weights", "bias", "gamma", "beta")
        shapes = self.graph.param_shapes(self.input_shape)
        return sum(math.prod(shape) for name, shape in shapes.items() if name.endswith(learnt))


def parse(path: Path) -> Workload:
    """Read a workload file; every fault of it is raised at once."""
    file = read(path, WorkloadError)
    if not isinstance(file.data, dict):
        what = f"wants a map that describes a workload, got {_shown(file.data)}"
        raise WorkloadError(f"{file.place()}: {what}")
    reader = _Reader(file)
    top = reader.known_fields((), file.data, _FIELDS)
    values = {
        "name": reader.take(("name",), top, _text, "a name", required=True),
        "cites": reader.take(("cites",), top, _text, "words", ""),
        "notes": reader.take(("notes",), top, _text, "words", ""),
        "input_shape": reader.input_shape(top),
        "data": reader.source("data", top, _DATA, DataSource),
        "weights": reader.source("weights", top, _WEIGHTS, WeightsSource),
    }
    graph = reader.graph(top, values["input_shape"])
    if values["input_shape"]:
        reader.check_channels(values["data"], values["input_shape"])
    if reader.faults or graph is None:
        raise WorkloadError(reader.in_order())
    return Workload(**values, graph=graph, path=path)


class _Reader:
    """Takes a file apart, collecting its faults."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.faults: list[str] = []

    def fault(self, keys: tuple[str | int, ...], what: str) -> None:
        self.faults.append(f"{self.file.place(*keys)}: {self.words(keys)}{what}")

    def words(self, keys: tuple[str | int, ...]) -> str:
        """Return "layers.conv1.kernel: " of a place; a layer is called by its name where it has one."""
        words = [str(key) for key in keys]
        if len(keys) > 1 and keys[0] == "layers":
            layer: Any = self.file.data["layers"][int(keys[1])]
            named = isinstance(layer, dict) and isinstance(layer.get("name"), str)
            words[1] = layer["name"] if named else f"[{keys[1]}]"
        return ".".join(words) + ": " if words else ""

    def in_order(self) -> list[str]:
        def line(fault: str) -> int:
            found = re.match(r":(\d+): ", fault.removeprefix(str(self.file.path)))
            return int(found[1]) if found else 0

        return sorted(dict.fromkeys(self.faults), key=line)

    def known_fields(
        self, keys: tuple[str | int, ...], value: Mapping[str, Any], known: Sequence[str]
    ) -> dict[str, Any]:
        """Return the known fields of a map; a misspelt one is told once, and not missed again."""
        found = {name: given for name, given in value.items() if name in known}
        for name, given in value.items():
            if name not in known:
                self.fault((*keys, name), f"unknown field{did_you_mean(name, known)}")
                for meant in difflib.get_close_matches(name, known, n=1):
                    found.setdefault(meant, given)
        return found

    def take(
        self,
        keys: tuple[str | int, ...],
        table: Mapping[str, Any],
        convert: Callable[[Any], Any],
        wants: str,
        default: Any = None,
        required: bool = False,
    ) -> Any:
        """Return one converted field of a table, or its default and a fault."""
        name = str(keys[-1])
        if name not in table:
            if required:
                self.fault(keys[:-1], f"{name} is missing; wants {wants}")
            return default
        try:
            return convert(table[name])
        except (ValueError, TypeError, OverflowError):
            self.fault(keys, f"wants {wants}, got {_shown(table[name])}")
            return default

    def input_shape(self, top: Mapping[str, Any]) -> tuple[int, int, int] | None:
        if "input" not in top:
            self.fault((), "input is missing; wants {channels, height, width}")
            return None
        before = len(self.faults)
        axes = ("channels", "height", "width")
        table = self.known_fields(("input",), top["input"], axes) if isinstance(top["input"], dict) else None
        if table is None:
            self.fault(("input",), f"wants {{channels, height, width}}, got {_shown(top['input'])}")
            return None
        wants = "a whole number of at least 1"
        c, h, w = (self.take(("input", axis), table, _count, wants, required=True) for axis in axes)
        return (c, h, w) if len(self.faults) == before else None

    def source(self, name: str, top: Mapping[str, Any], known: Mapping[str, Any], kind: type) -> Any:
        if name not in top:
            return kind()
        if not isinstance(top[name], dict):
            self.fault((name,), f"wants a map that says where {name} come from, got {_shown(top[name])}")
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
        layers = top.get("layers")
        if not isinstance(layers, list) or not layers:
            keys = ("layers",) if "layers" in top else ()
            got = f", got {_shown(layers)}" if "layers" in top else ""
            self.fault(
                keys, f"{'' if keys else 'layers is missing; '}wants a list of at least one layer{got}"
            )
            return None
        nodes: list[Node] = []
        for i in range(len(layers)):
            node = self.node(i, nodes[-1].name if nodes else "input", nodes, shape)
            if node is not None:
                nodes.append(node)
        if len(nodes) == len(layers):
            return self.checked(tuple(nodes), nodes, shape)
        for node in nodes:  # how the layers hang together cannot be said; each alone can be
            alone = replace(node, inputs=("input",) * (2 if OPS[node.op].many else 1))
            self.checked((alone,), nodes, None)
        return None

    def checked(self, network: tuple[Node, ...], nodes: list[Node], shape: _InputShape) -> Graph | None:
        source = str(self.file.path)
        try:
            graph = Graph(network, source=source)
            if shape:
                graph.shapes(shape)
        except WorkloadError as error:
            self.faults += [self.with_line(fault, source, nodes) for fault in error.faults]
            return None
        return graph

    def node(self, i: int, above: str, nodes: list[Node], shape: _InputShape) -> Node | None:
        keys = ("layers", i)
        given = self.file.data["layers"][i]
        if not isinstance(given, dict):
            self.fault(keys, f"wants a map that describes a layer, got {_shown(given)}")
            return None
        before = len(self.faults)
        name = self.take((*keys, "name"), given, _layer_name, _WANTS_NAME, "", required=True)
        op = self.take((*keys, "type"), given, _text, "the type of a layer", "", required=True)
        if op and op not in OPS:
            self.fault((*keys, "type"), f"unknown type {op!r}{did_you_mean(op, OPS)}")
        inputs = self.take(
            (*keys, "input"), given, _names, "the name of a layer, or a list of names", (above,)
        )
        if len(self.faults) > before:
            return None
        known = {_written(op, attr): attr for attr in OPS[op].attrs}
        table = self.known_fields(keys, given, (*_LAYER_FIELDS, *known))
        attrs = {attr: table[written] for written, attr in known.items() if written in table}
        if "pad" in attrs:
            attrs["pad"] = self.pad(Node(name, op, inputs, attrs), nodes, shape)
        return Node(name, op, inputs, attrs)

    def pad(self, node: Node, nodes: list[Node], shape: _InputShape) -> Any:
        """Return `pad` as the reference model wants it: top, bottom, left, right."""
        pad = node.attrs["pad"]
        if isinstance(pad, list) and len(pad) == 2:
            return [pad[0], pad[0], pad[1], pad[1]]
        if isinstance(pad, str) and pad != "same":
            wants = "same, a whole number, two (height, width) or four (top, bottom, left, right)"
            self.fault(("layers", len(nodes), "pad"), f"wants {wants}, got {_shown(pad)}")
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

    def with_line(self, fault: str, source: str, nodes: list[Node]) -> str:
        """Return a fault of the graph, "source:layer: field: what", as one of the file."""
        name, _, what = fault.removeprefix(f"{source}:").partition(": ")
        places = [i for i, node in enumerate(nodes) if node.name == name]
        if not places:
            return f"{source}: {name}: {what}"
        keys: tuple[str | int, ...] = ("layers", places[-1])  # of two of one name, the last is the fault
        attr, _, rest = what.partition(": ")
        op = nodes[places[-1]].op
        if rest and attr in OPS[op].attrs:
            keys, what = (*keys, _written(op, attr)), rest
        return f"{self.file.place(*keys)}: {self.words(keys)}{what}"


def _written(op: str, attr: str) -> str:
    """Return how a field is written in a file; a linear layer has features."""
    return "out_features" if (op, attr) == ("linear", "out_channels") else attr


_WANTS_NAME = "a name of letters, digits and _ . / -"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return " ".join(value.split())


def _layer_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value == "input":
        raise ValueError
    return value


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError
    return tuple(names)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _seed(value: Any) -> int:
    return 0 if value == 0 and isinstance(value, int) and not isinstance(value, bool) else _count(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _positive(value: Any) -> float:
    if _number(value) <= 0:
        raise ValueError
    return float(value)


def _list_of(convert: Callable[[Any], float]) -> Callable[[Any], tuple[float, ...]]:
    def listed(value: Any) -> tuple[float, ...]:
        return tuple(convert(one) for one in value) if isinstance(value, list) else (convert(value),)

    return listed


def _one_of(*words: str) -> tuple[Callable[[Any], str], str]:
    def chosen(value: Any) -> str:
        if value not in words:
            raise ValueError
        return value

    return chosen, f"one of {', '.join(words)}"


def _source(value: Any) -> str:
    try:
        check_source(_text(value))
    except DataError as error:
        raise ValueError from error
    return value


def _shown(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, dict | list):
        return f"a {'map' if isinstance(value, dict) else 'list'} of {len(value)}"
    return "nothing" if value is None else repr(value)[:60]


_DATA: dict[str, tuple[Callable[[Any], Any], str]] = {
    "default": (_source, "digits or synthetic:sparsity=...,negative=..."),
    "file": (_text, "the name of a file or folder"),
    "array": (_text, "the name of an array in an .npz file"),
    "fit": _one_of(*FITS),
    "order": _one_of("rgb", "bgr"),
    "divide_by": (_positive, "a number above 0"),
    "mean": (_list_of(_number), "a number or a list of them, one a channel"),
    "std": (_list_of(_positive), "a number above 0 or a list of them, one a channel"),
}
_WEIGHTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "file": (_text, "the name of a file"),
    "seed": (_seed, "a whole number of at least 0"),
}
