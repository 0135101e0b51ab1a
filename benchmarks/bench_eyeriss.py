"""Eyeriss on AlexNet's convolutions beside dense BLAS and a raw SimPy loop: ratios, measured side by side.

    python benchmarks/bench_eyeriss.py [rounds]

One image, real weights and photograph if SIMHW_DATA names them, drawn ones otherwise. Every round runs all
variants in turn and medians are compared, so that other work on the machine hits all alike. The second
table holds BLAS and the simulator to one thread. Peak memory and the time of `--help` are of whole
processes.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
BLAS_SPINS_S = 0.15  # threads of OpenBLAS stay busy for about this long after a product, in everyone's way


def compare(rounds: int) -> None:
    """Print milliseconds and ratios of this process's threads."""
    import numpy as np
    import simpy

    from simhw.accelerator import simulate
    from simhw.description import load_accelerator
    from simhw.workload import export, load_workload

    trace = export(load_workload("alexnet_conv"), images=1)
    machine = load_accelerator("eyeriss")
    overlapped = load_accelerator("eyeriss", overrides={"options.filter_load": "overlapped"})
    layers = [(x.inputs.astype(np.float32), x.weights.astype(np.float32), x.shape) for x in trace.layers]

    def dense() -> None:
        """im2col and a product of matrices for each group."""
        for inputs, weights, shape in layers:
            pad = shape.pad
            padded = np.pad(inputs, ((0, 0), (0, 0), pad[:2], pad[2:]))[0]
            windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(1, 2))
            windows = windows[:, :: shape.stride[0], :: shape.stride[1]].transpose(0, 3, 4, 1, 2)
            depth, filters = shape.group_in_channels, shape.group_out_channels
            for g in range(shape.groups):
                columns = np.ascontiguousarray(windows[g * depth : (g + 1) * depth])
                own = weights[g * filters : (g + 1) * filters].reshape(filters, -1)
                own @ columns.reshape(shape.window, -1)

    def events() -> None:
        """As many bare SimPy events as AlexNet has passes on the chip's mapping at batch 4."""
        env = simpy.Environment()

        def tick():
            for _ in range(3000):
                yield env.timeout(1)

        env.process(tick())
        env.run()

    variants = {
        "dense BLAS, float32": dense,
        "simulated, values": lambda: simulate(machine, trace),
        "simulated, timing alone": lambda: simulate(machine, trace, values=False),
        "  and loads overlapped": lambda: simulate(overlapped, trace, values=False),
        "  and a timeline kept": lambda: simulate(machine, trace, values=False, log=True),
        "3000 SimPy events": events,
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 1):  # the first is for compilation and the mapper
        for name, run in variants.items():
            time.sleep(BLAS_SPINS_S)
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    base = statistics.median(times["dense BLAS, float32"][1:])
    print(f"{'':26}{'ms':>9}{'times dense':>13}{'first call ms':>15}")
    for name, taken in times.items():
        median = statistics.median(taken[1:])
        print(f"{name:26}{median * 1e3:9.1f}{median / base:13.2f}{taken[0] * 1e3:15.1f}")
    macs = sum(layer.shape.macs for layer in trace.layers)
    rate = macs / statistics.median(times["simulated, values"][1:]) / 1e9
    print(f"{rate:.0f} GMAC simulated a second, values included; {trace.provenance['weights']}")
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def memory_of_a_run() -> None:
    """Print the peak memory of a process that loads a trace file and simulates it."""
    code = (
        "import resource, sys; from simhw.accelerator import simulate; simulate('eyeriss', sys.argv[1]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    make = (
        "import sys; from simhw.workload import export, load_workload;"
        "export(load_workload('alexnet_conv'), images=1).save(sys.argv[1])"
    )
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench_eyeriss_{os.getpid()}.safetensors"
    try:
        subprocess.run([sys.executable, "-c", make, str(path)], check=True)
        ran = subprocess.run(
            [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
        )
        print(f"peak memory of one run from a trace file: {ran.stdout.strip()} MiB")
    finally:
        path.unlink(missing_ok=True)


def help_cost(rounds: int) -> None:
    """Print the CPU seconds of `simhw --help` over those of bare Python."""

    def cpu(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    extra = [cpu("-m", "simhw", "--help") - cpu("-c", "pass") for _ in range(rounds)]
    print(f"simhw --help: {statistics.median(extra):.3f} s of CPU over bare Python")


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    if os.environ.get("BENCH_INNER"):
        compare(asked)
    else:
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "22")
        for title, threads in (("all threads", {}), ("one thread", ONE_THREAD)):
            print(title, flush=True)
            inner = os.environ | threads | {"BENCH_INNER": "1"}
            subprocess.run([sys.executable, __file__, str(asked)], check=True, env=inner)
        memory_of_a_run()
        help_cost(asked)
