"""SnaPEA's behaviour, compiled: adjacent windows in lockstep lanes, stopped once their outcome is known."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simhw import core
from simhw import fast as untyped_fast
from simhw.core.dataflow import Array, Layer, Outcome, Phase, Role
from simhw.core.machine import Machine, Part
from simhw.dataflows.lane_division import OFF_CHIP, ON_CHIP, PES, Division, Stops, Work
from simhw.dataflows.lane_schedule import WAITS, Ended, read_off, shortcut, tabulate
from simhw.errors import DescriptionError, MappingError
from simhw.mapping.windows import Portion, count_portions, portions, slices, tap_span
from simhw.shapes import LayerShape, NumberFormat

fast: Any = untyped_fast  # numba's functions carry no types
ACTIVATIONS: dict[str | None, int] = {None: fast.NONE, "relu": fast.RELU, "relu6": fast.RELU6}
LANE_BITS = 16  # of the words that lanes multiply
LOST = (
    "lockstep", "no_window", "parking", "stream", "barrier", "no_filter", "no_portion",
    "row_bus", "pooling", "dram_filters", "dram_inputs", "dram_outputs",
)  # fmt: skip


class EarlyTermination(core.Dataflow, kind="early_termination"):
    """SnaPEA's schedule (Akhlaghi et al., ISCA 2018), in rounds.

    A round gives each row of PEs one portion of the input and each column its filters, one after
    another. Weights come in units that fit the PEs' buffers; every PE goes through its windows, a group
    of adjacent ones at a time, at its own pace or its column's. Rows meet at the end of the round.
    """

    ROLES = {  # noqa: RUF012 - a class's own table, never written
        "pes": Role(
            fields=("lanes", "weight_words", "half_words", "word_bits", "parked_words", "pool_words"),
            grid=True,
            about="the array",
        ),
        "noc": Role(fields=("row_words",), about="broadcasts along rows and columns"),
        "dram": Role(fields=("word_bits", "clock_mhz"), about="off-chip memory"),
    }
    TRANSFORMS = ("sign_order", "speculation")

    @dataclass(frozen=True, kw_only=True)
    class Options(core.Spec):
        """What the paper leaves open; docs/models/snapea.md says what each choice does to the result."""

        termination: Literal["exact", "off"] = "exact"
        test: Literal["below", "at_or_below"] = "below"  # equation 3.1 of the thesis prints <=
        signed_inputs: Literal["whole", "shift", "refuse"] = "whole"
        long_filters: Literal["parked", "staged", "restreamed"] = "parked"
        weight_buffer: Literal["halves", "whole"] = "halves"  # whether one half loads while one is used
        pace: Literal["own", "column"] = "own"  # of the PEs of a column
        barrier: Literal["array", "row"] = "array"  # who meets at the end of a portion
        filters: Literal["in_turn", "by_work"] = "in_turn"  # how they are dealt to columns
        grouping: Literal["wrapped", "rows", "blocks"] = "wrapped"  # which windows are adjacent
        fewest: Literal["groups", "rounds"] = "groups"  # of what portions make little
        one_portion: Literal["columns", "pes"] = "columns"  # where filters go if a layer has one portion
        activations: Literal["off_chip", "where_they_fit", "as_printed"] = "where_they_fit"
        pooling: Literal["none", "overlapped", "serial"] = "overlapped"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.barrier == "row" and self.pace == "column":
                raise DescriptionError(["pace: wants own where barrier is row, got column"])
            if self.barrier == "row" and self.long_filters == "restreamed":
                raise DescriptionError(
                    ["long_filters: wants parked or staged where barrier is row, got restreamed"]
                )

    def __init__(self, parts: Mapping[str, Part], options: Any, clock_mhz: float) -> None:
        super().__init__(parts, options, clock_mhz)
        self.pes: Any = parts["pes"].spec
        self.dram: Any = parts["dram"].spec
        self.row_words: int = getattr(parts["noc"].spec, "row_words", 1)
        self.rows, self.columns = parts["pes"].rows or 1, parts["pes"].columns or 1
        self._portions: dict[LayerShape, Portion] = {}

    # plan

    def plan(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterable[Phase]:
        """Yield a phase a layer. This machine has one mapping of a layer, and takes no other."""
        for layer in layers:
            if layer.formats["expected"].is_float:
                raise DescriptionError(
                    f"{layer.name}: early_termination wants integers, the trace holds float32; "
                    "make it with --format fixed16"
                )
            if (bits := layer.formats["weights"].bits) > LANE_BITS:
                raise DescriptionError(
                    f"{layer.name}: weights of {bits} bits, lanes multiply words of {LANE_BITS}; wants a "
                    "trace of the exact network's weights"
                )
        mapped = {layer.name: self.map_shape(layer.name, layer.shape) for layer in layers}
        faults = [
            f"{name}: wants {_listed(mapped[name])}, the one mapping that early_termination has of it; "
            f"got {_listed(asked)}"
            for name, asked in (mapping or {}).items()
            if name in mapped and dict(asked) != mapped[name]
        ]
        if faults:
            raise MappingError(faults)
        kept = self.kept_inputs(layers)
        for layer in layers:
            feeds = layer.feeds
            stays = bool(feeds) and all(name in kept for name in feeds or ())
            places = {
                "inputs": ON_CHIP if layer.name in kept else OFF_CHIP,
                "outputs": ON_CHIP if stays else OFF_CHIP,
            }
            yield Phase(name=layer.name, layers=(layer,), mapping=mapped[layer.name] | places)

    def map_shape(self, name: str, shape: LayerShape) -> dict[str, Any]:
        self._check_room(name, shape)
        cut = self._portion(shape)
        return {"portion_rows": cut.height, "portion_columns": cut.width}

    def _check_room(self, name: str, shape: LayerShape) -> None:
        """Refuse a layer that a PE's memory has no room for, one channel of one window at a time."""
        filters = -(-shape.group_out_channels // self.columns)
        wanted = {
            "one channel of a window": tap_span(shape),
            f"outputs of {filters} filters": filters - 1 + self._sum_words(shape),
        }
        half = self.pes.half_words
        faults = [
            f"{name}: half of a PE's memory has {half} words, {what} {words}; wants io_kib of at least "
            f"{math.ceil(words * self.pes.word_bits / 4096 * 1e4) / 1e4:g}"
            for what, words in wanted.items()
            if words > half
        ]
        if faults:
            raise DescriptionError(faults)

    def _portion(self, shape: LayerShape) -> Portion:
        found = self._portions.get(shape)
        if found is None:
            found = self._portions[shape] = portions(
                shape, self.pes.half_words,
                rows=self.rows, columns=self.columns, lanes=self.pes.lanes, grouping=self.options.grouping,
                fewest=self.options.fewest, sum_words=self._sum_words(shape),
            )  # fmt: skip
        return found

    def refuse_parameters(self, kind: str) -> str | None:
        return "has options.termination off; wants exact" if self.options.termination == "off" else None

    def kept_inputs(self, layers: Sequence[Layer]) -> set[str]:
        """Return the layers whose inputs are on chip already when they begin.

        As printed, wherever layers follow each other. Where they fit: all channels of a row's portion in
        each of its PEs, in one round, and each PE's share of the outputs before in the other half.
        """
        if self.options.activations == "off_chip":
            return set()
        by_name = {layer.name: layer for layer in layers}
        holds = {layer.name: self._outputs_held(layer) for layer in layers}
        readers: dict[str, list[str]] = {}
        for layer in layers:
            for name in layer.fed_by or ():
                readers.setdefault(name, []).append(layer.name)

        def fits(layer: Layer) -> bool:
            if layer.fed_by is None or not all(name in by_name for name in layer.fed_by):
                return False
            if self.options.activations == "as_printed":
                return True
            held = sum(holds[name] for name in layer.fed_by)
            return held <= self.pes.half_words and self._rounds_of(layer.shape) == 1

        kept = {layer.name for layer in layers if fits(layer)}
        before: set[str] = set()
        while kept != before:  # an output that any reader wants off chip is off chip for all
            before = set(kept)
            for layer in layers:
                if layer.feeds is None or not all(name in kept for name in layer.feeds):
                    kept.difference_update(readers.get(layer.name, ()))
        return kept

    def _sum_words(self, shape: LayerShape) -> int:
        """Return the words that a window takes up in a PE's memory while a filter is at work on it."""
        halves = self.options.weight_buffer == "halves"
        unit = max(self.pes.weight_words // 2, 1) if halves else self.pes.weight_words
        parks = shape.window > unit and self.options.long_filters == "parked"
        return self.pes.parked_words if parks else 1

    def _rounds_of(self, shape: LayerShape) -> int:
        cut = self._portion(shape)
        turns = -(-count_portions(shape, cut) * shape.batch // self.rows)
        return shape.groups * turns * len(slices(shape, self.pes.half_words))

    def _outputs_held(self, layer: Layer) -> int:
        """Return the most outputs of a layer that one PE computes."""
        shape, cut = layer.shape, self._portion(layer.shape)
        turns = -(-count_portions(shape, cut) * shape.batch // self.rows)
        filters = shape.groups * -(-shape.group_out_channels // self.columns)
        return turns * filters * cut.height * cut.width

    # execute

    def execute(self, phase: Phase, values: bool) -> Work:
        """Find every window's products, and what they come to in lanes, PEs and columns."""
        layer: Any = phase.layers[0]
        stops = self.stops(layer)
        return Division(self, layer, phase.mapping).work(stops, values)

    def why_not(self, layer: Layer, lows: Array, tops: Array) -> str | None:
        """Return why a layer must run to the end, or None: stopping must leave every output as it is."""
        if self.options.termination == "off":
            return "as the description says"
        if layer.activation not in ("relu", "relu6"):
            return "no ReLU follows"
        if len(slices(layer.shape, self.pes.half_words)) > 1:
            return f"a window of {layer.shape.window} inputs does not fit {self.pes.half_words} words"
        if ordering_of(layer) is None:
            return "the description asks for no sign_order"
        if not lows.any():
            return None
        if self.options.signed_inputs == "refuse":
            raise DescriptionError(
                f"{layer.name}: inputs are as low as {lows.min()}, stopping early would change its outputs; "
                "options.signed_inputs: whole runs such layers to the end, shift makes inputs non-negative"
            )
        if self.options.signed_inputs == "whole":
            return "inputs may be negative"
        return None if (tops - lows).max() < 1 << 15 else "shifted inputs would not fit 16 bits"

    def stops(self, layer: Any) -> Stops:
        """Return where the windows of a layer stop, and what it puts out."""
        shape: LayerShape = layer.shape
        inputs = np.asarray(layer.inputs)
        lows, tops = fast.channel_ranges(inputs)
        why_not = self.why_not(layer, lows, tops)
        weights, bias = np.asarray(layer.weights), np.asarray(layer.bias, dtype=np.int64)
        geometry = (shape.stride, shape.pad, shape.dilation, shape.groups)
        if why_not is not None:
            sums = fast.conv_accumulate(inputs, weights, bias, *geometry)
            return Stops(
                macs=None,
                checked_from=np.full(shape.out_channels, shape.window, dtype=np.int32),
                speculates=np.zeros(shape.out_channels, dtype=np.bool_),
                ordered=False,
                outputs=self._finished(layer, sums),
                details={"termination": f"off: {why_not}"} | _stopped(shape, None, None, 0),
            )
        order = ordering_of(layer)
        thresholds = order.thresholds_of(inclusive=self.options.test == "at_or_below")
        ranges: Any = (lows, tops)
        border: Any = 0
        if lows.any():
            ranges, border = None, -lows
            inputs = (inputs - lows[:, None, None]).astype(np.int16)
            by_group = np.repeat(lows.reshape(shape.groups, -1), shape.group_out_channels, axis=0)
            by_weight = np.repeat(by_group, shape.kernel_height * shape.kernel_width, axis=1)
            raised = order.weights * np.take_along_axis(by_weight, order.order.astype(np.int64), axis=1)
            bias = bias + raised.sum(axis=1)
            # the sum so far has all of the bias's correction, and not yet the products that call for it
            later = np.arange(shape.window) >= np.asarray(order.prefix)[:, None]
            thresholds = thresholds + np.where(order.prefix > 0, (raised * later).sum(axis=1), 0)
        speculates = np.asarray(order.prefix) > 0
        predicts = bool(speculates.any())
        complete = None
        if predicts:
            complete = fast.conv_accumulate(np.asarray(layer.inputs), weights, layer.bias, *geometry)
        outputs, macs, stopped = fast.early_termination(
            inputs.astype(np.int16, copy=False), order.weights, order.order, bias, order.prefix,
            thresholds, order.negatives_from, (shape.kernel_height, shape.kernel_width), *geometry,
            inclusive=self.options.test == "at_or_below", pad_value=border, complete=complete,
            ranges=ranges, natural=weights, narrow=(layer.shift, self._highest(layer)),
        )  # fmt: skip
        details = _stopped(shape, stopped, complete, layer.formats["bias"].fraction)
        details["index_bits"] = order.storage_bits
        return Stops(
            macs=macs,
            checked_from=np.asarray(order.negatives_from),
            speculates=speculates,
            ordered=True,
            outputs=_stored(outputs, layer.formats["expected"]),
            details={"termination": "predictive" if predicts else "exact"} | details,
        )

    def _finished(self, layer: Layer, sums: Array) -> Array:
        form, highest = layer.formats["expected"], self._highest(layer)
        outputs, _ = fast.requantize(
            sums, layer.shift, form.lowest, highest, ACTIVATIONS[layer.activation], highest
        )
        return _stored(outputs, form)

    def _highest(self, layer: Layer) -> int:
        """Return the largest output of a layer."""
        form = layer.formats["expected"]
        six = round(6 * 2.0**form.fraction)
        return min(six, form.highest) if layer.activation == "relu6" else form.highest

    # schedule

    def shortcut(self, work: Work, links: Mapping[str, core.Link]) -> Ended | None:
        return shortcut(work.rounds, links["dram"])

    def schedule(self, phase: Phase, work: Work) -> core.Schedule:
        return tabulate(work.rounds)

    def account(self, machine: Machine, phase: Phase, work: Work, played: core.Played | Ended) -> Outcome:
        """Book what lanes and PEs did, and where their cycles went."""
        name = phase.layers[0].name
        ended = read_off(work.rounds, played) if isinstance(played, core.Played) else played
        ledger, activity = machine.sim.ledger, machine.sim.activity
        for booked in work.actions:
            ledger.add_grids("pes", *booked)
        for (instance, action), n in work.counts.items():
            ledger.add(instance, action, n)
        of_pes = np.concatenate((work.pes, ended.waits))
        activity.add_grids("pes", *work.lanes)
        for lane in range(self.pes.lanes):
            activity.add_grids("pes", _causes(lane), of_pes)
        spent = dict(work.spent)
        of_lanes = (of_pes.sum(axis=(1, 2)) * self.pes.lanes).tolist()
        for cause, n in zip((*PES, *WAITS), of_lanes, strict=True):
            spent[cause] = spent.get(cause, 0) + n
        busy = spent.pop("busy")
        details = {
            "cycles": ended.cycles,
            "stall_cycles": {cause: n for cause, n in ended.stalls.items() if n},
            "macs_executed": busy,
            "rounds": len(work.rounds.present),
            "lost_lane_cycles": {cause: spent[cause] for cause in LOST},
        }
        outputs = {} if work.outputs is None else {name: work.outputs}
        return Outcome(outputs=outputs, details={name: details | dict(work.details)})


def ordering_of(layer: Layer) -> Any:
    """Return a layer's weights in the order in which they are executed, or None where none is asked for."""
    predicting = layer.side("speculation")
    return layer.side("sign_order") if predicting is None else predicting


def _listed(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{letter}: {value}" for letter, value in mapping.items())


@functools.cache
def _causes(lane: int) -> tuple[tuple[str, str], ...]:
    """Return under which names a lane's cycles are booked in which its whole PE waited."""
    return tuple((f"lane{lane}", cause) for cause in (*PES, *WAITS))


def _stored(outputs: Array, form: NumberFormat) -> Array:
    return outputs.astype(np.int8 if form.bits <= 8 else np.int16, copy=False)


def _stopped(
    shape: LayerShape, stopped: Array | None, complete: Array | None, fraction: int
) -> dict[str, Any]:
    """Return how many windows stopped why, and what predictions missed: sums above zero taken for less."""
    early = predictions = missed = most = total = 0
    positive = shape.outputs if complete is None else int(np.count_nonzero(complete > 0))
    if stopped is not None:
        early = int(np.count_nonzero(stopped.view(bool) if complete is None else stopped))  # as bool faster
        if complete is not None:
            predicted = stopped == fast.BY_PREDICTION
            predictions = int(np.count_nonzero(predicted))
            lost = complete[predicted & (complete > 0)]
            missed, most, total = lost.size, int(lost.max(initial=0)), int(lost.sum())
    found: dict[str, Any] = {
        "windows_stopped_by_sign": early - predictions,
        "windows_stopped_by_prediction": predictions,
    }
    if complete is not None:
        found |= {
            "positive_windows": positive,
            "mispredictions": missed,
            "mispredicted_max": most * 2.0**-fraction,
            "mispredicted_mean": total / missed * 2.0**-fraction if missed else 0.0,
        }
    return found
