"""Sums that stop early stop where their definition says, on every geometry and at the awkward ends."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fast_conv import GEOMETRIES, HIGHEST, LOWEST, any_geometry

from simhw.fast import RELU, conv_accumulate, requantize
from simhw.fast.early_termination import (
    BY_PREDICTION,
    BY_SIGN,
    COMPLETE,
    early_termination,
    early_termination_plain,
    step_windows,
    step_windows_plain,
)


def ordered(weights, prefixes, rng):
    """Put the negative weights behind the `prefix` first of each filter last, all in any order."""
    order = np.argsort(rng.random(weights.shape), axis=1)
    for m, prefix in enumerate(prefixes):
        negative = weights[m, order[m, prefix:]] < 0
        order[m, prefix:] = order[m, prefix:][np.argsort(negative, kind="stable")]
    sorted_weights = np.take_along_axis(weights, order, axis=1)
    behind = np.arange(weights.shape[1]) >= prefixes[:, None]
    negatives_from = weights.shape[1] - (behind & (sorted_weights < 0)).sum(axis=1)
    return sorted_weights, order.astype(np.int32), negatives_from.astype(np.int32)


def drawn(geometry, seed, low=0, high=HIGHEST, predictive=False, weights_within=(LOWEST, HIGHEST)):
    """A layer whose sums stop all over, as positional arguments."""
    images, channels, height, width, filters, taps, stride, pad, dilation, groups = geometry
    rng = np.random.default_rng(seed)
    inputs = rng.integers(low, high, (images, channels, height, width), endpoint=True).astype(np.int16)
    size = channels // groups * taps[0] * taps[1]
    weights = rng.integers(*weights_within, (filters, size), endpoint=True).astype(np.int16)
    prefix = rng.integers(0, size, filters, endpoint=True) if predictive else np.zeros(filters, int)
    spread = int(max(abs(low), high) * float(np.abs(weights_within).max()) * np.sqrt(size))
    bias, thresholds = rng.integers(-spread, spread + 1, (2, filters))
    weights, order, negatives_from = ordered(weights, prefix, rng)
    return (
        inputs, weights, order, bias, prefix.astype(np.int32), thresholds, negatives_from,
        taps, stride, pad, dilation, groups,
    )  # fmt: skip


def natural_of(layer):
    """The weights of a layer where they are from."""
    weights, order, taps = layer[1], layer[2], layer[7]
    natural = np.empty_like(weights)
    np.put_along_axis(natural, order.astype(np.int64), weights, axis=1)
    return natural.reshape(len(weights), -1, *taps)


def one_filter(weights, inputs, bias=0, prefix=0, threshold=0, **options):
    """What becomes of one filter's only window; weights come in the order in which they are executed."""
    weights = np.array([weights], np.int16)
    behind = np.arange(weights.size) >= prefix
    order = np.arange(weights.size, dtype=np.int32)[None, ::-1]
    data = np.array(inputs, np.int16)[::-1].reshape(1, -1, 1, 1)
    layer = (
        data, weights, order, np.array([bias]), np.array([prefix]), np.array([threshold]),
        np.array([weights.size - (behind & (weights[0] < 0)).sum()]),
        (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1,
    )  # fmt: skip
    assert_exact(layer, **options)
    return tuple(result.item() for result in early_termination(*layer, **options))


def assert_exact(layer, **options):
    results = early_termination(*layer, **options)
    for own in ("threads", "natural"):
        options.pop(own, None)
    expected = early_termination_plain(*layer, **options)
    for name, result, wanted in zip(("sums", "macs", "stopped"), results, expected, strict=True):
        assert result.dtype == wanted.dtype
        np.testing.assert_array_equal(result, wanted, err_msg=name)


def test_sums_of_2_minus_3_and_minus_9_take_3_2_and_1_products():
    # the case of the paper's figure: unaltered, exact, predictive
    inputs = [2, 1, 1]
    assert one_filter([1, -5, -6], inputs, inclusive=False)[1:] == (2, BY_SIGN)
    assert one_filter([1, -5, -6], inputs)[0] == -3
    assert one_filter([1, -5, -6], inputs, prefix=1, threshold=3) == (2, 1, BY_PREDICTION)
    layer = (
        np.array(inputs, np.int16).reshape(1, 3, 1, 1),
        np.array([1, -5, -6], np.int16).reshape(1, 3, 1, 1),
    )
    assert conv_accumulate(*layer, np.array([0]), (1, 1), (0, 0, 0, 0), (1, 1), 1).item() == -9


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ({"weights": [3, 4], "inputs": [1, 1], "bias": -100}, (-93, 2, COMPLETE)),  # nothing to look after
        ({"weights": [-1, -1, -1], "inputs": [1, 1, 1], "bias": 1}, (-1, 2, BY_SIGN)),
        ({"weights": [-1, -1, -1], "inputs": [0, 0, 0], "bias": -1}, (-1, 1, BY_SIGN)),  # not before one
        ({"weights": [-1, -1, -1], "inputs": [0, 0, 0], "bias": 0}, (0, 3, COMPLETE)),
        ({"weights": [-1, -1], "inputs": [0, 0], "inclusive": True}, (0, 1, BY_SIGN)),
        ({"weights": [-1, -1], "inputs": [1, 1], "bias": 2, "inclusive": True}, (0, 2, BY_SIGN)),
        ({"weights": [0, 0], "inputs": [9, 9], "bias": -5}, (-5, 2, COMPLETE)),
        ({"weights": [-7], "inputs": [1]}, (-7, 1, BY_SIGN)),
        ({"weights": [7], "inputs": [1]}, (7, 1, COMPLETE)),
        ({"weights": [5, -5], "inputs": [1, 2]}, (-5, 2, BY_SIGN)),  # at the very end
        ({"weights": [-5, 9], "inputs": [1, 1], "prefix": 1, "threshold": -5}, (4, 2, COMPLETE)),
        ({"weights": [-5, 9], "inputs": [1, 1], "prefix": 1, "threshold": -4}, (-5, 1, BY_PREDICTION)),
        ({"weights": [-5, 9], "inputs": [1, 1], "prefix": 1, "threshold": -5, "inclusive": True},
         (-5, 1, BY_PREDICTION)),
        ({"weights": [-5, 3, -1, -1], "inputs": [1] * 4, "prefix": 1, "threshold": -9}, (-3, 3, BY_SIGN)),
        ({"weights": [-5, 3], "inputs": [1, 1], "prefix": 2, "threshold": -1}, (-2, 2, BY_PREDICTION)),
        ({"weights": [-5, 3], "inputs": [1, 1], "prefix": 2, "threshold": -2}, (-2, 2, COMPLETE)),
        ({"weights": [2, -1, -1], "inputs": [1, -1, 9], "bias": -3}, (0 - 3 + 3 - 9, 3, BY_SIGN)),
        ({"weights": [1, -1, -1], "inputs": [1, 9, -32]}, (-8, 2, BY_SIGN)),  # it would have come back
        ({"weights": [LOWEST] * 4, "inputs": [LOWEST] * 4, "bias": -1}, (4 * LOWEST**2 - 1, 4, COMPLETE)),
        ({"weights": [LOWEST] * 4, "inputs": [HIGHEST] * 4, "bias": 1 << 40},
         ((1 << 40) + 4 * LOWEST * HIGHEST, 4, COMPLETE)),
        ({"weights": [LOWEST] * 4, "inputs": [HIGHEST] * 4, "bias": -3 * LOWEST * HIGHEST - 1},
         (-1, 3, BY_SIGN)),
    ],
)  # fmt: skip
def test_one_window_by_hand(case, outcome):
    assert one_filter(**case) == outcome


