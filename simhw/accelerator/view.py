"""A trace's layer as a machine meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from simhw.core.dataflow import Array, Pool
from simhw.core.transform import Transform
from simhw.trace import LayerTrace, StreamTrace


@dataclass(frozen=True)
class LayerView:
    """A layer of any kind: what its trace says of it, its place, and what its machine's transforms leave.

    `transforms` are those of the machine, with the parameters that each was given, if any. In a closed
    loop what it reads is `given`.
    """

    traced: LayerTrace | StreamTrace
    reads_network_input: bool
    given: tuple[Array, ...] | None = None
    transforms: Mapping[str, tuple[Transform, Any]] = field(default_factory=dict)
    fed_by: tuple[str, ...] | None = None
    feeds: tuple[str, ...] | None = None
    pool: Pool | None = None
    _sides: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __getattr__(self, name: str) -> Any:
        """Return what the trace says, where this class has no other answer."""
        if name.startswith("_"):  # of a copy that is being made, say
            raise AttributeError(name)
        return getattr(self.traced, name)

    @property
    def inputs(self) -> Array:
        """What a convolution or linear layer reads."""
        traced: Any = self.traced
        return traced.inputs if self.given is None else self.given[0].reshape(traced.shape.input_shape)

    @property
    def operands(self) -> Mapping[str, Array]:
        """What a stream reads, by name, and its numbers."""
        traced: Any = self.traced
        return traced.operands | dict(zip(traced.reads, self.given or (), strict=False))

    def reading(self, inputs: tuple[Array, ...]) -> LayerView:
        """Return the layer with other inputs."""
        return replace(self, given=inputs)

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
