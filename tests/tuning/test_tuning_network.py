"""A network run again where it changes: always what the whole of it would say."""

from __future__ import annotations

import numpy as np
import pytest
from toys import branching, conv, network, one_layer

from simhw.errors import TuningError
from simhw.reference.graph import Graph, Node
from simhw.trace import Trace
from simhw.tuning import Images, network_of
from simhw.workload import export, load_workload


@pytest.fixture(scope="module")
def trace():
    return export(load_workload("lenet_digits"), images=12, data="digits")


def reference_classes(trace):
    return trace.output.reshape(trace.batch, -1).argmax(axis=1)


def test_exact_mode_names_the_classes_of_the_reference_model(trace):
    made = network_of(trace)
    np.testing.assert_array_equal(made.predictions({}), reference_classes(trace))
    exact = {name: made.by_name[name].exact for name in made.stopping}
    np.testing.assert_array_equal(made.predictions(exact), reference_classes(trace))


def test_every_tensor_is_the_reference_models(trace):
    found = network_of(trace).tensors(np.arange(12))
    for layer in trace.layers:
        np.testing.assert_array_equal(found[layer.name], layer.expected)


def test_a_workload_is_the_network_of_its_trace(trace):
    made, traced = network_of(load_workload("lenet_digits"), Images(12), "digits"), network_of(trace)
    np.testing.assert_array_equal(made.inputs, traced.inputs)
    assert made.digests["network"] == traced.digests["network"]
    for one, other in zip(made.layers, traced.layers, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.bias, other.bias)
        assert one.formats == other.formats
    assert (made.stopping, made.convolutions) == (traced.stopping, traced.convolutions)


def test_layers_may_stop_where_a_relu_follows_and_inputs_are_never_below_zero():
    graph = [
        conv("first", "input", 2),
        conv("bare", "first", 2, activation=None),
        conv("after_bare", "bare", 2),
        Node("pool", "avgpool", ("first",), {"kernel": 1, "stride": 1}),
        Node("joined", "concat", ("pool", "after_bare"), {}),
        conv("after_join", "joined", 2),
        Node("relu", "relu", ("bare",), {}),
        conv("after_relu", "relu", 2, activation="relu6"),
        Node("sum", "add", ("bare", "pool"), {}),
        conv("after_sum", "sum", 2),
        Node("flatten", "flatten", ("after_sum",), {}),
        Node("fc", "linear", ("flatten",), {"out_channels": 2, "activation": "relu"}),
    ]
    shapes = Graph(tuple(graph)).param_shapes((1, 1, 1))
    params = {name: np.ones(shape) for name, shape in shapes.items()}
    above = network(graph, params, [[[[1]]]])
    assert above.convolutions == ("first", "after_join", "after_relu")
    assert above.stopping == (*above.convolutions, "fc")
    below = network(graph, params, [[[[-1]]]])
    assert below.convolutions == ("after_join", "after_relu")


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_output_names_what_the_whole_network_would(seed):
    rng = np.random.default_rng(seed)
    toy = branching(seed)
    tensors = toy.tensors(np.arange(toy.images))
    classes = toy.predictions({})
    for name in ("a", "b", "c", "pool", "add", "classes"):
        for share in (0.0, 0.1, 1.0):  # of images touched
            touched = rng.random(toy.images) < share
            output = tensors[name].copy()
            output[touched, :1] = rng.integers(0, 50, output[touched, :1].shape)
            wanted = toy.graph.infer(
                toy.inputs, toy.params, toy.formats, {name: lambda *_, changed=output: changed}
            )
            np.testing.assert_array_equal(
                toy.classes_with(tensors, name, output, classes),
                wanted.reshape(toy.images, -1).argmax(axis=1),
            )


def test_a_change_that_the_pooling_swallows_is_followed_no_further():
    """A maximum of a window does not see that a smaller value of it went."""
    graph = [
        conv("conv", "input", 1),
        Node("pool", "maxpool", ("conv",), {"kernel": 2, "stride": 2}),
        Node("flatten", "flatten", ("pool",), {}),
        Node("fc", "linear", ("flatten",), {"out_channels": 2}),
    ]
    params = {"conv.weights": np.ones((1, 1, 1, 1)), "conv.bias": [0]}
    params |= {"fc.weights": np.ones((2, 1, 1, 1)), "fc.bias": [0, 0]}
    toy = network(graph, params, [[[[1, 2], [3, 4]]]])
    tensors = toy.tensors(np.arange(1))
    output = tensors["conv"].copy()
    output[0, 0, 0, 0] = 0
    untouched = {name: tensors[name] for name in ("conv", "pool")}  # and nothing behind it can be read
    classes = np.array([7])
    assert toy.classes_with(untouched, "conv", output, classes) is classes


def test_floating_point_is_refused():
    floating = export(load_workload("lenet_digits"), images=1, data="digits", format="float32")
    with pytest.raises(TuningError) as refused:
        network_of(floating)
    assert str(refused.value) == (
        "lenet_digits: holds float32; prediction wants integers, such as those of fixed16"
    )


def test_labels_and_digests_of_a_trace_are_kept():
    shipped = Trace.load("lenet_digits")
    made = network_of(shipped)
    assert made.images == shipped.batch
    assert made.digests["network"] == shipped.digests["network"]
    assert made.labels is not None
    assert one_layer([[1]], [[1]]).labels is None
