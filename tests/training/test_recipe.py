"""Recipes: what they say, and every fault of one at once."""

import pytest

from simhw import shipped
from simhw.errors import RecipeError
from simhw.training.recipe import LayerFit, load_recipe

GOOD = """\
name: mine
workload: fc_64_32
fit:
  fc1: {kind: linear, group: 28}
  fc3: {kind: quadratic, group: 8}
epochs: 3
rate: 0.05
"""


@pytest.fixture
def recipe(tmp_path):
    def written(text):
        path = tmp_path / "r.yaml"
        path.write_text(text)
        return path

    return written


def test_a_recipe_has_every_layer_of_its_workload_in_order(recipe):
    read = load_recipe(recipe(GOOD))
    assert dict(read.fit) == {
        "fc1": LayerFit("linear", 28), "fc2": LayerFit("exact", 0), "fc3": LayerFit("quadratic", 8)
    }  # fmt: skip
    assert (read.fit_when, read.bits, read.batch, read.schedule, read.momentum) == (
        "training", 8, 64, "cosine", 0.9
    )  # fmt: skip


def test_a_recipe_finds_a_workload_that_lies_beside_it(recipe, tmp_path):
    own = (shipped.folder("workloads") / "fc_64_32.yaml").read_text().replace("name: fc_64_32", "name: own")
    (tmp_path / "own.yaml").write_text(own)
    assert load_recipe(recipe(GOOD.replace("fc_64_32", "own.yaml"))).workload.name == "own"


@pytest.mark.parametrize("name", shipped.names("workloads/recipes", ".yaml"))
def test_a_shipped_recipe_bears_the_name_of_its_file_and_cites(name):
    read = load_recipe(name)
    assert read.name == name
    assert "arXiv 2105.02954" in read.cites


def test_the_rate_falls_from_the_first_step_to_nothing_or_stays(recipe):
    falls = load_recipe(recipe(GOOD))
    assert falls.rate_at(0, 100) == pytest.approx(0.05)
    assert falls.rate_at(50, 100) == pytest.approx(0.025)
    assert falls.rate_at(100, 100) == pytest.approx(0, abs=1e-12)
    stays = load_recipe(recipe(GOOD + "schedule: constant\n"))
    assert {stays.rate_at(step, 100) for step in (0, 50, 100)} == {0.05}


def test_all_faults_of_a_recipe_come_at_once(recipe):
    path = recipe(
        "name: mine\n"
        "workload: fc_64_32\n"
        "epoch: 3\n"
        "fit:\n"
        "  fc1: {kind: cubic, group: 28}\n"
        "  fc2: {kind: linear, group: 65}\n"
        "  fc4: {kind: linear, group: 8}\n"
        "  fc3: [8]\n"
        "bits: 1\n"
        "rate: 0\n"
        "momentum: 1\n"
        "schedule: cosin\n"
        "seed: -1\n"
        "fit_when: sometimes\n"
        "batch: many\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    known = (
        "batch, bits, cites, decay, epochs, first_size, fit, fit_when, momentum, name, notes, rate, "
        "rounded_epochs, schedule, seed, workload"
    )
    assert caught.value.faults == (
        f"{path}:1: epochs is missing; wants a whole number of at least 1",
        f"{path}:3: unknown field 'epoch'; did you mean 'epochs'? known: {known}",
        f"{path}:5: fit.fc1.kind: wants one of exact, linear, quadratic, got 'cubic'",
        f"{path}:6: fit.fc2: N_w: is 65, more than the 64 weights of a row; wants at most 64",
        f"{path}:7: fit.fc4: no layer has that name; did you mean 'fc3'? known: fc1, fc2, fc3",
        f"{path}:8: fit.fc3: wants {{kind, group}}, got a list",
        f"{path}:9: bits: wants a whole number from 2 to 16, got 1",
        f"{path}:10: rate: wants a number above 0, got 0",
        f"{path}:11: momentum: wants a number of at least 0 and below 1, got 1",
        f"{path}:12: schedule: wants one of constant, cosine, got 'cosin'",
        f"{path}:13: seed: wants a whole number of at least 0, got -1",
        f"{path}:14: fit_when: wants one of training, inference, got 'sometimes'",
        f"{path}:15: batch: wants a whole number of at least 1, got 'many'",
    )


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ("group: 28", "group: 2.5", ":4: fit.fc1.group: wants a whole number, got 2.5"),
        ("{kind: linear, group: 28}", "{group: 28}",
         ":4: fit.fc1.kind: wants one of exact, linear, quadratic, got nothing"),
        ("{kind: linear, group: 28}", "{kind: linear, group: 28, bits: 4}",
         ":4: fit.fc1: unknown field 'bits'; known: group, kind"),
        ("group: 28", "group: 0", ":4: fit.fc1: N_w: is 0; a linear fit wants at least 2"),
        ("group: 8", "group: 2", ":5: fit.fc3: N_w: is 2; a quadratic fit wants at least 3 weights a group"),
        ("epochs: 3", "epochs: 0", ":6: epochs: wants a whole number of at least 1, got 0"),
        ("rate: 0.05", "rate: .inf", ":7: rate: wants a number above 0, got inf"),
        ("rate: 0.05", "rate: 0.05\nrounded_epochs: 4",
         ":8: rounded_epochs: wants at most the 3 epochs, got 4"),
        ("rate: 0.05", "rate: 0.05\nrounded_epochs: 2\nfit_when: inference",
         ":8: rounded_epochs: wants 0 where the fit comes after the training, got 2"),
        ("name: mine", "name: ''", ":1: name: wants words, got ''"),
    ],
)  # fmt: skip
def test_a_fault_is_told_where_it_stands(recipe, was, now, fault):
    path = recipe(GOOD.replace(was, now))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.faults == (f"{path}{fault}",)


def test_a_workload_that_is_not_there_is_told_with_the_recipes_line(recipe):
    path = recipe(GOOD.replace("fc_64_32", "fc_64_33"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    [fault] = caught.value.faults
    assert fault.startswith(
        f"{path}:2: workload: fc_64_33: no such file, and no shipped workload has that name; "
        "did you mean 'fc_64_32'? known: "
    )


def test_a_file_without_a_recipe_is_told(recipe):
    path = recipe("- 1\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.faults == (f"{path}:1: wants a recipe, fields as `name: value`, got a list",)
