import itertools
import math

import numpy as np
import pytest

from autogas.evolution import Evolution, RandomSearch

BITS = 16


class Bits:
    """Strings of bits; counts what it was asked for."""

    def __init__(self, length=BITS):
        self.length = length
        self.calls = {"sample": 0, "mutate": 0, "crossover": 0}
        self.parents = []

    def sample(self, rng):
        self.calls["sample"] += 1
        return tuple(map(int, rng.integers(2, size=self.length)))

    def mutate(self, genome, rng):
        self.calls["mutate"] += 1
        self.parents.append(genome)
        flip = int(rng.integers(self.length))
        return tuple(bit ^ (i == flip) for i, bit in enumerate(genome))

    def crossover(self, first, second, rng):
        self.calls["crossover"] += 1
        self.parents += [first, second]
        picks = rng.integers(2, size=self.length)
        return tuple((a, b)[pick] for a, b, pick in zip(first, second, picks, strict=True))


def generator(seed=0):
    return np.random.default_rng(seed)


def run(strategy, iterations, fitness=sum):
    """All batches asked for, in order, each told its fitness."""
    batches = []
    for _ in range(iterations):
        batch = strategy.ask()
        strategy.tell(batch, [fitness(genome) for genome in batch])
        batches.append(batch)
    return batches


def flat(batches):
    return list(itertools.chain.from_iterable(batches))


either = pytest.mark.parametrize("kind", [Evolution, RandomSearch])


@either
@pytest.mark.parametrize("population", [1, 7, 20])
def test_batches_are_full_and_nothing_is_asked_twice(kind, population):
    batches = run(kind(Bits(), population=population, rng=generator()), 15)
    assert [len(batch) for batch in batches] == [population] * 15
    asked = flat(batches)
    assert len(set(asked)) == len(asked)


@either
def test_only_what_is_admitted_is_asked(kind):
    asked = flat(run(kind(Bits(), population=8, rng=generator(), admits=lambda g: sum(g) % 2 == 0), 10))
    assert len(asked) == 80
    assert all(sum(genome) % 2 == 0 for genome in asked)


@either
def test_the_same_generator_gives_the_same_search(kind):
    first, again, other = (run(kind(Bits(), population=6, rng=generator(seed)), 8) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@either
def test_the_global_generator_is_not_used(kind):
    before = np.random.get_state()  # noqa: NPY002
    run(kind(Bits(), population=6, rng=generator()), 3)
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state(), strict=True))  # noqa: NPY002


@either
def test_the_best_is_the_maximum_of_all(kind):
    strategy = kind(Bits(), population=9, rng=generator())
    asked = flat(run(strategy, 12))
    genome, fitness = strategy.best
    assert fitness == sum(genome) == max(map(sum, asked))
    assert strategy.told == {g: sum(g) for g in asked}


@either
def test_the_first_of_equals_stays_the_best(kind):
    strategy = kind(Bits(), population=3, rng=generator())
    strategy.tell([(0,), (1,), (2,)], [1.0, 2.0, 2.0])
    strategy.tell([(3,)], [2.0])
    assert strategy.best == ((1,), 2.0)


@either
@pytest.mark.parametrize("failed", [math.nan, -math.inf, math.inf])
def test_a_failed_genome_is_never_the_best(kind, failed):
    strategy = kind(Bits(), population=5, rng=generator())
    run(strategy, 10, lambda genome: failed if sum(genome) > 7 else sum(genome))
    assert strategy.best[1] == 7
    assert math.isfinite(strategy.best[1])


@either
def test_there_is_no_best_when_everything_fails(kind):
    strategy = kind(Bits(), population=5, rng=generator())
    assert strategy.best is None
    asked = flat(run(strategy, 4, lambda genome: math.nan))
    assert strategy.best is None
    assert len(set(asked)) == 20


@either
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_tiny_space_runs_dry(kind, length):
    strategy = kind(Bits(length), population=5, rng=generator())
    batches = run(strategy, 6)
    asked = flat(batches)
    assert sorted(asked) == sorted(itertools.product((0, 1), repeat=length))
    assert batches[-1] == []
    assert strategy.best == ((1,) * length, length)


@either
def test_nothing_is_asked_when_nothing_is_admitted(kind):
    assert kind(Bits(), population=5, rng=generator(), admits=lambda _: False).ask() == []


@either
def test_asking_again_without_telling_may_repeat_but_within_a_batch_nothing_does(kind):
    strategy = kind(Bits(2), population=4, rng=generator())
    assert sorted(strategy.ask()) == sorted(strategy.ask()) == sorted(itertools.product((0, 1), repeat=2))


@either
@pytest.mark.parametrize(("genomes", "fitness"), [([(1,)], []), ([], [1.0]), ([(1,), (0,)], [1.0])])
def test_fitness_must_be_told_for_each(kind, genomes, fitness):
    with pytest.raises(ValueError, match="zip"):
        kind(Bits(), rng=generator()).tell(genomes, fitness)


