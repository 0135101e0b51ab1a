"""One machine meeting one trace: phase after phase, and what they add up to by layer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simhw import core
from simhw.accelerator.view import LayerView
from simhw.core.dataflow import Array, Outcome, Phase, dataflow_kinds, twin_kinds
from simhw.core.machine import Machine
from simhw.core.tally import Tally
from simhw.description import Description
from simhw.errors import DescriptionError
from simhw.play import run
from simhw.reference.graph import Graph
from simhw.result import LayerResult, Lazily, PhaseResult
from simhw.stream import KIND
from simhw.trace import Trace

_MOST = float(np.finfo(np.float32).max)
MOVES = ("read", "write", "fill", "send", "hop")  # actions that move one word of the part's width

Progress = Callable[[int, int, str], None]
Plan = Iterable[Phase] | Generator[Phase, Outcome, None]
Sum = tuple[str, int, list[str]]  # of what, by what it is multiplied, and the counts that are added


@dataclass
class Gathered:
    """What the phases of one layer have left so far."""

    layer: Any
    mapping: Mapping[str, Any]
    cycles: int = 0  # of all phases in which it had a part
    executed: int = 0
    stalls: dict[str, int] = field(default_factory=dict[str, int])
    ledger: Tally = field(default_factory=Tally)
    activity: Tally = field(default_factory=Tally)
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    output: Array | None = None

    def take(self, sim: core.Simulation, outcome: Outcome, cycles: int, output: Array | None) -> None:
        """Add a phase: its counts and cycles, and the dataflow's own numbers; the last output counts."""
        book, details = sim.books[self.layer.name], dict(outcome.details[self.layer.name])
        del details["cycles"]
        self.cycles += cycles
        self.executed += details.pop("macs_executed")
        for cause, n in details.pop("stall_cycles").items():
            self.stalls[cause] = self.stalls.get(cause, 0) + n
        self.ledger.merge(book.ledger)
        self.activity.merge(book.activity)
        self.details = _added(self.details, details)
        self.output = output if output is not None else self.output


