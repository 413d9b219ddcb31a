"""The one search loop: ask for candidates, tell how good they were. It knows genomes only by three operators."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

G = TypeVar("G", bound=Hashable)
MAX_REDRAWS = 50


class GenomeSpace(Protocol[G]):
    """Where genomes come from; proxies (``Grammar``) and architectures are genomes."""

    def sample(self, rng: np.random.Generator) -> G:
        """Draw a genome."""

    def mutate(self, genome: G, rng: np.random.Generator) -> G:
        """A neighbour of ``genome``."""

    def crossover(self, first: G, second: G, rng: np.random.Generator) -> G:
        """A child of two genomes."""


class Strategy(Generic[G]):
    """Ask/tell with memory: no genome is asked for twice, and the best is kept.

    Args:
        space: the operators.
        population: candidates an iteration.
        rng: the only source of randomness; same state, same search.
        admits: whether a genome may be proposed (a budget, for one).
        redraws: draws that may give nothing new before a place in the batch stays empty.
    """

    def __init__(
        self,
        space: GenomeSpace[G],
        *,
        population: int = 20,
        rng: np.random.Generator,
        admits: Callable[[G], bool] = lambda _: True,
        redraws: int = MAX_REDRAWS,
    ) -> None:
        if population < 1:
            raise ValueError(f"population={population}: expected numbers of 1 or more")
        self.redraws = redraws
        self.space = space
        self.population = population
        self.rng = rng
        self.admits = admits
        self.told: dict[G, float] = {}
        self.best: tuple[G, float] | None = None

    def ask(self) -> list[G]:
        """Up to ``population`` new genomes; fewer when draws give nothing new that is admitted."""
        batch: dict[G, None] = {}
        for draw in self._proposals():
            self._add_new(batch, draw)
        while len(batch) < self.population and self._add_new(batch, lambda: self.space.sample(self.rng)):
            pass
        return list(batch)[: self.population]

    def tell(self, genomes: Sequence[G], fitness: Sequence[float]) -> None:
        """Report fitness, bigger is better; a failed genome has NaN."""
        for genome, value in zip(genomes, fitness, strict=True):
            self.told[genome] = value
            if math.isfinite(value) and (self.best is None or value > self.best[1]):
                self.best = (genome, value)

    def _proposals(self) -> Sequence[Callable[[], G]]:
        """Draws to try before random ones fill the batch."""
        return ()

    def _add_new(self, batch: dict[G, None], draw: Callable[[], G]) -> bool:
        for _ in range(self.redraws):
            genome = draw()
            if genome not in self.told and genome not in batch and self.admits(genome):
                batch[genome] = None
                return True
        return False


class RandomSearch(Strategy[G]):
    """Every candidate is a random draw: the paper's ablation."""


class Evolution(Strategy[G]):
    """Algorithm 1 of Auto-GAS (Li et al., ECCV 2024).

    Each iteration draws a share ``sampling_ratio`` of the population, takes its ``top_k`` as parents, at most half as
    many as the population, proposes one mutant and one crossover a parent, and fills up with random genomes. The best
    ``population`` of old and new survive.

    Args:
        sampling_ratio: r of the paper, above 0 and at most 1.
        top_k: k of the paper.
    """

    def __init__(
        self,
        space: GenomeSpace[G],
        *,
        population: int = 20,
        sampling_ratio: float = 0.9,
        top_k: int = 5,
        rng: np.random.Generator,
        admits: Callable[[G], bool] = lambda _: True,
        redraws: int = MAX_REDRAWS,
    ) -> None:
        super().__init__(space, population=population, rng=rng, admits=admits, redraws=redraws)
        if not 0 < sampling_ratio <= 1:
            raise ValueError(f"sampling_ratio={sampling_ratio}: expected above 0 and at most 1")
        if top_k < 1:
            raise ValueError(f"top_k={top_k}: expected numbers of 1 or more")
        self.sampling_ratio = sampling_ratio
        self.top_k = top_k
        self.survivors: list[tuple[G, float]] = []

    def tell(self, genomes: Sequence[G], fitness: Sequence[float]) -> None:
        """Report fitness; survivors are the best of old and new, older first among equals."""
        super().tell(genomes, fitness)
        finite = [(g, f) for g, f in zip(genomes, fitness, strict=True) if math.isfinite(f)]
        self.survivors = sorted(self.survivors + finite, key=lambda pair: -pair[1])[: self.population]

    def _proposals(self) -> Sequence[Callable[[], G]]:
        if not self.survivors:
            return ()
        size = math.ceil(self.sampling_ratio * len(self.survivors))
        drawn = sorted(self.rng.choice(len(self.survivors), size=size, replace=False))
        most = max(1, self.population // 2)  # or there were no room for their crossovers
        parents = [self.survivors[i][0] for i in drawn[: min(self.top_k, most)]]
        mutants = [functools.partial(self.space.mutate, parent, self.rng) for parent in parents]
        return [*mutants, *(functools.partial(self._cross, parent, parents) for parent in parents)]

    def _cross(self, parent: G, parents: Sequence[G]) -> G:
        other = parents[int(self.rng.integers(len(parents)))]
        return self.space.crossover(parent, other, self.rng)
