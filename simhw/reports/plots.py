"""Results as figures. Nothing here runs a simulation, and no other module knows matplotlib."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from simhw.comparison import Comparison, compare
from simhw.errors import ResultError, did_you_mean
from simhw.files import write_file
from simhw.reports import words
from simhw.reports.timeline import Placed, placed_spans
from simhw.result import LayerResult, Result

FORMATS = ("png", "svg", "pdf")
INK, FAINT, GRID, TRACK = "#1f2933", "#7b8794", "#e4e7eb", "#f1f3f5"
WORK = "#2f5d8a"
COLOURS = (
    WORK, "#e0954a", "#6aa38c", "#8d7bab", "#cdb75c", "#63aecb", "#a97c6b", "#9aa5b1", "#d491b5", "#4f6d4f",
    "#6b6ecf", "#c7bfa8",
)  # fmt: skip
NOTHING = "#d5dae0"
MOST_PARTS = 18  # of a machine's energy, one below the other in a legend that can still be read
DIGITS = "0123456789"
# what means the same in every figure keeps its colour
OWN_COLOURS = {
    "busy": WORK,
    "multiplied": WORK,
    "dram": "#b8505f",
    "not executed": NOTHING,
    "other": "#9aa5b1",
}
STRIP_PIXELS = 1600

Floats = NDArray[np.float64]

_STYLE: Any = {  # Any: matplotlib's own type lists the names of its settings
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a user's name is a $
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "simhw",
    "pdf.fonttype": 42,
}


def plot(
    results: Result | Sequence[Result] | Comparison, kind: str = "cycles", file: str | Path | None = None
) -> Figure:
    """Return a figure of results of one network on the same inputs; write it to `file` as well, if given.

    `kind` is one of KINDS; the file's ending, png, svg or pdf, chooses its format.
    """
    if kind not in KINDS:
        raise ResultError(f"plot: unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    if file is not None:
        format_of(file)
    compared = results
    if not isinstance(compared, Comparison):
        compared = compare([compared] if isinstance(compared, Result) else compared)
    with drawn_in_style():
        figure = KINDS[kind](compared)
        FigureCanvasAgg(figure)
    if file is not None:
        write_file(file, picture(figure, format_of(file)), ResultError)
    return figure


def picture(figure: Figure, format: str) -> bytes:
    """Return a figure as the bytes of a file; the same figure gives the same bytes."""
    out = io.BytesIO()
    dates = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    with drawn_in_style():
        figure.savefig(out, format=format, dpi=160, metadata=dates[format])
    return out.getvalue()


def format_of(file: str | Path) -> str:
    ending = Path(file).suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        raise ResultError(f"{file}: wants a name that ends in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}")
    return ending


@contextmanager
def drawn_in_style() -> Iterator[None]:
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # a user's own matplotlibrc or missing glyphs are no business of whoever reads the figure
        warnings.filterwarnings("ignore", category=UserWarning, module="matplotlib")
        yield


def _cycles(compared: Comparison) -> Figure:
    causes = _ordered(compared, lambda layer: layer.stall_cycles)

    def parts(layer: LayerResult) -> dict[str, float]:
        stalls: dict[str, float] = {words.plain(cause): layer.stall_cycles.get(cause, 0) for cause in causes}
        return {"busy": layer.busy_cycles, **stalls}

    return _stacked(
        compared,
        parts,
        "cycles",
        lambda result: f"{words.count(result.cycles)} cycles, {words.engineering(result.seconds, 's')}",
    )


def _energy(compared: Comparison) -> Figure:
    units = {result.energy_unit for result in compared.results}
    if None in units:
        raise ResultError(
            "a result has no energy: its description names no technology; name one and run again"
        )
    if len(units) > 1:
        raise ResultError(
            f"the results' energies are in different units ({', '.join(sorted(map(str, units)))}); "
            "run them with the same --technology"
        )
    [unit] = units
    numbered = _numbered(compared)
    names = _ordered(compared, lambda layer: _energy_of_parts(layer, numbered))
    shown = names if len(names) <= MOST_PARTS else names[: MOST_PARTS - 1]

    def parts(layer: LayerResult) -> dict[str, float]:
        energy = _energy_of_parts(layer, numbered)
        rest = sum(pj for name, pj in energy.items() if name not in shown)
        amounts = {name: energy.get(name, 0.0) for name in shown}
        return amounts if len(shown) == len(names) else amounts | {"other": rest}

    return _stacked(
        compared,
        parts,
        "energy by component" if unit == "pJ" else f"energy by component, {unit}",
        lambda result: words.energy(result.energy, unit),
        *((1e-12, "J") if unit == "pJ" else (1.0, "")),
    )


def _numbered(compared: Comparison) -> set[str]:
    """Return what stands before the last number of parts of which some layer uses more than one."""
    found: set[str] = set()
    for result in compared.results:
        for layer in result.layers:
            stems = Counter(name.rstrip(DIGITS) for name in layer.energy_pj if name[-1] in DIGITS)
            found |= {stem for stem, n in stems.items() if n > 1}
    return found


def _energy_of_parts(layer: LayerResult, numbered: set[str]) -> dict[str, float]:
    """Return a layer's energy by part; those that differ by their last number alone are one: pes.lane*."""
    found: dict[str, float] = {}
    for name, pj in layer.energy_pj.items():
        stem = name.rstrip(DIGITS)
        own = f"{stem}*" if stem != name and stem in numbered else name
        found[own] = found.get(own, 0.0) + pj
    return found


