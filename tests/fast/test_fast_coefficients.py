"""Sums of weights that are made of coefficients, wider than 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.coefficients import conv_of_coefficients, conv_wide, weights_of
from simhw.fast.conv import conv_accumulate_plain
from simhw.reference.fitted import Fitted

GEOMETRY = ((1, 2), (1, 0, 2, 1), (1, 1), 2)


def drawn(seed: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-(1 << 15), 1 << 15, (2, 4, 6, 7)).astype(np.int16)
    weights = rng.integers(low, high, (6, 2, 3, 3)).astype(np.int32)
    return inputs, weights, rng.integers(-(1 << 40), 1 << 40, 6)


@pytest.mark.parametrize("bits", [8, 16, 17, 24, 32])
def test_wide_weights_are_summed_exactly(bits: int) -> None:
    inputs, weights, bias = drawn(bits, -(1 << (bits - 1)), 1 << (bits - 1))
    wanted = conv_accumulate_plain(inputs, weights, bias, *GEOMETRY)
    np.testing.assert_array_equal(conv_wide(inputs, weights, bias, *GEOMETRY), wanted)


@pytest.mark.parametrize("value", [0, -1, (1 << 15) - 1, 1 << 15, -(1 << 31), (1 << 31) - 1])
def test_wide_weights_of_one_value_are_summed_exactly(value: int) -> None:
    inputs, weights, bias = drawn(1, value, value + 1)
    wanted = conv_accumulate_plain(inputs, weights, bias, *GEOMETRY)
    np.testing.assert_array_equal(conv_wide(inputs, weights, bias, *GEOMETRY), wanted)


@pytest.mark.parametrize(("kind", "group", "terms"), [("exact", 0, 1), ("linear", 3, 2), ("quadratic", 9, 3)])
def test_coefficients_make_the_weights_that_they_stand_for(kind: str, group: int, terms: int) -> None:
    rng = np.random.default_rng(group)
    made = Fitted(
        kind=kind,
        group=group,
        coefficients=rng.integers(-128, 128, (6, 18 // (group or 1), terms)).astype(np.int8),
        fractions=(3, 7, 5)[:terms],
        bits=8,
        shape=(6, 2, 3, 3),
    )
    record = made.to_arrays()["fit"]
    np.testing.assert_array_equal(weights_of(made.coefficients, record, made.shape), made.weights())
    inputs, _, bias = drawn(2, 0, 1)
    of_coefficients = conv_of_coefficients(
        inputs, np.zeros(made.shape, np.int32), made.coefficients, record, bias, *GEOMETRY
    )
    wanted = conv_accumulate_plain(inputs, made.weights(), bias, *GEOMETRY)
    np.testing.assert_array_equal(of_coefficients, wanted)


@pytest.mark.parametrize("largest", [100, 1 << 15])
@pytest.mark.parametrize(("group", "terms"), [(2, 2), (24, 2), (28, 2), (60, 2), (12, 3), (192, 3)])
def test_linear_layers_by_shared_sums_are_exact(group: int, terms: int, largest: int) -> None:
    """In float32 and float64, a short last group among them; with the widest inputs all of one sign, too."""
    rng = np.random.default_rng(group)
    weights = 200
    made = Fitted(
        kind=("linear", "quadratic")[terms - 2],
        group=group,
        coefficients=rng.integers(-128, 128, (5, -(-weights // group), terms)).astype(np.int8),
        fractions=(3, 6, 4)[:terms],
        bits=8,
        shape=(5, weights, 1, 1),
    )
    inputs = rng.integers(-largest, largest, (3, weights, 1, 1)).astype(np.int16)
    inputs[1] = -largest
    bias = rng.integers(-(1 << 40), 1 << 40, 5)
    geometry = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    wanted = conv_accumulate_plain(inputs, made.weights(), bias, *geometry)
    record = made.to_arrays()["fit"]
    found = conv_of_coefficients(inputs, made.weights(), made.coefficients, record, bias, *geometry)
    np.testing.assert_array_equal(found, wanted)
