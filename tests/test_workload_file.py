"""A workload file is read with its lines in mind: every fault at once, each where it stands."""

# ruff: noqa: E501 - messages stand whole, one a line

from __future__ import annotations

import re

import pytest

from simhw.errors import WorkloadError
from simhw.workload import load_workload

GOOD = """\
name: small
input: {channels: 1, height: 8, width: 8}
layers:
  - {name: conv1, type: conv, out_channels: 4, kernel: 3, activation: relu}
  - {name: pool1, type: maxpool, kernel: 2, stride: 2}
  - {name: flatten, type: flatten}
  - {name: fc1, type: linear, out_features: 10}
"""


@pytest.fixture
def write(tmp_path):
    def written(text: str | bytes):
        file = tmp_path / "net.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return written


def faults_of(file) -> list[str]:
    with pytest.raises(WorkloadError) as caught:
        load_workload(file)
    return [fault.replace(str(file), "net.yaml") for fault in caught.value.faults]


def test_a_small_file_is_read_as_written(write):
    workload = load_workload(write(GOOD))
    assert workload.input_shape == (1, 8, 8)
    assert workload.macs == 4 * 36 * 9 + 36 * 10
    assert workload.parameters == 4 * 9 + 4 + 36 * 10 + 10
    assert workload.data.default == "digits"
    assert workload.graph["fc1"].inputs == ("flatten",)


ATTRS = "activation, bias, dilation, groups, input, kernel, name, out_channels, pad, stride, type"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        # misspelt and unknown
        ("kernel: 3", "kernle: 3", f"net.yaml:4: layers.conv1: unknown field 'kernle'; did you mean 'kernel'? known: {ATTRS}"),
        ("type: conv", "type: convv", "net.yaml:4: layers.conv1.type: unknown type 'convv'; did you mean 'conv'? known: add, avgpool, batchnorm, concat, conv, elementwise, flatten, globalavgpool, linear, lrn, maxpool, relu, relu6, sigmoid, softmax, subsample_pad"),
        ("input: {channels", "inptu: {channels", "net.yaml:2: unknown field 'inptu'; did you mean 'input'? known: cites, data, input, layers, name, notes, weights"),
        ("kernel: 2, stride", "input: conv2, kernel: 2, stride", "net.yaml:5: layers.pool1: reads 'conv2', which no node makes; did you mean 'conv1'? known: conv1, fc1, flatten, input, pool1"),
        ("channels: 1", "chanels: 1", "net.yaml:2: input: unknown field 'chanels'; did you mean 'channels'? known: channels, height, width"),
        # wrong types and values
        ("out_channels: 4", "out_channels: four", "net.yaml:4: layers.conv1.out_channels: wants a whole number of at least 1, got 'four'"),
        ("out_channels: 4", "out_channels: 0", "net.yaml:4: layers.conv1.out_channels: wants a whole number of at least 1, got 0"),
        ("out_channels: 4", "out_channels: -2", "net.yaml:4: layers.conv1.out_channels: wants a whole number of at least 1, got -2"),
        ("out_channels: 4", "out_channels: 2.5", "net.yaml:4: layers.conv1.out_channels: wants a whole number of at least 1, got 2.5"),
        ("height: 8", "height: tall", "net.yaml:2: input.height: wants a whole number of at least 1, got 'tall'"),
        ("height: 8", "height: 0", "net.yaml:2: input.height: wants a whole number of at least 1, got 0"),
        ("kernel: 3", "kernel: [3, 3, 3]", "net.yaml:4: layers.conv1.kernel: wants a whole number of at least 1 or two (height, width), got [3, 3, 3]"),
        ("kernel: 3", "kernel: 3, pad: sam", "net.yaml:4: layers.conv1.pad: wants same, a whole number, two (height, width) or four (top, bottom, left, right), got 'sam'"),
        ("relu}", "tanh}", "net.yaml:4: layers.conv1.activation: wants 'relu', 'relu6' or null, got 'tanh'"),
        ("kernel: 3", "kernel: 3, bias: 3", "net.yaml:4: layers.conv1.bias: wants true or false, got 3"),
        ("name: conv1", "name: [conv1]", "net.yaml:4: layers[0].name: wants a name of letters, digits and _ . / -, got a list"),
        ("name: conv1", "name: 'conv 1'", "net.yaml:4: layers.conv 1.name: wants a name of letters, digits and _ . / -, got 'conv 1'"),
        ("name: small", "name: [a, b]", "net.yaml:1: name: wants a name, got a list"),
        ("name: pool1", "nmae: pool1", "net.yaml:5: layers[1]: unknown field 'nmae'; did you mean 'name'? known: ceil_mode, input, kernel, name, pad, stride, type"),
        ("name: pool1", "name: input", "net.yaml:5: layers.input.name: wants a name of letters, digits and _ . / -, got 'input'"),
        ("kernel: 2, stride", "input: 3, kernel: 2, stride", "net.yaml:5: layers.pool1.input: wants the name of a layer, or a list of names, got 3"),
        ("  - {name: flatten, type: flatten}", "  - flatten", "net.yaml:6: layers[2]: wants a map that describes a layer, got 'flatten'"),
        # missing
        ("name: small\n", "", "net.yaml:1: name is missing; wants a name"),
        ("name: fc1, ", "", "net.yaml:7: layers[3]: name is missing; wants a name of letters, digits and _ . / -"),
        (", type: linear", "", "net.yaml:7: layers.fc1: type is missing; wants the type of a layer"),
        (", out_features: 10", "", "net.yaml:7: layers.fc1.out_features: missing; wants a whole number of at least 1"),
        ("input: {channels: 1, height: 8, width: 8}\n", "", "net.yaml:1: input is missing; wants {channels, height, width}"),
        ("channels: 1, ", "", "net.yaml:2: input: channels is missing; wants a whole number of at least 1"),
        ("layers:", "leyers:", "net.yaml:3: unknown field 'leyers'; did you mean 'layers'? known: cites, data, input, layers, name, notes, weights"),
        ("layers:", "layers: []\nnotes: >\n", "net.yaml:3: layers: wants a list of at least one layer, got an empty list"),
        # what does not fit together
        ("kernel: 3", "kernel: 9", "net.yaml:4: layers.conv1.kernel: covers 9x9 of a padded input of 8x8; wants a smaller kernel or more pad"),
        ("kernel: 3", "kernel: 3, groups: 3", "net.yaml:4: layers.conv1.groups: 3 does not divide both 1 input and 4 output channels; wants a divisor"),
        ("  - {name: flatten, type: flatten}\n", "", "net.yaml:6: layers.fc1: reads maps of 3x3, and linear wants 1x1; put a flatten before it"),
        ("name: pool1", "name: conv1", "net.yaml:5: layers.conv1: has the name of another node; wants a name of its own"),
        # YAML itself
        ("name: small", "name: small\nname: again", "net.yaml:2: name: is given twice, first on line 1; keep one"),
        ("name: small", "name: &a small", "net.yaml:1: an anchor (&a) is not taken here; leave it out"),
        ("name: small", "name: !!python/object:os.system small", "net.yaml:1: a tag (tag:yaml.org,2002:python/object:os.system) is not taken here; write a plain value"),
        ("name: small", "name: small\n---\nname: other", "net.yaml:2: a second document begins; wants one document in a file"),
    ],
)  # fmt: skip
def test_one_slip_is_one_line(write, old, new, fault):
    assert old in GOOD
    assert faults_of(write(GOOD.replace(old, new, 1))) == [fault]


