"""Prints what each choice that the paper leaves open does to SnaPEA: `python benchmarks/snapea_choices.py`.

Convolutions, one image, beside `eyeriss_256`; weights and activations are real where SIMHW_DATA names a
folder that has them, and networks without are left out.
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
    {"options.negatives": "magnitude"},
    {"options.test": "at_or_below"},
    {"options.signed_inputs": "shift"},
    {"options.long_filters": "staged"},
    {"options.long_filters": "staged", "options.pace": "column"},
    {"options.long_filters": "restreamed"},
    {"options.weight_buffer": "whole"},
    {"options.pace": "column"},
    {"options.grouping": "rows"},
    {"options.grouping": "blocks"},
    {"options.fewest": "rounds"},
    {"options.one_portion": "pes"},
    {"options.activations": "off_chip"},
    {"options.activations": "as_printed"},
    {"options.pooling": "none"},
    {"options.pooling": "serial"},
    {"options.activations": "off_chip", "options.pooling": "none"},
    {"components.noc.row_words": 1},
)

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
    print(f"speedup over {BASELINE} / energy reduction\n")
    print("| choice | " + " | ".join(traces) + " |\n" + "| --- " * (1 + len(traces)) + "|")
    for choice in CHOICES:
        cells = []
        for name, trace in traces.items():
            result = simulate(MACHINE, trace, overrides=choice)
            base = bases[name]
            speed, energy = cycles(base) / cycles(result), picojoules(base) / picojoules(result)
            cells.append(f"{speed:.3f} / {energy:.3f}")
        print(f"| {said(choice)} | " + " | ".join(cells) + " |")
    for label, size in (("as the register file", 0.5), ("as the global buffer", 1280.0)):
        cells = [f"– / {repriced(bases[name], trace, size):.3f}" for name, trace in traces.items()]
        print(f"| the 20 kB memory priced {label} | " + " | ".join(cells) + " |")
    for label, settings in BASELINES.items():
        cells = []
        for trace in traces.values():
            base = simulate(BASELINE, trace, overrides=settings)
            result = simulate(MACHINE, trace)
            cells.append(f"{cycles(base) / cycles(result):.3f} / {picojoules(base) / picojoules(result):.3f}")
        print(f"| {label} | " + " | ".join(cells) + " |")


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
