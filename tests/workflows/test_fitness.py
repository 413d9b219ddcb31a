import itertools
import math

import numpy as np
import pytest
from scipy import stats

from autogas.errors import InputError
from autogas.proxies.language.expression import Prefix, parse_proxy
from autogas.proxies.language.grammar import Grammar
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import Statistics
from autogas.spaces import get_space
from autogas.workflows.judging import fitness as module
from autogas.workflows.judging.fitness import KEPT, Enumeration, Fitness, histogram

PREFIXES = (Prefix(), Prefix(binariser="above_mean"))
ARCHS = ["64-1234-basic", "64-4111-basic", "64-3121-basic", "64-4241-basic", "64-1114-basic", "64-34123-basic"]
QUALITY = np.array([0.3, 0.9, 0.3, 0.1, 0.7, 0.5])


@pytest.fixture(scope="module")
def statistics():
    space = get_space("transnas-macro", base_width=4, decoder_divisor=64, stem_stride=1, image_size=16)
    bank = FeatureBank(space, prefixes=PREFIXES, batch_size=4)
    return [bank.measure(space.parse(text)) for text in ARCHS]


@pytest.fixture(scope="module")
def one_failed(statistics):
    """The same, but the second best network has no score."""
    words = {prefix.layers for prefix in PREFIXES}
    live, positions = ({word: np.zeros(0, dtype=kind) for word in words} for kind in (bool, np.int64))
    failed = Statistics({}, {}, {}, live, positions, "ignores its input", {})
    return [*statistics[:4], failed, *statistics[5:]]


@pytest.fixture(scope="module", params=["all alive", "one failed"])
def networks(request, statistics, one_failed):
    return statistics if request.param == "all alive" else one_failed


@pytest.fixture(scope="module")
def grammar():
    """A small part of the language: 405 expressions."""
    grammar = Grammar(PREFIXES)
    grammar.kernels = ("gram", "distance", "hamming")
    grammar.reductions = ("trace", "slogdet", "entry_std")
    grammar.tails = grammar.tails[::12]
    return grammar


def last(scores):
    """Scores to twelve digits, missing ones below all others."""
    rounded = [float(f"{score:.11e}") for score in scores]
    finite = [score for score in rounded if math.isfinite(score)]
    return [score if math.isfinite(score) else min(finite) - 1 - abs(min(finite)) for score in rounded]


def tau_of(scores):
    """Tau-b of scipy, NaN for constant scores."""
    return stats.kendalltau(QUALITY, last(scores)).statistic


@pytest.fixture(scope="module")
def everything(grammar, networks):
    """Expression, ranking and tau-b of the whole grammar, one at a time; no ranking for an expression that fails."""
    evaluator = Evaluator(networks)
    alive = [i for i, network in enumerate(networks) if not network.failure]
    out = []
    for proxy in grammar.enumerate():
        scores = evaluator.scores(proxy)
        good = np.isfinite(scores[alive]).all()
        ranking = tuple(stats.rankdata(last(scores), method="dense")) if good else None
        out.append((str(proxy), ranking, tau_of(scores) if good else math.nan))
    return out


def test_fitness_is_scipys_tau_of_the_scores(networks, grammar):
    judge, evaluator = Fitness(networks, QUALITY), Evaluator(networks)
    rng = np.random.default_rng(0)
    verdicts = {proxy: judge(proxy) for proxy in (grammar.sample(rng) for _ in range(60))}
    judged = {proxy: verdict.fitness for proxy, verdict in verdicts.items() if not verdict.reason}
    assert len(judged) > 30
    assert judged == pytest.approx({proxy: tau_of(evaluator.scores(proxy)) for proxy in judged}, abs=1e-9)


@pytest.mark.parametrize("fitness", ["kendall_b", "kendall_a"])
def test_ties_count_as_the_fitness_says(networks, grammar, fitness, monkeypatch):
    monkeypatch.setattr(Evaluator, "scores", lambda self, proxy, scores=Evaluator.scores: np.round(scores(self, proxy)))
    judge, evaluator = Fitness(networks, QUALITY, fitness), Evaluator(networks)
    rng = np.random.default_rng(0)
    tied = 0
    for proxy in (grammar.sample(rng) for _ in range(60)):
        verdict = judge(proxy)
        if verdict.reason:
            continue
        scores = last(evaluator.scores(proxy))
        pairs = [
            (np.sign(scores[i] - scores[j]), np.sign(QUALITY[i] - QUALITY[j]))
            for i, j in itertools.combinations(range(len(QUALITY)), 2)
        ]
        concordant = sum(x * y for x, y in pairs)
        tied += any(x == 0 for x, _ in pairs)
        untied = math.sqrt(sum(x != 0 for x, _ in pairs) * sum(y != 0 for _, y in pairs))
        assert verdict.fitness == pytest.approx(concordant / (untied if fitness == "kendall_b" else len(pairs)))
    assert tied > 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gram > trace > neg > log", ""),
        ("distance > trace > log", "not finite on 6 of 6 networks, first on number 0"),
        ("cosine > trace > pow2", "constant on all networks"),
    ],
)
def test_a_failure_has_a_reason_and_no_fitness(statistics, text, reason):
    verdict = Fitness(statistics, QUALITY)(parse_proxy(text))
    assert verdict.reason.startswith(reason) if reason else verdict.reason == ""
    assert math.isnan(verdict.fitness) == bool(reason)


