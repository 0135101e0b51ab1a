"""The figures of papers that `simhw reproduce --plots` draws."""

from __future__ import annotations

from pathlib import Path

from simhw import shipped
from simhw.errors import ResultError

FIGURES = {"tolba": ("figure6", "figure9")}  # of papers, those that are drawn


def draw(wanted: str, folder: Path) -> list[Path]:
    """Draw what `wanted` (tolba, tolba.figure9) names of a paper's figures, into a folder that is made.

    Return the files.
    """
    paper, _, item = wanted.partition(".")
    item = item.partition(".")[0]
    drawn = [name for name in FIGURES.get(paper, ()) if item in ("", name)]
    if not drawn:
        known = [f"{paper}.{name}" for paper, names in FIGURES.items() for name in names]
        raise ResultError(f"--plots: draws {', '.join(known)}; name one, or {' or '.join(FIGURES)} for all")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be made: {error.strerror}; wants a folder") from None
    return [file for name in drawn for file in _TOLBA[name](folder)]


def _learning(folder: Path) -> list[Path]:
    """Accuracy and loss by epoch: the linear network of Table II, and the CNN of Table III."""
    from simhw.papers.tolba import FIGURE_6
    from simhw.reports.learning import plot_learning
    from simhw.training.sgd import read_log

    files = [folder / f"figure6{part}.png" for part in FIGURE_6]
    for file, recipes in zip(files, FIGURE_6.values(), strict=True):
        logs = {
            name: read_log(shipped.folder("traces") / f"{recipe}.csv") for name, recipe in recipes.items()
        }
        plot_learning(logs, file)
    return files


def _array_sizes(folder: Path) -> list[Path]:
    """Adders and multipliers of both arrays, as the input grows."""
    from simhw.papers.tolba.arrays import figure_9
    from simhw.reports.array_sizes import plot_array_sizes

    plot_array_sizes(figure_9(), folder / "figure9.png")
    return [folder / "figure9.png"]


_TOLBA = {"figure6": _learning, "figure9": _array_sizes}