def _operations(compared: Comparison) -> Figure:
    def parts(layer: LayerResult) -> dict[str, float]:
        multiplied = min(layer.multiplies, layer.macs_executed)
        return {
            "multiplied": multiplied,
            "a slot taken, multiplier gated": layer.macs_executed - multiplied,
            "not executed": max(layer.macs - layer.macs_executed, 0),
        }

    def share(result: Result) -> str:
        totals = result.totals
        done = totals["multiplies"] / totals["macs"] if totals["macs"] else 0.0
        return f"{words.engineering(totals['macs'], 'MAC')}, {words.percent(done)} multiplied"

    return _stacked(compared, parts, "MACs of the whole batch", share)


def _utilization(compared: Comparison) -> Figure:
    figure, axes = _panels(compared, 0.3)
    for ax, label, result in zip(axes, compared.labels, compared.results, strict=True):
        names = [layer.name for layer in result.layers]
        values = [layer.utilization for layer in result.layers]
        ax.barh(names, [1.0] * len(names), color=TRACK, height=0.68)
        ax.barh(names, values, color=WORK, height=0.68)
        for row, value in enumerate(values):
            ax.annotate(
                words.percent(value),
                (1, row),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        total = result.totals["utilization"]
        ax.axvline(total, color=COLOURS[1], linewidth=1.4)
        _title(ax, label, f"{words.percent(total)} of the multipliers' slots in all")
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        _rows_of(ax, len(names))
    axes[-1].set_xlabel("multiplier slots used")
    return figure


def _roofline(compared: Comparison) -> Figure:
    figure = Figure(figsize=(7.6, 5.2), layout="constrained")
    ax = figure.add_subplot()
    drawn: list[float] = []
    named: list[tuple[float, float, str]] = []
    for i, (label, result) in enumerate(zip(compared.labels, compared.results, strict=True)):
        points = _roofline_points(result)
        if not points:
            raise ResultError(
                f"{label}: no layer has DRAM bytes, so there is nothing to draw a roofline from"
            )
        colour = COLOURS[i % len(COLOURS)]
        peak, bandwidth = _roof(result)
        reach = [x for x, _, _ in points] + ([peak / bandwidth] if bandwidth else [])
        left, right = min(reach) / 3, max(reach) * 3
        knee = peak / bandwidth if bandwidth else left
        xs = [left, knee, right] if bandwidth else [left, right]
        ax.plot(
            xs, [min(peak, x * bandwidth) if bandwidth else peak for x in xs], color=colour, linewidth=1.4
        )
        name = f"{label}: at most {words.engineering(peak, 'MAC/s')}"
        name += f", {words.engineering(bandwidth, 'B/s')} of DRAM" if bandwidth else ""
        ax.scatter(
            [x for x, _, _ in points],
            [y for _, y, _ in points],
            s=34,
            color=colour,
            edgecolor="white",
            linewidth=0.7,
            zorder=3,
            label=name,
        )
        drawn += [y for _, y, _ in points]
        named += points if len(points) <= 12 else []
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=min(drawn) / 4)
    ax.grid(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=24))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda n, _: _tick(n)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:g}"))
    # a machine that skips or shares products may stand above what its multipliers could do
    ax.set_xlabel("MACs of the layer per byte of DRAM traffic; saved ones count, so a roof may be passed")
    ax.set_ylabel("MACs of the layer per second")
    ax.legend(loc="lower right")
    _name_points(figure, ax, named)
    return figure


