"""Writes docs/commands.md from the command line itself: `python docs/commands.py`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from typer.main import get_command

from simhw.cli import app

PAGE = Path(__file__).with_name("commands.md")

HEAD = """# Commands

This page is written by `python docs/commands.py`; a test holds it to what `simhw --help` says.

Every command that prints a table takes `--json`; [results.md](results.md) describes what it prints. Long
work shows a progress bar on a terminal, none in a pipe. Exit codes: 0 done; 1 an exact machine's outputs
differ from the reference, or a strict comparison failed; 2 the input was wrong, with one line per fault.
A file named with `-o` is written whole or not at all.

ACCELERATOR, TRACE, WORKLOAD and RECIPE are paths, or names of what ships: a file in the current directory
wins.
"""


def page() -> str:
    """Return the page."""
    group: Any = get_command(app)
    return "\n".join([HEAD, *(_section(name, command) for name, command in group.commands.items())])


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join(["simhw", name, *(_usage(p) for p in arguments), *(["[options]"] if options else [])])
    lines = [f"## {name}", "", f"    {usage}", "", inspect.cleandoc(command.help or ""), ""]
    lines += [f"- `{p.metavar}`: {p.help}" for p in arguments]
    lines += [f"- `{_flags(p)}`: {p.help}{_default(p)}" for p in options]
    return "\n".join(lines) + "\n"


def _usage(argument: Any) -> str:
    return argument.metavar if argument.required else f"[{argument.metavar}]"


def _flags(option: Any) -> str:
    flags = ", ".join(option.opts)
    return flags if option.is_flag else f"{flags} {option.metavar}"


def _default(option: Any) -> str:
    if option.required:
        return " Required."
    if option.is_flag or option.default in (None, ()):
        return ""
    return f" Default: {option.default}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
