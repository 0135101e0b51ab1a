"""The reuse array of Tolba et al., compiled: sums of inputs made once and multiplied by many PEs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from simhw import core
from simhw.core.dataflow import Array, Layer, Role
from simhw.dataflows.diagonal_array import DiagonalArray
from simhw.mapping.reuse_array import Grouping, grouping_of
from simhw.shapes import LayerShape

BLOCK = ("inputs", "terms", "adders", "latency_cycles")


class SubexpressionReuse(DiagonalArray, kind="subexpression_reuse"):
    """Sums that many weights share (Tolba et al., arXiv 2105.02954, section V).

    A reuse block for each row of the input makes d0 = sum of y and d1 = sum of x y of a window; the PEs
    of its diagonal multiply them by the coefficients of their filter row, and sums climb the columns, one
    for each output row. The window moves on by a column every cycle. In linear layers other blocks, of N_w
    inputs, serve a row of PEs each, and a column is a neuron. Channels, filters and what does not
    fit the array take turns.
    """

    ROLES: ClassVar[Mapping[str, Role]] = {
        "row_reuse": Role(fields=BLOCK, grid=True, about="reuse blocks of input rows, for rows of kernels"),
        "run_reuse": Role(fields=BLOCK, grid=True, about="reuse blocks of PE rows, for linear layers"),
        **DiagonalArray.ROLES,
    }

    WINDOWS = ("row_reuse", "window"), ("run_reuse", "window")

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
        role = self.reuse_role(self.grouping(layer.shape, layer.fit))
        blocks: Any = self.parts[role].spec
        if group > blocks.inputs:
            yield (
                f"{name}: N_w: is {group}, a block of {role} has {blocks.inputs} inputs; wants "
                f"--set components.{role}.inputs={group}"
            )
        wants = {
            role: f"--set components.{role}.terms={terms}",
            "pes": f"--set components.pes.terms={terms} --set components.pes.coefficient_words={2 * terms}",
        }
        for part, has in ((role, blocks.terms), ("pes", self.pes.terms)):
            if terms > has:
                yield (
                    f"{name}: its fit has {terms} coefficients a group, components.{part}.terms is {has}; "
                    f"wants {wants[part]}"
                )

    def coefficient_bits(self, layer: Layer) -> int:
        return layer.formats["weights"].bits if layer.fit is None else int(layer.fit[1])

    def grouping(self, shape: LayerShape, fit: Array | None) -> Grouping:
        group, terms = (0, 1) if fit is None else (int(fit[0]), len(fit) - 2)
        return grouping_of(shape, group, terms, self.pes.terms)

    def reuse_role(self, grouping: Grouping) -> str:
        return "row_reuse" if grouping.by_rows else "run_reuse"

    def reuse_block(self, grouping: Grouping) -> Any:
        return self.parts[self.reuse_role(grouping)].spec
