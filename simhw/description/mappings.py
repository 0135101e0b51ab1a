"""Published mappings: which loop bounds each layer of a network has, as a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhw import core, shipped
from simhw.description import specs
from simhw.errors import MappingError
from simhw.yamlfile import Document, Place, read, show

MAPPINGS = "accelerators/mappings"
LAYERS = "a mapping of layers (conv1: {m: 96, …})"


@dataclass(frozen=True, kw_only=True)
class _Head(core.Spec):
    name: specs.Name
    cites: specs.Text = ""


def load_mapping(
    mapping: str | Path | Mapping[str, Any], parameters: type[core.Spec] | None = None
) -> dict[str, Any]:
    """Return {"name", "cites", "layers": {layer: {parameter: n}}} of a mapping by name, path or data.

    With `parameters`, each layer is checked against that Spec. Whether a mapping is legal on a
    machine is for its dataflow to say.
    """
    if isinstance(mapping, Mapping):
        document = Document("mapping", MappingError, copy.deepcopy(dict(mapping)))
    else:
        path = shipped.find(MAPPINGS, mapping, ".yaml", MappingError)
        document = read(path, MappingError, "a mapping")
    head = document.value
    document.unknown_fields((), ("name", "cites", "layers"))
    specs.check(document, (), _Head, {f: head[f] for f in specs.names(_Head) if f in head})
    if "layers" in head:
        for layer in document.mapping(("layers",), LAYERS):
            _check_layer(document, ("layers", layer), parameters)
    else:
        document.fault(("layers",), f"is missing; wants {LAYERS}")
    document.finish()
    return {"name": head["name"], "cites": head.get("cites", ""), "layers": head["layers"]}


def _check_layer(document: Document, place: Place, parameters: type[core.Spec] | None) -> None:
    values = document.mapping(place, "a mapping of parameters (m: 96)")
    if parameters is not None:
        specs.check(document, place, parameters, values)
        return
    for parameter, value in values.items():
        if type(value) is not int or value < 1:
            document.fault((*place, parameter), f"wants {core.wanted(core.Count)}, got {show(value)}")
