"""What there is, and what a file is: the plain data behind `list`, `check`, `trace` and `map`."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simhw import shipped
from simhw.comparison import Comparison
from simhw.core.parameters import kind_called, parameter_kinds
from simhw.errors import SimhwError, TraceError, WorkloadError, did_you_mean
from simhw.parameters import Parameters
from simhw.parameters import find as find_parameters
from simhw.parameters import load as load_parameters
from simhw.parameters import names as shipped_parameters
from simhw.parameters.file import HEADER
from simhw.reference import datasets
from simhw.reference.npz import Npz
from simhw.result import Result, csv_text
from simhw.shapes import LayerShape
from simhw.stream import KIND
from simhw.trace import Trace
from simhw.workload import BareNetwork, Workload
from simhw.workload.exporter import check_sizes

Row = dict[str, Any]
Shapes = list[tuple[str, LayerShape]]


def accelerators() -> list[Row]:
    from simhw.description import load_accelerator

    rows = []
    for name in shipped.names("accelerators", ".yaml"):
        machine = load_accelerator(shipped.folder("accelerators") / f"{name}.yaml")
        built = machine.structure().values()
        rows.append(
            {
                "name": name,
                "dataflow": machine.dataflow,
                "clock_mhz": machine.clock_mhz,
                "multipliers": sum(role.get("multipliers", 0) for role in built),
                "technology": machine.technology,
                "mapping": machine.mapping,
                "cites": machine.cites,
            }
        )
    return rows


def workloads() -> list[Row]:
    from simhw.workload import load_workload

    rows = []
    for name in shipped.names("workloads", ".yaml"):
        workload = load_workload(shipped.folder("workloads") / f"{name}.yaml")
        rows.append(
            {
                "name": name,
                "input": "x".join(map(str, workload.input_shape)),
                "layers": len(workload.layer_shapes),
                "macs": workload.macs,
                "parameters": workload.parameters,
                "cites": workload.cites,
            }
        )
    return rows


def traces() -> list[Row]:
    from simhw.trace import Trace

    rows = []
    for name in shipped.names("traces", ".safetensors"):
        trace = Trace.load(shipped.folder("traces") / f"{name}.safetensors")
        rows.append(
            {
                "name": name,
                "format": trace.format,
                "images": trace.batch,
                "layers": len(trace.of_kinds()),
                "macs": sum(layer.shape.macs for layer in trace.of_kinds()),
                "inputs": trace.provenance.get("inputs"),
                "weights": trace.provenance.get("weights"),
            }
        )
    return rows


def recipes() -> list[Row]:
    """List what `train` and what `tune` are asked for; each has settings that the other lacks."""
    from simhw import tuning
    from simhw.training.recipe import load_recipe

    searches = shipped.names(tuning.RECIPES, ".yaml")
    return [
        {
            "name": name,
            "for": "train",
            "workload": recipe.workload.name,
            "fit": ", ".join(f"{layer} {fit}" for layer, fit in recipe.fit.items()),
            "bits": recipe.bits,
            "epochs": recipe.epochs,
            "cites": recipe.cites,
        }
        for name in shipped.names("workloads/recipes", ".yaml")
        for recipe in [load_recipe(shipped.folder("workloads/recipes") / f"{name}.yaml")]
    ] + [
        {
            "name": name,
            "for": "tune",
            "workload": search.workload.name,
            "budgets": ", ".join(f"{budget:g}" for budget in search.budgets),
            "metric": search.metric,
        }
        for name in searches
        for search in [tuning.load_recipe(shipped.folder(tuning.RECIPES) / f"{name}.yaml")]
    ]


def parameters() -> list[Row]:
    return [
        {
            "name": name,
            "kind": kind,
            "workload": own.workload,
            "layers": len(own.layers),
            "reached": of_kind.summary(own.reached),
            "cites": own.cites,
        }
        for kind, of_kind in parameter_kinds().items()
        for name in shipped_parameters(kind)
        for own in [load_parameters(name, kind)]
    ]


def components() -> list[Row]:
    import simhw.components  # noqa: F401 - registers the shipped ones
    from simhw.core.component import component_kinds
    from simhw.core.spec import describe_fields

    return [
        {
            "name": kind,
            "about": _first_line(component),
            "actions": ", ".join(component.ACTIONS),
            "fields": ", ".join(_field(field) for field in describe_fields(component.Spec)),
        }
        for kind, component in component_kinds().items()
    ]


def dataflows() -> list[Row]:
    import simhw.dataflows
    import simhw.stepped  # noqa: F401 - registers the shipped ones
    from simhw.core.dataflow import dataflow_kinds, twin_kinds
    from simhw.core.spec import describe_fields

    twins = twin_kinds()
    return [
        {
            "name": kind,
            "about": _first_line(dataflow),
            "roles": ", ".join(dataflow.ROLES),
            "engines": "compiled, stepped" if kind in twins else "compiled",
            "options": ", ".join(_field(field) for field in describe_fields(dataflow.Options)),
        }
        for kind, dataflow in dataflow_kinds().items()
    ]


def transforms() -> list[Row]:
    import simhw.transforms  # noqa: F401 - registers the shipped ones
    from simhw.core.spec import describe_fields
    from simhw.core.transform import transform_kinds

    return [
        {
            "name": kind,
            "about": _first_line(transform),
            "options": ", ".join(_field(field) for field in describe_fields(transform.Options)),
            "wants": ", ".join(transform.WANTS),
            "excludes": ", ".join(transform.EXCLUDES),
            "parameters": transform.PARAMETERS,
        }
        for kind, transform in transform_kinds().items()
    ]


def technologies() -> list[Row]:
    from simhw.technology import load_technology, technology_names

    return [
        {
            "name": name,
            "node_nm": table.node_nm,
            "energy_unit": table.energy_unit,
            "prices": len(table.entries),
            "source": table.source,
        }
        for name in technology_names()
        for table in [load_technology(name)]
    ]


def papers() -> list[Row]:
    from simhw import papers as reproduced

    return [{"name": name, "about": reproduced.about(name)} for name in reproduced.names()]


SECTIONS: Mapping[str, Callable[[], list[Row]]] = {
    "accelerators": accelerators,
    "workloads": workloads,
    "traces": traces,
    "recipes": recipes,
    "parameters": parameters,
    "components": components,
    "dataflows": dataflows,
    "transforms": transforms,
    "technologies": technologies,
    "papers": papers,
}


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _field(field: Mapping[str, Any]) -> str:
    return f"{field['field']}={field['default']}" if "default" in field else field["field"]


@dataclass(frozen=True)
class Checked:
    """What a file was found to be, and what is wrong with it."""

    file: str
    kind: str | None
    faults: tuple[str, ...] = ()


def check(path: Path) -> Checked:
    """Read a file as what its ending and its fields say it is; no fault is left for the next run."""
    kind: str | None = None
    try:
        kind = _kind_of(path)
        about = _READERS[kind](path) if kind in _READERS else _parameters(path, kind)
    except SimhwError as error:
        return Checked(str(path), kind, error.faults)
    return Checked(str(path), f"{kind} {about}")


def _kind_of(path: Path) -> str:
    if not os.path.exists(path):
        raise SimhwError(f"{path}: no such file")
    if path.is_dir():
        raise SimhwError(f"{path}: is a directory; wants a file")
    if path.suffix == ".safetensors":
        return "arrays" if _is_plain_safetensors(path) else "trace"
    if path.suffix == ".npz":
        return "arrays" if HEADER not in Npz(path, SimhwError) else _noun(load_parameters(path).kind)
    if path.suffixes[-2:] == [".npz", ".checkpoint"]:
        return "checkpoint"
    if path.suffix == ".json":
        found = _json(path)
        return next((kind for mark, kind in _JSON_KINDS.items() if mark in found), "result")
    if path.suffix not in (".yaml", ".yml"):
        raise SimhwError(
            f"{path}: is of no kind simhw reads; known endings: .yaml, .safetensors, .json, .npz, "
            ".npz.checkpoint"
        )
    from simhw import yamlfile

    wants = "a description, mapping, workload, recipe or technology table"
    fields = yamlfile.read(path, SimhwError, wants, aliases=True).value
    marks = {
        "accelerator": ("components", "dataflow", "clock_mhz"),
        "technology": ("entries", "free", "accelergy", "ERT", "energy_reference_table"),
        "recipe": ("epochs", "fit", "rate"),
        "workload": ("input", "nodes", "data", "weights"),
    }
    if "optimize" in fields:
        return "recipe"
    if "kind" in fields or isinstance(fields.get("layers"), dict):
        return _noun(fields.get("kind", "mapping"))
    for kind, names in marks.items():
        if any(name in fields for name in names):
            return kind
    if isinstance(fields.get("layers"), list):
        return "workload"
    raise SimhwError(
        f"{path}: is no file of simhw's: an accelerator has 'components', a mapping and a workload 'layers', "
        "a technology table 'entries', a recipe 'epochs'"
    )


def _json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where it is no object, which its reader says better."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_plain_safetensors(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return "simhw" not in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _accelerator(path: Path) -> str:
    from simhw.description import load_accelerator

    return load_accelerator(path).name


def _noun(kind: Any) -> str:
    """Return what messages call parameter files of a kind."""
    own = parameter_kinds().get(kind) if isinstance(kind, str) else None
    return "parameters" if own is None else own.NOUN


def _parameters(path: Path, noun: str) -> str:
    return load_parameters(path, kind_called(noun)).name


def _technology(path: Path) -> str:
    from simhw.technology import load_technology

    return load_technology(path).name


def _workload(path: Path) -> str:
    from simhw.workload import load_workload

    return load_workload(path).name


def _recipe(path: Path) -> str:
    """A recipe of a tuning says what it optimizes, one of a training how long it learns."""
    from simhw import tuning, yamlfile
    from simhw.training.recipe import load_recipe

    if "optimize" in yamlfile.read(path, SimhwError, "a recipe", aliases=True).value:
        return f"for {tuning.load_recipe(path).workload.name}"
    return load_recipe(path).name


def _checkpoint(path: Path) -> str:
    from simhw.training.checkpoint import epochs_of

    epochs = epochs_of(path)
    return f"of a training, {epochs} epoch{'s' if epochs != 1 else ''} done; simhw train --resume goes on"


def _trace(path: Path) -> str:
    from simhw.trace import Trace

    trace = Trace.load(path)
    trace.verify()
    return trace.name


def _result(path: Path) -> str:
    result = Result.from_json(path)
    return f"of {result.accelerator} on {result.trace}"


def _comparison(path: Path) -> str:
    rows = _json(path)["rows"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "label" in row for row in rows):
        raise SimhwError(f"{path}: rows: wants a list of rows with a label each; compare again with -o")
    return f"of {', '.join(str(row['label']) for row in rows)}, not checked further"


def _timeline(path: Path) -> str:
    if not isinstance(_json(path)["traceEvents"], list):
        raise SimhwError(f"{path}: traceEvents: wants a list of events; run again with --timeline")
    return "for Perfetto, not checked further"


def _arrays(path: Path) -> str:
    """Read every array; which ones a network wants, only the network knows."""
    from safetensors import safe_open

    faults: list[str] = []
    with contextlib.ExitStack() as files:
        if path.suffix == ".npz":
            plain = Npz(path, SimhwError)
            names, read = list(plain.names), plain.__getitem__
        else:
            file = files.enter_context(safe_open(path, framework="numpy"))
            names, read = list(file.keys()), file.get_tensor
        for name in names:
            faults += _array_faults(path, name, read)
    if faults:
        raise SimhwError(faults)
    old = any(name.endswith(".coefficients") for name in names)
    told = "; coefficients without the header that simhw train writes" if old else ""
    return f"of weights or data: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}{told}"


def _array_faults(path: Path, name: str, read: Callable[[str], np.ndarray]) -> list[str]:
    try:
        array = read(name)
    except SimhwError as fault:
        return list(fault.faults)
    except (TypeError, AttributeError) as fault:  # a number format that numpy lacks
        return [f"{path}: {name}: cannot be read ({fault}); wants numbers"]
    wrong = int(array.size - np.isfinite(array).sum())
    if not wrong:
        return []
    return [
        f"{path}: {name}: holds values that are not finite (NaN or infinity), {wrong} in all; "
        "wants finite numbers"
    ]


# a field that only JSON files of this kind have
_JSON_KINDS = {"rows": "comparison", "traceEvents": "timeline"}

_READERS: Mapping[str, Callable[[Path], str]] = {
    "accelerator": _accelerator,
    "recipe": _recipe,
    "checkpoint": _checkpoint,
    "technology": _technology,
    "workload": _workload,
    "trace": _trace,
    "result": _result,
    "comparison": _comparison,
    "timeline": _timeline,
    "arrays": _arrays,
}


def layers_of(trace: Any) -> list[Row]:
    """Return a row per layer of a trace; that of a stream counts its operations by kind."""
    return [
        {"layer": layer.name, "kind": layer.kind, "outputs": _times(layer.shape.output_shape)}
        | {"macs": layer.shape.macs, **layer.shape.counts}
        if layer.kind == KIND
        else {
            "layer": layer.name,
            "kind": layer.kind,
            "inputs": _times(layer.shape.input_shape),
            "weights": _times(layer.shape.weight_shape),
            "outputs": _times(layer.shape.output_shape),
            "stride": _times(layer.shape.stride),
            "groups": layer.shape.groups,
            "macs": layer.shape.macs,
            "activation": layer.activation or "none",
        }
        for layer in trace.of_kinds()
    ]


def shapes_of(name: str, images: int | None) -> tuple[str, str, Shapes]:
    """Return name, digest and layers' shapes of the network of a trace, or else of the workload so named."""
    from simhw.trace import Trace
    from simhw.workload import load_workload

    try:
        trace = Trace.load(name)
    except TraceError as no_trace:
        if name.endswith(".safetensors"):
            raise
        try:
            workload = load_workload(name)
        except WorkloadError as no_workload:
            raise SimhwError([*no_trace.faults, *no_workload.faults]) from None
        shapes = workload.graph.layer_shapes(workload.input_shape, images or 1)
        digest = BareNetwork(workload).digests["network"]
        return workload.name, digest, _held(workload.path or workload.name, list(shapes.items()))
    batch = images or trace.batch
    resized = [(x.name, replace(x.shape, batch=batch)) for x in trace.layers]
    return trace.name, trace.digests["network"], _held(trace.path or trace.name, resized)


