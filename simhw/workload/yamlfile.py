"""YAML as plain data that knows its lines, and refuses what only an attack or a slip would hold.

No anchors or aliases (so nothing expands), no tags (so nothing is constructed), one document, no key
twice, bounded size and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simhw.errors import SimhwError

_LARGEST = 1 << 20  # bytes
_DEEPEST = 16  # maps and lists within one another
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # YAML 1.1 takes 1e-4 for a word
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class YamlFile:
    """What a file holds, and the line (from 1) where each value stands, by its keys from the top."""

    path: Path
    data: Any
    lines: dict[tuple[str | int, ...], int]

    def place(self, *keys: str | int) -> str:
        """Return "file:line" of a value, or of the nearest thing around it that is there."""
        while keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}:{self.lines[keys]}"


def read(path: Path, error: type[SimhwError]) -> YamlFile:
    """Return the file's data; raise `error` with a line for each fault."""
    text = _text(path, error)
    try:
        faults = list(_unwanted(text))
        if faults:
            raise error([f"{path}:{line}: {fault}" for line, fault in faults])
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        words = getattr(problem, "problem", None) or "a character that no text holds"
        raise error(f"{path}{line}: is not YAML ({words}); mend it there or just above") from None
    if root is None:
        raise error(f"{path}: is empty; wants a YAML description")
    lines: dict[tuple[str | int, ...], int] = {}
    found: list[tuple[int, str]] = []
    data = _built(root, (), lines, found)
    if found:
        raise error([f"{path}:{line}: {fault}" for line, fault in found])
    return YamlFile(path, data, lines)


def _text(path: Path, error: type[SimhwError]) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise error(
                f"{path}: holds {path.stat().st_size} bytes; wants at most {_LARGEST}: is it a description?"
            )
        return path.read_text("utf-8")
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror}); wants a file that can be") from None
    except UnicodeDecodeError:
        raise error(f"{path}: is not text; wants a YAML description") from None


def _unwanted(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, fault), reading events alone: nothing is built of what is refused."""
    depth = documents = 0
    for event in yaml.parse(text, _Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield line, "a second document begins; wants one"
                return
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            yield line, f"alias *{anchor}: wants no anchors and aliases; write the value out"
        elif anchor:
            yield line, f"anchor &{anchor}: wants no anchors and aliases; write the value out"
        tag = None if isinstance(event, yaml.DocumentStartEvent) else getattr(event, "tag", None)
        if tag:
            yield line, f"tag {tag}: wants plain words, numbers, lists and maps; leave the tag out"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            yield line, f"more than {_DEEPEST} maps and lists within one another; wants fewer"
            return


def _built(
    node: yaml.Node, keys: tuple[str | int, ...], lines: dict[Any, int], faults: list[tuple[int, str]]
) -> Any:
    """Return a node's plain data; note where it stands."""
    line = lines[keys] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_built(item, (*keys, i), lines, faults) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                faults.append((key_node.start_mark.line + 1, "a key that is a list or a map; wants a word"))
                continue
            key = key_node.value
            if key in data:
                faults.append(
                    (key_node.start_mark.line + 1, f"{'.'.join(map(str, (*keys, key)))}: given twice")
                )
            data[key] = _built(value, (*keys, key), lines, faults)
            lines[(*keys, key)] = key_node.start_mark.line + 1
        return data
    if node.tag not in _PLAIN:
        return node.value  # a date, say: its text
    if node.tag.endswith(":str"):
        is_number = not getattr(node, "style", None) and _EXPONENT.fullmatch(node.value)
        return float(node.value) if is_number else node.value
    try:
        return yaml.SafeLoader("").construct_object(node)
    except ValueError:
        faults.append((line, f"{'.'.join(map(str, keys))}: {node.value[:40]!r} is no number; wants one"))
        return None
