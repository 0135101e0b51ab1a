"""Projected stochastic gradient descent: after each step the weights are fitted again.

Tolba et al. (arXiv 2105.02954), Fig. 2: the gradients, multiplied by the rate, are subtracted, and each
group of the updated weights is replaced by its line. Because the fit is a projection, this is descent
among the weights that have a fit; momentum is kept of the gradients as they come.

In a recipe's last `rounded_epochs` the gradients are those at the weights that the rounded coefficients
make, and what is updated are the weights before rounding, so that they move to where rounding harms less.

What is drawn at random (the first weights, the order of each epoch's images) depends on the seed and the
number of the epoch alone, so that a training that goes on from a checkpoint is one that never stopped.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import simhw
from simhw.errors import DataError, RecipeError
from simhw.files import check_outputs, write_file
from simhw.parameters import Parameters
from simhw.parameters.coefficients import Lines
from simhw.reference.datasets import Images
from simhw.reference.fitted import Fitted
from simhw.reference.graph import Graph
from simhw.training import checkpoint
from simhw.training.backprop import Network, Params
from simhw.training.checkpoint import COLUMNS, State
from simhw.training.recipe import Recipe
from simhw.transforms.fit_groups import Projection, apply
from simhw.workload import BareNetwork, load_inputs
from simhw.workload.weights import draw_weights

Progress = Callable[[int, int, str], None]

SIGMOID_GAIN = 4.0  # weights before a sigmoid are larger than before a ReLU: its slope is a quarter at most


@dataclass(frozen=True)
class Sets:
    """The images that are learnt and those that are held out, with their labels."""

    train: Images
    test: Images

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.train.labels, self.test.labels
        if found[0] is None or found[1] is None:
            raise RecipeError(f"{self.train.source}: has no labels; training wants them")
        return found[0], found[1]


def load_sets(recipe: Recipe, data: str | Path | None = None, images: int | None = None) -> Sets:
    """Return the images that a recipe's workload wants, all of each set or the first `images`.

    Of the images held out, which are mostly fewer, those are all that there are if they are no more.
    """
    train = load_inputs(recipe.workload, data, images=images, split="train")
    test = _held_out(recipe, data, images)
    if train.source == test.source:
        raise RecipeError(
            f"{train.source}: holds one set of images, and training wants two: train_images, with their "
            "train_labels, and test_images with theirs, or two files, named alike but for train and test"
        )
    return Sets(train, test)


def _held_out(recipe: Recipe, data: str | Path | None, images: int | None) -> Images:
    try:
        return load_inputs(recipe.workload, data, images=images, split="test")
    except DataError:
        if images is None:
            raise
        whole = load_inputs(recipe.workload, data, images=None, split="test")
        if len(whole.pixels) > images:  # it was not their number
            raise
        return whole


class Training:
    """A recipe at work on its images. `state` is where it stands."""

    def __init__(self, recipe: Recipe, sets: Sets) -> None:
        self.recipe, self.sets = recipe, sets
        self.train_labels, self.test_labels = sets.labels
        images = len(sets.train.pixels)
        if recipe.batch > images:
            raise RecipeError(
                f"{recipe.path or recipe.name}: batch: wants at most the {images} images of "
                f"{sets.train.source}, got {recipe.batch}"
            )
        workload = recipe.workload
        self.network = Network(workload.graph, workload.input_shape)
        self.projections = {
            f"{name}.weights": Projection(shape.weight_shape, fit.kind, fit.group, where=name)
            for name, shape in workload.graph.layer_shapes(workload.input_shape).items()
            if (fit := recipe.fit[name]).kind != "exact" and recipe.fit_when == "training"
        }
        params = first_weights(
            workload.graph, workload.input_shape, recipe.seed, self.projections, recipe.first_size
        )
        self.state = State(params, {name: np.zeros_like(array) for name, array in params.items()}, [])
        self.digest = checkpoint.digest_of(
            recipe.to_dict(), sets.train.pixels, self.train_labels, sets.test.pixels, self.test_labels
        )

    @property
    def log(self) -> dict[str, list[float]]:
        """The columns of COLUMNS, a number for each epoch."""
        return {name: [row[i] for row in self.state.log] for i, name in enumerate(COLUMNS)}

    @property
    def steps_an_epoch(self) -> int:
        """Updates of an epoch; images that fill no batch wait for the next epoch's order."""
        return len(self.sets.train.pixels) // self.recipe.batch

    def epoch(self, progress: Progress | None = None) -> None:
        """Learn from every image once, and add a row to the log."""
        recipe, state = self.recipe, self.state
        number, steps = len(state.log), self.steps_an_epoch
        order = np.random.default_rng([recipe.seed, number]).permutation(len(self.sets.train.pixels))
        losses, rightly = 0.0, 0
        rate = recipe.rate
        for step in range(steps):
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            rate = recipe.rate_at(number * steps + step, recipe.epochs * steps)
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
                loss, right, found = self.network.gradients(
                    self._met(number), self.sets.train.pixels[chosen], self.train_labels[chosen]
                )
                self._update(found, rate)
            self._check_finite(loss, number + 1)
            losses, rightly = losses + loss, rightly + right
            if progress is not None and (step % 20 == 0 or step == steps - 1):
                progress(number * steps + step + 1, recipe.epochs * steps, f"epoch {number + 1}")
        self._check_finite(self._sum(), number + 1)
        met = self._met(number)
        tested = self.network.named_rightly(met, self.sets.test.pixels, self.test_labels)
        row = (
            number + 1,
            rate,
            losses / steps,
            rightly / (steps * recipe.batch),
            tested / len(self.test_labels),
        )
        state.log.append(row)

    def _met(self, epoch: int) -> Params:
        """Return the parameters that images of an epoch meet."""
        if epoch < self.recipe.epochs - self.recipe.rounded_epochs:
            return self.state.params
        self._check_finite(self._sum(), epoch + 1)
        rounded = {
            f"{name}.weights": layer.real_weights().astype(np.float32)
            for name, layer in self.fitted().items()
        }
        return self.state.params | rounded

    def _sum(self) -> float:
        """Return a number that is finite if all parameters are."""
        return sum(float(array.sum(dtype=np.float64)) for array in self.state.params.values())

    def _check_finite(self, value: float, epoch: int) -> None:
        if not math.isfinite(value):
            recipe = self.recipe
            raise RecipeError(
                f"{recipe.path or recipe.name}: rate: the loss is no longer finite in epoch {epoch}; "
                f"wants a lower rate than {recipe.rate:g}"
            )

    def _update(self, found: Params, rate: float) -> None:
        """Take one step against the gradients, and fit the weights again."""
        keep, step = np.float32(self.recipe.momentum), np.float32(rate)
        decay = np.float32(self.recipe.decay)
        for name, weights in self.state.params.items():
            slope = found[name]
            if decay and name.endswith(".weights"):
                slope = slope + decay * weights
            velocity = self.state.velocity[name]
            velocity *= keep
            velocity -= step * slope
            weights += velocity
            if name in self.projections:
                self.projections[name].project(weights, out=weights)

    def fitted(self) -> dict[str, Fitted]:
        """Return every layer's weights as coefficients, in fixed point."""
        return {
            name: apply(
                self.state.params[f"{name}.weights"], fit.kind, fit.group, self.recipe.bits, where=name
            )
            for name, fit in self.recipe.fit.items()
        }


