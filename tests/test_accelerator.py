"""`simulate`: what it promises of a run, and what it refuses."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simhw.accelerator import plan_mapping, simulate
from simhw.description import load_accelerator
from simhw.errors import DescriptionError, MappingError, TechnologyError, TraceError
from simhw.trace import Trace
from simhw.workload import export, load_workload

CHIP_MAPPING = "eyeriss-alexnet"


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace.load("lenet_digits").head(2)


def test_an_exact_machine_puts_out_the_reference_and_says_so(trace: Trace) -> None:
    result = simulate("eyeriss", trace)
    assert [layer.output_matches for layer in result.layers] == [True] * len(trace.layers)
    assert result.outputs_match is True
    assert all(layer.output_error is None for layer in result.layers)


def test_a_wrong_reference_output_is_noticed(trace: Trace) -> None:
    tensors = {name: trace.tensor(name) for name in trace.tensor_names}
    spoiled = np.array(tensors["conv1.expected"])
    spoiled[0, 0, 0, 0] += 1
    other = Trace(
        name="spoiled", format=trace.format, graph=trace.graph, formats=trace.formats,
        tensors=tensors | {"conv1.expected": spoiled}, aliases=trace.aliases,
    )  # fmt: skip
    first = simulate("eyeriss", other, layers=["conv1"]).layers[0]
    assert first.output_matches is False
    assert first.output_error is not None
    step = 2.0 ** -trace.layer("conv1").formats["expected"].fraction
    assert first.output_error["max"] == step


def test_a_closed_loop_of_an_exact_machine_is_the_open_one_with_an_accuracy(trace: Trace) -> None:
    opened, closed = simulate("eyeriss", trace), simulate("eyeriss", trace, closed_loop=True)
    assert [x.cycles for x in closed.layers] == [x.cycles for x in opened.layers]
    assert [dict(x.actions) for x in closed.layers] == [dict(x.actions) for x in opened.layers]
    assert closed.outputs_match is True
    assert opened.accuracy is None
    assert trace.labels is not None
    right = trace.output.reshape(trace.batch, -1).argmax(axis=1) == trace.labels
    assert closed.accuracy == right.mean()


def test_both_engines_leave_the_same_result(trace: Trace) -> None:
    one = trace.head(1)
    compiled, stepped = (simulate("eyeriss", one, layers=["fc3"], engine=e) for e in ("compiled", "stepped"))
    a, b = compiled.to_dict(), stepped.to_dict()
    for result in (a, b):
        for key in ("engine", "digests"):
            result.pop(key)
    assert a == b


def test_energy_is_the_sum_over_components(trace: Trace) -> None:
    totals = simulate("eyeriss", trace).totals
    assert totals["total_energy_pj"] == math.fsum(totals["energy_pj"].values())


@pytest.mark.parametrize("filter_load", ["serial", "overlapped"])
def test_a_timeline_accounts_for_the_link_and_the_array(trace: Trace, filter_load: str) -> None:
    given: Any = {"layers": ["conv2"], "overrides": {"options.filter_load": filter_load}}
    result = simulate("eyeriss", trace, log=True, **given)
    assert result.timeline is not None
    (layer,) = result.layers
    spans: Counter[tuple[str, str]] = Counter()
    for _, unit, what, start, end in result.timeline:
        spans[unit, what] += end - start
    assert sum(n for (unit, _), n in spans.items() if unit == "dram") == layer.activity["dram.busy"]
    assert {what for unit, what in spans if unit == "dram"} == {"ifmaps", "filters", "ofmaps"}
    array = Counter({what: n for (unit, what), n in spans.items() if unit == "pes"})
    assert array.total() == layer.cycles
    stalls = Counter(layer.stall_cycles)
    for cause in ("configuration", "dram_ofmap", "dram_ifmap"):
        assert array[cause] == stalls[cause]
    loading = {"serial": ("load", "dram_filter"), "overlapped": ("filters",)}[filter_load]
    assert sum(array[what] for what in loading) == stalls["filter_load"] + stalls["dram_filter"]
    assert simulate("eyeriss", trace, **given).layers[0] == layer


def test_without_values_only_the_outputs_are_missing(trace: Trace) -> None:
    full, bare = simulate("eyeriss", trace), simulate("eyeriss", trace, values=False)
    assert bare.outputs_match is None
    assert [dict(x.actions) for x in full.layers] == [dict(x.actions) for x in bare.layers]
    assert full.cycles == bare.cycles


def test_the_same_run_leaves_the_same_bytes(trace: Trace) -> None:
    assert simulate("eyeriss", trace).to_json() == simulate("eyeriss", trace).to_json()


def test_an_override_changes_the_machine_and_its_digest(trace: Trace) -> None:
    narrow = simulate("eyeriss", trace, overrides=["components.pes.columns=7"])
    whole = simulate("eyeriss", trace)
    assert narrow.built_from("multipliers") == whole.built_from("multipliers") // 2
    assert narrow.digests["description"] != whole.digests["description"]


def test_other_prices_cost_other_energies_for_the_same_counts(trace: Trace) -> None:
    own, other = simulate("eyeriss", trace), simulate("eyeriss", trace, technology="tetris_45nm")
    assert own.layers[0].actions == other.layers[0].actions
    assert (own.technology, other.technology) == ("eyeriss_65nm", "tetris_45nm")
    assert own.energy != other.energy


def test_the_mapping_that_is_planned_is_the_one_that_runs(trace: Trace) -> None:
    planned = plan_mapping("eyeriss", [(x.name, x.shape) for x in trace.layers])
    assert planned == {x.name: x.mapping for x in simulate("eyeriss", trace).layers}
    assert simulate("eyeriss", trace, mapping=planned).cycles == simulate("eyeriss", trace).cycles


def test_an_unknown_layer_is_refused(trace: Trace) -> None:
    with pytest.raises(TraceError) as error:
        simulate("eyeriss", trace, layers=["conv3"])
    assert str(error.value).endswith(
        "has no layer 'conv3'; did you mean 'conv2'? known: conv1, conv2, fc1, fc2, fc3"
    )


def test_an_unknown_engine_is_refused(trace: Trace) -> None:
    with pytest.raises(DescriptionError, match=r"^engine: unknown 'steped'; did you mean 'stepped'\?"):
        simulate("eyeriss", trace, engine="steped")


def test_a_closed_loop_wants_the_whole_network(trace: Trace) -> None:
    with pytest.raises(DescriptionError, match=r"^closed loop: wants the whole network and its values"):
        simulate("eyeriss", trace, layers=["conv1"], closed_loop=True)


def test_a_mapping_of_another_network_is_refused(trace: Trace) -> None:
    with pytest.raises(MappingError) as error:
        simulate("eyeriss", trace, mapping={"stem": {"m": 1}, "head": {"m": 1}})
    assert str(error.value) == "mapping: maps stem, head; the trace has conv1, conv2, fc1, fc2, fc3"


def test_a_mapping_of_layers_that_are_not_there_is_refused(trace: Trace) -> None:
    own = plan_mapping("eyeriss", [("conv1", trace.layer("conv1").shape)])
    with pytest.raises(MappingError) as error:
        simulate("eyeriss", trace, mapping=own | {"conv_2": {"m": 1}, "fc1": 5})
    assert error.value.faults == (
        "mapping: layers: the trace has no 'conv_2'; did you mean 'conv2'? "
        "known: conv1, conv2, fc1, fc2, fc3",
        "mapping: layers.fc1: wants letters with numbers, such as p: 4, got 5",
    )


def test_an_illegal_mapping_file_names_itself_and_the_layer(trace: Trace, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "kind: mapping\nversion: 3\nname: mine\nvalues: 7\n"
        "layers:\n  conv1: {m: 6, n: 1, e: 28, p: 60, q: 1, r: 1, t: 1}\n"
    )
    with pytest.raises(MappingError) as error:
        simulate("eyeriss", trace, mapping=file)
    assert f"{file}: layers.conv1: p: 60 partial sums, the psum scratchpad holds 24" in error.value.faults


def test_a_table_without_a_price_is_refused(trace: Trace, tmp_path: Path) -> None:
    table = tmp_path / "poor.yaml"
    table.write_text(
        "name: poor\nsource: made up for a test\nunit: pJ\n"
        "sources: {here: made up for a test}\n"
        "entries:\n  mac_unit.mul: {energy_pj: 1, bits: 16, source: here}\n"
    )
    with pytest.raises(TechnologyError):
        simulate("eyeriss", trace, technology=table)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("conv1", "layers: wants names of layers in a list, got 'conv1'"),
        ([], "layers: wants names of layers in a list, got []"),
        (["conv1", "fc1", "conv1"], "layers: names conv1 twice; each layer runs once"),
    ],
)
def test_a_choice_of_layers_must_be_one(trace: Trace, layers: list[str], message: str) -> None:
    with pytest.raises(DescriptionError) as error:
        simulate("eyeriss", trace, layers=layers)
    assert str(error.value) == message


def test_a_result_shows_itself_in_a_few_lines(trace: Trace) -> None:
    assert len(repr(simulate("eyeriss", trace))) < 20_000


# memory

STACK = """\
name: stack
input: {channels: WIDE, height: SIZE, width: SIZE}
layers:
"""
PEAKS = """\
import sys, tracemalloc
from simhw.accelerator import simulate
from simhw.trace import Trace
accelerator, *traces = sys.argv[1:]
simulate(accelerator, "lenet_digits")  # what is imported, compiled and kept
tracemalloc.start()
for trace in traces:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    simulate(accelerator, trace)
    print(tracemalloc.get_traced_memory()[1] - before)
