"""Off-chip memory seen through the link that limits it."""

from __future__ import annotations

from dataclasses import dataclass

import simpy

from simhw import core


class DramLink(core.Component, kind="dram_link"):
    """A memory that is never slower than its link: words move one per edge of the link's clock.

    One transaction has the link at a time, whole. Waiting ones are served by the cycle in which
    they asked, then by requester; never by the order of calls within a cycle. Banks, rows and
    refresh are not modelled: behind 64 bits at 60 MHz they do not show.
    """

    ACTIONS = ("read", "write")
    IS_LINK = True

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 64
        clock_mhz: core.Megahertz
        latency_cycles: core.Cycles = 0

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        self.clock = core.ClockDomain(spec.clock_mhz, sim.clock_mhz)
        self.link = core.SteadyLink(self.clock, spec.latency_cycles)
        self._waiting: list[tuple[int, int, int, str, simpy.Event]] = []
        self._busy = False
        self._deciding = False

    def read(self, requester: int, words: int, what: str = "read") -> simpy.Event:
        """Ask for words of the link's width; the event happens when the last has arrived."""
        return self._transfer("read", requester, words, what)

    def write(self, requester: int, words: int, what: str = "write") -> simpy.Event:
        """Send words of the link's width; the event happens when the last has left."""
        return self._transfer("write", requester, words, what)

    def _transfer(self, action: str, requester: int, words: int, what: str) -> simpy.Event:
        done = simpy.Event(self.sim)
        if words == 0:
            return done.succeed()
        self.count(action, words)
        self._waiting.append((self.sim.cycle, requester, words, what, done))
        if not self._busy and not self._deciding:
            self._deciding = True
            self.sim.at_end_of_cycle(self._grant)
        return done

    def _grant(self) -> None:
        self._deciding = False
        if self._busy or not self._waiting:
            return
        turn = min(self._waiting, key=lambda asked: asked[:2])
        self._waiting.remove(turn)
        asked, _, words, what, done = turn
        start, end, there = self.link.serve(asked, words)
        self.sim.activity.add(self.name, "busy", end - start)
        self.sim.log(self.name, what, start, end)
        self._busy = True
        released = end - self.sim.cycle
        if self.spec.latency_cycles:
            freed = simpy.Event(self.sim)
            freed.callbacks.append(self._release)  # pyright: ignore - untyped in SimPy
            self.sim.fire(freed, released)
        else:
            done.callbacks.insert(0, self._release)  # pyright: ignore - untyped in SimPy
        self.sim.fire(done, there - self.sim.cycle)

    def _release(self, _: simpy.Event) -> None:
        self._busy = False
        if self._waiting and not self._deciding:
            self._deciding = True
            self.sim.at_end_of_cycle(self._grant)
