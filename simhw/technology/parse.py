"""A table in simhw's own format: what it may say, and what is wrong with one that says it otherwise."""

from __future__ import annotations

import functools
from collections.abc import Callable

from simhw.errors import did_you_mean
from simhw.technology import accelergy, fields
from simhw.technology.table import RULES, STATUSES, Area, Curve, Entry, Technology
from simhw.yamlfile import Document, Place, scalar, show, written

FIELDS = (
    "name", "node_nm", "volts", "source", "sources", "unit", "relative_to", "scale_pj_per_unit",
    "entries", "free", "areas", "accelergy", "map", "among_arguments",
)  # fmt: skip
FLAT = {"pJ": "energy_pj", "ratio": "energy_per_access"}
PER_BIT = {"pJ": "energy_pj_per_bit", "ratio": "energy_per_bit"}
CURVES = ("by_bits", "float_by_bits", "by_size_kib")
AREA_FIELDS = ("area_um2", "by_size_kib", "rule", "source", "status", "note")

ReadErt = Callable[[Document, str], "tuple[accelergy.Ert, str] | None"]


def parse_table(document: Document, digest: str, read_ert: ReadErt) -> Technology:
    """Return the table that a document describes; its faults are gathered in the document."""
    top = document.value
    if "ERT_summary" in top:
        document.fault(("ERT_summary",), "leaves out energies; wants the ERT that Accelergy writes beside it")
        document.finish()
    document.unknown_fields((), FIELDS)
    name = fields.text(document, ("name",), "the table's name")
    source = fields.text(document, ("source",), "where the table as a whole comes from")
    has_ert = "accelergy" in top
    unit = "pJ"
    if not has_ert or "unit" in top:
        unit = fields.choice(document, ("unit",), FLAT)
    scale, scale_status = _scale(document, unit)
    if has_ert and unit == "ratio":
        document.fault(("unit",), "an ERT is in pJ; wants unit pJ beside accelergy")
    relative_to = ""
    if unit == "ratio":
        relative_to = fields.text(
            document, ("relative_to",), "what 1 is the energy of, such as 'RF accesses'"
        )
    elif "relative_to" in top:
        document.fault(("relative_to",), "means nothing in a table in pJ; leave it out, or say unit: ratio")
    sources = _sources(document)
    entries = _entries(document, unit, sources, required=not has_ert)
    free = _free(document, entries)
    by_path = None
    if has_ert:
        path = fields.text(document, ("accelergy",), "the path of an ERT file")
        found = read_ert(document, path) if path else None
        if found:
            by_path = functools.partial(accelergy.Ert.price, accelergy.with_map(found[0], document))
            digest = f"{digest}+{found[1]}"
    else:
        for field in ("map", "among_arguments"):
            if field in top:
                document.fault((field,), "means nothing without accelergy; name the ERT file there")
    return Technology(
        name=name,
        file=document.file,
        digest=digest,
        source=source,
        unit=unit,
        relative_to=relative_to,
        scale_pj_per_unit=scale,
        scale_status=scale_status,
        node_nm=fields.number(document, ("node_nm",), above=True) if "node_nm" in top else None,
        volts=fields.number(document, ("volts",), above=True) if "volts" in top else None,
        entries=entries,
        free=free,
        areas=_areas(document, sources),
        by_path=by_path,
    )


def _scale(document: Document, unit: str) -> tuple[float | None, str]:
    """Return the pJ of one unit, None while it is not known, and whether it was printed or fitted."""
    place: Place = ("scale_pj_per_unit",)
    if document.at(place) is None and "scale_pj_per_unit" not in document.value:
        return None, ""
    if unit != "ratio":
        document.fault(place, "means nothing in a table in pJ; leave it out, or say unit: ratio")
        return None, ""
    given = fields.mapping(document, place, "value, status, source")
    if not given:
        return None, ""
    document.unknown_fields(place, ("value", "status", "source", "note"))
    status = _status(document, place)
    _source(document, place, {})
    if given.get("value") is None:
        return None, status
    return fields.number(document, (*place, "value"), above=True), status


def _sources(document: Document) -> dict[str, str]:
    if "sources" not in document.value:
        return {}
    given = fields.mapping(document, ("sources",), "citations by a short name")
    return {name: fields.text(document, ("sources", name), "a citation") for name in given}


def _source(document: Document, place: Place, sources: dict[str, str]) -> str:
    """Return the citation of a number; none, or a short name that nothing explains, is a fault."""
    given = document.at((*place, "source"))
    if given is None:
        document.fault(place, "has no source; wants the paper, table or tool that its numbers come from")
        return ""
    text = fields.text(document, (*place, "source"), "the paper, table or tool that the numbers come from")
    if text in sources:
        return sources[text]
    if text and sources and " " not in text:
        document.fault((*place, "source"), f"unknown source {text!r}{did_you_mean(text, sources)}")
    return text


def _status(document: Document, place: Place) -> str:
    """Return how a number was come by; one that the source does not print needs a note."""
    if document.at((*place, "status")) is None:
        return STATUSES[0]
    status = fields.choice(document, (*place, "status"), STATUSES)
    if status != STATUSES[0]:
        if document.at((*place, "note")) is None:
            document.fault(place, f"is {status} and has no note; wants one that says how")
        else:
            fields.text(document, (*place, "note"), f"how the number was {status}")
    return status