def test_equal_rankings_are_correlated_once(statistics, calls):
    judge = Fitness(statistics, QUALITY)
    correlated = calls(module, "kendall_of_ranks")
    same = [judge(parse_proxy(f"gram > trace{ending}")) for ending in ("", " > mean > pow2", " > mean > sqrt")]
    assert len(correlated) == 1
    assert len(set(same)) == 1
    assert judge(parse_proxy("gram > trace > mean > neg")).fitness == pytest.approx(-same[0].fitness)
    assert len(correlated) == 2


@pytest.mark.parametrize("alive", [0, 2])
def test_too_few_networks_with_scores_are_refused(statistics, one_failed, alive):
    networks = [*statistics[:alive], *[one_failed[4]] * 4]
    with pytest.raises(InputError, match=f"only {alive} validation networks"):
        Fitness(networks, QUALITY[: len(networks)])


def test_enumeration_is_brute_force(networks, grammar, everything):
    found = Fitness(networks, QUALITY).enumerate(grammar)
    distinct = {ranking: tau for _, ranking, tau in everything if ranking is not None and math.isfinite(tau)}
    assert found.expressions == len(everything) == len(grammar)
    assert found.rankings == len(distinct) > 10
    assert found.taus == pytest.approx(sorted(distinct.values(), reverse=True), abs=1e-9)


def test_enumeration_counts_every_failed_expression(networks, grammar, everything):
    found = Fitness(networks, QUALITY).enumerate(grammar)
    failed = sum(not math.isfinite(tau) for _, _, tau in everything)
    assert found.failed == failed > 0


def test_the_top_of_an_enumeration_are_its_best_rankings(networks, grammar, everything):
    found = Fitness(networks, QUALITY).enumerate(grammar)
    best = {}
    for text, ranking, tau in everything:
        if math.isfinite(tau):
            best.setdefault(ranking, (tau, text))  # of equal rankings, the first expression
    expected = sorted(best.values(), key=lambda pair: -pair[0])[:KEPT]  # of equal taus, the first ranking
    assert [tau for tau, _ in found.top] == pytest.approx([tau for tau, _ in expected[: module.KEPT]])
    assert [text for _, text in found.top] == [text for _, text in expected[: module.KEPT]]


def test_only_so_many_of_the_top_are_kept(statistics, grammar, monkeypatch):
    judge = Fitness(statistics, QUALITY)
    everything = judge.enumerate(grammar)
    monkeypatch.setattr(module, "KEPT", 5)
    few = judge.enumerate(grammar)
    assert few.top == everything.top[:5]
    assert few.rankings == everything.rankings > 5


def test_a_single_verdict_has_its_place_in_the_enumeration(networks, grammar):
    judge = Fitness(networks, QUALITY)
    found = judge.enumerate(grammar)
    for tau, text in found.top[:: max(1, len(found.top) // 10)]:
        fitness = judge(parse_proxy(text)).fitness
        assert fitness == pytest.approx(tau, abs=1e-12)
        assert found.place(fitness) == 1 + sum(other > fitness + 1e-9 for other in found.taus)
    assert found.place(found.top[0][0]) == 1


@pytest.mark.parametrize(("fitness", "place"), [(1.0, 1), (0.8, 1), (0.7, 2), (0.5, 2), (0.4, 4), (-1.0, 5)])
def test_place_counts_the_better_ones(fitness, place):
    assert Enumeration(taus=np.array([0.8, 0.5, 0.5, 0.1])).place(fitness) == place


def test_histogram_counts_every_tau():
    taus = np.array([-1.0, -0.99, 0.0, 0.01, 0.5, 1.0])
    counts = histogram(taus)["counts"]
    assert sum(counts) == len(taus)
    assert {i: n for i, n in enumerate(counts) if n} == {0: 2, 50: 2, 75: 1, 99: 1}
