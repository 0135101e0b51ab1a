"""Rounds of an array whose columns are fed by one link, as a schedule, and where the PEs' cycles went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw import fast as untyped_fast
from simhw.core import Link, Played, Ragged, Schedule, SteadyLink

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]
Mask = Any  # NDArray[np.bool_]: numpy's types say little of what comparisons make

STALLS = ("dram_inputs", "row_bus", "dram_outputs", "pooling")  # of the whole array, or of a row by itself
WAITS = ("stream", "dram_filters", "barrier", "no_portion", "no_filter", *STALLS)  # of single PEs


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What moves besides weights, in the rounds of the whole array, or of each row of PEs [rounds, rows]."""

    inputs: Counts  # link words
    carrying: Counts  # cycles in which buses hand on inputs, from the beginning of the round on
    pooling: Counts  # cycles
    outputs: Counts  # link words


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What a layer's rounds ask of the array.

    A column brings its units of weights one after another, through all rounds, at most `room` ahead of the
    last one that all its PEs are done with. A PE goes through the units of its column at its own pace. Only
    the first present[r] rows of PEs take part in round r.

    A round begins by reading its inputs, while buses carry them to the PEs; then it waits for the outputs of
    the round before to have left. It ends when all PEs are done; after the pooling its outputs begin to
    leave, and the next round begins. In one cycle the link serves inputs, then columns, then outputs.

    Where rows meet by themselves (`by_row`), each does so in each round in which it is present. A row is
    through with a round once its PEs are, and in each of its columns the unit that follows has been asked
    for, or, behind the last one, found to be the last: if it is not the end of a filter of `whole_units`, by
    all PEs having left the one that makes room.
    """

    work: NDArray[np.integer[Any]]  # cycles [rounds, steps, columns, units, rows]
    link: Counts  # link words that bring a unit [rounds, steps, columns, units]; 0: no unit
    present: Counts
    moves: Moves
    room: int  # units of weights that the buffers hold
    by_row: bool
    whole_units: int


@dataclass(frozen=True, kw_only=True)
class Ended:
    """When it was over, how long the whole array waited, and each PE [cause, row, column], as in WAITS."""

    cycles: int
    busy: dict[str, int]  # cycles of links
    moved: dict[tuple[str, str], tuple[int, int]]  # words that links read and wrote, by link and layer
    stalls: dict[str, int]
    waits: Counts


def shortcut(rounds: Rounds, link: Link) -> Ended | None:
    """Return what playing the table over a steady link finds, found in less time; None if it does not fit."""
    if rounds.by_row or not isinstance(link, SteadyLink):
        return None
    moves, clock = rounds.moves, (link.clock.cycles, link.clock.ticks)
    read, written = int(rounds.link.sum() + moves.inputs.sum()), int(moves.outputs.sum())
    transfers = rounds.link.size + 2 * len(rounds.present)
    most = int(rounds.work.max(initial=0)) * rounds.link.size + int((moves.carrying + moves.pooling).sum())
    most += (read + written + transfers) * -(-clock[0] // clock[1]) + transfers * link.latency_cycles
    if (most + read + written) * max(clock) >= 1 << 62:  # it does not look whether numbers overflow
        return None
    summary, waits = fast.play_columns(
        rounds.work, rounds.link, rounds.present, moves.inputs, moves.carrying, moves.pooling, moves.outputs,
        rounds.room, clock, link.latency_cycles,
    )  # fmt: skip
    cycles, *stalls, busy = summary.tolist()
    return Ended(
        cycles=cycles,
        busy={"dram": busy},
        moved={("dram", ""): (read, written)},
        stalls=dict(zip(STALLS, stalls, strict=True)),
        waits=waits,
    )


def tabulate(rounds: Rounds) -> Schedule:
    """Return when the rounds happen, as a table; its link is the role dram."""
    before, places = fast.list_units(rounds.link)
    units = _below(np.arange(places.shape[1]), before[:, -1:])  # [column, unit]
    words: Counts = np.where(units, rounds.link.reshape(-1)[places], 0)
    of_round = (
        len(rounds.present)
        - 1
        - _below(np.arange(places.shape[1])[:, None], before[:, None, 1:-1]).sum(axis=2)
    )
    makes = _each_row if rounds.by_row else _all_rows
    return makes(rounds, before, places, of_round, words)


def read_off(rounds: Rounds, played: Played) -> Ended:
    """Return what became of the rounds of a table."""
    rows, columns = rounds.work.shape[4], rounds.work.shape[2]
    waits: dict[str, Counts] = {cause: np.zeros((rows, columns), np.int64) for cause in WAITS}
    stalls = dict.fromkeys(STALLS, 0)
    array = played["pes"] if not rounds.by_row else played["pes[{},*]"]
    for cause in STALLS[:-1]:
        waits[cause] += array.waits[cause]
    if rounds.by_row:
        turns = np.array(array.units.tasks) // 2
        there = _below(np.arange(rows)[:, None], rounds.present)
        waits["pooling"] += (rounds.moves.pooling.T * there).sum(axis=1)[:, None]
        waits["no_portion"] += played.cycles - array.of_done[np.arange(rows), 2 * turns][:, None]
        of_pes = {cause: n.reshape(columns, rows) for cause, n in played["pes"].waits.items()}
    else:
        stalls |= array.waited | {"pooling": int(rounds.moves.pooling.sum())}
        waits["pooling"] += stalls["pooling"]
        of_pes = played["columns"].waits
    for cause, waited in of_pes.items():
        if cause in waits:
            waits[cause] += waited.T
    return Ended(
        cycles=played.cycles,
        busy=dict(played.busy),
        moved=played.moved,
        stalls={cause: stalls[cause] for cause in STALLS},
        waits=np.array(list(waits.values())),
    )


def _all_rows(rounds: Rounds, before: Counts, places: Counts, of_round: Counts, words: Counts) -> Schedule:
    moves, room, present = rounds.moves, rounds.room, rounds.present
    n, counts, rows = len(present), before[:, -1], rounds.work.shape[4]
    units = _below(np.arange(places.shape[1]), counts[:, None])
    turns = before + np.arange(n + 1)  # tasks of a column that lie between rounds and take no time
    tasks: Counts = of_round + np.arange(1, places.shape[1] + 1, dtype=np.int64)  # and those of its units
    size = len(before), places.shape[1] + n + 1, rows
    cycles: NDArray[np.integer[Any]] = np.zeros(size, rounds.work.dtype)
    widths: Counts = np.full(cycles.shape[:2], rows, np.int64)
    column, unit = np.nonzero(units)
    at = column, tasks[column, unit]
    cycles[at] = rounds.work.reshape(-1, rows)[places[column, unit]]
    widths[at] = present[of_round[column, unit]]

    table = Schedule()
    inputs = table.mover("inputs", "dram", moves.inputs)
    filters = table.movers("filters", "dram", words, tasks=counts)
    outputs = table.mover("outputs", "dram", moves.outputs, writes=True)
    buses = table.worker("buses", moves.carrying)
    # of each round: all may begin; PEs are done, then pooling; and the end
    array = table.worker("pes", _between(moves.pooling), doing=("", "pooling"))
    columns = table.gangs("columns", cycles, tasks=counts + n + 1, widths=widths)
    pooled, begins, ends = array.done[1:-2:2], slice(0, -1, 2), slice(1, None, 2)
    inputs.wait(pooled, tasks=slice(1, None))
    buses.wait(pooled, tasks=slice(1, None))
    outputs.wait(array.done[ends])
    array.wait(inputs.done, "dram_inputs", tasks=begins)
    array.wait(buses.done, "row_bus", tasks=begins)
    array.wait(outputs.done, "dram_outputs", tasks=slice(2, None, 2))
    array.wait(columns.done[Ragged(turns[:, 1:] - 1, n)], "round", tasks=ends)
    filters.wait(columns.done[Ragged(tasks, (counts - room).clip(0))], tasks=slice(room, None))
    columns.wait(filters.begun, "stream", tasks=Ragged(tasks, counts))
    columns.wait(filters.done, "dram_filters", tasks=Ragged(tasks, counts))
    many: Counts = np.diff(before)
    meets, lanes = (np.broadcast_to(x, many.shape) for x in (np.arange(1, 2 * n, 2), present))
    for cause, where in (("barrier", many > 0), ("no_filter", many == 0)):
        met, own, up_to = _left(where, meets, turns[:, 1:], lanes)
        columns.wait(array.begun[met], cause, tasks=own, lanes=up_to)
    columns.wait(array.begun[1::2], "no_portion", tasks=Ragged(turns[:, 1:], n))
    columns.wait(array.done[0::2], "array", tasks=Ragged(turns, n + 1))
    return table


def _each_row(rounds: Rounds, before: Counts, places: Counts, of_round: Counts, words: Counts) -> Schedule:
    """Rows go on by themselves; every PE is a unit of its own."""
    moves, room, counts = rounds.moves, rounds.room, before[:, -1]
    rows, columns = rounds.work.shape[4], len(before)
    there = _below(np.arange(rows)[:, None], rounds.present)  # [row, round]
    turns: Counts = there.sum(axis=1)  # rounds of each row
    turn_of: Counts = there.cumsum(axis=1) - 1  # which of its rounds each is
    own = [
        _left(there, of_all.T)[0].values
        for of_all in (moves.inputs, moves.carrying, moves.pooling, moves.outputs)
    ]

    table = Schedule()
    inputs = table.movers("inputs", "dram", own[0], tasks=turns)
    filters = table.movers("filters", "dram", words, tasks=counts)
    outputs = table.movers("outputs", "dram", own[3], tasks=turns, writes=True)
    buses = table.workers("buses", own[1], tasks=turns)
    each = table.workers("pes[{},*]", _between(own[2]), tasks=2 * turns + 1, doing=("", "pooling"))
    freed = table.workers("freed", np.zeros_like(places), tasks=counts)  # once all rows are done with a unit

    # of each PE, column by column: tasks of no time before its rounds and after the last, and its units
    column, row = (x.reshape(-1) for x in np.indices((columns, rows)))
    is_unit = _below(np.arange(places.shape[1]), counts[column, None])
    is_unit &= there[row[:, None], of_round[column]]
    number: Counts = is_unit.cumsum(axis=1) - 1
    n_units: Counts = is_unit.sum(axis=1)
    tasks, units, cycles = _left(
        is_unit,
        number + turn_of[row[:, None], of_round[column]] + 1,
        np.broadcast_to(np.arange(places.shape[1], dtype=np.int64), is_unit.shape),
        rounds.work.reshape(-1, rows)[places[column], row[:, None]],
    )
    many: Counts = np.diff(before)[column]  # units of each round
    inside: Mask = there[row]
    met, own_many, behind = _left(
        inside, 2 * turn_of[row] + 1, many, np.broadcast_to(before[:, 1:][column], many.shape)
    )
    most = int(turns.max(initial=0))
    after: Counts = np.zeros((columns * rows, most + 1), np.int64)  # the tasks between rounds
    after[:, 1:] = own_many.values.cumsum(axis=1) + np.arange(1, most + 1)
    lengths = np.zeros((columns * rows, tasks.values.shape[1] + most + 1), np.int64)
    pe, k = np.nonzero(_below(np.arange(tasks.values.shape[1]), n_units[:, None]))
    lengths[pe, tasks.values[pe, k]] = cycles.values[pe, k]
    pes = table.workers("pes", lengths, tasks=n_units + turns[row] + 1)

    met_at, pooled = Ragged(_odd(turns, 1), turns), Ragged(_odd(turns, 1), (turns - 1).clip(0))
    begins = Ragged(_odd(turns, 0), turns)
    inputs.wait(each.done[pooled], tasks=slice(1, None))
    buses.wait(each.done[pooled], tasks=slice(1, None))
    outputs.wait(each.done[met_at])
    each.wait(inputs.done, "dram_inputs", tasks=begins)
    each.wait(buses.done, "row_bus", tasks=begins)
    each.wait(outputs.done, "dram_outputs", tasks=Ragged(_odd(turns, 2), turns))
    in_round = _below(np.arange(most), turns[row][:, None])
    has: Mask = in_round & (own_many.values > 0)
    is_cut: Mask = counts >= max(room, 1)
    ends: Counts = places[is_cut, counts[is_cut] - 1] % rounds.link.shape[3] + 1  # units of the last filters
    is_cut[is_cut] = ends < rounds.whole_units
    for c in range(columns):
        mine = np.flatnonzero(column == c)
        ended, when = _left(has[mine], after[mine, 1:] - 1, met.values[mine])
        each.wait(pes.done.of(mine)[ended], "round", tasks=when)
        follows: Mask = has[mine] & (behind.values[mine] < counts[c])
        next_one, when = _left(follows, behind.values[mine], met.values[mine])
        each.wait(filters.begun.of(np.full(rows, c))[next_one], "round", tasks=when)
        if is_cut[c]:
            at_end: Mask = has[mine] & (behind.values[mine] == counts[c])
            left, when = _left(at_end, behind.values[mine] - room, met.values[mine])
            each.wait(freed.done.of(np.full(rows, c))[left], "round", tasks=when)
    for r in range(rows):
        mine = np.flatnonzero(row == r)
        freed.wait(
            pes.done.of(mine)[Ragged(tasks.values[mine], n_units[mine])],
            tasks=Ragged(units.values[mine], n_units[mine]),
        )
    filters.wait(freed.done[:-room], tasks=slice(room, None))
    pes.wait(filters.begun.of(column)[units], "stream", tasks=tasks)
    pes.wait(filters.done.of(column)[units], "dram_filters", tasks=tasks)
    for cause, where in (("barrier", has), ("no_filter", in_round & ~has)):
        meets, between = _left(where, met.values, after[:, 1:])
        pes.wait(each.begun.of(row)[meets], cause, tasks=between)
    of_turns: Counts = turns[row] + 1
    pes.wait(
        each.done.of(row)[Ragged(np.broadcast_to(2 * np.arange(most + 1), after.shape), of_turns)],
        "row",
        tasks=Ragged(after, of_turns),
    )
    return table


def _below(one: Any, other: Any) -> Mask:
    return one < other


def _between(cycles: Any) -> Counts:
    """Return 0, c, 0, c, ..., 0 of the last axis."""
    found = np.zeros((*cycles.shape[:-1], 2 * cycles.shape[-1] + 1), np.int64)
    found[..., 1::2] = cycles
    return found


def _odd(turns: Counts, first: int) -> Counts:
    """Return first, first + 2, ... for each of some units."""
    most = int(turns.max(initial=0))
    return np.broadcast_to(first + 2 * np.arange(most), (len(turns), most))


def _left(where: Mask, *values: NDArray[Any]) -> tuple[Ragged, ...]:
    """Return those numbers of each line [line, place] that a mask lets through, side by side."""
    counts: Counts = where.sum(axis=1)
    line, place = np.nonzero(where)
    at = line, np.arange(len(line)) - np.repeat(counts.cumsum() - counts, counts)
    found: list[Ragged] = []
    for numbers in values:
        left = np.zeros((len(where), counts.max(initial=0)), np.int64)
        left[at] = numbers[line, place]
        found.append(Ragged(left, counts))
    return tuple(found)
