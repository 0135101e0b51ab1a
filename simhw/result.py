"""What a run leaves: plain data, per layer and in sum, that a file holds and anyone can read."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from simhw.errors import MissingExtraError, ResultError, did_you_mean
from simhw.files import write_file

SCHEMA = 2
REMAKE = "make it again with 'simhw run ... -o FILE'"

Counts = dict[str, int]
Amounts = dict[str, float]


class Lazily(Mapping[str, int]):
    """Counts that are written out when somebody first looks at them: a machine has thousands."""

    def __init__(self, make: Callable[[], Counts]) -> None:
        self._make = make
        self._made: Counts | None = None

    def _counts(self) -> Counts:
        if self._made is None:
            self._made = self._make()
            del self._make
        return self._made

    def __getitem__(self, key: str) -> int:
        return self._counts()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts())

    def __len__(self) -> int:
        return len(self._counts())

    def __repr__(self) -> str:
        return repr(self._counts())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._counts(),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Counts:
        return dict(self._counts())


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """One layer on one machine.

    `cycles` are those of the phases in which it ran, alone or with others. Of these the machine worked
    `busy_cycles`; the rest stand under their causes in `stall_cycles`. `macs` is the layer's
    closed form over the whole batch, `macs_executed` what the machine spent slots on,
    `multiplies` and `adds` what its arithmetic really did. `bytes` and `energy_pj` go by
    index-free part path (`pes.filter_spad`), `actions` and `activity` by instance
    (`pes[2,3].filter_spad.read`, `dram.busy`). `output_matches` is None in a run without values.
    """

    name: str
    kind: str
    cycles: int
    stall_cycles: Counts = field(default_factory=Counts)
    utilization: float
    macs: int
    macs_executed: int
    multiplies: int
    adds: int
    bytes: Counts = field(default_factory=Counts)
    energy_pj: Amounts = field(default_factory=Amounts)
    actions: Mapping[str, int] = field(default_factory=Counts, repr=False)
    activity: Mapping[str, int] = field(default_factory=Counts, repr=False)
    output_matches: bool | None = None
    output_error: Amounts | None = None
    mapping: dict[str, Any] = field(default_factory=dict[str, Any])
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def busy_cycles(self) -> int:
        return self.cycles - sum(self.stall_cycles.values())

    def units(self) -> dict[str, Counts]:
        """Return where each unit's cycles went: busy, stalls by cause, and idle for the rest."""
        units: dict[str, Counts] = {}
        for key, n in self.activity.items():
            unit, _, what = key.rpartition(".")
            units.setdefault(unit, {})[what] = n
        for went in units.values():
            left = self.cycles - sum(went.values())
            if left:
                went["idle"] = went.get("idle", 0) + left
        return units

    def faults(self) -> list[str]:
        """Return every law of conservation that these numbers break."""
        broken = []
        if self.busy_cycles < 0:
            stalls = sum(self.stall_cycles.values())
            broken.append(f"{self.name}: {stalls} stall cycles are more than its {self.cycles} cycles")
        broken += [
            f"{self.name}: {unit} accounts for {self.cycles - went['idle']} cycles of {self.cycles}"
            for unit, went in self.units().items()
            if went.get("idle", 0) < 0
        ]
        if not 0 <= self.utilization <= 1:
            broken.append(f"{self.name}: a utilization of {self.utilization:g} is not between 0 and 1")
        return broken


