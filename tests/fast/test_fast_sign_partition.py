"""Weights that raise a sum before those that lower it."""

from __future__ import annotations

import numpy as np
import pytest

from simhw.fast.sign_partition import sign_partition, sign_partition_plain


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (4, 17), (7, 100), (0, 5)], ids=str)
@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32])
def test_compiled_equals_definition(shape, kind):
    weights = np.random.default_rng(sum(shape)).integers(-3, 4, shape).astype(kind)
    for one, two in zip(sign_partition_plain(weights), sign_partition(weights), strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype


@pytest.mark.parametrize("value", [-2, 0, 2])
def test_weights_of_one_sign_stay_as_they_are(value):
    ordered, order, firsts = sign_partition(np.full((2, 4), value, np.int16))
    assert order.tolist() == [[0, 1, 2, 3]] * 2
    assert ordered.tolist() == [[value] * 4] * 2
    assert firsts.tolist() == [0 if value < 0 else 4] * 2
