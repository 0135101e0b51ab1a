"""Convolutions for the tests: awkward ends by hand, others drawn, and definitions written a second way."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st

from simhw.shapes import LayerShape


def conv(n, c, h, w, m, r, s, **more) -> LayerShape:
    return LayerShape(
        batch=n, in_channels=c, in_height=h, in_width=w, out_channels=m,
        kernel_height=r, kernel_width=s, **more,
    )  # fmt: skip


AWKWARD = {
    "one_product": conv(1, 1, 1, 1, 1, 1, 1),
    "linear": LayerShape.linear(3, 37, 11),
    "kernel_covers_the_input": conv(2, 3, 4, 5, 2, 4, 5),
    "kernel_covers_input_and_pad": conv(1, 2, 2, 2, 3, 4, 4, pad=(1, 1, 1, 1)),
    "pad_on_one_side_only": conv(2, 2, 5, 6, 3, 3, 3, pad=(0, 1, 2, 0)),
    "pad_wider_than_the_map": conv(1, 1, 2, 1, 2, 3, 3, pad=(4, 3, 2, 5)),
    "stride_beyond_the_kernel": conv(1, 2, 9, 8, 3, 2, 1, stride=(4, 3)),
    "stride_leaves_a_rest": conv(2, 2, 8, 7, 3, 3, 3, stride=(2, 3)),
    "unequal_strides_and_taps": conv(1, 3, 9, 11, 4, 5, 2, stride=(1, 3), pad=(2, 2, 0, 1)),
    "dilated": conv(2, 2, 9, 9, 3, 3, 3, dilation=(2, 3), pad=(2, 1, 3, 3)),
    "dilated_and_strided": conv(1, 2, 11, 12, 3, 3, 2, dilation=(3, 2), stride=(2, 2), pad=(1, 0, 0, 1)),
    "grouped": conv(3, 6, 5, 5, 9, 3, 3, groups=3, pad=(1, 1, 1, 1)),
    "one_by_one": conv(3, 5, 4, 6, 7, 1, 1),
    "one_by_one_padded": conv(2, 3, 3, 3, 4, 1, 1, pad=(1, 0, 2, 1)),
    "one_by_one_strided": conv(2, 3, 5, 5, 4, 1, 1, stride=(2, 2)),
    "one_by_one_grouped": conv(2, 6, 3, 3, 4, 1, 1, groups=2),
    "depthwise": conv(3, 7, 6, 5, 7, 3, 3, groups=7, pad=(1, 1, 1, 1)),
    "depthwise_strided": conv(2, 5, 9, 8, 5, 3, 3, groups=5, stride=(2, 2), pad=(0, 1, 0, 1)),
    "depthwise_dilated": conv(2, 4, 9, 9, 4, 3, 2, groups=4, dilation=(2, 3), pad=(2, 2, 1, 0)),
    "depthwise_without_pad": conv(2, 4, 6, 6, 4, 3, 3, groups=4),
    "depthwise_with_two_filters": conv(2, 4, 6, 6, 8, 3, 3, groups=4, pad=(1, 1, 1, 1)),
    "depthwise_with_many_filters": conv(1, 3, 5, 5, 18, 2, 2, groups=3),
    "alexnet_conv1_small": conv(1, 3, 31, 27, 8, 11, 11, stride=(4, 4)),
}


@st.composite
def convolutions(draw) -> LayerShape:
    """Draw a convolution of at most some thousand products per image."""
    groups = draw(st.sampled_from([1, 1, 2, 3, 5]))
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    dilation = [draw(st.integers(1, 3)) for _ in range(2)]
    pad = [draw(st.integers(0, 3)) for _ in range(4)]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    sizes = [
        draw(st.integers(max(1, reach[i] - pad[2 * i] - pad[2 * i + 1]), reach[i] + 5)) for i in range(2)
    ]
    return LayerShape(
        batch=draw(st.integers(1, 3)),
        in_channels=groups * draw(st.integers(1, 3)),
        in_height=sizes[0],
        in_width=sizes[1],
        out_channels=groups * draw(st.integers(1, 5)),
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        pad=tuple(pad),
        dilation=tuple(dilation),
        groups=groups,
    )


def conv_by_loops(shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """One output after the other in Python's own numbers: integers without end, or float64."""
    x, w = inputs.tolist(), weights.tolist()
    out = np.empty(shape.output_shape, dtype=object if inputs.dtype.kind == "i" else np.float64)
    for n, m, e, f in np.ndindex(*shape.output_shape):
        group = m // shape.group_out_channels
        total = bias[m].item()
        for c, r, s in product(*map(range, shape.weight_shape[1:])):
            y = e * shape.stride[0] - shape.pad[0] + r * shape.dilation[0]
            z = f * shape.stride[1] - shape.pad[2] + s * shape.dilation[1]
            if 0 <= y < shape.in_height and 0 <= z < shape.in_width:
                total += w[m][c][r][s] * x[n][group * shape.group_in_channels + c][y][z]
        out[n, m, e, f] = total
    return out
