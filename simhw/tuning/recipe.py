"""A recipe: what a tuning is made from, as a YAML file.

    workload: lenet_digits
    optimize: {split: train, images: 1437}
    measure: {split: test, images: 360}
    budgets: [0, 1, 2, 3]
    metric: accuracy
    layers: conv
    candidates: {groups: [2, 4, 8], quantiles: [0, 0.05, 0.2], keep: all}
    profile: {images: 500, by: filter}
    steps: each
    seed: 1

`optimize` and `measure` say which images of the workload's data: `images` of them, from number `first` of
the `split` on. A budget is the accepted loss in percentage points of `metric`: accuracy, or agreement with
the exact network where there are no labels. `layers` may be conv, or all that a ReLU follows. `candidates`
are the groups and shares of lost positives that are tried, of which `keep: fewest` profiles for each share
only the number of groups that takes the fewest operations. `profile` has the first two passes look at some
of the images, drawn by `seed`, and filter by filter or layer by layer. `steps` has the last pass try each
step, or bisect them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhw import shipped
from simhw.errors import SimhwError, TuningError
from simhw.reference.datasets import SPLITS
from simhw.tuning.candidates import KEEP
from simhw.tuning.network import Images
from simhw.workload import Workload, load_workload
from simhw.yamlfile import Document, Place, read, show

RECIPES = "accelerators/parameters/speculation/recipes"
METRICS = ("accuracy", "agreement")
LAYERS = ("conv", "all")
BY = ("filter", "layer")
STEPS = ("each", "bisect")
FIELDS = (
    "workload",
    "optimize",
    "measure",
    "budgets",
    "metric",
    "layers",
    "candidates",
    "profile",
    "steps",
    "seed",
)
GROUPS = (2, 4, 8, 16, 32)
QUANTILES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is tuned, on which images, how far, and what is tried."""

    workload: Workload
    optimize: Images
    measure: Images | None = None
    budgets: tuple[float, ...] = (1.0,)
    metric: str = "accuracy"
    layers: str = "conv"
    groups: tuple[int, ...] = GROUPS
    quantiles: tuple[float, ...] = QUANTILES
    keep: str = "all"
    profile_images: int | None = None
    profile_by: str = "filter"
    steps: str = "each"
    seed: int = 0
    source: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a tuning file keeps them."""
        images = {
            name: {"split": one.split, "first": one.first, "images": one.images}
            for name, one in (("optimize", self.optimize), ("measure", self.measure))
            if one is not None
        }
        return {
            "workload": self.workload.name,
            **images,
            "metric": self.metric,
            "layers": self.layers,
            "candidates": {
                "groups": list(self.groups), "quantiles": list(self.quantiles), "keep": self.keep,
            },
            "profile": {"images": self.profile_images or self.optimize.images, "by": self.profile_by},
            "steps": self.steps,
            "seed": self.seed,
        }  # fmt: skip


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Return the recipe of a name, a path or plain data; every fault is in one raise."""
    if isinstance(recipe, Recipe):
        return recipe
    source: Path | None = None
    if isinstance(recipe, Mapping):
        document = Document("recipe", TuningError, copy.deepcopy(dict(recipe)))
    else:
        source = shipped.find(RECIPES, recipe, ".yaml", TuningError)
        document = read(source, TuningError, "a recipe")
    document.unknown_fields((), FIELDS)
    workload = _workload(document)
    optimize, measure = _images(document, "optimize"), _images(document, "measure")
    if optimize is None and "optimize" not in document.value:
        document.fault(("optimize",), "is missing; wants images (split: test, first: 0, images: 500)")
    if optimize and measure and _overlap(optimize, measure):
        text = f"{measure} are among those of optimize, {optimize}; wants others"
        document.fault(("measure",), text)
    rest: dict[str, Any] = {}
    for place, name, take, wants in _REST:
        value = document.at(place)
        if value is None and (len(place) == 1 or document.at(place[:1]) is None):
            if place[0] in document.value and len(place) == 1:
                document.fault(place, f"wants {wants}, got nothing")
            continue
        if value is None and not _has(document, place):
            continue
        try:
            rest[name] = take(value)
        except (ValueError, TypeError):
            document.fault(place, f"wants {wants}, got {_shown(value)}")
    for name, known in (("candidates", ("groups", "quantiles", "keep")), ("profile", ("images", "by"))):
        if name in document.value:
            given = document.mapping((name,), f"a mapping ({', '.join(known)})")
            if given:
                document.unknown_fields((name,), known)
    if optimize and rest.get("profile_images", 0) > optimize.images:
        text = f"wants at most {optimize.images}, those of optimize, got {rest['profile_images']}"
        document.fault(("profile", "images"), text)
    document.finish()
    assert workload is not None  # or finish had raised
    assert optimize is not None
    return Recipe(workload=workload, optimize=optimize, measure=measure, **rest, source=source)


