"""How SnaPEA's array shares out a layer: windows to rows and lanes, filters to columns, words to buses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw import fast as untyped_fast
from simhw.core.dataflow import Array, Layer, Pool
from simhw.dataflows.lane_schedule import Rounds
from simhw.fast import lane_work as kinds
from simhw.mapping.windows import Portion, lane_places, portion_spans, slices
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]
ON_CHIP, OFF_CHIP = "chip", "dram"
LONG_FILTERS = {"parked": kinds.PARKS, "staged": kinds.STAGED, "restreamed": kinds.AGAIN}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a layer asks of the machine, without time."""

    rounds: Rounds
    grids: Mapping[tuple[str, str], Counts]  # (part, action): of each PE
    counts: Mapping[tuple[str, str], int]  # of parts of the whole machine
    lanes: Mapping[tuple[str, str], Counts]  # (lane, busy or cause): cycles of each PE's lane
    pes: Mapping[str, Counts]  # cause: cycles of each PE, all its lanes
    outputs: Array | None
    details: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stops:
    """How far every window of a layer comes, and its outputs."""

    macs: Array  # int32 [N, M, E, F]
    checked_from: Array  # int32 [M]: from this product on each is followed by a check
    speculates: Array  # bool [M]
    ordered: bool  # whether weights come with indices
    outputs: Array
    details: Mapping[str, Any]


