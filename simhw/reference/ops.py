"""What a node of a graph can do: its attributes, the shape it makes, and its two computations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from simhw import stream
from simhw.reference import elementwise, fixed, layers
from simhw.reference.layers import Pool
from simhw.reference.numbers import quantize
from simhw.shapes import FLOAT32, LayerShape, NumberFormat
from simhw.stream import StreamShape

Shape = tuple[int, int, int, int]  # images, channels, height, width
LAYERS = ("conv", "linear")
TRACED = (*LAYERS, stream.KIND)  # what a trace has as a layer


@dataclass(frozen=True)
class Node:
    """One operation: `op` applied to the tensors named `inputs`; its output bears the node's name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """All that one computation of a node needs; the formats are FLOAT32 in float32."""

    node: Node
    inputs: Sequence[np.ndarray]
    params: Mapping[str, np.ndarray]
    formats: Sequence[NumberFormat] = ()  # of the inputs
    weights_format: NumberFormat = FLOAT32
    out_format: NumberFormat = FLOAT32
    parts: Mapping[str, NumberFormat] = field(default_factory=dict)  # of what the op makes inside

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.node.attrs


@dataclass(frozen=True)
class Attr:
    """An attribute: how it is read (ValueError or TypeError where it cannot), what it wants, its default."""

    read: Callable[[Any], Any]
    wants: str
    default: Any = None
    required: bool = False


