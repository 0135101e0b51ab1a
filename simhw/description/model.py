"""What a checked description is."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhw import core
from simhw.core.machine import Part, flat_parts, structure_of
from simhw.core.parameters import kind_called


@dataclass(frozen=True, kw_only=True)
class Description:
    """An accelerator, checked: what it is, which dataflow moves it, and its parts by role.

    `technology` and `mapping` are shipped names or paths, None where there is none.
    """

    name: str
    cites: str
    clock_mhz: float
    dataflow: str
    options: core.Spec
    transforms: dict[str, core.Spec]  # options, by kind
    technology: str | None
    mapping: str | None
    parts: dict[str, Part]
    source: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data of a file that says the same, defaults written out."""
        return {
            "name": self.name,
            "cites": self.cites,
            "clock_mhz": _plain(self.clock_mhz),
            "dataflow": self.dataflow,
            "options": _plain(self.options.to_dict()),
            "transforms": {kind: _plain(options.to_dict()) for kind, options in self.transforms.items()},
            "technology": self.technology,
            "mapping": self.mapping,
            "components": {role: _plain(_line_of(part)) for role, part in self.parts.items()},
        }

    def takes(self, noun: str) -> bool:
        """Return whether one of its transforms takes parameters that messages call so: tuning."""
        taken = {core.transform_kinds()[name].PARAMETERS for name in self.transforms}
        return kind_called(noun) in taken - {None}

    @functools.cached_property
    def digest(self) -> str:
        """The sha256 of `to_dict`, folders left out: the same wherever the files lie."""
        said = self.to_dict()
        for outside in ("technology", "mapping"):
            said[outside] = Path(said[outside]).name if said[outside] else None
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def structure(self) -> dict[str, dict[str, int]]:
        """Return, per role, what all its instances together are built from."""
        return {role: dict(built) for role, built in self._structure.items()}

    def flat_parts(self) -> dict[str, dict[str, Any]]:
        """Return kind, spec and number of every block, the inner ones too, by index-free path."""
        return {path: part | {"spec": dict(part["spec"])} for path, part in self._flat_parts.items()}

    @functools.cached_property
    def _structure(self) -> dict[str, dict[str, int]]:
        return structure_of(self.parts)

    @functools.cached_property
    def _flat_parts(self) -> dict[str, dict[str, Any]]:
        return flat_parts(self.parts)


def _line_of(part: Part) -> dict[str, Any]:
    grid = {"rows": part.rows, "columns": part.columns} if part.is_grid else {}
    return {"kind": part.kind.KIND, **grid, **part.spec.to_dict()}


def _plain(value: Any) -> Any:
    """Return data that is written one way only: 200 and 200.0 are the same clock."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
