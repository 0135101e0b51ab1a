"""Traces: one network, one batch of inputs, and what each of its layers must put out.

Tensors of a layer: `<layer>.weights` [M, C/groups, R, S], `.bias` [M] (in accumulator format), `.inputs`
[N, C, H, W] (unpadded) and `.expected` [N, M, E, F]; a linear layer is a 1x1 convolution of a 1x1 map.
`<node>.expected` is kept of every other node whose output feeds a layer or leaves the network; `input` is
the batch, `labels` [N] its classes where they are known. A tensor that equals another is an alias of it.

A layer that is a stream of elementwise operations holds `<layer>.constants` (its numbers, in the order in
which `simhw.stream.numbers` has them) and `.expected`; what it reads are aliases, `<layer>.<name>`, and the
arrays that it makes inside have number formats under `<layer>.<name>` and no tensors.

A transform that changed a layer's weights leaves tensors beside them, under other names; what they mean is
its own business. Weights on lines leave `<layer>.coefficients` and `<layer>.fit`, as `simhw.reference.fitted`
says; the weights are then the exact integers that the coefficients make, of 8, 16 or 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simhw import shipped, stream
from simhw.errors import TraceError, did_you_mean
from simhw.shapes import FLOAT32, LayerShape, NumberFormat
from simhw.stream import KIND, StreamShape
from simhw.trace import container
from simhw.trace.tensors import REMAKE, Cut, Held, Tensor, sha256_of, with_any_value

__all__ = ["SUFFIX", "LayerTrace", "StreamTrace", "Trace", "image_digests_of", "network_digest", "sha256_of"]

SUFFIX = ".safetensors"
LAYER_TENSORS = ("weights", "bias", "inputs", "expected")
FIT_TENSORS = ("coefficients", "fit")  # both or neither
PER_IMAGE = ("input", "labels", "inputs", "expected")  # how names end that have one row per image


@dataclass(frozen=True)
class LayerTrace:
    """One layer: a convolution or linear layer with its folded batch norm, bias and activation.

    The arrays are read-only, and read when they are first asked for. `formats` has the keys weights,
    bias, inputs and expected.
    """

    name: str
    kind: Literal["conv", "linear"]
    shape: LayerShape
    activation: str | None
    formats: Mapping[str, NumberFormat]
    _tensors: Mapping[str, Tensor] = field(repr=False, compare=False)

    @property
    def weights(self) -> np.ndarray:
        return self._tensors["weights"].read().reshape(self.shape.weight_shape)

    @property
    def bias(self) -> np.ndarray:
        return self._tensors["bias"].read()

    @property
    def inputs(self) -> np.ndarray:
        return self._tensors["inputs"].read().reshape(self.shape.input_shape)

    @property
    def expected(self) -> np.ndarray:
        return self._tensors["expected"].read().reshape(self.shape.output_shape)

    @property
    def coefficients(self) -> np.ndarray | None:
        """What its weights come from, [filters, groups, terms]; None where they are weights and no more."""
        return self.stored("coefficients")

    @property
    def fit(self) -> np.ndarray | None:
        """N_w, bits and the fraction of each term of its coefficients, or None."""
        return self.stored("fit")

    def stored(self, tensor: str) -> np.ndarray | None:
        """Return a tensor that lies beside the layer's own, or None: coefficients, fit."""
        return self._tensors[tensor].read() if tensor in self._tensors else None

    @property
    def shift(self) -> int:
        """Binary places by which a sum is rounded to make an output; negative: it is multiplied."""
        return self.formats["bias"].fraction - self.formats["expected"].fraction


