"""Which layers of a network go on lines, and how: what `trace --fit LAYER=linear:N_w` says.

A plan is asked for the coefficients of weights that exist, batch norms folded into them before. It fits
once, as a recipe with `fit_when: inference` does: a layer that is not named keeps exact weights, each a
coefficient of as many bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from simhw.errors import SimhwError, TransformError, did_you_mean
from simhw.reference.fitted import KINDS, Fitted, LayerFit, grouping_fault
from simhw.transforms.fit_groups import apply

WANTS = "LAYER=linear:N_w, LAYER=quadratic:N_w or LAYER=exact"


@dataclass(frozen=True)
class FitPlan:
    """How layers are fitted, by their names or by patterns such as conv*; of two the last counts."""

    fits: Mapping[str, LayerFit]
    bits: int = 8  # of a coefficient

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not 2 <= self.bits <= 16:
            raise TransformError(f"bits: is {self.bits}; wants a whole number from 2 to 16")

    def __call__(self, weights: Mapping[str, np.ndarray]) -> dict[str, Fitted]:
        """Return every layer's weights [M, C, R, S] as coefficients; every fault in one raise."""
        chosen = dict.fromkeys(weights, LayerFit())
        faults: list[str] = []
        for pattern, fit in self.fits.items():
            named = [name for name in weights if name == pattern or fnmatchcase(name, pattern)]
            if not named:
                faults.append(f"fit: no layer has the name {pattern!r}{did_you_mean(pattern, weights)}")
            chosen |= dict.fromkeys(named, fit)
        found: dict[str, Fitted] = {}
        for name, fit in chosen.items():
            array = weights[name]
            fault = grouping_fault((*array.shape,), fit.kind, fit.group)
            if fault is not None:
                faults.append(f"fit: {name}: {fault}")
                continue
            try:
                found[name] = apply(array, fit.kind, fit.group, self.bits, where=f"fit: {name}")
            except SimhwError as error:
                faults += error.faults
        if faults:
            raise TransformError(faults)
        return found


def parse(texts: Sequence[str], bits: int = 8) -> FitPlan:
    """Return the plan of texts such as fc1=linear:24; every fault in one raise."""
    fits: dict[str, LayerFit] = {}
    faults: list[str] = []
    for text in texts:
        layer, _, fit = text.partition("=")
        kind, colon, size = fit.partition(":")
        if not layer or not kind:
            faults.append(f"fit: wants {WANTS}, got {text!r}")
        elif layer in fits:
            faults.append(f"fit: names {layer} twice; wants each layer once")
        elif kind not in KINDS:
            faults.append(f"fit: {layer}: unknown kind of fit {kind!r}{did_you_mean(kind, KINDS)}")
        elif kind == "exact" and colon:
            faults.append(f"fit: {layer}: exact weights have no N_w; wants {layer}=exact, got {text!r}")
        elif kind != "exact" and not _is_whole(size):
            faults.append(f"fit: {layer}: wants {kind}:N_w, N_w a whole number, got {fit!r}")
        else:
            fits[layer] = LayerFit(kind, int(size or 0))
    if faults:
        raise TransformError(faults)
    return FitPlan(fits, bits)


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10
