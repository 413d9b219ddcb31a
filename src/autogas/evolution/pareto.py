"""NSGA-II on the operators of a space: fitness against costs that are known without evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from autogas.evolution.loop import MAX_REDRAWS, G, GenomeSpace, Strategy


def fronts(points: ArrayLike) -> list[NDArray[np.intp]]:
    """Positions of the points ``[P, M]`` (smaller is better) by front, the non-dominated ones first, each in order."""
    points = np.asarray(points, dtype=float)
    found = NonDominatedSorting().do(points) if len(points) else []
    return [np.sort(front) for front in found]


def front(told: Mapping[G, float], costs: Callable[[G], Sequence[float]]) -> list[G]:
    """Genomes of finite fitness that no other dominates, best fitness first."""
    known = [genome for genome, fitness in told.items() if math.isfinite(fitness)]
    first = fronts(objectives(known, told, costs))[:1]
    return sorted((known[i] for places in first for i in places), key=lambda genome: -told[genome])


def objectives(
    genomes: Sequence[G], told: Mapping[G, float], costs: Callable[[G], Sequence[float]]
) -> NDArray[np.float64]:
    """What is to be small of each genome, ``[P, M]``: minus its fitness, then its costs."""
    return np.array([[-told[genome], *costs(genome)] for genome in genomes], dtype=np.float64)


class NSGA2(Strategy[G]):
    """Deb et al., A fast and elitist multiobjective genetic algorithm (2002).

    Parents win binary tournaments by front, then by crowding distance; a child is a crossover, mutated. Sorting is
    pymoo's.

    Args:
        costs: what is to be small beside the fitness that is to be big.
    """

    def __init__(
        self,
        space: GenomeSpace[G],
        *,
        costs: Callable[[G], Sequence[float]],
        population: int = 20,
        rng: np.random.Generator,
        admits: Callable[[G], bool] = lambda _: True,
        redraws: int = MAX_REDRAWS,
    ) -> None:
        super().__init__(space, population=population, rng=rng, admits=admits, redraws=redraws)
        self.costs = costs
        self.survivors: list[G] = []

    def tell(self, genomes: Sequence[G], fitness: Sequence[float]) -> None:
        """Report fitness; survivors are the first fronts of old and new, the last of them thinned by crowding."""
        super().tell(genomes, fitness)
        pool = [*self.survivors, *(g for g, f in zip(genomes, fitness, strict=True) if math.isfinite(f))]
        if pool:
            self.survivors = [pool[i] for i in self._order(pool)[: self.population]]

    def _order(self, pool: Sequence[G]) -> list[int]:
        points = objectives(pool, self.told, self.costs)
        order: list[int] = []
        for places in fronts(points):
            crowding = calc_crowding_distance(points[places])
            order += [int(places[i]) for i in np.argsort(-crowding, kind="stable")]
        return order

    def _proposals(self) -> Sequence[Callable[[], G]]:
        return [self._child] * self.population if self.survivors else ()

    def _child(self) -> G:
        return self.space.mutate(self.space.crossover(self._parent(), self._parent(), self.rng), self.rng)

    def _parent(self) -> G:
        """Winner of a binary tournament; survivors are kept in order of front and crowding."""
        return self.survivors[int(self.rng.integers(len(self.survivors), size=2).min())]
