"""What a workload is: a network, and where its weights and inputs come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from simhw.reference.graph import Graph


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where inputs come from, and what the network wants done to their pixels (0 to 255).

    `file` is looked for in the folder of data; `default` is used where it is not found. A pixel x becomes
    (x / divide_by - mean) / std, its channels in the `order` asked for, means and deviations in that order.
    """

    default: str = "digits"
    file: str | None = None
    array: str | None = None
    fit: str = "whole"
    order: str = "rgb"
    divide_by: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where weights come from: a `file` of the folder of data, or where it is not found, the `seed`."""

    file: str | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network, as its description gives it: batch norms apart, nothing fused."""

    name: str
    graph: Graph
    input_shape: tuple[int, int, int]  # C, H, W
    cites: str = ""
    notes: str = ""
    data: DataSource = field(default_factory=DataSource)
    weights: WeightsSource = field(default_factory=WeightsSource)
    path: Path | None = None

    @property
    def macs(self) -> int:
        """Products of one image: convolutions and linear layers, padding included."""
        return sum(shape.macs for shape in self.graph.layer_shapes(self.input_shape).values())

    @property
    def parameters(self) -> int:
        """Learnable parameters: weights, biases, and each batch norm's scale and offset."""
        learnt = ("weights", "bias", "gamma", "beta")
        shapes = self.graph.param_shapes(self.input_shape)
        return sum(math.prod(shape) for name, shape in shapes.items() if name.endswith(learnt))
