"""From a recipe to files: the whole way, broken off and gone on with, and by the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import simhw
from simhw.cli import app
from simhw.core import reading
from simhw.errors import DataError, TuningError
from simhw.parameters import load
from simhw.parameters.speculation import Measured
from simhw.trace import Trace
from simhw.tuning import load_recipe, network_of, tune
from simhw.tuning.journal import Journal
from simhw.tuning.search import (
    Case,
    global_optimization_pass,
    kernel_profiling_pass,
    local_optimization_pass,
)

RECIPE = """\
workload: lenet_digits
optimize: {split: train, images: 40}
measure: {images: 20}
budgets: [0, 5, 20]
candidates: {groups: [2, 8], quantiles: [0, 0.2, 0.6]}
profile: {images: 25}
seed: 3
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def tuned(recipe):
    return tune(recipe, command="simhw tune small.yaml -o t.yaml")


def texts(tuned):
    return [one.tuning.to_yaml() for one in tuned]


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMHW_DATA", raising=False)

    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


# what comes of it


def test_each_budget_is_respected_on_the_images_that_were_optimized(tuned):
    for one, budget in zip(tuned, (0, 5, 20), strict=True):
        assert one.tuning.reached["loss"] <= budget
        assert one.tuning.reached["lost_images"] <= budget * 40 / 100


def test_a_larger_budget_never_takes_more_operations(tuned):
    taken = [one.tuning.reached["macs"] for one in tuned]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] <= tuned[0].tuning.reached["exact_macs"]
    for one in tuned:
        assert one.tuning.reached["layers_budget"] <= one.tuning.recipe["budget"]


def test_a_budget_has_the_best_of_its_own_and_the_smaller_budgets_layers(tuned):
    own = load_recipe(yaml.safe_load(RECIPE))
    case = Case(network_of(own.workload, own.optimize), own, Journal(None, ""))
    lists = []
    for one, budget in zip(tuned, own.budgets, strict=True):
        limit = case.limit(budget)
        lists.append(local_optimization_pass(case, limit, kernel_profiling_pass(case, limit)))
        allowed = case.allowed(budget, 40)
        taken = [global_optimization_pass(case, allowed, param_l)[1].macs for param_l in lists]
        assert one.tuning.reached["macs"] <= min(taken)
        assert one is not tuned[0] or one.tuning.reached["macs"] == taken[0]


def test_what_was_reached_is_what_measuring_the_same_images_finds(tuned):
    own = load_recipe({"workload": "lenet_digits", "optimize": {"split": "train", "images": 40}})
    for one in tuned:
        from_scratch = simhw.tuning.evaluate(one.tuning, own.workload, own.optimize)
        assert from_scratch.macs == one.tuning.reached["macs"]
        assert from_scratch.exact_macs == one.tuning.reached["exact_macs"]
        assert from_scratch.whole_macs == one.tuning.reached["whole_macs"]
        assert from_scratch.loss == pytest.approx(one.tuning.reached["loss"])


def test_the_tunings_say_how_they_were_made(tuned):
    made = tuned[1].tuning.made
    assert made["simhw"] == simhw.__version__
    assert made["command"] == "simhw tune small.yaml -o t.yaml"
    assert (made["weights"], made["inputs"]) == ("lenet_digits_weights.npz", "digits (train)")
    assert tuned[1].tuning.recipe["candidates"] == {
        "groups": [2, 8],
        "quantiles": [0, 0.2, 0.6],
        "keep": "all",
    }
    assert tuned[1].tuning.recipe["profile"] == {"images": 25, "by": "filter"}
    assert tuned[1].tuning.reached["measured"]["images"] == tuned[1].measured.images == 20


def test_the_same_recipe_gives_the_same_tunings(recipe, tuned):
    assert texts(tune(recipe, command="simhw tune small.yaml -o t.yaml")) == texts(tuned)


