"""Graphs: what they refuse and how they say it, how they run, and what they let go of."""

from __future__ import annotations

import json
import weakref

import numpy as np
import pytest

from simhw.errors import WorkloadError
from simhw.reference import fixed
from simhw.reference.graph import Graph, Node, calibrate, quantize_params
from simhw.reference.numbers import choose_format, quantize
from simhw.shapes import FLOAT32, LayerShape, NumberFormat


def net(*nodes: Node, **more) -> Graph:
    return Graph(nodes, source="net.yaml", **more)


def conv(name: str, reads: str = "input", channels: int = 4, kernel: int = 3, **attrs) -> Node:
    return Node(name, "conv", (reads,), {"out_channels": channels, "kernel": kernel, **attrs})


SMALL = (
    conv("c1", channels=4, pad=1, activation="relu"),
    Node("pool", "maxpool", ("c1",), {"kernel": 2, "stride": 2}),
    conv("c2", "pool", channels=4, pad=1),
    Node("sum", "add", ("c2", "pool"), {"activation": "relu"}),
    Node("mean", "avgpool", ("sum",), {"kernel": 2, "stride": 2}),
    Node("norm", "lrn", ("mean",), {"size": 3, "alpha": 0.1, "beta": 0.75}),
    Node("both", "concat", ("norm", "mean")),
    Node("flat", "flatten", ("both",)),
    Node("fc", "linear", ("flat",), {"out_channels": 5}),
    Node("odds", "softmax", ("fc",)),
)
INPUT_CHW = (3, 8, 8)


def small_case(seed: int = 0) -> tuple[Graph, dict[str, np.ndarray], np.ndarray]:
    graph, rng = net(*SMALL), np.random.default_rng(seed)
    params = {
        name: rng.standard_normal(shape).astype(np.float32) / 4
        for name, shape in graph.param_shapes(INPUT_CHW).items()
    }
    return graph, params, rng.standard_normal((5, *INPUT_CHW)).astype(np.float32)


# Faults


def faults(*nodes: Node, **more) -> list[str]:
    with pytest.raises(WorkloadError) as raised:
        net(*nodes, **more)
    assert str(raised.value) == "\n".join(raised.value.faults)
    return list(raised.value.faults)


def test_all_faults_of_a_graph_are_told_at_once():
    found = faults(
        conv("c1"),
        Node("c2", "cnov", ("c1",)),
        conv("c3", "c22"),
        conv("c4", "c5"),
        conv("c1", "c4"),
        conv("input", "c4"),
        Node("c5", "add", ("c1",)),
        Node("c6", "relu", ("c1", "c5")),
    )
    known = (
        "add, avgpool, batchnorm, concat, conv, elementwise, flatten, globalavgpool, linear, lrn, maxpool, "
        "relu, relu6, sigmoid, softmax, subsample_pad"
    )
    assert found == [
        f"net.yaml:c2: unknown op 'cnov'; did you mean 'conv'? known: {known}",
        "net.yaml:c5: reads 1 tensors; add wants at least 2",
        "net.yaml:c6: reads 2 tensors; relu wants 1",
        "net.yaml:c3: reads 'c22', which no node makes; did you mean 'c2'? "
        "known: c1, c2, c3, c4, c5, c6, input",
        "net.yaml:c4: reads 'c5', which is made only below it; wants it above",
        "net.yaml:c1: has the name of another node; wants a name of its own",
        "net.yaml:input: has the name of the graph's input; wants a name of its own",
    ]


def test_a_graph_wants_a_node():
    assert faults() == ["net.yaml:nodes: none found; wants at least one"]


def test_the_output_must_be_a_node():
    known = "known: conv1, conv2"
    assert faults(conv("conv1"), conv("conv2", "conv1"), output="conv3") == [
        f"net.yaml:output: no node is named 'conv3'; did you mean 'conv2'? {known}"
    ]


COUNT = "a whole number of at least 1"
PAIR = f"{COUNT} or two (height, width)"
QUAD = "a whole number of at least 0 or four (top, bottom, left, right)"


