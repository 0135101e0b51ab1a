"""Predictive mode: tables 3.4 and 3.5, figures 3.9 to 3.11, on what tunings can be found and measured for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simhw.papers.items import Item, item
from simhw.papers.snapea import printed
from simhw.papers.snapea.exact import BESIDE, IN_PLACE, NOT_IN_PAPER, WORKLOADS
from simhw.papers.snapea.runs import Runs, cycles, picojoules, shipped_tuning, where_cuts_went
from simhw.result import Result
from simhw.tuning.measure import Measured

SQUEEZENET, TUNING = WORKLOADS["SqueezeNet"], "squeezenet_v1_1-2"  # of 60 images, 2 % and 3 % are both one
FIRST = {SQUEEZENET: 60, "lenet5_mnist": 5000, "resnet20_cifar10": 5000}  # image that the search did not see
IMAGES = {SQUEEZENET: 8, "lenet5_mnist": 16, "resnet20_cifar10": 16}  # of these, run one by one
NO_WEIGHTS = "weights not at hand"
KEYS = ("conv_layers_pct", "speedup", "energy_reduction")
RATES = ("true_negative_pct", "false_negative_pct")


class Single(NamedTuple):
    """One image on the two baselines, in exact mode, and in predictive mode with the loop closed."""

    base: Result
    overlapped: Result
    exact: Result
    tuned: Result


@dataclass(frozen=True)
class OneByOne:
    """Some images, each a batch of its own; ratios are of their sums, convolutions alone."""

    images: tuple[Single, ...]

    def over(self, first: Callable[[Single], float], other: Callable[[Single], float]) -> float:
        return math.fsum(map(first, self.images)) / math.fsum(map(other, self.images))

    @property
    def speedup(self) -> float:
        return self.over(lambda x: cycles(x.base), lambda x: cycles(x.tuned))

    @property
    def energy_reduction(self) -> float:
        return self.over(lambda x: picojoules(x.base), lambda x: picojoules(x.tuned))

    def of_layers(self, names: set[str]) -> tuple[float, float]:
        """Return the plain means of some layers' speedups and energy reductions."""
        fast_by = [
            self.over(lambda x, n=n: x.base.layer(n).cycles, lambda x, n=n: x.tuned.layer(n).cycles)
            for n in names
        ]
        saves = [
            self.over(lambda x, n=n: _energy(x.base, n), lambda x, n=n: _energy(x.tuned, n)) for n in names
        ]
        return float(np.mean(fast_by)), float(np.mean(saves))

    def said(self) -> str:
        """Say how fast they are, and what became of what was cut."""
        by_image = [cycles(x.base) / cycles(x.tuned) for x in self.images]
        mode = self.over(lambda x: cycles(x.exact), lambda x: cycles(x.tuned))
        hidden = self.over(lambda x: cycles(x.overlapped), lambda x: cycles(x.tuned))
        predicts = any(x.tuned is not x.exact for x in self.images)
        closed = ", each layer reading what the machine made before it" if predicts else ""
        beside = f"{mode:.3f} times exact mode, " if predicts else ""
        return (
            f"{len(self.images)} images one by one{closed}: {min(by_image):.3f} to {max(by_image):.3f} by "
            f"image, {beside}{hidden:.2f} times a baseline that hides its loads; energy reduced "
            f"{self.energy_reduction:.3f} times"
        )

    def went(self) -> str:
        return where_cuts_went([(x.exact, x.tuned) for x in self.images])


def one_by_one(runs: Runs, workload: str, tuning: str | None) -> OneByOne | None:
    """Run a network's images, in exact mode without a tuning; None where they are not at hand."""
    found: list[Single] = []
    for image in range(FIRST[workload], FIRST[workload] + IMAGES[workload]):
        one = runs.network(workload, image)
        base, overlapped, exact = one.baseline, one.overlapped, one.exact
        tuned = exact if tuning is None else one.tuned(tuning)
        if base is None or overlapped is None or exact is None or tuned is None:
            return None
        found.append(Single(base, overlapped, exact, tuned))
    return OneByOne(tuple(found))


def _energy(result: Result, name: str) -> float:
    return math.fsum(result.layer(name).energy_pj.values())


