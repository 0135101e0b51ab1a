"""The command line: every command, every flag, every way to be wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from handmade import result
from safetensors.numpy import save_file
from typer.testing import CliRunner

import simhw
from simhw import papers
from simhw.cli import DEFAULT_TRACE, app
from simhw.papers.items import item
from simhw.result import Result

WORKLOAD = """\
name: tiny
input: {channels: 1, height: 8, width: 8}
data: {default: "synthetic:sparsity=0.3"}
weights: {seed: 3}
layers:
  - {name: conv1, type: conv, out_channels: 4, kernel: 3, activation: relu}
  - {name: flatten, type: flatten}
  - {name: fc1, type: linear, out_features: 5}
"""
REMAKE = "make it again with 'simhw run ... -o FILE'"


class Done:
    """What a command left: its exit code and what it said."""

    def __init__(self, ran) -> None:
        self.code, self.out = ran.exit_code, ran.stdout
        self.err = ran.stderr.splitlines()

    def json(self):
        return json.loads(self.out)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory, and no data but what ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    return tmp_path


@pytest.fixture
def command(here):
    def run(*words: object) -> Done:
        ran = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        return Done(ran)

    return run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A trace of a convolution and a linear layer."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(WORKLOAD)
    made = CliRunner().invoke(
        app, ["trace", str(folder / "tiny.yaml"), "--images", "2", "-o", str(folder / "tiny.safetensors")]
    )
    assert made.exit_code == 0, made.output
    return folder / "tiny.safetensors"


# The frame


def test_version(command):
    assert command("--version").out == f"simhw {simhw.__version__}\n"


def test_help_names_every_command(command):
    done = command("--help")
    assert done.code == 0
    for name in ("list", "check", "trace", "map", "run", "compare", "plot", "report", "reproduce", "bench"):
        assert f"\n  {name} " in done.out


def test_help_starts_within_a_quarter_of_a_second_of_bare_python(here):
    def cpu_seconds(*words: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = min(cpu_seconds("-c", "pass") for _ in range(3))
    assert min(cpu_seconds("-m", "simhw", "--help") for _ in range(3)) - bare < 0.25


def test_importing_simhw_imports_nothing_heavy():
    heavy = "{'numpy', 'numba', 'pydantic', 'matplotlib', 'simpy', 'typer'}"
    seen = f"import sys, simhw; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_page_of_commands_is_what_the_commands_say():
    path = Path(__file__).parent.parent / "docs" / "commands.py"
    spec = importlib.util.spec_from_file_location("commands_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/commands.py"


@pytest.mark.parametrize(
    "words", [[], ["nope"], ["run"], ["run", "eyeriss", "x", "--nope"], ["trace", "x"]], ids=str
)
def test_a_wrong_command_line_is_wrong_input(command, words):
    assert command(*words).code == 2


def test_an_interrupted_command_says_so_and_leaves_130(command, monkeypatch):
    def interrupt(*_args, **_rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("simhw.accelerator.simulate", interrupt)
    done = command("run", "eyeriss", "x")
    assert (done.code, done.err) == (130, ["interrupted"])


def test_ctrl_c_reaches_a_run(tiny, here):
    script = "\n".join(
        [
            "import signal, sys, time, simhw.accelerator, simhw.cli",
            "signal.signal(signal.SIGINT, signal.default_int_handler)",  # ignored in jobs behind a shell
            "def slow(*_, **__):",
            "    print('on', flush=True)",
            "    time.sleep(60)",
            "simhw.accelerator.simulate = slow",
            f"sys.argv = ['simhw', 'run', 'eyeriss', {str(tiny)!r}]",
            "simhw.cli.main()",
        ]
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == "on\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == 130
        assert run.stderr.read() == "interrupted\n"


def test_a_reader_that_has_left_is_no_fault_of_ours(tiny, here):
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "simhw", "run", "eyeriss", str(tiny)]
    ran = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_table_is_printed_even_where_its_rule_is_no_character(tiny, here):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-m", "simhw", "run", "eyeriss", str(tiny)]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert "???" in ran.stdout


def test_our_own_bugs_keep_their_traceback(command, monkeypatch):
    def bug(*_args, **_rest):
        raise ZeroDivisionError

    monkeypatch.setattr("simhw.accelerator.simulate", bug)
    with pytest.raises(ZeroDivisionError):
        command("run", "eyeriss", "x")


def test_a_full_disk_is_said_in_a_line(command, tiny):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = command("run", "eyeriss", tiny, "--timeline", "/dev/full")
    assert done.code == 2
    assert done.err == ["/dev/full: cannot be written: No space left on device"]


# list and check


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("accelerators", "eyeriss"), ("workloads", "alexnet"), ("traces", DEFAULT_TRACE),
        ("components", "dram_link"), ("dataflows", "row_stationary"), ("technologies", "tetris_45nm"),
        ("recipes", "tolba_table2_case3"),
    ],
)  # fmt: skip
def test_every_section_lists_what_ships(command, section, name):
    assert name in [row["name"] for row in command("list", section, "--json").json()]
    assert any(line.split()[0] == name for line in command("list", section).out.splitlines())
    assert name in command("list").out


def test_list_has_parameters_and_the_recipes_of_both_commands(command):
    known = {row["name"]: row for row in command("list", "parameters", "--json").json()}
    kinds = ("eyeriss-alexnet", "lenet_digits-1", "tolba_table2_case1")
    assert [known[name]["kind"] for name in kinds] == ["mapping", "speculation", "coefficients"]
    assert known["lenet_digits-1"]["workload"] == "lenet_digits"
    assert known["lenet_digits-1"]["reached"].startswith("loss ")
    recipes = {row["name"]: row["for"] for row in command("list", "recipes", "--json").json()}
    assert (recipes["lenet_digits"], recipes["tolba_table2_case1"]) == ("tune", "train")


def test_compare_has_machines_that_predict_use_a_tuning(command):
    tuned, exact = (
        command("compare", "eyeriss_256", "snapea", *options, "--json").json()["rows"]
        for options in (("--tuning", "lenet_digits-2"), ())
    )
    assert tuned[0] == exact[0]
    assert tuned[1]["macs_executed"] < exact[1]["macs_executed"]
    none = command("compare", "eyeriss", "--tuning", "lenet_digits-2")
    assert none.code == 2
    assert none.err == ["--tuning: none of eyeriss predicts; name an accelerator such as snapea"]
    assert command("compare", "a.json", "--tuning", "lenet_digits-2").code == 2


def test_what_map_prints_of_snapea_is_a_mapping_that_it_runs_with(command, here):
    assert command("map", "snapea", "lenet_digits", "-o", "m.yaml").code == 0
    given = command("run", "snapea", "lenet_digits", "--layers", "conv1", "--mapping", "m.yaml", "--json")
    assert (
        given.json()["layers"]
        == command("run", "snapea", "lenet_digits", "--layers", "conv1", "--json").json()["layers"]
    )


def test_list_tells_multipliers_macs_and_roles(command):
    rows = {row["name"]: row for row in command("list", "accelerators", "--json").json()}
    assert (rows["eyeriss"]["multipliers"], rows["eyeriss_256"]["multipliers"]) == (12 * 14, 16 * 16)
    [flow] = [x for x in command("list", "dataflows", "--json").json() if x["name"] == "row_stationary"]
    assert flow["engines"] == "compiled, stepped"
    assert "pes" in flow["roles"]


def test_an_unknown_section_is_named_with_the_nearest(command):
    done = command("list", "workload")
    assert (done.code, done.err) == (
        2,
        [
            "list: unknown section 'workload'; did you mean 'workloads'? known: accelerators, components, "
            "dataflows, papers, parameters, recipes, technologies, traces, transforms, workloads"
        ],
    )


def test_check_says_what_each_file_is(command, here, tiny):
    result().to_json(here / "r.json")
    (here / "m.yaml").write_text(MAPPING)
    (here / "prices.yaml").write_text(
        (Path(simhw.__file__).parent / "technology/tetris_45nm.yaml").read_text()
    )
    (here / "machine.yaml").write_text((simhw.shipped.folder("accelerators") / "eyeriss.yaml").read_text())
    files = [here / "r.json", here / "m.yaml", here / "prices.yaml", here / "machine.yaml"]
    done = command("check", *files, tiny, tiny.with_suffix(".yaml"))
    assert (done.code, done.err) == (0, [])
    assert [line.partition(": ")[2] for line in done.out.splitlines()] == [
        "ok, result of toy on two-layers", "ok, mapping mine", "ok, technology tetris_45nm",
        "ok, accelerator eyeriss", "ok, trace tiny", "ok, workload tiny",
    ]  # fmt: skip


def test_check_knows_energies_of_accelergy_in_either_shape_and_a_table_that_names_them(command, here):
    (here / "old.yaml").write_text("energy_reference_table: {chip.mac: {mul: {energy: 2}}}\n")
    (here / "new.yaml").write_text(
        "ERT:\n  tables:\n    - {name: chip.a, actions: &actions [{name: mul, energy: 2}]}\n"
        "    - {name: chip.b, actions: *actions}\n"
    )
    (here / "named.yaml").write_text("name: mine\nsource: measured here\naccelergy: new.yaml\n")
    done = command("check", "old.yaml", "new.yaml", "named.yaml")
    assert (done.code, done.err) == (0, [])
    assert done.out.splitlines() == [
        "old.yaml: ok, technology old", "new.yaml: ok, technology new", "named.yaml: ok, technology mine",
    ]  # fmt: skip


def test_check_names_every_fault_of_every_file(command, here):
    (here / "a.yaml").write_text("name: a\nclock_mhz: -1\ndataflow: row_stationry\ncomponents: {}\n")
    (here / "empty.json").write_text("")
    (here / "b.yaml").write_text("hello: there\n")
    (here / "c.txt").write_text("")
    done = command("check", "a.yaml", "empty.json", "b.yaml", "c.txt", "none.yaml", ".")
    assert done.code == 2
    assert "a.yaml:2: clock_mhz: wants a number of MHz above 0" in "\n".join(done.err)
    assert "did you mean 'row_stationary'?" in "\n".join(done.err)
    assert done.err[-5:] == [
        f"empty.json: is empty; {REMAKE}",
        "b.yaml: is no file of simhw's: an accelerator has 'components', a mapping and a workload 'layers', "
        "a technology table 'entries', a recipe 'epochs'",
        "c.txt: is of no kind simhw reads; known endings: .yaml, .safetensors, .json, .npz, .npz.checkpoint",
        "none.yaml: no such file",
        ".: is a directory; wants a file",
    ]


def test_check_finds_a_flipped_bit_in_a_trace(command, here, tiny):
    content = bytearray(tiny.read_bytes())
    content[-1] ^= 1
    (here / "flipped.safetensors").write_bytes(content)
    done = command("check", "flipped.safetensors", "--json")
    assert done.code == 2
    [row] = done.json()
    assert row["kind"] == "trace"
    assert len(row["faults"]) == len(done.err) == 1


def test_check_knows_comparisons_timelines_and_arrays(command, here, tiny):
    result().to_json(here / "r.json")
    command("compare", "r.json", "-o", "c.json")
    command("run", "eyeriss", tiny, "--timeline", "t.json")
    np.savez(here / "w.npz", **{"conv1.weight": np.ones(3), "conv1.bias": np.ones(1)})
    save_file({"a": np.ones(2)}, here / "w.safetensors")
    done = command("check", "c.json", "t.json", "w.npz", "w.safetensors")
    assert (done.code, done.err) == (0, [])
    assert done.out.splitlines() == [
        "c.json: ok, comparison of toy, not checked further",
        "t.json: ok, timeline for Perfetto, not checked further",
        "w.npz: ok, arrays of weights or data: conv1.weight, conv1.bias",
        "w.safetensors: ok, arrays of weights or data: a",
    ]


def test_check_finds_pickles_nan_and_what_is_no_list(command, here):
    np.savez(here / "p.npz", good=np.ones(2), bad=np.array([{}], object))
    np.savez(here / "n.npz", a=np.array([1.0, np.nan, np.inf]))
    save_file({"a": np.array([np.nan])}, here / "n.safetensors")
    (here / "c.json").write_text('{"schema": 1, "rows": 3}')
    (here / "t.json").write_text('{"traceEvents": 3}')
    done = command("check", "p.npz", "n.npz", "n.safetensors", "c.json", "t.json")
    infinite = "holds values that are not finite (NaN or infinity)"
    assert (done.code, done.out) == (2, "")
    assert done.err == [
        "p.npz: bad: holds pickled objects, which could run code and are never opened; save plain arrays "
        "of numbers",
        f"n.npz: a: {infinite}, 2 in all; wants finite numbers",
        f"n.safetensors: a: {infinite}, 1 in all; wants finite numbers",
        "c.json: rows: wants a list of rows with a label each; compare again with -o",
        "t.json: traceEvents: wants a list of events; run again with --timeline",
    ]


# What is written

MAPPING = "kind: mapping\nversion: 3\nname: mine\nvalues: 1\nlayers:\n  conv1: {p: 1}\n"
READ = "is a file that this command reads; wants another name to write to"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("run eyeriss t --timeline t.safetensors", f"t.safetensors: {READ}"),
        ("run ./m.yaml t --timeline link.yaml", f"link.yaml: {READ}"),
        ("run m t --timeline ./m.yaml", f"m.yaml: {READ}"),
        ("run eyeriss t --mapping map.yaml --timeline map.yaml", f"map.yaml: {READ}"),
        ("run eyeriss t --technology tech.yaml --timeline tech.yaml", f"tech.yaml: {READ}"),
        ("run eyeriss t --plugin own.py --timeline own.py", f"own.py: {READ}"),
        (
            "run eyeriss t -o r.json --timeline ./r.json",
            "r.json: is the file that r.json names as well; wants a file for each output",
        ),
        ("map eyeriss t -o t.safetensors", f"t.safetensors: {READ}"),
        ("map eyeriss w -o w.yaml", f"w.yaml: {READ}"),
        ("map m t -o m.yaml", f"m.yaml: {READ}"),
        ("trace w --weights k.safetensors -o k.safetensors", f"k.safetensors: {READ}"),
        ("trace own -o k.safetensors", f"k.safetensors: {READ}"),
        ("compare r.json -o r.json", f"r.json: {READ}"),
        ("plot s.svg -o s.svg", f"s.svg: {READ}"),
        ("report s.html -o s.html", f"s.html: {READ}"),
    ],
)
def test_no_output_takes_the_place_of_an_input_or_of_another(command, here, tiny, words, fault):
    shipped = simhw.shipped.folder
    (here / "t.safetensors").write_bytes(tiny.read_bytes())
    (here / "m.yaml").write_text((shipped("accelerators") / "eyeriss.yaml").read_text())
    (here / "link.yaml").symlink_to("m.yaml")
    (here / "map.yaml").write_text(MAPPING)
    (here / "tech.yaml").write_text((shipped("technology") / "tetris_45nm.yaml").read_text())
    (here / "own.py").write_text("")
    (here / "w.yaml").write_text(WORKLOAD)
    (here / "own.yaml").write_text(WORKLOAD.replace("{seed: 3}", "{file: k.safetensors}"))
    save_file({"a": np.ones(1)}, here / "k.safetensors")
    for name in ("r.json", "s.svg", "s.html"):
        result().to_json(here / name)
    before = {path: path.read_bytes() for path in here.iterdir()}
    done = command(*words.split())
    assert (done.code, done.out, done.err) == (2, "", [fault])
    after = {path: path.read_bytes() for path in here.iterdir() if path.name != "__pycache__"}  # a plug-in's
    assert after == before


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("trace w -o t.npz", "t.npz: wants a name that ends in .safetensors"),
        ("trace w -o t", "t: wants a name that ends in .safetensors"),
        ("report r.json -o r.pdf", "r.pdf: wants a name that ends in .html"),
        ("compare r.json -o c.txt", "c.txt: wants a name that ends in .json or .csv"),
    ],
)
def test_an_output_is_named_for_what_it_is(command, here, words, fault):
    (here / "w.yaml").write_text(WORKLOAD)
    result().to_json(here / "r.json")
    done = command(*words.split())
    assert (done.code, done.err) == (2, [fault])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["run", "", "t"], "ACCELERATOR"), (["run", "eyeriss", ""], "TRACE"),
        (["run", "eyeriss", "t", "--mapping", ""], "--mapping"),
        (["run", "eyeriss", "t", "--technology", ""], "--technology"),
        (["map", "eyeriss", ""], "TRACE|WORKLOAD"), (["trace", "", "-o", "t.safetensors"], "WORKLOAD"),
        (["trace", "w", "-o", "t.safetensors", "--data", ""], "--data"),
        (["trace", "w", "-o", "t.safetensors", "--weights", ""], "--weights"),
        (["compare", "eyeriss", ""], "ACCELERATOR|RESULT..."),
        (["compare", "eyeriss", "--trace", ""], "--trace"), (["reproduce", "--data", ""], "--data"),
    ],
)  # fmt: skip
def test_an_empty_name_is_no_name(command, words, name):
    done = command(*words)
    assert (done.code, done.err) == (2, [f"{name}: is empty; wants a name or a path"])


# trace and map


def test_trace_says_where_weights_and_inputs_came_from(command, here):
    (here / "w.yaml").write_text(WORKLOAD)
    for rest in ([], ["--json"]):
        assert command("trace", "w", "-o", "t.safetensors", *rest).err == [
            "wrote t.safetensors",
            "weights: random, seed 3; inputs: synthetic: sparsity 0.3, negative 0, seed 3",
        ]


@pytest.mark.parametrize(
    ("words", "seed"), [(["--seed", -3], -3), (["--data", "synthetic", "--seed", -1], -1)]
)
def test_a_seed_below_0_is_refused(command, words, seed):
    done = command("trace", "lenet_digits", "-o", "t.safetensors", *words)
    assert (done.code, done.err) == (2, [f"seed: wants a whole number of at least 0, got {seed}"])


def test_a_folder_of_data_that_is_not_there_is_refused(command, here, monkeypatch):
    monkeypatch.setenv("SIMHW_DATA", "nowhere")
    fault = "nowhere: no such folder; SIMHW_DATA wants the folder where data and weights lie"
    for words in (
        ["trace", "lenet_digits", "-o", "t.safetensors"],
        ["reproduce"],
        ["reproduce", "--data", here],
    ):
        done = command(*words)
        assert (done.code, done.err) == (2, [fault])


@pytest.mark.parametrize("images", [10**9, 10**14])
def test_map_takes_no_larger_a_batch_than_trace(command, tiny, images):
    workload = tiny.with_suffix(".yaml")
    most = 1 << 33
    refused = command("trace", workload, "--images", images, "-o", "t.safetensors").err
    where, _, rest = refused[0].partition(": conv1: ")
    assert (where, rest) == (str(workload), f"would hold {images * 4 * 6 * 6} numbers; wants at most {most}")
    for what in (workload, tiny):
        done = command("map", "eyeriss", what, "--images", images)
        assert (done.code, done.err) == (2, [f"{what}: conv1: {rest}"])


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        ([","], "--layers: names no layer; wants names such as conv1,conv2"),
        ([""], "--layers: names no layer; wants names such as conv1,conv2"),
        (["conv1,conv1"], "--layers: names conv1 twice; wants each layer once"),
        (["conv1", "fc1, conv1"], "--layers: names conv1 twice; wants each layer once"),
    ],
)
def test_layers_are_named_once_each(command, tiny, layers, fault):
    for name in ("run", "map"):
        done = command(name, "eyeriss", tiny, *(word for x in layers for word in ("--layers", x)))
        assert (done.code, done.out, done.err) == (2, "", [fault])


def test_trace_keeps_batch_format_and_seed(command, here):
    (here / "w.yaml").write_text(WORKLOAD)
    made = [
        command("trace", "w.yaml", "-o", f"{n}.safetensors", "--json", *rest).json()
        for n, rest in enumerate([
            [], ["--images", 3], ["--format", "fixed8"], ["--seed", 9], ["--data", "synthetic:sparsity=0"],
            ["--weights", "random", "--seed", 3],
        ])
    ]  # fmt: skip
    first, images, format_, seed, data, drawn = made
    assert [x["layer"] for x in first["layers"]] == ["conv1", "fc1"]
    assert first["layers"][0]["macs"] == 6 * 6 * 4 * 9
    assert images["layers"][0]["macs"] == 3 * first["layers"][0]["macs"]
    assert format_["digests"]["weights"] != first["digests"]["weights"]
    assert seed["digests"]["weights"] != first["digests"]["weights"]
    assert data["digests"]["inputs"] != first["digests"]["inputs"]
    assert drawn["digests"]["weights"] == first["digests"]["weights"]


def test_trace_takes_the_images_asked_for(command, here):
    taken = [
        command("trace", "lenet_digits", "--images", 1, "-o", "t.safetensors", "--json", *rest).json()
        for rest in ([], ["--first", 1], ["--split", "train"])
    ]
    assert len({x["digests"]["inputs"] for x in taken}) == 3


def test_trace_refuses_an_output_it_cannot_write_before_it_works(command, here, monkeypatch):
    monkeypatch.setattr("simhw.workload.export", lambda *_args, **_rest: pytest.fail("worked first"))
    done = command("trace", "lenet_digits", "-o", "none/t.safetensors")
    assert (done.code, done.err) == (2, ["none/t.safetensors: there is no folder 'none'; make it first"])


def test_a_mapping_that_was_printed_can_be_fed_back(command, here, tiny):
    done = command("map", "eyeriss", tiny, "-o", "m.yaml")
    assert (here / "m.yaml").read_text() == done.out
    free = command("run", "eyeriss", tiny, "--json").json()
    bound = command("run", "eyeriss", tiny, "--mapping", "m.yaml", "--json").json()
    assert bound["totals"]["cycles"] == free["totals"]["cycles"]
    assert command("map", "eyeriss", tiny, "--json").json()["layers"].keys() == {"conv1", "fc1"}


def test_map_takes_workloads_layers_batches_and_settings(command, tiny):
    def layers(*rest):
        return command("map", "eyeriss", tiny.with_suffix(".yaml"), "--json", *rest).json()["layers"]

    assert layers("--layers", "conv1").keys() == {"conv1"}
    assert layers("--images", 4) != layers()
    assert layers("--set", "components.pes.columns=2") != layers()


def test_map_names_a_layer_that_is_not_there(command, tiny):
    done = command("map", "eyeriss", tiny, "--layers", "conv2")
    assert (done.code, done.err) == (2, ["layers: no layer 'conv2'; did you mean 'conv1'? known: conv1, fc1"])


# run


def test_run_prints_a_row_per_layer_and_outputs_equal(command, tiny):
    done = command("run", "eyeriss", tiny)
    assert done.code == 0
    rows = {
        line.split()[0]: line.split()[-1]
        for line in done.out.splitlines()
        if line[:4] in ("conv", "fc1 ", "tota")
    }
    assert rows == {"conv1": "equal", "fc1": "equal", "total": "equal"}


def test_run_json_is_the_result_it_writes(command, here, tiny):
    done = command("run", "eyeriss", tiny, "--json", "-o", "r.json")
    assert done.out == (here / "r.json").read_text()
    assert done.err == ["wrote r.json"]
    assert Result.from_json(here / "r.json").to_json() == done.out


def test_run_writes_a_csv_where_the_name_says_so(command, here, tiny):
    command("run", "eyeriss", tiny, "-o", "r.csv")
    assert len((here / "r.csv").read_text().splitlines()) == 1 + 2


def test_both_engines_agree_and_the_result_says_which_ran(command, tiny):
    compiled = command("run", "eyeriss", tiny, "--layers", "conv1", "--json").json()
    stepped = command("run", "eyeriss", tiny, "--layers", "conv1", "--engine", "stepped", "--json").json()
    assert (compiled["engine"], stepped["engine"]) == ("compiled", "stepped")
    assert compiled["layers"][0]["actions"] == stepped["layers"][0]["actions"]
    assert compiled["totals"] == stepped["totals"]


def test_layers_are_chosen_by_name(command, tiny):
    def names(*words):
        return [x["name"] for x in command("run", "eyeriss", tiny, "--json", *words).json()["layers"]]

    assert names("--layers", "fc1") == ["fc1"]
    assert names("--layers", "conv1,fc1") == names("--layers", "conv1", "--layers", "fc1") == ["conv1", "fc1"]


def test_without_values_only_the_time_is_found(command, tiny):
    full = command("run", "eyeriss", tiny, "--json").json()
    bare = command("run", "eyeriss", tiny, "--no-values", "--json").json()
    assert {x["output_matches"] for x in full["layers"]} == {True}
    assert {x["output_matches"] for x in bare["layers"]} == {None}
    assert bare["totals"]["cycles"] == full["totals"]["cycles"]


def test_a_closed_loop_has_an_accuracy(command):
    open_ = command("run", "eyeriss", DEFAULT_TRACE, "--json").json()
    closed = command("run", "eyeriss", DEFAULT_TRACE, "--closed-loop", "--json").json()
    assert open_["accuracy"] is None
    assert 0 <= closed["accuracy"] <= 1
    images = simhw.load_trace(DEFAULT_TRACE).batch
    [line] = [
        x
        for x in command("run", "eyeriss", DEFAULT_TRACE, "--closed-loop").out.splitlines()
        if "accuracy" in x
    ]
    assert line == f"accuracy: {100 * closed['accuracy']:.1f} % of {images} images"


def test_a_timeline_is_written_for_perfetto_and_kept(command, here, tiny):
    command("run", "eyeriss", tiny, "--timeline", "t.json", "-o", "r.json")
    assert json.loads((here / "t.json").read_text())["traceEvents"]
    made = Result.from_json(here / "r.json")
    assert made.timeline
    ends = {layer.name: layer.cycles for layer in made.layers}
    assert all(0 <= start < end <= ends[name] for name, _, _, start, end in made.timeline)


def test_settings_change_the_machine(command, tiny):
    plain = command("run", "eyeriss", tiny, "--json").json()
    slow = command(
        "run", "eyeriss", tiny, "--set", "components.dram.clock_mhz=6", "--set", "clock_mhz=100", "--json"
    ).json()
    assert slow["clock_mhz"] == 100
    assert slow["totals"]["cycles"] > plain["totals"]["cycles"]
    assert slow["digests"]["description"] != plain["digests"]["description"]


def test_another_technology_changes_the_energy_alone(command, tiny):
    plain = command("run", "eyeriss", tiny, "--json").json()
    other = command("run", "eyeriss", tiny, "--technology", "tetris_45nm", "--json").json()
    assert other["technology"] == "tetris_45nm"
    assert other["totals"]["total_energy_pj"] != plain["totals"]["total_energy_pj"]
    assert other["layers"][0]["actions"] == plain["layers"][0]["actions"]


def test_a_plugin_brings_components_of_its_own(command, here):
    (here / "mine.py").write_text(
        "from simhw import core\n\n\nclass Mine(core.Component, kind='cli_test_mine'):\n    '''Mine.'''\n"
    )
    assert "cli_test_mine" not in command("list", "components").out
    assert "cli_test_mine" in command("list", "components", "--plugin", "mine.py").out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (
            ["eyerss"],
            "eyerss: no such file, and no shipped accelerator has that name; did you mean 'eyeriss'?",
        ),
        (["eyeriss", "--layers", "fc2"], "has no layer 'fc2'; did you mean 'fc1'? known: conv1, fc1"),
        (
            ["eyeriss", "--engine", "step"],
            "engine: unknown 'step'; did you mean 'stepped'? known: compiled, stepped",
        ),
        (["eyeriss", "--set", "components.pes.rows=0"], "components.pes.rows"),
        (["eyeriss", "--mapping", "none.yaml"], "none.yaml: no such file"),
        (
            ["eyeriss", "--technology", "tetris"],
            "tetris: no such file, and no shipped technology table has that name",
        ),
        (["eyeriss", "--plugin", "none.py"], "none.py: no such file; --plugin wants a Python file"),
        (["eyeriss", "-o", "r.txt"], "r.txt: wants a name that ends in .json or .csv"),
        (["eyeriss", "-o", "."], ".: is a directory; wants the name of a file to write"),
        (["eyeriss", "--timeline", "no/t.json"], "no/t.json: there is no folder 'no'; make it first"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_to_run_is_a_line_and_exit_code_2(command, tiny, words, fault):
    accelerator, *rest = words
    done = command("run", accelerator, tiny, *rest)
    assert done.code == 2
    assert done.out == ""
    assert any(fault in line for line in done.err), done.err


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing", None), ("empty", b""), ("noise", b"\x00" * 64), ("text", b"hello there, this is no trace")],
)
def test_a_bad_trace_is_a_line_and_exit_code_2(command, here, name, content):
    path = here / f"{name}.safetensors"
    if content is not None:
        path.write_bytes(content)
    done = command("run", "eyeriss", path)
    assert (done.code, len(done.err)) == (2, 1)
    assert done.err[0].startswith(str(path))


def test_an_exact_machine_whose_output_differs_is_exit_code_1(command, tiny, monkeypatch):
    wrong = result()
    first = replace(wrong.layers[0], output_matches=False, output_error={"max": 0.5, "mean": 0.1})
    wrong = replace(wrong, layers=(first, wrong.layers[1]))
    monkeypatch.setattr("simhw.accelerator.simulate", lambda *_args, **_rest: wrong)
    done = command("run", "eyeriss", tiny)
    assert done.code == 1
    assert done.err == ["toy: conv1: its output differs from the reference by up to 0.5"]
    approximate = replace(wrong, exact=False)
    monkeypatch.setattr("simhw.accelerator.simulate", lambda *_args, **_rest: approximate)
    assert command("run", "eyeriss", tiny).code == 0


# compare


def test_compare_simulates_accelerators_and_reads_results(command, here, tiny):
    command("run", "eyeriss", tiny, "-o", "r.json")
    rows = command("compare", "r.json", "eyeriss_256", "--trace", tiny, "--json").json()["rows"]
    assert [row["label"] for row in rows] == ["eyeriss", "eyeriss_256"]
    assert rows[0]["cycles"] == Result.from_json(here / "r.json").cycles
    assert rows[1]["speedup"] == pytest.approx(rows[0]["seconds"] / rows[1]["seconds"])


def test_compare_runs_the_shipped_trace_if_none_is_named(command):
    rows = command("compare", "eyeriss", "--json").json()["rows"]
    assert rows[0]["trace"] == DEFAULT_TRACE


def test_compare_tells_results_of_one_machine_apart_by_their_files(command, here):
    for name in ("before", "after"):
        result().to_json(here / f"{name}.json")
    done = command("compare", "before.json", "after.json")
    assert done.out.splitlines()[0].split() == ["before", "after"]


def test_compare_writes_json_and_csv(command, here):
    result().to_json(here / "r.json")
    command("compare", "r.json", "-o", "c.json")
    command("compare", "r.json", "-o", "c.csv")
    assert json.loads((here / "c.json").read_text())["rows"][0]["cycles"] == 200
    assert "bytes.dram" in (here / "c.csv").read_text().splitlines()[0]


def test_compare_prices_results_anew(command, here, tiny):
    command("run", "eyeriss", tiny, "-o", "r.json")
    [row] = command("compare", "r.json", "--technology", "tetris_45nm", "--json").json()["rows"]
    again = command("run", "eyeriss", tiny, "--technology", "tetris_45nm", "--json").json()
    assert row["energy_unit"] == "pJ"
    assert row["total_energy_pj"] == again["totals"]["total_energy_pj"]


def test_compare_sets_fields_of_the_machines_it_simulates(command, tiny):
    [row] = command("compare", "eyeriss", "--trace", tiny, "--set", "clock_mhz=100", "--json").json()["rows"]
    assert row["clock_mhz"] == 100


def test_compare_refuses_what_has_no_effect_on_results(command, here, tiny):
    result().to_json(here / "r.json")
    done = command("compare", "r.json", "--trace", tiny, "--set", "clock_mhz=100")
    assert (done.code, done.err) == (
        2,
        [
            "--trace: has no effect on results; name an accelerator to simulate",
            "--set: has no effect on results; name an accelerator to simulate",
        ],
    )


def test_a_result_of_other_inputs_is_refused(command, here):
    result().to_json(here / "a.json")
    other = replace(result(accelerator="odd"), digests=result().digests | {"inputs": "f" * 64})
    other.to_json(here / "b.json")
    done = command("compare", "a.json", "b.json")
    assert (done.code, done.out) == (2, "")
    assert done.err == [
        "odd: cannot be compared with toy: it ran other inputs "
        "(two-layers, digest ffffffff, against two-layers, cccccccc); run both on one trace"
    ]


def test_every_wrong_name_is_told_before_anything_runs(command, monkeypatch, tiny):
    monkeypatch.setattr("simhw.accelerator.simulate", lambda *_args, **_rest: pytest.fail("ran first"))
    done = command("compare", "eyeriss", "eyerss", "none.json", "--trace", tiny)
    assert done.code == 2
    assert [line.split(":")[0] for line in done.err] == ["eyerss", "none.json"]


def test_strict_wants_the_same_weights_and_equal_outputs(command, here):
    result().to_json(here / "a.json")
    replace(result(accelerator="fitted"), digests=result().digests | {"weights": "f" * 64}).to_json(
        here / "b.json"
    )
    assert command("compare", "a.json", "b.json").code == 0
    strict = command("compare", "a.json", "b.json", "--strict")
    assert (strict.code, strict.err) == (1, ["fitted: ran other weights than toy"])
    assert command("compare", "a.json", "--strict").code == 0


# plot and report


def test_plot_draws_what_it_is_asked(command, here):
    result().to_json(here / "r.json")
    assert command("plot", "r.json").err == ["wrote cycles.png"]
    assert command("plot", "r.json", "--kind", "energy", "-o", "e.svg").code == 0
    assert (here / "cycles.png").read_bytes()[:4] == b"\x89PNG"
    assert (here / "e.svg").read_text().startswith("<?xml")


def test_plot_refuses_what_it_cannot_draw(command, here):
    result().to_json(here / "r.json")
    assert command("plot", "r.json", "--kind", "pie").err == [
        "plot: unknown kind 'pie'; known: cycles, energy, operations, roofline, timeline, utilization"
    ]
    assert command("plot", "r.json", "-o", "e.gif").err == [
        "e.gif: wants a name that ends in .png, .svg or .pdf"
    ]
    assert command("plot", "none.json").err == [f"none.json: no such file; {REMAKE}"]
    assert not list(here.glob("*.png"))


def test_report_is_a_page(command, here):
    result().to_json(here / "a.json")
    result(accelerator="fast", clock_mhz=500).to_json(here / "b.json")
    assert command("report", "a.json", "b.json", "-o", "p.html").err == ["wrote p.html"]
    assert "toy, fast on two-layers" in (here / "p.html").read_text()


def test_plot_and_report_name_in_json_what_they_wrote(command, here):
    result().to_json(here / "r.json")
    assert command("plot", "r.json", "-o", "p.svg", "--json").json() == {"file": "p.svg"}
    assert command("report", "r.json", "-o", "p.html", "--json").json() == {"file": "p.html"}


def test_plot_names_the_result_that_has_no_energy(command, here):
    result().to_json(here / "r.json")
    replace(result(), energy_unit=None, technology=None).to_json(here / "nt.json")
    done = command("plot", "r.json", "nt.json", "--kind", "energy")
    assert (done.code, done.err) == (2, ["nt.json: has no energy; make it again with --technology"])


# reproduce and bench


@pytest.fixture
def paper(monkeypatch):
    """A paper of three numbers, in place of those there are."""

    class Made:
        @staticmethod
        def items(data, progress, wanted):
            return [
                item("t5.conv1.pes", 154, 154, "PEs"),
                item("t5.conv1.ms", 16.5, 18.0, "ms", tolerance=0.06),
                item("fig2", None if data is None else 3.0, 3.0, "mW"),
            ]

    monkeypatch.setattr(papers, "names", lambda: ["made"])
    # its own importlib alone: others import meanwhile
    monkeypatch.setattr(papers, "importlib", SimpleNamespace(import_module=lambda _name: Made))


def test_reproduce_prints_both_values_and_a_verdict(command, paper):
    made = command("reproduce", "made", "--json").json()
    assert made["paper"] == "made"
    assert made["items"][0] == {
        "id": "t5.conv1.pes", "printed": 154, "simulated": 154, "unit": "PEs", "tolerance": 0.0,
        "verdict": "exact", "why": None,
    }  # fmt: skip
    assert [x["verdict"] for x in made["items"]] == ["exact", "differs", "not readable in the copy"]
    assert "t5.conv1.ms" in command("reproduce").out
    assert [x["paper"] for x in command("reproduce", "--json").json()] == ["made"]


def test_reproduce_takes_an_item_or_a_group_of_them(command, paper):
    def ids(what):
        return [x["id"] for x in command("reproduce", what, "--json").json()["items"]]

    assert ids("made.fig2") == ["fig2"]
    assert ids("made.t5.conv1") == ids("made.t5") == ["t5.conv1.pes", "t5.conv1.ms"]
    done = command("reproduce", "made.fig3")
    assert (done.code, done.err[0].partition(";")[0]) == (2, "reproduce: made has no item 'fig3'")


def test_reproduce_looks_for_data_where_it_is_told(command, paper, here, monkeypatch):
    def printed(*words):
        return command("reproduce", "made.fig2", "--json", *words).json()["items"][0]["printed"]

    assert printed() is None
    assert printed("--data", here) == 3.0
    monkeypatch.setenv("SIMHW_DATA", str(here))
    assert printed() == 3.0
    done = command("reproduce", "made", "--data", "none")
    assert done.err == ["none: no such folder; --data wants the folder where data and weights lie"]


def test_reproduce_is_strict_if_asked(command, paper):
    assert command("reproduce", "made").code == 0
    done = command("reproduce", "made", "--strict")
    assert (done.code, done.err) == (1, ["further off than accepted: t5.conv1.ms"])


def test_reproduce_names_the_papers_there_are(command, paper):
    assert command("reproduce", "mad").err == [
        "reproduce: unknown paper 'mad'; did you mean 'made'? known: made"
    ]


@pytest.mark.long
def test_bench_measures_both_engines_against_dense_blas(command):
    rows = command("bench", "--json").json()
    what = [row["what"] for row in rows]
    assert sum("compiled" in x for x in what) == 4
    assert sum("stepped" in x for x in what) == 1
    assert all(row["macs_per_second"] > 0 for row in rows if "macs" in row)
    assert rows[-1]["events_per_second"] > 1e5
    page = (Path(__file__).parent.parent / "docs/results.md").read_text(encoding="utf-8")
    documented = page.rpartition("`bench --json`")[2]
    assert all(f"| `{field}` |" in documented for row in rows for field in row)
    assert "times dense" in command("bench").out


# The public API


def test_the_public_api_is_what_it_says(tiny):
    assert set(simhw.__all__) <= set(dir(simhw))
    trace = simhw.load_trace(tiny)
    machine = simhw.load_accelerator("eyeriss")
    made = simhw.simulate(machine, trace)
    assert simhw.compare([made]).rows()[0]["cycles"] == made.cycles
    assert simhw.plot(made, kind="cycles").axes
    with pytest.raises(AttributeError, match=r"^module 'simhw' has no attribute 'nope'$"):
        _ = simhw.nope


def test_run_takes_parameters_of_any_kind(command, here):
    assert command("map", "snapea", "lenet_digits", "-o", "m.yaml").code == 0
    given = ("--parameters", "lenet_digits-2", "--parameters", "m.yaml", "--json")
    one = command("run", "snapea", "lenet_digits", *given).json()
    other = command("run", "snapea", "lenet_digits", "--tuning", "lenet_digits-2", "--json").json()
    assert one["totals"] == other["totals"]
    assert one["digests"]["tuning"] == other["digests"]["tuning"]
    twice = command("run", "snapea", "lenet_digits", "--mapping", "m.yaml", "--parameters", "m.yaml")
    assert (twice.code, twice.err) == (2, ["m.yaml: is a second mapping; wants one at most"])
    read = command("run", "snapea", "lenet_digits", "--parameters", "m.yaml", "-o", "m.yaml")
    assert (read.code, read.err[-1]) == (2, f"m.yaml: {READ}")
