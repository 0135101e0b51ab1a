"""The reuse block and its PEs: what they compute, and how many adders and multipliers they are built of."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhw.components.reuse_block import ReuseBlock, adder_network, signed_digits
from simhw.components.reuse_pe import ReusePE, UnrolledPE
from simhw.core import Simulation
from simhw.errors import DescriptionError

WORDS = st.integers(-(1 << 15), (1 << 15) - 1)
NETWORKS = ("merged", "separate", "running_sums")


def no_powers_of_two(n: int) -> int:
    """How many of 1..n-1 are no power of two."""
    return sum(x & (x - 1) != 0 for x in range(1, n))


@pytest.mark.parametrize("network", NETWORKS)
@given(values=st.lists(WORDS, min_size=1, max_size=40), terms=st.integers(1, 3))
def test_a_network_makes_the_sums_of_inputs_times_powers_of_their_place(network, values, terms):
    sums = [sum(x**t * y for x, y in enumerate(values)) for t in range(terms)]
    assert adder_network(len(values), terms, network).compute(values)[0] == sums
    if network != "running_sums":
        assert adder_network(len(values), terms, network, shares_a_sum=True).compute(values)[0] == sums


@pytest.mark.parametrize("n", range(2, 70))
def test_merged_a_multiple_that_is_no_power_of_two_costs_one_adder_more(n):
    """n - 1 for d0, n - 2 to sum the multiples of d1, and one for each that wants more than a shift."""
    assert len(adder_network(n).adders) == (n - 1) + (n - 2) + no_powers_of_two(n)


def test_the_paper_counts_3_adders_for_rows_of_3_and_8_for_rows_of_5():
    assert len(adder_network(3).adders) == 3
    assert len(adder_network(5).adders) == 8


@pytest.mark.parametrize("n", range(4, 70))
def test_a_shared_sum_saves_one_adder(n):
    assert len(adder_network(n, shares_a_sum=True).adders) == len(adder_network(n).adders) - 1


@pytest.mark.parametrize("n", range(2, 70))
def test_running_sums_want_no_multiples(n):
    """n - 1 sums from the last input on, of which d0 is the last; n - 2 more add those of d1 up."""
    assert len(adder_network(n, network="running_sums").adders) == 2 * n - 3


@pytest.mark.parametrize("n", range(2, 33))
def test_separate_multiples_cost_an_adder_for_each_digit_but_the_first(n):
    digits = sum(len(signed_digits(x)) - 1 for x in range(1, n))
    assert len(adder_network(n, network="separate").adders) == (n - 1) + (n - 2) + digits


@given(st.integers(1, 1 << 20))
def test_signed_digits_make_their_number_and_no_two_lie_side_by_side(number):
    digits = signed_digits(number)
    assert sum((-1 if minus else 1) << shift for shift, minus in digits) == number
    shifts = [shift for shift, _ in digits]
    assert all(above - below >= 2 for above, below in pairwise(shifts))


def test_depth_is_that_of_the_longest_way():
    """d1 = y1 + 2 y2 is one adder deep, d0 = (y0 + y1) + y2 two; running sums are a chain."""
    assert adder_network(3).depth == 2
    assert adder_network(16, network="running_sums").depth == 15


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("n", range(1, 12))
def test_of_fewer_values_those_adders_work_that_two_of_them_reach(network, n):
    """As many as a block of just so many inputs has, whatever the block's size."""
    assert adder_network(12, 3, network).working(n) == len(adder_network(n, 3, network).adders)


@given(
    inputs=st.integers(1, 40),
    some=st.integers(1, 40),
    terms=st.integers(1, 3),
    built=st.sampled_from(
        [(network, False) for network in NETWORKS] + [("merged", True), ("separate", True)]
    ),
)
def test_adders_that_are_seen_to_add_are_those_that_the_network_says_work(inputs, some, terms, built):
    network = adder_network(inputs, terms, *built)
    values = list(range(1, min(inputs, some) + 1))
    sums, added = network.compute(values)
    assert sums == [sum(x**t * y for x, y in enumerate(values)) for t in range(terms)]
    assert added == network.working(len(values))


