"""Counts per instance, booked one by one or a grid at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simhw.core import Tally, strip_indexes

BOOKINGS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 3),
        st.sampled_from(["", "spad", "spad.port"]),
        st.sampled_from(["read", "write"]),
        st.integers(0, 1 << 40),
    ),
    max_size=30,
)


def instance(row: int, column: int, part: str) -> str:
    return f"pes[{row},{column}]" + (f".{part}" if part else "")


@given(BOOKINGS)
def test_a_grid_booked_at_once_equals_its_instances_booked_one_by_one(bookings):
    single, at_once = Tally(), Tally()
    for row, column, part, what, n in bookings:
        single.add(instance(row, column, part), what, n)
        counts = np.zeros((3, 4), dtype=np.int64)
        counts[row, column] = n
        at_once.add_grid("pes", part, what, counts)
    assert at_once.flat() == single.flat()
    assert at_once.grouped() == single.grouped()
    for row, column, part, what, _ in bookings:
        key = instance(row, column, part), what
        assert at_once[key] == single[key] == single.flat().get(".".join(key), 0)
    for what in ("read", "write"):
        assert at_once.total(what) == single.total(what) == sum(b[4] for b in bookings if b[3] == what)


def test_what_was_booked_in_both_ways_is_added_up():
    tally = Tally()
    tally.add("pes[0,1].spad", "read", 5)
    tally.add("pes[0,1].spad", "read")
    tally.add_grid("pes", "spad", "read", np.array([[10, 20], [0, 30]]))
    assert tally["pes[0,1].spad", "read"] == 26
    assert tally.flat() == {
        "pes[0,0].spad.read": 10,
        "pes[0,1].spad.read": 26,
        "pes[1,1].spad.read": 30,
    }
    assert tally.grouped() == {"pes.spad.read": 66}
    assert tally.total("read") == 66


def test_zeros_are_not_listed_and_what_never_happened_counts_zero():
    tally = Tally()
    tally.add("dram", "read", 0)
    tally.add_grid("pes", "", "mul", np.zeros((2, 2), dtype=np.int64))
    assert tally.flat() == {}
    assert tally.grouped() == {}
    assert list(tally.items()) == []
    assert tally["dram", "write"] == 0
    assert tally["pes[1,1]", "mul"] == 0
    assert tally.total("mul") == 0


def test_counts_are_whole_numbers_of_any_size():
    tally = Tally()
    tally.add("dram", "read", 1 << 80)
    tally.add("dram", "read", 1)
    assert tally["dram", "read"] == (1 << 80) + 1 == tally.grouped()["dram.read"]


def test_an_array_booked_is_not_changed_by_what_is_booked_later():
    mine = np.ones((2, 2), dtype=np.int64)
    tally = Tally()
    tally.add_grid("pes", "", "mul", mine)
    tally.add_grid("pes", "", "mul", mine)
    mine[0, 0] = 100
    assert tally["pes[0,0]", "mul"] == 2
    assert tally.total("mul") == 8


def test_names_come_in_their_order_whatever_was_booked_first():
    tally = Tally()
    for name in ("noc", "dram", "glb"):
        tally.add(name, "read")
    assert list(tally.flat()) == ["dram.read", "glb.read", "noc.read"] == list(tally.grouped())


def test_indexes_are_stripped_at_every_level():
    assert strip_indexes("pes[2,3].filter_spad") == "pes.filter_spad"
    assert strip_indexes("tiles[0,1].pes[2,3]") == "tiles.pes"
    assert strip_indexes("dram") == "dram"
