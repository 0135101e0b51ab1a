"""Finding a technology table by name or path, and telling its two formats apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

from simhw.errors import TechnologyError, did_you_mean
from simhw.technology import accelergy, parse
from simhw.technology.reading import Document, read_yaml
from simhw.technology.table import Technology

_SHIPPED = Path(__file__).resolve().parent


def technology_names() -> list[str]:
    """Return the names of the tables that come with simhw."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def load_technology(name_or_path: str | Path) -> Technology:
    """Return the table meant by a path, or by a shipped name where no such file is here.

    The file is a table as docs/technology.md describes it, or an energy reference table (ERT) that
    Accelergy wrote. Every fault of a wrong file is reported at once.
    """
    path = _find(name_or_path)
    document = read_yaml(path)
    digest = _digest(path)
    if accelergy.is_ert(document.value):
        table = accelergy.read_ert(document)
        document.finish()
        return accelergy.technology_of(table, name=path.stem, digest=digest)
    technology = parse.parse_table(document, digest, _read_ert_of)
    document.finish()
    return technology


def _find(name: str | Path) -> Path:
    given = Path(name)
    for candidate in (given, Path(f"{name}.yaml")):
        if candidate.is_file():
            return candidate
    stem = given.name.removesuffix(".yaml")
    shipped = _SHIPPED / f"{stem}.yaml"
    if given.parent == Path(".") and shipped.is_file():
        return shipped
    if given.is_dir():
        raise TechnologyError(f"{name}: is a directory; wants a .yaml file")
    hint = did_you_mean(stem, technology_names())
    raise TechnologyError(f"{name}: no such file, and no shipped technology table has that name{hint}")


def _read_ert_of(document: Document, given: str) -> tuple[accelergy.Ert, str] | None:
    """Read the ERT that a table names, its path seen from the table; its faults stand with its lines."""
    path = Path(document.file).parent / given
    if not path.is_file():
        document.fault(("accelergy",), f"no such file: {path}; wants the ERT that Accelergy wrote")
        return None
    inner = read_yaml(path)
    if not accelergy.is_ert(inner.value):
        inner.fault((), "is no energy reference table; wants the field 'ERT' that Accelergy writes")
        inner.finish()
    ert = accelergy.read_ert(inner)
    inner.finish()
    return ert, _digest(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
