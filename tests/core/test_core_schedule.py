"""Schedules: what the table refuses, what it means, and that both players find the same."""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter

import numpy as np
import pytest

from simhw import fast
from simhw.core import packed
from simhw.core.engine import ClockDomain
from simhw.core.link import Service, SteadyLink
from simhw.core.packed import Ragged
from simhw.core.player import play as play_processes
from simhw.core.schedule import LONGEST, Schedule
from simhw.core.timeline import spans
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


def assert_spans_add_up(played):
    """Hold the timeline to what workers waited and worked, and to the cycles of busy links."""
    said = Counter()
    for span in spans(played):
        said[span.unit, span.what] += span.end_cycle - span.start_cycle
    for name, busy in played.busy.items():
        assert sum(cycles for (unit, _), cycles in said.items() if unit == name) == busy
    for units in played.table.groups:
        if units.kind != packed.WORKS or not units.doing:
            continue
        for i in range(len(units)):
            waits = {cause: int(lanes[i].sum()) for cause, lanes in played[units].waits.items()}
            assert {cause: said[units.label(i), cause] for cause in waits} == waits
            worked = sum(said[units.label(i), doing] for doing in units.doing)
            assert worked == int(played.table.packed().lengths(units.first + i).sum())


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
    for _ in range(draw.randint(0, 3)):  # by slices with steps: from task `room` on
        own, other = draw.choice(groups), draw.choice(groups)
        room, mine, others = draw.randint(1, 3), draw.randint(1, 3), draw.choice((1, 1, 2, -1))
        if len(own) == len(other) == 1 and own is not other:
            k = min(len(range(room, own.tasks[0], mine)), len(range(0, other.tasks[0], abs(others))))
            on = slice(k - 1 if k else 0, None, -1) if others < 0 else slice(0, k * others, others)
            own.wait(other.done[on if k else slice(0, 0)], "room", tasks=slice(room, room + k * mine, mine))

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
    assert spans(slow) == spans(quick)
    assert_spans_add_up(quick)
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


# meaning, counted by hand


def test_a_worker_is_charged_for_each_cause_by_what_puts_it_off():
    table = Schedule()
    filters, inputs = table.mover("filters", "dram", [3, 4]), table.mover("inputs", "dram", [5])
    array = table.worker("array", [10, 2], doing="work")
    array.wait(inputs.done, "inputs", tasks=slice(0, 1))
    array.wait(filters.done, "filters")
    found = play(table, {"dram": link()}, log=True)
    # filters 0-3, inputs 3-8 (asked for before filters 1), filters 8-12; the array works 8-18 and 18-20
    assert found["filters"].done.tolist() == [3, 12]
    assert found["inputs"].done.tolist() == [8]
    assert found["array"].begun.tolist() == [8, 18]
    assert (found.cycles, found["array"].waited) == (20, {"inputs": 8, "filters": 0})
    assert (found.busy, found.moved) == ({"dram": 12}, {("dram", ""): (12, 0)})
    said = {(s.unit, s.what, s.start_cycle, s.end_cycle) for s in spans(found)}
    assert said == {
        ("array", "inputs", 0, 8), ("array", "work", 8, 18), ("array", "work", 18, 20),
        ("dram", "filters", 0, 3), ("dram", "inputs", 3, 8), ("dram", "filters", 8, 12),
    }  # fmt: skip


def test_room_for_two_keeps_a_transfer_back_until_a_place_is_free():
    table = Schedule()
    filters = table.mover("filters", "dram", [1, 1, 1])
    array = table.worker("array", [10, 10, 10])
    array.wait(filters.done, "filters")
    filters.wait(array.done[:-2], tasks=slice(2, None))
    found = play(table, {"dram": link()})
    assert found["filters"].begun.tolist() == [0, 1, 11]  # when it is asked for
    assert found["array"].done.tolist() == [11, 21, 31]