@dataclass(frozen=True)
class StreamTrace:
    """A layer that is a stream of elementwise operations.

    `formats` are of every array and number by the names that operations have for them, and of `expected`.
    """

    name: str
    shape: StreamShape
    formats: Mapping[str, NumberFormat]
    _tensors: Mapping[str, Tensor] = field(repr=False, compare=False)
    kind: Literal["elementwise"] = KIND

    @property
    def operations(self) -> tuple[stream.Operation, ...]:
        return self.shape.operations

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the arrays that it reads, in the order in which the graph has them."""
        return tuple(name for name in self._tensors if name not in stream.TAKEN)

    @property
    def operands(self) -> dict[str, np.ndarray]:
        """What the operations read that they do not make: arrays, and numbers as arrays without axes."""
        arrays = {name: self._tensors[name].read().reshape(self.shape.output_shape) for name in self.reads}
        numbers = stream.numbers(self.operations)
        return arrays | {name: self._tensors["constants"].read()[i, ...] for i, name in enumerate(numbers)}

    @property
    def expected(self) -> np.ndarray:
        return self._tensors["expected"].read()


class Trace:
    """A network with its weights, a batch of inputs and the reference outputs of its layers.

    `graph` is plain data: {"inputs": [name], "nodes": [{"name", "op", "inputs", "attrs"}], "output": name}.
    `layers` are its convolutions and linear layers, `streams` its layers of elementwise operations.
    A trace in memory and one from a file are used alike.
    """

    def __init__(
        self,
        *,
        name: str,
        format: str,
        graph: Mapping[str, Any],
        formats: Mapping[str, NumberFormat],
        tensors: Mapping[str, np.ndarray | Tensor],
        aliases: Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        image_digests: Iterable[str] | None = None,
        path: Path | None = None,
    ) -> None:
        self.name = name
        self.format = format
        self.graph = graph
        self.path = path
        self.aliases = dict(aliases or {})
        self.provenance = dict(provenance or {})
        self.formats = {
            **formats,
            **{name: formats[of] for name, of in self.aliases.items() if of in formats},
        }
        self._tensors: dict[str, Tensor] = {}
        strange = with_any_value(graph)
        for key, value in tensors.items():
            held = isinstance(value, np.ndarray)
            where = f"{self._where}: {key}"
            self._tensors[key] = Held(value, where, key in strange) if held else value
        self._image_digests = None if image_digests is None else tuple(image_digests)
        self._by_name = {layer.name: layer for layer in self._layers()}
        every = self._by_name.values()
        self.layers = tuple(layer for layer in every if isinstance(layer, LayerTrace))
        self.streams = tuple(layer for layer in every if isinstance(layer, StreamTrace))

    def __repr__(self) -> str:
        return f"<Trace {self.name}: {len(self._by_name)} layers, {self.batch} images, {self.format}>"

    # What it holds

    def layer(self, name: str) -> Any:
        """Return one layer, a LayerTrace or a StreamTrace."""
        if name not in self._by_name:
            raise TraceError(f"{self._where}: has no layer {name!r}{did_you_mean(name, self._by_name)}")
        return self._by_name[name]

    def of_kinds(self, kinds: Iterable[str] | None = None) -> list[LayerTrace | StreamTrace]:
        """Return the layers of some kinds, or all, in graph order."""
        return [layer for layer in self._by_name.values() if kinds is None or layer.kind in kinds]

    def has(self, tensor: str) -> bool:
        return self.aliases.get(tensor, tensor) in self._tensors

    def tensor(self, name: str) -> np.ndarray:
        """Return one tensor, read-only; one that lies in a file is checked when it is first read."""
        if not self.has(name):
            known = (*self._tensors, *self.aliases)
            raise TraceError(f"{self._where}: has no tensor {name!r}{did_you_mean(name, known)}")
        return self._tensors[self.aliases.get(name, name)].read()

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """The tensors it stores; aliases are not among them."""
        return tuple(self._tensors)

    @property
    def batch(self) -> int:
        return self._tensors["input"].shape[0]

    @property
    def inputs(self) -> np.ndarray:
        return self.tensor("input")

    @property
    def labels(self) -> np.ndarray | None:
        return self.tensor("labels") if self.has("labels") else None

    @property
    def output(self) -> np.ndarray:
        """What the whole network put out, in the reference model."""
        return self.tensor(f"{self.graph['output']}.expected")

    def nodes_beside(self, layers: Iterable[str]) -> list[dict[str, str]]:
        """Return name and op of every node that is none of these layers."""
        names = set(layers)
        return [{"name": n["name"], "op": n["op"]} for n in self.graph["nodes"] if n["name"] not in names]

    # What tells it from others

    @cached_property
    def image_digests(self) -> tuple[str, ...]:
        if self._image_digests is not None:
            return self._image_digests
        fraction = self.formats.get("input", FLOAT32).fraction
        return image_digests_of(np.ldexp(self.inputs.astype(np.float32), -fraction))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of `network` (shapes alone), `weights` (as stored), `inputs` (real images), `trace` (all).

        Provenance is in none of them: the same content made twice has the same digests.
        """
        checksums = {name: tensor.checksum for name, tensor in self._tensors.items()}
        formats = {name: [number.bits, number.fraction] for name, number in self.formats.items()}
        once = {
            "network": network_digest(
                self.graph, self._tensors["input"].shape[1:], {x.name: x.shape for x in self.layers}
            ),
            "weights": sha256_of(
                {name: [of, formats.get(name)] for name, of in checksums.items() if not _is_per_image(name)}
            ),
            "inputs": sha256_of(self.image_digests),
        }
        return {**once, "trace": sha256_of([self.format, formats, checksums, self.aliases, once])}

    # What can be made of it

    def head(self, images: int) -> Trace:
        """Return the trace of the first `images` images; nothing is copied."""
        if not 1 <= images <= self.batch:
            raise TraceError(
                f"{self._where}: holds {self.batch} images; wants 1 to {self.batch}, got {images}"
            )
        cut = {name: Cut(t, images) if _is_per_image(name) else t for name, t in self._tensors.items()}
        return self._with(tensors=cut, image_digests=self.image_digests[:images])

    def replace(
        self,
        tensors: Mapping[str, np.ndarray],
        *,
        formats: Mapping[str, NumberFormat] | None = None,
        graph: Mapping[str, Any] | None = None,
        name: str | None = None,
        provenance: Mapping[str, Any] | None = None,
        other_images: bool = False,
    ) -> Trace:
        """Return a trace in memory with some tensors replaced; the others are shared with this one.

        With `other_images` a new `input` holds other images, and not this trace's in another form.
        """
        return self._with(
            image_digests=None if other_images else self.image_digests,
            name=name or self.name,
            graph=graph or self.graph,
            formats={**self.formats, **(formats or {})},
            tensors={**self._tensors, **tensors},
            aliases={alias: of for alias, of in self.aliases.items() if alias not in tensors},
            provenance={**self.provenance, **(provenance or {})},
            path=None,
        )

    def verify(self) -> None:
        """Read every tensor, and raise all that is wrong with them at once."""
        faults: list[str] = []
        for tensor in self._tensors.values():
            try:
                tensor.read()
            except TraceError as error:
                faults += error.faults
        if faults:
            raise TraceError(faults)

    def save(self, path: str | Path) -> Path:
        """Write the trace to a file, whole or not at all; the same content gives the same bytes."""
        self.verify()
        about = {
            "name": self.name,
            "format": self.format,
            "graph": self.graph,
            "formats": {
                name: {"bits": number.bits, "fraction": number.fraction}
                for name, number in self.formats.items()
                if name not in self.aliases
            },
            "aliases": self.aliases,
            "provenance": self.provenance,
            "image_digests": self.image_digests,
            **{f"{of}_digest": digest for of, digest in self.digests.items()},
        }
        container.write(Path(path), about, self._tensors)
        return Path(path)

    @classmethod
    def load(cls, name_or_path: str | Path, verify: bool = True) -> Trace:
        """Open a trace: a path, or the name of one that ships. Only its header is read now.

        With `verify`, each tensor is checked when it is first read: its checksum, and that it is finite.
        """
        path = shipped.find("traces", name_or_path, SUFFIX, TraceError)
        about, tensors = container.read(path, verify)
        return cls(
            name=about["name"],
            format=about["format"],
            graph=about["graph"],
            formats={name: NumberFormat(**number) for name, number in about["formats"].items()},
            tensors=tensors,
            aliases=about["aliases"],
            provenance=about["provenance"],
            image_digests=about["image_digests"],
            path=path,
        )

    # How it is made

    @property
    def _where(self) -> str:
        return str(self.path or self.name)

    def _with(self, **changes: Any) -> Trace:
        now = {
            "name": self.name, "format": self.format, "graph": self.graph, "formats": self.formats,
            "tensors": self._tensors, "aliases": self.aliases, "provenance": self.provenance,
            "image_digests": self._image_digests, "path": self.path,
        }  # fmt: skip
        return Trace(**{**now, **changes})

    def _layers(self) -> list[LayerTrace | StreamTrace]:
        """Return the layers in graph order, or raise all at once where graph and tensors disagree."""
        if len(getattr(self._tensors.get("input"), "shape", ())) != 4:
            raise TraceError(f"{self._where}: input: wants the batch of inputs [N, C, H, W]; {REMAKE}")
        layers: list[LayerTrace | StreamTrace] = []
        faults: list[str] = []
        for node in self.graph["nodes"]:
            if node["op"] in ("conv", "linear", KIND):
                found = self._stream(node) if node["op"] == KIND else self._layer(node)
                if isinstance(found, list):
                    faults += found
                else:
                    layers.append(found)
        if faults:
            raise TraceError([f"{self._where}: {fault}; {REMAKE}" for fault in faults])
        return layers

    def _stream(self, node: Mapping[str, Any]) -> StreamTrace | list[str]:
        """Return the stream of a node, or what is wrong with it."""
        name, attrs = node["name"], node["attrs"]
        reads = tuple(attrs.get("names", ()))
        operations, wrong = stream.read(tuple(attrs.get("operations", ())), reads)
        if wrong or not operations:
            return [f"{name}: {fault}" for fault in wrong or ("operations: is missing",)]
        numbers, made = stream.numbers(operations), stream.made(operations)
        full = {part: f"{name}.{part}" for part in (*reads, *(["constants"] if numbers else []), "expected")}
        absent = self._absent(full.values(), (f"{name}.{array}" for array in made))
        if absent:
            return absent
        tensors = {part: self._tensors[self.aliases.get(one, one)] for part, one in full.items()}
        try:
            n, c, h, w = tensors["expected"].shape
            shape = StreamShape(batch=n, channels=c, height=h, width=w, operations=operations)
        except ValueError as error:
            return [f"{name}: its shapes do not fit together ({error})"]
        wants = dict.fromkeys((*reads, "expected"), shape.output_shape) | {"constants": (len(numbers),)}
        wrong = _misshapen(name, tensors, wants)
        if wrong:
            return wrong
        formats = {part: self.formats[f"{name}.{part}"] for part in (*full, *made)}
        formats |= dict.fromkeys(numbers, formats.get("constants", FLOAT32))
        return StreamTrace(name, shape, formats | {operations[-1].makes: formats["expected"]}, tensors)

    def _absent(self, tensors: Collection[str], others: Iterable[str] = ()) -> list[str]:
        """Return which tensors are missing, and what has no number format of these and of others."""
        formats = [one for one in (*tensors, *others) if one not in self.formats]
        missing = [f"{one}: is missing" for one in tensors if not self.has(one)]
        return missing + [f"{one}: has no number format" for one in formats]

    @cached_property
    def _beside(self) -> dict[str, list[str]]:
        """What lies beside the four tensors of each layer, by the names of layers."""
        found: dict[str, list[str]] = {}
        for name in self._tensors:
            layer, _, part = name.rpartition(".")
            if part not in LAYER_TENSORS:
                found.setdefault(layer, []).append(part)
        return found

    def _layer(self, node: Mapping[str, Any]) -> LayerTrace | list[str]:
        """Return the layer of a node, or what is wrong with it."""
        name = node["name"]
        full = {part: f"{name}.{part}" for part in LAYER_TENSORS}
        absent = self._absent(full.values())
        beside = {part: f"{name}.{part}" for part in self._beside.get(name, ())}
        if len(fit := [part for part in FIT_TENSORS if part in beside]) == 1:
            absent += [f"{name}.{part}: is missing" for part in FIT_TENSORS if part not in fit]
        if absent:
            return absent
        tensors = {part: self._tensors[self.aliases.get(one, one)] for part, one in (full | beside).items()}
        has = {part: tensor.shape for part, tensor in tensors.items()}
        try:
            shape = _layer_shape(node["op"], has["inputs"], has["weights"], node["attrs"])
        except (ValueError, TypeError, IndexError) as error:
            return [f"{name}: its shapes do not fit together ({error})"]
        wants = {
            "weights": shape.weight_shape, "bias": (shape.out_channels,),
            "inputs": (self.batch, *shape.input_shape[1:]), "expected": shape.output_shape,
        }  # fmt: skip
        wrong = _misshapen(name, {part: tensors[part] for part in full}, wants)
        if wrong:
            return wrong
        formats = {part: self.formats[one] for part, one in full.items()}
        return LayerTrace(name, node["op"], shape, node["attrs"].get("activation"), formats, tensors)