class Run:
    """The phases of a plan on fresh machines, one after another."""

    def __init__(self, description: Description, trace: Trace, engine: str, values: bool, log: bool) -> None:
        self.description, self.trace, self.engine = description, trace, engine
        self.values, self.log = values, log
        kind = description.dataflow
        self.dataflow = dataflow_kinds()[kind](description.parts, description.options, description.clock_mhz)
        if engine == "stepped" and kind not in twin_kinds():
            raise DescriptionError(f"engine: {kind} has no stepped twin; known: {', '.join(twin_kinds())}")
        self.parts = description.flat_parts()
        self.structure = description.structure()
        self.multipliers = sum(role.get("multipliers", 0) for role in self.structure.values())
        self.layers: list[LayerResult] = []
        self.phases: list[PhaseResult] = []
        self.grouped: list[dict[str, int]] = []  # counts of each layer, indexes left out
        self.timeline: list[tuple[str, str, str, int, int]] = []
        self.storage_bits: dict[str, dict[str, int]] = {}  # of side data, by transform and layer
        self.outputs: dict[str, Array] = {}  # of a closed loop, until they are read
        self._open: dict[str, Gathered] = {}  # layers of which more phases may come
        self._sums: dict[tuple[str, ...], tuple[list[Sum], list[Sum]]] = {}  # by the names of counts

    def open_loop(self, steps: Steps, layers: int, progress: Progress | None) -> None:
        """Run all phases; every layer reads what its trace says."""
        while steps.phase is not None:
            if progress is not None:
                progress(len(self.layers), layers, steps.phase.name)
            steps.tell(self._run(steps.phase))
            self._close(steps.phase)

    def closed_loop(self, steps: Steps, layers: int, progress: Progress | None) -> float | None:
        """Let the reference model run the network, with the machine in place of its layers.

        Phases come in the order of the network. A layer's input is known when its turn comes, and the
        phases that begin with it run then; what they put out of other layers is handed on when these come.
        """

        def on_machine(name: str) -> Callable[[Array], Array]:
            def run(*inputs: Array) -> Array:
                while steps.phase is not None and steps.phase.layers[0].name == name:
                    if progress is not None:
                        progress(len(self.layers), layers, steps.phase.name)
                    first: Any = steps.phase.layers[0]
                    layers_now = first.reading(inputs), *steps.phase.layers[1:]
                    phase = replace(steps.phase, layers=layers_now)
                    outcome = self._run(phase)
                    self.outputs |= outcome.outputs
                    steps.tell(outcome)
                    self._close(steps.phase)
                return self.outputs.pop(name)

            return run

        trace = self.trace
        graph = Graph.from_dict(trace.graph)
        override = {layer.name: on_machine(layer.name) for layer in trace.of_kinds(self.dataflow.KINDS)}
        formats = None if trace.format == "float32" else trace.formats
        last: Array | None = None
        for node, output in graph.run(trace.inputs, _Parameters(trace), formats, override):
            if node.name == graph.output:
                last = output
        if last is None or trace.labels is None:
            return None
        return float(np.mean(last.reshape(len(last), -1).argmax(axis=1) == trace.labels))

    def _run(self, phase: Phase) -> Outcome:
        """Simulate a phase on a fresh machine, and gather what it left."""
        sim = core.Simulation(clock_mhz=self.description.clock_mhz, log=self.log)
        for layer in reversed(phase.layers):  # the first is the one to which counts go unless said otherwise
            sim.on(layer.name)
        machine = Machine(sim, self.description.parts)
        if self.engine == "stepped":
            twin = twin_kinds()[self.description.dataflow](self.description.options)
            ended = sim.process(twin.run(machine, phase))
            sim.run()
            outcome: Any = ended.value  # an Outcome; SimPy types what a process returns as anything
        else:
            outcome = run(machine, self.dataflow, phase, self.values)
        of_first = outcome.details[phase.layers[0].name]
        cycles = of_first["cycles"] if outcome.cycles is None else outcome.cycles
        stalls = of_first["stall_cycles"] if outcome.stall_cycles is None else outcome.stall_cycles
        self.phases.append(
            PhaseResult(
                name=phase.name,
                layers=tuple(layer.name for layer in phase.layers),
                cycles=cycles,
                stall_cycles=dict(stalls),
                details=dict(outcome.of_phase),
            )
        )
        self.timeline += [
            (phase.name, s.unit, s.what, s.start_cycle, s.end_cycle) for s in sim.timeline or ()
        ]
        for layer in phase.layers:
            gathered = self._open.setdefault(layer.name, Gathered(layer, phase.mapping))
            output = outcome.outputs.get(layer.name) if self.values else None
            gathered.take(sim, outcome, cycles, output)
        return outcome

    def _close(self, following: Phase | None) -> None:
        """Make results of the layers that have no part in the phase that follows."""
        more = set() if following is None else {layer.name for layer in following.layers}
        for name in [name for name in self._open if name not in more]:
            self.layers.append(self._layer_result(self._open.pop(name)))

    def _layer_result(self, gathered: Gathered) -> LayerResult:
        layer, ledger, activity = gathered.layer, gathered.ledger, gathered.activity
        grouped = ledger.grouped()
        self.grouped.append(grouped)
        slots = gathered.cycles * self.multipliers
        moved, done = self._moved(grouped)
        matches, error = _verdict(layer, gathered.output)
        if isinstance(layer, LayerView):
            for transform, bits in layer.storage_bits().items():
                self.storage_bits.setdefault(transform, {})[layer.name] = bits
            layer.forget()
        return LayerResult(
            name=layer.name,
            kind=layer.kind,
            cycles=gathered.cycles,
            stall_cycles=gathered.stalls,
            utilization=gathered.executed / slots if slots else 0.0,
            macs=layer.shape.macs,
            macs_executed=gathered.executed,
            multiplies=done.get("mul", 0),
            adds=done.get("add", 0),
            bytes=moved,
            actions=Lazily(ledger.flat),
            activity=Lazily(activity.flat),
            output_matches=matches,
            output_error=error,
            mapping=dict(gathered.mapping),
            details=gathered.details,
        )

    def _moved(self, grouped: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Return the bytes that each part moved, and how often each other action was done.

        What moves words are reads, writes, sends and hops, at the width of the part's word.
        """
        names = tuple(grouped)
        found = self._sums.get(names)
        if found is None:
            found = self._sums[names] = self._sums_of(names)
        moved, done = (
            {what: factor * sum([grouped[name] for name in of]) for what, factor, of in sums}
            for sums in found
        )
        return {part: bits // 8 for part, bits in moved.items()}, done

    def _sums_of(self, names: Iterable[str]) -> tuple[list[Sum], list[Sum]]:
        """Return of which counts the bits are made that each part moves, and what else was done."""
        moved: dict[str, list[str]] = {}
        done: dict[str, list[str]] = {}
        for name in names:
            part, _, action = name.rpartition(".")
            if action in MOVES:
                moved.setdefault(part, []).append(name)
            else:
                done.setdefault(action, []).append(name)
        widths = {part: self.parts[part]["spec"]["word_bits"] for part in moved}
        return [(part, widths[part], of) for part, of in moved.items()], [
            (action, 1, of) for action, of in done.items()
        ]


class Steps:
    """A plan, one phase at a time: `phase` is the next, None behind the last; it is told each outcome."""

    def __init__(self, plan: Plan) -> None:
        self._plan = iter(plan)
        self.phase: Phase | None = next(self._plan, None)

    def tell(self, outcome: Outcome) -> None:
        try:
            told = isinstance(self._plan, Generator)
            self.phase = self._plan.send(outcome) if told else next(self._plan)  # type: ignore[union-attr]
        except StopIteration:
            self.phase = None


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of two phases of a layer: whole ones are added, of the rest the last counts."""
    found = dict(one)
    for name, value in other.items():
        before = found.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            found[name] = _added(before, value)
        elif type(value) is int and type(before) is int:
            found[name] = before + value
        else:
            found[name] = value
    return found


class _Parameters(Mapping[str, Array]):
    """A trace's tensors as the reference model's parameters, read when their turn comes."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __getitem__(self, name: str) -> Array:
        return self._trace.tensor(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._trace.has(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._trace.tensor_names)

    def __len__(self) -> int:
        return len(self._trace.tensor_names)


def _verdict(layer: Any, output: Array | None) -> tuple[bool | None, dict[str, float] | None]:
    """Return whether an output is the reference's bit for bit, and how far it is off.

    In float32 only a stream says in what order it is rounded; of other layers the first is None.
    """
    if output is None:
        return None, None
    expected = np.asarray(layer.expected)
    form = layer.formats["expected"]
    defined = not form.is_float or layer.kind == KIND
    bits = [_with_one_nan(array) if form.is_float else array for array in (output, expected)]
    if defined and output.shape == expected.shape and _equal(*bits):
        return True, None
    with np.errstate(invalid="ignore"):  # the difference of two infinities
        off = np.abs(output.astype(np.float64) - expected) * 2.0**-form.fraction
    if form.is_float and defined:  # an infinity or a NaN beside something else is off by what float32 holds
        off = np.nan_to_num(np.where(bits[0] == bits[1], 0, off), nan=_MOST).clip(max=_MOST)
    error = {"max": float(off.max()), "mean": float(off.mean())}
    return (False if defined else None), error


def _with_one_nan(array: Array) -> Array:
    """Return the bits of float32, of whatever NaN those of one: which one is not defined."""
    return np.where(np.isnan(array), np.float32(np.nan), array).view(np.uint32)


def _equal(one: Array, other: Array) -> bool:
    """Return whether integers are equal: eight bytes at once, where they lie that way."""
    if (
        one.dtype == other.dtype
        and one.nbytes % 8 == 0
        and one.flags.c_contiguous
        and other.flags.c_contiguous
    ):
        one, other = (array.reshape(-1).view(np.uint64) for array in (one, other))
    return bool((one == other).all())
