"""Layer shapes and every count that follows from them alone.

The papers' letters, once: N batch, M out_channels, C in_channels (per group), G groups,
R kernel_height, S kernel_width, H/W input height and width, E out_height, F out_width, U stride.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """Return how many windows of `kernel` taps fit along one axis."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One convolution, or one linear layer seen as a 1x1 convolution of a 1x1 map."""

    batch: int
    in_channels: int
    in_height: int
    in_width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for field in (
            "batch", "in_channels", "in_height", "in_width", "out_channels",
            "kernel_height", "kernel_width", "groups",
        ):  # fmt: skip
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: wants at least 1, got {getattr(self, field)}")
        if min(self.stride) < 1 or min(self.dilation) < 1 or min(self.pad) < 0:
            raise ValueError("stride and dilation want at least 1, pad at least 0")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"groups: {self.groups} does not divide {self.in_channels} and {self.out_channels} channels"
            )
        if self.out_height < 1 or self.out_width < 1:
            raise ValueError("the kernel is larger than the padded input")

    def __hash__(self) -> int:  # what depends on shapes alone is kept under them, and asked for often
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    @classmethod
    def linear(cls, batch: int, in_features: int, out_features: int) -> LayerShape:
        return cls(
            batch=batch, in_channels=in_features, in_height=1, in_width=1,
            out_channels=out_features, kernel_height=1, kernel_width=1,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LayerShape:
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, Sequence) else v for k, v in values.items()}
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def padded_height(self) -> int:
        return self.in_height + self.pad[0] + self.pad[1]

    @property
    def padded_width(self) -> int:
        return self.in_width + self.pad[2] + self.pad[3]

    @functools.cached_property
    def out_height(self) -> int:
        return output_size(
            self.in_height, self.kernel_height, self.stride[0], self.pad[0], self.pad[1], self.dilation[0]
        )

    @functools.cached_property
    def out_width(self) -> int:
        return output_size(
            self.in_width, self.kernel_width, self.stride[1], self.pad[2], self.pad[3], self.dilation[1]
        )

    @property
    def group_in_channels(self) -> int:
        return self.in_channels // self.groups

    @property
    def group_out_channels(self) -> int:
        return self.out_channels // self.groups

    @functools.cached_property
    def window(self) -> int:
        """Products that make one output."""
        return self.group_in_channels * self.kernel_height * self.kernel_width

    @functools.cached_property
    def outputs(self) -> int:
        return self.batch * self.out_channels * self.out_height * self.out_width

    @property
    def macs(self) -> int:
        """Products of the whole batch, those with padding included."""
        return self.outputs * self.window

    @property
    def weights(self) -> int:
        return self.out_channels * self.window

    @property
    def inputs(self) -> int:
        return self.batch * self.in_channels * self.in_height * self.in_width

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.out_channels, self.group_in_channels, self.kernel_height, self.kernel_width)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.in_channels, self.in_height, self.in_width)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.out_channels, self.out_height, self.out_width)


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """How a tensor's integers are read: value = integer / 2 ** fraction. Zero bits means float32."""

    bits: int = 0
    fraction: int = 0

    @property
    def is_float(self) -> bool:
        return self.bits == 0

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        return (1 << (self.bits - 1)) - 1


FLOAT32 = NumberFormat()
