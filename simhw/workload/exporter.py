"""From a workload to a trace: inputs, weights, number formats, and what the reference model makes of them."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import simhw
from simhw import parameters
from simhw.errors import WorkloadError, did_you_mean
from simhw.reference import datasets
from simhw.reference.elementwise import constants
from simhw.reference.fitted import Fitted, LayerFit
from simhw.reference.fold import fuse
from simhw.reference.graph import Graph, calibrate, quantize_params
from simhw.reference.numbers import quantize, storage_dtype
from simhw.reference.ops import LAYERS, OPS, TRACED, operations
from simhw.shapes import FLOAT32, NumberFormat
from simhw.stream import KIND
from simhw.trace import Trace, image_digests_of
from simhw.workload.network import Workload
from simhw.workload.weights import draw_weights, load_fitted, load_weights

_IMAGES_AT_ONCE = 16
_LARGEST_TENSOR = 1 << 33  # numbers
_LARGEST_IN_MEMORY = 1 << 28  # bytes of outputs

FORMATS = {"fixed16": 16, "fixed8": 8, "float32": 0}  # bits of a stored value

Progress = Callable[[int, int, str], None]
Fit = Callable[[Mapping[str, np.ndarray]], Mapping[str, Fitted]]  # layers' weights -> their coefficients


def export(
    workload: Workload,
    *,
    images: int = 1,
    format: str = "fixed16",
    weights: str | Path | None = None,
    data: str | Path | None = None,
    first: int = 0,
    split: str = "test",
    seed: int | None = None,
    fit: Fit | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Return the trace of `images` inputs through the network.

    `data` is digits, synthetic[:sparsity=S,negative=P], a file or folder of images, or a folder in which the
    workload's own files of data and weights lie; where it is not given, those files are looked for in
    SIMHW_DATA and beside the workload, and failing that the workload's default is taken. `weights` is a
    file, or "random"; where it is not given, the workload's file if it is found, else its seed. A layer
    whose weights the file gives as coefficients has, in a fixed-point trace, the exact integers these make,
    at their own width whatever the `format`, and the coefficients beside them. `fit` makes such
    coefficients of weights that have none, once batch norms are folded into them
    (`simhw.transforms.layer_fits`). `seed`
    replaces the workload's, for drawn weights and synthetic inputs. What was taken is in the trace's
    provenance. `progress` is told (nodes done, nodes in all, name). Outputs beyond 256 MiB lie in an
    unnamed temporary file, not in memory.
    """
    if format not in FORMATS:
        raise WorkloadError(f"format: unknown number format {format!r}{did_you_mean(format, FORMATS)}")
    if seed is not None and seed < 0:
        raise WorkloadError(f"seed: wants a whole number of at least 0, got {seed}")
    if fit is not None and not FORMATS[format]:
        raise WorkloadError(f"fit: a {format} trace has no coefficients; wants fixed16 or fixed8")
    _check_size(workload, images)
    seed = workload.weights.seed if seed is None else seed
    batch = load_inputs(workload, data, images=images, first=first, split=split, seed=seed)
    graph, params, source = load_params(workload, weights, data, seed)
    fitted = load_fitted_params(workload, weights, data)
    if fit is not None and fitted:
        raise WorkloadError(
            f"{source}: holds coefficients already, of {', '.join(fitted)}; fit wants plain weights"
        )
    real = params
    graph, params = fuse(graph, params)
    _check_fitted(workload, fitted, real, params)
    if fit is not None:
        fitted = dict(fit({n.name: params[f"{n.name}.weights"] for n in graph.nodes if n.op in LAYERS}))
        params |= {f"{name}.weights": x.real_weights().astype(np.float32) for name, x in fitted.items()}
    bits = FORMATS[format]
    inputs = batch.pixels
    formats: dict[str, NumberFormat] | None = None
    if bits:
        own = {f"{name}.weights": layer.format for name, layer in fitted.items()}
        formats = calibrate(graph, params, inputs, bits, own)
        params = quantize_params(graph, params, formats)
        for name, layer in fitted.items():
            params[f"{name}.weights"] = layer.weights().astype(storage_dtype(layer.format))
        inputs = quantize(batch.pixels, formats[graph.input])
    tensors = {graph.input: inputs, **_parameters(graph, params, formats)}
    tensors |= _outputs(graph, inputs, params, formats, progress)
    if batch.labels is not None and graph[graph.output].op != KIND:  # a picture names no class
        tensors["labels"] = batch.labels
    if bits:
        for name, layer in fitted.items():
            tensors |= {f"{name}.{part}": array for part, array in layer.to_arrays().items()}
    return Trace(
        name=workload.name,
        format=format,
        graph=graph.to_dict(),
        formats=_formats(graph, formats),
        tensors=tensors,
        aliases=_aliases(graph),
        provenance={
            "workload": workload.name,
            "weights": source if fit is None else f"{source}, {_fit_text(fitted)}",
            "inputs": batch.source,
            "images": [first, first + images],
            "simhw": simhw.__version__,
        },
        image_digests=image_digests_of(batch.pixels),
    )


