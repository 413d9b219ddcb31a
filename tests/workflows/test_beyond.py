import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autogas import load_benchmark
from autogas.benchmarks import correlate
from autogas.workflows.judging.beyond import beyond_size, partial_spearman, pick, sizes, usual


def drawn(seed=0, n=80):
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    return size, size + rng.normal(size=n), size + rng.normal(size=n)


def test_partial_correlation_by_the_textbook_formula():
    size, first, second = drawn()
    r = lambda a, b: stats.spearmanr(a, b).statistic  # noqa: E731
    xy, xz, yz = r(first, second), r(first, size), r(second, size)
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(first, second, [size]) == pytest.approx(expected)


def test_ties_have_their_mean_rank():
    size, first, second = drawn()
    rough = np.round(first)
    ranks = pd.DataFrame({"a": rough, "b": second, "z": size}).rank()
    rest = [ranks[k] - np.polyval(np.polyfit(ranks["z"], ranks[k], 1), ranks["z"]) for k in "ab"]
    assert partial_spearman(rough, second, [size]) == pytest.approx(np.corrcoef(*rest)[0, 1])


def test_what_follows_from_size_has_no_partial_correlation():
    size, first, _ = drawn()
    assert np.isnan(partial_spearman(first, np.exp(size), [size]))


def test_the_expected_best_of_random_picks():
    """Against a simulation: the percentile is the share of the others that are worse."""
    rng, n = np.random.default_rng(0), 50
    goodness = rng.normal(size=n)
    for count in (1, 10):
        found = pick(np.arange(n)[::-1], goodness, count, higher_is_better=True)
        draws = [np.max(rng.choice(n, size=count, replace=False)) for _ in range(20_000)]
        assert found["random"] == pytest.approx(100 * np.mean(draws) / n, abs=0.5)
        best = goodness[:count].max()
        assert found["percentile"] == pytest.approx(100 * np.mean(goodness < best))
        assert found["quality"] == best
        assert pick(np.arange(n)[::-1], goodness, count, higher_is_better=False)["quality"] == -best


@pytest.mark.parametrize("count", [1, 2, 4])
def test_ties_are_all_choices_alike(count):
    """Against all orders in which equal scores may stand."""
    scores, goodness = np.array([1, 0, 1, 1, 2, 0]), np.array([3.0, 1, 2, 2, 2, 9])
    beaten = 100 * np.array([np.mean(goodness < value) for value in goodness])
    orders = [o for o in itertools.permutations(range(6)) if all(np.diff(scores[list(o)]) <= 0)]
    found = pick(scores, goodness, count, higher_is_better=True)
    assert found["percentile"] == pytest.approx(np.mean([beaten[list(o[:count])].max() for o in orders]))
    assert found["quality"] == pytest.approx(np.mean([goodness[list(o[:count])].max() for o in orders]))
    every = [beaten[list(subset)].max() for subset in itertools.combinations(range(6), count)]
    assert found["random"] == pytest.approx(np.mean(every))
    for order in (slice(None), slice(None, None, -1)):
        again = pick(scores[order], goodness[order], count, higher_is_better=True)
        assert again == pytest.approx(found)


def test_a_perfect_score_picks_the_best():
    bench = load_benchmark("mini-autoencoder")
    chosen = np.arange(40)
    goodness = bench.goodness[chosen]
    broken = np.where(np.arange(40) % 7 == 0, np.nan, goodness)
    perfect, failing = beyond_size(bench, chosen, {"perfect": goodness, "failing": broken})
    assert perfect["partial"] == pytest.approx(1)
    assert perfect["within_macs"] == pytest.approx(1)
    assert perfect["top"]["1"]["percentile"] == pytest.approx(100 * 39 / 40)
    assert failing["partial"] < 1
    assert failing["top"]["10"]["quality"] == np.nanmax(np.where(np.isnan(broken), np.nan, bench.quality[chosen]))


def test_the_usual_pick_of_a_perfect_a_random_and_an_inverted_score():
    rng, n = np.random.default_rng(0), 200
    goodness = rng.normal(size=n)
    ranks = stats.rankdata(goodness)
    assert usual(ranks, goodness, 1) == pytest.approx(100 * 99 / 100)
    assert usual(-ranks, goodness, 1) == 0
    assert usual(-ranks, goodness, 10) == pytest.approx(9)
    blind = np.mean([usual(rng.permutation(n), goodness, 1) for _ in range(30)])
    assert blind == pytest.approx(49.5, abs=10)


def test_networks_of_unknown_size_are_no_large_ones(monkeypatch):
    bench = load_benchmark("mini-autoencoder")
    chosen = np.arange(40)
    macs, params = sizes(bench.space, [bench.archs[i] for i in chosen])
    unknown = np.where(np.arange(40) % 4 == 0, np.nan, macs)
    monkeypatch.setattr("autogas.workflows.judging.beyond.sizes", lambda *_: (unknown, params))
    scores = np.random.default_rng(0).normal(size=40)
    (row,) = beyond_size(bench, chosen, {"x": scores})
    limits = np.quantile(unknown[np.isfinite(unknown)], [0.2, 0.4, 0.6, 0.8])
    strata = [-1 if np.isnan(value) else int(np.searchsorted(limits, value)) for value in unknown]
    assert row["within_macs"] == pytest.approx(correlate(bench.goodness[chosen], scores, strata=strata).within.value)
