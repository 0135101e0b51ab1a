"""Row-stationary mappings (Chen, Emer, Sze, ISCA 2016): which part of a layer sits where and when.

A logical PE set is `rows` kernel rows high and `e` output rows wide; g x t x r sets share the array
(groups, filters, channels). A pass handles n images, p x t filters and q x r channels of g groups.
A block is what several passes read of the input; a tile is what stays in the buffer as partial
sums: m filters of n images and e output rows. Passes run filters fastest, then kernel segments,
channels, strips of output rows, images, filter blocks and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from simhw.errors import MappingError, did_you_mean
from simhw.shapes import LayerShape

OBJECTIVES = ("cycles", "processing", "energy", "dram", "buffer")


def ceil_div(a: Any, b: Any) -> Any:
    """Return a / b rounded up, of whole numbers or arrays of them."""
    return -(-a // b)


@dataclass(frozen=True, kw_only=True)
class ArrayLimits:
    """What a machine offers a mapping, in PEs and words."""

    rows: int
    columns: int
    ifmap_words: int
    filter_words: int
    psum_words: int
    buffer_words: int
    double_filters: bool = False  # the next filters load while the present ones are used


@dataclass(frozen=True, kw_only=True)
class RowStationaryMapping:
    """The papers' letters, with g (groups side by side) and rows (kernel rows in a set) added."""

    m: int
    n: int
    e: int
    p: int
    q: int
    r: int
    t: int
    g: int = 1
    rows: int

    @classmethod
    def read(cls, values: Mapping[str, Any], shape: LayerShape, place: str) -> RowStationaryMapping:
        """Check plain data from a file; every fault of it in one raise."""
        known = ("m", "n", "e", "p", "q", "r", "t", "g", "rows")
        given = {"g": 1, "rows": shape.kernel_height} | dict(values)
        faults = [f"{place}: unknown field {k!r}{did_you_mean(k, known)}" for k in given if k not in known]
        for k in known:
            if k not in given:
                faults.append(f"{place}: {k}: is missing; wants a whole number of at least 1")
            elif type(given[k]) is not int or given[k] < 1:
                faults.append(f"{place}: {k}: wants a whole number of at least 1, got {given[k]!r}")
        if faults:
            raise MappingError(faults)
        return cls(**{k: given[k] for k in known})

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @property
    def sets(self) -> int:
        return self.g * self.t * self.r


def chains_that_fit(rows: int, r: int, e: int, limits: ArrayLimits) -> int:
    """Return how many chains of r sets fit: r sets stand on each other, so that sums climb from PE to PE.

    Sets wider than the array are cut into pieces, each with its own part of the chain.
    """
    pieces = ceil_div(e, limits.columns)
    return limits.rows // (rows * r * pieces) * (limits.columns // e if pieces == 1 else 1)


