"""Weights on a line: the least squares of numpy.polyfit, exact integers, and the counts of the paper."""

from fractions import Fraction

import numpy as np
import pytest

from simhw.errors import TransformError
from simhw.reference.fitted import Fitted, count_parameters
from simhw.transforms import fit_groups

FC = [(12, 784, "linear", 8), (3, 784, "linear", 24), (3, 784, "quadratic", 32), (2, 10, "quadratic", 10)]
KERNELS = [
    ((4, 3, 5, 5), "linear", 5),
    ((4, 3, 5, 5), "quadratic", 5),
    ((4, 3, 5, 5), "quadratic", 25),
    ((2, 1, 3, 4), "linear", 4),
]
CASES = [((m, k, 1, 1), kind, group) for m, k, kind, group in FC] + KERNELS


def drawn(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def by_polyfit(weights, kind, group):
    """Return coefficients and fitted weights, a group at a time."""
    degree = fit_groups.KINDS.index(kind)
    rows = weights.reshape(len(weights), -1)
    coefficients, fitted = [], np.empty_like(rows)
    for m, row in enumerate(rows):
        for start in range(0, row.size, group):
            y = row[start : start + group]
            x = np.arange(y.size)
            terms = np.polyfit(x, y, min(degree, y.size - 1))
            fitted[m, start : start + group] = np.polyval(terms, x)
            coefficients.append(np.pad(terms[::-1], (0, degree + 1 - terms.size)))
    return np.reshape(coefficients, (len(rows), -1, degree + 1)), fitted.reshape(weights.shape)


@pytest.mark.parametrize(("shape", "kind", "group"), CASES, ids=str)
def test_the_fit_is_that_of_polyfit_group_by_group(shape, kind, group):
    weights = drawn(shape)
    coefficients, fitted = by_polyfit(weights, kind, group)
    np.testing.assert_allclose(fit_groups.fit(weights, kind, group), coefficients, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit_groups.project(weights, kind, group), fitted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("group", [3, 784], ids=str)
def test_weights_that_lie_on_a_curve_stay_where_they_are(group):
    x = np.arange(784) % group
    weights = (0.5 - 0.01 * x + 3e-5 * x**2)[None].repeat(2, axis=0)
    np.testing.assert_allclose(fit_groups.project(weights, "quadratic", group), weights, atol=1e-12)


def test_a_projection_keeps_the_type_it_is_given_and_may_work_in_place():
    weights = drawn((6, 30)).astype(np.float32)
    expected = fit_groups.project(weights, "linear", 7)
    projection = fit_groups.Projection((6, 30, 1, 1), "linear", 7)
    assert projection.project(weights, out=weights) is weights
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_allclose(projection.project(weights), expected, atol=1e-6)  # twice is once


def test_a_shorter_last_group_is_fitted_over_its_own_weights_alone():
    weights = drawn((2, 10))
    fitted = fit_groups.project(weights, "linear", 4)
    alone = fit_groups.project(weights[:, 8:], "linear", 2)
    np.testing.assert_allclose(fitted[:, 8:], alone, atol=1e-12)
    np.testing.assert_allclose(fitted[:, 8:], weights[:, 8:], atol=1e-12)  # a line goes through two weights


@pytest.mark.parametrize("left", [1, 2])
def test_a_last_group_of_fewer_weights_than_terms_keeps_them_and_has_no_highest_term(left):
    weights = drawn((3, 8 + left))
    coefficients = fit_groups.fit(weights, "quadratic", 8)
    assert coefficients.shape == (3, 2, 3)
    assert not coefficients[:, 1, left:].any()
    np.testing.assert_allclose(fit_groups.project(weights, "quadratic", 8)[:, 8:], weights[:, 8:])


def test_what_the_line_says_beyond_the_last_weight_is_not_among_the_weights():
    fitted = fit_groups.apply(drawn((3, 10)), "linear", 4)
    assert fitted.weights().shape == (3, 10, 1, 1)
    assert fitted.sizes.tolist() == [4, 4, 2]


@pytest.mark.parametrize("bits", [6, 8, 12])
@pytest.mark.parametrize(("shape", "kind", "group"), [*CASES, ((2, 5, 3, 3), "exact", 0)], ids=str)
def test_fitted_weights_are_the_exact_sums_of_their_terms(shape, kind, group, bits):
    fitted = fit_groups.apply(drawn(shape), kind, group, bits)
    assert np.abs(fitted.coefficients).max() <= 2 ** (bits - 1)
    weights = fitted.weights()
    assert (weights.dtype, weights.shape) == (np.int32, shape)
    for m, row in enumerate(weights.reshape(shape[0], -1).tolist()):
        for k, weight in enumerate(row):
            g, x = divmod(k, group or 1)
            terms = fitted.coefficients[m, g].tolist()
            places = [Fraction(2) ** -fraction for fraction in fitted.fractions]
            exact = sum(c * x**t * place for t, (c, place) in enumerate(zip(terms, places, strict=True)))
            assert exact == Fraction(weight) * Fraction(2) ** -fitted.fraction


def test_each_term_has_the_largest_fraction_in_which_it_does_not_saturate():
    coefficients = np.array([[[0.9, 0.011, 0.0001], [-0.99, -0.012, 0.0002]]])
    fitted = fit_groups.quantized(coefficients, "quadratic", 5, (1, 10, 1, 1))
    assert fitted.fractions == (7, 13, 19)  # 0.99 is 127 / 2**7, 0.012 98 / 2**13
    assert fitted.coefficients.tolist() == [[[115, 90, 52], [-127, -98, 105]]]


@pytest.mark.parametrize(("shape", "kind", "group"), CASES, ids=str)
def test_what_rounding_a_term_moves_is_taken_up_by_the_terms_below_it(shape, kind, group):
    weights = drawn(shape)
    coefficients = fit_groups.fit(weights, kind, group)
    fitted = fit_groups.quantized(coefficients, kind, group, shape)
    apart = [np.ldexp(np.rint(np.ldexp(coefficients[..., t], f)), -f) for t, f in enumerate(fitted.fractions)]
    plain = by_terms(np.stack(apart, axis=2), fitted)
    exact = by_terms(coefficients, fitted)
    near = np.square(fitted.real_weights() - exact).sum()
    # c0 is rounded last, so the mean of a group is off by half a step of c0 at most
    rows = (fitted.real_weights() - exact).reshape(shape[0], -1)
    starts = np.concatenate([[0], fitted.sizes.cumsum()[:-1]])
    means = np.add.reduceat(rows, starts, axis=1) / fitted.sizes
    assert np.abs(means).max() <= 0.5001 * 2.0 ** -fitted.fractions[0]
    assert near <= np.square(plain - exact).sum()


def by_terms(coefficients, fitted):
    """Return the weights that real coefficients make, a weight at a time."""
    rows = np.zeros((fitted.shape[0], int(fitted.sizes.sum())))
    for k in range(rows.shape[1]):
        g, x = divmod(k, fitted.group)
        rows[:, k] = sum(coefficients[:, g, t] * x**t for t in range(coefficients.shape[2]))
    return rows.reshape(fitted.shape)


def test_a_fraction_is_held_down_where_weights_would_pass_32_bits():
    coefficients = np.array([[[100.0, 1e-9]]])
    fitted = fit_groups.quantized(coefficients, "linear", 2, (1, 2, 1, 1))
    assert fitted.fractions == (0, 23)  # 128 * 2**23 + 128 is below 2**31, 128 * 2**24 is not
    assert fitted.weights().ravel().tolist() == [100 << 23, 100 << 23]


def test_exact_weights_are_one_coefficient_each():
    weights = drawn((3, 4, 2, 2))
    fitted = fit_groups.apply(weights, "exact", 0)
    assert (fitted.parameters, fitted.group, fitted.terms) == (weights.size, 0, 1)
    np.testing.assert_allclose(fitted.real_weights(), weights, atol=2.0**-fitted.fraction)
    np.testing.assert_array_equal(fit_groups.project(weights, "exact", 0), weights)


@pytest.mark.parametrize(
    ("largest", "bits"), [(1, 8), (127, 8), (128, 16), (-128, 8), (1 << 15, 32)], ids=str
)
def test_the_weights_have_the_narrowest_format_that_holds_them(largest, bits):
    fitted = Fitted(
        kind="exact", group=0, coefficients=np.array([[[largest]]], np.int32), fractions=(3,), bits=8,
        shape=(1, 1, 1, 1),
    )  # fmt: skip
    assert (fitted.format.bits, fitted.format.fraction) == (bits, 3)


@pytest.mark.parametrize(("shape", "kind", "group"), [*CASES, ((2, 5, 3, 3), "exact", 0)], ids=str)
def test_coefficients_come_back_from_their_arrays(shape, kind, group):
    fitted = fit_groups.apply(drawn(shape), kind, group)
    back = Fitted.from_arrays(fitted.to_arrays(), shape, where="file: fc1")
    np.testing.assert_array_equal(back.weights(), fitted.weights())
    assert (back.kind, back.group, back.bits, back.format) == (kind, group, 8, fitted.format)
    assert back.parameters == count_parameters(shape, kind, group)
    assert back.memory_bits == 8 * back.parameters


# the counts that Tables II to IV print


FC_64_32 = [(64, 784, 1, 1), (32, 64, 1, 1), (10, 32, 1, 1)]
TABLE_2 = [  # kind, N_w, N_p by layer as counted here with whole groups, the printed total in thousands
    ("exact", (0, 0, 0), (50176, 2048, 320), "52.5"),
    ("linear", (8, 8, 8), (12544, 512, 80), "13"),
    ("linear", (16, 16, 0), (6272, 256, 320), "7"),
    ("linear", (24, 4, 0), (4224, 1024, 320), "5.5"),
    ("linear", (28, 4, 0), (3584, 1024, 320), "4.9"),
    ("quadratic", (28, 8, 0), (5376, 768, 320), "6.5"),
    ("quadratic", (28, 16, 0), (5376, 384, 320), "6.1"),
    ("quadratic", (32, 16, 0), (4800, 384, 320), "5.5"),  # the table says 8 for fc2, and counts 16
]


@pytest.mark.parametrize(("kind", "groups", "counts", "total"), TABLE_2)
def test_the_parameters_of_table_2(kind, groups, counts, total):
    found = tuple(
        count_parameters(shape, kind if group else "exact", group)
        for shape, group in zip(FC_64_32, groups, strict=True)
    )
    assert found == counts
    digits = len(total.partition(".")[2])
    assert abs(sum(found) / 1000 - float(total)) < 10.0**-digits  # the last one printed
    assert found == tuple(
        fit_groups.apply(drawn(shape), kind if group else "exact", group).parameters
        for shape, group in zip(FC_64_32, groups, strict=True)
    )


def test_table_2_counts_now_parts_of_groups_and_now_whole_ones():
    fc1 = FC_64_32[0]
    assert count_parameters(fc1, "linear", 24, whole_groups=False) == Fraction(100352, 24)  # 4.18 k: 4.1
    assert count_parameters(fc1, "linear", 24) == 64 * 33 * 2  # 4.22 k
    assert count_parameters(fc1, "quadratic", 32) == 4800  # 4.8 k, as printed
    assert count_parameters(fc1, "quadratic", 32, whole_groups=False) == 4704


def test_six_bits_take_what_the_text_says():
    bits = 6 * sum(count_parameters(s, k, n) for s, k, n in zip(
        FC_64_32, ("linear", "linear", "exact"), (24, 4, 0), strict=True
    ))  # fmt: skip
    assert bits / 8 == 0.75 * (4224 + 1024 + 320)  # 4.18 KB; the text takes 6 bits of 5.5 KB: 4.125


LENET5 = [(6, 1, 5, 5), (12, 6, 5, 5), (10, 192, 1, 1)]
TABLE_3 = [
    ("exact", 0, 0, 3870), ("linear", 5, 6, 1420), ("linear", 5, 32, 900), ("linear", 5, 64, 840),
    ("linear", 5, 96, 820), ("quadratic", 5, 192, 1200), ("quadratic", 25, 96, 294),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "conv", "fc", "printed"), TABLE_3)
def test_the_parameters_of_table_3_are_exact(kind, conv, fc, printed):
    groups = zip(LENET5, (conv, conv, fc), strict=True)
    fitted = [fit_groups.apply(drawn(shape), kind, group) for shape, group in groups]
    assert sum(one.parameters for one in fitted) == printed
    assert sum(one.memory_bits for one in fitted) == 8 * printed


@pytest.mark.parametrize(
    ("channels", "fc", "convs", "fcs"),
    [(1, 0, 256_800, 263_424), (1, 8, 102_720, 65_856), (1, 16, 102_720, 32_928), (1, 32, 102_720, 16_464),
     (3, 0, 258_400, 263_424)],
)  # fmt: skip
def test_the_parameters_of_table_4_are_those_of_a_grey_image(channels, fc, convs, fcs):
    kind, row = ("linear", 5) if fc else ("exact", 0)
    conv_shapes = [(32, channels, 5, 5), (64, 32, 5, 5), (128, 64, 5, 5)]
    assert sum(count_parameters(shape, kind, row) for shape in conv_shapes) == convs
    assert sum(count_parameters(shape, kind, fc) for shape in [(128, 2048, 1, 1), (10, 128, 1, 1)]) == fcs


# what is refused


def fault_of(shape, kind, group, bits=8, weights=None):
    with pytest.raises(TransformError) as caught:
        fit_groups.apply(drawn(shape) if weights is None else weights, kind, group, bits, where="fc1")
    return caught.value.faults


@pytest.mark.parametrize(
    ("shape", "kind", "group", "fault"),
    [
        ((2, 10), "linear", 11, "fc1: N_w: is 11, more than the 10 weights of a row; wants at most 10"),
        ((2, 10), "linear", 0, "fc1: N_w: is 0; a linear fit wants at least 2"),
        ((2, 10), "linear", -3, "fc1: N_w: is -3; a linear fit wants at least 2"),
        ((2, 10), "linear", 1, "fc1: N_w: is 1; a linear fit wants at least 2 weights a group"),
        ((2, 10), "quadratic", 2, "fc1: N_w: is 2; a quadratic fit wants at least 3 weights a group"),
        ((2, 10), "quadratic", 2.5, "fc1: N_w: is 2.5; wants a whole number"),
        ((2, 10), "exact", 4, "fc1: N_w: is 4; exact weights want 0"),
        ((2, 3, 5, 5), "linear", 3, "fc1: N_w: is 3; a 5x5 kernel wants 5, a row, or 25, the whole kernel"),
        (
            (2, 10), "cubic", 4,
            "fc1: unknown kind of fit 'cubic'; known: exact, linear, quadratic",
        ),
        (
            (2, 10), "quadratc", 4,
            "fc1: unknown kind of fit 'quadratc'; did you mean 'quadratic'? known: exact, linear, quadratic",
        ),
    ],
)  # fmt: skip
def test_a_group_that_cannot_be_fitted_is_refused_in_a_line(shape, kind, group, fault):
    assert fault_of(shape, kind, group) == (fault,)


@pytest.mark.parametrize("bits", [1, 17, 8.0, True])
def test_a_width_that_no_coefficient_has_is_refused(bits):
    expected = f"fc1: bits: is {bits!r}; wants a whole number from 2 to 16"
    assert fault_of((2, 10), "linear", 5, bits) == (expected,)


@pytest.mark.parametrize("call", [fit_groups.fit, fit_groups.project, fit_groups.apply])
def test_weights_that_are_not_finite_are_refused(call):
    weights = drawn((2, 10))
    weights[0, 3], weights[1, 1] = np.nan, np.inf
    with pytest.raises(TransformError) as caught:
        call(weights, "linear", 5, where="fc1")
    assert caught.value.faults == ("fc1: 2 of 20 weights are NaN or infinite; wants finite numbers",)


def test_a_group_too_long_for_32_bits_is_refused():
    expected = "fc1: N_w: is 100000; its fitted weights do not fit 32 bits"
    weights = np.ones((1, 100_000))
    assert fault_of((1, 100_000), "quadratic", 100_000, 16, weights) == (expected,)


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("coefficients", np.zeros((2, 3), np.int8),
         "f: fc1.coefficients: holds int8 of shape [2, 3]; wants whole numbers [filters, groups, terms] of "
         "1 to 3 terms"),
        ("coefficients", np.zeros((2, 3, 2), np.float32),
         "f: fc1.coefficients: holds float32 of shape [2, 3, 2]; wants whole numbers [filters, groups, "
         "terms] of 1 to 3 terms"),
        ("coefficients", np.zeros((2, 2, 2), np.int8),
         "f: fc1.coefficients: has shape [2, 2, 2]; wants [2, 3, 2]"),
        ("coefficients", np.full((2, 3, 2), 128, np.int16),
         "f: fc1.coefficients: reach from 128 to 128; 8 bits hold fewer"),
        ("fit", np.array([4, 8, 7], np.int32),
         "f: fc1.fit: holds int32 of shape [3]; wants 4 whole numbers: N_w, bits and 2 fractions"),
        ("fit", np.array([11, 8, 7, 9], np.int32),
         "f: fc1.fit: N_w: is 11, more than the 10 weights of a row; wants at most 10"),
        ("fit", np.array([4, 32, 7, 9], np.int32), "f: fc1.fit: bits: is 32; wants 2 to 16"),
        ("fit", np.array([4, 8, 7, 900], np.int32), "f: fc1.fit: fractions: are [7, 900]; want -128 to 128"),
        ("fit", np.array([4, 8, 7, 40], np.int32),
         "f: fc1.coefficients: may make weights beyond 32 bits; want smaller fractions"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_coefficients_are_refused(name, array, fault):
    fitted = fit_groups.apply(np.ones((2, 10)), "linear", 4)
    arrays = {**fitted.to_arrays(), name: array}
    with pytest.raises(TransformError) as caught:
        Fitted.from_arrays(arrays, (2, 10, 1, 1), where="f: fc1", error=TransformError)
    assert caught.value.faults == (fault,)


def test_whole_numbers_are_fitted_as_the_numbers_they_are():
    whole = np.arange(24, dtype=np.int64).reshape(2, 12, 1, 1) ** 2 % 7
    projection = fit_groups.Projection((2, 12, 1, 1), "linear", 4)
    np.testing.assert_allclose(projection.project(whole), projection.project(whole.astype(np.float64)))
