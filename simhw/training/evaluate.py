"""How many images a fitted network names rightly, in fixed point, its weights the exact sums of terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simhw.errors import RecipeError, did_you_mean
from simhw.parameters import find, names
from simhw.reference.datasets import Images, find_named
from simhw.reference.fitted import Fitted
from simhw.reference.fold import fuse
from simhw.reference.graph import calibrate
from simhw.reference.numbers import storage_dtype
from simhw.training.recipe import load_recipe
from simhw.training.sgd import Training
from simhw.workload import Workload, load_fitted_params, load_inputs, load_params

IMAGES_AT_ONCE = 250
ACTIVATION_BITS = 16


def accuracy(
    workload: Workload, fitted: dict[str, Fitted], params: dict[str, np.ndarray], images: Images
) -> float:
    """Return the share of labelled images that fixed-point inference names rightly.

    Activations are of 16 bits, in the formats that a trace of these images would have; `params` are the
    real parameters, of which the fitted layers' weights are not looked at.
    """
    if images.labels is None:
        raise ValueError(f"{images.source}: has no labels")
    real = params | {
        f"{name}.weights": layer.real_weights().astype(np.float32) for name, layer in fitted.items()
    }
    graph, real = fuse(workload.graph, real)
    own = {f"{name}.weights": layer.format for name, layer in fitted.items()}
    formats = calibrate(graph, real, images.pixels, ACTIVATION_BITS, own, IMAGES_AT_ONCE)
    whole = {
        f"{name}.weights": layer.weights().astype(storage_dtype(layer.format))
        for name, layer in fitted.items()
    }
    outputs = graph.infer(images.pixels, {**real, **whole}, formats, images_at_once=IMAGES_AT_ONCE)
    named = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return float(np.mean(named == images.labels))


def accuracy_of_training(training: Training) -> float:
    """Return the accuracy on its held-out images of the coefficients that a training ended with."""
    return accuracy(training.recipe.workload, training.fitted(), training.state.params, training.sets.test)


def accuracy_of_file(workload: Workload, weights: str | Path, data: str | Path | None = None) -> float:
    """Return the accuracy of a file of coefficients on all images that are held out."""
    _, params, _ = load_params(workload, weights, data)
    images = load_inputs(workload, data, images=None)
    return accuracy(workload, load_fitted_params(workload, weights, data), params, images)


def shipped_file(name: str) -> Path:
    """Return the coefficients that ship of a recipe; the log of their training lies beside them, as .csv."""
    if name not in names("coefficients"):
        hint = did_you_mean(name, names("coefficients"))
        raise RecipeError(f"{name}: no coefficients ship of a recipe of that name{hint}")
    return find(name, "coefficients")


def accuracy_of(name: str, data: str | Path | None = None) -> float | None:
    """Return the accuracy, measured now, of the coefficients that ship of a recipe.

    It is that of the held-out images that the recipe's workload names, in the folder `data` or in
    SIMHW_DATA; None where they are not at hand.
    """
    workload = load_recipe(name).workload
    path = shipped_file(name)
    if workload.data.file is None or find_named(workload.data.file, data) is None:
        return None
    return accuracy_of_file(workload, path, data)
