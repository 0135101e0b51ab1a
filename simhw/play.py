"""Schedules played on a machine: by the compiled player where its links have a compiled form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simhw import fast as untyped_fast
from simhw.core.link import Link, SteadyLink
from simhw.core.machine import Machine
from simhw.core.packed import TASKS
from simhw.core.player import play as play_processes
from simhw.core.schedule import LONGEST, Played, Schedule
from simhw.core.timeline import spans
from simhw.errors import ScheduleError

fast: Any = untyped_fast  # numba's functions carry no types


def play(table: Schedule, links: Mapping[str, Link]) -> Played:
    """Play a schedule over links by name; every number of it is a whole number of 64 bits."""
    by_name = [links[name] for name in table.links if name in links]
    if len(by_name) < len(table.links):
        missing = next(name for name in table.links if name not in links)
        raise ScheduleError(f"schedule: no link {missing!r}; known: {', '.join(sorted(links)) or 'none'}")
    steady = [link for link in by_name if isinstance(link, SteadyLink)]
    clocks = max([max(link.clock.cycles, link.clock.ticks) for link in steady], default=1)
    slowest = [link.slowest() for link in by_name] or [(0.0, 0.0)]
    if table.bound(max(w for w, _ in slowest), max(t for _, t in slowest)) * clocks >= LONGEST:
        raise ScheduleError(
            f"schedule: takes more than {LONGEST:.0e} cycles or edges of a clock; wants fewer"
        )
    if len(steady) < len(by_name):
        return play_processes(table, links)
    packed = table.packed()
    clocked = [(link.clock.cycles, link.clock.ticks, link.latency_cycles) for link in steady]
    *events, charged, busy, came, went, unordered = fast.play_schedule(
        *packed, table.tasks, table.charges, np.array(clocked, np.int64).reshape(-1, 3)
    )
    if (went < packed.units[:, TASKS]).any():
        raise table.stuck(packed, came, went)
    if unordered >= 0:
        raise table.unordered(packed, unordered)
    return Played(table, *events, charged, dict(zip(table.links, busy.tolist(), strict=True)))


def play_on(machine: Machine, table: Schedule) -> Played:
    """Play a schedule on a machine whose parts are the links, and book what these moved."""
    played = play(table, {name: machine[name].link for name in table.links})
    for name, (read, written) in table.moved.items():
        link = machine[name]
        link.count("read", read)
        link.count("write", written)
        machine.sim.activity.add(name, "busy", played.busy[name])
        machine.sim.activity.add(name, "idle", played.cycles - played.busy[name])
    if machine.sim.timeline is not None:
        machine.sim.timeline += spans(played)
    return played