def _name_points(figure: Figure, ax: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write each layer's name beside its point, on the first side where it covers no other name or point."""
    figure.draw_without_rendering()  # until then nothing has its place
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in (ax.transData.transform((x, y)) for x, y, _ in points)]
    per_point = figure.dpi / 72
    for x, y, name in sorted(points):
        at_x, at_y = ax.transData.transform((x, y))
        width, height = 5.2 * len(name) * per_point, 9 * per_point
        sides = [
            (8, 0, "left", "center"),
            (-8, 0, "right", "center"),
            (0, 7, "center", "bottom"),
            (0, -7, "center", "top"),
        ]
        for dx, dy, horizontal, vertical in sides:
            left = at_x + dx * per_point - width * {"left": 0, "center": 0.5, "right": 1}[horizontal]
            low = at_y + dy * per_point - height * {"bottom": 0, "center": 0.5, "top": 1}[vertical]
            box = (left, low, left + width, low + height)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        ax.annotate(
            name,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha=horizontal,
            va=vertical,
            fontsize=8,
        )


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _roofline_points(result: Result) -> list[tuple[float, float, str]]:
    points = []
    for layer in result.layers:
        moved = sum(n for part, n in layer.bytes.items() if result.is_off_chip(part))
        if moved and layer.cycles and layer.macs:
            points.append((layer.macs / moved, layer.macs / result.seconds_of(layer.cycles), layer.name))
    return points


def _roof(result: Result) -> tuple[float, float]:
    """Return peak MACs per second, and bytes per second of DRAM (0 if its kind does not say)."""
    bandwidth = 0.0
    for path, part in result.parts.items():
        spec = part["spec"]
        if result.is_off_chip(path) and {"word_bits", "clock_mhz"} <= spec.keys():
            bandwidth += spec["word_bits"] / 8 * spec["clock_mhz"] * 1e6
    return result.built_from("multipliers") * result.clock_mhz * 1e6, bandwidth


def _timeline(compared: Comparison) -> Figure:
    placed = [placed_spans(result) for result in compared.results]
    order = list(dict.fromkeys(span.unit for spans in placed for span in spans))
    units = [sorted({span.unit for span in spans}, key=order.index) for spans in placed]
    whats = list(dict.fromkeys(span.what for spans in placed for span in spans))
    colours = _coloured(whats)
    figure, axes = _panels(compared, 0.34, [len(names) for names in units], width=9.6)
    longest = max(result.cycles for result in compared.results)
    for ax, label, result, spans, names in zip(
        axes, compared.labels, compared.results, placed, units, strict=True
    ):
        for row, unit in enumerate(names):
            strip = _strip([span for span in spans if span.unit == unit], colours, longest)
            ax.imshow(
                strip,
                extent=(0, longest, row + 0.36, row - 0.36),
                aspect="auto",
                interpolation="auto",
                zorder=2,
            )
        ax.set_yticks(range(len(names)), names)
        _rows_of(ax, len(names))
        start = 0
        for phase in result.in_turn:
            ax.axvline(start, color=FAINT, linewidth=0.6, linestyle=(0, (2, 2)))
            if phase.cycles > longest / 25:
                ax.annotate(
                    phase.name,
                    (start, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, 2),
                    textcoords="offset points",
                    fontsize=8,
                    color=FAINT,
                )
            start += phase.cycles
        ax.set_title(label, fontweight="bold", pad=16)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: _tick(n)))
    axes[-1].set_xlim(0, longest)
    axes[-1].set_xlabel("cycle")
    _legend(figure, {words.plain(what): colour for what, colour in colours.items()})
    return figure


def _strip(spans: Sequence[Placed], colours: Mapping[str, str], cycles: int) -> Floats:
    """Return one unit's time as a row of pixels, each the stronger the more of its cycles are in use."""
    covered = np.zeros(STRIP_PIXELS)
    mixed = np.zeros((STRIP_PIXELS, 3))
    scale = STRIP_PIXELS / cycles
    for what, colour in colours.items():
        ends = [(span.start * scale, span.end * scale) for span in spans if span.what == what]
        share = np.zeros(STRIP_PIXELS)
        if ends:
            starts, stops = np.array(ends).T
            share = np.diff(_sum_left(np.arange(STRIP_PIXELS + 1.0), starts, stops))
        covered += share
        mixed += share[:, None] * to_rgb(colour)
    safe = np.maximum(covered, 1e-12)[:, None]
    # little is still something, but the rounding of long sums is nothing
    strength = np.where(covered > 1e-6, 0.25 + 0.75 * covered, 0.0)[:, None]
    return np.concatenate([mixed / safe, strength], axis=1)[None].clip(0, 1)


def _sum_left(edges: Floats, starts: Floats, stops: Floats) -> Floats:
    """Return how many cycles of the spans lie left of each edge."""
    starts, stops = np.sort(starts), np.sort(stops)
    begun, ended = np.searchsorted(starts, edges), np.searchsorted(stops, edges)
    sum_of_starts = np.concatenate([[0.0], np.cumsum(starts)])
    sum_of_stops = np.concatenate([[0.0], np.cumsum(stops)])
    # a span that ended counts stop - start, one that has only begun counts edge - start
    return sum_of_stops[ended] + (begun - ended) * edges - sum_of_starts[begun]


