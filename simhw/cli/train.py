"""`simhw train`: the options, the library's call, and what is printed of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simhw import cli


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe: a path, or the name of one that ships.",
            callback=cli._not_empty,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The coefficients to write: .npz; a log lies beside."
        ),
    ],
    data: cli.Data = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", metavar="N", min=1, help="Only the first N images of each set; all if not given."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of a training that did not end.")
    ] = False,
    as_json: cli.AsJson = False,
) -> None:
    """Train a network with its weights on lines.

    Writes coefficients that trace --weights takes, and loss and accuracy by epoch beside them.
    """
    from simhw.reports.table import listing
    from simhw.training.evaluate import accuracy_of_training
    from simhw.training.recipe import load_recipe
    from simhw.training.sgd import train as run_training

    cli._data_of_environment()
    chosen = load_recipe(recipe)
    with cli._progress(chosen.name) as progress:
        training = run_training(chosen, output, data=data, images=images, resume=resume, progress=progress)
    fitted = training.fitted()
    rows = [
        {
            "layer": name,
            "kind": layer.kind,
            "group": layer.group,
            "parameters": layer.parameters,
            "bits": layer.bits,
            "memory_bits": layer.memory_bits,
        }
        for name, layer in fitted.items()
    ]
    found = {
        "file": str(output),
        "layers": rows,
        "parameters": sum(layer.parameters for layer in fitted.values()),
        "memory_bits": sum(layer.memory_bits for layer in fitted.values()),
        "float32_accuracy": training.state.log[-1][-1],
        "fixed16_accuracy": accuracy_of_training(training),
        "inputs": training.sets.test.source,
    }
    if as_json:
        cli._print_json(found)
    else:
        print(listing(rows).text())
        print(
            f"{found['parameters']:,} parameters; named rightly of {len(training.test_labels)} held out: "
            f"{found['float32_accuracy']:.2%} in float32, {found['fixed16_accuracy']:.2%} in fixed point"
        )
    cli._say(f"wrote {output}")
    cli._say(f"wrote {output.with_suffix('.csv')}")
