"""Exact convolution equals its definition, on every geometry and at the ends of the number range."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from simhw.fast import conv
from simhw.fast.conv import conv_accumulate, conv_accumulate_plain

LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1

# images, channels, height, width, filters, kernel, stride, pad (top, bottom, left, right), dilation, groups
GEOMETRIES = [
    (1, 1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (2, 3, 7, 5, 4, (3, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 3, 23, 19, 5, (11, 11), (4, 4), (0, 0, 0, 0), (1, 1), 1),
    (1, 4, 9, 9, 12, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 2),
    (3, 6, 13, 13, 17, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (2, 6, 8, 11, 6, (3, 3), (2, 3), (1, 0, 2, 1), (1, 1), 6),
    (1, 6, 8, 11, 12, (3, 3), (1, 1), (1, 1, 1, 1), (2, 1), 3),
    (1, 5, 9, 10, 4, (3, 2), (1, 2), (2, 1, 0, 3), (2, 3), 1),
    (2, 7, 6, 6, 9, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    (1, 2, 4, 4, 4, (1, 1), (1, 1), (1, 2, 2, 1), (1, 1), 1),
    (1, 2, 4, 3, 4, (1, 2), (1, 1), (0, 0, 7, 20), (1, 1), 1),
    (1, 1, 28, 28, 20, (5, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 3, 40, 41, 4, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (1, 37, 1, 1, 19, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (40, 37, 1, 1, 19, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (5, 16, 4, 4, 12, (4, 4), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 8, 6, 6, 4, (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 4),
    (0, 4, 6, 6, 8, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
]


def drawn(geometry, seed, low=LOWEST, high=HIGHEST):
    images, channels, height, width, filters, kernel, *_, groups = geometry
    rng = np.random.default_rng(seed)
    inputs = rng.integers(low, high, (images, channels, height, width), endpoint=True)
    weights = rng.integers(LOWEST, HIGHEST, (filters, channels // groups, *kernel), endpoint=True)
    bias = rng.integers(-(1 << 40), 1 << 40, filters)
    return inputs.astype(np.int16), weights.astype(np.int16), bias, *geometry[6:]


def any_geometry(rng):
    """A geometry with at least one window, drawn small and awkward."""
    kernel, stride, dilation = (tuple(rng.integers(1, high, 2).tolist()) for high in (6, 4, 3))
    pad = tuple(rng.integers(0, 4, 4).tolist())
    spans = [dilation[i] * (kernel[i] - 1) + 1 - pad[2 * i] - pad[2 * i + 1] for i in (0, 1)]
    height, width = (max(1, span) + int(rng.integers(0, 20)) for span in spans)
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, filters = (groups * int(rng.integers(1, 12)) for _ in range(2))
    return int(rng.integers(1, 4)), channels, height, width, filters, kernel, stride, pad, dilation, groups


def assert_exact(layer, **options):
    acc = conv_accumulate(*layer, **options)
    assert acc.dtype == np.int64
    np.testing.assert_array_equal(acc, conv_accumulate_plain(*layer))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("low", [LOWEST, 0], ids=["any input", "inputs from a ReLU"])
def test_sums_are_those_of_the_definition(geometry, low):
    assert_exact(drawn(geometry, seed=1, low=low))


@pytest.mark.parametrize("seed", range(40))
def test_sums_of_drawn_geometries_are_those_of_the_definition(seed):
    geometry = any_geometry(np.random.default_rng(seed))
    assert_exact(drawn(geometry, seed, low=[LOWEST, LOWEST + 1, 0, -3][seed % 4]))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40, 2000))
def test_sums_of_many_drawn_geometries_are_those_of_the_definition(seed):
    geometry = any_geometry(np.random.default_rng(seed))
    assert_exact(drawn(geometry, seed, low=[LOWEST, LOWEST + 1, 0, -3][seed % 4]))


@pytest.mark.parametrize("x", [LOWEST, LOWEST + 1, HIGHEST, 0])
@pytest.mark.parametrize("w", [LOWEST, LOWEST + 1, HIGHEST, 1])
def test_the_largest_numbers_overflow_nothing(x, w):
    inputs = np.full((1, 70, 5, 5), x, dtype=np.int16)
    weights = np.full((9, 70, 3, 3), w, dtype=np.int16)
    acc = conv_accumulate(inputs, weights, np.full(9, 11), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    assert (acc == 70 * 9 * x * w + 11).all()


def test_sums_that_cancel_at_the_end_are_exact():
    inputs = np.full((1, 64, 6, 6), HIGHEST, dtype=np.int16)
    weights = np.full((8, 64, 3, 3), HIGHEST, dtype=np.int16)
    weights[:, 32:] = -HIGHEST
    weights[:, 0, 0, 0] = 1
    acc = conv_accumulate(inputs, weights, np.zeros(8, np.int64), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    assert (acc == (1 - HIGHEST) * HIGHEST).all()


def test_the_definition_agrees_with_a_sum_written_out_by_hand():
    inputs = np.array([[[[1, 2, 3], [4, 5, 6]]]], dtype=np.int16)
    weights = np.array([[[[10, 1]]], [[[0, -1]]]], dtype=np.int16)
    acc = conv_accumulate_plain(inputs, weights, np.array([100, 7]), (1, 1), (0, 0, 0, 1), (1, 1), 1)
    assert acc.tolist() == [[[[112, 123, 130], [145, 156, 160]], [[5, 4, 7], [2, 1, 7]]]]
    assert acc.dtype == np.int64


LAYER = (3, 6, 13, 13, 40, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)


def test_arrays_of_any_layout_owner_and_narrower_type_will_do():
    inputs, weights, bias, *geometry = drawn(LAYER, seed=2, low=0)
    expected = conv_accumulate_plain(inputs, weights, bias, *geometry)
    inputs.flags.writeable = False
    np.testing.assert_array_equal(conv_accumulate(inputs, weights, bias, *geometry), expected)
    strided = np.repeat(weights, 2, axis=0)[::2]
    np.testing.assert_array_equal(conv_accumulate(inputs, strided, bias, *geometry), expected)
    small = [(x >> 8).astype(np.int8) for x in (inputs, weights)]
    acc = conv_accumulate(*small, bias, *(list(part) if np.ndim(part) else part for part in geometry))
    np.testing.assert_array_equal(acc, conv_accumulate_plain(*small, bias, *geometry))


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("geometry", [LAYER, GEOMETRIES[5], GEOMETRIES[13], GEOMETRIES[14]], ids=str)
def test_sums_are_the_same_on_any_number_of_threads(threads, geometry):
    assert_exact(drawn(geometry, seed=3, low=0), threads=threads)


def test_any_number_of_callers_may_be_inside_at_once():
    layers = [drawn(LAYER, seed, low=0) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        sums = list(pool.map(lambda layer: conv_accumulate(*layer, threads=3), layers))
    for layer, acc in zip(layers, sums, strict=True):
        np.testing.assert_array_equal(acc, conv_accumulate_plain(*layer))


def test_a_batch_is_worked_through_in_parts(monkeypatch):
    layer = drawn(LAYER, seed=4, low=0)
    monkeypatch.setattr(conv, "_PLANE_BYTES", 1)
    monkeypatch.setattr(conv, "_BLOCK_BYTES", 1)
    assert_exact(layer)
    np.testing.assert_array_equal(conv._by_float64(*layer), conv_accumulate_plain(*layer))


def test_a_fault_on_a_thread_is_not_lost():
    def work(job):
        raise ZeroDivisionError(job)

    with pytest.raises(ZeroDivisionError):
        conv._share_out(work, [(1,), (2,)], 2)


@pytest.mark.parametrize("geometry", GEOMETRIES[:-1], ids=str)
def test_float64_products_are_exact_too(geometry):
    layer = drawn(geometry, seed=5)
    np.testing.assert_array_equal(conv._by_float64(*layer), conv_accumulate_plain(*layer))


@pytest.mark.long
@pytest.mark.parametrize(
    "machine",
    [
        {"NUMBA_DISABLE_JIT": "1"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx,+avx2"},
    ],
    ids=str,
)
def test_the_room_passes_its_tests_on_lesser_machines(machine, tmp_path):
    wanted = machine.get("NUMBA_CPU_FEATURES", "").replace("+", "").split(",")
    from llvmlite.binding import get_host_cpu_features

    if not all(get_host_cpu_features().get(feature) for feature in wanted if feature):
        pytest.skip(f"this machine lacks one of {wanted}")
    env = {**os.environ, **machine, "NUMBA_CACHE_DIR": str(tmp_path)}
    folder = os.path.dirname(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", folder]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
