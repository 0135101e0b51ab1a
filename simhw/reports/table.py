"""Results as tables of text."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simhw.comparison import Comparison, speedup_causes
from simhw.reports import words
from simhw.result import Result


@dataclass(frozen=True)
class Table:
    """Cells ready to be read; the first column is aligned left, the others right unless `left` names them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[str, ...] | None = None
    left: frozenset[str] = frozenset()

    def text(self) -> str:
        """Return the table in columns of even width, a rule under its head and above its foot."""
        lines = [self.columns, *self.rows, *([self.footer] if self.footer else [])]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        body = [self._line(row, widths) for row in self.rows]
        foot = [rule, self._line(self.footer, widths)] if self.footer else []
        return "\n".join([self._line(self.columns, widths), rule, *body, *foot])

    def is_left(self, column: int) -> bool:
        return column == 0 or self.columns[column] in self.left

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        aligned = [
            cell.ljust(width) if self.is_left(i) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()


def layer_table(result: Result) -> Table:
    """Return a row per layer and the totals."""
    totals = result.totals
    off_chip = [part for part in totals["bytes"] if result.is_off_chip(part)]
    unit = result.energy_unit

    def cells(name: str, x: dict[str, Any], matches: bool | None) -> tuple[str, ...]:
        error = x.get("output_error")
        energy = sum(x["energy_pj"].values()) if x["energy_pj"] else None
        return (
            name,
            words.count(x["cycles"]),
            words.engineering(result.seconds_of(x["cycles"]), "s"),
            words.percent(sum(x["stall_cycles"].values()) / x["cycles"] if x["cycles"] else 0.0),
            words.percent(x["utilization"]),
            words.count(x["macs"]),
            words.count(x["multiplies"]),
            words.engineering(sum(x["bytes"].get(part, 0) for part in off_chip), "B"),
            words.energy(energy, unit),
            words.verdict(matches, result.exact, error),
        )

    return Table(
        (
            "layer",
            "cycles",
            "time",
            "stalled",
            "utilization",
            "MACs",
            "multiplied",
            "DRAM",
            "energy",
            "output",
        ),
        tuple(cells(layer.name, vars(layer), layer.output_matches) for layer in result.layers),
        cells("total", totals, result.outputs_match),
    )


def result_text(result: Result, images: int | None = None) -> str:
    """Return everything `simhw run` says about a result; `images` is how many its accuracy is over."""
    totals = result.totals
    lines = [
        f"{result.accelerator} on {result.trace}, {result.engine} engine, {result.clock_mhz:g} MHz",
        "",
        layer_table(result).text(),
        "",
    ]
    stopping = _stopping(result)
    if stopping:
        lines.append(f"sums stopped early: {stopping}")
    stalls = {words.plain(cause): n for cause, n in totals["stall_cycles"].items()}
    if sum(stalls.values()):
        lines.append(f"stalls: {words.listed(stalls, totals['cycles'])} of all cycles")
    lanes = lane_cycles(result)
    if lanes:
        spent: dict[str, float] = {
            words.plain(cause): sum(own[cause] for own in lanes.values()) for cause in _causes(lanes)
        }
        lines.append(f"cycles of lanes: {words.listed(spent, sum(spent.values()))}")
    if totals["total_energy_pj"]:
        shares = words.listed(totals["energy_pj"], totals["total_energy_pj"])
        lines.append(f"energy: {shares} (technology {result.technology})")
    if totals["core_power_mw"] is not None:
        lines.append(f"core power, without DRAM: {words.engineering(totals['core_power_mw'] / 1e3, 'W')}")
    if result.accuracy is not None:
        of = "" if images is None else f" of {images:,} image{'s' if images != 1 else ''}"
        lines.append(f"accuracy: {words.percent(result.accuracy)}{of}")
    if result.unpriced:
        lines.append(f"without a price, so not in the energy: {', '.join(result.unpriced)}")
    if result.not_simulated:
        lines.append(f"not simulated, run in the reference model at no cost: {_operators(result)}")
    return "\n".join(lines).rstrip()


def lane_cycles(result: Result) -> dict[str, dict[str, int]]:
    """Return by layer where the cycles of a machine's lanes went: to products, or lost to a cause.

    Empty for machines that book no such thing.
    """
    lost = {layer.name: layer.details.get("lost_lane_cycles") for layer in result.layers}
    if not all(lost.values()):
        return {}
    return {
        layer.name: {"products": layer.macs_executed, **layer.details["lost_lane_cycles"]}
        for layer in result.layers
    }


def lanes_table(result: Result) -> Table | None:
    """Return a row for each layer with the shares of `lane_cycles`, the largest cause first."""
    lanes = lane_cycles(result)
    if not lanes:
        return None
    causes = _causes(lanes)

    def cells(name: str, own: dict[str, int]) -> tuple[str, ...]:
        whole = sum(own.values())
        return (
            name,
            words.count(whole),
            *(_share(own[cause], whole) if own[cause] else "–" for cause in causes),
        )

    total = {cause: sum(own[cause] for own in lanes.values()) for cause in causes}
    return Table(
        ("layer", "cycles of lanes", *map(words.plain, causes)),
        tuple(cells(name, own) for name, own in lanes.items()),
        cells("total", total),
    )


def _causes(lanes: dict[str, dict[str, int]]) -> list[str]:
    """Return products, then what cost any cycles, the largest first."""
    total = {cause: sum(own[cause] for own in lanes.values()) for cause in next(iter(lanes.values()))}
    lost = sorted((cause for cause in total if cause != "products"), key=lambda cause: -total[cause])
    return ["products", *(cause for cause in lost if total[cause])]


NO_RELU = "no ReLU follows"


def _stopping(result: Result) -> str:
    """Return which layers of a machine that stops sums early did so, and why the others did not."""
    found: dict[str, list[str]] = {}
    for layer in result.layers:
        if "termination" in layer.details:
            found.setdefault(layer.details["termination"], []).append(layer.name)
    if found and all(how.startswith("off") for how in found):
        reasons = [how.removeprefix("off: ") for how in found]
        nowhere = "nowhere, there is nothing to terminate" if reasons == [NO_RELU] else "nowhere"
        return f"{nowhere} ({'; '.join(reasons)})"
    return "; ".join(f"{how} ({_few(names)})" for how, names in found.items())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} layers"


