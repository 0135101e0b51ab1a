"""Simulating a trace on a described accelerator: one layer after another, then the account of it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import simhw
from simhw import core
from simhw.accelerator.network import NOWHERE, kept_network
from simhw.accelerator.run import Progress, Run, Steps
from simhw.accelerator.view import LayerView
from simhw.core.dataflow import Dataflow, dataflow_kinds
from simhw.core.parameters import kind_called, parameter_kinds
from simhw.description import Description, load_accelerator
from simhw.energy import Pricer
from simhw.errors import DescriptionError, MappingError, ParameterError, did_you_mean
from simhw.parameters import Parameters, load, of_another
from simhw.result import Result
from simhw.shapes import LayerShape
from simhw.technology import Technology, load_technology, technology_names
from simhw.trace import LayerTrace, StreamTrace, Trace

ENGINES = ("compiled", "stepped")

MappingSource = str | Path | Parameters | Mapping[str, Mapping[str, Any]]
Chosen = Mapping[str, tuple[core.Transform, Parameters | None]]  # transforms, and what each was given


def simulate(
    accelerator: str | Path | Description,
    trace: str | Path | Trace,
    *,
    layers: Sequence[str] | None = None,
    mapping: MappingSource | None = None,
    tuning: str | Path | Parameters | None = None,
    parameters: Sequence[str | Path | Parameters] = (),
    engine: str = "compiled",
    values: bool = True,
    closed_loop: bool = False,
    log: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    technology: str | Path | Technology | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a trace on an accelerator and return what it did and cost.

    `layers` are names out of the trace (all, if not given). `mapping` is a published one: a file, or
    parameters by layer. `tuning` is by what filters may predict: a name, a file or what was loaded from
    one; the machine's outputs are then approximate. `parameters` are files of any kind, these two among
    them, at most one of each. Without `values` nothing is computed and only time and counts are found.
    In a closed loop every layer reads what the machine made of the layers before it, operators that
    the machine lacks run in the reference model, and the result has the network's accuracy.
    `progress` is told (layers done, layers in all, name).
    """
    if engine not in ENGINES:
        raise DescriptionError(f"engine: unknown {engine!r}{did_you_mean(engine, ENGINES)}")
    if closed_loop and (layers is not None or not values):
        raise DescriptionError(
            "closed loop: wants the whole network and its values; leave out layers and no-values"
        )
    description = load_accelerator(accelerator, overrides=overrides)
    source = trace if isinstance(trace, Trace) else Trace.load(trace)
    run = Run(description, source, engine, values, log)
    given = _given(run.dataflow, description, source, mapping, tuning, parameters)
    mapping = given.pop("mapping", mapping)
    transforms = {
        kind: (transform, given.get(transform.PARAMETERS or ""))
        for kind, transform in core.transforms_of(description.transforms).items()
    }
    chosen = _chosen_layers(source, layers, description.name, run.dataflow.KINDS, transforms)
    plan = _phases(run.dataflow, description, source, chosen, mapping)
    table = _table(technology if technology is not None else description.technology)
    accuracy = None
    if closed_loop:
        accuracy = run.closed_loop(plan, len(chosen), progress)
    else:
        run.open_loop(plan, len(chosen), progress)
    if progress is not None:
        progress(len(run.layers), len(chosen), "")
    used = {parameter_kinds()[kind].NOUN: own.digest for kind, own in given.items()}
    result = Result(
        accelerator=description.name,
        clock_mhz=description.clock_mhz,
        trace=source.name,
        engine=engine,
        options=description.options.to_dict()
        | {
            "transforms": description.to_dict()["transforms"],
            "values": values,
            "closed_loop": closed_loop,
            "layers": None if layers is None else list(layers),
            "tuning": None if tuning is None else _named(tuning),
            "parameters": [_named(one) for one in parameters],
            "mapping": {k: dict(v) for k, v in mapping.items()}
            if isinstance(mapping, Mapping)
            else mapping and _named(mapping),
            "overrides": dict(overrides) if isinstance(overrides, Mapping) else list(overrides),
        },
        versions=dict(_versions()),
        digests={"description": description.digest} | used | source.digests,
        exact=all(transform.exact(own) for transform, own in transforms.values()),
        parts=run.parts,
        structure=run.structure,
        storage_bits=run.storage_bits,
        layers=tuple(run.layers),
        phases=tuple(run.phases),
        accuracy=accuracy,
        not_simulated=() if layers is not None else tuple(source.nodes_beside(x.name for x in chosen)),
        timeline=tuple(run.timeline) if log else None,
    )
    return result if table is None else _priced(result, run.grouped, table)


