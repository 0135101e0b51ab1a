"""SnaPEA's broadcasts: inputs along rows of PEs, weights and their indices along columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simhw import core
from simhw.components.multicast_noc import Bus


class LaneNoc(core.Component, kind="lane_noc"):
    """A bus to each row and one to each column; every word on it reaches all PEs of the row or column.

    A row's bus moves `row_words` a cycle: as many as a PE's memory gives its lanes, if they are four.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16
        row_words: core.Count = 4

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner = self.parts(spec)
        self.rows = Bus(sim, f"{name}.rows", inner["rows"][1])  # type: ignore[arg-type]
        self.columns = Bus(sim, f"{name}.columns", inner["columns"][1])  # type: ignore[arg-type]

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        return {
            "rows": (Bus, Bus.Spec(words_per_cycle=spec.row_words, word_bits=spec.word_bits)),
            "columns": (Bus, Bus.Spec(words_per_cycle=1, word_bits=spec.word_bits)),
        }
