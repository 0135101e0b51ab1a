"""Tuning files: the (Th, N) by which each filter of a network predicts that a sum ends below zero.

    kind: speculation
    version: 1
    name: lenet_digits-1
    workload: lenet_digits
    digests: {network: 1f…, weights: 9c…}
    layers:
      conv1:
        thresholds: [0.125, -0.5, 0]
        groups: [4, 2, 1]

A threshold is a real number in the units of the layer's sums, its bias included; a number of groups is how
many products are looked at before it. (0, 1) leaves a filter in exact mode. `recipe`, `reached` and `made`
say how the file came to be, and are read by nobody.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simhw import shipped
from simhw.errors import TuningError, did_you_mean
from simhw.files import write_file
from simhw.transforms import speculation
from simhw.transforms.sign_order import Ordering
from simhw.yamlfile import Document, Place, read, show

TUNINGS = "accelerators/tunings"
KIND, VERSION = "speculation", 1
DIGESTS = ("network", "weights")
LAYERS = "a mapping of layers (conv1: {thresholds: […], groups: […]})"
WIDTH = 100


class TunedLayer(Protocol):
    """What is asked of a layer: a LayerTrace has it, and so has what an accelerator makes of one."""

    @property
    def name(self) -> str: ...
    @property
    def activation(self) -> str | None: ...
    @property
    def weights(self) -> Any: ...
    @property
    def formats(self) -> Mapping[str, Any]: ...


class TunedNetwork(Protocol):
    """What is asked of a network: a Trace has it."""

    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> Iterable[TunedLayer]: ...
    @property
    def digests(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Speculation:
    """(Th, N) of each filter of a layer; (0, 1) is exact mode."""

    thresholds: tuple[float, ...]
    groups: tuple[int, ...]

    @property
    def predictive(self) -> int:
        """How many filters predict."""
        exact = zip(self.thresholds, self.groups, strict=True)
        return sum(pair != speculation.EXACT for pair in exact)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a tuning file says. Layers that it does not name, and filters of (0, 1), run in exact mode."""

    name: str
    workload: str
    digests: Mapping[str, str]
    layers: Mapping[str, Speculation]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    reached: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None

    def ordering(
        self, layer: TunedLayer, negatives: str = "original", inclusive: bool = False
    ) -> Ordering | None:
        """Return a layer's weights in the order of its (Th, N); None where no filter of it predicts."""
        own = self.layers.get(layer.name)
        if own is None or not own.predictive:
            return None
        return speculation.apply(
            np.asarray(layer.weights),
            own.thresholds,
            own.groups,
            negatives,
            fraction=layer.formats["bias"].fraction,
            inclusive=inclusive,
            where=f"{self.source or self.name}: layers.{layer.name}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the tuning as plain data, which `load_tuning` takes."""
        return {
            "kind": KIND,
            "version": VERSION,
            "name": self.name,
            "workload": self.workload,
            "digests": dict(self.digests),
            "recipe": dict(self.recipe),
            "reached": dict(self.reached),
            "made": dict(self.made),
            "layers": {
                name: {"thresholds": list(own.thresholds), "groups": list(own.groups)}
                for name, own in self.layers.items()
            },
        }

    def to_yaml(self) -> str:
        """Return the text of the tuning's file."""
        head = self.to_dict()
        layers = head.pop("layers")
        text = "".join(
            f"{name}: {_flow(head.pop(name))}\n" for name in ("kind", "version", "name", "workload")
        )
        for name, fields in head.items():
            if fields:
                text += f"{name}:\n" + "".join(f"  {key}: {_flow(one)}\n" for key, one in fields.items())
        text += "layers:\n" if layers else "layers: {}\n"
        for name, own in layers.items():
            text += f"  {_flow(name)}:\n"
            text += "".join(_listed(f"    {part}: ", values) for part, values in own.items())
        return text

    def save(self, path: str | Path) -> Path:
        """Write the tuning to a file, whole or not at all."""
        return write_file(path, self.to_yaml(), TuningError)


def load_tuning(
    tuning: str | Path | Mapping[str, Any] | Tuning, network: TunedNetwork | None = None
) -> Tuning:
    """Return the tuning of a name, a path, plain data, or one that is loaded already.

    With `network` (a trace) it is held against that: whether it was made for this network and these
    weights, and whether every layer takes it. Every fault is in one raise.
    """
    source: Path | None = None
    if isinstance(tuning, Tuning):
        source = tuning.source
        document = Document(str(source or tuning.name), TuningError, tuning.to_dict())
    elif isinstance(tuning, Mapping):
        document = Document("tuning", TuningError, copy.deepcopy(dict(tuning)))
    else:
        source = shipped.find(TUNINGS, tuning, ".yaml", TuningError)
        document = read(source, TuningError, "a tuning")
    _check_head(document)
    for name in document.mapping(("layers",), LAYERS) if "layers" in document.value else ():
        _check_layer(document, ("layers", name))
    if network is not None and not document.is_faulty:
        _check_against(document, network)
    document.finish()
    given = document.value
    return Tuning(
        name=given["name"],
        workload=given["workload"],
        digests=given["digests"],
        layers={
            name: Speculation(tuple(float(x) for x in own["thresholds"]), tuple(own["groups"]))
            for name, own in given["layers"].items()
        },
        **{part: given.get(part, {}) for part in ("recipe", "reached", "made")},
        source=source,
    )


def orderings(tuning: Tuning, network: TunedNetwork, negatives: str = "original") -> dict[str, Ordering]:
    """Return the order of the weights of each layer that predicts, by the layer's name."""
    found = {layer.name: tuning.ordering(layer, negatives) for layer in network.layers}
    return {name: ordering for name, ordering in found.items() if ordering is not None}


def digests_of(network: TunedNetwork) -> dict[str, str]:
    """Return what tells a network and its weights from others, whatever images it is run with.

    Weights count by the real numbers that they stand for.
    """
    weights = hashlib.sha256()
    for layer in network.layers:
        array, form = np.asarray(layer.weights), layer.formats["weights"]
        real = np.ldexp(array.astype("<f4"), -form.fraction) if not form.is_float else array.astype("<f4")
        weights.update(json.dumps([layer.name, list(real.shape)]).encode())
        weights.update(np.ascontiguousarray(real).tobytes())
    return {"network": network.digests["network"], "weights": weights.hexdigest()}


def _check_head(document: Document) -> None:
    given = document.value
    known = ("kind", "version", "name", "workload", "digests", "recipe", "reached", "made", "layers")
    document.unknown_fields((), known)
    wants = {
        "kind": f"{KIND!r}",
        "version": f"{VERSION}",
        "name": "a name",
        "workload": "a name",
        "digests": "a mapping of digests (network: …, weights: …)",
        "layers": LAYERS,
    }
    for name in wants:
        if name not in given:
            document.fault((name,), f"is missing; wants {wants[name]}")
    for name, value in (("kind", KIND), ("version", VERSION)):
        if name in given and (type(given[name]) is not type(value) or given[name] != value):
            document.fault((name,), f"wants {wants[name]}, got {show(given[name])}")
    for name in ("name", "workload"):
        if name in given and not _is_text(given[name]):
            document.fault((name,), f"wants a name, got {show(given[name])}")
    for name in ("recipe", "reached", "made"):
        if name in given:
            document.mapping((name,), "a mapping")
    if "digests" in given:
        digests = document.mapping(("digests",), wants["digests"])
        if digests:
            document.unknown_fields(("digests",), DIGESTS)
        for name in DIGESTS if isinstance(given["digests"], dict) else ():
            if not _is_text(digests.get(name)):
                document.fault(("digests", name), f"wants a SHA-256 in hex, got {show(digests.get(name))}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_layer(document: Document, place: Place) -> None:
    """Look at what needs no network: finite thresholds, whole groups, as many of the one as of the other."""
    own = document.mapping(place, "thresholds and groups, one of each for each filter")
    if not isinstance(document.at(place), dict):
        return
    document.unknown_fields(place, ("thresholds", "groups"))
    lengths = []
    for name, wants in (("thresholds", "numbers"), ("groups", "whole numbers")):
        values = own.get(name)
        if not isinstance(values, list):
            got = "is missing; wants" if name not in own else f"got {show(values)}; wants"
            document.fault((*place, name), f"{got} a list of {wants}, one for each filter")
            continue
        lengths.append(len(values))
        for i, value in enumerate(values):
            _check_value(document, (*place, name, i), value, name == "groups")
    if len(lengths) == 2 and lengths[0] != lengths[1]:
        text = f"{lengths[1]} given beside {lengths[0]} thresholds; wants one of each for each filter"
        document.fault((*place, "groups"), text)


def _check_value(document: Document, place: Place, value: Any, is_count: bool) -> None:
    if is_count:
        if type(value) is not int or value < 1:
            document.fault(place, f"wants a whole number of at least 1, got {show(value)}")
    elif type(value) not in (int, float) or not math.isfinite(value):
        document.fault(place, f"wants a finite number, got {show(value)}")


def _check_against(document: Document, network: TunedNetwork) -> None:
    """Hold a tuning that is well formed against the network that is to use it."""
    given = document.value
    for name, digest in digests_of(network).items():
        if given["digests"][name] != digest:
            what = "for another network" if name == "network" else "for other weights"
            text = (
                f"made {what}, of {given['workload']}, and not for {network.name}; wants a tuning of its own"
            )
            document.fault(("digests", name), text)
            return
    layers = {layer.name: layer for layer in network.layers}
    for name, own in given["layers"].items():
        place = ("layers", name)
        if name not in layers:
            text = f"{network.name} has no layer {name!r}{did_you_mean(name, layers)}"
            document.fault(place, text, holder=True)
            continue
        weights = np.asarray(layers[name].weights)
        filters, size = len(weights), weights[0].size
        for part in ("thresholds", "groups"):
            if len(own[part]) != filters:
                text = f"{len(own[part])} given; wants {filters}, one for each filter"
                document.fault((*place, part), text)
        for i, count in enumerate(own["groups"]):
            if count > size:
                text = f"is {count}; wants 1 to {size}, the weights of the filter"
                document.fault((*place, "groups", i), text)
        if layers[name].activation not in ("relu", "relu6"):
            document.fault(place, "no ReLU follows this layer, and its sums below zero count; leave it out")


def _flow(value: Any) -> str:
    """Return plain data as YAML on one line; JSON is YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str) and value.replace("_", "").replace("-", "").replace("/", "").isalnum():
        plain = value[0].isalpha() and value.lower() not in ("true", "false", "null")
        return value if plain else json.dumps(value)
    return json.dumps(value)


def _listed(start: str, values: list[Any]) -> str:
    """Return a list as YAML, its lines no longer than they need be."""
    lines, line = [], f"{start}["
    for i, value in enumerate(values):
        text = _flow(value) + ("," if i + 1 < len(values) else "")
        if len(line) + 1 + len(text) > WIDTH and i:
            lines.append(line)
            line = " " * 6
        line += f" {text}" if line[-1] not in "[ " else text
    return "\n".join([*lines, f"{line}]"]) + "\n"
