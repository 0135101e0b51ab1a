"""What commands share: what they print and where, and what they make of the options they are given."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from simhw.cli.app import OUTPUT_DIFFERS
from simhw.errors import SimhwError

if TYPE_CHECKING:
    from simhw.result import Result

Progress = Callable[[int, int, str], None]


def raise_if_outputs_differ(results: Sequence[Result]) -> None:
    for result in results:
        for layer in result.layers:
            if result.exact and layer.output_matches is False:
                most = (layer.output_error or {}).get("max")
                by = f" by up to {most:g}" if most is not None else ""
                say(f"{result.accelerator}: {layer.name}: its output differs from the reference{by}")
    if any(result.exact and result.outputs_match is False for result in results):
        raise typer.Exit(OUTPUT_DIFFERS)


def load_plugins_of(files: list[Path] | None) -> None:
    if files:
        from simhw.description import load_plugins

        load_plugins(files)


def data_folder(given: str | None) -> Path | None:
    of_environment = data_of_environment()
    return of_environment if given is None else _folder(given, "--data")


def data_of_environment() -> Path | None:
    """Return the folder that SIMHW_DATA names; whatever looks for data looks there."""
    named = os.environ.get("SIMHW_DATA")
    return _folder(named, "SIMHW_DATA") if named else None


def _folder(named: str, where: str) -> Path:
    from simhw.errors import DataError

    if not os.path.isdir(named):
        raise DataError(f"{named}: no such folder; {where} wants the folder where data and weights lie")
    return Path(named)


def split(given: list[str] | None) -> list[str] | None:
    """Return the layers named, None if the option was not given."""
    if not given:
        return None
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    if not names:
        raise SimhwError("--layers: names no layer; wants names such as conv1,conv2")
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise SimhwError([f"--layers: names {name} twice; wants each layer once" for name in twice])
    return names


def check_ending(output: Path | None, endings: Sequence[str], error: type[SimhwError]) -> None:
    if output is not None and output.suffix not in endings:
        raise error(f"{output}: wants a name that ends in {' or '.join(endings)}")


def fitted(text: str) -> str:
    """Return text cut to the terminal's width; whole in a pipe."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(x if len(x) <= width else f"{x[: width - 1]}…" for x in text.splitlines())


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def say(line: str) -> None:
    """Say what belongs to no table, where a pipe does not carry it."""
    print(line, file=sys.stderr)


@contextlib.contextmanager
def progress_of(title: str) -> Iterator[Progress | None]:
    """Give what long work calls with (done, in all, name); a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, at="")
        yield lambda done, total, name: bar.update(task, completed=done, total=total, at=name)


def labels_of(what: Sequence[str], results: Sequence[Result]) -> list[str]:
    """Return the accelerators' names; where two have the same, what the user called them."""
    names = [result.accelerator for result in results]
    return names if len(set(names)) == len(names) else [Path(name).stem for name in what]
