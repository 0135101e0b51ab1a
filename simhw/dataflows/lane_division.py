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
        self.spans = portion_spans(self.shape, self.cut)
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
            carrying=-(-moves.slowest // self.dataflow.row_words),
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
        self.division, shape, options = division, division.shape, division.options
        rows, columns = division.rows, division.columns
        spans = division.spans
        pool = division.layer.pool if options.pooling != "none" else None
        windows = spans[:, 2] * spans[:, 3]
        pooled, raw = (windows, 0) if pool is None else _pooled(pool, shape, spans)
        # which portion each row has in each turn; those beyond the last block have none
        block: Counts = np.arange(division.turns * rows, dtype=np.int64).reshape(division.turns, rows)
        has = np.ones_like(block, dtype=np.bool_) if division.spread else block < division.blocks
        portion = np.where(has, block % len(spans), 0) if not division.spread else np.zeros_like(block)
        words = np.where(has, _plane_words(shape, spans)[portion], 0)
        taps = shape.kernel_height * shape.kernel_width
        channels: Counts = np.array([(end - first) // taps for first, end in division.slices])
        # filters of each PE, in a group
        share = columns * (rows if division.spread else 1)
        before: Counts = np.tile(np.arange(columns, dtype=np.int64), (rows, 1))  # filters dealt before
        if division.spread:
            before = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
        own: Counts = np.maximum(-(-(shape.group_out_channels - before) // share), 0)
        left, made = np.where(has, (pooled + raw)[portion], 0), np.where(has, windows[portion], 0)

        def by_round(by_turn: Counts, by_slice: Counts) -> Counts:
            return np.broadcast_to(by_turn[:, None] * by_slice, present.shape).reshape(-1)

        last = np.zeros(len(channels), dtype=np.int64)
        last[-1] = 1
        self.inputs = by_round(words[:, 0] if division.spread else words.sum(axis=1), channels)
        self.outputs = by_round((left @ own).sum(axis=1), last)
        self.most = by_round((made * own.max(axis=1)).max(axis=1), last)  # outputs of the busiest PE
        free = options.activations == "as_printed" and division.on_chip["inputs"]
        of_rows = np.zeros_like(words) if free else words
        self.slowest = by_round(of_rows.max(axis=1), channels)  # words on the busiest row's bus
        whole = of_rows.sum(axis=0) * int(channels.sum()) * shape.groups
        self.carried = int(whole.sum())  # words on the buses of rows
        self.writes = np.broadcast_to(whole[:, None], (rows, columns))
        self.reads = np.zeros((rows, columns), dtype=np.int64)
        if division.on_chip["inputs"]:  # channel c of a slice lies in column c % columns
            for n in channels.tolist():
                channel: Counts = np.arange(n, dtype=np.int64)
                each: Counts = np.bincount(channel % columns, minlength=columns)
                self.reads += of_rows.sum(axis=0)[:, None] * each * shape.groups
        own_pooled = np.where(has, pooled[portion], 0).sum(axis=0)[:, None] * own * shape.groups
        self.pooled = None if pool is None else own_pooled

    def link_words(self, words: Counts, side: str) -> Counts:
        """Return the link's words of each round; none for what stays on chip."""
        if self.division.on_chip[side]:
            return np.zeros(words.size, dtype=np.int64)
        return -(-words * self.division.pes.word_bits // self.division.dataflow.dram.word_bits)

    def pooling_cycles(self) -> Counts:
        serial = self.division.options.pooling == "serial" and self.pooled is not None
        return -(-self.most // self.division.pes.pool_words) * (1 if serial else 0)


def _plane_words(shape: LayerShape, spans: Counts) -> Counts:
    """Return the input values of a channel under the windows of each portion, padding left out."""
    sizes: list[Counts] = []
    for axis in (0, 1):
        kernel = (shape.kernel_height, shape.kernel_width)[axis]
        whole = (shape.in_height, shape.in_width)[axis]
        first = spans[:, axis] * shape.stride[axis] - shape.pad[2 * axis]
        last = first + (spans[:, 2 + axis] - 1) * shape.stride[axis] + (kernel - 1) * shape.dilation[axis]
        sizes.append(np.maximum(np.minimum(last + 1, whole) - np.maximum(first, 0), 0))
    return sizes[0] * sizes[1]


def _pooled(pool: Pool, shape: LayerShape, spans: Counts) -> tuple[Counts, Counts]:
    """Return the pooled values that each portion makes, and the outputs that it leaves unpooled.

    A value whose windows lie in more than one portion is nobody's: its windows leave as they are.
    """
    inside: list[Counts] = []
    read: list[Counts] = []  # rows or columns of each portion that pooled values read
    settled: list[Counts] = []  # and those that only the portion's own read
    for axis in (0, 1):
        extent = (shape.out_height, shape.out_width)[axis]
        first = np.arange((pool.height, pool.width)[axis]) * pool.stride[axis] - pool.pad[axis]
        last = np.minimum(first + pool.kernel[axis], extent) - 1
        first = np.maximum(first, 0)
        starts, one, which = np.unique(spans[:, axis], return_index=True, return_inverse=True)
        start, end = starts[:, None], (starts + spans[one, 2 + axis])[:, None]
        whole = (first >= start) & (last < end)  # [portions' rows or columns, pooled value]
        inside.append(whole.sum(axis=1)[which])
        places = np.arange(extent)
        reads = (places[:, None] >= first) & (places[:, None] <= last)  # [place, pooled value]
        others = (~whole).astype(np.float32) @ reads.T.astype(np.float32)  # how many, [.., place]
        own = (places >= start) & (places < end) & reads.any(axis=1)
        read.append(own.sum(axis=1)[which])
        settled.append((own & (others == 0)).sum(axis=1)[which])
    return inside[0] * inside[1], read[0] * read[1] - settled[0] * settled[1]