@pytest.mark.parametrize(
    ("op", "attrs", "expected"),
    [
        ("conv", {"kernel": 3}, [f"out_channels: missing; wants {COUNT}"]),
        ("conv", {"out_channels": 1}, [f"kernel: missing; wants {PAIR}"]),
        (
            "conv",
            {"out_channels": 1.5, "kernel": [3, 0], "stride": [1, 2, 3], "pad": -1, "dilation": "2"},
            [
                f"out_channels: wants {COUNT}, got 1.5",
                f"kernel: wants {PAIR}, got [3, 0]",
                f"stride: wants {PAIR}, got [1, 2, 3]",
                f"pad: wants {QUAD}, got -1",
                f"dilation: wants {PAIR}, got '2'",
            ],
        ),
        (
            "conv",
            {"out_channels": 1, "kernel": 1, "groups": True, "bias": 1, "activation": "tanh"},
            [
                f"groups: wants {COUNT}, got True",
                "activation: wants 'relu', 'relu6' or null, got 'tanh'",
                "bias: wants true or false, got 1",
            ],
        ),
        (
            "linear",
            {"out_channel": 1, "out_channels": float("inf")},
            [
                "unknown attribute 'out_channel'; did you mean 'out_channels'? "
                "known: activation, bias, out_channels",
                f"out_channels: wants {COUNT}, got inf",
            ],
        ),
        ("maxpool", {"kernel": 2, "ceil": True, "stride": None}, [
            "unknown attribute 'ceil'; did you mean 'ceil_mode'? known: ceil_mode, kernel, pad, stride",
            f"stride: wants {PAIR}, got None",
        ]),
        ("lrn", {"size": 4, "alpha": "x", "beta": float("nan")}, [
            "size: wants an odd whole number of at least 1, got 4",
            "alpha: wants a number of at least 0, got 'x'",
            "beta: wants a number of at least 0, got nan",
        ]),
        ("subsample_pad", {"stride": 2, "channels": [1]}, [
            "channels: wants two whole numbers of at least 0 (before, after), got [1]",
        ]),
    ],
)  # fmt: skip
def test_a_wrong_attribute_is_named_with_what_would_do(op, attrs, expected):
    assert faults(Node("n", op, ("input",), attrs)) == [f"net.yaml:n: {fault}" for fault in expected]


def shape_faults(*nodes: Node, chw: tuple[int, int, int] = INPUT_CHW) -> list[str]:
    with pytest.raises(WorkloadError) as raised:
        net(*nodes).shapes(chw)
    return list(raised.value.faults)


def test_shapes_that_do_not_meet_are_told_at_once():
    found = shape_faults(
        conv("grouped", groups=2),
        conv("large", kernel=5, dilation=3),
        Node("fc", "linear", ("input",), {"out_channels": 2}),
        conv("half", stride=2),
        Node("sum", "add", ("input", "half")),
        Node("both", "concat", ("input", "half")),
        Node("after", "relu", ("sum",)),
        Node("pool", "maxpool", ("half",), {"kernel": 4, "stride": 1}),
        Node("ceil", "avgpool", ("half",), {"kernel": 9, "stride": 2, "ceil_mode": True}),
        Node("wide", "avgpool", ("half",), {"kernel": 2, "stride": 1, "pad": [0, 0, 0, 2]}),
    )
    assert found == [
        "net.yaml:grouped: groups: 2 does not divide both 3 input and 4 output channels; wants a divisor",
        "net.yaml:large: kernel: covers 13x13 of a padded input of 8x8; wants a smaller kernel or more pad",
        "net.yaml:fc: reads maps of 8x8, and linear wants 1x1; put a flatten before it",
        "net.yaml:sum: adds tensors of 3x8x8 and 4x3x3; wants equal shapes",
        "net.yaml:both: joins tensors of 3x8x8 and 4x3x3; wants equal heights and widths",
        "net.yaml:pool: kernel: covers 4x4 of a padded input of 3x3; wants a smaller kernel or more pad",
        "net.yaml:ceil: kernel: covers 9x9 of a padded input of 3x3; wants a smaller kernel or more pad",
        "net.yaml:wide: pad: a window would lie on padding alone; wants pad below kernel",
    ]


