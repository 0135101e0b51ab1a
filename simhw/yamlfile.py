"""YAML read as plain data that knows its lines: the one reader of every file a user writes by hand.

Less than YAML, on purpose. A file is one document of mappings, lists and single values; single
values are those of YAML 1.2's core schema, so `on` is text, `012` is twelve and `1e-3` is a number.
Keys are text. Anchors, aliases and tags are refused: they are how a small file becomes a large one
or runs something, and a description has no use for them. Where a tool writes the file, aliases may
be let in; each is then written out while reading, and what it stands for counts towards the limits.
"""

from __future__ import annotations

import functools
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from simhw.errors import SimhwError, did_you_mean

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 32
KEPT_CHARACTERS = 1 << 16
WIDTH = 100  # of a line that is written
MAX_DIGITS = 400  # a longer number stays text, and is refused as such by whoever wanted a number

Place = tuple[str | int, ...]

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)


@dataclass
class Document:
    """What a file says, the line of each field in it, and the faults found so far.

    A place is the path to a field: `("components", "pes", "rows")`, `("layers", 3, "kernel")`.
    `origins` holds places whose value was put in place of the file's, by what to call that.
    """

    file: str
    error: type[SimhwError] = SimhwError
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    origins: dict[Place, str] = field(default_factory=dict[Place, str])
    _faults: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def at(self, place: Place) -> Any:
        """Return the value at a place, None where there is none."""
        value = self.value
        for step in place:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def line(self, place: Place) -> int:
        """Return the line of a field, or that of the nearest field around it; 0 without a file."""
        return next((self.lines[p] for p in _outwards(place) if p in self.lines), 0)

    def override(self, place: Place, value: Any, origin: str) -> None:
        """Put a value in place of the file's; faults of it will begin with `origin`."""
        holder = self.value
        for depth, step in enumerate(place[:-1], start=1):
            if holder.get(step) is None:
                holder[step] = {}
                self.origins[place[:depth]] = origin
            holder = holder[step]
            if not isinstance(holder, dict):
                text = f"{origin}: {written(place[:depth])} is {show(holder)} and has no fields to set"
                self.add((text,))
                return
        holder[place[-1]] = value
        for known in (self.lines, self.origins):
            for inner in [p for p in known if p[: len(place)] == place]:
                del known[inner]
        self.origins[place] = origin

    def is_override(self, place: Place) -> bool:
        """Return whether the value at a place was put there by an override."""
        nearest = next((p for p in _outwards(place) if p in self.origins or p in self.lines), None)
        return nearest in self.origins

    def fault(self, place: Place, text: str, *, holder: bool = False, line: int | None = None) -> None:
        """Add one fault; with `holder` the message names what holds the field, not the field itself."""
        named = written(place[:-1] if holder else place)
        text = f"{named}: {text}" if named else text
        if line is None and self.is_override(place):
            origin = next(self.origins[p] for p in _outwards(place) if p in self.origins)
            self.add((f"{origin}: {text}",))
            return
        line = self.line(place) if line is None else line
        self._faults.append((line, f"{self.file}:{line}: {text}" if line else f"{self.file}: {text}"))

    @property
    def is_faulty(self) -> bool:
        """Whether a fault was found so far."""
        return bool(self._faults)

    def add(self, faults: Iterable[str]) -> None:
        """Add faults that say themselves where they lie; they come after the file's own."""
        self._faults += [(MAX_BYTES + 1, fault) for fault in faults]

    def unknown_fields(self, place: Place, known: Iterable[str]) -> None:
        """Add a fault for each field of the mapping at a place that is not known."""
        names = tuple(known)
        for name in self.at(place) or ():
            if name not in names:
                text = f"unknown field {name!r}{did_you_mean(name, names)}"
                self.fault((*place, name), text, holder=True)

    def mapping(self, place: Place, wants: str) -> dict[str, Any]:
        """Return the mapping at a place; anything else is a fault and reads as empty."""
        value = self.at(place)
        if isinstance(value, dict):
            return value
        self.fault(place, f"wants {wants}, got {show(value)}")
        return {}

    def finish(self) -> None:
        """Raise every fault at once, in the order of the file's lines; do nothing if there is none."""
        if self._faults:
            ordered = sorted(self._faults, key=lambda fault: fault[0])
            raise self.error(list(dict.fromkeys(text for _, text in ordered)))