def placement(mapping: RowStationaryMapping, limits: ArrayLimits) -> tuple[np.ndarray, np.ndarray]:
    """Return the array row and column of PE [group, filter set, channel set, kernel row, output row].

    Chains fill the array upwards, then to the right.
    """
    g, t, r, e = mapping.g, mapping.t, mapping.r, mapping.e
    chain = np.arange(g * t).reshape(g, t, 1, 1, 1)
    channel_set = np.arange(r).reshape(1, 1, r, 1, 1)
    kernel_row = np.arange(mapping.rows).reshape(1, 1, 1, -1, 1)
    output_row = np.arange(e).reshape(1, 1, 1, 1, -1)
    pieces = ceil_div(e, limits.columns)
    upwards = limits.rows // (mapping.rows * r * pieces)
    if pieces == 1:
        level, left = chain % upwards * r, chain // upwards * e
    else:
        level, left = (chain * pieces + output_row // limits.columns) * r, 0
    full = (g, t, r, mapping.rows, e)
    rows = (level + channel_set) * mapping.rows + kernel_row
    columns = left + (output_row if pieces == 1 else output_row % limits.columns)
    return np.broadcast_to(rows, full), np.broadcast_to(columns, full)


def rows_read(e: int, rows: int, shape: LayerShape) -> int:
    """Return how many different input rows `e` output rows and `rows` kernel rows need."""
    return len({k * shape.stride[0] + j * shape.dilation[0] for k in range(e) for j in range(rows)})


def columns_read(shape: LayerShape) -> int:
    """Return how many different input columns one output row needs."""
    return len(
        {
            x * shape.stride[1] + s * shape.dilation[1]
            for x in range(shape.out_width)
            for s in range(shape.kernel_width)
        }
    )


def window_span(shape: LayerShape) -> int:
    """Words of one input row that a PE holds for one window."""
    return (shape.kernel_width - 1) * shape.dilation[1] + 1


def block_words(mapping: RowStationaryMapping, shape: LayerShape) -> int:
    """Input words in the buffer that one pass reads, edges full."""
    per_channel = rows_read(mapping.e, mapping.rows, shape) * columns_read(shape)
    return mapping.n * mapping.g * mapping.q * mapping.r * per_channel


def tile_words(mapping: RowStationaryMapping, shape: LayerShape) -> int:
    """Partial sums in the buffer."""
    return mapping.n * mapping.g * mapping.m * mapping.e * shape.out_width


def buffers_that_fit(mapping: RowStationaryMapping, shape: LayerShape, buffer_words: int) -> tuple[int, int]:
    """Return how many input blocks and how many output tiles the buffer holds (0 or 1 or 2 each)."""
    block, tile = block_words(mapping, shape), tile_words(mapping, shape)
    if block + tile > buffer_words:
        return 0, 0
    blocks = 2 if 2 * block + tile <= buffer_words else 1
    return blocks, 2 if blocks * block + 2 * tile <= buffer_words else 1


def faults(mapping: RowStationaryMapping, shape: LayerShape, limits: ArrayLimits) -> list[str]:
    """Return what makes a mapping illegal here, one sentence each; empty when it is legal."""
    found: list[str] = []
    span = window_span(shape)

    def refuse(wrong: bool, text: str) -> None:
        if wrong:
            found.append(text)

    m, p, q, t, r, g, e, n = (getattr(mapping, k) for k in "mpqtrgen")
    refuse(e > shape.out_height, f"e: {e} output rows, the layer has {shape.out_height}")
    refuse(n > shape.batch, f"n: {n} images, the batch has {shape.batch}")
    refuse(m > shape.group_out_channels, f"m: {m} filters, a group has {shape.group_out_channels}")
    refuse(g > shape.groups, f"g: {g} groups side by side, the layer has {shape.groups}")
    refuse(mapping.rows > shape.kernel_height, f"rows: {mapping.rows}, the kernel has {shape.kernel_height}")
    refuse(
        q * r > shape.group_in_channels + q - 1,
        f"q, r: {q} x {r} channels, a group has {shape.group_in_channels}",
    )
    refuse(p > limits.psum_words, f"p: {p} partial sums, the psum scratchpad holds {limits.psum_words}")
    refuse(
        q * span > limits.ifmap_words,
        f"q: {q} windows of {span} words, the ifmap scratchpad holds {limits.ifmap_words}",
    )
    need = p * q * shape.kernel_width * (2 if limits.double_filters else 1)
    twice = " twice (filter_load: overlapped)" if limits.double_filters else ""
    refuse(
        need > limits.filter_words,
        f"p, q: {p} x {q} x {shape.kernel_width} weights{twice}, "
        f"the filter scratchpad holds {limits.filter_words}",
    )
    refuse(
        mapping.rows > limits.rows, f"rows: a set of {mapping.rows} kernel rows, the array has {limits.rows}"
    )
    if mapping.rows <= limits.rows:
        fit = chains_that_fit(mapping.rows, r, e, limits)
        refuse(
            t * g > fit,
            f"r, t, g: {t} x {g} chains of {r} sets of {mapping.rows} x {e} PEs, "
            f"{fit} fit the {limits.rows} x {limits.columns} array",
        )
    words = block_words(mapping, shape) + tile_words(mapping, shape)
    refuse(
        words > limits.buffer_words,
        f"m, n, e: inputs and sums take {words} words, the global buffer has {limits.buffer_words} for them",
    )
    return found


def _steps(size: int, most: int) -> list[int]:
    """Return the values up to `most` that split `size` in as many parts as no smaller value does."""
    best: dict[int, int] = {}
    for value in range(min(size, most), 0, -1):
        best[ceil_div(size, value)] = value
    return sorted(best.values())


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast words move, for ranking candidates: words per cycle."""

    filter: int
    ifmap: int
    psum_in: int
    psum_out: int
    dram: float
    serial_fill: bool = True


def search(
    shape: LayerShape,
    limits: ArrayLimits,
    rates: Rates,
    *,
    objective: str = "cycles",
    cost: Callable[[RowStationaryMapping], int] | None = None,
    shortlist: int = 48,
) -> RowStationaryMapping:
    """Return the best legal mapping for a layer.

    All candidates are ranked by closed forms; `cost`, the exact cycles of a mapping, decides among
    the first of them when the objective is `cycles` or `processing` (cycles without DRAM's). Ties go
    to less buffer traffic, then to the smaller letters: the answer is a function of shape and
    machine alone.
    """
    if objective not in OBJECTIVES:
        raise MappingError(f"objective: unknown {objective!r}{did_you_mean(objective, OBJECTIVES)}")
    table = candidates(shape, limits)
    if not len(table):
        raise MappingError(_why_nothing_fits(shape, limits))
    estimates = _rank(table, shape, limits, rates)
    if cost is None or objective not in ("cycles", "processing"):
        return mapping_of(table[_first(table, estimates, objective, 1)[0]])
    # a mapping that chops a layer into far more passes than others need is slow to play and never best
    few = estimates["passes"] <= 32 * estimates["passes"].min()
    table, estimates = table[few], {key: value[few] for key, value in estimates.items()}
    # no closed form knows how a schedule begins and ends, so several name their favourites
    keys = ("cycles", "with_ends", "processing") if objective == "cycles" else ("processing",)
    chosen = dict.fromkeys(i for key in keys for i in _first(table, estimates, key, shortlist))
    ranked = [mapping_of(table[i]) for i in chosen]
    # min keeps the first of equals, which is the one that ranks better
    return min(ranked, key=cost)


def _first(table: np.ndarray, estimates: dict[str, np.ndarray], key: str, wanted: int) -> list[int]:
    """Return the places of the candidates that rank first by an estimate."""
    values = estimates[key]
    near = np.arange(len(table))
    if len(table) > wanted:
        near = np.flatnonzero(values <= np.partition(values, wanted - 1)[wanted - 1])
    ties = (*table[near].T[::-1], *(estimates[k][near] for k in ("dram", "buffer", "processing", "cycles")))
    return near[np.lexsort((*ties, values[near]))[:wanted]].tolist()


def mapping_of(row: Iterable[Any]) -> RowStationaryMapping:
    m, n, e, p, q, r, t, g, rows = (int(v) for v in row)
    return RowStationaryMapping(m=m, n=n, e=e, p=p, q=q, r=r, t=t, g=g, rows=rows)


def candidates(shape: LayerShape, limits: ArrayLimits) -> np.ndarray:
    """Return legal mappings worth a look, as rows of m, n, e, p, q, r, t, g, rows.

    Of the values that split something in as many parts, only the smallest is among them.
    """
    span, taps = window_span(shape), shape.kernel_width * (2 if limits.double_filters else 1)
    most_p = min(limits.psum_words, shape.group_out_channels, limits.filter_words // taps)
    most_q = min(limits.ifmap_words // span, shape.group_in_channels)
    if most_p < 1 or most_q < 1:
        return np.empty((0, 9), dtype=np.int64)
    inner = np.array(
        [
            (p, q)
            for p in _steps(shape.group_out_channels, most_p)
            for q in _steps(shape.group_in_channels, most_q)
            if p * q * taps <= limits.filter_words
        ],
        dtype=np.int64,
    )
    images = np.array(_steps(shape.batch, 16))
    found = [np.empty((0, 9), dtype=np.int64)]
    for rows in _steps(shape.kernel_height, limits.rows):
        for e in _steps(shape.out_height, limits.columns * (limits.rows // rows)):
            found.append(_candidates_of(shape, limits, inner, images, rows, e))
    return np.concatenate(found)


def _candidates_of(
    shape: LayerShape, limits: ArrayLimits, inner: np.ndarray, images: np.ndarray, rows: int, e: int
) -> np.ndarray:
    """Return the candidates with sets of `rows` x `e`."""
    outer = np.array(
        [
            (g, r, t)
            for r in _steps(shape.group_in_channels, limits.rows // rows)
            if (fit := chains_that_fit(rows, r, e, limits))
            for g in _steps(shape.groups, fit)
            for t in _steps(shape.group_out_channels, fit // g)
        ],
        dtype=np.int64,
    ).reshape(-1, 3)
    i, j, k = np.indices((len(outer), len(inner), len(images))).reshape(3, -1)
    (g, r, t), (p, q), n = outer[i].T, inner[j].T, images[k]
    some = (q * (r - 1) < shape.group_in_channels) & (p * (t - 1) < shape.group_out_channels)
    g, r, t, p, q, n = (v[some] for v in (g, r, t, p, q, n))
    block = n * g * q * r * rows_read(e, rows, shape) * columns_read(shape)
    whole = np.minimum(p * t, shape.group_out_channels)
    before = np.zeros_like(whole)
    found: list[np.ndarray] = []
    for blocks, tiles in ((2, 2), (2, 1), (1, 1)):
        room = (limits.buffer_words - blocks * block) // tiles
        m = np.minimum(room // (n * g * e * shape.out_width), shape.group_out_channels)
        # blocks of filters as even as the passes allow, and as large as the room allows
        parts = np.maximum(ceil_div(shape.group_out_channels, np.maximum(m // whole * whole, 1)), 1)
        even = ceil_div(ceil_div(shape.group_out_channels, parts), whole) * whole
        m = np.minimum(np.minimum(even, shape.group_out_channels), m)
        new = (room > 0) & (m >= whole) & (m != before)
        columns_of = (m, n, np.full_like(m, e), p, q, r, t, g, np.full_like(m, rows))
        found.append(np.column_stack(columns_of)[new])
        before = np.where(new, m, before)
    return np.concatenate(found)


def _rank(table: np.ndarray, shape: LayerShape, limits: ArrayLimits, rates: Rates) -> dict[str, np.ndarray]:
    """Estimate every candidate: cycles, those without DRAM, uncompressed DRAM words, buffer words."""
    m, n, e, p, q, r, t, g, rows = table.T
    width, taps = shape.out_width, shape.kernel_width
    columns = columns_read(shape)
    pairs, place = np.unique(e * (limits.rows + 1) + rows, return_inverse=True)
    distinct = [rows_read(int(k) // (limits.rows + 1), int(k) % (limits.rows + 1), shape) for k in pairs]
    high = np.array(distinct)[place]
    segments = -(-shape.kernel_height // rows)
    blocks = -(-shape.group_in_channels // (q * r)) * segments
    strips, image_blocks, group_blocks = (
        -(-shape.out_height // e),
        -(-shape.batch // n),
        -(-shape.groups // g),
    )
    filter_blocks = -(-shape.group_out_channels // m)
    last = shape.group_out_channels - (filter_blocks - 1) * m
    passes_in_block = (filter_blocks - 1) * -(-m // (p * t)) + -(-last // (p * t))
    tiles = group_blocks * image_blocks * strips
    passes = tiles * blocks * passes_in_block

    load = -(-g * r * t * rows * p * q * taps // rates.filter)
    column_words = g * r * q * high
    fill = -(-column_words * taps // rates.ifmap)
    wave = g * t * e
    slot = np.maximum.reduce(
        [q * taps, -(-wave // rates.psum_out), np.where(blocks > 1, -(-wave // rates.psum_in), 0)]
    )
    stream = -(-n * columns * column_words // rates.ifmap)
    compute = np.maximum(n * width * p * slot + fill, stream)
    if not rates.serial_fill:
        compute = np.maximum(compute - np.minimum(fill, load), 0)
    one_pass = np.maximum(load, compute) if limits.double_filters else load + compute
    one_pass = one_pass + rows * r + -(-wave // rates.psum_out)

    block = n * g * q * r * high * columns
    tile = n * g * m * e * width
    ifmap = tiles * filter_blocks * blocks * n * g * q * r * high * shape.in_width
    filters = shape.weights * image_blocks * strips
    outputs = np.full_like(ifmap, shape.outputs)
    dram = ifmap + filters + outputs
    double_block = 2 * block + tile <= limits.buffer_words
    double_tile = np.where(double_block, 2, 1) * block + 2 * tile <= limits.buffer_words
    exposed = np.where(double_block, 0, ifmap) + np.where(double_tile, 0, outputs)
    # nothing hides the first block and filters, nor the last tile
    ends = (
        ifmap / (tiles * filter_blocks * blocks) + filters / passes + shape.outputs / (tiles * filter_blocks)
    )
    processing = passes * one_pass
    return {
        "cycles": np.maximum(processing + exposed / rates.dram, dram / rates.dram),
        "with_ends": np.maximum(processing + (exposed + ends) / rates.dram, (dram + ends) / rates.dram),
        "passes": passes,
        "processing": processing,
        "energy": _energy(table, shape, passes, blocks, block, dram),
        "dram": dram,
        "buffer": 2 * blocks * shape.outputs + passes * block,
    }


def _energy(
    table: np.ndarray,
    shape: LayerShape,
    passes: np.ndarray,
    blocks: np.ndarray,
    block: np.ndarray,
    dram: np.ndarray,
) -> np.ndarray:
    """Return what candidates cost beyond their products, in accesses of a register file.

    By the ratios of the row-stationary paper (ISCA 2016): DRAM 200, buffer 6, array 2, register file 1.
    """
    _, n, e, p, q, r, t, g, rows = table.T
    places = g * t * r * rows * e
    taps, columns = shape.kernel_width, columns_read(shape)
    filters = g * t * r * rows * p * q * taps
    received = places * (p * q * taps + n * q * columns)
    sums = shape.outputs * blocks
    buffer = 2 * sums + passes * (block + 2 * filters)
    array = passes * received + sums * (rows * r + 1)
    registers = passes * received + 3 * sums * rows * r
    return 200 * dram + 6 * buffer + 2 * array + registers


def _why_nothing_fits(shape: LayerShape, limits: ArrayLimits) -> str:
    span, taps = window_span(shape), shape.kernel_width * (2 if limits.double_filters else 1)
    if span > limits.ifmap_words:
        need = f"one window needs {span} words, pes.ifmap_words is {limits.ifmap_words}"
    elif taps > limits.filter_words:
        need = f"one row of a filter needs {taps} words, pes.filter_words is {limits.filter_words}"
    else:
        smallest = RowStationaryMapping(m=1, n=1, e=1, p=1, q=1, r=1, t=1, rows=1)
        words = block_words(smallest, shape) + tile_words(smallest, shape)
        need = f"the smallest pass needs {words} words of global buffer, there are {limits.buffer_words}"
    return f"no row-stationary mapping exists on this machine: {need}"