def test_wrong_parameters_are_told_at_once():
    graph, params, _ = small_case()
    del params["c1.bias"]
    params["c2.weights"] = params["c2.weights"][:, :, :2]
    params["fc.weights"][0, 1], params["fc.weights"][2, 3] = np.nan, np.inf
    with pytest.raises(WorkloadError) as raised:
        graph.check_params(params, INPUT_CHW)
    assert raised.value.faults == (
        "net.yaml:c1.bias: missing; wants an array of shape (4,)",
        "net.yaml:c2.weights: has shape (4, 4, 2, 3); wants (4, 4, 3, 3)",
        "net.yaml:fc.weights: 2 of 160 values are NaN or infinite; wants finite numbers",
    )


def test_a_variance_below_zero_is_refused():
    graph = net(Node("bn", "batchnorm", ("input",)))
    params = {f"bn.{term}": np.ones(3, np.float32) for term in ("gamma", "beta", "mean", "var")}
    graph.check_params(params, INPUT_CHW)
    params["bn.var"][1] = -1e-3
    with pytest.raises(WorkloadError, match=r"^net.yaml:bn.var: holds a variance below 0; wants at least 0$"):
        graph.check_params(params, INPUT_CHW)


def one_fault(call, *arguments, **more) -> str:
    with pytest.raises(WorkloadError) as raised:
        call(*arguments, **more)
    return str(raised.value)


def test_a_run_refuses_what_it_cannot_use_before_it_begins():
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, 16)
    said = one_fault(graph.run, inputs, params, override={"nrom": abs})
    assert said == (
        "net.yaml:override: no node is named 'nrom'; did you mean 'norm'? "
        "known: both, c1, c2, fc, flat, mean, norm, odds, pool, sum"
    )
    assert one_fault(graph.run, inputs[0], params) == (
        "net.yaml:input: has shape (3, 8, 8); wants images, channels, height, width"
    )
    assert one_fault(graph.run, inputs[:0], params) == "net.yaml:c1: batch: wants at least 1, got 0"
    assert one_fault(graph.infer, inputs[:0], params) == "net.yaml:c1: batch: wants at least 1, got 0"
    assert one_fault(graph.run, inputs.astype(np.int8), params, formats) == (
        "net.yaml:input: holds int8; its number format wants int16"
    )
    assert one_fault(graph.run, inputs * np.nan, params, formats) == (
        "net.yaml:input: holds NaN or infinity; wants finite numbers"
    )
    del params["c1.weights"]
    run = graph.run(inputs, params)
    assert one_fault(next, run) == "net.yaml:c1.weights: missing; wants an array of shape (4, 3, 3, 3)"


def test_formats_that_contradict_each_other_are_told_at_once():
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, 16)
    del formats["c2.expected"], formats["fc.weights"]
    formats["pool.expected"] = NumberFormat(bits=16, fraction=-9)
    formats["c1.bias"] = NumberFormat(bits=64, fraction=1)
    wants = formats["input"].fraction + formats["c1.weights"].fraction
    said = one_fault(graph.run, inputs, params, formats).splitlines()
    assert said[:4] == [
        f"net.yaml:c1.bias: has fraction 1; wants {wants}, that of its inputs plus that of its weights",
        "net.yaml:pool.expected: differs in format from its input; maxpool keeps the format",
        "net.yaml:c2.expected: has no number format; wants one",
        "net.yaml:fc.weights: has no number format; wants one",
    ]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("input", "input: holds NaN or infinity; wants finite numbers"),
        ("c1.weights", "c1.weights: 1 of 108 values are NaN or infinite; wants finite numbers"),
    ],
)
def test_calibration_refuses_what_is_not_finite(bad, fault):
    graph, params, inputs = small_case()
    (inputs if bad == "input" else params[bad]).flat[3] = np.inf
    assert one_fault(calibrate, graph, params, inputs, 16) == f"net.yaml:{fault}"


def test_calibration_tells_where_float32_overflows():
    graph, params, inputs = small_case()
    params["c2.weights"] *= 1e38
    said = one_fault(calibrate, graph, params, inputs * 100, 16)
    assert said == "net.yaml:c2: holds NaN or infinity; wants finite numbers"


