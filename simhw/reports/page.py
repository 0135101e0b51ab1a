"""Results as one HTML page that opens from disk and asks the network for nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from simhw.comparison import Comparison, compare
from simhw.errors import ComparisonError, ResultError
from simhw.reports import words
from simhw.reports.drawing import machine_drawing
from simhw.reports.plots import picture, plot
from simhw.reports.table import Table, breakdown_table, comparison_table, lanes_table, layer_table
from simhw.result import Result

_FIGURES: Mapping[str, tuple[str, str]] = {
    "cycles": ("Cycles", "Where each layer's cycles went: work, and what the machine waited for."),
    "energy": ("Energy", "What each layer cost, by component."),
    "operations": (
        "Operations",
        "The layer's products in closed form, and how many of them the multipliers really did.",
    ),
    "utilization": ("Utilization", "Multiplier slots used. The line is the whole run."),
    "roofline": ("Roofline", "Each layer under the machine's two limits: its multipliers and its DRAM."),
    "timeline": (
        "Timeline",
        "What each unit did, and when; the paler, the smaller the share of the cycles under a pixel.",
    ),
}

_CSS = Path(__file__).with_name("page.css")


def page(
    results: Sequence[Result],
    labels: Sequence[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> str:
    """Return the page. Results that cannot be compared stand one after the other, with the reason."""
    if not results:
        raise ResultError("report: nothing to report; name result files")
    try:
        compared = compare(results, labels)
        groups, refusal = [compared], None
    except ComparisonError as fault:
        groups = [compare([r], [name]) for r, name in zip(results, _labels(results, labels), strict=True)]
        refusal = fault.faults
    names = list(dict.fromkeys(label for group in groups for label in group.labels))
    traces = list(dict.fromkeys(result.trace for result in results))
    title = f"{', '.join(names)} on {', '.join(traces)}"
    body = [_header(title, results)]
    if refusal:
        body += ["<h2>Not compared</h2>", *(f"<p>{escape(line)}</p>" for line in refusal)]
    for i, group in enumerate(groups):
        if len(group.results) > 1:
            body += [_section("Side by side"), _comparison(group)]
        body.append(_section("Figures" if len(groups) == 1 else f"Figures: {group.labels[0]}"))
        body.append(_figures(group, f"g{i}", progress))
        for label, result in zip(group.labels, group.results, strict=True):
            body.append(_machine(label, result))
    body.append(
        _provenance(
            list(zip(names, results, strict=False))
            if len(names) == len(results)
            else [(r.accelerator, r) for r in results]
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _labels(results: Sequence[Result], labels: Sequence[str] | None) -> list[str]:
    return list(labels) if labels is not None else [result.accelerator for result in results]


def _header(title: str, results: Sequence[Result]) -> str:
    first = results[0]
    engines = " and ".join(dict.fromkeys(result.engine for result in results))
    how = f"Cycle-level simulation, {engines} engine."
    if first.versions.get("simhw"):
        how += f" simhw {first.versions['simhw']}."
    parts = [f'<div class="mark">simhw</div><h1>{escape(title)}</h1><p class="faint">{escape(how)}</p>']
    if len(results) == 1:
        parts.append(_cards(first))
    return "\n".join(parts)


def _cards(result: Result) -> str:
    totals = result.totals
    outputs = {True: "equal to the reference", False: "differ from the reference", None: "not computed"}
    if not result.exact:
        outputs[False] = "as approximate as the machine is"
    cards = [
        (words.count(result.cycles), "cycles"),
        (words.engineering(result.seconds, "s"), f"at {result.clock_mhz:g} MHz"),
        (words.percent(totals["utilization"]), "of the multipliers' slots used"),
        (words.engineering(totals["macs"], "MAC"), "in the layers simulated"),
    ]
    if result.energy is not None:
        cards.append((words.energy(result.energy, result.energy_unit), "energy"))
    if totals["core_power_mw"] is not None:
        cards.append((words.engineering(totals["core_power_mw"] / 1e3, "W"), "core power, no DRAM"))
    if result.accuracy is not None:
        cards.append((words.percent(result.accuracy), "accuracy"))
    cards.append(
        (words.verdict(result.outputs_match, result.exact), f"outputs {outputs[result.outputs_match]}")
    )
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in cards)
    return f'<div class="cards">{shown}</div>'


def _section(title: str) -> str:
    return f"<h2>{escape(title)}</h2>"


def _comparison(group: Comparison) -> str:
    note = f'<p class="faint">Speedup is the time of {escape(group.labels[0])} over that of the column.</p>'
    rest = breakdown_table(group)
    parts = _details("Stalls by cause, bytes by memory level, energy by component", _table(rest))
    return _table(comparison_table(group)) + note + (parts if rest.rows else "")


def _figures(group: Comparison, prefix: str, progress: Callable[[int, int, str], None] | None) -> str:
    shown = []
    for i, (kind, (title, caption)) in enumerate(_FIGURES.items()):
        if progress:
            progress(i, len(_FIGURES), kind)
        if kind == "timeline" and not all(result.timeline for result in group.results):
            continue
        drawn = []
        for part in _alike(group) if kind == "energy" else [group]:
            try:
                svg = picture(plot(part, kind), "svg").decode()
            except ResultError as fault:
                drawn.append(f'<p class="faint">Not drawn: {escape(str(fault))}.</p>')
                continue
            drawn.append(f'<figure class="plot">{_inline(svg, f"{prefix}-{kind}{len(drawn)}")}</figure>')
        shown.append(f'<h3>{title}</h3><p class="faint">{escape(caption)}</p>{"".join(drawn)}')
    return "\n".join(shown)


def _alike(group: Comparison) -> list[Comparison]:
    """Return the results together where their energies are in one unit, else one by one."""
    if len({result.energy_unit for result in group.results}) == 1:
        return [group]
    return [compare([r], [name]) for name, r in zip(group.labels, group.results, strict=True)]


def _machine(label: str, result: Result) -> str:
    blocks = [_section(label)]
    drawing = machine_drawing(result)
    if drawing:
        blocks.append(f"<h3>The machine</h3><figure>{drawing}</figure>")
    blocks.append(_details("Parts and what they are built from", _table(_parts_table(result))))
    blocks.append("<h3>Layers</h3>" + _table(layer_table(result)))
    wrong = [layer.name for layer in result.layers if layer.output_matches is False]
    if wrong and result.exact:
        blocks.append(f'<p class="bad">Outputs differ from the reference: {escape(", ".join(wrong))}.</p>')
    stalls = _breakdown(result, "stall_cycles", _cycles_cell, "busy", lambda x: x["busy_cycles"])
    if stalls:
        blocks.append("<h3>Cycles by cause</h3>" + _table(stalls))
    lanes = lanes_table(result)
    if lanes:
        blocks.append("<h3>Where the cycles of lanes went</h3>" + _table(lanes))
    unit = result.energy_unit
    energy = _breakdown(
        result,
        "energy_pj",
        lambda n, _: words.energy(n, unit, bare=True),
        "all",
        lambda x: sum(x["energy_pj"].values()),
    )
    if energy:
        priced = f"Priced by {result.technology}." if result.technology else ""
        if unit != "pJ":
            priced += f" The unit is {unit}: relative, not joules."
        blocks.append(
            f"<h3>Energy by component</h3><p class='faint'>{escape(priced.strip())}</p>" + _table(energy)
        )
    if result.unpriced:
        names = ", ".join(result.unpriced)
        blocks.append(f"<p>Without a price in this technology, so not in the energy: {escape(names)}.</p>")
    blocks.append(_details("Bytes by memory level", _table(_bytes_table(result))))
    mapping = _mapping_table(result)
    if mapping.rows:
        blocks.append(_details("Mapping of each layer", _table(mapping)))
    if result.not_simulated:
        operators = ", ".join(f"{x.get('name')} ({x.get('op')})" for x in result.not_simulated)
        blocks.append(
            "<h3>Not simulated</h3><p>The machine does not have these operators. They ran in the reference "
            f"model and cost nothing here: {escape(operators)}.</p>"
        )
    return "\n".join(blocks)


def _cycles_cell(n: int, of: Mapping[str, Any]) -> str:
    """Return cycles, in the totals with their share."""
    is_total = "seconds" in of
    return f"{words.count(n)} ({words.percent(n / of['cycles'])})" if is_total and n else words.count(n)


def _breakdown(
    result: Result,
    field: str,
    cell: Callable[[Any, dict[str, Any]], str],
    first: str,
    amount: Callable[[dict[str, Any]], Any],
) -> Table | None:
    """Return a row per layer and a column per name in `field`, the largest first, after one of their own."""
    totals = result.totals
    names = sorted(totals[field], key=lambda name: -totals[field][name])
    if not names:
        return None

    def cells(name: str, x: dict[str, Any]) -> tuple[str, ...]:
        return (name, cell(amount(x), x), *(cell(x[field].get(key, 0), x) for key in names))

    layers = [(layer.name, vars(layer) | {"busy_cycles": layer.busy_cycles}) for layer in result.layers]
    return Table(
        ("layer", first, *(words.plain(name) if field == "stall_cycles" else name for name in names)),
        tuple(cells(name, x) for name, x in layers),
        cells("total", totals),
    )


def _bytes_table(result: Result) -> Table:
    totals = result.totals["bytes"]
    return Table(
        ("layer", *totals),
        tuple(
            (layer.name, *(words.engineering(layer.bytes.get(part, 0), "B") for part in totals))
            for layer in result.layers
        ),
        ("total", *(words.engineering(n, "B") for n in totals.values())),
    )


def _parts_table(result: Result) -> Table:
    return Table(
        ("part", "kind", "how many", "adders", "multipliers", "register bits", "SRAM bits", "spec"),
        tuple(
            (
                path,
                part["kind"],
                words.count(part.get("instances")),
                *(
                    words.count(result.structure.get(path, {}).get(what)) if "." not in path else ""
                    for what in ("adders", "multipliers", "register_bits", "sram_bits")
                ),
                ", ".join(f"{name} {words.setting(value)}" for name, value in part["spec"].items()),
            )
            for path, part in result.parts.items()
        ),
        left=frozenset({"kind", "spec"}),
    )


def _mapping_table(result: Result) -> Table:
    names = list(dict.fromkeys(name for layer in result.layers for name in layer.mapping))
    return Table(
        ("layer", *names),
        tuple(
            (layer.name, *(words.setting(layer.mapping.get(name, "")) for name in names))
            for layer in result.layers
            if layer.mapping
        ),
    )


def _provenance(labelled: Sequence[tuple[str, Result]]) -> str:
    blocks = [_section("Where this comes from")]
    blocks.append(
        "<p>The same files and the same simhw give the same numbers, to the last digit. To run it again:</p>"
    )
    blocks.append(f"<pre>{escape(chr(10).join(remake(result) for _, result in labelled))}</pre>")
    for label, result in labelled:
        facts = [("accelerator", result.accelerator), ("trace", result.trace), ("engine", result.engine)]
        facts += [(f"digest of {words.plain(name)}", digest) for name, digest in result.digests.items()]
        facts += [(f"version of {name}", version) for name, version in result.versions.items()]
        facts += [
            (f"option {words.plain(name)}", words.setting(value)) for name, value in result.options.items()
        ]
        table = Table(("what", "is"), tuple(facts), left=frozenset({"is"}))
        blocks.append(_details(f"{label}: digests, versions, options", _table(table)))
    return "\n".join(blocks)


def remake(result: Result) -> str:
    """Return the command that makes the result again."""
    options = result.options
    command = ["simhw", "run", result.accelerator, result.trace]
    if result.engine != "compiled":
        command += ["--engine", result.engine]
    if options.get("layers"):
        command += ["--layers", ",".join(options["layers"])]
    if isinstance(options.get("mapping"), str):
        command += ["--mapping", options["mapping"]]
    if result.technology:
        command += ["--technology", result.technology]
    if options.get("values") is False:
        command.append("--no-values")
    if options.get("closed_loop"):
        command.append("--closed-loop")
    overrides = options.get("overrides") or []
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={words.setting(value)}" for key, value in overrides.items()]
    for override in overrides:
        command += ["--set", str(override)]
    return shlex.join(command)


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str = "td") -> str:
        left = f'<{tag} class="left">'
        shown = [
            f"{left if table.is_left(i) else f'<{tag}>'}{_marked(x)}</{tag}>" for i, x in enumerate(cells)
        ]
        return f"<tr>{''.join(shown)}</tr>"

    head = f"<thead>{row(table.columns, 'th')}</thead>"
    body = f"<tbody>{''.join(map(row, table.rows))}</tbody>"
    foot = f"<tfoot>{row(table.footer)}</tfoot>" if table.footer else ""
    return f'<div class="wide"><table>{head}{body}{foot}</table></div>'


def _marked(cell: str) -> str:
    return f'<span class="bad">{cell}</span>' if cell == words.verdict(False) else escape(cell)


def _inline(svg: str, prefix: str) -> str:
    """Return a figure's SVG for use inside a page: without its prolog, its ids its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
