"""A scratchpad made of registers or a small SRAM, next to the arithmetic that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from simhw import core


class RegisterFile(core.Component, kind="register_file"):
    """Words at fixed addresses. Unwritten words read as zero; ports are not modelled."""

    ACTIONS = ("read", "write")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        words: core.Count
        word_bits: core.Count = 16
        built_from: Literal["registers", "sram"] = "registers"

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        self.words: list[Any] = [0] * spec.words

    def read(self, address: int) -> Any:
        self._check(address)
        self.count("read")
        return self.words[address]

    def write(self, address: int, value: Any) -> None:
        self._check(address)
        self.count("write")
        self.words[address] = value

    def _check(self, address: int) -> None:
        if not 0 <= address < self.spec.words:
            raise IndexError(f"{self.name}: has addresses 0 to {self.spec.words - 1}, not {address}")

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        built = "sram_bits" if spec.built_from == "sram" else "register_bits"
        return {built: spec.words * spec.word_bits}