# Shapes


def test_shapes_follow_the_graph():
    graph = net(*SMALL)
    shapes = graph.shapes(INPUT_CHW, batch=5)
    assert shapes == {
        "input": (5, 3, 8, 8), "c1": (5, 4, 8, 8), "pool": (5, 4, 4, 4), "c2": (5, 4, 4, 4),
        "sum": (5, 4, 4, 4), "mean": (5, 4, 2, 2), "norm": (5, 4, 2, 2),
        "both": (5, 8, 2, 2), "flat": (5, 32, 1, 1),
        "fc": (5, 5, 1, 1), "odds": (5, 5, 1, 1),
    }  # fmt: skip
    layers = graph.layer_shapes(INPUT_CHW, batch=5)
    assert list(layers) == ["c1", "c2", "fc"]
    assert layers["fc"] == LayerShape.linear(5, 32, 5)
    assert layers["c2"].macs == 5 * 4 * 4 * 4 * (4 * 3 * 3)


def test_every_op_makes_the_shape_it_says():
    graph = net(
        conv("c1", channels=6, kernel=3, stride=[2, 1], pad=[1, 0, 2, 1], dilation=[1, 2]),
        conv("dw", "c1", channels=6, groups=6, pad=1, bias=False),
        Node("six", "relu6", ("dw",)),
        Node("bn", "batchnorm", ("six",), {"activation": "relu"}),
        Node("squash", "sigmoid", ("bn",)),
        Node("short", "subsample_pad", ("squash",), {"stride": [1, 2], "channels": [1, 2]}),
        Node("pool", "maxpool", ("short",), {"kernel": 3, "stride": 2, "pad": 1, "ceil_mode": True}),
        Node("mean", "avgpool", ("pool",), {"kernel": 2, "stride": 1, "count_include_pad": False}),
        Node("all", "globalavgpool", ("mean",)),
        Node("relu", "relu", ("all",)),
        Node("fc", "linear", ("relu",), {"out_channels": 2}),
    )
    rng = np.random.default_rng(2)
    params = {
        name: np.abs(rng.standard_normal(shape)).astype(np.float32)
        for name, shape in graph.param_shapes((3, 9, 10)).items()
    }
    inputs = rng.standard_normal((2, 3, 9, 10)).astype(np.float32)
    formats = calibrate(graph, params, inputs, 8)
    shapes = graph.shapes((3, 9, 10), batch=2)
    for node, output in graph.run(inputs, params):
        assert (output.shape, output.dtype) == (shapes[node.name], np.float32), node.name
    for node, output in graph.run(inputs, params, formats):
        assert (output.shape, output.dtype) == (shapes[node.name], np.int8), node.name


def test_a_graph_goes_to_plain_data_and_back():
    graph = net(*SMALL)
    assert Graph.from_dict(json.loads(json.dumps(graph.to_dict())), source="net.yaml") == graph
    assert graph.to_dict()["nodes"][0] == {
        "name": "c1",
        "op": "conv",
        "inputs": ["input"],
        "attrs": {
            "out_channels": 4, "kernel": [3, 3], "stride": [1, 1], "pad": [1, 1, 1, 1], "dilation": [1, 1],
            "groups": 1, "activation": "relu", "bias": True,
        },
    }  # fmt: skip
    assert graph["c1"].attrs["kernel"] == (3, 3)
    with pytest.raises(KeyError, match="c9"):
        graph["c9"]


# Running


def test_nodes_come_in_order_and_the_same_each_time():
    graph, params, inputs = small_case()
    first, second = (dict((n.name, o.copy()) for n, o in graph.run(inputs, params)) for _ in range(2))
    assert list(first) == [node.name for node in SMALL]
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_nothing_is_computed_before_it_is_asked_for():
    graph, params, inputs = small_case()
    asked = []

    class Watched(dict):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)

    run = graph.run(inputs, Watched(params))
    assert asked == []
    next(run)
    assert set(asked) == {"c1.weights", "c1.bias"}


