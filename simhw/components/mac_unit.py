"""One multiplier and one adder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simhw import core


class MacUnit(core.Component, kind="mac_unit"):
    """Multiplies two words and adds to a sum, one product in a cycle. Sums are exact."""

    ACTIONS = ("mul", "add")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    def multiply(self, left: Any, right: Any) -> Any:
        self.count("mul")
        return left * right

    def add(self, left: Any, right: Any) -> Any:
        self.count("add")
        return left + right

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"adders": 1, "multipliers": 1}