def test_a_shared_sum_saves_an_addition_only_where_both_its_inputs_have_values():
    """Of 12 inputs d0 takes y_8 + y_11, the first sum of two that d1 makes; 11 values do not reach it."""
    shares, plain = adder_network(12, shares_a_sum=True), adder_network(12)
    assert (shares.adders[0][0].signal, shares.adders[0][1].signal) == (8, 11)
    for values, saved in ((12, 1), (11, 0), (9, 0)):
        (_, with_it), (_, without) = (one.compute([1] * values) for one in (shares, plain))
        assert with_it == without - saved


def test_a_block_is_charged_for_the_adders_that_work():
    block = ReuseBlock(Simulation(), "block", ReuseBlock.Spec(inputs=9))
    assert block.compute([1, 2, 4, 8, 16]) == [31, 2 + 8 + 24 + 64]
    assert block.sim.ledger.flat() == {"block.add": 8}


def test_a_block_refuses_more_values_than_it_has_inputs():
    block = ReuseBlock(Simulation(), "block", ReuseBlock.Spec(inputs=2))
    with pytest.raises(ValueError, match="block: has 2 inputs, got 3 values"):
        block.compute([1, 2, 3])


def test_running_sums_have_nothing_more_to_share():
    with pytest.raises(DescriptionError) as refused:
        ReuseBlock.Spec(network="running_sums", shares_a_sum=True)
    assert str(refused.value) == "shares_a_sum: running_sums share all their sums; wants false"


@pytest.mark.parametrize(("levels", "cycles"), [(1, 3), (2, 2), (3, 1), (4, 1)])
def test_a_block_takes_as_many_cycles_as_its_levels_fill(levels, cycles):
    """Five inputs: three levels of adders."""
    assert ReuseBlock.Spec(inputs=5, levels_per_cycle=levels).latency_cycles == cycles


@given(st.lists(st.tuples(WORDS, WORDS, st.integers(0, 9)), min_size=1, max_size=4))
def test_a_pe_adds_shifted_products_and_is_charged_for_those_it_makes(terms):
    pe = ReusePE(Simulation(), "pe", ReusePE.Spec(terms=4, coefficient_words=8))
    for k, (word, _, _) in enumerate(terms):
        pe.coefficients.write(k, word)
    shifts = [shift for _, _, shift in terms]
    found = pe.multiply(0, [value for _, value, _ in terms], shifts)
    assert found == sum((word * value) << shift for word, value, shift in terms)
    assert pe.sim.ledger.total("mul") == pe.sim.ledger["pe.coefficients", "read"] == len(terms)
    assert pe.sim.ledger.total("add") == len(terms) - 1


def test_a_linear_pe_has_two_multipliers_and_an_adder_and_a_quadratic_one_three_and_two():
    assert ReusePE.structure(ReusePE.Spec()) == {"adders": 1, "multipliers": 2, "register_bits": 64}
    quadratic = ReusePE.structure(ReusePE.Spec(terms=3, coefficient_words=6))
    assert (quadratic["multipliers"], quadratic["adders"]) == (3, 2)


@pytest.mark.parametrize("row", [3, 5, 11])
def test_an_unrolled_pe_has_2_r_minus_1_adders_and_multipliers(row):
    built = UnrolledPE.structure(UnrolledPE.Spec(terms=row, coefficient_words=2 * row))
    assert built["multipliers"] + built["adders"] == 2 * row - 1


def test_a_pe_wants_room_for_two_sets_of_coefficients():
    with pytest.raises(DescriptionError) as refused:
        ReusePE.Spec(terms=3)
    assert str(refused.value) == "coefficient_words: wants at least 6, two sets of 3, got 4"
