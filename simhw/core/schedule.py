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
ANY_NUMBER = 1 << 40  # of places that stand in no list


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

    def __init__(
        self, table: Schedule, name: str, kind: int, first: int, tasks: int | Ints, size: int, lanes: int
    ) -> None:
        self.table, self.name, self.kind = table, name, kind
        self.first, self.size, self.lanes = first, size, lanes  # the first unit's number, and how many
        self.tasks = tasks  # of each unit [units], or of all alike
        self.first_task = self.first_charge = 0
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

    @property
    def counts(self) -> Ints:
        """How many tasks each unit has."""
        return np.full(self.size, self.tasks) if isinstance(self.tasks, int) else self.tasks

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

    def task(self, unit: int, task: int) -> str:
        """Return the name of a task for a message: filters[3]."""
        return f"{self.label(unit)}[{task}]"


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
    def moved(self) -> dict[str, tuple[int, int]]:
        """Words that each link read and wrote."""
        return self.table.moved()

    def __getitem__(self, group: str | Units) -> Went:
        """Return what became of a group of units, by itself or by its name."""
        units = self.table.group(group) if isinstance(group, str) else group
        size, first, most = units.size, units.first_task, self.table.most(units)
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
    """The table. Groups of units and waits are kept as they are declared; `packed` makes arrays of them."""

    def __init__(self) -> None:
        self.groups: list[Units] = []
        self.links: list[str] = []
        self._by_name: dict[str, Units] = {}
        self._units: list[tuple[int, ...]] = []  # a row for each group: see `packed`
        self._waits: list[tuple[int, ...]] = []  # and for each wait that was declared
        self._counts: list[tuple[int, Any, Any, Any]] = []  # of waits: units, tasks of either side, whose
        self._lists: list[Ints] = []
        self._kept: dict[int, tuple[int, Any]] = {}  # where lists of numbers begin
        self._lengths: dict[int, list[Any]] = {column.WORKS: [], column.MOVES: [], column.GANGS: []}
        self._sizes = [0, 0, 0]
        self._writes: list[tuple[Units, Any]] = []  # of movers: which words go to memory
        self._listed = self._n_units = self._n_tasks = 0
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
        return self._add(
            name, column.GANGS, np.ascontiguousarray(cycles), tasks, lanes=cycles.shape[2], widths=widths
        )

    def mover(self, name: str, link: str, words: Any, *, writes: bool | NDArray[np.bool_] = False) -> Units:
        """Add a unit that moves words [tasks] over a link; `writes`, which of them go to memory."""
        return self.movers(name, link, np.asarray(words, np.int64)[None], writes=writes)

    def movers(
        self,
        name: str,
        link: str,
        words: Any,
        *,
        tasks: Ints | None = None,
        writes: bool | NDArray[np.bool_] = False,
    ) -> Units:
        """Add movers of words [units, most], all over one link."""
        if link not in self.links:
            self.links.append(link)
        lengths = np.ascontiguousarray(words, np.int64)
        units = self._add(name, column.MOVES, lengths, tasks, link=self.links.index(link))
        self._writes.append((units, writes))
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
        units = Units(self, name, kind, self._n_units, most if tasks is None else tasks, size, lanes)
        units.first_task = self._n_tasks
        at = column.LISTED if widths is None else self._list(widths)
        self._units.append((kind, self._n_tasks, most, lanes, self._sizes[kind], link, at, size))
        self._lengths[kind].append(lengths.reshape(-1))
        self._sizes[kind] += lengths.size
        self._n_units += size
        self._n_tasks += size * most
        self.groups.append(units)
        self._by_name[name] = units
        return units

    # declaring waits

    def add_wait(
        self, own: Units, event: Event, cause: str, tasks: Places, lanes: int | Ints | Ragged | None
    ) -> None:
        """See `Units.wait`."""
        other, numbers = event.units, event.numbers
        if other.table is not self:
            raise ScheduleError(f"schedule: {own.name} waits for {other.name}, which is of another schedule")
        if numbers is not None:
            numbers = np.atleast_1d(numbers)
        chosen = other.size if numbers is None else len(numbers)
        n = max(own.size, chosen)
        if own.size not in (1, n) or chosen not in (1, n):
            raise ScheduleError(
                f"schedule: {own.size} of {own.name} wait for {chosen} of {other.name}; wants as many, or one"
            )
        at, counts = self._places(own, None, tasks)
        on, on_counts = self._places(other, numbers, event.places)
        up_to = (own.lanes if lanes is None else lanes, 0, 0, ANY_NUMBER)
        if lanes is not None and not isinstance(lanes, int):
            up_to = self._listing(lanes)
        if cause not in own.causes:
            own.causes.append(cause)
        self._waits.append(
            (
                n, own.first, own.size > 1, other.first, chosen > 1 and numbers is None,
                event.which, own.causes.index(cause), *at, *on, *up_to,
            )
        )  # fmt: skip
        self._counts.append((n, counts, on_counts, numbers))

    def _places(
        self, units: Units, numbers: Any, places: Places
    ) -> tuple[tuple[int, int, int, int], int | Ints]:
        """Return where the places are, see `_listing`, and how many: of each unit, or of all alike."""
        tasks = units.tasks if numbers is None or isinstance(units.tasks, int) else units.tasks[numbers]
        if places is None:
            return (0, 1, 0, ANY_NUMBER), tasks
        if not isinstance(places, slice):
            return self._listing(places), places.counts if isinstance(places, Ragged) else len(places)
        if isinstance(tasks, int):
            span = range(*places.indices(tasks))
            return (span.start, span.step, 0, ANY_NUMBER), len(span)
        spans = [range(*places.indices(n)) for n in tasks.tolist()]
        counts = np.array([len(span) for span in spans])
        if len({span.start for span in spans}) == 1:
            return (spans[0].start, spans[0].step, 0, ANY_NUMBER), counts
        most = int(counts.max())
        listed = np.array([[*span, *[0] * (most - len(span))] for span in spans])
        return self._listing(Ragged(listed, counts)), counts

    def _listing(self, values: Ints | Ragged) -> tuple[int, int, int, int]:
        """Return where a list begins, LISTED, by how much from unit to unit, and how many each may have."""
        if not isinstance(values, Ragged):
            return self._list(values), column.LISTED, 0, len(values)
        most = values.values.shape[1]
        return self._list(values.values), column.LISTED, most if len(values.values) > 1 else 0, most

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

    def most(self, units: Units) -> int:
        """Return how many tasks the group has room for, each unit."""
        return self._units[self.groups.index(units)][2]

    def moved(self) -> dict[str, tuple[int, int]]:
        """Return the words that each link reads and writes."""
        found = dict.fromkeys(self.links, (0, 0))
        for (units, writes), flat in zip(self._writes, self._lengths[column.MOVES], strict=True):
            words = flat.reshape(units.size, -1)
            if not isinstance(units.tasks, int):
                words = words * (np.arange(words.shape[1]) < units.tasks[:, None])
            total = int(words.sum())
            written = int(words[:, writes].sum()) if isinstance(writes, np.ndarray) else total * writes
            link = self.links[self._units[self.groups.index(units)][5]]
            read, wrote = found[link]
            found[link] = read + total - written, wrote + written
        return found

    def packed(self) -> Packed:
        """Return the table as arrays."""
        if self._packed is None:
            self._packed = self._pack()
        return self._packed

    def _pack(self) -> Packed:
        charges = 0
        for units in self.groups:
            units.first_charge = charges
            charges += len(units.causes) * units.lanes * units.size
        groups = np.array(self._units, np.int64).reshape(-1, 8)
        kind, first, most, lanes, lengths, link, widths, _ = groups.repeat(groups[:, 7], axis=0).T
        number = _numbers(groups[:, 7])
        rows = np.empty((self._n_units, 8), np.int64)
        rows[:, column.KIND], rows[:, column.LANES], rows[:, column.LINK] = kind, lanes, link
        rows[:, column.FIRST] = first + number * most
        rows[:, column.LENGTHS] = lengths + number * most * lanes
        rows[:, column.WIDTHS] = np.where(widths < 0, column.LISTED, widths + number * most)
        for units in self.groups:
            of = slice(units.first, units.first + units.size)
            rows[of, column.TASKS] = units.tasks
            rows[of, column.CHARGES] = len(units.causes) * units.lanes
        rows[:, column.CHARGES] = rows[:, column.CHARGES].cumsum() - rows[:, column.CHARGES]
        if (rows[:, column.TASKS] > most).any():
            unit = int(np.argmax(rows[:, column.TASKS] > most))
            raise ScheduleError(
                f"schedule: {self.label(unit)}: has {rows[unit, column.TASKS]} tasks; "
                f"wants at most {most[unit]}, for which there are lengths"
            )
        return Packed(
            units=rows,
            waits=self._packed_waits(),
            lists=_joined(self._lists, np.int32),
            cycles=_joined(self._lengths[column.WORKS], np.int64),
            lane_cycles=_joined(self._lengths[column.GANGS], np.int32),
            words=_joined(self._lengths[column.MOVES], np.int64),
            tasks=self._n_tasks,
            charges=charges,
        )

    def _packed_waits(self) -> NDArray[np.int64]:
        declared = np.array(self._waits, np.int64).reshape(-1, 19)
        (
            _, own, own_each, of, of_each, which, cause, at, at_step, at_each, at_most,
            on, on_step, on_each, on_most, up, up_step, up_each, up_most,
        ) = declared.repeat(declared[:, 0], axis=0).T  # fmt: skip
        number = _numbers(declared[:, 0])
        rows = np.empty((len(number), 11), np.int64)
        rows[:, column.UNIT], rows[:, column.OF] = own + own_each * number, of + of_each * number
        rows[:, column.EVENT], rows[:, column.CAUSE] = which, cause
        rows[:, column.AT], rows[:, column.AT_STEP] = at + at_each * number, at_step
        rows[:, column.ON], rows[:, column.ON_STEP] = on + on_each * number, on_step
        rows[:, column.UP_TO], rows[:, column.UP_TO_STEP] = up + up_each * number, up_step
        start = 0
        for n, counts, on_counts, numbers in self._counts:
            end = start + n
            rows[start:end, column.COUNT] = counts
            if numbers is not None:
                rows[start:end, column.OF] += numbers
            if counts is not on_counts and not np.array_equal(*np.broadcast_arrays(counts, on_counts)):
                wrong = int(np.argmax(np.not_equal(*np.broadcast_arrays(counts, on_counts))))
                some, others = (np.broadcast_to(x, n)[wrong] for x in (counts, on_counts))
                row = rows[start + wrong]
                raise ScheduleError(
                    f"schedule: {some} tasks of {self.label(row[column.UNIT])} wait for {others} of "
                    f"{self.label(row[column.OF])}; wants one for each"
                )
            start = end
        short = rows[:, column.COUNT] > np.minimum(np.minimum(at_most, on_most), up_most)
        if short.any():
            row = rows[int(np.argmax(short))]
            raise ScheduleError(
                f"schedule: {self.label(row[column.UNIT])}: a wait of {row[column.COUNT]} tasks names fewer; "
                "wants a number for each"
            )
        return rows

    def label(self, unit: int) -> str:
        """Return the name of a unit by its number among all."""
        return self._of(unit).label(unit - self._of(unit).first)

    def task(self, unit: int, task: int) -> str:
        """Return the name of a task of a unit by its number among all."""
        return self._of(unit).task(unit - self._of(unit).first, task)

    def _of(self, unit: int) -> Units:
        return next(units for units in reversed(self.groups) if units.first <= unit)


def _numbers(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, ... up to each size, one after another."""
    return np.arange(int(sizes.sum())) - (sizes.cumsum() - sizes).repeat(sizes)


def _joined(arrays: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, kind)
