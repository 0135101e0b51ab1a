"""Files a user writes by hand: what is read, and what is refused with its line."""

from __future__ import annotations

import math
import time

import pytest

from simhw.errors import SimhwError, WorkloadError
from simhw.yamlfile import MAX_BYTES, Document, parse, read, scalar, written


def refusal(text: str, *, aliases: bool = False) -> str:
    with pytest.raises(SimhwError) as refused:
        parse(text, "x.yaml", SimhwError, aliases=aliases).finish()
    return str(refused.value)


def read_refusal(path) -> str:
    with pytest.raises(WorkloadError) as refused:
        read(path, WorkloadError, "a workload")
    return str(refused.value).replace(str(path), "FILE")


def test_a_file_is_plain_data_and_the_line_of_every_field():
    text = """\
# a comment
name: toy
layers:
  - {op: conv,
     kernel: 3}
  - op: relu
sizes: [1, 2.5]
empty:
"""
    document = parse(text, "x.yaml", SimhwError)
    assert document.value == {
        "name": "toy",
        "layers": [{"op": "conv", "kernel": 3}, {"op": "relu"}],
        "sizes": [1, 2.5],
        "empty": None,
    }
    lines = {written(place): line for place, line in document.lines.items()}
    assert lines == {
        "": 2,
        "name": 2,
        "layers": 3,
        "layers[0]": 4,
        "layers[0].op": 4,
        "layers[0].kernel": 5,
        "layers[1]": 6,
        "layers[1].op": 6,
        "sizes": 7,
        "sizes[0]": 7,
        "sizes[1]": 7,
        "empty": 8,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2017-01-01", "2017-01-01"),
        ("1_000", "1_000"),
        ("4k", "4k"),
        ("200 MHz", "200 MHz"),
        ("nan", "nan"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_values_are_read_as_yaml_1_2_reads_them(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
    assert parse(f"a: {text}", "x.yaml", SimhwError).value == {"a": value}


def test_what_stands_in_quotes_is_text_and_keys_always_are():
    document = parse("""{a: "12", b: 'true', 3: x, true: y, null: z}""", "x.yaml", SimhwError)
    assert document.value == {"a": "12", "b": "true", "3": "x", "true": "y", "null": "z"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1", "x.yaml:1: an anchor (&x) is not taken here; leave it out"),
        ("a: 1\nb: *x", "x.yaml:2: an alias (*x) is not taken here; write the value out"),
        ("a: !!python/object/apply:os.system [ls]", "x.yaml:1: a tag (tag:yaml.org,2002:python/object/apply"
         ":os.system) is not taken here; write a plain value"),
        ("a: !secret 1", "x.yaml:1: a tag (!secret) is not taken here; write a plain value"),
        ("a: 1\n---\nb: 2", "x.yaml:2: a second document begins; wants one document in a file"),
        ("? [a, b]\n: 1", "x.yaml:1: a field's name wants to be a word, got a list or a mapping"),
        ("{a: 1}: 2", "x.yaml:1: a field's name wants to be a word, got a list or a mapping"),
        ("a: 1\nb: 2\na: 3", "x.yaml:3: a: is given twice, first on line 1; keep one"),
        ("a:\n  b: {c: 1,\n      c: 1}", "x.yaml:3: a.b.c: is given twice, first on line 2; keep one"),
        ("a: 1\nb: [1, 2\nc: 3", "x.yaml:3: is not YAML: while parsing a flow sequence of line 2, expected "
         "',' or ']', but got ':'; mend this line or the one before"),
        ("a: b: c", "x.yaml:1: is not YAML: mapping values are not allowed here; mend this line or the one "
         "before"),
        ("a:\tb", "x.yaml:1: is not YAML: found character '\\t' that cannot start any token; mend this "
         "line or the one before"),
        ("a: 1\nb: \x07", "x.yaml:2: character '\\x07' is not allowed in YAML; remove it"),
        ("[" * 100, "x.yaml:1: nested more than 32 deep; write it flatter"),
        ("- 1\n" * 100_001, "x.yaml:100000: more than 100,000 values; no file here needs as many"),
    ],
)  # fmt: skip
def test_what_is_no_plain_data_is_refused_with_its_line(text, message):
    assert refusal(text) == message


def test_of_a_field_given_twice_every_repetition_is_reported():
    assert refusal("a: 1\na: 2\nb: {a: 1}\nb: {c: 2}\na: 3").splitlines() == [
        "x.yaml:2: a: is given twice, first on line 1; keep one",
        "x.yaml:4: b: is given twice, first on line 3; keep one",
        "x.yaml:5: a: is given twice, first on line 1; keep one",
    ]


def test_a_yaml_bomb_is_refused_before_it_goes_off():
    # nine levels of nine aliases each: 9 ** 9 values if they were followed
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    bomb = "\n".join(levels)
    assert refusal(bomb) == "x.yaml:1: an anchor (&a) is not taken here; leave it out"
    # followed, the first five lines hold 10 + 91 + 820 + 7,381 + 66,430 values under five names
    assert refusal(bomb, aliases=True) == (
        "x.yaml:6: more than 100,000 values, its aliases followed; no file here needs as many"
    )


def test_where_aliases_are_let_in_each_is_what_it_stands_for_and_stands_on_its_own_line():
    text = """\
a: &a {b: &b [1, x], c: &key d}
e: *a
f: [*b, *key]
*key : &a 7
g: *a
"""
    document = parse(text, "x.yaml", SimhwError, aliases=True)
    assert document.value == {
        "a": {"b": [1, "x"], "c": "d"},
        "e": {"b": [1, "x"], "c": "d"},
        "f": [[1, "x"], "d"],
        "d": 7,
        "g": 7,
    }
    assert document.line(("e", "b", 1)) == 2
    assert document.line(("f", 0, 0)) == 3
    assert document.value["e"]["b"] is not document.value["a"]["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *x", "x.yaml:1: an alias (*x) of no anchor before it; write the value out"),
        ("a: *x\nb: &x 1", "x.yaml:1: an alias (*x) of no anchor before it; write the value out"),
        ("a: &x\n  b: {c: *x}", "x.yaml:2: an alias (*x) lies in what it stands for; write the value out"),
        ("a: &x [1]\n*x : 2", "x.yaml:2: a field's name wants to be a word, got a list or a mapping"),
        ("a: &x b\n*x : 1\n*x : 2", "x.yaml:3: b: is given twice, first on line 2; keep one"),
        (f"a: &x {'[' * 20}{']' * 20}\nb: {'[' * 20}*x{']' * 20}",
         "x.yaml:2: nested more than 32 deep; write it flatter"),
    ],
)  # fmt: skip
def test_an_alias_of_nothing_sound_is_refused(text, message):
    assert refusal(text, aliases=True) == message


