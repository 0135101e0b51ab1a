"""The command line: parse, call the library, print. Whatever is heavy is imported where it is used."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from simhw import __version__, shipped
from simhw.errors import ComparisonError, ResultError, SimhwError, did_you_mean

if TYPE_CHECKING:
    from simhw.result import Result

Progress = Callable[[int, int, str], None]

DEFAULT_TRACE = "lenet_digits"
DONE, OUTPUT_DIFFERS, WRONG_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


class Commands(TyperGroup):
    """Says what the user did wrong in a line per fault, and leaves our own bugs their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except SimhwError as error:
            for fault in error.faults:
                print(fault, file=sys.stderr)
            raise typer.Exit(WRONG_INPUT) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # whoever read our output has gone; Python would complain once more when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
                raise
            print(f"{error.filename or 'output'}: {error.strerror}", file=sys.stderr)
            raise typer.Exit(WRONG_INPUT) from None


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The first steps: simhw list; simhw run ACCELERATOR lenet_digits; simhw compare ACCELERATOR...",
)


def _not_empty(param: typer.CallbackParam, value: Any) -> Any:
    if "" in (value, *(value if isinstance(value, list | tuple) else ())):
        name = param.opts[0] if param.param_type_name == "option" else param.metavar
        raise SimhwError(f"{name}: is empty; wants a name or a path")
    return value


