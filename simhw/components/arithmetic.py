"""An adder and a multiplier, each by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simhw import core


class Adder(core.Component, kind="adder"):
    """Adds two words. Sums are exact; `word_bits` is what they are charged at."""

    ACTIONS = ("add",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    def add(self, left: Any, right: Any) -> Any:
        self.count("add")
        return left + right

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"adders": 1}


class Multiplier(core.Component, kind="multiplier"):
    """Multiplies two words. Products are exact; `word_bits` is what they are charged at."""

    ACTIONS = ("mul",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    def multiply(self, left: Any, right: Any) -> Any:
        self.count("mul")
        return left * right

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"multipliers": 1}
