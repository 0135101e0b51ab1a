"""`simhw tune`: from a recipe to tuning files, and what they do on the images kept for measuring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simhw.errors import TuningError
from simhw.files import check_outputs
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


def rows(tuned: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Return a row for each budget: what was lost and saved, there and on other images."""
    found = []
    for one in tuned:
        reached, measured = one.tuning.reached, one.measured
        row: dict[str, Any] = {"tuning": one.tuning.name}
        if "macs" in reached:  # of one written by hand nothing is known
            row |= {
                "loss": reached["loss"],
                "macs_of_exact": round(reached["macs"] / reached["exact_macs"], 4),
                "macs_of_all": round(reached["macs"] / reached["whole_macs"], 4),
            }
        if measured is not None:
            low, high = measured.agreement_interval
            row |= {
                "measured_loss": None if measured.loss is None else round(measured.loss, 4),
                "agreement": round(measured.agreement, 4),
                "agreement_95": f"{low:.4f} to {high:.4f}",
                "measured_macs_of_exact": round(measured.macs / measured.exact_macs, 4),
                "predictive_layers": round(measured.predictive_share, 4),
                "true_negatives": _rounded(measured.true_negative_rate),
                "false_negatives": _rounded(measured.false_negative_rate),
                "small_of_mispredicted": _rounded(measured.small_share),
            }
        found.append(row)
    return found


def as_data(tuned: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Return tunings and measurements whole, for --json."""
    return [{**one.tuning.to_dict(), "measured": one.measured and one.measured.to_dict()} for one in tuned]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
