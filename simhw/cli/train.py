"""`simhw train`: the library's call, and what is said of what came out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from simhw.errors import RecipeError
from simhw.files import check_outputs
from simhw.reports.learning import plot_learning
from simhw.reports.plots import format_of
from simhw.training import checkpoint
from simhw.training.evaluate import accuracy_of_training
from simhw.training.recipe import Recipe
from simhw.training.sgd import Training, train


def trained(
    recipe: Recipe,
    output: Path,
    data: str | None,
    images: int | None,
    resume: bool,
    plot: Path | None,
    progress: Callable[[int, int, str], None] | None,
) -> dict[str, Any]:
    """Train and write; return what `--json` prints."""
    if plot is not None:
        format_of(plot)
        check_outputs([output, output.with_suffix(".csv"), plot], [recipe.path], RecipeError)
    training = train(recipe, output, data=data, images=images, resume=resume, progress=progress)
    if plot is not None:
        plot_learning({recipe.name: training.log}, plot)
    return _described(training, output)


def interrupted(output: Path) -> str:
    """Return what is said to who broke a training off."""
    stands = checkpoint.beside(output)
    if not stands.is_file():
        return "interrupted before the first epoch was done; nothing is left of it"
    epochs = checkpoint.epochs_of(stands)
    done = f"epoch {epochs}" if epochs > 1 else "the first epoch"
    return f"interrupted after {done}; {stands} keeps it, and the same command with --resume goes on"


def _described(training: Training, output: Path) -> dict[str, Any]:
    layers = [
        {
            "layer": name,
            "kind": fitted.kind,
            "group": fitted.group,
            "parameters": fitted.parameters,
            "bits": fitted.bits,
            "memory_bits": fitted.memory_bits,
        }
        for name, fitted in training.fitted().items()
    ]
    return {
        "file": str(output),
        "log": str(output.with_suffix(".csv")),
        "layers": layers,
        "parameters": sum(row["parameters"] for row in layers),
        "memory_bits": sum(row["memory_bits"] for row in layers),
        "float32_accuracy": training.log["test_accuracy"][-1],
        "fixed16_accuracy": accuracy_of_training(training),
        "held_out": len(training.test_labels),
        "inputs": training.sets.test.source,
    }


def sentence(found: dict[str, Any]) -> str:
    """Return what stands below the table of layers."""
    return (
        f"{found['parameters']:,} parameters in {found['memory_bits'] / 8000:.4g} KB; named rightly of "
        f"{found['held_out']:,} images held out ({found['inputs']}): {found['float32_accuracy']:.2%} with "
        f"float32 weights, {found['fixed16_accuracy']:.2%} with these coefficients"
    )