def test_the_file_keeps_all_that_was_measured_of_the_whole_network(tuned):
    for one in tuned:
        found, kept = one.measured.to_dict(), one.tuning.reached["measured"]
        assert set(kept) == {name for name in reading.names(Measured) if found[name] is not None}
        for name, value in kept.items():
            assert value == pytest.approx(found[name], abs=1e-6)


def test_images_that_are_not_there_are_told_before_the_search(recipe, tmp_path):
    too_many = {**yaml.safe_load(RECIPE), "measure": {"first": 300, "images": 100}}
    told = []
    with pytest.raises(DataError) as refused:
        tune(load_recipe(too_many), journal=tmp_path / "j", progress=lambda *now: told.append(now))
    assert str(refused.value) == (
        "digits (test): holds 360 images; wants at most that many, got 100 images from number 300 on"
    )
    assert told == []
    assert not (tmp_path / "j").exists()


def test_the_search_is_kept_until_the_tunings_are_saved(recipe, tmp_path):
    files = [tmp_path / name for name in ("a.yaml", "b.yaml", "no/c.yaml")]
    with pytest.raises(TuningError):
        tune(recipe, files=files, journal=tmp_path / "j")
    assert (tmp_path / "j").exists()
    (tmp_path / "no").mkdir()
    tune(recipe, files=files, journal=tmp_path / "j", resume=True)
    assert all(file.exists() for file in files)
    assert not (tmp_path / "j").exists()


# broken off


class KilledError(Exception):
    """Stands for a signal at this very step."""


@pytest.mark.parametrize("step", [1, 9, 40, 47])
def test_a_search_that_was_broken_off_ends_as_it_would_have(recipe, tuned, tmp_path, step):
    journal = tmp_path / "j.search"
    steps = []

    def stop(*now):
        steps.append(now)
        if len(steps) == step:
            raise KilledError

    with pytest.raises(KilledError):
        tune(recipe, journal=journal, command="simhw tune small.yaml -o t.yaml", progress=stop)
    found = journal.read_bytes()
    assert found.count(b"\n") >= 1
    journal.write_bytes(
        found[: -min(7, len(found) - found.index(b"\n") - 1) or None]
    )  # in the midst of a line
    again = tune(recipe, journal=journal, resume=True, command="simhw tune small.yaml -o t.yaml")
    assert texts(again) == texts(tuned)
    assert not journal.exists()


def test_a_search_may_go_on_with_other_budgets_and_images_to_measure(recipe, tuned, tmp_path):
    journal = tmp_path / "j.search"
    steps = []

    def stop(*now):
        steps.append(now)
        if len(steps) == 40:
            raise KilledError

    with pytest.raises(KilledError):
        tune(recipe, journal=journal, progress=stop)
    other = {**yaml.safe_load(RECIPE), "budgets": [5], "measure": {"images": 7}, "steps": "bisect"}
    again = tune(load_recipe(other), journal=journal, resume=True)
    assert again[0].measured.images == 7
    assert again[0].tuning.layers == tune(load_recipe(other))[0].tuning.layers
    steps.clear()
    with pytest.raises(KilledError):
        tune(recipe, journal=journal, progress=stop)
    with pytest.raises(TuningError) as refused:
        tune(load_recipe({**other, "seed": 4}), journal=journal, resume=True)
    assert str(refused.value).startswith(f"{journal}: belongs to another search: ")


def test_what_was_found_is_not_asked_again(tmp_path):
    path = tmp_path / "j.search"
    book = Journal(path, "mine")
    assert book.add("one", [0.1, 2]) == [0.1, 2]
    book.close()
    path.write_bytes(path.read_bytes() + b'{"ask":"two","is"')
    again = Journal(path, "mine", resume=True)
    assert "one" in again
    assert again["one"] == [0.1, 2]
    assert "two" not in again
    again.add("two", None)
    again.close()
    assert [json.loads(line).get("ask") for line in path.read_text().splitlines()] == [None, "one", "two"]


def test_an_answer_is_in_the_file_before_it_is_used(tmp_path):
    path = tmp_path / "j.search"
    book = Journal(path, "mine")
    for number in range(3):
        book.add(str(number), number)
        assert path.read_text().splitlines()[-1] == f'{{"ask":"{number}","is":{number}}}'
    book.remove()
    assert not path.exists()


