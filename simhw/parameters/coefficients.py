"""Coefficients: what the weights of a network on lines are made of, as a training left them.

A layer has the arrays that `simhw.reference.fitted` speaks of, and its bias. They are in a trace's weights
once it is made of them; no machine takes them by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from simhw import core
from simhw.core.parameters import ParameterKind
from simhw.errors import WorkloadError
from simhw.reference.fitted import Fitted, record_faults
from simhw.yamlfile import Place

Numbers = Annotated[Any, core.Wants("an array of numbers")]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines(core.Spec):
    """The coefficients of a layer, how they are to be read, and the biases of its filters."""

    coefficients: Numbers
    fit: Numbers
    bias: Numbers = None

    def fitted(self, shape: tuple[int, int, int, int]) -> Fitted:
        """Return the weights that they make."""
        return Fitted.from_arrays({"coefficients": self.coefficients, "fit": self.fit}, shape, where="layer")


class Coefficients(ParameterKind, kind="coefficients"):
    """What weights on lines are made of: coefficients of a few bits, by group."""

    ERROR = WorkloadError
    SUFFIX = ".npz"
    MAKE = "simhw train"
    USE = "they are in a trace that simhw trace --weights makes of them"
    Layer = Lines

    @classmethod
    def layer_faults(cls, own: Lines, layer: Any) -> Iterator[tuple[Place, str]]:
        for fault in record_faults(own.coefficients, own.fit, layer.shape.weight_shape):
            part, _, text = fault.partition(": ")
            yield (part,), text
