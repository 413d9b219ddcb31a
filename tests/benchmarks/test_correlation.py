import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from autogas.benchmarks import correlate, correlation, kendall_many
from autogas.benchmarks.correlation import dense_ranks, ranks_failures_last, round_significant
from autogas.errors import InputError

STATISTICS = ("kendall_b", "kendall_a", "spearman", "pearson")
numbers = st.integers(-3, 3)


@st.composite
def two_lists(draw, values=numbers, most=12):
    """Quality and scores of one length, neither of them constant."""
    n = draw(st.integers(3, most))
    x, y = (draw(st.lists(values, min_size=n, max_size=n)) for _ in range(2))
    assume(len(set(x)) > 1)
    assume(len(set(y)) > 1)
    return x, y


def sign(value):
    return (value > 0) - (value < 0)


def tau_over_pairs(x, y, weights=None, strata=None):
    """Tau-b and tau-a by their definitions; pairs are of distinct entries, weighted by how often each occurs."""
    weights = weights or [1] * len(x)
    agree = untied_x = untied_y = pairs = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        if strata is None or strata[i] == strata[j]:
            weight = weights[i] * weights[j]
            in_x, in_y = sign(x[i] - x[j]), sign(y[i] - y[j])
            agree += weight * in_x * in_y
            untied_x += weight * abs(in_x)
            untied_y += weight * abs(in_y)
            pairs += weight
    scale = math.sqrt(untied_x * untied_y)
    return agree / scale if scale else math.nan, agree / pairs if pairs else math.nan


def value_of(result):
    return {name: getattr(result, name).value for name in STATISTICS}


def repeated(values, counts):
    return np.repeat(np.asarray(values, dtype=float), counts)


@pytest.fixture
def one_resample(monkeypatch):
    """Make every bootstrap resample take each architecture a given number of times."""

    def fix(counts):
        class Fixed:
            def multinomial(self, n, chances, size):
                assert n == sum(counts)
                assert chances == pytest.approx(np.full(n, 1 / n))
                return np.tile(counts, (size, 1))

        monkeypatch.setattr(correlation, "numpy_generator", lambda *parts: Fixed())

    return fix


@given(two_lists())
def test_values_are_those_of_scipy(lists):
    quality, scores = lists
    assert value_of(correlate(quality, scores)) == pytest.approx(
        {
            "kendall_b": stats.kendalltau(quality, scores).statistic,
            "kendall_a": tau_over_pairs(quality, scores)[1],
            "spearman": stats.spearmanr(quality, scores).statistic,
            "pearson": stats.pearsonr(quality, scores).statistic,
        },
        abs=1e-12,
    )


