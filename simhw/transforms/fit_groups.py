"""Groups of weights put on a line, by least squares: the fit of Tolba et al. (arXiv 2105.02954).

What a group is, and what its coefficients stand for, says `simhw.reference.fitted`. Because x is always
0..N_w - 1, the fit is one projection, computed once: `Projection` keeps an orthonormal basis Q of the
polynomials on these points, and the fitted weights are (w Q) Q^T, cheap enough for every step of a
training. `apply` goes on to fixed-point coefficients.

A last group that is shorter is fitted over its own weights alone. Filled up with zeros, as the hardware
fills up the inputs, its line would bend towards weights that are never used; the inputs are zero there,
so whatever the line says beyond the last weight changes no sum. Of fewer weights than terms, the highest
terms are left out (zero), and the line goes through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simhw import core
from simhw.errors import TransformError
from simhw.reference.fitted import (
    KINDS,
    WIDEST,
    Fitted,
    WeightShape,
    count_parameters,
    group_sizes,
    grouping_fault,
    powers,
    terms_of,
    widest_weight,
)
from simhw.reference.numbers import choose_format, quantize
from simhw.shapes import NumberFormat

__all__ = ["KINDS", "Fitted", "Projection", "apply", "count_parameters", "fit", "project", "quantized"]


@dataclass(frozen=True)
class Lines:
    """What a layer's weights are made of: coefficients [filters, groups, terms], and how they are to be read.

    `fit` has the weights of a group, the coefficients' bits, and the fraction of each term.
    """

    coefficients: np.ndarray
    fit: np.ndarray


class FitGroups(core.Transform, kind="fit_groups"):
    """Weights on lines, each given by a few coefficients. Traces are made with them (`simhw trace --fit`)."""

    def side(self, layer: Any, parameters: Any) -> Lines | None:
        coefficients, fit = layer.stored("coefficients"), layer.stored("fit")
        return None if coefficients is None or fit is None else Lines(coefficients, fit)

    def storage_bits(self, side: Lines) -> int:
        return int(side.coefficients.size * side.fit[1])


class Projection:
    """The least-squares fit of one shape of weights [M, C / groups, R, S], made ready once.

    `where` begins the message of an error.
    """

    def __init__(self, shape: WeightShape, kind: str, group: int, *, where: str = "fit_groups") -> None:
        fault = grouping_fault(shape, kind, group)
        if fault is not None:
            raise TransformError(f"{where}: {fault}")
        self.shape, self.kind, self.group, self.where = shape, kind, group, where
        per_filter = shape[1] * shape[2] * shape[3]
        self.whole = 0 if kind == "exact" else per_filter // group * group  # weights in groups of full size
        sizes = [] if kind == "exact" else [(slice(0, self.whole), group)]
        if 0 < self.whole < per_filter:
            sizes.append((slice(self.whole, per_filter), per_filter - self.whole))
        self._parts = tuple((part, size, *_solved(size, terms_of(kind))) for part, size in sizes)

    def project(self, weights: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return the fitted weights, in the type of `weights`; `out` may be `weights` itself.

        Numbers that are not finite go through unseen: this is a step of a training.
        """
        flat = weights.reshape(self.shape[0], -1)
        if weights.dtype.kind != "f" or weights.dtype.itemsize < 4:  # fitted weights are no whole numbers
            weights = weights.astype(np.float64)
            flat = weights.reshape(self.shape[0], -1)
        fitted = np.empty_like(weights) if out is None else out
        target = fitted.reshape(self.shape[0], -1)
        if not self._parts:
            target[...] = flat
        for part, size, basis, _ in self._parts:
            basis = basis.astype(fitted.dtype, copy=False)
            target[:, part] = (flat[:, part].reshape(-1, size) @ basis @ basis.T).reshape(len(flat), -1)
        return fitted

    def fit(self, weights: np.ndarray) -> np.ndarray:
        """Return the coefficients, float64 [M, groups, terms], that the fitted weights are made of."""
        self.check_finite(weights)
        flat = weights.reshape(self.shape[0], -1).astype(np.float64)
        if not self._parts:
            return flat[:, :, None]
        found = [
            flat[:, part].reshape(len(flat), -1, size) @ solver.T for part, size, _, solver in self._parts
        ]
        return np.concatenate(found, axis=1)

    def check_finite(self, weights: np.ndarray) -> None:
        wrong = int(weights.size - np.isfinite(weights).sum())
        if wrong:
            raise TransformError(
                f"{self.where}: {wrong} of {weights.size} weights are NaN or infinite; wants finite numbers"
            )


