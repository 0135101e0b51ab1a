"""Energy is counts times a table, its sums exact, and a result can be priced again."""

import copy
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhw.energy import Pricer, price, price_layers, reprice, unpriced
from simhw.errors import ResultError, TechnologyError
from simhw.result import LayerResult, Result
from simhw.technology import load_technology, technology_names

PARTS = {
    "dram": {"kind": "dram_link", "spec": {"word_bits": 64}, "instances": 1},
    "global_buffer.ifmap": {"kind": "buffer_region", "spec": {"size_kib": 100, "word_bits": 16}},
    "noc.links": {"kind": "local_links", "spec": {"word_bits": 16}},
    "pes.filter_spad": {"kind": "register_file", "spec": {"words": 224, "word_bits": 16}},
    "pes.mac": {"kind": "mac_unit", "spec": {"word_bits": 16}},
    "relu": {"kind": "relu", "spec": {"word_bits": 16}},
}
COUNTS = {
    "dram.read": 3,
    "global_buffer.ifmap.read": 7,
    "global_buffer.ifmap.write": 2,
    "noc.links.hop": 5,
    "pes[0,0].filter_spad.read": 11,
    "pes[0,1].filter_spad.read": 13,
    "pes[0,0].mac.mul": 17,
    "pes[0,0].mac.add": 19,
    "relu.apply": 23,
}


@pytest.fixture(scope="module")
def eyeriss():
    """The paper's ratios, without the scale that makes them pJ."""
    return replace(load_technology("eyeriss_65nm"), scale_pj_per_unit=None)


@pytest.fixture(scope="module")
def tetris():
    return load_technology("tetris_45nm")


def test_energy_is_the_sum_of_counts_times_prices(eyeriss):
    priced = price(COUNTS, PARTS, eyeriss)
    assert priced.energy == {
        "dram": 3 * 200 * 4,
        "global_buffer.ifmap": (7 + 2) * 6,
        "noc.links": 5 * 2,
        "pes.filter_spad": (11 + 13) * 1,
        "pes.mac": 17 * 1,
        "relu": 0,
    }
    assert priced.total == 3 * 200 * 4 + (7 + 2) * 6 + 5 * 2 + (11 + 13) + 17
    assert priced.energy_unit == "RF accesses"


def test_what_a_table_lets_go_free_is_listed_with_its_reason(eyeriss):
    priced = price(COUNTS, PARTS, eyeriss)
    assert priced.free == {"pes.mac.add": 19, "relu.apply": 23}
    assert priced.prices["relu.apply"].source == "not in the paper's cost model"


def test_a_price_says_how_it_came_about(tetris):
    found = price(COUNTS, PARTS, tetris).prices["pes.filter_spad.read"]
    assert found.how == "0.2 pJ per bit x 16 bits"
    assert found.energy == pytest.approx(0.2 * 16)


def test_counts_summed_over_a_grid_cost_the_same_as_those_of_its_instances(tetris):
    grouped = {
        "dram.read": 3, "global_buffer.ifmap.read": 7, "global_buffer.ifmap.write": 2, "noc.links.hop": 5,
        "pes.filter_spad.read": 24, "pes.mac.mul": 17, "pes.mac.add": 19, "relu.apply": 23,
    }  # fmt: skip
    assert price(grouped, PARTS, tetris) == price(COUNTS, PARTS, tetris)


HOROWITZ = load_technology("horowitz_45nm")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(COUNTS)), st.integers(0, 10**15)), st.randoms())
def test_the_total_is_the_correctly_rounded_sum_in_whatever_order(counts, random):
    priced = price(counts, PARTS, HOROWITZ)
    parts = list(priced.energy.values())
    random.shuffle(parts)
    assert math.fsum(parts) == priced.total
    shuffled = list(counts.items())
    random.shuffle(shuffled)
    assert price(dict(shuffled), PARTS, HOROWITZ) == priced


def test_an_instance_of_its_own_size_has_its_own_price(tetris):
    parts = PARTS | {"pes[0,1].filter_spad": {"kind": "register_file", "spec": {"words": 8, "word_bits": 8}}}
    assert price(COUNTS, parts, tetris).energy["pes.filter_spad"] == pytest.approx(0.2 * (11 * 16 + 13 * 8))


