"""Weights on a line: what the coefficients of a fitted layer stand for.

Tolba et al., Deep neural networks based weight approximation and computation reuse (arXiv 2105.02954):
N_w consecutive weights are w[x] = c0 + x c1, or c0 + x c1 + x^2 c2, x = 0..N_w - 1. A filter's weights
count as (c, r, s), flattened. A group is a row of a kernel (N_w = S) or a whole kernel (N_w = R S); of a
1x1 layer, which a linear one is, any N_w consecutive weights, and the last group may be shorter: its x
ends sooner. N_w = 0 keeps the weights exact, each with a coefficient c0 of its own.

In fixed point every c is an integer of `bits` bits, with a fraction for each layer and term, because c1
and c2 are much smaller than c0. The weight they make is the exact integer at the largest of these
fractions, which is wider than the coefficients, and never rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from simhw.errors import SimhwError, did_you_mean
from simhw.shapes import NumberFormat

KINDS = ("exact", "linear", "quadratic")
WIDEST = 32  # bits of a fitted weight, at most
TENSORS = ("coefficients", "fit")  # of a fitted layer, in files: `<layer>.coefficients`, `<layer>.fit`

WeightShape = tuple[int, int, int, int]


@dataclass(frozen=True)
class LayerFit:
    """How the weights of a layer are fitted; `group` is N_w, 0 where they are exact."""

    kind: str = "exact"
    group: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.group}" if self.group else self.kind


def terms_of(kind: str) -> int:
    """Return how many coefficients a group has: 1 exact, 2 linear, 3 quadratic."""
    return KINDS.index(kind) + 1


def powers(size: int, terms: int) -> np.ndarray:
    """Return x**t as int64 [size, terms], x = 0..size - 1."""
    return np.arange(size, dtype=np.int64)[:, None] ** np.arange(terms)


def grouping_fault(shape: WeightShape, kind: str, group: int) -> str | None:
    """Return why groups of `group` weights cannot be fitted so, of weights [M, C, R, S]; None if they can."""
    if kind not in KINDS:
        return f"unknown kind of fit {kind!r}{did_you_mean(kind, KINDS)}"
    _, channels, height, width = shape
    if kind == "exact":
        return None if group == 0 else f"N_w: is {group}; exact weights want 0"
    if isinstance(group, bool) or not isinstance(group, int):
        return f"N_w: is {group!r}; wants a whole number"
    if group < 1:
        return f"N_w: is {group}; a {kind} fit wants at least {terms_of(kind)}"
    if group < terms_of(kind):
        return f"N_w: is {group}; a {kind} fit wants at least {terms_of(kind)} weights a group"
    if (height, width) == (1, 1):
        if group > channels:
            return f"N_w: is {group}, more than the {channels} weights of a row; wants at most {channels}"
        return None
    if group not in (width, height * width):
        return (
            f"N_w: is {group}; a {height}x{width} kernel wants {width}, a row, "
            f"or {height * width}, the whole kernel"
        )
    return None


def group_sizes(shape: WeightShape, group: int) -> np.ndarray:
    """Return the weights of each group of a filter, int64 [groups]; the last may have fewer."""
    weights, size = shape[1] * shape[2] * shape[3], group or 1
    sizes = np.full(-(-weights // size), size, dtype=np.int64)
    sizes[-1] += weights - sizes.sum()
    return sizes


def count_parameters(
    shape: WeightShape, kind: str, group: int, *, whole_groups: bool = True
) -> int | Fraction:
    """Return the coefficients of a layer: M ceil(K / N_w) of each term, K weights a filter.

    Without `whole_groups` nothing is rounded up, M K / N_w of each term, as a fraction. The paper counts
    now one way and now the other (784 inputs by 24: 4.18 k printed as 4.1 k, and not 33 groups' 4.22 k;
    by 32: 25 groups' 4.8 k, and not 4.7 k).
    """
    filters, weights = shape[0], shape[1] * shape[2] * shape[3]
    size = group or 1
    groups = -(-weights // size) if whole_groups else Fraction(weights, size)
    return filters * groups * terms_of(kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """The fitted weights [M, C / groups, R, S] of a layer, as the coefficients they are stored as.

    `coefficients[m, g, t]` is term t of the g-th group of filter m, an integer with `fractions[t]` binary
    places. `group` is N_w, 0 where the weights are exact.
    """

    kind: str
    group: int
    coefficients: np.ndarray  # int8 or int16 [M, groups, terms]
    fractions: tuple[int, ...]  # of each term
    bits: int  # of a coefficient
    shape: WeightShape

    @property
    def groups(self) -> int:
        """Groups of a filter, the last one counted though it may be shorter."""
        return self.coefficients.shape[1]

    @property
    def terms(self) -> int:
        return self.coefficients.shape[2]

    @property
    def fraction(self) -> int:
        """Binary places of the fitted weights: the most that a term has."""
        return max(self.fractions)

    @property
    def sizes(self) -> np.ndarray:
        """Weights of each group: int64 [groups]."""
        return group_sizes(self.shape, self.group)

    @property
    def parameters(self) -> int:
        """Coefficients stored."""
        return self.coefficients.size

    @property
    def memory_bits(self) -> int:
        return self.parameters * self.bits

    def weights(self) -> np.ndarray:
        """Return the fitted weights, exact int32 [M, C / groups, R, S] with `fraction` binary places."""
        shifts = self.fraction - np.array(self.fractions, dtype=np.int64)
        scaled = self.coefficients.astype(np.int64) << shifts
        rows = scaled @ powers(self.group or 1, self.terms).T  # [M, groups, N_w]
        whole = rows.reshape(len(rows), -1)[:, : self.shape[1] * self.shape[2] * self.shape[3]]
        return whole.astype(np.int32).reshape(self.shape)

    def real_weights(self) -> np.ndarray:
        """Return the fitted weights as the real numbers they stand for, exact in float64."""
        return np.ldexp(self.weights().astype(np.float64), -self.fraction)

    @property
    def format(self) -> NumberFormat:
        """The format of the fitted weights: the narrowest of 8, 16 and 32 bits that holds them all."""
        weights = self.weights()
        low, high = int(weights.min()), int(weights.max())
        bits = next(bits for bits in (8, 16, 32) if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1))
        return NumberFormat(bits=bits, fraction=self.fraction)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the plain arrays of TENSORS; `fit` is int32: N_w, bits, then each term's fraction."""
        record = np.array([self.group, self.bits, *self.fractions], dtype=np.int32)
        return {"coefficients": self.coefficients, "fit": record}

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        shape: WeightShape,
        *,
        where: str,
        error: type[SimhwError] = SimhwError,
    ) -> Fitted:
        """Return what `to_arrays` gave of a layer of weights of this shape; every fault of it in one raise.

        `where` begins each line.
        """
        coefficients, record = (arrays[name] for name in TENSORS)
        faults = record_faults(coefficients, record, shape)
        if faults:
            raise error([f"{where}.{fault}" for fault in faults])
        group, bits, *fractions = record.tolist()
        return cls(
            kind=KINDS[coefficients.shape[2] - 1],
            group=group,
            coefficients=coefficients,
            fractions=tuple(fractions),
            bits=bits,
            shape=shape,
        )


