# ruff: noqa: E501 - messages stand whole, one a line
"""Data sets: each format gives the images and labels put into it, and bad files say what is wrong."""

from __future__ import annotations

import gzip
import pickle
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from simhw.errors import DataError
from simhw.reference import datasets
from simhw.reference.datasets import Request, load

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def request(shape=(1, 6, 4), **more) -> Request:
    return Request(shape=shape, **more)


def fails_with(message: str):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


# Digits


def test_the_digits_are_all_there():
    """1,797 images of ten classes, as the UCI's description of its test part counts them."""
    train = load("digits", request((1, 8, 8), images=1437, split="train"))
    test = load("digits", request((1, 8, 8), images=360))
    labels = np.concatenate([train.labels, test.labels])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    pixels = np.concatenate([train.pixels, test.pixels])
    np.testing.assert_array_equal(np.unique(pixels), np.arange(17) * (255 / 16))


def test_a_digit_looks_like_itself():
    zero = load("digits", request((1, 8, 8), split="train")).pixels[0, 0]
    assert zero[0].tolist() == [0, 0, 5 * 255 / 16, 13 * 255 / 16, 9 * 255 / 16, 1 * 255 / 16, 0, 0]
    assert not zero[3:5, 3:5].any()  # the hole of the zero


def test_digits_fill_any_network():
    """Pixels are repeated by the largest whole factor and centred; grey is every channel's."""
    small = load("digits", request((1, 8, 8))).pixels
    large = load("digits", request((3, 28, 28))).pixels
    assert large.shape == (1, 3, 28, 28)
    np.testing.assert_array_equal(large[0, 1, 2:26:3, 2:26:3], small[0, 0])
    np.testing.assert_array_equal(large[0, 2, 4:26:3, 4:26:3], small[0, 0])
    assert not large[:, :, :2].any()
    assert not large[:, :, :, 26:].any()
    tall = load("digits", request((1, 49, 10))).pixels
    np.testing.assert_array_equal(tall[0, 0, 20:28, 1:9], small[0, 0])


def test_more_digits_than_there_are_cannot_be_had():
    with fails_with(
        "digits (test): holds 360 images; wants at most that many, got 2 images from number 359 on"
    ):
        load("digits", request((1, 8, 8), images=2, first=359))


# Synthetic


@pytest.mark.parametrize(("sparsity", "negative"), [(0, 0), (0.5, 0.25), (0.37, 1), (1, 0), (0, 0.5)])
def test_synthetic_data_has_exactly_the_shares_it_is_asked_for(sparsity, negative):
    batch = load(f"synthetic:sparsity={sparsity},negative={negative}", request((3, 7, 11), images=4))
    size = 3 * 7 * 11
    for image in batch.pixels:
        zeros = round(sparsity * size)
        assert (image == 0).sum() == zeros
        assert (image < 0).sum() == round(negative * (size - zeros))
        if zeros < size:
            assert np.abs(image[image != 0]).min() >= 1 / 16
            assert np.abs(image).max() <= 4


def test_a_synthetic_image_depends_on_its_number_and_the_seed_alone():
    whole = load("synthetic", request((1, 5, 5), images=4), seed=9)
    part = load("synthetic", request((1, 5, 5), images=2, first=2), seed=9)
    np.testing.assert_array_equal(whole.pixels[2:], part.pixels)
    other = load("synthetic", request((1, 5, 5), images=4), seed=8)
    assert (whole.pixels != other.pixels).any()


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("synthetic:sparsty=0.5",
         "synthetic:sparsty=0.5: unknown option 'sparsty'; did you mean 'sparsity'? known: negative, sparsity"),
        ("synthetic:sparsity=2", "synthetic:sparsity=2: sparsity: wants a share from 0 to 1, got '2'"),
        ("synthetic:negative=half", "synthetic:negative=half: negative: wants a share from 0 to 1, got 'half'"),
        ("synthetic:sparsity=nan", "synthetic:sparsity=nan: sparsity: wants a share from 0 to 1, got 'nan'"),
    ],
)  # fmt: skip
def test_a_slip_in_synthetic_data_is_named(source, fault):
    with fails_with(fault):
        load(source, request())


# Files


