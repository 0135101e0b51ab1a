"""Tuning files: the (Th, N) by which each filter of a network predicts that a sum ends below zero.

    kind: speculation
    version: 2
    name: lenet_digits-1
    workload: lenet_digits
    digests: {network: 1f…, weights: 9c…, layers: 07…}
    filters: 3
    layers:
      conv1:
        thresholds: [0.125, -0.5, 0]
        groups: [4, 2, 1]

A threshold is a real number in the units of the layer's sums, its bias included; a number of groups is how
many products are looked at before it. (0, 1) leaves a filter in exact mode. `filters` is how many filters
`layers` has, so that a file which was cut short is known; `digests.layers`, left out of a file written by
hand, is the digest of what they say. `recipe`, `reached` and `made` say how the file came to be; `reached`
what it does to a network.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
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
KIND, VERSION = "speculation", 2
DIGESTS = ("network", "weights")
OLD = (
    "is 1, of files that do not say how many filters they have; wants 2: make it again with 'simhw tune', "
    "or write 2 and 'filters: {filters}' if it is whole"
)
EDITED = (
    "is not that of the layers: they were changed after the file was written; make it again with "
    "'simhw tune', or remove digests.layers to use it as it is"
)
TENTHS = 10  # of a layer's positive outputs, by which mispredictions are told
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

    def to_dict(self) -> dict[str, list[Any]]:
        return {"thresholds": list(self.thresholds), "groups": list(self.groups)}


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

    def ordering(self, layer: TunedLayer, negatives: str = "original") -> Ordering | None:
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
            where=f"{self.source or self.name}: layers.{layer.name}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the tuning as plain data, which `load_tuning` takes."""
        return {
            "kind": KIND,
            "version": VERSION,
            "name": self.name,
            "workload": self.workload,
            "digests": {**self.digests, "layers": _digest_of(self.layers)},
            "filters": sum(len(own.groups) for own in self.layers.values()),
            "recipe": dict(self.recipe),
            "reached": dict(self.reached),
            "made": dict(self.made),
            "layers": {name: own.to_dict() for name, own in self.layers.items()},
        }

    def to_yaml(self) -> str:
        """Return the text of the tuning's file."""
        head = self.to_dict()
        layers = head.pop("layers")
        text = ""
        for name, value in head.items():
            if not isinstance(value, Mapping):
                text += f"{name}: {_flow(value)}\n"
            elif value:
                text += f"{name}:\n" + "".join(_field(key, one, "  ") for key, one in value.items())
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
    _refuse_old(document)
    if "optimize" in document.value and "layers" not in document.value:
        document.fault((), "is a recipe of tunings; wants a tuning, which simhw tune makes of it")
        document.finish()
    _check_head(document)
    for name in document.mapping(("layers",), LAYERS) if "layers" in document.value else ():
        _check_layer(document, ("layers", name))
    _check_measured(document)
    if network is not None and not document.is_faulty:
        _check_against(document, network)
    if not document.is_faulty:
        _check_whole(document)
    document.finish()
    given = document.value
    return Tuning(
        name=given["name"],
        workload=given["workload"],
        digests={name: given["digests"][name] for name in DIGESTS},
        layers=_layers_of(given),
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


def _layers_of(given: Mapping[str, Any]) -> dict[str, Speculation]:
    return {
        name: Speculation(tuple(float(x) for x in own["thresholds"]), tuple(own["groups"]))
        for name, own in given["layers"].items()
    }


def _digest_of(layers: Mapping[str, Speculation]) -> str:
    """Return the SHA-256 of what layers say, however the file writes the numbers."""
    said = [
        [name, [limit + 0.0 for limit in own.thresholds], list(own.groups)]  # -0 is 0
        for name, own in layers.items()
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _refuse_old(document: Document) -> None:
    """Say in one line what a file of the first version wants."""
    given = document.value
    if given.get("kind") == KIND and type(given.get("version")) is int and given["version"] == 1:
        layers = given.get("layers")
        own = [one for one in layers.values() if isinstance(one, dict)] if isinstance(layers, dict) else []
        filters = sum(len(one["groups"]) for one in own if isinstance(one.get("groups"), list))
        document.fault(("version",), OLD.format(filters=filters))
        document.finish()


def _check_whole(document: Document) -> None:
    """Look for layers that are missing or not as they were written, in a file that is well formed."""
    given = document.value
    filters = sum(len(own["groups"]) for own in given["layers"].values())
    if given["filters"] != filters:
        text = (
            f"is {given['filters']}, and layers have {filters}: the file was cut short, or a layer added or "
            "left out; wants the number of its thresholds"
        )
        document.fault(("filters",), text)
    elif "layers" in given["digests"] and given["digests"]["layers"] != _digest_of(_layers_of(given)):
        document.fault(("digests", "layers"), EDITED)


def _check_head(document: Document) -> None:
    given = document.value
    known = (
        "kind", "version", "name", "workload", "digests", "filters", "recipe", "reached", "made", "layers"
    )  # fmt: skip
    document.unknown_fields((), known)
    wants = {
        "kind": f"{KIND!r}",
        "version": f"{VERSION}",
        "name": "a name",
        "workload": "a name",
        "digests": "a mapping of digests (network: …, weights: …)",
        "filters": "how many filters the layers have",
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
    if "filters" in given and (type(given["filters"]) is not int or given["filters"] < 0):
        document.fault(("filters",), f"wants a whole number of at least 0, got {show(given['filters'])}")
    for name in ("recipe", "reached", "made"):
        if name in given:
            document.mapping((name,), "a mapping")
    if "digests" in given:
        digests = document.mapping(("digests",), wants["digests"])
        if digests:
            document.unknown_fields(("digests",), (*DIGESTS, "layers"))
        asked = (*DIGESTS, "layers") if "layers" in digests else DIGESTS
        for name in asked if isinstance(given["digests"], dict) else ():
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
    elif not _is_number(value):
        document.fault(place, f"wants a finite number, got {show(value)}")


def _is_number(value: Any) -> bool:
    """Whether it is a number that is finite as a float: a whole one may have hundreds of digits."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_list(value: Any, lengths: tuple[int, ...]) -> bool:
    return isinstance(value, list) and len(value) in lengths and all(map(_is_share, value))


_COUNT, _SHARE = (_is_count, "a whole number of at least 0"), (_is_share, "a share from 0 to 1")
MEASURED: dict[str, tuple[Callable[[Any], bool], str]] = {  # under reached.measured: what `evaluate` found
    "images": _COUNT,
    "exact_accuracy": _SHARE,
    "accuracy": _SHARE,
    "agreement": _SHARE,
    "agreement_interval": (
        lambda value: _is_list(value, (2,)) and value[0] <= value[1],
        "two shares from 0 to 1, the smaller first",
    ),
    "whole_macs": _COUNT,
    "exact_macs": _COUNT,
    "macs": _COUNT,
    "predictive_share": _SHARE,
    "true_negative_rate": _SHARE,
    "false_negative_rate": _SHARE,
    "small_share": _SHARE,
    "mispredictions": (
        lambda value: _is_list(value, (0, TENTHS)),
        f"{TENTHS} shares from 0 to 1, or none",
    ),
}


def _check_measured(document: Document) -> None:
    """Look at what is said to have been measured; all of it may be left out."""
    reached = document.value.get("reached")
    if not isinstance(reached, dict) or "measured" not in reached:
        return
    place = ("reached", "measured")
    measured = document.mapping(place, f"a mapping ({', '.join(MEASURED)})")
    if measured:
        document.unknown_fields(place, MEASURED)
    for name, (check, wants) in MEASURED.items():
        if name in measured and not check(measured[name]):
            document.fault((*place, name), f"wants {wants}, got {show(measured[name])}")


def _check_against(document: Document, network: TunedNetwork) -> None:
    """Hold a tuning that is well formed against the network that is to use it."""
    given = document.value
    for name, digest in digests_of(network).items():
        if given["digests"][name] != digest:
            what = "for another network" if name == "network" else "for other weights"
            text = f"made {what}, of {given['workload']}, and not for {network.name}"
            if given["workload"] == network.name:
                text = f"made {what} than those of {network.name} here"
            text += "; wants a tuning of its own"
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
        fraction = layers[name].formats["bias"].fraction
        for i, limit in enumerate(own["thresholds"]):
            if not speculation.has_place(limit, fraction):
                document.fault((*place, "thresholds", i), speculation.no_place(float(limit), fraction))
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


def _field(name: str, value: Any, indent: str) -> str:
    """Return a field as YAML, on one line if it is not too long for one."""
    line = f"{indent}{_flow(name)}: {_flow(value)}"
    if isinstance(value, Mapping) and len(line) > WIDTH:
        return f"{indent}{_flow(name)}:\n" + "".join(
            _field(key, one, f"{indent}  ") for key, one in value.items()
        )
    return f"{line}\n"


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