def test_all_faults_of_a_file_come_at_once_in_the_order_of_its_lines(write):
    bad = (
        GOOD.replace("height: 8", "height: -8")
        .replace("kernel: 3", "kernle: 3")
        .replace("type: maxpool", "type: maxpol")
        .replace("name: small", "nam: small")
        .replace("out_features: 10", "out_features: ten")
    )
    lines = [int(re.match(r"net.yaml:(\d+): ", fault)[1]) for fault in faults_of(write(bad))]
    assert lines == [1, 2, 4, 5, 7]


def test_a_layer_that_lacks_its_kernel_is_shown_where_it_begins(write):
    bad = GOOD.replace(", kernel: 3", "").replace(
        "{name: conv1, type: conv, out_channels: 4, activation: relu}",
        "name: conv1\n    type: conv\n    out_channels: 4",
    )
    assert faults_of(write(bad)) == [
        "net.yaml:4: layers.conv1.kernel: missing; wants a whole number of at least 1 or two (height, width)"
    ]


def test_a_field_on_its_own_line_is_shown_on_that_line(write):
    bad = GOOD.replace(
        "{name: conv1, type: conv, out_channels: 4, kernel: 3, activation: relu}",
        "name: conv1\n    type: conv\n    out_channels: 4\n    kernel: three",
    )
    assert faults_of(write(bad)) == [
        "net.yaml:7: layers.conv1.kernel: wants a whole number of at least 1 or two (height, width), got 'three'"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"\xff\xfe\x00", "net.yaml:1: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        ("", "net.yaml: is empty; wants a workload"),
        ("# nothing but a remark\n", "net.yaml: is empty; wants a workload"),
        ("- just\n- a list\n", "net.yaml:1: wants a workload, fields as `name: value`, got a list"),
        ("[" * 5000, "net.yaml:1: nested more than 32 deep; write it flatter"),
        ("x" * (1 << 20) + "x", "net.yaml: has more than 1,048,576 bytes; wants a YAML file with a workload"),
        ("? [a, b]\n: c\n", "net.yaml:1: a field's name wants to be a word, got a list or a mapping"),
    ],
)  # fmt: skip
def test_what_is_no_description_says_so(write, text, fault):
    assert fault in faults_of(write(text))


