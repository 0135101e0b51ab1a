"""Weights in the order that lets a sum stop early: those that raise it first (SnaPEA, exact mode).

Behind a ReLU inputs are never negative, so a sum whose negative weights come last can only fall from
there on: once it is below zero the output is zero (Akhlaghi et al., SnaPEA, ISCA 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simhw import core
from simhw.errors import TransformError, did_you_mean
from simhw.fast import sign_partition

NEGATIVES = ("original", "magnitude")  # orders within the negative weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Ordering:
    """The filters of a layer with their weights in the order in which they are executed.

    A filter's K weights count as (c, r, s), flattened: `weights[m, j]` is weight `order[m, j]` of filter
    m. From `negatives_from[m]` on all weights are negative, and a sum is looked at after each. The first
    `prefix[m]` weights speculate: a sum below `thresholds[m]` (in accumulator format) after them is taken
    to end below zero. A prefix of 0 is exact mode.
    """

    weights: np.ndarray  # [M, K], of the type they came in
    order: np.ndarray  # int32 [M, K]
    prefix: np.ndarray  # int32 [M]
    thresholds: np.ndarray  # int64 [M]
    negatives_from: np.ndarray  # int32 [M]
    shape: tuple[int, int, int, int]  # (M, C / groups, R, S), as the weights came
    negatives: str = "original"  # the order within the negative weights
    at_or_below: np.ndarray | None = None  # thresholds for sums that stop at theirs, too, if others

    def thresholds_of(self, *, inclusive: bool) -> np.ndarray:
        """Return the thresholds of sums that stop below theirs, or `inclusive`, at or below."""
        return self.at_or_below if inclusive and self.at_or_below is not None else self.thresholds

    @property
    def index_bits(self) -> int:
        """Bits of the index beside each weight: enough to tell a filter's weights apart, and at least one."""
        return max(self.order.shape[1] - 1, 1).bit_length()

    @property
    def storage_bits(self) -> int:
        """Bits that all indices of the layer take: what reordering costs in storage."""
        return self.order.size * self.index_bits

    def undo(self) -> np.ndarray:
        """Return the weights [M, C / groups, R, S] as they were."""
        original = np.empty_like(self.weights)
        np.put_along_axis(original, self.order.astype(np.int64), self.weights, axis=1)
        return original.reshape(self.shape)


def apply(weights: np.ndarray, negatives: str = "original", *, where: str = "sign_order") -> Ordering:
    """Order each filter of weights [M, C / groups, R, S]: those >= 0 first, then the negative ones.

    The first keep their order; so do the negative ones, or with `negatives` "magnitude" the largest come
    first, those of one size in their order. `where` begins the message of an error.
    """
    check_negatives(negatives, where)
    flat = flatten(weights)
    ordered, order, firsts = sign_partition(flat)
    if negatives == "magnitude":
        order = sign_ranks(flat, negatives).argsort(axis=1, kind="stable").astype(np.int32)
        ordered = np.take_along_axis(flat, order, axis=1)
    filters = len(flat)
    return Ordering(
        weights=ordered,
        order=order,
        prefix=np.zeros(filters, np.int32),
        thresholds=np.zeros(filters, np.int64),
        negatives_from=firsts,
        shape=tuple(weights.shape),
        negatives=negatives,
    )


class SignOrder(core.Transform, kind="sign_order"):
    """Weights that raise a sum first, those that lower it after them, for machines whose sums stop early."""

    @dataclass(frozen=True, kw_only=True)
    class Options(core.Spec):
        negatives: Literal["original", "magnitude"] = "original"  # their order

    def side(self, layer: Any, parameters: Any) -> Ordering:
        return apply(np.asarray(layer.weights), self.options.negatives, where=layer.name)

    def storage_bits(self, side: Ordering) -> int:
        return side.storage_bits


def sign_ranks(flat: np.ndarray, negatives: str) -> np.ndarray:
    """Return numbers [M, K] by which a stable sort puts the weights of each filter in order."""
    if negatives == "original":
        return flat < 0
    if flat.dtype.kind == "f":
        return np.where(flat < 0, flat, -np.inf)
    return np.where(flat < 0, flat.astype(np.int64), np.iinfo(np.int64).min)


def flatten(weights: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(weights).reshape(len(weights), -1)


def check_negatives(negatives: str, where: str) -> None:
    if negatives not in NEGATIVES:
        raise TransformError(
            f"{where}: negatives: unknown order {negatives!r}{did_you_mean(negatives, NEGATIVES)}"
        )
