"""Weights ordered by sign: what comes first, what it costs, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from simhw.errors import TransformError
from simhw.transforms import sign_order

INT16 = st.integers(-(1 << 15), (1 << 15) - 1)
FILTERS = drawn.arrays(np.int16, drawn.array_shapes(min_dims=4, max_dims=4, max_side=4), elements=INT16)


def one_filter(*weights, kind=np.int16):
    return np.array(weights, dtype=kind).reshape(1, -1, 1, 1)


def test_weights_that_raise_a_sum_come_first_and_keep_their_order():
    ordering = sign_order.apply(one_filter(-3, 5, 0, -7, 2, -1))
    assert ordering.order.tolist() == [[1, 2, 4, 0, 3, 5]]
    assert ordering.weights.tolist() == [[5, 0, 2, -3, -7, -1]]
    assert ordering.negatives_from.tolist() == [3]
    assert ordering.prefix.tolist() == ordering.thresholds.tolist() == [0]


def test_by_magnitude_the_largest_of_the_negatives_comes_first_and_equals_keep_their_order():
    ordering = sign_order.apply(one_filter(-3, 5, -8, -3, 2, -9), negatives="magnitude")
    assert ordering.order.tolist() == [[1, 4, 5, 2, 0, 3]]
    assert ordering.weights.tolist() == [[5, 2, -9, -8, -3, -3]]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32])
@pytest.mark.parametrize("negatives", sign_order.NEGATIVES)
def test_the_lowest_number_of_a_type_is_the_largest_magnitude(kind, negatives):
    lowest = -(1 << 7) if kind == np.int8 else -(1 << 15)
    ordering = sign_order.apply(one_filter(-1, lowest, 1, kind=kind), negatives)
    assert ordering.weights.dtype == kind
    assert ordering.weights[0, 1] == (lowest if negatives == "magnitude" else -1)


def test_filters_of_one_sign_stay_as_they_are():
    weights = np.array([[3, 1, 2], [-3, -1, -2], [0, 0, 0]], np.int16).reshape(3, 3, 1, 1)
    ordering = sign_order.apply(weights)
    assert ordering.order.tolist() == [[0, 1, 2]] * 3
    assert ordering.negatives_from.tolist() == [3, 0, 3]


@given(FILTERS, st.sampled_from(sign_order.NEGATIVES))
def test_every_ordering_can_be_undone(weights, negatives):
    ordering = sign_order.apply(weights, negatives)
    np.testing.assert_array_equal(ordering.undo(), weights)
    assert ordering.undo().dtype == weights.dtype


@given(FILTERS, st.sampled_from(sign_order.NEGATIVES))
def test_order_is_that_of_a_sort_written_out(weights, negatives):
    ordering = sign_order.apply(weights, negatives)
    for m, filter_weights in enumerate(weights.reshape(len(weights), -1).tolist()):

        def rank(k, own=filter_weights):
            return (own[k] < 0, own[k] if negatives == "magnitude" and own[k] < 0 else 0, k)

        order = sorted(range(len(filter_weights)), key=rank)
        assert ordering.order[m].tolist() == order
        assert ordering.weights[m].tolist() == [filter_weights[k] for k in order]
        assert ordering.negatives_from[m] == sum(w >= 0 for w in filter_weights)


@pytest.mark.parametrize(("size", "bits"), [(1, 1), (2, 1), (3, 2), (16, 4), (17, 5), (2304, 12)])
def test_an_index_takes_the_bits_that_tell_the_weights_of_a_filter_apart(size, bits):
    ordering = sign_order.apply(np.ones((5, size, 1, 1), np.int16))
    assert ordering.index_bits == bits
    assert ordering.storage_bits == 5 * size * bits


def test_an_order_that_does_not_exist_is_refused():
    with pytest.raises(TransformError) as caught:
        sign_order.apply(one_filter(1), negatives="magnitud", where="conv1")
    assert str(caught.value) == (
        "conv1: negatives: unknown order 'magnitud'; did you mean 'magnitude'? known: magnitude, original"
    )
