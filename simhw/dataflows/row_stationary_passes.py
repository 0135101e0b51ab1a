"""A row-stationary mapping laid over a layer: its passes, what they move, and what each PE does in them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw import fast as untyped_fast
from simhw.mapping import row_stationary as mapping_room
from simhw.mapping.row_stationary import RowStationaryMapping, ceil_div
from simhw.shapes import LayerShape

fast: Any = untyped_fast  # numba's functions carry no types
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Words of the link that each transaction moves; axes are the loops of the mapping."""

    blocks: Counts  # group block, image block, strip, channel block, segment
    filters: Counts  # group block, filter block, channel block, segment, pass; short blocks end in zeros
    outputs: Counts  # group block, filter block, image block, strip

    def block_sequence(self, plan: Passes) -> Counts:
        """Return the link's words of every block, in order; they come again for each block of filters."""
        by_group = self.blocks.reshape(len(self.blocks), 1, -1)
        return by_group.repeat(len(plan.passes_in_block), axis=1).reshape(-1)


@dataclass(frozen=True)
class Sequence:
    """Which passes begin and end what, by their numbers."""

    starts_block: Counts
    ends_block: Counts  # blocks of input
    starts_tile: Counts
    ends_tile: Counts  # tiles of output
    is_first: NDArray[np.bool_]  # of each pass: whether it begins sums


def _blocks(values: Counts, axis: int, size: int) -> Counts:
    """Return the sums of `values` over runs of `size` along an axis; the last run may be short."""
    return np.add.reduceat(values, list(range(0, values.shape[axis], size)), axis=axis)


def _parts(total: int, size: int) -> Counts:
    """Return how many of `total` things fall in each run of `size`."""
    return np.minimum(size, total - np.arange(0, total, size))


