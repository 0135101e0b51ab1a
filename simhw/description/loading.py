"""From a name, a file or plain data to a checked description."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from simhw import shipped
from simhw.description.checking import checked
from simhw.description.model import Description
from simhw.errors import DescriptionError
from simhw.yamlfile import Document, parse, read

Overrides = Mapping[str, Any] | Sequence[str]


def load_accelerator(
    accelerator: str | Path | Mapping[str, Any] | Description, overrides: Overrides = ()
) -> Description:
    """Return the description meant by a name, a path or plain data, with fields overridden.

    Overrides are texts `path=value`, the value in YAML ("components.pes.rows=8"), or a mapping
    from such paths to values. Of several for one path the last counts.
    """
    source: Path | None = None
    if isinstance(accelerator, Description):
        if not overrides:
            return accelerator
        source = accelerator.source
        document = Document(accelerator.name, DescriptionError, accelerator.to_dict())
    elif isinstance(accelerator, Mapping):
        document = Document("description", DescriptionError, copy.deepcopy(dict(accelerator)))
    else:
        source = shipped.find("accelerators", accelerator, ".yaml", DescriptionError)
        document = read(source, DescriptionError, "an accelerator description")
    pairs = list(_pairs(overrides, document))
    if any(path.startswith("transforms.") for path, _, _ in pairs):
        _spell_out(document)
    for path, value, origin in pairs:
        document.override(tuple(path.split(".")), value, origin)
    folder = None if isinstance(accelerator, Description) or source is None else source.parent
    return checked(document, source, folder)


def _spell_out(document: Document) -> None:
    """Make of a list of transforms a mapping, whose options can be overridden."""
    given = document.value.get("transforms")
    names = [name for name in given if isinstance(name, str)] if isinstance(given, list | tuple) else []
    if names and len(set(names)) == len(given or ()):
        document.value["transforms"] = {name: {} for name in names}
        for i, name in enumerate(names):
            document.lines["transforms", name] = document.line(("transforms", i))


def _pairs(overrides: Overrides, document: Document) -> Iterator[tuple[str, Any, str]]:
    """Yield (path, value, how messages call it); what is neither goes to the document's faults."""
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        given = [(path, value, f"--set {path}={value}") for path, value in overrides.items()]
    else:
        given = []
        for text in overrides:
            path, equals, value = text.partition("=")
            origin = f"--set {text}"
            if not equals:
                document.add((f"{origin}: wants PATH=VALUE, such as components.pes.rows=8",))
                continue
            try:
                given.append((path.strip(), parse(value, origin, DescriptionError).value, origin))
            except DescriptionError as error:  # the one line of an option has no number
                document.add(fault.replace(f"{origin}:1:", f"{origin}:", 1) for fault in error.faults)
    for path, value, origin in given:
        if all(path.split(".")):
            yield path, value, origin
        else:
            document.add((f"{origin}: {path!r} is no path; wants names with points, such as clock_mhz",))
