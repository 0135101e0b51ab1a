"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simhw.errors import SimhwError


def check_output(path: str | Path, error: type[SimhwError] = SimhwError) -> Path:
    """Return `path` if a file can be written there; raise before hours of work if it cannot."""
    given = Path(path)
    parent = given.parent
    with _said(path, error):
        if given.is_dir():
            raise error(f"{path}: is a directory; wants the name of a file to write")
        if not parent.exists():
            raise error(f"{path}: there is no folder {str(parent)!r}; make it first")
        if not parent.is_dir():
            raise error(f"{path}: {str(parent)!r} is not a folder; wants a file name in a folder")
        target = given if given.exists() else parent
    if not os.access(target, os.W_OK):
        raise error(f"{path}: cannot be written: no permission for {str(target)!r}")
    return given


def check_outputs(
    outputs: Iterable[str | Path | None],
    reads: Iterable[str | Path | None],
    error: type[SimhwError] = SimhwError,
) -> None:
    """Raise if a file cannot be written, is one that the same command reads, or is written twice.

    Links are followed; a path that is None is none.
    """
    read = {os.path.realpath(path) for path in reads if path is not None}
    written: dict[str, str | Path] = {}
    for path in outputs:
        if path is None:
            continue
        place = os.path.realpath(check_output(path, error))
        if place in read:
            raise error(f"{path}: is a file that this command reads; wants another name to write to")
        if place in written:
            raise error(
                f"{path}: is the file that {written[place]} names as well; wants a file for each output"
            )
        written[place] = path


@contextmanager
def replacing(path: str | Path, error: type[SimhwError] = SimhwError) -> Iterator[Path]:
    """Give the name of a temporary file that becomes `path` when the block ends well.

    Until then whatever is at `path` stays as it was, and after a failure nothing else is left.
    A link is followed; a device or a pipe is written to directly.
    """
    given = check_output(path, error)
    if given.exists() and not given.is_file():
        with _said(path, error):
            yield given
        return
    target = Path(os.path.realpath(given))
    with _said(path, error):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
        os.close(handle)
        unfinished = Path(name)
        try:
            yield unfinished
            unfinished.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def _said(path: str | Path, error: type[SimhwError]) -> Iterator[None]:
    """Turn what the system refuses into a line for the user."""
    try:
        yield
    except OSError as fault:
        raise error(f"{path}: cannot be written: {fault.strerror or fault}") from fault


def write_file(path: str | Path, content: str | bytes, error: type[SimhwError] = SimhwError) -> Path:
    """Write a whole file, in place of any that is there."""
    with replacing(path, error) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