def read(path: Path, error: type[SimhwError], wants: str, *, aliases: bool = False) -> Document:
    """Read a file; one that is not YAML at all is refused at once.

    `wants` says what the file is to hold: "an accelerator description".
    """
    try:
        if path.is_dir():
            raise error(f"{path}: is a directory; wants a YAML file with {wants}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}; wants a YAML file with {wants}") from None
    if len(content) > MAX_BYTES:
        raise error(f"{path}: has more than {MAX_BYTES:,} bytes; wants a YAML file with {wants}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        byte = content[reason.start]
        raise error(f"{path}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8 text") from None
    document = parse(text, str(path), error, aliases=aliases)
    if document.value is None:
        raise error(f"{path}: is empty; wants {wants}")
    if not isinstance(document.value, dict):
        line = document.line(())
        raise error(f"{path}:{line}: wants {wants}, fields as `name: value`, got {show(document.value)}")
    return document


def parse(text: str, file: str, error: type[SimhwError], *, aliases: bool = False) -> Document:
    """Return what a text says; `file` is how messages call it."""
    document = Document(file, error)
    reader = _Reader(document, aliases)
    try:
        for event in _events(text):
            reader.take(event)
    except yaml.reader.ReaderError as reason:
        line = text.count("\n", 0, reason.position) + 1
        what = f"character {chr(int(reason.character))!r}" if reason.character else "a character"
        raise error(f"{file}:{line}: {what} is not allowed in YAML; remove it") from None
    except yaml.MarkedYAMLError as reason:
        mark, begun = reason.problem_mark, reason.context_mark
        line = mark.line + 1 if mark else 1
        found = f"{reason.context} of line {begun.line + 1}, " if reason.context and begun else ""
        found += str(reason.problem)
        raise error(f"{file}:{line}: is not YAML: {found}; mend this line or the one before") from None
    return document


def _events(text: str) -> Iterable[yaml.Event]:
    """Return YAML's events; where the text is none, those before the place are still told."""
    try:
        return (
            _kept_events(text) if len(text) <= KEPT_CHARACTERS else yaml.parse(text, Loader=yaml.SafeLoader)
        )
    except yaml.YAMLError:
        return yaml.parse(text, Loader=yaml.SafeLoader)


@functools.lru_cache(maxsize=32)
def _kept_events(text: str) -> tuple[yaml.Event, ...]:
    """Return YAML's events; a sweep reads the same description again and again."""
    return tuple(yaml.parse(text, Loader=yaml.SafeLoader))


def show(value: Any) -> str:
    """Return a value as messages show it, cut short where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"{'a' if value else 'an empty'} {kind}"
    return reprlib.repr(value)


def written(place: Place) -> str:
    """Return a place as messages write it: `layers[3].kernel`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def scalar(text: str) -> Any:
    """Return the value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= MAX_DIGITS:
        for pattern, convert in _NUMBERS:
            if pattern.fullmatch(text):
                return convert(text)
    return text


def text_of(data: Mapping[str, Any], indent: str = "") -> str:
    """Return plain data as YAML: on lines of their own what lies on top, lists, and what is too long."""
    text = ""
    for name, value in data.items():
        line = f"{indent}{_flow(name)}: {_flow(value)}"
        inner = value.values() if isinstance(value, Mapping) else ()
        if inner and (not indent or len(line) > WIDTH or any(isinstance(one, list) for one in inner)):
            text += f"{indent}{_flow(name)}:\n{text_of(value, f'{indent}  ')}"
        elif isinstance(value, list) and len(line) > WIDTH:
            text += _wrapped(f"{indent}{_flow(name)}: ", value)
        else:
            text += f"{line}\n"
    return text


def _flow(value: Any) -> str:
    """Return plain data as YAML on one line; JSON is YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str) and value.replace("_", "").replace("-", "").replace("/", "").isalnum():
        plain = value[0].isalpha() and value.lower() not in ("true", "false", "null")
        return value if plain else json.dumps(value)
    return json.dumps(value)


def _wrapped(start: str, values: list[Any]) -> str:
    """Return a list as YAML, its lines no longer than they need be."""
    inner = " " * (len(start) - len(start.lstrip()) + 2)
    lines, line = [], f"{start}["
    for i, value in enumerate(values):
        text = _flow(value) + ("," if i + 1 < len(values) else "")
        if len(line) + 1 + len(text) > WIDTH and i:
            lines.append(line)
            line = inner
        line += f" {text}" if line[-1] not in "[ " else text
    return "\n".join([*lines, f"{line}]"]) + "\n"


