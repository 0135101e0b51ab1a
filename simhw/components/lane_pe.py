"""A processing element of SnaPEA: lanes that share a stream of weights, each with a unit that may stop it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simhw import core
from simhw.components.register_file import RegisterFile
from simhw.errors import DescriptionError


class MacLane(core.Component, kind="mac_lane"):
    """One multiplier, one adder and the register of one convolution window."""

    ACTIONS = ("mul", "add")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16
        sum_bits: core.Count = 48

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        self.sum: int = 0

    def multiply_accumulate(self, weight: int, value: int) -> None:
        self.count("mul")
        self.count("add")
        self.sum += weight * value

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"adders": 1, "multipliers": 1, "register_bits": spec.sum_bits}


class PredictiveActivationUnit(core.Component, kind="pau"):
    """Says when a window needs no more products (Akhlaghi et al., SnaPEA, ISCA 2018, figure 7).

    `predict` holds the sum against the filter's threshold, once, after the weights that speculate;
    `check` looks at its sign, after each product with one of the last, negative weights.
    """

    ACTIONS = ("check", "predict")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        sum_bits: core.Count = 48

    def check(self, total: int, inclusive: bool) -> bool:
        self.count("check")
        return total <= 0 if inclusive else total < 0

    def predict(self, total: int, threshold: int, inclusive: bool) -> bool:
        self.count("predict")
        return total <= threshold if inclusive else total < threshold


class IoMemory(core.Component, kind="io_memory"):
    """The small SRAM of a PE that holds inputs in one half and outputs in the other; they change roles."""

    ACTIONS = ("read", "write")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        size_kib: core.Size
        word_bits: core.Count = 16

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"sram_bits": int(spec.size_kib * 1024 * 8)}


class IndexBuffer(RegisterFile, kind="index_buffer"):
    """Where in its window the input of each weight lies."""


class PoolingUnit(core.Component, kind="pooling_unit"):
    """Takes the outputs of a PE, one after another, and hands on what is left of each pooled window."""

    ACTIONS = ("take",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16
        words_per_cycle: core.Count = 1


class LanePE(core.Component, kind="lane_pe"):
    """Every cycle one weight goes to all lanes, and its index fetches one input for each.

    A lane works on one window; once its PAU has stopped it, it is gated until the last lane is done.
    The input/output memory is in two halves that change roles from layer to layer.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        lanes: core.Count = 4
        weight_words: core.Count = 256
        io_kib: core.Size = 20.0
        word_bits: core.Count = 16
        sum_bits: core.Count = 48
        pool_words: core.Count = 1  # outputs that the pooling unit takes in a cycle

        def __post_init__(self) -> None:
            super().__post_init__()
            faults: list[str] = []
            if self.half_words < 1:
                faults.append(f"io_kib: wants room for a word in each half, got {self.io_kib}")
            if self.sum_bits < self.word_bits:
                faults.append(f"sum_bits: wants at least word_bits, {self.word_bits}; got {self.sum_bits}")
            if faults:
                raise DescriptionError(faults)

        @property
        def parked_words(self) -> int:
            """Words of the input/output memory that a sum takes, and cycles to move it there or back."""
            return -(-self.sum_bits // self.word_bits)

        @functools.cached_property
        def half_words(self) -> int:
            """Words of one half of the input/output memory."""
            return int(self.io_kib * 1024 * 8 / 2) // self.word_bits

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner: Any = self.parts(spec)
        self.weights = RegisterFile(sim, f"{name}.weights", inner["weights"][1])
        self.indexes = IndexBuffer(sim, f"{name}.indexes", inner["indexes"][1])
        self.io = IoMemory(sim, f"{name}.io", inner["io"][1])
        self.pool = PoolingUnit(sim, f"{name}.pool", inner["pool"][1])
        self.lanes = [MacLane(sim, f"{name}.lane{k}", inner[f"lane{k}"][1]) for k in range(spec.lanes)]
        self.paus = [
            PredictiveActivationUnit(sim, f"{name}.pau{k}", inner[f"pau{k}"][1]) for k in range(spec.lanes)
        ]

        for k in range(spec.lanes):  # under their own names, too
            setattr(self, f"lane{k}", self.lanes[k])
            setattr(self, f"pau{k}", self.paus[k])

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        words = RegisterFile.Spec(words=spec.weight_words, word_bits=spec.word_bits, built_from="sram")
        found: dict[str, tuple[type[core.Component], core.Spec]] = {
            "weights": (RegisterFile, words),
            "indexes": (IndexBuffer, words),
            "io": (IoMemory, IoMemory.Spec(size_kib=spec.io_kib, word_bits=spec.word_bits)),
            "pool": (
                PoolingUnit,
                PoolingUnit.Spec(word_bits=spec.word_bits, words_per_cycle=spec.pool_words),
            ),
        }
        for k in range(spec.lanes):
            found[f"lane{k}"] = (MacLane, MacLane.Spec(word_bits=spec.word_bits, sum_bits=spec.sum_bits))
            found[f"pau{k}"] = (
                PredictiveActivationUnit,
                PredictiveActivationUnit.Spec(sum_bits=spec.sum_bits),
            )
        return found