def test_journals_that_do_not_belong_to_the_search_are_refused(tmp_path):
    path = tmp_path / "j.search"
    Journal(path, "mine").close()
    for text, search, resume in (
        ("holds an unfinished search; go on with it by --resume, or remove the file", "mine", False),
        (
            "belongs to another search: its recipe, images, weights or version of simhw differ; remove the "
            "file to begin anew",
            "other",
            True,
        ),
    ):
        with pytest.raises(TuningError) as refused:
            Journal(path, search, resume=resume)
        assert str(refused.value) == f"{path}: {text}"
    for content in ("no json\n", "[1]\n", '{"search": "mine"}\n{"ask": 1}\n'):
        path.write_text(content)
        with pytest.raises(TuningError) as refused:
            Journal(path, "mine", resume=True)
        assert (
            str(refused.value) == f"{path}: is not the file of a search; remove it, or write to another name"
        )


def test_a_journal_cut_off_in_its_first_line_begins_anew(tmp_path):
    path = tmp_path / "j.search"
    path.write_text('{"sear')
    book = Journal(path, "mine", resume=True)
    book.add("one", 1)
    book.close()
    again = Journal(path, "mine", resume=True)
    assert "one" in again
    again.close()


# the command


def test_the_command_writes_a_file_for_each_budget(command, recipe, tuned, tmp_path):
    done = command("tune", recipe, "-o", "t.yaml", "--json")
    assert done.exit_code == 0
    files = [Path(f"t-{budget}.yaml") for budget in (0, 5, 20)]
    assert done.stderr.splitlines() == [f"wrote {file}" for file in files]
    assert [file.read_text() for file in files] == texts(tuned)
    assert {p.name for p in tmp_path.iterdir()} == {file.name for file in files}
    shown = json.loads(done.stdout)
    assert [one["name"] for one in shown] == ["lenet_digits-0", "lenet_digits-5", "lenet_digits-20"]
    assert shown[2]["measured"]["images"] == 20
    for file in files:
        load(file, "speculation", Trace.load("lenet_digits"))
    checked = command("check", *files, recipe)
    assert checked.stdout.splitlines() == [
        *(f"{file}: ok, tuning lenet_{file.stem.replace('t', 'digits')}" for file in files),
        f"{recipe}: ok, recipe for lenet_digits",
    ]


def test_one_budget_is_written_to_the_file_itself_and_told_in_a_table(command):
    Path("one.yaml").write_text(RECIPE.replace("[0, 5, 20]", "5"))
    done = command("tune", "one.yaml", "-o", "t.yaml")
    assert done.stderr.splitlines() == ["wrote t.yaml"]
    assert load("t.yaml", "speculation").made["command"] == "simhw tune one.yaml -o t.yaml"
    head, _, *rows = done.stdout.splitlines()
    assert head.split() == ["lenet_digits-5"]
    told = {row.rsplit("  ", 1)[0].strip() for row in rows}
    assert told >= {
        "loss, in points",
        "products, of exact mode's",
        "measured: loss, in points",
        "95 % interval",
    }
    assert max(map(len, rows)) < 80


def test_without_images_to_measure_nothing_is_measured(command):
    Path("one.yaml").write_text(RECIPE.replace("measure: {images: 20}\n", "").replace("[0, 5, 20]", "[5]"))
    done = command("tune", "one.yaml", "-o", "t.yaml", "--json")
    assert json.loads(done.stdout)[0]["measured"] is None
    assert "measured" not in load("t.yaml", "speculation").reached


