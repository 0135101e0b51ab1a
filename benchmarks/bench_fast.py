"""What `simhw.fast` costs beside dense BLAS and a copy of the same bytes: ratios, measured side by side.

    python benchmarks/bench_fast.py [rounds]

Every round runs all variants of a layer in turn, and medians over rounds are compared, so that other work
on the machine hits all of them alike. The BLAS of numpy runs on its default threads; the first table has
simhw.fast on all threads, the second holds both to one. im2col is included in what BLAS takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

# Idle threads of OpenBLAS keep a core busy, in everyone's way, for 2**this cycles; else a tenth of a second.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "22")

import numpy as np

from simhw.fast import conv_accumulate, nonzero_taps, requantize, rlc_encode, rlc_row_words

PAUSE_S = 0.005  # until those threads rest

# AlexNet with groups: channels, input size, filters, kernel, stride, pad, groups
ALEXNET = {
    "conv1": (3, 227, 96, 11, 4, 0, 1),
    "conv2": (96, 27, 256, 5, 1, 2, 2),
    "conv3": (256, 13, 384, 3, 1, 1, 1),
    "conv4": (384, 13, 384, 3, 1, 1, 2),
    "conv5": (384, 13, 256, 3, 1, 1, 2),
}


def drawn(channels, size, filters, kernel, *_rest):
    """Normal weights and inputs, scaled to three quarters of int16; inputs are rectified but the image's."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(filters, channels // _rest[-1], kernel, kernel))
    inputs = rng.normal(size=(1, channels, size, size))
    inputs = inputs if channels == 3 else np.maximum(inputs, 0)
    to_int16 = [np.round(x / np.abs(x).max() * 24576).astype(np.int16) for x in (inputs, weights)]
    return *to_int16, np.zeros(filters, dtype=np.int64)


def blas(inputs, weights, stride, pad, groups):
    """The dense convolution that everyone can write: im2col and a product of matrices for each group."""
    padded = np.pad(inputs, ((0, 0), (0, 0), (pad, pad), (pad, pad)))[0]
    filters, depth, kernel, _ = weights.shape
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 3, 4, 1, 2)
    per_group, out = filters // groups, []
    for g in range(groups):
        columns = np.ascontiguousarray(windows[g * depth : (g + 1) * depth]).reshape(depth * kernel**2, -1)
        out.append(weights[g * per_group : (g + 1) * per_group].reshape(per_group, -1) @ columns)
    return out


def medians(variants, rounds):
    """Median milliseconds of each variant, all run in turn, each twice of which the second counts."""
    times = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            time.sleep(PAUSE_S)
            work()
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(spent)) for name, spent in times.items()}


def convolutions(threads, rounds):
    heading = f"AlexNet, one image, {threads or 'all'} thread(s), ms"
    print(f"{heading:38}   exact   sgemm   dgemm | exact/sgemm  exact/dgemm")
    total = dict.fromkeys(("exact", "sgemm", "dgemm"), 0.0)
    for name, layer in ALEXNET.items():
        *_, stride, pad, groups = layer
        inputs, weights, bias = drawn(*layer)
        single = [x.astype(np.float32) for x in (inputs, weights)]
        double = [x.astype(np.float64) for x in (inputs, weights)]
        geometry = (stride, stride), (pad,) * 4, (1, 1), groups
        spent = medians(
            {
                "exact": lambda x=(inputs, weights, bias), g=geometry: conv_accumulate(
                    *x, *g, threads=threads
                ),
                "sgemm": lambda x=single, g=(stride, pad, groups): blas(*x, *g),
                "dgemm": lambda x=double, g=(stride, pad, groups): blas(*x, *g),
            },
            rounds,
        )
        total = {variant: total[variant] + spent[variant] for variant in total}
        row(name, spent)
    row("total", total)


def row(name, spent):
    exact, sgemm, dgemm = spent["exact"], spent["sgemm"], spent["dgemm"]
    print(f"{name:38}{exact:8.2f}{sgemm:8.2f}{dgemm:8.2f} | {exact / sgemm:8.2f}{exact / dgemm:13.2f}")


def streams(rounds):
    rng = np.random.default_rng(1)
    shape = (1, 64, 224, 224)
    planes = np.where(rng.random(shape) < 0.5, rng.integers(1, 1 << 15, shape), 0).astype(np.int16)
    copy, acc = planes.copy(), planes.astype(np.int64) << 10
    spent = medians(
        {
            "memcpy": lambda: np.copyto(copy, planes),
            "nonzero_taps": lambda: nonzero_taps(planes, (1, 1, 1, 1), 3, 1, 1, 224),
            "rlc_row_words": lambda: rlc_row_words(planes[0]),
            "rlc_encode": lambda: rlc_encode(planes.ravel()),
            "requantize": lambda: requantize(acc, 10, -(1 << 15), (1 << 15) - 1),
        },
        rounds,
    )
    print("\n64 planes of 224x224 int16, half of them zeros, one thread     ms    GB/s  times memcpy")
    for name, ms in spent.items():
        print(f"{name:57}{ms:8.2f}{planes.nbytes / ms / 1e6:8.2f}{ms / spent['memcpy']:14.1f}")


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        convolutions(1, rounds)
    else:
        convolutions(None, rounds)
        one = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        subprocess.run([sys.executable, __file__, str(rounds)], env=one, check=True)
        streams(rounds)
