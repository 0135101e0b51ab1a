"""SnaPEA (Akhlaghi et al., ISCA 2018), after chapter 3 of Akhlaghi's thesis: its tables and figures.

Simulated on real weights and one image: AlexNet's convolutions, and SqueezeNet 1.1 in place of the 1.0 of
the paper. GoogLeNet's and VGG's weights are not at hand. The predictive mode is shown on what its tuning
can be found and measured for: LeNet-5 on MNIST, ResNet-20 on CIFAR-10, SqueezeNet's agreement with itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simhw import fast as untyped_fast
from simhw import shipped
from simhw.accelerator import simulate
from simhw.comparison import speedup_causes
from simhw.description import load_accelerator
from simhw.description.tunings import TUNINGS, load_tuning
from simhw.energy import areas_um2
from simhw.errors import DataError, SimhwError
from simhw.papers import _snapea_printed as printed
from simhw.papers.items import Item, chosen, item
from simhw.result import Result
from simhw.technology import load_technology
from simhw.trace import Trace
from simhw.tuning.measure import Measured, evaluate, run_exact
from simhw.tuning.network import Images
from simhw.workload import export, load_workload

fast: Any = untyped_fast
Progress = Callable[[int, int, str], None]

WORKLOADS = {"AlexNet": "alexnet_conv", "SqueezeNet": "squeezenet_v1_1"}
BASELINE, MACHINE = "eyeriss_256", "snapea"
OVERLAPPED = {  # the baseline with its filter loads hidden and a bus of inputs as wide as the others
    "options.filter_load": "overlapped",
    "options.first_window": "with_filters",
    "components.noc.ifmap_words_per_cycle": 4,
}
SQUEEZENET_TUNING = "squeezenet_v1_1-2"  # of 60 images, 2 % and 3 % are both one
IN_PLACE = "SqueezeNet 1.1 in place of the 1.0 of the paper, whose weights are not at hand"
NOT_IN_PAPER = "not one of the paper's four networks, beside whose average it stands"
HALVES = 5000  # images of each half of a test set: the first finds a tuning, the second measures it


def items(data: Path | None, progress: Progress | None, wanted: str = "") -> list[Item]:
    """Return the printed numbers of the chapter that are wanted, or all, beside the simulated ones."""
    networks = {
        name: Simulated(_trace(workload, data, progress), progress) for name, workload in WORKLOADS.items()
    }
    sections = {
        ("table3_1",): _networks_items,
        ("table3_2",): _area_items,
        ("table3_3",): _energy_items,
        ("fig3_1",): lambda: _negative_items(networks),
        ("fig3_8", "sec3_1"): lambda: _exact_items(networks),
        ("fig3_12",): lambda: _lanes_items(networks["SqueezeNet"]),
        ("sec3_7_1",): lambda: _fits_items(networks),
        ("table3_4", "table3_5"): _average_items,
        ("table3_4", "table3_5", "fig3_9", "fig3_10", "fig3_11"): lambda: _predictive_items(
            networks["SqueezeNet"], data, progress
        ),
    }
    return chosen(sections, wanted)


def _trace(name: str, data: Path | None, progress: Progress | None, first: int = 0) -> Trace | None:
    """Return one image through a network of real weights, or None where they are not at hand."""
    workload = load_workload(name)
    try:
        trace = export(workload, images=1, first=first, data=data, progress=progress)
    except DataError:
        return None
    real = trace.provenance["weights"] == workload.weights.file
    return trace if real and str(trace.provenance["inputs"]).startswith(str(workload.data.file)) else None


@dataclass(frozen=True)
class Simulated:
    """A network on the machine and its baselines; what its weights are not at hand for is None."""

    trace: Trace | None
    progress: Progress | None = None

    def run(self, accelerator: str, tuning: Any = None, **overrides: Any) -> Result | None:
        if self.trace is None:
            return None
        return simulate(
            accelerator, self.trace,
            overrides=overrides, tuning=tuning, technology="tetris_45nm", progress=self.progress,
        )  # fmt: skip

    @cached_property
    def baseline(self) -> Result | None:
        return self.run(BASELINE)

    @cached_property
    def overlapped(self) -> Result | None:
        return self.run(BASELINE, **OVERLAPPED)

    @cached_property
    def exact(self) -> Result | None:
        return self.run(MACHINE)


def convolutions(result: Result) -> list[str]:
    return [layer.name for layer in result.layers if layer.kind == "conv"]


def cycles(result: Result) -> int:
    """Return the cycles of the convolutions."""
    return sum(layer.cycles for layer in result.layers if layer.kind == "conv")


def picojoules(result: Result) -> float:
    return math.fsum(e for x in result.layers if x.kind == "conv" for e in x.energy_pj.values())


def speedup(first: Result | None, other: Result | None) -> float | None:
    return None if first is None or other is None else cycles(first) / cycles(other)


def reduction(first: Result | None, other: Result | None) -> float | None:
    return None if first is None or other is None else picojoules(first) / picojoules(other)


def why_so_fast(first: Result, other: Result) -> str:
    """Return the speedup of the convolutions as the product of its causes."""
    causes = speedup_causes(first, other, convolutions(first))
    ours = math.prod(c.factor for c in causes if c.of == "first")
    cut = math.prod(c.factor for c in causes if c.of == "both")
    lost = [
        f"{c.factor:.3f} {c.name.replace('_', ' ')}" for c in causes if c.of == "other" and c.factor < 0.999
    ]
    return (
        f"{ours:.3f} (multipliers of the baseline that are not busy) x {cut:.3f} (products cut) x "
        f"{' x '.join(lost)}"
    )


def _networks_items() -> list[Item]:
    """Table 3.1, from the shapes of the networks."""
    found: list[Item] = []
    for name, file in printed.NETWORKS.items():
        size, conv, linear, accuracy = printed.TABLE_3_1[name]
        workload = load_workload(file)
        kinds = [node.op for node in workload.graph.nodes]
        params = workload.graph.param_shapes(workload.input_shape)
        megabytes = sum(math.prod(shape) for shape in params.values()) * 4 / 1e6
        at = f"table3_1.{name}"
        no_linear = kinds.count("linear") != linear
        found += [
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


def areas_mm2(accelerator: str) -> dict[str, float]:
    """Return the area of each part that Table 3.2 has one for, all its instances."""
    parts = load_accelerator(accelerator).flat_parts()
    return {path: um2 / 1e6 for path, um2 in areas_um2(parts, load_technology("tetris_45nm")).items()}


def _area_items() -> list[Item]:
    """Table 3.2, from the built machines and the areas of their parts."""
    snapea, eyeriss = areas_mm2(MACHINE), areas_mm2(BASELINE)
    machines = {name: load_accelerator(name) for name in (MACHINE, BASELINE)}
    pes = machines[MACHINE].parts["pes"]

    def of(areas: Mapping[str, float], *begins: str) -> float:
        return math.fsum(area for path, area in areas.items() if path.startswith(begins))

    buffer = areas_mm2(BASELINE)["glb"]
    multipliers = {
        name: sum(role.get("multipliers", 0) for role in one.structure().values())
        for name, one in machines.items()
    }
    one = pes.instances
    found = [
        item(f"table3_2.snapea.{part}_mm2", area, of(snapea, f"pes.{begins}") / one, "mm2", digits=3)
        for (part, area), begins in zip(
            printed.SNAPEA_PE.items(), ("lane", "weights", "indexes", "io", "pau"), strict=True
        )
    ]
    total = of(snapea, "pes")
    baseline = of(eyeriss, "pes")
    found += [
        item("table3_2.snapea.pes_mm2", printed.SNAPEA_PES, total, "mm2", digits=2),
        item("table3_2.snapea.total_mm2", printed.SNAPEA_TOTAL, math.fsum(snapea.values()), "mm2", digits=1),
        item("table3_2.eyeriss.pes_mm2", printed.EYERISS_PES, baseline, "mm2", digits=2, inconsistent=True,
             why="S1: the printed parts of a PE add up to 0.020 mm2, 256 of them to 5.12"),
        item("table3_2.eyeriss.global_buffer_mm2", printed.EYERISS_BUFFER, buffer, "mm2", digits=1),
        item("table3_2.eyeriss.total_mm2", printed.EYERISS_TOTAL, baseline + buffer, "mm2", tolerance=0.02,
             digits=1, why="the printed total holds the printed 4.94 of its PEs"),
        item("table3_2.area_overhead_pct", printed.OVERHEAD_PCT,
             100 * (math.fsum(snapea.values()) / (baseline + buffer) - 1), "%", tolerance=None, digits=1,
             inconsistent=True, why="S1: against 18.0 mm2, the sum of the baseline's parts, it is 3.3 %; "
             "18.6 over the printed 17.8 is 4.5 %"),
        item("table3_2.snapea.macs", printed.MACS, multipliers[MACHINE], "MACs"),
        item("table3_2.eyeriss.macs", printed.MACS, multipliers[BASELINE], "MACs"),
        item("table3_2.snapea.on_chip_mb", printed.ON_CHIP_MB,
             one * pes.spec.to_dict()["io_kib"] / 1024, "MiB", digits=2),
    ]  # fmt: skip
    return found


def _energy_items() -> list[Item]:
    """Table 3.3: its right column from its left one, as the technology table has it."""
    table = load_technology("tetris_45nm")
    actions = {
        "register_file": ("register_file", "read"), "pe": ("mac_lane", "mul"), "inter_pe": ("bus", "receive"),
        "global_buffer": ("buffer_region", "read"), "ddr4": ("dram_link", "read"),
    }  # fmt: skip
    spec = {"word_bits": 1, "size_kib": 1280, "words": 1}
    prices: dict[str, Any] = {name: table.price("part", *action, spec) for name, action in actions.items()}
    return [
        item(f"table3_3.{name}.relative", printed.TABLE_3_3[name][1],
             price.energy / prices["register_file"].energy, "times", digits=1)
        for name, price in prices.items()
    ]  # fmt: skip


def negative_share(trace: Trace) -> float:
    """Return the share of sums below zero among those that go into a ReLU."""
    below = windows = 0
    for layer in trace.layers:
        if layer.activation not in ("relu", "relu6"):
            continue
        shape = layer.shape
        sums = fast.conv_accumulate(
            np.asarray(layer.inputs), np.asarray(layer.weights), np.asarray(layer.bias),
            shape.stride, shape.pad, shape.dilation, shape.groups,
        )  # fmt: skip
        below += int(np.count_nonzero(sums < 0))
        windows += sums.size
    return below / windows


def _negative_items(networks: Mapping[str, Simulated]) -> list[Item]:
    shares = [100 * negative_share(x.trace) for x in networks.values() if x.trace is not None]
    why = "the paper's range is over its four networks; these are AlexNet and SqueezeNet 1.1, one image"
    return [
        item("fig3_1.lowest_negative_pct", printed.NEGATIVE_PCT[0], min(shares, default=None), "%",
             tolerance=None, digits=0, why=why),
        item("fig3_1.highest_negative_pct", printed.NEGATIVE_PCT[1], max(shares, default=None), "%",
             tolerance=None, digits=0, why=why),
    ]  # fmt: skip


def _exact_items(networks: Mapping[str, Simulated]) -> list[Item]:
    """Figure 3.8: convolutions alone, batch 1, at equal clock, multipliers and DRAM."""
    found: list[Item] = []
    for name, one in networks.items():
        base, exact = one.baseline, one.exact
        bars = printed.EXACT_SQUEEZENET if name == "SqueezeNet" else (None, None)
        why = None if base is None or exact is None else f"{name}: {why_so_fast(base, exact)}"
        why = f"{IN_PLACE}. {why}" if name == "SqueezeNet" and why else why
        found += [
            item(f"fig3_8.{name}.speedup", bars[0], speedup(base, exact), "times", tolerance=None, digits=2,
                 why=why),
            item(f"fig3_8.{name}.speedup.loads_hidden", bars[0], speedup(one.overlapped, exact), "times",
                 tolerance=None, digits=2,
                 why="against a baseline that hides its filter loads and brings four inputs a cycle: how "
                 "much of the speedup is the baseline's"),
            item(f"fig3_8.{name}.speedup.nothing_cut", bars[0],
                 speedup(base, one.run(MACHINE, **{"options.termination": "off"})), "times", tolerance=None,
                 digits=2, why="no window stops early: the array alone"),
            item(f"fig3_8.{name}.energy_reduction", bars[1], reduction(base, exact), "times", tolerance=None,
                 digits=2, why="filters come from DRAM again with every round, with their indices, and each "
                 "product reads its input from 20 kB, which Table 3.3 does not price (here between register "
                 "file and global buffer)"),
        ]  # fmt: skip
    only_four = "an average or extreme over four networks, two of whose weights are not at hand"
    for what, both in (("average", printed.EXACT_AVERAGE), ("max", printed.EXACT_MAX)):
        for key, number in zip(("speedup", "energy_reduction"), both, strict=True):
            found.append(item(f"fig3_8.{what}.{key}", number, None, "times", why=only_four))
    energy = reduction(networks["SqueezeNet"].baseline, networks["SqueezeNet"].exact)
    found.append(
        item("sec3_1.SqueezeNet.energy_reduction", printed.INTRO_SQUEEZENET_ENERGY, energy, "times",
             inconsistent=True, why="S2: 15 % in the introduction, 1.14x beside figure 3.8")
    )  # fmt: skip
    return found


LANES_WHY = (
    "S7: the text does not say what is kept, and a loss of 36 % with more lanes is possible only if it is "
    "not the number of PEs, or if the baseline grows as well"
)


def _lanes_items(network: Simulated) -> list[Item]:
    """Figure 3.12, exact mode, in each reading: 64 PEs kept, 256 multipliers, these and all memory, or
    64 PEs beside a baseline that is enlarged as they are."""
    found: list[Item] = []
    grids = {2: (8, 16), 8: (8, 4), 16: (4, 4)}  # rows, columns that keep 256 multipliers
    bases = {2: (8, 16), 8: (16, 32), 16: (32, 32)}  # of an Eyeriss with as many multipliers as 64 PEs have
    default = speedup(network.baseline, network.exact)
    for lanes, change in printed.BY_LANES.items():
        sizes: dict[str, tuple[Any, Any]] = {"pes_kept": (None, None), "macs_kept": (grids[lanes], None)}
        sizes["macs_and_memory_kept"] = (grids[lanes], None)
        sizes["baseline_grows"] = (None, bases[lanes])
        for reading, (grid, base_grid) in sizes.items():
            base = network.baseline
            if base_grid:
                base = network.run(BASELINE, **_grid(base_grid))
            changed: dict[str, Any] = {"components.pes.lanes": lanes} | (_grid(grid) if grid else {})
            if reading == "macs_and_memory_kept":
                changed |= {
                    "components.pes.io_kib": 5.0 * lanes,
                    "components.pes.weight_words": 64 * lanes,
                    "components.noc.row_words": lanes,
                }
            other = network.run(MACHINE, **changed)
            found_speedup = speedup(base, other)
            relative = 100 * (found_speedup / default - 1) if found_speedup and default else None
            found.append(
                item(f"fig3_12.lanes_{lanes}.{reading}_pct", change, relative, "%", tolerance=None, digits=0,
                     why=f"{LANES_WHY}. Here: exact mode, {IN_PLACE}")
            )  # fmt: skip
    return found


def _grid(size: tuple[int, int]) -> dict[str, int]:
    return {"components.pes.rows": size[0], "components.pes.columns": size[1]}


def _fits_items(networks: Mapping[str, Simulated]) -> list[Item]:
    """Section 3.7.1: activations of all networks but VGG fit on chip. Counted, with the copies of a row."""
    found: list[Item] = []
    for name, one in networks.items():
        kinds = [node.op for node in load_workload(WORKLOADS[name]).graph.nodes]
        layers, kept = kinds.count("conv") - 1, None
        if one.exact is not None:
            kept = sum(one.exact.layer(x).mapping["inputs"] == "chip" for x in convolutions(one.exact))
        found.append(
            item(f"sec3_7_1.{name}.inputs_on_chip", layers, kept, "layers", inconsistent=True,
                 why="all PEs of a row hold the same inputs, so 1.25 MB are 80 kB of distinct inputs, and "
                 "640 kB of outputs; the first layer's come from DRAM in any case")
        )  # fmt: skip
    return found


def _tuned(name: str) -> str | None:
    try:
        shipped.find(TUNINGS, name, ".yaml")
    except SimhwError:
        return None
    return name


def _predictive_items(squeezenet: Simulated, data: Path | None, progress: Progress | None) -> list[Item]:
    seen = (
        squeezenet if squeezenet.trace is None else Simulated(_trace("squeezenet_v1_1", data, progress, 60))
    )
    found = _table_3_4_items(seen, data, progress)
    for name, workload in (("LeNet-5", "lenet5_mnist"), ("ResNet-20", "resnet20_cifar10")):
        found += _loss_items(name, workload, data, progress)
    alexnet = 1 / (0.6 / printed.TABLE_3_4["AlexNet"][1] + 0.4 / printed.EXACT_AVERAGE[0])
    found.append(
        item("fig3_11.loss_3.AlexNet_of_table3_4", printed.BY_LOSS[3], alexnet, "times", digits=2,
             inconsistent=True, why="S6: layers of equal time, 60 % of them at Table 3.4's 2.11 and the rest "
             "at the exact average of 1.28, make 1.68")
    )  # fmt: skip
    only = "weights not at hand"
    found += [
        item("fig3_9.GoogLeNet.speedup", printed.PREDICTIVE["GoogLeNet"][0], None, "times", why=only),
        item(
            "fig3_9.GoogLeNet.energy_reduction", printed.PREDICTIVE["GoogLeNet"][1], None, "times", why=only
        ),
        item("fig3_10.inception_4e_1x1.speedup", printed.LAYER_MAX, None, "times", why=only),
        item("fig3_10.inception_4e_5x5_reduce.speedup", printed.LAYER_MIN, None, "times", why=only),
        item("fig3_10.max.energy_reduction", printed.LAYER_MAX_ENERGY, None, "times", why=only),
    ]
    return found


def _beside(one: Simulated, result: Result | None) -> str:
    """Say how fast a result is beside exact mode, and beside a baseline that hides its loads."""
    return (
        f"{speedup(one.exact, result) or 0:.3f} times exact mode, {speedup(one.overlapped, result) or 0:.2f} "
        "times a baseline that hides its loads, one image"
    )


def _table_3_4_items(squeezenet: Simulated, data: Path | None, progress: Progress | None) -> list[Item]:
    """Tables 3.4 and 3.5 and figure 3.9: SqueezeNet by agreement, the averages from the printed rows."""
    name = _tuned(SQUEEZENET_TUNING)
    tuned = squeezenet.run(MACHINE, tuning=name) if name else None
    measured = _measured("squeezenet_v1_1", [name], data, progress)[0] if tuned is not None and name else None
    base = squeezenet.baseline
    values: dict[str, float | None] = dict.fromkeys(("share", "speedup", "energy", "tn", "fn", "small"))
    why = IN_PLACE
    if tuned is not None and measured is not None and base is not None:
        layers = {layer.name for layer in measured.predictive if layer.kind == "conv"}
        values = {
            "share": 100 * measured.predictive_share,
            "speedup": float(np.mean([base.layer(x).cycles / tuned.layer(x).cycles for x in layers])),
            "energy": float(np.mean([_layer_energy(base, x) / _layer_energy(tuned, x) for x in layers])),
            "tn": 100 * (measured.true_negative_rate or 0),
            "fn": 100 * (measured.false_negative_rate or 0),
            "small": 100 * (measured.small_share or 0),
        }
        low, high = measured.agreement_interval
        why += (
            "; tuned for agreement with the exact network on 59 of 60 images, measured on 60 others: "
            f"{100 * measured.agreement:.1f} % agree (95 %: {100 * low:.0f} to {100 * high:.0f}); of one of "
            f"these {_beside(squeezenet, tuned)}: lockstep takes most of what prediction cuts"
        )
    found: list[Item] = []
    for network, (share, fast_by, saves) in printed.TABLE_3_4.items():
        ours = values if network == "SqueezeNet" else dict.fromkeys(values)
        because = why if network == "SqueezeNet" else "weights not at hand, or no classifier to tune by"
        for key, number, value, unit in (
            ("conv_layers_pct", share, ours["share"], "%"),
            ("speedup", fast_by, ours["speedup"], "times"),
            ("energy_reduction", saves, ours["energy"], "times"),
        ):
            found.append(item(f"table3_4.{network}.{key}", number, value, unit, tolerance=None, digits=2,
                              why=because))  # fmt: skip
        for key, number, value in zip(
            ("true_negative_pct", "false_negative_pct"), printed.TABLE_3_5[network], (ours["tn"], ours["fn"]),
            strict=True,
        ):  # fmt: skip
            found.append(item(f"table3_5.{network}.{key}", number, value, "%", tolerance=None, digits=2,
                              why=because))  # fmt: skip
    found.append(item("table3_5.small_values_pct", printed.SMALL_PCT, values["small"], "%", tolerance=None,
                      digits=0, why="small: in the lower half of a layer's positive outputs; the paper says "
                      f"not what small is. {why}"))  # fmt: skip
    for key, number, value in zip(
        ("speedup", "energy_reduction"), printed.PREDICTIVE["SqueezeNet"],
        (speedup(base, tuned), reduction(base, tuned)), strict=True,
    ):  # fmt: skip
        found.append(
            item(f"fig3_9.SqueezeNet.{key}", number, value, "times", tolerance=None, digits=2, why=why)
        )
    return found


def _average_items() -> list[Item]:
    """The averages of the text, from the rows of the tables: the thesis cuts digits off."""
    found: list[Item] = []
    keys = ("conv_layers_pct", "speedup", "energy_reduction")
    for i, (key, number) in enumerate(zip(keys, printed.TABLE_3_4_AVERAGE, strict=True)):
        mean = float(np.mean([row[i] for row in printed.TABLE_3_4.values()]))
        found.append(_cut_off(f"table3_4.average.{key}", number, mean, 1 if i == 0 else 2))
    for i, key in enumerate(("true_negative_pct", "false_negative_pct")):
        mean = float(np.mean([row[i] for row in printed.TABLE_3_5.values()]))
        found.append(_cut_off(f"table3_5.average.{key}", printed.TABLE_3_5_AVERAGE[i], mean, 2))
    return found


def _cut_off(name: str, number: float, mean: float, digits: int) -> Item:
    """Judge an average as the thesis prints averages: digits beyond the last are cut off or rounded."""
    cut = math.floor(mean * 10**digits + 1e-6) / 10**digits
    value = cut if abs(round(mean, digits) - number) > 1e-9 else round(mean, digits)
    return item(name, number, value, "%" if name.endswith("pct") else "times",
                why=f"the mean of the printed rows is {mean:.5g}")  # fmt: skip


def _layer_energy(result: Result, name: str) -> float:
    return math.fsum(result.layer(name).energy_pj.values())


def _measured(
    workload: str, tunings: list[str | None], data: Path | None, progress: Progress | None
) -> list[Measured | None]:
    """Measure tunings on the images that their recipe set aside."""
    named = [name for name in tunings if name is not None]
    if not named:
        return [None] * len(tunings)
    given = load_tuning(named[0]).recipe["measure"]
    images = Images(images=given["images"], first=given["first"], split=given["split"])
    exact = run_exact(workload, images, data=data, progress=progress)
    return [None if name is None else evaluate(name, exact, progress=progress) for name in tunings]


def _loss_items(name: str, workload: str, data: Path | None, progress: Progress | None) -> list[Item]:
    """Figure 3.11: speedup by accepted loss, found on half of the test images, measured on the other half."""
    one = Simulated(_trace(workload, data, progress, first=HALVES), progress)
    # at 0 % the thesis predicts nothing: exact mode
    tunings = {loss: _tuned(f"{workload}-{loss}") if loss else None for loss in printed.BY_LOSS}
    hand = one.trace is not None
    measured = _measured(workload, list(tunings.values()), data, progress) if hand else [None] * len(tunings)
    found: list[Item] = []
    for (loss, tuning), seen in zip(tunings.items(), measured, strict=True):
        why, value = NOT_IN_PAPER, None
        if not loss:
            value = speedup(one.baseline, one.exact)
            why = f"{name}, {NOT_IN_PAPER}: exact mode"
            if one.exact is not None and one.baseline is not None:
                why += f", {_beside(one, one.exact)}"
        if tuning is not None and seen is not None and seen.loss is not None:
            tuned = one.run(MACHINE, tuning=tuning)
            value = speedup(one.baseline, tuned)
            beyond = ", beyond the budget" if seen.loss > loss else ""
            why = (
                f"{name}, {NOT_IN_PAPER}: {100 * (1 - seen.macs / seen.whole_macs):.1f} % of products cut "
                f"(exact mode {100 * (1 - seen.exact_macs / seen.whole_macs):.1f} %), "
                f"{seen.loss:.2f} points lost on {seen.images} images that the search did not see{beyond}; "
                f"{_beside(one, tuned)}"
            )
        found.append(
            item(f"fig3_11.loss_{loss}.{workload}", printed.BY_LOSS[loss], value, "times", tolerance=None,
                 digits=2, why=why)
        )  # fmt: skip
    return found
