"""The reuse array of Tolba et al., compiled: sums of inputs made once and multiplied by many PEs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from simhw import core
from simhw.core.dataflow import Array, Layer, Role
from simhw.dataflows.diagonal_array import DiagonalArray, fit_of
from simhw.mapping.reuse_array import Grouping, grouping_of
from simhw.shapes import LayerShape

# a description that ships with three terms: its name, and the inputs of its blocks
QUADRATIC, INPUTS = "tolba_quadratic", {"row_reuse": 5, "run_reuse": 192}
BLOCK = ("inputs", "terms", "adders", "latency_cycles")


def has_them(role: str, inputs: int, terms: int) -> str:
    """Return the end of a message where a description that ships has so many inputs and terms."""
    return f"; {QUADRATIC} has them" if inputs <= INPUTS[role] and terms <= 3 else ""


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
        fit = fit_of(layer)
        if fit is None and self.options.unfitted == "refuse":
            yield (
                f"{name}: its weights come from no coefficients; wants a trace of fitted weights, or "
                "--set options.unfitted=exact to run them as they are"
            )
            return
        stored = {part: layer.formats[part].bits for part in ("inputs", "expected")}
        stored["weights" if fit is None else "coefficients"] = self.coefficient_bits(layer)
        for part, wide in stored.items():
            if wide > bits:
                yield self.too_wide(layer, part, wide)
        grouping = self.grouping(layer.shape, fit)
        role = self.reuse_role(grouping)
        blocks: Any = self.parts[role].spec
        longest, what = grouping.size, "N_w: is"
        if not grouping.fitted:
            most = layer.shape.kernel_width if grouping.by_rows else layer.shape.window
            longest, what = min(longest, most), "weights that a PE multiplies at once: are"
        if longest > blocks.inputs:
            yield (
                f"{name}: {what} {longest}, a block of {role} has {blocks.inputs} inputs; wants "
                f"--set components.{role}.inputs={longest}{has_them(role, longest, 2)}"
            )
        if fit is None or not grouping.fitted:
            return
        terms = len(fit) - 2
        wants = {
            role: f"--set components.{role}.terms={terms}",
            "pes": f"--set components.pes.terms={terms} --set components.pes.coefficient_words={2 * terms}",
        }
        for part, has in ((role, blocks.terms), ("pes", self.pes.terms)):
            if terms > has:
                yield (
                    f"{name}: its fit has {terms} coefficients a group, components.{part}.terms is {has}; "
                    f"wants {wants[part]}{has_them(role, grouping.size, terms)}"
                )

    def coefficient_bits(self, layer: Layer) -> int:
        fit = fit_of(layer)
        return layer.formats["weights"].bits if fit is None else int(fit[1])

    def grouping(self, shape: LayerShape, fit: Array | None) -> Grouping:
        group, terms = (0, 1) if fit is None else (int(fit[0]), len(fit) - 2)
        return grouping_of(shape, group, terms, self.pes.terms)

    def mapping_note(self, layer: Layer) -> str:
        if fit_of(layer) is not None or self.options.unfitted == "exact":
            return ""
        return (
            "mapped with weights as they are, which run with --set options.unfitted=exact only; a trace of "
            "fitted weights is mapped by its groups"
        )

    def reuse_role(self, grouping: Grouping) -> str:
        return "row_reuse" if grouping.by_rows else "run_reuse"

    def reuse_block(self, grouping: Grouping) -> Any:
        return self.parts[self.reuse_role(grouping)].spec