def test_resume_goes_on_and_without_it_an_unfinished_search_is_kept(command, recipe, tuned):
    Path("t.yaml.search").write_text('{"search": "other"}\n')
    refused = command("tune", recipe, "-o", "t.yaml")
    assert (refused.exit_code, refused.stderr.splitlines()) == (
        2,
        ["t.yaml.search: holds an unfinished search; go on with it by --resume, or remove the file"],
    )
    other = command("tune", recipe, "-o", "t.yaml", "--resume")
    assert (other.exit_code, other.stderr.splitlines()) == (
        2,
        [
            "t.yaml.search: belongs to another search: its recipe, images, weights or version of simhw "
            "differ; remove the file to begin anew"
        ],
    )
    Path("t.yaml.search").unlink()
    assert command("tune", recipe, "-o", "t.yaml", "--resume").exit_code == 0
    assert Path("t-5.yaml").read_text() == texts(tuned)[1]


def test_a_search_that_is_broken_off_says_how_to_go_on(command, recipe, monkeypatch, tmp_path):
    def interrupt(*_, journal, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("simhw.tuning.tune", interrupt)
    ended = command("tune", recipe, "-o", "t.yaml")
    assert (ended.exit_code, ended.stderr) == (130, "interrupted; nothing is left of it\n")
    Path("t.yaml.search").write_text("")
    ended = command("tune", recipe, "-o", "t.yaml")
    assert ended.stderr == (
        "interrupted; t.yaml.search keeps what was found, and the same command with --resume goes on\n"
    )


def test_what_was_measured_is_found_again_without_a_search(command, recipe, tuned):
    files = [Path(f"t-{budget}.yaml") for budget in (0, 5, 20)]
    for one, file in zip(tuned, files, strict=True):
        reached = {name: value for name, value in one.tuning.reached.items() if name != "measured"}
        replace(one.tuning, reached=reached | {"measured": {"images": 3}}).save(file)
    done = command("tune", recipe, "-o", "t.yaml", "--measure", "--json")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [f"wrote {file}" for file in files]
    assert [file.read_text() for file in files] == texts(tuned)
    assert json.loads(done.stdout)[2]["measured"] == tuned[2].measured.to_dict()


def test_what_cannot_be_measured_again_is_told(command, recipe, tuned):
    def told(*words):
        done = command("tune", *words)
        return done.exit_code, done.stderr.splitlines()

    assert told(recipe, "-o", "t.yaml", "--measure", "--resume") == (
        2, ["tune: --measure searches for nothing that --resume could go on with; name one"],
    )  # fmt: skip
    Path("one.yaml").write_text(RECIPE.replace("[0, 5, 20]", "5").replace("seed: 3", "seed: 4"))
    tuned[1].tuning.save("t.yaml")
    assert told("one.yaml", "-o", "t.yaml", "--measure") == (
        2, ["t.yaml: recipe: is not that of one.yaml; name its own"],
    )  # fmt: skip
    Path("one.yaml").write_text(RECIPE.replace("measure: {images: 20}\n", "").replace("[0, 5, 20]", "5"))
    assert told("one.yaml", "-o", "t.yaml", "--measure") == (
        2, ["one.yaml: measure: is missing; wants images (split: test, first: 500, images: 500)"],
    )  # fmt: skip
    assert load("t.yaml", "speculation").to_dict() == tuned[1].tuning.to_dict()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("r.yaml", "-o", "t.json"), "t.json: wants a name that ends in .yaml"),
        (("r.yaml", "-o", "no/t.yaml"), "no/t-0.yaml: there is no folder 'no'; make it first"),
        (("r.yaml", "-o", "r.yaml"), None),  # r-0.yaml and so on: no file that is read
        (
            ("one.yaml", "-o", "one.yaml"),
            "one.yaml: is a file that this command reads; wants another name to write to",
        ),
        (
            ("r.yaml", "-o", "t.yaml", "--data", "none"),
            "none: no such folder; --data wants the folder where data and weights lie",
        ),
    ],
)
def test_wrong_names_are_told_before_the_work(command, words, fault):
    Path("r.yaml").write_text(RECIPE)
    Path("one.yaml").write_text(RECIPE.replace("[0, 5, 20]", "5"))
    done = command("tune", *words)
    if fault is None:
        assert done.exit_code == 0
    else:
        assert (done.exit_code, done.stderr.splitlines()) == (2, [fault])