@pytest.mark.parametrize("predictive", [False, True], ids=["exact", "predictive"])
@pytest.mark.parametrize("low", [0, -3, LOWEST])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_every_geometry_equals_the_definition(geometry, low, predictive):
    for options in ({}, {"inclusive": True, "pad_value": 7}, {"pad_value": low}):
        layer = drawn(geometry, seed=1, low=low, predictive=predictive)
        assert_exact(layer, **options)
        assert_exact(layer, **options, narrow=(18, 1 << 14), natural=natural_of(layer))


@given(
    seed=st.integers(0, 1 << 32),
    low=st.sampled_from([0, 0, 0, -2, LOWEST]),
    high=st.sampled_from([1, 3, 255, HIGHEST]),
    within=st.sampled_from([(-2, 2), (-100, 100), (LOWEST, HIGHEST), (LOWEST, LOWEST), (0, 9), (-9, -1)]),
    predictive=st.booleans(),
    inclusive=st.booleans(),
    pad_value=st.sampled_from([0, 1, HIGHEST, -1]),
    threads=st.sampled_from([None, 1, 3]),
    narrow=st.none() | st.tuples(st.integers(-62, 62), st.integers(0, HIGHEST)),
    natural=st.booleans(),
)
def test_drawn_layers_equal_the_definition(
    seed, low, high, within, predictive, inclusive, pad_value, threads, narrow, natural
):  # fmt: skip
    geometry = any_geometry(np.random.default_rng(seed))
    layer = drawn(geometry, seed, low, high, predictive, within)
    assert_exact(
        layer, inclusive=inclusive, pad_value=pad_value, threads=threads, narrow=narrow,
        natural=natural_of(layer) if natural else None,
    )  # fmt: skip


