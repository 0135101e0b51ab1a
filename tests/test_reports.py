"""Tables, figures, the drawing, the page, the timeline: results as people look at them."""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade import COLUMNS, ROWS, layer, result, timeline

from simhw.comparison import compare
from simhw.errors import ResultError
from simhw.papers.items import item
from simhw.reports import plots, words
from simhw.reports.drawing import busy_cells, machine_drawing
from simhw.reports.page import page, remake
from simhw.reports.plots import KINDS, plot
from simhw.reports.table import (
    breakdown_table,
    comparison_table,
    item_notes,
    item_table,
    layer_table,
    listing,
    result_text,
)
from simhw.reports.timeline import chrome_trace, placed_spans

TIMED = result(timeline=timeline())
FAST = result(accelerator="fast", clock_mhz=500, timeline=timeline())


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"), (1, "1.00 s"), (0.0165, "16.5 ms"), (9.994e-3, "9.99 ms"), (9.996e-3, "10.0 ms"),
        (0.9999e-3, "1.00 ms"), (999.4, "999 s"), (999.6, "1.00 ks"), (-2.5e-6, "-2.50 µs"),
        (3e-15, "0.00 ps"), (4.2e15, "4200 Ts"), (None, "–"),
    ],
)  # fmt: skip
def test_three_digits_and_a_prefix(value, text):
    assert words.engineering(value, "s") == text


def test_picojoules_are_joules_and_relative_units_are_not():
    assert words.energy(1.37e9, "pJ") == "1.37 mJ"
    assert words.energy(1.37e9, "RF accesses") == "1.37 G RF accesses"
    assert words.energy(None, "pJ") == words.energy(1.0, None) == "–"


# Tables


def test_the_layer_table_ends_with_the_totals():
    table = layer_table(result())
    cycles = [row[table.columns.index("cycles")] for row in table.rows]
    assert cycles == ["120", "80"]
    assert table.footer is not None
    assert table.footer[:4] == ("total", "200", "1.00 µs", "20.0 %")
    assert table.footer[-3:] == ("800 B", "4.34 nJ", "equal")


def test_columns_of_text_are_even():
    lines = layer_table(result()).text().splitlines()
    assert len(set(map(len, lines))) == 1
    assert lines[0].startswith("layer")
    assert set(lines[1]) == {"─"}


def test_what_run_prints_names_stalls_energy_and_what_was_not_simulated():
    text = result_text(replace(result(), accuracy=0.975, unpriced={"relu.apply": 3}))
    assert "toy on two-layers, compiled engine, 200 MHz" in text
    assert "stalls: filter load 17.5 %, drain 2.5 % of all cycles" in text
    assert "energy: dram 46.1 %, pes.mac 33.2 %, pes.filter_spad 16.6 %, buffer.ifmap 4.1 %" in text
    assert "core power, without DRAM: 2.34 mW" in text
    assert "accuracy: 97.5 %" in text
    assert "without a price, so not in the energy: relu.apply" in text
    assert "not simulated, run in the reference model at no cost: pool1 (maxpool)" in text


def test_many_operators_that_were_not_simulated_are_counted():
    pools = tuple({"name": f"pool{i}", "op": "maxpool"} for i in range(9))
    text = result_text(result(not_simulated=(*pools, {"name": "norm1", "op": "lrn"})))
    assert text.endswith("at no cost: 9 maxpool, 1 lrn")


def test_an_output_that_differs_stands_out():
    wrong = result(layers=(layer("conv1", 120, {}, 600, 0, output_matches=False),))
    assert layer_table(wrong).rows[0][-1] == "DIFFERS"


def test_a_comparison_has_a_column_per_result():
    table = comparison_table(compare([result(), FAST]))
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.columns == ("", "toy", "fast")
    assert rows["cycles"] == ("200", "200")
    assert rows["speedup"] == ("1.00 x", "2.50 x")
    assert rows["multipliers"] == ("6", "6")
    assert "accuracy" not in rows
    assert "weights" not in rows


def test_a_comparison_labels_other_weights():
    other = result(digests=result().digests | {"weights": "f" * 64})
    rows = {row[0]: row[1:] for row in comparison_table(compare([result(), other])).rows}
    assert rows["weights"] == ("same", "other weights")


def test_the_breakdown_has_a_row_per_cause_level_and_component():
    rows = {row[0]: row[1:] for row in breakdown_table(compare([result(), FAST])).rows}
    assert rows["stalled: filter load"] == ("17.5 %", "17.5 %")
    assert rows["bytes: dram"] == ("800 B", "800 B")
    assert rows["energy: pes.mac"] == ("1.44 nJ", "1.44 nJ")


