"""Parameter files: one door for every kind, and all that can be wrong with what is brought to it."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simhw import core, shipped
from simhw.accelerator import plan_mapping, simulate
from simhw.cli import app
from simhw.core.parameters import parameter_kinds
from simhw.errors import DescriptionError, MappingError, ParameterError, SimhwError, WorkloadError
from simhw.parameters import Parameters, digests_of, find, folder_of, load, names
from simhw.parameters.file import HEADER
from simhw.trace import Trace
from simhw.workload import BareNetwork, export, load_workload

MAPPING = """\
kind: mapping
version: 3
name: mine
values: 3
layers:
  conv1: {m: 96, e: 7}
  conv2: {m: 64}
"""
TRACE = "lenet_digits"


@pytest.fixture(scope="module")
def trace():
    return Trace.load(TRACE)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*given, **more) -> list[str]:
    with pytest.raises(SimhwError) as refused:
        load(*given, **more)
    return list(refused.value.faults)


def changed(*changes: tuple[str, str]) -> list[str]:
    """Return what is said of the mapping with changes of its text."""
    text = MAPPING
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    Path("map.yaml").write_text(text)
    return refusal("map.yaml", "mapping")


# what is read


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in parameter_kinds() for name in names(kind)]
)
def test_what_ships_is_whole_and_says_where_it_is_from(kind, name):
    found = load(name)
    assert (found.kind, found.name) == (kind, name)
    assert found.cites or found.made
    assert "layers" in load(found.source).to_dict()["digests"]
    if found.workload:
        network = BareNetwork(load_workload(found.workload))
        assert found.digests["network"] == network.digests["network"]
        assert set(found.layers) <= {layer.name for layer in network.layers}


@pytest.mark.parametrize("workload", ["lenet_digits", "squeezenet_v1_1", "resnet20_cifar10", "fc_64_32"])
def test_a_workload_has_the_digest_of_its_traces(workload):
    own = load_workload(workload)
    made = export(own, images=1, data="synthetic", weights="random", format="float32")
    assert BareNetwork(own).digests == {"network": made.digests["network"]}


@pytest.mark.parametrize("kind", ["mapping", "speculation", "coefficients"])
def test_a_file_that_is_saved_says_the_same(kind, here):
    first = load(names(kind)[0], kind)
    again = load(first.save(here / f"again{parameter_kinds()[kind].SUFFIX}"))
    assert again.digest == first.digest
    assert load(again, kind).digest == first.digest


def test_a_mapping_is_letters_with_numbers_by_layer(here):
    Path("map.yaml").write_text(MAPPING)
    found = load("map.yaml", "mapping")
    assert found.layers == {"conv1": {"m": 96, "e": 7}, "conv2": {"m": 64}}
    assert load("map", "mapping").to_dict() == load(found.to_dict()).to_dict() == found.to_dict()


def test_a_file_here_wins_over_one_that_ships(here):
    Path("eyeriss-alexnet.yaml").write_text(MAPPING)
    assert load("eyeriss-alexnet", "mapping").name == "mine"


# what is wrong


def test_faults_of_a_file_come_in_one_raise_with_their_lines(here):
    assert changed(
        ("name:", "nam:"), ("values: 3", "values: x"), ("m: 96, e: 7", "m: 0, e: 7k"),
        ("{m: 64}", "3\n  conv2: {m: 1}"),
    ) == [
        "map.yaml:1: name: is missing; wants a name",
        "map.yaml:3: unknown field 'nam'; did you mean 'name'? known: cites, digests, kind, layers, made, "
        "name, reached, recipe, values, version, workload",
        "map.yaml:4: values: wants a whole number of at least 0, got 'x'",
        "map.yaml:6: layers.conv1.m: wants a whole number of at least 1, got 0",
        "map.yaml:6: layers.conv1.e: wants a whole number of at least 1, got '7k'",
        "map.yaml:7: layers.conv2: wants a mapping of parameters (m: 96), got 3",
        "map.yaml:8: layers.conv2: is given twice, first on line 7; keep one",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("kind: mapping", "kind: mappin"), "map.yaml:1: kind: wants 'mapping', got 'mappin'"),
        (("kind: mapping", "kind: speculation"), "map.yaml:1: kind: wants 'mapping', got 'speculation'"),
        (("version: 3", "version: 9"), "map.yaml:2: version: wants 3, got 9"),
        (("version: 3\n", ""), "map.yaml:1: version: is missing; wants 3"),
        (("values: 3\n", ""), "map.yaml:1: values: is missing; wants how many values the layers hold: 3"),
        (("  conv2: {m: 64}\n", ""), "map.yaml:4: values: is 3, and the layers hold 2: the file was cut "
         "short, or something added or left out; wants how many they hold"),
        (("values: 3", "values: 3\ndigests: {layers: 0f}"), "map.yaml:5: digests.layers: is not that of the "
         "layers: they were changed after the file was written; make it again with 'simhw map', or remove "
         "digests.layers to use it as it is"),
        (("values: 3", "values: 3\ndigests: {netwrk: 0f}"), "map.yaml:5: digests: unknown field 'netwrk'; "
         "did you mean 'network'? known: layers, network, weights"),
        (("values: 3", "values: 3\ndigests: {network: 7}"), "map.yaml:5: digests.network: wants a SHA-256 in "
         "hex, got 7"),
        (("values: 3", "values: 3\nmade: us"), "map.yaml:5: made: wants a mapping, got 'us'"),
        ((MAPPING[MAPPING.index("layers"):], ""), "map.yaml:1: layers: is missing; wants a mapping of layers "
         "(conv1: …)"),
        (("kind: mapping\nversion: 3\n", ""), "map.yaml:1: is a mapping of an older form, without kind and "
         "version; make it again with 'simhw map', or write 'kind: mapping', 'version: 3' and 'values: 3' "
         "above its layers"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(here, change, fault):
    assert changed(change) == [fault]


def test_wherever_a_file_is_cut_it_is_refused(here):
    for end in range(1, len(MAPPING) - 1):
        Path("cut.yaml").write_text(MAPPING[:end])
        refusal("cut.yaml", "mapping")


def test_a_file_of_no_known_kind_and_a_name_of_nothing_are_told_what_there_is(here):
    Path("map.yaml").write_text(MAPPING.replace("mapping", "mappin"))
    assert refusal("map.yaml") == [
        "map.yaml:1: kind: unknown kind 'mappin'; did you mean 'mapping'? known: coefficients, mapping, "
        "speculation"
    ]
    Path("map.yaml").write_text(MAPPING.replace("kind: mapping\n", ""))
    assert refusal("map.yaml") == ["map.yaml:1: kind: is missing; known: coefficients, mapping, speculation"]
    (fault,) = refusal("eyeriss-alexne")
    assert fault.startswith(
        "eyeriss-alexne: no such file, and no shipped parameters have that name; did you mean "
        "'eyeriss-alexnet'? known: eyeriss-alexnet,"
    )


# coefficients: arrays beside a header


@pytest.fixture
def arrays():
    with np.load(find("tolba_table2_case3", "coefficients")) as file:
        return dict(file)


def with_header(arrays, **changes):
    header = json.loads(arrays[HEADER].tobytes()) | changes
    return arrays | {HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8)}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "speculation"}, "kind: wants 'coefficients', got 'speculation'"),
        ({"version": 2}, "version: wants 3, got 2"),
        ({"values": 1}, "values: is 1, and the layers hold 5308: the file was cut short, or something added "
         "or left out; wants how many they hold"),
        ({"digests": {"network": "0f"}}, "digests.network: made for another network, of fc_64_32, and not "
         "for lenet5_tolba; wants coefficients of its own"),
        ({"digests": {}}, "digests.network: wants a SHA-256 in hex, got nothing"),
        ({"workload": 3}, "workload: wants text, got 3"),
    ],
)  # fmt: skip
def test_a_header_is_looked_at_in_arrays_too(here, arrays, change, fault):
    np.savez("mine.npz", **with_header(arrays, **change))
    network = None if "values" in change else BareNetwork(load_workload("lenet5_tolba"))
    (found,) = refusal("mine.npz", "coefficients", network)
    assert re.sub("hold [0-9]+", "hold 5308", found) == f"mine.npz: {fault}"


def test_arrays_that_were_changed_or_cut_are_refused(here, arrays):
    arrays["fc1.coefficients"] = arrays["fc1.coefficients"] + 1
    np.savez("mine.npz", **arrays)
    assert refusal("mine.npz") == [
        "mine.npz: digests.layers: is not that of the layers: they were changed after the file was written; "
        "make it again with 'simhw train', or remove digests.layers to use it as it is"
    ]
    whole = find("tolba_table2_case3", "coefficients").read_bytes()
    Path("mine.npz").write_bytes(whole[:-100])
    assert refusal("mine.npz", "coefficients") == ["mine.npz: is cut short or altered; copy it again"]
    np.savez("mine.npz", **{HEADER: np.frombuffer(b"[1]", np.uint8)})
    assert refusal("mine.npz") == ["mine.npz: its header is no mapping; copy the file again"]


def test_coefficients_without_a_header_are_taken_where_weights_are_and_not_for_any_parameters(here, arrays):
    del arrays[HEADER]
    np.savez("old.npz", **arrays)
    given = load(find("tolba_table2_case3"))
    old = load("old.npz", "coefficients")
    assert old.to_dict()["digests"]["layers"] == given.to_dict()["digests"]["layers"]
    assert refusal("old.npz") == [
        "old.npz: has no header that says what its arrays are; wants a parameter file"
    ]
    told = CliRunner().invoke(app, ["check", "old.npz"]).output
    assert told.endswith("; coefficients without the header that simhw train writes\n")
    workload = load_workload("fc_64_32")
    for weights in ("old.npz", find("tolba_table2_case3"), "tolba_table2_case3"):
        made = export(workload, weights=weights, data="synthetic")
        np.testing.assert_array_equal(
            made.layer("fc1").stored("coefficients"), given.layers["fc1"].coefficients
        )


def test_a_weights_file_of_another_kind_is_refused(here, arrays):
    np.savez("mine.npz", **with_header(arrays, kind="mapping"))
    with pytest.raises(WorkloadError) as refused:
        export(load_workload("fc_64_32"), weights="mine.npz", data="synthetic")
    assert refused.value.faults == ("mine.npz: kind: wants 'coefficients', got 'mapping'",)


# on a machine


def test_parameters_of_any_kind_are_given_in_one_way(trace, here):
    planned = plan_mapping("snapea", [(x.name, x.shape) for x in trace.layers])
    mapping = Parameters(
        kind="mapping", name="own", workload=TRACE, digests={"network": trace.digests["network"]},
        layers=planned,
    )  # fmt: skip
    file = mapping.save(here / "own.yaml")
    one = simulate("snapea", trace, tuning="lenet_digits-2", mapping=file)
    other = simulate("snapea", trace, parameters=["lenet_digits-2", str(file)])
    assert [x.actions for x in one.layers] == [x.actions for x in other.layers]
    assert one.digests["tuning"] == other.digests["tuning"]
    assert other.options["parameters"] == ["lenet_digits-2", str(file)]
    assert (one.exact, simulate("snapea", trace, mapping=file).exact) == (False, True)


def test_a_mapping_of_another_network_is_refused_by_its_digest(trace, here):
    other = export(load_workload("lenet5_caffe"), images=1, data="synthetic", weights="random")
    planned = plan_mapping("eyeriss", [(x.name, x.shape) for x in other.layers])
    digests = {"network": other.digests["network"]}
    mapping = Parameters(kind="mapping", name="own", workload="lenet5_caffe", digests=digests, layers=planned)
    for given in ({"mapping": mapping}, {"parameters": [mapping]}):
        with pytest.raises(MappingError) as refused:
            simulate("eyeriss", trace, **given)
        assert refused.value.faults == (
            "own: digests.network: made for another network, of lenet5_caffe, and not for lenet_digits; "
            "wants a mapping of its own",
        )
    machine = simulate("eyeriss", trace, overrides={"mapping": str(mapping.save(here / "own.yaml"))})
    assert machine.cycles == simulate("eyeriss", trace).cycles  # its own speaks of another network


@pytest.mark.parametrize(
    ("given", "error", "fault"),
    [
        (["tolba_table2_case3"], DescriptionError, "coefficients: snapea takes no coefficients; they are in "
         "a trace that simhw trace --weights makes of them"),
        (["lenet_digits-1", "lenet_digits-2"], ParameterError, "lenet_digits-2: is a second tuning; wants "
         "one at most"),
        (["lenet_digits-7"], ParameterError, "lenet_digits-7: no such file, and no shipped parameters have "
         "that name; did you mean "),
    ],
)  # fmt: skip
def test_what_a_machine_has_no_use_for_is_refused(trace, given, error, fault):
    with pytest.raises(error) as refused:
        simulate("snapea", trace, parameters=given)
    assert str(refused.value).startswith(fault)


def test_a_second_mapping_is_refused(trace):
    with pytest.raises(ParameterError, match=r"eyeriss-alexnet: is a second mapping; wants one at most$"):
        simulate("eyeriss", trace, mapping="eyeriss-alexnet", parameters=["eyeriss-alexnet"])


# what the page shows


def blocks() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "parameters.md").read_text("utf-8")
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.M)]


def test_the_commands_of_the_page_work(here):
    commands = [line.partition("#")[0].split() for line in blocks()[0].splitlines() if line.strip()]
    assert len(commands) == 7
    for _, *words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output)


def test_the_kind_that_the_page_shows_is_one(monkeypatch, trace):
    monkeypatch.setattr("simhw.core.parameters._PARAMETERS", parameter_kinds())
    code = compile(blocks()[-1], "parameters.md", "exec", dont_inherit=True)
    exec(code, {"core": core, "dataclass": dataclass, "__name__": "page"})
    own = parameter_kinds()["voltages"].Layer
    given = Parameters(
        kind="voltages", name="low", workload=TRACE, digests={"network": trace.digests["network"]},
        layers={"conv1": own(volts=1.2), "conv2": own(volts=1.5)},
    )  # fmt: skip
    assert refusal(given, network=trace) == ["low: layers.conv2.volts: is 1.5; wants at most 1.35"]


# a kind of one's own


@pytest.fixture
def voltages(monkeypatch):
    monkeypatch.setattr("simhw.core.parameters._PARAMETERS", parameter_kinds())

    class Voltages(core.ParameterKind, kind="voltages"):
        @dataclass(frozen=True, kw_only=True)
        class Layer(core.Spec):
            volts: core.Size

        @classmethod
        def layer_faults(cls, own, layer):
            if own.volts > 2:
                yield ("volts",), f"is {own.volts:g}; wants at most 2"

    return Voltages


def test_a_kind_of_ones_own_adds_a_spec_and_a_check_of_a_layer(voltages, trace):
    digests = {"network": digests_of(trace)["network"]}

    def given(**layers):
        own = {name: voltages.Layer(volts=volts) for name, volts in layers.items()}
        return Parameters(kind="voltages", name="low", workload=TRACE, digests=digests, layers=own)

    assert load(given(conv1=1.1), network=trace).layers["conv1"].volts == 1.1
    assert refusal(given(conv1=3.0, fc7=1.0).to_dict(), network=trace) == [
        "parameters: layers.conv1.volts: is 3; wants at most 2",
        "parameters: layers: lenet_digits has no layer 'fc7'; did you mean 'fc3'? known: conv1, conv2, fc1, "
        "fc2, fc3",
    ]
    plain = given(conv1=1.0).to_dict() | {"layers": {"conv1": {"volt": 1.0}}}
    assert refusal(plain) == [
        "parameters: layers.conv1: unknown field 'volt'; did you mean 'volts'? known: volts",
        "parameters: layers.conv1.volts: is missing; wants a number above 0",
    ]
    with pytest.raises(DescriptionError, match=r"^voltages: eyeriss takes no voltages; wants an accel"):
        simulate("eyeriss", trace, parameters=[given(conv1=1.0)])


def test_every_shipped_kind_has_its_folder():
    for kind in ("mapping", "speculation", "coefficients"):
        assert shipped.folder(folder_of(kind)).is_dir()
        assert names(kind)
