"""A schedule as data: units that do tasks in order, and the events that each task waits for.

    table = Schedule()
    filters = table.mover("filters", "dram", words=words)         # over the link "dram"
    array = table.worker("array", cycles=cycles)
    array.wait(filters.done, cause="dram_filter")                 # task k waits for transfer k
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
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw.core import packed as column
from simhw.core.packed import Ints, Packed, Ragged, joined, spread, within
from simhw.errors import ScheduleError

Places = Any  # of tasks: None (all), a slice, numbers [n] for each unit alike, or a Ragged
LONGEST = 1 << 62  # cycles: beyond this, sums of whole numbers of 64 bits would overflow


@dataclass(frozen=True)
class Event:
    """What tasks of a group wait for: that those of another have begun, or are done."""

    units: Units
    which: int
    places: Places = None

    def __getitem__(self, places: Places) -> Event:
        """Return the event of some tasks: by a slice, numbers, or a Ragged."""
        return Event(self.units, self.which, places)


class Units:
    """A group of units alike in a schedule: most groups are of one."""

    def __init__(self, table: Schedule, name: str, first: int, tasks: Ints, lanes: int) -> None:
        self.table, self.name, self.first = table, name, first
        self.tasks = tasks  # [units]
        self.lanes = lanes
        self.doing: Sequence[str] = ()  # what the tasks are called in a timeline, in turn
        self.causes: list[str] = []

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def begun(self) -> Event:
        return Event(self, column.BEGUN)

    @property
    def done(self) -> Event:
        return Event(self, column.DONE)

    def wait(
        self, event: Event, cause: str = "", *, tasks: Places = None, lanes: int | Ints | None = None
    ) -> None:
        """Let tasks wait for an event each, after what they wait for already.

        The waits are charged to `cause`, or to nothing. With `lanes` only so many lanes wait, the first
        ones: a number, or one for each of the tasks.
        """
        self.table._add_wait(self, event, cause, tasks, lanes)  # pyright: ignore[reportPrivateUsage]

    def label(self, unit: int) -> str:
        """Return the name of one of the units: the group's, with the unit's number where it has {}."""
        return self.name.format(unit) if "{}" in self.name or len(self) == 1 else f"{self.name} {unit}"

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
        return self.of_begun[0] if len(self.units) == 1 else self.of_begun

    @property
    def done(self) -> NDArray[np.int64]:
        return self.of_done[0] if len(self.units) == 1 else self.of_done

    @property
    def waited(self) -> dict[str, int]:
        """Cycles by cause, all lanes of all units together."""
        return {cause: int(cycles.sum()) for cause, cycles in self.waits.items()}


@dataclass(eq=False)
class Played:
    """A schedule's events: `cycles` in all, what each group did, and for how long each link was busy."""

    table: Schedule
    begun: NDArray[np.int64]
    done: NDArray[np.int64]
    served: NDArray[np.int64]  # of movers' tasks: when the link began
    left: NDArray[np.int64]  # and when it was free again
    waits: NDArray[np.int64]
    busy: Mapping[str, int]
    cycles: int = field(init=False)

    def __post_init__(self) -> None:
        self.cycles = int(self.done.max(initial=0))

    def __getitem__(self, group: str | Units) -> Went:
        """Return what became of a group of units, by itself or by its name."""
        units = self.table.group(group) if isinstance(group, str) else group
        first, most = self.table.first_task(units), int(units.tasks.max(initial=0))
        last = first + most * len(units)
        causes, lanes = len(units.causes), units.lanes
        at = self.table.first_charge(units)
        waits = self.waits[at : at + len(units) * causes * lanes].reshape(len(units), causes, lanes)
        return Went(
            units,
            self.begun[first:last].reshape(len(units), most),
            self.done[first:last].reshape(len(units), most),
            {cause: waits[:, i] for i, cause in enumerate(units.causes) if cause},
        )


