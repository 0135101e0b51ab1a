"""How a layer is laid over the reuse array: what a row of PEs holds, and what the buffer holds at once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from simhw.errors import MappingError, did_you_mean
from simhw.shapes import LayerShape


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How the weights of a filter are taken: runs of `size`, each by `terms` products.

    Fitted runs have N_w weights and a product for each coefficient; exact ones as many weights as a PE has
    multipliers, and a product for each. Runs lie in a row of the kernel (`by_rows`) or anywhere among the
    filter's weights, flattened (c, r, s).
    """

    size: int
    terms: int
    fitted: bool
    by_rows: bool

    def products(self, weights: int) -> int:
        """Return the products of a run of so many weights; of one weight only c0 counts."""
        if not self.fitted:
            return weights
        return self.terms if weights > 1 else 1


def grouping_of(shape: LayerShape, group: int, terms: int, multipliers: int) -> Grouping:
    """Return how a layer's weights are taken whose fit has `group` weights (0: exact) and `terms` terms."""
    is_kernel = (shape.kernel_height, shape.kernel_width) != (1, 1)
    if group == 0:
        return Grouping(size=multipliers, terms=multipliers, fitted=False, by_rows=is_kernel)
    rows = is_kernel and group == shape.kernel_width
    return Grouping(size=group, terms=terms, fitted=True, by_rows=rows)


@dataclass(frozen=True, kw_only=True)
class ArrayLimits:
    """What a machine has room for.

    Windows are held by `row_blocks` components of the role `row_windows` for rows of kernels, and by
    `run_blocks` for runs of weights; words are those of the on-chip buffers; a PE has coefficients for
    `most_turns` filters, of which the mapper lets `filters_at_once` take turns. `sums_per_cycle` go in and
    out of columns.
    """

    rows: int
    columns: int
    row_windows: str
    row_blocks: int
    run_blocks: int
    filters_at_once: int
    most_turns: int
    buffer_words: int
    coefficient_words: int
    sums_per_cycle: int


@dataclass(frozen=True, kw_only=True)
class ReuseMapping:
    """A layer on the array, in letters.

    e output rows in a strip, m filters and n images in a tile, c channels (with rows of kernels) or runs
    of weights (otherwise) in the buffer at once, t filters that take turns at a PE. Where runs are no rows
    of kernels, g of them stand on each other and p windows stand side by side in a column of PEs.
    """

    e: int
    m: int
    c: int
    t: int = 1
    n: int = 1
    g: int = 1
    p: int = 1

    @classmethod
    def read(cls, values: Mapping[str, Any], place: str) -> ReuseMapping:
        """Check plain data from a file; every fault of it in one raise."""
        known = tuple(field.name for field in fields(cls))
        given = dict.fromkeys("tngp", 1) | dict(values)
        wants = "wants a whole number of at least 1"
        faults = [f"{place}: unknown field {k!r}{did_you_mean(k, known)}" for k in given if k not in known]
        for k in known:
            if k not in given:
                faults.append(f"{place}: {k}: is missing; {wants}")
            elif type(given[k]) is not int or given[k] < 1:
                faults.append(f"{place}: {k}: {wants}, got {given[k]!r}")
        if faults:
            raise MappingError(faults)
        return cls(**{k: given[k] for k in known})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Cut:
    """The pieces of a layer under a grouping; everything here follows from shapes alone."""

    def __init__(self, shape: LayerShape, grouping: Grouping) -> None:
        self.shape, self.grouping = shape, grouping
        self.taps = shape.kernel_height * shape.kernel_width
        if grouping.by_rows:
            self.units = shape.group_in_channels
            width = shape.kernel_width
            self.pieces = [
                (first, min(grouping.size, width - first)) for first in range(0, width, grouping.size)
            ]
        else:
            self.units = ceil_div(shape.window, grouping.size)
            self.pieces = []

    def run_sizes(self, first: int, count: int) -> list[int]:
        """Return the weights of `count` runs from the `first` on; the filter's last may be short."""
        size, window = self.grouping.size, self.shape.window
        return [min(size, window - run * size) for run in range(first, first + count)]

    def channels(self, first: int, count: int) -> int:
        """Return the input channels that units first..first+count-1 read."""
        if self.grouping.by_rows:
            return count
        return sum(self.run_sizes(first, count)) // self.taps

    def coefficients(self, first: int, count: int) -> int:
        """Return the coefficients of one filter for these units."""
        products = self.grouping.products
        if self.grouping.by_rows:
            return count * self.shape.kernel_height * sum(products(n) for _, n in self.pieces)
        return sum(products(n) for n in self.run_sizes(first, count))

    def real_rows(self, top: int, count: int, kernel_rows: Sequence[int] | None = None) -> set[int]:
        """Return the input rows, padding left out, that output rows top..top+count-1 read."""
        return {row for row in self.rows(top, count, kernel_rows) if 0 <= row < self.shape.in_height}

    def rows(self, top: int, count: int, kernel_rows: Sequence[int] | None = None) -> set[int]:
        """Return the same with rows of padding, which lie outside the input's range."""
        shape = self.shape
        taps = range(shape.kernel_height) if kernel_rows is None else kernel_rows
        return {
            (top + e) * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
            for e in range(count)
            for r in taps
        }

    def real_columns(self) -> set[int]:
        shape = self.shape
        seen = {
            f * shape.stride[1] + s * shape.dilation[1] - shape.pad[2]
            for f in range(shape.out_width)
            for s in range(shape.kernel_width)
        }
        return {x for x in seen if 0 <= x < shape.in_width}

    @functools.cached_property
    def strip_width(self) -> int:
        return len(self.real_columns())

    def input_words(self, first: int, count: int, top: int, rows: int, images: int) -> int:
        """Return the input values that a block holds."""
        return images * self.channels(first, count) * len(self.real_rows(top, rows)) * self.strip_width

    def most_input_words(self, units: int, rows: int, images: int) -> int:
        """Return the most that a block of so many units, output rows and images holds."""
        tall = max(
            len(self.real_rows(top, min(rows, self.shape.out_height - top)))
            for top in range(0, self.shape.out_height, rows)
        )
        return images * self.channels(0, units) * tall * self.strip_width

    def most_coefficients(self, units: int) -> int:
        """Return the most coefficients of one filter that a block of so many units has."""
        return self.coefficients(0, units)