@pytest.mark.parametrize("bits", [0, 8])
def test_a_tensor_goes_when_its_last_reader_is_done(bits):
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, bits) if bits else None
    readers = {node.name: {n.name for n in SMALL if node.name in n.inputs} for node in SMALL}
    living: dict[str, weakref.ref] = {}
    done = set()
    for node, output in graph.run(inputs, params, formats):
        done.add(node.name)
        if node.op != "flatten":  # a view: it is its input's memory
            living[node.name] = weakref.ref(output)
        del output
        alive = {name for name, tensor in living.items() if tensor() is not None}
        needed = {name for name in done if readers[name] - done} | {node.name}
        assert alive - {"both"} <= needed, f"after {node.name}"


def test_the_input_goes_too():
    graph, params, inputs = small_case()
    run = graph.run(inputs, params)
    seen = weakref.ref(inputs)
    del inputs
    next(run)
    assert seen() is None


def test_an_override_takes_the_place_of_a_layer():
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, 16)
    whole = quantize_params(graph, params, formats)
    given = []

    def machine(x: np.ndarray) -> np.ndarray:
        given.append(x)
        shape = graph.layer_shapes(INPUT_CHW, len(x))["c2"]
        shift = formats["c2.bias"].fraction - formats["c2.expected"].fraction
        return fixed.layer(shape, x, whole["c2.weights"], whole["c2.bias"], shift, formats["c2.expected"])

    plain = {node.name: out for node, out in graph.run(inputs, params, formats)}
    same = {node.name: out for node, out in graph.run(inputs, params, formats, {"c2": machine})}
    np.testing.assert_array_equal(given[0], plain["pool"])
    assert given[0].dtype == np.int16
    for name in plain:
        np.testing.assert_array_equal(same[name], plain[name])

    off = {n.name: o for n, o in graph.run(inputs, params, formats, {"c2": lambda x: machine(x) * 0})}
    np.testing.assert_array_equal(off["c1"], plain["c1"])
    relu_of_pool = fixed.add(
        [plain["pool"], 0 * plain["pool"]], [formats["c1.expected"]] * 2, formats["sum.expected"], "relu"
    )
    np.testing.assert_array_equal(off["sum"], relu_of_pool)


def test_an_override_may_replace_any_node_and_gets_all_its_inputs():
    graph, params, inputs = small_case()
    run = {n.name: o for n, o in graph.run(inputs, params, override={"sum": lambda a, b: a - b})}
    np.testing.assert_array_equal(run["sum"], run["c2"] - run["pool"])


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (np.zeros((5, 4, 4, 3), np.float32), r"float32 \(5, 4, 4, 3\)"),
        (np.zeros((5, 4, 4, 4)), r"float64 \(5, 4, 4, 4\)"),
    ],
)
def test_an_override_of_another_shape_or_type_is_refused(output, what):
    graph, params, inputs = small_case()
    with pytest.raises(
        ValueError, match=rf"^c2: the override returned {what}; wants float32 \(5, 4, 4, 4\)$"
    ):
        list(graph.run(inputs, params, override={"c2": lambda x: output}))


@pytest.mark.parametrize("step", [None, 1, 2, 5, 9])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_batch_in_parts_gives_the_integers_of_the_whole(bits, step):
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, bits)
    whole = graph.infer(inputs, params, formats)
    np.testing.assert_array_equal(graph.infer(inputs, params, formats, images_at_once=step), whole)


def test_the_output_may_lie_in_the_middle():
    graph, params, inputs = small_case()
    middle = net(*SMALL, output="sum")
    run = {node.name: output for node, output in graph.run(inputs, params)}
    np.testing.assert_array_equal(middle.infer(inputs, params), run["sum"])


# Formats


@pytest.mark.parametrize("bits", [8, 16])
def test_formats_are_the_finest_in_which_the_batch_fits(bits):
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, bits)
    assert formats["input"] == choose_format(inputs, bits)
    run = {node.name: output for node, output in graph.run(inputs, params)}
    for node in SMALL:
        name = f"{node.name}.expected"
        if node.op in ("maxpool", "avgpool", "flatten"):
            reads = node.inputs[0]
            assert formats[name] == formats[f"{reads}.expected"], name
        else:
            assert formats[name] == choose_format(run[node.name], bits), name
    assert formats["c2.weights"] == choose_format(params["c2.weights"], bits)
    assert formats["c2.bias"].fraction == formats["pool.expected"].fraction + formats["c2.weights"].fraction
    assert len(formats) == 1 + len(SMALL) + 2 * 3


