"""The network between buffer and PEs: multicast buses for inputs and filters, local links for sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simhw import core


class Bus(core.Component, kind="bus"):
    """Moves up to `words_per_cycle` words a cycle; every word may reach any number of receivers."""

    ACTIONS = ("send", "receive")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        words_per_cycle: core.Count
        word_bits: core.Count = 16


class LocalLinks(core.Component, kind="local_links"):
    """Wires from each PE to the one above it."""

    ACTIONS = ("hop",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16


class OwnWires(core.Component, kind="own_wires"):
    """Wires of its own from each source to all that take its words: nobody waits for anybody."""

    ACTIONS = ("send", "receive")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16


class MulticastNoc(core.Component, kind="multicast_noc"):
    """Eyeriss's network: a bus each for filters, inputs, sums in and sums out, and local links.

    Row and column identifiers, set once a layer, let any set of PEs take a word in its one cycle.
    """

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        filter_words_per_cycle: core.Count
        ifmap_words_per_cycle: core.Count
        psum_in_words_per_cycle: core.Count
        psum_out_words_per_cycle: core.Count
        word_bits: core.Count = 16

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner = self.parts(spec)
        self.filter = Bus(sim, f"{name}.filter", inner["filter"][1])  # type: ignore[arg-type]
        self.ifmap = Bus(sim, f"{name}.ifmap", inner["ifmap"][1])  # type: ignore[arg-type]
        self.psum_in = Bus(sim, f"{name}.psum_in", inner["psum_in"][1])  # type: ignore[arg-type]
        self.psum_out = Bus(sim, f"{name}.psum_out", inner["psum_out"][1])  # type: ignore[arg-type]
        self.links = LocalLinks(sim, f"{name}.links", inner["links"][1])  # type: ignore[arg-type]

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        def bus(words: int) -> tuple[type[core.Component], core.Spec]:
            return Bus, Bus.Spec(words_per_cycle=words, word_bits=spec.word_bits)

        return {
            "filter": bus(spec.filter_words_per_cycle),
            "ifmap": bus(spec.ifmap_words_per_cycle),
            "psum_in": bus(spec.psum_in_words_per_cycle),
            "psum_out": bus(spec.psum_out_words_per_cycle),
            "links": (LocalLinks, LocalLinks.Spec(word_bits=spec.word_bits)),
        }
