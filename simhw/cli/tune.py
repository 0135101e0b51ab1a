"""`simhw tune`: from a recipe to tuning files, and what they do on the images kept for measuring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simhw.errors import TuningError
from simhw.files import check_outputs
from simhw.reports import words
from simhw.reports.table import Table
from simhw.tuning import Recipe, Tuned, load_recipe

SUFFIX, JOURNAL = ".yaml", ".search"


def read_recipe(recipe: str, output: Path) -> tuple[Recipe, list[Path], Path]:
    """Return the recipe, the file of each of its budgets, and that of the search; nothing is run yet."""
    if output.suffix != SUFFIX:
        raise TuningError(f"{output}: wants a name that ends in {SUFFIX}")
    loaded = load_recipe(recipe)
    files = outputs(loaded, output)
    journal = output.with_name(f"{output.name}{JOURNAL}")
    reads = [loaded.source, loaded.workload.path]
    check_outputs([*files, journal], reads, TuningError)
    return loaded, files, journal


def outputs(recipe: Recipe, output: Path) -> list[Path]:
    """Return the file of each budget: FILE for one, FILE-<budget> for each of several."""
    if len(recipe.budgets) == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{budget:g}{output.suffix}") for budget in recipe.budgets]


def interrupted(journal: Path) -> str:
    """Return what is said to who broke a search off."""
    if not journal.is_file():
        return "interrupted; nothing is left of it"
    return f"interrupted; {journal} keeps what was found, and the same command with --resume goes on"


def command_of(recipe: str, output: Path) -> str:
    """Return the command as a tuning keeps it: names, and no folders of this computer."""
    return f"simhw tune {Path(recipe).name} -o {output.name}"


def table(tuned: Sequence[Tuned]) -> Table:
    """Return a column for each budget: what was lost and saved, there and on other images."""
    found = [_column(one) for one in tuned]
    names = dict.fromkeys(name for column in found for name in column)
    rows = tuple((name, *(column.get(name, "–") for column in found)) for name in names)
    return Table(("", *(one.tuning.name for one in tuned)), rows)


def _column(one: Tuned) -> dict[str, str]:
    reached, measured = one.tuning.reached, one.measured
    column: dict[str, str] = {}
    if "macs" in reached:  # of one written by hand nothing is known
        column |= {
            "loss, in points": f"{reached['loss']:.2f}",
            "products, of exact mode's": words.percent(reached["macs"] / reached["exact_macs"]),
            "products, of all": words.percent(reached["macs"] / reached["whole_macs"]),
        }
    if measured is not None:
        low, high = measured.agreement_interval
        column |= {
            "measured: loss, in points": "–" if measured.loss is None else f"{measured.loss:.2f}",
            "agreement with exact mode": words.percent(measured.agreement),
            "95 % interval": f"{100 * low:.1f} to {words.percent(high)}",
            "products, measured, of exact mode's": words.percent(measured.macs / measured.exact_macs),
            "layers that predict": words.percent(measured.predictive_share),
            "true negatives found": words.percent(measured.true_negative_rate),
            "false negatives": words.percent(measured.false_negative_rate),
            "small ones of mispredictions": words.percent(measured.small_share),
        }
    return column


def as_data(tuned: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Return tunings and measurements whole, for --json."""
    return [{**one.tuning.to_dict(), "measured": one.measured and one.measured.to_dict()} for one in tuned]
