"""Rounds of an array whose columns are fed by one link: when they happen, and where the cycles went."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
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

# requesters of the link; columns follow FILTERS in their order, rows that move by themselves stand before
# INPUTS with their inputs and follow OUTPUTS with what leaves
INPUTS, FILTERS, OUTPUTS = 0, 1, 10_000
STALLS = ("dram_inputs", "row_bus", "dram_outputs", "pooling")  # of the whole array, or of a row by itself
WAITS = ("stream", "dram_filters", "barrier", "no_portion", "no_filter", *STALLS)  # of single PEs


@dataclass(frozen=True, kw_only=True)
class RowMoves:
    """What moves besides weights where rows meet by themselves, each [round, row]: as in `Rounds`."""

    inputs: Counts
    carrying: Counts
    pooling: Counts
    outputs: Counts
    whole_units: int  # units of a filter that is loaded to its end, in the last round


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
    input_words: int  # of all rounds
    output_words: int
    cycles_at_most: int  # of all work, one PE after another, of carrying and of pooling
    of_rows: RowMoves | None = None  # where a row goes on to its next portion without the others


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
        of_rows = rounds.of_rows
        read, written = rounds.input_words, rounds.output_words
        if of_rows is not None:
            read, written = int(of_rows.inputs.sum()), int(of_rows.outputs.sum())
        read += int(rounds.link.sum())
        if _fits_int64(machine, rounds, read + written):
            return (yield from _by_recurrence(machine, rounds, read, written))
    return (yield from Schedule(machine, rounds).run())


def _by_recurrence(
    machine: Machine, rounds: Rounds, read: int, written: int
) -> Generator[Event, Any, Played]:
    link, moves = machine["dram"], rounds.of_rows
    clock = link.clock.cycles, link.clock.ticks
    if moves is None:
        summary, waits, _ = fast.play_columns(
            rounds.work, rounds.link, rounds.present, rounds.inputs, rounds.carrying, rounds.pooling,
            rounds.outputs, rounds.room, clock, link.spec.latency_cycles,
        )  # fmt: skip
        cycles, *stalls, busy = summary.tolist()
    else:
        cycles, busy, waits = fast.play_rows(
            rounds.work, rounds.link, rounds.present, moves.inputs, moves.carrying, moves.pooling,
            moves.outputs, moves.whole_units, rounds.room, clock, link.spec.latency_cycles,
        )  # fmt: skip
        stalls = [0] * len(STALLS)  # the whole array waits for nothing
    yield machine.sim.timeout(cycles)
    link.count("read", read)
    link.count("write", written)
    machine.sim.activity.add("dram", "busy", busy)
    return Played(cycles=cycles, stalls=dict(zip(STALLS, stalls, strict=True)), waits=waits)


def _fits_int64(machine: Machine, rounds: Rounds, words: int) -> bool:
    """Whether no number of the recurrence can overflow; the processes count without bound."""
    clock, moves = machine["dram"].clock, rounds.of_rows
    rows = 1 if moves is None else rounds.work.shape[4]
    transactions = rounds.link.size + 2 * rows * len(rounds.present)
    cycles = rounds.cycles_at_most
    if moves is not None:
        cycles += int(moves.carrying.sum()) + int(moves.pooling.sum())
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
        # where rows move by themselves: a PE is through with a round once the next unit is on its way
        self.next = [[Event(self.sim) for _ in range(len(own) + 1)] for own in self.units]
        self.asked = [[0] * len(own) for own in self.units]
        self.left = [[int(rounds.present[unit[0]]) for unit in own] for own in self.units]
        self.stalls: dict[str, int] = dict.fromkeys(STALLS, 0)
        self.waits: dict[str, Counts] = {
            cause: np.zeros((self.rows, self.columns), dtype=np.int64) for cause in WAITS
        }
        # of each column, the first unit of every round
        self.firsts = [
            np.searchsorted([unit[0] for unit in own], range(len(rounds.present) + 1)).tolist()
            for own in self.units
        ]

    def run(self) -> Generator[Event, Any, Played]:
        for column in range(self.columns):
            self.sim.process(self._load(column))
        if self.rounds.of_rows is None:
            yield from self._all_rows()
        else:
            yield from self._each_row(self.rounds.of_rows)
        return Played(cycles=self.sim.cycle, stalls=self.stalls, waits=np.array(list(self.waits.values())))

    def _all_rows(self) -> Steps:
        sim, rounds = self.sim, self.rounds
        everybody = range(self.rows)
        written: Event | None = None
        for r in range(len(rounds.present)):
            since = sim.cycle
            yield self.dram.read(INPUTS, int(rounds.inputs[r]), "inputs")
            self._stalled("dram_inputs", since, everybody)
            left = int(rounds.carrying[r]) - (sim.cycle - since)
            since = sim.cycle
            yield sim.timeout(max(left, 0))
            self._stalled("row_bus", since, everybody)
            since = sim.cycle
            if written is not None:
                yield written
            self._stalled("dram_outputs", since, everybody)
            begun = sim.cycle
            yield from self._meet(r, range(int(rounds.present[r])))
            sim.log("pes", "round", begun, sim.cycle)
            self.waits["no_portion"][rounds.present[r] :] += sim.cycle - begun
            since = sim.cycle
            yield sim.timeout(int(rounds.pooling[r]))
            self._stalled("pooling", since, everybody)
            written = self.dram.write(OUTPUTS, int(rounds.outputs[r]), "outputs")
        since = sim.cycle
        if written is not None:
            yield written
        self._stalled("dram_outputs", since, everybody)

    def _each_row(self, moves: RowMoves) -> Steps:
        """Rows go on by themselves; one that is done, or has no portion in a round, is without one."""
        sim = self.sim
        running = [sim.process(self._row(p, moves)) for p in range(self.rows)]
        ended: Any = yield sim.all_of(running)
        for p, row in enumerate(running):
            self.waits["no_portion"][p] += sim.cycle - ended[row]

    def _row(self, p: int, moves: RowMoves) -> Generator[Event, Any, int]:
        sim = self.sim
        written: Event | None = None
        for r in np.flatnonzero(self.rounds.present > p).tolist():
            since = sim.cycle
            yield self.dram.read(p - self.rows, int(moves.inputs[r, p]), "inputs")
            self._stalled("dram_inputs", since, [p])
            left = int(moves.carrying[r, p]) - (sim.cycle - since)
            since = sim.cycle
            yield sim.timeout(max(left, 0))
            self._stalled("row_bus", since, [p])
            since = sim.cycle
            if written is not None:
                yield written
            self._stalled("dram_outputs", since, [p])
            yield from self._meet(r, [p])
            since = sim.cycle
            yield sim.timeout(int(moves.pooling[r, p]))
            self._stalled("pooling", since, [p])
            written = self.dram.write(OUTPUTS + p, int(moves.outputs[r, p]), "outputs")
        since = sim.cycle
        if written is not None:
            yield written
        self._stalled("dram_outputs", since, [p])
        return sim.cycle

    def _meet(self, r: int, rows: Iterable[int]) -> Steps:
        """Let the PEs of some rows work through a round; it ends with the last of them."""
        sim, begun = self.sim, self.sim.cycle
        running = {
            (p, c): sim.process(self._work(p, c, self.firsts[c][r], self.firsts[c][r + 1]))
            for p in rows
            for c in range(self.columns)
            if self.firsts[c][r + 1] > self.firsts[c][r]
        }
        ended: Any = yield sim.all_of(running.values())
        for p in rows:
            for c in range(self.columns):
                if (p, c) in running:
                    self.waits["barrier"][p, c] += sim.cycle - ended[running[p, c]]
                else:
                    self.waits["no_filter"][p, c] += sim.cycle - begun

    def _stalled(self, cause: str, since: int, rows: Sequence[int]) -> None:
        """Book a wait of all PEs of some rows; those of the whole array are its stalls."""
        passed = self.sim.cycle - since
        self.waits[cause][list(rows)] += passed
        if self.rounds.of_rows is None:
            self.stalls[cause] += passed
        unit = "pes" if self.rounds.of_rows is None else f"pes[{rows[0]},*]"
        self.sim.log(unit, cause, since, self.sim.cycle)

    def _load(self, column: int) -> Steps:
        """Bring a column's units, as far ahead as there is room."""
        for k, (r, step, unit) in enumerate(self.units[column]):
            if k >= self.rounds.room:
                yield self.freed[column][k - self.rounds.room]
            self.asked[column][k] = self.sim.cycle
            self.next[column][k].succeed()
            yield self.dram.read(FILTERS + column, int(self.rounds.link[r, step, column, unit]), "filters")
            self.ready[column][k].succeed()
        moves, units = self.rounds.of_rows, self.units[column]
        if moves is not None and len(units) >= self.rounds.room and units[-1][2] + 1 < moves.whole_units:
            yield self.freed[column][len(units) - self.rounds.room]  # whether any window goes on
        self.next[column][-1].succeed()

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
        since = sim.cycle
        if self.rounds.of_rows is not None:
            yield self.next[column][last]
        return since