def test_a_price_is_worked_out_once_however_many_instances_count(tetris):
    asked = []

    class Asking:
        file, energy_unit, by_path = "t.yaml", "pJ", None

        def price(self, component, kind, action, spec):
            asked.append((component, action))
            return tetris.price(component, kind, action, spec)

    pricer = Pricer(PARTS, Asking())
    counts = {
        f"pes[{i},{j}].{what}": 1
        for i in range(100)
        for j in range(100)
        for what in ("mac.mul", "filter_spad.read")
    }
    for _ in range(3):
        assert pricer.price(counts).energy["pes.mac"] == pytest.approx(10_000 * 3.2)
    assert sorted(asked) == [("pes.filter_spad", "read"), ("pes.mac", "mul")]


def test_no_counts_cost_nothing(tetris):
    assert (price({}, PARTS, tetris).energy, price({}, PARTS, tetris).total) == ({}, 0)


# What a table lacks


@pytest.fixture
def poor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "poor.yaml").write_text(
        "name: poor\nsource: measured here\nunit: pJ\n"
        "entries:\n  mac_unit.mul: {energy_pj: 2, source: measured here}\n"
        "  relu.apply: {energy_pj_per_bit: 1, source: measured here}\n"
    )
    return load_technology("poor.yaml")


def no_price(action):
    return (
        f"poor.yaml: entries.{action}: no price, and the machine counts it; "
        "give one, or name it under free with the reason"
    )


def test_everything_without_a_price_is_told_at_once(poor):
    with pytest.raises(TechnologyError) as caught:
        price(COUNTS, PARTS, poor)
    assert list(caught.value.faults) == [
        no_price(action)
        for action in (
            "dram_link.read", "buffer_region.read", "buffer_region.write",
            "local_links.hop", "register_file.read", "mac_unit.add",
        )
    ]  # fmt: skip


def test_if_asked_what_has_no_price_is_listed_instead(poor):
    priced = price(COUNTS, PARTS, poor, strict=False)
    assert priced.energy == {"pes.mac": 17 * 2, "relu": 23 * 16}
    assert priced.unpriced == {
        "dram.read": 3, "global_buffer.ifmap.read": 7, "global_buffer.ifmap.write": 2,
        "noc.links.hop": 5, "pes.filter_spad.read": 24, "pes.mac.add": 19,
    }  # fmt: skip


def test_a_count_of_zero_wants_a_price_too_so_that_no_fault_waits_for_other_data(poor):
    with pytest.raises(TechnologyError):
        price({"dram.read": 0}, PARTS, poor)


def test_what_has_no_price_can_be_asked_before_a_run(poor):
    assert unpriced(["pes.mac.mul", "pes.mac.add"], PARTS, poor) == [no_price("mac_unit.add")]


def test_a_component_that_the_parts_do_not_know_is_told():
    with pytest.raises(ResultError) as caught:
        price({"pes[0,0].mak.mul": 1}, PARTS, load_technology("tetris_45nm"))
    assert str(caught.value) == (
        "parts: has no 'pes.mak', which pes[0,0].mak.mul counts; did you mean 'pes.mac'? "
        "known: dram, global_buffer.ifmap, noc.links, pes.filter_spad, pes.mac, relu"
    )


# A result priced again


def result():
    return {
        "schema": 1,
        "accelerator": "toy",
        "layers": [
            {"name": "conv1", "cycles": 5, "actions": dict(COUNTS), "energy_pj": {"old": 1.0}},
            {
                "name": "conv2",
                "cycles": 6,
                "actions": {"dram.read": 1, "pes[3,2].mac.mul": 4},
                "energy_pj": {},
            },
        ],
        "totals": {"cycles": 11, "energy_pj": {"old": 1.0}},
        "digests": {"trace": "abc", "result": "the digest of the old content"},
        "parts": copy.deepcopy(PARTS),
    }


def test_pricing_again_replaces_energies_and_nothing_else(tetris):
    before = result()
    after = reprice(before, tetris)
    assert before == result()
    assert [layer["energy_pj"] for layer in after["layers"]] == [
        price(layer["actions"], PARTS, tetris).energy for layer in before["layers"]
    ]
    for layer in (*before["layers"], *after["layers"]):
        del layer["energy_pj"]
    assert after["layers"] == before["layers"]
    assert after["totals"]["cycles"] == 11
    assert (after["technology"], after["energy_unit"], after["unpriced"]) == ("tetris_45nm", "pJ", {})
    assert after["digests"] == {"trace": "abc", "technology": tetris.digest}


