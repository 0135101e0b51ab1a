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
from simhw.core.schedule import LONGEST, Played, Schedule
from simhw.core.schedule_faults import links_of, refuse, too_long, why_not

Steps = Generator[Event, Any, Any]
Asked = tuple[int, int, int, Event]  # unit, task, words, and the event of their being there
Wait = tuple[Any, dict[int, int], dict[int, int], int]  # whose events, which by task, lanes by task, cause


def play(table: Schedule, links: Mapping[str, Link]) -> Played:
    """Play a schedule over links by name."""
    refuse(table)
    return Player(table, links).play()


class Player:
    """One process for each lane and each mover, and an arbiter that serves at the end of a cycle."""

    def __init__(self, table: Schedule, links: Mapping[str, Link]) -> None:
        self.table, self.packed, self.sim = table, table.packed(), Simulation()
        self.links: Any = links_of(table, links)
        self.busy = [0] * len(self.links)
        self.events: Any = [[Event(self.sim) for _ in range(self.packed.tasks)] for _ in ("begun", "done")]
        self.times = np.zeros((4, self.packed.tasks), np.int64)  # begun, done, and of a transfer served, left
        self.waits = np.zeros(self.packed.charges, np.int64)
        self.asked: list[Asked] = []

    def play(self) -> Played:
        for unit, row in enumerate(self.packed.units):
            waits = [self.wait_of(wait) for wait in self.packed.waits_of(unit)]
            lengths = self.packed.lengths(unit)
            if row[column.KIND] == column.MOVES:
                self.sim.process(self.move(unit, lengths[:, 0], waits))
                continue
            widths = self.packed.widths(unit)
            left = np.array([widths, widths])  # lanes that have not begun a task, or are not done with it
            for lane in range(row[column.LANES]):
                tasks = np.flatnonzero(widths > lane)
                self.sim.process(self.work(unit, lane, tasks, lengths[:, lane], waits, left))
        self.sim.run()
        came, went = (
            np.array([sum(event.triggered for event in events[row[column.FIRST] :][: row[column.TASKS]])
                      for row in self.packed.units])
            for events in self.events
        )  # fmt: skip
        if (went < self.packed.units[:, column.TASKS]).any():
            raise why_not(self.table, came, went)
        busy = dict(zip(self.table.links, self.busy, strict=True))
        return Played(self.table, self.times, self.waits, busy)

    def work(
        self,
        unit: int,
        lane: int,
        tasks: NDArray[Any],
        lengths: NDArray[Any],
        waits: list[Wait],
        left: NDArray[Any],
    ) -> Steps:
        """Go through a lane's tasks; the last lane to begin one, or to be done with it, makes it so."""
        for task in tasks.tolist():
            yield from self.wait(unit, lane, task, waits)
            left[column.BEGUN, task] -= 1
            if not left[column.BEGUN, task]:
                self.happen(column.BEGUN, unit, task)
            yield self.sim.timeout(int(lengths[task]))
            left[column.DONE, task] -= 1
            if not left[column.DONE, task]:
                self.happen(column.DONE, unit, task)

    def move(self, unit: int, words: NDArray[Any], waits: list[Wait]) -> Steps:
        for task, n in enumerate(words.tolist()):
            yield from self.wait(unit, 0, task, waits)
            self.happen(column.BEGUN, unit, task)
            if n:
                there = Event(self.sim)
                self.asked.append((unit, task, n, there))
                self.sim.at_end_of_cycle(self.serve)
                yield there
            self.happen(column.DONE, unit, task)

    def wait(self, unit: int, lane: int, task: int, waits: list[Wait]) -> Steps:
        """Wait for all that a task waits for, one after another, and charge each what it takes."""
        row = self.packed.units[unit]
        for events, others, lanes, cause in waits:
            if lane < lanes.get(task, 0):
                since = self.sim.cycle
                yield events[others[task]]
                self.waits[row[column.CHARGES] + cause * row[column.LANES] + lane] += self.sim.cycle - since

    def wait_of(self, wait: NDArray[np.int64]) -> Wait:
        events, first = self.events[wait[column.EVENT]], self.packed.units[wait[column.OF], column.FIRST]
        tasks, others = (places.tolist() for places in self.packed.places(wait))
        lanes = dict(zip(tasks, self.packed.up_to(wait).tolist(), strict=True))
        others = dict(zip(tasks, others, strict=True))
        return events[first:], others, lanes, int(wait[column.CAUSE])

    def serve(self) -> None:
        """Serve one of the transfers that were asked for in this cycle, of the mover declared first."""
        turn = min(self.asked, key=lambda asked: asked[0])
        self.asked.remove(turn)
        unit, task, words, there = turn
        row = self.packed.units[unit]
        start, free, at = self.links[row[column.LINK]].serve(self.sim.cycle, words)
        if max(free, at) > LONGEST:
            raise too_long()
        self.times[2:, row[column.FIRST] + task] = start, free
        self.busy[row[column.LINK]] += free - start
        self.sim.fire(there, at - self.sim.cycle)

    def happen(self, which: int, unit: int, task: int) -> None:
        if self.sim.cycle > LONGEST:
            raise too_long()
        at = self.packed.units[unit, column.FIRST] + task
        self.times[which, at] = self.sim.cycle
        self.events[which][at].succeed()