@functools.lru_cache(maxsize=4096)
def choose(shape: LayerShape, grouping: Grouping, limits: ArrayLimits) -> ReuseMapping:
    """Return the mapping that the machine takes: the least words over the link, then the fewest blocks.

    Each half of the buffer holds the inputs of a block and the sums of a tile.
    """
    cut = Cut(shape, grouping)
    found = _by_rows(cut, limits) if grouping.by_rows else _by_runs(cut, limits)
    if found is None:
        raise MappingError(
            f"its smallest block wants more than half of the buffer, {limits.buffer_words // 2} words for "
            f"inputs and sums and {limits.coefficient_words // 2} for coefficients; wants more size_kib, or "
            "more filter_kib"
        )
    return found


def faults(mapping: ReuseMapping, shape: LayerShape, grouping: Grouping, limits: ArrayLimits) -> list[str]:
    """Return what makes a mapping illegal here, one sentence each; empty when it is legal."""
    cut, found = Cut(shape, grouping), list[str]()
    e, m, c, t, n, g, p = (getattr(mapping, k) for k in "emctngp")

    def refuse(wrong: bool, text: str) -> None:
        if wrong:
            found.append(text)

    units = "channels" if grouping.by_rows else "runs of weights"
    refuse(e > shape.out_height, f"e: {e} output rows, the layer has {shape.out_height}")
    refuse(m > shape.group_out_channels, f"m: {m} filters, a group has {shape.group_out_channels}")
    refuse(c > cut.units, f"c: {c} {units}, a filter has {cut.units}")
    refuse(n > shape.batch, f"n: {n} images, the batch has {shape.batch}")
    refuse(t > limits.most_turns, f"t: {t} filters take turns, a PE has words for {limits.most_turns}")
    if grouping.by_rows:
        refuse(e > limits.columns, f"e: {e} output rows, the array has {limits.columns} columns")
        for letter, value in (("n", n), ("g", g), ("p", p)):
            refuse(value > 1, f"{letter}: {value}; rows of kernels want 1")
        read = len(cut.rows(0, e, range(min(shape.kernel_height, limits.rows))))
        refuse(
            read > limits.row_blocks,
            f"e: {e} output rows read {read} at once, there are {limits.row_blocks} blocks",
        )
    else:
        rows = min(limits.rows, limits.run_blocks)
        refuse(g * p > rows, f"g, p: {g} x {p} rows of PEs, the array has {rows} with a reuse block")
    if not found and not _fits(cut, limits, e, n, m, c):
        words = cut.most_input_words(c, e, n) + n * m * e * shape.out_width
        found.append(
            f"e, n, m, c: {words} words of inputs and sums and {m * cut.most_coefficients(c)} coefficients, "
            f"half of the buffer has {limits.buffer_words // 2} and {limits.coefficient_words // 2}"
        )
    return found