@pytest.mark.parametrize(("text", "line"), [("name: a\nlayers: [}\n", 2), ("name: a: b\n", 1)])
def test_what_is_not_yaml_says_where(write, text, line):
    """The words in the middle are the YAML parser's."""
    fault = faults_of(write(text))[0]
    assert re.fullmatch(rf"net.yaml:{line}: is not YAML: .+; mend this line or the one before", fault)


def test_a_yaml_bomb_is_refused_before_it_expands(write):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    assert faults_of(write("\n".join(lines))) == [
        "net.yaml:1: an anchor (&a0) is not taken here; leave it out"
    ]


def test_a_directory_a_missing_file_and_a_misspelt_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkloadError) as caught:
        load_workload(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is a directory; wants a .yaml file"
    with pytest.raises(
        WorkloadError, match=r"^nowhere/net\.yaml: no such file, and no shipped workload has that name"
    ):
        load_workload("nowhere/net.yaml")
    with pytest.raises(
        WorkloadError, match=r"^alexnett: no such file, .*; did you mean 'alexnet'\? known: alexnet,"
    ):
        load_workload("alexnett")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("data: {scale: 2}", "net.yaml:8: data: unknown field 'scale'; known: array, default, divide_by, file, fit, mean, order, std"),
        ("data: {divide_by: 0}", "net.yaml:8: data.divide_by: wants a number above 0, got 0"),
        ("data: {std: [1, 0]}", "net.yaml:8: data.std: wants a number above 0 or a list of them, one a channel, got a list"),
        ("data: {mean: [1, 2, 3]}", "net.yaml:8: data.mean: wants 1 number, one a channel, got 3"),
        ("data: {mean: .nan}", "net.yaml:8: data.mean: wants a number or a list of them, one a channel, got nan"),
        ("data: {order: bgr}", "net.yaml:8: data.order: bgr wants 3 channels, and the input has 1"),
        ("data: {order: grb}", "net.yaml:8: data.order: wants one of rgb, bgr, got 'grb'"),
        ("data: {default: mnist}", "net.yaml:8: data.default: wants digits or synthetic:sparsity=...,negative=..., got 'mnist'"),
        ("data: digits", "net.yaml:8: data: wants a map that says where data come from, got 'digits'"),
        ("weights: {seed: -1}", "net.yaml:8: weights.seed: wants a whole number of at least 0, got -1"),
        ("weights: {seed: true}", "net.yaml:8: weights.seed: wants a whole number of at least 0, got True"),
    ],
)  # fmt: skip
def test_where_weights_and_inputs_come_from_is_checked(write, line, fault):
    assert faults_of(write(GOOD + line + "\n")) == [fault]


def test_numbers_may_be_written_with_an_exponent_alone(write):
    text = GOOD.replace(
        "  - {name: pool1",
        "  - {name: norm1, type: lrn, size: 5, alpha: 1e-4, beta: 75E-2}\n  - {name: pool1",
    )
    node = load_workload(write(text)).graph["norm1"]
    assert (node.attrs["alpha"], node.attrs["beta"]) == (1e-4, 0.75)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"),
    [
        # TensorFlow's SAME: ceil(size / stride) outputs; the odd half goes behind
        (8, 3, 1, (1, 1)),
        (8, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (8, 2, 2, (0, 0)),
        (9, 2, 2, (0, 1)),
        (8, 5, 3, (1, 2)),
        (8, 1, 2, (0, 0)),
    ],
)
def test_same_padding_is_tensorflows(write, size, kernel, stride, pad):
    text = (
        f"name: padded\ninput: {{channels: 1, height: {size}, width: {size}}}\nlayers:\n"
        f"  - {{name: c, type: conv, out_channels: 1, kernel: {kernel}, stride: {stride}, pad: same}}\n"
    )
    workload = load_workload(write(text))
    assert workload.graph["c"].attrs["pad"] == (*pad, *pad)
    assert workload.graph.layer_shapes(workload.input_shape)["c"].out_height == -(-size // stride)


def test_two_paddings_are_height_and_width(write):
    workload = load_workload(write(GOOD.replace("kernel: 3,", "kernel: 3, pad: [0, 1],")))
    assert workload.graph["conv1"].attrs["pad"] == (0, 0, 1, 1)
