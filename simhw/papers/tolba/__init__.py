"""Tolba et al. (arXiv 2105.02954): parameters, accuracy, and the adders and multipliers of the reuse array.

Parameters come from the fits themselves, adders and multipliers from arrays that are built and counted,
accuracies from coefficients that were trained here, evaluated now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from simhw.errors import RecipeError
from simhw.papers.items import Item, chosen, item
from simhw.papers.tolba import arrays, printed
from simhw.reference.fitted import KINDS, count_parameters
from simhw.training.evaluate import accuracy_of
from simhw.training.recipe import load_recipe
from simhw.workload import Workload, load_workload

Progress = Callable[[int, int, str], None]

COUNTED = "tolba_table2_case7_counted"
SIZES = (784, 64, 32, 10)
LENET_300_100 = (784, 300, 100, 10)
ONE_SHARED_SUM = (
    "inferred: the text's reuse blocks have one adder more in every group of a linear layer; the printed "
    "count takes blocks in which d0 and d1 share one sum of two inputs, which are built here"
)
AS_EXPLAINED = "reuse blocks as the text explains them, which share no sums: one adder more in every group"
DIVIDED = "the paper divides by the memory it prints, rounded"
EXCUSES = (printed.TRUNCATED, printed.GROUPS, DIVIDED)  # of numbers that are not exact
ONE_POINT = 1.0  # of accuracy
CIFAR = (
    "no pass mark: trained here on 10,000 of the 50,000 training images, in RGB, by a recipe of our own; the "
    "parameters beside it are those of the grey network that the paper counts"
)
TRAINED_HERE = "trained here, by a recipe of our own: the paper gives no rate, batch or seed"
AFTERWARDS = (
    "lines through weights that were trained without them, here by a recipe of our own: how much that loses "
    "is a matter of those weights, of which the paper says nothing"
)
FIGURE_6_RECIPES = (
    *(f"tolba_table2_case{n}" for n in range(8)),
    *(f"tolba_table3_{name}" for name in ("without", "lin6", "lin32", "lin64", "lin96")),
)
FIGURE_6 = "figure 6 is a drawing that the copy at hand does not have; what is here is the last epoch"


def items(data: Path | None, progress: Progress | None, wanted: str = "") -> list[Item]:
    """Return the printed numbers that are wanted, or all, beside what comes out here."""
    accuracy = Accuracies(data, progress)
    sections = {
        ("abstract",): _abstract,
        ("table2",): lambda: _table_2(accuracy),
        ("table3",): lambda: _table_3(accuracy),
        ("table4",): lambda: _table_4(accuracy),
        ("section4", "figure6"): lambda: _section_4(accuracy),
        ("figure3",): _figure_3,
        ("figure9",): _figure_9,
        ("table5",): _table_5,
    }
    return chosen(sections, wanted)


class Accuracies:
    """Accuracies of trained coefficients, in per cent; None where the coefficients or images are not here."""

    def __init__(self, data: Path | None, progress: Progress | None) -> None:
        self.data, self.progress = data, progress
        self._found: dict[str, float | None] = {}
        self._wanted = [
            column.recipe for table in (printed.TABLE_2, printed.TABLE_3) for column in table.values()
        ]
        self._wanted += [column.recipe for *_, column in printed.TABLE_4.values()]
        self._wanted += [COUNTED, *(recipe for recipe, _ in printed.TEXT_ACCURACIES.values())]

    def of(self, recipe: str) -> float | None:
        if recipe not in self._found:
            if self.progress is not None:
                self.progress(len(self._found), len(self._wanted), recipe)
            self._found[recipe] = self._evaluated(recipe)
        return self._found[recipe]

    def _evaluated(self, recipe: str) -> float | None:
        try:
            found = accuracy_of(recipe, self.data)
        except RecipeError:  # no coefficients ship of it
            return None
        return None if found is None else 100 * found


def _item(
    id: str,
    text: str,
    simulated: float | None,
    unit: str,
    tolerance: float | None = 0.0,
    why: str | None = None,
) -> Item:
    """Judge a number printed as text, to the digits it has."""
    if id in printed.CONTRADICTED:
        return item(id, float(text), simulated, unit, inconsistent=True, why=printed.CONTRADICTED[id])
    _, _, digits = text.partition(".")
    why = printed.ROUNDED.get(id, why)
    found = item(id, float(text), simulated, unit, tolerance=tolerance, digits=len(digits), why=why)
    return replace(found, why=None) if found.verdict == "exact" and why in EXCUSES else found


# parameters


def parameters_of(recipe: str) -> tuple[dict[str, int], int]:
    """Return the coefficients of each layer under a recipe, and the bits of one."""
    made = load_recipe(recipe)
    shapes = made.workload.graph.layer_shapes(made.workload.input_shape)
    counts = {
        name: int(count_parameters(shapes[name].weight_shape, fit.kind, fit.group))
        for name, fit in made.fit.items()
    }
    return counts, made.bits


def _column(
    place: str, column: printed.Column, counts: dict[str, int], kb: float, reference_kb: float
) -> Iterator[Item]:
    """Yield N_p of what a table lists, memory and rate of one column."""
    for name, text in column.layers.items():
        yield _item(f"{place}.{name}", text, counts[name] / 1e3, "k", 0.025, printed.TRUNCATED)
    total = sum(counts.values()) / 1e3
    yield _item(f"{place}.total", column.total, total, "k", 0.025, printed.TRUNCATED)
    yield _item(f"{place}.memory_kb", column.memory_kb, kb, "KB", 0.025, printed.TRUNCATED)
    yield _item(f"{place}.rate", column.rate, reference_kb / kb, "times", 0.025, DIVIDED)


def _table_2(accuracy: Accuracies) -> Iterator[Item]:
    reference = load_workload("lenet_300_100")
    weights = _weights(reference)
    yield _item("table2.reference.total", "266.2", weights / 1e3, "k")
    for case, column in printed.TABLE_2.items():
        counts, bits = parameters_of(column.recipe)
        kb = sum(counts.values()) * bits / 8e3
        yield from _column(f"table2.{case}", column, counts, kb, printed.TABLE_2_REFERENCE_KB)
        yield _item(
            f"table2.{case}.accuracy",
            column.accuracy,
            accuracy.of(column.recipe),
            "%",
            ONE_POINT / float(column.accuracy),
            TRAINED_HERE,
        )

    # case 7 as its own printed numbers have it, with N_w = 16 in fc2
    column = printed.TABLE_2["case7"]
    counts, bits = parameters_of(COUNTED)
    yield from _column(
        "table2.case7_counted",
        column,
        counts,
        sum(counts.values()) * bits / 8e3,
        printed.TABLE_2_REFERENCE_KB,
    )
    yield _item(
        "table2.case7_counted.accuracy",
        column.accuracy,
        accuracy.of(COUNTED),
        "%",
        ONE_POINT / float(column.accuracy),
        TRAINED_HERE,
    )


def _table_3(accuracy: Accuracies) -> Iterator[Item]:
    reference = load_workload("lenet5_caffe")
    yield _item("table3.reference.total", "431", reference.parameters / 1e3, "k")
    yield item(
        "table3.pruned.rate", 12, reference.parameters * 4 / 88e3, "times", inconsistent=True,
        why="T8: 22 k, 88 KB and 12 times are those of LeNet-300-100; 1720 KB are 19.5 times 88 KB",
    )  # fmt: skip
    for case, column in printed.TABLE_3.items():
        counts, bits = parameters_of(column.recipe)
        kb = sum(counts.values()) * bits / 8e3
        yield from _column(f"table3.{case}", column, counts, kb, printed.TABLE_3_REFERENCE_KB)
        yield _item(
            f"table3.{case}.accuracy",
            column.accuracy,
            accuracy.of(column.recipe),
            "%",
            ONE_POINT / float(column.accuracy),
            TRAINED_HERE,
        )


def _table_4(accuracy: Accuracies) -> Iterator[Item]:
    """CIFAR-10, counted with one input channel, as the paper's numbers are, and trained with three."""
    grey, colour = load_workload("cifar10_tolba_grey"), load_workload("cifar10_tolba")
    for case, (conv_group, fc_group, column) in printed.TABLE_4.items():
        counts = _cifar(grey, conv_group, fc_group)
        kb = sum(counts.values()) * (4e-3 if case == "baseline" else 1e-3)
        yield from _column(f"table4.{case}", column, counts, kb, printed.TABLE_4_REFERENCE_KB)
        measured = accuracy.of(column.recipe)
        yield _item(f"table4.{case}.accuracy", column.accuracy, measured, "%", None, CIFAR)
    yield item(
        "table4.baseline.convs.colour", 256.8, _cifar(colour, 0, 0)["convs"] / 1e3, "k", inconsistent=True,
        why="T4: CIFAR-10 has three channels; 256.8 k is counted with one",
    )  # fmt: skip


