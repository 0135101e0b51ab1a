"""Kinds, what they may be charged for, and how a user's own come in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from simhw import core
from simhw.core.dataflow import fits_role
from simhw.core.machine import Part
from simhw.errors import PluginError


class Lane(core.Component):
    """A component that no registry knows: it names no kind."""

    ACTIONS = ("mul",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

        @property
        def word_bytes(self) -> float:
            return self.word_bits / 8

    @classmethod
    def structure(cls, spec):
        return {"multipliers": 1}


class Pair(core.Component):
    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        pass

    @classmethod
    def parts(cls, spec):
        return {"left": (Lane, Lane.Spec()), "right": (Lane, Lane.Spec(word_bits=8))}


def test_what_a_component_does_is_charged_to_its_own_name():
    sim = core.Simulation()
    Lane(sim, "lanes[0,1]", Lane.Spec()).count("mul", 3)
    Lane(sim, "lanes[0,2]", Lane.Spec()).count("mul")
    assert sim.ledger.flat() == {"lanes[0,1].mul": 3, "lanes[0,2].mul": 1}


def test_a_component_is_charged_for_nothing_but_its_actions():
    sim = core.Simulation()
    with pytest.raises(ValueError, match=r"lane: 'add' is not an action of .*\('mul',\)"):
        Lane(sim, "lane", Lane.Spec()).count("add")
    assert sim.ledger.flat() == {}


def test_a_component_waits_whole_cycles_only():
    lane = Lane(core.Simulation(), "lane", Lane.Spec())
    with pytest.raises(TypeError):
        lane.cycles(1.5)


def test_structure_adds_up_what_is_inside():
    assert Pair.structure(Pair.Spec()) == {"multipliers": 2}


def test_defining_a_class_with_a_kind_registers_it(no_kinds):
    class Counter(core.Component, kind="counter"):
        pass

    class Flow(core.Dataflow, kind="flow"):
        pass

    class FlowTwin(core.Twin, kind="flow"):
        pass

    class Helper(Counter):
        pass

    assert core.component_kinds() == {"counter": Counter}
    assert core.dataflow_kinds() == {"flow": Flow}
    assert core.twin_kinds() == {"flow": FlowTwin}
    assert Counter.KIND == "counter"
    assert Helper.KIND == "counter"


@pytest.mark.parametrize("base", [core.Component, core.Dataflow, core.Transform, core.Twin])
def test_two_classes_cannot_have_one_kind(no_kinds, base):
    class First(base, kind="counter"):
        pass

    with pytest.raises(PluginError) as refused:

        class Second(base, kind="counter"):
            pass

    here = f"{__name__}.test_two_classes_cannot_have_one_kind.<locals>"
    assert str(refused.value) == (
        f"{here}.Second: kind 'counter' is already that of {here}.First; choose another name"
    )


def test_asking_for_the_kinds_gives_a_copy_that_changes_nothing(no_kinds):
    core.component_kinds()["mine"] = Lane
    assert core.component_kinds() == {}


PLUGIN = """
from dataclasses import dataclass
from simhw import core

class Memo(core.Component, kind="{kind}"):
    ACTIONS = ("probe",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        words: core.Count
"""


def test_a_plugin_file_registers_its_kinds(no_kinds, tmp_path):
    file = tmp_path / "memo.py"
    file.write_text(PLUGIN.format(kind="memo"))
    core.load_plugin(file)
    assert core.component_kinds()["memo"].Spec(words=4).to_dict() == {"words": 4}


def test_a_plugin_file_may_be_loaded_twice(no_kinds, tmp_path):
    file = tmp_path / "memo.py"
    file.write_text(PLUGIN.format(kind="memo"))
    core.load_plugin(file)
    core.load_plugin(file)
    assert list(core.component_kinds()) == ["memo"]


def test_two_plugin_files_of_one_name_in_two_folders_clash_if_their_kinds_do(no_kinds, tmp_path):
    for folder in ("mine", "yours"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "memo.py").write_text(PLUGIN.format(kind="memo"))
    core.load_plugin(tmp_path / "mine" / "memo.py")
    with pytest.raises(PluginError, match=r"kind 'memo' is already that of .*Memo; choose another name"):
        core.load_plugin(tmp_path / "yours" / "memo.py")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, "{file}: no such file; --plugin wants a Python file"),
        ("notes.txt", "x = 1", "{file}: is not a Python file; --plugin wants a name that ends in .py"),
        ("slip.py", "1 / 0", "{file}: could not be loaded: ZeroDivisionError: division by zero"),
        ("typo.py", "import simhw.cor", "{file}: could not be loaded: ModuleNotFoundError: No module named"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_says_why(tmp_path, name, text, message):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(PluginError, match=f"^{re.escape(message.format(file=file))}"):
        core.load_plugin(file)


def test_a_role_may_ask_for_fields_and_properties_of_a_spec():
    part = Part(kind=Lane, spec=Lane.Spec())
    assert fits_role(core.Role(fields=("word_bits", "word_bytes")), part) == []
    assert fits_role(core.Role(fields=("word_bits", "lanes", "depth")), part) == ["lanes", "depth"]
