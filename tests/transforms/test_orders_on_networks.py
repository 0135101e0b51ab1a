"""Whole networks in exact mode: every output behind a ReLU as it was, whatever the order of the negatives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from simhw.fast import COMPLETE, RELU, conv_accumulate, early_termination, requantize
from simhw.trace import Trace
from simhw.transforms import sign_order, speculation
from simhw.workload import export, load_workload

DATA = Path(os.environ.get("SIMHW_DATA", ""))
REAL = {
    "lenet5_mnist": ("mnist.npz", "lenet5_mnist_weights.npz"),
    "resnet20_cifar10": ("cifar10_test.npz", "resnet20_cifar10_weights.npz"),
    "alexnet_conv": ("imagenet_sample120.npz", "alexnet_conv_weights.npz"),
    "squeezenet_v1_1": ("imagenet_sample120.npz", "squeezenet_v1_1_weights.npz"),
}


@pytest.fixture(scope="module", params=["lenet_digits", *REAL])
def trace(request):
    if request.param not in REAL:
        return Trace.load(request.param)
    absent = [name for name in REAL[request.param] if not DATA.name or not (DATA / name).exists()]
    if absent:
        pytest.skip(f"SIMHW_DATA has no {', '.join(absent)}")
    return export(load_workload(request.param), images=1)


def results_of(layer, ordering, **options):
    shape = layer.shape
    return early_termination(
        layer.inputs, ordering.weights, ordering.order, layer.bias, ordering.prefix, ordering.thresholds,
        ordering.negatives_from, shape.weight_shape[2:], shape.stride, shape.pad, shape.dilation,
        shape.groups, **options,
    )  # fmt: skip


def may_stop(layer):
    return layer.activation == "relu" and int(layer.inputs.min()) >= 0


def outputs_of(layer, sums):
    form = layer.formats["expected"]
    return requantize(sums, layer.shift, form.lowest, form.highest, RELU)[0]


@pytest.mark.parametrize("inclusive", [False, True], ids=["below zero", "at zero"])
@pytest.mark.parametrize("negatives", sign_order.NEGATIVES)
def test_exact_mode_changes_no_output_behind_a_relu(trace, negatives, inclusive):
    layers = [layer for layer in trace.layers if may_stop(layer)]
    assert layers
    for layer in layers:
        sums, macs, stopped = results_of(
            layer, sign_order.apply(layer.weights, negatives), inclusive=inclusive
        )
        np.testing.assert_array_equal(outputs_of(layer, sums), layer.expected, err_msg=layer.name)
        assert (macs[stopped == COMPLETE] == layer.shape.window).all()
        assert macs.sum(dtype=np.int64) < layer.shape.macs, layer.name


def test_a_first_layer_shifted_to_begin_at_zero_puts_out_what_it_did(trace):
    """Channel by channel: what a mean was taken off is as it was."""
    layer = trace.layers[0]
    shift = -np.minimum(layer.inputs.min(axis=(0, 2, 3)).astype(np.int64), 0)
    shifted = layer.inputs + shift[:, None, None]
    if layer.activation != "relu" or shifted.max() > np.iinfo(np.int16).max:
        pytest.skip("its inputs span more than 15 bits, or no ReLU follows")
    shape, ordering = layer.shape, sign_order.apply(layer.weights, "magnitude")
    sums, macs, _ = early_termination(
        shifted, ordering.weights, ordering.order,
        layer.bias - layer.weights.astype(np.int64).sum(axis=(2, 3)) @ shift,
        ordering.prefix, ordering.thresholds, ordering.negatives_from, shape.weight_shape[2:], shape.stride,
        shape.pad, shape.dilation, shape.groups, pad_value=shift,
    )  # fmt: skip
    np.testing.assert_array_equal(outputs_of(layer, sums), layer.expected)
    assert macs.sum(dtype=np.int64) < shape.macs


def test_a_filter_that_always_predicts_leaves_nothing_and_one_in_exact_mode_its_outputs(trace):
    layer = next(layer for layer in trace.layers if may_stop(layer))
    shape, filters = layer.shape, len(layer.weights)
    complete = conv_accumulate(
        layer.inputs, layer.weights, layer.bias, shape.stride, shape.pad, shape.dilation, shape.groups
    )
    odd = np.arange(filters) % 2
    ordering = speculation.apply(layer.weights, odd * 1e15, 1 + odd)
    sums, macs, stopped = results_of(layer, ordering, complete=complete)
    assert (macs[:, 1::2] == 2).all()
    assert (stopped[:, 1::2] == 2).all()
    np.testing.assert_array_equal(outputs_of(layer, sums)[:, ::2], layer.expected[:, ::2])
