"""Tuning files: what is read comes back, what is wrong is said with its line, and whose they are."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest

from simhw import shipped
from simhw.core import reading
from simhw.errors import TuningError
from simhw.parameters import Parameters, digests_of, find, load, names
from simhw.parameters.speculation import Filters, Measured
from simhw.trace import Trace
from simhw.transforms import speculation
from simhw.transforms.speculation import ordering_of, orderings
from simhw.tuning import RECIPES, load_recipe
from simhw.workload import export, load_workload

DATA = Path(os.environ.get("SIMHW_DATA", ""))
FILES = {
    "lenet_digits": (),
    "lenet5_mnist": ("mnist.npz", "lenet5_mnist_weights.npz"),
    "resnet20_cifar10": ("cifar10_test.npz", "resnet20_cifar10_weights.npz"),
    "squeezenet_v1_1": ("imagenet_sample120.npz", "squeezenet_v1_1_weights.npz"),
}


@pytest.fixture(scope="module")
def trace():
    return Trace.load("lenet_digits")


@pytest.fixture(scope="module")
def tuning(trace):
    conv1 = Filters(thresholds=(0.25, 0.0, -1.5, 1e-4, 3.0, 0.0), groups=(4, 1, 2, 25, 1, 3))
    conv2 = Filters(thresholds=(0.125,) * 16, groups=(150,) * 16)
    return Parameters(
        kind="speculation",
        name="mine",
        workload="lenet_digits",
        digests=digests_of(trace),
        layers={"conv1": conv1, "conv2": conv2},
        recipe={"budget": 1.0, "candidates": {"groups": [2, 4], "keep": "all"}},
        reached={"loss": 0.5},
        made={"simhw": "0.1.0", "command": "simhw tune mine -o mine.yaml"},
    )


@pytest.fixture
def faults_of(tmp_path, monkeypatch, trace, tuning):
    """Returns what is said of the tuning's file with changes of its text."""
    monkeypatch.chdir(tmp_path)

    def found(*changes: tuple[str, str], against=trace) -> list[str]:
        text = tuning.to_yaml()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        Path("mine.yaml").write_text(text)
        with pytest.raises(TuningError) as refused:
            load("mine.yaml", "speculation", against)
        return list(refused.value.faults)

    return found


def line_of(tuning, start):
    lines = tuning.to_yaml().splitlines()
    return next(i for i, line in enumerate(lines, start=1) if line.lstrip().startswith(start))


# what is read


def test_a_file_gives_back_what_was_written(tmp_path, trace, tuning):
    tuning.save(tmp_path / "mine.yaml")
    read = load(tmp_path / "mine.yaml", "speculation", trace)
    assert read.to_dict() == tuning.to_dict()
    assert read.source == tmp_path / "mine.yaml"
    assert load(tuning.to_dict(), "speculation", trace).to_dict() == tuning.to_dict()
    assert load(tuning, "speculation", trace).to_dict() == tuning.to_dict()
    assert all(len(line) <= 105 for line in tuning.to_yaml().splitlines())


def test_a_layers_ordering_is_that_of_its_thresholds_and_groups(trace, tuning):
    layer, own = trace.layer("conv1"), tuning.layers["conv1"]
    fraction = layer.formats["bias"].fraction
    wanted = speculation.apply(layer.weights, own.thresholds, own.groups, fraction=fraction)
    found = ordering_of(tuning, layer)
    for part in ("weights", "order", "prefix", "thresholds", "negatives_from"):
        np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))
    assert found.prefix.tolist() == [4, 0, 2, 25, 1, 3]
    assert found.thresholds[0] == 0.25 * 2**fraction


def test_a_layer_that_is_not_named_or_all_exact_has_no_ordering(trace, tuning):
    assert ordering_of(tuning, trace.layer("fc1")) is None
    exact = Parameters(
        kind="speculation",
        name="exact",
        workload="lenet_digits",
        digests=tuning.digests,
        layers={"conv1": Filters(thresholds=(0.0,) * 6, groups=(1,) * 6)},
    )
    assert ordering_of(exact, trace.layer("conv1")) is None
    assert exact.layers["conv1"].predictive == 0
    assert set(orderings(tuning, trace)) == {"conv1", "conv2"}
    assert orderings(exact, trace) == {}


