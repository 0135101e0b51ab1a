"""Commands that make traces, simulate them, and compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simhw import shipped
from simhw.cli.app import OUTPUT_DIFFERS, app
from simhw.cli.options import (
    DEFAULT_TRACE,
    Accelerator,
    AsJson,
    Engine,
    Layers,
    Mapping,
    Parameters,
    Plugins,
    Settings,
    Technology,
    TraceName,
    Tuning,
    not_empty,
)  # fmt: skip
from simhw.cli.output import (
    check_ending,
    data_of_environment,
    labels_of,
    load_plugins_of,
    print_json,
    progress_of,
    raise_if_outputs_differ,
    say,
    split,
)  # fmt: skip
from simhw.errors import ComparisonError, ResultError, SimhwError

if TYPE_CHECKING:
    from simhw.result import Result


@app.command()
def trace(
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD", help="A workload: a path, or the name of one that ships.", callback=not_empty
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
            callback=not_empty,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="A .npz or .safetensors file, or random.",
            callback=not_empty,
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

    check_ending(output, (".safetensors",), TraceError)
    if bits is not None and not fit:
        raise TransformError("--bits: has no effect without --fit; name a layer to fit")
    plan = layer_fits.parse(fit, 8 if bits is None else bits) if fit else None
    data_of_environment()
    network = load_workload(workload)
    check_outputs([output], inventory.read_for_trace(network, weights, data), TraceError)
    with progress_of("reference model") as progress:
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
        print_json(
            {"file": str(output), "layers": rows, "digests": made.digests, "provenance": made.provenance}
        )
    else:
        from simhw.reports.table import listing

        print(listing(rows).text())
    say(f"wrote {output}")
    say(f"weights: {made.provenance['weights']}; inputs: {made.provenance['inputs']}")


@app.command()
def run(
    accelerator: Accelerator,
    trace: TraceName,
    layers: Layers = None,
    mapping: Mapping = None,
    tuning: Tuning = None,
    parameters: Parameters = None,
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

    load_plugins_of(plugin)
    names = split(layers)
    reads = [
        *inventory.paths_of("accelerators", accelerator),
        *inventory.paths_of("traces", trace),
        *inventory.parameter_paths(mapping, "mapping"),
        *inventory.parameter_paths(tuning, "tuning"),
        *(path for one in parameters or () for path in inventory.parameter_paths(one)),
        *inventory.paths_of("technology", technology),
        *(plugin or ()),
    ]
    check_outputs([output, timeline], reads, ResultError)
    check_ending(output, (".json", ".csv"), ResultError)
    with progress_of(accelerator) as progress:
        result = simulate(
            accelerator,
            trace,
            layers=names,
            mapping=mapping,
            tuning=tuning,
            parameters=parameters or (),
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
        say(f"wrote {path}")
    raise_if_outputs_differ([result])


@app.command()
def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ACCELERATOR|RESULT...",
            help="Accelerators to simulate, and result files (.json).",
            callback=not_empty,
        ),
    ],
    trace: Annotated[
        str | None,
        typer.Option(
            "--trace",
            metavar="TRACE",
            help=f"What the accelerators run; {DEFAULT_TRACE} if not given.",
            callback=not_empty,
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
    from simhw.cli.inventory import comparison_csv, parameter_paths, paths_of
    from simhw.comparison import compare as compare_results
    from simhw.files import check_outputs, write_file
    from simhw.reports.table import (
        CAUSES_NOTE,
        breakdown_table,
        by_layer_table,
        causes_tables,
        comparison_table,
    )

    load_plugins_of(plugin)
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
        *parameter_paths(tuning, "tuning"),
        *paths_of("technology", technology),
        *(plugin or ()),
    ]
    check_outputs([output], reads, ComparisonError)
    check_ending(output, (".json", ".csv"), ComparisonError)
    results = _results_of(what, trace or DEFAULT_TRACE, settings or (), technology, tuning)
    compared = compare_results(results, labels_of(what, results))
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
        say(f"wrote {output}")
    if strict and (differences := compared.differences()):
        for difference in differences:
            say(difference)
        raise typer.Exit(OUTPUT_DIFFERS)
    raise_if_outputs_differ(results)


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
    predicting = [one for one in given if not isinstance(one, Result) and one.takes("tuning")]
    if tuning is not None and not predicting and not faults:
        able = [
            name for name in shipped.names("accelerators", ".yaml") if load_accelerator(name).takes("tuning")
        ]
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
        with progress_of(one.name) as progress:
            by = tuning if one in predicting else None
            results.append(simulate(one, trace, tuning=by, technology=technology, progress=progress))
    return results
