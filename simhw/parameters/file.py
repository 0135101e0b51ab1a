"""What a parameter file says, and how it is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simhw import core
from simhw.core.parameters import ParameterKind, parameter_kinds
from simhw.files import replacing, write_file
from simhw.yamlfile import text_of

VERSION = 3  # of the form of files; speculation alone had forms of its own before
HEADER = "parameters"  # the array of an .npz that holds the header


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Values by layer for a network: what its kind makes of each layer, and where they are from.

    Layers that are not named have none.
    """

    kind: str
    name: str
    workload: str = ""
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    layers: Mapping[str, Any]
    cites: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reached: Mapping[str, Any] = field(default_factory=dict[str, Any])
    made: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source: Path | None = None

    @property
    def of_kind(self) -> type[ParameterKind]:
        return parameter_kinds()[self.kind]

    @property
    def where(self) -> str:
        """How messages call it."""
        return str(self.source or self.name)

    @property
    def digest(self) -> str:
        """The SHA-256 of all that it says."""
        head = {name: value for name, value in self.to_dict().items() if name != "layers"}
        return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, which `load` takes; values that are arrays stay arrays."""
        layers = {name: _plain(own) for name, own in self.layers.items()}
        digests = {**self.digests, "layers": digest_of(layers)}
        said = {
            "kind": self.kind, "version": VERSION, "name": self.name, "cites": self.cites,
            "workload": self.workload, "digests": digests, "values": count(layers), "recipe": self.recipe,
            "reached": self.reached, "made": self.made, "layers": layers,
        }  # fmt: skip
        optional = ("cites", "workload", "recipe", "reached", "made")
        kept = {name: value for name, value in said.items() if value or name not in optional}
        return {name: value if name == "layers" else _plain(value) for name, value in kept.items()}

    def to_yaml(self) -> str:
        """Return the text of its file."""
        return text_of(self.to_dict())

    def save(self, path: str | Path) -> Path:
        """Write its file, whole or not at all."""
        kind = self.of_kind
        if kind.SUFFIX != ".npz":
            return write_file(path, self.to_yaml(), kind.ERROR)
        said = self.to_dict()
        arrays = {
            f"{layer}.{name}": array
            for layer, own in said.pop("layers").items()
            for name, array in own.items()
            if array is not None
        }
        header = np.frombuffer(json.dumps(said).encode(), np.uint8)
        with replacing(path, kind.ERROR) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **{HEADER: header}, **arrays)  # pyright: ignore[reportArgumentType]
        return Path(path)


def count(layers: Any) -> int:
    """Return how many values there are in plain data: numbers and words, whatever holds them."""
    if isinstance(layers, Mapping):
        return sum(count(value) for value in layers.values())
    if isinstance(layers, list | tuple):
        return len(layers) if _is_flat(layers) else sum(count(value) for value in layers)
    return layers.size if isinstance(layers, np.ndarray) else int(layers is not None)


def digest_of(layers: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what layers say, however a file writes the numbers."""
    return hashlib.sha256(json.dumps(_told(layers), sort_keys=True).encode()).hexdigest()


def _told(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _told(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return value if _is_flat(value) else [_told(one) for one in value]
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value)
        return [list(value.shape), value.dtype.str, hashlib.sha256(content.data).hexdigest()]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, core.Spec):
        return _plain(value.to_dict())
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return list(value) if _is_flat(value) else [_plain(one) for one in value]
    return value


def _is_flat(values: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds numbers alone, thousands of them often: it is then taken as a whole."""
    return set(map(type, values)) <= {int, float}