Accelerator = Annotated[
    str,
    typer.Argument(
        metavar="ACCELERATOR",
        help="A description: a path, or the name of one that ships.",
        callback=_not_empty,
    ),
]
TraceName = Annotated[
    str,
    typer.Argument(
        metavar="TRACE", help="A trace: a path, or the name of one that ships.", callback=_not_empty
    ),
]
ResultFiles = Annotated[list[Path], typer.Argument(metavar="RESULT...", help="Files that run -o wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as docs/results.md describes it.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a field: components.pes.rows=8. May be repeated."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="A Python file with components, dataflows or transforms of your own."
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layers", metavar="NAMES", help="Only these layers: conv1,conv2. May be repeated."),
]
Mapping = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        help="A mapping, in place of the description's or the mapper's.",
        callback=_not_empty,
    ),
]
Tuning = Annotated[
    str | None,
    typer.Option(
        "--tuning",
        metavar="FILE",
        help="By what filters predict; what simhw tune wrote, or one that ships.",
        callback=_not_empty,
    ),
]
Technology = Annotated[
    str | None,
    typer.Option(
        "--technology",
        metavar="NAME",
        help="Price by this table: a path or a shipped name.",
        callback=_not_empty,
    ),
]
Engine = Annotated[
    str, typer.Option("--engine", metavar="compiled|stepped", help="The fast one, or its plain twin.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Where data and weights lie; else SIMHW_DATA, else what ships.",
        callback=_not_empty,
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        print(f"simhw {__version__}")
        raise typer.Exit(DONE)


@app.callback()
def simhw(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Cycle-level simulation of neural-network accelerators whose work depends on the data."""


@app.command("list")
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="accelerators, workloads, traces, recipes, tunings, components, dataflows, transforms, "
            "technologies or papers; all if none.",
        ),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List what there is to run."""
    from simhw.cli import inventory

    _load_plugins(plugin)
    if what is not None and what not in inventory.SECTIONS:
        raise SimhwError(f"list: unknown section {what!r}{did_you_mean(what, inventory.SECTIONS)}")
    rows = {name: rows_of() for name, rows_of in inventory.SECTIONS.items() if what in (None, name)}
    if as_json:
        _print_json(rows if what is None else rows[what])
        return
    from simhw.reports.table import listing

    for name, section in rows.items():
        if what is None:
            print(f"{name}: {', '.join(row['name'] for row in section) or 'none'}")
        else:
            print(_fitted(listing(section).text()) if section else f"no {name}")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of any kind simhw reads.")],
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Validate files of any kind; name every fault."""
    from simhw.cli import inventory

    _load_plugins(plugin)
    checked = [inventory.check(path) for path in files]
    if as_json:
        _print_json([{"file": x.file, "kind": x.kind, "faults": list(x.faults)} for x in checked])
    else:
        for one in checked:
            if not one.faults:
                print(f"{one.file}: ok, {one.kind}")
    faults = [fault for one in checked for fault in one.faults]
    if faults:
        raise SimhwError(faults)


@app.command()
def trace(
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD", help="A workload: a path, or the name of one that ships.", callback=_not_empty
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The trace to write: .safetensors.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="digits, synthetic[:sparsity=S,negative=P], a file or folder of images, or the folder where "
            "the workload's own data and weights lie; else SIMHW_DATA, else the workload's default.",
            callback=_not_empty,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="A .npz or .safetensors file, or random.",
            callback=_not_empty,
        ),
    ] = None,
    images: Annotated[int, typer.Option("--images", metavar="N", min=1, help="Images in the batch.")] = 1,
    first: Annotated[int, typer.Option("--first", metavar="N", min=0, help="The first image taken.")] = 0,
    split: Annotated[
        str, typer.Option("--split", metavar="test|train", help="Which part of the data.")
    ] = "test",
    format: Annotated[
        str, typer.Option("--format", metavar="fixed16|fixed8|float32", help="How numbers are stored.")
    ] = "fixed16",
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="For drawn weights and synthetic inputs.")
    ] = None,
    fit: Annotated[
        list[str] | None,
        typer.Option(
            "--fit",
            metavar="LAYER=KIND:N_w",
            help="Put a layer's weights on lines: fc1=linear:24, conv*=quadratic:25 or fc3=exact. May be "
            "repeated; of two that name a layer the last counts.",
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option("--bits", metavar="N", help="Of a coefficient that --fit makes; 8 if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a trace: a network run in the reference model.

    With --fit its weights become coefficients, once batch norms are folded into them; layers that are not
    named keep exact weights of as many bits.
    """
    from simhw.cli import inventory
    from simhw.errors import TraceError, TransformError
    from simhw.files import check_outputs
    from simhw.transforms import layer_fits
    from simhw.workload import export, load_workload

    _check_ending(output, (".safetensors",), TraceError)
    if bits is not None and not fit:
        raise TransformError("--bits: has no effect without --fit; name a layer to fit")
    plan = layer_fits.parse(fit, 8 if bits is None else bits) if fit else None
    _data_of_environment()
    network = load_workload(workload)
    check_outputs([output], inventory.read_for_trace(network, weights, data), TraceError)
    with _progress("reference model") as progress:
        made = export(
            network,
            images=images,
            format=format,
            weights=weights,
            data=data,
            first=first,
            split=split,
            seed=seed,
            fit=plan,
            progress=progress,
        )
    made.save(output)
    rows = inventory.layers_of(made)
    if as_json:
        _print_json(
            {"file": str(output), "layers": rows, "digests": made.digests, "provenance": made.provenance}
        )
    else:
        from simhw.reports.table import listing

        print(listing(rows).text())
    _say(f"wrote {output}")
    _say(f"weights: {made.provenance['weights']}; inputs: {made.provenance['inputs']}")


@app.command("map")
def map_(
    accelerator: Accelerator,
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE|WORKLOAD",
            help="What to map: a path, or the name of one that ships.",
            callback=_not_empty,
        ),
    ],
    layers: Layers = None,
    images: Annotated[
        int | None,
        typer.Option("--images", metavar="N", min=1, help="The batch; a trace's own if not given."),
    ] = None,
    settings: Settings = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the mapping there as well.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Print the mapping chosen for each layer.

    The YAML it prints is a file that run --mapping takes.
    """
    from simhw.accelerator import mapping_notes, plan_mapping
    from simhw.cli import inventory
    from simhw.errors import MappingError
    from simhw.files import check_outputs, write_file

    _load_plugins(plugin)
    names = _split(layers)
    reads = [
        *inventory.paths_of("accelerators", accelerator),
        *inventory.paths_of("traces", trace),
        *inventory.paths_of("workloads", trace),
        *(plugin or ()),
    ]
    check_outputs([output], reads, MappingError)
    name, shapes = inventory.shapes_of(trace, images)
    wanted, source = inventory.only(shapes, names), inventory.trace_of(trace)
    planned = plan_mapping(accelerator, wanted, overrides=settings or (), trace=source)
    notes = mapping_notes(accelerator, wanted, overrides=settings or (), trace=source)
    text = inventory.mapping_yaml(accelerator, name, planned, notes)
    if output is not None:
        write_file(output, text, MappingError)
    if as_json:
        _print_json({"accelerator": accelerator, "of": name, "layers": planned, "notes": notes})
    else:
        print(text, end="")
    if output is not None:
        _say(f"wrote {output}")


@app.command()
def run(
    accelerator: Accelerator,
    trace: TraceName,
    layers: Layers = None,
    mapping: Mapping = None,
    tuning: Tuning = None,
    engine: Engine = "compiled",
    closed_loop: Annotated[
        bool, typer.Option("--closed-loop", help="Feed each layer what the machine put out, not the trace.")
    ] = False,
    no_values: Annotated[
        bool, typer.Option("--no-values", help="Only the timing: compute no outputs.")
    ] = False,
    timeline: Annotated[
        Path | None,
        typer.Option(
            "--timeline", metavar="FILE", help="Write who did what when, for Perfetto; -o keeps it."
        ),
    ] = None,
    settings: Settings = None,
    technology: Technology = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write the result: .json, or .csv with a row per layer."
        ),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Simulate an accelerator on a trace."""
    from simhw.accelerator import simulate
    from simhw.cli import inventory
    from simhw.files import check_outputs, write_file
    from simhw.reports.table import result_text
    from simhw.reports.timeline import chrome_trace
    from simhw.trace import Trace

    _load_plugins(plugin)
    names = _split(layers)
    reads = [
        *inventory.paths_of("accelerators", accelerator),
        *inventory.paths_of("traces", trace),
        *inventory.paths_of("accelerators/mappings", mapping),
        *inventory.paths_of("accelerators/tunings", tuning),
        *inventory.paths_of("technology", technology),
        *(plugin or ()),
    ]
    check_outputs([output, timeline], reads, ResultError)
    _check_ending(output, (".json", ".csv"), ResultError)
    with _progress(accelerator) as progress:
        result = simulate(
            accelerator,
            trace,
            layers=names,
            mapping=mapping,
            tuning=tuning,
            engine=engine,
            values=not no_values,
            closed_loop=closed_loop,
            log=timeline is not None,
            overrides=settings or (),
            technology=technology,
            progress=progress,
        )
    if output is not None:
        (result.to_csv if output.suffix == ".csv" else result.to_json)(output)
    if timeline is not None:
        write_file(timeline, chrome_trace(result), ResultError)
    if as_json:
        print(result.to_json(), end="")
    else:
        images = None if result.accuracy is None else Trace.load(trace, verify=False).batch
        print(result_text(result, images))
    for path in filter(None, (output, timeline)):
        _say(f"wrote {path}")
    _raise_if_outputs_differ([result])


@app.command("tune")
def tune_(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe: a path, or the name of one that ships.", callback=_not_empty
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The tuning to write: .yaml; FILE-1.yaml for budget 1 of many.",
        ),
    ],
    data: Data = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a search that was broken off.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Search for nothing: measure again what FILE holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find by what each filter may predict that its sum ends below zero."""
    from simhw.cli import tune as tuning
    from simhw.tuning import measure_again, tune

    _data_folder(data)
    read, files, journal = tuning.read_recipe(recipe, output)
    if measure and resume:
        raise SimhwError("tune: --measure searches for nothing that --resume could go on with; name one")
    try:
        with _progress("tune") as progress:
            if measure:
                tuned = measure_again(read, files, data=data, progress=progress)
            else:
                command = tuning.command_of(recipe, output)
                tuned = tune(
                    read, data=data, files=files, journal=journal, resume=resume, command=command,
                    progress=progress,
                )  # fmt: skip
    except KeyboardInterrupt:
        _say(tuning.interrupted(journal))
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json(tuning.as_data(tuned))
    else:
        print(_fitted(tuning.table(tuned).text()))
    for file in files:
        _say(f"wrote {file}")


@app.command()
def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ACCELERATOR|RESULT...",
            help="Accelerators to simulate, and result files (.json).",
            callback=_not_empty,
        ),
    ],
    trace: Annotated[
        str | None,
        typer.Option(
            "--trace",
            metavar="TRACE",
            help=f"What the accelerators run; {DEFAULT_TRACE} if not given.",
            callback=_not_empty,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where weights or outputs are not the same.")
    ] = False,
    causes: Annotated[
        bool,
        typer.Option("--causes", help="Also say by what each cause multiplies a speedup, by convention."),
    ] = False,
    by_layer: Annotated[bool, typer.Option("--by-layer", help="Also compare layer by layer.")] = False,
    settings: Settings = None,
    tuning: Tuning = None,
    technology: Technology = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the comparison: .json or .csv."),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Put machines side by side in one table.

    Cycles, speedup, hardware, operations, bytes, energy and accuracy, for one network on the same
    inputs; anything else is refused with the reason.
    """
    from simhw.cli.inventory import comparison_csv, paths_of
    from simhw.comparison import compare as compare_results
    from simhw.files import check_outputs, write_file
    from simhw.reports.table import (
        CAUSES_NOTE,
        breakdown_table,
        by_layer_table,
        causes_tables,
        comparison_table,
    )

    _load_plugins(plugin)
    if all(name.endswith(".json") for name in what):
        useless = [
            name for name, given in (("--trace", trace), ("--set", settings), ("--tuning", tuning)) if given
        ]
        if useless:
            raise ComparisonError(
                [f"{name}: has no effect on results; name an accelerator to simulate" for name in useless]
            )
    named = [path for name in what if not name.endswith(".json") for path in paths_of("accelerators", name)]
    reads = [
        *(name for name in what if name.endswith(".json")),
        *named,
        *(paths_of("traces", trace or DEFAULT_TRACE) if named else ()),
        *paths_of("accelerators/tunings", tuning),
        *paths_of("technology", technology),
        *(plugin or ()),
    ]
    check_outputs([output], reads, ComparisonError)
    _check_ending(output, (".json", ".csv"), ComparisonError)
    results = _results_of(what, trace or DEFAULT_TRACE, settings or (), technology, tuning)
    compared = compare_results(results, _labels(what, results))
    text = json.dumps(compared.to_dict(causes, by_layer), indent=1) + "\n"
    if output is not None:
        write_file(output, comparison_csv(compared) if output.suffix == ".csv" else text, ComparisonError)
    if as_json:
        print(text, end="")
    else:
        rest = breakdown_table(compared)
        tables = [comparison_table(compared), *([rest] if rest.rows else [])]
        tables += [by_layer_table(compared)] if by_layer else []
        tables += causes_tables(compared) if causes else []
        notes = [CAUSES_NOTE] if causes and len(results) > 1 else []
        print("\n\n".join([*(table.text() for table in tables), *notes]))
    if output is not None:
        _say(f"wrote {output}")
    if strict and (differences := compared.differences()):
        for difference in differences:
            _say(difference)
        raise typer.Exit(OUTPUT_DIFFERS)
    _raise_if_outputs_differ(results)


@app.command()
def plot(
    results: ResultFiles,
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND", help="energy, cycles, operations, utilization, timeline or roofline."
        ),
    ] = "cycles",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="A .png, .svg or .pdf file; KIND.png if not given."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw results."""
    from simhw.comparison import compare as compare_results
    from simhw.files import check_outputs
    from simhw.reports.plots import KINDS
    from simhw.reports.plots import plot as draw
    from simhw.result import Result

    if kind not in KINDS:
        raise ResultError(f"plot: unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    file = output or Path(f"{kind}.png")
    check_outputs([file], results, ResultError)
    read = [Result.from_json(path) for path in results]
    if kind == "energy":
        bare = [path for path, result in zip(results, read, strict=True) if result.energy_unit is None]
        if bare:
            raise ResultError([f"{path}: has no energy; make it again with --technology" for path in bare])
    draw(compare_results(read, _labels([str(path) for path in results], read)), kind, file)
    if as_json:
        _print_json({"file": str(file)})
    _say(f"wrote {file}")


@app.command()
def report(
    results: ResultFiles,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write: .html.")],
    as_json: AsJson = False,
) -> None:
    """Write one page that shows all of a run."""
    from simhw.files import check_outputs, write_file
    from simhw.reports.page import page
    from simhw.result import Result

    check_outputs([output], results, ResultError)
    _check_ending(output, (".html",), ResultError)
    read = [Result.from_json(path) for path in results]
    with _progress("report") as progress:
        text = page(read, _labels([str(path) for path in results], read), progress)
    write_file(output, text, ResultError)
    if as_json:
        _print_json({"file": str(output)})
    _say(f"wrote {output}")


@app.command()
def reproduce(
    paper: Annotated[
        str | None,
        typer.Argument(
            metavar="PAPER[.ITEM]", help="A paper, or one of its items: PAPER.table5.conv1; all if none."
        ),
    ] = None,
    data: Data = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where a number is further off than its tolerance.")
    ] = False,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="FOLDER", help="Draw the figures asked for there, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a paper's numbers beside the printed ones."""
    from simhw import papers
    from simhw.papers import draw
    from simhw.reports.table import item_notes, item_table

    drawn = [] if plots is None else draw(paper or "", plots)
    with _progress("reproduce") as progress:
        found = papers.reproduce(paper, _data_folder(data), progress)
    if as_json:
        _print_json(found[0] if paper is not None else found)
    else:
        for one in found:
            notes = item_notes(one["items"])
            print("\n\n".join(filter(None, (one["paper"], item_table(one["items"]).text(), notes))))
    for file in drawn:
        _say(f"wrote {file}")
    off = [
        x["id"]
        for one in found
        for x in one["items"]
        if x["verdict"] == "differs" and x["tolerance"] is not None
    ]
    if strict and off:
        _say(f"further off than accepted: {', '.join(off)}")
        raise typer.Exit(OUTPUT_DIFFERS)


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe: a path, or the name of one that ships.", callback=_not_empty
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The coefficients to write: .npz.")
    ],
    data: Data = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", metavar="N", min=1, help="Only the first N images of each set, of fewer held out all."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of a training that did not end.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw loss and accuracy by epoch: .png, .svg or .pdf."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network with its weights on lines.

    Writes coefficients that trace --weights takes; loss and accuracy by epoch lie beside them, as .csv.
    """
    from simhw.cli.train import interrupted, sentence, trained
    from simhw.reports.table import listing
    from simhw.training.recipe import load_recipe

    _data_of_environment()
    read = load_recipe(recipe)
    try:
        with _progress(read.name) as progress:
            found = trained(read, output, data, images, resume, plot, progress)
    except KeyboardInterrupt:
        _say(interrupted(output))
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json(found)
    else:
        print(listing(found["layers"]).text())
        print(sentence(found))
    for path in filter(None, (output, found["log"], plot)):
        _say(f"wrote {path}")


@app.command()
def bench(as_json: AsJson = False) -> None:
    """Measure how fast this computer simulates.

    Simulated MACs a second, beside dense BLAS on the same layers and a bare event loop.
    """
    from simhw import bench as benchmarks
    from simhw.reports.table import listing

    with _progress("bench") as progress:
        rows = benchmarks.bench(DEFAULT_TRACE, progress)
    if as_json:
        _print_json(rows)
    else:
        print(listing(benchmarks.readable(rows)).text())


def _results_of(
    what: Sequence[str],
    trace: str,
    settings: Sequence[str],
    technology: str | None,
    tuning: str | None = None,
) -> list[Result]:
    """Return a result for each name: files read, accelerators simulated, once no name is wrong.

    `tuning` is for those of the accelerators that predict.
    """
    from simhw.accelerator import simulate
    from simhw.cli.inventory import repriced
    from simhw.description import load_accelerator
    from simhw.description.tunings import KIND
    from simhw.result import Result

    faults: list[str] = []
    given: list[Any] = []
    for name in what:
        try:
            given.append(
                Result.from_json(name) if name.endswith(".json") else load_accelerator(name, settings)
            )
        except SimhwError as error:
            faults += error.faults
    predicting = [one for one in given if not isinstance(one, Result) and one.takes(KIND)]
    if tuning is not None and not predicting and not faults:
        able = [name for name in shipped.names("accelerators", ".yaml") if load_accelerator(name).takes(KIND)]
        faults.append(
            f"--tuning: none of {', '.join(what)} predicts; name an accelerator such as {' or '.join(able)}"
        )
    if faults:
        raise SimhwError(faults)
    results = []
    for one in given:
        if isinstance(one, Result):
            results.append(repriced(one, technology) if technology else one)
            continue
        with _progress(one.name) as progress:
            by = tuning if one in predicting else None
            results.append(simulate(one, trace, tuning=by, technology=technology, progress=progress))
    return results


def _labels(what: Sequence[str], results: Sequence[Result]) -> list[str]:
    """Return the accelerators' names; where two have the same, what the user called them."""
    names = [result.accelerator for result in results]
    return names if len(set(names)) == len(names) else [Path(name).stem for name in what]


