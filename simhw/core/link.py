"""Links between a machine and what feeds it: how long a transfer takes is the link's own business."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from simhw.core.engine import ClockDomain


class Service(NamedTuple):
    """When a link begins with a transfer, is free again, and when the words are there, in cycles."""

    start: int
    free: int
    there: int


@runtime_checkable
class Link(Protocol):
    """What a schedule asks of a link. Transfers come in the order in which they are served."""

    def serve(self, asked: int, words: int) -> Service:
        """Serve a transfer of at least one word, asked for in cycle `asked`, after all those before."""
        ...


class SteadyLink:
    """A link that moves a word with each edge of its clock; `latency_cycles` more, and they are there.

    A transfer that has waited follows the one before with the very next edge, which may lie before the end
    of the cycle in which that one ended.
    """

    def __init__(self, clock: ClockDomain, latency_cycles: int) -> None:
        self.clock, self.latency_cycles = clock, latency_cycles
        self._free_tick = 0

    def serve(self, asked: int, words: int) -> Service:
        start = max(self._free_tick, self.clock.tick_from(asked))
        self._free_tick = start + words
        free = self.clock.cycle_of(self._free_tick)
        return Service(self.clock.cycle_of(start), free, free + self.latency_cycles)
