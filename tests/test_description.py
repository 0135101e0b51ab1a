"""Accelerator descriptions: what is built from them, and every way in which they can be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Literal

import pytest

from simhw import core, shipped, technology
from simhw.description import Description, load_accelerator, load_plugins
from simhw.errors import DescriptionError, PluginError

TOY = """\
name: toy
cites: nobody yet
clock_mhz: 200
dataflow: toy_flow
options: {order: rows}
technology: toy_45nm
components:
  pes: {kind: toy_pe, rows: 2, columns: 3, lanes: 4}
  dram:
    kind: toy_link
    clock_mhz: 60
"""


@pytest.fixture
def toys(no_kinds, monkeypatch):
    """A world of two roles, three kinds and one dataflow, so that messages can be told word for word."""

    class Lane(core.Component, kind="toy_lane"):
        ACTIONS = ("mul",)

        @dataclass(frozen=True, kw_only=True)
        class Spec(core.Spec):
            word_bits: core.Count = 16

        @classmethod
        def structure(cls, spec):
            return {"multipliers": 1}

    class Pe(core.Component, kind="toy_pe"):
        @dataclass(frozen=True, kw_only=True)
        class Spec(core.Spec):
            lanes: core.Count
            io_buffer_kib: core.Size = 20
            share_kib: core.Size = 1

            def __post_init__(self) -> None:
                super().__post_init__()
                if self.share_kib > self.io_buffer_kib:
                    raise DescriptionError(
                        f"share_kib: wants at most io_buffer_kib, {self.io_buffer_kib}, got {self.share_kib}"
                    )
                if self.lanes == 13:
                    raise ValueError("nobody builds 13 lanes; wants another number")

        @classmethod
        def parts(cls, spec):
            if spec.lanes == 17:
                return {"lane": (Lane, Lane.Spec(word_bits=0))}
            return {f"lane{i}": (Lane, Lane.Spec()) for i in range(spec.lanes)}

    class Link(core.Component, kind="toy_link"):
        ACTIONS = ("read", "write")

        @dataclass(frozen=True, kw_only=True)
        class Spec(core.Spec):
            clock_mhz: core.Megahertz
            latency_cycles: core.Cycles = 0

    class Flow(core.Dataflow, kind="toy_flow"):
        ROLES = {  # noqa: RUF012
            "pes": core.Role(fields=("lanes",), grid=True, about="the array"),
            "dram": core.Role(fields=("clock_mhz",)),
        }
        TRANSFORMS = ("quantize", "sign_order", "mirror")

        @dataclass(frozen=True, kw_only=True)
        class Options(core.Spec):
            order: Literal["rows", "columns"]
            overlapped: core.Flag = False

    monkeypatch.setattr(
        "simhw.description.checking.technology_names", lambda: ["tetris_45nm", "toy_45nm", "toy_65nm"]
    )

    class Quantize(core.Transform, kind="quantize"):
        EXCLUDES = ("mirror",)

    class SignOrder(core.Transform, kind="sign_order"):
        @dataclass(frozen=True, kw_only=True)
        class Options(core.Spec):
            negatives: Literal["original", "magnitude"] = "original"

    class Mirror(core.Transform, kind="mirror"):
        WANTS = ("sign_order",)

    return Flow


@pytest.fixture
def toy(toys, tmp_path):
    """Write the toy's description, with replacements, and return its path."""

    def write(*replacements: tuple[str, str]) -> Path:
        text = TOY
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "toy.yaml"
        file.write_text(text)
        return file

    return write


def faults(file, overrides=()) -> list[str]:
    with pytest.raises(DescriptionError) as refused:
        load_accelerator(file, overrides)
    name = str(file) if isinstance(file, Path) else "\0"
    return [fault.replace(name, "toy.yaml") for fault in refused.value.faults]


# what is built


