"""A layer's blocks on the reuse array: what each moves and how long the array takes, added up by place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhw.mapping.reuse_array import Cut, ReuseMapping, ceil_div

Counts = NDArray[np.int64]
BIAS_BITS = 32  # of a bias on its way from DRAM


@dataclass(frozen=True, kw_only=True)
class Block:
    """What the array does between two loads: some filters and units of a strip of some images."""

    images: int
    top: int
    rows: int  # of output
    filters: int
    first_unit: int
    units: int
    ends_tile: bool

    @property
    def begins_tile(self) -> bool:
        return self.first_unit == 0


@dataclass(frozen=True)
class Kind:
    """Passes that are alike: input words by window, sums by window and turn, coefficient words."""

    words: Counts
    sums: Counts
    coefficients: int


class Layout:
    """A cut layer under a mapping. Counts are by place; nothing here depends on when words arrive.

    `rates` are input, coefficient and sum words a cycle; `windows` are role and part of the registers that
    hold windows, with rows and columns of them, `working` the adders of a reuse block that work on so many
    values (none where nothing is reused), `play` finds the meetings of passes and buses.
    """

    def __init__(
        self,
        cut: Cut,
        mapping: ReuseMapping,
        *,
        rows: int,
        columns: int,
        windows: tuple[str, str, int, int],
        rates: tuple[int, int, int],
        working: Mapping[int, int],
        play: Callable[..., Any],
    ) -> None:
        self.cut, self.shape, self.mapping = cut, cut.shape, mapping
        self.rows, self.columns = rows, columns
        self.input_rate, self.coefficient_rate, self.sum_rate = rates
        self.working, self.play = working, play
        self.grids: defaultdict[tuple[str, str, str], Counts] = defaultdict(self._none)
        role, part, high, wide = windows
        self.adds, self.read, self.written = np.zeros((3, high * wide), dtype=np.int64)  # by window
        self.counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.busy = self._none()
        self.waits = [0, 0, 0]  # for coefficients, inputs, sums
        self.multiplications = self.coefficients_sent = 0
        self._played: dict[tuple[Any, ...], Counts] = {}
        most = min(self.shape.kernel_height, rows)
        self.segments = [
            range(first, min(first + most, self.shape.kernel_height))
            for first in range(0, self.shape.kernel_height, most)
        ]
        # images of one tile, with how often: full tiles, and a last one that may hold fewer
        full, rest = divmod(self.shape.batch, mapping.n)
        self.tiles_of_images = [(n, times) for n, times in ((mapping.n, full), (rest, 1)) if n and times]
        self.sequence = {images: list(self._blocks(images)) for images, _ in self.tiles_of_images}
        self._works = {
            images: np.array([self._play(block) for block in blocks], dtype=np.int64)
            for images, blocks in self.sequence.items()
        }
        self._count_all()
        self.grids[role, part, "read"] = self.read.reshape(high, wide)
        self.grids[role, part, "write"] = self.written.reshape(high, wide)
        if working:
            self.grids[role, "", "add"] = self.adds.reshape(high, wide)

    def _none(self) -> Counts:
        return np.zeros((self.rows, self.columns), dtype=np.int64)

    @property
    def hops(self) -> int:
        """Adders from the bottom of a column to its head, the one at the head among them."""
        return min(self.shape.kernel_height, self.rows) if self.cut.grouping.by_rows else self.mapping.g

    @property
    def reuse_additions(self) -> int:
        return int(self.adds.sum())

    def _blocks(self, images: int) -> Iterator[Block]:
        """Yield the blocks of one group of channels, in order."""
        shape, m = self.shape, self.mapping
        for top in range(0, shape.out_height, m.e):
            for filter in range(0, shape.group_out_channels, m.m):
                for unit in range(0, self.cut.units, m.c):
                    units = min(m.c, self.cut.units - unit)
                    yield Block(
                        images=images,
                        top=top,
                        rows=min(m.e, shape.out_height - top),
                        filters=min(m.m, shape.group_out_channels - filter),
                        first_unit=unit,
                        units=units,
                        ends_tile=unit + units == self.cut.units,
                    )

    # the whole layer, block after block

    def _over_layer(self, by_images: Mapping[int, Counts]) -> Counts:
        """Return what belongs to blocks, for all groups and images in order."""
        groups = self.shape.groups
        return np.concatenate([np.tile(by_images[n], times * groups) for n, times in self.tiles_of_images])

    def works(self) -> Counts:
        return self._over_layer({images: found[:, 0] for images, found in self._works.items()})

    def link_words(self, word_bits: int, coefficient_bits: int, link_bits: int) -> tuple[Counts, Counts]:
        """Return the link's words before and after each block; what the buffer holds is not brought again."""
        inputs: dict[int, Counts] = {}
        weights: dict[int, Counts] = {}
        biases: dict[int, Counts] = {}
        results: dict[int, Counts] = {}
        for images, blocks in self.sequence.items():
            inputs[images] = np.array([self._input_words(b) for b in blocks])
            weights[images] = np.array(
                [b.filters * self.cut.coefficients(b.first_unit, b.units) for b in blocks]
            )
            biases[images] = np.array([b.filters if b.begins_tile else 0 for b in blocks])
            results[images] = np.array(
                [ceil_div(self._sums(b) * word_bits, link_bits) if b.ends_tile else 0 for b in blocks]
            )
        fresh_inputs, fresh_weights = self._fresh()
        brought_inputs = self._over_layer(inputs) * fresh_inputs
        brought_weights = self._over_layer(weights) * fresh_weights
        brought_biases = self._over_layer(biases) * fresh_weights
        self.counts["glb.ifmap", "write"] = int(brought_inputs.sum())
        self.counts["glb.filter", "write"] = int(brought_weights.sum())
        bits = brought_weights * coefficient_bits + brought_biases * BIAS_BITS
        loads = -(-brought_inputs * word_bits // link_bits) + -(-bits // link_bits)
        return loads, self._over_layer(results)

    def _fresh(self) -> tuple[Counts, Counts]:
        """Return, for each block, whether its inputs and its coefficients differ from the block before."""
        strips = ceil_div(self.shape.out_height, self.mapping.e)
        tiles = ceil_div(self.shape.group_out_channels, self.mapping.m)
        parts = ceil_div(self.cut.units, self.mapping.c)
        rounds = self.shape.groups * sum(times for _, times in self.tiles_of_images)
        # (strip, part) of inputs and (tile, part) of coefficients in one round over a group's blocks
        strip, tile, part = (axis.reshape(-1) for axis in np.indices((strips, tiles, parts)))
        new_inputs = np.append(True, (np.diff(strip) != 0) | (np.diff(part) != 0))
        new_weights = np.append(True, (np.diff(tile) != 0) | (np.diff(part) != 0))
        inputs, weights = np.tile(new_inputs, rounds), np.tile(new_weights, rounds)
        if self.shape.groups * tiles * parts == 1:
            weights[strips::strips] = False
        return inputs.astype(np.int64), weights.astype(np.int64)

    def _input_words(self, block: Block) -> int:
        return self.cut.input_words(block.first_unit, block.units, block.top, block.rows, block.images)

    def _sums(self, block: Block) -> int:
        return block.images * block.filters * block.rows * self.shape.out_width

    # passes of a block

    def _play(self, block: Block) -> tuple[int, int, int, int]:
        """Return cycles, waits for coefficients, for inputs and for sums; alike blocks are played once."""
        real = tuple(len(self.cut.real_rows(block.top, block.rows, part)) for part in self.segments)
        # windows of padding decide when inputs come, so a strip of runs is known by where it lies
        place = real if self.cut.grouping.by_rows else block.top
        key = (block.images, block.rows, place, block.filters, block.units, block.ends_tile)
        if key not in self._played:
            order, kinds = self._row_passes(block) if self.cut.grouping.by_rows else self._run_passes(block)
            tables = self._tables(kinds)
            steps, takes, *_ = tables
            for_sums = takes.sum(axis=1) - steps
            found = self.play(np.array(order, dtype=np.int64), *tables)
            self._played[key] = np.append(found, for_sums[order].sum())
        cycles, coefficients, inputs, sums = self._played[key].tolist()
        return cycles, coefficients, inputs, sums

    def _tables(self, kinds: list[Kind]) -> tuple[Counts, ...]:
        """Return what `play` wants, by kind: steps, their cycles, arrivals, input and coefficient cycles."""
        steps = np.array([kind.sums.size for kind in kinds], dtype=np.int64)
        arrivals, takes = np.zeros((2, len(kinds), int(steps.max())), dtype=np.int64)
        for k, kind in enumerate(kinds):
            # a window's words are wanted when the first filter has its turn
            turns = kind.sums.shape[1]
            arrivals[k, : steps[k]] = np.repeat(-(-np.cumsum(kind.words) // self.input_rate), turns)
            takes[k, : steps[k]] = -(-kind.sums.reshape(-1) // self.sum_rate)
        inputs = arrivals.max(axis=1)
        coefficients = [ceil_div(kind.coefficients, self.coefficient_rate) for kind in kinds]
        return steps, takes, arrivals, inputs, np.array(coefficients, dtype=np.int64)

    def _turns(self, filters: int, wide: int) -> list[int]:
        return [min(wide, filters - first) for first in range(0, filters, wide)]

    def _row_passes(self, block: Block) -> tuple[list[int], list[Kind]]:
        """Return the kind of each pass, and the kinds."""
        products = self.cut.grouping.products
        kinds: list[Kind] = []
        order: list[int] = []
        numbers: dict[int, list[int]] = {}
        for filters in self._turns(block.filters, self.mapping.t):
            if filters not in numbers:
                numbers[filters] = []
                for segment in self.segments:
                    real = len(self.cut.real_rows(block.top, block.rows, segment))
                    for first, size in self.cut.pieces:
                        numbers[filters].append(len(kinds))
                        words = real * self._new_columns(first, size)
                        sums = np.full((len(words), filters), block.rows)
                        kinds.append(Kind(words, sums, len(segment) * products(size) * filters))
            order += numbers[filters] * block.units
        return order, kinds

    def _new_columns(self, first: int, size: int) -> Counts:
        """Return how many columns of the input each window of a row's sweep sees first."""
        shape = self.shape
        seen: set[int] = set()
        found: list[int] = []
        for f in range(shape.out_width):
            columns = {
                f * shape.stride[1] + s * shape.dilation[1] - shape.pad[2] for s in range(first, first + size)
            }
            columns = {x for x in columns if 0 <= x < shape.in_width} - seen
            seen |= columns
            found.append(len(columns))
        return np.array(found, dtype=np.int64)

    def _run_passes(self, block: Block) -> tuple[list[int], list[Kind]]:
        products = self.cut.grouping.products
        kinds: list[Kind] = []
        order: list[int] = []
        numbers: dict[tuple[int, int, int], int] = {}
        taps = self._real_taps(block)
        starts = np.arange(0, len(taps), self.mapping.p)
        by_step = np.add.reduceat(taps, starts)
        side_by_side = np.minimum(self.mapping.p, len(taps) - starts)
        for filters in self._turns(block.filters, self.columns * self.mapping.t):
            for first, runs in self._stacks(block):
                channels = self.cut.channels(first, runs)
                coefficients = sum(products(n) for n in self.cut.run_sizes(first, runs)) * filters
                key = (channels, coefficients, filters)
                if key not in numbers:
                    numbers[key] = len(kinds)
                    sums = np.outer(side_by_side, self._turns(filters, self.columns))
                    kinds.append(Kind(channels * by_step, sums, coefficients))
                order.append(numbers[key])
        return order, kinds

    def _stacks(self, block: Block) -> list[tuple[int, int]]:
        """Return (first run, runs) of each pass over a block's runs."""
        end = block.first_unit + block.units
        return [
            (first, min(self.mapping.g, end - first))
            for first in range(block.first_unit, end, self.mapping.g)
        ]

    def _real_taps(self, block: Block) -> Counts:
        """Return, for each window of a block, the values of one channel under it, padding left out."""
        shape = self.shape

        def inside(out: range, kernel: int, axis: int, before: int, extent: int) -> Counts:
            places = np.array(out)[:, None] * shape.stride[axis] - before
            taps = places + np.arange(kernel) * shape.dilation[axis]
            return ((taps >= 0) & (taps < extent)).sum(axis=1)

        down = inside(
            range(block.top, block.top + block.rows), shape.kernel_height, 0, shape.pad[0], shape.in_height
        )
        across = inside(range(shape.out_width), shape.kernel_width, 1, shape.pad[2], shape.in_width)
        return np.tile(np.outer(down, across).reshape(-1), block.images)

    # counts

    def _count_all(self) -> None:
        for images, times in self.tiles_of_images:
            weight = times * self.shape.groups
            found = self._works[images].sum(axis=0)
            self.waits = [n + weight * int(more) for n, more in zip(self.waits, found[1:], strict=True)]
            for block in self.sequence[images]:
                if self.cut.grouping.by_rows:
                    self._count_rows(block, weight)
                else:
                    self._count_runs(block, weight)
                if block.ends_tile:
                    self.counts["glb.psum", "read"] += weight * self._sums(block)

    def _adder(self, j: int) -> int:
        """Return which adder of a column PE j gives its product to: the bottom's goes up to the head."""
        return (j - 1) % self.hops

    def _add(self, role: str, part: str, action: str, where: Any, n: Any) -> None:
        self.grids[role, part, action][where] += n

    def _count_rows(self, block: Block, weight: int) -> None:
        shape, wide = self.shape, block.rows
        turns = ceil_div(block.filters, self.mapping.t)
        windows = weight * turns * block.units * shape.out_width
        steps = weight * block.filters * block.units * shape.out_width
        products = [self.cut.grouping.products(size) for _, size in self.cut.pieces]
        total, pieces = sum(products), len(products)
        for segment in self.segments:
            high = len(segment)
            here = (slice(0, high), slice(0, wide))
            self._count_pes(here, [(steps, n) for n in products])
            for j in range(high):
                self._add("psums", "", "add", (self._adder(j), slice(0, wide)), steps * pieces)
            held = weight * block.filters * block.units * total
            self._add("pes", "coefficients", "write", here, held)
            self.counts["glb.filter", "read"] += high * held
            self.counts["noc.coefficients", "send"] += high * held
            self.counts["noc.coefficients", "receive"] += high * held * wide
            self.coefficients_sent += high * held
            rows = sorted(self.cut.rows(block.top, wide, segment))
            blocks, real = len(rows), np.array([0 <= row < shape.in_height for row in rows])
            for first, size in self.cut.pieces:
                words = weight * turns * block.units * int(self._new_columns(first, size).sum())
                self._count_inputs(words * int(real.sum()))
                self.written[:blocks] += words * real
                self.read[:blocks] += size * windows
                self.adds[:blocks] += self.working.get(size, 0) * windows
            self.counts["noc.shared", "send"] += blocks * total * windows
            self.counts["noc.shared", "receive"] += high * wide * total * windows
            self.counts["noc.links", "hop"] += (self.hops - 1) * wide * steps * pieces
        visits = wide * steps * pieces * len(self.segments)
        self._count_sums(visits, weight * self._sums(block) if block.begins_tile else 0)

    def _count_runs(self, block: Block, weight: int) -> None:
        g, p = self.mapping.g, self.mapping.p
        taps = self._real_taps(block)
        windows = len(taps)
        active = [ceil_div(windows - k, p) for k in range(min(p, windows))]
        turns = self._turns(block.filters, self.columns * self.mapping.t)
        wide = sum(min(self.columns, filters) for filters in turns)  # columns that a window's sums reach
        by_column = np.array([ceil_div(block.filters - q, self.columns) for q in range(self.columns)])
        by_column = np.maximum(by_column, 0)
        stacks = self._stacks(block)
        sizes = self.cut.run_sizes(block.first_unit, block.units)
        products = [self.cut.grouping.products(n) for n in sizes]
        for k, steps in enumerate(active):
            for j in range(min(g, block.units)):
                row = k * g + j
                self._count_pes(row, [(weight * steps * by_column, n) for n in products[j::g]])
                self._add("pes", "coefficients", "write", row, weight * sum(products[j::g]) * by_column)
                added = weight * steps * by_column * len(products[j::g])
                self._add("psums", "", "add", k * g + self._adder(j), added)
                channels = sum(sizes[j::g]) // self.cut.taps
                self.written[row] += weight * len(turns) * channels * int(taps[k::p].sum())
                self.read[row] += weight * len(turns) * steps * sum(sizes[j::g])
                working = sum(self.working.get(n, 0) for n in sizes[j::g])
                self.adds[row] += weight * len(turns) * steps * working
        total = weight * sum(products)
        held = total * block.filters
        self.counts["glb.filter", "read"] += held
        self.counts["noc.coefficients", "send"] += held
        self.counts["noc.coefficients", "receive"] += held * len(active)
        self.coefficients_sent += held
        channels = self.cut.channels(block.first_unit, block.units)
        self._count_inputs(weight * len(turns) * channels * int(self._real_taps(block).sum()))
        self.counts["noc.shared", "send"] += total * windows * len(turns)
        self.counts["noc.shared", "receive"] += total * windows * wide
        each = weight * windows * block.filters
        self.counts["noc.links", "hop"] += each * (g - 1) * len(stacks)
        self._count_sums(each * len(stacks), weight * self._sums(block) if block.begins_tile else 0)

    def _count_pes(self, where: Any, work: list[tuple[Any, int]]) -> None:
        """Count steps at a place: each (steps, products in a step)."""
        steps = sum(n for n, _ in work)
        self.busy[where] += steps
        for k in range(max((n for _, n in work), default=0)):
            self._add("pes", f"multiplier{k}", "mul", where, sum(n for n, products in work if products > k))
            if k:
                added = sum(n for n, products in work if products > k)
                self._add("pes", f"adder{k - 1}", "add", where, added)
        before = self.grids["pes", "coefficients", "read"][where].sum()
        self._add("pes", "coefficients", "read", where, sum(n * products for n, products in work))
        self.multiplications += int(self.grids["pes", "coefficients", "read"][where].sum() - before)

    def _count_inputs(self, words: int) -> None:
        self.counts["glb.ifmap", "read"] += words
        self.counts["noc.inputs", "send"] += words
        self.counts["noc.inputs", "receive"] += words

    def _count_sums(self, visits: int, begun: int) -> None:
        """Count sums that come out of columns; those that are begun had no sum to go in."""
        self.counts["glb.psum", "write"] += visits
        self.counts["glb.psum", "read"] += visits - begun
        self.counts["noc.sums", "send"] += 2 * visits - begun
        self.counts["noc.sums", "receive"] += 2 * visits - begun
