"""The wires of the reuse array: coefficients and inputs in, shared sums to the PEs, partial sums up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simhw import core
from simhw.components.multicast_noc import Bus, LocalLinks, OwnWires


class ReuseNoc(core.Component, kind="reuse_noc"):
    """A bus that brings coefficients to PEs, one that brings inputs to reuse blocks, and one for sums.

    `sums` takes up to `sum_words_per_cycle` sums from the buffer to the heads of columns, and as many back.
    `shared` are the wires from each reuse block to the PEs that use its sums, `links` those from each PE's
    sum to the one above.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        coefficient_words_per_cycle: core.Count = 16
        input_words_per_cycle: core.Count = 32
        sum_words_per_cycle: core.Count = 24  # each way
        word_bits: core.Count = 16

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner = self.parts(spec)
        self.coefficients = Bus(sim, f"{name}.coefficients", inner["coefficients"][1])  # type: ignore[arg-type]
        self.inputs = Bus(sim, f"{name}.inputs", inner["inputs"][1])  # type: ignore[arg-type]
        self.shared = OwnWires(sim, f"{name}.shared", inner["shared"][1])  # type: ignore[arg-type]
        self.sums = Bus(sim, f"{name}.sums", inner["sums"][1])  # type: ignore[arg-type]
        self.links = LocalLinks(sim, f"{name}.links", inner["links"][1])  # type: ignore[arg-type]

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        def bus(words: int) -> tuple[type[core.Component], core.Spec]:
            return Bus, Bus.Spec(words_per_cycle=words, word_bits=spec.word_bits)

        return {
            "coefficients": bus(spec.coefficient_words_per_cycle),
            "inputs": bus(spec.input_words_per_cycle),
            "sums": bus(spec.sum_words_per_cycle),
            "shared": (OwnWires, OwnWires.Spec(word_bits=spec.word_bits)),
            "links": (LocalLinks, LocalLinks.Spec(word_bits=spec.word_bits)),
        }