def test_a_description_says_what_the_machine_is(toy):
    toy_machine = load_accelerator(toy())
    assert toy_machine.name == "toy"
    assert toy_machine.cites == "nobody yet"
    assert toy_machine.clock_mhz == 200
    assert toy_machine.dataflow == "toy_flow"
    assert toy_machine.options.to_dict() == {"order": "rows", "overlapped": False}
    assert toy_machine.transforms == {}
    assert toy_machine.technology == "toy_45nm"
    assert toy_machine.mapping is None
    pes, dram = toy_machine.parts["pes"], toy_machine.parts["dram"]
    assert (pes.rows, pes.columns, pes.instances, pes.spec.lanes) == (2, 3, 6, 4)
    assert (dram.is_grid, dram.spec.clock_mhz) == (False, 60)
    assert toy_machine.structure() == {"pes": {"multipliers": 2 * 3 * 4}, "dram": {}}
    assert toy_machine.flat_parts()["pes.lane3"] == {
        "kind": "toy_lane", "spec": {"word_bits": 16}, "instances": 6,
    }  # fmt: skip


def test_a_description_never_changes(toy):
    with pytest.raises(FrozenInstanceError):
        load_accelerator(toy()).clock_mhz = 100


def test_a_description_comes_back_from_its_own_data_with_defaults_written_out(toy):
    first = load_accelerator(toy(("options:", "transforms: [sign_order]\noptions:")))
    data = first.to_dict()
    assert data["components"]["pes"] == {
        "kind": "toy_pe", "rows": 2, "columns": 3, "lanes": 4, "io_buffer_kib": 20, "share_kib": 1,
    }  # fmt: skip
    again = load_accelerator(json.loads(json.dumps(data)))
    assert again.to_dict() == data
    assert again.digest == first.digest


def test_the_digest_tells_machines_apart_and_nothing_else(toy):
    digest = load_accelerator(toy()).digest
    assert load_accelerator(toy(("clock_mhz: 200", "clock_mhz: 200.0 # MHz"))).digest == digest
    assert load_accelerator(toy(("lanes: 4}", "lanes: 4, io_buffer_kib: 20}"))).digest == digest
    for change in (("lanes: 4", "lanes: 5"), ("order: rows", "order: columns"), ("mhz: 60", "mhz: 61")):
        assert load_accelerator(toy(change)).digest != digest


def test_the_digest_does_not_depend_on_where_the_file_lies(toy, tmp_path):
    digests = set()
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        table = Path(technology.__file__).with_name("eyeriss_65nm.yaml")
        (tmp_path / folder / "mine.yaml").write_bytes(table.read_bytes())
        moved = tmp_path / folder / "toy.yaml"
        moved.write_text(TOY.replace("technology: toy_45nm", "technology: ./mine.yaml"))
        found = load_accelerator(moved)
        assert found.technology == str(tmp_path / folder / "mine.yaml")
        digests.add(found.digest)
    assert len(digests) == 1


def test_a_description_that_is_already_checked_is_taken_as_it_is(toy):
    first = load_accelerator(toy())
    assert load_accelerator(first) is first
    faster = load_accelerator(first, {"clock_mhz": 400})
    assert (faster.clock_mhz, faster.source, first.clock_mhz) == (400, first.source, 200)


def test_data_given_is_not_changed(toy):
    data = load_accelerator(toy()).to_dict()
    before = json.dumps(data)
    load_accelerator(data, ["components.pes.lanes=8"])
    assert json.dumps(data) == before


def test_without_a_technology_there_are_no_energies_if_the_description_says_so(toy):
    assert load_accelerator(toy(("toy_45nm", "null"))).technology is None


# what is wrong with one field

