"""Traces: what goes into a file comes out of it, lazily, and nothing else passes for it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from simhw.errors import TraceError
from simhw.shapes import FLOAT32, LayerShape, NumberFormat
from simhw.trace import Trace

IMAGES = 3
REMAKE = "copy it again, or remake it with `simhw trace`"


def small_trace(**changes) -> Trace:
    """conv1 (2 filters 3x3, relu) -> pool1 -> fc1 (5 outputs): pool1's output is fc1's input."""
    rng = np.random.default_rng(5)

    def integers(*shape, dtype=np.int16):
        return rng.integers(-90, 90, shape).astype(dtype)

    graph = {
        "inputs": ["input"],
        "nodes": [
            {"name": "conv1", "op": "conv", "inputs": ["input"],
             "attrs": {"stride": [1, 1], "pad": [1, 1, 1, 1], "groups": 1, "activation": "relu"}},
            {"name": "pool1", "op": "maxpool", "inputs": ["conv1"],
             "attrs": {"kernel": [2, 2], "stride": [2, 2]}},
            {"name": "fc1", "op": "linear", "inputs": ["pool1"], "attrs": {"activation": None}},
        ],
        "output": "fc1",
    }  # fmt: skip
    tensors = {
        "input": integers(IMAGES, 1, 4, 4),
        "conv1.weights": integers(2, 1, 3, 3),
        "conv1.bias": integers(2, dtype=np.int64),
        "conv1.expected": integers(IMAGES, 2, 4, 4),
        "pool1.expected": integers(IMAGES, 2, 2, 2),
        "fc1.weights": integers(5, 8, 1, 1),
        "fc1.bias": integers(5, dtype=np.int64),
        "fc1.expected": integers(IMAGES, 5, 1, 1),
        "labels": np.arange(IMAGES),
    }
    fractions = {
        "input": 14, "conv1.weights": 15, "conv1.bias": 29, "conv1.expected": 12, "pool1.expected": 12,
        "fc1.weights": 13, "fc1.bias": 25, "fc1.expected": 11,
    }  # fmt: skip
    return Trace(
        **{
            "name": "small",
            "format": "fixed16",
            "graph": graph,
            "formats": {
                name: NumberFormat(bits=64 if name.endswith("bias") else 16, fraction=fraction)
                for name, fraction in fractions.items()
            },
            "tensors": tensors,
            "aliases": {"conv1.inputs": "input", "fc1.inputs": "pool1.expected"},
            "provenance": {"seed": 5},
        }
        | changes
    )


@pytest.fixture
def file(tmp_path) -> Path:
    return small_trace().save(tmp_path / "small.safetensors")


def fails_with(message: str):
    """Expect exactly this message, word for word."""
    return pytest.raises(TraceError, match=f"^{re.escape(message)}$")


def test_a_file_gives_back_what_the_memory_holds(file):
    memory, loaded = small_trace(), Trace.load(file)
    assert loaded.digests == memory.digests
    assert (loaded.name, loaded.format, loaded.batch) == ("small", "fixed16", IMAGES)
    assert loaded.layers == memory.layers
    for name in (*memory.tensor_names, *memory.aliases):
        np.testing.assert_array_equal(loaded.tensor(name), memory.tensor(name))
        assert loaded.tensor(name).dtype == memory.tensor(name).dtype
        assert not loaded.tensor(name).flags.writeable
        assert not memory.tensor(name).flags.writeable
    loaded.verify()


def test_layers_come_in_graph_order_with_their_shapes_and_formats():
    trace = small_trace()
    assert [layer.name for layer in trace.layers] == ["conv1", "fc1"]
    conv, linear = trace.layers
    assert conv.shape == LayerShape(
        batch=3, in_channels=1, in_height=4, in_width=4, out_channels=2, kernel_height=3, kernel_width=3,
        pad=(1, 1, 1, 1),
    )  # fmt: skip
    assert linear.shape == LayerShape.linear(3, 8, 5)
    assert (conv.activation, linear.activation) == ("relu", None)
    assert conv.shift == 29 - 12
    assert linear.formats["inputs"] == NumberFormat(bits=16, fraction=12)
    assert trace.nodes_beside(["conv1", "fc1"]) == [{"name": "pool1", "op": "maxpool"}]


def test_a_linear_layer_sees_the_map_before_it_as_channels():
    trace = small_trace()
    assert trace.layer("fc1").inputs.shape == (3, 8, 1, 1)
    np.testing.assert_array_equal(trace.layer("fc1").inputs.ravel(), trace.tensor("pool1.expected").ravel())


def test_identical_tensors_are_stored_once(file):
    with safe_open(file, framework="numpy") as other:
        assert set(other.keys()) == set(small_trace().tensor_names)
        assert "fc1.inputs" not in other.keys()  # noqa: SIM118 - not a mapping


def test_other_programs_read_the_tensors(file):
    with safe_open(file, framework="numpy") as other:
        about = json.loads(other.metadata()["simhw"])
        for name in small_trace().tensor_names:
            np.testing.assert_array_equal(other.get_tensor(name), small_trace().tensor(name))
            checksum = hashlib.sha256(other.get_tensor(name).tobytes()).hexdigest()
            assert about["checksums"][name] == checksum
    assert about["schema"] == 1
    assert about["weights_digest"] == small_trace().digests["weights"]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    one = small_trace().save(tmp_path / "one.safetensors")
    again = Trace.load(one).save(tmp_path / "again.safetensors")
    assert one.read_bytes() == again.read_bytes()


def test_a_trace_can_be_saved_over_itself(file):
    before = file.read_bytes()
    assert Trace.load(file).save(file).read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_opening_reads_no_tensor(tmp_path):
    """A file of which only the header is sound opens, and complains of the tensor that is asked for."""
    file = small_trace().save(tmp_path / "small.safetensors")
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start:] = bytes(len(data) - start)
    file.write_bytes(data)
    trace = Trace.load(file)
    assert trace.layer("conv1").shape.macs == 3 * 2 * 16 * 9
    with fails_with(
        f"{file}: conv1.weights: was altered since it was written (its checksum differs); {REMAKE}"
    ):
        trace.layer("conv1").weights  # noqa: B018
    with pytest.raises(TraceError) as caught:
        trace.verify()
    assert len(caught.value.faults) == len(trace.tensor_names)


def test_reading_copies_nothing(tmp_path):
    big = np.zeros((1, 1, 4000, 4000), dtype=np.int16)  # 32 MB
    graph = {"inputs": ["input"], "nodes": [], "output": "input"}
    trace = Trace(name="big", format="fixed16", graph=graph, formats={}, tensors={"input": big})
    file = trace.save(tmp_path / "big.safetensors")
    code = (
        "from simhw.trace import Trace\n"
        "def held():\n"
        "    return int(open('/proc/self/status').read().split('RssAnon:')[1].split()[0])\n"
        f"t = Trace.load({str(file)!r}); before = held(); t.tensor('input'); print(held() - before)"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read the process's memory from")
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 4000  # KiB


# What is not a trace, or no longer one


def test_every_flipped_bit_is_found_and_its_tensor_named(file):
    good = file.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    with safe_open(file, framework="numpy") as other:
        names = other.offset_keys()
    sizes = [small_trace().tensor(name).nbytes for name in names]
    rng = np.random.default_rng(1)
    at = start
    for name, size in zip(names, sizes, strict=True):
        for bit in rng.integers(0, 8 * size, 4):
            data = bytearray(good)
            data[at + bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(data)
            with fails_with(
                f"{file}: {name}: was altered since it was written (its checksum differs); {REMAKE}"
            ):
                Trace.load(file).tensor(name)
        at += size
    assert at == len(good)


def test_a_flipped_bit_in_the_header_is_found_wherever_it_lies(file):
    good = file.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    for byte in (*range(60), *range(60, start, 7), start - 1):
        data = bytearray(good)
        data[byte] ^= 1 << (byte % 8)
        file.write_bytes(data)
        with pytest.raises(TraceError, match=f"^{re.escape(str(file))}: "):
            Trace.load(file)
    data = bytearray(good)
    data[300] ^= 4
    file.write_bytes(data)
    with fails_with(f"{file}: header: was altered since it was written (its checksum differs); {REMAKE}"):
        Trace.load(file)


def test_a_trace_cut_short_says_how_much_is_left(file):
    good = file.read_bytes()
    file.write_bytes(good[:-5])
    with fails_with(f"{file}: is cut short: has {len(good) - 5} bytes of {len(good)}; {REMAKE}"):
        Trace.load(file)
    file.write_bytes(good[:100])
    header = 8 + int.from_bytes(good[:8], "little")
    with fails_with(f"{file}: is cut short: has 100 bytes of more than {header}; {REMAKE}"):
        Trace.load(file)


def test_a_trace_with_something_after_it_is_refused(file):
    file.write_bytes(file.read_bytes() + b"abc")
    with fails_with(f"{file}: has 3 bytes after its last tensor; {REMAKE}"):
        Trace.load(file)


def rewritten(file: Path, old: str, new: str) -> Path:
    """Change the header and give it a good checksum, as another program might."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].decode().rstrip()
    assert old in header
    header = header.replace(old, new)
    at = header.index('header_sha256":"') + len('header_sha256":"')
    zeroed = (header[:at] + "0" * 64 + header[at + 64 :]).encode()
    digest = hashlib.sha256(zeroed).hexdigest()
    header = header[:at] + digest + header[at + 64 :]
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data[end:])
    return file


