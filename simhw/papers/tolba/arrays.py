"""The arrays of Tolba et al., built in full and counted: figure 9 and Table V.

Nothing here is a formula: a described machine is given the size that the paper gives it, and its adders and
multipliers are counted from its parts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simhw.core.machine import Part, structure_of
from simhw.description import load_accelerator

FILTERS = (3, 5)
IFMAPS = tuple(range(6, 33, 2))  # the copy at hand does not show which sizes figure 9 has


@dataclass(frozen=True, kw_only=True)
class Built:
    """Adders and multipliers of one array.

    `climbing` adders take sums up a column; in each column one more, `joining`, adds what the buffer
    holds. Equation 2 counts neither; Table V counts those that climb.
    """

    reuse_adders: int = 0
    pe_adders: int = 0
    pe_multipliers: int = 0
    climbing: int = 0
    joining: int = 0

    def __add__(self, other: Built) -> Built:
        mine, theirs = vars(self), vars(other)
        return Built(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def equation_2(self) -> int:
        """Reuse blocks and what is inside PEs."""
        return self.reuse_adders + self.pe_adders + self.pe_multipliers

    @property
    def table_5(self) -> int:
        """That, and the adders that accumulate PEs' sums to a neuron's."""
        return self.equation_2 + self.climbing


def convolution(filter: int, ifmap: int, network: str = "merged") -> Built:
    """Return the reuse array for a filter and an input, both square: a PE per filter row and output row."""
    block = {"rows": 1, "columns": ifmap, "inputs": filter, "network": network}
    return _counted("tolba", pes={"rows": filter, "columns": ifmap - filter + 1}, row_reuse=block)


def unrolled(filter: int, ifmap: int) -> Built:
    """Return the row-stationary array that the paper compares to."""
    out = ifmap - filter + 1
    size = {"terms": filter, "coefficient_words": 2 * filter}
    return _counted("tolba_rs", pes={"rows": filter, "columns": out, **size})


def linear(inputs: int, outputs: int, group: int, shares_a_sum: bool = False) -> Built:
    """Return the array of a linear layer: a reuse block per group of N_w inputs, a column per neuron.

    With N_w = 0 a neuron is one PE with a multiplier for each weight. The last group's block is built in
    full though it may have fewer inputs.
    """
    if not group:
        size = {"terms": inputs, "coefficient_words": 2 * inputs}
        return _counted("tolba_rs", pes={"rows": 1, "columns": outputs, **size})
    groups = -(-inputs // group)
    block = {"rows": groups, "columns": 1, "inputs": group, "shares_a_sum": shares_a_sum}
    return _counted("tolba", pes={"rows": groups, "columns": outputs}, run_reuse=block)


def linear_network(sizes: Sequence[int], groups: Sequence[int], shares_a_sum: bool = False) -> Built:
    """Return the arrays of a network of linear layers, one beside the other."""
    layers = [
        linear(n_in, n_out, group, shares_a_sum)
        for n_in, n_out, group in zip(sizes[:-1], sizes[1:], groups, strict=True)
    ]
    return sum(layers, Built())


def figure_9() -> list[dict[str, int]]:
    """Return the sweep of figure 9: for each filter and input the count of both arrays."""
    return [
        {
            "filter": filter,
            "ifmap": ifmap,
            "proposed": convolution(filter, ifmap).equation_2,
            "row_stationary": unrolled(filter, ifmap).equation_2,
        }
        for filter in FILTERS
        for ifmap in IFMAPS
    ]


@functools.cache
def _described(name: str) -> Mapping[str, Part]:
    return load_accelerator(name).parts


def _counted(name: str, **sizes: Mapping[str, Any]) -> Built:
    """Build a described machine at other sizes and count it."""
    parts = dict(_described(name))
    sizes = {**sizes, "psums": {key: sizes["pes"][key] for key in ("rows", "columns")}}
    for role, size in sizes.items():
        spec = {key: value for key, value in size.items() if key not in ("rows", "columns")}
        part = parts[role]
        parts[role] = replace(
            part, rows=size["rows"], columns=size["columns"], spec=replace(part.spec, **spec)
        )
    found = structure_of({role: parts[role] for role in sizes})
    columns = parts["psums"].columns or 1
    return Built(
        reuse_adders=sum(found[role]["adders"] for role in ("row_reuse", "run_reuse") if role in found),
        pe_adders=found["pes"].get("adders", 0),
        pe_multipliers=found["pes"]["multipliers"],
        climbing=found["psums"]["adders"] - columns,
        joining=columns,
    )