def test_a_relative_unit_stands_in_the_name_of_the_row():
    relative = result(energy_unit="RF accesses")
    rows = {row[0]: row[1:] for row in comparison_table(compare([relative])).rows}
    assert rows["energy, RF accesses"] == ("4.34 k",)


def test_items_of_a_paper_show_both_values_and_the_verdict():
    items = [
        item("t5.pes", 154, 154, "PEs").to_dict(),
        item("t5.ms", 16.5, 17.0, "ms", tolerance=0.06, why="one reason").to_dict(),
        item("t5.mb", 5.0, None, "MB", tolerance=None, why="another").to_dict(),
        item("t5.mw", 5.0, 5.0, "mW", why="one reason").to_dict(),
    ]
    assert item_table(items).rows == (
        ("t5.pes", "154", "154", "PEs", "+0.0 %", "exact", "exact", ""),
        ("t5.ms", "16.5", "17", "ms", "+3.0 %", "6 %", "within", "1"),
        ("t5.mb", "5", "–", "MB", "–", "–", "data not at hand", "2"),
        ("t5.mw", "5", "5", "mW", "+0.0 %", "exact", "exact", "1"),
    )
    assert item_notes(items) == "  1  one reason\n  2  another"


def test_long_reasons_are_wrapped_under_their_first_word():
    lines = item_notes([item("a", 1, 1, "", why="word " * 40).to_dict()], width=60).splitlines()
    assert lines[0].startswith("  1  word")
    assert all(line.startswith("     word") and len(line) <= 60 for line in lines[1:])


def test_a_listing_aligns_numbers_right_and_text_left():
    lines = listing([{"name": "a", "macs": 1200}, {"name": "bcd", "macs": 7}]).text().splitlines()
    assert lines[2:] == ["a     1,200", "bcd       7"]


# Figures


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("results", [[TIMED], [TIMED, FAST]], ids=["one", "two"])
def test_every_kind_is_drawn_and_always_the_same(tmp_path, kind, results):
    plot(results, kind, tmp_path / "a.png")
    plot(results, kind, tmp_path / "b.png")
    width, height = size_of((tmp_path / "a.png").read_bytes())
    assert width > 800
    assert height > 300
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_the_ending_chooses_the_format(tmp_path, ending):
    plot(result(), "cycles", tmp_path / f"a.{ending}")
    content = (tmp_path / f"a.{ending}").read_bytes()
    assert content.startswith(b"<?xml" if ending == "svg" else b"%PDF")


def test_an_ending_that_is_no_format_is_refused(tmp_path):
    with pytest.raises(ResultError) as caught:
        plot(result(), "cycles", tmp_path / "a.gif")
    assert str(caught.value) == f"{tmp_path}/a.gif: wants a name that ends in .png, .svg or .pdf"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ResultError) as caught:
        plot(result(), "cycle")
    assert str(caught.value) == (
        "plot: unknown kind 'cycle'; did you mean 'cycles'? "
        "known: cycles, energy, operations, roofline, timeline, utilization"
    )


def bars_of(figure, panel: int = 0) -> list[float]:
    """Where each layer's stack of bars ends."""
    ends: dict[float, float] = {}
    for bar in figure.axes[panel].patches:
        row = round(bar.get_y() + bar.get_height() / 2, 6)
        ends[row] = max(ends.get(row, 0.0), bar.get_x() + bar.get_width())
    return [ends[row] for row in sorted(ends)]


def test_a_layers_bar_is_as_long_as_its_cycles():
    assert bars_of(plot(result(), "cycles")) == [120, 80]


def test_a_layers_bar_is_as_long_as_its_energy():
    ends = [sum(x.energy_pj.values()) for x in result().layers]
    assert bars_of(plot(result(), "energy")) == pytest.approx(ends)


def test_components_beyond_what_a_legend_holds_are_drawn_together_and_lose_nothing():
    many = {f"part{chr(97 + i)}": float(i + 1) for i in range(20)}
    made = result(layers=(layer("conv1", 120, {}, 600, 0, energy_pj=many),))
    figure = plot(made, "energy")
    assert bars_of(figure) == pytest.approx([sum(many.values())])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(named) == plots.MOST_PARTS
    assert "other" in named


