"""Recipes: what they may say, and every way to be wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from simhw import shipped
from simhw.errors import TuningError
from simhw.tuning import RECIPES, Images, load_recipe, tune


def faults_of(text, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text)
    with pytest.raises(TuningError) as refused:
        load_recipe("r.yaml")
    return list(refused.value.faults)


def test_a_recipe_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(
        "workload: lenet_digits\noptimize: {split: train, first: 10, images: 100}\nmeasure: {images: 30}\n"
        "budgets: [3, 0.5]\nmetric: agreement\nlayers: all\n"
        "candidates: {groups: [8, 2], quantiles: 0.1, keep: fewest}\nprofile: {images: 50, by: layer}\n"
        "steps: bisect\nseed: 9\n"
    )
    recipe = load_recipe("r.yaml")
    assert recipe.workload.name == "lenet_digits"
    assert (recipe.optimize, recipe.measure) == (Images(100, 10, "train"), Images(30))
    assert (recipe.budgets, recipe.metric, recipe.layers) == ((0.5, 3.0), "agreement", "all")
    assert (recipe.groups, recipe.quantiles, recipe.keep) == ((2, 8), (0.1,), "fewest")
    assert (recipe.profile_images, recipe.profile_by) == (50, "layer")
    assert (recipe.steps, recipe.seed) == ("bisect", 9)


def test_a_recipe_wants_little():
    recipe = load_recipe({"workload": "lenet_digits", "optimize": {"images": 5}})
    assert (recipe.optimize, recipe.measure, recipe.budgets) == (Images(5), None, (1.0,))
    assert (recipe.metric, recipe.layers, recipe.keep) == ("accuracy", "conv", "all")
    assert (recipe.profile_images, recipe.profile_by) == (None, "filter")
    assert (recipe.steps, recipe.seed) == ("each", 0)


def test_all_faults_of_a_recipe_are_told_at_once(tmp_path, monkeypatch):
    text = (
        "workload: lenet_digit\n"
        "optimize: {split: tets, first: -1, images: 0, last: 3}\n"
        "budgets: [1, 200]\n"
        "metric: acuracy\n"
        "layers: fc\n"
        "candidates: {groups: [0], quantiles: [1], keep: none, groop: 1}\n"
        "profile: {images: x, by: network}\n"
        "steps: all\n"
        "seed: -1\n"
        "sede: 1\n"
    )
    known = "budgets, candidates, layers, measure, metric, optimize, profile, seed, steps, workload"
    workloads = ", ".join(shipped.names("workloads", ".yaml"))
    assert faults_of(text, tmp_path, monkeypatch) == [
        "r.yaml:1: workload: lenet_digit: no such file, and no shipped workload has that name; "
        f"did you mean 'lenet_digits'? known: {workloads}",
        "r.yaml:2: optimize: unknown field 'last'; known: first, images, split",
        "r.yaml:2: optimize.images: wants a whole number of at least 1, got 0",
        "r.yaml:2: optimize.first: wants a whole number of at least 0, got -1",
        "r.yaml:2: optimize.split: wants one of train, test, got 'tets'",
        "r.yaml:3: budgets: wants percentage points from 0 to 100, or a list of them, got [1, 200]",
        "r.yaml:4: metric: wants one of accuracy, agreement, got 'acuracy'",
        "r.yaml:5: layers: wants one of conv, all, got 'fc'",
        "r.yaml:6: candidates.groups: wants whole numbers of at least 1, got [0]",
        "r.yaml:6: candidates.quantiles: wants shares from 0 to below 1, got [1]",
        "r.yaml:6: candidates.keep: wants one of all, fewest, got 'none'",
        "r.yaml:6: candidates: unknown field 'groop'; did you mean 'groups'? known: groups, keep, quantiles",
        "r.yaml:7: profile.images: wants a whole number of at least 1, got 'x'",
        "r.yaml:7: profile.by: wants one of filter, layer, got 'network'",
        "r.yaml:8: steps: wants one of each, bisect, got 'all'",
        "r.yaml:9: seed: wants a whole number of at least 0, got -1",
        f"r.yaml:10: unknown field 'sede'; did you mean 'seed'? known: {known}",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("optimize: {images: 3}", "r.yaml:1: workload: is missing; wants the name or the path of a workload"),
        (
            "workload: 3\noptimize: {images: 3}",
            "r.yaml:1: workload: got 3; wants the name or the path of a workload",
        ),
        (
            "workload: lenet_digits",
            "r.yaml:1: optimize: is missing; wants images (split: test, first: 0, images: 500)",
        ),
        (
            "workload: lenet_digits\noptimize: 5",
            "r.yaml:2: optimize: wants images (split: test, first: 0, images: 500), got 5",
        ),
        (
            "workload: lenet_digits\noptimize: {split: test}",
            "r.yaml:2: optimize.images: wants a whole number of at least 1, got nothing",
        ),
        (
            "workload: lenet_digits\noptimize: {images: 9}\nmeasure: {first: 8, images: 9}",
            "r.yaml:3: measure: test 8 to 17 are among those of optimize, test 0 to 9; wants others",
        ),
        (
            "workload: lenet_digits\noptimize: {images: 9}\nprofile: {images: 10}",
            "r.yaml:3: profile.images: wants at most 9, those of optimize, got 10",
        ),
        (
            "workload: lenet_digits\noptimize: {images: 9}\nprofile: all",
            "r.yaml:3: profile: wants a mapping (images, by), got 'all'",
        ),
        (
            "workload: lenet_digits\noptimize: {images: 9}\nbudgets: []",
            "r.yaml:3: budgets: wants percentage points from 0 to 100, or a list of them, got an empty list",
        ),
        (
            "workload: lenet_digits\noptimize: {images: 9}\nmetric:",
            "r.yaml:3: metric: wants one of accuracy, agreement, got nothing",
        ),
    ],
)
def test_each_fault_says_what_would_do(tmp_path, monkeypatch, text, fault):
    assert faults_of(text + "\n", tmp_path, monkeypatch) == [fault]


def test_images_that_follow_each_other_or_lie_in_other_splits_do_not_overlap():
    both = {"optimize": {"images": 9}, "measure": {"first": 9, "images": 9}}
    assert load_recipe({"workload": "lenet_digits", **both}).measure == Images(9, 9)
    both["measure"] = {"images": 9, "split": "train"}
    assert load_recipe({"workload": "lenet_digits", **both}).measure == Images(9, 0, "train")


def test_accuracy_wants_labels_and_a_network_wants_a_layer_that_may_predict(tmp_path):
    bare = (
        "name: bare\ninput: {channels: 1, height: 4, width: 4}\n"
        'data: {default: "synthetic:sparsity=0,negative=0.5"}\nlayers:\n'
        "  - {name: conv1, type: conv, out_channels: 2, kernel: 3, activation: relu}\n"
        "  - {name: flatten, type: flatten}\n"
        "  - {name: fc1, type: linear, out_features: 2}\n"
    )
    (tmp_path / "bare.yaml").write_text(bare)
    asked = {"workload": str(tmp_path / "bare.yaml"), "optimize": {"images": 3}}
    with pytest.raises(TuningError) as refused:
        tune(load_recipe(asked))
    assert refused.value.faults == (
        "bare: metric: the images have no labels; wants agreement",
        "bare: layers: no convolution of bare may predict: none that a ReLU follows reads only numbers of "
        "at least zero",
    )


def test_weights_that_are_not_at_hand_are_not_drawn_to_be_tuned(monkeypatch, tmp_path):
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        TuningError, match=r"lenet5_mnist\.yaml: workload: lenet5_mnist_weights\.npz, .* not at hand"
    ):
        tune("lenet5_mnist")


def test_more_groups_than_any_filter_has_weights_are_refused():
    asked = {"workload": "lenet_digits", "optimize": {"images": 9}, "candidates": {"groups": [2, 150, 151]}}
    with pytest.raises(TuningError, match=r"candidates\.groups: wants at most 150, .* may predict; got 151$"):
        tune(load_recipe(asked))


@pytest.mark.parametrize("name", shipped.names(RECIPES, ".yaml"))
def test_shipped_recipes_are_named_after_their_workload(name):
    assert load_recipe(name).workload.name == name
