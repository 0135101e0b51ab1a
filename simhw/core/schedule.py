"""A schedule as data: units that do tasks in order, and the events that each task waits for.

    table = Schedule()
    filters = table.mover("filters", "dram", words)               # over the link "dram"
    array = table.worker("array", cycles)
    array.wait(filters.done, "dram_filter")                       # task k waits for transfer k
    filters.wait(array.done[:-2], tasks=slice(2, None))           # transfer k for task k - 2: room for two

A **worker** takes a number of cycles for each task. A **gang** is several lanes that share tasks and waits,
each with cycles of its own; a lane goes on when it is done, whatever the others do. A **mover** asks a link
to move words, and is done when they are there; nothing to move is done at once. A task **has begun** when
all its waits are over (a transfer: has been asked for), in every lane; it **is done** when its last lane is.

A task's waits are met in the order in which they were declared, and each is charged the cycles by which it
puts the lane off, to (unit, lane, cause): causes add up to the time that passes by construction.

A link serves whole transfers, the one asked for first; of one cycle, in the order in which movers were
declared, over all links together. What follows from a transfer in no time follows before the next is served.

Many units that are alike are declared at once, as a group: with one more axis in front, and how many tasks
each has. `wait` pairs the units of two groups one by one, or one unit with all of a group.

What a schedule cannot mean (a circle of waits, a task that is not there, time that runs back) ends in a
ScheduleError that names the task, when it is played: layers are many, and most schedules are right.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw.core import packed as column
from simhw.core.packed import Ints, Packed, Ragged
from simhw.errors import ScheduleError

Places = Any  # of tasks: None (all), a slice, numbers [n] for each unit alike, or a Ragged
LONGEST = 1 << 62  # cycles: beyond this, sums of whole numbers of 64 bits would overflow


class Event:
    """What tasks of a group wait for: that those of another have begun, or are done."""

    __slots__ = ("numbers", "places", "units", "which")

    def __init__(self, units: Units, which: int, places: Places = None, numbers: Any = None) -> None:
        self.units, self.which, self.places, self.numbers = units, which, places, numbers

    def __getitem__(self, places: Places) -> Event:
        """Return the event of some tasks: by a slice, numbers, or a Ragged."""
        return Event(self.units, self.which, places, self.numbers)

    def of(self, numbers: Any) -> Event:
        """Return the event of some units of the group, by number: one, or one for each unit that waits."""
        return Event(self.units, self.which, self.places, numbers)


class Units:
    """A group of units alike in a schedule: most groups are of one."""

    def __init__(self, table: Schedule, name: str, kind: int, tasks: list[int], lanes: int) -> None:
        self.table: Schedule = weakref.proxy(table)  # so that its arrays go with the last who needs them
        self.name, self.kind = name, kind
        self.tasks, self.lanes = tasks, lanes  # tasks of each unit
        self.size = len(tasks)
        self.first = self.first_task = self.first_charge = 0  # of the first unit, among all
        self.most = 0  # tasks for which each unit has lengths
        self.doing: tuple[str, ...] = ()  # what the tasks are called in a timeline, in turn
        self.causes: list[str] = []

    def __len__(self) -> int:
        return self.size

    @property
    def begun(self) -> Event:
        return Event(self, column.BEGUN)

    @property
    def done(self) -> Event:
        return Event(self, column.DONE)

    def wait(
        self,
        event: Event,
        cause: str = "",
        *,
        tasks: Places = None,
        lanes: int | Ints | Ragged | None = None,
    ) -> None:
        """Let tasks wait for an event each, after what they wait for already.

        The waits are charged to `cause`, or to nothing. With `lanes` only so many lanes wait, the first
        ones: a number, or one for each of the tasks that wait.
        """
        self.table.add_wait(self, event, cause, tasks, lanes)

    def label(self, unit: int) -> str:
        """Return the name of one of the units: the group's, with the unit's number where it has {}."""
        return self.name.format(unit) if "{}" in self.name or self.size == 1 else f"{self.name} {unit}"


@dataclass(frozen=True, eq=False)
class Went:
    """What became of a group of units: [units, tasks] cycles of events, and waits by cause [units, lanes].

    Of a group of one, `begun` and `done` are its tasks' alone.
    """

    units: Units
    of_begun: NDArray[np.int64]
    of_done: NDArray[np.int64]
    waits: Mapping[str, NDArray[np.int64]]

    @property
    def begun(self) -> NDArray[np.int64]:
        return self.of_begun[0] if self.units.size == 1 else self.of_begun

    @property
    def done(self) -> NDArray[np.int64]:
        return self.of_done[0] if self.units.size == 1 else self.of_done

    @property
    def waited(self) -> dict[str, int]:
        """Cycles by cause, all lanes of all units together."""
        return {cause: int(cycles.sum()) for cause, cycles in self.waits.items()}


@dataclass(eq=False)
class Played:
    """A schedule's events: `cycles` in all, what each group did, and for how long each link was busy."""

    table: Schedule
    times: NDArray[
        np.int64
    ]  # of each task: begun, done; if logged: when a link began with it, was free again
    waits: NDArray[np.int64]
    busy: Mapping[str, int]
    cycles: int = field(init=False)

    def __post_init__(self) -> None:
        self.cycles = int(self.times[column.DONE].max(initial=0))

    @property
    def moved(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Words that each link read and wrote, by link and layer."""
        return self.table.moved()

    def __getitem__(self, group: str | Units) -> Went:
        """Return what became of a group of units, by itself or by its name."""
        units = self.table.group(group) if isinstance(group, str) else group
        size, first, most = units.size, units.first_task, units.most
        causes, last = len(units.causes), first + size * most
        waits = self.waits[units.first_charge :][: size * causes * units.lanes]
        waits = waits.reshape(size, causes, units.lanes)
        return Went(
            units,
            self.times[column.BEGUN, first:last].reshape(size, most),
            self.times[column.DONE, first:last].reshape(size, most),
            {cause: waits[:, i] for i, cause in enumerate(units.causes) if cause},
        )


class Schedule:
    """The table: groups of units, and rows of `simhw.core.packed` for each unit and for each wait."""

    def __init__(self) -> None:
        self.groups: list[Units] = []
        self.links: list[str] = []
        self._by_name: dict[str, Units] = {}
        self._units: list[list[int]] = []
        self._waits: list[tuple[int, ...]] = []
        self._lists: list[Ints] = []
        self._kept: dict[int, tuple[int, Any]] = {}  # where lists of numbers begin
        self._lengths: dict[int, list[Any]] = {column.WORKS: [], column.MOVES: [], column.GANGS: []}
        self._sizes = {column.WORKS: 0, column.MOVES: 0, column.GANGS: 0}
        # of movers: link and layer, and which words go to memory
        self._writes: list[tuple[Units, tuple[str, str], Any]] = []
        self._listed = self._n_tasks = 0
        self._packed: Packed | None = None

    # declaring units

    def worker(self, name: str, cycles: Any, *, doing: str | Sequence[str] = ()) -> Units:
        """Add a unit that takes `cycles` [tasks]; `doing` names its tasks in a timeline, in turn."""
        return self.workers(name, np.asarray(cycles, np.int64)[None], doing=doing)

    def workers(
        self, name: str, cycles: Any, *, tasks: Ints | None = None, doing: str | Sequence[str] = ()
    ) -> Units:
        """Add workers of cycles [units, most], of which unit i has the first tasks[i]."""
        units = self._add(name, column.WORKS, np.ascontiguousarray(cycles, np.int64), tasks)
        units.doing = (doing,) if isinstance(doing, str) else tuple(doing)
        return units

    def gangs(
        self, name: str, cycles: Ints, *, tasks: Ints | None = None, widths: Ints | None = None
    ) -> Units:
        """Add gangs of cycles [units, most, lanes].

        With `widths` [units, most] only so many lanes, the first ones, take part in each task.
        """
        lanes = cycles.shape[2]
        if not lanes:
            raise ScheduleError(f"schedule: {name}: has no lanes; wants at least 1")
        if widths is not None and widths.shape != cycles.shape[:2]:
            raise ScheduleError(
                f"schedule: {name}: has widths of {widths.shape} tasks, and cycles of {cycles.shape[:2]}; "
                "wants one for each"
            )
        return self._add(name, column.GANGS, np.ascontiguousarray(cycles), tasks, lanes=lanes, widths=widths)

    def mover(
        self,
        name: str,
        link: str,
        words: Any,
        *,
        writes: bool | NDArray[np.bool_] = False,
        layer: str = "",
    ) -> Units:
        """Add a unit that moves words [tasks] over a link; `writes`, which of them go to memory.

        They count for a `layer` of the phase, or for its first.
        """
        return self.movers(name, link, np.asarray(words, np.int64)[None], writes=writes, layer=layer)

    def movers(
        self,
        name: str,
        link: str,
        words: Any,
        *,
        tasks: Ints | None = None,
        writes: bool | NDArray[np.bool_] = False,
        layer: str = "",
    ) -> Units:
        """Add movers of words [units, most], all over one link."""
        if link not in self.links:
            self.links.append(link)
        lengths = np.ascontiguousarray(words, np.int64)
        units = self._add(name, column.MOVES, lengths, tasks, link=self.links.index(link))
        self._writes.append((units, (link, layer), writes))
        return units

    def _add(
        self,
        name: str,
        kind: int,
        lengths: Ints,
        tasks: Ints | None,
        *,
        lanes: int = 1,
        link: int = 0,
        widths: Ints | None = None,
    ) -> Units:
        if name in self._by_name:
            raise ScheduleError(f"schedule: {name}: is there already; wants another name")
        size, most = lengths.shape[:2]
        units = Units(self, name, kind, [most] * size if tasks is None else tasks.tolist(), lanes)
        if units.size != size:
            raise ScheduleError(
                f"schedule: {name}: has lengths of {size} units, and numbers of tasks of {units.size}; "
                "wants one for each"
            )
        units.first, units.first_task, units.most = len(self._units), self._n_tasks, most
        widths_at = column.LISTED if widths is None else self._list(widths)
        for i, n in enumerate(units.tasks):
            if not 0 <= n <= most:
                raise ScheduleError(
                    f"schedule: {units.label(i)}: has {n} tasks; wants 0 to {most}, which have lengths"
                )
            at = self._sizes[kind] + i * most * lanes
            of_widths = widths_at if widths is None else widths_at + i * most
            self._units.append([kind, n, self._n_tasks + i * most, lanes, at, link, 0, of_widths])
        self._lengths[kind].append(lengths.reshape(-1))
        self._sizes[kind] += lengths.size
        self._n_tasks += size * most
        self.groups.append(units)
        self._by_name[name] = units
        return units

    # declaring waits

    def add_wait(
        self, own: Units, event: Event, cause: str, tasks: Places, lanes: int | Ints | Ragged | None
    ) -> None:
        """See `Units.wait`."""
        other = event.units
        if self._by_name.get(other.name) is not other:
            raise ScheduleError(f"schedule: {own.name} waits for {other.name}, which is of another schedule")
        others = range(other.size) if event.numbers is None else np.atleast_1d(event.numbers).tolist()
        if min(others, default=0) < 0 or max(others, default=-1) >= other.size:
            wrong = next(number for number in others if not 0 <= number < other.size)
            raise ScheduleError(
                f"schedule: {own.name} waits for unit {wrong} of {other.name}, "
                f"which has {other.size}, from 0 on"
            )
        n = max(own.size, len(others))
        if own.size not in (1, n) or len(others) not in (1, n):
            raise ScheduleError(
                f"schedule: {own.size} of {own.name} wait for {len(others)} of {other.name}; "
                "wants as many, or one"
            )
        mine = range(n) if own.size == n else [0] * n
        if len(others) != n:
            others = [others[0]] * n
        if cause not in own.causes:
            own.causes.append(cause)
        of_cause = own.causes.index(cause)
        places = self._places(own, mine, tasks), self._places(other, others, event.places)
        up_to: Any = [(own.lanes if lanes is None else lanes, 0, None)] * n
        if lanes is not None and not isinstance(lanes, int):
            up_to = self._listing(lanes, n)
        for i, j, (at, at_step, count), (on, on_step, on_count), (up, up_step, up_count) in zip(
            mine, others, *places, up_to, strict=True
        ):
            if on_count != count or up_count not in (None, count):
                wrong = on_count if on_count != count else up_count
                what = other.label(j) if on_count != count else "lanes"
                raise ScheduleError(
                    f"schedule: {count} tasks of {own.label(i)} wait for {wrong} of {what}; "
                    "wants one for each"
                )
            unit, of = own.first + i, other.first + j
            self._waits.append(
                (unit, of, event.which, of_cause, count, at, at_step, on, on_step, up, up_step)
            )

    def _places(self, units: Units, numbers: Sequence[int], places: Places) -> list[tuple[int, int, int]]:
        """Return of each of some units the first place (or where its list begins), the step, how many."""
        if places is None:
            return [(0, 1, units.tasks[i]) for i in numbers]
        if not isinstance(places, slice):
            return self._listing(places, len(numbers))
        spans = [range(*places.indices(units.tasks[i])) for i in numbers]
        if spans and spans[0].step < 0:  # as a step, one below 0 would mean a list
            return [(self._list(np.array(span, np.int32)), column.LISTED, len(span)) for span in spans]
        return [(span.start, span.step, len(span)) for span in spans]

    def _listing(self, values: Ints | Ragged, n: int) -> list[tuple[int, int, int]]:
        """Return of each of n units where its numbers begin, LISTED, and how many they are."""
        if not isinstance(values, Ragged):
            return [(self._list(values), column.LISTED, len(values))] * n
        lines, most = values.values.shape
        first, each = self._list(values.values), most if lines > 1 else 0
        counts = [values.counts] * n if isinstance(values.counts, int) else values.counts.tolist()
        if lines not in (1, n) or len(counts) != n or max(counts, default=0) > most:
            raise ScheduleError(
                f"schedule: a wait of {n} units has {lines} lines of {most} numbers, {counts} of them meant; "
                "wants a line for each unit, and a number for each task"
            )
        return [(first + i * each, column.LISTED, count) for i, count in enumerate(counts)]

    def _list(self, values: Any) -> int:
        """Keep numbers, once, and return where they begin."""
        known = self._kept.get(id(values))
        if known is None:
            flat = np.asarray(values, np.int32).reshape(-1)
            known = self._kept[id(values)] = self._listed, values  # alive, so that no other has its id
            self._lists.append(flat)
            self._listed += flat.size
        return known[0]

    # what players ask

    def group(self, name: str) -> Units:
        return self._by_name[name]

    def moved(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return the words that each link reads and writes, for each layer that was named."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for (units, link, writes), flat in zip(self._writes, self._lengths[column.MOVES], strict=True):
            words = flat.reshape(units.size, units.most)
            if min(units.tasks, default=0) < units.most:
                words = words * (np.arange(units.most) < np.array(units.tasks)[:, None])
            total = int(words.sum())
            written = int(words[:, writes].sum()) if isinstance(writes, np.ndarray) else total * writes
            read, wrote = found.get(link, (0, 0))
            found[link] = read + total - written, wrote + written
        return found

    def packed(self) -> Packed:
        """Return the table as arrays."""
        if self._packed is None:
            charges = 0
            for units in self.groups:
                units.first_charge = charges
                for row in self._units[units.first : units.first + units.size]:
                    row[column.CHARGES] = charges
                    charges += len(units.causes) * units.lanes
            self._packed = Packed(
                units=np.array(self._units, np.int64).reshape(-1, 8),
                waits=np.array(self._waits, np.int64).reshape(-1, 11),
                lists=_joined(self._lists, np.int32),
                cycles=_joined(self._lengths[column.WORKS], np.int64),
                lane_cycles=_joined(self._lengths[column.GANGS], np.int32),
                words=_joined(self._lengths[column.MOVES], np.int64),
                tasks=self._n_tasks,
                charges=charges,
            )
        return self._packed

    def label(self, unit: int) -> str:
        """Return the name of a unit by its number among all."""
        units = self._of(unit)
        return units.label(unit - units.first)

    def task(self, unit: int, task: int) -> str:
        """Return the name of a task of a unit by its number among all."""
        return f"{self.label(unit)}[{task}]"

    def _of(self, unit: int) -> Units:
        return next(units for units in reversed(self.groups) if units.first <= unit)


def _joined(arrays: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, kind)
