"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from simhw.errors import SimhwError

DEFAULT_TRACE = "lenet_digits"


def not_empty(param: typer.CallbackParam, value: Any) -> Any:
    if "" in (value, *(value if isinstance(value, list | tuple) else ())):
        name = param.opts[0] if param.param_type_name == "option" else param.metavar
        raise SimhwError(f"{name}: is empty; wants a name or a path")
    return value


Accelerator = Annotated[
    str,
    typer.Argument(
        metavar="ACCELERATOR",
        help="A description: a path, or the name of one that ships.",
        callback=not_empty,
    ),
]
TraceName = Annotated[
    str,
    typer.Argument(
        metavar="TRACE", help="A trace: a path, or the name of one that ships.", callback=not_empty
    ),
]
ResultFiles = Annotated[list[Path], typer.Argument(metavar="RESULT...", help="Files that run -o wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as docs/results.md describes it.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a field: components.pes.rows=8. May be repeated."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="A Python file with components, dataflows or transforms of your own."
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layers", metavar="NAMES", help="Only these layers: conv1,conv2. May be repeated."),
]
Mapping = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        help="A mapping, in place of the description's or the mapper's.",
        callback=not_empty,
    ),
]
Tuning = Annotated[
    str | None,
    typer.Option(
        "--tuning",
        metavar="FILE",
        help="By what filters predict; what simhw tune wrote, or one that ships.",
        callback=not_empty,
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameters",
        metavar="FILE",
        help="Values by layer of any kind: a path, or the name of a file that ships. May be repeated.",
        callback=not_empty,
    ),
]
Technology = Annotated[
    str | None,
    typer.Option(
        "--technology",
        metavar="NAME",
        help="Price by this table: a path or a shipped name.",
        callback=not_empty,
    ),
]
Engine = Annotated[
    str, typer.Option("--engine", metavar="compiled|stepped", help="The fast one, or its plain twin.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Where data and weights lie; else SIMHW_DATA, else what ships.",
        callback=not_empty,
    ),
]
