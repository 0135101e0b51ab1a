"""Technology tables: what the shipped ones say, and what is said of wrong ones."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

import simhw.components  # noqa: F401 - registers the shipped kinds
from simhw import core
from simhw.errors import TechnologyError
from simhw.technology import NoPrice, Price, load_technology, technology_names
from simhw.technology.table import Curve

SPAD = {"words": 224, "word_bits": 16}
MAC = {"word_bits": 16}
LINK = {"word_bits": 64}


def energy(table, kind, action, spec):
    found = load_technology(table).price("part", kind, action, spec)
    assert isinstance(found, Price), found
    return found.energy


# What ships


def test_three_tables_ship():
    assert technology_names() == ["eyeriss_65nm", "horowitz_45nm", "tetris_45nm"]


@pytest.mark.parametrize("name", technology_names())
def test_a_shipped_table_is_called_as_its_file(name):
    assert load_technology(name).name == name


@pytest.mark.parametrize("name", technology_names())
def test_every_action_of_every_shipped_component_has_a_price_or_a_reason(name):
    table = load_technology(name)
    spec = {"word_bits": 16, "words": 24, "size_kib": 8}
    actions = [(kind, action) for kind, cls in core.component_kinds().items() for action in cls.ACTIONS]
    assert ("register_file", "read") in actions
    for kind, action in actions:
        assert isinstance(table.price("part", kind, action, spec), Price), f"{kind}.{action}"


@pytest.mark.parametrize("name", technology_names())
def test_every_number_of_a_shipped_table_has_a_source_longer_than_a_word(name):
    table = load_technology(name)
    for priced in (*table.entries.values(), *table.areas.values()):
        assert " " in priced.source
    assert all(" " in reason for reason in table.free.values())


def test_eyeriss_costs_are_those_of_the_paper_per_16_bit_word():
    costs = {
        ("mac_unit", "mul"): 1, ("register_file", "read"): 1, ("register_file", "write"): 1,
        ("bus", "receive"): 2, ("local_links", "hop"): 2,
        ("buffer_region", "read"): 6, ("buffer_region", "write"): 6,
        ("dram_link", "read"): 200, ("dram_link", "write"): 200,
    }  # fmt: skip
    table = replace(load_technology("eyeriss_65nm"), scale_pj_per_unit=None)
    for (kind, action), cost in costs.items():
        spec = {"word_bits": 16, "words": 12, "size_kib": 100}
        assert table.price("part", kind, action, spec).energy == cost


def test_a_64_bit_word_from_dram_costs_four_16_bit_ones():
    table = load_technology("eyeriss_65nm")
    assert table.price("dram", "dram_link", "read", LINK).energy == table.scale_pj_per_unit * 4 * 200


def test_a_relative_table_without_a_scale_counts_in_its_own_unit():
    table = load_technology("eyeriss_65nm")
    assert table.scale_status == "fitted"
    assert table.energy_unit == "pJ"
    assert replace(table, scale_pj_per_unit=None).energy_unit == "RF accesses"


def test_a_relative_table_with_a_scale_counts_in_pj(tmp_path):
    text = RELATIVE.replace("value: null", "value: 1.5")
    table = load_technology(write(tmp_path, text))
    assert table.energy_unit == "pJ"
    assert table.price("spad", "register_file", "read", SPAD).energy == 1.5 * 1
    assert table.price("dram", "dram_link", "read", LINK).energy == 1.5 * 200 * 4


@pytest.mark.parametrize(
    ("kind", "action", "pj_per_bit"),
    [
        ("register_file", "read", 0.20), ("mac_unit", "mul", 0.20), ("mac_lane", "mul", 0.30),
        ("local_links", "hop", 0.40), ("buffer_region", "write", 1.20), ("dram_link", "read", 15.0),
    ],
)  # fmt: skip
def test_tetris_charges_by_the_bit(kind, action, pj_per_bit):
    for bits in (8, 16, 64):
        assert energy("tetris_45nm", kind, action, {"word_bits": bits}) == pytest.approx(pj_per_bit * bits)


def test_snapea_areas_are_those_of_the_paper():
    table = load_technology("tetris_45nm")
    assert table.area_um2("register_file", {"words": 24, "word_bits": 16}) == 2000  # 48 B
    assert table.area_um2("register_file", {"words": 256, "word_bits": 16}) == 14000  # 0.5 KB
    assert table.area_um2("global_buffer", {"size_kib": 1280}) == 12.9e6
    assert table.area_um2("global_buffer", {"size_kib": 640}) == 12.9e6 / 2
    assert table.area_um2("relu", {}) is None


@pytest.mark.parametrize(
    ("action", "number", "bits", "pj"),
    [
        ("add", "fixed", 8, 0.03), ("add", "fixed", 32, 0.1),
        ("mul", "fixed", 8, 0.2), ("mul", "fixed", 32, 3.1),
        ("add", "float", 16, 0.4), ("add", "float", 32, 0.9),
        ("mul", "float", 16, 1.1), ("mul", "float", 32, 3.7),
    ],
)  # fmt: skip
def test_horowitz_arithmetic_is_as_printed(action, number, bits, pj):
    found = load_technology("horowitz_45nm").price(
        "mac", "mac_unit", action, {"word_bits": bits, "number": number}
    )
    assert (found.energy, found.status) == (pj, "printed")


@pytest.mark.parametrize(("action", "pj_8", "pj_32"), [("add", 0.03, 0.1), ("mul", 0.2, 3.1)])
def test_a_16_bit_integer_costs_the_geometric_mean_of_8_and_32_bits_and_says_it_is_derived(
    action, pj_8, pj_32
):
    found = load_technology("horowitz_45nm").price("mac", "mac_unit", action, MAC)
    assert found.energy == pytest.approx(math.sqrt(pj_8 * pj_32))
    assert found.status == "derived"
    assert found.how.endswith("(power_law between 8 and 32 bits, at 16 bits)")


@pytest.mark.parametrize(("kib", "pj"), [(8, 10), (32, 20), (1024, 100)])
def test_horowitz_sram_is_as_printed_for_64_bits(kib, pj):
    assert energy("horowitz_45nm", "buffer_region", "read", {"size_kib": kib, "word_bits": 64}) == pj
    assert energy("horowitz_45nm", "buffer_region", "read", {"size_kib": kib, "word_bits": 16}) == pj / 4


def test_horowitz_sram_grows_as_the_root_of_its_size_from_8_to_32_kib():
    found = energy("horowitz_45nm", "buffer_region", "read", {"size_kib": 16, "word_bits": 64})
    assert found == pytest.approx(10 * math.sqrt(2))


def test_horowitz_dram_is_the_middle_of_the_printed_range():
    found = load_technology("horowitz_45nm").price("dram", "dram_link", "read", LINK)
    assert (found.energy, found.status) == ((1300 + 2600) / 2, "derived")


# Rules between numbers


def test_a_curve_gives_its_points_exactly():
    points = ((8.0, 10.0), (32.0, 20.0), (1024.0, 100.0))
    for rule, (size, value) in itertools.product(("exact", "linear", "power_law"), points):
        assert Curve(points=points, rule=rule).at(size) == (value, True)


def test_a_power_law_is_straight_on_logarithmic_axes_and_goes_on_beyond_its_points():
    curve = Curve(points=((1.0, 3.0), (10.0, 300.0), (100.0, 3000.0)), rule="power_law")  # x**2, then x
    assert curve.at(2.0)[0] == pytest.approx(3 * 2**2)
    assert curve.at(20.0)[0] == pytest.approx(300 * 2)
    assert curve.at(0.5)[0] == pytest.approx(3 * 0.5**2)
    assert curve.at(1000.0)[0] == pytest.approx(30000)


def test_a_line_goes_through_its_neighbours_and_never_below_zero():
    curve = Curve(points=((1.0, 1.0), (3.0, 5.0)), rule="linear")
    assert curve.at(2.0) == (3.0, False)
    assert curve.at(0.25) == (0.0, False)


def test_exact_has_nothing_between():
    assert Curve(points=((8.0, 1.0), (16.0, 2.0)), rule="exact").at(12.0) is None


# A user's own table


RELATIVE = """\
name: mine
source: measured here
unit: ratio
relative_to: RF accesses
scale_pj_per_unit: {value: null, status: fitted, source: a fit, note: by hand}
entries:
  register_file.*: {energy_per_access: 1, per_bits: 16, source: measured here}
  dram_link.read: {energy_per_access: 200, per_bits: 16, source: measured here}
