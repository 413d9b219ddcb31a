"""What every space, primitive, scorer and strategy must hold to: tests to inherit, for authors of plug-ins.

The package's own are tested by these. A test class names what it tests::

    from autogas.testing import SpaceContract

    class TestMySpace(SpaceContract):
        space = MySpace()
"""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from autogas.evolution import Strategy
from autogas.proxies.primitives.registry import Kind, Primitive
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import Scorer
from autogas.spaces import Space

DRAWS = 20


class SpaceContract:
    """For a search space whose networks are small enough to build a few."""

    space: ClassVar[Space[Any]]

    def _drawn(self) -> list[Any]:
        rng = np.random.default_rng(0)
        return [self.space.sample(rng) for _ in range(DRAWS)]

    def test_an_architecture_is_its_text(self) -> None:
        """``parse(str(arch))`` is the same architecture, with the same hash."""
        for arch in self._drawn():
            again = self.space.parse(str(arch))
            assert again == arch
            assert hash(again) == hash(arch)
            assert pickle.loads(pickle.dumps(arch)) == arch

    def test_nonsense_is_refused(self) -> None:
        """A text that is no architecture raises ``InputError``."""
        assert not self.space.holds("no architecture")

    def test_children_belong_to_the_space(self) -> None:
        """Mutation changes something; what two equal parents have in common stays."""
        rng = np.random.default_rng(1)
        for first, second in itertools.pairwise(self._drawn()):
            mutant, child = self.space.mutate(first, rng), self.space.crossover(first, second, rng)
            assert mutant != first
            assert self.space.holds(str(mutant))
            assert self.space.holds(str(child))
            assert self.space.crossover(first, first, rng) == first

    def test_the_same_generator_draws_the_same(self) -> None:
        """Sampling depends on the random generator alone."""
        assert self._drawn() == self._drawn()

    def test_enumeration_is_ordered_and_distinct(self) -> None:
        """The first few architectures are the same each time, and there are as many as ``len`` says."""
        first, again = (list(itertools.islice(self.space.enumerate(), 50)) for _ in range(2))
        assert first == again
        assert len(set(first)) == len(first) == min(50, len(self.space))

    def test_a_network_is_determined_by_seed_and_architecture(self) -> None:
        """Two builds are equal; another seed gives other weights, if there are any that are drawn."""
        arch = self._drawn()[0]
        states = [self.space.build(arch, seed=seed).state_dict() for seed in (0, 0, 1)]
        assert states[0].keys() == states[1].keys() == states[2].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])

    def test_a_network_takes_its_inputs(self) -> None:
        """``inputs`` have the shapes that are named, depend on the seed alone, and are taken."""
        model = self.space.build(self._drawn()[0])
        inputs, again = (self.space.inputs(batch_size=2, seed=3) for _ in range(2))
        assert [tuple(x.shape) for x in inputs] == [(2, *shape) for shape in self.space.input_shapes]
        assert all(torch.equal(x, y) for x, y in zip(inputs, again, strict=True))
        with torch.no_grad():
            assert isinstance(model(*inputs), Tensor)

    def test_costs_are_those_of_the_network(self) -> None:
        """``cost`` counts the parameters of the network, and some work."""
        for arch in self._drawn()[:3]:
            cost = self.space.cost(arch)
            assert cost.params == sum(p.numel() for p in self.space.build(arch).parameters())
            assert cost.macs > 0

    def test_traits_are_numbers(self) -> None:
        """Counts that are read off an architecture are finite and have the same names everywhere."""
        traits = [self.space.traits(arch) for arch in self._drawn()]
        assert len({tuple(each) for each in traits}) == 1
        assert all(math.isfinite(value) for each in traits for value in each.values())


