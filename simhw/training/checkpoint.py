"""Checkpoints: where a training stands after an epoch, whole or not at all.

Plain arrays in an .npz, written beside the output and put in place of the last one only when it is whole;
nothing in it can run. It is of one recipe and one set of images, whose digests it holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simhw.errors import RecipeError
from simhw.files import replacing
from simhw.reference.npz import Npz

COLUMNS = ("epoch", "rate", "loss", "train_accuracy", "test_accuracy")  # of the log


@dataclass
class State:
    """A training after `len(log)` epochs."""

    params: dict[str, np.ndarray]
    velocity: dict[str, np.ndarray]
    log: list[tuple[float, ...]]


def beside(output: Path) -> Path:
    """Return where the checkpoint of a training lies that will write `output`."""
    return output.with_name(f"{output.name}.checkpoint")


def digest_of(*parts: Any) -> np.ndarray:
    """Return a SHA-256 of plain data and arrays, as 32 bytes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return np.frombuffer(digest.digest(), np.uint8)


def save(path: Path, state: State, digest: np.ndarray) -> None:
    arrays = _arrays(state)
    arrays["digest"] = digest
    arrays["checksum"] = _checksum(arrays)
    with replacing(path, RecipeError) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load(path: Path, begun: State, digest: np.ndarray) -> State:
    """Return the state that a checkpoint holds, of the same parameters as `begun`."""
    if not path.is_file():
        raise RecipeError(f"{path}: no such checkpoint; leave out --resume to begin the training")
    arrays = _whole(path)
    if not np.array_equal(arrays.pop("digest"), digest):
        raise RecipeError(
            f"{path}: is of another recipe or other images; wants the same, or remove it to begin anew"
        )
    log = [tuple(row) for row in arrays["log"].tolist()]
    return State(
        {name: arrays[f"params.{name}"] for name in begun.params},
        {name: arrays[f"velocity.{name}"] for name in begun.velocity},
        log,
    )


def epochs_of(path: Path) -> int:
    """Return how many epochs are behind a checkpoint, which is read whole."""
    return len(_whole(path)["log"])


def _whole(path: Path) -> dict[str, np.ndarray]:
    """Return what a checkpoint holds; it cannot be copied again, so that a broken one is to be removed."""
    try:
        path.open("rb").close()
    except OSError as fault:
        raise RecipeError(f"{path}: cannot be read ({fault.strerror}); wants a file that can be") from None
    try:
        file = Npz(path, RecipeError)
        arrays = {name: file[name] for name in file.names}
    except RecipeError:  # no archive, or what is in it cannot be unpacked
        arrays = {}
    checksum = arrays.pop("checksum", None)
    known = {"digest", "log"} <= set(arrays)
    if not known or checksum is None or not np.array_equal(checksum, _checksum(arrays)):
        raise RecipeError(f"{path}: is no whole checkpoint; remove it to begin the training anew")
    return arrays


def _arrays(state: State) -> dict[str, np.ndarray]:
    return {
        **{f"params.{name}": array for name, array in state.params.items()},
        **{f"velocity.{name}": array for name, array in state.velocity.items()},
        "log": np.array(state.log, dtype=np.float64).reshape(-1, len(COLUMNS)),
    }


def _checksum(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return digest_of(*(part for name in sorted(arrays) for part in (name, arrays[name])))
