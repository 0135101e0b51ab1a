"""What Specs accept, and the words in which they refuse."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Literal

import pytest

from simhw import core
from simhw.core.spec import describe_fields
from simhw.errors import DescriptionError


@dataclass(frozen=True, kw_only=True)
class Everything(core.Spec):
    lanes: core.Count
    latency_cycles: core.Cycles = 1
    size_kib: core.Size = 0.5
    clock_mhz: core.Megahertz = 200
    gated: core.Flag = True
    order: Literal["rows", "columns"] = "rows"
    ways: core.Count | None = None


WANTS = {
    "lanes": "a whole number of at least 1",
    "latency_cycles": "a whole number of cycles, at least 0",
    "size_kib": "a number above 0",
    "clock_mhz": "a number of MHz above 0, at most 100,000",
    "gated": "true or false",
    "order": "one of rows, columns",
    "ways": "a whole number of at least 1, or null",
}
ACCEPTED = {
    "lanes": [1, 10**6],
    "latency_cycles": [0, 3],
    "size_kib": [0.5, 108, 1e-3],
    "clock_mhz": [60, 66.7, 100_000],
    "gated": [True, False],
    "order": ["rows", "columns"],
    "ways": [None, 4],
}
REFUSED = {
    "lanes": [0, -1, 1.0, "4", "4k", True, None, [4], {}],
    "latency_cycles": [-1, 0.5, "3", False, None],
    "size_kib": [0, -0.5, "108", "108KB", True, None, float("nan"), float("inf")],
    "clock_mhz": [0, -60, "200 MHz", "200", True, None, 100_001, float("inf")],
    "gated": [0, 1, "yes", "true", None],
    "order": ["row", "", 0, None, ["rows"]],
    "ways": [0, "4", True, 1.5],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in ACCEPTED.items() for v in values])
def test_values_that_an_annotation_allows_are_kept_as_they_are(field, value):
    spec = Everything(**({"lanes": 1} | {field: value}))
    assert getattr(spec, field) == value
    assert type(getattr(spec, field)) is type(value)


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in REFUSED.items() for v in values])
def test_values_that_an_annotation_does_not_allow_are_refused_in_its_words(field, value):
    values = {"lanes": 1} | {field: value}
    for build in (lambda: Everything(**values), lambda: Everything.from_dict(values)):
        shown = "nothing" if value is None else repr(value)
        with pytest.raises(DescriptionError) as refused:
            build()
        assert refused.value.faults == (f"{field}: wants {WANTS[field]}, got {shown}",)


def test_all_faults_come_in_one_raise():
    with pytest.raises(DescriptionError) as refused:
        Everything.from_dict({"latency_cycles": "soon", "ordr": "rows", "gated": 1})
    assert refused.value.faults == (
        "latency_cycles: wants a whole number of cycles, at least 0, got 'soon'",
        "ordr: unknown field 'ordr'; did you mean 'order'? known: clock_mhz, gated, lanes, "
        "latency_cycles, order, size_kib, ways",
        "gated: wants true or false, got 1",
        "lanes: is missing; wants a whole number of at least 1",
    )


def test_a_long_value_is_cut_short_in_the_message():
    with pytest.raises(DescriptionError) as refused:
        Everything(lanes="4" * 100_000)
    assert str(refused.value) == (
        "lanes: wants a whole number of at least 1, got '444444444444...4444444444444'"
    )


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("lanes", 1 << 41, "2199023255552"),
        ("lanes", 10**300, f"1{'0' * 17}...{'0' * 19}"),
        ("size_kib", 1e300, "1e+300"),
        ("size_kib", 1e-300, "1e-300"),
        ("clock_mhz", 1e-7, "1e-07"),
    ],
)
def test_numbers_of_no_machine_are_refused_before_they_exhaust_one(field, value, shown):
    with pytest.raises(DescriptionError) as refused:
        Everything(**({"lanes": 1} | {field: value}))
    assert str(refused.value) == (
        f"{field}: wants {WANTS[field]}, in the range from 1e-06 to 1,099,511,627,776, got {shown}"
    )


def test_a_spec_never_changes():
    with pytest.raises(FrozenInstanceError):
        Everything(lanes=4).lanes = 8


def test_a_spec_comes_back_from_its_own_data():
    spec = Everything(lanes=4, order="columns", ways=2)
    assert Everything.from_dict(spec.to_dict()) == spec
    assert hash(Everything.from_dict(spec.to_dict())) == hash(spec)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (core.Count, "a whole number of at least 1"),
        (Literal["a", "b"], "one of a, b"),
        (core.Size | None, "a number above 0, or null"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (bool, "true or false"),
    ],
)
def test_every_annotation_has_words_for_what_it_wants(annotation, words):
    assert core.wanted(annotation) == words


def test_fields_are_described_with_their_wants_and_defaults():
    described = {line["field"]: line for line in describe_fields(Everything)}
    assert described["lanes"] == {"field": "lanes", "wants": WANTS["lanes"]}
    assert described["ways"] == {"field": "ways", "wants": WANTS["ways"], "default": None}
    assert {name: line["wants"] for name, line in described.items()} == WANTS
