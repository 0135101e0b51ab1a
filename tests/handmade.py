"""Results made by hand, of a machine small enough to add up in the head: 2 x 3 PEs, two layers.

conv1: 600 products in 120 cycles, 100 of them busy; a slot is one PE for one cycle.
conv2: 360 products in 80 cycles, 60 of them busy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simhw.result import LayerResult, Result

ROWS, COLUMNS = 2, 3


def layer(name: str, cycles: int, stalls: dict[str, int], macs: int, zeros: int, **rest: Any) -> LayerResult:
    """A layer whose six PEs share its products evenly, `zeros` of which are gated."""
    pes = ROWS * COLUMNS
    done = macs - zeros
    actions = {"dram.read": 40, "dram.write": 10, "buffer.ifmap.read": 30}
    activity = {"dram.busy": 25}
    for row in range(ROWS):
        for column in range(COLUMNS):
            actions[f"pes[{row},{column}].mac.mul"] = done // pes
            actions[f"pes[{row},{column}].filter_spad.read"] = done // pes
            activity[f"pes[{row},{column}].busy"] = macs // pes
    values: dict[str, Any] = {
        "name": name,
        "kind": "conv",
        "cycles": cycles,
        "stall_cycles": stalls,
        "utilization": macs / (cycles * pes),
        "macs": macs,
        "macs_executed": macs,
        "multiplies": done,
        "adds": done,
        "bytes": {"dram": 400, "buffer.ifmap": 60},
        "energy_pj": {
            "dram": 1000.0,
            "buffer.ifmap": 90.0,
            "pes.mac": 2.0 * done,
            "pes.filter_spad": 1.0 * done,
        },
        "actions": actions,
        "activity": activity,
        "output_matches": True,
        "output_error": {"max": 0.0, "mean": 0.0},
        "mapping": {"p": 4, "q": 1},
    }
    return LayerResult(**values | rest)


def result(**changes: Any) -> Result:
    """A whole result, at 200 MHz; `changes` replace its fields."""
    made = Result(
        accelerator="toy",
        clock_mhz=200,
        trace="two-layers",
        engine="compiled",
        options={"layers": None, "values": True, "closed_loop": False},
        versions={"simhw": "0.1.0", "python": "3.11"},
        digests={
            "description": "d" * 64,
            "network": "a" * 64,
            "weights": "b" * 64,
            "inputs": "c" * 64,
            "trace": "e" * 64,
        },
        parts={
            "pes": {"kind": "row_stationary_pe", "spec": {"word_bits": 16}, "instances": 6},
            "pes.filter_spad": {
                "kind": "register_file",
                "spec": {"words": 224, "word_bits": 16},
                "instances": 6,
            },
            "pes.mac": {"kind": "mac_unit", "spec": {"word_bits": 16}, "instances": 6},
            "buffer": {"kind": "global_buffer", "spec": {"size_kib": 108, "word_bits": 16}, "instances": 1},
            "buffer.ifmap": {
                "kind": "buffer_region",
                "spec": {"size_kib": 100, "word_bits": 16},
                "instances": 1,
            },
            "dram": {"kind": "dram_link", "spec": {"word_bits": 64, "clock_mhz": 60}, "instances": 1},
        },
        structure={
            "pes": {"adders": 6, "multipliers": 6, "register_bits": 21504},
            "buffer": {"sram_bits": 884736},
        },
        energy_unit="pJ",
        technology="handmade",
        layers=(
            layer("conv1", 120, {"filter_load": 15, "drain": 5}, 600, 60),
            layer("conv2", 80, {"filter_load": 20}, 360, 180),
        ),
        not_simulated=({"name": "pool1", "op": "maxpool"},),
    )
    return replace(made, **changes)


def timeline() -> tuple[tuple[str, str, str, int, int], ...]:
    """Spans of both layers, each from its own cycle 0."""
    return (
        ("conv1", "dram", "filters", 0, 15),
        ("conv1", "pes", "pass", 15, 115),
        ("conv1", "dram", "outputs", 115, 120),
        ("conv2", "dram", "filters", 0, 20),
        ("conv2", "pes", "pass", 20, 80),
    )
