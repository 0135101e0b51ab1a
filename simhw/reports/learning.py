"""How trainings went: loss and accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from simhw.errors import ResultError
from simhw.files import write_file
from simhw.reports.plots import COLOURS, drawn_in_style, format_of, picture

Log = Mapping[str, Sequence[float]]


def plot_learning(logs: Mapping[str, Log], file: str | Path | None = None) -> Figure:
    """Return a figure of trainings by name: held-out accuracy left, the loss of what is learnt right.

    A log has the columns epoch, loss and test_accuracy; `file`, a .png, .svg or .pdf, is written as well.
    """
    if not logs:
        raise ResultError("plot: no training given; wants at least one")
    if file is not None:
        format_of(file)
    with drawn_in_style():
        figure = Figure(figsize=(9, 3.6 + 0.25 * -(-len(logs) // 3)), layout="constrained")
        FigureCanvasAgg(figure)
        accuracy, loss = figure.subplots(1, 2)
        for i, (name, log) in enumerate(logs.items()):
            colour = COLOURS[i % len(COLOURS)]
            shares = log["test_accuracy"]
            accuracy.plot(log["epoch"], shares, color=colour, label=f"{name}, {shares[-1]:.2%} at last")
            loss.plot(log["epoch"], log["loss"], color=colour)
        accuracy.set_title("named rightly of the images held out")
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        figure.legend(loc="outside lower center", ncols=3)  # over no line
        loss.set_title("mean loss of the images learnt")
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_minor_locator(NullLocator())
        loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for axes in (accuracy, loss):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y")
    if file is not None:
        write_file(file, picture(figure, format_of(file)), ResultError)
    return figure
