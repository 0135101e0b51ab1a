"""The block whose sums many processing elements share: d0 = sum of y, d1 = sum of x y, by shift and add."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from simhw import core
from simhw.components.register_file import RegisterFile
from simhw.errors import DescriptionError

Network = Literal["merged", "separate", "running_sums"]


@dataclass(frozen=True)
class Term:
    """A signal times 2**shift, negated where `minus`; shifting and negating are wires into an adder."""

    signal: int
    shift: int = 0
    minus: bool = False


@dataclass(frozen=True)
class AdderNetwork:
    """Adders in an order in which they can be worked out.

    Signals 0..inputs-1 are the inputs y; adder k makes signal inputs + k of its two terms. `outputs[t]`
    is the sum of x**t y_x, or None where it is always zero. Its adders are counted from this list, and
    values are worked out by it.
    """

    inputs: int
    adders: tuple[tuple[Term, Term], ...]
    outputs: tuple[Term | None, ...]

    def compute(self, values: Sequence[int]) -> tuple[list[int], int]:
        """Return the outputs, one adder after another, and how many adders had two terms to add.

        Of fewer values than there are inputs, the last inputs have none. An adder that nothing reaches has
        nothing to say; of one term it is a wire.
        """
        signals: list[int | None] = [*values, *[None] * (self.inputs - len(values))]
        added = 0
        for pair in self.adders:
            terms = [value for term in pair if (value := _of(signals, term)) is not None]
            added += len(terms) == 2
            signals.append(sum(terms) if terms else None)
        outputs = [None if out is None else _of(signals, out) for out in self.outputs]
        return [value or 0 for value in outputs], added

    def working(self, values: int) -> int:
        """Return how many adders have both terms alive when only the first `values` inputs are.

        It follows from the list of adders alone; `compute` counts the same as it works values out.
        """
        alive = [x < values for x in range(self.inputs)]
        both = 0
        for left, right in self.adders:
            both += alive[left.signal] and alive[right.signal]
            alive.append(alive[left.signal] or alive[right.signal])
        return both

    @property
    def depth(self) -> int:
        """Adders on the longest way from an input to an output."""
        level = [0] * self.inputs
        for left, right in self.adders:
            level.append(1 + max(level[left.signal], level[right.signal]))
        return max(level)


def _of(signals: Sequence[int | None], term: Term) -> int | None:
    value = signals[term.signal]
    if value is None:
        return None
    return -value << term.shift if term.minus else value << term.shift


class _Builder:
    """Adders as they are put together."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.adders: list[tuple[Term, Term]] = []
        self._level = [0] * inputs

    def add(self, left: Term, right: Term) -> Term:
        if left.minus:  # what is subtracted comes second
            left, right = right, left
        self.adders.append((left, right))
        self._level.append(1 + max(self._level[left.signal], self._level[right.signal]))
        return Term(self.inputs + len(self.adders) - 1)

    def total(self, terms: Sequence[Term]) -> Term | None:
        """Return the sum of terms, those first that are there first: the flattest tree."""
        waiting = list(terms)
        while len(waiting) > 1:
            waiting.sort(key=lambda term: self._level[term.signal])
            waiting = [*waiting[2:], self.add(waiting[0], waiting[1])]
        return waiting[0] if waiting else None

    def done(self, outputs: Sequence[Term | None]) -> AdderNetwork:
        return AdderNetwork(self.inputs, tuple(self.adders), tuple(outputs))


@functools.cache
def adder_network(
    inputs: int, terms: int = 2, network: Network = "merged", shares_a_sum: bool = False
) -> AdderNetwork:
    """Build the adders that turn y_0..y_{n-1} into the sums of x**t y_x, t = 0..terms-1.

    merged: an input whose multiple is no power of two joins those of its highest power of two and those
    of the rest, so that each such multiple costs one adder more than a shift. separate: every multiple is
    made by itself, of the fewest powers of two, added or subtracted. running_sums: no multiples at all;
    d0 is the sum of all from the last input on, and d1 the sum of those sums. `shares_a_sum` lets d0 take
    the first sum of two inputs that d1 makes.
    """
    build = _Builder(inputs)
    if network == "running_sums":
        outputs = _running_sums(build, min(terms, 2))
        weighted = range(2, terms)
    else:
        outputs, weighted = [], range(1, terms)
    make = _separate if network == "separate" else _merged
    higher = [make(build, [x**t for x in range(inputs)]) for t in weighted]
    if network != "running_sums":
        outputs = [build.total(_all_inputs(build, shares_a_sum))]
    return build.done([*outputs, *higher])