"""

PLAIN = """\
name: mine
source: measured here
unit: pJ
entries:
  mac_unit.mul: {energy_pj: 2, source: measured here}
"""


def write(folder, text, name="t.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_star_prices_every_action_of_a_kind_and_the_named_action_wins(tmp_path):
    text = PLAIN + "  bloom.*: {energy_pj: 3, source: measured here}\n"
    text += "  bloom.probe: {energy_pj: 4, source: measured here}\nfree:\n  bloom.clear: a wire\n"
    table = load_technology(write(tmp_path, text))
    prices = [table.price("seen", "bloom", action, {}).energy for action in ("insert", "probe", "clear")]
    assert prices == [3, 4, 0]


def test_an_action_may_be_free_for_one_component_only(tmp_path):
    table = load_technology(write(tmp_path, PLAIN + "free:\n  pau.mac.mul: its cost is in the PAU\n"))
    assert table.price("pau.mac", "mac_unit", "mul", MAC).energy == 0
    assert table.price("pes.mac", "mac_unit", "mul", MAC).energy == 2


def test_a_flat_price_needs_no_width(tmp_path):
    assert load_technology(write(tmp_path, PLAIN)).price("pes.mac", "mac_unit", "mul", {}).energy == 2


def test_exponents_without_a_point_are_numbers(tmp_path):
    table = load_technology(write(tmp_path, PLAIN.replace("energy_pj: 2", "energy_pj: 2e-3")))
    assert table.price("pes.mac", "mac_unit", "mul", {}).energy == 0.002


def test_a_file_here_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, PLAIN, "tetris_45nm.yaml")
    assert load_technology("tetris_45nm").name == "mine"


def test_a_folder_of_a_shipped_name_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tetris_45nm").mkdir()
    assert load_technology("tetris_45nm").name == "tetris_45nm"


def test_the_digest_follows_the_content(tmp_path):
    first = load_technology(write(tmp_path, PLAIN)).digest
    assert load_technology(write(tmp_path, PLAIN, "other.yaml")).digest == first
    assert load_technology(write(tmp_path, PLAIN.replace("2,", "3,"))).digest != first


# No price


@pytest.mark.parametrize(
    ("entry", "spec", "place", "why"),
    [
        (
            "energy_pj_per_bit: 1", {}, "entries.k.act",
            "prices by the bit, and c has no word_bits; "
            "give the component one, or price the action whole (energy_pj without per_bits)",
        ),
        (
            "by_size_kib: {8: 1, 9: 2}, rule: linear", {"word_bits": 8}, "entries.k.act",
            "prices by size, and c has none; "
            "give the component size_kib, or words and word_bits, or price the action whole",
        ),
        (
            "by_bits: {8: 1, 16: 2}, rule: exact", {"word_bits": 12}, "entries.k.act",
            "has nothing at 12 bits, which c wants; known: 8, 16; give it, or a rule such as power_law",
        ),
        (
            "by_bits: {8: 1, 16: 2}, rule: linear", {"word_bits": 12, "number": "float"}, "entries.k.act",
            "has no float_by_bits, which c wants; give it",
        ),
    ],
)  # fmt: skip
def test_a_price_that_does_not_fit_its_component_says_what_is_missing(tmp_path, entry, spec, place, why):
    table = load_technology(write(tmp_path, PLAIN + f"  k.act: {{{entry}, source: measured here}}\n"))
    assert table.price("c", "k", "act", spec) == NoPrice(place, why)


# Faults, word for word


def faults(tmp_path, monkeypatch, text, name="t.yaml"):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TechnologyError) as caught:
        load_technology(name)
    return list(caught.value.faults)


ENTRY_FIELDS = (
    "by_bits, by_size_kib, energy_pj, energy_pj_per_bit, float_by_bits, note, per_bits, rule, source, status"
)
BAD_ENTRIES = {
    "{energy_pj: 2}": "t.yaml:6: entries.k.act: has no source; "
    "wants the paper, table or tool that its numbers come from",
    "{energy_pj: -2, source: a b}": "t.yaml:6: entries.k.act.energy_pj: wants a number of at least 0, got -2",
    "{energy_pj: .nan, source: a b}": "t.yaml:6: entries.k.act.energy_pj: "
    "wants a number of at least 0, got nan",
    "{energy_pj: .inf, source: a b}": "t.yaml:6: entries.k.act.energy_pj: "
    "wants a number of at least 0, got inf",
    "{energy_pj: 2 pJ, source: a b}": "t.yaml:6: entries.k.act.energy_pj: "
    "wants a number of at least 0, got '2 pJ'",
    "{energy_pj: true, source: a b}": "t.yaml:6: entries.k.act.energy_pj: "
    "wants a number of at least 0, got True",
    "{energy_pj: , source: a b}": "t.yaml:6: entries.k.act.energy_pj: "
    "wants a number of at least 0, got nothing",
    "{energy_pj: 2, per_bits: 0, source: a b}": "t.yaml:6: entries.k.act.per_bits: "
    "wants a number above 0, got 0",
    "{energypj: 2, source: a b, energy_pj: 1}": "t.yaml:6: entries.k.act: unknown field 'energypj'; "
    f"did you mean 'energy_pj'? known: {ENTRY_FIELDS}",
    "{source: a b}": "t.yaml:6: entries.k.act: has no price; "
    "wants one of energy_pj, energy_pj_per_bit, by_bits, float_by_bits, by_size_kib",
    "{energy_pj: 1, by_bits: {8: 1}, rule: exact, source: a b}": "t.yaml:6: entries.k.act: "
    "has several prices: energy_pj, by_bits; wants one of them",
    "{energy_pj_per_bit: 1, per_bits: 16, source: a b}": "t.yaml:6: entries.k.act.per_bits: "
    "means nothing beside energy_pj_per_bit; leave it out",
    "{energy_pj: 1, rule: exact, source: a b}": "t.yaml:6: entries.k.act.rule: "
    "means nothing beside energy_pj; leave it out",
    "{by_bits: {8: 1}, source: a b}": "t.yaml:6: entries.k.act: has by_bits and no rule; "
    "wants what holds between the numbers: exact, proportional, linear, power_law",
    "{by_bits: {8: 1, 16: 2}, rule: powerlaw, source: a b}": "t.yaml:6: entries.k.act.rule: "
    "unknown rule 'powerlaw'; did you mean 'power_law'? known: exact, linear, power_law, proportional",
    "{by_bits: {8: 1}, rule: power_law, source: a b}": "t.yaml:6: entries.k.act.by_bits: "
    "power_law wants at least two numbers, got 1; or say exact or proportional",
    "{by_bits: {8: 1, 9: 2}, rule: proportional, source: a b}": "t.yaml:6: entries.k.act.by_bits: "
    "proportional wants one number, got 2; or say linear or power_law",
    "{by_bits: {eight: 1}, rule: exact, source: a b}": "t.yaml:6: entries.k.act.by_bits.eight: "
    "wants a number above 0 before the colon, got 'eight'",
    "{by_bits: {8: 1, 8.0: 2}, rule: exact, source: a b}": "t.yaml:6: entries.k.act.by_bits.8.0: "
    "is given twice, written otherwise; keep one",
    "{by_bits: {8: 0, 16: 1}, rule: power_law, source: a b}": "t.yaml:6: entries.k.act.by_bits.8: "
    "wants a number above 0, got 0",
    "{energy_pj: 1, source: a b, status: guessed}": "t.yaml:6: entries.k.act.status: "
    "unknown status 'guessed'; known: assumed, derived, fitted, printed",
    "{energy_pj: 1, source: a b, status: fitted}": "t.yaml:6: entries.k.act: "
    "is fitted and has no note; wants one that says how",
    "3": "t.yaml:6: entries.k.act: wants a price: "
    "one of energy_pj, energy_pj_per_bit, by_bits, float_by_bits, by_size_kib; and source, got 3",
    "{}": "t.yaml:6: entries.k.act: wants a price: "
    "one of energy_pj, energy_pj_per_bit, by_bits, float_by_bits, by_size_kib; and source, "
    "got an empty mapping",
}


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_wrong_price_is_told_with_its_line(tmp_path, monkeypatch, entry):
    assert faults(tmp_path, monkeypatch, PLAIN + f"  k.act: {entry}\n") == [BAD_ENTRIES[entry]]


A_TABLE = "a technology table (docs/technology.md shows one)"
TOP_FIELDS = (
    "accelergy, among_arguments, areas, entries, free, map, name, node_nm, "
    "relative_to, scale_pj_per_unit, source, sources, unit, volts"
)
BAD_TABLES = {
    "entries: {mac_unit.mul: {energy_pj: 1, source: a b}}": [
        "t.yaml:1: name: wants the table's name, got nothing",
        "t.yaml:1: source: wants where the table as a whole comes from, got nothing",
        "t.yaml:1: unit: is missing; wants one of pJ, ratio",
    ],
    "name: mine\nsource: here\nunit: pJ\n": [
        "t.yaml:1: has no entries; wants prices by kind.action",
    ],
    PLAIN.replace("unit: pJ", "unit: nJ"): [
        "t.yaml:3: unit: unknown unit 'nJ'; known: pJ, ratio",
    ],
    PLAIN + "entry: 3\n": [
        f"t.yaml:6: unknown field 'entry'; did you mean 'entries'? known: {TOP_FIELDS}",
    ],
    PLAIN + "volts: -1\nnode_nm: 45 nm\n": [
        "t.yaml:6: volts: wants a number above 0, got -1",
        "t.yaml:7: node_nm: wants a number above 0, got '45 nm'",
    ],
    PLAIN + "relative_to: RF accesses\nscale_pj_per_unit: {value: 1}\n": [
        "t.yaml:6: relative_to: means nothing in a table in pJ; leave it out, or say unit: ratio",
        "t.yaml:7: scale_pj_per_unit: means nothing in a table in pJ; leave it out, or say unit: ratio",
    ],
    RELATIVE.replace("energy_per_access: 200", "energy_pj: 200"): [
        "t.yaml:8: entries.dram_link.read: unknown field 'energy_pj'; did you mean 'energy_per_bit'? "
        "known: by_bits, by_size_kib, energy_per_access, energy_per_bit, float_by_bits, "
        "note, per_bits, rule, source, status",
        "t.yaml:8: entries.dram_link.read: has no price; "
        "wants one of energy_per_access, energy_per_bit, by_bits, float_by_bits, by_size_kib",
    ],
    RELATIVE.replace("relative_to: RF accesses\n", ""): [
        "t.yaml:1: relative_to: wants what 1 is the energy of, such as 'RF accesses', got nothing",
    ],
    RELATIVE.replace("value: null", "value: 0"): [
        "t.yaml:5: scale_pj_per_unit.value: wants a number above 0, got 0",
    ],
    RELATIVE.replace(", source: a fit", ""): [
        "t.yaml:5: scale_pj_per_unit: has no source; "
        "wants the paper, table or tool that its numbers come from",
    ],
    PLAIN + "free:\n  mac_unit.mul: twice\n  relu.apply:\n  relu: a wire\n": [
        "t.yaml:7: free.mac_unit.mul: mac_unit.mul has a price among the entries too; wants one or the other",
        "t.yaml:8: free.relu.apply: wants the reason why it costs nothing, got nothing",
        "t.yaml:9: free.relu: 'relu' names no action; wants kind.action, or kind.* for all of a kind",
    ],
    PLAIN + "  mac_unit.mul, mac_unit.add: {energy_pj: 1, source: a b}\n": [
        "t.yaml:6: entries.mac_unit.mul, mac_unit.add: mac_unit.mul has a price already; wants one",
    ],
    PLAIN + "  mac_unit.mul: {energy_pj: 1, source: a b}\n": [
        "t.yaml:6: entries.mac_unit.mul: is given twice, first on line 5; keep one",
    ],
    PLAIN + "areas:\n  relu: {area_um2: 1}\n  mac_unit: {source: a b}\n": [
        "t.yaml:7: areas.relu: has no source; wants the paper, table or tool that its numbers come from",
        "t.yaml:8: areas.mac_unit: wants one of area_um2, by_size_kib",
    ],
    PLAIN.replace("source: measured here}", "source: horowits}") + "sources: {horowitz: a paper}\n": [
        "t.yaml:5: entries.mac_unit.mul.source: unknown source 'horowits'; "
        "did you mean 'horowitz'? known: horowitz",
    ],
    PLAIN + "map: {a: b}\namong_arguments: mean\n": [
        "t.yaml:6: map: means nothing without accelergy; name the ERT file there",
        "t.yaml:7: among_arguments: means nothing without accelergy; name the ERT file there",
    ],
    PLAIN + "accelergy: 3\n": ["t.yaml:6: accelergy: wants the path of an ERT file, got 3"],
    "- a\n- b\n": [
        f"t.yaml:1: wants {A_TABLE}, fields as `name: value`, got a list",
    ],
    "just words": [
        f"t.yaml:1: wants {A_TABLE}, fields as `name: value`, got 'just words'",
    ],
    "": [f"t.yaml: is empty; wants {A_TABLE}"],
    "# nothing\n": [f"t.yaml: is empty; wants {A_TABLE}"],
    "name: mine\nunit: [pJ\nentries: 3\n": [
        "t.yaml:3: is not YAML: while parsing a flow sequence of line 2, expected ',' or ']', but got ':'; "
        "mend this line or the one before",
    ],
    "name: a\x07b\n": ["t.yaml:1: character '\\x07' is not allowed in YAML; remove it"],
    b"name: a\nunit: \xff\xfe\n": ["t.yaml:2: byte 0xff is not UTF-8; save the file as UTF-8 text"],
    "name: !!python/object:os.system {}\n": [
        "t.yaml:1: a tag (tag:yaml.org,2002:python/object:os.system) is not taken here; write a plain value",
    ],
    "name: !secret x\n": ["t.yaml:1: a tag (!secret) is not taken here; write a plain value"],
    "? [a, b]\n: 3\n": ["t.yaml:1: a field's name wants to be a word, got a list or a mapping"],
    PLAIN + "volts: " + "9" * 5000 + "\n": [
        f"t.yaml:6: volts: wants a number above 0, got '{'9' * 12}...{'9' * 13}'",
    ],
    PLAIN + "volts: 1e999\n": ["t.yaml:6: volts: wants a number above 0, got inf"],
    "name: " + "[" * 200 + "]" * 200 + "\n": ["t.yaml:1: nested more than 32 deep; write it flatter"],
    "name: " + "[" * 5000 + "\n": ["t.yaml:1: nested more than 32 deep; write it flatter"],
    "name: &x [*x]\n": ["t.yaml:1: an alias (*x) lies in what it stands for; write the value out"],
    " " * (1 << 20) + "name: a": [f"t.yaml: has more than 1,048,576 bytes; wants a YAML file with {A_TABLE}"],
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_TABLES, ids=range(len(BAD_TABLES)))
def test_a_wrong_table_is_told_all_at_once(tmp_path, monkeypatch, text):
    assert faults(tmp_path, monkeypatch, text) == BAD_TABLES[text]


def test_a_yaml_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert faults(tmp_path, monkeypatch, "\n".join(lines)) == [
        "t.yaml:6: more than 100,000 values, its aliases followed; no file here needs as many"
    ]


def test_a_directory_is_no_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    with pytest.raises(TechnologyError) as caught:
        load_technology("tables")
    assert str(caught.value) == "tables: is a directory; wants a .yaml file"


def test_a_misspelt_name_is_told_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TechnologyError) as caught:
        load_technology("tetris_65nm")
    assert str(caught.value) == (
        "tetris_65nm: no such file, and no shipped technology table has that name; "
        "did you mean 'tetris_45nm'? known: eyeriss_65nm, horowitz_45nm, tetris_45nm"
    )


# Accelergy


ERT = """\
ERT:
  version: '0.4'
  tables:
    - name: chip.DRAM[1..1]
      actions:
        - {name: read, arguments: {}, energy: 512.0}
    - name: chip.glb
      actions:
        - {name: read, arguments: null, energy: 18.0}
        - {name: write, arguments: null, energy: 14.0}
        - {name: leak, arguments: null, energy: 0.0}
    - name: chip.PE[0..167].filter_spad
      actions:
        - {name: read, arguments: {address_delta: 0, data_delta: 0}, energy: 1.0}
        - {name: read, arguments: {address_delta: 1, data_delta: 1}, energy: 4.0}
    - name: chip.PE[0..167].mac
      actions:
        - {name: compute, arguments: {}, energy: 0.5}
