"""What Tolba et al. (arXiv 2105.02954) print, as text, so that each number keeps its digits.

N_p in thousands, memory in KB, rates against the 32-bit reference of the same table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TABLE_2_REFERENCE_KB = 1070  # LeNet-300-100
TABLE_3_REFERENCE_KB = 1720  # LeNet-5
TABLE_4_REFERENCE_KB = 2080


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of Table II, III or IV; `layers` are N_p of what the table lists apart."""

    recipe: str
    total: str
    memory_kb: str
    rate: str
    accuracy: str
    layers: dict[str, str] = field(default_factory=dict[str, str])


def _fc(fc1: str, fc2: str, fc3: str) -> dict[str, str]:
    return {"fc1": fc1, "fc2": fc2, "fc3": fc3}


def _column(recipe: str, total: str, kb: str, rate: str, accuracy: str, **layers: str) -> Column:
    return Column(recipe=recipe, total=total, memory_kb=kb, rate=rate, accuracy=accuracy, layers=layers)


TABLE_2 = {
    "case0": _column("tolba_table2_case0", "52.5", "52.5", "20.4", "97.53", **_fc("50.18", "2", "0.32")),
    "case1": _column("tolba_table2_case1", "13", "13", "82.3", "97.49", **_fc("12.5", "0.5", "0.08")),
    "case2": _column("tolba_table2_case2", "7", "7", "152.9", "97", **_fc("6.3", "0.25", "0.32")),
    "case3": _column("tolba_table2_case3", "5.5", "5.5", "194.5", "96.44", **_fc("4.1", "1", "0.32")),
    "case4": _column("tolba_table2_case4", "4.9", "4.9", "218.4", "94.48", **_fc("3.6", "1", "0.32")),
    "case5": _column("tolba_table2_case5", "6.5", "6.5", "164.6", "97", **_fc("5.4", "0.75", "0.32")),
    "case6": _column("tolba_table2_case6", "6.1", "6.1", "175.4", "96.6", **_fc("5.4", "0.4", "0.32")),
    "case7": _column("tolba_table2_case7", "5.5", "5.5", "194.5", "96.32", **_fc("4.8", "0.4", "0.32")),
}

TABLE_3 = {
    "without": _column("tolba_table3_without", "3.87", "3.87", "444.4", "98.8"),
    "case0": _column("tolba_table3_lin6", "1.42", "1.42", "1211.3", "98.2"),
    "case1": _column("tolba_table3_lin32", "0.9", "0.9", "1911.1", "97.63"),
    "case2": _column("tolba_table3_lin64", "0.84", "0.84", "2047.6", "95.1"),
    "case3": _column("tolba_table3_lin96", "0.82", "0.82", "2097.6", "93.6"),
    "case4": _column("tolba_table3_quad192", "1.2", "1.2", "1433.3", "93.4"),
    "case5": _column("tolba_table3_quad25", "0.294", "0.294", "5850.3", "91.34"),
}

# N_w of convolutions and of linear layers -> a column; recipes are of the network on RGB images
TABLE_4 = {
    "baseline": (0, 0, _column(
        "tolba_table4_baseline", "520.2", "2080", "1", "76.2", convs="256.8", fcs="263.4")),
    "inference": (5, 8, _column(
        "tolba_table4_inference", "158.6", "158.6", "13.1", "15.3", convs="102.8", fcs="65.8")),
    "fc8": (5, 8, _column(
        "tolba_table4_train8", "158.6", "158.6", "13.1", "75", convs="102.8", fcs="65.8")),
    "fc16": (5, 16, _column(
        "tolba_table4_train16", "135.7", "135.7", "15.3", "73.6", convs="102.8", fcs="32.9")),
    "fc32": (5, 32, _column(
        "tolba_table4_train32", "119.2", "119.2", "17.4", "72.2", convs="102.8", fcs="16.4")),
}  # fmt: skip

# accuracies that the text prints for lines put through trained weights, or groups that no table has
TEXT_ACCURACIES = {
    "section4.fc.inference_only": ("tolba_table2_inference", "31.78"),
    "section4.fc.n_w_3": ("tolba_table2_nw3", "97.53"),
    "section4.fc.n_w_4": ("tolba_table2_nw4", "97.53"),
    "section4.cnn.inference_only": ("tolba_table3_inference", "48.7"),
}

TABLE_5 = {"lenet_300_100": "531990", "case0": "104982", "case3": "13156", "case4": "11902"}
TABLE_5_RATES = {"case0": "5", "case3": "40.4", "case4": "44.7"}

# section V, worked examples of figure 9: (filter, ifmap) -> proposed, row stationary
FIGURE_9 = {(3, 10): (102, 120), (5, 28): (584, 1080)}

TRUNCATED = "the paper rounds, or cuts digits off, before it goes on"
GROUPS = "T11: fc1 is counted with 784 / 24 = 32.7 groups; the array has 33"
# what the paper contradicts itself in: item -> why (T1 to T12 in docs/models/tolba.md)
CONTRADICTED = {
    "table2.case3.fc1": "T11: 784 / 24 groups, not rounded, make 4.18 k, cut to 4.1; case 7 rounds groups up",
    "table2.case5.fc2": "T12: 3 x 2048 / 8 is 768; 0.75 k comes from the rounded 2 k",
    "table2.case7.fc2": "T5: N_w = 8 gives 0.77 k; 0.4 k, and the printed total, take N_w = 16",
    "table2.case7.total": "T5: 5.9 k with N_w = 8 in fc2; 5.5 k takes N_w = 16",
    "table2.case7.memory_kb": "T5: follows from N_p of fc2, which N_w = 8 does not give",
    "table2.case7.rate": "T5: follows from N_p of fc2, which N_w = 8 does not give",
    "table4.inference.total": "T3: 102.8 + 65.8 is 168.6",
    "table4.fc8.total": "T3: 102.8 + 65.8 is 168.6",
    "table4.inference.memory_kb": "T3: 102.8 + 65.8 is 168.6",
    "table4.fc8.memory_kb": "T3: 102.8 + 65.8 is 168.6",
    "table4.inference.rate": "T3: 2080 / 168.6 is 12.3",
    "table4.fc8.rate": "T3: 2080 / 168.6 is 12.3",
}
ROUNDED = {
    "table2.case3.total": GROUPS,
    "table2.case3.memory_kb": GROUPS,
    "table2.case3.rate": GROUPS,
    "section4.six_bits.memory_kb": GROUPS,
}

# figure 3 and section III.A, one 3x3 window: multipliers, adders
FIGURE_3 = {"reuse": (6, 14), "traditional": (9, 8)}
