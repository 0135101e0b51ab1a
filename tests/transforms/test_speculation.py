"""Weights ordered for prediction: which of them stand for all, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from simhw.errors import TransformError
from simhw.transforms import sign_order, speculation

INT16 = st.integers(-(1 << 15), (1 << 15) - 1)
FEW = st.integers(-3, 3)  # many equal weights and magnitudes
FILTERS = drawn.arrays(
    np.int16, drawn.array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.one_of(INT16, FEW)
)


def one_filter(*weights):
    return np.array(weights, dtype=np.int16).reshape(1, -1, 1, 1)


def test_the_largest_magnitude_of_each_group_comes_first_in_the_order_of_the_groups():
    # ascending -6 -5 | -1 2 | 3 4
    ordering = speculation.apply(one_filter(4, -5, 2, -1, 3, -6), [0], [3])
    assert ordering.weights.tolist() == [[-6, 2, 4, 3, -5, -1]]
    assert ordering.order.tolist() == [[5, 2, 0, 4, 1, 3]]
    assert (ordering.prefix.tolist(), ordering.negatives_from.tolist()) == ([3], [4])


def test_where_groups_do_not_divide_the_weights_the_first_have_one_more():
    # ascending 1 2 3 | 4 5 | 6 7
    assert speculation.apply(one_filter(1, 2, 3, 4, 5, 6, 7), [0], [3]).weights.tolist() == [
        [3, 5, 7, 1, 2, 4, 6]
    ]


def test_of_equal_magnitudes_the_smallest_is_taken_and_of_equal_weights_the_first():
    assert speculation.speculation_set(np.array([3, -3, 3, -3], np.int16), 1).tolist() == [1]
    assert speculation.speculation_set(np.array([2, 7, 9, 9], np.int16), 1).tolist() == [2]


def test_the_rest_of_the_negatives_may_go_by_magnitude():
    weights = one_filter(1, -2, -4, -3, -9)
    for negatives, rest in (("original", [-2, -4, -3]), ("magnitude", [-4, -3, -2])):
        ordering = speculation.apply(weights, [5], [1], negatives)
        assert ordering.weights.tolist() == [[-9, 1, *rest]]


def test_threshold_0_and_1_group_mark_a_filter_left_in_exact_mode():
    weights = np.array([[2, -9, 1], [2, -9, 1], [2, -9, 1]], np.int16).reshape(3, 3, 1, 1)
    ordering = speculation.apply(weights, [0, 1, 0], [1, 1, 2], where="conv1")
    assert ordering.prefix.tolist() == [0, 1, 2]
    exact = sign_order.apply(weights)
    np.testing.assert_array_equal(ordering.order[0], exact.order[0])
    assert ordering.order[1].tolist() == [1, 0, 2]
    assert ordering.thresholds.tolist() == [0, 1, 0]


@given(FILTERS, st.sampled_from(sign_order.NEGATIVES))
def test_all_filters_in_exact_mode_are_ordered_by_sign(weights, negatives):
    exact = [np.full(len(weights), x) for x in speculation.EXACT]
    ordering, expected = speculation.apply(weights, *exact, negatives), sign_order.apply(weights, negatives)
    for name in ("weights", "order", "prefix", "thresholds", "negatives_from"):
        np.testing.assert_array_equal(getattr(ordering, name), getattr(expected, name), err_msg=name)


@given(FILTERS, st.sampled_from(sign_order.NEGATIVES), st.data())
def test_orders_are_those_of_groups_written_out(weights, negatives, data):
    flat = weights.reshape(len(weights), -1).tolist()
    size = len(flat[0])
    groups = data.draw(st.lists(st.integers(1, size), min_size=len(flat), max_size=len(flat)))
    ordering = speculation.apply(weights, [1] * len(flat), groups, negatives)
    np.testing.assert_array_equal(ordering.undo(), weights)
    for m, own in enumerate(flat):
        ascending = sorted(range(size), key=lambda k: own[k])
        chosen = [
            max(part.tolist(), key=lambda k: abs(own[k])) for part in np.array_split(ascending, groups[m])
        ]
        rest = [k for k in range(size) if k not in chosen]
        falling = [k for k in rest if own[k] < 0]
        if negatives == "magnitude":
            falling.sort(key=lambda k: own[k])
        assert ordering.order[m].tolist() == chosen + [k for k in rest if own[k] >= 0] + falling
        assert (ordering.prefix[m], ordering.negatives_from[m]) == (groups[m], size - len(falling))


@given(FILTERS)
def test_as_many_groups_as_weights_sort_them_ascending(weights):
    size = weights[0].size
    ordering = speculation.apply(weights, np.ones(len(weights)), np.full(len(weights), size))
    np.testing.assert_array_equal(ordering.weights, np.sort(weights.reshape(len(weights), -1), axis=1))
    assert (ordering.negatives_from == size).all()


def test_a_real_threshold_is_rounded_up_to_the_accumulators_format():
    weights = np.ones((4, 2, 1, 1), np.int16)
    ordering = speculation.apply(weights, [1.25, -1.25, 1.3, -1.3], [2] * 4, fraction=2)
    assert ordering.thresholds.tolist() == [5, -5, 6, -5]
    whole = speculation.apply(weights, [(1 << 60) + 1, 3, -3, 0], [2] * 4)
    assert whole.thresholds.tolist() == [(1 << 60) + 1, 3, -3, 0]
    assert speculation.apply(weights, [3, -3, 2, 0], [2] * 4, fraction=-1).thresholds.tolist() == [
        2,
        -1,
        1,
        0,
    ]


@pytest.mark.parametrize(
    ("thresholds", "groups", "faults"),
    [
        ([0, 0], [1, 1], ["thresholds: 2 given; wants 3, one for each filter",
                          "groups: 2 given; wants 3, one for each filter"]),
        ([[0, 0, 0]], [1, 1, 1], ["thresholds: wants a list of numbers, one for each of 3 filters"]),
        ([0, 0, 0], ["a", "b", "c"], ["groups: wants a list of numbers, one for each of 3 filters"]),
        ([0.0, np.nan, 0.0], [1, 1, 1], ["filter 1: threshold: is nan; wants a finite number"]),
        ([0.0, -np.inf, 0.0], [1, 1, 1], ["filter 1: threshold: is -inf; wants a finite number"]),
        ([0, 0, 1e30], [1, 1, 1],
         ["filter 2: threshold: 1e+30 has no place in a sum of 64 bits with 0 binary places; wants "
          "a number from -9.22337e+18 to below 9.22337e+18"]),
        ([0, 0, 0], [5, 0, 1], ["filter 0: groups: is 5; wants 1 to 4, the weights of the filter",
                                "filter 1: groups: is 0; wants 1 to 4, the weights of the filter"]),
        ([0, 0, 0], [1.5, np.nan, 1], ["filter 0: groups: is 1.5; wants a whole number",
                                       "filter 1: groups: is nan; wants a whole number"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_said_at_once(thresholds, groups, faults):
    with pytest.raises(TransformError) as caught:
        speculation.apply(np.ones((3, 4, 1, 1), np.int16), thresholds, groups, where="conv2")
    assert caught.value.faults == tuple(f"conv2: {fault}" for fault in faults)


def test_an_order_that_does_not_exist_is_refused():
    with pytest.raises(TransformError, match=r"^conv2: negatives: unknown order 'size'; known: magnitude, o"):
        speculation.apply(np.ones((1, 4, 1, 1)), [0], [1], "size", where="conv2")


def test_a_threshold_between_two_sums_is_rounded_to_the_side_of_its_test():
    """Below 0.5 is below 1; at or below 0.5 is at or below 0."""
    weights = np.array([[1, 0, 0]], np.int16).reshape(1, 3, 1, 1)
    assert speculation.apply(weights, [0.5], [1]).thresholds.tolist() == [1]
    assert speculation.apply(weights, [0.5], [1]).thresholds_of(inclusive=True).tolist() == [0]
