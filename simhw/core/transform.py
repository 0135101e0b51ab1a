"""Transforms: what rewrites a layer for a machine, and leaves side data that travels with it by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from simhw.core.registry import register
from simhw.core.spec import Spec


class Transform:
    """One way of rewriting what a layer brings. A subclass with a kind registers it.

    `side` makes what a dataflow and its twin get as `layer.side(kind)`: the order of weights, say. A
    transform that changes values (fitted weights) does so when a trace is made, where it stores tensors
    beside the layer's; its side data is made of these.
    """

    KIND: ClassVar[str] = ""
    WANTS: ClassVar[tuple[str, ...]] = ()  # transforms that must stand beside it
    EXCLUDES: ClassVar[tuple[str, ...]] = ()  # and that must not
    KINDS: ClassVar[tuple[str, ...]] = ("conv", "linear")  # of layers with which it leaves something
    PARAMETERS: ClassVar[str | None] = None  # the kind of parameter files that it takes

    Options: ClassVar[type[Spec]] = Spec

    def __init_subclass__(cls, *, kind: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind:
            register(_TRANSFORMS, cls, kind)

    def __init__(self, options: Any, others: Mapping[str, Transform]) -> None:
        self.options = options
        self.others = others  # those it wants

    def side(self, layer: Any, parameters: Any) -> Any:
        """Return the side data of a layer, or None where it leaves the layer as it is.

        `parameters` are what was chosen or learned for the network, if anything was.
        """
        raise NotImplementedError

    def exact(self, parameters: Any) -> bool:
        """Whether a machine that uses it still puts out what the reference model does."""
        return True

    def storage_bits(self, side: Any) -> int:
        """Return what the side data of a layer takes in storage beside the layer's own tensors."""
        return 0


_TRANSFORMS: dict[str, type[Transform]] = {}  # filled when classes are defined, never written otherwise


def transform_kinds() -> dict[str, type[Transform]]:
    """Return every registered transform; the shipped ones are there once simhw.transforms is imported."""
    return dict(sorted(_TRANSFORMS.items()))


def transforms_of(chosen: Mapping[str, Spec]) -> dict[str, Transform]:
    """Return transforms of their options, by kind; those that another wants are made before it."""
    found: dict[str, Transform] = {}

    def make(kind: str) -> Transform:
        if kind not in found:
            cls = _TRANSFORMS[kind]
            found[kind] = cls(chosen[kind], {other: make(other) for other in cls.WANTS})
        return found[kind]

    return {kind: make(kind) for kind in chosen}