def _all_inputs(build: _Builder, shares_a_sum: bool) -> list[Term]:
    """Return terms whose sum is that of all inputs; one of them may be a sum that is there already."""
    pair: set[int] = set()
    shared: list[Term] = []
    if shares_a_sum:
        for k, (left, right) in enumerate(build.adders):
            plain = not (left.shift or right.shift or left.minus or right.minus)
            if plain and max(left.signal, right.signal) < build.inputs:
                pair, shared = {left.signal, right.signal}, [Term(build.inputs + k)]
                break
    return shared + [Term(x) for x in range(build.inputs) if x not in pair]


def _merged(build: _Builder, multiples: Sequence[int]) -> Term | None:
    """Return the sum of multiples of inputs; from the largest down, each splits into power and rest."""
    joined: dict[int, list[Term]] = {}
    for x, times in enumerate(multiples):
        if times:
            joined.setdefault(times, []).append(Term(x))
    powers: list[Term] = []
    while joined:
        times = max(joined)
        total = build.total(joined.pop(times))
        assert total is not None
        power = 1 << (times.bit_length() - 1)
        if times == power:
            powers.append(Term(total.signal, times.bit_length() - 1))
            continue
        for part in (power, times - power):
            joined.setdefault(part, []).append(total)
    return build.total(powers)


def _separate(build: _Builder, multiples: Sequence[int]) -> Term | None:
    """Return the sum of multiples of inputs, each made by itself of signed powers of two."""
    made: list[Term] = []
    for x, times in enumerate(multiples):
        digits = [Term(x, shift, minus) for shift, minus in signed_digits(times)]
        total = build.total(digits)
        if total is not None:
            made.append(total)
    return build.total(made)


def signed_digits(number: int) -> list[tuple[int, bool]]:
    """Return (shift, minus) of the fewest powers of two that make a number: no two lie side by side."""
    digits: list[tuple[int, bool]] = []
    shift = 0
    while number:
        if number & 1:
            minus = number & 3 == 3
            digits.append((shift, minus))
            number += 1 if minus else -1
        number >>= 1
        shift += 1
    return digits[::-1]


def _running_sums(build: _Builder, terms: int) -> list[Term | None]:
    """Return d0 and, if asked, d1: sums of all inputs from x on, and the sum of those from x = 1 on."""
    from_x = Term(build.inputs - 1)
    weighted: Term | None = None
    for x in range(build.inputs - 1, 0, -1):
        if terms > 1:
            weighted = from_x if weighted is None else build.add(weighted, from_x)
        from_x = build.add(from_x, Term(x - 1))
    return [from_x, weighted][:terms]


class ReuseBlock(core.Component, kind="reuse_block"):
    """Makes of a window of one input row the sums that many PEs share (Tolba et al., arXiv 2105.02954).

    It holds the window in registers, and makes a new set of sums each cycle, some cycles after the window
    came. Of fewer values than it has inputs, only those adders work that two of them reach.
    """

    ACTIONS = ("add",)

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        inputs: core.Count = 5
        terms: core.Count = 2
        network: Network = "merged"
        shares_a_sum: core.Flag = False
        levels_per_cycle: core.Count = 4  # adders that a signal passes in one cycle
        word_bits: core.Count = 16

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.shares_a_sum and self.network == "running_sums":
                raise DescriptionError("shares_a_sum: running_sums share all their sums; wants false")

        @property
        def adders(self) -> AdderNetwork:
            """The adders it is built of."""
            return adder_network(self.inputs, self.terms, self.network, self.shares_a_sum)

        @property
        def latency_cycles(self) -> int:
            """Cycles from a whole window to its sums."""
            return max(1, -(-self.adders.depth // self.levels_per_cycle))

    def __init__(self, sim: core.Simulation, name: str, spec: Spec) -> None:
        super().__init__(sim, name, spec)
        inner: Any = self.parts(spec)
        self.window = RegisterFile(sim, f"{name}.window", inner["window"][1])

    def compute(self, values: Sequence[Any]) -> list[Any]:
        """Return the sums of x**t values[x] for each term t; adders are charged as they add."""
        if len(values) > self.spec.inputs:
            raise ValueError(f"{self.name}: has {self.spec.inputs} inputs, got {len(values)} values")
        network: AdderNetwork = self.spec.adders
        sums, added = network.compute(values)
        self.count("add", added)
        return sums

    @classmethod
    def parts(cls, spec: Spec) -> Mapping[str, tuple[type[core.Component], core.Spec]]:
        return {"window": (RegisterFile, RegisterFile.Spec(words=spec.inputs, word_bits=spec.word_bits))}

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return super().structure(spec) | {"adders": len(spec.adders.adders)}
