import numpy as np
import pytest

from autogas.proxies.language.expression import Sum, parse_proxy
from autogas.proxies.language.sum_grammar import SumGrammar

SMALL = SumGrammar(2, layers=("activations",), transforms=((), ("softmax",)))


def test_terms_are_all_and_each_once():
    terms = [str(term) for term in SMALL.terms()]
    assert len(terms) == len(set(terms)) == len(SMALL) == 1 * 7 * 2 * 3 * 11 * 8
    assert all(str(parse_proxy(text)) == text for text in terms[::37])


def test_sizes_are_read_as_logarithms():
    for term in SMALL.terms():
        is_size = term.reduction in ("eigenvalue_floor", "eigenvalue_max", "eigenvalue_std", "trace")
        assert term.augments == (("log",) if is_size else ())


def test_terms_need_the_prefixes_that_it_names():
    assert {term.prefix.measured for term in SMALL.terms()} == set(SMALL.prefixes)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_operators_stay_inside(most):
    grammar, rng = SumGrammar(most), np.random.default_rng(0)
    inside = set(grammar.terms())
    population = [grammar.sample(rng) for _ in range(60)]
    for _ in range(200):
        first, second = (population[i] for i in rng.integers(len(population), size=2))
        child = grammar.crossover(first, second, rng)
        mutant = grammar.mutate(child, rng)
        assert mutant != child
        for genome in (child, mutant):
            assert isinstance(genome, Sum)
            assert 1 <= len(genome.terms) <= most
            assert {term for _, term in genome.terms} <= inside
            assert all(factor for factor, _ in genome.terms)
            assert parse_proxy(str(genome)).terms == genome.terms or len(genome.terms) == 1
        population.append(mutant)
    assert {len(genome.terms) for genome in population} == set(range(1, most + 1))


def test_a_child_has_terms_of_both_parents_only():
    grammar, rng = SumGrammar(3), np.random.default_rng(1)
    for _ in range(50):
        first, second = grammar.sample(rng), grammar.sample(rng)
        assert set(grammar.crossover(first, second, rng).terms) <= {*first.terms, *second.terms}


def test_samples_repeat_with_the_seed():
    drawn = [[SMALL.sample(rng) for _ in range(20)] for rng in map(np.random.default_rng, (1, 1, 2))]
    assert drawn[0] == drawn[1] != drawn[2]