def _raise_if_outputs_differ(results: Sequence[Result]) -> None:
    for result in results:
        for layer in result.layers:
            if result.exact and layer.output_matches is False:
                most = (layer.output_error or {}).get("max")
                by = f" by up to {most:g}" if most is not None else ""
                _say(f"{result.accelerator}: {layer.name}: its output differs from the reference{by}")
    if any(result.exact and result.outputs_match is False for result in results):
        raise typer.Exit(OUTPUT_DIFFERS)


def _load_plugins(files: list[Path] | None) -> None:
    if files:
        from simhw.description import load_plugins

        load_plugins(files)


def _data_folder(given: str | None) -> Path | None:
    of_environment = _data_of_environment()
    return of_environment if given is None else _folder(given, "--data")


def _data_of_environment() -> Path | None:
    """Return the folder that SIMHW_DATA names; whatever looks for data looks there."""
    named = os.environ.get("SIMHW_DATA")
    return _folder(named, "SIMHW_DATA") if named else None


def _folder(named: str, where: str) -> Path:
    from simhw.errors import DataError

    if not os.path.isdir(named):
        raise DataError(f"{named}: no such folder; {where} wants the folder where data and weights lie")
    return Path(named)


def _split(given: list[str] | None) -> list[str] | None:
    """Return the layers named, None if the option was not given."""
    if not given:
        return None
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    if not names:
        raise SimhwError("--layers: names no layer; wants names such as conv1,conv2")
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise SimhwError([f"--layers: names {name} twice; wants each layer once" for name in twice])
    return names


def _check_ending(output: Path | None, endings: Sequence[str], error: type[SimhwError]) -> None:
    if output is not None and output.suffix not in endings:
        raise error(f"{output}: wants a name that ends in {' or '.join(endings)}")


def _fitted(text: str) -> str:
    """Return text cut to the terminal's width; whole in a pipe."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(x if len(x) <= width else f"{x[: width - 1]}…" for x in text.splitlines())


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _say(line: str) -> None:
    """Say what belongs to no table, where a pipe does not carry it."""
    print(line, file=sys.stderr)


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Progress | None]:
    """Give what long work calls with (done, in all, name); a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, at="")
        yield lambda done, total, name: bar.update(task, completed=done, total=total, at=name)


def main() -> None:
    """Run the command line; exit codes 0 done, 1 outputs differ, 2 wrong input."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without a rule's character still gets its table
    app(prog_name="simhw")
