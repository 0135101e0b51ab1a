"""The file a trace lies in: a safetensors container whose every byte is under a checksum.

Eight bytes of header length, a JSON header, then the tensors without gaps. The header begins with its own
SHA-256, taken with that digest's 64 characters as zeros; under "simhw" it holds, as one JSON text, what a
trace says of itself, a SHA-256 of each tensor included. Mapped and read by our own lines, because the
safetensors library copies each tensor it reads into writeable memory, and writes its metadata in no fixed
order; any safetensors library reads the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from simhw.errors import TraceError
from simhw.files import replacing
from simhw.trace.tensors import CODES, DTYPES, REMAKE, Mapped, Tensor, as_json, with_any_value

SCHEMA = 1
_OPENING = b'{"__metadata__":{"header_sha256":"'
_DIGEST = slice(len(_OPENING), len(_OPENING) + 64)
_LARGEST_HEADER = 100_000_000  # bytes; the container's own limit


def write(path: Path, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file, whole or not at all; the same content gives the same bytes.

    The widest types come first, as in any safetensors file, so that every tensor is aligned.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    checksums = {name: tensors[name].checksum for name in names}
    header = _header({"schema": SCHEMA, **about, "checksums": checksums}, {n: tensors[n] for n in names})
    with replacing(path, TraceError) as unfinished, open(unfinished, "wb") as file:
        file.write(header)
        for name in names:
            file.write(np.ascontiguousarray(tensors[name].read()).data)


def read(path: Path, verify: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the header says of the trace, and the tensors, mapped; TraceError if it is not whole."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise TraceError(f"{path}: is empty; wants a trace: {REMAKE}")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}); wants a file that can be") from None
    header, start = _header_bytes(path, mapped)
    about, table = _checked_header(path, header)
    end = start + max((entry["data_offsets"][1] for entry in table.values()), default=0)
    if len(mapped) < end:
        raise TraceError(f"{path}: is cut short: has {len(mapped)} bytes of {end}; {REMAKE}")
    if len(mapped) > end:
        raise TraceError(f"{path}: has {len(mapped) - end} bytes after its last tensor; {REMAKE}")
    strange = with_any_value(about["graph"])
    return about, {
        name: Mapped(
            f"{path}: {name}", mapped, start + entry["data_offsets"][0], entry["shape"], entry["dtype"],
            about["checksums"][name], verify, name in strange,
        )
        for name, entry in table.items()
    }  # fmt: skip


def _header(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    table, at = {}, 0
    for name, tensor in tensors.items():
        end = at + math.prod(tensor.shape) * tensor.dtype.itemsize
        table[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    metadata = _OPENING + b"0" * 64 + b'","simhw":' + json.dumps(as_json(about)).encode() + b"}"
    text = metadata + b"," + as_json(table).encode()[1:]
    text += b" " * (-len(text) % 8)
    text = text[: _DIGEST.start] + _digest_of(text) + text[_DIGEST.stop :]
    return len(text).to_bytes(8, "little") + text


def _digest_of(header: bytes) -> bytes:
    zeroed = header[: _DIGEST.start] + b"0" * 64 + header[_DIGEST.stop :]
    return hashlib.sha256(zeroed).hexdigest().encode()


def _header_bytes(path: Path, mapped: mmap.mmap) -> tuple[bytes, int]:
    """Return the header and where the tensors start."""
    end = 8 + int.from_bytes(mapped[:8], "little")
    if 8 < end <= min(len(mapped), 8 + _LARGEST_HEADER):
        return mapped[8:end], end
    begun = mapped[8 : 8 + len(_OPENING)]
    if begun and _OPENING.startswith(begun):
        raise TraceError(f"{path}: is cut short: has {len(mapped)} bytes of more than {end}; {REMAKE}")
    raise TraceError(f"{path}: is not a trace: it has no header of tensors; make one with `simhw trace`")


def _checked_header(path: Path, header: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the header says of the trace and its table of tensors."""
    whole = _parsed(header)
    metadata = whole.get("__metadata__")
    about = _parsed(metadata.get("simhw")) if isinstance(metadata, dict) else {}
    if header.startswith(_OPENING) and header[_DIGEST] != _digest_of(header):
        raise TraceError(f"{path}: header: was altered since it was written (its checksum differs); {REMAKE}")
    if not whole:
        raise TraceError(f"{path}: is not a trace: it has no header of tensors; make one with `simhw trace`")
    if not about or not header.startswith(_OPENING):
        raise TraceError(f"{path}: holds tensors but is not a trace; make one with `simhw trace`")
    if about.get("schema") != SCHEMA:
        raise TraceError(
            f"{path}: schema: is version {about.get('schema')}, and this simhw reads version {SCHEMA}; "
            "remake it with `simhw trace`, or read it with the simhw that wrote it"
        )
    table = {name: entry for name, entry in whole.items() if name != "__metadata__"}
    faults = _faults(about, table) or _layout_faults(table)
    if faults:
        raise TraceError([f"{path}: header: {fault}; {REMAKE}" for fault in faults])
    return about, table


def _faults(about: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """Return what a header with a good checksum lacks: another program wrote it."""
    wants = {
        "name": str, "format": str, "graph": dict, "formats": dict, "aliases": dict, "provenance": dict,
        "image_digests": list, "checksums": dict,
    }  # fmt: skip
    faults = [f"{key}: is missing" for key, kind in wants.items() if not isinstance(about.get(key), kind)]
    if faults:
        return faults
    nodes = about["graph"].get("nodes")
    if not isinstance(nodes, list) or not all(map(_is_node, nodes)) or "output" not in about["graph"]:
        faults.append("graph: wants an output, and nodes of name, op, inputs and attrs")
    for name, number in about["formats"].items():
        if not isinstance(number, dict) or set(number) != {"bits", "fraction"} or not _whole(number.values()):
            faults.append(f"formats.{name}: wants whole bits and fraction")
    faults += [f"{name}: has no checksum" for name in table if name not in about["checksums"]]
    return faults + [
        f"aliases.{name}: names no tensor" for name, of in about["aliases"].items() if of not in table
    ]


def _layout_faults(table: Mapping[str, Any]) -> list[str]:
    """The tensors must cover the file's data, each byte once."""
    for name, entry in table.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES:
            return [f"{name}: wants a dtype out of {', '.join(DTYPES)}"]
        shape, place = entry.get("shape"), entry.get("data_offsets")
        if not _is_counts(shape) or not _is_counts(place) or len(place) != 2:
            return [f"{name}: wants a shape and its two offsets"]
        if math.prod(shape) * np.dtype(DTYPES[entry["dtype"]]).itemsize != place[1] - place[0]:
            return [f"{name}: takes more or less room in the file than its shape"]
    at = 0
    for name, entry in sorted(table.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["data_offsets"][0] != at:
            return [f"{name}: overlaps the tensor before it, or leaves a gap"]
        at = entry["data_offsets"][1]
    return []


def _parsed(text: Any) -> dict[str, Any]:
    """Return a JSON object, or an empty one if the text is none."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _whole(values: Any) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _is_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and _whole(values) and all(value >= 0 for value in values)


def _is_node(node: Any) -> bool:
    wants = {"name": str, "op": str, "inputs": list, "attrs": dict}
    return isinstance(node, dict) and all(isinstance(node.get(key), kind) for key, kind in wants.items())