@dataclass(frozen=True, kw_only=True)
class PhaseResult:
    """What ran between two moments at which the machine was drained: a layer, several, or one once more."""

    name: str
    layers: tuple[str, ...]
    cycles: int
    stall_cycles: Counts = field(default_factory=Counts)
    details: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Result:
    """One accelerator's run over one trace. It holds no wall time: the same run gives the same bytes.

    `energy_unit` says what the numbers under `energy_pj` are: pJ, or a table's own relative unit;
    `unpriced` lists the actions, with their counts, for which the table had no price.
    `exact` says whether the machine promises the reference's outputs. `storage_bits` is what transforms
    left beside the layers that the machine read, by transform and layer. `timeline`, if kept, is a
    list of [layer, unit, what, start cycle, end cycle], each layer counting from its own cycle 0.
    """

    accelerator: str
    clock_mhz: float
    trace: str
    engine: str
    exact: bool = True
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    digests: dict[str, str] = field(default_factory=dict[str, str])
    parts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    structure: dict[str, Counts] = field(default_factory=dict[str, Counts])
    storage_bits: dict[str, Counts] = field(default_factory=dict[str, Counts])
    energy_unit: str | None = None
    technology: str | None = None
    unpriced: Counts = field(default_factory=Counts)
    layers: tuple[LayerResult, ...]
    phases: tuple[PhaseResult, ...] = ()  # none: each layer is one
    accuracy: float | None = None
    not_simulated: tuple[dict[str, str], ...] = ()
    timeline: tuple[tuple[str, str, str, int, int], ...] | None = None

    def layer(self, name: str) -> LayerResult:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ResultError(f"no layer {name!r}{did_you_mean(name, [x.name for x in self.layers])}")

    @property
    def in_turn(self) -> tuple[PhaseResult, ...]:
        """What ran one after another: the phases, or where they are not told, the layers."""
        return self.phases or tuple(
            PhaseResult(name=x.name, layers=(x.name,), cycles=x.cycles, stall_cycles=x.stall_cycles)
            for x in self.layers
        )

    @property
    def cycles(self) -> int:
        """All phases one after another: layers that run at once are one phase."""
        return sum(phase.cycles for phase in self.in_turn)

    @property
    def seconds(self) -> float:
        return self.seconds_of(self.cycles)

    def seconds_of(self, cycles: int) -> float:
        return cycles / (self.clock_mhz * 1e6)

    @property
    def energy(self) -> float | None:
        """All parts and layers together, in `energy_unit`; None if nothing was priced."""
        return self.totals["total_energy_pj"]

    def built_from(self, what: str) -> int:
        """Return how many adders, multipliers, register_bits or sram_bits the machine has."""
        return sum(role.get(what, 0) for role in self.structure.values())

    def core_power_mw(self, layer: LayerResult | None = None) -> float | None:
        """Return the average power without DRAM, of one layer or all; None unless priced in pJ."""
        if self.energy_unit != "pJ":
            return None
        layers = [layer] if layer else self.layers
        seconds = self.seconds_of(layer.cycles if layer else self.cycles)
        energy_pj = math.fsum(
            pj for x in layers for part, pj in x.energy_pj.items() if not self.is_off_chip(part)
        )
        return energy_pj * 1e-9 / seconds if seconds else None

    def is_off_chip(self, part: str) -> bool:
        """Return whether a part path lies in DRAM."""
        role = self.parts.get(part.split(".")[0], {})
        return str(role.get("kind", part)).startswith("dram")

    @property
    def totals(self) -> dict[str, Any]:
        """Return the sums over the layers; every one follows from them."""
        cycles, layers = self.cycles, self.layers
        stalls = {k: sum(n) for k, n in _by_key(x.stall_cycles for x in self.in_turn).items()}
        energy_pj = {
            part: math.fsum(amounts) for part, amounts in _by_key(x.energy_pj for x in layers).items()
        }
        return {
            "cycles": cycles,
            "seconds": self.seconds,
            "busy_cycles": cycles - sum(stalls.values()),
            "stall_cycles": stalls,
            "utilization": math.fsum(x.utilization * x.cycles for x in layers) / cycles if cycles else 0.0,
            "macs": sum(x.macs for x in layers),
            "macs_executed": sum(x.macs_executed for x in layers),
            "multiplies": sum(x.multiplies for x in layers),
            "adds": sum(x.adds for x in layers),
            "bytes": {k: sum(n) for k, n in _by_key(x.bytes for x in layers).items()},
            "energy_pj": energy_pj,
            "total_energy_pj": math.fsum(energy_pj.values()) if energy_pj else None,
            "core_power_mw": self.core_power_mw(),
        }

    @property
    def outputs_match(self) -> bool | None:
        """Whether every layer's output is the reference's; None where that was not looked at."""
        seen = [x.output_matches for x in self.layers if x.output_matches is not None]
        return all(seen) if seen else None

    def faults(self) -> list[str]:
        """Return every law of conservation that layers and phases break."""
        broken = [fault for layer in self.layers for fault in layer.faults()]
        spent: dict[str, int] = {}
        for phase in self.phases:
            for name in phase.layers:
                spent[name] = spent.get(name, 0) + phase.cycles
        return broken + [
            f"{layer.name}: {layer.cycles} cycles, and {spent.get(layer.name, 0)} in its phases"
            for layer in self.layers
            if self.phases and spent.get(layer.name, 0) != layer.cycles
        ]

    def with_energy(
        self,
        energy_pj: Sequence[Mapping[str, float]],
        energy_unit: str,
        technology: str,
        *,
        unpriced: Mapping[str, int] | None = None,
        technology_digest: str | None = None,
    ) -> Result:
        """Return this run priced by another table: one mapping of part path to energy per layer."""
        digests = {k: v for k, v in self.digests.items() if k != "technology"}
        priced = zip(self.layers, energy_pj, strict=True)
        return replace(
            self,
            layers=tuple(replace(layer, energy_pj=dict(energy)) for layer, energy in priced),
            energy_unit=energy_unit,
            technology=technology,
            unpriced=dict(unpriced or {}),
            digests=digests | ({"technology": technology_digest} if technology_digest else {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data as docs/results.md describes it."""
        data = {"schema": SCHEMA} | {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("layers", "phases", "timeline")
        }
        data["not_simulated"] = [dict(x) for x in self.not_simulated]
        data["layers"] = [asdict(x) for x in self.layers]
        data["phases"] = [asdict(x) | {"layers": list(x.layers)} for x in self.phases]
        data["totals"] = self.totals
        data["timeline"] = None if self.timeline is None else [list(span) for span in self.timeline]
        data["digests"] = self.digests | {"result": _digest(data)}
        return data

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the result as JSON text; write it to `path` as well, if given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        if path is not None:
            write_file(path, text, ResultError)
        return text

    @classmethod
    def from_json(cls, path: str | Path) -> Result:
        """Read a result file; ResultError, in one line, for one that is not whole."""
        given = Path(path)
        try:
            if given.is_dir():
                raise ResultError(f"{path}: is a directory; wants a result file (.json)")
            if not given.exists():
                raise ResultError(f"{path}: no such file; {REMAKE}")
            text = given.read_text(encoding="utf-8")
        except OSError as fault:
            raise ResultError(f"{path}: cannot be read: {fault.strerror}") from None
        except UnicodeDecodeError as fault:
            raise ResultError(f"{path}: is not a result: byte {fault.start} is no text; {REMAKE}") from None
        if not text.strip():
            raise ResultError(f"{path}: is empty; {REMAKE}")
        try:
            data = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as fault:
            raise ResultError(
                f"{path}:{fault.lineno}: is cut short or not JSON: {fault.msg}; {REMAKE}"
            ) from None
        except RecursionError:
            raise ResultError(f"{path}: is not a result: it is nested too deeply; {REMAKE}") from None
        except ValueError as fault:
            raise ResultError(f"{path}: is not a result: {fault}; {REMAKE}") from None
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str = "result") -> Result:
        """Build from plain data; `where` begins each line of what is wrong with it."""
        if not isinstance(data, dict) or "schema" not in data:
            raise ResultError(f"{where}: is not a result: it has no 'schema' field; {REMAKE}")
        if data["schema"] != SCHEMA:
            raise ResultError(
                f"{where}: schema: is {_short(data['schema'])}, this simhw reads {SCHEMA}; "
                f"read it with the simhw that wrote it, or {REMAKE}"
            )
        _raise_if(where, _field_faults("", data, _RESULT_FIELDS))
        _raise_if(
            where,
            [
                fault
                for i, layer in enumerate(data["layers"])
                for fault in _field_faults(f"layers[{i}].", layer, _LAYER_FIELDS)
            ]
            + [
                fault
                for i, phase in enumerate(data["phases"])
                for fault in _field_faults(f"phases[{i}].", phase, _PHASE_FIELDS)
            ],
        )
        written = data["digests"].get("result")
        if written is not None and written != _digest(data):
            raise ResultError(
                f"{where}: was altered after it was written: its digest differs; "
                f"{REMAKE}, or remove digests.result to use it as it is"
            )
        layers = tuple(LayerResult(**layer) for layer in data["layers"])
        rest = {f.name: data[f.name] for f in fields(cls) if f.name not in ("layers", "phases")}
        phases = tuple(PhaseResult(**x | {"layers": tuple(x["layers"])}) for x in data["phases"])
        rest["digests"] = {k: v for k, v in rest["digests"].items() if k != "result"}
        rest["not_simulated"] = tuple(rest["not_simulated"])
        if rest["timeline"] is not None:
            rest["timeline"] = tuple(tuple(span) for span in rest["timeline"])
        result = cls(**rest, layers=layers, phases=phases)
        _raise_if(where, [f"{fault}; {REMAKE}" for fault in result.faults()])
        sums = result.totals
        wrong = [name for name in sums if data["totals"].get(name) != sums[name]]
        if wrong:
            raise ResultError(f"{where}: totals: {', '.join(wrong)} are not the sums of the layers; {REMAKE}")
        return result

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row per layer; nested fields become `bytes.dram`, `details.macs_cut`."""
        rows = []
        for layer in self.layers:
            row: dict[str, Any] = {
                "accelerator": self.accelerator,
                "trace": self.trace,
                "layer": layer.name,
                "kind": layer.kind,
                "cycles": layer.cycles,
                "seconds": self.seconds_of(layer.cycles),
                "busy_cycles": layer.busy_cycles,
                "utilization": layer.utilization,
                "macs": layer.macs,
                "macs_executed": layer.macs_executed,
                "multiplies": layer.multiplies,
                "adds": layer.adds,
                "output_matches": layer.output_matches,
            }
            for name in ("stall_cycles", "bytes", "energy_pj"):
                row |= {f"{name}.{key}": n for key, n in getattr(layer, name).items()}
            for key, value in layer.details.items():
                if isinstance(value, Mapping):
                    row |= {f"details.{key}.{inner}": one for inner, one in value.items()}
                elif not isinstance(value, list | tuple):
                    row[f"details.{key}"] = value
            rows.append(row)
        return rows

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return a row per layer as CSV text; write it to `path` as well, if given."""
        text = csv_text(self.rows())
        if path is not None:
            write_file(path, text, ResultError)
        return text

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row per layer."""
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise MissingExtraError(
                "to_dataframe: pandas is not installed; install it with 'pip install simhw[pandas]'"
            ) from None
        return pandas.DataFrame(self.rows()).set_index("layer")


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV under the union of their columns; an absent value is an empty cell."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _by_key(mappings: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            found.setdefault(key, []).append(value)
    return found


def _digest(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything but the digest itself."""
    rest = {k: v for k, v in data.items() if k != "digests"}
    rest["digests"] = {k: v for k, v in data["digests"].items() if k != "result"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_constant(word: str) -> None:
    raise ValueError(f"it holds {word} where a number belongs")


Check = tuple[Callable[[Any], bool], str]


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_mapping(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(check(x) for x in value.values())


def _is_list(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(check(x) for x in value)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is_span(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 5
        and all(map(_is_text, value[:3]))
        and all(map(_is_whole, value[3:]))
    )


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("kind")) and isinstance(value.get("spec"), dict)


_TEXT: Check = (_is_text, "text")
_TEXT_OR_NULL: Check = (_or_none(_is_text), "text or null")
_WHOLE: Check = (_is_whole, "a whole number of at least 0")
_COUNTS: Check = (_is_mapping(_is_whole), "names with whole numbers of at least 0")
_AMOUNTS: Check = (_is_mapping(_is_number), "names with numbers")
_OBJECT: Check = (lambda value: isinstance(value, dict), "an object")
_TEXTS: Check = (_is_mapping(_is_text), "names with texts")

_LAYER_FIELDS: dict[str, Check] = {
    "name": _TEXT,
    "kind": _TEXT,
    "cycles": _WHOLE,
    "stall_cycles": _COUNTS,
    "utilization": (_is_number, "a number"),
    "macs": _WHOLE,
    "macs_executed": _WHOLE,
    "multiplies": _WHOLE,
    "adds": _WHOLE,
    "bytes": _COUNTS,
    "energy_pj": _AMOUNTS,
    "actions": _COUNTS,
    "activity": _COUNTS,
    "output_matches": (_or_none(lambda value: isinstance(value, bool)), "true, false or null"),
    "output_error": (_or_none(_is_mapping(_is_number)), "names with numbers, or null"),
    "mapping": _OBJECT,
    "details": _OBJECT,
}
_PHASE_FIELDS: dict[str, Check] = {
    "name": _TEXT,
    "layers": (lambda value: _is_list(_is_text)(value) and len(value) > 0, "a list of layers' names"),
    "cycles": _WHOLE,
    "stall_cycles": _COUNTS,
    "details": _OBJECT,
}
_RESULT_FIELDS: dict[str, Check] = {
    "schema": _WHOLE,
    "accelerator": _TEXT,
    "clock_mhz": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "trace": _TEXT,
    "engine": _TEXT,
    "exact": (lambda value: isinstance(value, bool), "true or false"),
    "options": _OBJECT,
    "versions": _TEXTS,
    "digests": _TEXTS,
    "parts": (_is_mapping(_is_part), "parts, each with kind and spec"),
    "structure": (_is_mapping(_is_mapping(_is_whole)), "roles with whole numbers"),
    "storage_bits": (_is_mapping(_is_mapping(_is_whole)), "transforms with whole numbers by layer"),
    "energy_unit": _TEXT_OR_NULL,
    "technology": _TEXT_OR_NULL,
    "unpriced": _COUNTS,
    "layers": (lambda value: isinstance(value, list) and len(value) > 0, "a list of layers"),
    "phases": (lambda value: isinstance(value, list), "a list of phases"),
    "accuracy": (_or_none(_is_number), "a number or null"),
    "not_simulated": (_is_list(_is_mapping(_is_text)), "a list of operators"),
    "timeline": (_or_none(_is_list(_is_span)), "a list of [layer, unit, what, start, end], or null"),
    "totals": _OBJECT,
}


def _field_faults(place: str, data: Any, wants: Mapping[str, Check]) -> list[str]:
    if not isinstance(data, dict):
        return [f"{place.rstrip('.')}: wants an object, got {_short(data)}; {REMAKE}"]
    holder = f"{place.rstrip('.')}: " if place else ""
    faults = [
        f"{holder}unknown field {name!r}{did_you_mean(name, wants)}" for name in data if name not in wants
    ]
    for name, (check, words) in wants.items():
        if name not in data:
            faults.append(f"{place}{name}: is missing; {REMAKE}")
        elif not check(data[name]):
            faults.append(f"{place}{name}: wants {words}, got {_short(data[name])}; {REMAKE}")
    return faults


def _raise_if(where: str, faults: Sequence[str]) -> None:
    if faults:
        raise ResultError([f"{where}: {fault}" for fault in faults])


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
