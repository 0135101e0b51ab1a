"""The twin of `row_stationary`: every PE, bus and sum on its way, one cycle at a time.

It shares Specs, books and the transaction-level parts (link, buffer, codec) with the dataflow, and
no formula: places, streams, waits and words are found here by doing what the hardware does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any

import simpy

from simhw import core
from simhw.core.dataflow import Outcome, Phase
from simhw.core.machine import Machine
from simhw.stepped.row_stationary_layer import Pass, PlacedLayer, Slot, Tile, Visit

IFMAP, FILTER, OFMAP = 0, 1, 2  # requesters of the link, by precedence


class RowStationaryTwin(core.Twin, kind="row_stationary"):
    """Eyeriss, PE by PE."""

    def run(self, machine: Machine, phase: Phase) -> Generator[simpy.Event, Any, Outcome]:
        run = LayerRun(machine, self.options, phase)
        yield from run.all()
        return Outcome(
            outputs={run.layer.name: run.outputs},
            details={run.layer.name: run.details()},
        )


class LayerRun(PlacedLayer):
    """What happens to it: the link, the passes of the array, sums on their way up."""

    def __init__(self, machine: Machine, options: Any, phase: Phase) -> None:
        super().__init__(machine, options, phase)
        self._room()

    def _room(self) -> None:
        """Find what the buffer can hold twice: first the next inputs, then the next outputs."""
        sim, width = self.sim, self.shape.out_width
        block = self.n * self.g * self.q * self.r * len(self.row_offsets) * len(self._columns())
        tile = self.n * self.g * self.m * self.e * width
        room = self.glb.spec.shared_words - block - tile
        if room < 0:
            raise OverflowError(f"{self.layer.name}: the mapping does not fit the buffer")
        blocks = tiles = 1
        if room >= block:
            blocks, room = 2, room - block
        if room >= tile:
            tiles = 2
        if self.options.ifmap_prefetch == "never":
            blocks = 1
        if self.options.ofmap_drain == "never":
            tiles = 1
        self.block_room = simpy.Container(sim, capacity=2, init=blocks)
        self.tile_room = simpy.Container(sim, capacity=2, init=tiles)
        self.buffers = (blocks, tiles)
        pass_words = sum(1 for _ in self._filter_places())
        region = self.glb.spec.filter_region_words
        self.pass_words, self.streamed = pass_words, pass_words > region
        self.filter_room = simpy.Container(sim, capacity=region, init=region)
        self.half_room = simpy.Container(sim, capacity=2, init=2)
        self.blocks_there, self.filters_there = simpy.Store(sim), simpy.Store(sim)
        self.halves_there, self.tiles_done = simpy.Store(sim), simpy.Store(sim)

    # the link

    def _link_words(self, bits: int) -> int:
        return -(-bits // self.dram.spec.word_bits)

    def _bring_blocks(self) -> Generator[simpy.Event, Any, None]:
        for tile in self._tiles():
            for visit in self._visits(tile):
                yield self.block_room.get(1)
                yield self.dram.read(IFMAP, self._block_transfer(visit))
                self._write_block(visit)
                yield self.blocks_there.put(visit)

    def _rows_loaded(self, visit: Visit) -> set[int]:
        """Return the input rows that real outputs and real kernel rows need."""
        shape, tile = self.shape, visit.tile
        rows = {
            y * shape.stride[0] + k * shape.dilation[0] - shape.pad[0]
            for y in range(tile.strip, min(tile.strip + self.e, shape.out_height))
            for k in range(visit.segment, min(visit.segment + self.rows, shape.kernel_height))
        }
        return {y for y in rows if 0 <= y < shape.in_height}

    def _block_transfer(self, visit: Visit) -> int:
        """Return the link's words of a block."""
        shape, tile = self.shape, visit.tile
        rows = self._rows_loaded(visit)
        values = words = 0
        for image in range(self.n):
            for group in range(self.g):
                for channel in range(self.q * self.r):
                    n, g = self._image(tile, image), self._group(tile, group)
                    ch = self._channel(visit, 0, channel)
                    if n is None or g is None or ch is None:
                        continue
                    holds = self._words_of_plane(n, g * shape.group_in_channels + ch)
                    previous: int | None = None  # the last word read of a run of rows
                    for y in sorted(rows):
                        values += shape.in_width
                        first = holds[y * shape.in_width]
                        last = holds[(y + 1) * shape.in_width - 1]
                        words += last - first + 1
                        if y - 1 in rows and previous == first:
                            words -= 1  # it has just come in with the row above
                        previous = last
        if self.compressed_inputs:
            self.codec.decode(values)
            return self._link_words(words * 64)
        return self._link_words(values * self.pes.spec.word_bits)

    def _words_of_plane(self, image: int, channel: int) -> list[int]:
        if (image, channel) not in self._plane_words:
            flat = [value for row in self.inputs[image][channel] for value in row]
            self._plane_words[image, channel] = self.codec.words_of(flat)
        return self._plane_words[image, channel]

    def _block_keys(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        for image in range(self.n):
            for x in self._columns():
                for group in range(self.g):
                    for channels in range(self.r):
                        for c in range(self.q):
                            for row in self.row_offsets:
                                yield image, group, channels, c, row, x

    def _write_block(self, visit: Visit) -> None:
        rows = self._rows_loaded(visit)
        for key in self._block_keys():
            value = self._input(visit, rows, *key)
            if value is None:
                self.glb.ifmap.fill((visit, *key))
            else:
                self.glb.ifmap.write((visit, *key), value)
        if len(self.glb.ifmap.held) + len(self.glb.psum.held) > self.glb.spec.shared_words:
            raise OverflowError(f"{self.layer.name}: inputs and sums overflow the buffer")

    def _bring_filters(self) -> Generator[simpy.Event, Any, None]:
        for one in self._all_passes():
            yield self.filter_room.get(self.pass_words)
            yield self.dram.read(FILTER, self._filter_transfer(one))
            yield self.filters_there.put(one)

    def _all_passes(self) -> Iterator[Pass]:
        for tile in self._tiles():
            for visit in self._visits(tile):
                yield from self._passes(visit)

    def _filter_transfer(self, one: Pass) -> int:
        words = sum(self._weight(one, *place) is not None for place in self._filter_places())
        if one.visit.begins_sums:
            words += sum(
                self._group(one.visit.tile, group) is not None and self._filter(one, filters, f) is not None
                for group in range(self.g)
                for filters in range(self.t)
                for f in range(self.p)
            )
        return self._link_words(words * self.pes.spec.word_bits)

    def _take_outputs(self) -> Generator[simpy.Event, Any, None]:
        for _ in self._tiles():
            tile = yield self.tiles_done.get()
            yield self.dram.write(OFMAP, self._put_away(tile))
            yield self.tile_room.put(1)

    def _put_away(self, tile: Tile) -> int:
        """Finish a tile's sums: bias, one rounding, activation, compression; return the link's words."""
        shape, words, values = self.shape, 0, 0
        for image in range(self.n):
            for group in range(self.g):
                for filter in range(self.m):
                    n, g, m = self._image(tile, image), self._group(tile, group), tile.filters + filter
                    if n is None or g is None or m >= shape.group_out_channels:
                        continue
                    channel = g * shape.group_out_channels + m
                    stream: list[Any] = []
                    for y in range(tile.strip, min(tile.strip + self.e, shape.out_height)):
                        for x in range(shape.out_width):
                            total = self.glb.psum.read((n, channel, y, x)) + self.bias[channel]
                            self.glb.psum.drop((n, channel, y, x))
                            self.outputs[n, channel, y, x] = value = self._finish(total)
                            stream.append(value)
                    values += len(stream)
                    if self.options.compression != "none":
                        words += self.codec.encode(stream)[-1] + 1
        if self.options.compression != "none":
            return self._link_words(words * 64)
        return self._link_words(values * self.pes.spec.word_bits)

    def _finish(self, total: Any) -> Any:
        form = self.layer.formats["expected"]
        if form.is_float:
            value, cap = total, 6.0
        else:
            value = round(Fraction(total) / Fraction(2) ** self.layer.shift)
            half = 1 << (self.pes.spec.word_bits - 1)
            self.unfit += not -half <= value < half
            value = min(max(value, form.lowest), form.highest)
            cap = min(round(Fraction(6) * 2**form.fraction), form.highest)
        if self.layer.activation is not None:
            value = self.relu.apply(value, cap if self.layer.activation == "relu6" else None)
        return value

    # filters into the PEs

    def _filter_places(self) -> Iterator[tuple[int, int, int, int, int, int, int]]:
        for group in range(self.g):
            for filters in range(self.t):
                for channels in range(self.r):
                    for row in range(self.rows):
                        for f in range(self.p):
                            for c in range(self.q):
                                for s in range(self.shape.kernel_width):
                                    yield group, filters, channels, row, f, c, s

    def _filter_address(self, one_half: int, f: int, c: int, s: int) -> int:
        return (
            one_half * self.p * self.q * self.shape.kernel_width
            + (f * self.q + c) * self.shape.kernel_width
            + s
        )

    def _load_filters(self, one: Pass, half: int) -> Generator[simpy.Event, Any, None]:
        """Send one pass's filters over the bus; all PEs of a row take a word at once."""
        bus, region = self.noc.filter, self.glb.filter
        left = deque(self._filter_places())
        for place in left:
            region.count("fill" if self._weight(one, *place) is None else "write")
        while left:
            for _ in range(min(bus.spec.words_per_cycle, len(left))):
                group, filters, channels, row, f, c, s = place = left.popleft()
                region.count("read")
                bus.count("send")
                for column in range(self.e):
                    pe = self.where[group, filters, channels, row, column]
                    bus.count("receive")
                    pe.filter_spad.write(self._filter_address(half, f, c, s), self._weight(one, *place) or 0)
            self.sim.activity.add(bus.name, "busy")
            yield self.sim.timeout(1)

    def _load_ahead(self) -> Generator[simpy.Event, Any, None]:
        for number, one in enumerate(self._all_passes()):
            yield self.half_room.get(1)
            if self.streamed:
                words = self.dram.read(FILTER, self._filter_transfer(one))
                yield words & self.sim.process(self._load_filters(one, number % 2))
            else:
                yield self.filters_there.get()
                yield from self._load_filters(one, number % 2)
                yield self.filter_room.put(self.pass_words)
            yield self.halves_there.put(one)

    # the array

    def all(self) -> Generator[simpy.Event, Any, None]:
        sim = self.sim
        if self.options.configuration == "serial" and self.options.configuration_bits:
            bits = 0
            while bits < self.options.configuration_bits:  # one with each edge of the link's clock
                bits += 1
                yield sim.timeout(self.dram.clock.cycle_of(bits) - sim.cycle)
            self._stalled("configuration", sim.cycle)
        sim.process(self._bring_blocks())
        if self.options.filter_load == "overlapped":
            sim.process(self._load_ahead())
        if not self.streamed:
            sim.process(self._bring_filters())
        writer = sim.process(self._take_outputs())
        yield from self._array()
        since = sim.cycle
        yield writer
        self._stalled("dram_ofmap", sim.cycle - since)
        self.cycles = sim.cycle
        self._books()

    def _stalled(self, cause: str, cycles: int) -> None:
        if cycles:
            self.stalls[cause] = self.stalls.get(cause, 0) + cycles
            for pe in self.where.values():
                self.sim.activity.add(pe.name, cause, cycles)

    def _array(self) -> Generator[simpy.Event, Any, None]:
        for tile in self._tiles():
            since = self.sim.cycle
            yield self.tile_room.get(1)
            self._stalled("dram_ofmap", self.sim.cycle - since)
            for visit in self._visits(tile):
                since = self.sim.cycle
                yield self.blocks_there.get()
                self._stalled("dram_ifmap", self.sim.cycle - since)
                for one in self._passes(visit):
                    yield from self._run_pass(one)
                    self.passes_done += 1
                for key in self._block_keys():
                    self.glb.ifmap.drop((visit, *key))
                yield self.block_room.put(1)
            yield self.tiles_done.put(tile)

    def _run_pass(self, one: Pass) -> Generator[simpy.Event, Any, None]:
        sim, since, half = self.sim, self.sim.cycle, 0
        stream = Stream(self, one)
        if self.options.filter_load == "overlapped":
            half = self.passes_done % 2
            yield self.halves_there.get()
            waited, bus_cycles = (
                sim.cycle - since,
                -(-self.pass_words // self.noc.filter.spec.words_per_cycle),
            )
            self._stalled("filter_load", min(waited, bus_cycles))
            self._stalled("dram_filter", max(waited - bus_cycles, 0))
        else:
            words = None
            if self.streamed:
                words = self.dram.read(FILTER, self._filter_transfer(one))
            else:
                yield self.filters_there.get()
                self._stalled("dram_filter", sim.cycle - since)
                since = sim.cycle
            if self.options.first_window == "with_filters" and not self.streamed:
                sim.process(stream.flow())  # inputs have a bus of their own
            yield sim.process(self._load_filters(one, 0))
            self._stalled("filter_load", sim.cycle - since)
            if words is None:
                yield self.filter_room.put(self.pass_words)
            else:
                since = sim.cycle
                yield words
                self._stalled("dram_filter", sim.cycle - since)
        stream.origin = sim.cycle
        if not stream.flowing:
            sim.process(stream.flow())
        yield from self._compute(one, half, stream)
        if self.options.filter_load == "overlapped":
            yield self.half_room.put(1)

    def _compute(self, one: Pass, half: int, stream: Stream) -> Generator[simpy.Event, Any, None]:
        """Step all PEs, both sum buses and the links until the last sum is in the buffer."""
        sim, shape = self.sim, self.shape
        serial = self.options.psum_traffic == "serial"
        entries = self.pes.spec.psum_words
        slots = [
            Slot(image, column, f, 0)
            for image in range(self.n)
            for column in range(shape.out_width)
            for f in range(self.p)
        ]
        for number, slot in enumerate(slots):
            slot.entry = number % entries
        stolen = 0 if self.pes.spec.climb_adder else 1
        reads = not one.visit.begins_sums
        hops = len(self.chain)
        words = self.g * self.t * self.e
        in_cycles = -(-words // self.noc.psum_in.spec.words_per_cycle) if reads else 0
        out_cycles = -(-words // self.noc.psum_out.spec.words_per_cycle)
        now_making: Slot | None = None
        coming: deque[Slot] = deque()
        coming_for = 0
        climbing: deque[Slot] = deque()
        out_free_at = 0
        begun = idle = climbed = finished = 0
        last_left_at = -1
        at = 0  # cycles since the filters are there
        while finished < len(slots):
            # may the next slot begin?
            if now_making is None and begun < len(slots):
                slot = slots[begun]
                before = slots[begun - 1] if begun else None
                oldest = slots[begun - entries] if begun >= entries else None
                there_at = stream.there_at(slot) if slot.filter == 0 else None
                free = oldest is None or (oldest.climbs_at is not None and oldest.climbs_at + hops <= at)
                if before is None:
                    done = True
                elif serial:
                    done = finished == begun and last_left_at <= at
                else:
                    done = (before.ready_at or 0) + stolen <= at
                if free and done and (slot.filter != 0 or (there_at is not None and there_at <= at)):
                    if idle:
                        self._stalled("ifmap" if slot.filter == 0 and there_at == at else "psum", idle)
                        idle = 0
                    if slot.filter == 0:
                        stream.take_window(slot)
                    self._clear(one, slot)
                    now_making, begun = slot, begun + 1
                    coming.append(slot)
                else:
                    idle += 1
            elif now_making is None:
                idle += 1
            # sums come in for the oldest slot that has begun
            if coming and in_cycles:
                slot = coming[0]
                if not serial or (slot.ready_at is not None and slot.ready_at <= at):
                    coming_for += 1
                    sim.activity.add(self.noc.psum_in.name, "busy")
                    if coming_for == in_cycles:
                        self._bring_sums(one, slot)
                        slot.came_at, coming_for = at + 1, 0
                        coming.popleft()
            elif coming:
                coming.popleft().came_at = at
            # may the next sums climb?
            if climbed < begun:
                slot = slots[climbed]
                ready = slot.ready_at is not None and slot.ready_at <= at
                came = slot.came_at is not None and slot.came_at <= at
                if ready and came and at + hops >= out_free_at:
                    slot.climbs_at = at
                    out_free_at = at + hops + out_cycles
                    climbing.append(slot)
                    climbed += 1
            # every PE makes a product
            if now_making is not None:
                self._multiply(one, now_making, half)
                now_making.products += 1
                if now_making.products == self.q * shape.kernel_width:
                    now_making.ready_at, now_making = at + 1, None
            # sums climb one PE, or leave over the bus
            for slot in list(climbing):
                height = at - (slot.climbs_at or 0)
                if height < hops:
                    self._climb(one, slot, height)
                else:
                    sim.activity.add(self.noc.psum_out.name, "busy")
                    if height == hops + out_cycles - 1:
                        self._leave(one, slot)
                        climbing.popleft()
                        finished, last_left_at = finished + 1, at + 1
            at += 1
            yield sim.timeout(1)
        self._stalled("drain", idle)

    def _real(
        self, one: Pass, slot: Slot, group: int, filters: int, column: int
    ) -> tuple[int, int, int] | None:
        """Return image, output channel and row if this column's sum belongs to the layer."""
        tile = one.visit.tile
        n, g = self._image(tile, slot.image), self._group(tile, group)
        m, y = self._filter(one, filters, slot.filter), self._output_row(tile, column)
        if n is None or g is None or m is None or y is None:
            return None
        return n, g * self.shape.group_out_channels + m, y

    def _columns_of_sets(self) -> Iterator[tuple[int, int, int]]:
        for group in range(self.g):
            for filters in range(self.t):
                for column in range(self.e):
                    yield group, filters, column

    def _clear(self, one: Pass, slot: Slot) -> None:
        for group, filters, column in self._columns_of_sets():
            if self._real(one, slot, group, filters, column) is None:
                continue
            for channels, row in self.chain:
                self.where[group, filters, channels, row, column].clear(slot.entry)
            slot.sums[group, filters, column] = 0

    def _multiply(self, one: Pass, slot: Slot, half: int) -> None:
        c, s = divmod(slot.products, self.shape.kernel_width)
        x = slot.column * self.shape.stride[1] + s * self.shape.dilation[1]
        for (group, filters, channels, row, column), pe in self.where.items():
            belongs = (
                (group, filters, column) in slot.sums
                and self._channel(one.visit, channels, c) is not None
                and self._kernel_row(one.visit, row) is not None
            )
            self.sim.activity.add(pe.name, "busy" if belongs else "edge")
            if belongs:
                weight = self._filter_address(half, slot.filter, c, s)
                pe.multiply_accumulate(c * self.span + x % self.span, weight, slot.entry)

    def _bring_sums(self, one: Pass, slot: Slot) -> None:
        for place in slot.sums:
            n, channel, y = self._real(one, slot, *place)  # type: ignore[misc] - sums are of real columns
            slot.sums[place] = self.glb.psum.read((n, channel, y, slot.column))
            self.noc.psum_in.count("send")
            self.noc.psum_in.count("receive")

    def _climb(self, one: Pass, slot: Slot, height: int) -> None:
        channels, row = self.chain[height]
        for (group, filters, column), total in slot.sums.items():
            pe = self.where[group, filters, channels, row, column]
            slot.sums[group, filters, column] = pe.pass_on(slot.entry, total)
            if height:
                self.noc.links.count("hop")

    def _leave(self, one: Pass, slot: Slot) -> None:
        for place, total in slot.sums.items():
            n, channel, y = self._real(one, slot, *place)  # type: ignore[misc] - sums are of real columns
            self.noc.psum_out.count("send")
            self.noc.psum_out.count("receive")
            self.glb.psum.write((n, channel, y, slot.column), total)

    # books

    def _books(self) -> None:
        activity, cycles = self.sim.activity, self.cycles
        mapped = {pe.name for pe in self.where.values()}
        for row in range(self.pes.rows):
            for column in range(self.pes.columns):
                name = f"{self.pes.name}[{row},{column}]"
                if name not in mapped:
                    activity.add(name, "unmapped", cycles)
        for unit in (self.noc.filter, self.noc.ifmap, self.noc.psum_in, self.noc.psum_out, self.dram):
            activity.add(unit.name, "idle", cycles - activity[unit.name, "busy"])

    def details(self) -> dict[str, Any]:
        waits = sum(
            n for cause, n in self.stalls.items() if cause.startswith("dram") or cause == "configuration"
        )
        return {
            "cycles": self.cycles,
            "stall_cycles": dict(self.stalls),
            "processing_cycles": self.cycles - waits,
            "macs_executed": self.sim.activity.total("busy", of=self.pes.name),
            "active_pes": len({pe.name for pe in self.where.values()}),
            "passes": self.passes_done,
            "block_buffers": self.buffers[0],
            "tile_buffers": self.buffers[1],
            "final_sums_that_do_not_fit": self.unfit,
        }


class Stream:
    """The input bus during one pass: words in the order of windows, each to all PEs that want it."""

    def __init__(self, run: LayerRun, one: Pass) -> None:
        self.run, self.one = run, one
        self.words = deque(run._block_keys())  # pyright: ignore[reportPrivateUsage]
        self.left_of_column: dict[tuple[int, int], int] = {}
        for image, _, _, _, _, x in self.words:
            self.left_of_column[image, x] = self.left_of_column.get((image, x), 0) + 1
        self.queues: dict[Any, deque[tuple[int, int, int, Any]]] = {k: deque() for k in run.where}
        self.complete_at: dict[tuple[int, int], int] = {}
        self.takers: dict[tuple[int, int, int], list[Any]] = {}
        stride, dilation = run.shape.stride[0], run.shape.dilation[0]
        for place in run.where:
            group, _, channels, kernel_row, column = place
            row = column * stride + kernel_row * dilation
            self.takers.setdefault((group, channels, row), []).append(place)
        self.flowing = False
        self.origin = 0  # the cycle from which on its times are told

    def flow(self) -> Generator[simpy.Event, Any, None]:
        self.flowing = True
        run = self.run
        bus, region = run.noc.ifmap, run.glb.ifmap
        while self.words:
            run.sim.activity.add(bus.name, "busy")
            for _ in range(min(bus.spec.words_per_cycle, len(self.words))):
                image, group, channels, c, row, x = key = self.words.popleft()
                value = region.read((self.one.visit, *key))
                bus.count("send")
                for place in self.takers[group, channels, row]:
                    bus.count("receive")
                    self.queues[place].append((image, c, x, value))
                self.left_of_column[image, x] -= 1
                if self.left_of_column[image, x] == 0:
                    self.complete_at[image, x] = run.sim.cycle + 1
            yield run.sim.timeout(1)

    def there_at(self, slot: Slot) -> int | None:
        """Return when, since the filters are there, the slot's window was complete; None if it is not."""
        end = slot.column * self.run.shape.stride[1] + self.run.span - 1
        done = self.complete_at.get((slot.image, end))
        return None if done is None else max(done - self.origin, 0)

    def take_window(self, slot: Slot) -> None:
        """Move what is new in the slot's window from the PEs' queues into their scratchpads."""
        run = self.run
        end = slot.column * run.shape.stride[1] + run.span - 1
        for place, queue in self.queues.items():
            while queue and queue[0][0] == slot.image and queue[0][2] <= end:
                _, c, x, value = queue.popleft()
                run.where[place].ifmap_spad.write(c * run.span + x % run.span, value)
