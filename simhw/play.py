"""Schedules played on a machine: by the compiled player where its links have a compiled form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from simhw import fast as untyped_fast
from simhw.core.dataflow import Dataflow, Outcome, Phase
from simhw.core.link import Link, SteadyLink
from simhw.core.machine import Machine
from simhw.core.player import play as play_processes
from simhw.core.schedule import LONGEST, Played, Schedule
from simhw.core.schedule_faults import links_of, why_not
from simhw.core.timeline import spans

fast: Any = untyped_fast  # numba's functions carry no types
Player = Callable[[Schedule, Mapping[str, Link]], Played]


def play(table: Schedule, links: Mapping[str, Link], *, log: bool = False) -> Played:
    """Play a schedule over links by name; a `log` keeps when these were busy with what."""
    found = links_of(table, links)
    steady = [link for link in found if isinstance(link, SteadyLink)]
    if len(steady) < len(found):
        return play_processes(table, links)
    clocks = [(link.clock.cycles, link.clock.ticks, link.latency_cycles) for link in steady]
    # neither a cycle nor an edge goes beyond this, so that the one times the other fits 64 bits
    limit = LONGEST // max([max(cycles, ticks) for cycles, ticks, _ in clocks], default=1)
    times, charged, busy, ended, came, went = fast.play_schedule(
        *table.packed(), np.array(clocks, np.int64).reshape(-1, 3), limit, log
    )
    if ended != fast.ENDED:
        raise why_not(table, came, went, long=ended == fast.TOO_LONG)
    return Played(table, times, charged, dict(zip(table.links, busy.tolist(), strict=True)))


def run(
    machine: Machine, dataflow: Dataflow, phase: Phase, values: bool, player: Player | None = None
) -> Outcome:
    """Simulate a phase: what the dataflow executes, when that happens, and the account of it.

    A timeline is read off the schedule; where none is kept, the dataflow's own shortcut may serve. A
    `player` plays the schedule in any case.
    """
    work = dataflow.execute(phase, values)
    links = {role: machine[role].link for role, part in machine.parts.items() if part.kind.IS_LINK}
    timeline = machine.sim.timeline
    played = dataflow.shortcut(work, links) if timeline is None and player is None else None
    if played is None and player is not None:
        played = player(dataflow.schedule(phase, work), links)
    elif played is None:
        played = play(dataflow.schedule(phase, work), links, log=timeline is not None)
    for (name, layer), (read, written) in played.moved.items():
        machine.sim.on(layer or phase.layers[0].name)
        machine[name].count("read", read)
        machine[name].count("write", written)
    machine.sim.on(phase.layers[0].name)
    for name, busy in played.busy.items():
        machine.sim.activity.add(name, "busy", busy)
        machine.sim.activity.add(name, "idle", played.cycles - busy)
    if timeline is not None:
        timeline += spans(played)
    return dataflow.account(machine, phase, work, played)