def _cifar(workload: Workload, conv_group: int, fc_group: int) -> dict[str, int]:
    counts = {"convs": 0, "fcs": 0}
    for shape in workload.graph.layer_shapes(workload.input_shape).values():
        is_conv = shape.kernel_height > 1
        group = conv_group if is_conv else fc_group
        kind = "linear" if group else "exact"
        counts["convs" if is_conv else "fcs"] += int(count_parameters(shape.weight_shape, kind, group))
    return counts


def _weights(workload: Workload) -> int:
    return sum(shape.weights for shape in workload.graph.layer_shapes(workload.input_shape).values())


def _section_4(accuracy: Accuracies) -> Iterator[Item]:
    for id, (recipe, text) in printed.TEXT_ACCURACIES.items():
        why = AFTERWARDS if id.endswith("inference_only") else TRAINED_HERE
        yield _item(id, text, accuracy.of(recipe), "%", 0.02, why)
    case3, _ = parameters_of("tolba_table2_case3")
    six_bits = sum(case3.values()) * 6 / 8e3
    yield _item("section4.six_bits.memory_kb", "4.125", six_bits, "KB", 0.025)
    yield item(
        "section4.six_bits.rate", 259.3, printed.TABLE_2_REFERENCE_KB / six_bits, "times", inconsistent=True,
        why="T9: 1070 / 4.125 is 259.39; with 33 groups of 24 it is 4.176 KB",
    )  # fmt: skip
    shifted = (
        "T6: the text's rates and accuracies stand a column apart from Table II's, and 192.5 is its 194.5"
    )
    yield item(
        "section4.rate.case3", 192.5, printed.TABLE_2_REFERENCE_KB * 1e3 / sum(case3.values()), "times",
        inconsistent=True, why=shifted,
    )  # fmt: skip
    case6, _ = parameters_of("tolba_table2_case6")
    yield _item(
        "section4.rate.case6", "175.4", printed.TABLE_2_REFERENCE_KB * 1e3 / sum(case6.values()), "times",
        0.025, "T7: printed as 175.4.3",
    )  # fmt: skip
    for recipe in FIGURE_6_RECIPES:
        yield item(f"figure6.{recipe}.accuracy", None, accuracy.of(recipe), "%", why=FIGURE_6)


