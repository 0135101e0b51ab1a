"""From a recipe to tunings: the three passes for each budget, what they share kept in one journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import simhw
from simhw.description import Tuning
from simhw.description.tunings import Speculation, digests_of
from simhw.errors import TuningError
from simhw.trace import sha256_of
from simhw.tuning.journal import Journal
from simhw.tuning.measure import Measured, evaluate, run_exact
from simhw.tuning.network import Network, network_of
from simhw.tuning.recipe import Recipe, load_recipe
from simhw.tuning.search import (
    Case,
    global_optimization_pass,
    kernel_profiling_pass,
    local_optimization_pass,
)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Tuned:
    """A tuning, and what it does on the images that its recipe keeps for measuring."""

    tuning: Tuning
    measured: Measured | None


def tune(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    journal: str | Path | None = None,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> list[Tuned]:
    """Return a tuning for each budget of a recipe, the smallest first.

    The search is greedy, and of a larger budget may end with more operations than of a smaller one: then
    the larger one has the smaller one's parameters, and its `reached` says from which budget they are.
    `journal` is a file in which the search is kept as it goes; with `resume` one that was broken off goes
    on, and ends as it would have. It is removed at the end. `command` is noted in the tunings. `progress`
    is told (steps done, steps in all, what is done).
    """
    chosen = load_recipe(recipe)
    network = network_of(chosen.workload, chosen.optimize, data, weights)
    _refuse_unfit(chosen, network)
    digests = digests_of(network)
    search = sha256_of([chosen.to_dict(), digests, network.digests["inputs"], simhw.__version__])
    book = Journal(journal, search, resume=resume)
    try:
        case = Case(network, chosen, book)
        tunings = _tunings(case, digests, command, progress)
    finally:
        book.close()
    tuned = [Tuned(tuning, None) for tuning in tunings]
    if chosen.measure is not None:
        exact = run_exact(chosen.workload, chosen.measure, data=data, weights=weights, progress=progress)
        measured = [evaluate(tuning, exact, progress=progress) for tuning in tunings]
        tuned = [
            Tuned(replace(tuning, reached={**tuning.reached, "measured": _summary(chosen, one)}), one)
            for tuning, one in zip(tunings, measured, strict=True)
        ]
    book.remove()
    return tuned


def _refuse_unfit(recipe: Recipe, network: Network) -> None:
    where = str(recipe.source or recipe.workload.name)
    faults = []
    if recipe.metric == "accuracy" and network.labels is None:
        faults.append(f"{where}: metric: the images have no labels; wants agreement")
    if not (network.convolutions if recipe.layers == "conv" else network.stopping):
        what = "no convolution" if recipe.layers == "conv" else "no layer"
        faults.append(
            f"{where}: layers: {what} of {network.name} may predict: none that a ReLU follows reads only "
            "numbers of at least zero"
        )
    if faults:
        raise TuningError(faults)


def _tunings(case: Case, digests: dict[str, str], command: str, progress: Progress | None) -> list[Tuning]:
    found: list[Tuning] = []
    for budget in case.recipe.budgets:
        layers, reached = _for_budget(case, budget, progress)
        if found and found[-1].reached["macs"] <= reached["macs"]:
            layers, reached = dict(found[-1].layers), dict(found[-1].reached)
        made = {"simhw": simhw.__version__, "command": command, **case.network.provenance}
        found.append(
            Tuning(
                name=f"{case.recipe.workload.name}-{budget:g}",
                workload=case.recipe.workload.name,
                digests=digests,
                layers=layers,
                recipe={"budget": budget, **case.recipe.to_dict()},
                reached=reached,
                made={name: value for name, value in made.items() if value},
            )
        )
    return found


def _for_budget(
    case: Case, budget: float, progress: Progress | None
) -> tuple[dict[str, Speculation], dict[str, Any]]:
    """Return what each layer that predicts has, and what the network did with it."""
    limit = case.limit(budget)
    param_k = kernel_profiling_pass(case, limit, progress)
    param_l = local_optimization_pass(case, limit, param_k, progress)
    allowed = case.allowed(budget, case.network.images)
    param_cnn, found = global_optimization_pass(case, allowed, param_l, progress)
    layers = {
        name: Speculation(
            tuple(param.threshold for param in one.params), tuple(param.groups for param in one.params)
        )
        for name, one in param_cnn.items()
        if not all(param.is_exact for param in one.params)
    }
    images = case.network.images
    reached = {
        "budget": budget,
        "images": images,
        "lost_images": found.lost,
        "loss": round(100 * found.lost / images, 4),
        "whole_macs": case.network.macs * images,
        "exact_macs": case.exact_network().macs,
        "macs": found.macs,
    }
    return layers, reached


def _summary(recipe: Recipe, measured: Measured) -> dict[str, Any]:
    shares = {
        "exact_accuracy": measured.exact_accuracy,
        "accuracy": measured.accuracy,
        "agreement": measured.agreement,
    }
    return {
        "images": measured.images,
        **{name: round(value, 6) for name, value in shares.items() if value is not None},
        "whole_macs": measured.whole_macs,
        "exact_macs": measured.exact_macs,
        "macs": measured.macs,
    }