def test_totals_are_the_sums_of_their_parts(tetris):
    after = reprice(result(), tetris)
    by_layer = [layer["energy_pj"] for layer in after["layers"]]
    for component, total in after["totals"]["energy_pj"].items():
        assert total == math.fsum(layer.get(component, 0.0) for layer in by_layer)
    assert after["totals"]["total_energy_pj"] == math.fsum(after["totals"]["energy_pj"].values())


def test_pricing_twice_by_the_same_table_changes_nothing(eyeriss, tetris):
    once = reprice(result(), tetris)
    assert reprice(reprice(once, eyeriss), tetris) == once


def test_a_relative_table_says_its_unit_in_the_result(eyeriss):
    after = reprice(result(), eyeriss)
    assert after["energy_unit"] == "RF accesses"
    assert after["layers"][1]["energy_pj"] == {"dram": 800, "pes.mac": 4}


def test_a_result_goes_through_json_unchanged(tetris):
    after = reprice(result(), tetris)
    assert json.loads(json.dumps(after)) == after
    assert reprice(json.loads(json.dumps(after)), tetris) == after


def made_result():
    layers = [
        LayerResult(
            name=layer["name"], kind="conv", cycles=layer["cycles"], utilization=0.5, macs=1, macs_executed=1,
            multiplies=1, adds=1, actions=layer["actions"],
        )
        for layer in result()["layers"]
    ]  # fmt: skip
    return Result(
        accelerator="toy", clock_mhz=200, trace="t", engine="compiled", layers=tuple(layers), parts=PARTS
    )


@pytest.mark.parametrize("name", technology_names())
def test_a_result_file_priced_again_is_the_result_priced_so_at_first(name):
    table = load_technology(name)
    run = made_result()
    priced = price_layers([layer.actions for layer in run.layers], run.parts, table)
    at_first = run.with_energy(
        [layer.energy for layer in priced], table.energy_unit, table.name, technology_digest=table.digest
    )
    again = Result.from_dict(reprice(run.to_dict(), table))
    assert again == at_first
    assert again.totals == at_first.totals


def test_core_power_leaves_out_the_dram(tetris):
    core_pj = math.fsum(
        pj
        for layer in made_result().layers
        for part, pj in price(layer.actions, PARTS, tetris).energy.items()
        if part != "dram"
    )
    after = reprice(made_result().to_dict(), tetris)
    assert after["totals"]["core_power_mw"] == pytest.approx(core_pj * 1e-12 / (11 / 200e6) * 1e3)


def test_a_result_of_which_nothing_was_counted_has_no_energy(tetris):
    idle = result() | {"layers": [{"name": "conv1", "actions": {}}]}
    assert reprice(idle, tetris)["totals"]["total_energy_pj"] is None


def test_what_all_layers_lack_is_told_once(poor):
    with pytest.raises(TechnologyError) as caught:
        reprice(result(), poor)
    assert len(caught.value.faults) == 6
    assert caught.value.faults[0] == no_price("dram_link.read")


def test_if_asked_a_result_lists_what_has_no_price(poor):
    assert reprice(result(), poor, strict=False)["unpriced"]["dram.read"] == 3 + 1


def test_a_wrong_result_is_told_all_at_once(tetris):
    wrong = result()
    wrong["layers"][0]["actions"]["dram.read"] = 1.5
    del wrong["layers"][1]["actions"]
    del wrong["parts"]["relu"]["kind"]
    wrong["parts"]["dram"]["spec"]["word_bits"] = "64"
    wrong["parts"]["pes.mac"]["spec"] = 3
    with pytest.raises(ResultError) as caught:
        reprice(wrong, tetris)
    assert list(caught.value.faults) == [
        "parts.dram.spec.word_bits: wants a number above 0, got '64'",
        "parts.pes.mac.spec: wants the fields of the component, got 3",
        "parts.relu: has no kind; wants kind and spec",
        "layers[0].actions.dram.read: wants a whole number of at least 0, got 1.5",
        "layers[1].actions: is missing; wants counts by instance.action",
    ]


def test_a_result_without_parts_and_layers_is_told(tetris):
    with pytest.raises(ResultError) as caught:
        reprice({}, tetris)
    assert list(caught.value.faults) == [
        "parts: is missing; wants kind and spec per component, as a run writes them",
        "layers: is missing; wants a list of layers, each with its actions",
    ]