def _abstract() -> Iterator[Item]:
    counts, _ = parameters_of("tolba_table3_lin6")
    parameters = sum(counts.values())
    yield item(
        "abstract.parameters", 1211.3, load_workload("lenet5_caffe").parameters / parameters, "times",
        inconsistent=True,
        why="T2: 1720 KB of 32-bit numbers over 1.42 KB of 8-bit ones, of two networks; parameters alone are "
        "303.6 times fewer than LeNet-5's, and 2.7 times fewer than those of the network that was fitted",
    )  # fmt: skip
    proposed, unrolled = arrays.convolution(5, 28).equation_2, arrays.unrolled(5, 28).equation_2
    yield item(
        "abstract.saving_pct", 54, 100 * (1 - proposed / unrolled), "%", inconsistent=True,
        why="T1: 584 of 1080 are 54.1 % that remain, so 45.9 % are saved",
    )  # fmt: skip


# adders and multipliers


def _figure_3() -> Iterator[Item]:
    """Section III.A: one 3x3 window, on a built array of each kind, adders between PEs included."""
    for name, built in (("reuse", arrays.convolution(3, 3)), ("traditional", arrays.unrolled(3, 3))):
        multipliers, adders = printed.FIGURE_3[name]
        made = built.reuse_adders + built.pe_adders + built.climbing
        yield item(f"figure3.{name}.multipliers", multipliers, built.pe_multipliers, "multipliers")
        yield item(f"figure3.{name}.adders", adders, made, "adders")


def _figure_9() -> Iterator[Item]:
    sweep = {(row["filter"], row["ifmap"]): row for row in arrays.figure_9()}
    assert set(printed.FIGURE_9) <= set(sweep)
    for (filter, ifmap), row in sweep.items():
        numbers = printed.FIGURE_9.get((filter, ifmap), (None, None))
        for name, number in zip(("proposed", "row_stationary"), numbers, strict=True):
            id = f"figure9.filter{filter}.ifmap{ifmap}.{name}"
            why = None if number else "figure 9 is a drawing that the copy at hand does not have"
            yield item(id, number, row[name], "adders and multipliers", why=why)


def _table_5() -> Iterator[Item]:
    unit = "adders and multipliers"
    reference = arrays.linear_network(LENET_300_100, (0, 0, 0)).table_5
    exact = arrays.linear_network(SIZES, (0, 0, 0)).table_5
    yield _item("table5.lenet_300_100", printed.TABLE_5["lenet_300_100"], reference, unit)
    yield _item("table5.case0", printed.TABLE_5["case0"], exact, unit)
    yield _item("table5.case0.rate", printed.TABLE_5_RATES["case0"], reference / exact, "times")
    for case in ("case3", "case4"):
        groups = _groups(printed.TABLE_2[case].recipe)
        shared = arrays.linear_network(SIZES, groups, shares_a_sum=True).table_5
        plain = arrays.linear_network(SIZES, groups).table_5
        text = printed.TABLE_5[case]
        yield _item(f"table5.{case}", text, shared, unit, why=ONE_SHARED_SUM)
        yield _item(f"table5.{case}.as_explained", text, plain, unit, 0.01, AS_EXPLAINED)
        yield _item(f"table5.{case}.rate", printed.TABLE_5_RATES[case], reference / shared, "times")
        yield item(
            f"table5.{case}.rate_of_the_fit", float(printed.TABLE_5_RATES[case]), exact / shared, "times",
            inconsistent=True,
            why="T10: printed against LeNet-300-100; against the exact network of its own size the fit alone "
            "gives this",
        )  # fmt: skip


def _groups(recipe: str) -> tuple[int, ...]:
    fits = load_recipe(recipe).fit.values()
    assert all(fit.kind in KINDS[:2] for fit in fits)
    return tuple(fit.group for fit in fits)
