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
    ("components.noc.sum_words_per_cycle=4",),
    ("components.noc.sum_words_per_cycle=8",),
    ("components.noc.sum_words_per_cycle=120",),
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


def measured_traces():
    names = ("lenet5_tolba", "fc_64_32")
    return [fitted_trace(name, NETWORKS[name], "fixed16", CHOICE_IMAGES)[0] for name in names]


def print_row(cells):
    print(f"| {' | '.join(map(str, cells))} |")


def print_head(cells):
    print_row(cells)
    print_row(["---"] * len(cells))


def core_pj(result):
    """Return the energy of each part of the chip in pJ, DRAM left out."""
    return {part: pj for part, pj in result.totals["energy_pj"].items() if part.split(".")[0] != "dram"}


def choices():
    """Print what each choice does to two networks: cycles by layer, additions, traffic, energy, adders."""
    traces = measured_traces()
    layers = [layer.name for trace in traces for layer in trace.layers]
    print_head(["changed", *layers, "adds in blocks", "all adds", "products", "DRAM kB", "core uJ", "adders"])
    machines = [("tolba", one) for one in CHOICES]
    machines += [("tolba_rs", one) for one in ((), ("components.noc.sum_words_per_cycle=120",))]
    for machine, chosen in machines:
        results = [simulate(machine, trace, values=False, overrides=chosen) for trace in traces]
        layers = [layer for result in results for layer in result.layers]
        settings = " ".join(f"`{one.removeprefix('components.').removeprefix('options.')}`" for one in chosen)
        of_another = f"{machine}, " if machine != "tolba" else ""
        print_row(
            [
                f"{of_another}{settings}" if chosen else f"{machine} as described",
                *(f"{layer.cycles:,}" for layer in layers),
                f"{sum(layer.details['reuse_additions'] for layer in layers):,}",
                f"{sum(layer.adds for layer in layers):,}",
                f"{sum(layer.multiplies for layer in layers):,}",
                f"{sum(result.totals['bytes']['dram'] for result in results) / 1e3:.1f}",
                f"{sum(sum(core_pj(result).values()) for result in results) / 1e6:.2f}",
                f"{results[0].built_from('adders'):,}",
            ]
        )


SORTS = {
    "multipliers": lambda part: ".multiplier" in part,
    "adders in blocks": lambda part: part in ("row_reuse", "run_reuse"),
    "other adders": lambda part: part == "psums" or ".adder" in part,
    "windows": lambda part: part == "windows" or part.endswith(".window"),
    "coefficients in PEs": lambda part: part == "pes.coefficients",
    "buffer": lambda part: part.startswith("glb"),
    "wires": lambda part: part.startswith("noc"),
    "ReLU": lambda part: part == "relu",
}


def energy():
    """Print where the energy on chip goes, by two tables: one has no price for wires, the other has."""
    traces = measured_traces()
    print_head(["machine", "table", *SORTS, "core uJ"])
    for machine in ("tolba", "tolba_rs"):
        for table in ("horowitz_45nm", "eyeriss_65nm"):
            spent = [
                core_pj(simulate(machine, trace, values=False, overrides=[f"technology={table}"]))
                for trace in traces
            ]
            sums = {part: sum(one.get(part, 0) for one in spent) / 1e6 for part in {**spent[0], **spent[1]}}
            sorts = [sum(uj for part, uj in sums.items() if among(part)) for among in SORTS.values()]
            assert abs(sum(sorts) - sum(sums.values())) < 1e-9, sums
            print_row([machine, f"`{table}`", *(f"{uj:.2f}" for uj in sorts), f"{sum(sorts):.2f}"])


if __name__ == "__main__":
    if sys.argv[1:] in (["choices"], ["energy"]):
        {"choices": choices, "energy": energy}[sys.argv[1]]()
        sys.exit()
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 5,
        sys.argv[2] if len(sys.argv) > 2 else "fixed16",
        int(sys.argv[3]) if len(sys.argv) > 3 else IMAGES,
    )
