"""Results side by side, after asking whether they did the same work."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from simhw.errors import ComparisonError
from simhw.result import Result

OTHER_WEIGHTS = "other weights"


@dataclass(frozen=True)
class Comparison:
    """Results of one network on the same inputs, each under a label of its own; the first is the measure."""

    labels: tuple[str, ...]
    results: tuple[Result, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per result; `speedup` is the first one's seconds over this one's."""
        first = self.results[0]
        return [
            {
                "label": label,
                "accelerator": result.accelerator,
                "trace": result.trace,
                "weights": OTHER_WEIGHTS
                if _digest(result, "weights") != _digest(first, "weights")
                else "same",
                "clock_mhz": result.clock_mhz,
                "cycles": totals["cycles"],
                "seconds": totals["seconds"],
                "speedup": first.seconds / totals["seconds"] if totals["seconds"] else None,
                "utilization": totals["utilization"],
                "adders": result.built_from("adders"),
                "multipliers": result.built_from("multipliers"),
                "macs": totals["macs"],
                "macs_executed": totals["macs_executed"],
                "multiplies": totals["multiplies"],
                "adds": totals["adds"],
                "stall_cycles": totals["stall_cycles"],
                "bytes": totals["bytes"],
                "energy_unit": result.energy_unit,
                "technology": result.technology,
                "energy_pj": totals["energy_pj"],
                "total_energy_pj": totals["total_energy_pj"],
                "core_power_mw": totals["core_power_mw"],
                "accuracy": result.accuracy,
                "outputs_match": result.outputs_match,
            }
            for label, result in zip(self.labels, self.results, strict=True)
            for totals in [result.totals]
        ]

    def by_layer(self) -> list[dict[str, Any]]:
        """Return a row per layer: cycles, seconds, energy and MACs executed of each result, by its label.

        `speedup` and `energy_reduction` are the first result's over each; None where there is nothing to
        divide by, or energies are in two units.
        """
        first = self.results[0]
        rows: list[dict[str, Any]] = []
        for number, layer in enumerate(first.layers):
            row: dict[str, Any] = {"layer": layer.name, "kind": layer.kind, "macs": layer.macs, "of": {}}
            base = math.fsum(layer.energy_pj.values())
            for label, result in zip(self.labels, self.results, strict=True):
                own = result.layers[number]
                energy = math.fsum(own.energy_pj.values())
                alike = result.energy_unit == first.energy_unit
                time = own.cycles / result.clock_mhz
                row["of"][label] = {
                    "cycles": own.cycles,
                    "macs_executed": own.macs_executed,
                    "energy_pj": energy,
                    "speedup": layer.cycles / first.clock_mhz / time if time else None,
                    "energy_reduction": base / energy if energy and alike else None,
                }
            rows.append(row)
        return rows

    def to_dict(self, causes: bool = False, by_layer: bool = False) -> dict[str, Any]:
        """Return plain data as docs/results.md describes it; with the `causes` of speedups and by layer."""
        found: dict[str, Any] = {"schema": 1, "rows": self.rows()}
        if by_layer:
            found["layers"] = self.by_layer()
        if causes:
            found["causes"] = {
                label: [
                    {"of": cause.of, "cause": cause.name, "factor": cause.factor}
                    for cause in speedup_causes(self.results[0], result)
                ]
                for label, result in zip(self.labels[1:], self.results[1:], strict=True)
            }
        return found

    def differences(self) -> list[str]:
        """Return what a strict comparison objects to: other weights, outputs that are not the reference's."""
        rows = self.rows()
        found = [
            f"{row['label']}: ran {OTHER_WEIGHTS} than {self.labels[0]}"
            for row in rows
            if row["weights"] == OTHER_WEIGHTS
        ]
        found += [
            f"{r['label']}: its outputs differ from the reference"
            for r in rows
            if r["outputs_match"] is False
        ]
        found += [
            f"{row['label']}: its outputs were not looked at (a run without values)"
            for row in rows
            if row["outputs_match"] is None
        ]
        return found


@dataclass(frozen=True)
class Cause:
    """By what one cause multiplies a speedup; `of` says whose it is: "first", "both" or "other"."""

    of: str
    name: str
    factor: float


