"""Commands that look: what there is, what a file is, what a layer would be mapped to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simhw.cli.app import app
from simhw.cli.options import (
    Accelerator,
    AsJson,
    Layers,
    Plugins,
    Settings,
    not_empty,
)  # fmt: skip
from simhw.cli.output import (
    fitted,
    load_plugins_of,
    print_json,
    say,
    split,
)  # fmt: skip
from simhw.errors import SimhwError, did_you_mean

if TYPE_CHECKING:
    pass


@app.command("list")
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="accelerators, workloads, traces, recipes, parameters, components, dataflows, transforms, "
            "technologies or papers; all if none.",
        ),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List what there is to run."""
    from simhw.cli import inventory

    load_plugins_of(plugin)
    if what is not None and what not in inventory.SECTIONS:
        raise SimhwError(f"list: unknown section {what!r}{did_you_mean(what, inventory.SECTIONS)}")
    rows = {name: rows_of() for name, rows_of in inventory.SECTIONS.items() if what in (None, name)}
    if as_json:
        print_json(rows if what is None else rows[what])
        return
    from simhw.reports.table import listing

    for name, section in rows.items():
        if what is None:
            print(f"{name}: {', '.join(row['name'] for row in section) or 'none'}")
        else:
            print(fitted(listing(section).text()) if section else f"no {name}")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of any kind simhw reads.")],
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Validate files of any kind; name every fault."""
    from simhw.cli import inventory

    load_plugins_of(plugin)
    checked = [inventory.check(path) for path in files]
    if as_json:
        print_json([{"file": x.file, "kind": x.kind, "faults": list(x.faults)} for x in checked])
    else:
        for one in checked:
            if not one.faults:
                print(f"{one.file}: ok, {one.kind}")
    faults = [fault for one in checked for fault in one.faults]
    if faults:
        raise SimhwError(faults)


@app.command("map")
def map_(
    accelerator: Accelerator,
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE|WORKLOAD",
            help="What to map: a path, or the name of one that ships.",
            callback=not_empty,
        ),
    ],
    layers: Layers = None,
    images: Annotated[
        int | None,
        typer.Option("--images", metavar="N", min=1, help="The batch; a trace's own if not given."),
    ] = None,
    settings: Settings = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the mapping there as well.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Print the mapping chosen for each layer.

    The YAML it prints is a file that run --mapping takes.
    """
    from simhw.accelerator import mapping_notes, plan_mapping
    from simhw.cli import inventory
    from simhw.errors import MappingError
    from simhw.files import check_outputs, write_file

    load_plugins_of(plugin)
    names = split(layers)
    reads = [
        *inventory.paths_of("accelerators", accelerator),
        *inventory.paths_of("traces", trace),
        *inventory.paths_of("workloads", trace),
        *(plugin or ()),
    ]
    check_outputs([output], reads, MappingError)
    name, digest, shapes = inventory.shapes_of(trace, images)
    wanted, source = inventory.only(shapes, names), inventory.trace_of(trace)
    planned = plan_mapping(accelerator, wanted, overrides=settings or (), trace=source)
    notes = mapping_notes(accelerator, wanted, overrides=settings or (), trace=source)
    made = inventory.mapping_of(accelerator, name, digest, planned)
    text = inventory.with_notes(made.to_yaml(), notes)
    if output is not None:
        write_file(output, text, MappingError)
    if as_json:
        print_json({"accelerator": accelerator, "of": name, "layers": planned, "notes": notes})
    else:
        print(text, end="")
    if output is not None:
        say(f"wrote {output}")
