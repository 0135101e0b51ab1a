"""One contract for every registered kind of component, dataflow and twin.

New kinds are found in the registries and their Specs filled in from annotations, so that a new
component is held to this contract without a line being changed here.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import Any, get_args, get_type_hints

import pytest

import simhw.components
import simhw.dataflows
import simhw.stepped  # noqa: F401 - these three register what they hold
from simhw import core
from simhw.core.machine import Part, flat_parts
from simhw.core.spec import faults_of
from simhw.errors import DescriptionError

COMPONENTS = list(core.component_kinds().values())
DATAFLOWS = list(core.dataflow_kinds().values())
every_component = pytest.mark.parametrize("kind", COMPONENTS, ids=lambda kind: kind.KIND)
every_dataflow = pytest.mark.parametrize("kind", DATAFLOWS, ids=lambda kind: kind.KIND)

WHOLE, NUMBER = [2, 1, 8, 64], [2.0, 1.0, 8.0, 64.0]
GOOD = {  # values to try for a field, by the words of its annotation
    "a whole number of at least 1": WHOLE,
    "a whole number of cycles, at least 0": WHOLE,
    "a whole number": WHOLE,
    "a number above 0": NUMBER,
    "a number": NUMBER,
    "a number of MHz above 0, at most 100,000": [100.0, 400.0],
    "true or false": [True, False],
    "text": ["word"],
}
BAD = {
    "a whole number of at least 1": [0, -1, 1.5, "4", "4k", True, None, [4]],
    "a whole number of cycles, at least 0": [-1, 0.5, "3", False, None],
    "a number above 0": [0, -0.5, "108", "108KB", True, None, float("nan")],
    "a number of MHz above 0, at most 100,000": [0, -60, "200 MHz", True, None, float("inf")],
    "true or false": [0, 1, "yes", None],
}


def words_of(spec: type[core.Spec]) -> dict[str, str]:
    """Return, by field, what it wants: the beginning of what it says when it refuses."""
    hints = get_type_hints(spec, include_extras=True)
    return {f.name: core.wanted(hints[f.name]) for f in fields(spec)}


def good_values(words: str) -> list[Any]:
    if words.startswith("one of "):
        return words.removeprefix("one of ").removesuffix(", or null").split(", ")
    return GOOD.get(words.removesuffix(", or null"), [2])


def bad_values(words: str) -> list[Any]:
    optional = words.endswith(", or null")
    bad = BAD.get(words.removesuffix(", or null"), [object(), "no such word"])
    return [value for value in bad if not (optional and value is None)]


def required(spec: type[core.Spec]) -> list[str]:
    return [f.name for f in fields(spec) if f.default is MISSING and f.default_factory is MISSING]


def minimal(spec: type[core.Spec]) -> core.Spec:
    """Return a Spec in which only what must be given is given: the first values that go together."""
    names, words = required(spec), words_of(spec)
    for values in itertools.islice(itertools.product(*(good_values(words[n]) for n in names)), 10_000):
        try:
            return spec(**dict(zip(names, values, strict=True)))
        except DescriptionError:
            continue
    raise AssertionError(f"{spec.__qualname__}: none of the values tried go together")


def built(kind: type[core.Component]) -> core.Component:
    return kind(core.Simulation(clock_mhz=200), "unit", minimal(kind.Spec))


def blocks(component: core.Component) -> Iterator[core.Component]:
    """Yield a component and all that it holds."""
    yield component
    for name in type(component).parts(component.spec):
        yield from blocks(getattr(component, name))


# what it is


@every_component
def test_a_kind_has_a_name_a_docstring_and_distinct_actions(kind):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.KIND)
    assert kind.__doc__
    assert kind.__doc__ != core.Component.__doc__
    assert len(set(kind.ACTIONS)) == len(kind.ACTIONS)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", action) for action in kind.ACTIONS)


@every_component
def test_it_can_be_built_from_what_must_be_given_and_keeps_its_name(kind):
    component = built(kind)
    assert component.name == "unit"
    assert component.spec == minimal(kind.Spec)


@every_component
def test_its_structure_is_whole_numbers_that_can_be_counted_without_building_it(kind):
    for what, n in kind.structure(minimal(kind.Spec)).items():
        assert what in kind.STRUCTURE
        assert type(n) is int
        assert n >= 0


@every_component
def test_its_parts_are_there_under_the_names_it_gives_them(kind):
    component = built(kind)
    for name, (inner, spec) in kind.parts(component.spec).items():
        part = getattr(component, name)
        assert type(part) is inner
        assert part.name == f"unit.{name}"
        assert part.spec == spec
    listed = flat_parts({"unit": Part(kind=kind, spec=component.spec)})
    assert [block.name for block in blocks(component)] == list(listed)


# what it is charged for


@every_component
def test_it_can_be_charged_for_each_of_its_actions_and_nothing_else(kind):
    component = built(kind)
    for action in kind.ACTIONS:
        component.count(action, 3)
    with pytest.raises(ValueError, match="is not an action of"):
        component.count("no such action")
    assert component.sim.ledger.flat() == {f"unit.{action}": 3 for action in sorted(kind.ACTIONS)}


@every_component
def test_what_its_source_charges_is_among_its_actions(kind):
    source = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    for call in ast.walk(source):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "self.count":
            first = call.args[0]
            if isinstance(first, ast.Constant):
                assert first.value in kind.ACTIONS


ARGUMENTS = {int: 1, float: 1.0, bool: True, str: "word", Any: 1}


def argument_for(annotation: Any) -> Any:
    """Return a small value for a parameter, or None where the annotation does not suggest one."""
    if annotation in ARGUMENTS:
        return ARGUMENTS[annotation]
    origin = getattr(annotation, "__name__", "")
    if origin == "Hashable":
        return 1
    if origin == "Sequence":
        return [0, 1, 2]
    inner = [a for a in get_args(annotation) if a is not type(None)]
    return argument_for(inner[0]) if inner and type(None) in get_args(annotation) else None


def drive(component: core.Component) -> list[float]:
    """Call every public method that simple arguments will do for, twice; return when events happened."""
    sim, calls = component.sim, []
    for name, method in sorted(inspect.getmembers(type(component), inspect.isfunction)):
        if name.startswith("_") or name in vars(core.Component):
            continue
        hints = get_type_hints(method)
        wanted = [p for p in list(inspect.signature(method).parameters.values())[1:] if p.default is p.empty]
        arguments = {p.name: argument_for(hints.get(p.name)) for p in wanted}
        if None not in arguments.values():
            calls.append((name, arguments))
    for name, arguments in calls * 2:  # the second time there is something to read
        try:
            answer = getattr(component, name)(**arguments)
        except LookupError:
            continue
        if inspect.isgenerator(answer):
            sim.process(answer)
    times = [sim.now]
    while sim.peek() != float("inf"):
        sim.step()
        times.append(sim.now)
    return times


@every_component
def test_whatever_it_does_it_charges_its_blocks_for_their_actions_only(kind):
    component = built(kind)
    times = drive(component)
    allowed = {f"{block.name}.{action}" for block in blocks(component) for action in block.ACTIONS}
    assert set(component.sim.ledger.flat()) <= allowed
    assert times == sorted(times)
    assert all(time == int(time) for time in times)


@every_component
def test_doing_the_same_twice_gives_the_same_books(kind):
    first, second = built(kind), built(kind)
    assert drive(first) == drive(second)
    assert first.sim.ledger.flat() == second.sim.ledger.flat()
    assert first.sim.activity.flat() == second.sim.activity.flat()


# what its Spec refuses

SPECS = [(f"{kind.KIND}", kind.Spec) for kind in COMPONENTS] + [
    (f"{kind.KIND} options", kind.Options) for kind in DATAFLOWS
]
every_spec = pytest.mark.parametrize("spec", [spec for _, spec in SPECS], ids=[name for name, _ in SPECS])


def _shown(value: Any) -> str:
    """A bare object shows its address, which differs from one process to the next."""
    return "object" if type(value) is object else repr(value)


BAD_FIELDS = [
    pytest.param(spec, field, value, id=f"{name}-{field}-{_shown(value)}"[:60])
    for name, spec in SPECS
    for field, words in words_of(spec).items()
    for value in bad_values(words)
]


@pytest.mark.parametrize(("spec", "field", "value"), BAD_FIELDS)
def test_a_bad_value_is_refused_by_the_name_of_its_field(spec, field, value):
    with pytest.raises(DescriptionError) as refused:
        spec(**(minimal(spec).to_dict() | {field: value}))
    assert len(refused.value.faults) == 1
    assert str(refused.value).startswith(f"{field}: wants {words_of(spec)[field]}, got ")


@every_spec
def test_what_must_be_given_is_asked_for_by_name(spec):
    assert faults_of(spec, {}, whole=True) == [
        (name, f"is missing; wants {words_of(spec)[name]}") for name in required(spec)
    ]


@every_spec
def test_a_misspelt_field_is_refused_with_the_fields_there_are(spec):
    with pytest.raises(DescriptionError) as refused:
        spec.from_dict(minimal(spec).to_dict() | {"no_such_field": 1})
    assert str(refused.value).startswith("no_such_field: unknown field 'no_such_field'; ")
    assert str(refused.value).endswith(f"known: {', '.join(sorted(words_of(spec))) or 'none'}")


@every_spec
def test_a_spec_is_frozen_comes_back_from_its_data_and_leaves_a_descriptions_words_free(spec):
    made = minimal(spec)
    assert spec.from_dict(made.to_dict()) == made
    assert not {"kind", "rows", "columns"} & set(words_of(spec))
    for field in words_of(spec):
        with pytest.raises(FrozenInstanceError):
            setattr(made, field, getattr(made, field))


# dataflows


@every_dataflow
def test_every_dataflow_has_its_twin(kind):
    assert kind.KIND in core.twin_kinds()
    assert kind.__doc__
    assert core.twin_kinds()[kind.KIND].__doc__


@every_dataflow
def test_for_every_role_there_is_a_kind_that_fills_it(kind):
    for name, role in kind.ROLES.items():
        fitting = [
            k.KIND for k in COMPONENTS if all(hasattr(minimal(k.Spec), field) for field in role.fields)
        ]
        assert fitting, f"no kind has what role {name} needs: {role.fields}"


def test_no_twin_stands_alone():
    assert set(core.twin_kinds()) <= set(core.dataflow_kinds())


# the contract itself catches what it is there for


class Careless(core.Component):
    """Breaks every clause."""

    ACTIONS = ("read",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        rows: core.Count
        price: Any = 1

    def write(self) -> None:
        self.sim.ledger.add(self.name, "write")

    def read(self) -> None:
        if self.spec.rows:
            self.count("raed")

    @classmethod
    def parts(cls, spec):
        return {"memo": (Careless, spec)}

    @classmethod
    def structure(cls, spec):
        return {"adders": 0.5}


class Overbooked(core.Component):
    """Charges what it may not, behind the back of `count`."""

    def read(self, words: int) -> None:
        self.sim.ledger.add(self.name, "read", words)


@pytest.mark.parametrize(
    "clause",
    [
        test_its_structure_is_whole_numbers_that_can_be_counted_without_building_it,
        test_its_parts_are_there_under_the_names_it_gives_them,
        test_what_its_source_charges_is_among_its_actions,
    ],
)
def test_a_careless_component_would_be_found_out(clause):
    with pytest.raises((AssertionError, AttributeError)):
        clause(Careless)


def test_a_component_that_charges_what_it_may_not_would_be_found_out():
    with pytest.raises(AssertionError):
        test_whatever_it_does_it_charges_its_blocks_for_their_actions_only(Overbooked)


def test_a_spec_that_takes_anything_would_be_found_out():
    with pytest.raises(pytest.fail.Exception):
        test_a_bad_value_is_refused_by_the_name_of_its_field(Careless.Spec, "price", object())
    with pytest.raises(AssertionError):
        test_a_spec_is_frozen_comes_back_from_its_data_and_leaves_a_descriptions_words_free(Careless.Spec)
