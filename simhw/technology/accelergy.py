"""Energy reference tables that Accelergy wrote (Wu, Emer, Sze, ICCAD 2019), read as prices by path.

Two shapes are in use. Since version 0.3:

    ERT: {version: 0.4, tables: [{name: chip.PE[0..167].mac, actions: [{name, arguments, energy}]}]}

Before it, and under `energy_reference_table` in place of `ERT`:

    ERT: {version: 0.2, tables: {chip.PE.mac: {compute: {arguments: null, energy: 2.0}, …}}}

where an action may also hold a list of (arguments, energy). Energies are pJ per action.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simhw.errors import did_you_mean
from simhw.technology import fields
from simhw.technology.table import NoPrice, Price, Technology
from simhw.yamlfile import Document, Place, show

TOP_KEYS = ("ERT", "energy_reference_table")
AMONG = ("highest", "mean", "lowest")

_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the price of one of our components, or of one of its actions, is taken from."""

    component: str
    action: str | None = None
    per_bits: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ert:
    """Energies in pJ by component (indexes left out) and action; one for each set of arguments."""

    file: str
    energies: Mapping[str, Mapping[str, tuple[float, ...]]]
    map: Mapping[str, Source] = field(default_factory=dict)
    among_arguments: str = "highest"

    def price(self, component: str, action: str, spec: Mapping[str, Any]) -> Price | NoPrice:
        """Return the price of an action of one of our components, found by the map or by name."""
        mapped = self.map.get(f"{component}.{action}") or self.map.get(component)
        theirs = mapped.component if mapped else self._same_name(component)
        if isinstance(theirs, NoPrice):
            return theirs
        wanted = (mapped.action if mapped else None) or action
        if wanted == "fill" and "fill" not in self.energies[theirs]:
            wanted = "write"  # Accelergy's buffers know no zero that nobody sent
        found = self.energies[theirs].get(wanted)
        if found is None:
            known = ", ".join(sorted(self.energies[theirs]))
            return NoPrice(
                "tables",
                f"{theirs} has no action {wanted!r}, which {component} counts; known: {known}; "
                f"name the one that stands for it under map ({component}.{action}: {theirs}.…)",
            )
        energy = self._choose(found)
        how = f"{energy:g} pJ, {theirs}.{wanted}"
        if len(found) > 1:
            how += f" ({self.among_arguments} of {len(found)} sets of arguments)"
        if mapped and mapped.per_bits:
            bits = spec.get("word_bits")
            if bits is None:
                return NoPrice(
                    f"map.{component}.per_bits",
                    f"prices by the bit, and {component} has no word_bits; leave per_bits out",
                )
            energy *= bits / mapped.per_bits
            how += f", per {mapped.per_bits:g} bits x {bits:g} bits"
        return Price(energy=energy, how=how, source=f"Accelergy, {Path(self.file).name}")

    def _choose(self, energies: tuple[float, ...]) -> float:
        if self.among_arguments == "mean":
            return math.fsum(energies) / len(energies)
        return max(energies) if self.among_arguments == "highest" else min(energies)

    def _same_name(self, component: str) -> str | NoPrice:
        """Return their component whose path ends like ours, the longest common ending first."""
        ours = component.lower().split(".")[::-1]

        def shared(theirs: str) -> int:
            n = 0
            for left, right in zip(ours, theirs.lower().split(".")[::-1], strict=False):
                if left != right:
                    break
                n += 1
            return n

        ends = {name: shared(name) for name in self.energies}
        best = max(ends.values(), default=0)
        nearest = [name for name, n in ends.items() if n == best]
        if best and len(nearest) == 1:
            return nearest[0]
        if best:
            return NoPrice(
                "tables",
                f"several components could be {component}: {', '.join(sorted(nearest))}; "
                f"name one under map ({component}: …)",
            )
        names = {name.rsplit(".", 1)[-1] for name in self.energies}
        hint = did_you_mean(component.rsplit(".", 1)[-1], names)
        return NoPrice(
            "tables", f"no component is called as {component}{hint}; name one under map ({component}: …)"
        )


def is_ert(value: Any) -> bool:
    """Return whether a file's content is an energy reference table."""
    return isinstance(value, dict) and any(key in value for key in TOP_KEYS)


