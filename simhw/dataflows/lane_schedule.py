"""Rounds of an array whose columns are fed by one link: when they happen, and where the cycles went."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy import Event

from simhw import fast as untyped_fast
from simhw.core.dataflow import Steps
from simhw.core.machine import Machine

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]

INPUTS, FILTERS, OUTPUTS = 0, 1, 10_000  # requesters of the link; columns follow FILTERS in their order
STALLS = ("dram_inputs", "row_bus", "dram_outputs", "pooling")  # of the whole array
WAITS = ("stream", "dram_filters", "barrier", "no_portion", "no_filter")  # of single PEs


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What a layer's rounds ask of the array: `fast.play_columns` says what each number means."""

    work: Counts  # cycles [rounds, steps, columns, units, rows]
    link: Counts  # link words that bring a unit [rounds, steps, columns, units]; 0: no unit
    present: Counts  # rows of PEs that take part
    inputs: Counts  # link words
    carrying: Counts  # cycles in which buses hand on inputs
    pooling: Counts  # cycles
    outputs: Counts  # link words
    room: int  # units of weights that the buffers hold


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of them."""

    cycles: int
    stalls: dict[str, int]  # cycles in which the whole array waited, by cause
    waits: Counts  # cycles in which each PE waited [cause, row, column], causes as in WAITS


def play(machine: Machine, rounds: Rounds) -> Generator[Event, Any, Played]:
    """Play the rounds on the machine's link and clock.

    Where the link moves words at a steady rate and nobody keeps a timeline, one recurrence finds what the
    processes would meet; tests hold it to them.
    """
    if machine["dram"].KIND == "dram_link" and machine.sim.timeline is None:
        read = int(rounds.inputs.sum()) + int(rounds.link.sum())
        written = int(rounds.outputs.sum())
        if _fits_int64(machine, rounds, read + written):
            return (yield from _by_recurrence(machine, rounds, read, written))
    return (yield from Schedule(machine, rounds).run())


def _by_recurrence(
    machine: Machine, rounds: Rounds, read: int, written: int
) -> Generator[Event, Any, Played]:
    link = machine["dram"]
    summary, waits, _ = fast.play_columns(
        rounds.work, rounds.link, rounds.present, rounds.inputs, rounds.carrying, rounds.pooling,
        rounds.outputs, rounds.room, (link.clock.cycles, link.clock.ticks), link.spec.latency_cycles,
    )  # fmt: skip
    cycles, *stalls, busy = summary.tolist()
    yield machine.sim.timeout(cycles)
    link.count("read", read)
    link.count("write", written)
    machine.sim.activity.add("dram", "busy", busy)
    return Played(
        cycles=cycles,
        stalls=dict(zip(STALLS, stalls, strict=True)),
        waits=waits,
    )


def _fits_int64(machine: Machine, rounds: Rounds, words: int) -> bool:
    """Whether no number of the recurrence can overflow; the processes count without bound."""
    clock = machine["dram"].clock
    transactions = rounds.link.size + 2 * len(rounds.present)
    cycles = int(rounds.work.sum() + rounds.carrying.sum() + rounds.pooling.sum())
    cycles += (words + transactions) * -(-clock.cycles // clock.ticks)
    cycles += transactions * machine["dram"].spec.latency_cycles
    return (cycles + words) * max(clock.cycles, clock.ticks) < 1 << 62


class Schedule:
    """The rounds as processes: a loader to each column, a PE at each place, and one that moves maps."""

    def __init__(self, machine: Machine, rounds: Rounds) -> None:
        self.rounds, self.sim, self.dram = rounds, machine.sim, machine["dram"]
        self.columns, self.rows = rounds.work.shape[2], rounds.work.shape[4]
        there = rounds.link.transpose(2, 0, 1, 3).reshape(self.columns, -1) > 0
        shape = (rounds.link.shape[0], rounds.link.shape[1], rounds.link.shape[3])
        self.units = [
            list(zip(*(axis.tolist() for axis in np.unravel_index(np.flatnonzero(own), shape)), strict=True))
            for own in there
        ]
        self.ready = [[Event(self.sim) for _ in own] for own in self.units]
        self.freed = [[Event(self.sim) for _ in own] for own in self.units]
        self.asked = [[0] * len(own) for own in self.units]
        self.left = [[int(rounds.present[unit[0]]) for unit in own] for own in self.units]
        self.stalls: dict[str, int] = dict.fromkeys(STALLS, 0)
        self.waits: dict[str, Counts] = {
            cause: np.zeros((self.rows, self.columns), dtype=np.int64) for cause in WAITS
        }

    def run(self) -> Generator[Event, Any, Played]:
        sim, rounds = self.sim, self.rounds
        for column in range(self.columns):
            sim.process(self._load(column))
        first = [0] * self.columns
        written: Event | None = None
        for r in range(len(rounds.present)):
            since = sim.cycle
            yield self.dram.read(INPUTS, int(rounds.inputs[r]), "inputs")
            self._stalled("dram_inputs", since)
            left = int(rounds.carrying[r]) - (sim.cycle - since)
            since = sim.cycle
            yield sim.timeout(max(left, 0))
            self._stalled("row_bus", since)
            since = sim.cycle
            if written is not None:
                yield written
            self._stalled("dram_outputs", since)
            begun = sim.cycle
            last = [
                first[c] + sum(1 for unit in self.units[c][first[c] :] if unit[0] == r)
                for c in range(self.columns)
            ]
            running = {
                (p, c): sim.process(self._work(p, c, first[c], last[c]))
                for p in range(int(rounds.present[r]))
                for c in range(self.columns)
                if last[c] > first[c]
            }
            ended: Any = yield sim.all_of(running.values())
            sim.log("pes", "round", begun, sim.cycle)
            for p in range(self.rows):
                for c in range(self.columns):
                    if p >= rounds.present[r]:
                        self.waits["no_portion"][p, c] += sim.cycle - begun
                    elif (p, c) not in running:
                        self.waits["no_filter"][p, c] += sim.cycle - begun
                    else:
                        self.waits["barrier"][p, c] += sim.cycle - ended[running[p, c]]
            since = sim.cycle
            yield sim.timeout(int(rounds.pooling[r]))
            self._stalled("pooling", since)
            written = self.dram.write(OUTPUTS, int(rounds.outputs[r]), "outputs")
            first = last
        since = sim.cycle
        if written is not None:
            yield written
        self._stalled("dram_outputs", since)
        return Played(cycles=sim.cycle, stalls=self.stalls, waits=np.array(list(self.waits.values())))

    def _stalled(self, cause: str, since: int) -> None:
        self.stalls[cause] += self.sim.cycle - since
        self.sim.log("pes", cause, since, self.sim.cycle)

    def _load(self, column: int) -> Steps:
        """Bring a column's units, as far ahead as there is room."""
        for k, (r, step, unit) in enumerate(self.units[column]):
            if k >= self.rounds.room:
                yield self.freed[column][k - self.rounds.room]
            self.asked[column][k] = self.sim.cycle
            yield self.dram.read(FILTERS + column, int(self.rounds.link[r, step, column, unit]), "filters")
            self.ready[column][k].succeed()

    def _work(self, row: int, column: int, first: int, last: int) -> Generator[Event, Any, int]:
        """Go through the units of one round."""
        sim = self.sim
        for k in range(first, last):
            since = sim.cycle
            yield self.ready[column][k]
            held = min(max(self.asked[column][k] - since, 0), sim.cycle - since)
            self.waits["stream"][row, column] += held
            self.waits["dram_filters"][row, column] += sim.cycle - since - held
            r, step, unit = self.units[column][k]
            yield sim.timeout(int(self.rounds.work[r, step, column, unit, row]))
            self.left[column][k] -= 1
            if not self.left[column][k]:
                self.freed[column][k].succeed()
        return sim.cycle
