"""A machine: the parts of a description, by role, built when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simhw.core.component import Component
from simhw.core.engine import Simulation
from simhw.core.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Part:
    """One line of a description's components: a kind, its Spec, and how many in a grid."""

    kind: type[Component]
    spec: Spec
    rows: int | None = None
    columns: int | None = None

    @property
    def instances(self) -> int:
        return (self.rows or 1) * (self.columns or 1)

    @property
    def is_grid(self) -> bool:
        return self.rows is not None


class Grid:
    """`rows` by `columns` equal components: `pes[2,3]` is built when first asked for."""

    def __init__(self, sim: Simulation, name: str, part: Part) -> None:
        self.sim, self.name, self.part = sim, name, part
        self.rows, self.columns = part.rows or 1, part.columns or 1
        self.spec: Any = part.spec
        self._built: dict[tuple[int, int], Component] = {}

    def __getitem__(self, index: tuple[int, int]) -> Any:
        row, column = index
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise IndexError(f"{self.name}[{row},{column}]: the grid has {self.rows} x {self.columns}")
        if index not in self._built:
            name = f"{self.name}[{row},{column}]"
            self._built[index] = self.part.kind(self.sim, name, self.part.spec)
        return self._built[index]

    def __iter__(self) -> Iterator[Any]:
        for row in range(self.rows):
            for column in range(self.columns):
                yield self[row, column]


class Machine:
    """Roles and what fills them, on one simulation's time; `machine["dram"]`, `machine["pes"][0, 1]`."""

    def __init__(self, sim: Simulation, parts: Mapping[str, Part]) -> None:
        self.sim = sim
        self.parts = dict(parts)
        self._built: dict[str, Any] = {}

    def __getitem__(self, role: str) -> Any:
        if role not in self._built:
            part = self.parts[role]
            if part.is_grid:
                self._built[role] = Grid(self.sim, role, part)
            else:
                self._built[role] = part.kind(self.sim, role, part.spec)
        return self._built[role]


def structure_of(parts: Mapping[str, Part]) -> dict[str, dict[str, int]]:
    """Return, per role, what all its instances together are built from."""
    return {
        role: {what: n * part.instances for what, n in part.kind.structure(part.spec).items()}
        for role, part in parts.items()
    }


def flat_parts(parts: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
    """Return kind, spec and number of every block, the inner ones too, by index-free path."""
    found: dict[str, dict[str, Any]] = {}

    def visit(path: str, kind: type[Component], spec: Spec, instances: int) -> None:
        found[path] = {"kind": kind.KIND, "spec": spec.to_dict(), "instances": instances}
        for name, (inner, inner_spec) in kind.parts(spec).items():
            visit(f"{path}.{name}", inner, inner_spec, instances)

    for role, part in parts.items():
        visit(role, part.kind, part.spec, part.instances)
    return found
