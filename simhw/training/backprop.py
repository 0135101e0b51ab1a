"""A network forwards and backwards, in float32: sums of products by BLAS, convolutions by columns.

Values lie as [C, H, W, N] from layer to layer, the images of a batch side by side: a convolution's output
is one product of matrices, a flattened map is the map, and whatever is moved is moved in long rows. The
loss is the mean cross entropy of the softmax of what the network puts out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from simhw.errors import WorkloadError
from simhw.reference import layers
from simhw.reference.graph import Graph
from simhw.reference.layers import Pool
from simhw.reference.ops import Node, layer_shape
from simhw.shapes import LayerShape

Params = dict[str, np.ndarray]
Kept = Any  # what a step's way back needs of its way forwards

COLUMNS_BYTES = 4 << 20  # of a convolution laid out at once

LEARNT = ("conv", "linear", "relu", "sigmoid", "avgpool", "maxpool", "flatten", "softmax")


class Step(Protocol):
    """One node: `forward` returns its output and what `backward` needs of it."""

    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]: ...

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        """Return the slope of the loss by the node's input; put those by its parameters into `found`.

        Of the `first` step nobody wants the return value, and it may be left out.
        """
        ...


class Network:
    """A chain of layers that can be trained.

    Each node reads the one before it. A softmax at its end is that of the loss. WorkloadError names
    each node that cannot be trained.
    """

    def __init__(self, graph: Graph, input_shape: tuple[int, int, int]) -> None:
        faults: list[str] = []
        before = graph.input
        for node in graph.nodes:
            place = f"{graph.source}:{node.name}"
            if node.inputs != (before,):
                faults.append(f"{place}: reads {', '.join(node.inputs)}; training wants a chain of layers")
            fault = _fault(node, node is graph.nodes[-1])
            if fault is not None:
                faults.append(f"{place}: {fault}")
            before = node.name
        if faults:
            raise WorkloadError(faults)
        shapes = graph.shapes(input_shape)
        self.steps = [
            step
            for node in graph.nodes
            for step in _steps(f"{graph.source}:{node.name}", node, shapes[node.inputs[0]], shapes[node.name])
        ]

    def gradients(self, params: Params, images: np.ndarray, labels: np.ndarray) -> tuple[float, int, Params]:
        """Return the mean loss over images [N, C, H, W], how many are named rightly, and the gradients."""
        scores, kept = self._forward(params, images, keep=True)
        loss, rightly, slope = cross_entropy(scores, labels)
        found: Params = {}
        for place in range(len(self.steps) - 1, -1, -1):
            slope = self.steps[place].backward(slope, kept.pop(), params, found, first=place == 0)
        return loss, rightly, found

    def named_rightly(
        self, params: Params, images: np.ndarray, labels: np.ndarray, images_at_once: int = 128
    ) -> int:
        """Return how many images the network names rightly."""
        rightly = 0
        for start in range(0, len(images), images_at_once):
            part = slice(start, start + images_at_once)
            scores, _ = self._forward(params, images[part], keep=False)
            rightly += int((scores.argmax(axis=1) == labels[part]).sum())
        return rightly

    def _forward(self, params: Params, images: np.ndarray, keep: bool) -> tuple[np.ndarray, list[Kept]]:
        """Return the scores [N, classes] and, with `keep`, what the way back needs."""
        values = np.ascontiguousarray(images.transpose(1, 2, 3, 0))
        kept: list[Kept] = []
        for step in self.steps:
            values, needed = step.forward(values, params)
            if keep:
                kept.append(needed)
        return values.reshape(-1, len(images)).T, kept


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Return the mean loss of scores [N, classes], how many are right, and the slope [classes, 1, 1, N]."""
    rows = np.arange(len(labels))
    shares = layers.softmax(scores)
    loss = float(-np.log(np.maximum(shares[rows, labels], np.finfo(np.float32).tiny)).mean())
    rightly = int((scores.argmax(axis=1) == labels).sum())
    shares[rows, labels] -= 1
    shares /= len(labels)
    return loss, rightly, np.ascontiguousarray(shares.T)[:, None, None]


