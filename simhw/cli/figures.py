"""The figures of papers that `simhw reproduce --plots` draws."""

from __future__ import annotations

from pathlib import Path

from simhw import shipped
from simhw.errors import ResultError

FIGURES = ("tolba",)  # papers of which figures are drawn


def draw(paper: str, folder: Path) -> list[Path]:
    """Draw a paper's figures into a folder, which is made; return the files."""
    if paper not in FIGURES:
        raise ResultError(f"--plots: draws figures of {', '.join(FIGURES)}; name one, such as tolba.figure9")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be made: {error.strerror}; wants a folder") from None
    return _tolba(folder)


def _tolba(folder: Path) -> list[Path]:
    """Figure 6, accuracy and loss by epoch of tables II and III, and figure 9, adders and multipliers."""
    from simhw.papers.tolba import FIGURE_6_RECIPES
    from simhw.papers.tolba.arrays import figure_9
    from simhw.reports.array_sizes import plot_array_sizes
    from simhw.reports.learning import plot_learning
    from simhw.training.sgd import read_log

    files: list[Path] = []
    for name, table in (("figure6a.png", "table2"), ("figure6b.png", "table3")):
        logs = {
            recipe.removeprefix("tolba_"): read_log(shipped.folder("traces") / f"{recipe}.csv")
            for recipe in FIGURE_6_RECIPES
            if table in recipe
        }
        plot_learning(logs, folder / name)
        files.append(folder / name)
    plot_array_sizes(figure_9(), folder / "figure9.png")
    return [*files, folder / "figure9.png"]
