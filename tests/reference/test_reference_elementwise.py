"""Streams in the reference model: float32 by its bits, fixed point by exact fractions."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from simhw.reference import elementwise
from simhw.reference.elementwise import in_float32, root
from simhw.reference.graph import Graph, calibrate
from simhw.reference.ops import Node
from simhw.shapes import NumberFormat
from simhw.stream import Operand, Operation

NAN, INF = 0x7FC00000, 0x7F800000
MINUS = 0x80000000
ONE, SMALLEST, LARGEST = 0x3F800000, 0x00000001, 0x7F7FFFFF


def floats(*bits: int) -> list[np.ndarray]:
    return [np.array([one], np.uint32).view(np.float32) for one in bits]


def bits_of(array: np.ndarray) -> int:
    assert array.dtype == np.float32
    return int(array.view(np.uint32)[0])


@pytest.mark.parametrize(
    ("kind", "operands", "result"),
    [
        # ties to even: 1 + 2**-24 is half way to the next number, 1 + 2**-23 + 2**-24 to the one after it
        ("add", (ONE, 0x33800000), ONE),
        ("add", (ONE + 1, 0x33800000), ONE + 2),
        # a number that is subnormal is neither dropped nor rounded away
        ("add", (SMALLEST, SMALLEST), 2),
        ("add", (0x00800000, MINUS | SMALLEST), 0x007FFFFF),
        ("mul", (0x00800000, 0x3F000000), 0x00400000),  # half the smallest normal number
        ("mul", (SMALLEST, 0x3F000000), 0),  # half of the smallest: a tie, to even
        ("mul", (SMALLEST, 0x3F000001), SMALLEST),
        # beyond the largest, and what has no value
        ("add", (LARGEST, LARGEST), INF),
        ("mul", (LARGEST, MINUS | LARGEST), MINUS | INF),
        ("add", (INF, MINUS | INF), NAN),
        ("mul", (INF, 0), NAN),
        ("add", (NAN, ONE), NAN),
        ("mac", (INF, ONE, MINUS | INF), NAN),
        # signed zeros
        ("add", (0, MINUS), 0),
        ("add", (MINUS, MINUS), MINUS),
        ("mul", (MINUS, ONE), MINUS),
        ("mac", (MINUS, ONE, 0), 0),
        ("sqrt", (MINUS,), MINUS),
        ("sqrt", (MINUS | ONE,), NAN),
        ("sqrt", (INF,), INF),
        ("sqrt", (SMALLEST,), 0x1A3504F3),  # 2**-74.5, a normal number
        ("sqrt", (0x40000000,), 0x3FB504F3),
        # not fused: (1 + 2**-12)**2, 1 + 2**-11 + 2**-24, is rounded to 1 + 2**-11 before that is taken off
        ("mac", (0x3F800800, 0x3F800800, 0xBF801000), 0),
    ],
)
def test_an_operation_is_rounded_once_as_ieee_754_has_it(kind, operands, result):
    made = in_float32(Operation("made", kind, ()), floats(*operands))
    if result == NAN:
        assert np.isnan(made).all()
    else:
        assert hex(bits_of(made)) == hex(result)


def test_roots_of_float32_are_the_nearest_there_are():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 0x7F7FFFFF, 3000).astype(np.uint32).view(np.float32)
    for value, made in zip(values, in_float32(Operation("r", "sqrt", ()), [values]), strict=True):
        exact = Fraction(float(value))
        below, above = (np.nextafter(made, to) for to in (np.float32(-1), np.float32(np.inf)))
        low, high = ((Fraction(float(made)) + Fraction(float(other))) / 2 for other in (below, above))
        assert low**2 <= exact <= high**2


def test_products_and_sums_are_those_of_the_processor_one_by_one():
    """Each is the exact value, rounded by `struct` from a double: exact, as a product of two floats is."""
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal(2000).astype(np.float32) for _ in range(2))
    product = in_float32(Operation("p", "mul", ()), [a, b])
    for x, y, made in zip(a.tolist(), b.tolist(), product.tolist(), strict=True):
        assert made == struct.unpack("<f", struct.pack("<f", x * y))[0]


# fixed point


def rounded(value: Fraction, form: NumberFormat) -> int:
    return min(max(round(value * Fraction(2) ** form.fraction), form.lowest), form.highest)


def rounded_root(value: Fraction, form: NumberFormat) -> int:
    """The root by whole numbers alone: the nearest n / 2**fraction, the even n of two."""
    scaled = max(value, Fraction(0)) * Fraction(4) ** form.fraction
    n = math.isqrt(math.floor(scaled))
    half = Fraction(2 * n + 1, 2) ** 2
    return min(n + (scaled > half or (scaled == half and n % 2 == 1)), form.highest)


FORMS = [
    NumberFormat(bits=b, fraction=f) for b, f in ((16, 14), (16, 0), (16, -3), (8, 5), (8, -20), (16, 40))
]


@pytest.mark.parametrize("made", FORMS, ids=str)
@pytest.mark.parametrize("given", FORMS, ids=str)
def test_roots_are_rounded_half_to_even_and_saturate(given, made):
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.integers(given.lowest, given.highest, 300), np.arange(-2, 40)])
    values = np.concatenate([values, np.arange(0, 11) ** 2 * 4 + np.arange(0, 11) * 4 + 1])  # roots of halves
    values = np.clip(values, given.lowest, given.highest).astype(np.int16)
    exact = [rounded_root(int(v) * Fraction(2) ** -given.fraction, made) for v in values]
    assert root(values, given, made).tolist() == exact


def test_a_root_half_way_between_two_goes_to_the_even_one():
    given, made = NumberFormat(bits=16, fraction=2), NumberFormat(bits=16, fraction=0)
    assert root(np.array([1, 9, 25, 49], np.int16), given, made).tolist() == [
        0,
        2,
        2,
        4,
    ]  # 0.5, 1.5, 2.5, 3.5


@pytest.mark.parametrize("kind", ["add", "mul", "mac"])
@pytest.mark.parametrize("apart", [0, 3, 50])
def test_fixed_point_is_exact_until_the_one_rounding(kind, apart):
    rng = np.random.default_rng(4)
    names = ("a", "b", "c")[: 3 if kind == "mac" else 2]
    formats = {name: NumberFormat(bits=16, fraction=9 + i * apart) for i, name in enumerate(names)}
    formats["made"] = NumberFormat(bits=16, fraction=7)
    values = [rng.integers(-(2**15), 2**15, (1, 1, 20, 20)).astype(np.int16) for _ in names]
    operation = Operation("made", kind, tuple(map(Operand, names)))
    made = elementwise.in_fixed_point(formats)(operation, values)
    real = [
        [int(v) * Fraction(2) ** -formats[name].fraction for v in array.ravel()]
        for name, array in zip(names, values, strict=True)
    ]
    for out, a, b, *c in zip(made.ravel().tolist(), *real, strict=True):
        exact = a + b if kind == "add" else a * b + sum(c)
        assert out == rounded(exact, formats["made"])


# whole streams


def stream_of(*operations: str, inputs: tuple[str, ...] = ("input",)) -> Graph:
    return Graph((Node("s", "elementwise", inputs, {"operations": operations}),))


def test_a_filter_reads_its_neighbours_and_zeros_beyond_the_border():
    picture = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    graph = stream_of("left = mul(input[0,-1], 10)", "all = mac(input[+1,0], 1, left)")
    assert graph.infer(picture, {})[0, 0].tolist() == [[4, 15, 26], [7, 48, 59], [0, 70, 80]]


def test_operations_are_done_in_the_order_of_the_stream():
    """2**25 + 1 - 2**25: the one is lost, or not, by which sum is taken first."""
    one = np.ones((1, 1, 1, 1), np.float32)
    first = stream_of("s = add(input, 33554432)", "s = add(s, -33554432)")
    last = stream_of("s = mac(input, 33554432, -33554432)", "s = add(s, input)")
    assert first.infer(one, {}).item() == 0
    assert last.infer(one, {}).item() == 1


def test_an_array_made_anew_has_one_format_for_all_that_it_holds():
    graph = stream_of("s = mul(input, 100)", "s = mul(s, 0.01)", "t = mul(s, 2)")
    picture = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    formats = calibrate(graph, {}, picture, 16)
    assert formats["s.s"] == NumberFormat(bits=16, fraction=8)  # 100 wants seven bits before the point
    assert formats["s.constants"] == NumberFormat(bits=16, fraction=8)  # as does the number 100
    assert formats["s.expected"].fraction == 13


def test_fixed_point_of_whole_numbers_is_that_of_float32():
    """Sums of whole numbers that fit are exact both ways."""
    graph = stream_of("x = mac(input[+1,+1], -1, input)", "y = add(x, x)", "z = mac(y, x, input[0,-1])")
    picture = np.random.default_rng(5).integers(0, 16, (3, 2, 6, 5)).astype(np.float32)
    formats = calibrate(graph, {}, picture, 16)
    made = graph.infer(picture, {}, formats)
    np.testing.assert_array_equal(np.ldexp(made, -formats["s.expected"].fraction), graph.infer(picture, {}))