def _outwards(place: Place) -> Iterator[Place]:
    for end in range(len(place), -1, -1):
        yield place[:end]


@dataclass
class _Open:
    """A mapping or list whose end has not come yet; `key` is the field that waits for its value."""

    place: Place
    items: dict[str, Any] | list[Any]
    key: str | None = None
    repeated: bool = False

    @property
    def wants_key(self) -> bool:
        return isinstance(self.items, dict) and self.key is None


@dataclass
class _Anchored:
    """The events of a value that has an anchor, those of aliases in it followed; `depth` is where it lies."""

    depth: int
    events: list[yaml.Event] = field(default_factory=list[yaml.Event])
    is_whole: bool = False


class _Reader:
    """Builds a document from YAML's events, and stops where going on could not be trusted."""

    def __init__(self, document: Document, aliases: bool) -> None:
        self.document = document
        self.aliases = aliases
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.anchored: list[_Anchored] = []  # those that are being read, the innermost last
        self.values = 0
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.refuse(line, "a second document begins; wants one document in a file")
        elif isinstance(event, yaml.AliasEvent):
            for meant in self.events_of(event.anchor, line):
                self.build(meant, line)
        elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            if isinstance(event, yaml.NodeEvent) and event.anchor:
                self.begin_anchored(event.anchor, line)
            self.build(event, line)

    def events_of(self, anchor: str, line: int) -> list[yaml.Event]:
        """Return the events that an alias stands for."""
        if not self.aliases:
            self.refuse(line, f"an alias (*{anchor}) is not taken here; write the value out")
        if anchor not in self.anchors:
            self.refuse(line, f"an alias (*{anchor}) of no anchor before it; write the value out")
        if not self.anchors[anchor].is_whole:
            self.refuse(line, f"an alias (*{anchor}) lies in what it stands for; write the value out")
        return self.anchors[anchor].events

    def begin_anchored(self, anchor: str, line: int) -> None:
        if not self.aliases:
            self.refuse(line, f"an anchor (&{anchor}) is not taken here; leave it out")
        self.anchors[anchor] = _Anchored(len(self.open))
        self.anchored.append(self.anchors[anchor])

    def build(self, event: yaml.Event, line: int) -> None:
        """Add what an event says; an alias's events come with the line of the alias."""
        for anchored in self.anchored:
            anchored.events.append(event)
        if isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self.check(event, line)
            if isinstance(event, yaml.CollectionStartEvent):
                items: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
                self.open.append(_Open(self.put(items, line), items))
            elif self.open and self.open[-1].wants_key:
                self.begin_field(self.open[-1], event.value, line)
            else:
                self.put(scalar(event.value) if event.implicit[0] else event.value, line)
        if self.anchored and self.anchored[-1].depth == len(self.open):
            self.anchored.pop().is_whole = True

    def check(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        self.values += 1
        if event.tag and event.tag != "!":
            self.refuse(line, f"a tag ({event.tag}) is not taken here; write a plain value")
        if self.values > MAX_VALUES:
            followed = ", its aliases followed" if self.anchors else ""
            self.refuse(line, f"more than {MAX_VALUES:,} values{followed}; no file here needs as many")
        if len(self.open) > MAX_DEPTH:
            self.refuse(line, f"nested more than {MAX_DEPTH} deep; write it flatter")

    def put(self, value: Any, line: int) -> Place:
        """Put a value where it belongs and return its place."""
        if not self.open:
            self.document.value = value
            self.document.lines[()] = line
            return ()
        around = self.open[-1]
        if isinstance(around.items, list):
            place = (*around.place, len(around.items))
            around.items.append(value)
            self.document.lines.setdefault(place, line)
            return place
        if around.key is None:
            self.refuse(line, "a field's name wants to be a word, got a list or a mapping")
        place = (*around.place, around.key)
        if not around.repeated:
            around.items[around.key] = value
        around.key = None
        return place

    def begin_field(self, around: _Open, key: str, line: int) -> None:
        place = (*around.place, key)
        around.key, around.repeated = key, key in around.items
        if around.repeated:
            first = self.document.line(place)
            self.document.fault(place, f"is given twice, first on line {first}; keep one", line=line)
        else:
            self.document.lines.setdefault(place, line)

    def refuse(self, line: int, text: str) -> NoReturn:
        raise self.document.error(f"{self.document.file}:{line}: {text}")