def test_components_that_are_numbered_are_one_even_where_a_layer_uses_but_one():
    energy = {"pes.lane0": 1.0, "pes.lane1": 2.0, "pes.pau0": 4.0, "pes.mac": 8.0}
    whole = layer("conv1", 120, {}, 600, 0, energy_pj=energy)
    single = layer("fc1", 120, {}, 600, 0, energy_pj={"pes.lane0": 5.0, "pes.pau0": 6.0})
    made = result(layers=(whole, single))
    numbered = plots._numbered(compare([made]))
    assert plots._energy_of_parts(whole, numbered) == {"pes.lane*": 3.0, "pes.pau0": 4.0, "pes.mac": 8.0}
    assert plots._energy_of_parts(single, numbered) == {"pes.lane*": 5.0, "pes.pau0": 6.0}
    named = [text.get_text() for text in plot(made, "energy").legends[0].get_texts()]
    assert sorted(named) == ["pes.lane*", "pes.mac", "pes.pau0"]


def test_no_two_of_many_names_have_one_colour():
    names = [f"part {i}" for i in range(3 * len(plots.COLOURS))]
    assert len(set(plots._coloured([*names, "busy", "dram"]).values())) == len(names) + 2


def test_a_layers_bar_is_as_long_as_its_products():
    assert bars_of(plot(result(), "operations")) == [600, 360]


def test_panels_share_one_scale():
    figure = plot([TIMED, FAST], "cycles")
    first, second = figure.axes[:2]
    assert first.get_xlim() == second.get_xlim()


def test_what_means_the_same_keeps_its_colour():
    colours = plots._coloured(["dram", "pes.mac", "busy", "glb", "other"])
    assert (colours["dram"], colours["busy"]) == (plots.OWN_COLOURS["dram"], plots.WORK)
    assert len(set(colours.values())) == 5


def test_energies_in_different_units_are_not_drawn_together():
    with pytest.raises(ResultError) as caught:
        plot([result(), replace(FAST, energy_unit="RF accesses")], "energy")
    assert str(caught.value) == (
        "the results' energies are in different units (RF accesses, pJ); run them with the same --technology"
    )


def test_a_timeline_that_was_not_kept_is_asked_for():
    with pytest.raises(ResultError) as caught:
        plot(result(), "timeline")
    assert str(caught.value) == (
        "toy: the result holds no timeline; run it with --timeline FILE -o RESULT.json"
    )


def test_names_with_dollars_are_names(tmp_path):
    plot(result(accelerator="$x_1$ & <b>"), "cycles", tmp_path / "a.svg")
    assert "$x_1$ &amp; &lt;b&gt;" in (tmp_path / "a.svg").read_text()


# Timeline


def test_layers_follow_one_another():
    spans = placed_spans(TIMED)
    assert [(s.layer, s.start, s.end) for s in spans if s.unit == "dram"] == [
        ("conv1", 0, 15), ("conv1", 115, 120), ("conv2", 120, 140),
    ]  # fmt: skip


def test_many_cells_of_a_grid_are_taken_together():
    spans = tuple(("conv1", f"pes[{i},0]", "pass", 0, 10) for i in range(50))
    assert {s.unit for s in placed_spans(result(timeline=spans))} == {"pes"}


def test_a_strip_of_the_timeline_covers_the_cycles_in_use():
    spans = [s for s in placed_spans(TIMED) if s.unit == "dram"]
    colours = {"filters": "#000000", "outputs": "#ffffff"}
    strip = plots._strip(spans, colours, 200)
    used = strip[0, :, 3] > 0
    assert used.mean() == pytest.approx((15 + 5 + 20) / 200, abs=2 / plots.STRIP_PIXELS)


def test_cycles_left_of_an_edge_are_those_one_would_count():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 90, 30)
    stops = starts + rng.integers(1, 10, 30)
    edges = np.arange(101)
    counted = [
        sum(max(0, min(stop, edge) - start) for start, stop in zip(starts, stops, strict=True))
        for edge in edges
    ]
    np.testing.assert_array_equal(plots._sum_left(edges, starts, stops), counted)


def test_perfetto_gets_a_track_per_unit_and_microseconds():
    trace = json.loads(chrome_trace(TIMED))
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert names == {"layers", "dram", "pes"}
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    [passed] = [e for e in spans if e["cat"] == "conv2" and e["name"] == "pass"]
    assert (passed["ts"], passed["dur"]) == ((120 + 20) / 200, 60 / 200)
    assert passed["args"] == {"start_cycle": 140, "end_cycle": 200}
    assert [(e["name"], e["dur"]) for e in spans if e["cat"] == "layer"] == [("conv1", 0.6), ("conv2", 0.4)]


# Drawing


