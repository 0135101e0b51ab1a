"""Counts times a technology table is energy. Nothing else computes energy.

Plain data in, plain data out: counts under `instance.action`, and per component a kind and a spec.
Sums are `math.fsum`, the correctly rounded sum of what is listed, so that a total equals
`math.fsum` of its parts to the last bit, whatever their order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simhw.errors import ResultError, TechnologyError, did_you_mean
from simhw.technology import NoPrice, Price, Technology

_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, kw_only=True)
class Priced:
    """What counts cost: energy per component in `energy_unit`, indexes of grids left out.

    `total` is `math.fsum(energy.values())`. `unpriced` and `free` list the counts that added
    nothing, for want of a price or because the table says so with a reason. `prices` says for every
    `component.action` how its price came about.
    """

    energy: dict[str, float]
    total: float
    energy_unit: str
    unpriced: dict[str, int] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    prices: dict[str, Price] = field(default_factory=dict)


def price(
    counts: Mapping[str, int],
    parts: Mapping[str, Mapping[str, Any]],
    table: Technology,
    *,
    strict: bool = True,
) -> Priced:
    """Price counts keyed "pes[2,3].filter_spad.read" or, summed before, "pes.filter_spad.read".

    `parts` gives {"kind", "spec"} per component, by path without indexes; an entry under an
    instance's own path wins over it. With `strict` an action that the table neither prices nor
    names free is an error; without, it is listed.
    """
    return Pricer(parts, table).price(counts, strict=strict)


def areas_um2(parts: Mapping[str, Mapping[str, Any]], table: Technology) -> dict[str, float]:
    """Return the area of all instances of each part that the table has an area for."""
    found = {path: table.area_um2(part["kind"], part["spec"]) for path, part in parts.items()}
    return {path: area * parts[path]["instances"] for path, area in found.items() if area is not None}


def unpriced(actions: Iterable[str], parts: Mapping[str, Mapping[str, Any]], table: Technology) -> list[str]:
    """Return a message for each action the table has no price for; to ask before anything is run."""
    pricer = Pricer(parts, table)
    return pricer.faults(dict.fromkeys(pricer.place(action) for action in actions))


def price_layers(
    layers: Sequence[Mapping[str, int]],
    parts: Mapping[str, Mapping[str, Any]],
    table: Technology,
    *,
    strict: bool = True,
) -> list[Priced]:
    """Price the counts of each layer; what is missing in the table is reported for all at once."""
    pricer = Pricer(parts, table)
    if strict:
        pricer.refuse_unpriced(key for counts in layers for key in counts)
    return [pricer.price(counts, strict=False) for counts in layers]


def sum_unpriced(priced: Iterable[Priced]) -> dict[str, int]:
    """Return what had no price, summed over layers."""
    missing: dict[str, int] = {}
    for layer in priced:
        for name, n in layer.unpriced.items():
            missing[name] = missing.get(name, 0) + n
    return missing


def reprice(result: Mapping[str, Any], table: Technology, *, strict: bool = True) -> dict[str, Any]:
    """Return a result, plain data as in its file, with its energies worked out by another table.

    Nothing is run again. Replaced are `energy_pj` of each layer; in `totals`, `energy_pj` (fsum over
    the layers), `total_energy_pj` (fsum over the parts) and `core_power_mw` (null unless in pJ); at
    the top `technology`, `energy_unit`, `unpriced`. `digests.result`, that of the old content, goes.
    """
    parts, layers = _checked(result)
    priced = price_layers([layer["actions"] for layer in layers], parts, table, strict=strict)
    components = dict.fromkeys(name for layer in priced for name in layer.energy)
    energy = {name: math.fsum(layer.energy.get(name, 0.0) for layer in priced) for name in components}
    totals = dict(result.get("totals") or {}) | {
        "energy_pj": energy,
        "total_energy_pj": math.fsum(energy.values()) if energy else None,
    }
    if "core_power_mw" in totals:
        totals["core_power_mw"] = _core_power_mw(totals.get("seconds"), priced, parts)
    digests = {k: v for k, v in (result.get("digests") or {}).items() if k != "result"}
    return dict(result) | {
        "layers": [
            dict(layer) | {"energy_pj": new.energy} for layer, new in zip(layers, priced, strict=True)
        ],
        "totals": totals,
        "technology": table.name,
        "energy_unit": table.energy_unit,
        "unpriced": sum_unpriced(priced),
        "digests": digests | {"technology": table.digest},
    }


def _core_power_mw(
    seconds: float | None, priced: Sequence[Priced], parts: Mapping[str, Mapping[str, Any]]
) -> float | None:
    """Return average power without DRAM; None where energy is not in pJ or no time passed."""
    if not seconds or any(layer.energy_unit != "pJ" for layer in priced):
        return None
    off_chip = {role for role, part in parts.items() if str(part["kind"]).startswith("dram")}
    on_chip = (
        pj for layer in priced for name, pj in layer.energy.items() if name.split(".")[0] not in off_chip
    )
    return math.fsum(on_chip) * 1e-9 / seconds


Place = tuple[str, str, str]
"""Component without indexes, the name under which `parts` knows it, action."""


@dataclass(frozen=True)
class _Asked:
    """What the counts under some names cost, without the counts."""

    places: Sequence[Place]
    costs: Mapping[str, Sequence[tuple[float, Sequence[str]]]]  # by component: energy of one, and of which
    missing: Mapping[str, Sequence[str]]  # component.action, and which counts
    free: Mapping[str, Sequence[str]]
    prices: Mapping[str, Price]


class Pricer:
    """Prices the counts of one machine; each price is worked out once, however many instances count."""

    def __init__(self, parts: Mapping[str, Mapping[str, Any]], table: Technology) -> None:
        self.parts = parts
        self.table = table
        self._has_instances = any("[" in name for name in parts)
        self._places: dict[str, Place] = {}
        self._prices: dict[Place, Price | NoPrice] = {}
        self._asked: dict[tuple[str, ...], _Asked] = {}

    def price(self, counts: Mapping[str, int], *, strict: bool = True) -> Priced:
        """Price counts as the function `price` does."""
        keys = tuple(counts)
        asked = self._asked.get(keys)
        if asked is None:
            asked = self._asked[keys] = self._ask(keys)
        if strict:
            self._raise(self.faults(asked.places))

        def count(keys: Sequence[str]) -> int:
            return counts[keys[0]] if len(keys) == 1 else sum(counts[key] for key in keys)

        energy = {
            component: math.fsum([count(of) * cost for cost, of in costs])
            for component, costs in asked.costs.items()
        }
        return Priced(
            energy=energy,
            total=math.fsum(energy.values()),
            energy_unit=self.table.energy_unit,
            unpriced={name: count(of) for name, of in asked.missing.items()},
            free={name: count(of) for name, of in asked.free.items()},
            prices=dict(asked.prices),
        )

    def _ask(self, keys: Iterable[str]) -> _Asked:
        """Return the price of every place among the keys, in order, and which keys count there."""
        by_place: dict[Place, list[str]] = {}
        for key in keys:
            by_place.setdefault(self._places.get(key) or self.place(key), []).append(key)
        places = sorted(by_place)
        costs: dict[str, list[tuple[float, list[str]]]] = {}
        missing: dict[str, list[str]] = {}
        free: dict[str, list[str]] = {}
        prices: dict[str, Price] = {}
        for place in places:
            (component, _, action), of = place, by_place[place]
            name, cost = f"{component}.{action}", self._price_of(place)
            if isinstance(cost, NoPrice):
                missing.setdefault(name, []).extend(of)
                continue
            prices[name] = cost
            costs.setdefault(component, []).append((cost.energy, of))
            if cost.status == "free":
                free.setdefault(name, []).extend(of)
        return _Asked(places, costs, missing, free, prices)

    def place(self, key: str) -> Place:
        """Return where a count belongs: "pes[2,3].mac.mul" to component pes.mac, action mul."""
        instance, _, action = key.rpartition(".")
        component = _INDEX.sub("", instance) if "[" in instance else instance
        part = instance if self._has_instances and instance in self.parts else component
        if part not in self.parts and self.table.by_path is None:
            raise ResultError(
                f"parts: has no {component!r}, which {key} counts{did_you_mean(component, self.parts)}"
            )
        place = self._places[key] = (component, part, action)
        return place

    def refuse_unpriced(self, keys: Iterable[str]) -> None:
        """Raise one error for every action among `keys` that the table has no price for."""
        self._raise(self.faults(dict.fromkeys(self._places.get(key) or self.place(key) for key in keys)))

    def faults(self, places: Iterable[Place]) -> list[str]:
        """Return one line for each thing missing in the table."""
        costs = [self._price_of(place) for place in sorted(places)]
        missing = [cost for cost in costs if isinstance(cost, NoPrice)]
        return list(dict.fromkeys(f"{self.table.file}: {cost.place}: {cost.why}" for cost in missing))

    def _raise(self, faults: list[str]) -> None:
        if faults:
            raise TechnologyError(faults)

    def _price_of(self, place: Place) -> Price | NoPrice:
        found = self._prices.get(place)
        if found is None:
            component, name, action = place
            part = self.parts.get(name, {})
            found = self.table.price(component, str(part.get("kind", "")), action, part.get("spec") or {})
            self._prices[place] = found
        return found


def _checked(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return the parts and layers of a result, with every fault in one raise."""
    faults: list[str] = []
    parts, layers = result.get("parts"), result.get("layers")
    if not isinstance(parts, Mapping):
        faults.append("parts: is missing; wants kind and spec per component, as a run writes them")
        parts = {}
    for name, part in parts.items():
        if not isinstance(part, Mapping) or "kind" not in part:
            faults.append(f"parts.{name}: has no kind; wants kind and spec")
            continue
        spec = part.get("spec", {})
        if not isinstance(spec, Mapping):
            faults.append(f"parts.{name}.spec: wants the fields of the component, got {spec!r}")
            continue
        for size in ("word_bits", "words", "size_kib"):
            if size in spec and (not isinstance(spec[size], int | float) or not 0 < spec[size] < math.inf):
                faults.append(f"parts.{name}.spec.{size}: wants a number above 0, got {spec[size]!r}")
    if not isinstance(layers, list):
        faults.append("layers: is missing; wants a list of layers, each with its actions")
        layers = []
    for i, layer in enumerate(layers):
        actions = layer.get("actions") if isinstance(layer, Mapping) else None
        if not isinstance(actions, Mapping):
            faults.append(f"layers[{i}].actions: is missing; wants counts by instance.action")
            continue
        wrong = [key for key, n in actions.items() if type(n) is not int or n < 0]
        if wrong:
            place = f"layers[{i}].actions.{wrong[0]}"
            faults.append(f"{place}: wants a whole number of at least 0, got {actions[wrong[0]]!r}")
    if faults:
        raise ResultError(faults)
    return parts, layers
