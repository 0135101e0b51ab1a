"""The command itself: what it says when something is wrong, and its exit codes."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from simhw import __version__
from simhw.errors import SimhwError

DONE, OUTPUT_DIFFERS, WRONG_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


class Commands(TyperGroup):
    """Says what the user did wrong in a line per fault, and leaves our own bugs their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except SimhwError as error:
            for fault in error.faults:
                print(fault, file=sys.stderr)
            raise typer.Exit(WRONG_INPUT) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # whoever read our output has gone; Python would complain once more when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
                raise
            print(f"{error.filename or 'output'}: {error.strerror}", file=sys.stderr)
            raise typer.Exit(WRONG_INPUT) from None


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The first steps: simhw list; simhw run ACCELERATOR lenet_digits; simhw compare ACCELERATOR...",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"simhw {__version__}")
        raise typer.Exit(DONE)


@app.callback()
def simhw(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Cycle-level simulation of neural-network accelerators whose work depends on the data."""