MHZ = "a number of MHz above 0, at most 100,000"
ONE_FAULT = [
    # misspelt and missing
    ("cites:", "cite:", "toy.yaml:2: unknown field 'cite'; did you mean 'cites'? known: cites, clock_mhz, "
     "components, dataflow, mapping, name, options, technology, transforms"),
    ("lanes: 4", "lanes: 4, lanse: 3", "toy.yaml:8: components.pes: unknown field 'lanse'; did you mean "
     "'lanes'? known: columns, io_buffer_kib, lanes, rows, share_kib"),
    ("name: toy\n", "", "toy.yaml:1: name: is missing; wants a name"),
    ("clock_mhz: 200\n", "", f"toy.yaml:1: clock_mhz: is missing; wants {MHZ}"),
    ("dataflow: toy_flow\n", "", "toy.yaml:1: dataflow: is missing; known: toy_flow"),
    ("technology: toy_45nm\n", "", "toy.yaml:1: technology: is missing; wants a technology table, or null "
     "for no energies; known: tetris_45nm, toy_45nm, toy_65nm"),
    (TOY[TOY.index("components"):], "", "toy.yaml:1: components: is missing; wants a mapping of parts by "
     "role (dram: {kind: …})"),
    (", lanes: 4", "", "toy.yaml:8: components.pes.lanes: is missing; wants a whole number of at least 1"),
    ("kind: toy_pe, ", "", "toy.yaml:8: components.pes.kind: is missing; known: toy_lane, toy_link, toy_pe"),
    ("{order: rows}", "", "toy.yaml:5: options.order: is missing; wants one of rows, columns"),
    ("options: {order: rows}\n", "", "toy.yaml:1: options.order: is missing; wants one of rows, columns"),
    # unknown names
    ("toy_link", "toy_lnk", "toy.yaml:10: components.dram: unknown kind 'toy_lnk'; did you mean 'toy_link'? "
     "known: toy_lane, toy_link, toy_pe"),
    ("kind: toy_link", "kind: 7", "toy.yaml:10: components.dram: unknown kind 7; known: toy_lane, toy_link, "
     "toy_pe"),
    ("toy_flow", "toy_flwo", "toy.yaml:4: dataflow: unknown dataflow 'toy_flwo'; did you mean 'toy_flow'? "
     "known: toy_flow"),
    ("toy_flow", "[a, b]", "toy.yaml:4: dataflow: unknown dataflow a list; known: toy_flow"),
    ("toy_45nm", "toy_45n", "toy.yaml:6: technology: unknown technology table 'toy_45n'; did you mean "
     "'toy_45nm'? known: tetris_45nm, toy_45nm, toy_65nm"),
    ("toy_45nm", "65", "toy.yaml:6: technology: wants the name or the path of a technology table, or null, "
     "got 65"),
    ("options", "transforms: [sign_ordr]\noptions", "toy.yaml:5: transforms[0]: unknown transform "
     "'sign_ordr'; did you mean 'sign_order'? known: mirror, quantize, sign_order"),
    ("options", "transforms: sign_order\noptions", "toy.yaml:5: transforms: wants transforms by name with "
     "their options (name: {option: value}), or a list of names, got 'sign_order'"),
    ("options", "transforms: {sign_ordr: {}}\noptions", "toy.yaml:5: transforms: unknown transform "
     "'sign_ordr'; did you mean 'sign_order'? known: mirror, quantize, sign_order"),
    ("options", "transforms: {sign_order: {negative: original}}\noptions", "toy.yaml:5: "
     "transforms.sign_order: unknown field 'negative'; did you mean 'negatives'? known: negatives"),
    ("options", "transforms:\n  sign_order: {negatives: size}\noptions", "toy.yaml:6: "
     "transforms.sign_order.negatives: wants one of original, magnitude, got 'size'"),
    ("options", "transforms: {sign_order: 3}\noptions", "toy.yaml:5: transforms.sign_order: wants a mapping "
     "of options (name: value), got 3"),
    ("options", "transforms: [quantize, quantize]\noptions", "toy.yaml:5: transforms[1]: names quantize "
     "twice; wants each transform once"),
    ("options", "transforms: [mirror]\noptions", "toy.yaml:5: transforms[0]: mirror wants sign_order beside "
     "it; add it"),
    ("options", "transforms:\n  sign_order: {}\n  mirror: {}\n  quantize: {}\noptions", "toy.yaml:8: "
     "transforms.quantize: quantize and mirror exclude each other; leave one out"),
    # roles
    ("  pes:", "  memo: {kind: toy_lane}\n  pes:", "toy.yaml:8: components: unknown role 'memo'; known: "
     "dram, pes"),
    (TOY[TOY.index("  dram"):], "", "toy.yaml:7: components.dram: is missing; the dataflow wants this role"),
    ("  pes: {kind: toy_pe, rows: 2, columns: 3, lanes: 4}\n", "", "toy.yaml:7: components.pes: is missing; "
     "the dataflow wants this role, the array"),
    ("{kind: toy_pe, rows: 2, columns: 3, lanes: 4}", "toy_pe", "toy.yaml:8: components.pes: wants a part, "
     "{kind: …, field: value}, got 'toy_pe'"),
    ("kind: toy_pe, rows: 2, columns: 3, lanes: 4", "kind: toy_lane, rows: 2, columns: 3",
     "toy.yaml:8: components.pes: kind 'toy_lane' lacks lanes; the role 'pes' wants a kind that has: toy_pe"),
    ("clock_mhz: 60", "clock_mhz: 60\n    rows: 2", "toy.yaml:12: components.dram: the role 'dram' is filled "
     "by one part, not by a grid; leave 'rows' out"),
    (", columns: 3", "", "toy.yaml:8: components.pes.columns: is missing; wants a whole number of at least "
     "1"),
    # wrong types, units and sizes
    ("name: toy", "name: 3", "toy.yaml:1: name: wants a name, got 3"),
    ("name: toy", "name: ''", "toy.yaml:1: name: wants a name, got ''"),
    ("nobody yet", "[a, b]", "toy.yaml:2: cites: wants text, got ['a', 'b']"),
    ("mhz: 200", "mhz: 200 MHz", f"toy.yaml:3: clock_mhz: wants {MHZ}, got '200 MHz'"),
    ("mhz: 200", "mhz: 0", f"toy.yaml:3: clock_mhz: wants {MHZ}, got 0"),
    ("mhz: 200", "mhz: .nan", f"toy.yaml:3: clock_mhz: wants {MHZ}, got nan"),
    ("mhz: 200", "mhz:", f"toy.yaml:3: clock_mhz: wants {MHZ}, got nothing"),
    ("mhz: 60", "mhz: -60", f"toy.yaml:11: components.dram.clock_mhz: wants {MHZ}, got -60"),
    ("lanes: 4", "lanes: 4k", "toy.yaml:8: components.pes.lanes: wants a whole number of at least 1, got "
     "'4k'"),
    ("lanes: 4", "lanes: 0", "toy.yaml:8: components.pes.lanes: wants a whole number of at least 1, got 0"),
    ("lanes: 4", "lanes: true", "toy.yaml:8: components.pes.lanes: wants a whole number of at least 1, got "
     "True"),
    ("lanes: 4", "lanes: 4, io_buffer_kib: 108KB", "toy.yaml:8: components.pes.io_buffer_kib: wants a number "
     "above 0, got '108KB'"),
    ("lanes: 4", "lanes: 4, io_buffer_kib: '20'", "toy.yaml:8: components.pes.io_buffer_kib: wants a number "
     "above 0, got '20'"),
    ("rows: 2", "rows: -2", "toy.yaml:8: components.pes.rows: wants a whole number of at least 1, got -2"),
    ("rows: 2", "rows: 1000000", "toy.yaml:8: components.pes: is 1,000,000 x 3; wants at most 1,048,576 "
     "parts in a grid"),
    ("order: rows", "order: row", "toy.yaml:5: options.order: wants one of rows, columns, got 'row'"),
    ("{order: rows}", "{order: rows, overlapped: yes}", "toy.yaml:5: options.overlapped: wants true or "
     "false, got 'yes'"),
    ("{order: rows}", "{order: rows, oder: rows}", "toy.yaml:5: options: unknown field 'oder'; did you mean "
     "'order'? known: order, overlapped"),
    ("{order: rows}", "rows", "toy.yaml:5: options: wants a mapping of options (name: value), got 'rows'"),
    # fields that do not go together, in the Spec's own words
    ("lanes: 4", "lanes: 4, share_kib: 30", "toy.yaml:8: components.pes.share_kib: wants at most "
     "io_buffer_kib, 20, got 30"),
    ("lanes: 4", "lanes: 13", "toy.yaml:8: components.pes: nobody builds 13 lanes; wants another number"),
    ("lanes: 4", "lanes: 17", "toy.yaml:8: components.pes: word_bits: wants a whole number of at least 1, "
     "got 0"),
    # YAML
    ("lanes: 4", "lanes: 4, lanes: 5", "toy.yaml:8: components.pes.lanes: is given twice, first on line 8; "
     "keep one"),
    ("rows: 2", "rows: &n 2", "toy.yaml:8: an anchor (&n) is not taken here; leave it out"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), ONE_FAULT, ids=[m[:60] for _, _, m in ONE_FAULT])