def _divisions(total: int) -> list[int]:
    """Return the sizes of parts that are worth trying: the smallest of those that split alike."""
    return sorted({ceil_div(total, parts) for parts in range(1, total + 1)}, reverse=True)


def _by_rows(cut: Cut, limits: ArrayLimits) -> ReuseMapping | None:
    shape = cut.shape
    high = min(shape.kernel_height, limits.rows)
    widest = min(shape.out_height, limits.columns)
    while widest > 1 and len(cut.rows(0, widest, range(high))) > limits.row_blocks:
        widest -= 1
    least = len(cut.rows(0, 1, range(high)))
    if least > limits.row_blocks:
        raise MappingError(
            f"one row of output reads {least} rows of input at once, components.{limits.row_windows} has "
            f"{limits.row_blocks} blocks; wants --set components.{limits.row_windows}.columns={least}"
        )
    for strips in range(ceil_div(shape.out_height, widest), shape.out_height + 1):
        e = ceil_div(shape.out_height, strips)
        best = _least(cut, limits, [(e, 1, m, c) for m in _divisions(shape.group_out_channels) for c in
                                    _divisions(cut.units)])  # fmt: skip
        if best is not None:
            e, n, m, c = best
            return ReuseMapping(e=e, m=m, c=c, n=n, t=min(limits.filters_at_once, m))
    return None


def _by_runs(cut: Cut, limits: ArrayLimits) -> ReuseMapping | None:
    """Stack as many runs and windows as take the fewest cycles; of equal ones more runs, fewer windows."""
    shape = cut.shape
    rows = min(limits.rows, limits.run_blocks)
    windows = shape.batch * shape.out_height * shape.out_width
    wide = min(limits.columns, shape.group_out_channels)

    def cycles(g: int, p: int) -> int:
        """Return the cycles of one set of filters: a step waits until its sums have gone in and out."""
        return ceil_div(cut.units, g) * ceil_div(windows, p) * ceil_div(p * wide, limits.sums_per_cycle)

    stacks = [
        (g, p) for g in range(1, min(rows, cut.units) + 1) for p in range(1, min(rows // g, windows) + 1)
    ]
    g, p = min(stacks, key=lambda stack: (cycles(*stack), -stack[0], stack[1]))
    filters = [min(shape.group_out_channels, wide * k) for k in _divisions(
        ceil_div(shape.group_out_channels, wide))]  # fmt: skip
    units = [min(cut.units, g * k) for k in _divisions(ceil_div(cut.units, g))]
    for strips in range(1, shape.out_height + 1):
        e = ceil_div(shape.out_height, strips)
        tries = []
        for m in filters:
            for c in units:
                most = cut.most_input_words(c, e, 1) + m * e * shape.out_width
                n = min(shape.batch, limits.buffer_words // 2 // most)
                if n:
                    tries.append((e, ceil_div(shape.batch, ceil_div(shape.batch, n)), m, c))
        best = _least(cut, limits, tries)
        if best is not None:
            e, n, m, c = best
            return ReuseMapping(
                e=e, m=m, c=c, n=n, g=g, p=p, t=min(limits.filters_at_once, ceil_div(m, wide))
            )
    return None


def _least(
    cut: Cut, limits: ArrayLimits, tries: Sequence[tuple[int, int, int, int]]
) -> tuple[int, int, int, int] | None:
    """Return the (e, n, m, c) that fit and move the fewest words over the link, in the fewest blocks."""
    fitting = [one for one in tries if _fits(cut, limits, *one)]
    return min(fitting, key=lambda one: _traffic(cut, limits, *one), default=None)


def _fits(cut: Cut, limits: ArrayLimits, e: int, n: int, m: int, c: int) -> bool:
    words = cut.most_input_words(c, e, n) + n * m * e * cut.shape.out_width
    return 2 * words <= limits.buffer_words and 2 * m * cut.most_coefficients(c) <= limits.coefficient_words


def _traffic(cut: Cut, limits: ArrayLimits, e: int, n: int, m: int, c: int) -> tuple[int, int]:
    shape = cut.shape
    images, strips = ceil_div(shape.batch, n), ceil_div(shape.out_height, e)
    tiles, parts = ceil_div(shape.group_out_channels, m), ceil_div(cut.units, c)
    heights = [
        len(cut.real_rows(top, min(e, shape.out_height - top))) for top in range(0, shape.out_height, e)
    ]
    inputs = shape.batch * shape.in_channels * sum(heights) * cut.strip_width * (1 if parts == 1 else tiles)
    coefficients = shape.out_channels * cut.coefficients(0, cut.units)
    if tiles * parts * shape.groups > 1:
        coefficients *= images * strips
    return inputs + coefficients, images * shape.groups * strips * tiles * parts
