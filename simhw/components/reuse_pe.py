"""A processing element that multiplies shared sums by coefficients, and one that multiplies a whole row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simhw import core
from simhw.components.arithmetic import Adder, Multiplier
from simhw.components.register_file import RegisterFile
from simhw.errors import DescriptionError


class ReusePE(core.Component, kind="reuse_pe"):
    """c0 d0 + c1 d1 in a cycle: a multiplier for each term, and adders between them (Tolba et al., figure 7).

    A quadratic fit wants three terms. Coefficients of one layer have a fraction for each term, so that a
    product may be shifted before it is added; that is wires, set once for a layer.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        terms: core.Count = 2
        coefficient_words: core.Count = 4  # two sets: one at work, one on its way
        latency_cycles: core.Cycles = 1
        word_bits: core.Count = 16

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.coefficient_words < 2 * self.terms:
                raise DescriptionError(
                    f"coefficient_words: wants at least {2 * self.terms}, two sets of {self.terms}, "
                    f"got {self.coefficient_words}"
                )

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner: Any = self.parts(spec)
        self.coefficients = RegisterFile(sim, f"{name}.coefficients", inner["coefficients"][1])
        self.multipliers = [
            Multiplier(sim, f"{name}.multiplier{k}", inner[f"multiplier{k}"][1]) for k in range(spec.terms)
        ]
        self.adders = [Adder(sim, f"{name}.adder{k}", inner[f"adder{k}"][1]) for k in range(spec.terms - 1)]
        for part in (*self.multipliers, *self.adders):  # under their own names, too
            setattr(self, part.name.rpartition(".")[2], part)

    def multiply(self, address: int, values: Sequence[Any], shifts: Sequence[int]) -> Any:
        """Return the sum of coefficient times value, shifted; coefficients lie from `address` on.

        Values may be fewer than the terms; the multipliers that have none rest.
        """
        total: Any = 0
        for k, value in enumerate(values):
            word = self.coefficients.read(address + k)
            product = self.multipliers[k].multiply(word, value) << shifts[k]
            total = product if k == 0 else self.adders[k - 1].add(total, product)
        return total

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        words = RegisterFile.Spec(words=spec.coefficient_words, word_bits=spec.word_bits)
        found: dict[str, tuple[type[core.Component], core.Spec]] = {"coefficients": (RegisterFile, words)}
        for k in range(spec.terms):
            found[f"multiplier{k}"] = (Multiplier, Multiplier.Spec(word_bits=spec.word_bits))
        for k in range(spec.terms - 1):
            found[f"adder{k}"] = (Adder, Adder.Spec(word_bits=spec.word_bits))
        return found


class UnrolledPE(ReusePE, kind="unrolled_pe"):
    """A row of a filter in a cycle: a multiplier for each weight, and the adders that sum their products.

    The row-stationary PE to which Tolba et al. compare theirs: 2 R - 1 adders and multipliers (section V).
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(ReusePE.Spec):
        terms: core.Count = 5
        coefficient_words: core.Count = 10
