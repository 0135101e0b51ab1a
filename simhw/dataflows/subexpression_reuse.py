"""The reuse array of Tolba et al., compiled: sums of inputs made once and multiplied by many PEs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from simhw import core
from simhw.core.dataflow import Array, Layer, Role
from simhw.dataflows.diagonal_array import DiagonalArray
from simhw.mapping.reuse_array import Grouping, grouping_of
from simhw.shapes import LayerShape


class SubexpressionReuse(DiagonalArray, kind="subexpression_reuse"):
    """Sums that many weights share (Tolba et al., arXiv 2105.02954, section V).

    A reuse block for each row of the input makes d0 = sum of y and d1 = sum of x y of a window; the PEs
    of its diagonal multiply them by the coefficients of their filter row, and sums climb the columns, one
    for each output row. The window moves on by a column every cycle. In linear layers a block has N_w
    inputs, its sums go along a row of PEs, and a column is a neuron. Channels, filters and what does not
    fit the array take turns.
    """

    ROLES: ClassVar[Mapping[str, Role]] = {
        "reuse": Role(
            fields=("inputs", "terms", "adders", "latency_cycles"), grid=True, about="the reuse blocks"
        ),
        **DiagonalArray.ROLES,
    }

    @dataclass(frozen=True, kw_only=True)
    class Options(core.Spec):
        unfitted: Literal["refuse", "exact"] = "refuse"
        filters_at_once: core.Count = 1  # that take turns at a PE while it holds a window's sums

    def layer_faults(self, layer: Layer) -> Iterable[str]:
        name, bits = layer.name, self.pes.word_bits
        if layer.formats["expected"].is_float:
            yield (
                f"{name}: {self.KIND} wants integers, the trace holds float32; make it with --format fixed16"
            )
            return
        if layer.fit is None and self.options.unfitted == "refuse":
            yield (
                f"{name}: its weights come from no coefficients; wants a trace of fitted weights, or "
                "--set options.unfitted=exact to run them as they are"
            )
            return
        stored = {part: layer.formats[part].bits for part in ("inputs", "expected")}
        stored["weights" if layer.fit is None else "coefficients"] = self.coefficient_bits(layer)
        for part, wide in stored.items():
            if wide > bits:
                yield f"{name}: {part} of {wide} bits; wants components of word_bits {wide}, got {bits}"
        if layer.fit is None or int(layer.fit[0]) == 0:
            return
        group, terms = int(layer.fit[0]), len(layer.fit) - 2
        if group > self.reuse.inputs:
            yield (
                f"{name}: N_w: is {group}, a reuse block has {self.reuse.inputs} inputs; wants "
                f"--set components.reuse.inputs={group}"
            )
        wants = {
            "reuse": f"--set components.reuse.terms={terms}",
            "pes": f"--set components.pes.terms={terms} --set components.pes.coefficient_words={2 * terms}",
        }
        for role, has in (("reuse", self.reuse.terms), ("pes", self.pes.terms)):
            if terms > has:
                yield (
                    f"{name}: its fit has {terms} coefficients a group, components.{role}.terms is {has}; "
                    f"wants {wants[role]}"
                )

    def coefficient_bits(self, layer: Layer) -> int:
        return layer.formats["weights"].bits if layer.fit is None else int(layer.fit[1])

    def grouping(self, shape: LayerShape, fit: Array | None) -> Grouping:
        group, terms = (0, 1) if fit is None else (int(fit[0]), len(fit) - 2)
        return grouping_of(shape, group, terms, self.pes.terms)

    def working_adders(self, layer: Layer) -> Mapping[int, int]:
        if self.reuse is None or layer.fit is None or int(layer.fit[0]) == 0:
            return {}
        return {n: self.reuse.adders.working(n) for n in range(1, int(layer.fit[0]) + 1)}
