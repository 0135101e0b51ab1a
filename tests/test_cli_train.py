"""`simhw train`: every option changes something, and what it writes is what other commands read."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simhw.cli import app
from simhw.errors import ResultError
from simhw.reports.learning import plot_learning
from simhw.training.sgd import read_log

RECIPE = """\
name: mine
workload: fc_64_32
fit:
  fc1: {kind: linear, group: 28}
epochs: 2
rate: 0.1
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    Path("mine.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def command(here):
    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


def test_train_prints_what_it_made_and_trace_takes_it(command):
    done = command("train", "mine.yaml", "-o", "mine.npz", "--images", 200)
    assert done.exit_code == 0
    parameters = 64 * 28 * 2 + 32 * 64 + 10 * 32
    assert (
        f"{parameters:,} parameters in {parameters / 1000:.4g} KB; named rightly of 200 images held out"
        in (done.stdout)
    )
    assert done.stderr == "wrote mine.npz\nwrote mine.csv\n"
    assert command("trace", "fc_64_32", "--weights", "mine.npz", "-o", "t.safetensors").exit_code == 0
    done = command("run", "eyeriss", "t.safetensors", "--json")
    assert [layer["output_matches"] for layer in json.loads(done.stdout)["layers"]] == [True] * 3
    assert command("check", "mine.yaml", "mine.npz", "t.safetensors").stdout == (
        "mine.yaml: ok, recipe mine\nmine.npz: ok, coefficients mine\nt.safetensors: ok, trace fc_64_32\n"
    )


def test_json_holds_what_the_table_shows(command):
    found = json.loads(command("train", "mine.yaml", "-o", "mine.npz", "--images", 64, "--json").stdout)
    assert found["layers"][0] == {
        "layer": "fc1", "kind": "linear", "group": 28, "parameters": 3584, "bits": 8, "memory_bits": 28672
    }  # fmt: skip
    assert found["parameters"] == sum(row["parameters"] for row in found["layers"])
    assert (found["held_out"], found["inputs"]) == (64, "digits (test)")
    assert found["float32_accuracy"] == pytest.approx(
        read_log(Path("mine.csv"))["test_accuracy"][-1], abs=1e-5
    )
    assert 0 <= found["fixed16_accuracy"] <= 1


def test_without_a_number_all_images_are_taken(command):
    command("train", "mine.yaml", "-o", "mine.npz")
    second = Path("mine.csv").read_text().splitlines()[1]
    assert second.startswith("# learnt 1437 images of digits (train), held out 360 of digits (test);")


def test_data_names_where_images_lie(command, here):
    rng = np.random.default_rng(0)
    arrays = {f"{part}_images": rng.integers(0, 255, (70, 28, 28), np.uint8) for part in ("train", "test")}
    labels = {f"{part}_labels": rng.integers(0, 10, 70, np.uint8) for part in ("train", "test")}
    (here / "data").mkdir()
    np.savez(here / "data" / "mnist.npz", **arrays, **labels)
    command("train", "mine.yaml", "-o", "mine.npz", "--data", "data")
    assert "learnt 70 images of mnist.npz" in Path("mine.csv").read_text()


def test_plot_draws_the_log(command):
    done = command("train", "mine.yaml", "-o", "mine.npz", "--images", 64, "--plot", "mine.svg")
    assert done.stderr.endswith("wrote mine.svg\n")
    text = Path("mine.svg").read_text()
    assert "named rightly of the images held out" in text
    assert "mine, " in text


def test_resume_goes_on_from_a_checkpoint(command, monkeypatch):
    command("train", "mine.yaml", "-o", "through.npz", "--images", 64)
    from simhw.training import sgd

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sgd, "coefficients_of", killed)
        broken = command("train", "mine.yaml", "-o", "mine.npz", "--images", 64)
    assert broken.exit_code == 130
    assert broken.stderr == (
        "interrupted after epoch 2; mine.npz.checkpoint keeps it, and the same command with --resume goes "
        "on\n"
    )
    assert command("check", "mine.npz.checkpoint").stdout == (
        "mine.npz.checkpoint: ok, checkpoint of a training, 2 epochs done; simhw train --resume goes on\n"
    )
    refused = command("train", "mine.yaml", "-o", "mine.npz", "--images", 64)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "mine.npz.checkpoint: is left of a training that did not end; --resume goes on with it, or remove "
        "it\n"
    )
    assert command("train", "mine.yaml", "-o", "mine.npz", "--images", 64, "--resume").exit_code == 0
    assert Path("mine.npz").read_bytes() == Path("through.npz").read_bytes()


