"""From a document to a description: every field looked at, every fault kept."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhw import components, core, dataflows, parameters, stepped, transforms
from simhw.core import reading
from simhw.core.dataflow import Role, fits_role
from simhw.core.machine import Part
from simhw.description.model import Description
from simhw.errors import DescriptionError, TechnologyError, did_you_mean
from simhw.technology import load_technology, technology_names
from simhw.yamlfile import Document, Place, show

FIELDS = (
    "name", "cites", "clock_mhz", "dataflow", "options", "transforms", "technology", "mapping", "components",
)  # fmt: skip
REGISTERED = (components, dataflows, stepped, transforms)  # imported so that what they hold registers itself
LARGEST_GRID = 1 << 20  # far above any chip, and what every count by array place takes in memory
ROLES = "a mapping of parts by role (dram: {kind: …})"
TRANSFORMS = "transforms by name with their options (name: {option: value}), or a list of names"


@dataclass(frozen=True, kw_only=True)
class Head(core.Spec):
    """The fields that can be checked by themselves."""

    name: reading.Name
    cites: reading.Text = ""
    clock_mhz: core.Megahertz


@dataclass(frozen=True, kw_only=True)
class GridSize(core.Spec):
    """The fields that make a part a grid, beside those of its kind."""

    rows: core.Count
    columns: core.Count


def checked(document: Document, source: Path | None, folder: Path | None) -> Description:
    """Return the description, or raise all that is wrong with it.

    Paths in it are seen from `folder`, those that override it from the current directory.
    """
    found = document.value
    document.unknown_fields((), FIELDS)
    reading.check(document, (), Head, {f: found[f] for f in reading.names(Head) if f in found})
    dataflow = _dataflow(document)
    options = _options(document, dataflow)
    transforms = _transforms(document, dataflow)
    technology = _technology(document, folder)
    mapping = _outside(document, "mapping", parameters.names("mapping"), "mapping", folder)
    parts = _parts(document, dataflow)
    document.finish()
    assert dataflow is not None  # or finish had raised
    assert options is not None
    return Description(
        name=found["name"],
        cites=found.get("cites", ""),
        clock_mhz=found["clock_mhz"],
        dataflow=dataflow.KIND,
        options=options,
        transforms=transforms,
        technology=technology,
        mapping=mapping,
        parts=parts,
        source=source,
    )


def _dataflow(document: Document) -> type[core.Dataflow] | None:
    kinds = core.dataflow_kinds()
    if "dataflow" not in document.value:
        document.fault(("dataflow",), f"is missing; known: {', '.join(kinds)}")
        return None
    name = document.value["dataflow"]
    if not isinstance(name, str) or name not in kinds:
        document.fault(("dataflow",), f"unknown dataflow {show(name)}{did_you_mean(name, kinds)}")
        return None
    return kinds[name]


def _options(document: Document, dataflow: type[core.Dataflow] | None) -> core.Spec | None:
    place = ("options",)
    given = document.value.get("options")
    if given is not None and not isinstance(given, dict):
        document.fault(place, f"wants a mapping of options (name: value), got {show(given)}")
        return None
    return None if dataflow is None else reading.build(document, place, dataflow.Options, given or {})


def _transforms(document: Document, dataflow: type[core.Dataflow] | None) -> dict[str, core.Spec]:
    """Return the options of each transform; a list of names means those of its defaults."""
    given = document.value.get("transforms")
    if given is None:
        return {}
    if isinstance(given, dict):
        asked = [(("transforms", name), name, own) for name, own in given.items()]
    elif isinstance(given, list | tuple):
        asked = [(("transforms", i), name, None) for i, name in enumerate(given)]
    else:
        document.fault(("transforms",), f"wants {TRANSFORMS}, got {show(given)}")
        return {}
    known, found = core.transform_kinds(), dict[str, core.Spec]()
    places: dict[str, Place] = {}
    for place, name, options in asked:
        fault = _no_transform(name, dataflow, places)
        if fault is not None:
            document.fault(place, fault, holder=isinstance(given, dict))
            continue
        places[name] = place
        if options is not None and not isinstance(options, dict):
            document.fault(place, f"wants a mapping of options (name: value), got {show(options)}")
            continue
        spec = reading.build(document, place, known[name].Options, options or {})
        if spec is not None:
            found[name] = spec
    for name, place in places.items():
        for other in known[name].EXCLUDES:
            if other in places:
                document.fault(place, f"{name} and {other} exclude each other; leave one out")
        for other in known[name].WANTS:
            if other not in places:
                document.fault(place, f"{name} wants {other} beside it; add it")
    return found


def _no_transform(name: Any, dataflow: type[core.Dataflow] | None, before: Container[str]) -> str | None:
    """Return why a name cannot stand among a description's transforms, or None."""
    known = core.transform_kinds()
    if not isinstance(name, str) or name not in known:
        return f"unknown transform {show(name)}{did_you_mean(name, known)}"
    if name in before:
        return f"names {name} twice; wants each transform once"
    if dataflow is not None and name not in dataflow.TRANSFORMS:
        takes = ", ".join(dataflow.TRANSFORMS) or "none"
        return f"{dataflow.KIND} does not take {show(name)}; it takes: {takes}"
    return None


