"""Commands that learn: what filters may predict, weights on lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simhw.cli.app import INTERRUPTED, app
from simhw.cli.options import (
    AsJson,
    Data,
    not_empty,
)  # fmt: skip
from simhw.cli.output import (
    data_folder,
    data_of_environment,
    fitted,
    print_json,
    progress_of,
    say,
)  # fmt: skip
from simhw.errors import SimhwError

if TYPE_CHECKING:
    pass


@app.command("tune")
def tune_(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe: a path, or the name of one that ships.", callback=not_empty
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The tuning to write: .yaml; FILE-1.yaml for budget 1 of many.",
        ),
    ],
    data: Data = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a search that was broken off.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Search for nothing: measure again what FILE holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find by what each filter may predict that its sum ends below zero."""
    from simhw.cli import tune as tuning
    from simhw.tuning import measure_again, tune

    data_folder(data)
    read, files, journal = tuning.read_recipe(recipe, output)
    if measure and resume:
        raise SimhwError("tune: --measure searches for nothing that --resume could go on with; name one")
    try:
        with progress_of("tune") as progress:
            if measure:
                tuned = measure_again(read, files, data=data, progress=progress)
            else:
                command = tuning.command_of(recipe, output)
                tuned = tune(
                    read, data=data, files=files, journal=journal, resume=resume, command=command,
                    progress=progress,
                )  # fmt: skip
    except KeyboardInterrupt:
        say(tuning.interrupted(journal))
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(tuning.as_data(tuned))
    else:
        print(fitted(tuning.table(tuned).text()))
    for file in files:
        say(f"wrote {file}")


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe: a path, or the name of one that ships.", callback=not_empty
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The coefficients to write: .npz.")
    ],
    data: Data = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", metavar="N", min=1, help="Only the first N images of each set, of fewer held out all."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of a training that did not end.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw loss and accuracy by epoch: .png, .svg or .pdf."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network with its weights on lines.

    Writes coefficients that trace --weights takes; loss and accuracy by epoch lie beside them, as .csv.
    """
    from simhw.cli.train import interrupted, sentence, trained
    from simhw.reports.table import listing
    from simhw.training.recipe import load_recipe

    data_of_environment()
    read = load_recipe(recipe)
    try:
        with progress_of(read.name) as progress:
            found = trained(read, output, data, images, resume, plot, progress)
    except KeyboardInterrupt:
        say(interrupted(output))
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(found)
    else:
        print(listing(found["layers"]).text())
        print(sentence(found))
    for path in filter(None, (output, found["log"], plot)):
        say(f"wrote {path}")
