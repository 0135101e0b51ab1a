"""Specs: what never changes about a part, checked against its annotations wherever it is built."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, Self, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from simhw.errors import DescriptionError, did_you_mean


@dataclass(frozen=True)
class Wants:
    """The words in which a field says what it accepts, and whether a number may be of any size."""

    text: str
    any_size: bool = False


Count = Annotated[int, Field(strict=True, ge=1), Wants("a whole number of at least 1")]
Cycles = Annotated[int, Field(strict=True, ge=0), Wants("a whole number of cycles, at least 0")]
Size = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), Wants("a number above 0")]
Megahertz = Annotated[
    float,
    Field(strict=True, gt=0, le=100_000, allow_inf_nan=False),
    Wants("a number of MHz above 0, at most 100,000"),
]
Flag = Annotated[bool, Field(strict=True), Wants("true or false")]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False), Wants("a finite number", any_size=True)]


# numbers beyond these belong to no machine, and would exhaust memory or whole numbers somewhere later
SMALLEST, LARGEST = 1e-6, 1 << 40

# plain types are taken as strictly as the annotations above: "4" is no whole number
_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of every Spec: a frozen dataclass that refuses values its annotations do not allow."""

    def __post_init__(self) -> None:
        faults = faults_of(type(self), {f.name: getattr(self, f.name) for f in fields(self)})
        if faults:
            raise DescriptionError([f"{field}: {fault}" for field, fault in faults])

    def to_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from plain data, with every fault in one raise."""
        faults = faults_of(cls, values, whole=True)
        if faults:
            raise DescriptionError([f"{field}: {fault}" for field, fault in faults])
        return cls(**values)


@dataclass(frozen=True)
class _Field:
    """A field of a Spec: pydantic's check, the words for what it wants, and each item of it, its default."""

    adapter: TypeAdapter[Any]
    wants: str
    item_wants: str
    any_size: bool
    is_required: bool
    default: Any


@functools.cache
def _fields(spec: type[Spec]) -> dict[str, _Field]:
    hints = get_type_hints(spec, include_extras=True)
    found: dict[str, _Field] = {}
    for f in fields(spec):
        hint = hints[f.name]
        notes = getattr(hint, "__metadata__", ())
        items = get_args(get_args(hint)[0] if notes else hint)
        found[f.name] = _Field(
            adapter=TypeAdapter(hint, config=ConfigDict(strict=True) if _is_plain(hint) else None),
            wants=wanted(hint),
            item_wants=wanted(items[0]) if items else "",
            any_size=any(isinstance(note, Wants) and note.any_size for note in notes),
            is_required=f.default is MISSING and f.default_factory is MISSING,
            default=f.default,
        )
    return found


def wanted(annotation: Any) -> str:
    """Return the words for what an annotation accepts."""
    for note in getattr(annotation, "__metadata__", ()):
        if isinstance(note, Wants):
            return note.text
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    choices = [wanted(a) for a in get_args(annotation) if a is not type(None)]
    if choices and get_origin(annotation) is not Annotated and type(None) in get_args(annotation):
        return f"{choices[0]}, or null"
    if _is_plain(annotation):
        return _PLAIN[annotation]
    return f"a {getattr(annotation, '__name__', annotation)}"


def _is_plain(annotation: Any) -> bool:
    return isinstance(annotation, type) and annotation in _PLAIN


def faults_of(spec: type[Spec], values: dict[str, Any], *, whole: bool = False) -> list[tuple[str, str]]:
    """Return (field, what is wrong) for every fault; `whole` also reports unknown and missing fields.

    Of a list in which single items are wrong each is a fault, `thresholds[3]`.
    """
    known = _fields(spec)
    faults: list[tuple[str, str]] = []
    for name, value in values.items():
        if name in known:
            faults += _value_faults(known[name], name, value)
        elif whole:
            faults.append((name, f"unknown field {name!r}{did_you_mean(name, known)}"))
    if whole:
        faults += [
            (name, f"is missing; wants {field.wants}")
            for name, field in known.items()
            if field.is_required and name not in values
        ]
    return faults


def _value_faults(field: _Field, name: str, value: Any) -> list[tuple[str, str]]:
    # a YAML true is an int to Python; nobody who writes `lanes: true` means one lane
    wrong = isinstance(value, bool) and "true or false" not in field.wants
    try:
        if not wrong:
            field.adapter.validate_python(value)
    except ValidationError as error:
        wrong = True
        places = [one["loc"] for one in error.errors()]
        if isinstance(value, list | tuple) and all(place and isinstance(place[0], int) for place in places):
            items = cast("Sequence[Any]", value)
            at = dict.fromkeys(int(place[0]) for place in places)
            return [(f"{name}[{i}]", f"wants {field.item_wants}, got {_shown(items[i])}") for i in at]
    if wrong:
        return [(name, f"wants {field.wants}, got {_shown(value)}")]
    if (
        isinstance(value, int | float)
        and value
        and not field.any_size
        and not SMALLEST <= abs(value) <= LARGEST
    ):
        limits = f"from {SMALLEST:g} to {LARGEST:,}"
        return [(name, f"wants {field.wants}, in the range {limits}, got {_shown(value)}")]
    return []


def _shown(value: Any) -> str:
    """Return a value for a message: cut short if it is long, and in no language's own words for nothing."""
    return "nothing" if value is None else reprlib.repr(value)


def describe_fields(spec: type[Spec]) -> list[dict[str, Any]]:
    """Return name, what it wants and default of every field, for `simhw list`."""
    return [
        {"field": name, "wants": field.wants} | ({} if field.is_required else {"default": field.default})
        for name, field in _fields(spec).items()
    ]
