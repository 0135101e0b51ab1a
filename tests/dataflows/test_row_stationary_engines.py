"""The compiled dataflow and its twin, which steps every PE cycle by cycle, agree on everything."""

from __future__ import annotations

import numpy as np
import pytest
from machines import DrawnLayer, Rig, Run, drawn_case, rig

from simhw.core.dataflow import Phase
from simhw.dataflows.row_stationary import RowStationary
from simhw.shapes import LayerShape, NumberFormat

COMMON = (
    "cycles", "stall_cycles", "processing_cycles", "macs_executed", "active_pes", "passes",
    "block_buffers", "tile_buffers", "final_sums_that_do_not_fit",
)  # fmt: skip


def assert_engines_agree(machine: Rig, layer: DrawnLayer, phase: Phase) -> Run:
    compiled, stepped = machine.run(phase), machine.run(phase, "stepped")
    np.testing.assert_array_equal(compiled.outputs, layer.expected)
    np.testing.assert_array_equal(stepped.outputs, layer.expected)
    assert compiled.cycles == stepped.cycles
    assert {k: compiled.details[k] for k in COMMON} == {k: stepped.details[k] for k in COMMON}
    assert compiled.actions == stepped.actions
    assert compiled.activity == stepped.activity
    return compiled


def assert_laws_hold(run: Run, layer: DrawnLayer) -> None:
    """What must balance in every run, whatever the machine."""
    shape = layer.shape
    assert set(run.units().values()) == {run.cycles}, "busy and stalls by cause make each unit's total"
    assert min(run.activity.values()) >= 0
    assert run.details["macs_executed"] == shape.macs
    assert sum(run.details["stall_cycles"].values()) <= run.cycles
    read, sent = run.grouped.get("glb.ifmap.read", 0), run.grouped.get("noc.ifmap.send", 0)
    assert read == sent, "every input word read from the buffer goes on the bus"
    assert run.grouped["glb.filter.read"] == run.grouped["noc.filter.send"]
    assert run.grouped["noc.filter.receive"] == run.grouped["pes.filter_spad.write"]
    assert run.grouped["noc.ifmap.receive"] == run.grouped["pes.ifmap_spad.write"]
    written = run.grouped.get("glb.filter.write", 0) + run.grouped.get("glb.filter.fill", 0)
    assert written == run.grouped["glb.filter.read"], "every filter word is held once and sent once"
    back = run.grouped.get("noc.psum_in.send", 0)
    assert run.grouped["noc.psum_out.send"] == back + shape.outputs, (
        "sums come back but for their first visit"
    )
    assert run.grouped["glb.psum.write"] == run.grouped["noc.psum_out.send"]
    assert run.grouped["glb.psum.read"] == back + shape.outputs


@pytest.mark.parametrize("seed", range(40))
def test_every_word_that_crosses_the_link_is_held_or_was_made(seed: int) -> None:
    """With words as wide as the link and nothing compressed, DRAM and buffer agree to the word."""
    case = drawn_case(5000 + seed)
    if case is None:
        return
    machine, layer, phase = case
    options = RowStationary.Options(**machine.options.to_dict() | {"compression": "none"})
    run = Rig(machine.parts, options, machine.clock_mhz).with_spec("dram", word_bits=16).run(phase)
    shape, letters = layer.shape, phase.mapping
    image_blocks, strips = -(-shape.batch // letters["n"]), -(-shape.out_height // letters["e"])
    biases = shape.out_channels * image_blocks * strips
    held = run.grouped["glb.ifmap.write"] + run.grouped["glb.filter.write"] + biases
    read = run.grouped["dram.read"]
    columns = {
        x * shape.stride[1] + s * shape.dilation[1] - shape.pad[2]
        for x in range(shape.out_width)
        for s in range(shape.kernel_width)
    }
    if columns >= set(range(shape.in_width)):
        assert read == held
    else:
        assert read >= held, "rows come whole, columns that no output needs are not kept"
    assert run.grouped["dram.write"] == shape.outputs


@pytest.mark.parametrize("seed", range(60))
def test_engines_agree_on_drawn_layers(seed: int) -> None:
    case = drawn_case(seed)
    if case is None:
        return  # no such layer or mapping; test_enough_cases_are_drawn counts them
    machine, layer, phase = case
    assert_laws_hold(assert_engines_agree(machine, layer, phase), layer)


def test_enough_cases_are_drawn() -> None:
    assert sum(drawn_case(seed) is not None for seed in range(60)) >= 35
    assert sum(drawn_case(seed) is not None for seed in range(1000, 1800)) >= 500


@pytest.mark.long
@pytest.mark.parametrize("block", range(16))
def test_engines_agree_on_many_drawn_layers(block: int) -> None:
    for seed in range(1000 + 50 * block, 1000 + 50 * (block + 1)):
        case = drawn_case(seed)
        if case is not None:
            assert_laws_hold(assert_engines_agree(*case), case[1])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2000, 2040))
def test_engines_agree_on_larger_drawn_layers(seed: int) -> None:
    case = drawn_case(seed, largest=14)
    if case is not None:
        assert_laws_hold(assert_engines_agree(*case), case[1])


