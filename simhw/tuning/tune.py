"""From a recipe to tunings: the three passes for each budget, what they share kept in one journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import simhw
from simhw.core import reading
from simhw.errors import TuningError
from simhw.parameters import Parameters, digests_of, load
from simhw.parameters.speculation import Filters
from simhw.parameters.speculation import Measured as MeasuredFields
from simhw.trace import sha256_of
from simhw.tuning.journal import Journal
from simhw.tuning.measure import Exact, Measured, evaluate, run_exact
from simhw.tuning.network import Network, load_images, network_of
from simhw.tuning.recipe import Recipe, load_recipe
from simhw.tuning.search import (
    Case,
    ParamCNN,
    ParamL,
    Simulated,
    global_optimization_pass,
    kernel_profiling_pass,
    local_optimization_pass,
)
from simhw.workload import load_params

Progress = Callable[[int, int, str], None]
DIGITS = 6  # of a share that a tuning file keeps
WANTS = "wants images (split: test, first: 500, images: 500)"
LATER = ("measure", "steps")  # settings of a recipe that change no answer that a search keeps


@dataclass(frozen=True)
class Tuned:
    """A tuning, and what it does on the images that its recipe keeps for measuring."""

    tuning: Parameters
    measured: Measured | None


def tune(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    files: Sequence[str | Path] = (),
    journal: str | Path | None = None,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> list[Tuned]:
    """Return a tuning for each budget of a recipe, the smallest first, and save them to `files` if given.

    The search is greedy, and may end with more operations where layers by themselves were allowed a larger
    loss. So a budget's last pass is run with the configurations of each smaller budget, too, and the fewest
    operations count; `reached` says of which budget the configurations are. With one budget it is the
    algorithm as it stands.

    `journal` is a file in which the search is kept as it goes; with `resume` one that was broken off goes
    on, and ends as it would have. It is removed when all is done and saved. `command` is noted in the
    tunings. `progress` is told (steps done, steps in all, what is done).
    """
    chosen = load_recipe(recipe)
    _refuse_drawn_weights(chosen, weights, data)
    network = network_of(chosen.workload, chosen.optimize, data, weights)
    _refuse_unfit(chosen, network)
    if chosen.measure is not None:  # what is not there is told now, and not after the search
        load_images(chosen.workload, chosen.measure, data)
    digests = digests_of(network)
    asked = {name: value for name, value in chosen.to_dict().items() if name not in LATER}
    search = sha256_of([asked, digests, network.digests["inputs"], simhw.__version__])
    book = Journal(journal, search, resume=resume)
    try:
        case = Case(network, chosen, book)
        tuned = [Tuned(tuning, None) for tuning in _tunings(case, digests, command, progress)]
    finally:
        book.close()
    if chosen.measure is not None:
        exact = run_exact(chosen.workload, chosen.measure, data=data, weights=weights, progress=progress)
        tuned = [_measured(one.tuning, exact, progress) for one in tuned]
    for one, file in zip(tuned, files, strict=bool(files)):
        one.tuning.save(file)
    book.remove()
    return tuned


def measure_again(
    recipe: str | Path | Recipe,
    files: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Tuned]:
    """Measure tunings that are there on the images that their recipe sets aside; search for nothing.

    What is found takes the place of `reached.measured` in the files; all else stays as it is.
    """
    chosen = load_recipe(recipe)
    if chosen.measure is None:
        raise TuningError(f"{chosen.source or chosen.workload.name}: measure: is missing; {WANTS}")
    given = [load(file, "speculation") for file in files]
    faults = []
    for file, tuning in zip(files, given, strict=True):
        made_by = {name: value for name, value in tuning.recipe.items() if name != "budget"}
        if made_by != chosen.to_dict():
            faults.append(f"{file}: recipe: is not that of {chosen.source or 'the one given'}; name its own")
    if faults:
        raise TuningError(faults)
    exact = run_exact(chosen.workload, chosen.measure, data=data, weights=weights, progress=progress)
    tuned = [_measured(tuning, exact, progress) for tuning in given]
    for one, file in zip(tuned, files, strict=True):
        one.tuning.save(file)
    return tuned


def _measured(tuning: Parameters, exact: Exact, progress: Progress | None) -> Tuned:
    found = evaluate(tuning, exact, progress=progress)
    return Tuned(replace(tuning, reached={**tuning.reached, "measured": _summary(found)}), found)


def _refuse_drawn_weights(recipe: Recipe, weights: str | Path | None, data: str | Path | None) -> None:
    """A workload whose weights are not at hand runs with drawn ones: fine for cycles, nothing to tune."""
    workload = recipe.workload
    *_, origin = load_params(workload, weights, data)
    if weights is None and workload.weights.file is not None and origin.startswith("random"):
        raise TuningError(
            f"{recipe.source or workload.name}: workload: {workload.weights.file}, the weights of "
            f"{workload.name}, is not at hand, and drawn weights are nothing to tune; wants a folder that "
            "has it, --data or SIMHW_DATA"
        )


def _refuse_unfit(recipe: Recipe, network: Network) -> None:
    where = str(recipe.source or recipe.workload.name)
    faults = []
    if recipe.metric == "accuracy" and network.labels is None:
        faults.append(f"{where}: metric: the images have no labels; wants agreement")
    tuned = network.convolutions if recipe.layers == "conv" else network.stopping
    most = max((network.by_name[name].shape.window for name in tuned), default=0)
    if tuned and (beyond := [n for n in recipe.groups if n > most]):
        faults.append(
            f"{where}: candidates.groups: wants at most {most}, the weights of the largest filter that may "
            f"predict; got {', '.join(map(str, beyond))}"
        )
    if not tuned:
        what = "no convolution" if recipe.layers == "conv" else "no layer"
        faults.append(
            f"{where}: layers: {what} of {network.name} may predict: none that a ReLU follows reads only "
            "numbers of at least zero"
        )
    if faults:
        raise TuningError(faults)


def _tunings(
    case: Case, digests: dict[str, str], command: str, progress: Progress | None
) -> list[Parameters]:
    tunings: list[Parameters] = []
    lists: dict[float, ParamL] = {}
    best: tuple[dict[str, Filters], dict[str, Any]] | None = None
    for budget in case.recipe.budgets:
        limit = case.limit(budget)
        param_k = kernel_profiling_pass(case, limit, progress)
        lists[budget] = local_optimization_pass(case, limit, param_k, progress)
        allowed = case.allowed(budget, case.network.images)
        for own, param_l in lists.items():
            param_cnn, found = global_optimization_pass(case, allowed, param_l, progress)
            if best is None or found.macs < best[1]["macs"]:
                best = _speculations(param_cnn), {"layers_budget": own, **_reached(case, found)}
        assert best is not None  # a budget has itself
        made = {"simhw": simhw.__version__, "command": command, **case.network.provenance}
        tunings.append(
            Parameters(
                kind="speculation",
                name=f"{case.recipe.workload.name}-{budget:g}",
                workload=case.recipe.workload.name,
                digests=digests,
                layers=best[0],
                recipe={"budget": budget, **case.recipe.to_dict()},
                reached=best[1],
                made={name: value for name, value in made.items() if value},
            )
        )
    return tunings


def _speculations(param_cnn: ParamCNN) -> dict[str, Filters]:
    """Return what each layer that predicts has."""
    return {
        name: Filters(
            thresholds=tuple(param.threshold for param in one.params),
            groups=tuple(param.groups for param in one.params),
        )
        for name, one in param_cnn.items()
        if not all(param.is_exact for param in one.params)
    }


def _reached(case: Case, found: Simulated) -> dict[str, Any]:
    """Return what the network did with it on the images it was tuned with."""
    images = case.network.images
    return {
        "images": images,
        "lost_images": found.lost,
        "loss": round(100 * found.lost / images, 4),
        "whole_macs": case.network.macs * images,
        "exact_macs": case.exact_network().macs,
        "macs": found.macs,
    }


def _summary(measured: Measured) -> dict[str, Any]:
    """Return what a tuning file keeps of a measurement: all that is of the whole network."""
    found = measured.to_dict()
    return {name: _rounded(found[name]) for name in reading.names(MeasuredFields) if found[name] is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, DIGITS) if isinstance(value, float) else value
