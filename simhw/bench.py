"""How fast this computer simulates: products a second, beside what computing the layers alone takes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import simpy

from simhw.accelerator import simulate
from simhw.errors import SimhwError
from simhw.reference.convolution import convolve
from simhw.reports import words
from simhw.shapes import LayerShape
from simhw.trace import Trace
from simhw.workload import export, load_workload

Progress = Callable[[int, int, str], None]

ACCELERATOR = "eyeriss"
LARGE = "alexnet_conv"  # with drawn weights and inputs: speed hardly depends on the values
ROUNDS = 5
EVENTS = 200_000


ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


def bench(trace: str, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return the rows of `measure`, taken in a process of its own that has one thread.

    Threads of a BLAS go on spinning after a product, in the way of whatever is timed next; with one thread
    each, the simulator and the dense reference meet on equal terms.
    """
    if progress is not None:
        progress(0, 1, "one thread each")
    code = "import json, sys; from simhw.bench import measure; print(json.dumps(measure(sys.argv[1])))"
    ran = subprocess.run(
        [sys.executable, "-c", code, trace], env=os.environ | ONE_THREAD, capture_output=True, text=True
    )
    if ran.returncode:
        raise SimhwError(f"bench: {(ran.stderr.strip().splitlines() or ['it ended early'])[-1]}")
    if progress is not None:
        progress(1, 1, "")
    return json.loads(ran.stdout)


def measure(trace: str, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return a row per measurement: what ran, MACs, seconds, MACs a second, and times dense BLAS.

    The rounds of all variants of one network alternate, so that other work on the computer hits them
    alike; the stepped engine runs once. The dense reference is im2col and BLAS in float32. `times_dense` is
    how long a variant takes for each second of it, product for product.
    """
    small = Trace.load(trace)
    large = export(load_workload(LARGE), images=1, weights="random", data="synthetic:sparsity=0")
    plan: list[tuple[str, Trace, bool]] = [(small.name, small, True), (f"{LARGE}, drawn", large, False)]
    rows: list[dict[str, Any]] = []
    for step, (name, network, with_twin) in enumerate(plan):
        if progress is not None:
            progress(step, len(plan) + 1, name)
        rows += _network(name, network, with_twin)
    if progress is not None:
        progress(len(plan), len(plan) + 1, "events")
    rows.append(
        {"network": "none", "what": "events of a bare SimPy loop", "events_per_second": _events_per_second()}
    )
    return rows


def readable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as people read them."""
    return [
        {
            "network": row["network"],
            "what": row["what"],
            "time": words.engineering(row.get("seconds"), "s"),
            "products": words.engineering(row.get("macs_per_second"), "MAC/s"),
            "times dense": f"{row['times_dense']:,.2f}" if "times_dense" in row else "–",
            "events": words.engineering(row.get("events_per_second"), "events/s"),
        }
        for row in rows
    ]


def _network(name: str, trace: Trace, with_twin: bool) -> list[dict[str, Any]]:
    variants: dict[str, Callable[[], Any]] = {
        "dense BLAS, float32": dense_reference(trace),
        f"{ACCELERATOR}, compiled": lambda: simulate(ACCELERATOR, trace),
        f"{ACCELERATOR}, compiled, timing alone": lambda: simulate(ACCELERATOR, trace, values=False),
    }
    seconds = _medians(variants)
    macs = sum(layer.shape.macs for layer in trace.layers)
    dense = macs / seconds["dense BLAS, float32"]
    rows = [_row(name, what, macs, took, dense) for what, took in seconds.items()]
    if with_twin:
        one = trace.head(1)
        took = _timed(lambda: simulate(ACCELERATOR, one, engine="stepped"))
        rows.append(_row(name, f"{ACCELERATOR}, stepped, one image", macs // trace.batch, took, dense))
    return rows


def _row(network: str, what: str, macs: int, seconds: float, dense: float) -> dict[str, Any]:
    return {
        "network": network,
        "what": what,
        "macs": macs,
        "seconds": seconds,
        "macs_per_second": macs / seconds,
        "times_dense": dense * seconds / macs,
    }


def dense_reference(trace: Trace) -> Callable[[], Any]:
    """Return a function that computes all layers with BLAS, their tensors made ready before."""
    ready: list[tuple[LayerShape, Any, Any, Any]] = [
        (
            layer.shape,
            layer.inputs.astype(np.float32).reshape(layer.shape.input_shape),
            layer.weights.astype(np.float32),
            np.empty(layer.shape.output_shape, np.float32),
        )
        for layer in trace.layers
    ]

    def run() -> None:
        for shape, inputs, weights, out in ready:
            convolve(shape, inputs, weights, out, np.float32, lambda sums, where: None)

    return run


def _medians(variants: dict[str, Callable[[], Any]]) -> dict[str, float]:
    for work in variants.values():
        work()  # compiles, and fills the caches
    times: dict[str, list[float]] = {what: [] for what in variants}
    for _ in range(ROUNDS):
        for what, work in variants.items():
            times[what].append(_timed(work))
    return {what: statistics.median(each) for what, each in times.items()}


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _events_per_second() -> float:
    sim = simpy.Environment()

    def tick() -> Any:
        for _ in range(EVENTS):
            yield sim.timeout(1)

    sim.process(tick())
    return EVENTS / _timed(sim.run)
