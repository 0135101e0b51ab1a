"""The fields of a workload file: converters that raise ValueError or TypeError, and what they want."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from simhw.errors import DataError
from simhw.reference.datasets import FITS, check_source

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
WANTS_NAME = "a name of letters, digits and _ . / -"


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return " ".join(value.split())


def layer_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value == "input":
        raise ValueError  # "input" is the name of what the first layer reads
    return value


def names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError
    return tuple(names)


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _seed(value: Any) -> int:
    return 0 if value == 0 and isinstance(value, int) and not isinstance(value, bool) else count(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _positive(value: Any) -> float:
    if _number(value) <= 0:
        raise ValueError
    return float(value)


def _list_of(convert: Callable[[Any], float]) -> Callable[[Any], tuple[float, ...]]:
    def listed(value: Any) -> tuple[float, ...]:
        return tuple(convert(one) for one in value) if isinstance(value, list) else (convert(value),)

    return listed


def _one_of(*words: str) -> tuple[Callable[[Any], str], str]:
    def chosen(value: Any) -> str:
        if value not in words:
            raise ValueError
        return value

    return chosen, f"one of {', '.join(words)}"


def _source(value: Any) -> str:
    try:
        check_source(text(value))
    except DataError as error:
        raise ValueError from error
    return value


DATA: dict[str, tuple[Callable[[Any], Any], str]] = {
    "default": (_source, "digits or synthetic:sparsity=...,negative=..."),
    "file": (text, "the name of a file or folder"),
    "array": (text, "the name of an array in an .npz file"),
    "fit": _one_of(*FITS),
    "order": _one_of("rgb", "bgr"),
    "divide_by": (_positive, "a number above 0"),
    "mean": (_list_of(_number), "a number or a list of them, one a channel"),
    "std": (_list_of(_positive), "a number above 0 or a list of them, one a channel"),
}
WEIGHTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "file": (text, "the name of a file"),
    "seed": (_seed, "a whole number of at least 0"),
}