def test_a_fault_is_told_with_its_line_what_was_found_and_what_would_do(toy, old, new, message):
    assert faults(toy((old, new))) == [message]


def test_all_faults_of_a_file_come_in_one_raise_in_the_order_of_its_lines(toy):
    file = toy(
        ("mhz: 200", "mhz: fast"),
        ("order: rows", "order: 3"),
        ("toy_45nm", "toy_45n"),
        ("rows: 2", "rows: 0"),
        ("lanes: 4", "lanse: 4"),
        ("    clock_mhz: 60", "    latency_cycles: -1\n  memo: {kind: toy_lane}"),
    )
    assert faults(file) == [
        f"toy.yaml:3: clock_mhz: wants {MHZ}, got 'fast'",
        "toy.yaml:5: options.order: wants one of rows, columns, got 3",
        "toy.yaml:6: technology: unknown technology table 'toy_45n'; did you mean 'toy_45nm'? known: "
        "tetris_45nm, toy_45nm, toy_65nm",
        "toy.yaml:8: components.pes.rows: wants a whole number of at least 1, got 0",
        "toy.yaml:8: components.pes: unknown field 'lanse'; did you mean 'lanes'? known: columns, "
        "io_buffer_kib, lanes, rows, share_kib",
        "toy.yaml:8: components.pes.lanes: is missing; wants a whole number of at least 1",
        f"toy.yaml:9: components.dram.clock_mhz: is missing; wants {MHZ}",
        "toy.yaml:11: components.dram.latency_cycles: wants a whole number of cycles, at least 0, got -1",
        "toy.yaml:12: components: unknown role 'memo'; known: dram, pes",
    ]


