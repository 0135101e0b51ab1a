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
from simhw.reference.fitted import KINDS, count_parameters, group_sizes
from simhw.shapes import LayerShape
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
ROUNDED = "memory brought to the digits that the paper prints before it is divided"
BY_GROUPS = "784 / 24 groups, not rounded up, as this total is printed"
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
SENSITIVITY = "sensitivity, not the paper's setting, and no match: "
# the fit after the training, once more, from first weights of another size: item -> recipe, printed, why
OTHER_FIRST_WEIGHTS = {
    "section4.fc.inference_only_larger_first_weights": (
        "tolba_table2_inference_gain4", "31.78",
        f"{SENSITIVITY}first weights four times as large, at a rate they bear; what they were drawn as stays "
        "in the trained weights, and lines take it away",
    ),
    "section4.cnn.inference_only_smaller_first_weights": (
        "tolba_table3_inference_half", "48.7",
        f"{SENSITIVITY}first weights half as large, twice those before a ReLU in place of four times",
    ),
}  # fmt: skip
# the curves of figure 6: what each is called, and its recipe
FIGURE_6 = {
    "a": {
        "without": "tolba_table2_case0",
        "N_w 3": "tolba_table2_nw3",
        "N_w 4": "tolba_table2_nw4",
        "N_w 8": "tolba_table2_case1",
        "N_w 16/16/0": "tolba_table2_case2",
        "N_w 24/4/0": "tolba_table2_case3",
        "N_w 28/4/0": "tolba_table2_case4",
    },
    "b": {
        "without": "tolba_table3_without",
        "N_w 6": "tolba_table3_lin6",
        "N_w 32": "tolba_table3_lin32",
        "N_w 64": "tolba_table3_lin64",
        "N_w 96": "tolba_table3_lin96",
    },
}
DRAWN = (
    "figure 6 is a drawing that the copy at hand does not have; what is here are the rounded coefficients "
    "after the last epoch; --plots draws the logs, of float32 weights by epoch"
)


