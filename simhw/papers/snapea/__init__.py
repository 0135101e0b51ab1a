"""SnaPEA (Akhlaghi et al., ISCA 2018), after chapter 3 of Akhlaghi's thesis: its tables and figures.

Simulated on real weights: AlexNet's convolutions, and SqueezeNet 1.1 in place of the 1.0 of the paper;
GoogLeNet's and VGG's weights are not at hand. Beside them LeNet-5 and ResNet-20, with their fully connected
layers. The predictive mode is shown on what its tuning can be found and measured for: LeNet-5 on MNIST,
ResNet-20 on CIFAR-10, SqueezeNet's agreement with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from simhw.papers.items import Item, chosen
from simhw.papers.snapea import design, exact, predictive, printed
from simhw.papers.snapea.runs import BASELINE, MACHINE, OVERLAPPED, Runs, cycles, picojoules

__all__ = ["BASELINE", "MACHINE", "OVERLAPPED", "cycles", "items", "picojoules"]

Progress = Callable[[int, int, str], None]
Sections = dict[tuple[str, ...], Callable[[], list[Item]]]


def items(data: Path | None, progress: Progress | None, wanted: str = "") -> list[Item]:
    """Return the printed numbers of the chapter that are wanted, or all, beside the simulated ones."""
    return chosen(_sections(Runs(data, progress)), wanted)


def _sections(runs: Runs) -> Sections:
    """What each group of items is made by; a group runs what it needs, and no two run the same twice."""
    networks = exact.WORKLOADS | {name: name for name in exact.BESIDE}
    found: Sections = {
        ("table3_1",): design.networks,
        ("table3_2",): design.sizes,
        ("table3_3",): design.energies,
        ("fig3_1",): partial(exact.negatives, runs),
        ("fig3_4",): design.example,
    }
    for name, workload in networks.items():
        found[(f"fig3_8.{name}",)] = partial(_figure_3_8, name, workload, runs)
    found |= {
        ("fig3_8.average", "fig3_8.max"): exact.averages,
        ("abstract",): exact.static_pruning,
        ("sec3_1",): partial(exact.introduction, runs),
        ("fig3_12",): partial(exact.lanes, runs),
    }
    for name, workload in exact.WORKLOADS.items():
        found[(f"sec3_7_1.{name}",)] = partial(_section_3_7_1, name, workload, runs)
    for name in printed.TABLE_3_4:
        found[(f"table3_4.{name}",)] = partial(predictive.table_3_4, name, runs)
    found[("table3_4.average",)] = partial(predictive.averages, 4)
    for name in printed.TABLE_3_5:
        found[(f"table3_5.{name}",)] = partial(predictive.table_3_5, name, runs)
    found |= {
        ("table3_5.average",): partial(predictive.averages, 5),
        ("table3_5.small_values_pct",): partial(predictive.small_values, runs),
        ("fig3_9.SqueezeNet",): partial(predictive.figure_3_9, runs),
        ("fig3_9.GoogLeNet",): predictive.figure_3_9_googlenet,
        ("fig3_10",): predictive.figure_3_10,
    }
    for workload in exact.BESIDE:
        for loss in printed.BY_LOSS:
            make = partial(predictive.by_loss, loss, workload, runs)
            found[(f"fig3_11.loss_{loss}.{workload}",)] = make
    for name in ("AlexNet", "VGGNet"):
        key = f"fig3_11.loss_3.{name}_of_table3_4"
        found[(key,)] = partial(predictive.from_table_3_4, name)
    return found


def _figure_3_8(name: str, workload: str, runs: Runs) -> list[Item]:
    one = runs.network(workload)
    whole = (
        [] if name == "AlexNet" else exact.of_whole_network(name, one)
    )  # its other weights are not at hand
    return exact.of_network(name, one) + whole


def _section_3_7_1(name: str, workload: str, runs: Runs) -> list[Item]:
    return exact.fits(name, runs.network(workload))