def test_a_shipped_tuning_goes_by_its_name_and_a_file_here_wins(tmp_path, monkeypatch, tuning):
    monkeypatch.chdir(tmp_path)
    assert load("lenet_digits-1", "speculation").name == "lenet_digits-1"
    tuning.save("lenet_digits-1.yaml")
    assert load("lenet_digits-1", "speculation").name == "mine"


def test_digests_do_not_see_the_images(trace, tuning):
    other = export(load_workload("lenet_digits"), images=2, first=50, data="digits")
    assert digests_of(other) == tuning.digests
    load(tuning, "speculation", other)


# what is wrong


def test_every_fault_of_a_file_has_its_line(faults_of, tuning):
    conv1 = line_of(tuning, "conv1:")
    found = faults_of(
        ("version: 3", "version: 4"),
        ("reached:", "reachd:"),
        ("thresholds: [0.25, 0,", "thresholds: [.nan, x,"),
        ("groups: [4, 1, 2, 25,", "groups: [0, 2.5, true,"),
    )
    thresholds, groups = (f"mine.yaml:{conv1 + n}: layers.conv1" for n in (1, 2))
    reached = line_of(tuning, "reached")
    known = "cites, digests, kind, layers, made, name, reached, recipe, values, version, workload"
    assert found == [
        "mine.yaml:2: version: wants 3, got 4",
        f"mine.yaml:{reached}: unknown field 'reachd'; did you mean 'reached'? known: {known}",
        f"{thresholds}.thresholds[0]: wants a finite number, got nan",
        f"{thresholds}.thresholds[1]: wants a finite number, got 'x'",
        f"{groups}.groups[0]: wants a whole number of at least 1, got 0",
        f"{groups}.groups[1]: wants a whole number of at least 1, got 2.5",
        f"{groups}.groups[2]: wants a whole number of at least 1, got True",
    ]  # fmt: skip


def test_thresholds_and_groups_go_together(faults_of, tuning):
    line = line_of(tuning, "conv1:") + 2
    assert faults_of(("groups: [4, 1, 2,", "groups: [4, 1,")) == [
        f"mine.yaml:{line}: layers.conv1.groups: 5 given beside 6 thresholds; wants one of each for each "
        "filter"
    ]


def test_a_file_of_another_kind_is_refused_at_once(faults_of):
    assert faults_of(("kind: speculation", "kind: mapping"), ("version: 3", "version: x")) == [
        "mine.yaml:1: kind: wants 'speculation', got 'mapping'"
    ]