class PrimitiveContract:
    """For a primitive of a feature: a transform or a binariser."""

    primitive: ClassVar[Primitive]

    def _features(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        shapes = ((4, 3, 8, 8), (4, 7), (5, 2, 4, 4))
        return [torch.randn(shape, generator=generator) for shape in shapes]

    def _applied(self, x: Tensor) -> Tensor:
        out: Tensor = self.primitive.function(x)
        return out

    def test_it_takes_a_feature(self) -> None:
        """Other primitives take something else."""
        assert Kind.FEATURE in self.primitive.stage.takes

    def test_the_samples_stay_and_the_input_too(self) -> None:
        """As many samples come out, floating-point, and what went in is as it was."""
        for x in self._features():
            before = x.clone()
            out = self._applied(x)
            assert len(out) == len(x)
            assert out.is_floating_point()
            assert torch.equal(x, before)

    def test_it_is_deterministic(self) -> None:
        """The same feature gives the same."""
        for x in self._features():
            assert torch.equal(self._applied(x), self._applied(x))

    def test_facts_hold(self) -> None:
        """What the primitive says of itself is so on random features."""
        fact = self.primitive
        for x in self._features():
            out = self._applied(x)
            if fact.elementwise and out.shape == x.shape:
                assert torch.allclose(self._applied(x[:, :1]), out[:, :1])
            if fact.keeps_sign:
                assert torch.equal(out.flatten(1).sign(), x.flatten(1).sign())
            if fact.positive:
                assert bool((out > 0).all())
            if fact.zero_one:
                assert set(out.unique().tolist()) <= {0.0, 1.0}
            if fact.increasing and out.shape == x.shape:
                order = x.flatten().argsort()
                assert bool((out.flatten()[order].diff() >= 0).all())


class ScorerContract:
    """For a scorer of networks."""

    scorer: ClassVar[Scorer]

    def _network(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1)]
        return nn.Sequential(*layers), (torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)),)

    def _score(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
        return Probe(model, inputs, seed=0).cost_of(self.scorer.of_network)[0]

    def test_a_score_is_a_number_and_repeats(self) -> None:
        """Finite on an ordinary network, and the same each time."""
        first, second = self._score(*self._network()), self._score(*self._network())
        assert math.isfinite(first)
        assert first == second

    def test_the_network_stays_as_it_was(self) -> None:
        """Weights, buffers, mode and the random state are untouched."""
        model, inputs = self._network()
        before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
        self._score(model, inputs)
        assert model.training
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert torch.equal(random, torch.get_rng_state())

    def test_it_says_what_it_is(self) -> None:
        """A line of documentation stands in the list of proxies."""
        assert self.scorer.doc


class StrategyContract:
    """For a search strategy: a class or function that takes a space, ``population`` and ``rng``."""

    strategy: ClassVar[Callable[..., Strategy[Any]]]

    class Numbers:
        """Genomes are whole numbers below 200, neighbours differ by at most 5."""

        def sample(self, rng: np.random.Generator) -> int:
            """Any of them."""
            return int(rng.integers(200))

        def mutate(self, genome: int, rng: np.random.Generator) -> int:
            """A neighbour."""
            return (genome + int(rng.integers(1, 6)) * int(rng.choice([-1, 1]))) % 200

        def crossover(self, first: int, second: int, rng: np.random.Generator) -> int:  # noqa: ARG002
            """Between both."""
            return (first + second) // 2

    def _made(self, **options: Any) -> Strategy[Any]:
        return type(self).strategy(self.Numbers(), population=10, rng=np.random.default_rng(0), **options)

    def _run(self, strategy: Strategy[Any], iterations: int = 10) -> list[int]:
        asked: list[int] = []
        for _ in range(iterations):
            batch = strategy.ask()
            strategy.tell(batch, [float(genome) for genome in batch])
            asked += batch
        return asked

    def test_nothing_is_asked_twice(self) -> None:
        """Every candidate costs a forward pass, so none comes twice."""
        asked = self._run(self._made())
        assert len(set(asked)) == len(asked)
        assert asked

    def test_the_same_generator_gives_the_same_search(self) -> None:
        """A search that was killed can be done again to the same result."""
        assert self._run(self._made()) == self._run(self._made())

    def test_the_best_is_kept(self) -> None:
        """``best`` is the candidate with the highest fitness that was told."""
        strategy = self._made()
        asked = self._run(strategy)
        assert strategy.best == (max(asked), float(max(asked)))

    def test_only_what_is_admitted_is_asked(self) -> None:
        """A budget is kept to."""
        asked = self._run(self._made(admits=lambda genome: genome % 2 == 0))
        assert all(genome % 2 == 0 for genome in asked)

    def test_a_candidate_without_fitness_is_never_the_best(self) -> None:
        """NaN says that there is none."""
        strategy = self._made()
        batch = strategy.ask()
        strategy.tell(batch, [math.nan] * (len(batch) - 1) + [-1.0])
        assert strategy.best == (batch[-1], -1.0)
