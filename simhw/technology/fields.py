"""Fields of a technology file; a wrong one is a fault of the document and reads as something harmless."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from simhw.errors import did_you_mean
from simhw.yamlfile import Document, Place, show


def mapping(document: Document, place: Place, wants: str) -> dict[str, Any]:
    """Return the mapping at a place; anything else, or an empty one, is a fault and reads as empty."""
    found = document.mapping(place, wants)
    if document.at(place) == {}:
        document.fault(place, f"wants {wants}, got {show(found)}")
    return found


def text(document: Document, place: Place, wants: str) -> str:
    """Return the words at a place; anything else is a fault and reads as no words."""
    value = document.at(place)
    if isinstance(value, str) and value.strip():
        return " ".join(value.split())
    document.fault(place, f"wants {wants}, got {show(value)}")
    return ""


def number(document: Document, place: Place, *, above: bool = False) -> float:
    """Return the number at a place, at least 0 (`above`: above 0); anything else is a fault."""
    value = as_number(document.at(place))
    if value is None or value < 0 or (above and value == 0):
        wants = "a number above 0" if above else "a number of at least 0"
        document.fault(place, f"wants {wants}, got {show(document.at(place))}")
        return 1.0
    return value


def choice(document: Document, place: Place, known: Iterable[str]) -> str:
    """Return which of `known` stands at a place; anything else is a fault and reads as the first."""
    names = tuple(known)
    value = document.at(place)
    if value in names:
        return str(value)
    if value is None:
        document.fault(place, f"is missing; wants one of {', '.join(names)}")
    else:
        document.fault(place, f"unknown {place[-1]} {show(value)}{did_you_mean(value, names)}")
    return names[0]


def as_number(value: Any) -> float | None:
    """Return a finite number, None for anything else; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