def _no_params(node: Node, shape: Shape) -> dict[str, tuple[int, ...]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Op:
    """An operation. `shape` raises ValueError, in words for the user, where the inputs do not suit."""

    shape: Callable[[Node, Sequence[Shape]], Shape]
    real: Callable[[Call], np.ndarray]
    whole: Callable[[Call], np.ndarray]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    many: int = 0  # reads at least so many tensors; of most ops 0: reads one
    keeps_format: bool = False  # in fixed point its output has its input's format
    params: Callable[[Node, Shape], dict[str, tuple[int, ...]]] = _no_params
    check: Callable[[Node], tuple[Node, Sequence[str]]] = lambda node: (node, ())  # attributes together
    parts: Callable[[Node], Sequence[str]] = lambda node: ()  # what else has a number format


def _count(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or int(value) != value or value < least:
        raise ValueError
    return int(value)


def _counts(value: Any, length: int, least: int) -> tuple[int, ...]:
    if isinstance(value, int):
        value = (value,) * length
    if isinstance(value, str) or len(value) != length:
        raise ValueError
    return tuple(_count(v, least) for v in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool | str) or not math.isfinite(value) or value < 0:
        raise ValueError
    return float(value)


def _odd(value: Any) -> int:
    if _count(value) % 2 == 0:
        raise ValueError
    return int(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError
    return tuple(value)


def _activation(value: Any) -> str | None:
    if value not in (None, "relu", "relu6"):
        raise ValueError
    return value


def _pair(default: tuple[int, int] | None = None) -> Attr:
    wants = "a whole number of at least 1 or two (height, width)"
    return Attr(lambda v: _counts(v, 2, 1), wants, default, required=default is None)


_OUT = Attr(_count, "a whole number of at least 1", required=True)
_COUNT = Attr(_count, "a whole number of at least 1", 1)
_PAD = Attr(
    lambda v: _counts(v, 4, 0),
    "a whole number of at least 0 or four (top, bottom, left, right)",
    (0, 0, 0, 0),
)
_CHANNELS = Attr(lambda v: _counts(v, 2, 0), "two whole numbers of at least 0 (before, after)", (0, 0))
_ACTIVATION = Attr(_activation, "'relu', 'relu6' or null")
_WANTS_NUMBER = "a number of at least 0"
_WANTS_FLAG = "true or false"


def layer_shape(node: Node, shape: Shape) -> LayerShape:
    """Return the LayerShape of a conv or linear node that reads a tensor of this shape."""
    n, c, h, w = shape
    attrs = node.attrs
    if node.op == "linear":
        if (h, w) != (1, 1):
            raise ValueError(f"reads maps of {h}x{w}, and linear wants 1x1; put a flatten before it")
        return LayerShape.linear(n, c, attrs["out_channels"])
    groups, out = attrs["groups"], attrs["out_channels"]
    if c % groups or out % groups:
        raise ValueError(
            f"groups: {groups} does not divide both {c} input and {out} output channels; wants a divisor"
        )
    (kernel_height, kernel_width), pad, dilation = attrs["kernel"], attrs["pad"], attrs["dilation"]
    reach = (dilation[0] * (kernel_height - 1) + 1, dilation[1] * (kernel_width - 1) + 1)
    _check_fits(reach, (h + pad[0] + pad[1], w + pad[2] + pad[3]))
    return LayerShape(
        batch=n, in_channels=c, in_height=h, in_width=w, out_channels=out,
        kernel_height=kernel_height, kernel_width=kernel_width,
        stride=attrs["stride"], pad=pad, dilation=dilation, groups=groups,
    )  # fmt: skip


def _check_fits(reach: tuple[int, int], size: tuple[int, int]) -> None:
    if reach[0] > size[0] or reach[1] > size[1]:
        raise ValueError(
            f"kernel: covers {reach[0]}x{reach[1]} of a padded input of {size[0]}x{size[1]}; "
            "wants a smaller kernel or more pad"
        )


def _layer_params(node: Node, shape: Shape) -> dict[str, tuple[int, ...]]:
    layer = layer_shape(node, shape)
    bias = {"bias": (layer.out_channels,)} if node.attrs["bias"] else {}
    return {"weights": layer.weight_shape, **bias}


def _layer_real(call: Call) -> np.ndarray:
    shape = layer_shape(call.node, call.inputs[0].shape)
    return layers.layer(
        shape, call.inputs[0], call.params["weights"], call.params.get("bias"), call.attrs["activation"]
    )


def _layer_whole(call: Call) -> np.ndarray:
    shape = layer_shape(call.node, call.inputs[0].shape)
    shift = call.formats[0].fraction + call.weights_format.fraction - call.out_format.fraction
    weights, bias = call.params["weights"], call.params.get("bias")
    return fixed.layer(shape, call.inputs[0], weights, bias, shift, call.out_format, call.attrs["activation"])


def _pool(node: Node) -> Pool:
    return Pool(**node.attrs)


def _pool_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    n, c, h, w = shapes[0]
    pool = _pool(node)
    top, bottom, left, right = pool.pad
    if max(top, bottom) >= pool.kernel[0] or max(left, right) >= pool.kernel[1]:
        raise ValueError("pad: a window would lie on padding alone; wants pad below kernel")
    if min(pool.out_size(h, w)) < 1:
        _check_fits(pool.kernel, (h + top + bottom, w + left + right))
    return (n, c, *pool.out_size(h, w))


def _batchnorm(call: Call, values: np.ndarray) -> np.ndarray:
    terms = (call.params[term] for term in ("gamma", "beta", "mean", "var"))
    out = layers.batchnorm(values, *terms, eps=call.attrs["eps"])
    return layers.activate(out, call.attrs["activation"])


def _real_op(
    function: Callable[[Call, np.ndarray], np.ndarray],
    attrs: Mapping[str, Attr] | None = None,
    params: Callable[[Node, Shape], dict[str, tuple[int, ...]]] = _no_params,
) -> Op:
    """Return an op that keeps shapes and whose fixed point goes through float64."""

    def whole(call: Call) -> np.ndarray:
        def compute(values: np.ndarray) -> np.ndarray:
            return function(call, values)

        return fixed.through_real(compute, call.inputs[0], call.formats[0], call.out_format)

    return Op(
        attrs=attrs or {},
        params=params,
        shape=_same_shape,
        real=lambda call: function(call, call.inputs[0]),
        whole=whole,
    )


def _same_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    return shapes[0]


def stream_shape(node: Node, shapes: Sequence[Shape]) -> StreamShape:
    """Return the StreamShape of an elementwise node that reads tensors of these shapes."""
    if len(set(shapes)) > 1:
        raise ValueError(f"reads tensors of {_words(shapes)}; wants equal shapes")
    n, c, h, w = shapes[0]
    return StreamShape(batch=n, channels=c, height=h, width=w, operations=operations(node))


def operations(node: Node) -> tuple[stream.Operation, ...]:
    """Return the operations of an elementwise node."""
    return stream.read(node.attrs["operations"], node.attrs["names"])[0]


def _stream_check(node: Node) -> tuple[Node, Sequence[str]]:
    """Hold the operations against what the node reads; it keeps the names under which they know that."""
    names = node.attrs["names"] or node.inputs
    if len(names) != len(node.inputs) or len(set(names)) < len(names):
        return node, [f"names: wants {len(node.inputs)}, each once, got {', '.join(names)}"]
    found, faults = stream.read(node.attrs["operations"], names)
    attrs = {**node.attrs, "names": names, "operations": tuple(map(str, found))}
    return (node if faults else replace(node, attrs=attrs)), faults


def _stream_parts(node: Node) -> Sequence[str]:
    made = operations(node)
    return (*stream.made(made), *(("constants",) if stream.numbers(made) else ()))


def _stream_real(call: Call) -> np.ndarray:
    arrays = dict(zip(call.attrs["names"], call.inputs, strict=True))
    return elementwise.run(operations(call.node), arrays, elementwise.in_float32)


def _stream_whole(call: Call) -> np.ndarray:
    found, names = operations(call.node), call.attrs["names"]
    numbers = elementwise.constants(found)
    formats = {**call.parts, **dict(zip(names, call.formats, strict=True)), found[-1].makes: call.out_format}
    if numbers.size:
        numbers = quantize(numbers, formats["constants"])
        formats |= dict.fromkeys(stream.numbers(found), formats["constants"])
    arrays = dict(zip(names, call.inputs, strict=True))
    return elementwise.run(found, arrays, elementwise.in_fixed_point(formats), numbers)


def part_formats(node: Node, formats: Mapping[str, NumberFormat]) -> dict[str, NumberFormat]:
    """Return the formats of what a node makes inside, out of those by tensor name."""
    return {part: formats[f"{node.name}.{part}"] for part in OPS[node.op].parts(node)}


def _add_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    if len(set(shapes)) > 1:
        raise ValueError(f"adds tensors of {_words(shapes)}; wants equal shapes")
    return shapes[0]


def _concat_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    n, _, h, w = shapes[0]
    if len({shape[2:] for shape in shapes}) > 1:
        raise ValueError(f"joins tensors of {_words(shapes)}; wants equal heights and widths")
    return (n, sum(shape[1] for shape in shapes), h, w)


def _words(shapes: Sequence[Shape]) -> str:
    return " and ".join("x".join(map(str, shape[1:])) for shape in shapes)


def _subsample_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    n, c, h, w = shapes[0]
    down, across = node.attrs["stride"]
    before, after = node.attrs["channels"]
    return (n, before + c + after, -(-h // down), -(-w // across))


def _subsample(call: Call) -> np.ndarray:
    return layers.subsample_pad(call.inputs[0], call.attrs["stride"], call.attrs["channels"])


def _activation_op(name: str) -> Op:
    return Op(
        shape=_same_shape,
        real=lambda call: layers.activate(call.inputs[0].copy(), name),
        whole=lambda call: fixed.activate(call.inputs[0], call.formats[0], name),
        keeps_format=True,
    )


def _layer_op(attrs: Mapping[str, Attr]) -> Op:
    flag = Attr(_flag, _WANTS_FLAG, True)
    return Op(
        attrs={"out_channels": _OUT, **attrs, "activation": _ACTIVATION, "bias": flag},
        shape=lambda node, shapes: layer_shape(node, shapes[0]).output_shape,
        params=_layer_params,
        real=_layer_real,
        whole=_layer_whole,
    )


def _batchnorm_params(node: Node, shape: Shape) -> dict[str, tuple[int, ...]]:
    return {term: (shape[1],) for term in ("gamma", "beta", "mean", "var")}


def _maxpool(call: Call) -> np.ndarray:
    return layers.maxpool(_pool(call.node), call.inputs[0])


_POOL_ATTRS = {
    "kernel": _pair(),
    "stride": _pair(),
    "pad": _PAD,
    "ceil_mode": Attr(_flag, _WANTS_FLAG, False),
}
_CONV_ATTRS = {
    "kernel": _pair(),
    "stride": _pair((1, 1)),
    "pad": _PAD,
    "dilation": _pair((1, 1)),
    "groups": _COUNT,
}
_LRN_ATTRS = {
    "size": Attr(_odd, "an odd whole number of at least 1", required=True),
    "alpha": Attr(_number, _WANTS_NUMBER, required=True),
    "beta": Attr(_number, _WANTS_NUMBER, required=True),
    "k": Attr(_number, _WANTS_NUMBER, 1.0),
}

OPS: Mapping[str, Op] = MappingProxyType(
    {
        "conv": _layer_op(_CONV_ATTRS),
        "linear": _layer_op({}),
        "relu": _activation_op("relu"),
        "relu6": _activation_op("relu6"),
        "sigmoid": _real_op(lambda call, values: layers.sigmoid(values)),
        "softmax": _real_op(lambda call, values: layers.softmax(values)),
        "maxpool": Op(attrs=_POOL_ATTRS, shape=_pool_shape, real=_maxpool, whole=_maxpool, keeps_format=True),
        "avgpool": Op(
            attrs={**_POOL_ATTRS, "count_include_pad": Attr(_flag, _WANTS_FLAG, True)},
            shape=_pool_shape,
            real=lambda call: layers.avgpool(_pool(call.node), call.inputs[0]),
            whole=lambda call: fixed.avgpool(_pool(call.node), call.inputs[0], call.formats[0]),
            keeps_format=True,
        ),
        "globalavgpool": Op(
            shape=lambda node, shapes: (*shapes[0][:2], 1, 1),
            real=lambda call: layers.globalavgpool(call.inputs[0]),
            whole=lambda call: fixed.globalavgpool(call.inputs[0], call.formats[0]),
            keeps_format=True,
        ),
        "batchnorm": _real_op(
            _batchnorm,
            {"eps": Attr(_number, _WANTS_NUMBER, 1e-5), "activation": _ACTIVATION},
            _batchnorm_params,
        ),
        "lrn": _real_op(lambda call, values: layers.lrn(values, **call.attrs), _LRN_ATTRS),
        "add": Op(
            attrs={"activation": _ACTIVATION},
            many=2,
            shape=_add_shape,
            real=lambda call: layers.add(call.inputs, call.attrs["activation"]),
            whole=lambda call: fixed.add(
                call.inputs, call.formats, call.out_format, call.attrs["activation"]
            ),
        ),
        "concat": Op(
            many=2,
            shape=_concat_shape,
            real=lambda call: layers.concat(call.inputs),
            whole=lambda call: fixed.concat(call.inputs, call.formats, call.out_format),
        ),
        stream.KIND: Op(
            attrs={
                "operations": Attr(_texts, "a list of operations such as total = add(a, b)", required=True),
                "names": Attr(_texts, "a list of names"),
            },
            many=1,
            shape=lambda node, shapes: stream_shape(node, shapes).output_shape,
            check=_stream_check,
            parts=_stream_parts,
            real=_stream_real,
            whole=_stream_whole,
        ),
        "flatten": Op(
            shape=lambda node, shapes: (shapes[0][0], math.prod(shapes[0][1:]), 1, 1),
            real=lambda call: layers.flatten(call.inputs[0]),
            whole=lambda call: layers.flatten(call.inputs[0]),
            keeps_format=True,
        ),
        "subsample_pad": Op(
            attrs={"stride": _pair(), "channels": _CHANNELS},
            shape=_subsample_shape,
            real=_subsample,
            whole=_subsample,
            keeps_format=True,
        ),
    }
)
