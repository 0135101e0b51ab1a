"""What a workload is: a network, and where its weights and inputs come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from simhw.reference.fold import fuse
from simhw.reference.graph import Graph
from simhw.shapes import LayerShape
from simhw.stream import StreamShape
from simhw.trace import network_digest


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
    def layer_shapes(self) -> dict[str, LayerShape | StreamShape]:
        """The shapes of its layers, for one image."""
        size = self.input_shape
        return {**self.graph.layer_shapes(size), **self.graph.stream_shapes(size)}

    @property
    def macs(self) -> int:
        """Products of one image: convolutions and linear layers, padding included, and streams."""
        return sum(shape.macs for shape in self.layer_shapes.values())

    @property
    def parameters(self) -> int:
        """Learnable parameters: weights, biases, and each batch norm's scale and offset."""
        learnt = ("weights", "bias", "gamma", "beta")
        shapes = self.graph.param_shapes(self.input_shape)
        return sum(math.prod(shape) for name, shape in shapes.items() if name.endswith(learnt))


@dataclass(frozen=True)
class BareLayer:
    """A layer of which no more is known than its shape, of one image."""

    name: str
    shape: LayerShape


class BareNetwork:
    """A workload as parameter files see it: a network's name, layers and digest, without weights."""

    def __init__(self, workload: Workload) -> None:
        self.name = workload.name
        self._graph, self._input_shape = workload.graph, workload.input_shape
        shapes = self._graph.layer_shapes(self._input_shape)
        self.layers = tuple(BareLayer(name, shape) for name, shape in shapes.items())

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Those that a trace has of the network, which are of its graph once that is fused."""
        shapes = self._graph.param_shapes(self._input_shape)
        any_params = {name: np.ones((1,) * len(shape), np.float32) for name, shape in shapes.items()}
        graph, _ = fuse(self._graph, any_params)
        layers = graph.layer_shapes(self._input_shape)
        return {"network": network_digest(graph.to_dict(), self._input_shape, layers)}
