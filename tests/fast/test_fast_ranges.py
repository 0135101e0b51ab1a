"""Ranges of channels: the compiled function against its definition, and the ends by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.ranges import channel_ranges, channel_ranges_plain


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 4, 33, 31), (3, 2, 1, 64), (0, 2, 3, 3), (1, 2, 0, 3)]
)
def test_compiled_equals_definition(kind: type, shape: tuple) -> None:
    limits = np.iinfo(kind)
    values = np.random.default_rng(1).integers(limits.min, limits.max, shape, endpoint=True).astype(kind)
    for some in (values, np.abs(values // 2), -np.abs(values // 2), values[:, :, ::-1]):
        for one, two in zip(channel_ranges_plain(some), channel_ranges(some), strict=True):
            np.testing.assert_array_equal(one, two)
            assert two.dtype == np.int64


def test_each_channel_has_its_own_ends_and_zero_lies_between() -> None:
    values = np.array([[[[3, 5]], [[-7, -2]], [[-32768, 32767]]]], np.int16)
    lows, tops = channel_ranges(values)
    assert lows.tolist() == [0, -7, -32768]
    assert tops.tolist() == [5, 0, 32767]
