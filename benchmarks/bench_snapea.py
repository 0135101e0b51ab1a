"""A whole run on SnaPEA's array (values, cycles, energy) beside dense BLAS on the same layers, as a ratio.

    python benchmarks/bench_snapea.py [rounds]

One thread each, one image. Every round runs both in turn, and medians over rounds are compared, so that
other work on the machine hits both alike. im2col is included in what BLAS takes. Weights and activations
are real where SIMHW_DATA names a folder that has them, else drawn; VGG-16's are drawn. The description is
read once, and what depends on shapes alone is kept from run to run, as in a sweep.

At the end stands what the player of this one schedule (`fast/column_schedule.py`) gains over the table that
any machine has: of all layers of a network, making the table, and playing it.
"""

from __future__ import annotations

import os
import resource
import sys
import time

import numpy as np
from bench_early_termination import blas

from simhw.accelerator import simulate
from simhw.core import SteadyLink
from simhw.dataflows import early_termination, lane_schedule
from simhw.description import load_accelerator
from simhw.errors import DataError
from simhw.play import play
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


def schedules(trace, rounds):
    """Return milliseconds of a network's schedules: by the shortcut, of making tables, of playing these."""
    seen = []

    def kept(rounds_of_layer, link):
        seen.append((rounds_of_layer, link))
        return lane_schedule.shortcut(rounds_of_layer, link)

    before, early_termination.shortcut = early_termination.shortcut, kept
    simulate("snapea", trace)
    early_termination.shortcut = before

    def fresh(link):
        return SteadyLink(link.clock, link.latency_cycles)

    spent = [[], [], []]
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for layer, link in seen:
            lane_schedule.shortcut(layer, fresh(link))
        shortened = time.perf_counter()
        tables = [lane_schedule.tabulate(layer) for layer, _ in seen]
        made = time.perf_counter()
        for table, (_, link) in zip(tables, seen, strict=True):
            play(table, {"dram": fresh(link)})
        ends = start, shortened, made, time.perf_counter()
        for into, begin, end in zip(spent, ends, ends[1:], strict=False):
            into.append(1e3 * (end - begin))
    return [float(np.median(found[1:])) for found in spent]


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
    print(f"\n{'schedules of':20}{'shortcut ms':>14}{'table ms':>12}{'played ms':>12}{'ratio':>8}")
    for name in ("resnet20_cifar10", "squeezenet_v1_1", "vgg16"):
        short, made, played = schedules(trace_of(name), rounds)
        ratio = (made + played) / short
        print(f"{name:20}{short:14.2f}{made:12.2f}{played:12.2f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # libraries read them when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(ONE_THREAD, "1"))
    main()
