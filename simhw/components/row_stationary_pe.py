"""A processing element of Eyeriss: three scratchpads around one multiply-accumulate unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simhw import core
from simhw.components.mac_unit import MacUnit
from simhw.components.register_file import RegisterFile


class RowStationaryPE(core.Component, kind="row_stationary_pe"):
    """Slides rows of filters over rows of input (Chen, Krishna, Emer, Sze, JSSC 2017).

    A product whose input is zero is gated: it takes its cycle, and neither the filter scratchpad
    nor the multiplier nor the sum's scratchpad is touched.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        ifmap_words: core.Count = 12
        filter_words: core.Count = 224
        psum_words: core.Count = 24
        word_bits: core.Count = 16
        zero_gating: core.Flag = True
        climb_adder: core.Flag = True  # an adder of its own for sums on their way up

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner = self.parts(spec)
        self.ifmap_spad = RegisterFile(sim, f"{name}.ifmap_spad", inner["ifmap_spad"][1])  # type: ignore[arg-type]
        self.filter_spad = RegisterFile(sim, f"{name}.filter_spad", inner["filter_spad"][1])  # type: ignore[arg-type]
        self.psum_spad = RegisterFile(sim, f"{name}.psum_spad", inner["psum_spad"][1])  # type: ignore[arg-type]
        self.mac = MacUnit(sim, f"{name}.mac", inner["mac"][1])  # type: ignore[arg-type]

    def multiply_accumulate(self, ifmap: int, filter: int, psum: int) -> bool:
        """Add one product to a sum, all three named by address; return False if it was gated."""
        value = self.ifmap_spad.read(ifmap)
        if value == 0 and self.spec.zero_gating:
            return False
        product = self.mac.multiply(self.filter_spad.read(filter), value)
        self.psum_spad.write(psum, self.mac.add(self.psum_spad.read(psum), product))
        return True

    def clear(self, psum: int) -> None:
        """Begin a new sum."""
        self.psum_spad.write(psum, 0)

    def pass_on(self, psum: int, incoming: Any) -> Any:
        """Add this PE's sum to the one that comes from below."""
        return self.mac.add(self.psum_spad.read(psum), incoming)

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        def pad(words: int) -> tuple[type[core.Component], core.Spec]:
            return RegisterFile, RegisterFile.Spec(words=words, word_bits=spec.word_bits)

        return {
            "ifmap_spad": pad(spec.ifmap_words),
            "filter_spad": (
                RegisterFile,
                RegisterFile.Spec(words=spec.filter_words, word_bits=spec.word_bits, built_from="sram"),
            ),
            "psum_spad": pad(spec.psum_words),
            "mac": (MacUnit, MacUnit.Spec(word_bits=spec.word_bits)),
        }

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        inside = super().structure(spec)
        return inside | {"adders": inside["adders"] + spec.climb_adder}