def items(data: Path | None, progress: Progress | None, wanted: str = "") -> list[Item]:
    """Return the printed numbers that are wanted, or all, beside what comes out here."""
    accuracy = Accuracies(data, progress)
    sections = {
        ("abstract",): lambda: _abstract(accuracy),
        ("table2",): lambda: _table_2(accuracy),
        ("table3",): lambda: _table_3(accuracy),
        ("table4",): lambda: _table_4(accuracy),
        ("section4", "figure6"): lambda: _section_4(accuracy),
        ("figure3",): _figure_3,
        ("figure9",): _figure_9,
        ("table5",): _table_5,
        ("equation1",): _equation_1,
        ("section3", "section5"): _sections_3_and_5,
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
        self._wanted += [recipe for recipe, *_ in OTHER_FIRST_WEIGHTS.values()]
        self._wanted = list(dict.fromkeys(self._wanted))

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
        return None if found is None else round(100 * found, 6)


def _item(
    id: str,
    text: str,
    simulated: float | None,
    unit: str,
    tolerance: float | None = 0.0,
    why: str | None = None,
) -> Item:
    """Judge a number printed as text, to the digits it has."""
    value, digits = _read(text)
    if id in printed.CONTRADICTED:
        return item(id, value, simulated, unit, inconsistent=True, why=printed.CONTRADICTED[id])
    why = printed.ROUNDED.get(id, why)
    found = item(id, value, simulated, unit, tolerance=tolerance, digits=digits, why=why)
    return replace(found, why=None) if found.verdict == "exact" and why in EXCUSES else found


def _read(text: str) -> tuple[float, int]:
    """Return the number that a text prints, whole ones as such, and its digits after the point."""
    digits = len(text.partition(".")[2])
    return (float(text) if digits else int(text)), digits


def _cut(id: str, text: str, simulated: float, unit: str) -> Item:
    """Judge a number that the paper may have cut where it did not round: one printed digit then."""
    rounded = _item(id, text, simulated, unit)
    value, digits = _read(text)
    if rounded.verdict != "differs":
        return rounded
    return _item(id, text, simulated, unit, 10**-digits / value, printed.TRUNCATED)


def _accuracy(id: str, text: str, accuracy: float | None, why: str = TRAINED_HERE) -> Item:
    return _item(id, text, accuracy, "%", ONE_POINT / float(text), why)


def _rates(
    id: str, text: str, kb: float, kb_digits: int, reference_kb: float, as_counted_kb: float | None = None
) -> Iterator[Item]:
    """Yield a memory's rate and, where it is not the printed one, that of the memory as it is printed.

    Of the memory rounded to its printed digits, or counted as the paper does and then rounded, the rate
    is wanted to its own printed digit; the plain one may be off by what this rounding moves, no more.
    """
    found = _item(id, text, reference_kb / kb, "times")
    if found.verdict != "differs":
        yield found
        return
    value, digits = _read(text)
    rounded = round(kb if as_counted_kb is None else as_counted_kb, kb_digits)
    moved = abs(reference_kb / kb - reference_kb / rounded)
    yield _item(id, text, reference_kb / kb, "times", (moved + 0.5 * 10**-digits) / value, DIVIDED)
    why = ROUNDED if as_counted_kb is None else f"{ROUNDED}; {BY_GROUPS}"
    yield _item(f"{id}_of_the_rounded", text, reference_kb / rounded, "times", why=why)


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


def ungrouped_of(recipe: str) -> float:
    """Return the coefficients under a recipe, in thousands, if groups need not be whole."""
    made = load_recipe(recipe)
    shapes = made.workload.graph.layer_shapes(made.workload.input_shape)
    return float(
        sum(
            count_parameters(shapes[name].weight_shape, fit.kind, fit.group, whole_groups=False)
            for name, fit in made.fit.items()
        )
        / 1000
    )


def _column(
    place: str, column: printed.Column, counts: dict[str, int], kb: float, reference_kb: float
) -> Iterator[Item]:
    """Yield N_p of what a table lists, memory and rate of one column."""
    for name, text in column.layers.items():
        yield _cut(f"{place}.{name}", text, counts[name] / 1e3, "k")
    total = sum(counts.values()) / 1e3
    yield _cut(f"{place}.total", column.total, total, "k")
    yield _cut(f"{place}.memory_kb", column.memory_kb, kb, "KB")
    _, digits = _read(column.memory_kb)
    as_counted = None
    if printed.ROUNDED.get(f"{place}.memory_kb") == printed.GROUPS:
        as_counted = ungrouped_of(column.recipe)
        yield _item(f"{place}.total_as_counted", column.total, as_counted, "k", why=BY_GROUPS)
    yield from _rates(f"{place}.rate", column.rate, kb, digits, reference_kb, as_counted)


def _others(table: str) -> Iterator[Item]:
    """Yield a table's numbers of others' networks, and what follows of them from one another."""
    for id, (text, unit) in printed.OTHERS.items():
        if id.startswith(table):
            yield _item(id, text, None, unit, why=printed.THEIRS)
    for id, (text, worked_out, unit, how) in printed.FOLLOWS.items():
        if id.startswith(table):
            yield _item(id, text, worked_out, unit, why=f"the paper's own numbers: {how}")


def _table_2(accuracy: Accuracies) -> Iterator[Item]:
    reference = load_workload("lenet_300_100")
    shapes = reference.graph.layer_shapes(reference.input_shape)
    for name, text in (("fc1", "235.2"), ("fc2", "30"), ("fc3", "1")):
        yield _item(f"table2.reference.{name}", text, shapes[name].weights / 1e3, "k")
    yield _item("table2.reference.total", "266.2", _weights(reference) / 1e3, "k")
    yield _reference_kb("table2", printed.TABLE_2_REFERENCE_KB, reference)
    yield from _others("table2")
    for case, column in printed.TABLE_2.items():
        counts, bits = parameters_of(column.recipe)
        kb = sum(counts.values()) * bits / 8e3
        yield from _column(f"table2.{case}", column, counts, kb, printed.TABLE_2_REFERENCE_KB)
        yield _accuracy(f"table2.{case}.accuracy", column.accuracy, accuracy.of(column.recipe))

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
    yield _accuracy("table2.case7_counted.accuracy", column.accuracy, accuracy.of(COUNTED))


def _table_3(accuracy: Accuracies) -> Iterator[Item]:
    reference = load_workload("lenet5_caffe")
    yield _item("table3.reference.total", "431", reference.parameters / 1e3, "k")
    yield _reference_kb("table3", printed.TABLE_3_REFERENCE_KB, reference)
    yield from _others("table3")
    yield item(
        "table3.pruned.rate", 12, printed.TABLE_3_REFERENCE_KB / 88, "times", inconsistent=True,
        why="T8: 22 k, 88 KB and 12 times are those of LeNet-300-100; 1720 KB are 19.5 times 88 KB",
    )  # fmt: skip
    for case, column in printed.TABLE_3.items():
        counts, bits = parameters_of(column.recipe)
        kb = sum(counts.values()) * bits / 8e3
        yield from _column(f"table3.{case}", column, counts, kb, printed.TABLE_3_REFERENCE_KB)
        yield _accuracy(f"table3.{case}.accuracy", column.accuracy, accuracy.of(column.recipe))


def _reference_kb(table: str, printed_kb: int, reference: Workload) -> Item:
    """Judge the memory of a table's reference network, printed to the tens."""
    kb = reference.parameters * 4 / 1e3
    why = "numbers of 32 bits, biases among them, to the tens"
    return item(f"{table}.reference.memory_kb", printed_kb, kb, "KB", digits=-1, why=why)


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
        yield _accuracy(id, text, accuracy.of(recipe), why)
    for id, (recipe, text, why) in OTHER_FIRST_WEIGHTS.items():
        yield _item(id, text, accuracy.of(recipe), "%", None, why)
    reference_kb = printed.TABLE_2_REFERENCE_KB
    for case, text in printed.TEXT_RATES.items():
        column = printed.TABLE_2[case]
        kb = sum(parameters_of(column.recipe)[0].values()) / 1e3
        yield from _rates(f"section4.rate.{case}", text, kb, _read(column.memory_kb)[1], reference_kb)
    for case, text in printed.SHIFTED.items():
        yield _accuracy(f"section4.shifted.{case}", text, accuracy.of(printed.TABLE_2[case].recipe))
    case3 = printed.TABLE_2["case3"].recipe
    six_bits = sum(parameters_of(case3)[0].values()) * 6 / 8e3
    yield _item("section4.six_bits.memory_kb", "4.125", six_bits, "KB", 0.1 * 6 / 8 / 4.125)
    as_printed = round(ungrouped_of(case3), 1) * 6 / 8
    yield _item("section4.six_bits.memory_kb_of_the_rounded", "4.125", as_printed, "KB",
                why=f"six eighths of case 3's memory, rounded before; {BY_GROUPS}")  # fmt: skip
    yield item(
        "section4.six_bits.rate", 259.3, reference_kb / six_bits, "times", inconsistent=True,
        why="T9: 1070 / 4.125 is 259.39; with 33 groups of 24 it is 4.176 KB",
    )  # fmt: skip
    for recipes in FIGURE_6.values():
        for recipe in recipes.values():
            yield item(f"figure6.{recipe}.accuracy", None, accuracy.of(recipe), "%", why=DRAWN)


def _equation_1() -> Iterator[Item]:
    """A line takes two numbers for N_w weights: r = N_w / 2, beside what a fit stores."""
    for case in ("case1", "case2", "case3", "case4"):
        made = load_recipe(printed.TABLE_2[case].recipe)
        shape = made.workload.graph.layer_shapes(made.workload.input_shape)["fc1"]
        group = made.fit["fc1"].group
        rate = shape.weights / int(count_parameters(shape.weight_shape, "linear", group))
        tolerance = 0.0 if shape.in_channels % group == 0 else 1 - rate * 2 / group
        yield item(
            f"equation1.n_w_{group}", group // 2, rate, "times", tolerance=tolerance,
            why=printed.GROUPS if tolerance else None,
        )  # fmt: skip


def _abstract(accuracy: Accuracies) -> Iterator[Item]:
    counts, _ = parameters_of("tolba_table3_lin6")
    parameters = sum(counts.values())
    without = sum(parameters_of("tolba_table3_without")[0].values())
    why = (
        "T2: 1720 KB of 32-bit numbers over 1.42 KB of 8-bit ones, of two networks; parameters alone are "
        "303.6 times fewer than LeNet-5's, and 2.7 times fewer than those of the network that was fitted"
    )
    reference = load_workload("lenet5_caffe").parameters
    for name, rate in (
        ("abstract.parameters", reference / parameters),
        ("abstract.parameters_of_the_fit", without / parameters),
    ):
        yield item(name, 1211.3, rate, "times", inconsistent=True, why=why)
    yield item(
        "abstract.accuracy_drop", 0.9, round(99.1 - 98.2, 6), "%", inconsistent=True,
        why="T13: less than 0.9 is said; Table III's 99.1 and 98.2 are 0.9 apart, and section IV says 0.9",
    )  # fmt: skip
    exact, fitted = (accuracy.of(printed.TABLE_3[case].recipe) for case in ("without", "case0"))
    lost = None if exact is None or fitted is None else round(exact - fitted, 6)
    yield item(
        "abstract.accuracy_drop_of_the_fit", 0.9, lost, "%", tolerance=None,
        why="no pass mark: 99.1 is of LeNet-5; this is what lines cost the network that was fitted",
    )  # fmt: skip
    proposed, unrolled = arrays.convolution(5, 28).equation_2, arrays.unrolled(5, 28).equation_2
    yield item(
        "abstract.saving_pct", 54, 100 * (1 - proposed / unrolled), "%", inconsistent=True,
        why="T1: 584 of 1080 are 54.1 % that remain, so 45.9 % are saved",
    )  # fmt: skip


def _sections_3_and_5() -> Iterator[Item]:
    """Two slips of the text: the points of an interval, and the size of a map."""
    yield item(
        "section3.interval.n_w_3", 4, int(group_sizes((1, 1, 3, 3), 3)[0]), "points",
        inconsistent=True, why="T14: [x = 0 : N_w] are N_w + 1 points; a group has N_w, x = 0, 1, 2 here",
    )  # fmt: skip
    shape = LayerShape(
        batch=1, in_channels=1, in_height=10, in_width=10, out_channels=1, kernel_height=3, kernel_width=3
    )
    yield item(
        "section5.output_map.rows", 3, shape.out_height, "rows", inconsistent=True,
        why="T15: 3 x 8 is the array of PEs; the output of 3 x 3 on 10 x 10 is a map of 8 x 8",
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