@given(two_lists(st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.6g}")), most=30))
def test_values_are_those_of_scipy_for_real_numbers(lists):
    quality, scores = lists
    result = correlate(quality, scores)
    assert result.kendall_b.value == pytest.approx(stats.kendalltau(quality, scores).statistic, abs=1e-12)
    assert result.spearman.value == pytest.approx(stats.spearmanr(quality, scores).statistic, abs=1e-12)


@given(two_lists(), st.data())
def test_within_is_tau_b_over_pairs_of_one_stratum(lists, data):
    quality, scores = lists
    strata = data.draw(st.lists(st.sampled_from("abc"), min_size=len(quality), max_size=len(quality)))
    within = correlate(quality, scores, strata=strata).within
    assert within.value == pytest.approx(tau_over_pairs(quality, scores, strata=strata)[0], abs=1e-12, nan_ok=True)


def test_within_one_stratum_is_tau_b():
    quality, scores = [1, 2, 3, 4, 5, 5], [2, 1, 3, 5, 4, 4]
    result = correlate(quality, scores, strata=["same"] * 6)
    assert result.within == result.kendall_b


def test_within_sees_no_difference_between_strata():
    # Between the strata scores are right, within each they are wrong.
    quality, scores = [1, 2, 3, 11, 12, 13], [3, 2, 1, 13, 12, 11]
    result = correlate(quality, scores, strata=[0, 0, 0, 1, 1, 1])
    assert result.within.value == -1
    assert result.kendall_b.value > 0


def test_within_is_nan_when_no_pair_is_comparable():
    assert math.isnan(correlate([1, 2, 3], [1, 2, 3], strata=["a", "b", "c"]).within.value)


def test_no_strata_no_within():
    assert correlate([1, 2, 3], [1, 2, 3]).within is None


@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1, 1, 1), (0, 2, 1, 0, 3, 1, 0), (3, 0, 0, 2, 1, 1, 0)])
@pytest.mark.parametrize("scores", [(0.3, 1.2, -1.0, 2.2, 0.1, 5.0, 0.2), (1, 1, 2, 0, 2, 0, 1)])
def test_a_resample_is_the_sample_with_repeated_architectures(one_resample, counts, scores):
    quality = (3, 1, 4, 1, 5, 9, 2)
    one_resample(counts)
    result = correlate(quality, scores, strata=(0, 1, 0, 0, 1, 1, 0))
    x, y = repeated(quality, counts), repeated(scores, counts)
    expected = {
        "kendall_b": tau_over_pairs(quality, scores, counts)[0],
        "kendall_a": tau_over_pairs(quality, scores, counts)[1],
        "spearman": stats.spearmanr(x, y).statistic,
        "pearson": stats.pearsonr(x, y).statistic,
        "within": tau_over_pairs(quality, scores, counts, (0, 1, 0, 0, 1, 1, 0))[0],
    }
    # Copies of an architecture are tied in both variables, so tau-b is also that of the repeated sample.
    assert expected["kendall_b"] == pytest.approx(stats.kendalltau(x, y).statistic)
    for name, value in expected.items():
        assert (getattr(result, name).low, getattr(result, name).high) == pytest.approx((value, value), abs=1e-12)


def test_intervals_are_those_of_explicit_resamples():
    """Another generator, other draws: equal up to the noise of the draws."""
    rng = np.random.default_rng(0)
    quality = rng.normal(size=40)
    scores = quality + rng.normal(size=40)
    draws = rng.integers(40, size=(4000, 40))
    x, y = quality[draws], scores[draws]
    resampled = {"pearson": (x, y), "spearman": (stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))}
    ours = [correlate(quality, scores, seed=seed) for seed in range(4)]
    for name, (a, b) in resampled.items():
        expected = np.quantile(stats.pearsonr(a, b, axis=1).statistic, [0.025, 0.975])
        means = np.mean([(getattr(r, name).low, getattr(r, name).high) for r in ours], axis=0)
        assert means == pytest.approx(expected, abs=0.025)


def test_about_95_of_100_intervals_hold_the_true_value():
    rho, n = 0.6, 60
    truth = {
        "kendall_b": 2 / math.pi * math.asin(rho),
        "kendall_a": 2 / math.pi * math.asin(rho),
        "spearman": 6 / math.pi * math.asin(rho / 2),
        "pearson": rho,
    }
    rng = np.random.default_rng(1)
    held = dict.fromkeys(truth, 0)
    for repetition in range(100):
        x, noise = rng.normal(size=(2, n))
        result = correlate(x, rho * x + math.sqrt(1 - rho**2) * noise, seed=repetition)
        for name, value in truth.items():
            estimate = getattr(result, name)
            held[name] += estimate.low <= value <= estimate.high
    assert all(88 <= count <= 100 for count in held.values()), held