@pytest.mark.parametrize("shift", [-62, -3, 0, 1, 2, 9, 62])
def test_narrow_outputs_round_to_even_and_end_at_the_highest(shift):
    """Sums around every multiple of half a unit, and far away, through one weight of one."""
    half = 1 << max(shift - 1, 0)
    sums = np.array([n * half + d for n in range(-3, 9) for d in (-1, 0, 1)] + [(1 << 60) - 1, -(1 << 60)])
    sums = sums.clip(-(1 << 61) + 1, (1 << 61) - 1)
    count = len(sums)
    layer = (
        np.zeros((1, 1, 4, 8), np.int16), np.ones((count, 1), np.int16), np.zeros((count, 1), np.int32),
        sums, np.zeros(count), np.zeros(count), np.ones(count), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1,
    )  # fmt: skip
    for highest in (5, HIGHEST):
        outputs = early_termination(*layer, narrow=(shift, highest))[0]
        wanted, _ = requantize(sums, shift, LOWEST, highest, RELU)
        assert outputs.dtype == np.int16
        np.testing.assert_array_equal(outputs, np.broadcast_to(wanted[None, :, None, None], outputs.shape))


@pytest.mark.parametrize("narrow", [(-63, 9), (63, 9), (0, -1), (0, 1 << 15)])
def test_outputs_that_no_shift_makes_are_refused(narrow):
    with pytest.raises(ValueError, match=r"^narrow: wants a shift of -62 to 62 and a highest output below"):
        early_termination(*drawn(GEOMETRIES[4], seed=6), narrow=narrow)


def test_narrow_outputs_of_complete_sums_are_written_where_the_caller_wants_them():
    layer = drawn(GEOMETRIES[4], seed=8, predictive=True)
    inputs, bias, *geometry = layer[0], layer[3], *layer[8:]
    complete = conv_accumulate(inputs, natural_of(layer), bias, *geometry)
    out = [np.full(complete.shape, 5, kind) for kind in (np.int16, np.int16, np.uint8)]
    written = early_termination(*layer, narrow=(16, 999), complete=complete, out=out)
    for result, target, wanted in zip(
        written, out, early_termination_plain(*layer, narrow=(16, 999)), strict=True
    ):
        assert result is target
        np.testing.assert_array_equal(result, wanted)
    with pytest.raises(ValueError, match=r"^out: wants contiguous arrays .* of int16, int16, uint8$"):
        early_termination(*layer, narrow=(16, 999), out=early_termination(*layer))


def test_windows_of_2_to_the_15_products_are_counted_in_an_int32():
    for size, kind in (((1 << 15) - 1, np.int16), (1 << 15, np.int32)):
        layer = (
            np.ones((1, size, 4, 8), np.int16), -np.ones((1, size), np.int16),
            np.arange(size, dtype=np.int32)[None], np.array([size]), [0], [0], [0], (1, 1), (1, 1),
            (0, 0, 0, 0), (1, 1), 1,
        )  # fmt: skip
        outputs, macs, stopped = early_termination(
            *map(np.asarray, layer[:7]), *layer[7:], narrow=(0, HIGHEST)
        )
        assert macs.dtype == kind
        assert (macs == size).all()
        assert not outputs.any()
        assert not stopped.any()


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_behind_a_relu_exact_mode_puts_out_what_the_dense_convolution_does(geometry):
    layer = drawn(geometry, seed=3)
    inputs, weights, _, bias, *_, stride, pad, dilation, groups = layer
    dense = conv_accumulate(inputs, natural_of(layer), bias, stride, pad, dilation, groups)
    sums, macs, stopped = early_termination(*layer)
    np.testing.assert_array_equal(np.maximum(sums, 0), np.maximum(dense, 0))
    assert (macs[stopped == COMPLETE] == weights.shape[1]).all()
    assert (sums[stopped == BY_SIGN] < 0).all()


