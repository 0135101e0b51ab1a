"""How many adders and multipliers arrays have, as their layer grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simhw.errors import ResultError
from simhw.files import write_file
from simhw.reports.plots import COLOURS, drawn_in_style, format_of, picture

NAMES = {"proposed": "reuse array", "row_stationary": "row stationary, unrolled"}


def plot_array_sizes(rows: Sequence[Mapping[str, int]], file: str | Path | None = None) -> Figure:
    """Return a figure of adders and multipliers over the size of the input, a panel for each filter.

    A row has filter, ifmap, proposed and row_stationary (`simhw.papers.tolba.arrays.figure_9`); `file`, a
    .png, .svg or .pdf, is written as well.
    """
    filters = sorted({row["filter"] for row in rows})
    if not filters:
        raise ResultError("plot: no array given; wants at least one")
    if file is not None:
        format_of(file)
    with drawn_in_style():
        figure = Figure(figsize=(4.5 * len(filters), 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, filter in zip(figure.subplots(1, len(filters), squeeze=False)[0], filters, strict=True):
            own = sorted((row for row in rows if row["filter"] == filter), key=lambda row: row["ifmap"])
            for i, (key, name) in enumerate(NAMES.items()):
                axes.plot(
                    [row["ifmap"] for row in own],
                    [row[key] for row in own],
                    "o-",
                    ms=3,
                    color=COLOURS[i],
                    label=name,
                )
            axes.set_title(f"filter {filter} x {filter}")
            axes.set_xlabel("rows of the input")
            axes.set_ylabel("adders and multipliers")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
        axes.legend(loc="upper left")
    if file is not None:
        write_file(file, picture(figure, format_of(file)), ResultError)
    return figure
