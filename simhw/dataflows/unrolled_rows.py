"""The row-stationary array that Tolba et al. compare to, compiled: a multiplier for each weight of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from simhw import core
from simhw.core.dataflow import Array, Layer, Role
from simhw.dataflows.diagonal_array import DiagonalArray
from simhw.mapping.reuse_array import Grouping, grouping_of
from simhw.shapes import LayerShape


class UnrolledRows(DiagonalArray, kind="unrolled_rows"):
    """The row-stationary array that Tolba et al. compare to: a PE multiplies a whole row of a filter.

    Inputs go along diagonals and sums climb, as on the reuse array, but the PEs have a multiplier for
    each weight of a row and nothing is shared. Weights run as they are, fitted or not. Windows lie in
    registers of their own, for each row of the input or, in linear layers, for each row of PEs.
    """

    ROLES: ClassVar[Mapping[str, Role]] = {
        "windows": Role(fields=("words",), grid=True, about="registers of windows, one for each input row"),
        **DiagonalArray.ROLES,
    }
    WINDOWS = ("windows", ""), ("windows", "")

    @dataclass(frozen=True, kw_only=True)
    class Options(core.Spec):
        filters_at_once: core.Count = 1

    def machine_faults(self) -> Iterable[str]:
        yield from super().machine_faults()
        words: int = self.parts["windows"].spec.to_dict()["words"]
        if words < self.pes.terms:
            yield (
                f"components.windows.words: is {words}; wants at least {self.pes.terms}, one for each "
                "multiplier of a PE"
            )

    def layer_faults(self, layer: Layer) -> Iterable[str]:
        if layer.formats["expected"].is_float:
            yield (
                f"{layer.name}: {self.KIND} wants integers, the trace holds float32; make it with "
                "--format fixed16"
            )
            return
        for part in ("inputs", "expected", "weights"):
            wide = layer.formats[part].bits
            if wide > self.pes.word_bits:
                yield self.too_wide(layer, part, wide)

    def coefficient_bits(self, layer: Layer) -> int:
        return layer.formats["weights"].bits

    def grouping(self, shape: LayerShape, fit: Array | None) -> Grouping:
        return grouping_of(shape, 0, 1, self.pes.terms)
