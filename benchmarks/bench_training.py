"""How fast trainings learn, what parts of a fit afterwards cost, and what some choices move.

    python benchmarks/bench_training.py                 seconds an epoch
    python benchmarks/bench_training.py parts           lines through some layers, of networks trained without
    python benchmarks/bench_training.py choices         trainings of 10 epochs, each of one recipe changed

Images are MNIST's where SIMHW_DATA names a folder that has them, else the digits that ship, so much fewer.
Epochs have all training images, on one thread, and the images held out are named as well; both the
wall's seconds of one and the processor's are printed, the latter are what a quiet core would take.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np

from simhw.reference.datasets import Images
from simhw.training.evaluate import accuracy, accuracy_of_training, shipped_file
from simhw.training.recipe import LayerFit, load_recipe
from simhw.training.sgd import Sets, Training, load_sets
from simhw.transforms.layer_fits import FitPlan
from simhw.workload import load_params

EPOCHS = 10
TABLE_2, TABLE_3 = "tolba_table2_", "tolba_table3_"


def speed(rounds):
    """Print the median seconds of an epoch, after a first one."""
    for name in (f"{TABLE_2}case0", f"{TABLE_2}case3", f"{TABLE_3}without", f"{TABLE_3}lin6"):
        recipe = load_recipe(name)
        training = Training(recipe, load_sets(recipe))
        training.epoch()
        wall, own = [], []
        for _ in range(rounds):
            begun = time.perf_counter(), time.process_time()
            training.epoch()
            wall.append(time.perf_counter() - begun[0])
            own.append(time.process_time() - begun[1])
        images = len(training.sets.train.pixels)
        print(
            f"{name:22} {np.median(wall):6.2f} s an epoch of {images:,} images, {np.median(own):6.2f} s of "
            "the processor",
            flush=True,
        )


def parts():
    """Print what is named rightly with lines through some layers alone, weights as they ship, 8 bits."""
    for name, fits in (
        (f"{TABLE_2}case0", {layer: LayerFit("linear", 3) for layer in ("fc1", "fc2", "fc3")}),
        (f"{TABLE_3}without", {"conv1": LayerFit("linear", 5), "conv2": LayerFit("linear", 5),
                               "fc": LayerFit("linear", 6)}),
    ):  # fmt: skip
        recipe = load_recipe(name)
        held_out = load_sets(recipe).test
        _, params, _ = load_params(recipe.workload, shipped_file(name))
        weights = {layer: params[f"{layer}.weights"] for layer in fits}
        for chosen in ((), *((layer,) for layer in fits), tuple(fits)):
            fitted = FitPlan({layer: fits[layer] for layer in chosen})(weights)
            found = accuracy(recipe.workload, fitted, params, held_out)
            print(f"{name:22} {' '.join(chosen) or 'none':16} {found:7.2%}", flush=True)


def choices(only):
    """Print what a short training ends with, in float32 and in its own coefficients."""
    wanted = {
        "rows": [(f"{TABLE_2}case{n}", {}, by_columns) for by_columns in (False, True) for n in (3, 4, 5)],
        "decay": [
            (f"{TABLE_2}case4", {"decay": decay, "bits": bits}, False)
            for decay in (0.0001, 0.0)
            for bits in (8, 6)
        ],
        "afterwards": [
            (f"{TABLE_2}inference", change, False)
            for change in ({}, {"rate": 0.01}, {"first_size": 4.0, "rate": 0.01})
        ],
        "first_size": [(f"{TABLE_3}lin64", {"first_size": size}, False) for size in (1.0, 0.5)],
    }
    for name in only or wanted:
        for recipe_name, change, by_columns in wanted[name]:
            recipe = replace(load_recipe(recipe_name), epochs=EPOCHS, **change)
            sets = load_sets(recipe)
            training = Training(recipe, Sets(*map(turned, (sets.train, sets.test))) if by_columns else sets)
            for _ in range(EPOCHS):
                training.epoch()
            told = ", ".join(f"{key} {value:g}" for key, value in change.items())
            print(
                f"{recipe_name:22} {'columns' if by_columns else told or 'as it is':26} "
                f"float32 {training.log['test_accuracy'][-1]:7.2%}  coefficients "
                f"{accuracy_of_training(training):7.2%}",
                flush=True,
            )


def turned(images):
    """Return images whose rows are the columns of those given."""
    return Images(
        np.ascontiguousarray(images.pixels.swapaxes(2, 3)), images.labels, images.source, images.ready
    )


if __name__ == "__main__":
    what = sys.argv[1:] or ["speed"]
    if what[0] == "parts":
        parts()
    elif what[0] == "choices":
        choices(what[1:])
    else:
        speed(3)
