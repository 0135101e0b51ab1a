"""Data sets: images and their classes from files, from what ships, or drawn from a seed.

Every source gives pixels as [N, C, H, W], 0 to 255 where they are pixels, brought to the network's input by
`fit`; what a network wants beyond that (mean, deviation, order of channels) is its workload's to say.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simhw import shipped
from simhw.errors import DataError, did_you_mean
from simhw.reference import pictures
from simhw.reference.npz import Npz

ENVIRONMENT = "SIMHW_DATA"
SPLITS = ("train", "test")
FITS = ("whole", "bilinear")
DIGITS_TRAINING = 1437  # of the 1,797 digits in their order; the last 360 are held out

_DIGITS = Path(__file__).with_name("digits.npz")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue: ITU-R BT.601


@dataclass(frozen=True)
class Images:
    """A batch for a network: float32 [N, C, H, W], and its classes where they are known.

    `ready` says that the values are network input as they stand and want no preprocessing.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    source: str
    ready: bool = False


@dataclass(frozen=True)
class Request:
    """Which images are wanted, and the [C, H, W] they are to have; `images` None is all from `first` on."""

    shape: tuple[int, int, int]
    images: int | None = 1
    first: int = 0
    split: str = "test"
    array: str | None = None  # the name of the images in an .npz, where it is not a usual one
    fit: str = "whole"

    def __post_init__(self) -> None:
        for name, least in (("images", 1), ("first", 0)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise DataError(
                    f"{name}: wants a whole number of at least {least}, got {getattr(self, name)}"
                )
        if self.split not in SPLITS:
            raise DataError(f"split: unknown split {self.split!r}{did_you_mean(self.split, SPLITS)}")
        if self.fit not in FITS:
            raise DataError(f"fit: unknown way to fit {self.fit!r}{did_you_mean(self.fit, FITS)}")

    def taken(self, available: int, where: str) -> slice:
        """Return the wanted slice of `available` images."""
        end = max(available, self.first + 1) if self.images is None else self.first + self.images
        if end > available:
            raise DataError(
                f"{where}: holds {available} images; wants at most that many, "
                f"got {end - self.first} images from number {self.first} on"
            )
        return slice(self.first, end)


def find_data(name: str | Path, folder: str | Path | None = None) -> Path:
    """Return the file or folder meant by `name`: a path, or else what `find_named` finds."""
    found = Path(name) if os.path.exists(name) else find_named(name, folder)
    if found is None:
        looked = "".join(f" or in {place}" for place in _places(folder))
        raise DataError(
            f"{name}: no such file or folder here{looked}; give its path, or the folder that holds it "
            f"by --data or {ENVIRONMENT}"
        )
    return found


def find_named(name: str | Path, folder: str | Path | None = None, beside: Path | None = None) -> Path | None:
    """Return the file of this name in `folder`, SIMHW_DATA, the folder `beside`, or among what ships."""
    places = (*_places(folder), *([beside] if beside else ()), shipped.folder("traces"))
    return next((place / name for place in places if os.path.exists(place / name)), None)


def _places(folder: str | Path | None) -> list[Path]:
    return [Path(place) for place in (folder, os.environ.get(ENVIRONMENT)) if place]


def load(source: str | Path, request: Request, *, seed: int = 0) -> Images:
    """Return images of `digits`, of `synthetic[:sparsity=S,negative=P]`, or of a file or folder of data."""
    if is_made(source):
        options = check_source(str(source))
        return synthetic(request, seed=seed, **options) if str(source) != "digits" else digits(request)
    path = Path(source)
    if os.path.isdir(path):
        return _from_folder(path, request)
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder; wants a data set, digits, or synthetic")
    return _from_file(path, request)


def digits(request: Request) -> Images:
    """Return handwritten digits (UCI, 1998): 8x8 pixels of 17 levels, brought to 0..255.

    The first 1,437 are for training, the last 360, in their order, are held out for testing.
    """
    part = slice(0, DIGITS_TRAINING) if request.split == "train" else slice(DIGITS_TRAINING, None)
    with np.load(_DIGITS, allow_pickle=False) as file:
        images, labels = file["images"][part], file["labels"][part]
    taken = request.taken(len(images), f"digits ({request.split})")
    pixels = images[taken, None].astype(np.float32) * np.float32(255 / 16)
    return Images(fit(pixels, request, "digits"), labels[taken].astype(np.int64), f"digits ({request.split})")


def synthetic(request: Request, *, seed: int = 0, sparsity: float = 0.0, negative: float = 0.0) -> Images:
    """Return images of random values: a share `sparsity` of zeros, and of the others `negative` below zero.

    Both shares are exact for each image, to the nearest whole count. Magnitudes are half-normal, kept
    within 1/16 and 4, so that in every format zeros, and nothing else, are zeros. An image depends on
    its number and the seed alone.
    """
    if request.images is None:
        raise DataError("synthetic: has no end; wants a number of images")
    size = int(np.prod(request.shape))
    zeros = round(sparsity * size)
    below = round(negative * (size - zeros))
    batch = np.empty((request.images, size), np.float32)
    for row, number in zip(batch, range(request.first, request.first + request.images), strict=True):
        rng = np.random.default_rng([seed, number])
        row[:] = np.clip(np.abs(rng.standard_normal(size)), 1 / 16, 4)
        order = rng.permutation(size)
        row[order[:zeros]] = 0
        row[order[zeros : zeros + below]] *= -1
    source = f"synthetic: sparsity {sparsity:g}, negative {negative:g}, seed {seed}"
    return Images(batch.reshape(-1, *request.shape), None, source, ready=True)


def is_made(source: str | Path) -> bool:
    """Whether a source names what needs no file: the digits that ship, or synthetic data."""
    return str(source) == "digits" or str(source).partition(":")[0] == "synthetic"


def check_source(text: str) -> dict[str, float]:
    """Return the options of `digits` (none) or `synthetic:...`; raise for anything else."""
    if not is_made(text):
        raise DataError(f"{text}: unknown source{did_you_mean(text, ('digits', 'synthetic'))}")
    options: dict[str, float] = {}
    faults: list[str] = []
    for part in text.partition(":")[2].split(",") if ":" in text else ():
        name, _, value = part.strip().partition("=")
        if name not in ("sparsity", "negative"):
            faults.append(f"{text}: unknown option {name!r}{did_you_mean(name, ('sparsity', 'negative'))}")
            continue
        try:
            options[name] = float(value)
        except ValueError:
            options[name] = -1.0
        if not 0 <= options[name] <= 1:
            faults.append(f"{text}: {name}: wants a share from 0 to 1, got {value!r}")
    if faults:
        raise DataError(faults)
    return options


def fit(pixels: np.ndarray, request: Request, where: str) -> np.ndarray:
    """Return [N, C, H, W] pixels brought to the shape that is asked for.

    Channels: grey is repeated, colour is weighed to grey. "whole" repeats each pixel by the largest whole
    factor that fits both ways, then centres: zeros around what is smaller, the middle of what is larger.
    "bilinear" interpolates to the size asked for, pixel centres at halves.
    """
    channels, height, width = request.shape
    pixels = pixels.astype(np.float32, copy=False)
    if not np.isfinite(pixels).all():
        raise DataError(f"{where}: holds values that are not finite; wants numbers")
    if pixels.shape[1] == 1:
        pixels = np.repeat(pixels, channels, axis=1)
    elif channels == 1 and pixels.shape[1] == 3:
        pixels = np.tensordot(pixels, _LUMA, axes=(1, 0))[:, None]
    elif pixels.shape[1] != channels:
        raise DataError(f"{where}: has images of {pixels.shape[1]} channels; the network wants {channels}")
    if request.fit == "bilinear":
        return _bilinear(_bilinear(pixels, 2, height), 3, width)
    factor = max(1, min(height // pixels.shape[2], width // pixels.shape[3]))
    pixels = pixels.repeat(factor, axis=2).repeat(factor, axis=3) if factor > 1 else pixels
    return np.ascontiguousarray(_centred(_centred(pixels, 2, height), 3, width))


def _centred(pixels: np.ndarray, axis: int, size: int) -> np.ndarray:
    more = size - pixels.shape[axis]
    if more >= 0:
        around = [(0, 0)] * 4
        around[axis] = (more // 2, more - more // 2)
        return np.pad(pixels, around)
    start = -more // 2
    return pixels.take(range(start, start + size), axis=axis)


def _bilinear(pixels: np.ndarray, axis: int, size: int) -> np.ndarray:
    given = pixels.shape[axis]
    if given == size:
        return pixels
    place = np.clip((np.arange(size) + 0.5) * (given / size) - 0.5, 0, given - 1)
    before = np.minimum(place.astype(np.int64), max(0, given - 2))
    shape = [1, 1, 1, 1]
    shape[axis] = size
    share = (place - before).astype(np.float32).reshape(shape)
    after = np.minimum(before + 1, given - 1)
    return pixels.take(before, axis=axis) * (1 - share) + pixels.take(after, axis=axis) * share


# Files


def _from_file(path: Path, request: Request) -> Images:
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty; wants a data set")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".npz"):
        return _from_npz(path, request)
    if "idx3" in name:
        return _from_idx(path, request)
    if name.endswith(".bin"):
        return _from_cifar([path], request)
    if path.suffix.lower() in (*pictures.READ, *pictures.KNOWN_UNREAD):
        return _from_pictures([path], None, str(path), request)
    raise DataError(
        f"{path}: is no data set that simhw knows; wants .npz, MNIST's idx3-ubyte files, "
        f"CIFAR-10's .bin files, or {', '.join(pictures.READ)} pictures"
    )


def _from_folder(path: Path, request: Request) -> Images:
    """MNIST's IDX files, CIFAR-10's binary batches, or pictures: one folder per class, or none."""
    part = "train" if request.split == "train" else "t10k"
    idx = sorted(file for file in path.glob(f"{part}-images*idx3-ubyte*") if file.is_file())
    if idx:
        return _from_idx(idx[0], request)
    batches = sorted(path.glob("data_batch_*.bin" if request.split == "train" else "test_batch.bin"))
    if batches:
        return _from_cifar(batches, request)
    known = (*pictures.READ, *pictures.KNOWN_UNREAD)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file())
    if not files:
        raise DataError(
            f"{path}: holds no data that simhw knows; wants MNIST's idx3-ubyte files, "
            f"CIFAR-10's .bin files, or {', '.join(pictures.READ)} pictures"
        )
    classes = sorted({file.relative_to(path).parts[0] for file in files})
    labels = None
    if all(len(file.relative_to(path).parts) > 1 for file in files):
        labels = np.array([classes.index(file.relative_to(path).parts[0]) for file in files], np.int64)
    return _from_pictures(files, labels, str(path), request)


def _from_pictures(files: list[Path], labels: np.ndarray | None, where: str, request: Request) -> Images:
    taken = request.taken(len(files), where)
    fitted = [
        fit(_to_nchw(pictures.read(file)[None], str(file)), request, str(file)) for file in files[taken]
    ]
    return Images(np.concatenate(fitted), None if labels is None else labels[taken], where)


def _from_npz(path: Path, request: Request) -> Images:
    file = Npz(path, DataError)
    split = request.split
    if split == "train" and not {"train_images", "x_train"}.intersection(file.names):
        path = _training_file(path)
        file = Npz(path, DataError)
    images = [request.array, f"{split}_images", f"x_{split}", "images", "x"]
    labels = [f"{split}_labels", f"y_{split}", "labels", "y"]
    name = next((one for one in images if one in file), None)
    if name is None:
        given = ", ".join(file.names) or "nothing"
        raise DataError(f"{path}: holds {given}; wants images under one of {', '.join(filter(None, images))}")
    array, where = file[name], f"{path}: {name}"
    ordered = _to_nchw(array, where)
    taken = request.taken(len(ordered), where)
    pixels = fit(ordered[taken], request, where)
    classes = next((file[one] for one in labels if one in file), None)
    if classes is not None and classes.shape != (len(array),):
        raise DataError(f"{path}: holds {len(array)} images and labels of shape {list(classes.shape)}")
    return Images(
        pixels, None if classes is None else classes[taken].astype(np.int64), f"{path.name}: {name}"
    )


def _training_file(path: Path) -> Path:
    """Return the file that holds the training images of the set of which `path` holds one part.

    That is `path` itself, unless its name says that they are those for testing: beside cifar10_test.npz
    it is cifar10_train.npz, or else the one file whose name begins so.
    """
    before, word, after = path.stem.rpartition("test")
    if not word or before[-1:].isalnum() or after[:1].isalnum():
        return path
    begins = f"{before}train"
    exact = path.with_name(f"{begins}{after}.npz")
    if exact.is_file():
        return exact
    found = sorted(one for one in path.parent.glob("*.npz") if one.stem.startswith(begins))
    if len(found) != 1:
        names = ", ".join(one.name for one in found)
        raise DataError(
            f"{path}: holds images for testing, and beside it lies "
            f"{f'more than one {begins}*.npz: {names}' if found else f'no {begins}*.npz'}; wants one that "
            "holds images for training"
        )
    return found[0]


def _to_nchw(array: np.ndarray, where: str) -> np.ndarray:
    """Return images as [N, C, H, W]: from [N, H, W], or from colour or grey that come last or first."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return array.transpose(0, 3, 1, 2)
    if array.ndim == 4:
        return array
    raise DataError(
        f"{where}: has shape {list(array.shape)}; wants images [N, H, W], [N, H, W, C] or [N, C, H, W]"
    )


def _from_idx(path: Path, request: Request) -> Images:
    """Read MNIST's files (LeCun et al., the IDX format), plain or compressed by gzip."""
    images = _idx(path, 3)
    taken = request.taken(len(images), str(path))
    labels = None
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside != path and beside.is_file():
        labels = _idx(beside, 1)
        if len(labels) != len(images):
            raise DataError(f"{beside}: holds {len(labels)} labels, and {path.name} {len(images)} images")
        labels = labels[taken].astype(np.int64)
    return Images(fit(images[taken, None], request, str(path)), labels, path.name)


def _idx(path: Path, axes: int) -> np.ndarray:
    data = _bytes(path)
    wanted = bytes((0, 0, 8, axes))  # unsigned bytes, so many axes
    if data[:4] != wanted:
        raise DataError(
            f"{path}: begins with {data[:4].hex()}; wants {wanted.hex()}, an idx{axes}-ubyte file"
        )
    shape = np.frombuffer(data[4 : 4 + 4 * axes].ljust(4 * axes, b"\0"), ">u4").tolist()
    size, start = math.prod(shape), 4 + 4 * axes
    if len(data) - start != size:
        raise DataError(
            f"{path}: holds {max(0, len(data) - start)} values; its header wants {size}: copy it again"
        )
    return np.frombuffer(data, np.uint8, size, start).reshape(shape)


def _from_cifar(files: list[Path], request: Request) -> Images:
    """Read CIFAR-10's binary batches: records of a class and of 32x32 bytes of red, green and blue."""
    records = []
    for file in files:
        data = _bytes(file)
        if not data or len(data) % 3073:
            raise DataError(
                f"{file}: holds {len(data)} bytes; wants CIFAR-10 records of 3073 bytes: copy it again"
            )
        records.append(np.frombuffer(data, np.uint8).reshape(-1, 3073))
    where = str(files[0].parent if len(files) > 1 else files[0])
    rows = np.concatenate(records)
    rows = rows[request.taken(len(rows), where)]
    pixels = fit(rows[:, 1:].reshape(-1, 3, 32, 32), request, where)
    return Images(pixels, rows[:, 0].astype(np.int64), where)


def _bytes(path: Path) -> bytes:
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); copy it again"
        ) from None
