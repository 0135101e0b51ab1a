"""The networks that the chapter's numbers are held against, each exported and simulated once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from simhw.accelerator import simulate
from simhw.comparison import speedup_causes
from simhw.errors import DataError
from simhw.parameters import load, names
from simhw.result import Result
from simhw.trace import Trace
from simhw.tuning.measure import Exact, Measured, evaluate, run_exact
from simhw.tuning.network import Images
from simhw.workload import export, load_workload

Progress = Callable[[int, int, str], None]

BASELINE, MACHINE, TECHNOLOGY = "eyeriss_256", "snapea", "tetris_45nm"
OVERLAPPED = {  # the baseline with its filter loads hidden and a bus of inputs as wide as the others
    "options.filter_load": "overlapped",
    "options.first_window": "with_filters",
    "components.noc.ifmap_words_per_cycle": 4,
}
OFF = {"options.termination": "off"}
CONVOLUTIONS, WHOLE = ("conv",), ("conv", "linear")  # kinds of layers


@dataclass
class Simulated:
    """One image through a network of real weights, on the machine and its baselines.

    What its weights or images are not at hand for is None. Nothing runs before it is asked for, nor twice.
    """

    workload: str
    data: Path | None = None
    progress: Progress | None = None
    first: int = 0
    _results: dict[str, Result] = field(default_factory=dict[str, Result], repr=False)

    @cached_property
    def trace(self) -> Trace | None:
        workload = load_workload(self.workload)
        try:
            trace = export(workload, images=1, first=self.first, data=self.data, progress=self.progress)
        except DataError:
            return None
        real = trace.provenance["weights"] == workload.weights.file
        drawn = not str(trace.provenance["inputs"]).startswith(str(workload.data.file))
        return None if drawn or not real else trace

    def run(
        self,
        accelerator: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        tuning: str | None = None,
        closed_loop: bool = False,
    ) -> Result | None:
        if self.trace is None:
            return None
        asked = repr((accelerator, sorted((overrides or {}).items()), tuning, closed_loop))
        if asked not in self._results:
            self._results[asked] = simulate(
                accelerator, self.trace,
                overrides=overrides or {}, tuning=tuning, closed_loop=closed_loop, technology=TECHNOLOGY,
                progress=self.progress,
            )  # fmt: skip
        return self._results[asked]

    @property
    def baseline(self) -> Result | None:
        return self.run(BASELINE)

    @property
    def overlapped(self) -> Result | None:
        return self.run(BASELINE, OVERLAPPED)

    @property
    def exact(self) -> Result | None:
        return self.run(MACHINE)

    @property
    def off(self) -> Result | None:
        """The machine with no window stopped early."""
        return self.run(MACHINE, OFF)

    def tuned(self, tuning: str) -> Result | None:
        """The machine in predictive mode; each layer reads what it made of the layers before."""
        return self.run(MACHINE, tuning=tuning, closed_loop=True)


class Runs:
    """What the items of one call share."""

    def __init__(self, data: Path | None, progress: Progress | None) -> None:
        self.data, self.progress = data, progress
        self._networks: dict[tuple[str, int], Simulated] = {}
        self._exact: dict[str, Exact] = {}
        self._measured: dict[str, Measured] = {}

    def network(self, workload: str, first: int = 0) -> Simulated:
        key = (workload, first)
        if key not in self._networks:
            self._networks[key] = Simulated(workload, self.data, self.progress, first)
        return self._networks[key]

    def measured(self, tuning: str) -> Measured | None:
        """Measure a shipped tuning on all images that its recipe sets aside."""
        recipe = load(tuning, "speculation").recipe
        workload, given = recipe["workload"], recipe["measure"]
        if self.network(workload, given["first"]).trace is None:
            return None
        if tuning not in self._measured:
            if workload not in self._exact:
                images = Images(images=given["images"], first=given["first"], split=given["split"])
                self._exact[workload] = run_exact(workload, images, data=self.data, progress=self.progress)
            self._measured[tuning] = evaluate(tuning, self._exact[workload], progress=self.progress)
        return self._measured[tuning]


def shipped_tuning(name: str) -> str | None:
    """Return the name if a tuning ships under it."""
    return name if name in names("speculation") else None


def names_of(result: Result, kinds: Collection[str] = CONVOLUTIONS) -> list[str]:
    """Return the layers of some kinds."""
    return [layer.name for layer in result.layers if layer.kind in kinds]


def cycles(result: Result, kinds: Collection[str] = CONVOLUTIONS) -> int:
    return sum(layer.cycles for layer in result.layers if layer.kind in kinds)


def picojoules(result: Result, kinds: Collection[str] = CONVOLUTIONS) -> float:
    return math.fsum(pj for x in result.layers if x.kind in kinds for pj in x.energy_pj.values())


def speedup(
    first: Result | None, other: Result | None, kinds: Collection[str] = CONVOLUTIONS
) -> float | None:
    return None if first is None or other is None else cycles(first, kinds) / cycles(other, kinds)


def reduction(
    first: Result | None, other: Result | None, kinds: Collection[str] = CONVOLUTIONS
) -> float | None:
    return None if first is None or other is None else picojoules(first, kinds) / picojoules(other, kinds)


def why_so_fast(first: Result, other: Result) -> str:
    """Return the speedup of the convolutions as the product of its causes."""
    causes = speedup_causes(first, other, names_of(first))
    ours = math.prod(c.factor for c in causes if c.of == "first")
    cut = math.prod(c.factor for c in causes if c.of == "both")
    lost = [
        f"{c.factor:.3f} {c.name.replace('_', ' ')}" for c in causes if c.of == "other" and c.factor < 0.999
    ]
    return (
        f"{ours:.3f} (multipliers of the baseline that are not busy) x {cut:.3f} (products cut) x "
        f"{' x '.join(lost)}"
    )


def where_cuts_went(pairs: Collection[tuple[Result, Result]]) -> str:
    """Say what became of the lane-cycles that prediction cuts beyond exact mode: (exact, predictive) runs.

    A lane-cycle of the convolutions without its product ends them sooner, or is lost to a cause that
    grows by it; causes that shrink end them sooner, too.
    """
    freed, grown = 0, Counter[str]()
    for exact, tuned in pairs:
        for result, sign in ((tuned, 1), (exact, -1)):
            for layer in map(result.layer, names_of(result)):
                freed -= sign * layer.macs_executed
                for cause, n in layer.details["lost_lane_cycles"].items():
                    grown[cause] += sign * n
    if freed <= 0:
        return "prediction cuts no products"
    most = [(cause, n) for cause, n in grown.most_common() if n > 0]
    rest = sum(n for _, n in most[3:])
    less = -sum(n for n in grown.values() if n < 0)
    saved = freed - sum(grown.values())
    went = [f"{100 * n / freed:.0f} % are lost to {cause.replace('_', ' ')}" for cause, n in most[:3]]
    went += [f"{100 * rest / freed:.0f} % to other causes"] if rest / freed >= 0.005 else []
    beside = (
        f", with {100 * less / freed:.0f} % that other causes lose less," if less / freed >= 0.005 else ""
    )
    return (
        f"of the lane-cycles whose products prediction cuts beyond exact mode {', '.join([*went, ''])}"
        f"and{beside} {100 * saved / freed:.0f} % end the convolutions sooner"
    )
