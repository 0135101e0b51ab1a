"""Streams of elementwise operations, exactly: in float32 as IEEE 754 has it, or in fixed point.

float32: each operation is rounded once, to nearest, ties to even; a multiply-accumulate is a product that is
rounded and then a sum that is rounded (no fused operation); square roots are correctly rounded; infinities,
subnormal numbers and signed zeros are what the standard says, and a NaN is a NaN, whichever one.

Fixed point: each operation is exact in integers and then rounded once, to nearest, ties to even, and
saturated, to the format of the array that it makes; a multiply-accumulate is exact as a whole, and the root
of what is below zero is zero. An array has one format, however often it is made anew; the numbers of a
stream have one in common, as the weights of a layer have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from simhw import stream
from simhw.reference import fixed
from simhw.reference.numbers import requantize
from simhw.shapes import NumberFormat
from simhw.stream import Operation

Compute = Callable[[Operation, Sequence[np.ndarray]], np.ndarray]


def run(
    operations: Sequence[Operation],
    arrays: Mapping[str, np.ndarray],
    compute: Compute,
    numbers: np.ndarray | None = None,
) -> np.ndarray:
    """Return the last array that a stream makes of arrays by name; its numbers are float32 unless given."""
    values = constants(operations) if numbers is None else numbers
    live = {**arrays, **{name: values[i, ...] for i, name in enumerate(stream.numbers(operations))}}
    for one in operations:
        live[one.makes] = compute(one, [stream.shifted(live[x.name], x) for x in one.operands])
    return live[operations[-1].makes]


def constants(operations: Sequence[Operation]) -> np.ndarray:
    """Return the numbers of a stream, in the order of `stream.numbers`, as float32."""
    return np.array([float(number) for number in stream.numbers(operations)], np.float32)


def in_float32(operation: Operation, operands: Sequence[np.ndarray]) -> np.ndarray:
    """Return what an operation makes of float32."""
    with np.errstate(all="ignore"):
        if operation.kind == "add":
            return operands[0] + operands[1]
        if operation.kind == "sqrt":
            return np.sqrt(operands[0])
        product = operands[0] * operands[1]
        return product if operation.kind == "mul" else product + operands[2]


def in_fixed_point(formats: Mapping[str, NumberFormat]) -> Compute:
    """Return what computes operations on integers; `formats` are of every array and number, by name."""

    def compute(operation: Operation, operands: Sequence[np.ndarray]) -> np.ndarray:
        given = [formats[operand.name] for operand in operation.operands]
        made = formats[operation.makes]
        if operation.kind == "sqrt":
            return root(operands[0], given[0], made)
        shape = np.broadcast_shapes(*(operand.shape for operand in operands))
        terms = [np.broadcast_to(operand, shape) for operand in operands]
        if operation.kind != "add":
            one, other, *rest = given
            product = NumberFormat(bits=one.bits + other.bits, fraction=one.fraction + other.fraction)
            terms, given = [terms[0].astype(np.int64) * terms[1], *terms[2:]], [product, *rest]
        return fixed.add(terms, given, made)

    return compute


def root(values: np.ndarray, given: NumberFormat, made: NumberFormat) -> np.ndarray:
    """Return the square roots of integers of one format in another, rounded half to even, saturated."""
    scale = 2 * made.fraction - given.fraction  # the root of values * 2**scale is wanted, as an integer
    wide = np.maximum(values.astype(np.int64), 0)
    up, down = min(max(scale, 0), 62), min(max(-scale, 0), 40)  # beyond, all but zero saturates; all is zero
    least_beyond = 1 << max(0, 2 * made.bits - 2 - up)  # from here on roots saturate
    wide = np.minimum(wide, least_beyond) << up if up else wide
    whole = wide >> down
    floor = np.sqrt(whole.astype(np.float64)).astype(np.int64)  # off by one at most
    floor -= floor * floor > whole
    floor += (floor + 1) * (floor + 1) <= whole
    rest, half = 4 * (wide - (floor * floor << down)), (4 * floor + 1) << down  # of a step of one, four times
    floor += (rest > half) | ((rest == half) & (floor & 1 == 1))
    return requantize(floor, 0, made)
