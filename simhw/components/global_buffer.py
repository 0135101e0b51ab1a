"""The on-chip memory between DRAM and the array, in regions with a size each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from simhw import core
from simhw.errors import DescriptionError


class BufferRegion(core.Component, kind="buffer_region"):
    """Part of an SRAM that holds one sort of data; refuses more words than it has room for.

    A `fill` writes a zero that nobody sent: padding, and what lies beyond the edge of a layer.
    """

    ACTIONS = ("read", "write", "fill")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        size_kib: core.Size
        word_bits: core.Count = 16

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.words:
                raise DescriptionError(
                    f"size_kib: wants room for a word of {self.word_bits} bits, got {self.size_kib}"
                )

        @property
        def words(self) -> int:
            return int(self.size_kib * 1024 * 8) // self.word_bits

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        self.held: dict[Hashable, Any] = {}

    def write(self, key: Hashable, value: Any) -> None:
        self.count("write")
        self._hold(key, value)

    def fill(self, key: Hashable) -> None:
        self.count("fill")
        self._hold(key, 0)

    def _hold(self, key: Hashable, value: Any) -> None:
        self.held[key] = value
        if len(self.held) > self.spec.words:
            raise OverflowError(f"{self.name}: holds {len(self.held)} words, has room for {self.spec.words}")

    def read(self, key: Hashable) -> Any:
        self.count("read")
        return self.held[key]

    def drop(self, key: Hashable) -> Any:
        """Free a word's room and return what it held."""
        return self.held.pop(key)

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"sram_bits": spec.words * spec.word_bits}


class GlobalBuffer(core.Component, kind="global_buffer"):
    """One SRAM: a region for filters on their way, and a rest that inputs and partial sums share.

    Inputs and sums are booked apart (`ifmap`, `psum`) because publications count them apart;
    they share `size_kib - filter_kib` as each layer needs.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        size_kib: core.Size
        filter_kib: core.Size
        word_bits: core.Count = 16

        def __post_init__(self) -> None:
            super().__post_init__()
            faults: list[str] = []
            if not self.filter_region_words:
                faults.append(
                    f"filter_kib: wants room for a word of {self.word_bits} bits, got {self.filter_kib}"
                )
            if self.shared_words < 1:
                faults.append(
                    f"filter_kib: wants less than size_kib, {self.size_kib}, so that inputs and sums have "
                    f"room; got {self.filter_kib}"
                )
            if faults:
                raise DescriptionError(faults)

        @property
        def shared_words(self) -> int:
            """Words that inputs and sums share."""
            return int((self.size_kib - self.filter_kib) * 1024 * 8) // self.word_bits

        @property
        def filter_region_words(self) -> int:
            return int(self.filter_kib * 1024 * 8) // self.word_bits

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner = self.parts(spec)
        self.ifmap = BufferRegion(sim, f"{name}.ifmap", inner["ifmap"][1])  # type: ignore[arg-type]
        self.psum = BufferRegion(sim, f"{name}.psum", inner["psum"][1])  # type: ignore[arg-type]
        self.filter = BufferRegion(sim, f"{name}.filter", inner["filter"][1])  # type: ignore[arg-type]

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        shared = BufferRegion.Spec(size_kib=spec.size_kib - spec.filter_kib, word_bits=spec.word_bits)
        return {
            "ifmap": (BufferRegion, shared),
            "psum": (BufferRegion, shared),
            "filter": (BufferRegion, BufferRegion.Spec(size_kib=spec.filter_kib, word_bits=spec.word_bits)),
        }

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"sram_bits": int(spec.size_kib * 1024 * 8)}