def project(weights: np.ndarray, kind: str, group: int, *, where: str = "fit_groups") -> np.ndarray:
    """Return the fitted weights of `weights` [M, C / groups, R, S] (or [M, C]), in their type."""
    projection = Projection(_four(weights), kind, group, where=where)
    projection.check_finite(weights)
    return projection.project(weights)


def fit(weights: np.ndarray, kind: str, group: int, *, where: str = "fit_groups") -> np.ndarray:
    """Return the coefficients, float64 [M, groups, terms], of weights [M, C / groups, R, S] (or [M, C])."""
    return Projection(_four(weights), kind, group, where=where).fit(weights)


def apply(weights: np.ndarray, kind: str, group: int, bits: int = 8, *, where: str = "fit_groups") -> Fitted:
    """Fit the weights [M, C / groups, R, S] (or [M, C]) and bring the coefficients to `bits` bits."""
    return quantized(fit(weights, kind, group, where=where), kind, group, _four(weights), bits, where=where)


def quantized(
    coefficients: np.ndarray,
    kind: str,
    group: int,
    shape: WeightShape,
    bits: int = 8,
    *,
    where: str = "fit_groups",
) -> Fitted:
    """Return real coefficients [M, groups, terms] in fixed point, rounded half to even.

    The highest term is rounded first, and what that moves the line by is fitted, in turn, by the terms
    below it before they are rounded: a line of the same mean and slope costs less than one that is off at
    its far end. A term's fraction is the largest in which none of its coefficients saturates, held down
    where the fitted weights would not fit 32 bits.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise TransformError(f"{where}: bits: is {bits!r}; wants a whole number from 2 to 16")
    largest = (1 << (bits - 1),) * coefficients.shape[2]
    finest: int | None = None
    while True:
        codes, fractions = _rounded(coefficients, group, shape, bits, finest)
        if widest_weight(largest, fractions, group) < 1 << (WIDEST - 1):
            break
        finest = max(fractions) - 1
        if min(fractions) > finest:
            raise TransformError(f"{where}: N_w: is {group}; its fitted weights do not fit {WIDEST} bits")
    return Fitted(
        kind=kind,
        group=group,
        coefficients=np.stack(codes, axis=2),
        fractions=fractions,
        bits=bits,
        shape=shape,
    )


def _rounded(
    coefficients: np.ndarray, group: int, shape: WeightShape, bits: int, finest: int | None
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Return each term's integers [M, groups], and their fractions, none beyond `finest`."""
    terms = [coefficients[..., t].astype(np.float64) for t in range(coefficients.shape[2])]
    last = group_sizes(shape, group) - 1.0  # the last x of each group
    codes: list[np.ndarray] = []
    fractions: list[int] = []
    for t in range(len(terms) - 1, -1, -1):
        chosen = choose_format(terms[t], bits)
        if finest is not None and chosen.fraction > finest:
            chosen = NumberFormat(bits=bits, fraction=finest)
        code = quantize(terms[t], chosen)
        lost = terms[t] - np.ldexp(code.astype(np.float64), -chosen.fraction)
        if t == 1:  # x is nearest to its mean
            terms[0] += lost * last / 2
        elif t == 2:  # x^2 is nearest to the line last x - last (last - 1) / 6
            terms[1] += lost * last
            terms[0] -= lost * last * (last - 1) / 6
        codes.insert(0, code)
        fractions.insert(0, chosen.fraction)
    return codes, tuple(fractions)


def _four(weights: np.ndarray) -> WeightShape:
    if weights.ndim not in (2, 4):
        raise ValueError(f"weights of {weights.ndim} axes; wants [M, C, R, S] or [M, C]")
    return (*weights.shape, 1, 1) if weights.ndim == 2 else weights.shape


def _solved(size: int, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis Q [size, terms] and the solver [terms, size] of least squares.

    Powers are taken of x / (size - 1) and scaled back, so that long groups lose no digits.
    """
    used = min(terms, size)
    scale = float(max(1, size - 1)) ** np.arange(used)
    basis, triangle = np.linalg.qr(powers(size, used) / scale)
    solver = np.zeros((terms, size))
    solver[:used] = np.linalg.solve(triangle, basis.T) / scale[:, None]
    return basis, solver
