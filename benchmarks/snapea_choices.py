"""Prints what each choice that the paper leaves open does to SnaPEA: `python benchmarks/snapea_choices.py`.

Convolutions, one image, beside `eyeriss_256`, in exact mode and with the tunings of the largest budgets;
weights and activations are real where SIMHW_DATA names a folder that has them, and networks without are left
out.
"""

from __future__ import annotations

import math
import sys

from simhw.accelerator import simulate
from simhw.errors import DataError
from simhw.papers.snapea import BASELINE, MACHINE, OVERLAPPED, cycles, picojoules
from simhw.technology import load_technology
from simhw.workload import export, load_workload

NETWORKS = ("squeezenet_v1_1", "alexnet_conv", "resnet20_cifar10", "lenet5_mnist")
CHOICES = (
    {},
    {"options.termination": "off"},
    {"transforms.sign_order.negatives": "magnitude"},
    {"options.test": "at_or_below"},
    {"options.signed_inputs": "shift"},
    {"options.long_filters": "staged"},
    {"options.long_filters": "staged", "options.pace": "column"},
    {"options.long_filters": "restreamed"},
    {"options.weight_buffer": "whole"},
    {"options.pace": "column"},
    {"options.barrier": "row"},
    {"options.filters": "by_work"},
    {"options.barrier": "row", "options.filters": "by_work", "options.long_filters": "staged"},
    {"options.grouping": "rows"},
    {"options.grouping": "blocks"},
    {"options.fewest": "rounds"},
    {"options.one_portion": "pes"},
    {"options.activations": "off_chip"},
    {"options.activations": "as_printed"},
    {"options.pooling": "none"},
    {"options.pooling": "serial"},
    {"options.activations": "off_chip", "options.pooling": "none"},
    {"options.pooling": "serial", "components.pes.pool_words": 4},
    {"components.noc.row_words": 1},
    {"components.dram.latency_cycles": 50},
)
PREDICTIVE = {"squeezenet_v1_1": "10", "resnet20_cifar10": "3", "lenet5_mnist": "3"}  # budgets

BASELINES = {
    "beside a baseline that hides its filter loads": OVERLAPPED,
    "beside a baseline that multiplies by zeros, too": {"components.pes.zero_gating": False},
}


def trace_of(name):
    workload = load_workload(name)
    try:
        trace = export(workload, images=1)
    except DataError:
        return None
    return trace if trace.provenance["weights"] == workload.weights.file else None


def said(choice):
    words = (f"{key.rpartition('.')[2]}: {value}" for key, value in choice.items())
    return ", ".join(words) or "as shipped"


def main():
    traces = {name: trace for name in NETWORKS if (trace := trace_of(name)) is not None}
    if not traces:
        sys.exit("SIMHW_DATA names no folder with weights and images of these networks")
    bases = {name: simulate(BASELINE, trace) for name, trace in traces.items()}
    print(f"exact mode: speedup over {BASELINE} / energy reduction\n")
    table_of_choices({name: (trace, bases[name], None) for name, trace in traces.items()}, CHOICES)
    for label, size in (("as the register file", 0.5), ("as the global buffer", 1280.0)):
        cells = [f"– / {repriced(bases[name], trace, size):.3f}" for name, trace in traces.items()]
        print(f"| the 20 kB memory priced {label} | " + " | ".join(cells) + " |")
    for label, settings in BASELINES.items():
        cells = []
        for trace in traces.values():
            base = simulate(BASELINE, trace, overrides=settings)
            result = simulate(MACHINE, trace)
            cells.append(compared(base, result))
        print(f"| {label} | " + " | ".join(cells) + " |")
    print(f"\nwith the tuning of the largest budget: speedup over {BASELINE} / energy reduction\n")
    tuned = {
        f"{name}-{budget}": (traces[name], bases[name], f"{name}-{budget}")
        for name, budget in PREDICTIVE.items()
        if name in traces
    }
    table_of_choices(tuned, [choice for choice in CHOICES if choice.get("options.termination") != "off"])


def table_of_choices(runs, choices):
    """Print a row for each choice; a run is a trace, the baseline's result and a tuning or None."""
    print("| choice | " + " | ".join(runs) + " |\n" + "| --- " * (1 + len(runs)) + "|")
    for choice in choices:
        cells = []
        for trace, base, tuning in runs.values():
            result = simulate(MACHINE, trace, tuning=tuning, overrides=choice)
            cells.append(compared(base, result))
        print(f"| {said(choice)} | " + " | ".join(cells) + " |", flush=True)


def compared(base, result):
    return f"{cycles(base) / cycles(result):.3f} / {picojoules(base) / picojoules(result):.3f}"


def repriced(base, trace, size_kib):
    """Return the energy reduction if the memory of a PE cost what one of another size does."""
    result = simulate(MACHINE, trace)
    table = load_technology("tetris_45nm")
    spec = {"word_bits": 16, "size_kib": 20.0}
    factor = (
        table.price("pes.io", "io_memory", "read", spec | {"size_kib": size_kib}).energy
        / table.price("pes.io", "io_memory", "read", spec).energy
    )
    memory = math.fsum(x.energy_pj.get("pes.io", 0.0) for x in result.layers if x.kind == "conv")
    return picojoules(base) / (picojoules(result) + (factor - 1) * memory)


if __name__ == "__main__":
    main()
