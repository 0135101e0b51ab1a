"""A trace's layer as a machine meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simhw.core.dataflow import Array, Pool
from simhw.core.transform import Transform
from simhw.shapes import LayerShape, NumberFormat
from simhw.trace import LayerTrace


@dataclass(frozen=True)
class LayerView:
    """A layer, and what its machine's transforms leave with it; in a closed loop its inputs are `given`.

    `transforms` are those of the machine, with the parameters that each was given, if any.
    """

    traced: LayerTrace
    reads_network_input: bool
    given: Array | None = None
    transforms: Mapping[str, tuple[Transform, Any]] = field(default_factory=dict)
    fed_by: tuple[str, ...] | None = None
    feeds: tuple[str, ...] | None = None
    pool: Pool | None = None
    _sides: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.traced.name

    @property
    def kind(self) -> str:
        return self.traced.kind

    @property
    def shape(self) -> LayerShape:
        return self.traced.shape

    @property
    def activation(self) -> str | None:
        return self.traced.activation

    @property
    def formats(self) -> Mapping[str, NumberFormat]:
        return self.traced.formats

    @property
    def shift(self) -> int:
        return self.traced.shift

    @property
    def weights(self) -> Array:
        return self.traced.weights

    @property
    def bias(self) -> Array:
        return self.traced.bias

    @property
    def inputs(self) -> Array:
        return self.traced.inputs if self.given is None else self.given

    @property
    def expected(self) -> Array:
        return self.traced.expected

    def stored(self, tensor: str) -> Array | None:
        return self.traced.stored(tensor)

    def side(self, transform: str) -> Any:
        """Return what a transform leaves with the layer, made when first asked for; `forget` drops it."""
        if transform not in self.transforms:
            return None
        if transform not in self._sides:
            maker, parameters = self.transforms[transform]
            self._sides[transform] = maker.side(self, parameters)
        return self._sides[transform]

    def storage_bits(self) -> dict[str, int]:
        """Return the bits that side data takes which was asked for, by transform.

        What another transform built on is stored in that one's place.
        """
        made = {name: side for name, side in self._sides.items() if side is not None}
        inner = {wanted for name in made for wanted in self.transforms[name][0].WANTS}
        return {
            name: self.transforms[name][0].storage_bits(side)
            for name, side in made.items()
            if name not in inner
        }

    def forget(self) -> None:
        """Let go of what was made of the layer: memory is that of the largest, and not of all."""
        self._sides.clear()