def test_narrow_types_and_lists_will_do():
    inputs, weights, *rest = drawn(GEOMETRIES[4], seed=4, high=127, weights_within=(-128, 127))
    rest = [x.tolist() if isinstance(x, np.ndarray) else list(x) if isinstance(x, tuple) else x for x in rest]
    assert_exact((inputs.astype(np.int8), weights.astype(np.int8), *map(np.asarray, rest[:5]), *rest[5:]))


def test_tiles_equal_plain():
    geometry = GEOMETRIES[3]
    inputs, *layer, taps, stride, pad, dilation, groups = drawn(geometry, seed=5, predictive=True)
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:]))
    out_size = early_termination_plain(inputs, *layer, taps, stride, pad, dilation, groups)[0].shape[2:]
    results = []
    for step in (step_windows, step_windows_plain):
        shape = len(inputs), len(layer[0]), out_size[0] * out_size[1]
        written = [np.full(shape, 77, kind) for kind in (np.int64, np.int32, np.uint8)]
        step(padded, *layer, taps, stride, dilation, groups, True, out_size, 1, 4, *written)
        results.append(written)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one == 77).any()


@pytest.mark.parametrize("geometry", [GEOMETRIES[i] for i in (3, 5, 7, 8, 9)], ids=str)
def test_each_channel_may_be_padded_with_its_own_value(geometry):
    layer = drawn(geometry, seed=8, high=50, predictive=True)
    inputs, pad = layer[0], layer[9]
    borders = np.arange(inputs.shape[1]) * 9
    margins = ((0, 0), (0, 0), pad[:2], pad[2:])
    padded = np.concatenate(
        [np.pad(inputs[:, c : c + 1], margins, constant_values=9 * c) for c in range(len(borders))], axis=1
    )
    expected = early_termination(padded, *layer[1:9], (0, 0, 0, 0), *layer[10:])
    for some_borders in (borders, borders.tolist()):
        assert_exact(layer, pad_value=some_borders)
        for result, wanted in zip(early_termination(*layer, pad_value=borders), expected, strict=True):
            np.testing.assert_array_equal(result, wanted)
    assert_exact(layer, pad_value=-borders)


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("low", [0, -3])
@pytest.mark.parametrize("geometry", [GEOMETRIES[i] for i in (3, 4, 5, 6, 13, 14)], ids=str)
def test_results_are_the_same_on_any_number_of_threads(geometry, low, threads, monkeypatch):
    module = sys.modules["simhw.fast.early_termination"]  # the package has the function under this name
    monkeypatch.setattr(module, "_MANY_WEIGHTS", 0)
    monkeypatch.setattr(module, "_MANY_PRODUCTS", 0)
    for predictive in (False, True):
        assert_exact(drawn(geometry, seed=7, low=low, predictive=predictive), threads=threads)


def test_results_are_written_to_arrays_to_write_to():
    for predictive, low in ((False, 0), (True, 0), (False, -9)):
        layer = drawn(GEOMETRIES[4], seed=6, low=low, predictive=predictive)
        expected = early_termination_plain(*layer)
        out = tuple(np.full_like(result, 5) for result in expected)
        written = early_termination(*layer, out=out)
        for result, target, wanted in zip(written, out, expected, strict=True):
            assert result is target
            np.testing.assert_array_equal(result, wanted)


def test_arrays_to_write_to_that_do_not_fit_are_refused():
    layer = drawn(GEOMETRIES[4], seed=6)
    out = early_termination(*layer)
    for wrong in (out[::-1], [x[..., :-1] for x in out], [x.swapaxes(2, 3) for x in out]):
        with pytest.raises(
            ValueError, match=r"^out: wants contiguous arrays \(3, 17, 13, 13\) of int64, int32, uint8$"
        ):
            early_termination(*layer, out=wrong)


@pytest.mark.parametrize("bias", [1 << 61, -(1 << 61)])
def test_a_bias_too_large_for_a_sum_is_refused(bias):
    layer = list(drawn(GEOMETRIES[4], seed=6))
    layer[3] = np.full(17, bias)
    with pytest.raises(ValueError, match=r"^bias: wants less than 2\*\*61$"):
        early_termination(*layer)