def test_an_npz_is_read_under_the_usual_names(tmp_path):
    file = tmp_path / "set.npz"
    for images, labels in (("images", "labels"), ("test_images", "test_labels"), ("x_test", "y_test")):
        np.savez(file, **{images: GREY, labels: LABELS})
        batch = load(file, request(images=2, first=1))
        np.testing.assert_array_equal(batch.pixels[:, 0], GREY[1:3])
        assert batch.labels.tolist() == [1, 4]
    np.savez(file, train_images=GREY, test_images=GREY + 1, train_labels=LABELS, test_labels=LABELS)
    np.testing.assert_array_equal(load(file, request(split="train")).pixels[0, 0], GREY[0])


def test_training_images_may_lie_in_a_file_of_their_own(tmp_path):
    """Named alike but for train and test; the whole name goes before one that has more words."""
    test, train = tmp_path / "grey_test.npz", request(split="train")
    np.savez(test, images=GREY, labels=LABELS)
    np.savez(tmp_path / "grey_train_some.npz", images=GREY + 1, labels=LABELS[::-1])
    np.savez(tmp_path / "other_train.npz", images=GREY + 2)
    batch = load(test, train)
    np.testing.assert_array_equal(batch.pixels[0, 0], GREY[0] + 1)
    assert (batch.labels.tolist(), batch.source) == ([5], "grey_train_some.npz: images")
    np.savez(tmp_path / "grey_train.npz", train_images=GREY + 3, train_labels=LABELS)
    assert load(test, train).source == "grey_train.npz: train_images"
    assert load(test, request()).source == "grey_test.npz: images"
    np.savez(test, test_images=GREY, train_images=GREY + 4)
    np.testing.assert_array_equal(load(test, train).pixels[0, 0], GREY[0] + 4)


@pytest.mark.parametrize("name", ["latest.npz", "testing.npz", "grey.npz", "grey_train.npz"])
def test_a_name_that_does_not_say_test_is_that_of_all_images(tmp_path, name):
    np.savez(tmp_path / name, images=GREY)
    assert load(tmp_path / name, request(split="train")).source == f"{name}: images"


def test_training_images_that_are_not_there_are_not_those_for_testing(tmp_path):
    file, train = tmp_path / "grey_test.npz", request(split="train")
    np.savez(file, images=GREY)
    with fails_with(
        f"{file}: holds images for testing, and beside it lies no grey_train*.npz; wants one that holds "
        "images for training"
    ):
        load(file, train)
    for name in ("grey_train_b.npz", "grey_train_a.npz"):
        np.savez(tmp_path / name, images=GREY)
    with fails_with(
        f"{file}: holds images for testing, and beside it lies more than one grey_train*.npz: "
        "grey_train_a.npz, grey_train_b.npz; wants one that holds images for training"
    ):
        load(file, train)


def test_the_array_can_be_named(tmp_path):
    np.savez(tmp_path / "set.npz", mfcc=GREY.astype(np.float16), labels=LABELS)
    batch = load(tmp_path / "set.npz", request(array="mfcc"))
    np.testing.assert_array_equal(batch.pixels[0, 0], GREY[0])


def test_channels_may_come_last_or_first(tmp_path):
    wanted = COLOUR.transpose(0, 3, 1, 2)
    for array in (COLOUR, wanted):
        np.savez(tmp_path / "set.npz", images=array)
        batch = load(tmp_path / "set.npz", request((3, 6, 4), images=5))
        np.testing.assert_array_equal(batch.pixels, wanted)
        assert batch.labels is None


