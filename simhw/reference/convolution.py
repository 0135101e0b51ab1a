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

_COLUMN_ELEMENTS = 1 << 20  # of one tile of columns: 8 MB in float64, and few calls of the BLAS
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
    filters_step = max(1, _FILTER_ELEMENTS // (shape.groups * shape.window))
    for filters in blocks(shape.group_out_channels, filters_step):
        yield from _tiles_of_filters(shape, inputs, weights, dtype, filters)


def _tiles_of_filters(
    shape: LayerShape, inputs: np.ndarray, weights: np.ndarray, dtype: type[np.floating], filters: slice
) -> Iterator[Tile]:
    per_tile = max(1, _COLUMN_ELEMENTS // (shape.groups * shape.window))
    images_step = max(1, per_tile // (shape.out_height * shape.out_width))
    rows_step = max(1, per_tile // shape.out_width)
    by_group = weights.reshape(shape.groups, shape.group_out_channels, shape.window)
    matrix = by_group[:, filters].astype(dtype, copy=False)
    groups = slice(0, shape.groups)
    for images in blocks(shape.batch, images_step):
        maps = padded(shape, inputs, images, slice(None), dtype)
        for rows in blocks(shape.out_height, rows_step):
            yield (images, groups, filters, rows), np.matmul(matrix, _columns(shape, maps, rows))


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
        add_taps = _add_flat_taps if shape.stride == (1, 1) else _add_strided_taps
        sums = add_taps(shape, maps, by_group[groups])
        yield (images, groups, filters, rows), sums.reshape(len(maps), multiplier, -1)


def _add_strided_taps(shape: LayerShape, maps: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Return the sums [G, M/G, N, E, F] of maps [G, N, H, W] and filters [G, M/G, R, S]."""
    size = (maps.shape[1], shape.out_height, shape.out_width)
    sums = np.zeros((*filters.shape[:2], *size), dtype=maps.dtype)
    products = np.empty_like(sums)
    for r, s in product(range(shape.kernel_height), range(shape.kernel_width)):
        down, across = tap(shape, r, s)
        np.multiply(maps[:, None, :, down, across], filters[:, :, r, s, None, None, None], out=products)
        sums += products
    return sums


def _add_flat_taps(shape: LayerShape, maps: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Do the same for stride 1, where all rows and images make one long row for each tap.

    The sums at the end of a row, whose windows would wrap into the next, are cut off at last. On small
    maps this is several times faster than row by row.
    """
    g, n, height, width = maps.shape
    row = maps.reshape(g, 1, -1)
    starts = [
        (r, s, r * shape.dilation[0] * width + s * shape.dilation[1])
        for r, s in product(range(shape.kernel_height), range(shape.kernel_width))
    ]
    length = row.shape[2] - starts[-1][2]
    sums = np.zeros((*filters.shape[:2], row.shape[2]), dtype=maps.dtype)
    products = np.empty((*filters.shape[:2], length), dtype=maps.dtype)
    for r, s, start in starts:
        np.multiply(row[:, :, start : start + length], filters[:, :, r, s, None], out=products)
        sums[:, :, :length] += products
    sums = sums.reshape(g, -1, n, height, width)
    return sums[..., : shape.out_height, : shape.out_width]
