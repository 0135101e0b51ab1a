"""A run's timeline, as data for plots and as a file for Perfetto or chrome://tracing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from simhw.errors import ResultError
from simhw.result import Result

MANY_UNITS = 40
_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Placed:
    """A span on the run's own time: layers follow one another."""

    layer: str
    unit: str
    what: str
    start: int
    end: int


def placed_spans(result: Result) -> list[Placed]:
    """Return the timeline's spans; units of a large grid are taken together."""
    if not result.timeline:
        raise ResultError(
            f"{result.accelerator}: the result holds no timeline; run it with --timeline FILE -o RESULT.json"
        )
    starts, start = {}, 0
    for phase in result.in_turn:
        starts[phase.name] = start
        start += phase.cycles
    units = {unit for _, unit, _, _, _ in result.timeline}
    together = len(units) > MANY_UNITS
    return [
        Placed(
            layer,
            _INDEX.sub("", unit) if together else unit,
            what,
            starts[layer] + begin,
            starts[layer] + end,
        )
        for layer, unit, what, begin, end in result.timeline
    ]


def chrome_trace(result: Result) -> str:
    """Return the timeline in Chrome's trace event format: a track per unit, time in microseconds."""
    spans = placed_spans(result)
    tracks = {unit: i + 2 for i, unit in enumerate(dict.fromkeys(span.unit for span in spans))}
    events: list[dict[str, Any]] = [
        {
            "ph": "M",
            "pid": 1,
            "name": "process_name",
            "args": {"name": f"{result.accelerator} on {result.trace}"},
        },
        {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "layers"}},
    ]
    for unit, track in tracks.items():
        events.append({"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": unit}})
    start = 0
    for phase in result.in_turn:
        events.append(_event(result, 1, phase.name, "layer", start, start + phase.cycles))
        start += phase.cycles
    events += [_event(result, tracks[s.unit], s.what, s.layer, s.start, s.end) for s in spans]
    about = {"accelerator": result.accelerator, "trace": result.trace, "clock_mhz": result.clock_mhz}
    return json.dumps({"displayTimeUnit": "ns", "otherData": about, "traceEvents": events}) + "\n"


def _event(result: Result, track: int, name: str, category: str, start: int, end: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "pid": 1,
        "tid": track,
        "name": name,
        "cat": category,
        "ts": start / result.clock_mhz,
        "dur": (end - start) / result.clock_mhz,
        "args": {"start_cycle": start, "end_cycle": end},
    }