def _stacked(
    compared: Comparison,
    parts_of: Callable[[LayerResult], Mapping[str, float]],
    xlabel: str,
    summary: Callable[[Result], str],
    scale: float = 1.0,
    unit: str = "",
) -> Figure:
    """Draw a bar per layer in a panel per result, all to one scale."""
    names = list(dict.fromkeys(n for r in compared.results for layer in r.layers for n in parts_of(layer)))
    palette = _coloured(names)
    used = set()
    figure, axes = _panels(compared, 0.3)
    for ax, label, result in zip(axes, compared.labels, compared.results, strict=True):
        bars = [parts_of(layer) for layer in result.layers]
        left = [0.0] * len(bars)
        for name in names:
            widths = [float(bar.get(name, 0.0)) for bar in bars]
            if any(widths):
                used.add(name)
                ax.barh(range(len(bars)), widths, left=left, color=palette[name], height=0.68)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        ax.set_yticks(range(len(bars)), [layer.name for layer in result.layers])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: _tick(n * scale, unit)))
        _title(ax, label, summary(result))
        _rows_of(ax, len(bars))
    axes[-1].set_xlabel(xlabel)
    _legend(figure, {name: palette[name] for name in names if name in used})
    return figure


def _panels(
    compared: Comparison, row_inches: float, rows: Sequence[int] | None = None, width: float = 7.6
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel per result, one under the other, that share their x axis."""
    rows = rows or [len(result.layers) for result in compared.results]
    heights = [max(count, 1) * row_inches + 0.75 for count in rows]
    figure = Figure(figsize=(width, sum(heights) + 0.75), layout="constrained")
    grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
    axes: list[Axes] = []
    for i in range(len(rows)):
        axes.append(figure.add_subplot(grid[i, 0], sharex=axes[0] if axes else None))
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    return figure, axes


def _rows_of(ax: Axes, rows: int) -> None:
    ax.set_ylim(rows - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")


def _title(ax: Axes, label: str, rest: str) -> None:
    ax.set_title(label, fontweight="bold")
    ax.set_title(rest, loc="right", color=FAINT, fontsize=9)


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    room = 12 * figure.get_figwidth()  # characters in a row, about
    columns = len(handles)
    while columns > 1 and sum(_widths(list(colours), columns)) > room:
        columns -= 1
    # matplotlib fills column by column; people read row by row
    by_row = [handle for column in range(columns) for handle in handles[column::columns]]
    figure.legend(
        handles=by_row,
        loc="outside upper left",
        ncols=columns,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.4,
    )


def _widths(names: Sequence[str], columns: int) -> list[int]:
    return [max(len(name) for name in names[column::columns]) + 5 for column in range(columns)]


def _coloured(names: Sequence[str]) -> dict[str, str]:
    """Return a colour per name: its own, the next that nobody owns, or a shade of one."""
    free = [colour for colour in COLOURS if colour not in {OWN_COLOURS.get(name) for name in names}]
    others = [name for name in names if name not in OWN_COLOURS]
    shades = {name: _shade(free[i % len(free)], i // len(free)) for i, name in enumerate(others)}
    return {name: OWN_COLOURS.get(name) or shades[name] for name in names}


def _shade(colour: str, times: int) -> str:
    """Return a colour, the second time round nearer to white, the third time to black, and so on."""
    toward = 1.0 if times % 2 else 0.0
    share = 0.0 if not times else 1 - 0.55 ** ((times + 1) // 2)
    red, green, blue = ((1 - share) * part + share * toward for part in to_rgb(colour))
    return to_hex((red, green, blue))


def _tick(value: float, unit: str = "") -> str:
    """Return an axis label without idle zeros: 2.5 M, not 2.50 M."""
    number, space, rest = words.engineering(value, unit).partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + rest


def _ordered(compared: Comparison, amounts: Callable[[LayerResult], Mapping[str, float]]) -> list[str]:
    """Return the names of amounts, the largest over all results first."""
    sums: dict[str, float] = {}
    for result in compared.results:
        for layer in result.layers:
            for name, n in amounts(layer).items():
                sums[name] = sums.get(name, 0) + n
    return sorted(sums, key=lambda name: -sums[name])


KINDS: Mapping[str, Callable[[Comparison], Figure]] = {
    "energy": _energy,
    "cycles": _cycles,
    "operations": _operations,
    "utilization": _utilization,
    "timeline": _timeline,
    "roofline": _roofline,
}