@dataclass(frozen=True)
class Squeezed:
    """SqueezeNet 1.1 by its tuning: what was measured on all images set aside, and some run one by one."""

    measured: Measured
    images: OneByOne

    @classmethod
    def of(cls, runs: Runs) -> Squeezed | None:
        if shipped_tuning(TUNING) is None:
            return None
        measured, images = runs.measured(TUNING), one_by_one(runs, SQUEEZENET, TUNING)
        return None if measured is None or images is None else cls(measured, images)

    @property
    def why(self) -> str:
        low, high = self.measured.agreement_interval
        return (
            f"{IN_PLACE}; tuned for agreement with the exact network on 59 of 60 images, measured on "
            f"{self.measured.images} others: {100 * self.measured.agreement:.1f} % agree (95 %: "
            f"{100 * low:.0f} to {100 * high:.0f}). {self.images.said()}. {_begun(self.images.went())}"
        )


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def table_3_4(network: str, runs: Runs) -> list[Item]:
    """A row of Table 3.4."""
    values: tuple[float | None, ...] = (None,) * len(KEYS)
    why = IN_PLACE if network == "SqueezeNet" else f"{NO_WEIGHTS}, or no classifier to tune by"
    seen = Squeezed.of(runs) if network == "SqueezeNet" else None
    if seen is not None:
        names = {layer.name for layer in seen.measured.predictive if layer.kind == "conv"}
        values = (100 * seen.measured.predictive_share, *seen.images.of_layers(names))
        why = seen.why
    return [
        item(f"table3_4.{network}.{key}", number, value, "%" if key.endswith("pct") else "times",
             tolerance=None, digits=2, why=why)
        for key, number, value in zip(KEYS, printed.TABLE_3_4[network], values, strict=True)
    ]  # fmt: skip


def table_3_5(network: str, runs: Runs) -> list[Item]:
    """A row of Table 3.5."""
    values: tuple[float | None, ...] = (None,) * len(RATES)
    why = IN_PLACE if network == "SqueezeNet" else f"{NO_WEIGHTS}, or no classifier to tune by"
    measured = _measured_squeezenet(runs) if network == "SqueezeNet" else None
    if measured is not None:
        values = (100 * (measured.true_negative_rate or 0), 100 * (measured.false_negative_rate or 0))
        why = f"{IN_PLACE}; {measured.images} images that the search did not see"
    return [
        item(f"table3_5.{network}.{key}", number, value, "%", tolerance=None, digits=2, why=why)
        for key, number, value in zip(RATES, printed.TABLE_3_5[network], values, strict=True)
    ]


def small_values(runs: Runs) -> list[Item]:
    """The share of mispredictions on small values, in the text beside Table 3.5."""
    measured = _measured_squeezenet(runs)
    why = "small: in the lower half of a layer's positive outputs; the paper says not what small is"
    value = None
    if measured is not None:
        value = 100 * (measured.small_share or 0)
        tenths = ", ".join(f"{100 * share:.1f}" for share in measured.mispredictions)
        why += f". By tenths of the outputs, the smallest first: {tenths} %"
    return [
        item("table3_5.small_values_pct", printed.SMALL_PCT, value, "%", tolerance=None, digits=0,
             why=f"{why}. {IN_PLACE}")
    ]  # fmt: skip


def _measured_squeezenet(runs: Runs) -> Measured | None:
    return None if shipped_tuning(TUNING) is None else runs.measured(TUNING)


def averages(table: int) -> list[Item]:
    """The averages of the text, from the rows of Table 3.4 or 3.5: the thesis cuts digits off."""
    keys, numbers, rows = (
        (KEYS, printed.TABLE_3_4_AVERAGE, printed.TABLE_3_4)
        if table == 4
        else (RATES, printed.TABLE_3_5_AVERAGE, printed.TABLE_3_5)
    )
    found: list[Item] = []
    for i, (key, number) in enumerate(zip(keys, numbers, strict=True)):
        mean = float(np.mean([row[i] for row in rows.values()]))
        found.append(
            _cut_off(f"table3_{table}.average.{key}", number, mean, 1 if table == 4 and not i else 2)
        )
    return found


