"""Sums that stop early (SnaPEA) beside dense BLAS on the same layers: ratios, and how much they leave undone.

    python benchmarks/bench_early_termination.py [rounds]     time, then shares
    python benchmarks/bench_early_termination.py shares       only the shares of products cut

Layers and activations are those of real networks where SIMHW_DATA names a folder that has them, else drawn;
each table says which. Every round runs all variants of a layer in turn, and medians over rounds are
compared, so that other work on the machine hits all of them alike. A first layer's signed inputs are shifted
to begin at zero, with its bias corrected, so that its sums may stop too. im2col is included in what BLAS
takes; the three results of the exact sums are written to arrays that are there, as BLAS has its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

# Idle threads of OpenBLAS keep a core busy, in everyone's way, for 2**this cycles; else a tenth of a second.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "22")

import numpy as np

from simhw.fast import conv_accumulate, early_termination
from simhw.transforms import sign_order, speculation
from simhw.workload import export, load_workload

PAUSE_S = 0.005  # until those threads rest
TIMED = ("alexnet_conv", "squeezenet_v1_1")
COUNTED = ("alexnet_conv", "squeezenet_v1_1", "lenet5_mnist", "resnet20_cifar10")
LANES = 4
GROUPS = 16  # weights that speculate, of each filter


def not_negative(layer):
    """Return (inputs, bias, pad_value) that give the same sums from inputs that are not negative.

    Each channel is shifted by its own; inputs that span more than 15 bits are cut, and the sums are others.
    """
    shift = -np.minimum(layer.inputs.min(axis=(0, 2, 3)).astype(np.int64), 0)
    if not shift.any():
        return layer.inputs, layer.bias, 0
    shifted = np.minimum(layer.inputs + shift[:, None, None], np.iinfo(np.int16).max)
    corrected = layer.bias - layer.weights.astype(np.int64).sum(axis=(2, 3)) @ shift
    return shifted.astype(np.int16), corrected, shift


def arguments(layer, inputs, bias, ordering):
    shape = layer.shape
    return (
        inputs, ordering.weights, ordering.order, bias, ordering.prefix, ordering.thresholds,
        ordering.negatives_from, shape.weight_shape[2:], shape.stride, shape.pad, shape.dilation,
        shape.groups,
    )  # fmt: skip


def blas(inputs, weights, shape):
    """The dense convolution that everyone can write: im2col and a product of matrices for each group."""
    pad = shape.pad
    padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:]))[0]
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(1, 2))
    windows = windows[:, :: shape.stride[0], :: shape.stride[1]].transpose(0, 3, 4, 1, 2)
    depth, filters, out = shape.group_in_channels, shape.group_out_channels, []
    for g in range(shape.groups):
        columns = np.ascontiguousarray(windows[g * depth : (g + 1) * depth]).reshape(shape.window, -1)
        out.append(weights[g * filters : (g + 1) * filters].reshape(filters, -1) @ columns)
    return out


def variants_of(layer, threads):
    """Return calls that compute a layer, by name."""
    shape, weights = layer.shape, layer.weights
    inputs, bias, pad_value = not_negative(layer)
    single = inputs.astype(np.float32), weights.astype(np.float32)
    groups = np.full(len(weights), min(GROUPS, shape.window))
    orderings = {
        "original": sign_order.apply(weights),
        "magnitude": sign_order.apply(weights, "magnitude"),
        "predictive": speculation.apply(weights, np.ones(len(weights)), groups),
    }
    calls = {}
    for name, ordering in orderings.items():
        given = arguments(layer, inputs, bias, ordering)
        out = early_termination(*given, pad_value=pad_value)
        calls[name] = lambda given=given, out=out: early_termination(
            *given, pad_value=pad_value, threads=threads, out=out
        )
    geometry = shape.stride, shape.pad, shape.dilation, shape.groups
    calls["dense"] = lambda: conv_accumulate(inputs, weights, bias, *geometry, threads=threads)
    calls["sgemm"] = lambda: blas(*single, shape)
    return calls


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


def speeds(threads, rounds):
    for name in TIMED:
        trace = export(load_workload(name), images=1)
        print(f"\n{name}, one image, {threads or 'all'} thread(s); weights: {trace.provenance['weights']}")
        print(f"{'':22}{'ms':>8} {'times sgemm':>48}")
        heads = ("original", "magnitude", "predictive", "dense")
        print(f"{'':22}{'sgemm':>8} |" + "".join(f"{head:>12}" for head in heads))
        total = dict.fromkeys((*heads, "sgemm"), 0.0)
        for layer in trace.layers:
            spent = medians(variants_of(layer, threads), rounds)
            total = {head: total[head] + spent[head] for head in total}
            row(layer.name, spent, heads)
        row("total", total, heads)


def row(name, spent, heads):
    print(f"{name:22}{spent['sgemm']:8.2f} |" + "".join(f"{spent[h] / spent['sgemm']:12.2f}" for h in heads))


def shares():
    """Print which share of the products exact mode cuts, and what lockstep leaves of it."""
    head = "".join(
        f"{order + ' ' + what:>19}" for order in sign_order.NEGATIVES for what in ("cut", "lockstep")
    )
    print(
        f"\nshare of all products of a network cut in exact mode, by each window and by {LANES} in lockstep"
    )
    print(
        "layers with signed inputs or without a ReLU run to their end; beside it, those that may stop alone"
    )
    print(f"{'':40}{head}")
    for name in COUNTED:
        trace = export(load_workload(name), images=1)
        cuts, whole, stopping = np.zeros(4), 0, 0
        for layer in trace.layers:
            whole += layer.shape.macs
            if int(layer.inputs.min()) >= 0 and layer.activation in ("relu", "relu6"):
                stopping += layer.shape.macs
                cuts += cut_of(layer)
        real = trace.provenance["weights"]
        for label, of in ((f"{name} ({real})", whole), ("  layers that may stop", stopping)):
            print(f"{label:50}"[:40] + "".join(f"{share:19.4f}" for share in cuts / of))


def cut_of(layer):
    """Return products cut [order, then by window and in lockstep]."""
    found = []
    for order in sign_order.NEGATIVES:
        ordering = sign_order.apply(layer.weights, order)
        macs = early_termination(*arguments(layer, layer.inputs, layer.bias, ordering))[1]
        found += [layer.shape.macs - int(macs.sum(dtype=np.int64)), layer.shape.macs - in_lockstep(macs)]
    return np.array(found)


def in_lockstep(macs):
    """Return the products that lanes wait for or execute, where adjacent windows share a PE's lanes.

    Windows go row by row, over the ends of rows; a lane without a window does not count.
    """
    by_map = macs.reshape(*macs.shape[:2], -1)
    starts = np.arange(0, by_map.shape[2], LANES)
    lanes = np.diff(np.append(starts, by_map.shape[2]))
    return int((np.maximum.reduceat(by_map, starts, axis=2) * lanes).sum(dtype=np.int64))


if __name__ == "__main__":
    if sys.argv[1:] == ["shares"]:
        shares()
        sys.exit()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        speeds(1, rounds)
    else:
        speeds(None, rounds)
        one = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        subprocess.run([sys.executable, __file__, str(rounds)], env=one, check=True)
        shares()