def trace_of(name: str) -> Trace | None:
    """Return the trace of a name or path, None where it is a workload's."""
    try:
        return Trace.load(name)
    except TraceError:  # a workload, or `shapes_of` has said what is wrong
        return None


def _held(where: str | Path, shapes: Shapes) -> Shapes:
    """Return the shapes, unless a tensor of theirs is larger than a trace may hold."""
    sizes: dict[str, int] = {}
    for name, shape in shapes:
        sizes[f"{name}.inputs"] = math.prod(shape.input_shape)
        sizes[f"{name}.weights"] = math.prod(shape.weight_shape)
        sizes[name] = math.prod(shape.output_shape)
    if not sizes:
        raise SimhwError(f"{where}: has no convolution or linear layer; these alone have a mapping")
    check_sizes(where, sizes)
    return shapes


def paths_of(kind: str, name: str | Path | None) -> list[Path]:
    """Return the file that a command reads for a name of this kind; none if it will find none."""
    suffix = ".safetensors" if kind == "traces" else ".yaml"
    try:
        return [] if name is None else [shipped.find(kind, name, suffix)]
    except SimhwError:  # whoever opens it says so
        return []


def parameter_paths(name: str | Path | None, noun: str = "") -> list[Path]:
    """Return the file that a command reads for parameters of this name; none if it will find none."""
    try:
        return [] if name is None else [find_parameters(name, kind_called(noun))]
    except SimhwError:  # whoever opens it says so
        return []