def _technology(document: Document, folder: Path | None) -> str | None:
    known = technology_names()
    if "technology" not in document.value:
        wants = "wants a technology table, or null for no energies"
        document.fault(("technology",), f"is missing; {wants}; known: {', '.join(known)}")
        return None
    name = _outside(document, "technology", known, "technology table", folder)
    if name is not None and os.path.isfile(name):
        try:
            load_technology(name)
        except TechnologyError as error:  # its faults carry the lines of its own file
            document.add(error.faults)
    return name


def _outside(
    document: Document, field: str, known: Sequence[str], what: str, folder: Path | None
) -> str | None:
    """Return the shipped name or the path of a file that the description names."""
    given = document.value.get(field)
    if given is None:
        return None
    if isinstance(given, Path):  # Python callers may say it so
        given = f"./{given}" if given.parent == Path() else str(given)
    if not isinstance(given, str) or not given:
        document.fault((field,), f"wants the name or the path of a {what}, or null, got {show(given)}")
        return None
    if "/" not in given and not given.endswith((".yaml", ".yml")):
        if given not in known:
            document.fault((field,), f"unknown {what} {show(given)}{did_you_mean(given, known)}")
        return given
    seen_from = Path() if folder is None or document.is_override((field,)) else folder
    path = seen_from / given
    if not os.path.isfile(path):
        document.fault((field,), f"no such file: {path}; wants the name or the path of a {what}")
    return str(path)


def _parts(document: Document, dataflow: type[core.Dataflow] | None) -> dict[str, Part]:
    place = ("components",)
    if "components" not in document.value:
        document.fault(place, f"is missing; wants {ROLES}")
        return {}
    roles = None if dataflow is None else dataflow.ROLES
    found: dict[str, Part] = {}
    for name in document.mapping(place, ROLES):
        if roles is not None and name not in roles:
            text = f"unknown role {name!r}{did_you_mean(name, roles)}"
            document.fault((*place, name), text, holder=True)
            continue
        part = _part(document, (*place, name), None if roles is None else roles[name])
        if part is not None:
            found[name] = part
    for name, role in (roles or {}).items():
        if isinstance(document.at(place), dict) and name not in document.at(place):
            about = f", {role.about}" if role.about else ""
            document.fault((*place, name), f"is missing; the dataflow wants this role{about}")
    return found


def _part(document: Document, place: Place, role: Role | None) -> Part | None:
    """Return what fills a role; a `role` of None is one of an unknown dataflow, checked as far as it goes."""
    given = document.at(place)
    if not isinstance(given, dict):
        document.fault(place, f"wants a part, {{kind: …, field: value}}, got {show(given)}")
        return None
    kinds = core.component_kinds()
    if "kind" not in given:
        document.fault((*place, "kind"), f"is missing; known: {', '.join(kinds)}")
        return None
    name = given["kind"]
    if not isinstance(name, str) or name not in kinds:
        document.fault((*place, "kind"), f"unknown kind {show(name)}{did_you_mean(name, kinds)}", holder=True)
        return None
    kind = kinds[name]
    rest = {field: value for field, value in given.items() if field != "kind"}
    grid = _grid(document, place, rest, role)
    spec = reading.build(
        document, place, kind.Spec, rest, also=() if grid is None else reading.names(GridSize)
    )
    if spec is None:
        return None
    part = Part(kind=kind, spec=spec, **(grid or {}))
    try:
        _look_inside(kind, spec)
    except (DescriptionError, ValueError) as error:
        document.fault(place, "; ".join(str(error).splitlines()))
    lacks = [] if role is None else fits_role(role, part)
    if role is not None and lacks:
        fitting = [other for other in kinds if _offers(kinds[other], role.fields)]
        text = f"kind {name!r} lacks {', '.join(lacks)}; the role {place[-1]!r} wants a kind that has"
        document.fault((*place, "kind"), f"{text}: {', '.join(fitting) or 'none is known'}", holder=True)
    return part


def _grid(
    document: Document, place: Place, given: dict[str, Any], role: Role | None
) -> dict[str, Any] | None:
    """Take rows and columns out of `given`; return them where the part is a grid, else None."""
    size = {field: given.pop(field) for field in reading.names(GridSize) if field in given}
    if role is not None and not role.grid:
        for field in size:
            text = f"the role {place[-1]!r} is filled by one part, not by a grid; leave {field!r} out"
            document.fault((*place, field), text, holder=True)
        return None
    if role is None and not size:
        return None
    if reading.check(document, place, GridSize, size) and size["rows"] * size["columns"] > LARGEST_GRID:
        text = f"is {size['rows']:,} x {size['columns']:,}; wants at most {LARGEST_GRID:,} parts in a grid"
        document.fault(place, text)
    return size


def _look_inside(kind: type[core.Component], spec: core.Spec) -> None:
    """Ask a part for its structure and its inner parts, which refuse what they cannot be built with."""
    kind.structure(spec)
    for inner, inner_spec in kind.parts(spec).values():
        _look_inside(inner, inner_spec)


def _offers(kind: type[core.Component], fields: Iterable[str]) -> bool:
    return all(field in reading.names(kind.Spec) or hasattr(kind.Spec, field) for field in fields)
