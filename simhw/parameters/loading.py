"""The door: from a name, a file or plain data to checked parameters, every fault of a file in one raise."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from simhw import core, shipped
from simhw.core import reading
from simhw.core.parameters import ParameterKind, parameter_kinds
from simhw.errors import ParameterError, did_you_mean
from simhw.parameters.file import HEADER, VERSION, Parameters, count
from simhw.reference.npz import Npz
from simhw.yamlfile import Document, parse, read, show

PLACE = "accelerators/parameters"
SAID = ("name", "cites", "workload", "recipe", "reached", "made")
LAYERS = "a mapping of layers (conv1: …)"
EDITED = (
    "is not that of the layers: they were changed after the file was written; {again}remove digests.layers "
    "to use it as it is"
)


Mappings = Annotated[dict[str, Any], core.Wants("a mapping")]
Digest = Annotated[str, Field(min_length=1), core.Wants("a SHA-256 in hex")]
Values = Annotated[int, Field(strict=True, ge=0), core.Wants("a whole number of at least 0", any_size=True)]


@dataclass(frozen=True, kw_only=True)
class Head(core.Spec):
    """The header, but for its digests."""

    kind: str
    version: Annotated[Literal[3], core.Wants(f"{VERSION}")]
    name: reading.Name
    cites: reading.Text = ""
    workload: reading.Text = ""
    values: Values
    recipe: Mappings = field(default_factory=dict[str, Any])
    reached: Mappings = field(default_factory=dict[str, Any])
    made: Mappings = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Digests(core.Spec):
    """Of the network, of its weights, and of what the file says of layers."""

    network: Digest = "-"
    weights: Digest = "-"
    layers: Digest = "-"


def folder_of(kind: str) -> str:
    """Return the folder of the shipped files of a kind, as `shipped` calls it."""
    return f"{PLACE}/{kind}"


def names(kind: str) -> list[str]:
    """Return the names of the shipped files of a kind."""
    return shipped.names(folder_of(kind), parameter_kinds()[kind].SUFFIX)


def find(name: str | Path, kind: str | None = None) -> Path:
    """Return the file meant by a path, or by the name of one that ships."""
    kinds = parameter_kinds()
    if kind is not None:
        return shipped.find(folder_of(kind), name, kinds[kind].SUFFIX, kinds[kind].ERROR)
    if os.path.isfile(name):
        return Path(name)
    known = [one for kind in kinds for one in names(kind)]
    fitting = [kind for kind in kinds if str(name) in names(kind)]
    if len(fitting) != 1:
        several = f"; there is one of {' and of '.join(fitting)}: give its path" if fitting else ""
        hint = several or did_you_mean(name, known)
        raise ParameterError(f"{name}: no such file, and no shipped parameters have that name{hint}")
    return find(name, fitting[0])


def load(
    given: str | Path | Mapping[str, Any] | Parameters,
    kind: str | None = None,
    network: Any = None,
) -> Parameters:
    """Return the parameters of a name, a path, plain data, or those that are loaded already.

    With `kind` nothing else is taken. With `network`, which has a name, layers and digests as a trace
    does, they are held against that: whether they were made for it, and whether every layer takes them.
    """
    source: Path | None = None
    asked = ParameterKind if kind is None else parameter_kinds()[kind]
    if isinstance(given, Parameters):
        source = given.source
        document = Document(given.where, asked.ERROR, given.to_dict())
    elif isinstance(given, Mapping):
        document = Document(asked.NOUN, asked.ERROR, copy.deepcopy(dict(given)))
    else:
        source = find(given, kind)
        if source.suffix == ".npz":
            return load_arrays(Npz(source, asked.ERROR), source, kind, network)
        document = read(source, asked.ERROR, asked.a_file())
    return _checked(document, source, kind, network)


def load_arrays(arrays: Any, source: Path, kind: str | None = None, network: Any = None) -> Parameters:
    """Return the parameters whose values are the arrays of an opened file, by `names`.

    One without a header is of the form that files had before there was one, and says nothing of its
    network; it is taken only where its `kind` is known.
    """
    asked = ParameterKind if kind is None else parameter_kinds()[kind]
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name in arrays.names:
        layer, _, part = name.rpartition(".")
        if name != HEADER and (kind is None or part in reading.names(asked.Layer)):
            layers.setdefault(layer, {})[part] = arrays[name]
    if HEADER in arrays:
        document = parse(arrays[HEADER].tobytes().decode(errors="replace"), str(source), asked.ERROR)
        document.lines.clear()  # those of a header that nobody wrote by hand
        if not isinstance(document.value, dict):
            raise asked.ERROR(f"{source}: its header is no mapping; copy the file again")
        document.value["layers"] = layers
    elif kind is None:
        raise asked.ERROR(f"{source}: has no header that says what its arrays are; wants a parameter file")
    else:
        required = reading.required(asked.Layer)
        layers = {name: held for name, held in layers.items() if not required.isdisjoint(held)}
        head = {"kind": kind, "version": VERSION, "name": source.stem, "values": count(layers)}
        document = Document(str(source), asked.ERROR, {**head, "layers": layers})
    return _checked(document, source, kind, network, bare=HEADER not in arrays)


def digests_of(network: Any) -> dict[str, str]:
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


def of_another(given: Parameters, network: Any) -> str | None:
    """Return the fault that parameters were made for another network, or for other weights; or None."""
    return next((text for _, text in _digest_faults(given.of_kind, given.to_dict(), network)), None)


def _checked(
    document: Document, source: Path | None, kind: str | None, network: Any, bare: bool = False
) -> Parameters:
    """Return what a document says; a `bare` one need not say which network it is for."""
    given, own = document.value, _kind_of(document, kind)
    old = own.older_form(document)
    if old is not None:
        document.fault(*old)
        document.finish()
    layers = _check_form(document, own, () if bare else own.DIGESTS)
    if network is not None and not document.is_faulty:
        _check_against(document, own, layers, network)
    if not document.is_faulty:
        _check_whole(document, own, layers)
    document.finish()
    return Parameters(
        kind=own.KIND,
        **{name: given[name] for name in SAID if name in given},
        digests={name: of for name, of in given.get("digests", {}).items() if name != "layers"},
        layers=layers,
        source=source,
    )


def _kind_of(document: Document, kind: str | None) -> type[ParameterKind]:
    """Return the kind that a file is of; one of another kind than was asked for ends here."""
    kinds, said = parameter_kinds(), document.value.get("kind", kind)
    if said is None:
        document.fault(("kind",), f"is missing; known: {', '.join(kinds)}")
    elif kind is not None and said != kind:
        document.fault(("kind",), f"wants {kind!r}, got {show(said)}")
    elif not isinstance(said, str) or said not in kinds:
        document.fault(("kind",), f"unknown kind {show(said)}{did_you_mean(said, kinds)}")
    else:
        return kinds[said]
    document.finish()
    raise AssertionError("a fault was found")


def _check_form(document: Document, kind: type[ParameterKind], digests: Sequence[str]) -> dict[str, Any]:
    """Look at all that needs no network; return what the kind makes of each layer."""
    given = document.value
    missing = {
        "kind": f"{kind.KIND!r}",
        "values": f"how many values the layers hold: {count(given.get('layers', {}))}",
        "layers": LAYERS,
    }
    if digests:
        missing |= {
            "workload": "the name of the network",
            "digests": f"a mapping of digests ({', '.join(digests)})",
        }
    missing = {name: wants for name, wants in missing.items() if name not in given}
    for name, wants in missing.items():
        document.fault((name,), f"is missing; wants {wants}")
    stand_ins = {"kind": kind.KIND, "values": 0, "workload": ""}  # for those of which that was said
    head = {name: value for name, value in given.items() if name not in ("digests", "layers")}
    head |= {name: value for name, value in stand_ins.items() if name in missing}
    reading.check(document, (), Head, head, also=("digests", "layers"))
    if "digests" in given:
        of = document.mapping(("digests",), "a mapping of digests")
        wanted = dict.fromkeys(digests) if isinstance(given["digests"], dict) else {}
        reading.check(document, ("digests",), Digests, {**wanted, **of})
    kind.check_head(document)
    named = document.mapping(("layers",), LAYERS) if "layers" in given else ()
    layers = {name: kind.read_layer(document, ("layers", name)) for name in named}
    return {name: own for name, own in layers.items() if own is not None}


def _check_whole(document: Document, kind: type[ParameterKind], layers: Mapping[str, Any]) -> None:
    """Look for layers that are missing or not as they were written, in a file that is well formed."""
    said = Parameters(kind=kind.KIND, name="", layers=layers).to_dict()
    given, digest = document.value, document.value.get("digests", {}).get("layers")
    if given["values"] != said["values"]:
        text = (
            f"is {given['values']}, and the layers hold {said['values']}: the file was cut short, or "
            "something added or left out; wants how many they hold"
        )
        document.fault(("values",), text)
    elif digest not in (None, said["digests"]["layers"]):
        again = f"make it again with '{kind.MAKE}', or " if kind.MAKE else ""
        document.fault(("digests", "layers"), EDITED.format(again=again))


def _digest_faults(
    kind: type[ParameterKind], given: Mapping[str, Any], network: Any
) -> Iterator[tuple[str, str]]:
    """Yield (digest, what is wrong) where a file's digests are not those of a network."""
    asked = [name for name in ("network", "weights") if name in given.get("digests", {})]
    found = digests_of(network) if "weights" in asked else network.digests
    for name in asked:
        if given["digests"][name] != found[name]:
            what = "for another network" if name == "network" else "for other weights"
            text = f"made {what}, of {given.get('workload', 'another')}, and not for {network.name}"
            if given.get("workload") == network.name:
                text = f"made {what} than those of {network.name} here"
            yield name, f"{text}; wants {kind.a_file()} of its own"


def _check_against(
    document: Document, kind: type[ParameterKind], layers: Mapping[str, Any], network: Any
) -> None:
    """Hold a file that is well formed against the network that is to use it."""
    for name, text in _digest_faults(kind, document.value, network):
        document.fault(("digests", name), text)
        return
    known = {layer.name: layer for layer in network.layers}
    for name, own in layers.items():
        if name not in known:
            text = f"{network.name} has no layer {name!r}{did_you_mean(name, known)}"
            document.fault(("layers", name), text, holder=True)
            continue
        for place, text in kind.layer_faults(own, known[name]):
            document.fault(("layers", name, *place), text)