"""


def stack_of(layers: int, size: int, folder: Path, channels: int = 16) -> Path:
    """Return a trace like VGG's inner layers: as many channels in as out, 3 x 3, each behind the last."""
    named = "".join(
        f"  - {{name: conv{i}, type: conv, out_channels: {channels}, kernel: 3, pad: 1, activation: relu}}\n"
        for i in range(layers)
    )
    text = STACK.replace("SIZE", str(size)).replace("WIDE", str(channels)) + named
    (folder / "stack.yaml").write_text(text)
    made = export(load_workload(folder / "stack.yaml"), images=1, data="synthetic", weights="random")
    return made.save(folder / f"{layers}-{size}-{channels}.safetensors")


def peaks_of(accelerator: str, traces: list[Path]) -> list[int]:
    root = Path(__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", PEAKS, accelerator, *map(str, traces)],
        env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(peak) for peak in ran.stdout.split()]


@pytest.mark.parametrize(("accelerator", "grows"), [("snapea", 2.0), ("eyeriss_256", 1.1)])
def test_memory_is_that_of_the_largest_layer_and_not_of_all(
    accelerator: str, grows: float, tmp_path: Path
) -> None:
    """A layer of four times the words takes more, four times the layers no more than their counts."""
    traces = [stack_of(layers, size, tmp_path) for layers, size in ((3, 64), (3, 128), (12, 128))]
    small, large, deep = peaks_of(accelerator, traces)
    assert large > grows * small
    kept = 9 * (16 * 128 * 128 * 2)  # bytes of the outputs of nine layers more
    assert deep < large + kept / 2
    assert deep < 1.3 * large


def test_of_ordered_weights_no_more_than_a_layer_s_are_kept(tmp_path: Path) -> None:
    """An order takes six bytes a weight: two of the weight, four of its index."""
    few, many = peaks_of("snapea", [stack_of(layers, 6, tmp_path, channels=128) for layers in (3, 12)])
    assert many < few + 3 * (6 * 128 * 128 * 9)


def test_what_is_kept_of_a_trace_or_a_description_is_neither_kept_alive_nor_handed_out() -> None:
    trace = Trace.load("lenet_digits").head(1)
    simulate("snapea", trace, layers=["conv1"])
    seen = weakref.ref(trace)
    del trace
    gc.collect()
    assert seen() is None
    described = load_accelerator("snapea")
    described.flat_parts()["pes"]["spec"]["lanes"] = 99
    described.structure()["pes"].clear()
    assert described.flat_parts()["pes"]["spec"]["lanes"] == 4
    assert described.structure()["pes"]
