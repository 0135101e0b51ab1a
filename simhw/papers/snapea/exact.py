"""Exact mode: figures 3.1, 3.8 and 3.12, and whether activations fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from simhw import fast as untyped_fast
from simhw.papers.items import Item, item
from simhw.papers.snapea import printed
from simhw.papers.snapea.runs import (
    BASELINE,
    CONVOLUTIONS,
    MACHINE,
    WHOLE,
    Runs,
    Simulated,
    cycles,
    names_of,
    reduction,
    speedup,
    why_so_fast,
)
from simhw.trace import Trace
from simhw.workload import load_workload

fast: Any = untyped_fast

WORKLOADS = {"AlexNet": "alexnet_conv", "SqueezeNet": "squeezenet_v1_1"}
BESIDE = {"lenet5_mnist": "LeNet-5", "resnet20_cifar10": "ResNet-20"}  # which the paper has not
IN_PLACE = "SqueezeNet 1.1 in place of the 1.0 of the paper, whose weights are not at hand"
NOT_IN_PAPER = "not one of the paper's four networks, beside whose average it stands"
ONLY_FOUR = "an average or extreme over four networks, two of whose weights are not at hand"


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


def negatives(runs: Runs) -> list[Item]:
    """Figure 3.1."""
    traces = [runs.network(workload).trace for workload in WORKLOADS.values()]
    shares = [100 * negative_share(trace) for trace in traces if trace is not None]
    why = "the paper's range is over its four networks; these are AlexNet and SqueezeNet 1.1, one image"
    return [
        item("fig3_1.lowest_negative_pct", printed.NEGATIVE_PCT[0], min(shares, default=None), "%",
             tolerance=None, digits=0, why=why),
        item("fig3_1.highest_negative_pct", printed.NEGATIVE_PCT[1], max(shares, default=None), "%",
             tolerance=None, digits=0, why=why),
    ]  # fmt: skip


def of_network(name: str, one: Simulated) -> list[Item]:
    """Figure 3.8: convolutions alone, batch 1, at equal clock, multipliers and DRAM."""
    base, exact, off = one.baseline, one.exact, one.off
    paper = name in WORKLOADS
    bars: tuple[float | None, float | None] = (None, None)
    if name == "SqueezeNet":
        bars = printed.EXACT_SQUEEZENET
    elif not paper:
        bars = printed.EXACT_AVERAGE
    which = IN_PLACE if name == "SqueezeNet" else None if paper else f"{BESIDE[name]}, {NOT_IN_PAPER}"

    def compared(key: str, number: float | None, value: float | None, why: str | None = None) -> Item:
        said = ". ".join(words for words in (which, why) if words and value is not None)
        return item(f"fig3_8.{name}.{key}", number, value, "times", tolerance=None, digits=2,
                    why=said or None)  # fmt: skip

    causes = None if base is None or exact is None else why_so_fast(base, exact)
    return [
        compared("speedup", bars[0], speedup(base, exact), causes),
        compared(
            "speedup.loads_hidden", bars[0], speedup(one.overlapped, exact),
            "Against a baseline that hides its filter loads and brings four inputs a cycle: how much of the "
            "speedup is the baseline's",
        ),
        compared(
            "speedup.nothing_cut", bars[0], speedup(base, off),
            "Termination off, no window stops early: the array alone",
        ),
        compared(
            "speedup.of_stopping", bars[0], speedup(off, exact),
            "The same machine with termination off over that with it on: what stopping early gains in "
            "cycles, and the one cause that can be switched off",
        ),
        compared(
            "energy_reduction", bars[1], reduction(base, exact),
            "Filters come from DRAM again with every round, with their indices, and each product reads its "
            "input from 20 kB, which Table 3.3 does not price (here between register file and global buffer)",
        ),
    ]  # fmt: skip


def of_whole_network(name: str, one: Simulated) -> list[Item]:
    """Figure 3.8 with fully connected layers, batch 1."""
    base, exact = one.baseline, one.exact
    bars = printed.EXACT_SQUEEZENET if name == "SqueezeNet" else printed.EXACT_AVERAGE
    why = f"{IN_PLACE}; it has no fully connected layer" if name == "SqueezeNet" else None
    if why is None:
        why = f"{BESIDE[name]}, {NOT_IN_PAPER}"
        if base is not None and exact is not None:
            linear = [1 - cycles(x, CONVOLUTIONS) / cycles(x, WHOLE) for x in (base, exact)]
            why += (
                f": {100 * linear[0]:.2g} % of the baseline's cycles and {100 * linear[1]:.2g} % of SnaPEA's "
                "are those of fully connected layers, one lane of four in one row of eight"
            )
    return [
        item(f"fig3_8.{name}.whole_network.{key}", number, value, "times", tolerance=None, digits=2, why=why)
        for key, number, value in (
            ("speedup", bars[0], speedup(base, exact, WHOLE)),
            ("energy_reduction", bars[1], reduction(base, exact, WHOLE)),
        )
    ]


def averages() -> list[Item]:
    """Figure 3.8's text: over four networks, two of whose weights are not at hand."""
    found: list[Item] = []
    for what, both in (("average", printed.EXACT_AVERAGE), ("max", printed.EXACT_MAX)):
        for key, number in zip(("speedup", "energy_reduction"), both, strict=True):
            found.append(item(f"fig3_8.{what}.{key}", number, None, "times", why=ONLY_FOUR))
    found.append(
        item("fig3_8.average.speedup_in_text", printed.EXACT_AVERAGE_ROUNDED,
             round(printed.EXACT_AVERAGE[0], 1), "times", digits=1,
             why="the abstract's average of 1.28, rounded as the text beside the figure has it")
    )  # fmt: skip
    return found