def test_what_is_missing_is_named(tmp_path, tuning):
    text = (
        "reached: 3\nlayers:\n  conv1: {thresholds: [1]}\n  conv2: 7\n  conv3: {groups: 4, thresholds: [1]}\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(TuningError) as refused:
        load(tmp_path / "mine.yaml", "speculation")
    file = tmp_path / "mine.yaml"
    assert set(refused.value.faults) == {
        f"{file}:1: kind: is missing; wants 'speculation'",
        f"{file}:1: version: is missing; wants 3",
        f"{file}:1: name: is missing; wants a name",
        f"{file}:1: workload: is missing; wants the name of the network",
        f"{file}:1: digests: is missing; wants a mapping of digests (network, weights)",
        f"{file}:1: values: is missing; wants how many values the layers hold: 4",
        f"{file}:1: reached: wants a mapping, got 3",
        f"{file}:3: layers.conv1.groups: is missing; wants a list of whole numbers, one for each filter",
        f"{file}:4: layers.conv2: wants thresholds, groups, got 7",
        f"{file}:5: layers.conv3.groups: wants a list of whole numbers, one for each filter, got 4",
    }


def test_layers_are_held_against_the_network(faults_of, tuning):
    conv1, conv2 = line_of(tuning, "conv1:"), line_of(tuning, "conv2:")
    last = next(iter(tuning.to_yaml().splitlines()[-1:]))
    found = faults_of(
        ("groups: [4, 1, 2, 25,", "groups: [4, 1, 2, 26,"),
        ("  conv2:", "  conv22:"),
        (last, f"{last}\n  fc3:\n    thresholds: [1]\n    groups: [1]"),
    )
    lines = len(tuning.to_yaml().splitlines())
    assert found == [
        f"mine.yaml:{conv1 + 2}: layers.conv1.groups[3]: is 26; wants 1 to 25, the weights of the filter",
        f"mine.yaml:{conv2}: layers: lenet_digits has no layer 'conv22'; did you mean 'conv2'? "
        "known: conv1, conv2, fc1, fc2, fc3",
        f"mine.yaml:{lines + 1}: layers.fc3: no ReLU follows this layer, and its sums below zero count; "
        "leave it out",
        f"mine.yaml:{lines + 2}: layers.fc3.thresholds: 1 given; wants 10, one for each filter",
        f"mine.yaml:{lines + 3}: layers.fc3.groups: 1 given; wants 10, one for each filter",
    ]


def test_the_wrong_number_of_thresholds_for_the_filters_is_told(faults_of, tuning):
    line = line_of(tuning, "conv1:")
    found = faults_of(("[0.25, 0, -1.5,", "[0.25, 0,"), ("[4, 1, 2,", "[4, 1,"))
    assert found == [
        f"mine.yaml:{line + 1}: layers.conv1.thresholds: 5 given; wants 6, one for each filter",
        f"mine.yaml:{line + 2}: layers.conv1.groups: 5 given; wants 6, one for each filter",
    ]


def test_a_tuning_of_another_network_or_of_other_weights_is_known(faults_of, tuning):
    other = export(load_workload("lenet5_caffe"), images=1, data="synthetic", weights="random")
    digests = line_of(tuning, "network:")
    assert faults_of(against=other) == [
        f"mine.yaml:{digests}: digests.network: made for another network, of lenet_digits, and not for "
        "lenet5_caffe; wants a tuning of its own"
    ]
    drawn = export(load_workload("lenet_digits"), images=1, data="digits", weights="random")
    assert faults_of(against=drawn) == [
        f"mine.yaml:{digests + 1}: digests.weights: made for other weights than those of lenet_digits here; "
        "wants a tuning of its own"
    ]


def test_a_tuning_in_memory_is_held_against_the_network_too(trace, tuning):
    plain = copy.deepcopy(tuning.to_dict())
    plain["layers"]["conv1"]["groups"][2] = 99
    with pytest.raises(TuningError) as refused:
        load(plain, "speculation", trace)
    assert refused.value.faults == (
        "tuning: layers.conv1.groups[2]: is 99; wants 1 to 25, the weights of the filter",
    )


# what was cut short, changed, or made long ago


def test_a_file_that_was_cut_at_a_layer_is_refused(tmp_path, tuning):
    whole = tuning.to_yaml()
    file = tmp_path / "cut.yaml"
    file.write_text(whole[: whole.index("  conv2:")])
    with pytest.raises(TuningError) as refused:
        load(file, "speculation")
    assert refused.value.faults == (
        f"{file}:{line_of(tuning, 'values')}: values: is 44, and the layers hold 12: the file was cut short, "
        "or something added or left out; wants how many they hold",
    )


def test_wherever_a_file_is_cut_it_is_refused(tmp_path, trace, tuning):
    """At every line, and in the midst of the numbers; a line feed at the end may be missing."""
    whole, file = tuning.to_yaml(), tmp_path / "cut.yaml"
    last = len(whole) - 1
    for end in {i for i in range(last) if whole[i] == "\n"} | set(range(last - 120, last - 1)):
        file.write_text(whole[:end])
        with pytest.raises(TuningError):
            load(file, "speculation", trace)


def test_a_number_changed_by_hand_is_told_and_taken_without_the_digest(tmp_path, trace, tuning):
    text = tuning.to_yaml().replace("thresholds: [0.25,", "thresholds: [0.5,")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(TuningError) as refused:
        load(file, "speculation", trace)
    line = line_of(tuning, "layers:")
    assert refused.value.faults == (
        f"{file}:{line}: digests.layers: is not that of the layers: they were changed after the file was "
        "written; make it again with 'simhw tune', or remove digests.layers to use it as it is",
    )
    lines = text.splitlines()
    file.write_text("\n".join(lines[: line - 1] + lines[line:]))
    assert load(file, "speculation", trace).layers["conv1"].thresholds[0] == 0.5


def test_one_written_by_hand_counts_its_values_and_needs_no_digest_of_them(tmp_path, tuning):
    network, weights = tuning.digests["network"], tuning.digests["weights"]
    text = (
        "kind: speculation\nversion: 3\nname: mine\nworkload: lenet_digits\n"
        f"digests: {{network: {network}, weights: '{weights}'}}\n"
        "values: 12\nlayers:\n  conv1: {thresholds: [0, 0, 1, 0, 0, -0.0], groups: [1, 1, 4, 1, 1, 1]}\n"
    )
    (tmp_path / "hand.yaml").write_text(text)
    read = load(tmp_path / "hand.yaml", "speculation")
    assert read.layers["conv1"].predictive == 1
    read.save(tmp_path / "again.yaml")  # which has its digest, whatever sign a zero had
    assert load(tmp_path / "again.yaml", "speculation").layers == read.layers


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_form_is_told_in_one_line_what_it_wants(tmp_path, tuning, version):
    old = tuning.to_yaml().replace("version: 3", f"version: {version}").replace("values: 44\n", "")
    file = tmp_path / "old.yaml"
    file.write_text(old)
    with pytest.raises(TuningError) as refused:
        load(file, "speculation")
    assert refused.value.faults == (
        f"{file}:2: version: is {version}, of tunings alone; wants 3: make it again with 'simhw tune', or "
        "write 3, 'values: 44' in place of filters if it is whole, and no digests.layers",
    )


def test_what_was_measured_is_looked_at(tmp_path, tuning):
    measured = {
        "images": -1, "accuracy": 1.5, "agreement_interval": [0.9, 0.8], "mispredictions": [0.5, 0.5],
        "true_negative_rate": "x", "acuracy": 0.5,
    }  # fmt: skip
    plain = tuning.to_dict() | {"reached": {"measured": measured}}
    with pytest.raises(TuningError) as refused:
        load(plain, "speculation")
    place = "tuning: reached.measured"
    assert refused.value.faults == (
        f"{place}: unknown field 'acuracy'; did you mean 'accuracy'? known: accuracy, agreement, "
        "agreement_interval, exact_accuracy, exact_macs, false_negative_rate, images, macs, mispredictions, "
        "predictive_share, small_share, true_negative_rate, whole_macs",
        f"{place}.images: wants a whole number of at least 0, got -1",
        f"{place}.accuracy: wants a share from 0 to 1, got 1.5",
        f"{place}.agreement_interval: wants two shares from 0 to 1, the smaller first, got [0.9, 0.8]",
        f"{place}.mispredictions: wants 10 shares from 0 to 1, or none, got [0.5, 0.5]",
        f"{place}.true_negative_rate: wants a share from 0 to 1, got 'x'",
    )


@pytest.mark.parametrize(("written", "shown"), [("1e300", "1e+300"), ("1" + "0" * 300, "1e+300")])
@pytest.mark.filterwarnings("error")
def test_a_threshold_that_no_sum_can_reach_is_told_with_its_line(faults_of, tuning, trace, written, shown):
    fraction = trace.layer("conv1").formats["bias"].fraction
    found = faults_of(("thresholds: [0.25,", f"thresholds: [{written},"))
    line, most = line_of(tuning, "conv1:") + 1, f"{2.0 ** (63 - fraction):g}"
    assert found == [
        f"mine.yaml:{line}: layers.conv1.thresholds[0]: {shown} has no place in a sum of 64 bits with "
        f"{fraction} binary places; wants a number from -{most} to below {most}"
    ]


def test_a_threshold_beyond_all_floats_is_no_number(faults_of, tuning):
    found = faults_of(("thresholds: [0.25,", f"thresholds: [1{'0' * 390},"))
    place = f"mine.yaml:{line_of(tuning, 'conv1:') + 1}: layers.conv1.thresholds[0]"
    assert found[0].startswith(f"{place}: wants a finite number, got 1000")


def test_a_name_of_nothing_is_told_what_it_could_have_been():
    known = ", ".join(names("speculation"))
    with pytest.raises(TuningError) as refused:
        load("lenet_digits-11", "speculation")
    assert str(refused.value) == (
        "lenet_digits-11: no such file, and no shipped tuning has that name; "
        f"did you mean 'lenet_digits-1'? known: {known}"
    )


# what ships


@pytest.mark.parametrize("name", names("speculation"))
def test_shipped_tunings_have_a_threshold_for_each_filter_of_their_workload(name):
    tuning = load(name, "speculation")
    workload = load_workload(tuning.workload)
    assert tuning.name == name == f"{tuning.workload}-{tuning.recipe['budget']:g}"
    shapes = workload.graph.layer_shapes(workload.input_shape)
    assert tuning.layers or tuning.recipe["budget"] == 0
    for layer, own in tuning.layers.items():
        assert len(own.thresholds) == shapes[layer].out_channels
        assert max(own.groups) <= shapes[layer].window
    assert tuning.reached["loss"] <= tuning.recipe["budget"]
    assert tuning.reached["macs"] <= tuning.reached["exact_macs"] <= tuning.reached["whole_macs"]
    measured = tuning.reached["measured"]
    assert set(measured) == set(reading.names(Measured))
    assert measured["images"] == tuning.recipe["measure"]["images"]
    assert sum(measured["mispredictions"][:5]) == pytest.approx(measured["small_share"], abs=1e-5)
    assert find(name, "speculation").read_text() == tuning.to_yaml()
    assert tuning.made["command"] == f"simhw tune {tuning.workload} -o {tuning.workload}.yaml"
    recipe = load_recipe(tuning.workload).to_dict()
    assert recipe == {key: tuning.recipe[key] for key in recipe}


@pytest.mark.parametrize("name", names("speculation"))
def test_the_page_on_tuning_says_of_a_shipped_tuning_what_its_file_says(name):
    reached = load(name, "speculation").reached
    measured = reached["measured"]
    low, high = measured["agreement_interval"]
    names = ("predictive_share", "true_negative_rate", "false_negative_rate", "small_share")
    saved = (measured["macs"] / measured["exact_macs"], measured["macs"] / measured["whole_macs"])
    shares = (*saved, *(measured[name] for name in names))
    cells = (
        f"`{name}`",
        f"{reached['loss']:.2f}",
        f"{100 * (measured['exact_accuracy'] - measured['accuracy']):.2f}",
        f"{100 * measured['agreement']:.1f} ({100 * low:.1f}–{100 * high:.1f})",
        *(f"{100 * share:.1f}" for share in shares),
    )
    page = Path(__file__).parents[2] / "docs" / "tuning.md"
    assert f"| {' | '.join(cells)} |" in page.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", names("speculation"))
def test_shipped_tunings_fit_the_traces_of_their_workload(name):
    tuning = load(name, "speculation")
    absent = [file for file in FILES[tuning.workload] if not DATA.name or not (DATA / file).exists()]
    if absent:
        pytest.skip(f"SIMHW_DATA has no {', '.join(absent)}")
    trace = export(load_workload(tuning.workload), images=1, first=5)
    loaded = load(name, "speculation", trace)
    assert set(orderings(loaded, trace)) == set(tuning.layers)


def test_a_recipe_is_no_tuning_and_one_line_says_so():
    recipe = shipped.folder(RECIPES) / "lenet_digits.yaml"
    with pytest.raises(TuningError) as refused:
        load(recipe, "speculation")
    assert len(refused.value.faults) == 1
    assert refused.value.faults[0].endswith(
        "is a recipe of tunings; wants a tuning, which simhw tune makes of it"
    )