def test_lanes_of_a_gang_go_at_their_own_pace_and_a_task_is_done_with_the_last():
    table = Schedule()
    source = table.worker("source", [4])
    gang = table.gangs("gang", np.array([[[1, 9], [5, 1]]], np.int32))
    gang.wait(source.done, "source", tasks=slice(0, 1))
    after = table.worker("after", [0, 0])
    after.wait(gang.begun, "begun", tasks=slice(0, 2))
    last = table.worker("last", [0, 0])
    last.wait(gang.done, "done")
    found = play(table, {})
    assert found["gang"].begun.tolist() == [4, 13]  # the second lane begins its second task at 13
    assert found["gang"].done.tolist() == [13, 14]
    assert found["gang"].waits["source"].tolist() == [[4, 4]]
    assert found["after"].waited == {"begun": 13}
    assert found["last"].waited == {"done": 14}


def test_lanes_that_take_no_part_neither_work_nor_wait():
    table = Schedule()
    source = table.worker("source", [7])
    gang = table.gangs("gang", np.array([[[3, 3], [2, 2]]]), widths=np.array([[1, 2]]))
    gang.wait(source.done, "all", tasks=slice(0, 1))
    gang.wait(source.done, "first", tasks=slice(1, 2), lanes=1)
    found = play(table, {})
    assert found["gang"].waits["all"].tolist() == [[7, 0]]
    assert found["gang"].waits["first"].tolist() == [[0, 0]]
    assert found["gang"].done.tolist() == [10, 12]  # the second lane did the second task from 0 to 2


def test_of_one_cycle_the_mover_declared_first_is_served_first():
    table = Schedule()
    second = table.mover("b", "dram", [2])
    first = table.mover("a", "dram", [3])
    found = play(table, {"dram": link()})
    assert (found[second].done.tolist(), found[first].done.tolist()) == ([2], [5])


def test_what_follows_in_no_time_is_asked_for_before_the_next_transfer_is_served():
    table = Schedule()
    start = table.worker("start", [4])
    first = table.mover("first", "dram", [3])
    second = table.mover("second", "dram", [2, 1])
    between = table.worker("between", [0])
    between.wait(start.done)
    first.wait(between.done)
    second.wait(start.done, tasks=slice(0, 1))
    found = play(table, {"dram": link()})
    # both ask in cycle 4, the second mover a step sooner: the first is served first all the same
    assert (found[first].begun.tolist(), found[second].begun.tolist()) == ([4], [4, 9])
    assert (found[first].done.tolist(), found[second].done.tolist()) == ([7], [9, 10])


def test_who_asked_sooner_is_served_sooner_whoever_was_declared_first():
    table = Schedule()
    start = table.workers("start", [[2], [1]])
    late, soon = table.mover("late", "dram", [5]), table.mover("soon", "dram", [5])
    late.wait(start.done.of(0))
    soon.wait(start.done.of(1))
    found = play(table, {"dram": link()})
    assert (found[late].done.tolist(), found[soon].done.tolist()) == ([11], [6])


def test_latency_keeps_no_other_transfer_waiting():
    table = Schedule()
    a, b = table.mover("a", "dram", [2, 2]), table.mover("b", "dram", [3])
    found = play(table, {"dram": link(latency_cycles=10)}, log=True)
    # a 0-2, there at 12, when it asks again; b 2-5, there at 15; a 12-14, there at 24
    assert (found[a].done.tolist(), found[b].done.tolist()) == ([12, 24], [15])
    assert found.busy == {"dram": 7}


def test_slices_count_by_steps_and_backwards():
    table = Schedule()
    source = table.worker("source", [1, 2, 4, 8])  # done at 1, 3, 7, 15
    steps, back = table.worker("steps", [0] * 5), table.worker("back", [0, 0])
    steps.wait(source.done[::2], "even", tasks=slice(1, 5, 3))
    back.wait(source.done[2:0:-1], "last")
    found = play(table, {})
    assert found[steps].done.tolist() == [0, 1, 1, 1, 7]
    assert found[back].done.tolist() == [7, 7]


def test_of_each_task_as_many_lanes_wait_as_are_told():
    table = Schedule()
    source = table.worker("source", [5, 5])
    gang = table.gangs("gang", np.ones((1, 2, 3), int))
    gang.wait(source.done, "some", lanes=np.array([1, 2]))
    found = play(table, {})
    # the first lane waits to 5, works to 6, waits to 10; the second works to 1 and waits to 10
    assert found["gang"].waits["some"].tolist() == [[5 + 4, 9, 0]]
    assert (found["gang"].begun.tolist(), found["gang"].done.tolist()) == ([5, 10], [6, 11])