def introduction(runs: Runs) -> list[Item]:
    """Section 3.1: SqueezeNet, pruned statically before."""
    one = runs.network(WORKLOADS["SqueezeNet"])
    fast_by, saves = printed.INTRO_SQUEEZENET
    return [
        item("sec3_1.SqueezeNet.speedup", fast_by, speedup(one.baseline, one.exact), "times", tolerance=None,
             digits=2, why=IN_PLACE),
        item("sec3_1.SqueezeNet.energy_reduction", saves, reduction(one.baseline, one.exact), "times",
             inconsistent=True, why="S2: 15 % in the introduction, 1.14x beside figure 3.8"),
    ]  # fmt: skip


def static_pruning() -> list[Item]:
    """The abstract's comparison with static pruning."""
    return [
        item(f"abstract.static_pruning.{key}_pct", number, None, "%",
             why="the pruned networks that these are against are not named, nor at hand")
        for key, number in zip(("speedup", "energy_reduction"), printed.STATIC_PRUNING_PCT, strict=True)
    ]  # fmt: skip


LANES_WHY = (
    "S7: the text does not say what is kept, and a loss of 36 % with more lanes is possible only if it is "
    "not the number of PEs, or if the baseline grows as well"
)


def lanes(runs: Runs) -> list[Item]:
    """Figure 3.12, exact mode, in each reading: 64 PEs kept, 256 multipliers, these and all memory, or
    64 PEs beside a baseline that is enlarged as they are."""
    network = runs.network(WORKLOADS["SqueezeNet"])
    found: list[Item] = []
    grids = {2: (8, 16), 8: (8, 4), 16: (4, 4)}  # rows, columns that keep 256 multipliers
    bases = {2: (8, 16), 8: (16, 32), 16: (32, 32)}  # of an Eyeriss with as many multipliers as 64 PEs have
    default = speedup(network.baseline, network.exact)
    for count, change in printed.BY_LANES.items():
        sizes: dict[str, tuple[Any, Any]] = {"pes_kept": (None, None), "macs_kept": (grids[count], None)}
        sizes["macs_and_memory_kept"] = (grids[count], None)
        sizes["baseline_grows"] = (None, bases[count])
        for reading, (grid, base_grid) in sizes.items():
            base = network.baseline
            if base_grid:
                base = network.run(BASELINE, _grid(base_grid))
            changed: dict[str, Any] = {"components.pes.lanes": count} | (_grid(grid) if grid else {})
            if reading == "macs_and_memory_kept":
                changed |= {
                    "components.pes.io_kib": 5.0 * count,
                    "components.pes.weight_words": 64 * count,
                    "components.noc.row_words": count,
                }
            other = network.run(MACHINE, changed)
            found_speedup = speedup(base, other)
            relative = 100 * (found_speedup / default - 1) if found_speedup and default else None
            found.append(
                item(f"fig3_12.lanes_{count}.{reading}_pct", change, relative, "%", tolerance=None, digits=0,
                     why=f"{LANES_WHY}. Here: exact mode, {IN_PLACE}")
            )  # fmt: skip
    return found


def _grid(size: tuple[int, int]) -> dict[str, int]:
    return {"components.pes.rows": size[0], "components.pes.columns": size[1]}


def fits(name: str, one: Simulated) -> list[Item]:
    """Section 3.7.1: activations of all networks but VGG fit on chip. Counted, with the copies of a row."""
    kinds = [node.op for node in load_workload(WORKLOADS[name]).graph.nodes]
    kept = None
    if one.exact is not None:
        kept = sum(one.exact.layer(x).mapping["inputs"] == "chip" for x in names_of(one.exact))
    return [
        item(f"sec3_7_1.{name}.inputs_on_chip", kinds.count("conv") - 1, kept, "layers", inconsistent=True,
             why="all PEs of a row hold the same inputs, so 1.25 MB are 80 kB of distinct inputs, and "
             "640 kB of outputs; the first layer's come from DRAM in any case")
    ]  # fmt: skip
