"""Commands that show results: figures, pages, papers beside our numbers, speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simhw.cli.app import OUTPUT_DIFFERS, app
from simhw.cli.options import (
    DEFAULT_TRACE,
    AsJson,
    Data,
    ResultFiles,
)  # fmt: skip
from simhw.cli.output import (
    check_ending,
    data_folder,
    labels_of,
    print_json,
    progress_of,
    say,
)  # fmt: skip
from simhw.errors import ResultError, did_you_mean

if TYPE_CHECKING:
    pass


@app.command()
def plot(
    results: ResultFiles,
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND", help="energy, cycles, operations, utilization, timeline or roofline."
        ),
    ] = "cycles",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="A .png, .svg or .pdf file; KIND.png if not given."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw results."""
    from simhw.comparison import compare as compare_results
    from simhw.files import check_outputs
    from simhw.reports.plots import KINDS
    from simhw.reports.plots import plot as draw
    from simhw.result import Result

    if kind not in KINDS:
        raise ResultError(f"plot: unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    file = output or Path(f"{kind}.png")
    check_outputs([file], results, ResultError)
    read = [Result.from_json(path) for path in results]
    if kind == "energy":
        bare = [path for path, result in zip(results, read, strict=True) if result.energy_unit is None]
        if bare:
            raise ResultError([f"{path}: has no energy; make it again with --technology" for path in bare])
    draw(compare_results(read, labels_of([str(path) for path in results], read)), kind, file)
    if as_json:
        print_json({"file": str(file)})
    say(f"wrote {file}")


@app.command()
def report(
    results: ResultFiles,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write: .html.")],
    as_json: AsJson = False,
) -> None:
    """Write one page that shows all of a run."""
    from simhw.files import check_outputs, write_file
    from simhw.reports.page import page
    from simhw.result import Result

    check_outputs([output], results, ResultError)
    check_ending(output, (".html",), ResultError)
    read = [Result.from_json(path) for path in results]
    with progress_of("report") as progress:
        text = page(read, labels_of([str(path) for path in results], read), progress)
    write_file(output, text, ResultError)
    if as_json:
        print_json({"file": str(output)})
    say(f"wrote {output}")


@app.command()
def reproduce(
    paper: Annotated[
        str | None,
        typer.Argument(
            metavar="PAPER[.ITEM]", help="A paper, or one of its items: PAPER.table5.conv1; all if none."
        ),
    ] = None,
    data: Data = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where a number is further off than its tolerance.")
    ] = False,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="FOLDER", help="Draw the figures asked for there, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a paper's numbers beside the printed ones."""
    from simhw import papers
    from simhw.papers import draw
    from simhw.reports.table import item_notes, item_table

    drawn = [] if plots is None else draw(paper or "", plots)
    with progress_of("reproduce") as progress:
        found = papers.reproduce(paper, data_folder(data), progress)
    if as_json:
        print_json(found[0] if paper is not None else found)
    else:
        for one in found:
            notes = item_notes(one["items"])
            print("\n\n".join(filter(None, (one["paper"], item_table(one["items"]).text(), notes))))
    for file in drawn:
        say(f"wrote {file}")
    off = [
        x["id"]
        for one in found
        for x in one["items"]
        if x["verdict"] == "differs" and x["tolerance"] is not None
    ]
    if strict and off:
        say(f"further off than accepted: {', '.join(off)}")
        raise typer.Exit(OUTPUT_DIFFERS)


@app.command()
def bench(as_json: AsJson = False) -> None:
    """Measure how fast this computer simulates.

    Simulated MACs a second, beside dense BLAS on the same layers and a bare event loop.
    """
    from simhw import bench as benchmarks
    from simhw.reports.table import listing

    with progress_of("bench") as progress:
        rows = benchmarks.bench(DEFAULT_TRACE, progress)
    if as_json:
        print_json(rows)
    else:
        print(listing(benchmarks.readable(rows)).text())
