"""The (th, n) that are tried for each filter, and the operations that each takes.

A candidate (th, n) comes of a number of groups n and a share q: th is the largest threshold by which at most
the share q of the filter's positive windows are lost, those whose sum is below th after n products although
it ends above zero. It is cut, downwards, to a few digits, so that what is tried is what a file holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Context, Decimal

import numpy as np

from simhw.transforms import speculation
from simhw.transforms.sign_order import Ordering
from simhw.tuning.network import NetworkLayer

DIGITS = 4  # of a threshold
KEEP = ("all", "fewest")
_EVERY, _NONE = 1 << 61, -(1 << 61)  # thresholds below which every sum is, and none

Array = np.ndarray


@dataclass(frozen=True)
class Param:
    """(th, n) of a filter, and the operations of its windows."""

    threshold: float
    groups: int
    op: int

    @property
    def is_exact(self) -> bool:
        return (self.threshold, self.groups) == speculation.EXACT


class PartialSums:
    """What the sums of a layer's windows are after the first n products, for some n.

    Behind the n products lie those of exact mode, so one pass gives the operations for every threshold.
    """

    def __init__(self, layer: NetworkLayer, inputs: Array) -> None:
        self.layer, self.inputs = layer, inputs
        self.complete = layer.accumulate(inputs)
        self._after: dict[int, Array] = {}

    def after(self, groups: int) -> Array:
        """Return the sums int64 [N, M, E, F] after the n products that speculate."""
        if groups not in self._after:
            self._after[groups] = self._stopped(groups, _EVERY)[0]
        return self._after[groups]

    def macs(self, groups: int) -> Array:
        """Return the products int32 [N, M, E, F] of windows that are not predicted."""
        return self._stopped(groups, _NONE)[1]

    def exact_macs(self) -> Array:
        """Return the products of exact mode."""
        return self.layer.stop(self.inputs, self.layer.exact, self.complete)[1]

    def predicted(self, filter: int, threshold: float, groups: int) -> Array:
        """Return which windows of a filter (th, n) takes to end below zero: bool [N, E, F]."""
        return self.after(groups)[:, filter] < whole(threshold, self.layer)

    def _stopped(self, groups: int, threshold: int) -> tuple[Array, Array, Array]:
        ordering = _ordered(self.layer, groups)
        thresholds = np.full_like(ordering.thresholds, threshold)
        return self.layer.stop(self.inputs, replace(ordering, thresholds=thresholds), self.complete)


def candidates(
    sums: PartialSums, groups: Sequence[int], quantiles: Sequence[float], keep: str
) -> list[list[Param | None]]:
    """Return by filter a list of candidates, one place for each pair of n and q, then its exact mode.

    With `keep` "fewest", there is one place for each q: that of the n which takes the fewest operations,
    and of equals the smallest. An n larger than the filter leaves its places empty, as do a candidate that
    saves nothing against exact mode and one that another place has already.
    """
    layer = sums.layer
    fitting = [n for n in groups if n <= layer.shape.window]
    filters = layer.shape.out_channels
    positive = sums.complete > 0
    table: list[list[list[Param]]] = [[] for _ in range(filters)]
    for n in fitting:
        after, macs = sums.after(n), sums.macs(n)
        for k in range(filters):
            own, lost = after[:, k].reshape(-1), after[:, k][positive[:, k]]
            costs = macs[:, k].reshape(-1)
            table[k].append([_param(layer, own, lost, costs, n, q) for q in quantiles])
    exact = sums.exact_macs().sum(axis=(0, 2, 3), dtype=np.int64)
    found: list[list[Param | None]] = []
    for k in range(filters):
        rows = table[k]
        if keep == "fewest":
            places = [min((row[i] for row in rows), key=lambda p: p.op) for i in range(len(quantiles))]
        else:
            places = [param for row in rows for param in row]
        tried: list[Param | None] = []
        for param in places if rows else ():
            saves = param.op < exact[k] and param not in tried
            tried.append(param if saves else None)
        found.append([*tried, Param(*speculation.EXACT, int(exact[k]))])
    return found


def whole(threshold: float, layer: NetworkLayer) -> int:
    """Return a threshold in the layer's accumulator format, rounded up as the transform does."""
    return math.ceil(math.ldexp(threshold, layer.formats["bias"].fraction))


def _ordered(layer: NetworkLayer, groups: int) -> Ordering:
    filters = layer.shape.out_channels
    return speculation.apply(layer.weights, np.full(filters, 1), np.full(filters, groups), where=layer.name)


def _param(layer: NetworkLayer, after: Array, lost: Array, costs: Array, n: int, q: float) -> Param:
    """Return the candidate of n and q; `lost` are the partial sums of the positive windows."""
    fraction = layer.formats["bias"].fraction
    if lost.size:
        most = math.floor(q * lost.size)
        limit = int(np.partition(lost, most)[most])
    else:
        limit = int(after.max()) + 1  # every window that was seen stops
    threshold = cut_down(limit, fraction)
    if (threshold, n) == speculation.EXACT:  # which has a meaning of its own
        threshold = -math.ldexp(1.0, -fraction)
    stops = after < whole(threshold, layer)
    op = int(np.count_nonzero(stops)) * n + int(costs[~stops].sum(dtype=np.int64))
    return Param(threshold, n, op)


def cut_down(limit: int, fraction: int) -> float:
    """Return limit / 2**fraction cut to a few digits, downwards."""
    exact = Decimal(limit) / (Decimal(2) ** fraction)
    return float(Context(prec=DIGITS, rounding=ROUND_FLOOR).create_decimal(exact))