def test_colour_becomes_grey_by_the_weights_of_the_eye(tmp_path):
    np.savez(tmp_path / "set.npz", images=COLOUR)
    grey = load(tmp_path / "set.npz", request()).pixels[0, 0]
    np.testing.assert_allclose(grey, COLOUR[0] @ [0.299, 0.587, 0.114], rtol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_mnists_own_files_are_read(tmp_path, packed):
    def write(name, data):
        with gzip.open(tmp_path / f"{name}.gz", "wb") if packed else open(tmp_path / name, "wb") as file:
            file.write(data)

    for part, shift in (("train", 0), ("t10k", 7)):
        write(f"{part}-images-idx3-ubyte", struct.pack(">IIII", 0x803, 5, 6, 4) + (GREY + shift).tobytes())
        write(f"{part}-labels-idx1-ubyte", struct.pack(">II", 0x801, 5) + LABELS.tobytes())
    batch = load(tmp_path, request(images=5))
    np.testing.assert_array_equal(batch.pixels[:, 0], GREY + 7)
    assert batch.labels.tolist() == LABELS.tolist()
    single = tmp_path / f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    np.testing.assert_array_equal(load(single, request(images=5)).pixels[:, 0], GREY)
    np.testing.assert_array_equal(load(tmp_path, request(split="train")).pixels[0, 0], GREY[0])


def test_an_idx_file_cut_short_or_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "t10k-images-idx3-ubyte"
    file.write_bytes(struct.pack(">IIII", 0x803, 5, 6, 4) + bytes(50))
    with fails_with(f"{file}: holds 50 values; its header wants 120: copy it again"):
        load(tmp_path, request())
    file.write_bytes(struct.pack(">II", 0x801, 5) + bytes(5))
    with fails_with(f"{file}: begins with 00000801; wants 00000803, an idx3-ubyte file"):
        load(file, request())
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"no gzip at all")
    with fails_with(
        f"{tmp_path / 't10k-images-idx3-ubyte.gz'}: cannot be read (Not a gzipped file (b'no')); copy it again"
    ):
        load(tmp_path / "t10k-images-idx3-ubyte.gz", request())


def test_cifar10s_binary_batches_are_read(tmp_path):
    planes = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    records = [bytes([label]) + image.tobytes() for label, image in zip((7, 0, 9, 2), planes, strict=True)]
    (tmp_path / "data_batch_1.bin").write_bytes(b"".join(records[:2]))
    (tmp_path / "data_batch_2.bin").write_bytes(b"".join(records[2:]))
    (tmp_path / "test_batch.bin").write_bytes(records[3])
    batch = load(tmp_path, request((3, 32, 32), images=4, split="train"))
    np.testing.assert_array_equal(batch.pixels, planes)
    assert batch.labels.tolist() == [7, 0, 9, 2]
    assert load(tmp_path, request((3, 32, 32))).labels.tolist() == [2]
    (tmp_path / "test_batch.bin").write_bytes(records[3][:-1])
    with fails_with(
        f"{tmp_path / 'test_batch.bin'}: holds 3072 bytes; wants CIFAR-10 records of 3073 bytes: copy it again"
    ):
        load(tmp_path, request((3, 32, 32)))