def first_weights(
    graph: Graph,
    input_shape: tuple[int, int, int],
    seed: int,
    projections: Mapping[str, Projection],
    relative_size: float = 1.0,
) -> Params:
    """Return weights to begin with: those drawn from the seed, fitted, and brought back to their size.

    The fit of weights drawn alone leaves a small part of them; without the last step signals would fade
    from layer to layer. Where neighbouring inputs are alike, though, weights on a line add up what others
    would cancel, and signals may grow: `relative_size` says how much smaller the weights are to be.
    Weights before a sigmoid are SIGMOID_GAIN times as large, biases zero.
    """
    params = draw_weights(graph, input_shape, seed)
    before_sigmoid = {node.inputs[0] for node in graph.nodes if node.op == "sigmoid"}
    for name, array in params.items():
        if name.endswith(".bias"):
            array[...] = 0
            continue
        size = float(np.linalg.norm(array))
        if name in projections:
            projections[name].project(array, out=array)
        gain = SIGMOID_GAIN if name.removesuffix(".weights") in before_sigmoid else 1.0
        array *= np.float32(relative_size * gain * size / float(np.linalg.norm(array)))
    return params


def train(
    recipe: Recipe,
    output: Path,
    *,
    data: str | Path | None = None,
    images: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Training:
    """Train by a recipe and write the coefficients to `output` and the log beside it, as .csv.

    After each epoch a checkpoint beside `output` says how to go on with `resume`; it goes when the
    training is done. `images` takes the first so many of each set; `progress` is told (steps done, steps
    in all, where it stands).
    """
    log, stands = output.with_suffix(".csv"), checkpoint.beside(output)
    if output.suffix != ".npz":
        raise RecipeError(f"{output}: wants a name that ends in .npz")
    check_outputs([output, log, stands], [recipe.path], RecipeError)
    if not resume and stands.exists():
        raise RecipeError(
            f"{stands}: is left of a training that did not end; --resume goes on with it, or remove it"
        )
    training = Training(recipe, load_sets(recipe, data, images))
    if resume:
        training.state = checkpoint.load(stands, training.state, training.digest)
    while len(training.state.log) < recipe.epochs:
        training.epoch(progress)
        checkpoint.save(stands, training.state, training.digest)
    coefficients_of(training).save(output)
    write_file(log, log_text(training, output), RecipeError)
    stands.unlink(missing_ok=True)
    return training


def coefficients_of(training: Training) -> Parameters:
    """Return what a trace can be made of: each layer's coefficients and its biases, as parameters."""
    recipe, biases = training.recipe, training.state.params
    return Parameters(
        kind="coefficients",
        name=recipe.name,
        workload=recipe.workload.name,
        digests=BareNetwork(recipe.workload).digests,
        layers={
            name: Lines(**fitted.to_arrays(), bias=biases.get(f"{name}.bias"))
            for name, fitted in training.fitted().items()
        },
        cites=recipe.cites,
        recipe={name: value for name, value in recipe.to_dict().items() if name != "graph"},
        made={
            "simhw": simhw.__version__,
            "learnt": f"{len(training.sets.train.pixels)} images of {training.sets.train.source}",
        },
    )


def log_text(training: Training, output: Path) -> str:
    """Return the log: what made it, then a row for each epoch."""
    recipe, sets = training.recipe, training.sets
    command = shlex.join(
        ["simhw", "train", recipe.path.name if recipe.path else recipe.name, "-o", output.name]
    )
    head = [
        f"# {command} (simhw {simhw.__version__}, numpy {np.__version__})",
        f"# learnt {len(sets.train.pixels)} images of {sets.train.source}, "
        f"held out {len(sets.test.pixels)} of {sets.test.source}; accuracies are of float32 weights"
        + (f", in the last {recipe.rounded_epochs} epochs rounded" if recipe.rounded_epochs else ""),
        ",".join(COLUMNS),
    ]
    rows = [f"{int(row[0])}," + ",".join(f"{value:.6g}" for value in row[1:]) for row in training.state.log]
    return "\n".join([*head, *rows]) + "\n"


def read_log(path: Path) -> dict[str, list[float]]:
    """Return the columns of a log."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    if not lines or lines[0].split(",") != list(COLUMNS):
        raise RecipeError(f"{path}: is no log of a training; wants the columns {', '.join(COLUMNS)}")
    try:
        rows = [[float(value) for value in line.split(",")] for line in lines[1:]]
        return {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    except (ValueError, IndexError):
        raise RecipeError(f"{path}: has a row that is not {len(COLUMNS)} numbers; make it again") from None
