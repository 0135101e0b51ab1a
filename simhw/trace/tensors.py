"""A trace's tensors: held in memory or mapped from a file, read-only, checked when they are first read."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from simhw.errors import TraceError
from simhw.stream import KIND

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}
CODES = {np.dtype(text): code for code, text in DTYPES.items()}
REMAKE = "copy it again, or remake it with `simhw trace`"


class Tensor(Protocol):
    """A tensor that a trace holds, wherever it lies. Its shape and type are known without reading it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def checksum(self) -> str: ...

    def read(self) -> np.ndarray: ...


class Held:
    """A tensor in memory."""

    def __init__(self, array: np.ndarray, where: str, any_value: bool = False) -> None:
        self._array = np.ascontiguousarray(array).view()
        self._array.setflags(write=False)
        self._where, self._any_value = where, any_value
        self.shape, self.dtype = array.shape, array.dtype
        if self.dtype not in CODES:
            raise ValueError(f"{where}: a trace does not hold {array.dtype}")

    @property
    def checksum(self) -> str:
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        return sha256_of(self._array)

    @cached_property
    def _checked(self) -> np.ndarray:
        return self._array if self._any_value else finite(self._array, self._where)

    def read(self) -> np.ndarray:
        return self._checked


class Mapped:
    """A tensor in a mapped file. Its bytes are touched, and checked, when it is first read."""

    def __init__(
        self,
        where: str,
        mapped: mmap.mmap,
        offset: int,
        shape: list[int],
        dtype: str,
        checksum: str,
        verify: bool,
        any_value: bool = False,
    ) -> None:
        self._where, self._mapped, self._offset, self._verify = where, mapped, offset, verify
        self._any_value = any_value
        self.shape, self.dtype, self.checksum = tuple(shape), np.dtype(DTYPES[dtype]), checksum

    @cached_property
    def _checked(self) -> np.ndarray:
        flat = np.frombuffer(self._mapped, self.dtype, math.prod(self.shape), self._offset)
        if not self._verify:
            return flat.reshape(self.shape)
        if sha256_of(flat) != self.checksum:
            raise TraceError(
                f"{self._where}: was altered since it was written (its checksum differs); {REMAKE}"
            )
        return flat.reshape(self.shape) if self._any_value else finite(flat.reshape(self.shape), self._where)

    def read(self) -> np.ndarray:
        return self._checked


class Cut:
    """The first rows of a tensor."""

    def __init__(self, whole: Tensor, rows: int) -> None:
        self._whole, self._rows = whole, rows
        self.shape, self.dtype = (rows, *whole.shape[1:]), whole.dtype

    @property
    def checksum(self) -> str:
        return self._checksum

    @cached_property
    def _checksum(self) -> str:
        return sha256_of(self.read())

    def read(self) -> np.ndarray:
        return self._whole.read()[: self._rows]


def with_any_value(graph: Mapping[str, Any]) -> set[str]:
    """Return the tensors in which NaN and infinity are values as others: what streams put out."""
    return {f"{node['name']}.expected" for node in graph["nodes"] if node["op"] == KIND}


def finite(array: np.ndarray, where: str) -> np.ndarray:
    """Return the array, unless it holds a NaN or an infinity."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array
    wrong = np.argwhere(~np.isfinite(array))
    first = tuple(int(i) for i in wrong[0])
    raise TraceError(
        f"{where}: holds values that are not finite, {len(wrong)} in all, the first ({array[first]}) at "
        f"{list(first)}; wants finite numbers"
    )


def as_json(data: Any) -> str:
    """Return the one JSON text of plain data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def sha256_of(data: Any) -> str:
    """Return the SHA-256, in hex, of an array's bytes, of text, or of plain data as JSON."""
    if isinstance(data, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(data).data if data.size else b"").hexdigest()
    return hashlib.sha256((data if isinstance(data, str) else as_json(data)).encode()).hexdigest()
