"""Weights in the order that lets a sum be predicted: a few that stand for all, then those of sign_order.

SnaPEA's predictive mode (Akhlaghi et al., ISCA 2018): a filter's weights are sorted ascending and cut into
N groups, and the largest magnitude of each group is executed first. A sum below the filter's threshold Th
after these N products is taken to end below zero. (Th, N) = (0, 1) marks a filter left in exact mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from simhw import core
from simhw.errors import TransformError
from simhw.transforms.sign_order import Ordering, check_negatives, flatten, sign_ranks

EXACT = (0, 1)  # (Th, N) of a filter without speculation


def apply(
    weights: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    groups: Sequence[int] | np.ndarray,
    negatives: str = "original",
    *,
    fraction: int = 0,
    where: str = "speculation",
) -> Ordering:
    """Order each filter of weights [M, C / groups, R, S] for its own (Th, N).

    Behind the N weights that speculate, in the order of their groups, come the other weights >= 0 in
    their order, then the other negative ones in the order that `negatives` asks for (see `sign_order`).
    A threshold is multiplied by 2**`fraction`, the accumulator's, and rounded up: a whole sum is below
    the one if and only if it is below the other; for "at or below" it is rounded down. `where` begins
    the message of an error.
    """
    check_negatives(negatives, where)
    flat = flatten(weights)
    filters, size = flat.shape
    limits, counts = _checked(thresholds, groups, filters, size, fraction, where)
    floors = _scaled(np.asarray(thresholds), fraction, np.floor)
    prefix = np.where((limits == EXACT[0]) & (counts == EXACT[1]), 0, counts).astype(np.int32)
    ranks = sign_ranks(flat, negatives)
    order = np.empty((filters, size), dtype=np.int32)
    for m in range(filters):
        first = speculation_set(flat[m], int(prefix[m]))
        rest = np.delete(np.arange(size), first)
        order[m] = np.concatenate([first, rest[ranks[m, rest].argsort(kind="stable")]])
    ordered = np.take_along_axis(flat, order.astype(np.int64), axis=1)
    last = np.arange(size) >= prefix[:, None]
    return Ordering(
        weights=ordered,
        order=order,
        prefix=prefix,
        thresholds=np.where(prefix > 0, limits, 0),
        at_or_below=np.where(prefix > 0, floors, 0),
        negatives_from=size - (last & (ordered < 0)).sum(axis=1, dtype=np.int32),
        shape=tuple(weights.shape),
        negatives=negatives,
    )


def ordering_of(parameters: Any, layer: Any, negatives: str = "original") -> Ordering | None:
    """Return a layer's weights in the order of its (Th, N); None where no filter of it predicts.

    `parameters` are of the kind `speculation`, or None.
    """
    if parameters is None:
        return None
    own = parameters.layers.get(layer.name)
    if own is None or not own.predictive:
        return None
    return apply(
        np.asarray(layer.weights),
        own.thresholds,
        own.groups,
        negatives,
        fraction=layer.formats["bias"].fraction,
        where=f"{parameters.where}: layers.{layer.name}",
    )


def orderings(parameters: Any, network: Any) -> dict[str, Ordering]:
    """Return the order of the weights of each layer that predicts, by the layer's name."""
    found = {layer.name: ordering_of(parameters, layer) for layer in network.layers}
    return {name: ordering for name, ordering in found.items() if ordering is not None}


class Speculation(core.Transform, kind="speculation"):
    """A few weights that stand for all first, in layers for which parameters say by what filters predict."""

    WANTS = ("sign_order",)
    PARAMETERS = "speculation"

    def side(self, layer: Any, parameters: Any) -> Ordering | None:
        return ordering_of(parameters, layer, self.others["sign_order"].options.negatives)

    def exact(self, parameters: Any) -> bool:
        return parameters is None

    def storage_bits(self, side: Ordering) -> int:
        return side.storage_bits


def speculation_set(weights: np.ndarray, groups: int) -> np.ndarray:
    """Return which of a filter's weights [K] stand for all: int64 [groups], in the order of their groups.

    Of weights of one value the first comes first. Groups are as equal as they can be: where `groups` does
    not divide K, the first K % groups of them, those of the smallest values, have one weight more. Of a
    group's weights of equal magnitude the smallest is taken, and of equal ones the first.
    """
    ascending = weights.argsort(kind="stable")
    if groups == 0:
        return ascending[:0]
    values = weights[ascending].astype(np.float64 if weights.dtype.kind == "f" else np.int64)
    sizes = np.full(groups, weights.size // groups)
    sizes[: weights.size % groups] += 1
    ends = sizes.cumsum()
    starts = ends - sizes
    # the largest magnitude of ascending numbers is at one of their ends
    highest = np.maximum(starts, np.searchsorted(values, values[ends - 1], side="left"))
    return ascending[np.where(abs(values[starts]) >= abs(values[highest]), starts, highest)]


def has_place(threshold: float, fraction: int) -> bool:
    """Whether a sum of 64 bits with so many binary places can hold a threshold."""
    try:
        return -(1 << 63) <= math.ldexp(threshold, fraction) < 1 << 63
    except OverflowError:  # past the largest of floats
        return False


def no_place(threshold: float, fraction: int) -> str:
    """Say that it cannot."""
    most = math.ldexp(1.0, 63 - fraction)
    return (
        f"{threshold} has no place in a sum of 64 bits with {fraction} binary places; "
        f"wants a number from {-most:g} to below {most:g}"
    )


def _checked(
    thresholds: Sequence[float] | np.ndarray,
    groups: Sequence[int] | np.ndarray,
    filters: int,
    size: int,
    fraction: int,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (thresholds in accumulator format int64 [M], groups int64 [M]), or raise all that is wrong."""
    given = {"thresholds": np.asarray(thresholds), "groups": np.asarray(groups)}
    faults = []
    for name, values in given.items():
        if values.ndim != 1 or values.dtype.kind not in "iuf":
            faults.append(f"{where}: {name}: wants a list of numbers, one for each of {filters} filters")
        elif len(values) != filters:
            faults.append(f"{where}: {name}: {len(values)} given; wants {filters}, one for each filter")
    if not faults:
        faults += [
            f"{where}: filter {fault}"
            for fault in _wrong_filters(given["thresholds"], given["groups"], size, fraction)
        ]
    if faults:
        raise TransformError(faults)
    return _scaled(given["thresholds"], fraction), given["groups"].astype(np.int64)


def _wrong_filters(thresholds: np.ndarray, groups: np.ndarray, size: int, fraction: int) -> Iterator[str]:
    for m, (limit, count) in enumerate(zip(thresholds.tolist(), groups.tolist(), strict=True)):
        if not np.isfinite(limit):
            yield f"{m}: threshold: is {limit}; wants a finite number"
        elif not has_place(limit, fraction):
            yield f"{m}: threshold: {no_place(limit, fraction)}"
        if not np.isfinite(count) or count != int(count):
            yield f"{m}: groups: is {count}; wants a whole number"
        elif not 1 <= count <= size:
            yield f"{m}: groups: is {int(count)}; wants 1 to {size}, the weights of the filter"


def _scaled(
    thresholds: np.ndarray, fraction: int, to_whole: Callable[..., np.ndarray] = np.ceil
) -> np.ndarray:
    if thresholds.dtype.kind in "iu" and fraction >= 0:
        return thresholds.astype(np.int64) << fraction
    return to_whole(np.ldexp(thresholds.astype(np.float64), fraction)).astype(np.int64)