def multiplier_cycles(result: Result, layers: Collection[str] | None = None) -> dict[str, int]:
    """Return the cycles of all multipliers by what became of them: `busy`, or why not.

    They add up to multipliers times cycles. `layers` are all, if not given.
    """
    roles = {role for role, built in result.structure.items() if built.get("multipliers")}
    found: Counter[str] = Counter()
    for layer in result.layers:
        if layers is not None and layer.name not in layers:
            continue
        for key, n in layer.activity.items():
            unit, _, what = key.rpartition(".")
            if re.split(r"[.\[]", unit, maxsplit=1)[0] in roles:
                found[what] += n
    return {"busy": found.pop("busy", 0)} | dict(found.most_common())


def speedup_causes(first: Result, other: Result, layers: Collection[str] | None = None) -> list[Cause]:
    """Return factors that multiply to the speedup of `other` over `first`.

    A machine whose multipliers are busy in B of S cycles is S / B times slower than if they always were.
    A cause that takes n of the S - B cycles has the factor (S / B) ** (n / (S - B)) of that: equal causes
    have equal factors, in whatever order. What the first loses speeds the other up, what the other loses
    slows it down, and between them stand the products that one takes and the other does not, and
    multipliers and clocks.

    That each cause has its share of the logarithm is a convention: it says how a difference divides, not
    what would come of removing one cause, since what one frees others may take. That is measured by
    running the machine without it.
    """
    ours, theirs = multiplier_cycles(first, layers), multiplier_cycles(other, layers)
    causes = [Cause("first", name, factor) for name, factor in _growth(ours)]
    causes.append(Cause("both", "products", ours["busy"] / theirs["busy"]))
    peaks = [result.built_from("multipliers") * result.clock_mhz for result in (first, other)]
    causes.append(Cause("both", "multipliers and clock", peaks[1] / peaks[0]))
    return causes + [Cause("other", name, 1 / factor) for name, factor in _growth(theirs)]


def _growth(cycles: dict[str, int]) -> Iterator[tuple[str, float]]:
    busy, whole = cycles["busy"], sum(cycles.values())
    for name, n in cycles.items():
        if name != "busy":
            yield name, (whole / busy) ** (n / (whole - busy))


def compare(results: Sequence[Result], labels: Sequence[str] | None = None) -> Comparison:
    """Return results side by side; ComparisonError if they are not of one network and the same inputs.

    Results with other weights compare, and are labelled so.
    """
    if not results:
        raise ComparisonError("compare: nothing to compare; name accelerators or result files")
    names = _distinct(labels if labels is not None else [result.accelerator for result in results])
    first = results[0]
    faults = []
    for name, result in zip(names[1:], results[1:], strict=True):
        reason = _why_not(names[0], first, result)
        if reason:
            faults.append(f"{name}: cannot be compared with {names[0]}: {reason}")
    if faults:
        raise ComparisonError(faults)
    return Comparison(tuple(names), tuple(results))


def _why_not(first_name: str, first: Result, other: Result) -> str | None:
    for kind, what in (("network", "another network"), ("inputs", "other inputs")):
        ours, theirs = _digest(first, kind), _digest(other, kind)
        if not ours or not theirs:
            return f"a result says nothing of its {kind} (digests.{kind} is missing); run it again"
        if ours != theirs:
            return (
                f"it ran {what} ({other.trace}, digest {theirs[:8]}, against {first.trace}, {ours[:8]}); "
                "run both on one trace"
            )
    ours, theirs = [x.name for x in first.layers], [x.name for x in other.layers]
    if ours != theirs:
        which = f"it ran layers {_listed(theirs)}, {first_name} ran {_listed(ours)}"
        return f"{which}; run both with the same --layers"
    return None


def _digest(result: Result, kind: str) -> str | None:
    return result.digests.get(kind)


def _listed(names: Sequence[str]) -> str:
    return (
        ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])} … {names[-1]} ({len(names)} layers)"
    )


def _distinct(labels: Sequence[str]) -> list[str]:
    """Number the labels that occur more than once: eyeriss, eyeriss (2)."""
    seen: Counter[str] = Counter()
    named = []
    for label in labels:
        seen[label] += 1
        named.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return named
