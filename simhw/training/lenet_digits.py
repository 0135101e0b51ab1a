"""The LeNet that ships: trained on the handwritten digits, in NumPy, from a seed, in about half a minute.

    python -m simhw.training.lenet_digits FOLDER

writes `lenet_digits_weights.npz` and the trace `lenet_digits.safetensors` into FOLDER. Training sees the
first 1,437 digits, each turned, slanted, scaled and moved a little anew in each epoch; the last 360 are
held out. A first recipe, shifts alone, named 96.9 % of those rightly; this one was chosen in its stead by
five-fold cross-validation among the 1,437 (98.3 %), and names 98.1 %. On one machine the same seed gives
the same bytes; a BLAS that adds in another order gives weights that differ in their last bits, which is
why the weights ship and are not remade.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simhw.reference.datasets import DIGITS_TRAINING
from simhw.workload import Workload, export, load_inputs, load_params, load_workload
from simhw.workload.weights import draw_weights

NAME = "lenet_digits"
IMAGES = 8  # in the trace: the first of those held out
EPOCHS, BATCH, RATE, DECAY = 30, 32, 2e-3, 0.02
TURN, SCALE, SHIFT = 0.2, 0.12, 2.5  # radians, share of the size, pixels: the most a digit is changed

Params = dict[str, np.ndarray]


def train(seed: int = 1, progress: Callable[[int, int], None] | None = None) -> Params:
    """Return weights trained by AdamW (Loshchilov, Hutter, ICLR 2019), its rate falling to zero."""
    workload = load_workload(NAME)
    batch = load_inputs(workload, "digits", images=DIGITS_TRAINING, split="train")
    if batch.labels is None:
        raise ValueError("the digits have labels")
    params = draw_weights(workload.graph, workload.input_shape, seed)
    rng = np.random.default_rng(seed)
    first, second = ({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    steps = EPOCHS * (len(batch.pixels) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(batch.pixels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            images = _moved(batch.pixels[chosen], rng)
            gradients = _gradients(params, images, batch.labels[chosen])
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            for name, gradient in gradients.items():
                first[name] += 0.1 * (gradient - first[name])
                second[name] += 0.001 * (gradient**2 - second[name])
                slope = first[name] / (1 - 0.9**step)
                spread = np.sqrt(second[name] / (1 - 0.999**step))
                params[name] -= np.float32(rate) * (slope / (spread + 1e-8) + DECAY * params[name])
            if progress:
                progress(step, steps)
    return params


def accuracy(workload: Workload, weights: str | Path | None = None) -> float:
    """Return the share of the held-out digits that float32 inference names rightly."""
    held_out = 1797 - DIGITS_TRAINING
    batch = load_inputs(workload, "digits", images=held_out)
    graph, params, _ = load_params(workload, weights)
    named = graph.infer(batch.pixels, params).reshape(held_out, -1).argmax(axis=1)
    return float(np.mean(named == batch.labels))


def _moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each image turned, slanted, scaled and moved at random, by the nearest pixel."""
    size = images.shape[2]
    middle = (size - 1) / 2
    y, x = np.mgrid[:size, :size] - middle
    moved = np.empty_like(images)
    for image, out in zip(images, moved, strict=True):
        turn, slant = rng.uniform(-TURN, TURN, 2)
        cos, sin = np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(1 - SCALE, 1 + SCALE)
        down, across = rng.uniform(-SHIFT, SHIFT, 2)
        row = np.rint(cos * y + sin * x + middle + down)
        column = np.rint(-sin * y + cos * x + slant * y + middle + across)
        inside = [np.clip(place, 0, size - 1).astype(np.int64) for place in (row, column)]
        out[:] = image[:, inside[0], inside[1]]
    return moved


def _gradients(params: Params, images: np.ndarray, labels: np.ndarray) -> Params:
    """Return the gradient of the mean cross entropy: conv, pool, conv, pool, three linear layers."""
    found: Params = {}
    values = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    inputs, choices = {}, {}
    for name in ("conv1", "conv2"):
        inputs[name] = values
        values = np.maximum(_conv(values, params[f"{name}.weights"], params[f"{name}.bias"]), 0)
        values, choices[name] = _pool(values)
    pooled = values.shape
    values = values.reshape(len(images), -1)
    for name in ("fc1", "fc2", "fc3"):
        inputs[name] = values
        values = values @ params[f"{name}.weights"][:, :, 0, 0].T + params[f"{name}.bias"]
        values = values if name == "fc3" else np.maximum(values, 0)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    slope = powers / powers.sum(axis=1, keepdims=True)
    slope[np.arange(len(labels)), labels] -= 1
    slope /= len(labels)
    for name in ("fc3", "fc2", "fc1"):
        found[f"{name}.weights"] = (slope.T @ inputs[name])[:, :, None, None]
        found[f"{name}.bias"] = slope.sum(axis=0)
        slope = slope @ params[f"{name}.weights"][:, :, 0, 0]
        slope *= inputs[name] > 0  # what fc1 reads left a ReLU, then a maximum
    slope = slope.reshape(pooled)
    for name in ("conv2", "conv1"):
        slope = _unpool(slope, choices[name])
        windows = np.lib.stride_tricks.sliding_window_view(inputs[name], (5, 5), axis=(2, 3))
        found[f"{name}.weights"] = np.einsum("nmef,ncefrs->mcrs", slope, windows, optimize=True)
        found[f"{name}.bias"] = slope.sum(axis=(0, 2, 3))
        if name == "conv2":
            around = np.pad(slope, ((0, 0), (0, 0), (4, 4), (4, 4)))
            turned = params["conv2.weights"][:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
            slope = _conv(around, turned, np.zeros(6, np.float32)) * (inputs["conv2"] > 0)
    return found


def _conv(images: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(images, weights.shape[2:], axis=(2, 3))
    sums = np.tensordot(windows, weights, axes=([1, 4, 5], [1, 2, 3])) + bias
    return np.ascontiguousarray(sums.transpose(0, 3, 1, 2))


def _pool(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of each 2x2 window, and which of the four it was."""
    n, c, h, w = values.shape
    fours = (
        values.reshape(n, c, h // 2, 2, w // 2, 2)
        .transpose(0, 1, 2, 4, 3, 5)
        .reshape(n, c, h // 2, w // 2, 4)
    )
    choice = fours.argmax(axis=4)
    return np.take_along_axis(fours, choice[..., None], axis=4)[..., 0], choice


def _unpool(slope: np.ndarray, choice: np.ndarray) -> np.ndarray:
    n, c, h, w = slope.shape
    fours = np.zeros((n, c, h, w, 4), slope.dtype)
    np.put_along_axis(fours, choice[..., None], slope[..., None], axis=4)
    return fours.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)


def save(params: Params, folder: Path) -> None:
    """Write the weights, under the names they have in files, and the trace they make."""
    stored = {
        name.replace(".weights", ".weight"): array[:, :, 0, 0] if array.shape[2:] == (1, 1) else array
        for name, array in params.items()
    }
    weights = folder / f"{NAME}_weights.npz"
    np.savez(weights, **stored)  # pyright: ignore[reportArgumentType]
    export(load_workload(NAME), images=IMAGES, weights=weights, data="digits").save(
        folder / f"{NAME}.safetensors"
    )


if __name__ == "__main__":
    save(train(), Path(sys.argv[1]))