def plan_mapping(
    accelerator: str | Path | Description,
    layers: Iterable[tuple[str, LayerShape]],
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    trace: Trace | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the mapping that the machine's own mapper chooses for each (name, shape).

    With `trace` they are layers of it, and what transforms leave with them may have a part in the choice.
    """
    return {name: mapping for name, mapping, _ in _mapped(accelerator, layers, overrides, trace)}


def mapping_notes(
    accelerator: str | Path | Description,
    layers: Iterable[tuple[str, LayerShape]],
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    trace: Trace | None = None,
) -> dict[str, str]:
    """Return what must be known to run layers that `plan_mapping` mapped, where there is anything."""
    return {name: note for name, _, note in _mapped(accelerator, layers, overrides, trace) if note}


def _mapped(
    accelerator: str | Path | Description,
    layers: Iterable[tuple[str, LayerShape]],
    overrides: Mapping[str, Any] | Sequence[str],
    trace: Trace | None,
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield name, mapping and note of each layer."""
    described = load_accelerator(accelerator, overrides=overrides)
    dataflow = dataflow_kinds()[described.dataflow](described.parts, described.options, described.clock_mhz)
    transforms = {name: (one, None) for name, one in core.transforms_of(described.transforms).items()}
    own = [] if trace is None else _views(trace, trace.layers, transforms)
    views = {view.name: view for view in own}
    for name, shape in layers:
        layer: Any = _Bare(name, shape, views.get(name))
        yield name, dataflow.map_layer(layer), dataflow.mapping_note(layer)


@dataclass(frozen=True)
class _Bare:
    """A layer of which a shape is known, and of a trace's what transforms leave with it, too."""

    name: str
    shape: LayerShape
    of_trace: LayerView | None = None

    def side(self, transform: str) -> Any:
        return None if self.of_trace is None else self.of_trace.side(transform)


def _named(given: str | Path | Parameters) -> str:
    return given.name if isinstance(given, Parameters) else str(given)


def _given(
    dataflow: Dataflow,
    description: Description,
    trace: Trace,
    mapping: MappingSource | None,
    tuning: str | Path | Parameters | None,
    parameters: Sequence[str | Path | Parameters],
) -> dict[str, Parameters]:
    """Return the parameters that were given, by kind, held against machine and network."""
    kinds = parameter_kinds()
    found: dict[str, Parameters] = {}
    asked: list[tuple[Any, str | None]] = [(one, None) for one in parameters]
    if tuning is not None:
        asked.append((tuning, kind_called("tuning")))
    for one, kind in asked:
        own = one if isinstance(one, Parameters) or kind is not None else load(one)
        kind = own.kind if isinstance(own, Parameters) else kind
        assert kind is not None  # or it was loaded
        if kind != "mapping":
            _refuse_useless(dataflow, description, kind)
        if kind in found or (kind == "mapping" and mapping is not None):
            raise ParameterError(f"{_named(one)}: is a second {kinds[kind].NOUN}; wants one at most")
        found[kind] = load(own, kind, trace)
    return found


def _refuse_useless(dataflow: Dataflow, description: Description, kind: str) -> None:
    """Refuse parameters that no transform of the machine takes, or that its options leave unused."""
    own, transforms = parameter_kinds()[kind], core.transform_kinds()
    if not description.takes(own.NOUN):
        takers = [name for name, transform in transforms.items() if kind == transform.PARAMETERS]
        wants = own.USE or f"wants an accelerator with transforms: {{{', '.join(takers)}: {{}}}}"
        raise DescriptionError(f"{own.NOUN}: {description.name} takes no {own.NOUN}; {wants}")
    why_not = dataflow.refuse_parameters(kind)
    if why_not is not None:
        raise DescriptionError(f"{own.NOUN}: {description.name} {why_not}")


def _chosen_layers(
    trace: Trace, names: Sequence[str] | None, machine: str, kinds: Sequence[str], transforms: Chosen
) -> list[LayerView]:
    """Return the layers that run: those named, or all of the kinds that the machine takes."""
    if names is not None:
        if isinstance(names, str) or not names:
            raise DescriptionError(f"layers: wants names of layers in a list, got {names!r}")
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise DescriptionError(f"layers: names {twice[0]} twice; each layer runs once")
    taken = trace.of_kinds(kinds) or trace.of_kinds()
    chosen = taken if names is None else [trace.layer(name) for name in names]
    refused = [
        f"{trace.name}: {layer.name} is of kind {layer.kind}, and {machine} takes {' and '.join(kinds)}; "
        "wants a layer that it takes, or another accelerator"
        for layer in chosen
        if layer.kind not in kinds
    ]
    if refused:
        raise DescriptionError(refused)
    return _views(trace, chosen, transforms)


def _views(trace: Trace, layers: Iterable[LayerTrace | StreamTrace], transforms: Chosen) -> list[LayerView]:
    entrance = trace.graph["inputs"][0]
    reads = {n["name"]: n["inputs"][0] for n in trace.graph["nodes"]}
    network = kept_network(trace)
    return [
        LayerView(
            layer,
            reads[layer.name] == entrance,
            transforms={kind: one for kind, one in transforms.items() if layer.kind in one[0].KINDS},
            **network.around.get(layer.name, NOWHERE),
        )
        for layer in layers
    ]


def _phases(
    dataflow: Dataflow,
    description: Description,
    trace: Trace,
    layers: Sequence[Any],
    mapping: MappingSource | None,
) -> Steps:
    asked = mapping if mapping is not None else description.mapping
    if asked is None:
        return Steps(dataflow.plan(layers))
    if isinstance(asked, Mapping):
        place, published = "mapping", dict(asked)
    else:
        own = load(asked, "mapping")
        place, published = own.where, dict(own.layers)
        another = of_another(own, trace)
        if another is not None and mapping is None:
            return Steps(dataflow.plan(layers))
        if another is not None:
            raise MappingError(f"{place}: digests.network: {another}")
    names = [layer.name for layer in trace.of_kinds()]
    shared = set(published) & set(names)
    # a description's own mapping may speak of another network; one that was asked for may not
    if mapping is not None and not shared:
        raise MappingError(f"{place}: maps {', '.join(published)}; the trace has {', '.join(names)}")
    if shared:
        faults = [
            f"{place}: layers: the trace has no {name!r}{did_you_mean(name, names)}"
            for name in published
            if name not in names
        ]
        faults += [
            f"{place}: layers.{name}: wants letters with numbers, such as p: 4, got {letters!r}"
            for name, letters in published.items()
            if not isinstance(letters, Mapping)
        ]
        if faults:
            raise MappingError(faults)
    plan = dataflow.plan(layers, {name: published[name] for name in shared})
    try:
        return Steps(plan)  # which begins the plan, and so looks at the mapping
    except MappingError as error:
        raise MappingError([f"{place}: layers.{fault}" for fault in error.faults]) from None


def _priced(result: Result, grouped: Sequence[Mapping[str, int]], table: Technology) -> Result:
    pricer = Pricer(result.parts, table)
    pricer.refuse_unpriced(dict.fromkeys(key for counts in grouped for key in counts))
    priced = [pricer.price(counts, strict=False) for counts in grouped]
    return result.with_energy(
        [p.energy for p in priced], table.energy_unit, table.name, technology_digest=table.digest
    )


def _table(technology: str | Path | Technology | None) -> Technology | None:
    if technology is None or isinstance(technology, Technology):
        return technology
    shipped = isinstance(technology, str) and _is_shipped(technology) and not Path(technology).exists()
    return _shipped_table(str(technology)) if shipped else load_technology(technology)


@functools.cache
def _is_shipped(name: str) -> bool:
    return name in technology_names()


@functools.cache
def _shipped_table(name: str) -> Technology:
    return load_technology(name)


@functools.cache
def _versions() -> dict[str, str]:
    return {"simhw": simhw.__version__, "python": platform.python_version()} | {
        name: version(name) for name in ("numpy", "numba", "simpy")
    }
