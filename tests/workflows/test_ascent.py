import itertools

import numpy as np
import pytest
from scipy import stats

from autogas.proxies.language.expression import Sum
from autogas.proxies.language.sum_grammar import COEFFICIENTS, SumGrammar
from autogas.workflows.judging.across import Objective
from autogas.workflows.judging.ascent import PAIRS, Ascent, Pairs

TERMS = list(SumGrammar(1, layers=("activations",), transforms=((),)).terms())[:12]
FACTORS = [sign * size for size in COEFFICIENTS for sign in (1, -1)]
PENALTY = 0.004


def grounds(seed=0, n=20):
    rng = np.random.default_rng(seed)
    goodness = {name: rng.normal(size=n) for name in ("one", "two")}
    scores = {name: rng.normal(size=(len(TERMS), n)).astype(np.float32) for name in goodness}
    for name, hidden in (("one", (1, 4)), ("two", (4, 7))):  # two terms hold half of the truth each
        noise = rng.normal(size=n)
        scores[name][hidden[0]] = goodness[name] + noise
        scores[name][hidden[1]] = -2 * goodness[name] + 2 * noise
    return goodness, scores


def worst(taus):
    return np.min(np.stack(list(taus.values())), axis=0)


def ascent(seed=0, most=2, scores=None):
    goodness, drawn = grounds(seed)
    scores = drawn if scores is None else scores
    rng = np.random.default_rng(0)
    pairs = {name: Pairs.draw(scores[name], goodness[name], rng) for name in goodness}
    return Ascent(TERMS, pairs, worst, penalty=PENALTY, most=most), goodness, scores


def fitness(genome, goodness, scores):
    taus = []
    for name, quality in goodness.items():
        total = sum(np.float32(factor) * scores[name][TERMS.index(term)] for factor, term in genome.terms)
        taus.append(stats.kendalltau(quality, total).statistic)
    return min(taus) - PENALTY * genome.complexity


@pytest.mark.parametrize("seed", range(3))
def test_the_best_term_to_add_is_that_of_brute_force(seed):
    climber, goodness, scores = ascent(seed)
    rest = ((2.0, TERMS[3]),)
    found, value = climber.best_with(rest)
    every = [Sum((*rest, (factor, term))) for factor, term in itertools.product(FACTORS, TERMS)]
    expected = max(fitness(genome, goodness, scores) for genome in every)
    assert fitness(found, goodness, scores) == pytest.approx(expected)
    assert value == pytest.approx(expected)


@pytest.mark.parametrize("start", [0, 5, 9])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_single_replacement_improves_what_a_climb_ends_in(start, most):
    climber, goodness, scores = ascent(most=most)
    end = climber.climb(Sum(((1.0, TERMS[start]),)))
    assert 1 <= len(end.terms) <= most
    reached = fitness(end, goodness, scores)
    assert reached >= fitness(Sum(((1.0, TERMS[start]),)), goodness, scores) - 1e-6
    if len(end.terms) > 1:
        for place in range(len(end.terms)):
            rest = [*end.terms[:place], *end.terms[place + 1 :]]
            assert climber.best_with(rest)[1] <= reached + 1e-6


def test_terms_without_a_finite_score_are_left_out():
    _, scores = grounds()
    scores["two"][4, 3] = np.nan
    climber, *_ = ascent(scores=scores)
    assert TERMS[4] not in [term for _, term in climber.climb(Sum(((1.0, TERMS[0]),))).terms]


def test_pairs_of_equal_label_only():
    goodness, scores = grounds()
    labels = np.arange(20, dtype=np.intp) % 3
    pairs = Pairs.draw(scores["one"], goodness["one"], np.random.default_rng(0), labels)
    expected = {(i, j) for i, j in itertools.combinations(range(20), 2) if i % 3 == j % 3}
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected


def test_pairs_are_drawn_where_there_are_many():
    goodness = np.random.default_rng(0).normal(size=200)
    scores = np.stack([goodness, -goodness]).astype(np.float32)
    pairs = Pairs.draw(scores, goodness, np.random.default_rng(0))
    assert len(pairs.better) == PAIRS
    taus = pairs.taus(np.zeros(PAIRS, dtype=np.float32), (2.0, -0.5), slice(0, 2))
    assert taus.tolist() == [[1.0, -1.0], [-1.0, 1.0]]


def test_a_start_that_nothing_improves_stays():
    goodness, scores = grounds()
    for name, quality in goodness.items():
        scores[name][6] = quality
    climber, *_ = ascent(most=3, scores=scores)
    assert climber.climb(Sum(((1.0, TERMS[6]),))) == Sum(((1.0, TERMS[6]),))


def test_benchmarks_of_one_space_have_one_vote():
    reachable = {"a": 0.5, "b": 0.5, "c": 1.0}
    taus = {"a": np.array([0.5, 0.1]), "b": np.array([0.0, 0.3]), "c": np.array([0.9, 0.3])}
    spaces = {"a": "gans", "b": "gans", "c": "others"}
    assert Objective(reachable, spaces, "worst")(taus) == pytest.approx([0.5, 0.3])
    assert Objective(reachable, spaces, "mean")(taus) == pytest.approx([0.7, 0.35])
    alone = {name: name for name in taus}
    assert Objective(reachable, alone, "worst")(taus) == pytest.approx([0.0, 0.2])