def _cut_off(name: str, number: float, mean: float, digits: int) -> Item:
    """Judge an average as the thesis prints averages: digits beyond the last are cut off or rounded."""
    cut = math.floor(mean * 10**digits + 1e-6) / 10**digits
    value = cut if abs(round(mean, digits) - number) > 1e-9 else round(mean, digits)
    return item(name, number, value, "%" if name.endswith("pct") else "times",
                why=f"the mean of the printed rows is {mean:.5g}")  # fmt: skip


def figure_3_9(runs: Runs) -> list[Item]:
    """SqueezeNet's bars of figure 3.9."""
    seen = Squeezed.of(runs)
    values = (None, None) if seen is None else (seen.images.speedup, seen.images.energy_reduction)
    return [
        item(f"fig3_9.SqueezeNet.{key}", number, value, "times", tolerance=None, digits=2,
             why=IN_PLACE if seen is None else seen.why)
        for key, number, value in zip(
            ("speedup", "energy_reduction"), printed.PREDICTIVE["SqueezeNet"], values, strict=True
        )
    ]  # fmt: skip


def figure_3_9_googlenet() -> list[Item]:
    return [
        item(f"fig3_9.GoogLeNet.{key}", number, None, "times", why=NO_WEIGHTS)
        for key, number in zip(
            ("speedup", "energy_reduction"), printed.PREDICTIVE["GoogLeNet"], strict=True
        )
    ]  # fmt: skip


def figure_3_10() -> list[Item]:
    """The extremes of figure 3.10, layers of GoogLeNet."""
    return [
        item("fig3_10.inception_4e_1x1.speedup", printed.LAYER_MAX, None, "times", why=NO_WEIGHTS),
        item("fig3_10.inception_4e_5x5_reduce.speedup", printed.LAYER_MIN, None, "times", why=NO_WEIGHTS),
        item("fig3_10.max.energy_reduction", printed.LAYER_MAX_ENERGY, None, "times", why=NO_WEIGHTS),
    ]


def by_loss(loss: int, workload: str, runs: Runs) -> list[Item]:
    """Figure 3.11: speedup by accepted loss, found on half of the test images, measured on the other half."""
    name = BESIDE[workload]
    # at 0 % the thesis predicts nothing: exact mode
    tuning = shipped_tuning(f"{workload}-{loss}") if loss else None
    images = one_by_one(runs, workload, tuning) if tuning is not None or not loss else None
    why, value = f"{name}, {NOT_IN_PAPER}", None
    if images is not None:
        value = images.speedup
        why += f". {_lost(loss, tuning, runs)}{_begun(images.said())}"
        why += f". {_begun(images.went())}" if tuning is not None else ""
    return [
        item(f"fig3_11.loss_{loss}.{workload}", printed.BY_LOSS[loss], value, "times", tolerance=None,
             digits=2, why=why)
    ]  # fmt: skip


def _lost(loss: int, tuning: str | None, runs: Runs) -> str:
    measured = None if tuning is None else runs.measured(tuning)
    if measured is None or measured.loss is None:
        return "Exact mode. "
    beyond = ", beyond the budget" if measured.loss > loss else ""
    return (
        f"{100 * (1 - measured.macs / measured.whole_macs):.1f} % of products cut (exact mode "
        f"{100 * (1 - measured.exact_macs / measured.whole_macs):.1f} %), {measured.loss:.2f} points lost on "
        f"{measured.images} images that the search did not see{beyond}. "
    )


def from_table_3_4(network: str) -> list[Item]:
    """What Table 3.4 makes of a network whose layers take equal time, beside the average at 3 % loss."""
    share, fast_by, _ = printed.TABLE_3_4[network]
    share, rest = share / 100, printed.EXACT_AVERAGE[0]
    value = 1 / (share / fast_by + (1 - share) / rest)
    return [
        item(f"fig3_11.loss_3.{network}_of_table3_4", printed.BY_LOSS[3], value, "times", digits=2,
             inconsistent=True, why=f"S6: layers of equal time, {100 * share:g} % of them at Table 3.4's "
             f"{fast_by} and the rest at the exact average of {rest}, make {value:.2f}")
    ]  # fmt: skip
