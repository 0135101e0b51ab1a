"""The command line: parse, call the library, print. Whatever is heavy is imported where it is used."""

import sys

from simhw.cli import learn, look, show, simulate
from simhw.cli.app import app
from simhw.cli.options import DEFAULT_TRACE

__all__ = ["DEFAULT_TRACE", "app", "learn", "look", "main", "show", "simulate"]

# the order in which --help lists them
ORDER = (
    "list", "check", "trace", "map", "run", "tune", "compare", "plot", "report", "reproduce", "train", "bench"
)  # fmt: skip


def _place(command: object) -> int:
    name = getattr(command, "name", None) or getattr(command, "callback").__name__  # noqa: B009
    return ORDER.index(name)


app.registered_commands.sort(key=_place)


def main() -> None:
    """Run the command line; exit codes 0 done, 1 outputs differ, 2 wrong input."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without a rule's character still gets its table
    app(prog_name="simhw")