def test_the_seed_chooses_the_resamples_only():
    quality, scores = np.random.default_rng(0).normal(size=(2, 20))
    first, again, other = (correlate(quality, scores, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert value_of(first) == value_of(other)
    assert first.spearman.low != other.spearman.low


@given(two_lists(st.integers(-100, 100)))
def test_values_stay_between_minus_one_and_one(lists):
    result = correlate(*lists)
    for name in STATISTICS:
        estimate = getattr(result, name)
        if not math.isnan(estimate.low):  # too few resamples differ
            assert -1 <= estimate.low <= estimate.high <= 1
        assert -1 <= estimate.value <= 1


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_failures_rank_last_tied_with_each_other(bad):
    quality = [3, 1, 4, 1.5, 5, 9]
    scores = [2.0, bad, -7.0, bad, 4.0, 3.0]
    last = [2.0, -8.0, -7.0, -8.0, 4.0, 3.0]
    ours, expected = correlate(quality, scores), correlate(quality, last)
    for name in ("kendall_b", "kendall_a", "spearman"):
        assert getattr(ours, name) == getattr(expected, name)


@pytest.mark.parametrize("scale", [1e-15, 1, 1e15])
def test_pearson_takes_the_smallest_finite_score_for_a_failure(scale):
    quality = [3, 1, 4, 1.5, 5, 9]
    scores = np.array([2.0, np.nan, -7.0, np.nan, 4.0, 3.0]) * scale
    smallest = np.nan_to_num(scores, nan=-7.0 * scale)
    expected = stats.pearsonr(quality, smallest).statistic
    assert correlate(quality, scores).pearson.value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e-15, 1e15, 1e200])
def test_the_unit_of_scores_does_not_matter(scale):
    quality, scores = [3, 1, 4, 1.5, 5, 9], np.array([2.0, 0.5, 1.0, 7.0, 4.0, 3.0])
    scaled = value_of(correlate(quality, scores * scale))
    assert scaled == pytest.approx(value_of(correlate(quality, scores)), abs=1e-9)


def test_an_infinite_score_ranks_first():
    quality, scores = [3, 1, 4, 1.5, 5, 9], [2.0, 0.5, np.inf, 7.0, np.inf, 3.0]
    ours, expected = correlate(quality, scores), correlate(quality, [2.0, 0.5, 8.0, 7.0, 8.0, 3.0])
    for name in ("kendall_b", "kendall_a", "spearman"):
        assert getattr(ours, name) == getattr(expected, name)


@pytest.mark.parametrize("scores", [[1.0] * 6, [0.1] * 6, [math.nan] * 6, [0.1 + 0.2, 0.3] * 3])
def test_constant_scores_have_no_correlation(scores):
    result = correlate([3, 1, 4, 1.5, 5, 9], scores, strata="aabbcc")
    for name in ("kendall_b", "spearman", "pearson", "within"):
        estimate = getattr(result, name)
        assert math.isnan(estimate.value), name
        assert math.isnan(estimate.low), name
    assert result.kendall_a.value == 0


def test_noise_of_floating_point_is_not_ranked():
    noisy = np.array([1.0, 1 + 1e-15, 1 - 1e-15, 2.0, 2 + 1e-15, 3.0])
    assert correlate([1, 2, 3, 4, 5, 6], noisy) == correlate([1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 3])