def test_another_schema_version_is_named(file):
    rewritten(file, '\\"schema\\":1', '\\"schema\\":2')
    with fails_with(
        f"{file}: schema: is version 2, and this simhw reads version 1; "
        "remake it with `simhw trace`, or read it with the simhw that wrote it"
    ):
        Trace.load(file)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('\\"output\\":', '\\"outpt\\":',
         "header: graph: wants an output, and nodes of name, op, inputs and attrs"),
        ('\\"bits\\":16', '\\"bits\\":\\"a\\"',
         "header: formats.conv1.expected: wants whole bits and fraction"),
        ('"shape":[2,1,3,3]', '"shape":[2,1,3,4]',
         "header: conv1.weights: takes more or less room in the file than its shape"),
        ('"dtype":"I64"', '"dtype":"X64"',
         "header: conv1.bias: wants a dtype out of F64, F32, I64, I32, I16, I8, U8"),
        ('\\"input\\":\\"', '\\"inptu\\":\\"', "header: input: has no checksum"),
        ('\\"fc1.inputs\\":\\"pool1.expected\\"', '\\"fc1.inputs\\":\\"pool9\\"',
         "header: aliases.fc1.inputs: names no tensor"),
    ],
)  # fmt: skip
def test_a_header_of_another_make_is_refused(file, old, new, fault):
    rewritten(file, old, new)
    with pytest.raises(TraceError) as caught:
        Trace.load(file)
    assert f"{file}: {fault}; {REMAKE}" in caught.value.faults


