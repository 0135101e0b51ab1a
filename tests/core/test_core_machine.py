"""Parts by role, grids of them, and the names of everything inside."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from simhw import core
from simhw.core.machine import Part, flat_parts, structure_of


class Spad(core.Component):
    ACTIONS = ("read",)
    KIND = "spad"

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        words: core.Count

    @classmethod
    def structure(cls, spec):
        return {"register_bits": spec.words * 16}


class Pe(core.Component):
    KIND = "pe"

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        filter_words: core.Count = 8

    def __init__(self, sim, name, spec):
        super().__init__(sim, name, spec)
        self.filter_spad = Spad(sim, f"{name}.filter_spad", Spad.Spec(words=spec.filter_words))

    @classmethod
    def parts(cls, spec):
        return {"filter_spad": (Spad, Spad.Spec(words=spec.filter_words))}


PARTS = {
    "pes": Part(kind=Pe, spec=Pe.Spec(), rows=12, columns=14),
    "memo": Part(kind=Spad, spec=Spad.Spec(words=2)),
}


def test_parts_of_a_grid_are_named_by_row_and_column():
    sim = core.Simulation()
    machine = core.Machine(sim, PARTS)
    machine["pes"][2, 3].filter_spad.count("read")
    machine["memo"].count("read", 2)
    assert sim.ledger.flat() == {"memo.read": 2, "pes[2,3].filter_spad.read": 1}


def test_a_part_is_built_once_and_kept():
    machine = core.Machine(core.Simulation(), PARTS)
    assert machine["memo"] is machine["memo"]
    assert machine["pes"][0, 0] is machine["pes"][0, 0] is not machine["pes"][0, 1]


def test_a_grid_is_walked_row_by_row():
    grid = core.Machine(core.Simulation(), PARTS)["pes"]
    assert (grid.rows, grid.columns, grid.spec) == (12, 14, Pe.Spec())
    assert [pe.name for pe in grid] == [f"pes[{i},{j}]" for i in range(12) for j in range(14)]


@pytest.mark.parametrize("index", [(12, 0), (0, 14), (-1, 0), (0, -1)])
def test_a_grid_has_nothing_outside_its_rows_and_columns(index):
    grid = core.Machine(core.Simulation(), PARTS)["pes"]
    with pytest.raises(IndexError, match=r"the grid has 12 x 14"):
        grid[index]


def test_a_grid_of_one_is_still_a_grid():
    part = Part(kind=Pe, spec=Pe.Spec(), rows=1, columns=1)
    assert part.is_grid
    assert part.instances == 1
    assert core.Machine(core.Simulation(), {"pes": part})["pes"][0, 0].name == "pes[0,0]"
    assert not PARTS["memo"].is_grid
    assert PARTS["memo"].instances == 1


def test_structure_counts_every_instance_of_a_role():
    assert structure_of(PARTS) == {
        "pes": {"register_bits": 12 * 14 * 8 * 16},
        "memo": {"register_bits": 2 * 16},
    }


def test_every_block_is_listed_with_its_number_under_a_path_without_indexes():
    assert flat_parts(PARTS) == {
        "pes": {"kind": "pe", "spec": {"filter_words": 8}, "instances": 168},
        "pes.filter_spad": {"kind": "spad", "spec": {"words": 8}, "instances": 168},
        "memo": {"kind": "spad", "spec": {"words": 2}, "instances": 1},
    }
