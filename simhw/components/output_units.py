"""What stands between the array's sums and DRAM: activation, and run-length compression."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Packs zeros away: 64-bit words of three pairs, each a run of 0 to 31 zeros and the level after it.

    A longer run is cut into pairs (31, 0), which stand for 32 zeros; what is left of zeros at the end
    of a stream is a pair whose level is zero. One bit of a word marks the stream's end (JSSC 2017).
    """

    ACTIONS = ("encode", "decode")
    PAIRS_PER_WORD = 3
    LONGEST_RUN = 31

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    def encode(self, values: Sequence[int]) -> list[int]:
        """Return, for every value of a stream, the 64-bit word that holds it."""
        self.count("encode", len(values))
        return self.words_of(values)

    def decode(self, n: int) -> None:
        """Charge for `n` values on their way in."""
        self.count("decode", n)

    @classmethod
    def words_of(cls, values: Sequence[int]) -> list[int]:
        """Return the index of the word that holds each value: pairs are packed in order."""
        words: list[int] = []
        pair = run = 0
        for at, value in enumerate(values):
            words.append(pair // cls.PAIRS_PER_WORD)
            run += 1
            if value != 0 or run > cls.LONGEST_RUN or at == len(values) - 1:
                pair, run = pair + 1, 0
        return words
