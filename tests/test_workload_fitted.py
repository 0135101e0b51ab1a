"""Weights given as coefficients: from a file through the reference model to a trace, and on machines."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from simhw.accelerator import simulate
from simhw.errors import DescriptionError, TraceError, WorkloadError
from simhw.reference.fixed import conv_plain
from simhw.reference.numbers import requantize, storage_dtype
from simhw.trace import Trace
from simhw.transforms import fit_groups
from simhw.workload import export, load_fitted_params, load_params, load_workload
from simhw.workload.weights import draw_weights

WORKLOAD = """\
name: little
input: {channels: 2, height: 9, width: 9}
data: {default: "synthetic:sparsity=0.3,negative=0.2"}
layers:
  - {name: conv, type: conv, out_channels: 4, kernel: 3, pad: 1, activation: relu}
  - {name: sigmoid, type: sigmoid}
  - {name: flatten, type: flatten}
  - {name: fc, type: linear, out_features: 5}
"""
FITS = {"conv": ("linear", 3), "fc": ("quadratic", 40)}


@pytest.fixture
def workload(tmp_path):
    (tmp_path / "little.yaml").write_text(WORKLOAD)
    return load_workload(tmp_path / "little.yaml")


def fitted_of(workload, bits=8, fits=FITS):
    params = draw_weights(workload.graph, workload.input_shape, 1)
    return {
        name: fit_groups.apply(params[f"{name}.weights"], kind, group, bits)
        for name, (kind, group) in fits.items()
    }


def arrays_of(workload, bits=8):
    params = draw_weights(workload.graph, workload.input_shape, 1)
    arrays = {
        f"{name}.{part}": array
        for name, fitted in fitted_of(workload, bits).items()
        for part, array in fitted.to_arrays().items()
    }
    return arrays | {name: array for name, array in params.items() if name.endswith(".bias")}


@pytest.fixture
def written(workload, tmp_path):
    """Write arrays, some of them put in place of the good ones, and return the file."""

    def write(bits=8, without=(), **instead):
        arrays = arrays_of(workload, bits) | {name.replace("__", "."): a for name, a in instead.items()}
        path = tmp_path / "coefficients.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if name not in without})
        return path

    return write


@pytest.mark.parametrize("format", ["fixed16", "fixed8"])
@pytest.mark.parametrize("bits", [6, 8, 16])
def test_a_trace_computes_with_the_exact_integers_that_coefficients_make(
    workload, written, tmp_path, format, bits
):
    made = export(workload, images=3, weights=written(bits), format=format)
    trace = Trace.load(made.save(tmp_path / "t.safetensors"))
    for layer in trace.layers:
        fitted = fitted_of(workload, bits)[layer.name]
        assert layer.formats["weights"] == fitted.format
        assert layer.weights.dtype == storage_dtype(fitted.format)
        np.testing.assert_array_equal(layer.weights, fitted.weights())
        back = fit_groups.Fitted.from_arrays(
            {"coefficients": layer.coefficients, "fit": layer.fit}, layer.shape.weight_shape, where=layer.name
        )
        np.testing.assert_array_equal(back.weights(), layer.weights)
        sums = conv_plain(layer.shape, layer.inputs, fitted.weights(), layer.bias)
        out = requantize(sums, layer.shift, layer.formats["expected"], layer.activation)
        np.testing.assert_array_equal(out, layer.expected)
    assert {layer.formats["weights"].bits for layer in trace.layers} == {
        fitted.format.bits for fitted in fitted_of(workload, bits).values()
    }


def test_wide_coefficients_make_weights_of_32_bits(workload, written):
    made = export(workload, weights=written(16))
    assert made.layer("fc").weights.dtype == np.int32
    assert made.layer("fc").formats["weights"].bits == 32


def test_a_float32_trace_has_the_weights_and_no_coefficients(workload, written):
    made = export(workload, weights=written(), format="float32")
    for layer in made.layers:
        assert layer.coefficients is None
        assert layer.fit is None
        np.testing.assert_allclose(layer.weights, fitted_of(workload)[layer.name].real_weights(), rtol=1e-6)


def test_weights_of_a_plain_file_have_no_coefficients(workload):
    made = export(workload)
    assert {(layer.coefficients, layer.fit) for layer in made.layers} == {(None, None)}


def test_coefficients_tell_traces_apart_and_networks_not(workload, written):
    exact, fitted, six = export(workload), export(workload, weights=written()), None
    six = export(workload, weights=written(6))
    assert len({one.digests["weights"] for one in (exact, fitted, six)}) == 3
    assert len({one.digests["network"] for one in (exact, fitted, six)}) == 1
    assert len({one.digests["inputs"] for one in (exact, fitted, six)}) == 1


def test_a_head_of_a_trace_keeps_all_coefficients(workload, written):
    made = export(workload, images=3, weights=written())
    layer = made.head(1).layer("conv")
    np.testing.assert_array_equal(layer.coefficients, made.layer("conv").coefficients)


def test_coefficients_may_lie_in_safetensors(workload, tmp_path):
    path = tmp_path / "c.safetensors"
    save_file(arrays_of(workload), path)
    found = load_fitted_params(workload, path)
    for name, fitted in fitted_of(workload).items():
        np.testing.assert_array_equal(found[name].weights(), fitted.weights())


def test_real_parameters_are_those_the_coefficients_stand_for(workload, written):
    _, params, source = load_params(workload, written())
    assert source == "coefficients.npz"
    for name, fitted in fitted_of(workload).items():
        np.testing.assert_array_equal(params[f"{name}.weights"], fitted.real_weights().astype(np.float32))


@pytest.mark.parametrize("machine", ["eyeriss", "snapea"])
def test_a_machine_that_knows_nothing_of_coefficients_computes_the_same(workload, written, machine):
    trace = export(workload, images=2, weights=written(6), format="fixed16")
    assert max(layer.formats["weights"].bits for layer in trace.layers) <= 16
    assert simulate(machine, trace).outputs_match


def test_a_machine_of_narrower_words_refuses_wider_weights(workload, written):
    trace = export(workload, weights=written(16))
    with pytest.raises(DescriptionError) as caught:
        simulate("eyeriss", trace)
    assert caught.value.faults == (
        "components.pes.word_bits: the trace holds 32-bit values (conv.weights), the words have 16; wants a "
        "trace of the exact network's weights, or --set components.pes.word_bits=32 "
        "--set components.glb.word_bits=32 --set components.noc.word_bits=32 "
        "--set components.relu.word_bits=32 --set components.codec.word_bits=32 "
        "--set options.compression=none",
    )


def test_lanes_of_16_bits_refuse_wider_weights(workload, written):
    with pytest.raises(DescriptionError) as caught:
        simulate("snapea", export(workload, weights=written(16)))
    assert str(caught.value) == (
        "conv: weights of 32 bits, lanes multiply words of 16; wants a trace of the exact network's weights"
    )


def test_with_wider_words_it_multiplies_the_wide_weights(workload, written):
    """As the refusal says, on either engine: weights beyond 16 bits are not cut short."""
    trace = export(workload, images=2, weights=written(16))
    assert max(np.abs(np.asarray(layer.weights)).max() for layer in trace.layers) >= 1 << 15
    settings = {
        **{f"components.{role}.word_bits": 32 for role in ("pes", "glb", "noc", "relu", "codec")},
        "options.compression": "none",
    }
    for engine in ("compiled", "stepped"):
        assert simulate("eyeriss", trace, engine=engine, overrides=settings).outputs_match


# what is refused


@pytest.mark.parametrize("load", [load_params, export], ids=["load_params", "export"])
@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"without": ("conv.fit",)}, ["layers.conv.fit: is missing; wants an array of numbers"]),
        ({"without": ("fc.coefficients",)},
         ["layers.fc.coefficients: is missing; wants an array of numbers"]),
        ({"conv__weight": np.zeros((4, 2, 3, 3))},
         ["conv.weight: stands beside its coefficients; wants the one or the other"]),
        ({"conv__fit": np.array([4, 8, 7, 9], np.int32), "fc__fit": np.array([1, 8, 1, 1, 1], np.int32)},
         ["layers.conv.fit: N_w: is 4; a 3x3 kernel wants 3, a row, or 9, the whole kernel",
          "layers.fc.fit: N_w: is 1; a quadratic fit wants at least 3 weights a group"]),
        ({"conv__coefficients": np.zeros((4, 5, 2), np.int8)},
         ["layers.conv.coefficients: has shape [4, 5, 2]; wants [4, 6, 2]"]),
    ],
)  # fmt: skip
def test_a_file_of_wrong_coefficients_is_refused_with_every_fault(workload, written, load, change, faults):
    path = written(**change)
    with pytest.raises(WorkloadError) as caught:
        load(workload, weights=path)
    assert caught.value.faults == tuple(f"{path}: {fault}" for fault in faults)


def test_a_batch_norm_is_not_folded_into_coefficients(tmp_path):
    text = WORKLOAD.replace(", activation: relu", "").replace(
        "sigmoid, type: sigmoid", "norm, type: batchnorm"
    )
    (tmp_path / "normed.yaml").write_text(text)
    normed = load_workload(tmp_path / "normed.yaml")
    params = draw_weights(normed.graph, normed.input_shape, 1)
    arrays = {name.replace(".weights", ".weight"): array for name, array in params.items()}
    arrays["fc.weight"] = arrays["fc.weight"][:, :, 0, 0]
    fitted = fit_groups.apply(arrays.pop("conv.weight"), "linear", 3)
    arrays |= {f"conv.{part}": array for part, array in fitted.to_arrays().items()}
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(WorkloadError) as caught:
        export(normed, weights=tmp_path / "c.npz")
    assert caught.value.faults == (
        f"{tmp_path / 'normed.yaml'}: conv: a batch norm after it would change the weights that its "
        "coefficients make; wants it folded before the fit",
    )


@pytest.mark.parametrize(("kept", "lost"), [("fit", "coefficients"), ("coefficients", "fit")])
def test_a_trace_with_half_of_a_fit_is_refused(workload, written, kept, lost):
    made = export(workload, weights=written())
    tensors = {name: made.tensor(name) for name in made.tensor_names if name != f"conv.{lost}"}
    with pytest.raises(TraceError) as caught:
        Trace(
            name="t", format="fixed16", graph=made.graph, formats=made.formats, tensors=tensors,
            aliases=made.aliases,
        )  # fmt: skip
    assert caught.value.faults == (
        f"t: conv.{lost}: is missing; copy it again, or remake it with `simhw trace`",
    )