def network_digest(
    graph: Mapping[str, Any], input_shape: tuple[int, ...], layers: Mapping[str, LayerShape]
) -> str:
    """Return what tells a network from others: its graph as a trace has it, and its shapes of one image."""
    shapes = {name: {**shape.to_dict(), "batch": 1} for name, shape in layers.items()}
    return sha256_of({"graph": graph, "input": input_shape, "layers": shapes})


def image_digests_of(images: np.ndarray) -> tuple[str, ...]:
    """Return a digest of each image of a batch of real values: what makes two traces comparable.

    It is taken of the float32 values, before they are brought to a fixed-point format, so that traces of
    the same images in other formats speak of the same inputs.
    """
    images = images.astype("<f4")
    return tuple(sha256_of([image.shape, sha256_of(image)]) for image in images)


def _misshapen(layer: str, tensors: Mapping[str, Tensor], wants: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the tensors of a layer that hold more or less than it wants, or of more or fewer images."""
    return [
        f"{layer}.{part}: has shape {list(tensor.shape)}; its layer wants {list(wants[part])}"
        for part, tensor in tensors.items()
        if math.prod(tensor.shape) != math.prod(wants[part]) or tensor.shape[:1] != wants[part][:1]
    ]


def _is_per_image(name: str) -> bool:
    return name.rpartition(".")[2] in PER_IMAGE


def _layer_shape(
    op: str, inputs: tuple[int, ...], weights: tuple[int, ...], attrs: Mapping[str, Any]
) -> LayerShape:
    """Return the shape that a layer's tensors and attributes spell out."""
    if op == "linear":
        return LayerShape.linear(inputs[0], math.prod(inputs[1:]), weights[0])
    if len(inputs) != 4 or len(weights) != 4:
        raise ValueError(f"inputs {list(inputs)} and weights {list(weights)} want four axes each")
    return LayerShape(
        batch=inputs[0], in_channels=inputs[1], in_height=inputs[2], in_width=inputs[3],
        out_channels=weights[0], kernel_height=weights[2], kernel_width=weights[3],
        stride=tuple(attrs.get("stride", (1, 1))), pad=tuple(attrs.get("pad", (0, 0, 0, 0))),
        dilation=tuple(attrs.get("dilation", (1, 1))), groups=attrs.get("groups", 1),
    )  # fmt: skip