def test_a_schedule_may_take_as_long_as_may_be():
    for kind in ("worker", "mover"):
        table = Schedule()
        longest = np.array([LONGEST - 1, 1])
        if kind == "worker":
            table.worker("a", longest)
        else:
            table.mover("a", "dram", longest)
        assert play(table, {"dram": link()}).cycles == LONGEST
        assert play_processes(table, {"dram": link()}).cycles == LONGEST
    for declare in (
        lambda table: table.worker("a", [LONGEST]),
        lambda table: table.mover("a", "dram", [LONGEST]),
    ):
        table = Schedule()
        declare(table)
        assert play(table, {"dram": link()}).cycles == LONGEST


def test_links_have_clocks_and_latencies_of_their_own():
    table = Schedule()
    slow, fast_one = table.mover("slow", "off", [2]), table.mover("fast", "on", [8])
    found = play(table, {"off": link(50), "on": link(800, latency_cycles=3)})
    assert found[slow].done.tolist() == [2 * 4]
    assert found[fast_one].done.tolist() == [8 // 4 + 3]
    assert found.busy == {"off": 8, "on": 2}


def test_a_link_faster_than_the_machine_serves_several_transfers_in_a_cycle():
    table = Schedule()
    movers = table.movers("mover", "dram", np.ones((5, 1)))
    found = play(table, {"dram": link(400)})
    assert found[movers].done.reshape(-1).tolist() == [1, 1, 2, 2, 3]


def test_nothing_to_move_is_done_at_once_and_bothers_no_link():
    table = Schedule()
    worker = table.worker("worker", [6])
    nothing = table.mover("nothing", "dram", [0, 0])
    nothing.wait(worker.done, tasks=slice(1, 2))
    found = play(table, {"dram": link(latency_cycles=9)})
    assert (found[nothing].done.tolist(), found.busy["dram"]) == ([0, 6], 0)


def test_groups_are_paired_one_by_one_or_one_with_all():
    table = Schedule()
    sources = table.workers("source {}", [[3], [5]])
    readers = table.workers("reader", [[1], [1]])
    readers.wait(sources.done, "own")
    join = table.worker("join", [0])
    join.wait(readers.done, "all")
    crossed = table.workers("crossed", [[0], [0]])
    crossed.wait(sources.done.of([1, 0]), "other")
    found = play(table, {})
    assert found["reader"].done.tolist() == [[4], [6]]
    assert found["join"].done.tolist() == [6]
    assert found["crossed"].done.tolist() == [[5], [3]]


def test_a_link_without_a_compiled_form_is_played_as_processes():
    class Slow:
        """Every transfer takes seven cycles, whatever it moves."""

        def __init__(self):
            self.free = 0

        def serve(self, asked, words):
            start = max(asked, self.free)
            self.free = start + 7
            return Service(start, self.free, self.free)

    table = Schedule()
    words = table.mover("words", "odd", [1, 100])
    assert play(table, {"odd": Slow()})[words].done.tolist() == [7, 14]


# what a table cannot mean


def refused(make, **links):
    """Return the message with which both players refuse a table, in the same words."""
    said = set()
    for player in (play, play_processes):
        # beyond 64 bits sums wrap round, without a warning too where nothing is compiled
        with pytest.raises(ScheduleError) as fault, np.errstate(over="ignore"):
            player(make(), links)
        said.add(str(fault.value))
    (message,) = said
    return message


TOO_LONG = "schedule: takes 4.6e+18 cycles, or edges of a clock, or more; wants fewer"


def two(make):
    def made():
        table = Schedule()
        make(table, table.worker("a", [1, 2]), table.worker("b", [1, 2]))
        return table

    return made


def test_a_circle_of_waits_is_named_with_its_tasks():
    def crossed(table, a, b):
        a.wait(b.done[1:], tasks=slice(0, 1))
        b.wait(a.done[1:], tasks=slice(1, 2))

    assert refused(two(crossed)) == (
        "schedule: never ends: a[0] waits for b[1] to be done; b[1] waits for a[1] to be done"
    )

    def of_three(table, a, b):
        c = table.worker("c", [1])
        a.wait(b.done[:1], tasks=slice(1, 2))
        b.wait(c.done, tasks=slice(0, 1))
        c.wait(a.done[1:])

    assert refused(two(of_three)) == (
        "schedule: never ends: a[1] waits for b[0] to be done; b[0] waits for c[0] to be done; "
        "c[0] waits for a[1] to be done"
    )

    def through_a_link(table, a, b):
        words = table.mover("words", "dram", [1])
        words.wait(b.begun[1:])
        b.wait(a.done[:1], tasks=slice(1, 2))
        a.wait(words.done, tasks=slice(0, 1))

    assert refused(two(through_a_link), dram=link()) == (
        "schedule: never ends: a[0] waits for words[0] to be done; words[0] waits for b[1] to begin; "
        "b[1] waits for a[0] to be done"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda table, a, b: a.wait(a.done[[0, 1]], tasks=[0, 1]),
            "schedule: a[0]: waits for a[0]; a task can wait only for earlier ones of its own unit",
        ),
        (
            lambda table, a, b: a.wait(b.done[[2]], tasks=[0]),
            "schedule: b[2]: is no task; b has 2, from 0 on",
        ),
        (
            lambda table, a, b: a.wait(b.done[[-1]], tasks=[0]),
            "schedule: b[-1]: is no task; b has 2, from 0 on",
        ),
        (
            lambda table, a, b: a.wait(b.done[[0]], tasks=[5]),
            "schedule: a[5]: is no task; a has 2, from 0 on",
        ),
        (
            lambda table, a, b: a.wait(b.done[[0, 1]], tasks=[1, 0]),
            "schedule: a: a wait names its tasks out of order, or one twice; "
            "wants each once, the first first",
        ),
        (
            lambda table, a, b: a.wait(b.done[:1]),
            "schedule: 2 tasks of a wait for 1 of b; wants one for each",
        ),
        (
            lambda table, a, b: table.worker("c", [1, -2]),
            "schedule: c[1]: takes -2 cycles; wants at least 0",
        ),
        (
            lambda table, a, b: table.gangs("c", np.array([[[1, 2], [1, -3]]])),
            "schedule: c[1]: takes -3 cycles; wants at least 0",
        ),
        (
            lambda table, a, b: table.mover("c", "dram", [4, -1]),
            "schedule: c[1]: takes -1 words; wants at least 0",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int), widths=np.array([[3, 4]])),
            "schedule: c[1]: has 4 lanes; wants 1 to 3",
        ),
        (
            lambda table, a, b: table.worker("a", [1]),
            "schedule: a: is there already; wants another name",
        ),
        (
            lambda table, a, b: table.workers("c", [[1], [1]], tasks=np.array([1, 2])),
            "schedule: c 1: has 2 tasks; wants 0 to 1, which have lengths",
        ),
        (
            lambda table, a, b: a.wait(a.begun[[1]], tasks=[0]),
            "schedule: a[0]: waits for a[1]; a task can wait only for earlier ones of its own unit",
        ),
        (
            lambda table, a, b: a.wait(b.done[[0, 1]], tasks=[1, 1]),
            "schedule: a: a wait names its tasks out of order, or one twice; "
            "wants each once, the first first",
        ),
        (
            lambda table, a, b: a.wait(b.done, tasks=slice(None, None, -1)),
            "schedule: a: a wait names its tasks out of order, or one twice; "
            "wants each once, the first first",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int), widths=np.array([[3, 0]])),
            "schedule: c[1]: has 0 lanes; wants 1 to 3",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int), widths=np.array([[3]])),
            "schedule: c: has widths of (1, 1) tasks, and cycles of (1, 2); wants one for each",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 0), int)),
            "schedule: c: has no lanes; wants at least 1",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int)).wait(a.done, lanes=0),
            "schedule: c[0]: 0 of its lanes wait; wants 1 to 3",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int)).wait(a.done, lanes=[1, 4]),
            "schedule: c[1]: 4 of its lanes wait; wants 1 to 3",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int)).wait(a.done, lanes=[1, -1]),
            "schedule: c[1]: -1 of its lanes wait; wants 1 to 3",
        ),
        (
            lambda table, a, b: table.gangs("c", np.ones((1, 2, 3), int)).wait(a.done, lanes=[1]),
            "schedule: 2 tasks of c wait for 1 of lanes; wants one for each",
        ),
        (
            lambda table, a, b: table.workers("c", [[1], [1]]).wait(
                a.done[Ragged(np.zeros((3, 1), int), 1)], tasks=slice(0, 1)
            ),
            "schedule: a wait of 2 units has 3 lines of 1 numbers, [1, 1] of them meant; "
            "wants a line for each unit, and a number for each task",
        ),
        (
            lambda table, a, b: table.workers("c", [[1], [1]], tasks=np.array([1, -1])),
            "schedule: c 1: has -1 tasks; wants 0 to 1, which have lengths",
        ),
        (
            lambda table, a, b: table.workers("c", [[1], [1]], tasks=np.array([1])),
            "schedule: c: has lengths of 2 units, and numbers of tasks of 1; wants one for each",
        ),
        (
            lambda table, a, b: table.worker("c", [1]).wait(table.workers("d", [[1], [1]]).done.of(2)),
            "schedule: c waits for unit 2 of d, which has 2, from 0 on",
        ),
        (
            lambda table, a, b: table.worker("c", [1]).wait(table.workers("d", [[1], [1]]).done.of(-1)),
            "schedule: c waits for unit -1 of d, which has 2, from 0 on",
        ),
        (
            lambda table, a, b: table.workers("c", np.ones((3, 1))).wait(table.workers("d", [[1], [1]]).done),
            "schedule: 3 of c wait for 2 of d; wants as many, or one",
        ),
        (
            lambda table, a, b: a.wait(table.workers("c", np.ones((0, 1))).done),
            "schedule: 1 of a wait for 0 of c; wants as many, or one",
        ),
        (
            lambda table, a, b: a.wait(Schedule().worker("else", [1]).done),
            "schedule: a waits for else, which is of another schedule",
        ),
        (
            lambda table, a, b: table.worker("c", [1 << 61, 1 << 61, 1 << 61]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: table.worker("c", [LONGEST, (1 << 63) - 1]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: b.wait(table.worker("c", [0, LONGEST, 1]).done[:2]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: b.wait(table.worker("c", [0, LONGEST, 1, 0]).done[[0, 3]]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: table.mover("c", "dram", [LONGEST + 1]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: table.mover("c", "dram", [LONGEST, 1]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: table.mover("c", "dram", [LONGEST, (1 << 63) - 1]),
            TOO_LONG,
        ),
        (
            lambda table, a, b: table.mover("c", "late", [LONGEST]),
            TOO_LONG,
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(make, message):
    assert refused(two(make), dram=link(), late=link(latency_cycles=1)) == message


def test_edges_of_a_clock_that_would_overflow_are_refused_although_their_cycles_would_not():
    table = Schedule()
    table.mover("words", "dram", [LONGEST // 10, 1])
    with pytest.raises(ScheduleError) as fault:
        play(table, {"dram": link(2000)})
    assert str(fault.value) == TOO_LONG


def test_a_schedule_goes_with_the_last_who_needs_it():
    gc.disable()  # its arrays may be large: no collector of circles is waited for
    try:
        table = two(lambda table, a, b: a.wait(b.done))()
        played, gone = play(table, {"dram": link()}), weakref.ref(table)
        del table
        assert gone() is not None
        del played
        assert gone() is None
    finally:
        gc.enable()


def test_a_link_that_is_not_there_is_named():
    def over_a_drum():
        table = Schedule()
        table.mover("words", "drum", [1])
        return table

    assert refused(over_a_drum, dram=link()) == "schedule: no link 'drum'; known: dram"
    assert refused(over_a_drum) == "schedule: no link 'drum'; known: none"
