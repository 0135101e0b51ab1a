"""Results: plain data that checks itself, in files and side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from handmade import layer, result, timeline

from simhw.comparison import compare
from simhw.errors import ComparisonError, MissingExtraError, ResultError
from simhw.files import check_output, replacing, write_file
from simhw.papers.items import item
from simhw.result import PhaseResult, Result

REMAKE = "make it again with 'simhw run ... -o FILE'"


# What a result says of itself


def test_totals_are_the_sums_of_the_layers():
    totals = result().totals
    assert totals["cycles"] == 120 + 80
    assert totals["seconds"] == 200 / 200e6
    assert totals["stall_cycles"] == {"filter_load": 15 + 20, "drain": 5}
    assert totals["busy_cycles"] == 100 + 60
    assert totals["macs"] == totals["macs_executed"] == 600 + 360
    assert totals["multiplies"] == totals["adds"] == 540 + 180
    assert totals["bytes"] == {"dram": 800, "buffer.ifmap": 120}
    assert totals["energy_pj"]["pes.mac"] == 2 * (540 + 180)


def test_energy_is_the_sum_over_components():
    totals = result().totals
    assert totals["total_energy_pj"] == math.fsum(totals["energy_pj"].values())
    assert totals["total_energy_pj"] == 2 * 1000 + 2 * 90 + 3 * (540 + 180)


def test_utilization_of_a_run_weighs_layers_by_their_cycles():
    assert result().totals["utilization"] == pytest.approx((600 + 360) / (200 * 6))


def test_busy_cycles_and_stalls_make_the_cycles_of_a_layer():
    for one in result().layers:
        assert one.busy_cycles + sum(one.stall_cycles.values()) == one.cycles


def test_a_units_cycles_that_nothing_accounts_for_are_idle():
    units = result().layer("conv1").units()
    assert units["dram"] == {"busy": 25, "idle": 120 - 25}
    assert units["pes[1,2]"] == {"busy": 100, "idle": 20}
    assert all(sum(went.values()) == 120 for went in units.values())


def test_idle_cycles_a_machine_counts_itself_are_kept():
    one = layer("conv1", 120, {}, 600, 0, activity={"dram.busy": 20, "dram.idle": 90})
    assert one.units()["dram"] == {"busy": 20, "idle": 100}


def test_core_power_leaves_dram_out():
    made = result()
    without_dram = 2 * 90 + 3 * (540 + 180)
    assert made.core_power_mw() == pytest.approx(without_dram * 1e-12 / (200 / 200e6) * 1e3)
    assert replace(made, energy_unit="RF accesses").core_power_mw() is None


def test_an_unknown_layer_is_named_with_the_nearest():
    with pytest.raises(ResultError) as caught:
        result().layer("conv3")
    assert str(caught.value) == "no layer 'conv3'; did you mean 'conv2'? known: conv1, conv2"


def test_another_price_changes_energy_and_nothing_else():
    made = result()
    priced = made.with_energy(
        [{"dram": 1.0}, {"dram": 2.0}], "RF accesses", "other", unpriced={"pes.mac.mul": 720}
    )
    assert priced.totals["energy_pj"] == {"dram": 3.0}
    assert priced.totals["cycles"] == made.totals["cycles"]
    assert (priced.energy_unit, priced.technology, priced.unpriced) == (
        "RF accesses",
        "other",
        {"pes.mac.mul": 720},
    )


def test_more_stalls_than_cycles_break_conservation():
    broken = result(layers=(layer("conv1", 120, {"drain": 121}, 600, 0),))
    assert broken.faults() == ["conv1: 121 stall cycles are more than its 120 cycles"]


def test_a_unit_with_more_cycles_than_its_layer_breaks_conservation():
    broken = result(layers=(layer("conv1", 120, {}, 600, 0, activity={"dram.busy": 121}),))
    assert broken.faults() == ["conv1: dram accounts for 121 cycles of 120"]


# Files


@pytest.mark.parametrize(
    "made", [result(), result(timeline=timeline(), accuracy=0.97)], ids=["plain", "timeline"]
)
def test_what_was_written_is_read_back(tmp_path, made):
    made.to_json(tmp_path / "r.json")
    assert Result.from_json(tmp_path / "r.json") == made


def test_the_same_run_gives_the_same_bytes():
    assert result().to_json() == result().to_json()


def test_json_says_its_schema_and_has_its_totals():
    data = json.loads(result().to_json())
    assert data["schema"] == 2
    assert data["totals"]["cycles"] == 200
    assert [x["name"] for x in data["layers"]] == ["conv1", "conv2"]


def edited(change) -> str:
    data = json.loads(result().to_json())
    change(data)
    return json.dumps(data)


def without_digest(change) -> str:
    def both(data):
        del data["digests"]["result"]
        change(data)

    return edited(both)


WHOLE = result().to_json()
DAMAGE = {
    "empty": ("", f": is empty; {REMAKE}"),
    "cut short": (
        '{"schema": 2,\n "accel',
        f":2: is cut short or not JSON: Unterminated string starting at; {REMAKE}",
    ),
    "not json": ("cycles: 3", f":1: is cut short or not JSON: Expecting value; {REMAKE}"),
    "no object": ("[1, 2]", f": is not a result: it has no 'schema' field; {REMAKE}"),
    "too deep": ("[" * 100_000, f": is not a result: it is nested too deeply; {REMAKE}"),
    "not a number": (
        WHOLE.replace('"utilization": 0.75', '"utilization": NaN'),
        f": is not a result: it holds NaN where a number belongs; {REMAKE}",
    ),
    "another schema": (
        edited(lambda d: d.update(schema=1)),
        f": schema: is 1, this simhw reads 2; read it with the simhw that wrote it, or {REMAKE}",
    ),
    "a digit flipped": (
        WHOLE.replace('"cycles": 120', '"cycles": 121', 1),
        f": was altered after it was written: its digest differs; {REMAKE}, "
        "or remove digests.result to use it as it is",
    ),
    "a field gone": (without_digest(lambda d: d.pop("engine")), f": engine: is missing; {REMAKE}"),
    "a field too many": (
        without_digest(lambda d: d.update(acuracy=1)),
        ": unknown field 'acuracy'; did you mean 'accuracy'? known: ",
    ),
    "a layer's field gone": (
        without_digest(lambda d: d["layers"][1].pop("macs")),
        f": layers[1].macs: is missing; {REMAKE}",
    ),
    "a wrong type": (
        without_digest(lambda d: d["layers"][0].update(cycles="120")),
        f': layers[0].cycles: wants a whole number of at least 0, got "120"; {REMAKE}',
    ),
    "a negative count": (
        without_digest(lambda d: d["layers"][0]["actions"].update({"dram.read": -1})),
        ": layers[0].actions: wants names with whole numbers of at least 0, got {",
    ),
    "no layers": (
        without_digest(lambda d: d.update(layers=[])),
        f": layers: wants a list of layers, got []; {REMAKE}",
    ),
    "a layer that is none": (
        without_digest(lambda d: d.update(layers=[3])),
        f": layers[0]: wants an object, got 3; {REMAKE}",
    ),
    "a broken law": (
        without_digest(lambda d: d["layers"][0]["stall_cycles"].update(drain=500)),
        f": conv1: 515 stall cycles are more than its 120 cycles; {REMAKE}",
    ),
    "wrong totals": (
        without_digest(lambda d: d["totals"].update(cycles=3, adds=4)),
        f": totals: cycles, adds are not the sums of the layers; {REMAKE}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_of_a_result_file_is_one_line(tmp_path, damage):
    text, message = DAMAGE[damage]
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        Result.from_json(path)
    [line] = caught.value.faults
    assert line.startswith(f"{path}{message}")
    assert "\n" not in line


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(WHOLE.encode()[:100] + b"\xff\xfe")
    with pytest.raises(ResultError) as caught:
        Result.from_json(path)
    assert str(caught.value) == f"{path}: is not a result: byte 100 is no text; {REMAKE}"


@pytest.mark.parametrize("cut", range(1, len(WHOLE) - 1, len(WHOLE) // 40))
def test_a_file_cut_anywhere_is_refused(tmp_path, cut):
    path = tmp_path / "r.json"
    path.write_text(WHOLE[:cut])
    with pytest.raises(ResultError) as caught:
        Result.from_json(path)
    assert len(caught.value.faults) == 1


def test_a_result_that_is_not_there_or_a_directory_is_refused(tmp_path):
    with pytest.raises(ResultError) as caught:
        Result.from_json(tmp_path / "none.json")
    assert str(caught.value) == f"{tmp_path}/none.json: no such file; {REMAKE}"
    with pytest.raises(ResultError) as caught:
        Result.from_json(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is a directory; wants a result file (.json)"


def test_csv_has_a_row_per_layer_and_a_column_per_cause_level_and_component(tmp_path):
    made = result()
    text = made.to_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == text
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["layer"], first["cycles"], first["busy_cycles"]) == ("conv1", "120", "100")
    assert (first["stall_cycles.drain"], second["stall_cycles.drain"]) == ("5", "")
    assert first["bytes.dram"] == "400"
    assert float(second["energy_pj.pes.mac"]) == 2 * 180
    assert float(first["seconds"]) == 120 / 200e6


def test_csv_has_what_a_dataflow_says_of_its_own():
    lost = {"lockstep": 7, "barrier": 0}
    details = {"macs_cut": 3, "termination": "off: no ReLU follows", "lost_lane_cycles": lost, "list": [1]}
    made = replace(result(), layers=(replace(result().layers[0], details=details), result().layers[1]))
    first, second = csv.DictReader(io.StringIO(made.to_csv()))
    assert (first["details.macs_cut"], second["details.macs_cut"]) == ("3", "")
    assert first["details.termination"] == "off: no ReLU follows"
    assert (first["details.lost_lane_cycles.lockstep"], first["details.lost_lane_cycles.barrier"]) == (
        "7",
        "0",
    )
    assert "details.list" not in first


def test_a_data_frame_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError) as caught:
        result().to_dataframe()
    assert (
        str(caught.value)
        == "to_dataframe: pandas is not installed; install it with 'pip install simhw[pandas]'"
    )


def test_a_data_frame_has_a_row_per_layer():
    pytest.importorskip("pandas", reason="pandas is an extra")
    frame = result().to_dataframe()
    assert list(frame.index) == ["conv1", "conv2"]
    assert frame.cycles.sum() == 200


# Files are written whole or not at all


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "r.json"
    target.write_text("old")

    def fail_half_way():
        with replacing(target) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    target = tmp_path / "r.json"
    target.write_text("old")
    target.chmod(0o640)
    write_file(target, "new")
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_the_mode_any_new_file_has(tmp_path):
    write_file(tmp_path / "r.json", "new")
    (tmp_path / "plain").write_text("new")
    assert (tmp_path / "r.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real" / "r.json")
    write_file(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "r.json").read_text() == "new"


def test_a_device_is_written_to_and_not_replaced():
    write_file("/dev/null", "new")
    assert not os.path.isfile("/dev/null")


def test_a_directory_or_a_missing_folder_is_refused_before_the_work(tmp_path):
    with pytest.raises(ResultError) as caught:
        check_output(tmp_path, ResultError)
    assert str(caught.value) == f"{tmp_path}: is a directory; wants the name of a file to write"
    with pytest.raises(ResultError) as caught:
        check_output(tmp_path / "none" / "r.json", ResultError)
    assert str(caught.value) == f"{tmp_path}/none/r.json: there is no folder '{tmp_path}/none'; make it first"
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError) as caught:
        check_output(tmp_path / "file" / "r.json", ResultError)
    folder = f"{tmp_path}/file"
    assert str(caught.value) == f"{folder}/r.json: '{folder}' is not a folder; wants a file name in a folder"


# Side by side


def test_speedup_is_the_first_ones_time_over_this_ones():
    rows = compare([result(), result(accelerator="fast", clock_mhz=500)]).rows()
    assert [row["speedup"] for row in rows] == [1.0, 500 / 200]
    assert [row["cycles"] for row in rows] == [200, 200]


def test_a_comparison_counts_hardware_and_work():
    [row] = compare([result()]).rows()
    assert (row["adders"], row["multipliers"]) == (6, 6)
    assert (row["macs"], row["multiplies"]) == (960, 720)
    assert row["bytes"] == {"dram": 800, "buffer.ifmap": 120}
    assert row["outputs_match"] is True


def with_digest(**digests):
    made = result()
    return replace(made, digests=made.digests | digests)


def test_other_weights_compare_and_are_labelled():
    compared = compare([result(), with_digest(weights="f" * 64)])
    assert [row["weights"] for row in compared.rows()] == ["same", "other weights"]
    assert compared.differences() == ["toy (2): ran other weights than toy"]


@pytest.mark.parametrize(
    ("kind", "words"), [("network", "another network"), ("inputs", "other inputs")], ids=["network", "inputs"]
)
def test_another_network_or_other_inputs_are_refused(kind, words):
    other = replace(with_digest(**{kind: "f" * 64}), accelerator="odd", trace="elsewhere")
    with pytest.raises(ComparisonError) as caught:
        compare([result(), other])
    ours = result().digests[kind][:8]
    assert str(caught.value) == (
        f"odd: cannot be compared with toy: it ran {words} "
        f"(elsewhere, digest ffffffff, against two-layers, {ours}); run both on one trace"
    )


def test_other_layers_are_refused():
    part = replace(result(accelerator="part"), layers=result().layers[:1])
    with pytest.raises(ComparisonError) as caught:
        compare([result(), part])
    assert str(caught.value) == (
        "part: cannot be compared with toy: it ran layers conv1, toy ran conv1, conv2; "
        "run both with the same --layers"
    )


def test_a_result_without_digests_is_refused():
    with pytest.raises(ComparisonError) as caught:
        compare([result(), replace(result(accelerator="bare"), digests={})])
    assert str(caught.value) == (
        "bare: cannot be compared with toy: "
        "a result says nothing of its network (digests.network is missing); run it again"
    )


def test_every_result_that_cannot_be_compared_is_named():
    with pytest.raises(ComparisonError) as caught:
        compare([result(), with_digest(network="f" * 64), result(), with_digest(inputs="f" * 64)])
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["toy (2)", "toy (4)"]


def test_nothing_to_compare_is_refused():
    with pytest.raises(
        ComparisonError, match=r"^compare: nothing to compare; name accelerators or result files$"
    ):
        compare([])


def test_a_strict_comparison_objects_to_outputs_that_differ_or_were_not_looked_at():
    wrong = replace(
        result(accelerator="wrong"),
        layers=(*result().layers[:1], layer("conv2", 80, {}, 360, 0, output_matches=False)),
    )
    blind = result(
        accelerator="blind", layers=tuple(replace(x, output_matches=None) for x in result().layers)
    )
    assert compare([result(), wrong, blind]).differences() == [
        "wrong: its outputs differ from the reference",
        "blind: its outputs were not looked at (a run without values)",
    ]


# What a paper prints


@pytest.mark.parametrize(
    ("printed", "simulated", "rest", "verdict"),
    [
        (154, 154, {}, "exact"),
        (154, 155, {}, "differs"),
        (16.5, 16.549, {"digits": 1}, "exact"),
        (16.5, 16.45, {"digits": 1}, "exact"),
        (16.5, 16.56, {"digits": 1, "tolerance": 0.06}, "within"),
        (16.5, 16.5 * 1.06, {"tolerance": 0.06}, "within"),
        (16.5, 17.6, {"digits": 1, "tolerance": 0.06}, "differs"),
        (16.5, 17.6, {"tolerance": None}, "differs"),
        (-26, -26.09, {"tolerance": None, "digits": 0}, "differs"),  # alike by coincidence
        (16.5, 16.5, {"tolerance": None}, "differs"),
        (0, 0, {}, "exact"),
        (16.5, None, {}, "data not at hand"),
        (None, 16.5, {}, "not readable in the copy"),
        (50.2, 69.2, {"inconsistent": True, "why": "tables disagree"}, "printed value inconsistent"),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_the_numbers(printed, simulated, rest, verdict):
    assert item("t", printed, simulated, "ms", **rest).verdict == verdict


def test_calling_a_printed_value_inconsistent_wants_a_why():
    with pytest.raises(ValueError, match=r"^t: a printed value called inconsistent wants a why$"):
        item("t", 1, 2, "ms", inconsistent=True)


# The contract on paper


def documented(heading: str) -> list[str]:
    page = (Path(__file__).parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def test_docs_describe_every_field_and_no_other():
    data = json.loads(result().to_json())
    assert sorted(documented("Result")) == sorted(data)
    assert documented("Layer") == list(data["layers"][0])
    assert documented("Phase") == [field.name for field in dataclasses.fields(PhaseResult)]
    assert documented("Totals") == list(data["totals"])
    assert documented("Comparison") == list(compare([result()]).to_dict()["rows"][0])
    assert documented("Item of a paper") == list(item("t", 1, 1, "ms").to_dict())