def test_given_formats_stand():
    graph, params, inputs = small_case()
    mine = {name: NumberFormat(bits=12, fraction=7) for name in ("input", "c1.weights", "sum.expected")}
    formats = calibrate(graph, params, inputs, 16, given=mine)
    assert {name: formats[name] for name in mine} == mine
    assert formats["mean.expected"] == mine["sum.expected"]
    assert formats["c1.bias"].fraction == 14
    for node, output in graph.run(inputs, params, formats):
        if node.name == "sum":
            assert output.max() <= 2047


def test_the_batch_is_calibrated_in_parts():
    graph, params, inputs = small_case()
    assert calibrate(graph, params, inputs, 16, images_at_once=2) == calibrate(graph, params, inputs, 16)


def test_a_large_bias_holds_the_weights_fraction_down():
    graph = net(Node("fc", "linear", ("input",), {"out_channels": 1}))
    inputs = np.full((1, 1, 1, 1), 2.0**-20, np.float32)
    params = {
        "fc.weights": np.full((1, 1, 1, 1), 2.0**-20, np.float32),
        "fc.bias": np.array([3.0], np.float32),
    }
    formats = calibrate(graph, params, inputs, 16)
    # 3 lies below 2**2, so fraction 50 keeps it below 2**52; 2**-20 fits 16 bits at fraction 34
    assert formats["input"].fraction == 34
    assert formats["fc.weights"].fraction == 50 - 34
    assert formats["fc.bias"].fraction == 50
    assert graph.infer(inputs, params, formats).item() == 3 << formats["fc.expected"].fraction


def test_integers_are_taken_as_they_are():
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, 16)
    whole = quantize_params(graph, params, formats)
    assert whole["c1.weights"].dtype == np.int16
    assert whole["c1.bias"].dtype == np.int64
    integers = quantize(inputs, formats["input"])
    np.testing.assert_array_equal(
        graph.infer(integers, whole, formats), graph.infer(inputs, params, formats)
    )  # fmt: skip


def test_fixed_point_follows_float32_within_its_steps():
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, 16)
    real = graph.infer(inputs, params)
    close = graph.infer(inputs, params, formats) / 2.0 ** formats["odds.expected"].fraction
    np.testing.assert_allclose(close, real, atol=1e-3)


def test_each_node_is_the_fixed_point_of_its_inputs():
    graph, params, inputs = small_case()
    formats = calibrate(graph, params, inputs, 8)
    whole = quantize_params(graph, params, formats)
    out = {"input": quantize(inputs, formats["input"])}
    out |= {node.name: output for node, output in graph.run(inputs, params, formats)}
    shapes = graph.layer_shapes(INPUT_CHW, len(inputs))
    for name, reads, activation in (("c1", "input", "relu"), ("c2", "pool", None), ("fc", "flat", None)):
        sums = fixed.conv_plain(shapes[name], out[reads], whole[f"{name}.weights"], whole[f"{name}.bias"])
        fmt = formats[f"{name}.expected"]
        exact = np.rint(sums / 2.0 ** (formats[f"{name}.bias"].fraction - fmt.fraction))
        low = 0 if activation else fmt.lowest
        np.testing.assert_array_equal(out[name], np.clip(exact, low, fmt.highest))
    pooled = out["c1"].reshape(5, 4, 4, 2, 4, 2).max(axis=(3, 5))
    np.testing.assert_array_equal(out["pool"], pooled)
    means = np.rint(out["sum"].astype(int).reshape(5, 4, 2, 2, 2, 2).sum(axis=(3, 5)) / 4)
    np.testing.assert_array_equal(out["mean"], means)


def test_float32_formats_make_a_float32_run():
    graph, params, inputs = small_case()
    formats = dict.fromkeys(calibrate(graph, params, inputs, 16), FLOAT32)
    out = graph.infer(inputs.astype(np.float64), params, formats)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, graph.infer(inputs, params))