class Passes:
    """A mapping laid over a layer: what each pass holds, and what that adds up to by array place."""

    def __init__(self, dataflow: Any, shape: LayerShape, mapping: RowStationaryMapping) -> None:
        self.dataflow, self.shape, self.mapping = dataflow, shape, mapping
        m, noc, options = mapping, dataflow.noc, dataflow.options
        self.overlapped = options.filter_load == "overlapped"
        self.high = mapping_room.rows_read(m.e, m.rows, shape)
        self.wide = mapping_room.columns_read(shape)
        self.segments = ceil_div(shape.kernel_height, m.rows)
        self.channel_blocks = ceil_div(shape.group_in_channels, m.q * m.r)
        self.group_parts = _parts(shape.groups, m.g)
        self.filter_parts = _parts(shape.group_out_channels, m.m)
        self.image_parts = _parts(shape.batch, m.n)
        self.strip_parts = _parts(shape.out_height, m.e)
        self.channel_parts = _parts(shape.group_in_channels, m.q * m.r)
        self.row_parts = _parts(shape.kernel_height, m.rows)
        self.passes_in_block = [ceil_div(int(k), m.p * m.t) for k in self.filter_parts]
        self.block_words = mapping_room.block_words(m, shape)
        self.tile_words = mapping_room.tile_words(m, shape)
        blocks, tiles = mapping_room.buffers_that_fit(m, shape, dataflow.glb.shared_words)
        self.block_buffers = blocks if options.ifmap_prefetch == "when_it_fits" else 1
        self.tile_buffers = tiles if options.ofmap_drain == "when_it_fits" else 1

        taps = shape.kernel_width
        self.filter_words = m.g * m.t * m.r * m.rows * m.p * m.q * taps
        self.load_cycles = ceil_div(self.filter_words, noc.filter_words_per_cycle)
        self.slots = m.n * shape.out_width * m.p
        self.slot_products = m.q * taps
        self.wave = m.g * m.t * m.e
        self.wave_in = ceil_div(self.wave, noc.psum_in_words_per_cycle)
        self.wave_out = ceil_div(self.wave, noc.psum_out_words_per_cycle)
        column_words = m.g * m.r * m.q * self.high
        self.stream_words = m.n * self.wide * column_words
        self.stream_cycles = ceil_div(self.stream_words, noc.ifmap_words_per_cycle)
        columns = _columns_needed(shape)
        needed = (np.arange(m.n)[:, None] * self.wide + columns).reshape(-1)
        arrived = ceil_div(needed * column_words, noc.ifmap_words_per_cycle)
        # filters too many for the buffer come at DRAM's pace; inputs then wait for the last of them
        self.streamed = self.filter_words > dataflow.glb.filter_region_words
        beside_filters = options.first_window == "with_filters" and not self.overlapped
        if beside_filters and not self.streamed:
            arrived = np.maximum(arrived - self.load_cycles, 0)
        timing = functools.partial(
            fast.pass_timing, arrived, m.p, self.slot_products, dataflow.pes.psum_words
        )
        hops, serial = m.rows * m.r, options.psum_traffic == "serial"
        stolen = 0 if dataflow.pes.climb_adder else 1
        self.first = timing(0, self.wave_out, hops, serial, stolen).tolist()
        self.steady = timing(self.wave_in, self.wave_out, hops, serial, stolen).tolist()

    @functools.cached_property
    def tiles(self) -> int:
        parts = (self.group_parts, self.filter_parts, self.image_parts, self.strip_parts)
        return int(np.prod([len(p) for p in parts]))

    @functools.cached_property
    def passes(self) -> int:
        per_filter_block = sum(self.passes_in_block) * self.channel_blocks * self.segments
        return len(self.group_parts) * len(self.image_parts) * len(self.strip_parts) * per_filter_block

    @property
    def processing_cycles(self) -> int:
        """Cycles of all passes when nothing waits for DRAM."""
        begun, steady = self.first_passes, self.passes - self.first_passes
        load, first, later = self.load_cycles, self.first[3], self.steady[3]
        if not self.overlapped:
            return begun * (load + first) + steady * (load + later)
        # the first load is not hidden, and each other one lasts at least as long as itself
        last = later if self.channel_blocks * self.segments > 1 else first
        waits = begun * max(first, load) + steady * max(later, load) - max(last, load)
        return load + waits + last

    @functools.cached_property
    def first_passes(self) -> int:
        """Passes that begin sums."""
        return self.passes // (self.channel_blocks * self.segments)

    @property
    def inner_tiles(self) -> int:
        """Tiles of one block of groups and one of filters."""
        return len(self.image_parts) * len(self.strip_parts)

    def filter_sequence(self, traffic: Traffic) -> Counts:
        """Return the link's words of every pass's filters, in order."""
        return np.concatenate(
            [
                by_group[block, :, :, :passes].reshape(1, -1).repeat(self.inner_tiles, axis=0).reshape(-1)
                for by_group in traffic.filters
                for block, passes in enumerate(self.passes_in_block)
            ]
        )

    @functools.cached_property
    def sequence(self) -> Sequence:
        """Return where blocks and tiles begin and end among the passes."""
        of_tile = np.repeat(self.passes_in_block * len(self.group_parts), self.inner_tiles)
        visits = self.channel_blocks * self.segments
        of_block = of_tile.repeat(visits)
        behind = of_block.cumsum()
        starts = behind - of_block
        is_first: NDArray[np.bool_] = np.arange(len(of_block)) % visits == 0
        return Sequence(
            starts, behind - 1, starts[::visits], behind[visits - 1 :: visits] - 1, is_first.repeat(of_block)
        )

    @property
    def bus_cycles(self) -> dict[str, int]:
        """Return for how long each bus of the network is busy."""
        steady = self.passes - self.first_passes
        return {
            "noc.filter": self.passes * self.load_cycles,
            "noc.ifmap": self.passes * self.stream_cycles,
            "noc.psum_in": steady * self.slots * self.wave_in,
            "noc.psum_out": self.passes * self.slots * self.wave_out,
        }

    # traffic with DRAM

    def traffic(
        self, inputs: NDArray[np.int16] | None = None, outputs: NDArray[np.int16] | None = None
    ) -> Traffic:
        """Return the link's words per transaction; what is None is not compressed."""
        return Traffic(
            blocks=self._input_words(inputs),
            filters=self._filter_words(),
            outputs=self._output_words(outputs),
        )

    def _link_words(self, words: Any, word_bits: int) -> Any:
        return ceil_div(words * word_bits, self.dataflow.dram.word_bits)

    def _input_words(self, inputs: NDArray[np.int16] | None) -> Counts:
        shape, m = self.shape, self.mapping
        ranges = _rows_loaded(shape, m.e, m.rows)
        size = (len(self.group_parts), len(self.image_parts), len(ranges), self.channel_blocks, self.segments)
        if inputs is None:
            rows = np.array(
                [[sum(high - low for low, high in runs) for runs in strip] for strip in ranges],
                dtype=np.int64,
            )
            planes = (
                self.group_parts[:, None, None, None, None]
                * self.image_parts[:, None, None, None]
                * self.channel_parts[:, None]
            )
            values = planes * rows[:, None, :] * shape.in_width
            return np.broadcast_to(self._link_words(values, self.dataflow.pes.word_bits), size)
        first, last, _ = fast.rlc_row_words(inputs.reshape(-1, shape.in_height, shape.in_width))
        words = np.zeros(size, dtype=np.int64)
        for strip, by_segment in enumerate(ranges):
            for segment, runs in enumerate(by_segment):
                planes = np.zeros((shape.batch, shape.groups, shape.group_in_channels), dtype=np.int64)
                for low, high in runs:
                    planes += (last[:, high - 1] - first[:, low] + 1).reshape(planes.shape)
                by_block = _blocks(_blocks(_blocks(planes, 2, m.q * m.r), 1, m.g), 0, m.n)
                words[:, :, strip, :, segment] = self._link_words(by_block, 64).transpose(1, 0, 2)
        return words

    def _filter_words(self) -> Counts:
        """Filters as they are, with the biases of their sums in the passes that begin these."""
        m = self.mapping
        filters = np.zeros((len(self.filter_parts), max(self.passes_in_block)), dtype=np.int64)
        for block, size in enumerate(self.filter_parts.tolist()):
            filters[block, : self.passes_in_block[block]] = _parts(size, m.p * m.t)
        weights = (
            filters[:, None, None, :]
            * self.channel_parts[:, None, None]
            * self.row_parts[:, None]
            * self.shape.kernel_width
        )
        weights[:, 0, 0, :] += filters
        words = self.group_parts[:, None, None, None, None] * weights
        return self._link_words(words, self.dataflow.pes.word_bits)

    def _output_words(self, outputs: NDArray[np.int16] | None) -> Counts:
        shape, m = self.shape, self.mapping
        if outputs is None:
            values = (
                self.group_parts[:, None, None, None]
                * self.filter_parts[:, None, None]
                * self.image_parts[:, None]
                * self.strip_parts
                * shape.out_width
            )
            return self._link_words(values, self.dataflow.pes.word_bits)
        streams = np.empty((shape.batch * shape.out_channels, len(self.strip_parts)), dtype=np.int64)
        planes = outputs.reshape(-1, shape.out_height, shape.out_width)
        whole = shape.out_height // m.e
        if whole:
            strips = np.ascontiguousarray(planes[:, : whole * m.e]).reshape(-1, m.e, shape.out_width)
            streams[:, :whole] = fast.rlc_row_words(strips)[2].reshape(len(planes), whole)
        if whole < len(self.strip_parts):
            streams[:, whole] = fast.rlc_row_words(np.ascontiguousarray(planes[:, whole * m.e :]))[2]
        by_plane = streams.reshape(shape.batch, shape.groups, shape.group_out_channels, -1)
        by_tile = _blocks(_blocks(_blocks(by_plane, 2, m.m), 1, m.g), 0, m.n)
        return self._link_words(by_tile, 64).transpose(1, 2, 0, 3)

    def values_loaded(self, width: int | None = None) -> int:
        """Return the input values that come in, again or not: of whole rows, or of `width` columns."""
        loaded = _rows_loaded(self.shape, self.mapping.e, self.mapping.rows)
        rows = sum(high - low for strip in loaded for runs in strip for low, high in runs)
        planes = self.shape.batch * self.shape.in_channels * len(self.filter_parts)
        return rows * (self.shape.in_width if width is None else width) * planes

    # work by array place; axes of a set's PEs: group, filter set, channel set, kernel row, output row

    def _in_turn(self, total: int, size: int, parts: int) -> Counts:
        """Return how many of `total` things fall to each of `parts` sets that take `size` at a time."""
        return np.bincount(np.arange(total) // size % parts, minlength=parts).astype(np.int64)

    @functools.cached_property
    def _groups(self) -> Counts:
        return self._in_turn(self.shape.groups, 1, self.mapping.g)

    @functools.cached_property
    def _filters(self) -> Counts:
        m = self.mapping
        within = [self._in_turn(int(size), m.p, m.t) for size in self.filter_parts]
        return np.sum(within, axis=0)

    @functools.cached_property
    def _channels(self) -> Counts:
        return self._in_turn(self.shape.group_in_channels, self.mapping.q, self.mapping.r)

    @functools.cached_property
    def _kernel_rows(self) -> Counts:
        return self._in_turn(self.shape.kernel_height, 1, self.mapping.rows)

    @functools.cached_property
    def _output_rows(self) -> Counts:
        return self._in_turn(self.shape.out_height, 1, self.mapping.e)

    @functools.cached_property
    def place(self) -> tuple[Counts, Counts]:
        return mapping_room.placement(self.mapping, self.dataflow.limits)

    def _on_array(self, by_set: Counts) -> Counts:
        """Return counts of sets' PEs as counts of the array's."""
        whole = np.zeros((self.dataflow.limits.rows, self.dataflow.limits.columns), dtype=np.int64)
        whole[self.place] = by_set
        return whole

    @functools.cached_property
    def mapped(self) -> NDArray[np.bool_]:
        """Which PEs of the array have a place in the mapping."""
        ones = np.ones((1, 1, 1, 1, 1), dtype=np.int64)
        return self._on_array(np.broadcast_to(ones, self.place[0].shape)).astype(np.bool_)

    def products(self) -> Counts:
        """Products that belong to an output, by array place."""
        by_set = (
            self._groups[:, None, None, None, None]
            * self._filters[:, None, None, None]
            * self._channels[:, None, None]
            * self._kernel_rows[:, None]
            * self._output_rows
        )
        return self._on_array(by_set * self.shape.batch * self.shape.out_width * self.shape.kernel_width)

    def multiplied(self, inputs: NDArray[np.int16]) -> Counts:
        """Products among them whose input is not zero."""
        shape, m = self.shape, self.mapping
        by_row = fast.nonzero_taps(
            inputs, shape.pad, shape.kernel_width, shape.stride[1], shape.dilation[1], shape.out_width
        ).sum(axis=0)
        by_row = by_row.reshape(shape.groups, shape.group_in_channels, -1)
        by_set = np.zeros((m.g, m.r, by_row.shape[2]), dtype=np.int64)
        set_of_group = np.arange(shape.groups) % m.g
        set_of_channel = np.arange(shape.group_in_channels) // m.q % m.r
        np.add.at(by_set, (set_of_group[:, None], set_of_channel[None, :]), by_row)
        nonzero = np.zeros((m.g, m.r, m.rows, m.e), dtype=np.int64)
        output_rows = np.arange(shape.out_height)
        for row in range(shape.kernel_height):
            read = by_set[:, :, output_rows * shape.stride[0] + row * shape.dilation[0]]
            strips = np.zeros((m.g, m.r, len(self.strip_parts) * m.e), dtype=np.int64)
            strips[:, :, : shape.out_height] = read
            nonzero[:, :, row % m.rows] += strips.reshape(m.g, m.r, -1, m.e).sum(axis=2)
        return self._on_array(self._filters[:, None, None, None] * nonzero[:, None])

    def counts(
        self, busy: Counts, multiplied: Counts
    ) -> tuple[dict[tuple[str, str], Counts], dict[tuple[str, str], int]]:
        """Return every action that time does not decide: of PEs by array place, of the rest by name."""
        shape, m = self.shape, self.mapping
        visits = self.channel_blocks * self.segments
        # sums that pass through a PE on their way up, in every visit
        sums_by_set = (
            self._groups[:, None, None, None, None]
            * self._filters[:, None, None, None]
            * np.ones((m.r, m.rows, 1), dtype=np.int64)
            * self._output_rows
        )
        sums = self._on_array(sums_by_set * (shape.batch * shape.out_width * visits))
        mapped = self.mapped.astype(np.int64)
        grids = {
            ("ifmap_spad", "read"): busy,
            ("ifmap_spad", "write"): mapped * (self.passes * m.n * m.q * self.wide),
            ("filter_spad", "read"): multiplied,
            ("filter_spad", "write"): mapped * (self.passes * m.p * m.q * shape.kernel_width),
            ("psum_spad", "read"): multiplied + sums,
            ("psum_spad", "write"): multiplied + sums,
            ("mac", "mul"): multiplied,
            ("mac", "add"): multiplied + sums,
        }
        outputs = shape.outputs
        waves_back = outputs * (visits - 1)
        block_loads = self.tiles * visits
        places = m.sets * m.rows * m.e
        inputs_held = self.values_loaded(_real_columns(shape))
        weights_held = shape.weights * len(self.image_parts) * len(self.strip_parts)
        counts = {
            ("noc.filter", "send"): self.passes * self.filter_words,
            ("noc.filter", "receive"): self.passes * places * m.p * m.q * shape.kernel_width,
            ("noc.ifmap", "send"): self.passes * self.stream_words,
            ("noc.ifmap", "receive"): self.passes * places * m.n * m.q * self.wide,
            ("noc.psum_in", "send"): waves_back,
            ("noc.psum_in", "receive"): waves_back,
            ("noc.psum_out", "send"): outputs * visits,
            ("noc.psum_out", "receive"): outputs * visits,
            ("noc.links", "hop"): outputs * visits * (m.rows * m.r - 1),
            ("glb.ifmap", "write"): inputs_held,
            ("glb.ifmap", "fill"): block_loads * self.block_words - inputs_held,
            ("glb.ifmap", "read"): self.passes * self.stream_words,
            ("glb.psum", "write"): outputs * visits,
            ("glb.psum", "read"): waves_back + outputs,
            ("glb.filter", "write"): weights_held,
            ("glb.filter", "fill"): self.passes * self.filter_words - weights_held,
            ("glb.filter", "read"): self.passes * self.filter_words,
        }
        return grids, counts


def _real_columns(shape: LayerShape) -> int:
    """Return how many columns of the unpadded input its outputs need."""
    taps = np.arange(shape.kernel_width) * shape.dilation[1] - shape.pad[2]
    needed = np.unique(np.add.outer(np.arange(shape.out_width) * shape.stride[1], taps))
    return int(np.count_nonzero((needed >= 0) & (needed < shape.in_width)))


@functools.lru_cache(maxsize=256)
def _rows_loaded(shape: LayerShape, e: int, rows: int) -> list[list[list[tuple[int, int]]]]:
    """Return, by strip and segment, runs of input rows that real outputs need: first, one after last.

    A mapper asks this of many mappings with the same strips.
    """
    loaded: list[list[list[tuple[int, int]]]] = []
    for strip, strip_rows in enumerate(_parts(shape.out_height, e).tolist()):
        loaded.append([])
        for segment, taps in enumerate(_parts(shape.kernel_height, rows).tolist()):
            first = strip * e * shape.stride[0] + segment * rows * shape.dilation[0] - shape.pad[0]
            starts = np.arange(strip_rows, dtype=np.int64) * shape.stride[0] + first
            needed = np.unique(np.add.outer(starts, np.arange(taps, dtype=np.int64) * shape.dilation[0]))
            needed = needed[(needed >= 0) & (needed < shape.in_height)]
            breaks = np.flatnonzero(np.diff(needed) > 1) + 1
            runs = [run for run in np.split(needed, breaks) if run.size]
            loaded[-1].append([(int(run[0]), int(run[-1]) + 1) for run in runs])
    return loaded


@functools.lru_cache(maxsize=256)
def _columns_needed(shape: LayerShape) -> Counts:
    """Return, by output column, how many input columns have been needed once it is done."""
    stride, dilation = shape.stride[1], shape.dilation[1]
    starts = np.arange(shape.out_width) * stride
    needed = np.unique(np.add.outer(starts, np.arange(shape.kernel_width) * dilation))
    return np.searchsorted(needed, starts + (shape.kernel_width - 1) * dilation, side="right").astype(
        np.int64
    )