def load_inputs(
    workload: Workload,
    data: str | Path | None = None,
    *,
    images: int | None = 1,
    first: int = 0,
    split: str = "test",
    seed: int = 0,
) -> datasets.Images:
    """Return a batch as the network wants it, preprocessed, from the source that `export` describes.

    With `images` None it is all there are.
    """
    own = workload.data
    request = datasets.Request(
        shape=workload.input_shape, images=images, first=first, split=split, array=own.array, fit=own.fit
    )
    batch = datasets.load(_data_source(workload, data), request, seed=seed)
    if batch.ready:
        return batch
    pixels = batch.pixels[:, ::-1] if own.order == "bgr" else batch.pixels
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (own.mean, own.std))
    pixels = (pixels / np.float32(own.divide_by) - mean) / std
    return datasets.Images(np.ascontiguousarray(pixels, np.float32), batch.labels, batch.source, ready=True)


def load_params(
    workload: Workload,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    seed: int | None = None,
) -> tuple[Graph, dict[str, np.ndarray], str]:
    """Return the graph (less what the weights have folded), its real parameters, and where they are from."""
    own = workload.weights
    path = _weights_file(workload, weights, data)
    if path is not None:
        graph, params = load_weights(path, workload)
        return graph, params, path.name
    seed = own.seed if seed is None else seed
    params = draw_weights(workload.graph, workload.input_shape, seed)
    return workload.graph, params, f"random, seed {seed}" if params else "none"


def load_fitted_params(
    workload: Workload, weights: str | Path | None = None, data: str | Path | None = None
) -> dict[str, Fitted]:
    """Return the layers, by name, whose weights the file that `load_params` reads gives as coefficients."""
    path = _weights_file(workload, weights, data)
    return {} if path is None else load_fitted(path, workload)


def _weights_file(workload: Workload, weights: str | Path | None, data: str | Path | None) -> Path | None:
    own = workload.weights
    if weights is None and own.file is not None:
        return datasets.find_named(own.file, _folder(data), _beside(workload))
    if weights is not None and str(weights) in parameters.names("coefficients"):
        return parameters.find(weights, "coefficients")
    if weights is not None and str(weights) != "random":
        return datasets.find_data(weights, _folder(data))
    return None


def _check_fitted(
    workload: Workload,
    fitted: Mapping[str, Fitted],
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
) -> None:
    """Refuse a batch norm that would be folded into weights made of coefficients."""
    where = workload.path or workload.name
    faults = [
        f"{where}: {name}: a batch norm after it would change the weights that its coefficients make; "
        "wants it folded before the fit"
        for name in fitted
        if after[f"{name}.weights"] is not before[f"{name}.weights"]
    ]
    if faults:
        raise WorkloadError(faults)


def _fit_text(fitted: Mapping[str, Fitted]) -> str:
    """Return what was fitted how, for the provenance; the trace holds N_w and fractions of each layer."""
    layers: dict[str, list[str]] = {}
    for name, one in fitted.items():
        layers.setdefault(str(LayerFit(one.kind, one.group)), []).append(name)
    bits = max(one.bits for one in fitted.values())
    parts = [
        f"{how} ({', '.join(names) if len(names) <= 4 else f'{len(names)} layers'})"
        for how, names in layers.items()
    ]
    return f"fitted with {bits} bits: {', '.join(parts)}"


def _data_source(workload: Workload, data: str | Path | None) -> str | Path:
    own = workload.data
    if data is not None and datasets.is_made(data):
        return str(data)
    named = None if own.file is None else datasets.find_named(own.file, _folder(data), _beside(workload))
    if data is None:
        return named or own.default
    given = datasets.find_data(data)
    within = named is not None and given.is_dir() and named.is_relative_to(given)
    return named if within and named is not None else given


def _beside(workload: Workload) -> Path | None:
    return workload.path.parent if workload.path else None


def _folder(data: str | Path | None) -> Path | None:
    return Path(data) if data is not None and os.path.isdir(data) else None


def _check_size(workload: Workload, images: int) -> None:
    """Refuse what no machine holds, before it is tried."""
    graph, shape = workload.graph, workload.input_shape
    sizes = {name: math.prod(of) for name, of in graph.param_shapes(shape).items()}
    sizes |= {name: math.prod(of) for name, of in graph.shapes(shape, images).items()}
    check_sizes(workload.path or workload.name, sizes)


