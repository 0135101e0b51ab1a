"""NumPy archives, read without ever opening a pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from simhw.errors import SimhwError

_BAD = (ValueError, OSError, EOFError, KeyError, SyntaxError, zipfile.BadZipFile, zlib.error, MemoryError)
_PICKLED = "holds pickled objects, which could run code and are never opened; save plain arrays of numbers"


class Npz:
    """A .npz: `names`, and each array when it is asked for; no file stays open in between.

    Whatever is wrong with it raises `error`.
    """

    def __init__(self, path: Path, error: type[SimhwError]) -> None:
        self._path, self._error = path, error
        try:
            with path.open("rb") as file:
                begins = file.read(4)
        except OSError as fault:
            raise error(f"{path}: cannot be read ({fault.strerror}); wants a file that can be") from None
        if begins[:1] == b"\x80":
            raise error(f"{path}: {_PICKLED}")
        if begins[:2] != b"PK":
            what = "is not an .npz file" if begins else "is empty"
            raise error(f"{path}: {what}; wants arrays saved by numpy.savez")
        with self._reading(f"{path}"), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            self.names: tuple[str, ...] = tuple(file.files)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> np.ndarray:
        where = f"{self._path}: {name}"
        with self._reading(where), self._path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            array = file[name]
        if array.dtype.kind not in "uif":
            raise self._error(f"{where}: holds {array.dtype}; wants numbers")
        return array

    @contextmanager
    def _reading(self, where: str) -> Iterator[None]:
        try:
            yield
        except _BAD as fault:
            what = _PICKLED if "allow_pickle" in str(fault) else "is cut short or altered; copy it again"
            raise self._error(f"{where}: {what}") from None
