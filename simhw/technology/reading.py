"""YAML read as plain data that remembers its lines, and refuses files made to exhaust memory."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from simhw.errors import TechnologyError, did_you_mean

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 50

# YAML 1.1 takes 1e-3 for text, having no point; whoever writes it means a number
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")

_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

Place = tuple[Hashable, ...]
"""Where a value stands: ("entries", "noc.hop", "source"); the steps of a list are "[0]", "[1]"."""


@dataclass
class Document:
    """What a YAML file says, the line of every field, and the faults found in it so far."""

    file: str
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def fault(self, place: Place, text: str, *, line: int | None = None) -> None:
        """Add one fault; its line is that of the place, or of what lies around it."""
        line = self.line(place) if line is None else line
        self.faults.append((line, f"{self.file}:{line}: {words(place)}: {text}"))

    def finish(self) -> None:
        """Raise everything that was found wrong, in the order of the lines."""
        if self.faults:
            raise TechnologyError([text for _, text in sorted(self.faults, key=lambda f: f[0])])

    def line(self, place: Place) -> int:
        """Return the line of a field, or of the nearest one around it that is there."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return 1

    def at(self, place: Place) -> Any:
        """Return the value at a place, None where there is none."""
        value = self.value
        for step in place:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, list):
                value = value[int(str(step)[1:-1])]
            else:
                return None
        return value

    def mapping(self, place: Place, wants: str) -> dict[Any, Any]:
        """Return the mapping at a place; anything else, or an empty one, is a fault and reads as empty."""
        value = self.at(place)
        if isinstance(value, dict) and value:
            return value
        self.fault(place, f"wants {wants}, got {show(value)}")
        return {}

    def known_fields(self, place: Place, known: Iterable[str]) -> None:
        """Report every field of the mapping at a place that is not one of `known`."""
        names = tuple(known)
        for name in self.at(place):
            if name not in names:
                hint = did_you_mean(name, names)
                self.fault(place, f"unknown field {str(name)!r}{hint}", line=self.line((*place, name)))

    def text(self, place: Place, wants: str) -> str:
        """Return the words at a place; anything else is a fault and reads as no words."""
        value = self.at(place)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
        self.fault(place, f"wants {wants}, got {show(value)}")
        return ""

    def number(self, place: Place, *, above: bool = False) -> float:
        """Return the number at a place, at least 0 (`above`: above 0); anything else is a fault."""
        value = as_number(self.at(place))
        if value is None or value < 0 or (above and value == 0):
            wants = "a number above 0" if above else "a number of at least 0"
            self.fault(place, f"wants {wants}, got {show(self.at(place))}")
            return 1.0
        return value

    def choice(self, place: Place, known: Iterable[str]) -> str:
        """Return which of `known` stands at a place; anything else is a fault and reads as the first."""
        names = tuple(known)
        value = self.at(place)
        if value in names:
            return str(value)
        if value is None:
            self.fault(place, f"is missing; wants one of {', '.join(names)}")
        else:
            self.fault(place, f"unknown {words(place[-1:])} {show(value)}{did_you_mean(value, names)}")
        return names[0]


def read_yaml(path: Path) -> Document:
    """Read a file whole; one that cannot be read as YAML is refused with its line."""
    document = Document(str(path))
    refuse = _Refuser(document)
    if path.is_dir():
        raise TechnologyError(f"{path}: is a directory; wants a .yaml file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TechnologyError(f"{path}: cannot be read: {error.strerror}; wants a .yaml file") from None
    if len(content) > MAX_BYTES:
        refuse(1, f"has {len(content):,} bytes; wants at most {MAX_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(content[: error.start].count(b"\n") + 1, "is not text; wants YAML in UTF-8")
    if not text.strip():
        refuse(1, "is empty; wants a technology table (docs/technology.md shows one)")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            refuse(1, "holds comments only; wants a technology table (docs/technology.md shows one)")
        document.value = _Plain(document, loader, refuse).plain(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        refuse(line, f"is not YAML: {error.problem or error.context}; look at the lines just before")
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        refuse(line, f"is not YAML: {error.reason}; wants printable text")
    except RecursionError:
        refuse(1, f"is nested too deep; wants at most {MAX_DEPTH} levels")
    return document


class _Refuser:
    """Stops the reading of a file: what follows could not be trusted."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def __call__(self, line: int, text: str) -> NoReturn:
        raise TechnologyError(f"{self.document.file}:{line}: file: {text}") from None


class _Plain:
    """Turns YAML nodes into plain data, filling a document."""

    def __init__(self, document: Document, loader: yaml.SafeLoader, refuse: _Refuser) -> None:
        self.document, self.loader, self.refuse = document, loader, refuse
        self.values = 0

    def plain(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(place, line)
        self.values += 1  # a node reached through several aliases counts each time: that is the bomb
        if self.values > MAX_VALUES:
            self.refuse(
                1, f"holds more than {MAX_VALUES:,} values once its aliases are followed; write it plainly"
            )
        if len(place) > MAX_DEPTH:
            self.refuse(1, f"is nested too deep; wants at most {MAX_DEPTH} levels")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            self.refuse(line, f"the tag {node.tag!r} is not read here; wants plain values")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*place, f"[{i}]")) for i, child in enumerate(node.value)]
        return self.scalar(node, line)

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.refuse(line, "a field's name wants to be a word, got a list or a mapping")
            key = self.scalar(key_node, line)
            here = (*place, key)
            if key in found:
                first = self.document.lines[here]
                self.document.fault(here, f"is given twice, first on line {first}; wants one", line=line)
                continue
            self.document.lines[here] = line
            found[key] = self.plain(child, here)
        return found

    def scalar(self, node: yaml.Node, line: int) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (ValueError, OverflowError):
            short = str(node.value)[:40]
            self.refuse(line, f"{short!r} cannot be read as a value; wants a plain number or text")
        except yaml.constructor.ConstructorError:
            self.refuse(line, f"the tag {node.tag!r} is not read here; wants plain values")
        if isinstance(value, str) and getattr(node, "style", None) is None and _NUMBER.fullmatch(value):
            return float(value)
        return value


def as_number(value: Any) -> float | None:
    """Return a finite number, None for anything else; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def words(place: Place) -> str:
    """Return a place as it is written in messages: `tables[3].actions[0].energy`."""
    return ".".join(str(step) for step in place).replace(".[", "[") or "file"


def show(value: Any) -> str:
    """Return a value as a message shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return f"{'a' if value else 'an empty'} {'mapping' if isinstance(value, dict) else 'list'}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
