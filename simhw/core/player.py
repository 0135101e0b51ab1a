"""What a schedule means, as SimPy processes; `simhw.fast.play_schedule` finds the same, compiled."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy import Event

from simhw.core import packed as column
from simhw.core.engine import Simulation
from simhw.core.link import Link
from simhw.core.packed import Packed, spread
from simhw.core.schedule import Played, Schedule

Steps = Generator[Event, Any, Any]
Asked = tuple[int, int, int, Event]  # unit, task, words, and the event of their being there


class Player:
    """One process for each lane and each mover, and an arbiter that serves at the end of a cycle."""

    def __init__(self, table: Schedule, links: Mapping[str, Link]) -> None:
        self.table, self.packed, self.sim = table, table.packed(), Simulation()
        self.links = [links[name] for name in table.links]
        self.busy = [0] * len(self.links)
        self.begun, self.done = ([Event(self.sim) for _ in range(table.tasks)] for _ in range(2))
        self.times = np.zeros((4, table.tasks), np.int64)  # begun, done, and of a transfer served, left
        self.waits = np.zeros(table.charges, np.int64)
        self.asked: list[Asked] = []

    def play(self) -> Played:
        for unit, row in enumerate(self.packed.units):
            waits = self.waits_of(unit)
            if row[column.KIND] == column.MOVES:
                self.sim.process(self.move(unit, waits))
            else:
                left = self.widths(unit)
                entering = left.copy()
                for lane in range(row[column.LANES]):
                    self.sim.process(self.work(unit, lane, waits, entering, left))
        self.sim.run()
        self.refuse_unfinished()
        begun, done, served, left = self.times
        busy = dict(zip(self.table.links, self.busy, strict=True))
        return Played(self.table, begun, done, served, left, self.waits, busy)

    def work(
        self, unit: int, lane: int, waits: list[Any], entering: NDArray[Any], left: NDArray[Any]
    ) -> Steps:
        """Go through the tasks of a lane; the last lane to begin or end one makes its event."""
        row, sim = self.packed.units[unit], self.sim
        lengths = self.packed.lane_cycles if row[column.KIND] == column.GANGS else self.packed.cycles
        for task in np.flatnonzero(self.widths(unit) > lane).tolist():
            yield from self.wait(unit, lane, task, waits)
            entering[task] -= 1
            if not entering[task]:
                self.happen(self.begun, column.BEGUN, unit, task)
            yield sim.timeout(int(lengths[row[column.CYCLES] + task * row[column.LANES] + lane]))
            left[task] -= 1
            if not left[task]:
                self.happen(self.done, 1, unit, task)

    def move(self, unit: int, waits: list[Any]) -> Steps:
        row = self.packed.units[unit]
        for task in range(row[column.TASKS]):
            yield from self.wait(unit, 0, task, waits)
            self.happen(self.begun, column.BEGUN, unit, task)
            words = int(self.packed.words[row[column.WORDS] + task])
            if words:
                there = Event(self.sim)
                self.asked.append((unit, task, words, there))
                self.sim.at_end_of_cycle(self.serve)
                yield there
            self.happen(self.done, 1, unit, task)

    def wait(self, unit: int, lane: int, task: int, waits: list[Any]) -> Steps:
        """Wait for all that a task waits for, one after another, and charge each what it takes."""
        row = self.packed.units[unit]
        for of, tasks, cause, up_to in waits:
            if task in tasks and lane < up_to[task]:
                since = self.sim.cycle
                yield of[tasks[task]]
                self.waits[row[column.WAITS] + cause * row[column.LANES] + lane] += self.sim.cycle - since

    def serve(self) -> None:
        """Serve one of the transfers that were asked for in this cycle, of the mover declared first."""
        turn = min(self.asked, key=lambda asked: asked[0])
        self.asked.remove(turn)
        unit, task, words, there = turn
        row = self.packed.units[unit]
        start, free, at = self.links[row[column.LINK]].serve(self.sim.cycle, words)
        self.times[2:, row[column.FIRST] + task] = start, free
        self.busy[row[column.LINK]] += free - start
        self.sim.fire(there, at - self.sim.cycle)

    def happen(self, events: list[Event], which: int, unit: int, task: int) -> None:
        at = self.packed.units[unit][column.FIRST] + task
        self.times[which, at] = self.sim.cycle
        events[at].succeed()

    def waits_of(self, unit: int) -> list[Any]:
        """Return of each wait: whose events, which of them by task, the cause, and the lanes by task."""
        packed: Packed = self.packed
        found: list[Any] = []
        for wait in packed.waits[packed.first_wait[unit] : packed.first_wait[unit + 1]]:
            first, count = int(packed.units[wait[column.OF]][column.FIRST]), int(wait[column.COUNT])
            events = self.begun if wait[column.EVENT] == column.BEGUN else self.done
            tasks = spread(wait[column.AT], wait[column.AT_STEP], count, packed.lists).tolist()
            others = spread(wait[column.ON], wait[column.ON_STEP], count, packed.lists).tolist()
            listed = wait[column.UP_TO_STEP] == column.LISTED
            lanes = (
                packed.lists[wait[column.UP_TO] :][:count] if listed else np.full(count, wait[column.UP_TO])
            )
            pairs = dict(zip(tasks, others, strict=True))
            up_to = dict(zip(tasks, lanes.tolist(), strict=True))
            found.append((_From(events, first), pairs, int(wait[column.CAUSE]), up_to))
        return found

    def widths(self, unit: int) -> NDArray[np.int64]:
        """Return how many lanes take part in each task."""
        row = self.packed.units[unit]
        if row[column.WIDTHS] == column.LISTED:
            return np.full(row[column.TASKS], row[column.LANES])
        return self.packed.lists[row[column.WIDTHS] :][: row[column.TASKS]].astype(np.int64)

    def refuse_unfinished(self) -> None:
        spans = [(int(row[column.FIRST]), int(row[column.TASKS])) for row in self.packed.units]
        begun, done = (
            np.array([sum(e.triggered for e in events[first : first + n]) for first, n in spans])
            for events in (self.begun, self.done)
        )
        if (done < self.packed.units[:, column.TASKS]).any():
            raise self.table.stuck(self.packed, begun, done)


class _From:
    """A list seen from one place on."""

    def __init__(self, events: list[Event], first: int) -> None:
        self.events, self.first = events, first

    def __getitem__(self, at: int) -> Event:
        return self.events[self.first + at]


def play(table: Schedule, links: Mapping[str, Link]) -> Played:
    """Play a schedule over links by name."""
    return Player(table, links).play()