class Schedule:
    """The table, checked as it is written: what it cannot mean is a ScheduleError that names the task."""

    def __init__(self) -> None:
        self.groups: list[Units] = []
        self.links: list[str] = []
        self.moved: dict[str, list[int]] = {}  # by link: words that are read, and written
        self._rows: list[NDArray[np.int64]] = []
        self._waits: list[NDArray[np.int64]] = []
        self._lists: list[NDArray[np.int32]] = []
        self._cycles: list[NDArray[np.int64]] = []
        self._lane_cycles: list[Ints] = []
        self._words: list[NDArray[np.int64]] = []
        self._listed = self._n_units = self._n_tasks = self._n_charges = 0
        self._sizes = {"cycles": 0, "lane_cycles": 0, "words": 0}
        self._first_tasks: list[int] = []
        self._first_charges: list[int] = []
        self._longest = 0.0  # cycles of all work, one task after another
        self._all_words = 0.0

    # declaring units

    def worker(self, name: str, cycles: Any, *, doing: str | Sequence[str] = ()) -> Units:
        """Add a unit that takes `cycles` [tasks]; `doing` names its tasks in a timeline, in turn."""
        return self.workers(name, np.asarray(cycles)[None], doing=doing)

    def workers(
        self, name: str, cycles: Any, *, tasks: Ints | None = None, doing: str | Sequence[str] = ()
    ) -> Units:
        """Add workers of cycles [units, most], of which unit i has the first tasks[i]."""
        lengths = np.ascontiguousarray(cycles, dtype=np.int64)
        units = self._add(name, column.WORKS, _counts(lengths, tasks), most=lengths.shape[1], block="cycles")
        units.doing = (doing,) if isinstance(doing, str) else tuple(doing)
        self._take(self._cycles, "cycles", lengths, units, "cycles")
        return units

    def gangs(
        self, name: str, cycles: Ints, *, tasks: Ints | None = None, widths: Ints | None = None
    ) -> Units:
        """Add gangs of cycles [units, most, lanes].

        With `widths` [units, most] only so many lanes, the first ones, take part in each task.
        """
        lengths = np.ascontiguousarray(cycles)
        counts = _counts(lengths, tasks)
        units = self._add(
            name, column.GANGS, counts, most=lengths.shape[1], block="lane_cycles", lanes=lengths.shape[2]
        )
        if widths is not None:
            if widths.size and not (widths.min() >= 1 and widths.max() <= units.lanes):
                raise ScheduleError(
                    f"schedule: {name}: widths: are {widths.min()} to {widths.max()}; "
                    f"wants 1 to {units.lanes} lanes"
                )
            self._rows[-1][:, column.WIDTHS] = self._list(widths) + np.arange(len(units)) * lengths.shape[1]
        self._take(self._lane_cycles, "lane_cycles", lengths, units, "cycles")
        return units

    def mover(self, name: str, link: str, words: Any, *, writes: bool | NDArray[np.bool_] = False) -> Units:
        """Add a unit that moves words [tasks] over a link; `writes`, which of them go to memory."""
        return self.movers(name, link, np.asarray(words)[None], writes=writes)

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
        lengths = np.ascontiguousarray(words, dtype=np.int64)
        if link not in self.moved:
            self.links.append(link)
            self.moved[link] = [0, 0]
        units = self._add(name, column.MOVES, _counts(lengths, tasks), most=lengths.shape[1], block="words")
        self._rows[-1][:, column.LINK] = self.links.index(link)
        self._take(self._words, "words", lengths, units, "words")
        real = lengths if tasks is None else np.where(within(lengths, tasks), lengths, 0)
        written = int(real[..., writes].sum()) if isinstance(writes, np.ndarray) else int(real.sum()) * writes
        self.moved[link][0] += int(real.sum()) - written
        self.moved[link][1] += written
        return units

    def group(self, name: str) -> Units:
        return next(units for units in self.groups if units.name == name)

    def _add(self, name: str, kind: int, tasks: Ints, *, most: int, block: str, lanes: int = 1) -> Units:
        if any(units.name == name for units in self.groups):
            raise ScheduleError(f"schedule: {name}: is there already; wants another name")
        n = len(tasks)
        units = Units(self, name, self._n_units, tasks, lanes)
        rows = np.zeros((n, 10), np.int64)
        rows[:, column.KIND], rows[:, column.TASKS], rows[:, column.LANES], rows[:, column.WIDTHS] = (
            kind,
            tasks,
            lanes,
            column.LISTED,
        )
        rows[:, column.CYCLES] = rows[:, column.WORDS] = column.LISTED
        number = np.arange(n)
        rows[:, column.WORDS if block == "words" else column.CYCLES] = (
            self._sizes[block] + number * most * lanes
        )
        rows[:, column.FIRST] = self._n_tasks + number * int(tasks.max(initial=0))
        self.groups.append(units)
        self._rows.append(rows)
        self._first_tasks.append(self._n_tasks)
        self._n_units += n
        self._n_tasks += n * int(tasks.max(initial=0))
        return units

    def _take(self, into: list[Any], block: str, lengths: Ints, units: Units, what: str) -> None:
        if lengths.size:
            lowest, highest = int(lengths.min()), int(lengths.max())
            if lowest < 0:
                unit, task = (int(i) for i in np.argwhere(lengths < 0)[0][:2])
                raise ScheduleError(
                    f"schedule: {units.task(unit, task)}: takes {lowest} {what}; wants at least 0"
                )
            if what == "words":
                self._all_words += float(highest) * lengths.size
            else:
                self._longest += float(highest) * lengths.shape[0] * lengths.shape[1]
        into.append(lengths.reshape(-1))
        self._sizes[block] += lengths.size

    # declaring waits

    def _add_wait(
        self, own: Units, event: Event, cause: str, tasks: Places, lanes: int | Ints | None
    ) -> None:
        other = event.units
        if other.table is not self:
            raise ScheduleError(f"schedule: {own.name} waits for {other.name}, which is of another schedule")
        n = max(len(own), len(other))
        if len(own) not in (1, n) or len(other) not in (1, n):
            raise ScheduleError(
                f"schedule: {len(own)} of {own.name} wait for {len(other)} of {other.name}; "
                "wants as many, or one"
            )
        rows = np.zeros((n, 11), np.int64)
        number = np.arange(n)
        rows[:, column.UNIT] = own.first + (number if len(own) > 1 else 0)
        rows[:, column.OF] = other.first + (number if len(other) > 1 else 0)
        rows[:, column.EVENT] = event.which
        if cause not in own.causes:
            own.causes.append(cause)
        rows[:, column.CAUSE] = own.causes.index(cause)
        at, at_step, at_count = self._places(own, tasks, n)
        on, on_step, on_count = self._places(other, event.places, n)
        if (at_count != on_count).any():
            i = int(np.argmax(at_count != on_count))
            raise ScheduleError(
                f"schedule: {int(at_count[i])} tasks of {own.name} wait for {int(on_count[i])} of "
                f"{other.name}; wants one for each"
            )
        rows[:, column.AT], rows[:, column.AT_STEP], rows[:, column.ON], rows[:, column.ON_STEP] = (
            at,
            at_step,
            on,
            on_step,
        )
        rows[:, column.COUNT] = at_count
        rows[:, column.UP_TO], rows[:, column.UP_TO_STEP] = (
            own.lanes if lanes is None else lanes if isinstance(lanes, int) else 0,
            0,
        )
        if isinstance(lanes, np.ndarray):
            rows[:, column.UP_TO], rows[:, column.UP_TO_STEP] = self._list(lanes), column.LISTED
        if own is other:
            self._refuse_own(own, at, at_step, on, on_step, at_count)
        self._waits.append(rows)

    def _places(self, units: Units, places: Places, n: int) -> tuple[Any, int, NDArray[np.int64]]:
        """Return the first place of each of n units (or where its list begins), the step, and how many."""
        tasks = np.broadcast_to(units.tasks, (n,)).astype(np.int64)
        if places is None:
            return 0, 1, tasks
        if isinstance(places, slice):
            if len(set(tasks.tolist())) == 1:
                start, stop, step = places.indices(int(tasks[0]))
                return start, step, np.full(n, len(range(start, stop, step)))
            spans = [range(*places.indices(count)) for count in tasks.tolist()]
            return np.array([r.start for r in spans]), spans[0].step, np.array([len(r) for r in spans])
        if isinstance(places, Ragged):
            values, counts = places.values, np.asarray(places.counts, np.int64)
        else:
            values = np.asarray(places)[None]
            counts = np.full(n, values.shape[1])
        most = values.shape[1]
        inside = values if isinstance(places, np.ndarray) else values[within(values, counts)]
        if inside.size and not (inside.min() >= 0 and inside.max() < int(tasks.min(initial=0))):
            self._refuse_absent(units, values, counts, tasks)
        starts = self._list(values) + (np.arange(n) * most if len(values) > 1 else np.zeros(n, np.int64))
        return starts, column.LISTED, counts

    def _refuse_absent(self, units: Units, values: Ints, counts: Ints, tasks: Ints) -> None:
        for i, n in enumerate(tasks.tolist()):
            own = values[i if len(values) > 1 else 0][: int(counts[i])]
            wrong = own[(own < 0) | (own >= n)]
            if wrong.size:
                raise ScheduleError(
                    f"schedule: {units.task(i, int(wrong[0]))}: is no task; {units.name} has {n}, from 0 on"
                )

    def _refuse_own(self, own: Units, at: Any, at_step: int, on: Any, on_step: int, counts: Ints) -> None:
        """A task can wait for an earlier one of its own unit, not for itself or a later one."""
        lists = np.concatenate(self._lists) if self._lists else np.zeros(0, np.int32)
        for i in range(len(own)):
            tasks, ons = (
                spread(np.broadcast_to(first, (len(own),))[i], step, int(counts[i]), lists)
                for first, step in ((at, at_step), (on, on_step))
            )
            wrong = np.flatnonzero(ons >= tasks)
            if wrong.size:
                task, of = int(tasks[wrong[0]]), int(ons[wrong[0]])
                raise ScheduleError(
                    f"schedule: {own.task(i, task)}: waits for {own.task(i, of)}; "
                    "a task can wait only for earlier ones of its own unit"
                )

    def _list(self, values: Any) -> int:
        """Keep numbers, and return where they begin."""
        flat = np.ascontiguousarray(values, dtype=np.int32).reshape(-1)
        at = self._listed
        self._lists.append(flat)
        self._listed += flat.size
        return at

    # what players ask

    def first_task(self, units: Units) -> int:
        return self._first_tasks[self.groups.index(units)]

    def first_charge(self, units: Units) -> int:
        """Return where the waits of a group begin; known once the table is packed."""
        return self._first_charges[self.groups.index(units)]

    def bound(self, worst_cycles_per_word: float, transfers_cycles: float) -> float:
        """Return a number of cycles that the schedule cannot exceed."""
        moves = sum(int(x.tasks.sum()) for x, rows in self._grouped() if rows[0, column.KIND] == column.MOVES)
        return self._longest + self._all_words * worst_cycles_per_word + moves * transfers_cycles

    def _grouped(self) -> Iterator[tuple[Units, NDArray[np.int64]]]:
        yield from zip(self.groups, self._rows, strict=True)

    def packed(self) -> Packed:
        """Return the table as arrays."""
        self._first_charges = []
        charges = 0
        for units, rows in self._grouped():
            self._first_charges.append(charges)
            per_unit = len(units.causes) * units.lanes
            rows[:, column.WAITS] = charges + np.arange(len(units)) * per_unit
            rows[:, column.CAUSES] = len(units.causes)
            charges += per_unit * len(units)
        self.charges = charges
        units = np.concatenate(self._rows) if self._rows else np.zeros((0, 10), np.int64)
        waits = np.concatenate(self._waits) if self._waits else np.zeros((0, 11), np.int64)
        waits = waits[waits[:, column.UNIT].argsort(kind="stable")]
        number = np.arange(len(units) + 1)
        pairs = np.unique(waits[:, column.OF] * len(units) + waits[:, column.UNIT])
        return Packed(
            units=units,
            waits=waits,
            first_wait=waits[:, column.UNIT].searchsorted(number),
            readers=pairs % max(len(units), 1),
            first_reader=(pairs // max(len(units), 1)).searchsorted(number),
            lists=joined(self._lists, np.int32),
            cycles=joined(self._cycles, np.int64),
            lane_cycles=joined(self._lane_cycles, np.int32),
            words=joined(self._words, np.int64),
        )

    @property
    def tasks(self) -> int:
        """How many tasks there are, those of padded groups included."""
        return self._n_tasks

    def unordered(self, packed: Packed, wait: int) -> ScheduleError:
        """Return the error that a wait names tasks in another order than that in which they are done."""
        unit = int(packed.waits[wait, column.UNIT])
        units = next(u for u in reversed(self.groups) if u.first <= unit)
        return ScheduleError(
            f"schedule: {units.label(unit - units.first)}: a wait names its tasks out of order, or one "
            "twice; wants each once, the first first"
        )

    def stuck(self, packed: Packed, begun: NDArray[np.int64], done: NDArray[np.int64]) -> ScheduleError:
        """Return the error that names a circle of waits, given how many tasks of each unit began, are done."""

        def name(unit: int, task: int) -> str:
            units = next(u for u in reversed(self.groups) if u.first <= unit)
            return units.task(unit - units.first, task)

        def wanted(unit: int) -> tuple[int, int, int] | None:
            task = int(begun[unit])
            for row in packed.waits[packed.first_wait[unit] : packed.first_wait[unit + 1]]:
                tasks = spread(row[column.AT], row[column.AT_STEP], row[column.COUNT], packed.lists)
                where = np.flatnonzero(tasks == task)
                if where.size:
                    on = int(
                        spread(row[column.ON], row[column.ON_STEP], row[column.COUNT], packed.lists)[where[0]]
                    )
                    come = (done if row[column.EVENT] == column.DONE else begun)[row[column.OF]]
                    if on >= come:
                        return int(row[column.OF]), on, int(row[column.EVENT])
            return None

        unit = int(np.flatnonzero(begun < packed.units[:, column.TASKS])[0])
        seen: list[int] = []
        said: list[str] = []
        while unit not in seen:
            seen.append(unit)
            want = wanted(unit)
            assert want is not None  # or the task had begun
            of, task, which = want
            said.append(
                f"{name(unit, int(begun[unit]))} waits for {name(of, task)} to {('begin', 'be done')[which]}"
            )
            unit = of
        return ScheduleError(f"schedule: never ends: {'; '.join(said[seen.index(unit) :])}")


def _counts(lengths: NDArray[Any], tasks: Ints | None) -> Ints:
    return np.full(len(lengths), lengths.shape[1]) if tasks is None else tasks