def read_for_trace(workload: Workload, weights: str | None, data: str | None) -> list[Path]:
    """Return the files that may be read to make a trace of a workload."""
    folder = Path(data) if data is not None and os.path.isdir(data) else None
    beside = workload.path.parent if workload.path else None
    places = [workload.path]
    for name in (weights, data, workload.weights.file, workload.data.file):
        if name is not None:
            places += [Path(name), datasets.find_named(name, folder, beside)]
    return [place for place in places if place is not None and os.path.isfile(place)]


def only(shapes: Shapes, names: Sequence[str] | None) -> Shapes:
    """Return the shapes of the layers named, or all of them."""
    if names is None:
        return shapes
    known = dict(shapes)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SimhwError([f"layers: no layer {name!r}{did_you_mean(name, known)}" for name in unknown])
    return [(name, known[name]) for name in names]


def repriced(result: Result, technology: str) -> Result:
    """Return a result with its energy by another technology table; nothing is run again."""
    from simhw.energy import Pricer
    from simhw.technology import load_technology

    table = load_technology(technology)
    pricer = Pricer(result.parts, table)
    pricer.refuse_unpriced(key for layer in result.layers for key in layer.actions)
    energies = [pricer.price(layer.actions, strict=False).energy for layer in result.layers]
    return result.with_energy(energies, table.energy_unit, table.name, technology_digest=table.digest)


def mapping_of(
    accelerator: str, name: str, network: str, layers: Mapping[str, Mapping[str, int]]
) -> Parameters:
    """Return a mapping as the file that `run --mapping` takes; `network` is the digest of what it is for."""
    machine = Path(accelerator).stem
    return Parameters(
        kind="mapping",
        name=f"{machine}-{name}",
        workload=name,
        digests={"network": network},
        layers=layers,
        cites=f"chosen by simhw's mapper for {machine}",
    )


def with_notes(text: str, notes: Mapping[str, str]) -> str:
    """Return a mapping's file with notes on its layers as comments above it."""
    told = [
        f"# {', '.join(layer for layer in notes if notes[layer] == note)}: {note}\n"
        for note in dict.fromkeys(notes.values())
    ]
    return "".join([*told, text])


def comparison_csv(compared: Comparison) -> str:
    """Return a comparison as CSV, a row per result."""
    flat = []
    for row in compared.rows():
        flat.append({k: v for k, v in row.items() if not isinstance(v, dict)})
        for name in ("stall_cycles", "bytes", "energy_pj"):
            flat[-1] |= {f"{name}.{key}": n for key, n in row[name].items()}
    return csv_text(flat)


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes)) if math.prod(sizes) else "empty"