@pytest.mark.parametrize(
    ("quality", "scores", "named"),
    [
        ([1, 2, 3], [1, 2], "(2,)"),
        ([[1, 2, 3]], [[1, 2, 3]], "(1, 3)"),
        ([1, 2], [1, 2], "2 architectures"),
        ([], [], "0 architectures"),
        ([1, 2, math.nan], [1, 2, 3], "1 values that are not finite"),
        ([1, math.inf, -math.inf], [1, 2, 3], "2 values that are not finite"),
    ],
)
def test_bad_input_is_one_line(quality, scores, named):
    with pytest.raises(InputError) as error:
        correlate(quality, scores)
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("rows", [1, 450])  # 450 rows of 200 are more than one block
def test_kendall_many_is_scipy_for_every_row(rows):
    rng = np.random.default_rng(0)
    quality = rng.integers(30, size=200)
    scores = rng.normal(size=(rows, 200)) * 10.0 ** rng.integers(-200, 200, size=(rows, 1))
    scores[::3] = rng.integers(5, size=scores[::3].shape)
    expected = [stats.kendalltau(quality, row).statistic for row in scores]
    assert kendall_many(quality, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_kendall_many_leaves_out_rows_that_are_not_finite(bad):
    rows = [[1, 2, 3, 4], [1, bad, 3, 4], [4, 3, 2, 1], [5, 5, 5, 5], [2, 1, 4, 3]]
    assert kendall_many([1, 2, 3, 4], rows) == pytest.approx([1, math.nan, -1, math.nan, 1 / 3], nan_ok=True)


@given(st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=5))
def test_dense_ranks_are_those_of_scipy(rows):
    expected = stats.rankdata(rows, method="dense", axis=1) - 1
    assert np.array_equal(dense_ranks(np.array(rows) / 3 + 1e-14), expected)


@pytest.mark.parametrize(
    ("quality", "scores"),
    [([1, 2], [[1, 2]]), ([1, 2, 3], [[1, 2]]), ([1, 2, 3], []), ([1, 2, math.nan], [[1, 2, 3]])],
)
def test_kendall_many_refuses_bad_input(quality, scores):
    with pytest.raises(InputError):
        kendall_many(quality, scores)


floats = st.floats(allow_nan=False, allow_infinity=False)


@given(floats)
def test_rounding_is_that_of_decimal_digits(x):
    # A tie of the thirteenth digit may go either way.
    assert float(round_significant(np.array([x]))[0]) == pytest.approx(float(f"{x:.11e}"), rel=1.0001e-11, abs=1e-300)


@given(floats)
def test_rounding_twice_is_rounding_once(x):
    once = round_significant(np.array([x]))
    assert np.array_equal(round_significant(once), once)


@given(floats, floats)
def test_rounding_keeps_order(x, y):
    low, high = round_significant(np.array(sorted((x, y))))
    assert low <= high


@given(floats)
def test_rounding_is_symmetric(x):
    there, back = round_significant(np.array([x, -x]))
    assert there == -back


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.1 + 0.2, 0.3), (123456789012.6, 123456789013.0), (1.0000000000004, 1.0), (-0.99999999999951, -1.0)],
)
def test_rounding_keeps_twelve_digits(x, expected):
    assert round_significant(np.array([x]))[0] == pytest.approx(expected, rel=1e-15)


def test_twelve_digits_are_told_apart():
    x = np.array([1.00000000001, 1.00000000002, 987654321.001, 987654321.002])
    assert np.array_equal(round_significant(x), x)


@pytest.mark.parametrize("x", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e-320, 1.7e308])
def test_rounding_keeps_what_has_no_digits_to_lose(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = round_significant(np.array([x]))
    assert np.array_equal(out, [x], equal_nan=True)


some = st.sampled_from([math.nan, -math.inf, math.inf, 0.0, 1.0, -1.0, 3e-13, -2e5, 7e100])


@given(st.lists(st.one_of(some, floats), min_size=1, max_size=12))
def test_failures_share_the_lowest_rank(scores):
    scores = np.array(scores)
    failed = np.isnan(scores) | np.isneginf(scores)
    ranks = ranks_failures_last(scores)
    assert (ranks[failed] == 0).all()
    expected = stats.rankdata([float(f"{score:.11e}") for score in scores[~failed]], method="dense")
    assert np.array_equal(ranks[~failed], expected)


def test_a_single_pair_within_strata_has_no_interval():
    """Most resamples lack it; those that hold it all agree, which says nothing."""
    rng = np.random.default_rng(0)
    within = correlate(rng.random(10), np.arange(10.0), strata=[0, 0, *range(1, 9)]).within
    assert abs(within.value) == 1
    assert math.isnan(within.low)
    assert math.isnan(within.high)
