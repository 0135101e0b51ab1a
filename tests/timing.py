"""When things end, told exactly: a model that is merely not late is not right."""

from __future__ import annotations

import simpy


def finishes_at(event: simpy.Event, cycle: int) -> bool:
    """Run up to `cycle`; return whether the event had not happened before it and has happened in it."""
    sim = event.env
    if sim.now < cycle:
        sim.run(until=cycle)  # SimPy stops before the events of this cycle
    if event.processed:
        return False
    sim.run(until=cycle + 1)
    return event.processed