def _entries(document: Document, unit: str, sources: dict[str, str], *, required: bool) -> dict[str, Entry]:
    place: Place = ("entries",)
    if "entries" not in document.value:
        if required:
            document.fault((), "has no entries; wants prices by kind.action")
        return {}
    found: dict[str, Entry] = {}
    for key in fields.mapping(document, place, "prices by kind.action"):
        entry = _entry(document, (*place, key), unit, sources)
        for name in _actions(document, (*place, key), key):
            if name in found:
                document.fault((*place, key), f"{name} has a price already; wants one")
            elif entry:
                found[name] = entry
    return found


def _actions(document: Document, place: Place, key: str) -> list[str]:
    """Return the kind.action names of a key: one, or several with commas between."""
    names = [name.strip() for name in key.split(",")]
    for name in names:
        kind, _, action = name.rpartition(".")
        if not kind or not action:
            document.fault(place, f"{name!r} names no action; wants kind.action, or kind.* for all of a kind")
    return names


def _entry(document: Document, place: Place, unit: str, sources: dict[str, str]) -> Entry | None:
    flat, per_bit = FLAT[unit], PER_BIT[unit]
    amounts = (flat, per_bit, *CURVES)
    if not fields.mapping(document, place, f"a price: one of {', '.join(amounts)}; and source"):
        return None
    given = document.at(place)
    document.unknown_fields(place, (*amounts, "per_bits", "rule", "source", "status", "note"))
    source = _source(document, place, sources)
    status = _status(document, place)
    forms = [name for name in amounts if name in given]
    if "by_bits" in forms and "float_by_bits" in forms:
        forms.remove("float_by_bits")
    if not forms:
        document.fault(place, f"has no price; wants one of {', '.join(amounts)}")
        return None
    if len(forms) > 1:
        document.fault(place, f"has several prices: {', '.join(forms)}; wants one of them")
        return None
    form = forms[0]
    curves = {name: _curve(document, place, name) for name in CURVES if name in given}
    per_bits = None
    if "per_bits" in given:
        if form in (flat, "by_size_kib"):
            per_bits = fields.number(document, (*place, "per_bits"), above=True)
        else:
            document.fault((*place, "per_bits"), f"means nothing beside {form}; leave it out")
    if form == per_bit:
        per_bits = 1.0
    if "rule" in given and not curves:
        document.fault((*place, "rule"), f"means nothing beside {form}; leave it out")
    energy = fields.number(document, (*place, form)) if form in (flat, per_bit) else 0.0
    return Entry(
        place=written(place),
        source=source, status=status, energy=energy, per_bits=per_bits, **curves,
    )  # fmt: skip


def _curve(document: Document, place: Place, name: str) -> Curve | None:
    """Read numbers by width or size, with the rule that stands beside them."""
    here = (*place, name)
    given = fields.mapping(document, here, "numbers by size, such as {8: 10, 32: 20}")
    rule = document.at((*place, "rule"))
    if rule is None:
        document.fault(
            place, f"has {name} and no rule; wants what holds between the numbers: {', '.join(RULES)}"
        )
    elif rule not in RULES:
        fields.choice(document, (*place, "rule"), RULES)
    numbers: dict[float, float] = {}
    for size in given:
        x = fields.as_number(scalar(size))
        if x is None or x <= 0:
            document.fault((*here, size), f"wants a number above 0 before the colon, got {show(size)}")
        elif x in numbers:
            document.fault((*here, size), "is given twice, written otherwise; keep one")
        else:
            numbers[x] = fields.number(document, (*here, size), above=rule == "power_law")
    points = tuple(sorted(numbers.items()))
    if rule in ("linear", "power_law") and 0 < len(points) < 2:
        document.fault(here, f"{rule} wants at least two numbers, got 1; or say exact or proportional")
    if rule == "proportional" and len(points) > 1:
        document.fault(here, f"proportional wants one number, got {len(points)}; or say linear or power_law")
    return Curve(points=points, rule=str(rule)) if points else None


def _free(document: Document, entries: dict[str, Entry]) -> dict[str, str]:
    if document.at(("free",)) is None:
        return {}
    found: dict[str, str] = {}
    for key in fields.mapping(document, ("free",), "actions that cost nothing, each with the reason"):
        place = ("free", key)
        reason = fields.text(document, place, "the reason why it costs nothing")
        for name in _actions(document, place, key):
            if name in entries:
                document.fault(place, f"{name} has a price among the entries too; wants one or the other")
            found[name] = reason
    return found


def _areas(document: Document, sources: dict[str, str]) -> dict[str, Area]:
    if document.at(("areas",)) is None:
        return {}
    found: dict[str, Area] = {}
    for kind in fields.mapping(document, ("areas",), "areas by kind"):
        place = ("areas", kind)
        if not fields.mapping(document, place, "an area: area_um2 or by_size_kib; and source"):
            continue
        given = document.at(place)
        document.unknown_fields(place, AREA_FIELDS)
        source = _source(document, place, sources)
        status = _status(document, place)
        if ("area_um2" in given) == ("by_size_kib" in given):
            document.fault(place, "wants one of area_um2, by_size_kib")
            continue
        curve = _curve(document, place, "by_size_kib") if "by_size_kib" in given else None
        found[kind] = Area(
            source=source, status=status, by_size_kib=curve,
            area_um2=0.0 if curve else fields.number(document, (*place, "area_um2")),
        )  # fmt: skip
    return found
