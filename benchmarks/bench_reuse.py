"""The reuse array beside dense BLAS on the same layers and images: outputs and cycles, in one run.

    python benchmarks/bench_reuse.py [rounds [format [images]]]     speed
    python benchmarks/bench_reuse.py choices                        what the paper leaves open, measured

Weights are drawn and put on lines, N_w as in the paper's tables; images are MNIST's where SIMHW_DATA names a
folder that has them, else drawn. Every round runs all variants in turn, with one thread each, and medians
over rounds are compared. `of dense` is the speed of the simulation, outputs and cycles of every layer, over
that of the dense reference: im2col and BLAS in float32, product for product of the whole weights.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(
    dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
)

import numpy as np

from simhw.accelerator import simulate
from simhw.bench import dense_reference
from simhw.errors import DataError
from simhw.reference.datasets import find_data
from simhw.transforms import fit_groups
from simhw.workload import export, load_workload
from simhw.workload.weights import draw_weights

NETWORKS = {
    "fc_64_32": {"fc1": 24, "fc2": 4, "fc3": 0},
    "lenet_300_100": {"fc1": 28, "fc2": 4, "fc3": 0},
    "lenet5_tolba": {"conv1": 5, "conv2": 5, "fc": 6},
}
IMAGES = 10_000


def fitted_trace(name, groups, format, images):
    """Return a trace of drawn weights on lines, and what its images are."""
    workload = load_workload(name)
    arrays = {}
    for param, weights in draw_weights(workload.graph, workload.input_shape, seed=1).items():
        layer, _, kind = param.rpartition(".")
        if kind == "bias":
            arrays[f"{layer}.bias"] = weights
            continue
        group = groups[layer]
        made = fit_groups.apply(weights, "linear" if group else "exact", group)
        arrays |= {f"{layer}.{part}": array for part, array in made.to_arrays().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fitted.npz"
        np.savez(path, **arrays)
        try:
            find_data("mnist.npz", None)
            data, what = None, "MNIST"
        except DataError:
            data, what = "synthetic:sparsity=0.8", "drawn images"
        return export(workload, images=images, data=data, weights=path, format=format), what


def medians(variants, rounds):
    times = {what: [] for what in variants}
    for work in variants.values():
        work()  # compiles, and fills the caches
    for _ in range(rounds):
        for what, work in variants.items():
            start = time.perf_counter()
            work()
            times[what].append(time.perf_counter() - start)
    return {what: float(np.median(spent)) for what, spent in times.items()}


def main(rounds, format, images):
    print(f"{'network':16}{'images':>8}{'':14}{'dense s':>10}{'values s':>10}{'of dense':>10}{'time s':>10}")
    for name, groups in NETWORKS.items():
        trace, what = fitted_trace(name, groups, format, images)
        spent = medians(
            {
                "dense": dense_reference(trace),
                "values": lambda trace=trace: simulate("tolba", trace),
                "time": lambda trace=trace: simulate("tolba", trace, values=False),
            },
            rounds,
        )
        print(
            f"{name:16}{images:8} {what:13}{spent['dense']:10.3f}{spent['values']:10.3f}"
            f"{spent['dense'] / spent['values']:10.2f}{spent['time']:10.3f}"
        )


CHOICES = (
    (),
    ("components.row_reuse.network=separate", "components.run_reuse.network=separate"),
    ("components.row_reuse.network=running_sums", "components.run_reuse.network=running_sums"),
    ("components.row_reuse.shares_a_sum=true", "components.run_reuse.shares_a_sum=true"),
    ("components.row_reuse.levels_per_cycle=1", "components.run_reuse.levels_per_cycle=1"),
    ("components.pes.latency_cycles=4",),
    ("options.filters_at_once=2", "components.pes.coefficient_words=8"),
    ("options.filters_at_once=6", "components.pes.coefficient_words=24"),
    ("components.noc.coefficient_words_per_cycle=4",),
    ("components.noc.coefficient_words_per_cycle=64",),
    ("components.noc.input_words_per_cycle=8",),
    ("components.noc.input_words_per_cycle=128",),
    ("components.glb.size_kib=20",),
    ("components.glb.filter_kib=1",),
    ("components.dram.clock_mhz=60",),
    ("components.dram.latency_cycles=50",),
    ("clock_mhz=200",),
    ("components.pes.columns=8", "components.psums.columns=8", "components.row_reuse.columns=12"),
    ("components.pes.rows=10", "components.psums.rows=10", "components.run_reuse.rows=10"),
    ("components.row_reuse.columns=12",),
)
CHOICE_IMAGES = 16


def choices():
    """Print what each choice does to two networks: cycles by layer, additions, traffic, energy, adders."""
    names = ("lenet5_tolba", "fc_64_32")
    traces = [fitted_trace(name, NETWORKS[name], "fixed16", CHOICE_IMAGES)[0] for name in names]
    for name in names:
        print(f"{name}, N_w {NETWORKS[name]}, {CHOICE_IMAGES} images")
    head = "".join(f"{layer.name:>8}" for trace in traces for layer in trace.layers)
    head += f"{'reuse adds':>12}{'adds':>10}{'mults':>10}{'DRAM kB':>9}{'core uJ':>9}{'adders':>8}"
    print(f"{head}  changed")
    for machine, chosen in [("tolba", one) for one in CHOICES] + [("tolba_rs", ())]:
        results = [simulate(machine, trace, values=False, overrides=chosen) for trace in traces]
        layers = [layer for result in results for layer in result.layers]
        energies = [result.totals["energy_pj"] for result in results]
        core = sum(pj for energy in energies for part, pj in energy.items() if part != "dram") / 1e6
        numbers = (
            sum(layer.details["reuse_additions"] for layer in layers),
            sum(layer.adds for layer in layers),
            sum(layer.multiplies for layer in layers),
            sum(result.totals["bytes"]["dram"] for result in results) / 1e3,
            core,
            results[0].built_from("adders"),
        )
        print(
            "".join(f"{layer.cycles:8}" for layer in layers)
            + "{:12}{:10}{:10}{:9.1f}{:9.2f}{:8}".format(*numbers)
            + f"  {' '.join(chosen) or machine + ' as described'}"
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["choices"]:
        choices()
        sys.exit()
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 5,
        sys.argv[2] if len(sys.argv) > 2 else "fixed16",
        int(sys.argv[3]) if len(sys.argv) > 3 else IMAGES,
    )
