"""What needs no weights: tables 3.1 to 3.3 from what is built and priced, and the window of figure 3.4."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from simhw.accelerator import simulate
from simhw.description import Description, load_accelerator
from simhw.energy import areas_um2
from simhw.fast import early_termination
from simhw.papers.items import Item, item
from simhw.papers.snapea import printed
from simhw.papers.snapea.runs import BASELINE, MACHINE, TECHNOLOGY
from simhw.parameters import Parameters, digests_of
from simhw.parameters.speculation import Filters
from simhw.shapes import NumberFormat
from simhw.technology import load_technology
from simhw.trace import Trace
from simhw.transforms import sign_order, speculation
from simhw.workload import load_workload

# figure 3.4: any operands whose sums run 2, -3, -9 with the positive weight first
WEIGHTS, INPUTS, THRESHOLD = (-1, 2, -1), (5, 1, 6), 3


def networks() -> list[Item]:
    """Table 3.1, from the shapes of the networks and the papers that their workloads cite."""
    found: list[Item] = []
    for name, file in printed.NETWORKS.items():
        year, size, conv, linear, accuracy = printed.TABLE_3_1[name]
        workload = load_workload(file)
        kinds = [node.op for node in workload.graph.nodes]
        params = workload.graph.param_shapes(workload.input_shape)
        megabytes = sum(math.prod(shape) for shape in params.values()) * 4 / 1e6
        cited = max(map(int, re.findall(r"\b(?:19|20)\d\d\b", workload.cites or "")), default=None)
        at = f"table3_1.{name}"
        no_linear = kinds.count("linear") != linear
        found += [
            item(f"{at}.year", year, cited, "", tolerance=0.0 if cited == year else None,
                 why=None if cited == year else "the preprint is of 2014, the paper that the workload cites "
                 "of ICLR 2015"),
            item(f"{at}.convolutions", conv, kinds.count("conv"), "layers"),
            item(f"{at}.fully_connected", linear, kinds.count("linear"), "layers", inconsistent=no_linear,
                 why="S5: SqueezeNet 1.0 ends in a convolution and an average, and has no such layer"
                 if no_linear else None),
            item(f"{at}.model_mb", size, megabytes, "MB", tolerance=0.01, digits=0,
                 inconsistent=abs(megabytes / size - 1) > 0.01,
                 why="S4: parameters of 32 bits; the printed sizes of AlexNet and SqueezeNet fit neither "
                 "these nor their files, GoogLeNet's is that of a file with its auxiliary heads"),
            item(f"{at}.accuracy_pct", accuracy, None, "%",
                 why="S3: the metric is not named, and neither top-1 nor top-5 of these models is near"),
        ]  # fmt: skip
    return found


def areas_mm2(machine: Description) -> dict[str, float]:
    """Return the area of each part that Table 3.2 has one for, all its instances."""
    table = load_technology(TECHNOLOGY)
    return {path: um2 / 1e6 for path, um2 in areas_um2(machine.flat_parts(), table).items()}


def sizes() -> list[Item]:
    """Table 3.2: what the machines are made of, from their descriptions, and the areas of their parts."""
    snapea, eyeriss = load_accelerator(MACHINE), load_accelerator(BASELINE)
    return [*_snapea_sizes(snapea), *_eyeriss_sizes(eyeriss), *_areas(snapea, eyeriss)]


def _kib(part: Mapping[str, Any]) -> float:
    """Return the size of a memory or a register file."""
    spec = part["spec"]
    return spec["size_kib"] if "size_kib" in spec else spec["words"] * spec["word_bits"] / 8 / 1024


def _per_pe(parts: Mapping[str, Mapping[str, Any]], kind: str) -> int:
    """Return how many parts of a kind a PE has."""
    instances = sum(part["instances"] for part in parts.values() if part["kind"] == kind)
    return instances // parts["pes"]["instances"]


def _multipliers(machine: Description) -> int:
    return sum(role.get("multipliers", 0) for role in machine.structure().values())


def _snapea_sizes(machine: Description) -> list[Item]:
    parts, pes = machine.flat_parts(), machine.parts["pes"]
    lanes = _per_pe(parts, "mac_lane")
    buffers = sum(part["instances"] for part in parts.values() if part["kind"] == "global_buffer")
    at = "table3_2.snapea"
    return [
        item(f"{at}.pes", printed.SNAPEA_PES, pes.instances, "PEs"),
        item(f"{at}.rows", printed.SNAPEA_GRID[0], pes.rows, "PEs"),
        item(f"{at}.columns", printed.SNAPEA_GRID[1], pes.columns, "PEs"),
        item(f"{at}.lanes", printed.SNAPEA_LANES, lanes, "in each PE"),
        item(f"{at}.weight_buffer_kb", printed.BUFFER_KB, _kib(parts["pes.weights"]), "KiB"),
        item(f"{at}.index_buffer_kb", printed.BUFFER_KB, _kib(parts["pes.indexes"]), "KiB"),
        item(f"{at}.io_ram_kb", printed.SNAPEA_IO_KB, _kib(parts["pes.io"]), "KiB"),
        item(f"{at}.paus", printed.SNAPEA_PAUS, _per_pe(parts, "pau"), "in each PE"),
        item(f"{at}.global_buffers", printed.NOT_THERE, buffers, "", why="N/A in the table"),
        item(f"{at}.clock_mhz", printed.CLOCK_MHZ, machine.clock_mhz, "MHz"),
        item(f"{at}.macs", printed.MACS, _multipliers(machine), "MACs"),
        item(f"{at}.on_chip_mb", printed.ON_CHIP_MB, pes.instances * _kib(parts["pes.io"]) / 1024, "MiB",
             digits=2),
    ]  # fmt: skip


def _eyeriss_sizes(machine: Description) -> list[Item]:
    parts = machine.flat_parts()
    at = "table3_2.eyeriss"
    return [
        item(f"{at}.pes", printed.EYERISS_PES, machine.parts["pes"].instances, "PEs"),
        item(f"{at}.lanes", printed.EYERISS_LANES, _per_pe(parts, "mac_unit"), "in each PE"),
        item(f"{at}.partial_sum_register_bytes", printed.EYERISS_SUMS_B,
             1024 * _kib(parts["pes.psum_spad"]), "B"),
        item(f"{at}.input_register_bytes", printed.EYERISS_INPUTS_B,
             1024 * _kib(parts["pes.ifmap_spad"]), "B"),
        item(f"{at}.weight_buffer_kb", printed.BUFFER_KB, _kib(parts["pes.filter_spad"]), "KiB"),
        item(f"{at}.global_buffer_mb", printed.ON_CHIP_MB, _kib(parts["glb"]) / 1024, "MiB"),
        item(f"{at}.clock_mhz", printed.CLOCK_MHZ, machine.clock_mhz, "MHz"),
        item(f"{at}.macs", printed.MACS, _multipliers(machine), "MACs"),
    ]  # fmt: skip


def _areas(machine: Description, base: Description) -> list[Item]:
    snapea, eyeriss = areas_mm2(machine), areas_mm2(base)

    def of(areas: Mapping[str, float], *begins: str) -> float:
        return math.fsum(area for path, area in areas.items() if path.startswith(begins))

    found = [
        item(f"table3_2.{name}.{part}_mm2", area, of(areas, f"pes.{begins}") / pes, "mm2", digits=3)
        for name, areas, pes, rows in (
            ("snapea", snapea, machine.parts["pes"].instances, printed.SNAPEA_PE),
            ("eyeriss", eyeriss, base.parts["pes"].instances, printed.EYERISS_PE),
        )
        for part, (area, begins) in rows.items()
    ]
    registers = math.fsum(
        area for path, area in snapea.items()
        if machine.flat_parts()[path]["kind"] == "register_file" and path != "pes.weights"
    )  # fmt: skip
    found += [
        item(
            f"table3_2.snapea.{which}_register_mm2",
            printed.NOT_THERE,
            registers,
            "mm2",
            why="N/A in the table; of register files a PE has none but its weight buffer",
        )
        for which in ("partial_sum", "input")
    ]
    total, baseline, buffer = of(snapea, "pes"), of(eyeriss, "pes"), eyeriss["glb"]
    found += [
        item("table3_2.snapea.pes_mm2", printed.SNAPEA_PES_MM2, total, "mm2", digits=2),
        item("table3_2.snapea.total_mm2", printed.SNAPEA_TOTAL_MM2, math.fsum(snapea.values()), "mm2",
             digits=1),
        item("table3_2.eyeriss.pes_mm2", printed.EYERISS_PES_MM2, baseline, "mm2", digits=2,
             inconsistent=True,
             why="S1: the printed parts of a PE add up to 0.020 mm2, 256 of them to 5.12"),
        item("table3_2.eyeriss.global_buffer_mm2", printed.EYERISS_BUFFER_MM2, buffer, "mm2", digits=1),
        item("table3_2.eyeriss.total_mm2", printed.EYERISS_TOTAL_MM2, baseline + buffer, "mm2",
             tolerance=0.02, digits=1, why="the printed total holds the printed 4.94 of its PEs"),
        item("table3_2.area_overhead_pct", printed.OVERHEAD_PCT,
             100 * (math.fsum(snapea.values()) / (baseline + buffer) - 1), "%", tolerance=None, digits=1,
             inconsistent=True, why="S1: against 18.0 mm2, the sum of the baseline's parts, it is 3.3 %; "
             "18.6 over the printed 17.8 is 4.5 %"),
    ]  # fmt: skip
    return found


def energies() -> list[Item]:
    """Table 3.3, as the technology table in use prices a bit of each action, and what the text adds."""
    table = load_technology(TECHNOLOGY)
    actions = {
        "register_file": ("register_file", "read"), "pe": ("mac_lane", "mul"), "inter_pe": ("bus", "receive"),
        "global_buffer": ("buffer_region", "read"), "ddr4": ("dram_link", "read"),
        "eyeriss_pe": ("mac_unit", "mul"),
    }  # fmt: skip
    spec = {"word_bits": 1, "size_kib": 1280, "words": 1}
    prices: dict[str, Any] = {name: table.price("part", *action, spec) for name, action in actions.items()}
    found = [
        item(f"table3_3.{name}.pj_per_bit", pj, prices[name].energy, "pJ/bit", digits=2)
        for name, (pj, _) in printed.TABLE_3_3.items()
    ]
    relative = {name: times for name, (_, times) in printed.TABLE_3_3.items()}
    found += [
        item(f"table3_3.{name}.relative", times, prices[name].energy / prices["register_file"].energy,
             "times", digits=1)
        for name, times in (relative | {"eyeriss_pe": printed.EYERISS_PE_RELATIVE}).items()
    ]  # fmt: skip
    return found


def example() -> list[Item]:
    """Figure 3.4: one window of three products on a PE of one lane, and its sum where it stops."""
    trace: Any = _one_window()  # a Trace caches its digests, which pyright takes for no property
    tuning = Parameters(
        kind="speculation", name="one window", workload=trace.name, digests=digests_of(trace),
        layers={"conv": Filters(thresholds=(float(THRESHOLD),), groups=(1,))},
    )  # fmt: skip
    one = {f"components.pes.{name}": 1 for name in ("rows", "columns", "lanes")}
    modes: dict[str, tuple[Any, dict[str, Any]]] = {
        "unaltered": (None, one | {"options.termination": "off"}),
        "exact": (None, one),
        "predictive": (tuning, one),
    }
    sums = _sums(trace)
    found: list[Item] = []
    for mode, (tuned, overrides) in modes.items():
        result = simulate(MACHINE, trace, overrides=overrides, tuning=tuned)
        macs, total = printed.FIG_3_4[mode]
        found += [
            item(f"fig3_4.{mode}.macs", macs, result.layers[0].macs_executed, "MACs"),
            item(f"fig3_4.{mode}.sum", total, sums[mode], "", why="the sum at which the window stops"),
        ]
    return found


def _one_window() -> Trace:
    """Return a 1x3 convolution of one window, in whole numbers."""
    weights = np.array(WEIGHTS, np.int16).reshape(1, 1, 1, 3)
    inputs = np.array(INPUTS, np.int16).reshape(1, 1, 1, 3)
    whole, sums = NumberFormat(bits=16, fraction=0), NumberFormat(bits=64, fraction=0)
    attrs = {"out_channels": 1, "kernel": (1, 3), "activation": "relu"}
    return Trace(
        name="fig3_4",
        format="fixed16",
        graph={
            "inputs": ["input"],
            "nodes": [{"name": "conv", "op": "conv", "inputs": ["input"], "attrs": attrs}],
            "output": "conv",
        },
        formats={"input": whole, "conv.weights": whole, "conv.bias": sums, "conv.inputs": whole,
                 "conv.expected": whole},
        tensors={"input": inputs, "conv.weights": weights, "conv.bias": np.zeros(1, np.int64),
                 "conv.inputs": inputs, "conv.expected": np.zeros((1, 1, 1, 1), np.int16)},
    )  # fmt: skip


def _sums(trace: Trace) -> dict[str, int]:
    """Return the sum that the window has in each mode when it stops."""
    layer = trace.layer("conv")
    by_sign = sign_order.apply(layer.weights)
    orders = {
        "unaltered": (by_sign, np.full(1, layer.shape.window, np.int32)),
        "exact": (by_sign, by_sign.negatives_from),
    }
    predicting = speculation.apply(layer.weights, [THRESHOLD], [1])
    orders["predictive"] = predicting, predicting.negatives_from
    return {
        mode: int(
            early_termination(
                layer.inputs, order.weights, order.order, layer.bias, order.prefix, order.thresholds, ends,
                (1, 3), layer.shape.stride, layer.shape.pad, layer.shape.dilation, 1,
            )[0].item()
        )
        for mode, (order, ends) in orders.items()
    }  # fmt: skip
