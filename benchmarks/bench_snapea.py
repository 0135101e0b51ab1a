"""A whole run on SnaPEA's array (values, cycles, energy) beside dense BLAS on the same layers, as a ratio.

    python benchmarks/bench_snapea.py [rounds]

One thread each, one image. Every round runs both in turn, and medians over rounds are compared, so that
other work on the machine hits both alike. im2col is included in what BLAS takes. Weights and activations
are real where SIMHW_DATA names a folder that has them, else drawn; VGG-16's are drawn. The description is
read once, and what depends on shapes alone is kept from run to run, as in a sweep.
"""

from __future__ import annotations

import os
import resource
import sys
import time

import numpy as np
from bench_early_termination import blas

from simhw.accelerator import simulate
from simhw.description import load_accelerator
from simhw.errors import DataError
from simhw.workload import export, load_workload

ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
NETWORKS = ("lenet5_mnist", "resnet20_cifar10", "alexnet_conv", "squeezenet_v1_1", "vgg16")


def trace_of(name):
    workload = load_workload(name)
    try:
        return export(workload, images=1)
    except DataError:
        return export(workload, images=1, data="synthetic", weights="random")


def dense(trace):
    """Return a call that computes all layers of a trace in float32."""
    layers = [
        (np.asarray(x.inputs, np.float32), np.asarray(x.weights, np.float32), x.shape) for x in trace.layers
    ]

    def run():
        for layer in layers:
            blas(*layer)

    return run


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    machine = load_accelerator("snapea")
    print(f"{'network':20}{'weights':32}{'GMAC':>8}{'BLAS ms':>10}{'run ms':>10}{'ratio':>8}{'peak MiB':>10}")
    for name in NETWORKS:
        trace = trace_of(name)
        macs = sum(layer.shape.macs for layer in trace.layers)
        calls = {"blas": dense(trace), "run": lambda trace=trace: simulate(machine, trace)}
        times = {which: [] for which in calls}
        for call in calls.values():
            call()
        for _ in range(rounds):
            for which, call in calls.items():
                start = time.perf_counter()
                call()
                times[which].append(time.perf_counter() - start)
        spent = {which: 1e3 * float(np.median(found)) for which, found in times.items()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:20}{trace.provenance['weights']:32}{macs / 1e9:8.3f}{spent['blas']:10.1f}"
            f"{spent['run']:10.1f}{spent['run'] / spent['blas']:8.2f}{peak:10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # libraries read them when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(ONE_THREAD, "1"))
    main()