"""

OLD_ERT = """\
energy_reference_table:
  version: 0.2
  tables:
    chip.PE.filter_spad:
      idle: {arguments: null, energy: 0}
      read:
        - {arguments: {address_delta: 0, data_delta: 0}, energy: 1.0}
        - {arguments: {address_delta: 1, data_delta: 1}, energy: 4.0}
"""

MAPPED = """\
name: with_ert
source: Accelergy with its table plug-in
accelergy: chip.ERT.yaml
map:
  dram: {from: chip.DRAM, per_bits: 64}
  global_buffer.psum: chip.glb
  pes.mac.mul: chip.PE[0..167].mac.compute
free:
  pes.mac.add: in the MAC
entries:
  relu.apply: {energy_pj: 0.1, source: measured here}
"""


@pytest.fixture
def mapped(tmp_path):
    write(tmp_path, ERT, "chip.ERT.yaml")
    return load_technology(write(tmp_path, MAPPED))


@pytest.mark.parametrize("text", [ERT, OLD_ERT], ids=["0.4", "0.2"])
def test_an_ert_prices_by_the_end_of_the_path_at_its_highest_arguments(tmp_path, text):
    table = load_technology(write(tmp_path, text, "chip.ERT.yaml"))
    assert (table.name, table.energy_unit) == ("chip.ERT", "pJ")
    found = table.price("pes.filter_spad", "register_file", "read", SPAD)
    assert found.energy == 4
    assert found.how == "4 pJ, chip.PE.filter_spad.read (highest of 2 sets of arguments)"
    assert found.source == "Accelergy, chip.ERT.yaml"


def test_an_old_ert_may_leave_out_version_and_tables(tmp_path):
    table = load_technology(write(tmp_path, "ERT: {chip.mac: {mul: {arguments: null, energy: 2}}}\n"))
    assert table.price("pes.mac", "mac_unit", "mul", MAC).energy == 2


@pytest.mark.parametrize(("among", "pj"), [("highest", 4), ("mean", 2.5), ("lowest", 1)])
def test_which_arguments_count_can_be_said(tmp_path, among, pj):
    write(tmp_path, ERT, "chip.ERT.yaml")
    table = load_technology(write(tmp_path, MAPPED + f"among_arguments: {among}\n"))
    assert table.price("pes.filter_spad", "register_file", "read", SPAD).energy == pj


def test_a_map_names_components_actions_and_widths(mapped):
    assert mapped.price("dram", "dram_link", "read", {"word_bits": 16}).energy == 512 * 16 / 64
    assert mapped.price("global_buffer.psum", "buffer_region", "write", MAC).energy == 14
    assert mapped.price("global_buffer.psum", "buffer_region", "fill", MAC).energy == 14  # as a write
    assert mapped.price("pes.mac", "mac_unit", "mul", MAC).energy == 0.5


def test_what_an_ert_lacks_may_stand_beside_it(mapped):
    assert mapped.price("relu", "relu", "apply", MAC).energy == 0.1
    assert mapped.price("pes.mac", "mac_unit", "add", MAC).status == "free"


def test_the_longest_common_ending_names_the_component(tmp_path):
    text = (
        "ERT: {a.pes.spad: {read: {energy: 1}}, b.spad: {read: {energy: 2}}, c.SPAD: {read: {energy: 3}}}\n"
    )
    table = load_technology(write(tmp_path, text))
    assert table.price("pes.spad", "register_file", "read", {}).energy == 1
    assert table.price("lanes.spad", "register_file", "read", {}).why == (
        "several components could be lanes.spad: a.pes.spad, b.spad, c.SPAD; "
        "name one under map (lanes.spad: …)"
    )


@pytest.mark.parametrize(
    ("component", "action", "why"),
    [
        (
            "pes.filter_spat", "read",
            "no component is called as pes.filter_spat; did you mean 'filter_spad'? "
            "known: DRAM, filter_spad, glb, mac; name one under map (pes.filter_spat: …)",
        ),
        (
            "pes.filter_spad", "write",
            "chip.PE.filter_spad has no action 'write', which pes.filter_spad counts; known: read; "
            "name the one that stands for it under map (pes.filter_spad.write: chip.PE.filter_spad.…)",
        ),
    ],
)  # fmt: skip
def test_what_an_ert_cannot_price_is_told(mapped, component, action, why):
    assert mapped.price(component, "register_file", action, SPAD) == NoPrice("tables", why)


BAD_ERTS = {
    "ERT_summary: {version: 0.4, table_summary: []}\n": [
        "t.yaml:1: ERT_summary: leaves out energies; wants the ERT that Accelergy writes beside it"
    ],
    ERT.replace("18.0", "-18.0"): [
        "t.yaml:9: ERT.tables[1].actions[0].energy: wants a number of at least 0, got -18.0"
    ],
    ERT.replace("energy: 512.0", "energy: .nan").replace("energy: 0.5", "energi: 0.5"): [
        "t.yaml:6: ERT.tables[0].actions[0].energy: wants a number of at least 0, got nan",
        "t.yaml:18: ERT.tables[3].actions[0].energy: wants a number of at least 0, got nothing",
    ],
    "ERT: {version: 0.4}\n": [
        "t.yaml:1: ERT.tables: wants a list of components with their actions, got nothing"
    ],
    "ERT: {version: 0.4, tables: []}\n": [
        "t.yaml:1: ERT.tables: has no component; wants at least one with an action and its energy"
    ],
    "ERT: {version: 0.4, tables: [{name: a, actions: 3}, {actions: []}]}\n": [
        "t.yaml:1: ERT.tables[0].actions: wants a list of name, arguments, energy; got 3",
        "t.yaml:1: ERT.tables[1].name: wants the component's path, got nothing",
    ],
    "ERT: {version: 0.2, tables: {a: {read: 3}}}\n": [
        "t.yaml:1: ERT.tables.a.read: wants an energy with its arguments, got 3"
    ],
}


@pytest.mark.parametrize("text", BAD_ERTS, ids=range(len(BAD_ERTS)))
def test_a_wrong_ert_is_told_all_at_once(tmp_path, monkeypatch, text):
    assert faults(tmp_path, monkeypatch, text) == BAD_ERTS[text]


BAD_MAPS = {
    MAPPED.replace("chip.glb", "chip.gbl"): [
        "t.yaml:6: map.global_buffer.psum: chip.ERT.yaml has no component 'chip.gbl'; "
        "did you mean 'chip.glb'? known: chip.DRAM, chip.PE.filter_spad, chip.PE.mac, chip.glb"
    ],
    MAPPED.replace("mac.compute", "mac.computes").replace("per_bits: 64", "per_bits: 0"): [
        "t.yaml:5: map.dram.per_bits: wants a number above 0, got 0",
        "t.yaml:7: map.pes.mac.mul: chip.PE.mac has no action 'computes' in chip.ERT.yaml; "
        "did you mean 'compute'? known: compute",
    ],
    MAPPED.replace("from:", "of:"): [
        "t.yaml:5: map.dram: unknown field 'of'; known: from, per_bits",
        "t.yaml:5: map.dram.from: wants a component of the ERT, or component.action, got nothing",
    ],
    MAPPED.replace("chip.ERT.yaml", "chop.ERT.yaml"): [
        "t.yaml:3: accelergy: no such file: chop.ERT.yaml; wants the ERT that Accelergy wrote"
    ],
    MAPPED + "among_arguments: median\nunit: ratio\nrelative_to: RF accesses\n": [
        "t.yaml:11: entries.relu.apply: unknown field 'energy_pj'; did you mean 'energy_per_bit'? "
        "known: by_bits, by_size_kib, energy_per_access, energy_per_bit, float_by_bits, "
        "note, per_bits, rule, source, status",
        "t.yaml:11: entries.relu.apply: has no price; "
        "wants one of energy_per_access, energy_per_bit, by_bits, float_by_bits, by_size_kib",
        "t.yaml:12: among_arguments: unknown among_arguments 'median'; did you mean 'mean'? "
        "known: highest, lowest, mean",
        "t.yaml:13: unit: an ERT is in pJ; wants unit pJ beside accelergy",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_MAPS, ids=range(len(BAD_MAPS)))
def test_a_wrong_map_is_told_all_at_once(tmp_path, monkeypatch, text):
    write(tmp_path, ERT, "chip.ERT.yaml")
    assert faults(tmp_path, monkeypatch, text) == BAD_MAPS[text]


def test_a_named_ert_that_is_none_is_told_with_its_own_name(tmp_path, monkeypatch):
    write(tmp_path, PLAIN, "chip.ERT.yaml")
    assert faults(tmp_path, monkeypatch, MAPPED) == [
        "chip.ERT.yaml:1: is no energy reference table; wants the field 'ERT' that Accelergy writes"
    ]


def test_an_ert_may_hold_aliases_and_each_counts_as_what_it_stands_for(tmp_path, monkeypatch):
    text = (
        "ERT:\n  version: 0.4\n  tables:\n"
        "    - name: chip.glb\n      actions: &both\n"
        "        - {name: read, energy: 18.0}\n        - {name: write, energy: &pj 14.0}\n"
        "    - {name: chip.spad, actions: *both}\n"
        "    - {name: chip.mac, actions: [{name: compute, energy: *pj}]}\n"
    )
    table = load_technology(write(tmp_path, text))
    assert table.price("glb", "buffer_region", "read", {}).energy == 18
    assert table.price("pes.spad", "register_file", "write", {}).energy == 14
    assert table.price("pes.mac", "mac_unit", "compute", {}).energy == 14
    assert faults(tmp_path, monkeypatch, text.replace("18.0", "-18.0")) == [
        "t.yaml:6: ERT.tables[0].actions[0].energy: wants a number of at least 0, got -18.0",
        "t.yaml:8: ERT.tables[1].actions[0].energy: wants a number of at least 0, got -18.0",
    ]


# The manual


def examples():
    text = (Path(__file__).parents[1] / "docs" / "technology.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)


def test_the_tables_in_the_manual_can_be_loaded(tmp_path):
    own, beside_ert = examples()
    table = load_technology(write(tmp_path, own))
    assert table.price("pes.mac", "mac_unit", "mul", MAC).energy == 0.6
    assert table.price("noc.links", "local_links", "hop", MAC).energy == 1.1
    ert = "ERT: {system.weights_spad: {read: {energy: 2}}, system.DRAM: {read: {energy: 512}}, "
    write(tmp_path, ert + "system.mac: {compute: {energy: 1}}}\n", "timeloop-mapper.ERT.yaml")
    table = load_technology(write(tmp_path, beside_ert))
    assert table.price("pes.filter_spad", "register_file", "read", SPAD).energy == 2
    assert table.price("pes.mac", "mac_unit", "mul", MAC).energy == 1


def test_the_manual_prints_the_derived_numbers_of_the_table():
    text = (Path(__file__).parents[1] / "docs" / "technology.md").read_text()
    for action, printed in (("add", "0.055 derived"), ("mul", "0.79 derived")):
        assert f"{energy('horowitz_45nm', 'mac_unit', action, MAC):.2g} derived" == printed
        assert printed in text


@pytest.mark.parametrize("name", ["eyeriss_65nm", "tetris_45nm"])
def test_a_multiplier_and_an_adder_share_the_price_of_a_multiply_accumulate(name):
    """As 0.79 and 0.055 pJ do, Horowitz's at 16 bit."""
    table, word = load_technology(name), {"word_bits": 16}
    whole = table.price("part", "mac_unit", "mul", word).energy
    multiply = table.price("part", "multiplier", "mul", word).energy
    add = table.price("part", "adder", "add", word).energy
    assert multiply + add == pytest.approx(whole)
    assert add / multiply == pytest.approx(0.055 / 0.79, rel=0.01)
    assert table.price("part", "reuse_block", "add", word).energy == add