class Division:
    """A layer dealt out: windows to rows and lanes, filters to columns."""

    def __init__(self, dataflow: Any, layer: Layer, mapping: Mapping[str, Any]) -> None:
        self.dataflow, self.layer, self.shape = dataflow, layer, layer.shape
        self.pes, self.options = dataflow.pes, dataflow.options
        self.rows, self.columns = dataflow.rows, dataflow.columns
        self.cut = Portion(height=mapping["portion_rows"], width=mapping["portion_columns"])
        self.on_chip = {side: mapping.get(side) == ON_CHIP for side in ("inputs", "outputs")}
        self.spans = list(portion_spans(self.shape, self.cut))
        self.slices = slices(self.shape, self.pes.half_words)
        self.blocks = self.shape.batch * len(self.spans)
        self.turns = -(-self.blocks // self.rows)
        self.spread = self.blocks == 1 and self.options.one_portion == "pes"
        self.index_bits = max(self.shape.window - 1, 1).bit_length()

    def work(self, stops: Stops, values: bool) -> Work:
        shape, pes, options = self.shape, self.pes, self.options
        halves = options.weight_buffer == "halves"
        work, words, by_lane, by_pe, sent = fast.deal_lanes(
            stops.macs.reshape(*stops.macs.shape[:2], -1),
            stops.checked_from,
            stops.speculates,
            lane_places(shape, self.cut, pes.lanes, options.grouping),
            shape.groups,
            self.rows,
            self.columns,
            np.array([0] + [end for _, end in self.slices], dtype=np.int64),
            max(pes.weight_words // 2, 1) if halves else pes.weight_words,
            2 if halves else 1,
            pes.parked_words,
            LONG_FILTERS[
                "parked" if self.spread and options.long_filters == "restreamed" else options.long_filters
            ],
            options.pace == "column" and not self.spread,
            self.spread,
        )
        link = self.dataflow.dram.word_bits
        bits = pes.word_bits + (self.index_bits if stops.ordered else 0)
        present = np.full((shape.groups, self.turns, len(self.slices)), self.rows, dtype=np.int64)
        if not self.spread:
            present[:, -1] = self.blocks - (self.turns - 1) * self.rows
        moves = Moves(self, present)
        rounds = Rounds(
            work=work,
            link=-(-words * bits // link),
            present=present.reshape(-1),
            inputs=moves.link_words(moves.inputs, "inputs"),
            carrying=-(-moves.slowest.reshape(-1) // self.dataflow.row_words),
            pooling=moves.pooling_cycles(),
            outputs=moves.link_words(moves.outputs, "outputs"),
            room=2 if halves else 1,
        )
        buffers = ("weights", "indexes") if stops.ordered else ("weights",)
        grids: dict[tuple[str, str], Counts] = {}
        lanes: dict[tuple[str, str], Counts] = {}
        for lane in range(pes.lanes):
            own = by_lane[:, :, :, lane]
            grids[f"lane{lane}", "mul"] = grids[f"lane{lane}", "add"] = own[kinds.BUSY]
            grids[f"pau{lane}", "check"] = own[kinds.CHECKS]
            grids[f"pau{lane}", "predict"] = own[kinds.PREDICTS]
            for kind, cause in (
                (kinds.BUSY, "busy"), (kinds.LOCKSTEP, "lockstep"), (kinds.NO_WINDOW, "no_window"),
            ):  # fmt: skip
                lanes[f"lane{lane}", cause] = own[kind]
        for buffer in buffers:
            grids[buffer, "read"] = by_pe[kinds.READS]
            grids[buffer, "write"] = by_pe[kinds.DRAWN]
        products, windows = by_lane[kinds.BUSY].sum(axis=2), by_lane[kinds.WINDOWS].sum(axis=2)
        grids["io", "read"] = products + by_pe[kinds.TAKEN] * pes.parked_words + moves.reads
        grids["io", "write"] = windows + by_pe[kinds.PARKED] * pes.parked_words + moves.writes
        if moves.pooled is not None:
            grids["pool", "take"] = windows
            grids["io", "read"] = grids["io", "read"] + windows
            grids["io", "write"] = grids["io", "write"] + moves.pooled
        received = int(by_pe[kinds.DRAWN].sum())
        return Work(
            rounds=rounds,
            grids=grids,
            counts={
                ("noc.columns", "send"): len(buffers) * int(sent),
                ("noc.columns", "receive"): len(buffers) * received,
                ("noc.rows", "send"): moves.carried,
                ("noc.rows", "receive"): moves.carried * self.columns,
            },
            lanes=lanes,
            pes={"parking": by_pe[kinds.PARKING], "stream": by_pe[kinds.STREAM]},
            outputs=stops.outputs if values else None,
            details=stops.details,
        )


class Moves:
    """What moves in and out of the PEs of a layer besides weights, by round."""

    def __init__(self, division: Division, present: Counts) -> None:
        self.division, self.shape, self.present = division, division.shape, present
        rows, columns = division.rows, division.columns
        self.inputs = np.zeros(present.shape, dtype=np.int64)  # words from DRAM
        self.slowest = np.zeros(present.shape, dtype=np.int64)  # words that the busiest row's bus carries
        self.outputs = np.zeros(present.shape, dtype=np.int64)  # words
        self.most = np.zeros(present.shape, dtype=np.int64)  # outputs of the busiest PE
        self.carried = 0  # words on the buses of rows
        self.reads = np.zeros((rows, columns), dtype=np.int64)
        self.writes = np.zeros((rows, columns), dtype=np.int64)
        pool = division.layer.pool if division.options.pooling != "none" else None
        self.pooled = None if pool is None else np.zeros((rows, columns), dtype=np.int64)
        self.leaving = [
            height * width if pool is None else _pooled(pool, self.shape, (top, left, height, width))
            for top, left, height, width in division.spans
        ]
        for place in np.ndindex(present.shape):
            self._count(place)

    def _count(self, place: tuple[int, ...]) -> None:
        division, shape = self.division, self.shape
        _, turn, cut = place
        first, end = division.slices[cut]
        taps = shape.kernel_height * shape.kernel_width
        channels = (end - first) // taps
        free = division.options.activations == "as_printed" and division.on_chip["inputs"]
        filters = shape.group_out_channels
        share = division.columns * (division.rows if division.spread else 1)
        blocks = range(turn * division.rows, min((turn + 1) * division.rows, division.blocks))
        for row in range(int(self.present[place])):
            block = 0 if division.spread else blocks[row]
            span = division.spans[block % len(division.spans)]
            words = self._plane_words(*span) * channels
            if not division.spread or row == 0:
                self.inputs[place] += words
            if not free:
                self.slowest[place] = max(self.slowest[place], words)
                self.carried += words
                self.writes[row] += words
                if division.on_chip["inputs"]:
                    each = np.bincount(np.arange(channels) % division.columns, minlength=division.columns)
                    self.reads[row] += each * (words // channels)
            if cut == len(division.slices) - 1:
                leaving = self.leaving[block % len(division.spans)]
                places: Counts = np.arange(division.columns, dtype=np.int64) + (
                    row * division.columns if division.spread else 0
                )
                own = np.maximum(-(-(filters - places) // share), 0)
                self.outputs[place] += leaving * int(own.sum())
                self.most[place] = max(self.most[place], span[2] * span[3] * int(own.max()))
                if self.pooled is not None:
                    self.pooled[row] += leaving * own

    def _plane_words(self, top: int, left: int, height: int, width: int) -> int:
        """Return the input values of a channel under a portion's windows, padding left out."""
        shape = self.shape
        sizes: list[int] = []
        for axis, (start, size) in enumerate(((top, height), (left, width))):
            kernel = (shape.kernel_height, shape.kernel_width)[axis]
            first = start * shape.stride[axis] - shape.pad[2 * axis]
            last = (start + size - 1) * shape.stride[axis] - shape.pad[2 * axis]
            last += (kernel - 1) * shape.dilation[axis]
            whole = (shape.in_height, shape.in_width)[axis]
            sizes.append(max(min(last + 1, whole) - max(first, 0), 0))
        return sizes[0] * sizes[1]

    def link_words(self, words: Counts, side: str) -> Counts:
        """Return the link's words of each round; none for what stays on chip."""
        if self.division.on_chip[side]:
            return np.zeros(words.size, dtype=np.int64)
        return -(-words.reshape(-1) * self.division.pes.word_bits // self.division.dataflow.dram.word_bits)

    def pooling_cycles(self) -> Counts:
        serial = self.division.options.pooling == "serial" and self.pooled is not None
        return -(-self.most.reshape(-1) // self.division.pes.pool_words) * (1 if serial else 0)


def _pooled(pool: Pool, shape: LayerShape, span: tuple[int, int, int, int]) -> int:
    """Return the pooled values whose last window lies in a portion."""
    top, left, height, width = span
    counts: list[int] = []
    for axis, (start, size) in enumerate(((top, height), (left, width))):
        extent = (shape.out_height, shape.out_width)[axis]
        numbers = np.arange((pool.height, pool.width)[axis]) * pool.stride[axis] - pool.pad[axis]
        last = np.minimum(numbers + pool.kernel[axis], extent) - 1
        counts.append(int(np.count_nonzero((last >= start) & (last < start + size))))
    return counts[0] * counts[1]
