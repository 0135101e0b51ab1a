"""The pipeline of the reuse array's twin: shared sums come to PEs, products meet, sums climb to the head."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Key = tuple[int, int, int, int]  # image, filter, row and column of an output
PE = tuple[int, int]  # row and column


@dataclass
class Sum:
    """One output's sum on its way up a column; `visit` counts the times it has been, 1 is the first."""

    key: Key
    visit: int
    value: Any = None


@dataclass
class Step:
    """What sets out in one cycle: the values that each PE at work takes, and the sum that it works for."""

    cycle: int
    values: Mapping[PE, Sequence[Any]]
    sums: Mapping[PE, Sum]
    address: int  # of the coefficients that PEs multiply by

    @property
    def keys(self) -> set[Key]:
        return {one.key for one in self.sums.values()}


class Line:
    """Registers in a row: what is shifted in comes out so many shifts later, at once where there are none."""

    def __init__(self, places: int) -> None:
        self.held: deque[Any] = deque([None] * places)

    def shift(self, new: Any) -> Any:
        self.held.append(new)
        return self.held.popleft()


@dataclass
class Tile:
    """Sums that leave together, once none is on its way and no step will send another."""

    settled: Any  # the event
    under_way: int = 0


@dataclass
class Columns:
    """Columns of PEs in stacks of `high`, with an adder and a register above each PE.

    The adder above a PE adds the product of the next PE up to what has climbed so far; that above the
    highest PE of a stack is its head: it adds what the buffer holds of the sum, and the buffer holds the
    new sum in the next cycle. So the loop through the buffer is one adder, however high the column is. All
    columns keep the height that the layer was given; where fewer PEs have work, sums climb on as they are.
    """

    pes: Any
    psums: Any
    glb: Any
    noc: Any
    bias: Sequence[int]
    shifts: Sequence[int]
    high: int
    block_cycles: int
    entering: deque[tuple[Step, Tile]] = field(default_factory=deque)
    at_head: deque[tuple[PE, Sum, Tile]] = field(default_factory=deque)
    landing: list[tuple[int, PE, int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.blocks = Line(self.block_cycles)
        places = [(row, column) for row in range(self.pes.rows) for column in range(self.pes.columns)]
        # the lowest two of a stack start together; above them each starts a cycle after the one below
        self.late = {place: max(0, place[0] % self.high - 1) for place in places}
        self.diagonals = {place: Line(late) for place, late in self.late.items()}
        self.products = {place: Line(self.pes.spec.latency_cycles) for place in places}
        self.climbed: dict[PE, tuple[Sum, Tile]] = {}  # the registers above PEs
        self.held: dict[Key, tuple[int, int]] = {}  # by sum: visits so far, cycle of the last
        self.settling: list[Tile] = []  # tiles of which no more sums will set out
        self.multiplications = 0

    @property
    def is_empty(self) -> bool:
        return not self.settling

    def enter(self, step: Step, tile: Tile) -> None:
        """Let a step set out; it is in the blocks from the next cycle on."""
        self.entering.append((step, tile))
        tile.under_way += len(step.keys)

    def send_coefficient(self, cycle: int, place: PE, address: int, word: Any) -> None:
        """Let a word set out from the bus: it takes as many cycles to a PE as the sums that it will meet."""
        self.landing.append((cycle + self.block_cycles + self.late[place], place, address, word))

    def close(self, tile: Tile) -> None:
        """Say that no more sums of a tile will set out."""
        self.settling.append(tile)

    def work(self, cycle: int) -> None:
        """Do one cycle. Every adder takes what registers held at its start."""
        self._settle()
        products = self._multiply(self._come_to_pes(cycle))
        self._climb(products)
        self._join(cycle)
        self._land(cycle)

    def _settle(self) -> None:
        """Tell of tiles whose sums are all in the buffer since the cycle before."""
        for tile in [tile for tile in self.settling if not tile.under_way]:
            self.settling.remove(tile)
            tile.settled.succeed()

    def _come_to_pes(self, cycle: int) -> dict[PE, tuple[Step, Tile]]:
        """Move steps through the blocks and up the diagonals; return what each PE takes now."""
        into = self.entering.popleft() if self.entering and self.entering[0][0].cycle < cycle else None
        made = self.blocks.shift(into)
        came: dict[PE, tuple[Step, Tile]] = {}
        for place, line in self.diagonals.items():
            one = line.shift(made if made is not None and place in made[0].sums else None)
            if one is not None:
                came[place] = one
        return came

    def _multiply(self, came: dict[PE, tuple[Step, Tile]]) -> dict[PE, tuple[Sum, Tile]]:
        """Multiply in PEs that have values; return the products that come out of any."""
        out: dict[PE, tuple[Sum, Tile]] = {}
        for place, line in self.products.items():
            new = None
            if place in came:
                step, tile = came[place]
                one, values = step.sums[place], step.values[place]
                product = self.pes[place].multiply(step.address, values, self.shifts)
                self.multiplications += len(values)
                new = Sum(one.key, one.visit, product), tile
            done = line.shift(new)
            if done is not None:
                out[place] = done
        return out

    def _climb(self, products: dict[PE, tuple[Sum, Tile]]) -> None:
        """Move every sum up by an adder; those that come to a head wait there for their turn."""
        before, self.climbed = self.climbed, {}
        come: list[tuple[PE, Sum, Tile]] = []
        for row in range(self.pes.rows):
            height = row % self.high
            for column in range(self.pes.columns):
                came = before.get((row - 1, column)) if height else products.pop((row, column), None)
                if came is None:
                    continue
                one, tile = came
                if height:
                    self.noc.links.count("hop")
                if height == self.high - 1:
                    come.append(((row, column), one, tile))
                    continue
                met, _ = products.pop((row + 1, column), (None, tile))
                if met is not None:
                    assert (met.key, met.visit) == (one.key, one.visit), "a product meets another's sum"
                    one = Sum(one.key, one.visit, self.psums[row, column].add(one.value, met.value))
                self.climbed[row, column] = one, tile
        assert not products, "a product meets no sum"
        assert not (come and self.at_head), "sums come to heads that are not free"
        self.at_head.extend(come)

    def _join(self, cycle: int) -> None:
        """Join sums at heads with what the buffer holds of them, as many as the wires take in a cycle."""
        for _ in range(min(len(self.at_head), self.noc.spec.sum_words_per_cycle)):
            place, one, tile = self.at_head.popleft()
            visits, since = self.held.get(one.key, (0, -1))
            is_written = visits == one.visit - 1 and since < cycle
            assert is_written, "a sum is read that is not yet written"
            if visits:
                total = self.glb.psum.read(one.key)
                self._cross()
            else:
                total = self.bias[one.key[1]]
            self.glb.psum.write(one.key, self.psums[place].add(total, one.value))
            self._cross()
            self.held[one.key] = one.visit, cycle
            tile.under_way -= 1

    def _cross(self) -> None:
        """A sum goes between buffer and head."""
        self.noc.sums.count("send")
        self.noc.sums.count("receive")

    def _land(self, cycle: int) -> None:
        """Write the coefficients that have come to their PEs, after those that were there have been read."""
        landed = [one for one in self.landing if one[0] <= cycle]
        self.landing = [one for one in self.landing if one[0] > cycle]
        for _, place, address, word in landed:
            self.pes[place].coefficients.write(address, word)