def widest_weight(largest: tuple[int, ...], fractions: tuple[int, ...], group: int) -> int:
    """Return a bound of |w| over coefficients of these largest magnitudes, as an integer weight."""
    place = max(fractions)
    reach = max(group, 1) - 1
    return sum(
        (size << (place - fraction)) * reach**t
        for t, (size, fraction) in enumerate(zip(largest, fractions, strict=True))
    )


def record_faults(coefficients: np.ndarray, record: np.ndarray, shape: WeightShape) -> list[str]:
    if coefficients.ndim != 3 or coefficients.dtype.kind != "i" or not 1 <= coefficients.shape[2] <= 3:
        return [
            f"coefficients: holds {coefficients.dtype} of shape {list(coefficients.shape)}; wants whole "
            "numbers [filters, groups, terms] of 1 to 3 terms"
        ]
    terms = coefficients.shape[2]
    if record.dtype.kind != "i" or record.shape != (2 + terms,):
        return [
            f"fit: holds {record.dtype} of shape {list(record.shape)}; wants {2 + terms} whole numbers: "
            f"N_w, bits and {terms} fractions"
        ]
    group, bits, *fractions = record.tolist()
    kind = KINDS[terms - 1]
    fault = grouping_fault(shape, kind, group)
    if fault is not None:
        return [f"fit: {fault}"]
    if not 2 <= bits <= 16:
        return [f"fit: bits: is {bits}; wants 2 to 16"]
    if not all(abs(fraction) <= 128 for fraction in fractions):
        return [f"fit: fractions: are {fractions}; want -128 to 128"]
    per_filter = shape[1] * shape[2] * shape[3]
    wanted = (shape[0], -(-per_filter // (group or 1)), terms)
    if coefficients.shape != wanted:
        return [f"coefficients: has shape {list(coefficients.shape)}; wants {list(wanted)}"]
    flat = coefficients.reshape(-1, terms).astype(np.int64)
    low, high = flat.min(axis=0), flat.max(axis=0)
    if low.min() < -(1 << (bits - 1)) or high.max() >= 1 << (bits - 1):
        return [f"coefficients: reach from {low.min()} to {high.max()}; {bits} bits hold fewer"]
    largest = tuple(int(size) for size in np.maximum(-low, high))
    if widest_weight(largest, tuple(fractions), group) >= 1 << (WIDEST - 1):
        return [f"coefficients: may make weights beyond {WIDEST} bits; want smaller fractions"]
    return []
