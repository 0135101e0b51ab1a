"""Layers that are streams of elementwise operations: in a workload, in a trace, and on machines."""

# ruff: noqa: E501 - messages stand whole, one a line

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simhw import core, stream
from simhw.accelerator import simulate
from simhw.accelerator.run import _verdict
from simhw.description import load_accelerator
from simhw.errors import DescriptionError, TraceError, WorkloadError
from simhw.shapes import FLOAT32, NumberFormat
from simhw.trace import Trace
from simhw.workload import export, load_workload

GOOD = """\
name: filters
input: {channels: 2, height: 6, width: 5}
data: {default: 'synthetic:sparsity=0,negative=0.5'}
layers:
  - name: edges
    type: elementwise
    operations:
      - across = mul(input[0,-1], -1)
      - across = add(input[0,+1], across)
      - size = mac(across, across, 0.5)
      - root = sqrt(size)
  - {name: conv, type: conv, out_channels: 2, kernel: 3, pad: 1}
  - {name: relu, type: relu}
  - name: blend
    type: elementwise
    input: [edges, relu]
    names: [lines, maps]
    operations:
      - half = mul(maps, 0.5)
      - sum = mac(lines[-1,0], 2, half)
"""

MACHINE = """
name: streamer
clock_mhz: 100
dataflow: test_streams
technology: null
components:
  unit: {kind: test_unit}
  dram: {kind: dram_link, clock_mhz: 50, word_bits: 32}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "net.yaml"
    file.write_text(text)
    return file


@pytest.fixture(params=["float32", "fixed16", "fixed8"])
def trace(request, tmp_path) -> Trace:
    return export(load_workload(written(tmp_path, GOOD)), images=3, format=request.param)


@pytest.fixture
def mixed(tmp_path) -> Trace:
    return export(load_workload(written(tmp_path, GOOD)), images=3, format="float32")


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Any:
    """The machine of stream_machine.py, registered for the length of a test."""
    for module, name in (("component", "_KINDS"), ("dataflow", "_DATAFLOWS"), ("dataflow", "_TWINS")):
        at = f"simhw.core.{module}.{name}"
        monkeypatch.setattr(at, dict(getattr(sys.modules[f"simhw.core.{module}"], name)))
    core.load_plugin(Path(__file__).parent / "stream_machine.py")
    file = tmp_path / "streamer.yaml"
    file.write_text(MACHINE)
    return load_accelerator(file)


# how they are written


def test_a_line_is_an_operation_of_arrays_shifts_and_numbers():
    (one, other), faults = stream.read(
        (" a=mac( in.put[ -1 , +2 ],-2e-1 ,in.put)", "b = sqrt(a)"), ("in.put",)
    )
    assert not faults
    assert one == stream.Operation(
        "a",
        "mac",
        (stream.Operand("in.put", -1, 2), stream.Operand("-2e-1", is_number=True), stream.Operand("in.put")),
    )
    assert [str(one), str(other)] == ["a = mac(in.put[-1,2], -2e-1, in.put)", "b = sqrt(a)"]
    assert stream.read((str(one), str(other)), ("in.put",))[0] == (one, other)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("root = sqrt(size)", "sqrt(size)", "11: layers.edges.operations[3]: wants an operation such as total = add(a, b), got 'sqrt(size)'"),
        ("root = sqrt(size)", "root = sqr(size)", "11: layers.edges.operations[3]: unknown operation 'sqr'; did you mean 'sqrt'? known: add, mac, mul, sqrt"),
        ("root = sqrt(size)", "root = sqrt(size, 2)", "11: layers.edges.operations[3]: has 2 operands; wants root = sqrt(a)"),
        ("across, across, 0.5", "across, across", "10: layers.edges.operations[2]: has 2 operands; wants size = mac(a, b, c)"),
        ("root = sqrt(size)", "root = sqrt(sise)", "11: layers.edges.operations[3]: reads 'sise', which nothing above it makes; did you mean 'size'? known: across, input, size"),
        ("root = sqrt(size)", "root = sqrt(root)", "11: layers.edges.operations[3]: reads 'root', which nothing above it makes; known: across, input, size"),
        ("root = sqrt(size)", "root = sqrt(size[0,1])", "11: layers.edges.operations[3]: shifts size, which the layer does not read; wants a layer by itself for what is shifted"),
        ("root = sqrt(size)", "root = sqrt(size[0])", "11: layers.edges.operations[3]: wants arrays, such as a or a[-1,+1], and numbers, got 'size[0]'"),
        ("root = sqrt(size)", "root = sqrt(2)", "11: layers.edges.operations[3]: reads numbers alone; wants an array among its operands"),
        ("root = sqrt(size)", "input = sqrt(size)", "11: layers.edges.operations[3]: makes 'input', which the layer has already; wants another name"),
        ("root = sqrt(size)", "expected = sqrt(size)", "11: layers.edges.operations[3]: makes 'expected', which the layer has already; wants another name"),
        ("across, 0.5", "across, 1e39", "10: layers.edges.operations[2]: wants a number that float32 holds, got 1e39"),
        ("across, 0.5", "across, nan", "10: layers.edges.operations[2]: reads 'nan', which nothing above it makes; known: across, input"),
        ("input[0,-1]", "input[0,-5]", "7: layers.edges.operations: input[0,-5] lies outside of maps of 6x5; wants a smaller shift"),
        ("input[0,-1]", "input[7,0]", "7: layers.edges.operations: input[7,0] lies outside of maps of 6x5; wants a smaller shift"),
        ("[lines, maps]", "[lines]", "17: layers.blend.names: wants 2, each once, got lines"),
        ("[lines, maps]", "[lines, lines]", "17: layers.blend.names: wants 2, each once, got lines, lines"),
        ("kernel: 3, pad: 1", "kernel: 3", "14: layers.blend: reads tensors of 2x6x5 and 2x4x3; wants equal shapes"),
        ("      - half = mul(maps, 0.5)\n      - sum = mac(lines[-1,0], 2, half)\n", "      half\n", "18: layers.blend.operations: wants a list of operations such as total = add(a, b), got 'half'"),
        ("    operations:\n      - half = mul(maps, 0.5)\n      - sum = mac(lines[-1,0], 2, half)\n", "", "14: layers.blend.operations: missing; wants a list of operations such as total = add(a, b)"),
    ],
)  # fmt: skip
def test_one_slip_is_one_line(tmp_path, old, new, fault):
    assert old in GOOD
    file = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(WorkloadError) as caught:
        load_workload(file)
    assert [line.replace(str(file), "net.yaml") for line in caught.value.faults] == [f"net.yaml:{fault}"]


def test_every_faulty_operation_has_its_line_beside_what_else_is_wrong(tmp_path):
    bad = (
        GOOD.replace("mul(input", "mull(input")
        .replace("sqrt(size)", "sqrt(size")
        .replace("kernel: 3", "kernle: 3")
    )
    with pytest.raises(WorkloadError) as caught:
        load_workload(written(tmp_path, bad))
    assert [fault.split(":")[1] for fault in caught.value.faults] == ["8", "11", "12"]


# in a trace


def test_a_trace_has_streams_beside_its_layers(trace):
    assert [layer.name for layer in trace.layers] == ["conv"]
    assert [layer.name for layer in trace.streams] == ["edges", "blend"]
    assert [(layer.name, layer.kind) for layer in trace.of_kinds()] == [
        ("edges", "elementwise"), ("conv", "conv"), ("blend", "elementwise"),
    ]  # fmt: skip
    edges, blend = trace.streams
    assert edges.shape.counts == {"add": 180, "mul": 180, "mac": 180, "sqrt": 180}
    assert edges.shape.macs == 360
    assert (edges.shape.elements, edges.shape.output_shape) == (180, (3, 2, 6, 5))
    assert edges.reads == ("input",)
    assert blend.reads == ("lines", "maps")  # the ReLU is in the convolution now; the names stay
    assert sorted(blend.operands) == ["0.5", "2", "lines", "maps"]
    assert blend.operands["2"].ndim == 0
    assert blend.operands["2"] == 2 * 2.0 ** blend.formats["2"].fraction


def test_nothing_is_stored_twice(trace):
    assert trace.aliases == {
        "edges.input": "input", "conv.inputs": "edges.expected",
        "blend.lines": "edges.expected", "blend.maps": "conv.expected",
    }  # fmt: skip
    assert set(trace.tensor_names) == {
        "input", "edges.constants", "edges.expected", "conv.weights", "conv.bias", "conv.expected",
        "blend.constants", "blend.expected",
    }  # fmt: skip


def test_a_file_gives_back_what_the_memory_holds(trace, tmp_path):
    loaded = Trace.load(trace.save(tmp_path / "t.safetensors"))
    loaded.verify()
    assert loaded.digests == trace.digests
    assert loaded.streams == trace.streams
    for mine, other in zip(loaded.streams, trace.streams, strict=True):
        np.testing.assert_array_equal(mine.expected, other.expected)
        assert mine.formats == other.formats
        for name in mine.operands:
            np.testing.assert_array_equal(mine.operands[name], other.operands[name])
            assert not mine.operands[name].flags.writeable
    cut = trace.head(1).streams[1]
    assert cut.shape.batch == 1
    assert cut.operands["lines"].shape == (1, 2, 6, 5)


def test_every_array_and_number_has_a_format(trace):
    edges = trace.streams[0]
    assert set(edges.formats) == {"input", "across", "size", "root", "-1", "0.5", "constants", "expected"}
    assert edges.formats["root"] == edges.formats["expected"]
    assert edges.formats["-1"] == edges.formats["constants"]
    assert (edges.formats["size"] == FLOAT32) == (trace.format == "float32")


def test_networks_with_other_operations_are_other_networks(tmp_path):
    one, other = (
        export(load_workload(written(tmp_path, text))) for text in (GOOD, GOOD.replace("0.5)", "0.25)"))
    )
    assert one.digests["network"] != other.digests["network"]
    spaced = export(load_workload(written(tmp_path, GOOD.replace("across, across", "across ,across"))))
    assert spaced.digests == one.digests


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"edges.expected": None}, "edges.expected: is missing"),
        ({"edges.constants": None}, "edges.constants: is missing"),
        ({"edges.constants": np.zeros(3, np.float32)}, "edges.constants: has shape [3]; its layer wants [2]"),
        ({"input": np.zeros((3, 1, 6, 5), np.float32)}, "edges.input: has shape [3, 1, 6, 5]; its layer wants [3, 2, 6, 5]"),
    ],
)  # fmt: skip
def test_a_trace_that_lacks_what_a_stream_wants_is_refused(mixed, change, fault):
    tensors = {name: mixed.tensor(name) for name in mixed.tensor_names} | change
    with pytest.raises(TraceError) as caught:
        Trace(
            name="t", format="float32", graph=mixed.graph, formats=mixed.formats, aliases=mixed.aliases,
            tensors={name: array for name, array in tensors.items() if array is not None},
        )  # fmt: skip
    assert f"t: {fault}; copy it again, or remake it with `simhw trace`" in caught.value.faults


def test_a_stream_may_put_out_infinity_and_nan_in_float32_alone(tmp_path):
    text = "name: n\ninput: {channels: 1, height: 8, width: 8}\nlayers:\n  - name: s\n    type: elementwise\n    operations:\n      - {}\n"
    for line, holds in (("s = sqrt(input)", True), ("s = mul(input, 3e38)", False)):
        text_of = text.replace("{}", line).replace(
            "layers:", "data: {default: 'synthetic:negative=0.5'}\nlayers:"
        )
        workload = load_workload(written(tmp_path, text_of))
        made = Trace.load(export(workload, format="float32").save(tmp_path / "t.safetensors"))
        expected = made.streams[0].expected
        assert np.isnan(expected).any() == holds
        assert np.isinf(expected).any() == (not holds)
        with pytest.raises(WorkloadError, match=r"s: holds NaN or infinity; wants finite numbers$"):
            export(workload, format="fixed16")


def test_a_picture_has_no_class(tmp_path):
    made = export(load_workload("image_filters"), images=2)
    assert made.labels is None
    assert made.provenance["weights"] == "none"


# on machines


@pytest.mark.parametrize("name", ["eyeriss", "snapea", "tolba", "tolba_rs"])
def test_a_machine_that_takes_none_says_so_once_a_layer(name):
    made = export(load_workload("image_filters"))
    with pytest.raises(DescriptionError) as caught:
        simulate(name, made)
    assert list(caught.value.faults) == [
        f"image_filters: {layer} is of kind elementwise, and {name} takes conv and linear; "
        "wants a layer that it takes, or another accelerator"
        for layer in ("roberts", "sharpen", "sobel")
    ]
    with pytest.raises(DescriptionError, match=r"^image_filters: sobel is of kind elementwise, "):
        simulate(name, made, layers=["sobel"])


def test_a_machine_runs_the_layers_that_it_takes_and_the_reference_model_the_others(machine, trace):
    fixed = trace if trace.format != "float32" else None
    for description, ran in (("eyeriss", ["conv"]), (machine, ["edges", "blend"])):
        if description is machine and fixed is not None:
            continue  # it takes float32
        for closed_loop in (False, True):
            result = simulate(description, trace, closed_loop=closed_loop)
            assert [layer.name for layer in result.layers] == ran
            assert [node["name"] for node in result.not_simulated] == [
                node["name"] for node in trace.graph["nodes"] if node["name"] not in ran
            ]
            assert all(layer.output_matches is not False for layer in result.layers)
            assert result.accuracy is None
    with pytest.raises(
        DescriptionError, match=r"^filters: conv is of kind conv, and streamer takes elementwise; "
    ):
        simulate(machine, trace, layers=["edges", "conv"])


@pytest.mark.parametrize("closed_loop", [False, True])
def test_both_engines_give_the_same(machine, mixed, closed_loop):
    compiled, stepped = (
        simulate(machine, mixed, engine=e, closed_loop=closed_loop) for e in ("compiled", "stepped")
    )
    for mine, other in zip(compiled.layers, stepped.layers, strict=True):
        assert mine.output_matches
        assert other.output_matches
        assert dict(mine.actions) == dict(other.actions)
        assert (mine.cycles, mine.stall_cycles) == (other.cycles, other.stall_cycles)
        assert dict(mine.activity) == dict(other.activity)
        assert mine.details == other.details
        assert mine.kind == "elementwise"


def test_its_counts_are_those_of_the_shape_by_hand(machine, mixed):
    result = simulate(machine, mixed)
    edges, blend = result.layers
    assert edges.macs == 2 * 180
    assert {key: n for key, n in edges.actions.items() if key.startswith("unit")} == dict.fromkeys(
        ("unit.add", "unit.mul", "unit.mac", "unit.sqrt"), 180
    )
    # an image of 60 elements: in by 120 cycles at half the clock, then 4 x 60 of work, three times, and out
    assert edges.cycles == 120 + 3 * 240 + 120
    assert edges.stall_cycles == {"waiting": 120}
    # of two arrays: 240 cycles each time to bring them, 120 of work, and the first output before the last input
    assert blend.actions["dram.read"] == 3 * 120
    assert blend.cycles == 3 * 240 + 120 + 120 + 120


def test_machines_agree_to_the_bit_where_values_are_strange(machine, tmp_path):
    """Roots below zero, products that overflow, and numbers too small to be normal, on both engines."""
    text = GOOD[: GOOD.index("  - {name: conv")].replace(
        "- across = mul(input[0,-1], -1)", "- across = mul(input, 1e-38)"
    )
    text = text.replace("add(input[0,+1], across)", "mul(across, 1e-3)").replace("0.5)", "input)")
    text += (
        "      - big = mul(input, 3e38)\n      - out = mac(big, across, root)\n      - out = add(out, big)\n"
    )
    made = export(load_workload(written(tmp_path, text)), images=2, format="float32")
    expected = made.streams[0].expected
    assert np.isnan(expected).any()
    assert np.isinf(expected).any()
    for engine in ("compiled", "stepped"):
        assert simulate(machine, made, engine=engine).outputs_match


# the verdict on float32


class Expecting:
    kind, formats = "elementwise", {"expected": NumberFormat()}

    def __init__(self, *values: float) -> None:
        self.expected = np.array(values, np.float32)


def test_floats_are_equal_by_their_bits_and_any_nan_to_any_other():
    payload = np.array([0xFFC00001], np.uint32).view(np.float32)
    assert _verdict(Expecting(np.nan), payload) == (True, None)
    assert _verdict(Expecting(np.inf, 1), np.array([np.inf, 1], np.float32)) == (True, None)
    assert _verdict(Expecting(0), np.array([-0.0], np.float32)) == (False, {"max": 0.0, "mean": 0.0})
    assert _verdict(Expecting(1, np.inf), np.array([1.5, np.inf], np.float32)) == (
        False,
        {"max": 0.5, "mean": 0.25},
    )
    largest = float(np.finfo(np.float32).max)
    for strange in (np.nan, np.inf):
        assert _verdict(Expecting(1), np.array([strange], np.float32)) == (
            False,
            {"max": largest, "mean": largest},
        )