def technology_of(ert: Ert, *, name: str, digest: str) -> Technology:
    """Return a table that prices by this ERT and by nothing else."""
    return Technology(
        name=name, file=ert.file, digest=digest, source=f"Accelergy, {Path(ert.file).name}",
        by_path=functools.partial(_by_path, ert),
    )  # fmt: skip


def _by_path(ert: Ert, component: str, action: str, spec: Mapping[str, Any]) -> Price | NoPrice:
    return ert.price(component, action, spec)


def with_map(ert: Ert, document: Document) -> Ert:
    """Return the ERT with the `map` and `among_arguments` of the table that names it."""
    among = "highest"
    if document.at(("among_arguments",)) is not None:
        among = fields.choice(document, ("among_arguments",), AMONG)
    found: dict[str, Source] = {}
    if document.at(("map",)) is not None:
        for ours in fields.mapping(document, ("map",), "our components, each with the ERT's name for it"):
            source = _map_line(ert, document, ("map", ours))
            if source:
                found[_INDEX.sub("", ours)] = source
    return Ert(file=ert.file, energies=ert.energies, map=found, among_arguments=among)


def _map_line(ert: Ert, document: Document, place: Place) -> Source | None:
    value = document.at(place)
    per_bits = None
    if isinstance(value, dict):
        document.unknown_fields(place, ("from", "per_bits"))
        if "per_bits" in value:
            per_bits = fields.number(document, (*place, "per_bits"), above=True)
        place = (*place, "from")
        value = value.get("from")
    if not isinstance(value, str):
        document.fault(place, f"wants a component of the ERT, or component.action, got {show(value)}")
        return None
    theirs = _INDEX.sub("", value)
    if theirs in ert.energies:
        return Source(component=theirs, per_bits=per_bits)
    component, _, action = theirs.rpartition(".")
    if component in ert.energies:
        if action in ert.energies[component]:
            return Source(component=component, action=action, per_bits=per_bits)
        hint = did_you_mean(action, ert.energies[component])
        document.fault(place, f"{component} has no action {action!r} in {ert.file}{hint}")
    else:
        document.fault(place, f"{ert.file} has no component {value!r}{did_you_mean(theirs, ert.energies)}")
    return None


def read_ert(document: Document) -> Ert:
    """Read either shape, gathering faults in the document."""
    energies: dict[str, dict[str, list[float]]] = {}
    top = next((key for key in TOP_KEYS if is_ert(document.value) and key in document.value), TOP_KEYS[0])
    content = document.at((top,))
    place: Place = (top,)
    if isinstance(content, dict) and ("tables" in content or "version" in content):
        place = (top, "tables")
    tables = document.at(place)
    if isinstance(tables, list):
        for i in range(len(tables)):
            _read_component(document, (*place, i), energies)
    elif isinstance(tables, dict):
        for name in tables:
            actions = fields.mapping(document, (*place, name), "actions, each with its energy")
            for action in actions:
                _read_energies(document, (*place, name, action), energies, name, action)
    else:
        document.fault(place, f"wants a list of components with their actions, got {show(tables)}")
    if not energies and not document.is_faulty:
        document.fault(place, "has no component; wants at least one with an action and its energy")
    return Ert(
        file=document.file,
        energies={c: {a: tuple(e) for a, e in actions.items()} for c, actions in energies.items()},
    )


def _read_component(document: Document, place: Place, energies: dict[str, dict[str, list[float]]]) -> None:
    component = fields.mapping(document, place, "a component: name, actions")
    if not component:
        return
    name = fields.text(document, (*place, "name"), "the component's path")
    actions = component.get("actions")
    if not isinstance(actions, list):
        document.fault((*place, "actions"), f"wants a list of name, arguments, energy; got {show(actions)}")
        return
    for i in range(len(actions)):
        here = (*place, "actions", i)
        if fields.mapping(document, here, "an action: name, arguments, energy"):
            action = fields.text(document, (*here, "name"), "the action's name")
            _read_energies(document, here, energies, name, action)


def _read_energies(
    document: Document, place: Place, energies: dict[str, dict[str, list[float]]], name: str, action: str
) -> None:
    """Read what one action costs: an energy, or a list of them by arguments."""
    value = document.at(place)
    places = [(*place, i) for i in range(len(value))] if isinstance(value, list) else [place]
    into = energies.setdefault(_INDEX.sub("", name), {}).setdefault(action, [])
    for here in places:
        if fields.mapping(document, here, "an energy with its arguments"):
            into.append(fields.number(document, (*here, "energy")))