@pytest.mark.parametrize("text", ["[" * 1_000_000, "{a: " * 200_000, "- " * 400_000], ids=["[", "{", "-"])
def test_a_deep_file_is_refused_at_once_however_deep_it_goes(text):
    begun = time.process_time()
    assert refusal(text) == "x.yaml:1: nested more than 32 deep; write it flatter"
    assert time.process_time() - begun < 5


def test_a_file_that_is_none_says_what_it_wants(tmp_path):
    file = tmp_path / "x.yaml"
    assert read_refusal(tmp_path) == "FILE: is a directory; wants a YAML file with a workload"
    assert read_refusal(file) == (
        "FILE: cannot be read: No such file or directory; wants a YAML file with a workload"
    )
    for content in ("", "# nothing yet\n", "---\n", "null"):
        file.write_text(content)
        assert read_refusal(file) == "FILE: is empty; wants a workload"
    for content, shown in (("- a\n", "a list"), ("\n\nsome words", "'some words'"), ("12", "12")):
        file.write_text(content)
        line = 3 if content.startswith("\n") else 1
        assert read_refusal(file) == f"FILE:{line}: wants a workload, fields as `name: value`, got {shown}"


def test_a_name_too_long_for_the_system_is_told(tmp_path):
    assert read_refusal(tmp_path / ("x" * 300)) == (
        "FILE: cannot be read: File name too long; wants a YAML file with a workload"
    )


def test_a_file_that_is_not_text_says_where(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"name: toy\ncites: \xff\xfe\n")
    assert read_refusal(file) == "FILE:2: byte 0xff is not UTF-8; save the file as UTF-8 text"


def test_a_file_too_large_is_not_even_looked_at(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\0" * (MAX_BYTES + 1))
    assert read_refusal(file) == "FILE: has more than 1,048,576 bytes; wants a YAML file with a workload"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes("\ufeffname: Größe".encode())
    assert read(file, WorkloadError, "a workload").value == {"name": "Größe"}


def test_faults_come_in_the_order_of_the_lines_whatever_the_order_of_finding():
    document = parse("a: 1\nb:\n  c: 2\nd: 3", "x.yaml", SimhwError)
    document.fault(("d",), "wants less, got 3")
    document.add(("other.yaml:1: is empty",))
    document.fault(("b", "missing"), "is missing")
    document.fault(("a",), "wants more, got 1")
    document.unknown_fields(("b",), ("see",))
    with pytest.raises(SimhwError) as refused:
        document.finish()
    assert refused.value.faults == (
        "x.yaml:1: a: wants more, got 1",
        "x.yaml:2: b.missing: is missing",
        "x.yaml:3: b: unknown field 'c'; known: see",
        "x.yaml:4: d: wants less, got 3",
        "other.yaml:1: is empty",
    )


def test_an_override_takes_the_place_of_a_value_and_of_its_line():
    document = parse("a: {b: 1, c: 2}\nd: 3", "x.yaml", SimhwError)
    document.override(("a",), {"b": 7}, "--set a={b: 7}")
    document.override(("e", "f"), 9, "--set e.f=9")
    document.override(("d", "x"), 9, "--set d.x=9")
    assert document.value == {"a": {"b": 7}, "d": 3, "e": {"f": 9}}
    assert document.is_override(("a", "b"))
    assert not document.is_override(("d",))
    document.fault(("a", "b"), "wants less, got 7")
    document.fault(("e", "g"), "is missing")
    document.fault(("d",), "wants less, got 3")
    with pytest.raises(SimhwError) as refused:
        document.finish()
    assert refused.value.faults == (
        "x.yaml:2: d: wants less, got 3",
        "--set d.x=9: d is 3 and has no fields to set",
        "--set a={b: 7}: a.b: wants less, got 7",
        "--set e.f=9: e.g: is missing",
    )


def test_data_that_came_from_no_file_has_no_lines():
    document = Document("description", SimhwError, {"a": {"b": 1}})
    document.fault(("a", "b"), "wants more, got 1")
    with pytest.raises(SimhwError, match=r"^description: a\.b: wants more, got 1$"):
        document.finish()
    assert document.at(("a", "b")) == 1
    assert document.at(("a", "b", "c")) is None
    assert document.at(("x",)) is None
