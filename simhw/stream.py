"""Streams of elementwise operations on named arrays: how they are written, and what follows from that alone.

    edges = mul(input[-1,-1], -1)         # every pixel's upper left neighbour, times -1
    edges = mac(input[+1,+1], 1, edges)   # the product of the first two, plus the third
    size = mul(edges, edges)
    size = sqrt(size)

Each operation is done for all elements before the next one begins, and makes an array, or makes it anew. Its
operands are arrays that the layer reads, arrays made above it, and numbers. What the layer reads may be
shifted, by [rows down, columns right], and is zero beyond its border; what the stream makes may not, so that
an element is made of its own values alone, in whatever order elements are taken. The last array that is made
is the layer's output.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simhw.errors import did_you_mean

KIND = "elementwise"  # of a layer that is a stream
OPERANDS = {"add": 2, "mul": 2, "mac": 3, "sqrt": 1}  # of each kind of operation; mac(a, b, c) is a * b + c
TAKEN = ("constants", "expected")  # names of tensors of every such layer

_LINE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(\w+)\s*\((.*)\)\s*")
_COMMA = re.compile(r",(?![^\[]*\])")  # outside of brackets
_OPERAND = re.compile(r"\s*([^\s\[\]()]+)\s*(?:\[\s*([+-]?\d+)\s*,\s*([+-]?\d+)\s*\])?\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Operand:
    """An array by its name, shifted or not, or a number as it was written."""

    name: str
    down: int = 0
    right: int = 0
    is_number: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{self.down},{self.right}]" if self.down or self.right else self.name


@dataclass(frozen=True)
class Operation:
    """What is done (`add`, `mul`, `mac`, `sqrt`), with what, and the name of the array that it makes."""

    makes: str
    kind: str
    operands: tuple[Operand, ...]

    def __str__(self) -> str:
        return f"{self.makes} = {self.kind}({', '.join(map(str, self.operands))})"


@dataclass(frozen=True, kw_only=True)
class StreamShape:
    """The arrays of a stream, all of one shape, and its operations."""

    batch: int
    channels: int
    height: int
    width: int
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        for operand in (operand for one in self.operations for operand in one.operands):
            if abs(operand.down) >= self.height or abs(operand.right) >= self.width:
                size = f"{self.height}x{self.width}"
                raise ValueError(
                    f"operations: {operand} lies outside of maps of {size}; wants a smaller shift"
                )

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.channels, self.height, self.width)

    @property
    def elements(self) -> int:
        """Elements of each array: how often each operation is done."""
        return math.prod(self.output_shape)

    @property
    def counts(self) -> dict[str, int]:
        """Operations of the whole batch, by kind."""
        kinds = Counter(one.kind for one in self.operations)
        return {kind: kinds[kind] * self.elements for kind in OPERANDS if kind in kinds}

    @property
    def macs(self) -> int:
        """Products of the whole batch, as of a convolution: those of mul and of mac."""
        return sum(self.counts.get(kind, 0) for kind in ("mul", "mac"))


def shifted(array: np.ndarray, operand: Operand) -> np.ndarray:
    """Return an array [..., height, width] as an operand means it: moved, zeros coming from beyond."""
    down, right = operand.down, operand.right
    if not (down or right):
        return array
    out = np.zeros_like(array)
    height, width = array.shape[-2:]
    to = slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))
    of = slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right))
    out[(..., *to)] = array[(..., *of)]
    return out


def numbers(operations: Sequence[Operation]) -> tuple[str, ...]:
    """Return the numbers that are operands, as written, each once."""
    return tuple(dict.fromkeys(x.name for one in operations for x in one.operands if x.is_number))


def made(operations: Sequence[Operation]) -> tuple[str, ...]:
    """Return the names of the arrays that are made, each once, but for the output."""
    return tuple(dict.fromkeys(one.makes for one in operations if one.makes != operations[-1].makes))


@functools.lru_cache(maxsize=256)
def read(lines: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[Operation, ...], list[str]]:
    """Return the operations of a layer that reads arrays of these names, and what is wrong with them."""
    faults = [f"names: {name!r} is taken; wants another" for name in names if name in TAKEN]
    operations: list[Operation] = []
    known = set(names)
    for number, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        try:
            if found is None:
                raise ValueError(f"wants an operation such as total = add(a, b), got {line!r}")
            operations.append(_operation(found[1], found[2], found[3], names, known))
        except ValueError as fault:
            faults.append(f"operations[{number}]: {fault}")
        if found is not None:
            known.add(found[1])  # if only to say no more of it than once
    return tuple(operations), faults


def _operation(makes: str, kind: str, inside: str, names: Sequence[str], known: set[str]) -> Operation:
    """Return one operation; ValueError, in words for the user, where it cannot be."""
    if makes in names or makes in TAKEN:
        raise ValueError(f"makes {makes!r}, which the layer has already; wants another name")
    if kind not in OPERANDS:
        raise ValueError(f"unknown operation {kind!r}{did_you_mean(kind, OPERANDS)}")
    parts = _COMMA.split(inside)
    if len(parts) != OPERANDS[kind]:
        wants = "a, b, c"[: 3 * OPERANDS[kind] - 2]
        raise ValueError(f"has {len(parts)} operands; wants {makes} = {kind}({wants})")
    operands = tuple(_operand(part, names, known) for part in parts)
    if all(operand.is_number for operand in operands):
        raise ValueError("reads numbers alone; wants an array among its operands")
    return Operation(makes, kind, operands)


def _operand(text: str, names: Sequence[str], known: set[str]) -> Operand:
    found = _OPERAND.fullmatch(text)
    if found is None:
        raise ValueError(f"wants arrays, such as a or a[-1,+1], and numbers, got {text.strip()!r}")
    name, down, right = found[1], int(found[2] or 0), int(found[3] or 0)
    is_number = name not in known
    if is_number and not _NUMBER.fullmatch(name):
        raise ValueError(f"reads {name!r}, which nothing above it makes{did_you_mean(name, known)}")
    if is_number and abs(float(name)) > _LARGEST:
        raise ValueError(f"wants a number that float32 holds, got {name}")
    if (down or right) and name not in names:
        raise ValueError(
            f"shifts {name}, which the layer does not read; wants a layer by itself for what is shifted"
        )
    return Operand(name, down, right, is_number)
