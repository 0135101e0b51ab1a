"""What stands between the array's sums and DRAM: activation, and run-length compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simhw import core


class Relu(core.Component, kind="relu"):
    """Sets negative values to zero, one value at a time."""

    ACTIONS = ("apply",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    def apply(self, value: Any, cap: Any = None) -> Any:
        """Return max(value, 0), and no more than `cap` if there is one (ReLU6)."""
        self.count("apply")
        value = max(value, 0)
        return value if cap is None else min(value, cap)


class RunLengthCodec(core.Component, kind="run_length_codec"):
    """Packs (run of zeros, level) pairs into words: three pairs to 64 bits in Eyeriss."""

    ACTIONS = ("encode", "decode")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        run_bits: core.Count = 5
        level_bits: core.Count = 16
        word_bits: core.Count = 64

        @property
        def pairs_per_word(self) -> int:
            return (self.word_bits - 1) // (self.run_bits + self.level_bits)

        @property
        def longest_run(self) -> int:
            return (1 << self.run_bits) - 1