def test_the_drawing_is_well_formed_and_has_a_cell_per_pe():
    root = ElementTree.fromstring(machine_drawing(result()))
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == ROWS * COLUMNS
    assert titles[0] == f"pes[0,0]: worked in {100 * (100 + 60) / 200:.1f} % of all cycles"
    text = " ".join(t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text"))
    for said in (
        "dram",
        "clock 60 MHz",
        "64-bit words",
        "buffer",
        "size 108 KiB",
        "filter_spad: 224 words",
        "pes: 2 x 3",
    ):
        assert said in text


def test_cells_that_never_worked_are_drawn_too():
    idle = {f"pes[0,{j}].busy": 10 for j in range(COLUMNS)}
    made = result(layers=(layer("conv1", 120, {}, 600, 0, activity=idle),))
    cells = busy_cells(made, "pes")
    assert set(cells) == {(i, j) for i in range(ROWS) for j in range(COLUMNS)}
    assert cells[1, 0] == 0


def test_a_machine_without_parts_is_not_drawn():
    assert machine_drawing(result(parts={})) == ""


# Page


class Outline(HTMLParser):
    """Collects text and links, and holds every tag to being closed in order."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action", "poster"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(html: str) -> Outline:
    parsed = Outline()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


PAGE = page([TIMED, FAST])


def test_the_page_asks_the_network_for_nothing():
    parsed = outline(PAGE)
    assert all(link.startswith(("#", "data:")) for link in parsed.links)
    assert not re.search(r"@import|url\((?!#|[\"']?data:)", PAGE)
    assert "<script" not in PAGE


def test_no_two_elements_of_the_page_share_an_id():
    ids = outline(PAGE).ids
    assert len(ids) == len(set(ids))


def test_the_page_says_what_ran_and_what_came_out():
    text = " ".join(outline(PAGE).text)
    for said in (
        "toy, fast on two-layers", "Side by side", "Figures", "Cycles by cause", "Energy by component",
        "Not simulated", "pool1 (maxpool)", "conv1", "conv2", "a" * 64, "c" * 64, "simhw run toy two-layers",
        "2.50 x", "Priced by handmade.",
    ):  # fmt: skip
        assert said in text, said


def test_every_figure_is_on_the_page():
    assert PAGE.count("<figure") == len(KINDS) + 2  # and a drawing of each machine


def test_the_same_results_give_the_same_page():
    assert page([TIMED, FAST]) == PAGE


def test_names_from_files_cannot_write_html():
    sly = replace(
        TIMED, accelerator="<script>alert(1)</script>", trace='"><img src=x>', technology="<b>", engine="<i>"
    )
    html = page([sly])
    assert "<script" not in html
    assert "<img" not in html
    outline(html)


def test_results_that_do_not_compare_stand_alone_with_the_reason():
    other = replace(FAST, digests=FAST.digests | {"network": "f" * 64})
    text = " ".join(outline(page([TIMED, other])).text)
    assert "Not compared" in text
    assert "fast: cannot be compared with toy: it ran another network" in text
    assert "Side by side" not in text


def test_energies_of_different_units_are_drawn_one_by_one():
    html = page([TIMED, replace(FAST, energy_unit="RF accesses")])
    assert html.count("<figure") == len(KINDS) + 1 + 2


def test_a_page_without_energy_or_timeline_leaves_them_out():
    bare = result(
        energy_unit=None,
        technology=None,
        parts={},
        layers=tuple(replace(x, energy_pj={}) for x in result().layers),
    )
    text = " ".join(outline(page([bare])).text)
    assert "Not drawn: a result has no energy" in text
    assert "Timeline" not in text
    assert "Energy by component" not in text


def test_outputs_that_differ_are_said_on_the_page():
    wrong = result(layers=(layer("conv1", 120, {}, 600, 0, output_matches=False),))
    assert "Outputs differ from the reference: conv1." in " ".join(outline(page([wrong])).text)


def test_nothing_to_report_is_refused():
    with pytest.raises(ResultError, match=r"^report: nothing to report; name result files$"):
        page([])


@pytest.mark.parametrize(
    ("options", "rest"),
    [
        ({}, ""),
        ({"values": False}, " --no-values"),
        ({"closed_loop": True}, " --closed-loop"),
        ({"layers": ["conv1", "fc 1"]}, " --layers 'conv1,fc 1'"),
        ({"overrides": ["clock_mhz=100"]}, " --set clock_mhz=100"),
        ({"overrides": {"clock_mhz": 100}}, " --set clock_mhz=100"),
        ({"mapping": "m.yaml"}, " --mapping m.yaml"),
    ],
)
def test_the_page_says_how_to_make_it_again(options, rest):
    made = result(options=options, technology=None)
    assert remake(made) == f"simhw run toy two-layers{rest}"
    assert remake(replace(made, engine="stepped")) == f"simhw run toy two-layers --engine stepped{rest}"
    assert "--technology handmade" in remake(result(options=options))
