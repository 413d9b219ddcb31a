import itertools

import numpy as np
import pytest

from autogas.evolution.pareto import NSGA2, front, fronts


class Grid:
    """Points (x, y) of a small grid."""

    def sample(self, rng):
        return tuple(map(int, rng.integers(8, size=2)))

    def mutate(self, genome, rng):
        place = int(rng.integers(2))
        return tuple((v + 1) % 8 if i == place else v for i, v in enumerate(genome))

    def crossover(self, first, second, rng):
        return (first[0], second[1])


def value(genome):
    x, y = genome
    return float(x - (y - 3) ** 2)


def cost(genome):
    return [genome[0] ** 2 + genome[1]]


def dominates(a, b):
    return value(a) >= value(b) and cost(a) <= cost(b) and (value(a), cost(a)) != (value(b), cost(b))


def search(iterations, seed=0, **options):
    strategy = NSGA2(Grid(), costs=cost, population=6, rng=np.random.default_rng(seed), **options)
    batches = []
    for _ in range(iterations):
        batch = strategy.ask()
        strategy.tell(batch, [value(genome) for genome in batch])
        batches.append(batch)
    return strategy, batches


def test_a_search_of_everything_finds_the_front_of_brute_force():
    strategy, _ = search(20, redraws=1000)
    everything = list(itertools.product(range(8), repeat=2))
    assert set(strategy.told) == set(everything)
    expected = {g for g in everything if not any(dominates(other, g) for other in everything)}
    found = front(strategy.told, cost)
    assert set(found) == expected
    assert len(expected) > 3
    assert [value(g) for g in found] == sorted((value(g) for g in expected), reverse=True)


def test_survivors_are_the_best_fronts():
    strategy, batches = search(3)
    told = [genome for batch in batches for genome in batch]
    first = {g for g in told if not any(dominates(other, g) for other in told)}
    kept = set(strategy.survivors)
    assert len(strategy.survivors) == 6
    assert first <= kept or kept <= first


def test_what_is_dominated_goes_first_and_crowded_points_next():
    points = [(0.0, 10.0), (0.1, 9.9), (5.0, 5.0), (10.0, 0.0), (10.0, 10.0)]
    strategy = NSGA2(Grid(), costs=lambda g: [points[g][1]], population=3, rng=np.random.default_rng())
    strategy.tell(range(5), [-x for x, _ in points])
    assert set(strategy.survivors) == {0, 2, 3}


def test_only_what_is_admitted_and_new_is_asked():
    _, batches = search(4, admits=lambda g: g[0] < 5)
    asked = [genome for batch in batches for genome in batch]
    assert all(genome[0] < 5 for genome in asked)
    assert len(set(asked)) == len(asked) == 24


def test_the_same_generator_gives_the_same_search():
    assert search(5, seed=1)[1] == search(5, seed=1)[1] != search(5, seed=2)[1]


def test_a_failed_genome_never_survives():
    strategy = NSGA2(Grid(), costs=cost, population=4, rng=np.random.default_rng())
    strategy.tell([(0, 0), (1, 1)], [float("nan"), 1.0])
    assert strategy.survivors == front(strategy.told, cost) == [(1, 1)]
    assert front({}, cost) == []


@pytest.mark.parametrize("count", [0, 1, 40])
def test_fronts_are_those_of_brute_force(count):
    points = np.random.default_rng(count).integers(6, size=(count, 3)).astype(float)
    left, expected = set(range(count)), []
    while left:
        front = {
            i for i in left
            if not any((points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in left)
        }  # fmt: skip
        expected.append(sorted(front))
        left -= front
    assert [list(front) for front in fronts(points)] == expected