def png(picture: np.ndarray, filters: list[int]) -> bytes:
    """A PNG whose rows are filtered as told: the definition of the standard, byte by byte."""
    height, width, channels = picture.shape
    flat = picture.reshape(height, -1).astype(int)
    body = b""
    for y in range(height):
        body += bytes([filters[y]])
        for i in range(width * channels):
            left = flat[y, i - channels] if i >= channels else 0
            up = flat[y - 1, i] if y else 0
            corner = flat[y - 1, i - channels] if y and i >= channels else 0
            estimate = left + up - corner
            paeth = min((left, up, corner), key=lambda near: abs(estimate - near))
            guess = (0, left, up, (left + up) // 2, paeth)[filters[y]]
            body += bytes([(flat[y, i] - guess) % 256])

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = zlib.compress(body)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", parts[:9])
        + chunk(b"IDAT", parts[9:])
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_pictures_are_read_whatever_their_filters(tmp_path, channels):
    picture = RNG.integers(0, 256, (6, 4, channels), dtype=np.uint8)
    file = tmp_path / "picture.png"
    file.write_bytes(png(picture, [4, 0, 1, 2, 3, 4]))
    seen = channels - (channels in (2, 4))  # alpha is dropped
    batch = load(file, request((seen, 6, 4)))
    np.testing.assert_array_equal(batch.pixels[0].transpose(1, 2, 0), picture[:, :, :seen])


def test_png_pictures_of_another_writer_are_read(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    smooth = np.add.outer(np.arange(40) * 5, np.arange(30) * 2)[:, :, None] // [1, 2, 3]
    image.imsave(tmp_path / "picture.png", smooth.astype(np.uint8))
    batch = load(tmp_path / "picture.png", request((3, 40, 30)))
    np.testing.assert_array_equal(batch.pixels[0].transpose(1, 2, 0), smooth)


def test_netpbm_and_numpy_pictures_are_read(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n# a remark\n4 6\n255\n" + GREY[0].tobytes())
    (tmp_path / "b.pgm").write_bytes(b"P2 4 6 255\n" + b" ".join(b"%d" % v for v in GREY[1].ravel()))
    (tmp_path / "c.pgm").write_bytes(b"P5 4 6 15\n" + (GREY[2] // 16).tobytes())
    np.save(tmp_path / "d.npy", GREY[3])
    (tmp_path / "e.ppm").write_bytes(b"P6 4 6 255\n" + COLOUR[0].tobytes())
    batch = load(tmp_path, request((3, 6, 4), images=5))
    for i in (0, 1, 3):
        np.testing.assert_array_equal(batch.pixels[i, 2], GREY[i])
    np.testing.assert_array_equal(batch.pixels[2, 0], GREY[2] // 16 * 17.0)
    np.testing.assert_array_equal(batch.pixels[4], COLOUR[0].transpose(2, 0, 1))
    assert batch.labels is None


def test_folders_are_classes(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", GREY[0])
    assert load(tmp_path, request(images=2)).labels.tolist() == [0, 1]  # cat, dog


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("x.png", b"\x89PNG\r\n\x1a\n", "is not a whole .png picture (cut short); save it again"),
        ("x.png", b"GIF89a", "is not a whole .png picture (no PNG signature); save it again"),
        ("x.ppm", b"P6 4 6 255\n12", "is not a whole .ppm picture (cut short, or a value beyond its levels); save it again"),
        ("x.pgm", b"P5 4", "is not a whole .pgm picture (cut short); save it again"),
        ("x.pgm", b"P5 99999 99999 255\n", "is not a whole .pgm picture (99999 x 99999 pixels); save it again"),
        ("x.jpg", b"\xff\xd8", "simhw reads .png, .ppm, .pgm, .npy pictures; convert it to one of these"),
        ("x.npz", b"PK\x03\x04 and then nothing", "is cut short or altered; copy it again"),
        ("x.npz", b"words", "is not an .npz file; wants arrays saved by numpy.savez"),
        ("x.npz", b"", "is empty; wants a data set"),
        ("x.npz", pickle.dumps([1]), "holds pickled objects, which could run code and are never opened; save plain arrays of numbers"),
        ("x.csv", b"1,2,3", "is no data set that simhw knows; wants .npz, MNIST's idx3-ubyte files, CIFAR-10's .bin files, or .png, .ppm, .pgm, .npy pictures"),
    ],
)  # fmt: skip
def test_a_bad_file_says_what_is_wrong(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with fails_with(f"{tmp_path / name}: {fault}"):
        load(tmp_path / name, request())


def test_a_png_with_a_flipped_bit_is_refused(tmp_path):
    data = bytearray(png(COLOUR[0], [0] * 6))
    data[-20] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with fails_with(f"{tmp_path / 'x.png'}: is not a whole .png picture (a checksum differs); save it again"):
        load(tmp_path / "x.png", request((3, 6, 4)))


def test_pickled_arrays_are_never_opened(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.array([{}, []], dtype=object))
    with fails_with(
        f"{tmp_path / 'x.npz'}: images: holds pickled objects, which could run code and are never opened; "
        "save plain arrays of numbers"
    ):
        load(tmp_path / "x.npz", request())


def test_arrays_that_are_no_images_are_refused(tmp_path):
    file = tmp_path / "x.npz"
    np.savez(file, pictures=GREY)
    with fails_with(f"{file}: holds pictures; wants images under one of test_images, x_test, images, x"):
        load(file, request())
    np.savez(file, images=GREY[0])
    with fails_with(
        f"{file}: images: has shape [6, 4]; wants images [N, H, W], [N, H, W, C] or [N, C, H, W]"
    ):
        load(file, request(images=1))
    np.savez(file, images=GREY, labels=LABELS[:3])
    with fails_with(f"{file}: holds 5 images and labels of shape [3]"):
        load(file, request())
    np.savez(file, images=np.full((1, 6, 4), np.nan))
    with fails_with(f"{file}: images: holds values that are not finite; wants numbers"):
        load(file, request())
    np.savez(file, images=np.array(["cat"]))
    with fails_with(f"{file}: images: holds <U3; wants numbers"):
        load(file, request())
    np.savez(file, images=GREY[:, None].repeat(5, 1))
    with fails_with(f"{file}: images: has images of 5 channels; the network wants 3"):
        load(file, request((3, 6, 4)))


def test_an_empty_folder_and_a_missing_path_are_told_apart(tmp_path):
    with fails_with(
        f"{tmp_path}: holds no data that simhw knows; wants MNIST's idx3-ubyte files, CIFAR-10's .bin files, "
        "or .png, .ppm, .pgm, .npy pictures"
    ):
        load(tmp_path, request())
    with fails_with(f"{tmp_path / 'no'}: no such file or folder; wants a data set, digits, or synthetic"):
        load(tmp_path / "no", request())


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"images": 0}, "images: wants a whole number of at least 1, got 0"),
        ({"first": -1}, "first: wants a whole number of at least 0, got -1"),
        ({"split": "tset"}, "split: unknown split 'tset'; did you mean 'test'? known: test, train"),
        ({"fit": "cubic"}, "fit: unknown way to fit 'cubic'; known: bilinear, whole"),
    ],
)
def test_a_request_checks_itself(more, fault):
    with fails_with(fault):
        request(**more)


# Bringing pictures to a network's size


def test_the_middle_of_a_larger_picture_is_taken():
    pixels = np.arange(227 * 227, dtype=np.float32).reshape(1, 1, 227, 227)
    fitted = datasets.fit(pixels, request((1, 224, 224)), "here")
    np.testing.assert_array_equal(fitted, pixels[:, :, 1:225, 1:225])


def test_bilinear_doubling_is_known_by_hand():
    """Centres at halves: a new pixel is three quarters of the nearer one and a quarter of the other."""
    pixels = np.array([[0, 4], [8, 12]], np.float32)[None, None]
    fitted = datasets.fit(pixels, request((1, 4, 4), fit="bilinear"), "here")[0, 0]
    np.testing.assert_allclose(fitted[0], [0, 1, 3, 4])
    np.testing.assert_allclose(fitted[:, 0], [0, 2, 6, 8])
    np.testing.assert_allclose(fitted[1, 1], 0.75 * (0.75 * 0 + 0.25 * 4) + 0.25 * (0.75 * 8 + 0.25 * 12))


def test_bilinear_keeps_a_constant_and_a_single_pixel():
    one = np.full((1, 1, 1, 1), 7, np.float32)
    assert (datasets.fit(one, request((1, 5, 3), fit="bilinear"), "here") == 7).all()


# Where data is looked for


def test_data_is_looked_for_in_the_given_folder_then_the_environment_then_what_ships(tmp_path, monkeypatch):
    given, environment = tmp_path / "given", tmp_path / "environment"
    for folder in (given, environment):
        folder.mkdir()
        (folder / "both.npz").touch()
    (environment / "one.npz").touch()
    monkeypatch.setenv("SIMHW_DATA", str(environment))
    assert datasets.find_data("both.npz", given) == given / "both.npz"
    assert datasets.find_data("both.npz") == environment / "both.npz"
    assert datasets.find_data("one.npz", given) == environment / "one.npz"
    assert datasets.find_data("lenet_digits_weights.npz").is_file()
    assert datasets.find_data(given / "both.npz") == given / "both.npz"
    with fails_with(
        f"none.npz: no such file or folder here or in {given} or in {environment}; give its path, "
        "or the folder that holds it by --data or SIMHW_DATA"
    ):
        datasets.find_data("none.npz", given)


def test_the_digits_carry_their_licence():
    licence = Path(datasets.__file__).with_name("digits-LICENSE.txt").read_text()
    assert "Alpaydin" in licence
    assert "CC BY 4.0" in licence


def test_without_a_number_all_images_from_the_first_on_are_taken():
    every = load("digits", request((1, 8, 8), images=None, split="test"))
    assert every.pixels.shape == (360, 1, 8, 8)
    late = load("digits", request((1, 8, 8), images=None, first=350))
    np.testing.assert_array_equal(late.pixels, every.pixels[350:])


def test_beyond_the_last_image_there_are_none():
    with pytest.raises(DataError) as caught:
        load("digits", request((1, 8, 8), images=None, first=360))
    assert caught.value.faults == (
        "digits (test): holds 360 images; wants at most that many, got 1 images from number 360 on",
    )


def test_synthetic_images_have_no_end():
    with pytest.raises(DataError) as caught:
        load("synthetic", request(images=None))
    assert caught.value.faults == ("synthetic: has no end; wants a number of images",)