def _operators(result: Result) -> str:
    """Return the operators that were not simulated, by name; where they are many, how many of each."""
    if len(result.not_simulated) <= 8:
        return ", ".join(f"{x['name']} ({x['op']})" for x in result.not_simulated)
    kinds = Counter(x["op"] for x in result.not_simulated)
    return ", ".join(f"{n} {op}" for op, n in kinds.most_common())


def comparison_table(comparison: Comparison) -> Table:
    """Return a column per result and a row per quantity; quantities that no result has are left out."""
    rows = comparison.rows()
    units = {row["energy_unit"] for row in rows}
    energy_name, bare = _energy_name(units)
    lines = _Lines(comparison.labels)
    if len({row["trace"] for row in rows}) > 1:
        lines.add("trace", [row["trace"] for row in rows])
    if any(row["weights"] != "same" for row in rows):
        lines.add("weights", [row["weights"] for row in rows])
    loops = ["closed" if result.options.get("closed_loop") else "open" for result in comparison.results]
    if len(set(loops)) > 1:  # one machine's layers read what it made before, another's what the reference did
        lines.add("loop", loops)
    lines.add("clock", [f"{row['clock_mhz']:g} MHz" for row in rows])
    lines.add("cycles", [words.count(row["cycles"]) for row in rows])
    lines.add("time", [words.engineering(row["seconds"], "s") for row in rows])
    lines.add("speedup", ["–" if row["speedup"] is None else f"{row['speedup']:.2f} x" for row in rows])
    lines.add("utilization", [words.percent(row["utilization"]) for row in rows])
    stalled = [_share(sum(row["stall_cycles"].values()), row["cycles"]) for row in rows]
    lines.add("stalled", stalled)
    names = {"macs": "MACs of the layers", "macs_executed": "MACs executed"}
    for what in ("adders", "multipliers", "macs", "macs_executed", "multiplies", "adds"):
        lines.add(names.get(what, what), [words.count(row[what]) for row in rows])
    lines.add(energy_name, [words.energy(row["total_energy_pj"], row["energy_unit"], bare) for row in rows])
    if len({row["technology"] for row in rows}) > 1:
        lines.add("priced by", [row["technology"] or "–" for row in rows])
    powers = [row["core_power_mw"] for row in rows]
    lines.add("core power, no DRAM", ["–" if x is None else words.engineering(x / 1e3, "W") for x in powers])
    lines.add("accuracy", [words.percent(row["accuracy"]) for row in rows])
    exact = [result.exact for result in comparison.results]
    lines.add("outputs", [words.verdict(r["outputs_match"], e) for r, e in zip(rows, exact, strict=True)])
    return lines.table()


def breakdown_table(comparison: Comparison) -> Table:
    """Return a column per result: stalls by cause, bytes by memory level, energy by component."""
    rows = comparison.rows()
    energy_name, bare = _energy_name({row["energy_unit"] for row in rows})
    lines = _Lines(comparison.labels)
    for cause in _keys(rows, "stall_cycles"):
        shares = [_share(row["stall_cycles"].get(cause), row["cycles"]) for row in rows]
        lines.add(f"stalled: {words.plain(cause)}", shares)
    for part in _keys(rows, "bytes"):
        lines.add(f"bytes: {part}", [words.engineering(row["bytes"].get(part), "B") for row in rows])
    for part in _keys(rows, "energy_pj"):
        amounts = [(row["energy_pj"].get(part), row["energy_unit"]) for row in rows]
        lines.add(f"{energy_name}: {part}", [words.energy(amount, unit, bare) for amount, unit in amounts])
    return lines.table()


