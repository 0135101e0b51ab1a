"""Schedules: what the table refuses, what it means, and that both players find the same."""

from __future__ import annotations

import random

import numpy as np
import pytest

from simhw import fast
from simhw.core import packed
from simhw.core.engine import ClockDomain
from simhw.core.link import SteadyLink
from simhw.core.packed import Ragged
from simhw.core.player import play as play_processes
from simhw.core.schedule import Schedule
from simhw.errors import ScheduleError
from simhw.fast import schedule_player
from simhw.play import play

CLOCKS = ((200, 200), (60, 200), (200, 60), (1000, 3), (7, 7000))


def link(clock_mhz=200, accelerator_mhz=200, latency_cycles=0):
    return SteadyLink(ClockDomain(clock_mhz, accelerator_mhz), latency_cycles)


def assert_equal(one, other):
    for name in ("times", "waits"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.busy == other.busy
    assert one.cycles == other.cycles


def drawn(seed):
    """Return a table of anything that tables may hold, and a call that makes its links.

    Tasks of a group have a place in a common order, and wait for those before them alone, so that most
    tables come to an end.
    """
    draw = random.Random(seed)
    table = Schedule()
    links = [f"link{i}" for i in range(draw.randint(1, 3))]
    groups = []  # units, and the place of each task in the common order
    for number in range(draw.randint(2, 7)):
        n = draw.choice((1, 1, 1, 2, 3))
        most = draw.randint(1, 9)
        counts = None if draw.random() < 0.6 else np.array([draw.randint(1, most) for _ in range(n)])
        longest = draw.choice((0, 1, 3, 20))
        kind = draw.choice(("worker", "mover", "mover", "gang"))
        if kind == "gang":
            lanes = draw.randint(1, 4)
            cycles = np.array(
                [[[draw.randint(0, longest) for _ in range(lanes)] for _ in range(most)] for _ in range(n)],
                draw.choice((np.int32, np.int64)),
            )
            widths = None
            if draw.random() < 0.4:
                widths = np.array([[draw.randint(1, lanes) for _ in range(most)] for _ in range(n)])
            units = table.gangs(f"gang{number}", cycles, tasks=counts, widths=widths)
        else:
            lengths = np.array([[draw.randint(0, longest) for _ in range(most)] for _ in range(n)])
            if kind == "worker":
                units = table.workers(f"worker{number}", lengths, tasks=counts, doing=("a", "b"))
            else:
                writes = draw.choice((True, False, np.array([draw.random() < 0.5 for _ in range(most)])))
                units = table.movers(
                    f"mover{number}", draw.choice(links), lengths, tasks=counts, writes=writes
                )
        groups.append(units)
    for _ in range(draw.randint(1, 12)):
        own, other = draw.choice(groups), draw.choice(groups)
        if len(own) != len(other) and 1 not in (len(own), len(other)):
            continue
        # at place j of a unit of k tasks: (j + a fraction by group) / k, so that no circle can come about
        n = max(len(own), len(other))
        at, on = [], []
        any_order = draw.random() < 0.05 and own is not other
        for i in range(n):
            mine, others = (x.tasks[i if len(x) > 1 else 0] for x in (own, other))
            pairs = [
                (a, b)
                for a in range(mine)
                for b in range(others)
                if any_order or a * 10 + groups.index(own) > b * 10 + groups.index(other)
            ]
            chosen = dict(draw.sample(pairs, draw.randint(0, len(pairs))))
            at.append(sorted(chosen))
            on.append([chosen[a] for a in sorted(chosen)])
        count = np.array([len(x) for x in at])
        wide = max(int(count.max()), 1)
        pad = lambda rows, wide=wide: np.array([row + [0] * (wide - len(row)) for row in rows])  # noqa: E731
        lanes = None
        if own.lanes > 1 and draw.random() < 0.5:
            up_to = np.array([[draw.randint(1, own.lanes) for _ in range(wide)] for _ in range(n)])
            lanes = draw.choice((1, Ragged(up_to, count)))
        which = draw.choice((other.begun, other.done))
        if n == 1 or draw.random() < 0.8:
            event = which[Ragged(pad(on), count)]
            own.wait(event, draw.choice(("", "x", "y")), tasks=Ragged(pad(at), count), lanes=lanes)
    if draw.random() < 0.5:
        own, other = draw.choice(groups), draw.choice(groups)
        room = draw.randint(1, 3)
        if len(own) == len(other) == 1 and own is not other:
            k = max(min(own.tasks[0] - room, other.tasks[0]), 0)
            own.wait(other.done[:k], "room", tasks=slice(room, room + k))

    def made():
        drawn_again = random.Random(seed)
        return {
            name: link(*drawn_again.choice(CLOCKS), drawn_again.choice((0, 0, 1, 7)))
            for name in ("link0", "link1", "link2")
        }

    return table, made


def outcome(player, table, links, **more):
    """Return what was played, or the message that says why it could not be."""
    try:
        return player(table, links, **more)
    except ScheduleError as fault:
        return str(fault)


def both(seed):
    table, links = drawn(seed)
    slow = outcome(play_processes, table, links())
    quick = outcome(play, table, links(), log=True)
    if isinstance(slow, str):
        assert quick == slow
        return "stuck"
    assert_equal(slow, quick)
    for units in table.groups:
        went = quick[units]
        if units.lanes == 1 and units.causes:  # causes add up to the time in which a unit does nothing
            for i in range(len(units)):
                tasks = units.tasks[i]
                row = table.packed().units[units.first + i]
                done = went.of_done[i, :tasks]
                before = np.concatenate([[0], done[:-1]])
                waited = int((went.of_begun[i, :tasks] - before).sum())
                charged = quick.waits[row[packed.CHARGES] :][: len(units.causes)]
                assert int(charged.sum()) == waited
    return "played"


@pytest.mark.parametrize("seeds", range(4))
def test_both_players_find_the_same_of_drawn_tables(seeds):
    ended = [both(seed) for seed in range(100 * seeds, 100 * seeds + 100)]
    assert ended.count("played") > 50


@pytest.mark.long
@pytest.mark.parametrize("seeds", range(12))
def test_both_players_find_the_same_of_many_drawn_tables(seeds):
    ended = [both(seed) for seed in range(1000 * seeds + 1000, 1000 * seeds + 2000)]
    assert ended.count("played") > 500


def test_the_compiled_player_knows_the_columns_of_the_table():
    names = [name for name in vars(packed) if name.isupper() and not name.startswith("_") and name != "NEVER"]
    assert len(names) > 20
    assert {name: getattr(schedule_player, name) for name in names} == {
        name: getattr(packed, name) for name in names
    }
    assert fast.play_schedule is schedule_player.play_schedule
