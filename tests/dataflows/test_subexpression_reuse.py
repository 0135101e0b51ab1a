"""The reuse array: right outputs, both engines alike, every PE-cycle accounted for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from machines import DrawnLayer, simulated

from simhw import core
from simhw.components.arithmetic import Adder
from simhw.components.dram_link import DramLink
from simhw.components.global_buffer import GlobalBuffer
from simhw.components.output_units import Relu
from simhw.components.register_file import RegisterFile
from simhw.components.reuse_block import ReuseBlock
from simhw.components.reuse_noc import ReuseNoc
from simhw.components.reuse_pe import ReusePE, UnrolledPE
from simhw.core.machine import Part
from simhw.dataflows.diagonal_array import fit_of
from simhw.dataflows.subexpression_reuse import SubexpressionReuse
from simhw.dataflows.unrolled_rows import UnrolledRows
from simhw.errors import DescriptionError, MappingError
from simhw.mapping.reuse_array import Cut, ReuseMapping, faults
from simhw.reference.fitted import Fitted
from simhw.shapes import LayerShape, NumberFormat
from simhw.stepped.subexpression_reuse import SubexpressionReuseTwin, UnrolledRowsTwin
from simhw.transforms.fit_groups import Lines

COMMON = ("cycles", "stall_cycles", "macs_executed", "array_steps", "blocks")


class FittedLayer(DrawnLayer):
    """A drawn layer whose weights come from drawn coefficients: of N_w weights each, 0 for exact ones."""

    def __init__(self, shape: LayerShape, group: int, terms: int, **rest: Any) -> None:
        super().__init__(shape, **rest)
        rng = np.random.default_rng(self.seed + 1)
        groups = -(-shape.window // (group or 1))
        terms = terms if group else 1
        self.made = Fitted(
            kind=("exact", "linear", "quadratic")[terms - 1],
            group=group,
            coefficients=rng.integers(-100, 100, (shape.out_channels, groups, terms)).astype(np.int8),
            fractions=tuple(int(n) for n in rng.integers(0, 4, terms)),
            bits=8,
            shape=shape.weight_shape,
        )
        self.weights = self.made.weights()
        self.formats = self.formats | {"weights": NumberFormat(bits=32, fraction=8)}

    def side(self, transform: str) -> Lines:
        return Lines(self.made.coefficients, self.made.to_arrays()["fit"])


class ExactLayer(DrawnLayer):
    """A drawn layer whose weights come from no coefficients."""


@dataclass(frozen=True)
class ReuseRig:
    parts: dict[str, Part]
    options: Any = field(default_factory=SubexpressionReuse.Options)
    clock_mhz: float = 500.0

    @property
    def kinds(self) -> tuple[Any, Any]:
        if "row_reuse" in self.parts:
            return SubexpressionReuse, SubexpressionReuseTwin
        return UnrolledRows, UnrolledRowsTwin

    def run(
        self, layer: Any, engine: str = "compiled", log: bool = False, letters: Any = None
    ) -> tuple[core.Simulation, Any, dict[str, Any]]:
        dataflow = self.kinds[0](self.parts, self.options, self.clock_mhz)
        (phase,) = dataflow.plan([layer], letters and {layer.name: letters})
        sim, outcome = simulated(self.kinds, self.parts, self.options, self.clock_mhz, phase, engine, log)
        return sim, outcome.outputs[layer.name], outcome.details[layer.name]


def rig(
    rows: int = 3,
    columns: int = 4,
    blocks: int = 6,
    options: Any = None,
    run_blocks: int = 0,
    reuse: Any = None,
    **specs: Any,
) -> ReuseRig:
    """A small machine; blocks = 0 makes it the unrolled one. `reuse` is of the blocks of both sorts."""
    specs |= {role: reuse or {} for role in ("row_reuse", "run_reuse")}
    pe = ReusePE if blocks else UnrolledPE
    given = {
        "windows": (RegisterFile, RegisterFile.Spec(words=12), 1, rows + columns - 1),
        "row_reuse": (ReuseBlock, ReuseBlock.Spec(inputs=12), 1, blocks),
        "run_reuse": (ReuseBlock, ReuseBlock.Spec(inputs=12), run_blocks or rows, 1),
        "pes": (pe, pe.Spec(), rows, columns),
        "psums": (Adder, Adder.Spec(), rows, columns),
        "glb": (GlobalBuffer, GlobalBuffer.Spec(size_kib=4, filter_kib=1), None, None),
        "noc": (ReuseNoc, ReuseNoc.Spec(sum_words_per_cycle=rows * columns), None, None),
        "relu": (Relu, Relu.Spec(), None, None),
        "dram": (DramLink, DramLink.Spec(clock_mhz=2400), None, None),
    }
    parts = {
        role: Part(kind=kind, spec=replace(spec, **specs.get(role, {})), rows=high, columns=wide)
        for role, (kind, spec, high, wide) in given.items()
        if (role != "windows" if blocks else not role.endswith("_reuse"))
    }
    kind = SubexpressionReuse if blocks else UnrolledRows
    return ReuseRig(parts, options or kind.Options())


def assert_alike(machine: ReuseRig, layer: Any, letters: Any = None) -> dict[str, Any]:
    (one, out, found), (two, stepped_out, stepped) = (
        machine.run(layer, engine, letters=letters) for engine in ("compiled", "stepped")
    )
    np.testing.assert_array_equal(out, layer.expected)
    np.testing.assert_array_equal(stepped_out, layer.expected)
    assert {k: found[k] for k in COMMON} == {k: stepped[k] for k in COMMON}
    assert one.cycle == two.cycle == found["cycles"]
    assert one.ledger.flat() == two.ledger.flat()
    assert one.activity.flat() == two.activity.flat()
    units: dict[str, int] = {}
    for key, n in one.activity.flat().items():
        assert n >= 0
        unit = key.rpartition(".")[0]
        units[unit] = units.get(unit, 0) + n
    assert set(units.values()) == {one.cycle}
    pes = machine.parts["pes"].instances
    assert len(units) == pes + 1
    busy = one.activity.grouped().get("pes.busy", 0)
    assert busy + sum(found["lost_pe_cycles"].values()) == pes * one.cycle
    assert one.ledger.total("mul") == found["macs_executed"]
    return found


def drawn(seed: int) -> tuple[ReuseRig, Any] | None:
    """Draw a layer, its fit and a machine; None if there is no such layer or it does not fit the machine."""
    rng = random.Random(seed)
    shape = drawn_shape(rng)
    if shape is None:
        return None
    blocks = rng.choice([0, 4, 5, 8])
    terms = rng.choice([2, 2, 3])
    layer = drawn_layer(rng, shape, seed, terms, exact=not blocks)
    if layer is None:
        return None
    turns = rng.choice([1, 1, 2, 3])
    wide = terms if blocks else rng.choice([2, 3, 5])
    pes = {
        "terms": wide,
        "coefficient_words": 2 * wide * rng.choice([1, 1, 2]),
        "latency_cycles": rng.choice([0, 1, 3]),
    }
    options = (
        SubexpressionReuse.Options(unfitted="exact", filters_at_once=turns)
        if blocks
        else UnrolledRows.Options(filters_at_once=turns)
    )
    network = rng.choice(["merged", "separate", "running_sums"])
    size_kib, filter_kib = rng.choice([(0.75, 0.25), (1.5, 0.25), (4, 1), (64, 8)])
    machine = rig(
        rng.randint(1, 5),
        rng.randint(1, 5),
        blocks,
        options,
        rng.choice([0, 0, 2]),
        reuse={
            "terms": terms,
            "network": network,
            "shares_a_sum": network != "running_sums" and rng.random() < 0.3,
            "levels_per_cycle": rng.choice([1, 2, 4]),
        },
        pes=pes,
        glb={"size_kib": size_kib, "filter_kib": filter_kib},
        noc={
            "coefficient_words_per_cycle": rng.choice([1, 2, 5, 16]),
            "input_words_per_cycle": rng.choice([1, 2, 3, 7, 32]),
            "sum_words_per_cycle": random.Random(seed).choice([1, 2, 3, 5, 25, 25]),
        },
        dram={
            "clock_mhz": rng.choice([60, 500, 2400, 133.3]),
            "word_bits": rng.choice([16, 64, 128]),
            "latency_cycles": rng.choice([0, 0, 9]),
        },
    )
    kind, _ = machine.kinds
    try:
        list(kind(machine.parts, machine.options, 500.0).plan([layer]))
    except MappingError:
        return None
    return machine, layer


def drawn_shape(rng: random.Random) -> LayerShape | None:
    if rng.random() < 0.3:
        return LayerShape.linear(rng.choice([1, 2, 5]), rng.randint(1, 30), rng.randint(1, 9))
    groups, kernel = (
        rng.choice([1, 1, 2]),
        rng.choice([(1, 1), (2, 2), (3, 3), (1, 3), (3, 1), (2, 4), (4, 3)]),
    )
    try:
        return LayerShape(
            batch=rng.choice([1, 1, 2]),
            in_channels=groups * rng.randint(1, 4),
            in_height=rng.randint(1, 8),
            in_width=rng.randint(1, 8),
            out_channels=groups * rng.randint(1, 5),
            kernel_height=kernel[0],
            kernel_width=kernel[1],
            stride=(rng.randint(1, 2), rng.randint(1, 3)),
            pad=(rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2)),
            dilation=(rng.choice([1, 1, 2]), rng.choice([1, 1, 2])),
            groups=groups,
        )
    except ValueError:
        return None


def drawn_layer(rng: random.Random, shape: LayerShape, seed: int, terms: int, exact: bool) -> Any:
    rest = {"seed": seed, "zeros": rng.random(), "activation": rng.choice(["relu", "relu6", None])}
    if exact or rng.random() < 0.1:
        return ExactLayer(shape, **rest)
    terms = rng.randint(2, terms)
    if (shape.kernel_height, shape.kernel_width) == (1, 1):
        group = rng.choice([0, *range(terms, min(shape.window, 12) + 1)])
    else:
        group = rng.choice(
            [0, shape.kernel_width, shape.kernel_width, shape.kernel_height * shape.kernel_width]
        )
    if group and not terms <= group <= 12:
        return None
    return FittedLayer(shape, group, terms, **rest)


@pytest.mark.parametrize("seed", range(80))
def test_engines_agree_on_drawn_layers(seed: int) -> None:
    case = drawn(seed)
    if case is not None:
        assert_alike(*case)


@pytest.mark.long
@pytest.mark.parametrize("block", range(12))
def test_engines_agree_on_many_drawn_layers(block: int) -> None:
    for seed in range(1000 + 60 * block, 1060 + 60 * block):
        case = drawn(seed)
        if case is not None:
            assert_alike(*case)


def test_enough_cases_are_drawn() -> None:
    assert sum(drawn(seed) is not None for seed in range(80)) >= 60
    assert sum(drawn(seed) is not None for seed in range(1000, 1720)) >= 500


@pytest.mark.parametrize("seed", range(0, 80, 4))
def test_the_schedule_played_as_processes_is_the_same(seed: int) -> None:
    case = drawn(seed)
    if case is None:
        return
    machine, layer = case
    (one, out, found), (two, logged_out, logged) = (
        machine.run(layer, engine) for engine in ("compiled", "table")
    )
    np.testing.assert_array_equal(out, logged_out)
    assert found == logged
    assert one.ledger.flat() == two.ledger.flat()
    assert one.activity.flat() == two.activity.flat()


@pytest.mark.parametrize("seed", range(1, 80, 6))
def test_time_alone_depends_on_buses_link_and_latencies(seed: int) -> None:
    """Values and executed work are a function of the mapping, never of when anything arrives."""
    case = drawn(seed)
    if case is None:
        return
    machine, layer = case
    changes: dict[str, dict[str, Any]] = {
        "noc": {"coefficient_words_per_cycle": 3, "input_words_per_cycle": 2, "sum_words_per_cycle": 1},
        "dram": {"clock_mhz": 77.7, "latency_cycles": 31},
        "pes": {"latency_cycles": 9},
    }
    slower = machine
    for role, change in changes.items():
        part = slower.parts[role]
        slower = replace(
            slower, parts=slower.parts | {role: replace(part, spec=replace(part.spec, **change))}
        )
    (phase,) = plan_of(machine, layer)  # with other wires the mapper might choose another
    (one, out, _), (two, slower_out, _) = (
        one.run(layer, letters=dict(phase.mapping)) for one in (machine, slower)
    )
    np.testing.assert_array_equal(out, slower_out)
    assert one.ledger.flat() == two.ledger.flat()


# counted by hand


def full_convolution(filter: int, ifmap: int, blocks: bool = True) -> ReuseRig:
    """The array of section V: a PE for each filter row and output row, a reuse block for each input row."""
    wide = 2 if blocks else filter
    return rig(
        filter,
        ifmap - filter + 1,
        ifmap if blocks else 0,
        reuse={"inputs": filter},
        pes={"terms": wide, "coefficient_words": 2 * wide},
        glb={"size_kib": 64, "filter_kib": 8},
    )


def square(filter: int, ifmap: int) -> LayerShape:
    return LayerShape(
        batch=1, in_channels=1, in_height=ifmap, in_width=ifmap,
        out_channels=1, kernel_height=filter, kernel_width=filter,
    )  # fmt: skip


@pytest.mark.parametrize(("filter", "ifmap", "adders"), [(3, 10, 3), (5, 28, 8)])
def test_the_papers_example_runs_as_it_is_counted(filter: int, ifmap: int, adders: int) -> None:
    """One filter on one input: all of the array works in every step, one step a column of the output."""
    layer = FittedLayer(square(filter, ifmap), filter, 2, seed=3)
    found = assert_alike(full_convolution(filter, ifmap), layer)
    sim, _, _ = full_convolution(filter, ifmap).run(layer)
    out, pes = ifmap - filter + 1, filter * (ifmap - filter + 1)
    assert found["array_steps"] == out
    assert sim.activity.grouped()["pes.busy"] == pes * out
    assert "pes.edge" not in sim.activity.grouped()
    assert found["reuse_additions"] == ifmap * adders * out
    assert sim.ledger.total("mul") == found["macs_executed"] == 2 * pes * out
    assert sim.ledger.grouped()["pes.adder0.add"] == pes * out
    assert sim.ledger.grouped()["psums.add"] == pes * out
    assert sim.ledger["glb.ifmap", "read"] == ifmap * ifmap
    assert sim.ledger["glb.filter", "read"] == 2 * filter


@pytest.mark.parametrize(("filter", "ifmap"), [(3, 10), (5, 28)])
def test_the_unrolled_array_takes_as_many_steps_with_a_product_for_each_weight(
    filter: int, ifmap: int
) -> None:
    layer = FittedLayer(square(filter, ifmap), filter, 2, seed=3)
    layer.formats = layer.formats | {"weights": NumberFormat(bits=16, fraction=8)}
    found = assert_alike(full_convolution(filter, ifmap, blocks=False), layer)
    assert found["array_steps"] == ifmap - filter + 1
    assert found["macs_executed"] == layer.shape.macs


def test_a_row_of_table_5_as_executed() -> None:
    """fc1 of case 3, on an array that holds it whole: 33 groups of 24 (the last of 16), 64 neurons, one step.

    Two products a group and neuron; in a block of 24 inputs 63 adders, of which 15 + 14 + 11 work on 16
    values; of the sums, each of 33 is added to those below it or to the bias.
    """
    layer = FittedLayer(LayerShape.linear(1, 784, 64), 24, 2, seed=1)
    machine = rig(33, 64, 33, reuse={"inputs": 24}, glb={"size_kib": 64, "filter_kib": 32})
    sim, out, found = machine.run(layer)
    np.testing.assert_array_equal(out, layer.expected)
    assert found["array_steps"] == 1
    assert sim.ledger.total("mul") == 64 * 2 * 33
    assert found["reuse_additions"] == 32 * 63 + (15 + 14 + 11)
    assert sim.ledger.grouped()["pes.adder0.add"] == 64 * 33
    assert sim.ledger.grouped()["noc.links.hop"] == 64 * 32
    assert sim.ledger["dram", "read"] == -(-784 * 16 // 64) + -(-(64 * 66 * 8 + 64 * 32) // 64)


def test_cycles_by_hand() -> None:
    """A row of three windows, one filter of a row of three, words 16 bits wide on a link of 64, a cycle each.

    Loads: 5 inputs in 2 words, 2 coefficients of 8 bits and a bias of 32 in 1. A coefficient takes a cycle,
    a word of input too: the first step at 3, then one each cycle as a word comes. Block, PE and one row of
    sums take a cycle each; then a word leaves with the outputs.
    """
    shape = LayerShape(
        batch=1, in_channels=1, in_height=1, in_width=5, out_channels=1, kernel_height=1, kernel_width=3
    )
    machine = rig(
        1, 1, 1,
        noc={"coefficient_words_per_cycle": 1, "input_words_per_cycle": 1},
        dram={"clock_mhz": 500}, reuse={"inputs": 3},
    )  # fmt: skip
    found = assert_alike(machine, FittedLayer(shape, 3, 2, seed=5))
    assert found["stall_cycles"] == {
        "dram_loads": 3,
        "coefficients": 2,
        "inputs": 1,
        "drain": 3,
        "dram_outputs": 1,
    }
    assert found["cycles"] == 3 + 3 + 3 + 3 + 1


@pytest.mark.parametrize("latency", [0, 1, 20])
def test_passes_on_the_same_sums_pay_the_way_up_the_column_once(latency: int) -> None:
    """240 inputs in 60 groups of 4, five on each other: 12 passes of a step each, all on the same 8 sums.

    The adder that joins them with what earlier passes left stands at the heads of the columns: a pass reads
    in the cycle after the pass before has written. Block, PE and five adders come once, at the end.
    """
    layer = FittedLayer(LayerShape.linear(1, 240, 8), 4, 2, seed=7)
    machine = rig(
        5, 8, 5,
        pes={"latency_cycles": latency},
        noc={"coefficient_words_per_cycle": 80, "input_words_per_cycle": 20},
        glb={"size_kib": 64, "filter_kib": 8},
        dram={"clock_mhz": 500},
    )  # fmt: skip
    found = assert_alike(machine, layer)
    block = machine.parts["run_reuse"].spec.latency_cycles
    loads = 240 * 16 // 64 + (8 * 120 * 8 + 8 * 32) // 64
    assert found["array_steps"] == 12
    assert found["stall_cycles"] == {
        "dram_loads": loads,
        "coefficients": 1,  # of the first pass; those of the next come while one works
        "drain": block + latency + 5,
        "dram_outputs": 8 * 16 // 64,
    }
    assert found["cycles"] == loads + 1 + 12 + (block + latency + 5) + 2


@pytest.mark.parametrize(("words", "takes"), [(8, 1), (7, 2), (4, 2), (3, 3), (1, 8)])
def test_a_step_waits_until_its_sums_have_gone_in_and_out(words: int, takes: int) -> None:
    """Eight columns, three windows each of two channels: six steps, and `words` sums a cycle each way."""
    shape = replace(square(3, 10), in_width=5, in_channels=2)
    machine = rig(
        3, 8, 10,
        reuse={"inputs": 3},
        noc={"sum_words_per_cycle": words, "coefficient_words_per_cycle": 60, "input_words_per_cycle": 60},
        glb={"size_kib": 64, "filter_kib": 8},
    )  # fmt: skip
    found = assert_alike(machine, FittedLayer(shape, 3, 2, seed=4))
    assert found["array_steps"] == 2 * 3
    assert found["stall_cycles"].get("sums", 0) == 2 * 3 * (takes - 1)


def test_windows_side_by_side_want_wires_for_their_sums() -> None:
    """Four images on four rows of PEs: side by side with wires for 4 sums, else one after another."""
    layer = FittedLayer(LayerShape.linear(4, 3, 1), 3, 2, seed=4)
    wide, narrow = (assert_alike(rig(4, 1, 4, noc={"sum_words_per_cycle": words}), layer) for words in (4, 1))
    assert (wide["array_steps"], narrow["array_steps"]) == (1, 4)
    assert "sums" not in wide["stall_cycles"] | narrow["stall_cycles"]


@pytest.mark.parametrize("blocks", [True, False])
def test_windows_are_written_once_and_read_at_each_step(blocks: bool) -> None:
    """A row of 10 values comes once; each of its 8 windows of 3 is read, whole, by the block or by PEs."""
    layer = FittedLayer(square(3, 10), 3, 2, seed=3)
    layer.formats = layer.formats | {"weights": NumberFormat(bits=16, fraction=8)}
    sim, _, _ = full_convolution(3, 10, blocks).run(layer)
    window = "row_reuse[0,{}].window" if blocks else "windows[0,{}]"
    for row in range(10):
        assert sim.ledger[window.format(row), "write"] == 10
        assert sim.ledger[window.format(row), "read"] == 8 * 3


def test_adders_stand_above_pes_and_the_head_is_that_of_the_layer() -> None:
    """A filter of 5 rows on 3 rows of PEs, one column: segments of 3 and 2 rows, five windows each.

    The first adder adds the second PE's product in both, the second the third's in the first, and the head
    joins both with the buffer. Sums of the shorter climb as high.
    """
    shape = replace(square(5, 9), in_height=5)
    sim, _, found = rig(3, 1, 6).run(FittedLayer(shape, 5, 2, seed=2))
    assert found["array_steps"] == 2 * 5
    assert [sim.ledger[f"psums[{row},0]", "add"] for row in range(3)] == [10, 5, 10]
    assert sim.ledger["noc.links", "hop"] == 2 * 10


# what is refused


def plan_of(machine: ReuseRig, layer: Any, **rest: Any) -> Any:
    kind, _ = machine.kinds
    return list(kind(machine.parts, machine.options, 500.0).plan([layer], **rest))


def as_float(layer: Any) -> Any:
    layer.formats = layer.formats | {"expected": NumberFormat()}
    return layer


LINE = LayerShape.linear(1, 12, 2)
REFUSED = {
    "no fit": (
        rig(),
        ExactLayer(LINE),
        "layer: its weights come from no coefficients; wants a trace of fitted weights, or "
        "--set options.unfitted=exact to run them as they are",
    ),
    "float": (
        rig(),
        as_float(FittedLayer(LINE, 4, 2)),
        "layer: subexpression_reuse wants integers, the trace holds float32; make it with --format fixed16",
    ),
    "float, unrolled": (
        rig(blocks=0),
        as_float(ExactLayer(LINE)),
        "layer: unrolled_rows wants integers, the trace holds float32; make it with --format fixed16",
    ),
    "long groups": (
        rig(reuse={"inputs": 4}),
        FittedLayer(LINE, 6, 2),
        "layer: N_w: is 6, a block of run_reuse has 4 inputs; wants --set components.run_reuse.inputs=6; "
        "tolba_quadratic has them",
    ),
    "longest groups": (
        rig(reuse={"inputs": 4}),
        FittedLayer(LayerShape.linear(1, 200, 2), 193, 2),
        "layer: N_w: is 193, a block of run_reuse has 4 inputs; wants --set components.run_reuse.inputs=193",
    ),
    "more multipliers than a window has": (
        rig(
            reuse={"inputs": 2},
            pes={"terms": 3, "coefficient_words": 6},
            options=SubexpressionReuse.Options(unfitted="exact"),
        ),
        ExactLayer(LINE),
        "layer: weights that a PE multiplies at once: are 3, a block of run_reuse has 2 inputs; wants "
        "--set components.run_reuse.inputs=3; tolba_quadratic has them",
    ),
    "more multipliers than a window has, unrolled": (
        rig(blocks=0, windows={"words": 4}),
        ExactLayer(LINE),
        "components.windows.words: is 4; wants at least 5, one for each multiplier of a PE",
    ),
    "quadratic": (
        rig(),
        FittedLayer(LINE, 6, 3),
        "layer: its fit has 3 coefficients a group, components.run_reuse.terms is 2; wants "
        "--set components.run_reuse.terms=3; tolba_quadratic has them\n"
        "layer: its fit has 3 coefficients a group, components.pes.terms is 2; wants "
        "--set components.pes.terms=3 --set components.pes.coefficient_words=6; tolba_quadratic has them",
    ),
    "wide weights": (
        rig(blocks=0),
        FittedLayer(LINE, 6, 2),
        "layer: fitted weights of 32 bits, words have 16; wants a trace of the exact network's weights, or "
        "--set components.windows.word_bits=32 --set components.pes.word_bits=32 "
        "--set components.psums.word_bits=32 --set components.glb.word_bits=32 "
        "--set components.noc.word_bits=32 --set components.relu.word_bits=32",
    ),
    "other adders": (
        replace(rig(), parts=rig().parts | {"psums": Part(kind=Adder, spec=Adder.Spec(), rows=2, columns=4)}),
        FittedLayer(LINE, 6, 2),
        "components.psums: is 2 x 4; wants an adder for each of 3 x 4 PEs",
    ),
    "other widths": (
        rig(psums={"word_bits": 32}),
        FittedLayer(LINE, 6, 2),
        "components: word_bits: wants one width for all on chip, got row_reuse 16, run_reuse 16, pes 16, "
        "psums 32, glb 16, noc 16, relu 16",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_with_what_would_do(name: str) -> None:
    machine, layer, message = REFUSED[name]
    with pytest.raises(DescriptionError) as refused:
        plan_of(machine, layer)
    assert str(refused.value) == message


def test_a_filter_higher_than_the_array_takes_turns() -> None:
    found = assert_alike(rig(2, 3, 6), FittedLayer(square(5, 9), 5, 2, seed=2))
    assert (
        found["array_steps"] == 3 * 5 * 2
    )  # segments of kernel rows, columns of output, strips of output rows


def test_a_filter_that_the_reuse_blocks_cannot_feed_is_refused() -> None:
    with pytest.raises(MappingError) as refused:
        plan_of(rig(3, 4, 2), FittedLayer(square(3, 6), 3, 2))
    assert str(refused.value) == (
        "layer: one row of output reads 3 rows of input at once, components.row_reuse has 2 blocks; "
        "wants --set components.row_reuse.columns=3"
    )


def test_a_layer_whose_smallest_block_has_no_room_is_refused() -> None:
    with pytest.raises(MappingError) as refused:
        plan_of(rig(glb={"size_kib": 0.125, "filter_kib": 0.0625}), FittedLayer(square(5, 28), 5, 2))
    assert str(refused.value) == (
        "layer: its smallest block wants more than half of the buffer, 16 words for inputs and sums and 16 "
        "for coefficients; wants more size_kib, or more filter_kib"
    )


MAPPED = FittedLayer(square(3, 8), 3, 2, seed=1)
ILLEGAL = {
    "letters": (
        MAPPED,
        {"e": 0, "m": 1, "cc": 2},
        "layer: unknown field 'cc'; did you mean 'c'? known: c, e, g, m, n, p, t\n"
        "layer: e: wants a whole number of at least 1, got 0\n"
        "layer: c: is missing; wants a whole number of at least 1",
    ),
    "layer": (
        MAPPED,
        {"e": 7, "m": 2, "c": 2, "n": 2},
        "layer: e: 7 output rows, the layer has 6\n"
        "layer: m: 2 filters, a group has 1\n"
        "layer: c: 2 channels, a filter has 1\n"
        "layer: n: 2 images, the batch has 1\n"
        "layer: e: 7 output rows, the array has 4 columns\n"
        "layer: n: 2; rows of kernels want 1\n"
        "layer: e: 7 output rows read 9 at once, there are 6 blocks",
    ),
    "array": (
        FittedLayer(LINE, 4, 2),
        {"e": 1, "m": 2, "c": 3, "t": 2, "g": 2, "p": 2},
        "layer: t: 2 filters take turns, a PE has words for 1\n"
        "layer: g, p: 2 x 2 rows of PEs, the array has 3 with a reuse block",
    ),
    "buffer": (
        FittedLayer(LayerShape.linear(1, 300, 40), 12, 2),
        {"e": 1, "m": 40, "c": 25},
        "layer: e, n, m, c: 340 words of inputs and sums and 2000 coefficients, half of the buffer has 768 "
        "and 256",
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_a_mapping_that_the_machine_cannot_hold_is_refused(name: str) -> None:
    layer, letters, message = ILLEGAL[name]
    with pytest.raises(MappingError) as refused:
        plan_of(rig(), layer, mapping={"layer": letters})
    assert str(refused.value) == message


def drawn_mapping(rng: random.Random, machine: ReuseRig, layer: Any) -> dict[str, int] | None:
    """Draw letters until they are legal; None if none of many are."""
    kind, _ = machine.kinds
    dataflow = kind(machine.parts, machine.options, 500.0)
    shape, grouping = layer.shape, dataflow.grouping(layer.shape, fit_of(layer))
    units = Cut(shape, grouping).units
    for _ in range(60):
        letters = {
            "e": rng.randint(1, shape.out_height),
            "m": rng.randint(1, shape.group_out_channels),
            "c": rng.randint(1, units),
            "t": rng.randint(1, dataflow.limits.most_turns),
        }
        if not grouping.by_rows:
            letters |= {"n": rng.randint(1, shape.batch), "g": rng.randint(1, 4), "p": rng.randint(1, 4)}
        if not faults(ReuseMapping(**letters), shape, grouping, dataflow.limits):
            return letters
    return None


@pytest.mark.parametrize("seed", range(200, 230))
def test_engines_agree_on_any_legal_mapping(seed: int) -> None:
    case = drawn(seed)
    letters = None if case is None else drawn_mapping(random.Random(seed), *case)
    if case is not None and letters is not None:
        assert_alike(*case, letters)


@pytest.mark.long
@pytest.mark.parametrize("block", range(6))
def test_engines_agree_on_many_legal_mappings(block: int) -> None:
    for seed in range(3000 + 60 * block, 3060 + 60 * block):
        case = drawn(seed)
        letters = None if case is None else drawn_mapping(random.Random(seed), *case)
        if case is not None and letters is not None:
            assert_alike(*case, letters)


@pytest.mark.parametrize("seed", range(0, 80, 3))
def test_the_mappers_own_mapping_is_legal(seed: int) -> None:
    case = drawn(seed)
    if case is None:
        return
    machine, layer = case
    kind, _ = machine.kinds
    dataflow = kind(machine.parts, machine.options, 500.0)
    (phase,) = plan_of(machine, layer)
    grouping = dataflow.grouping(layer.shape, fit_of(layer))
    assert faults(ReuseMapping(**phase.mapping), layer.shape, grouping, dataflow.limits) == []


def test_what_the_buffer_holds_is_not_brought_again() -> None:
    """Three images, all coefficients in one block: they and the bias cross the link once, inputs thrice."""
    shape = replace(square(3, 6), batch=3)
    layer = FittedLayer(shape, 3, 2, seed=1)
    sim, _, found = rig(reuse={"inputs": 3}).run(layer)
    assert found["blocks"] == 3
    assert sim.ledger["glb.filter", "write"] == 3 * 2
    assert sim.ledger["glb.ifmap", "write"] == 3 * 36
    assert sim.ledger["dram", "read"] == 3 * (36 * 16 // 64) + -(-(6 * 8 + 32) // 64)
    assert sim.ledger["dram", "write"] == 3 * (16 * 16 // 64)


def test_filters_that_take_turns_have_their_sums_made_once() -> None:
    """Four filters on one input: blocks work for each of them, or once for all four."""
    shape = replace(square(3, 6), out_channels=4)
    layer = FittedLayer(shape, 3, 2, seed=1)
    options = SubexpressionReuse.Options(filters_at_once=4)
    alone = rig(reuse={"inputs": 3})
    together = rig(reuse={"inputs": 3}, options=options, pes={"coefficient_words": 16})
    first, second = assert_alike(alone, layer), assert_alike(together, layer)
    assert first["reuse_additions"] == 4 * second["reuse_additions"] == 4 * 6 * 3 * 4
    assert first["array_steps"] == second["array_steps"] == 4 * 4