def test_an_empty_file_is_refused(tmp_path):
    file = tmp_path / "empty.safetensors"
    file.touch()
    with fails_with(f"{file}: is empty; wants a trace: {REMAKE}"):
        Trace.load(file)


def test_a_directory_is_refused(tmp_path):
    with fails_with(f"{tmp_path}: is a directory; wants a .safetensors file"):
        Trace.load(tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    missing = tmp_path / "nothing.safetensors"
    with pytest.raises(
        TraceError, match=f"^{re.escape(str(missing))}: no such file, and no shipped trace has"
    ):
        Trace.load(missing)


@pytest.mark.parametrize(
    "content", [b"conv1,3,3,64\n" * 5, b"\x89PNG\r\n\x1a\n" + bytes(90), b"{}", bytes(16), b"\x80"]
)
def test_another_kind_of_file_is_not_a_trace(tmp_path, content):
    file = tmp_path / "other.safetensors"
    file.write_bytes(content)
    with fails_with(f"{file}: is not a trace: it has no header of tensors; make one with `simhw trace`"):
        Trace.load(file)


def test_a_container_of_weights_alone_is_not_a_trace(tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": np.zeros((2, 2), np.float32)}, file, metadata={"format": "np"})
    with fails_with(f"{file}: holds tensors but is not a trace; make one with `simhw trace`"):
        Trace.load(file)


def test_not_a_number_is_found_where_it_stands(tmp_path):
    def floats(poison):
        trace = small_trace()
        tensors = {
            name: trace.tensor(name).astype(np.float32) for name in trace.tensor_names if name != "labels"
        }
        tensors["conv1.weights"][1, 0, 2, 1] = poison
        return small_trace(
            format="float32",
            tensors=tensors,
            formats=dict.fromkeys(tensors, FLOAT32),
            path=tmp_path / "given",
        )

    with fails_with(
        f"{tmp_path / 'given'}: conv1.weights: holds values that are not finite, 1 in all, the first (nan) "
        "at [1, 0, 2, 1]; wants finite numbers"
    ):
        floats(np.nan).layer("conv1").weights  # noqa: B018

    file = floats(1.5).save(tmp_path / "floats.safetensors")
    data = file.read_bytes()
    start = data.index(np.float32(1.5).tobytes(), 8 + int.from_bytes(data[:8], "little"))
    poisoned = data[:start] + np.float32(np.inf).tobytes() + data[start + 4 :]
    good, bad = (
        hashlib.sha256(small_bytes).hexdigest()
        for small_bytes in (floats(1.5).tensor("conv1.weights").tobytes(), floats_with_inf(floats(1.5)))
    )
    file.write_bytes(poisoned)
    rewritten(file, good, bad)
    with fails_with(
        f"{file}: conv1.weights: holds values that are not finite, 1 in all, the first (inf) "
        "at [1, 0, 2, 1]; wants finite numbers"
    ):
        Trace.load(file).layer("conv1").weights  # noqa: B018


def floats_with_inf(trace: Trace) -> bytes:
    weights = trace.tensor("conv1.weights").copy()
    weights[1, 0, 2, 1] = np.inf
    return weights.tobytes()


def test_tensors_that_do_not_fit_the_graph_are_all_named():
    trace = small_trace()
    tensors = {name: trace.tensor(name) for name in trace.tensor_names}
    del tensors["conv1.bias"]
    tensors["fc1.weights"] = np.zeros((5, 9, 1, 1), np.int16)
    with pytest.raises(TraceError) as caught:
        small_trace(tensors=tensors)
    assert caught.value.faults == (
        f"small: conv1.bias: is missing; {REMAKE}",
        f"small: fc1.weights: has shape [5, 9, 1, 1]; its layer wants [5, 8, 1, 1]; {REMAKE}",
    )


def test_an_unknown_layer_is_answered_with_the_nearest():
    with fails_with("small: has no layer 'conv11'; did you mean 'conv1'? known: conv1, fc1"):
        small_trace().layer("conv11")


def test_where_a_trace_cannot_be_written_is_named(tmp_path):
    with fails_with(
        f"{tmp_path / 'no' / 'x.safetensors'}: there is no folder {str(tmp_path / 'no')!r}; make it first"
    ):
        small_trace().save(tmp_path / "no" / "x.safetensors")
    with fails_with(f"{tmp_path}: is a directory; wants the name of a file to write"):
        small_trace().save(tmp_path)


# What makes traces comparable


def test_the_network_digest_is_of_shapes_alone():
    trace = small_trace()
    other = trace.replace({"conv1.weights": trace.tensor("conv1.weights") + np.int16(1)})
    assert other.digests["network"] == trace.digests["network"]
    assert other.digests["inputs"] == trace.digests["inputs"]
    assert other.digests["weights"] != trace.digests["weights"]
    assert other.digests["trace"] != trace.digests["trace"]


def test_the_network_digest_does_not_speak_of_the_batch():
    trace = small_trace()
    assert trace.head(1).digests["network"] == trace.digests["network"]
    assert trace.head(1).digests["weights"] == trace.digests["weights"]
    assert trace.head(1).digests["inputs"] != trace.digests["inputs"]


def test_inputs_are_told_apart_by_their_real_values():
    """The same images at another fraction are the same inputs."""
    trace = small_trace()
    halved = {"input": trace.tensor("input") // 2 * 2}
    fine = small_trace(tensors={**{n: trace.tensor(n) for n in trace.tensor_names}, **halved})
    coarse = small_trace(
        tensors={**{n: trace.tensor(n) for n in trace.tensor_names}, "input": trace.tensor("input") // 2},
        formats={**trace.formats, "input": NumberFormat(bits=16, fraction=13)},
    )
    assert fine.digests["inputs"] == coarse.digests["inputs"] != trace.digests["inputs"]


def test_provenance_is_in_no_digest():
    assert small_trace(provenance={"seed": 6}).digests == small_trace().digests


def test_the_head_of_a_trace_is_its_first_images(tmp_path, file):
    whole, head = Trace.load(file), Trace.load(file).head(2)
    assert head.batch == 2
    assert head.layer("fc1").shape == LayerShape.linear(2, 8, 5)
    np.testing.assert_array_equal(head.layer("conv1").expected, whole.layer("conv1").expected[:2])
    np.testing.assert_array_equal(head.labels, whole.labels[:2])
    np.testing.assert_array_equal(head.layer("conv1").weights, whole.layer("conv1").weights)
    again = Trace.load(head.save(tmp_path / "head.safetensors"))
    assert again.digests == head.digests
    with fails_with(f"{file}: holds 3 images; wants 1 to 3, got 4"):
        whole.head(4)


def test_replacing_a_layers_inputs_leaves_the_tensor_they_were_an_alias_of():
    trace = small_trace()
    other = trace.replace({"fc1.inputs": np.zeros((3, 8, 1, 1), np.int16)}, name="zeroed")
    assert other.name == "zeroed"
    assert not other.layer("fc1").inputs.any()
    np.testing.assert_array_equal(other.tensor("pool1.expected"), trace.tensor("pool1.expected"))
    assert other.layer("fc1").formats == trace.layer("fc1").formats


def test_other_images_are_told_from_the_same_in_another_form():
    trace = small_trace()
    changed = {"input": trace.tensor("input") ^ np.int16(1)}
    assert trace.replace(changed).digests["inputs"] == trace.digests["inputs"]
    assert trace.replace(changed, other_images=True).digests["inputs"] != trace.digests["inputs"]


def test_importing_traces_brings_in_no_heavy_library():
    heavy = ("safetensors", "yaml", "pydantic", "numba")
    code = f"import sys, simhw.trace; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