@either
@pytest.mark.parametrize("population", [0, -3])
def test_a_population_of_none_is_refused(kind, population):
    with pytest.raises(ValueError, match=f"population={population}"):
        kind(Bits(), population=population, rng=generator())


@pytest.mark.parametrize(
    ("name", "value"), [("sampling_ratio", 0), ("sampling_ratio", 1.01), ("top_k", 0), ("top_k", -1)]
)
def test_bad_settings_of_evolution_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Evolution(Bits(), rng=generator(), **{name: value})


def test_random_search_only_samples():
    space = Bits()
    run(RandomSearch(space, population=6, rng=generator()), 5)
    assert space.calls["mutate"] == space.calls["crossover"] == 0


def test_random_search_does_not_look_at_fitness():
    up, down = (run(RandomSearch(Bits(), population=6, rng=generator()), 5, lambda g, s=s: s * sum(g)) for s in (1, -1))
    assert up == down


def test_survivors_are_the_best_seen():
    strategy = Evolution(Bits(), population=7, rng=generator())
    asked = flat(run(strategy, 20))
    assert [fitness for _, fitness in strategy.survivors] == sorted(map(sum, asked), reverse=True)[:7]
    assert all(sum(genome) == fitness for genome, fitness in strategy.survivors)
    assert len(dict(strategy.survivors)) == 7


def test_older_survivors_stay_among_equals():
    strategy = Evolution(Bits(), population=2, rng=generator())
    strategy.tell([(0,), (1,)], [1.0, 2.0])
    strategy.tell([(2,), (3,)], [2.0, 1.0])
    assert strategy.survivors == [((1,), 2.0), ((2,), 2.0)]


def test_a_failed_genome_never_survives():
    strategy = Evolution(Bits(), population=20, rng=generator())
    run(strategy, 5, lambda genome: math.nan if genome[0] else float(sum(genome)))
    assert len(strategy.survivors) == 20
    assert not any(genome[0] for genome, _ in strategy.survivors)


@pytest.mark.parametrize("top_k", [1, 3, 8])
def test_a_batch_has_a_mutant_and_a_crossover_of_each_parent(top_k):
    space = Bits()
    strategy = Evolution(space, population=40, sampling_ratio=1.0, top_k=top_k, rng=generator())
    run(strategy, 1)
    best = {genome for genome, _ in strategy.survivors[:top_k]}
    space.calls = dict.fromkeys(space.calls, 0)
    batch = strategy.ask()
    assert set(space.parents) == best
    assert len(batch) == 40
    assert min(space.calls["mutate"], space.calls["crossover"]) >= top_k
    assert space.calls["sample"] >= 40 - 2 * top_k


def test_parents_are_the_best_of_a_drawn_share():
    """With a share of a half, the best of all is a parent about half of the time."""
    present = 0
    for seed in range(100):
        space = Bits()
        strategy = Evolution(space, population=10, sampling_ratio=0.5, top_k=1, rng=generator(seed))
        run(strategy, 1)
        strategy.ask()
        present += strategy.survivors[0][0] in space.parents
        assert set(space.parents) <= {genome for genome, _ in strategy.survivors[:6]}
    assert 30 <= present <= 70


def test_proposals_beyond_the_population_are_cut():
    strategy = Evolution(Bits(), population=4, top_k=20, rng=generator())
    assert [len(batch) for batch in run(strategy, 6)] == [4] * 6


def test_evolution_beats_random_search():
    """Sixteen bits, 200 evaluations, ten pairs with one generator each."""
    gains = []
    for seed in range(10):
        strategies = [kind(Bits(), population=10, rng=generator(seed)) for kind in (Evolution, RandomSearch)]
        for strategy in strategies:
            run(strategy, 20)
        gains.append(strategies[0].best[1] - strategies[1].best[1])
    assert np.mean(gains) > 1
    assert sum(gain >= 0 for gain in gains) >= 9


def test_with_equal_fitness_evolution_keeps_finding_new_genomes():
    asked = flat(run(Evolution(Bits(), population=10, rng=generator()), 20, lambda genome: 0.0))
    assert len(set(asked)) == 200


@pytest.mark.parametrize("population", [1, 2, 5, 10])
def test_there_is_room_for_crossovers(population):
    space = Bits()
    strategy = Evolution(space, population=population, top_k=10, sampling_ratio=1.0, rng=generator())
    run(strategy, 1)
    before = dict(space.calls)
    batch = strategy.ask()
    mutants, crossovers = (space.calls[name] - before[name] for name in ("mutate", "crossover"))
    assert mutants >= 1
    assert population == 1 or crossovers >= population // 2
    assert len(batch) == population
