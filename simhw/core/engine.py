"""The engine: SimPy with whole cycles, clock domains, a ledger and, if asked, a timeline."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import simpy

from simhw.core.tally import Tally

# SimPy serves one instant's events by priority, then by insertion: URGENT 0, NORMAL 1. Arbiters
# decide after everything else of their cycle has happened, so insertion never decides.
LATE = 2


class Span(NamedTuple):
    """Something that went on in a unit from one cycle up to another."""

    unit: str
    what: str
    start_cycle: int
    end_cycle: int


@dataclass
class Book:
    """What a layer's units did, and where their cycles went."""

    ledger: Tally = field(default_factory=Tally)
    activity: Tally = field(default_factory=Tally)


class Simulation(simpy.Environment):
    """One run's time, in whole cycles of the accelerator's clock, and its books.

    `ledger` counts actions and knows no joules; `activity` says where each unit's cycles went
    (busy, and stalls by cause), both of the layer that was named last; `timeline` holds spans when the
    run was asked to keep them.
    """

    def __init__(self, *, clock_mhz: float = 1000.0, log: bool = False) -> None:
        super().__init__(initial_time=0)
        self.clock_mhz = clock_mhz
        self.books: dict[str, Book] = {}
        self.on("")
        self.timeline: list[Span] | None = [] if log else None

    def on(self, layer: str) -> None:
        """Let what is counted from here on count for a layer of the phase."""
        book = self.books.setdefault(layer, Book())
        self.ledger, self.activity = book.ledger, book.activity

    @property
    def cycle(self) -> int:
        """The present cycle."""
        return self._now  # pyright: ignore - SimPy's own field: `now` is a second call on the hot path

    def at_end_of_cycle(self, decide: Callable[[], None]) -> None:
        """Call `decide` after everything else of this cycle has happened."""
        event = simpy.Event(self)
        event._ok = True  # pyright: ignore[reportPrivateUsage] - as simpy.Timeout marks itself
        event._value = None  # pyright: ignore[reportPrivateUsage]
        event.callbacks.append(lambda _: decide())  # pyright: ignore - untyped in SimPy
        self.schedule(event, priority=LATE)  # pyright: ignore[reportArgumentType]

    def fire(self, event: simpy.Event, delay_cycles: int, value: Any = None) -> None:
        """Let `event` happen a whole number of cycles from now."""
        if delay_cycles < 0:
            raise ValueError(f"{delay_cycles} cycles: time only goes forward")
        event._ok = True  # pyright: ignore[reportPrivateUsage]
        event._value = value  # pyright: ignore[reportPrivateUsage]
        self.schedule(event, delay=delay_cycles)

    def log(self, unit: str, what: str, start_cycle: int, end_cycle: int) -> None:
        """Keep a span, if a timeline is kept."""
        if self.timeline is not None and end_cycle > start_cycle:
            self.timeline.append(Span(unit, what, start_cycle, end_cycle))


class ClockDomain:
    """A clock beside the accelerator's own; both begin with an edge at cycle 0.

    `ticks` of its periods last `cycles` of the accelerator's: edge k is seen at ceil(k * cycles / ticks).
    """

    def __init__(self, clock_mhz: float, accelerator_mhz: float) -> None:
        self.cycles, self.ticks = _ratio(clock_mhz, accelerator_mhz)

    def cycle_of(self, tick: int) -> int:
        """Return the accelerator cycle at which edge `tick` is seen."""
        return -(-tick * self.cycles // self.ticks)

    def tick_from(self, cycle: int) -> int:
        """Return the first edge that is not before accelerator cycle `cycle`."""
        return -(-cycle * self.ticks // self.cycles)


@functools.lru_cache(maxsize=64)
def _ratio(clock_mhz: float, accelerator_mhz: float) -> tuple[int, int]:
    # 66.666667 MHz is meant to be a third of 200; one part in a million is finer than any crystal
    ratio = (Fraction(str(accelerator_mhz)) / Fraction(str(clock_mhz))).limit_denominator(1_000_000)
    if not ratio:
        ratio = Fraction(1, 1_000_000)
    return ratio.numerator, ratio.denominator
