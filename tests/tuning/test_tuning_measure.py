"""What a tuning does, against its plain definition: every window looked at, one layer after another."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.errors import TuningError
from simhw.fast import BY_PREDICTION, early_termination_plain, requantize
from simhw.parameters import Parameters, digests_of
from simhw.parameters.speculation import Filters
from simhw.reference.graph import Graph
from simhw.trace import Trace
from simhw.transforms import sign_order, speculation
from simhw.tuning import Images, Measured, MeasuredLayer, evaluate, network_of, run_exact, wilson
from simhw.tuning.network import ACTIVATIONS, Outcome
from simhw.workload import export, load_workload


@pytest.fixture(scope="module")
def trace():
    return export(load_workload("lenet_digits"), images=10, data="digits")


@pytest.fixture(scope="module")
def tuning(trace):
    return Parameters(
        kind="speculation",
        name="mine",
        workload="lenet_digits",
        digests=digests_of(trace),
        layers={
            "conv1": Filters(thresholds=(0.05, 0.0, 0.2, 0.1, -0.1, 0.0), groups=(4, 1, 2, 6, 3, 1)),
            "conv2": Filters(thresholds=(0.1, 0.0) * 8, groups=(8, 1) * 8),
        },
    )


def plainly(trace, layers):
    """Return the classes, and of each layer complete sums, outputs, products and why windows stopped."""
    seen = {}

    def on_machine(layer):
        def run(inputs):
            shape = layer.shape
            own = layers.get(layer.name)
            fraction = layer.formats["bias"].fraction
            ordering = sign_order.apply(layer.weights)
            if own is not None:
                ordering = speculation.apply(layer.weights, own.thresholds, own.groups, fraction=fraction)
            inputs = inputs.reshape(shape.input_shape)
            rest = (shape.weight_shape[2:], shape.stride, shape.pad, shape.dilation, shape.groups)

            def stop(order, prefix, thresholds, negatives_from, weights):
                return early_termination_plain(
                    inputs, weights, order, layer.bias, prefix, thresholds, negatives_from, *rest
                )

            nothing = np.zeros_like(ordering.prefix)
            whole = np.full_like(ordering.negatives_from, shape.window)
            complete = stop(ordering.order, nothing, nothing, whole, ordering.weights)[0]
            stops = layer.activation == "relu"
            _, macs, why = stop(
                ordering.order,
                ordering.prefix if stops else nothing,
                ordering.thresholds,
                ordering.negatives_from if stops else whole,
                ordering.weights,
            )
            form = layer.formats["expected"]
            outputs, _ = requantize(
                complete, layer.shift, form.lowest, form.highest, ACTIVATIONS[layer.activation]
            )
            seen[layer.name] = complete, outputs, macs, why
            return np.where(why == BY_PREDICTION, 0, outputs).astype(np.int16)

        return run

    graph = Graph.from_dict(trace.graph)
    params = {name: trace.tensor(name) for name in trace.tensor_names}
    override = {layer.name: on_machine(layer) for layer in trace.layers}
    out = graph.infer(trace.inputs, params, trace.formats, override)
    return out.reshape(trace.batch, -1).argmax(axis=1), seen


def test_every_number_is_that_of_the_plain_definition(trace, tuning):
    measured = evaluate(tuning, trace)
    classes, seen = plainly(trace, tuning.layers)
    exact_classes, exact = plainly(trace, {})
    assert measured.images == 10
    assert measured.accuracy == (classes == trace.labels).mean()
    assert measured.exact_accuracy == (exact_classes == trace.labels).mean()
    assert measured.agreeing == (classes == exact_classes).sum()
    assert measured.loss == pytest.approx(100 * (measured.exact_accuracy - measured.accuracy))
    wrong, small = 0, 0.0
    for layer in measured.layers:
        complete, outputs, macs, why = seen[layer.name]
        positive, predicted = complete > 0, why == BY_PREDICTION
        assert layer.whole_macs == trace.layer(layer.name).shape.macs
        assert layer.macs == macs.sum()
        assert layer.exact_macs == exact[layer.name][2].sum()
        assert layer.positives == positive.sum()
        assert layer.negatives == (~positive).sum()
        assert layer.true_negative_rate == (predicted & ~positive).sum() / (~positive).sum()
        assert layer.false_negative_rate == (predicted & positive).sum() / positive.sum()
        if layer.name in tuning.layers:
            lost = outputs[predicted & positive]
            wrong += lost.size
            # what lies below the median of the positive outputs, one that equals it counted in part
            ranked = np.sort(outputs[positive])
            below, upto = (np.searchsorted(ranked, lost, side) for side in ("left", "right"))
            shares = np.clip((ranked.size / 2 - below) / (upto - below), 0, 1)
            assert layer.small_share == pytest.approx(shares.mean())
            small += shares.sum()
            assert sum(layer.mispredictions) == pytest.approx(1)
        else:
            assert layer.mispredictions == ()
    assert measured.small_share == pytest.approx(small / wrong)
    assert sum(measured.mispredictions[:5]) == pytest.approx(measured.small_share)
    both = [layer for layer in measured.layers if layer.name in tuning.layers]
    assert measured.true_negative_rate == sum(layer.true_negative_rate for layer in both) / 2
    assert measured.false_negative_rate == sum(layer.false_negative_rate for layer in both) / 2
    assert measured.predictive_share == 1
    assert [layer.predictive_filters for layer in both] == [4, 8]


def test_a_tuning_without_layers_is_exact_mode(trace, tuning):
    exact = Parameters(
        kind="speculation", name="exact", workload="lenet_digits", digests=tuning.digests, layers={}
    )
    measured = evaluate(exact, trace)
    assert measured.macs == measured.exact_macs < measured.whole_macs
    assert (measured.loss, measured.agreement, measured.predictive_share) == (0, 1, 0)
    assert measured.small_share is None
    assert measured.true_negative_rate is None
    assert measured.mispredictions == ()


def test_a_workload_and_its_trace_are_measured_alike(trace, tuning):
    by_trace = evaluate(tuning, trace).to_dict()
    assert evaluate(tuning, "lenet_digits", Images(10), data="digits").to_dict() == by_trace
    assert evaluate(tuning, run_exact(trace)).to_dict() == by_trace
    assert evaluate(tuning, network_of(trace)).to_dict() == by_trace


def test_progress_is_told_and_ends(trace, tuning):
    told = []
    evaluate(tuning, trace, progress=lambda *now: told.append(now))
    assert told == [(10, 10, "exact mode"), (10, 10, "mine")]


def test_mispredictions_are_told_by_tenths_of_the_positive_outputs():
    layer = MeasuredLayer(name="conv", kind="conv", filters=1, predictive_filters=1)
    values = np.arange(1, 21).reshape(1, 1, 4, 5)  # two in each tenth
    predicted = np.isin(values, [1, 2, 3, 11])
    layer.add(Outcome(values.astype(np.int64), values.astype(np.int16), values, predicted))
    assert layer.mispredictions == pytest.approx((0.5, 0.25, 0, 0, 0, 0.25, 0, 0, 0, 0))
    assert layer.small_share == pytest.approx(0.75)
    assert layer.false_negative_rate == 4 / 20


def test_positive_sums_that_round_to_zero_are_the_smallest_of_values():
    layer = MeasuredLayer(name="conv", kind="conv", filters=1, predictive_filters=1)
    complete = np.array([1, 2, 300, 400, -5]).reshape(1, 1, 1, 5)
    outputs = np.array([0, 0, 3, 4, 0], np.int16).reshape(1, 1, 1, 5)
    predicted = np.array([1, 0, 0, 0, 1], bool).reshape(1, 1, 1, 5)
    layer.add(Outcome(complete, outputs, np.ones_like(complete), predicted))
    assert (layer.positives, layer.negatives, layer.true_negatives, layer.false_negatives) == (4, 1, 1, 1)
    assert layer.small_share == 1


def test_rates_are_the_plain_mean_of_the_layers_that_predict():
    def layer(name, filters, negatives, true):
        return MeasuredLayer(
            name=name, kind="conv", filters=4, predictive_filters=filters, negatives=negatives,
            true_negatives=true, positives=10, false_negatives=0,
        )  # fmt: skip

    layers = (layer("a", 4, 10, 5), layer("b", 1, 1000, 300), layer("c", 0, 50, 0))
    measured = Measured(tuning="t", images=1, exact_accuracy=None, accuracy=None, agreeing=1, layers=layers)
    assert measured.true_negative_rate == pytest.approx((0.5 + 0.3) / 2)
    assert measured.predictive_share == 2 / 3
    assert measured.loss is None


def test_wilsons_interval():
    # at 8 of 10, z = 1.96: (0.8 + 0.19208) / 1.38416 -+ 1.96 / 1.38416 * sqrt(0.016 + 0.009604)
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=5e-4)
    assert high == pytest.approx(0.9433, abs=5e-4)
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 10)[0] == pytest.approx(0)


def test_a_layer_whose_inputs_may_be_below_zero_is_refused(trace, tuning):
    below = export(load_workload("lenet_digits"), images=2, data="synthetic:sparsity=0.1,negative=0.5")
    with pytest.raises(TuningError) as refused:
        evaluate(tuning, below)
    assert str(refused.value) == "mine: layers.conv1: reads numbers below zero"


def test_a_trace_has_its_own_images(trace, tuning):
    with pytest.raises(TuningError) as refused:
        evaluate(tuning, trace, Images(3))
    assert str(refused.value) == "lenet_digits: a trace has its images; name none"


def test_a_tuning_of_another_network_is_refused(trace, tuning):
    shipped = Trace.load("lenet_digits")
    assert evaluate(tuning, shipped).images == shipped.batch
    with pytest.raises(TuningError) as refused:
        evaluate("lenet5_mnist-1", trace)
    assert "made for other weights, of lenet5_mnist, and not for lenet_digits" in str(refused.value)