class Linear:
    def __init__(self, node: Node) -> None:
        self.name, self.has_bias = node.name, bool(node.attrs["bias"])

    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        inputs = values.reshape(-1, values.shape[3])
        sums = _matrix(params[f"{self.name}.weights"]) @ inputs
        if self.has_bias:
            sums += params[f"{self.name}.bias"][:, None]
        return sums[:, None, None], inputs

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        slope = slope.reshape(slope.shape[0], -1)
        weights = params[f"{self.name}.weights"]
        found[f"{self.name}.weights"] = (slope @ kept.T).reshape(weights.shape)
        if self.has_bias:
            found[f"{self.name}.bias"] = slope.sum(axis=1)
        return slope if first else (_matrix(weights).T @ slope)[:, None, None]


class Convolution:
    """Stride 1, one group: its windows are laid out as columns, some rows of the output at a time.

    All columns at once are as large as R S of its inputs; those of a few rows stay in the processor's cache
    while they are made, multiplied and, on the way back, made again. Their room is kept from batch to batch.
    """

    def __init__(self, node: Node, shape: LayerShape) -> None:
        self.name, self.has_bias, self.shape = node.name, bool(node.attrs["bias"]), shape
        self._room = np.empty(0, np.uint8)

    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        shape, images = self.shape, values.shape[3]
        top, bottom, left, right = shape.pad
        if any(shape.pad):
            values = np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)))
        weights, width = _matrix(params[f"{self.name}.weights"]), shape.out_width * images
        sums = np.empty((len(weights), shape.out_height * width), values.dtype)
        for start, columns in self._columns(values):
            matrix = columns.reshape(shape.window, -1)
            np.matmul(weights, matrix, out=sums[:, start * width : start * width + matrix.shape[1]])
        if self.has_bias:
            sums += params[f"{self.name}.bias"][:, None]
        return sums.reshape(-1, shape.out_height, shape.out_width, images), values

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        shape, width = self.shape, self.shape.out_width * slope.shape[3]
        slope = slope.reshape(slope.shape[0], -1)
        weights = params[f"{self.name}.weights"]
        by_weights = np.zeros_like(_matrix(weights))
        whole = np.zeros_like(kept)
        for start, columns in self._columns(kept):
            matrix = columns.reshape(shape.window, -1)
            part = slope[:, start * width : start * width + matrix.shape[1]]
            by_weights += part @ matrix.T
            if first:
                continue
            np.matmul(_matrix(weights).T, part, out=matrix)
            for r in range(shape.kernel_height):
                rows = slice(start + r, start + r + columns.shape[3])
                for s in range(shape.kernel_width):
                    whole[:, rows, s : s + shape.out_width] += columns[:, r, s]
        found[f"{self.name}.weights"] = by_weights.reshape(weights.shape)
        if self.has_bias:
            found[f"{self.name}.bias"] = slope.sum(axis=1)
        top, _, left, _ = shape.pad
        return whole[:, top : top + shape.in_height, left : left + shape.in_width]

    def _columns(self, values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield a row to begin with and the columns [C, R, S, rows, F, N] of it and those after it.

        They hold until the next are asked for.
        """
        shape = self.shape
        kernel = shape.kernel_height, shape.kernel_width
        windows = sliding_window_view(values, kernel, axis=(1, 2)).transpose(0, 4, 5, 1, 2, 3)
        one_row = (*windows.shape[:3], 1, *windows.shape[4:])
        size = math.prod(one_row)
        most = max(1, min(shape.out_height, COLUMNS_BYTES // (size * values.itemsize)))
        if (self._room.size, self._room.dtype) != (most * size, values.dtype):
            self._room = np.empty(most * size, values.dtype)
        for start in range(0, shape.out_height, most):
            part = windows[:, :, :, start : start + most]
            columns = self._room[: part.size].reshape(part.shape)
            columns[...] = part
            yield start, columns


class Relu:
    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        out = np.maximum(values, 0)
        return out, out > 0

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        return slope * kept


class Sigmoid:
    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        half = values.dtype.type(0.5)
        out = np.tanh(values * half)  # the same function, and no exponential overflows
        out += 1
        out *= half
        return out, out

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        return slope * (kept * (1 - kept))


class AveragePool:
    """Windows side by side that leave nothing over."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        down, across = self.size
        parts = [values[:, r::down, s::across] for r in range(down) for s in range(across)]
        out = parts[0].copy()
        for part in parts[1:]:
            out += part
        out *= out.dtype.type(1 / (down * across))
        return out, None

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        down, across = self.size
        share = slope * slope.dtype.type(1 / (down * across))
        return share.repeat(down, axis=1).repeat(across, axis=2)


class MaximumPool:
    """Windows side by side that leave nothing over; of equal values the first is the maximum."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        c, h, w, n = values.shape
        down, across = self.size
        windows = values.reshape(c, h // down, down, w // across, across, n).transpose(0, 2, 4, 1, 3, 5)
        windows = windows.reshape(c, down * across, h // down, w // across, n)
        chosen = windows.argmax(axis=1)[:, None]
        return np.take_along_axis(windows, chosen, axis=1)[:, 0], chosen

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        c, h, w, n = slope.shape
        down, across = self.size
        windows = np.zeros((c, down * across, h, w, n), slope.dtype)
        np.put_along_axis(windows, kept, slope[:, None], axis=1)
        windows = windows.reshape(c, down, across, h, w, n).transpose(0, 3, 1, 4, 2, 5)
        return windows.reshape(c, h * down, w * across, n)


class Flatten:
    """An image's values in their order C, H, W become channels."""

    def forward(self, values: np.ndarray, params: Params) -> tuple[np.ndarray, Kept]:
        return values.reshape(-1, 1, 1, values.shape[3]), values.shape

    def backward(
        self, slope: np.ndarray, kept: Kept, params: Params, found: Params, first: bool
    ) -> np.ndarray:
        return slope.reshape(kept)


def _matrix(weights: np.ndarray) -> np.ndarray:
    return weights.reshape(len(weights), -1)


def _fault(node: Node, last: bool) -> str | None:
    """Return why a node cannot be trained."""
    attrs: Mapping[str, Any] = node.attrs
    if node.op not in LEARNT:
        return f"is {node.op}; training knows {', '.join(LEARNT)}"
    if attrs.get("activation") not in (None, "relu"):
        return f"activation: is {attrs['activation']}; training knows relu"
    plain = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    if node.op == "conv":
        wrong = [name for name, value in plain.items() if attrs[name] != value]
        if wrong:
            return f"{wrong[0]}: is {attrs[wrong[0]]}; training wants {plain[wrong[0]]}"
    if node.op in ("avgpool", "maxpool") and (any(attrs["pad"]) or attrs["kernel"] != attrs["stride"]):
        return "training wants pooling windows side by side, without padding"
    if node.op == "softmax" and not last:
        return "stands before other layers; training wants it at the end"
    return None


def _steps(
    place: str, node: Node, reads: tuple[int, int, int, int], makes: tuple[int, int, int, int]
) -> list[Step]:
    """Return what a node does: an activation is a step of its own."""
    activated: list[Step] = [Relu()] if node.attrs.get("activation") == "relu" else []
    if node.op == "conv":
        return [Convolution(node, layer_shape(node, reads)), *activated]
    if node.op == "linear":
        return [Linear(node), *activated]
    if node.op in ("avgpool", "maxpool"):
        pool = Pool(**{key: node.attrs[key] for key in ("kernel", "stride", "pad")})
        if (makes[2] * pool.kernel[0], makes[3] * pool.kernel[1]) != reads[2:]:
            raise WorkloadError(
                f"{place}: pools {reads[2]}x{reads[3]} by {pool.kernel[0]}x{pool.kernel[1]}; training "
                "wants windows that leave nothing over"
            )
        return [AveragePool(pool.kernel) if node.op == "avgpool" else MaximumPool(pool.kernel)]
    simple: dict[str, list[Step]] = {
        "relu": [Relu()], "sigmoid": [Sigmoid()], "flatten": [Flatten()], "softmax": [],
    }  # fmt: skip
    return simple[node.op]
