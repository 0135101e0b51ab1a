"""Recipes: what to train and how, in YAML.

    name: tolba_table2_case3
    cites: Tolba et al., arXiv 2105.02954, Table II
    workload: fc_64_32
    fit:                                  # layers not named keep exact weights
      fc1: {kind: linear, group: 24}
      fc2: {kind: linear, group: 4}
    fit_when: training                    # after each update, or once after the last: inference
    bits: 8                               # of a coefficient
    epochs: 30
    rounded_epochs: 0                     # of these the last so many, learnt with rounded coefficients
    batch: 64
    rate: 0.05
    schedule: cosine                      # from the rate to zero; or constant
    first_size: 1.0                       # of the first weights; 1: as large as those that are drawn
    momentum: 0.9
    decay: 0.0001                         # of each weight, times the rate, is taken away at each update
    seed: 1

A recipe and its data decide the weights: on one machine the same recipe gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simhw import shipped
from simhw.errors import RecipeError, SimhwError, did_you_mean
from simhw.reference.fitted import KINDS, grouping_fault
from simhw.workload import Workload, load_workload
from simhw.yamlfile import Document, read, show

SUFFIX = ".yaml"
WHEN = ("training", "inference")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class LayerFit:
    """How the weights of a layer are fitted; `group` is N_w, 0 where they are exact."""

    kind: str = "exact"
    group: int = 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training. `fit` has every layer of the workload, in its order."""

    name: str
    workload: Workload
    fit: Mapping[str, LayerFit]
    fit_when: str = "training"
    bits: int = 8
    epochs: int
    rounded_epochs: int = 0
    batch: int = 64
    rate: float
    schedule: str = "cosine"
    first_size: float = 1.0
    momentum: float = 0.9
    decay: float = 0.0
    seed: int = 0
    cites: str = ""
    notes: str = ""
    path: Path | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the weights, as plain data."""
        return {
            "workload": self.workload.name,
            "graph": self.workload.graph.to_dict(),
            "fit": {name: [fit.kind, fit.group] for name, fit in self.fit.items()},
            **{name: getattr(self, name) for name in _FIELDS},
        }

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step out of `steps`."""
        if self.schedule == "constant":
            return self.rate
        return self.rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return " ".join(value.split())


def _count(least: int, most: int | None = None) -> Callable[[Any], int]:
    def count(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError
        if most is not None and value > most:
            raise ValueError
        return value

    return count


def _number(least: float, below: float, least_is_taken: bool) -> Callable[[Any], float]:
    def number(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError
        if not (least <= value < below) or (value == least and not least_is_taken):
            raise ValueError
        return float(value)

    return number


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def chosen(value: Any) -> str:
        if value not in words:
            raise ValueError
        return value

    return chosen


_FIELDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "fit_when": (_one_of(WHEN), f"one of {', '.join(WHEN)}"),
    "bits": (_count(2, 16), "a whole number from 2 to 16"),
    "epochs": (_count(1), "a whole number of at least 1"),
    "rounded_epochs": (_count(0), "a whole number of at least 0"),
    "batch": (_count(1), "a whole number of at least 1"),
    "rate": (_number(0, math.inf, False), "a number above 0"),
    "schedule": (_one_of(SCHEDULES), f"one of {', '.join(SCHEDULES)}"),
    "first_size": (_number(0, math.inf, False), "a number above 0"),
    "momentum": (_number(0, 1, True), "a number of at least 0 and below 1"),
    "decay": (_number(0, 1, True), "a number of at least 0 and below 1"),
    "seed": (_count(0), "a whole number of at least 0"),
}
_WORDS = ("name", "cites", "notes", "workload")
_REQUIRED = ("name", "workload", "epochs", "rate")


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Return the recipe of a file, or of the name of one that ships; every fault of it in one raise."""
    path = shipped.find("workloads/recipes", name_or_path, SUFFIX, RecipeError)
    file = read(path, RecipeError, "a recipe")
    file.unknown_fields((), (*_WORDS, "fit", *_FIELDS))
    for name in _REQUIRED:
        if name not in file.value:
            wants = _FIELDS[name][1] if name in _FIELDS else "a name"
            file.fault((), f"{name} is missing; wants {wants}")
    values: dict[str, Any] = {}
    for name, (convert, wants) in (*dict.fromkeys(_WORDS, (_text, "words")).items(), *_FIELDS.items()):
        if name in file.value:
            try:
                values[name] = convert(file.value[name])
            except (ValueError, TypeError, OverflowError):
                file.fault((name,), f"wants {wants}, got {show(file.value[name])}")
    workload = _workload(file, values.pop("workload", None))
    fit = _fits(file, workload)
    rounded, epochs = values.get("rounded_epochs", 0), values.get("epochs")
    if rounded and values.get("fit_when") == "inference":
        file.fault(("rounded_epochs",), f"wants 0 where the fit comes after the training, got {rounded}")
    elif epochs is not None and rounded > epochs:
        file.fault(("rounded_epochs",), f"wants at most the {epochs} epochs, got {rounded}")
    file.finish()
    assert workload is not None, "a file without a fault names a workload"
    return Recipe(**values, workload=workload, fit=fit, path=path)


def _workload(file: Document, name: str | None) -> Workload | None:
    if name is None:
        return None
    beside = Path(file.file).parent / name  # a path is meant from where the recipe lies
    try:
        return load_workload(beside if beside.is_file() else name)
    except SimhwError as error:
        for fault in error.faults:
            file.fault(("workload",), fault)
        return None


def _fits(file: Document, workload: Workload | None) -> dict[str, LayerFit]:
    """Return the fit of every layer of the workload; without one, only what needs none is checked."""
    given = file.mapping(("fit",), "layers, each with its kind and group") if "fit" in file.value else {}
    shapes = {} if workload is None else workload.graph.layer_shapes(workload.input_shape)
    fits = dict.fromkeys(shapes, LayerFit())
    for layer in given:
        place = ("fit", layer)
        if workload is not None and layer not in shapes:
            file.fault(place, f"no layer has that name{did_you_mean(layer, shapes)}")
        if not isinstance(given[layer], dict):
            file.fault(place, f"wants {{kind, group}}, got {show(given[layer])}")
            continue
        file.unknown_fields(place, ("kind", "group"))
        kind, group = given[layer].get("kind"), given[layer].get("group", 0)
        if kind not in KINDS:
            file.fault((*place, "kind"), f"wants one of {', '.join(KINDS)}, got {show(kind)}")
        elif isinstance(group, bool) or not isinstance(group, int):
            file.fault((*place, "group"), f"wants a whole number, got {show(group)}")
        elif layer in shapes:
            fault = grouping_fault(shapes[layer].weight_shape, kind, group)
            if fault is not None:
                file.fault(place, fault)
            fits[layer] = LayerFit(kind, group)
    return fits
