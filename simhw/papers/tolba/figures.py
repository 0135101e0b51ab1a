"""The paper's figures, drawn anew: each function draws one into a folder, and returns the files."""

from __future__ import annotations

from pathlib import Path

from simhw.papers.tolba import FIGURE_6
from simhw.papers.tolba.arrays import figure_9
from simhw.parameters import find
from simhw.reports.array_sizes import plot_array_sizes
from simhw.reports.learning import plot_learning
from simhw.training.sgd import read_log


def figure6(folder: Path) -> list[Path]:
    """Accuracy and loss by epoch: the linear network of Table II, and the CNN of Table III."""
    files = [folder / f"figure6{part}.png" for part in FIGURE_6]
    for file, recipes in zip(files, FIGURE_6.values(), strict=True):
        logs = {
            name: read_log(find(recipe, "coefficients").with_suffix(".csv"))
            for name, recipe in recipes.items()
        }
        plot_learning(logs, file)
    return files


def figure9(folder: Path) -> list[Path]:
    """Adders and multipliers of both arrays, as the input grows."""
    plot_array_sizes(figure_9(), folder / "figure9.png")
    return [folder / "figure9.png"]