def layer_of(kernel: int, channels: int, filters: int, size: int, **rest: int) -> DrawnLayer:
    pad, stride = rest.pop("pad", 0), rest.pop("stride", 1)
    return DrawnLayer(
        LayerShape(
            batch=rest.pop("batch", 1), in_channels=channels, in_height=size, in_width=size,
            out_channels=filters, kernel_height=kernel, kernel_width=kernel,
            stride=(stride, stride), pad=(pad,) * 4, groups=rest.pop("groups", 1),
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "layer",
    [
        layer_of(1, 7, 5, 4),
        layer_of(1, 7, 5, 5, stride=2),
        layer_of(3, 6, 6, 5, groups=6, pad=1),
        layer_of(5, 2, 3, 7, pad=2),
        layer_of(1, 40, 12, 1),
        layer_of(1, 40, 12, 1, batch=4),
    ],
    ids=["1x1", "1x1 with stride", "depthwise", "taller than the array", "linear", "linear, batch 4"],
)
def test_engines_agree_on_every_sort_of_layer(layer: DrawnLayer) -> None:
    machine = rig(4, 5)
    assert_laws_hold(assert_engines_agree(machine, layer, machine.phase(layer)), layer)


def test_engines_agree_on_a_set_wider_than_the_array() -> None:
    """As AlexNet's conv2 on the chip: one set is cut in two pieces, stacked."""
    layer, machine = layer_of(3, 2, 4, 9, pad=1), rig(7, 5)
    phase = machine.phase(layer, {"m": 4, "n": 1, "e": 9, "p": 2, "q": 1, "r": 1, "t": 1})
    run = assert_engines_agree(machine, layer, phase)
    assert run.details["active_pes"] == 3 * 9


@pytest.mark.parametrize("seed", range(30))
def test_values_and_work_never_depend_on_when_things_arrive(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule of the house: other latencies, bandwidths and overlaps move time alone."""
    case = drawn_case(3000 + seed)
    if case is None:
        return
    machine, _, phase = case
    base = machine.run(phase)
    rng = np.random.default_rng(seed)
    options = RowStationary.Options(
        **machine.options.to_dict()
        | {
            "first_window": rng.choice(["after_filters", "with_filters"]).item(),
            "psum_traffic": rng.choice(["serial", "overlapped"]).item(),
            "ifmap_prefetch": rng.choice(["when_it_fits", "never"]).item(),
            "ofmap_drain": rng.choice(["when_it_fits", "never"]).item(),
            "configuration_bits": int(rng.integers(0, 300)),
        }
    )
    other = (
        Rig(machine.parts, options, machine.clock_mhz)
        .with_spec(
            "dram",
            latency_cycles=int(rng.integers(0, 100)),
            clock_mhz=float(rng.integers(10, 900)),
            word_bits=machine.parts["dram"].spec.word_bits,
        )
        .with_spec(
            "noc",
            filter_words_per_cycle=int(rng.integers(1, 9)),
            ifmap_words_per_cycle=int(rng.integers(1, 9)),
            psum_in_words_per_cycle=int(rng.integers(1, 9)),
            psum_out_words_per_cycle=int(rng.integers(1, 9)),
        )
    )
    for number, requester in enumerate(rng.permutation(["IFMAP", "FILTER", "OFMAP"])):
        monkeypatch.setattr(f"simhw.stepped.row_stationary.{requester}", number)  # who is served first
    for engine in ("compiled", "stepped"):  # the twin makes its values as things arrive
        moved = other.run(phase, engine)
        np.testing.assert_array_equal(base.outputs, moved.outputs)
        assert base.actions == moved.actions


@pytest.mark.parametrize("seed", range(60))
def test_the_schedule_of_passes_played_as_processes_is_the_same(seed: int) -> None:
    case = drawn_case(4000 + seed)
    if case is None:
        return
    machine, _, phase = case
    short, played = machine.run(phase), machine.run(phase, "table")
    assert played.details == short.details
    assert (played.cycles, played.actions, played.activity) == (short.cycles, short.actions, short.activity)


@pytest.mark.parametrize("clock_mhz", [133.333333333, 83.33333333333333, 66.666666666667, 59.94])
def test_clocks_that_no_small_fraction_names_run_alike_compiled_and_as_processes(clock_mhz: float) -> None:
    layer, machine = layer_of(3, 16, 32, 30), rig(dram={"clock_mhz": clock_mhz})
    phase = machine.phase(layer, {"m": 32, "n": 1, "e": 14, "p": 16, "q": 4, "r": 2, "t": 2})
    short, played = machine.run(phase), machine.run(phase, "table")
    assert (short.cycles, short.details) == (played.cycles, played.details)
    third = rig(dram={"clock_mhz": 200 / 3}).run(phase).cycles
    assert third == rig(dram={"clock_mhz": 66.666667}).run(phase).cycles


@pytest.mark.parametrize("bits", [8, 16])
def test_engines_agree_on_the_type_of_what_they_put_out(bits: int) -> None:
    layer, machine = layer_of(3, 2, 3, 6), rig(4, 4)
    layer.inputs = np.clip(layer.inputs, -128, 127).astype(np.int8)
    layer.formats = layer.formats | {
        "inputs": NumberFormat(bits=8, fraction=0), "expected": NumberFormat(bits=bits, fraction=0)
    }  # fmt: skip
    phase = machine.phase(layer)
    compiled, stepped = machine.run(phase).outputs, machine.run(phase, "stepped").outputs
    assert compiled is not None
    assert stepped is not None
    assert compiled.dtype == stepped.dtype == (np.int8 if bits == 8 else np.int16)
    np.testing.assert_array_equal(compiled, stepped)


def test_without_values_time_and_counts_are_the_same() -> None:
    case = drawn_case(1)
    assert case is not None
    machine, _, phase = case
    full, bare = machine.run(phase), machine.run(phase, values=False)
    assert bare.outputs is None
    assert (full.cycles, full.actions, full.activity) == (bare.cycles, bare.actions, bare.activity)
    assert bare.details["final_sums_that_do_not_fit"] is None
