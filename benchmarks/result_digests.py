"""Digests of results, so that a change which must not move a number can be held to that.

    python benchmarks/result_digests.py make FILE [only]      # of the tree as it stands
    python benchmarks/result_digests.py compare FILE [only]   # run all again, name what differs

A case is a machine, a network and settings; `only` is a part of its name. What is digested is all that a
result says of its layers, and its accuracy. Weights and images are real where SIMHW_DATA names a folder that
has them, else drawn. `make` goes on where it was broken off.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from simhw.accelerator import simulate
from simhw.errors import DataError
from simhw.trace import Trace
from simhw.transforms import layer_fits
from simhw.workload import export, load_workload

NETWORKS = ("lenet_digits", "lenet5_mnist", "resnet20_cifar10", "alexnet_conv", "squeezenet_v1_1")
SNAPEA = (
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
EYERISS = (
    {},
    {"options.first_window": "with_filters"},
    {"options.psum_traffic": "serial"},
    {"options.ifmap_prefetch": "never"},
    {"options.ofmap_drain": "never"},
    {"options.compression": "none"},
    {"options.compression": "all"},
    {"options.configuration": "hidden"},
    {"options.filter_load": "overlapped"},
    {"components.pes.zero_gating": False},
    {"components.dram.latency_cycles": 50},
)
LARGE = ("alexnet_conv", "squeezenet_v1_1")
BUDGETS = {"squeezenet_v1_1": "10", "resnet20_cifar10": "3", "lenet5_mnist": "3"}
UNFITTED = {"options.unfitted": "exact"}
ARRAYS = {
    "tolba": (
        UNFITTED,
        UNFITTED | {"options.filters_at_once": 4},
        UNFITTED | {"components.dram.latency_cycles": 50},
    ),
    "tolba_quadratic": (UNFITTED,),
    "tolba_rs": ({}, {"options.filters_at_once": 4}),
}  # fmt: skip
FITS = {
    "lenet_digits": ("conv*=linear:5", "fc*=linear:4", "fc3=exact"),
    "lenet5_mnist": ("conv*=linear:5", "fc*=linear:16"),
}
ENGINES = {"lenet_digits": ("compiled", "stepped")}


def trace_of(name: str, fit: tuple[str, ...] = ()) -> Trace:
    workload = load_workload(name)
    more = {"fit": layer_fits.parse(fit)} if fit else {}
    try:
        return export(workload, images=2 if name == "lenet_digits" else 1, **more)
    except DataError:
        return export(workload, images=1, data="synthetic", weights="random", **more)


def cases():
    """Yield name, network, fit, and what `simulate` is given besides the trace."""
    for network in NETWORKS:
        for machine, choices in {
            "eyeriss": EYERISS,
            "eyeriss_256": EYERISS,
            "snapea": SNAPEA,
            **ARRAYS,
        }.items():
            for choice in choices[:1] if machine == "eyeriss_256" and network in LARGE else choices:
                yield case(machine, network, choice)
        if network in BUDGETS:
            for choice in SNAPEA:
                if choice.get("options.termination") != "off":
                    yield case("snapea", network, choice, tuning=f"{network}-{BUDGETS[network]}")
        for machine in ("tolba", "tolba_quadratic", "tolba_rs") if network in FITS else ():
            yield case(machine, network, {}, fit=FITS[network])
    for machine in ("eyeriss", "snapea"):
        yield case(machine, "lenet_digits", {}, engine="stepped")
        yield case(machine, "lenet_digits", {}, closed_loop=True)
        yield case(machine, "lenet_digits", {}, values=False)
    yield case("snapea", "lenet5_mnist", {}, tuning="lenet5_mnist-3", closed_loop=True)


def case(machine, network, overrides, fit=(), **more):
    said = [f"{key.rpartition('.')[2]}={value}" for key, value in (overrides | more).items()]
    name = " ".join([machine, network, *(["fitted"] if fit else []), *said])
    return name, network, tuple(fit), {"accelerator": machine, "overrides": overrides} | more


def digest(result) -> str:
    said = [
        {
            key: dict(value) if key in ("actions", "activity") else value
            for key, value in asdict(layer).items()
        }
        for layer in result.layers
    ]
    text = json.dumps([said, result.totals, result.accuracy], sort_keys=True, default=float)
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> int:
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("make", "compare"):
        sys.exit(__doc__)
    what, file, only = sys.argv[1], Path(sys.argv[2]), "".join(sys.argv[3:])
    known = json.loads(file.read_text()) if file.exists() else {}
    traces: dict[tuple[str, tuple[str, ...]], Trace] = {}
    differing, seen = [], 0
    for name, network, fit, given in cases():
        if only not in name or (what == "make" and name in known):
            continue
        if (network, fit) not in traces:
            traces[network, fit] = trace_of(network, fit)
        found = digest(simulate(given.pop("accelerator"), traces[network, fit], **given))
        seen += 1
        if what == "make":
            known[name] = found
            file.write_text(json.dumps(known, indent=0) + "\n")
        elif known.get(name) != found:
            differing.append(name)
            print(f"differs: {name}", flush=True)
    print(f"{seen} results {'kept' if what == 'make' else f'compared, {len(differing)} differ'}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
