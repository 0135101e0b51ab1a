"""Specs built from fields of a file, their faults told with the places of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any

from pydantic import Field

from simhw.core.spec import Spec, Wants, faults_of
from simhw.errors import SimhwError, did_you_mean
from simhw.yamlfile import Document, Place

Name = Annotated[str, Field(strict=True, min_length=1), Wants("a name")]
Text = Annotated[str, Field(strict=True), Wants("text")]


def names(spec: type[Spec]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(spec))


def required(spec: type[Spec]) -> set[str]:
    """Return the fields that have no default."""
    return {f.name for f in fields(spec) if f.default is MISSING and f.default_factory is MISSING}


def check(
    document: Document, place: Place, spec: type[Spec], given: dict[str, Any], also: Sequence[str] = ()
) -> bool:
    """Report what is wrong with the fields of a Spec at a place; return whether all is well.

    `also` are fields that may stand at the place beside the Spec's own.
    """
    known = names(spec)
    unknown = [field for field in given if field not in known]
    for field in unknown:
        text = f"unknown field {field!r}{did_you_mean(field, (*known, *also))}"
        document.fault((*place, field), text, holder=True)
    faults = faults_of(spec, {f: value for f, value in given.items() if f in known}, whole=True)
    for field, text in faults:
        document.fault((*place, *_steps(field)), text)
    return not unknown and not faults


def _steps(field: str) -> Place:
    """Return the place of a field, or of an item of one: `thresholds[3]`."""
    name, _, index = field.partition("[")
    return (name, int(index[:-1])) if index else (name,)


def build(
    document: Document, place: Place, spec: type[Spec], given: dict[str, Any], also: Sequence[str] = ()
) -> Spec | None:
    """Return the Spec of the fields at a place, or None with the faults reported."""
    if not check(document, place, spec, given, also):
        return None
    try:
        return spec(**given)
    except SimhwError as error:
        faults = error.faults
    except ValueError as error:
        faults = (str(error),)
    for fault in faults:  # the Spec's own words on fields that do not go together: "field: text"
        field, _, text = fault.partition(": ")
        if text and field in names(spec):
            document.fault((*place, field), text)
        else:
            document.fault(place, fault)
    return None