def _has(document: Document, place: Place) -> bool:
    holder = document.at(place[:-1])
    return isinstance(holder, dict) and place[-1] in holder


def _workload(document: Document) -> Workload | None:
    name = document.value.get("workload")
    if not isinstance(name, str) or not name:
        got = "is missing; wants" if "workload" not in document.value else f"got {show(name)}; wants"
        document.fault(("workload",), f"{got} the name or the path of a workload")
        return None
    try:
        return load_workload(name)
    except SimhwError as error:
        for fault in error.faults:
            document.fault(("workload",), fault)
    return None


def _images(document: Document, name: str) -> Images | None:
    if name not in document.value:
        return None
    wants = "images (split: test, first: 0, images: 500)"
    given = document.mapping((name,), wants)
    if not isinstance(document.value[name], dict):
        return None
    document.unknown_fields((name,), ("split", "first", "images"))
    fine = True
    for field, least in (("images", 1), ("first", 0)):
        value = given.get(field, least if field == "first" else None)
        if type(value) is not int or value < least:
            document.fault((name, field), f"wants a whole number of at least {least}, got {show(value)}")
            fine = False
    if given.get("split", "test") not in SPLITS:
        text = f"wants one of {', '.join(SPLITS)}, got {show(given['split'])}"
        document.fault((name, "split"), text)
        fine = False
    return Images(given["images"], given.get("first", 0), given.get("split", "test")) if fine else None


def _overlap(one: Images, other: Images) -> bool:
    starts, ends = max(one.first, other.first), min(one.first + one.images, other.first + other.images)
    return one.split == other.split and starts < ends


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _shown(value: Any) -> str:
    """Return a value as messages show it; a list with what is in it."""
    return str(value) if isinstance(value, list) and value and len(value) <= 8 else show(value)


def _budgets(value: Any) -> tuple[float, ...]:
    budgets = tuple(float(_number(one, 0, 100)) for one in _listed(value))
    return tuple(sorted(set(budgets))) if budgets else _refuse()


def _groups(value: Any) -> tuple[int, ...]:
    groups = tuple(sorted({_count(one) for one in _listed(value)}))
    return groups or _refuse()


def _quantiles(value: Any) -> tuple[float, ...]:
    shares = tuple(sorted({float(_number(one, 0, 1)) for one in _listed(value)}))
    return shares if shares and shares[-1] < 1 else _refuse()


def _number(value: Any, low: float, high: float) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError
    return value


def _count(value: Any, least: int = 1) -> int:
    return value if type(value) is int and value >= least else _refuse()


def _refuse() -> Any:
    raise ValueError


def _one_of(words: tuple[str, ...]) -> tuple[Callable[[Any], str], str]:
    return lambda value: value if value in words else _refuse(), f"one of {', '.join(words)}"


_COUNT = "a whole number of at least 1"
_REST: tuple[tuple[Place, str, Callable[[Any], Any], str], ...] = (
    (("budgets",), "budgets", _budgets, "percentage points from 0 to 100, or a list of them"),
    (("metric",), "metric", *_one_of(METRICS)),
    (("layers",), "layers", *_one_of(LAYERS)),
    (("candidates", "groups"), "groups", _groups, "whole numbers of at least 1"),
    (("candidates", "quantiles"), "quantiles", _quantiles, "shares from 0 to below 1"),
    (("candidates", "keep"), "keep", *_one_of(KEEP)),
    (("profile", "images"), "profile_images", _count, _COUNT),
    (("profile", "by"), "profile_by", *_one_of(BY)),
    (("steps",), "steps", *_one_of(STEPS)),
    (("seed",), "seed", lambda value: _count(value, 0), "a whole number of at least 0"),
)