def test_parts_are_looked_at_even_if_the_dataflow_is_unknown(toy):
    assert faults(toy(("toy_flow", "flow"), ("lanes: 4", "lanes: -1"), (", columns: 3", ""))) == [
        "toy.yaml:4: dataflow: unknown dataflow 'flow'; did you mean 'toy_flow'? known: toy_flow",
        "toy.yaml:8: components.pes.columns: is missing; wants a whole number of at least 1",
        "toy.yaml:8: components.pes.lanes: wants a whole number of at least 1, got -1",
    ]


def test_a_huge_value_makes_a_short_message(toy):
    for value in ("9" * 100_000, "x" * 100_000):
        (fault,) = faults(toy(("lanes: 4", f"lanes: {value}")))
        assert len(fault) < 160


# files


def test_a_file_named_wrongly_is_told_with_what_there_is(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = ", ".join(shipped.names("accelerators", ".yaml"))
    assert faults("eyerisss") == [
        "eyerisss: no such file, and no shipped accelerator has that name; did you mean 'eyeriss'? "
        f"known: {known}"
    ]
    (tmp_path / "folder").mkdir()
    assert faults("folder") == ["folder: is a directory; wants a .yaml file"]


def test_a_file_that_is_no_description_says_what_it_wants(toys, tmp_path):
    file = tmp_path / "toy.yaml"
    file.write_text("")
    assert faults(file) == ["toy.yaml: is empty; wants an accelerator description"]
    file.write_text("- name: toy\n")
    assert faults(file) == [
        "toy.yaml:1: wants an accelerator description, fields as `name: value`, got a list"
    ]


def test_a_technology_of_ones_own_is_seen_from_the_description(toy, tmp_path):
    assert faults(toy(("toy_45nm", "tables/mine.yaml"))) == [
        f"toy.yaml:6: technology: no such file: {tmp_path}/tables/mine.yaml; wants the name or the path of a "
        "technology table"
    ]


def test_a_broken_technology_of_ones_own_is_told_with_its_own_lines(toy, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: [")
    file = toy(("toy_45nm", "mine.yaml"), ("lanes: 4", "lanes: -1"))
    first, *rest = faults(file)
    assert first == "toy.yaml:8: components.pes.lanes: wants a whole number of at least 1, got -1"
    assert rest
    assert all(fault.startswith(f"{tmp_path}/mine.yaml:") for fault in rest)


# overrides


def test_overrides_take_the_place_of_what_the_file_says(toy):
    found = load_accelerator(
        toy(),
        [
            "components.pes.rows=8", "clock_mhz=100", "options.overlapped=true", "transforms=[quantize]",
            "components.pes.io_buffer_kib=2.5", "technology=null", "cites='12'", "clock_mhz=150",
        ],
    )  # fmt: skip
    assert found.parts["pes"].rows == 8
    assert found.clock_mhz == 150
    assert found.options.overlapped is True
    assert list(found.transforms) == ["quantize"]
    assert found.parts["pes"].spec.io_buffer_kib == 2.5
    assert found.technology is None
    assert found.cites == "12"


def test_overrides_may_be_a_mapping_of_values(toy):
    found = load_accelerator(toy(), {"components.pes.rows": 8, "options.order": "columns"})
    assert (found.parts["pes"].rows, found.options.order) == (8, "columns")
    assert faults(toy(), {"components.pes.rows": "8"}) == [
        "--set components.pes.rows=8: components.pes.rows: wants a whole number of at least 1, got '8'"
    ]


def test_a_whole_part_can_be_overridden(toy):
    found = load_accelerator(toy(), ["components.dram={kind: toy_link, clock_mhz: 800}"])
    assert found.parts["dram"].spec.clock_mhz == 800


def test_an_override_can_mend_a_file(toy):
    assert load_accelerator(toy(("lanes: 4", "lanes: 4k")), ["components.pes.lanes=4"]).parts["pes"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("components.pes.rwos=8", "components.pes: unknown field 'rwos'; did you mean 'rows'? known: "
         "columns, io_buffer_kib, lanes, rows, share_kib"),
        ("components.pess.rows=8", "components: unknown role 'pess'; did you mean 'pes'? known: dram, pes"),
        ("clok_mhz=8", "unknown field 'clok_mhz'; did you mean 'clock_mhz'? known: cites, clock_mhz, "
         "components, dataflow, mapping, name, options, technology, transforms"),
        ("options.oder=rows", "options: unknown field 'oder'; did you mean 'order'? known: order, "
         "overlapped"),
        ("components.pes.rows=4k", "components.pes.rows: wants a whole number of at least 1, got '4k'"),
        ("components.pes.rows=", "components.pes.rows: wants a whole number of at least 1, got nothing"),
        ("components.dram.kind=toy_lnk", "components.dram: unknown kind 'toy_lnk'; did you mean 'toy_link'? "
         "known: toy_lane, toy_link, toy_pe"),
        ("clock_mhz=200 MHz", f"clock_mhz: wants {MHZ}, got '200 MHz'"),
        ("clock_mhz.fast=1", "clock_mhz is 200 and has no fields to set"),
        ("components.pes.share_kib=30", "components.pes.share_kib: wants at most io_buffer_kib, 20, got 30"),
        ("components.dram={kind: toy_link}", f"components.dram.clock_mhz: is missing; wants {MHZ}"),
        ("clock_mhz", "wants PATH=VALUE, such as components.pes.rows=8"),
        ("=3", "'' is no path; wants names with points, such as clock_mhz"),
        ("components..rows=3", "'components..rows' is no path; wants names with points, such as clock_mhz"),
        ("clock_mhz=[1", "is not YAML: while parsing a flow sequence of line 1, expected ',' or ']', but got "
         "'<stream end>'; mend this line or the one before"),
        ("clock_mhz=*x", "an alias (*x) is not taken here; write the value out"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_told_as_it_was_given(toy, override, message):
    assert faults(toy(), [override]) == [f"--set {override}: {message}"]


def test_faults_of_the_file_come_before_those_of_overrides(toy):
    assert faults(toy(("lanes: 4", "lanes: 0")), ["clock_mhz=no", "what", "name=5"]) == [
        "toy.yaml:8: components.pes.lanes: wants a whole number of at least 1, got 0",
        "--set what: wants PATH=VALUE, such as components.pes.rows=8",
        "--set name=5: name: wants a name, got 5",
        f"--set clock_mhz=no: clock_mhz: wants {MHZ}, got 'no'",
    ]


def test_a_file_named_in_an_override_is_seen_from_the_current_directory(toy, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert faults(toy(), ["technology=./mine.yaml"]) == [
        "--set technology=./mine.yaml: technology: no such file: mine.yaml; wants the name or the path of a "
        "technology table"
    ]


def test_a_file_may_be_named_by_a_path_object(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path(technology.__file__).with_name("eyeriss_65nm.yaml")
    Path("mine.yaml").write_bytes(own.read_bytes())
    for path in (own, Path("mine.yaml")):
        assert Path(load_accelerator(toy(), {"technology": path}).technology) == path


# what ships


@pytest.mark.parametrize("name", shipped.names("accelerators", ".yaml"))
def test_shipped_descriptions_are_right_and_cite_where_they_come_from(name):
    found = load_accelerator(name)
    assert isinstance(found, Description)
    assert found.name == name
    assert found.cites
    assert load_accelerator(found.to_dict()).digest == found.digest


def test_eyeriss_is_built_from_what_its_publication_says():
    eyeriss = load_accelerator("eyeriss")
    structure = eyeriss.structure()
    assert structure["pes"]["multipliers"] == 12 * 14
    assert structure["pes"]["register_bits"] == 12 * 14 * (12 + 24) * 16
    assert structure["pes"]["sram_bits"] == 12 * 14 * 448 * 8
    assert structure["glb"]["sram_bits"] == 108 * 1024 * 8


def test_a_buffer_whose_filters_leave_no_room_is_refused():
    with pytest.raises(DescriptionError) as refused:
        load_accelerator("eyeriss", ["components.glb.filter_kib=108"])
    assert str(refused.value) == (
        "--set components.glb.filter_kib=108: components.glb.filter_kib: wants less than size_kib, 108, so "
        "that inputs and sums have room; got 108"
    )


# plug-ins

MEMO = '''
from dataclasses import dataclass
from simhw import core

class Memo(core.Component, kind="{kind}"):
    """Remembers products."""

    ACTIONS = ("probe",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        words: core.Count

class MemoFlow(core.Dataflow, kind="{kind}_flow"):
    ROLES = {{"memo": core.Role(fields=("words",))}}
'''


def test_a_users_own_component_is_used_in_a_description_anywhere(toys, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "memo.py").write_text(MEMO.format(kind="memo"))
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "reuse.yaml"
    file.write_text(
        "name: reuse\nclock_mhz: 100\ndataflow: memo_flow\ntechnology: null\n"
        "components:\n  memo: {kind: memo, words: 4}\n"
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert faults("reuse.yaml") == [
        "reuse.yaml:3: dataflow: unknown dataflow 'memo_flow'; did you mean 'toy_flow'? known: toy_flow",
        "reuse.yaml:6: components.memo: unknown kind 'memo'; known: toy_lane, toy_link, toy_pe",
    ]
    load_plugins(["../mine/memo.py"])
    assert load_accelerator("reuse").parts["memo"].spec.to_dict() == {"words": 4}


def test_a_plugin_whose_kind_exists_is_refused(toys, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MEMO.format(kind="toy_pe"))
    with pytest.raises(PluginError, match=r"kind 'toy_pe' is already that of .*\.Pe; choose another name$"):
        load_plugins([file])


def test_an_installed_plugin_is_loaded_by_name_and_never_by_itself(tmp_path):
    """A package with an entry point, on the path of a fresh interpreter."""
    package = tmp_path / "memo_package-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: memo-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[simhw.plugins]\nmemo = memo_package\nbad = memo_absent\n")
    (tmp_path / "memo_package.py").write_text(MEMO.format(kind="memo"))
    script = """
from simhw import core
from simhw.description import load_plugins
from simhw.errors import PluginError
assert "memo" not in core.component_kinds()
load_plugins(entry_points=["memo"])
assert "memo" in core.component_kinds()
for name in ("mmeo", "bad"):
    try:
        load_plugins(entry_points=[name])
    except PluginError as error:
        print(error)
"""
    root = str(Path(core.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), root])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "mmeo: no plug-in of that name is installed; did you mean 'memo'? known: bad, memo",
        "bad: could not be loaded: ModuleNotFoundError: No module named 'memo_absent'",
    ]


def test_a_transform_that_the_dataflow_does_not_take_is_refused(toy, toys, monkeypatch):
    monkeypatch.setattr(toys, "TRANSFORMS", ("quantize",))
    file = toy(("options:", "transforms: [sign_order]\noptions:"))
    with pytest.raises(DescriptionError) as error:
        load_accelerator(file)
    assert [fault.partition(": ")[2] for fault in error.value.faults] == [
        "transforms[0]: toy_flow does not take 'sign_order'; it takes: quantize"
    ]


@pytest.mark.parametrize(
    "written", ["[sign_order]", "{sign_order: {}}", "{sign_order: {negatives: original}}"]
)
def test_transforms_may_be_a_list_of_names_whose_options_are_overridden(toy, written):
    file = toy(("options:", f"transforms: {written}\noptions:"))
    assert load_accelerator(file).to_dict()["transforms"] == {"sign_order": {"negatives": "original"}}
    setting = "transforms.sign_order.negatives=magnitude"
    assert load_accelerator(file, [setting]).transforms["sign_order"].negatives == "magnitude"
    again = load_accelerator(load_accelerator(file), [setting])
    assert again.transforms["sign_order"].negatives == "magnitude"
    assert faults(file, ["transforms.sign_order.negatives=x"]) == [
        "--set transforms.sign_order.negatives=x: transforms.sign_order.negatives: wants one of original, "
        "magnitude, got 'x'"
    ]
    assert faults(file, ["transforms.sign_ordr.negatives=x"]) == [
        "--set transforms.sign_ordr.negatives=x: transforms: unknown transform 'sign_ordr'; "
        "did you mean 'sign_order'? known: mirror, quantize, sign_order"
    ]