def check_sizes(where: str | Path, sizes: Mapping[str, int]) -> None:
    """Raise for the largest tensor, by the numbers each holds, if no machine holds it."""
    name, size = max(sizes.items(), key=lambda item: item[1])
    if size > _LARGEST_TENSOR:
        raise WorkloadError(f"{where}: {name}: would hold {size} numbers; wants at most {_LARGEST_TENSOR}")


def _outputs(
    graph: Graph,
    inputs: np.ndarray,
    params: Mapping[str, np.ndarray],
    formats: Mapping[str, NumberFormat] | None,
    progress: Progress | None,
) -> dict[str, np.ndarray]:
    """Run the network a few images at a time, and return the outputs that a trace keeps."""
    kept = _kept(graph)
    shapes = graph.shapes(inputs.shape[1:], len(inputs))
    outputs = _room({name: shapes[name] for name in kept}, inputs.dtype)
    starts = range(0, len(inputs), _IMAGES_AT_ONCE)
    done = 0
    for start in starts:
        part = slice(start, start + _IMAGES_AT_ONCE)
        for node, output in graph.run(inputs[part], params, formats):
            if node.name in kept:
                outputs[node.name][part] = output
            done += 1
            if progress:
                progress(done, len(starts) * len(graph.nodes), node.name)
    return {f"{name}.expected": array for name, array in outputs.items()}


def _room(shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype) -> dict[str, np.ndarray]:
    """Return uninitialized arrays, in memory or, where they are large, in a temporary file."""
    sizes = {name: math.prod(shape) * dtype.itemsize for name, shape in shapes.items()}
    places: dict[str, int] = {}
    whole = 0
    for name, size in sizes.items():
        places[name] = whole
        whole += -(-size // 64) * 64  # each array begins on a cache line
    if whole > _LARGEST_IN_MEMORY:
        try:
            with tempfile.TemporaryFile() as file:
                os.posix_fallocate(file.fileno(), 0, whole)  # a full disk shows now, not in the middle
                mapped = mmap.mmap(file.fileno(), whole)
        except (OSError, AttributeError):  # no room there, or no way to reserve it: memory, then
            mapped = None
        if mapped is not None:
            return {
                name: np.frombuffer(mapped, dtype, math.prod(shape), places[name]).reshape(shape)
                for name, shape in shapes.items()
            }
    return {name: np.empty(shape, dtype) for name, shape in shapes.items()}


def _kept(graph: Graph) -> set[str]:
    """Return the nodes whose outputs a trace keeps: layers, what layers read, what the network puts out."""
    layers = [node for node in graph.nodes if node.op in TRACED]
    read = {source.removesuffix(".expected") for source in _aliases(graph).values()}
    return ({node.name for node in layers} | read | {graph.output}) - {graph.input}


def _aliases(graph: Graph) -> dict[str, str]:
    """Return the tensor that holds each thing that a layer reads; a stream reads things by its own names."""
    return {
        f"{node.name}.{name}": _source(graph, read)
        for node in graph.nodes
        if node.op in TRACED
        for name, read in zip(node.attrs.get("names", ("inputs",)), node.inputs, strict=True)
    }


def _source(graph: Graph, name: str) -> str:
    """Return the tensor that holds what a layer reads; flattening moves no value."""
    while name != graph.input and graph[name].op == "flatten":
        name = graph[name].inputs[0]
    return name if name == graph.input else f"{name}.expected"


def _parameters(
    graph: Graph, params: Mapping[str, np.ndarray], formats: Mapping[str, NumberFormat] | None
) -> dict[str, np.ndarray]:
    """Return the parameters a trace holds: a layer without a bias has one of zeros, a stream its numbers."""
    held = dict(params)
    for node in graph.nodes:
        if node.op in LAYERS:
            zeros = np.zeros(node.attrs["out_channels"], np.int64 if formats else np.float32)
            held.setdefault(f"{node.name}.bias", zeros)
        elif "constants" in OPS[node.op].parts(node):
            name = f"{node.name}.constants"
            values = constants(operations(node))
            held[name] = quantize(values, formats[name]) if formats else values
    return held


def _formats(graph: Graph, chosen: Mapping[str, NumberFormat] | None) -> dict[str, NumberFormat]:
    """Return the format of each tensor a trace speaks of."""
    formats = dict(chosen or {graph.input: FLOAT32})
    for node in graph.nodes:
        for part in ("expected", *OPS[node.op].parts(node)):
            formats.setdefault(f"{node.name}.{part}", FLOAT32)
        if node.op in LAYERS:
            given = formats[node.inputs[0] if node.inputs[0] == graph.input else f"{node.inputs[0]}.expected"]
            weights = formats.setdefault(f"{node.name}.weights", FLOAT32)
            sums = NumberFormat(bits=64, fraction=given.fraction + weights.fraction) if chosen else FLOAT32
            formats.setdefault(f"{node.name}.bias", sums)
    return formats