def test_a_training_broken_off_at_once_says_that_nothing_is_left(command, monkeypatch):
    from simhw.training.backprop import Network

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Network, "gradients", killed)
    broken = command("train", "mine.yaml", "-o", "mine.npz", "--images", 64)
    assert broken.exit_code == 130
    assert broken.stderr == "interrupted before the first epoch was done; nothing is left of it\n"
    assert [path.name for path in Path().iterdir()] == ["mine.yaml"]


def test_check_says_what_is_wrong_with_a_checkpoint(command):
    Path("a.npz.checkpoint").write_bytes(b"PK and no more")
    done = command("check", "a.npz.checkpoint")
    assert done.exit_code == 2
    assert done.stderr == ("a.npz.checkpoint: is no whole checkpoint; remove it to begin the training anew\n")


def test_coefficients_of_another_network_are_one_line(command):
    command("train", "mine.yaml", "-o", "mine.npz", "--images", 64)
    done = command("trace", "lenet5_tolba", "--weights", "mine.npz", "-o", "t.safetensors")
    assert done.exit_code == 2
    assert done.stderr == (
        "mine.npz: digests.network: made for another network, of fc_64_32, and not for lenet5_tolba; wants "
        "coefficients of its own\n"
    )


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("none.yaml", "-o", "a.npz"),
         "none.yaml: no such file, and no shipped recipe has that name; known: "),
        (("mine.yaml", "-o", "a.csv"), "a.csv: wants a name that ends in .npz"),
        (("mine.yaml", "-o", "nowhere/a.npz"), "nowhere/a.npz: there is no folder 'nowhere'; make it first"),
        (("mine.yaml", "-o", "a.npz", "--plot", "nowhere/a.png"),
         "nowhere/a.png: there is no folder 'nowhere'; make it first"),
        (("mine.yaml", "-o", "a.npz", "--plot", "a.gif"),
         "a.gif: wants a name that ends in .png, .svg or .pdf"),
        (("mine.yaml", "-o", "a.npz", "--images", "30"),
         "mine.yaml: batch: wants at most the 30 images of digits (train), got 64"),
        (("mine.yaml", "-o", "a.npz", "--data", "absent"),
         "absent: no such file or folder here; give its path, or the folder that holds it by --data or "
         "SIMHW_DATA"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line(command, words, fault):
    done = command("train", *words)
    assert done.exit_code == 2
    assert done.stderr.startswith(fault)
    assert done.stderr.count("\n") == 1
    assert not Path("a.npz").exists()


def test_no_training_is_no_figure():
    with pytest.raises(ResultError) as caught:
        plot_learning({})
    assert caught.value.faults == ("plot: no training given; wants at least one",)


def test_every_training_has_a_curve_in_both_halves():
    log = {"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "test_accuracy": [0.1, 0.5, 0.75]}
    figure = plot_learning({"one": log, "two": {**log, "test_accuracy": [0.2, 0.3, 0.9]}})
    accuracy, loss = figure.axes
    assert [list(line.get_ydata()) for line in accuracy.lines] == [[0.1, 0.5, 0.75], [0.2, 0.3, 0.9]]
    assert [list(line.get_ydata()) for line in loss.lines] == [[2.0, 1.0, 0.5]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "one, 75.00% at last", "two, 90.00% at last"
    ]  # fmt: skip
