"""How SnaPEA's array shares out a layer: windows to rows and lanes, filters to columns, words to buses."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw import fast as untyped_fast
from simhw.core.dataflow import Array, Layer, Pool
from simhw.dataflows.lane_schedule import Moves, Rounds
from simhw.fast import lane_work as kinds
from simhw.mapping.windows import Cuts, Portion, axis_cuts, count_portions, lane_places, slices
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]
Booked = tuple[Sequence[tuple[str, str]], Counts]  # names (part, what), and their counts [name, row, column]
ON_CHIP, OFF_CHIP = "chip", "dram"
PES = ("parking", "stream")  # why all lanes of a PE wait, without time
# what lanes and PEs did, in the order of `fast.book_lanes`
ACTIONS = ("pau", "check"), ("pau", "predict"), ("lane", "mul"), ("lane", "add")
OF_PES = ("io", "read"), ("io", "write"), ("pool", "take"), ("weights", "read"), ("weights", "write")
INDEXES = ("indexes", "read"), ("indexes", "write")  # as often as weights
CYCLES = ("lane", "busy"), ("lane", "lockstep"), ("lane", "no_window")
LONG_FILTERS = {"parked": kinds.PARKS, "staged": kinds.STAGED, "restreamed": kinds.AGAIN}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a layer asks of the machine, without time."""

    rounds: Rounds
    actions: Sequence[Booked]  # of each PE's parts
    counts: Mapping[tuple[str, str], int]  # of parts of the whole machine
    lanes: Booked  # (lane, busy or cause): cycles of each PE's lanes
    spent: Mapping[str, int]  # cycles of all lanes: busy or cause
    pes: Counts  # cycles of each PE, all its lanes: PES, and where
    outputs: Array | None
    details: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stops:
    """How far every window of a layer comes, and its outputs."""

    macs: (
        Array | None
    )  # [N, M, E, F], as `fast.early_termination` counts them; None: all windows run to their end
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
        self.portions = count_portions(self.shape, self.cut)
        self.slices = slices(self.shape, self.pes.half_words)
        self.blocks = self.shape.batch * self.portions
        self.turns = -(-self.blocks // self.rows)
        halves = self.options.weight_buffer == "halves"
        self.unit: int = max(self.pes.weight_words // 2, 1) if halves else self.pes.weight_words
        self.spread = self.blocks == 1 and self.options.one_portion == "pes"
        self.index_bits = max(self.shape.window - 1, 1).bit_length()

    def work(self, stops: Stops, values: bool) -> Work:
        shape, pes, options = self.shape, self.pes, self.options
        halves = options.weight_buffer == "halves"
        if stops.macs is None:
            deal, windows = fast.deal_whole, (shape.batch, shape.out_channels)
        else:
            macs = stops.macs.reshape(*stops.macs.shape[:2], -1)
            windows = macs, stops.checked_from, stops.speculates
            if options.filters == "by_work":
                turn = self.by_work(macs)
                windows = macs[:, turn], stops.checked_from[turn], stops.speculates[turn]
            deal = fast.deal_lanes
        work, words, by_lane, by_pe, sent = deal(
            *windows,
            lane_places(shape, self.cut, pes.lanes, options.grouping),
            shape.groups,
            self.rows,
            self.columns,
            np.array([0] + [end for _, end in self.slices], dtype=np.int64),
            self.unit,
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
        traffic = self.traffic()
        actions, cycles, totals = fast.book_lanes(
            by_lane, by_pe, traffic.reads, traffic.writes, traffic.pools, traffic.pooled, pes.parked_words
        )
        busy, lockstep, no_window, drawn = totals.tolist()
        by_row = options.barrier == "row" and not self.spread
        rounds = Rounds(
            work=work,
            link=(words * bits + (link - 1)) // link,
            present=traffic.present,
            moves=traffic.of_rows if by_row else traffic.of_array,
            room=2 if halves else 1,
            by_row=by_row,
            whole_units=traffic.whole_units,
        )
        buffers = 2 if stops.ordered else 1  # weights come with indexes
        of_pes = _names(pes.lanes, ACTIONS, OF_PES), actions
        return Work(
            rounds=rounds,
            actions=(of_pes, (INDEXES, actions[-len(INDEXES) :])) if stops.ordered else (of_pes,),
            counts={
                ("noc.columns", "send"): buffers * int(sent),
                ("noc.columns", "receive"): buffers * drawn,
                ("noc.rows", "send"): traffic.carried,
                ("noc.rows", "receive"): traffic.carried * self.columns,
            },
            lanes=(_names(pes.lanes, CYCLES), cycles),
            spent={"busy": busy, "lockstep": lockstep, "no_window": no_window},
            pes=by_pe[kinds.PARKING : kinds.STREAM + 1],
            outputs=stops.outputs if values else None,
            details={"macs_cut": shape.macs - busy} | dict(stops.details),
        )

    def by_work(self, macs: Array) -> Counts:
        """Return the filters in the order in which they are dealt so that columns have alike much to do.

        Those of a group with the most products come first; every second time round the columns they are
        dealt the other way about.
        """
        share = self.columns * (self.rows if self.spread else 1)
        cost: Counts = macs.sum(axis=(0, 2), dtype=np.int64).reshape(self.shape.groups, -1)
        turn = (-cost).argsort(axis=1, kind="stable")
        for first in range(share, turn.shape[1], 2 * share):
            turn[:, first : first + share] = turn[:, first : first + share][:, ::-1].copy()
        return (turn + np.arange(len(turn))[:, None] * turn.shape[1]).reshape(-1)

    def traffic(self) -> Traffic:
        options, on_chip = self.options, self.on_chip
        return _traffic(
            self.shape, self.cut, None if options.pooling == "none" else self.layer.pool,
            (self.rows, self.columns), self.spread,
            half_words=self.pes.half_words,
            unit=self.shape.window if self.options.long_filters == "staged" else self.unit,
            link_words=(self.pes.word_bits, self.dataflow.dram.word_bits),
            row_words=self.dataflow.row_words,
            pool_words=self.pes.pool_words if options.pooling == "serial" else None,
            on_chip=(on_chip["inputs"], on_chip["outputs"]),
            free=options.activations == "as_printed" and on_chip["inputs"],
        )  # fmt: skip


@functools.cache
def _names(
    lanes: int, names: tuple[tuple[str, str], ...], others: tuple[tuple[str, str], ...] = ()
) -> tuple[tuple[str, str], ...]:
    return (*((f"{part}{lane}", what) for lane in range(lanes) for part, what in names), *others)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What moves in and out of the PEs of a layer besides weights; it depends on shapes alone."""

    present: Counts  # of each round: rows that take part
    of_array: Moves
    of_rows: Moves  # and the same for rows that move by themselves
    carried: int  # words on the buses of all rows
    writes: Counts  # of each PE's memory: inputs that come
    reads: Counts  # and inputs that it hands to its row
    pools: bool
    pooled: Counts  # pooled values that each PE makes, if it `pools`
    whole_units: int  # units of a filter that is loaded to its end, in the last round


@functools.lru_cache(maxsize=1024)
def _traffic(
    shape: LayerShape, cut: Portion, pool: Pool | None, array: tuple[int, int], spread: bool, *,
    half_words: int, unit: int, link_words: tuple[int, int], row_words: int, pool_words: int | None,
    on_chip: tuple[bool, bool], free: bool,
) -> Traffic:  # fmt: skip
    rows, columns = array
    blocks = shape.batch * count_portions(shape, cut)
    turns = -(-blocks // rows)
    parts = slices(shape, half_words)
    present: Counts = np.full((shape.groups, turns, len(parts)), rows, dtype=np.int64)
    if not spread:
        present[:, -1] = blocks - (turns - 1) * rows
    cuts = axis_cuts(shape, cut)
    windows = _grid(cuts[0][1], cuts[1][1])
    pooled, raw = (windows, 0) if pool is None else _pooled(pool, shape, cuts)
    # what each row has in each turn, nothing beyond the last block
    of_portions: Counts = np.array((_plane_words(shape, cuts), pooled + raw, windows, pooled))
    dealt: Counts = np.zeros((4, turns * rows), dtype=np.int64)
    if spread:
        dealt[:] = of_portions
    else:
        dealt[:, :blocks] = np.tile(of_portions, shape.batch)
    words, left, made, pooled_values = dealt.reshape(4, turns, rows)
    taps = shape.kernel_height * shape.kernel_width
    channels: Counts = np.array([(end - first) // taps for first, end in parts])
    # filters of each PE, in a group
    share = columns * (rows if spread else 1)
    before: Counts = np.arange(share, dtype=np.int64).reshape(-1, columns)  # filters dealt before
    own: Counts = np.maximum(-(-(shape.group_out_channels - before) // share), 0)

    def by_round(by_turn: Counts, by_slice: Counts) -> Counts:
        """Return what each round has [round], or each row in each round [round, row]."""
        of_slices = by_turn[:, None] * by_slice.reshape(-1, *[1] * (by_turn.ndim - 1))
        each = by_turn.shape[1:]
        return np.broadcast_to(of_slices, (*present.shape, *each)).reshape(-1, *each)

    def on_link(words: Counts, stays: bool) -> Counts:
        return words * 0 if stays else -(-words * link_words[0] // link_words[1])

    last: Counts = (np.arange(1 - len(channels), 1) == 0).astype(np.int64)
    carried = (0 if free else 1) * words.sum(axis=0) * shape.groups  # words of a channel on each row's bus
    reads: Counts = np.zeros((rows, columns), dtype=np.int64)
    if on_chip[0]:  # channel c of a slice lies in column c % columns
        place: Counts = np.arange(columns, dtype=np.int64)
        reads = carried[:, None] * (-(-(channels[:, None] - place) // columns)).clip(0).sum(axis=0)
    most = made * own.max(axis=1)  # outputs of the busiest PE of each row
    if pool is None or pool_words is None:
        most, pool_words = most * 0, 1
    whole = carried * int(channels.sum())
    of_buses = words * (0 if free else 1)
    leaving = left * own.sum(axis=1)
    whole_inputs = words[:, 0] if spread else words.sum(axis=1)
    return Traffic(
        present=present.reshape(-1),
        of_array=Moves(
            inputs=on_link(by_round(whole_inputs, channels), on_chip[0]),
            carrying=-(-by_round(of_buses.max(axis=1), channels) // row_words),
            pooling=by_round(-(-most.max(axis=1) // pool_words), last),
            outputs=on_link(by_round(leaving.sum(axis=1), last), on_chip[1]),
        ),
        of_rows=Moves(
            inputs=on_link(by_round(words, channels), on_chip[0]),
            carrying=-(-by_round(of_buses, channels) // row_words),
            pooling=by_round(-(-most // pool_words), last),
            outputs=on_link(by_round(leaving, last), on_chip[1]),
        ),
        carried=int(whole.sum()),
        writes=np.repeat(whole[:, None], columns, axis=1),
        reads=reads,
        pools=pool is not None,
        pooled=pooled_values.sum(axis=0)[:, None] * own * shape.groups,
        whole_units=-(-(parts[-1][1] - parts[-1][0]) // unit),
    )


def _plane_words(shape: LayerShape, cuts: Cuts) -> Counts:
    """Return the input values of a channel under the windows of each portion, padding left out."""
    extents: list[Counts] = []
    for axis, (starts, windows) in enumerate(cuts):
        kernel = (shape.kernel_height, shape.kernel_width)[axis]
        whole = (shape.in_height, shape.in_width)[axis]
        first = starts * shape.stride[axis] - shape.pad[2 * axis]
        last = first + (windows - 1) * shape.stride[axis] + (kernel - 1) * shape.dilation[axis]
        extents.append((np.minimum(last + 1, whole) - np.maximum(first, 0)).clip(0))
    return _grid(*extents)


def _pooled(pool: Pool, shape: LayerShape, cuts: Cuts) -> tuple[Counts, Counts]:
    """Return the pooled values that each portion makes, and the outputs that it leaves unpooled.

    A value whose windows lie in more than one portion is nobody's: its windows leave as they are.
    """
    inside: list[Counts] = []
    read: list[Counts] = []  # rows or columns of each portion that pooled values read
    settled: list[Counts] = []  # and those that only the portion's own read
    for axis, (starts, windows) in enumerate(cuts):
        extent = (shape.out_height, shape.out_width)[axis]
        first = np.arange((pool.height, pool.width)[axis]) * pool.stride[axis] - pool.pad[axis]
        last = np.minimum(first + pool.kernel[axis], extent) - 1
        first = np.maximum(first, 0)
        start, end = starts[:, None], (starts + windows)[:, None]
        whole = (first >= start) & (last < end)  # [portions' rows or columns, pooled value]
        inside.append(whole.sum(axis=1))
        places = np.arange(extent)
        reads = (places[:, None] >= first) & (places[:, None] <= last)  # [place, pooled value]
        others = (~whole).astype(np.float32) @ reads.T.astype(np.float32)  # how many, [.., place]
        own = (places >= start) & (places < end) & reads.any(axis=1)
        read.append(own.sum(axis=1))
        settled.append((own & (others == 0)).sum(axis=1))
    return _grid(*inside), _grid(*read) - _grid(*settled)


def _grid(down: Counts, across: Counts) -> Counts:
    """Return what portions have, row by row, that is so much down times so much across."""
    return np.multiply.outer(down, across).reshape(-1)
