"""The sums of products of a convolution, tile by tile: columns (im2col) times filters in one BLAS call.

What a sum then becomes (bias, activation, rounding) is the caller's `finish`. Memory stays near one tile,
whatever the layer: large maps are cut by rows, large batches by images, large filter sets by filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from simhw.shapes import LayerShape

Finish = Callable[[np.ndarray, tuple[slice, slice]], None]

_COLUMN_ELEMENTS = 1 << 21  # of one tile of columns; 8 MB in float32
_WIDE_ENOUGH = 1 << 10  # columns beyond which a matrix product gains nothing from more images
_FILTER_ELEMENTS = 1 << 22  # of the filters converted at once; 32 MB in float64
_TAP_ELEMENTS = 1 << 16  # outputs of one depthwise tile; its sums and products stay in the cache


def convolve(
    shape: LayerShape,
    inputs: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
    dtype: type[np.floating],
    finish: Finish,
) -> np.ndarray:
    """Fill `out` [N, M, E, F] with the sums of products in `dtype`, each tile passed through `finish`.

    `finish(sums, (groups, filters))` works in place on sums [groups, filters per group, outputs];
    what it leaves must fit the dtype of `out`.
    """
    by_taps = shape.groups > 1 and shape.group_in_channels == 1 and shape.group_out_channels <= 4
    tiles = _tap_tiles if by_taps else _column_tiles
    grouped = out.reshape(shape.batch, shape.groups, shape.group_out_channels, *out.shape[2:])
    for (images, groups, filters, rows), sums in tiles(shape, inputs, weights, dtype):
        finish(sums, (groups, filters))
        target = grouped[images, groups, filters, rows]
        n, g, m, e, f = target.shape
        np.copyto(target, sums.reshape(g, m, n, e, f).transpose(2, 0, 1, 3, 4), casting="unsafe")
    return out


def padded(
    shape: LayerShape, inputs: np.ndarray, images: slice, channels: slice, dtype: type[np.generic]
) -> np.ndarray:
    """Return some images and channels as [C, N, H, W] in `dtype` with the zeros around them."""
    chosen = inputs[images, channels].transpose(1, 0, 2, 3)
    top, bottom, left, right = shape.pad
    if not any(shape.pad):
        return chosen.astype(dtype, copy=False)
    c, n, h, w = chosen.shape
    out = np.zeros((c, n, top + h + bottom, left + w + right), dtype=dtype)
    out[:, :, top : top + h, left : left + w] = chosen
    return out


def tap(shape: LayerShape, r: int, s: int, rows: slice = slice(None)) -> tuple[slice, slice]:
    """Return where in the padded map the inputs lie that meet filter element (r, s) in these output rows."""
    first, last, _ = rows.indices(shape.out_height)
    (down, across), (apart_down, apart_across) = shape.stride, shape.dilation
    y, x = r * apart_down + first * down, s * apart_across
    return (
        slice(y, y + (last - first - 1) * down + 1, down),
        slice(x, x + (shape.out_width - 1) * across + 1, across),
    )


def blocks(length: int, step: int) -> list[slice]:
    """Cut range(length) into slices of at most `step`."""
    step = max(1, step)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


Tile = tuple[tuple[slice, slice, slice, slice], np.ndarray]


def _column_tiles(
    shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, dtype: type[np.floating]
) -> Iterator[Tile]:
    outputs = shape.out_height * shape.out_width
    depth = shape.groups * shape.window
    per_tile = max(1, _COLUMN_ELEMENTS // depth)
    images_step = max(1, min(per_tile, _WIDE_ENOUGH) // outputs)
    rows_step = max(1, per_tile // shape.out_width)
    filters_step = max(1, _FILTER_ELEMENTS // depth)
    by_group = weights.reshape(shape.groups, shape.group_out_channels, shape.window)
    groups = slice(0, shape.groups)
    for filters in blocks(shape.group_out_channels, filters_step):
        matrix = by_group[:, filters].astype(dtype, copy=False)
        for images in blocks(shape.batch, images_step):
            maps = padded(shape, inputs, images, slice(None), dtype)
            for rows in blocks(shape.out_height, rows_step):
                columns = _columns(shape, maps, rows)
                yield (images, groups, filters, rows), np.matmul(matrix, columns)


def _columns(shape: LayerShape, maps: np.ndarray, rows: slice) -> np.ndarray:
    """Return the windows of these output rows as columns [G, C/G * R * S, N * E * F]."""
    channels, images = maps.shape[:2]
    if shape.kernel_height == shape.kernel_width == 1 and shape.stride == (1, 1):
        # a view wherever one exists: one image, or maps of one element
        return maps[:, :, rows].reshape(shape.groups, shape.group_in_channels, -1)
    height = rows.stop - rows.start
    taps = (shape.kernel_height, shape.kernel_width)
    columns = np.empty((channels, *taps, images, height, shape.out_width), dtype=maps.dtype)
    for r, s in product(*map(range, taps)):
        down, across = tap(shape, r, s, rows)
        columns[:, r, s] = maps[:, :, down, across]
    return columns.reshape(shape.groups, shape.window, -1)


def _tap_tiles(
    shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, dtype: type[np.floating]
) -> Iterator[Tile]:
    """Depthwise: one channel per group, so a product of matrices has nothing to share; add tap by tap."""
    multiplier = shape.group_out_channels
    per_group = multiplier * shape.out_height * shape.out_width
    groups_step = max(1, min(shape.groups, _TAP_ELEMENTS // per_group))
    images_step = max(1, _TAP_ELEMENTS // (groups_step * per_group))
    filters, rows = slice(0, multiplier), slice(0, shape.out_height)
    by_group = weights.reshape(shape.groups, multiplier, shape.kernel_height, shape.kernel_width)
    by_group = by_group.astype(dtype, copy=False)
    for images, groups in product(blocks(shape.batch, images_step), blocks(shape.groups, groups_step)):
        maps = padded(shape, inputs, images, groups, dtype)
        g, n = maps.shape[:2]
        sums = np.zeros((g, multiplier, n, shape.out_height, shape.out_width), dtype=dtype)
        products = np.empty_like(sums)
        for r, s in product(range(shape.kernel_height), range(shape.kernel_width)):
            down, across = tap(shape, r, s)
            factor = by_group[groups, :, r, s, None, None, None]
            np.multiply(maps[:, None, :, down, across], factor, out=products)
            sums += products
        yield (images, groups, filters, rows), sums.reshape(g, multiplier, -1)