def by_layer_table(comparison: Comparison) -> Table:
    """Return a row per layer: the first result's cycles, and of the others cycles, speedup and energy."""
    first, *others = comparison.labels
    columns = ["layer", f"cycles: {first}"]
    for label in others:
        columns += [f"cycles: {label}", "speedup", "energy reduction"]
    rows: list[tuple[str, ...]] = []
    for row in comparison.by_layer():
        cells = [row["layer"], words.count(row["of"][first]["cycles"])]
        for label in others:
            own = row["of"][label]
            cells.append(words.count(own["cycles"]))
            cells += ["–" if own[x] is None else f"{own[x]:.2f} x" for x in ("speedup", "energy_reduction")]
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows))


CAUSES_NOTE = (
    "each cause has its share of the logarithm, by convention; what is gained without one is measured by "
    "running without it"
)


def causes_tables(comparison: Comparison) -> list[Table]:
    """Return, for each result but the first, what multiplies to its speedup."""
    first, *others = comparison.results
    tables: list[Table] = []
    for label, other in zip(comparison.labels[1:], others, strict=True):
        owners = {"first": comparison.labels[0], "other": label, "both": "both"}
        causes = speedup_causes(first, other)
        rows = [(owners[c.of], words.plain(c.name), f"{c.factor:.3f}") for c in causes]
        product = f"{math.prod(c.factor for c in causes):.3f}"
        tables.append(
            Table(
                (f"speedup of {label}", "cause", "times"), tuple(rows), ("product", "", product),
                frozenset({"cause"}),
            )
        )  # fmt: skip
    return tables


class _Lines:
    """Rows of a table under one column per result; a row of nothing but zeros and gaps is dropped."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.rows: list[tuple[str, ...]] = []

    def add(self, name: str, cells: Sequence[str]) -> None:
        if any(cell not in ("–", "0", "0 J", "0 B") for cell in cells):
            self.rows.append((name, *cells))

    def table(self) -> Table:
        return Table(("", *self.labels), tuple(self.rows))


def _energy_name(units: set[str | None]) -> tuple[str, bool]:
    """Return what to call energies, and whether their cells can do without the unit."""
    [unit] = units if len(units) == 1 else [None]
    return ("energy", False) if unit in (None, "pJ") else (f"energy, {unit}", True)


def item_table(items: Sequence[dict[str, Any]]) -> Table:
    """Return what a paper prints beside what was simulated; `items` as `reproduce --json` gives them.

    Reasons stand under the table, in `item_notes`; the last column says which.
    """
    notes = _notes(items)
    return Table(
        ("item", "printed", "simulated", "unit", "difference", "accepted", "verdict", "note"),
        tuple(
            (
                item["id"],
                _number(item["printed"]),
                _number(item["simulated"]),
                item["unit"],
                _difference(item),
                _accepted(item),
                "no mark" if item["verdict"] == "differs" and item["tolerance"] is None else item["verdict"],
                str(notes.index(item["why"]) + 1) if item["why"] else "",
            )
            for item in items
        ),
        left=frozenset({"unit", "verdict"}),
    )


def item_notes(items: Sequence[dict[str, Any]], width: int = 100) -> str:
    """Return the items' reasons, each once, numbered as `item_table` does."""
    return "\n".join(
        textwrap.fill(why, width, initial_indent=f"{n:>3}  ", subsequent_indent=" " * 5)
        for n, why in enumerate(_notes(items), start=1)
    )


def _notes(items: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(item["why"] for item in items if item["why"]))


def listing(rows: Sequence[dict[str, Any]]) -> Table:
    """Return plain rows under the union of their keys; columns of numbers are aligned right."""
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    texts = frozenset(c for c in columns if any(isinstance(row.get(c), str) for row in rows))
    return Table(columns, tuple(tuple(_cell(row.get(c, "")) for c in columns) for row in rows), left=texts)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return words.count(value) if type(value) is int else words.setting(value)


def _keys(rows: Sequence[dict[str, Any]], field: str) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row[field]))


def _share(part: int | None, whole: int) -> str:
    return "–" if part is None else words.percent(part / whole if whole else 0.0)


def _accepted(item: dict[str, Any]) -> str:
    tolerance, printed = item["tolerance"], item["printed"]
    if tolerance is None:
        return "–"
    if not tolerance:
        return "exact"
    if item["unit"] == "%" and printed is not None:
        points = f"{tolerance * abs(printed):.2g}"
        return f"{points} point" if points == "1" else f"{points} points"
    return f"{100 * tolerance:.3g} %"


def _number(value: float | None) -> str:
    """Return whole numbers whole, and others of four digits, or one after the point."""
    if value is None:
        return "–"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _difference(item: dict[str, Any]) -> str:
    """Return how far off the simulated value is: per cents of the printed one, of per cents in points."""
    printed, simulated = item["printed"], item["simulated"]
    if printed is None or simulated is None:
        return "–"
    if item["unit"] == "%":
        return f"{simulated - printed:+.2f} points"
    return "–" if printed == 0 else f"{100 * (simulated / printed - 1):+.1f} %"
