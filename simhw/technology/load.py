"""Finding a technology table by name or path, and telling its two formats apart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from simhw import shipped
from simhw.errors import TechnologyError
from simhw.technology import accelergy, parse
from simhw.technology.table import Technology
from simhw.yamlfile import Document, read

_KIND, _SUFFIX = "technology", ".yaml"


def technology_names() -> list[str]:
    """Return the names of the tables that come with simhw."""
    return shipped.names(_KIND, _SUFFIX)


def load_technology(name_or_path: str | Path) -> Technology:
    """Return the table meant by a path, or by a shipped name where no such file is here.

    The file is a table as docs/technology.md describes it, or an energy reference table (ERT) that
    Accelergy wrote. Every fault of a wrong file is reported at once.
    """
    path = shipped.find(_KIND, name_or_path, _SUFFIX, TechnologyError)
    document = _read(path)
    digest = _digest(path)
    if accelergy.is_ert(document.value):
        table = accelergy.read_ert(document)
        document.finish()
        return accelergy.technology_of(table, name=path.stem, digest=digest)
    technology = parse.parse_table(document, digest, _read_ert_of)
    document.finish()
    return technology


def _read_ert_of(document: Document, given: str) -> tuple[accelergy.Ert, str] | None:
    """Read the ERT that a table names, its path seen from the table; its faults stand with its lines."""
    path = Path(document.file).parent / given
    if not os.path.isfile(path):
        document.fault(("accelergy",), f"no such file: {path}; wants the ERT that Accelergy wrote")
        return None
    inner = _read(path)
    if not accelergy.is_ert(inner.value):
        inner.fault((), "is no energy reference table; wants the field 'ERT' that Accelergy writes")
        inner.finish()
    ert = accelergy.read_ert(inner)
    inner.finish()
    return ert, _digest(path)


def _read(path: Path) -> Document:
    """Read a file, following aliases: tools that write YAML may leave them in an ERT."""
    return read(path, TechnologyError, "a technology table (docs/technology.md shows one)", aliases=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
