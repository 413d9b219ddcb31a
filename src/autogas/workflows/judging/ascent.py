"""Coordinate ascent over sums of terms: each term in turn gives way to the best of all terms, until none does.

Kendall's tau-a is taken of random pairs of architectures here, so that a step through all terms takes seconds; what
comes out is judged on all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autogas.proxies.language.expression import Proxy, Sum
from autogas.proxies.language.sum_grammar import COEFFICIENTS

Values = NDArray[np.float64]
Combine = Callable[[Mapping[str, Values]], Values]
PAIRS = 6000
"""Pairs of architectures of each benchmark that are compared."""
FACTORS = tuple(sign * size for size in COEFFICIENTS for sign in (1, -1))
TOGETHER = 64
"""Terms that are compared at a time."""
ROUNDS = 5


@dataclass(frozen=True)
class Pairs:
    """Compared architectures of one benchmark.

    Attributes:
        scores: of all terms, ``float32 [terms, architectures]``.
        first, second: numbers of the architectures ``[pairs]``.
        better: 1, 0 or -1 for each pair.
    """

    scores: NDArray[np.float32]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    better: NDArray[np.float32]

    @classmethod
    def draw(
        cls,
        scores: NDArray[np.float32],
        goodness: Values,
        rng: np.random.Generator,
        labels: NDArray[np.intp] | None = None,
    ) -> Pairs:
        """Random pairs, or all where there are fewer; of equal label where there are labels ``[architectures]``."""
        first, second = np.triu_indices(len(goodness), 1)
        if labels is not None:
            equal = labels[first] == labels[second]
            first, second = first[equal], second[equal]
        if len(first) > PAIRS:
            chosen = rng.choice(len(first), size=PAIRS, replace=False)
            first, second = first[chosen], second[chosen]
        return cls(scores, first, second, np.sign(goodness[first] - goodness[second]).astype(np.float32))

    def differences(self, rows: slice | Sequence[int]) -> NDArray[np.float32]:
        """Of the scores of some terms, ``[rows, pairs]``."""
        scores = self.scores[rows]
        found: NDArray[np.float32] = scores[:, self.first] - scores[:, self.second]
        return found

    def taus(self, base: NDArray[np.float32], factors: Sequence[float], rows: slice) -> Values:
        """Tau-a of a sum whose differences are ``base`` with each of some terms added, ``[factors, rows]``."""
        differences = self.differences(rows)
        signs = (np.sign(base + np.float32(factor) * differences) for factor in factors)
        return np.stack([each @ self.better / len(self.better) for each in signs]).astype(np.float64)


class Ascent:
    """Climb from sums to better ones.

    Args:
        terms: all terms.
        grounds: compared architectures, by benchmark; terms with a score that is not finite are left out.
        combine: fitness of many candidates, from their tau-a by benchmark.
        penalty: fitness that each word costs.
        most: terms of a sum at most.
    """

    def __init__(
        self, terms: Sequence[Proxy], grounds: Mapping[str, Pairs], combine: Combine, *, penalty: float, most: int
    ) -> None:
        self.terms = list(terms)
        self.grounds = grounds
        self.combine = combine
        self.penalty = penalty
        self.most = most
        self.place = {term: i for i, term in enumerate(self.terms)}
        self.words = np.array([term.complexity for term in self.terms])
        finite = [np.isfinite(ground.scores).all(axis=1) for ground in grounds.values()]
        self.usable: NDArray[np.bool_] = np.logical_and.reduce(finite)

    def climb(self, start: Sum) -> Sum:
        """Add terms while it helps, then replace each in turn, up to five rounds."""
        current, fitness = start, self.fitness(start)
        while len(current.terms) < self.most:
            found, value = self.best_with(current.terms)
            if value <= fitness:
                break
            current, fitness = found, value
        for _ in range(ROUNDS):
            before = fitness
            for place in range(len(current.terms)):
                if len(current.terms) > 1:
                    found, value = self.best_with([*current.terms[:place], *current.terms[place + 1 :]])
                    if value > fitness + 1e-9:
                        current, fitness = found, value
            if fitness <= before:
                break
        return current.canonical()

    def fitness(self, candidate: Sum) -> float:
        """Of a candidate, on the pairs; minus infinity where a term has no finite score."""
        places = [self.place[term] for _, term in candidate.terms]
        if not self.usable[places].all():
            return -np.inf
        taus = {}
        for name, ground in self.grounds.items():
            terms = zip(candidate.terms, ground.differences(places), strict=True)
            total = sum((np.float32(factor) * difference for (factor, _), difference in terms), np.float32(0))
            taus[name] = np.array([np.sign(total) @ ground.better / len(ground.better)], dtype=np.float64)
        return float(self.combine(taus)[0]) - self.penalty * candidate.complexity

    def best_with(self, rest: Sequence[tuple[float, Proxy]]) -> tuple[Sum, float]:
        """The best sum of some terms and one more, and its fitness on the pairs."""
        base = {
            name: sum(
                (np.float32(factor) * ground.differences([self.place[term]])[0] for factor, term in rest),
                np.zeros(len(ground.better), dtype=np.float32),
            )
            for name, ground in self.grounds.items()
        }
        words = sum(term.complexity + (abs(factor) != 1) for factor, term in rest) + len(rest)
        best: tuple[float, float, int] = (-np.inf, 1.0, 0)
        for start in range(0, len(self.terms), TOGETHER):
            rows = slice(start, start + TOGETHER)
            taus = {name: ground.taus(base[name], FACTORS, rows) for name, ground in self.grounds.items()}
            cost = self.penalty * (words + self.words[rows] + (np.abs(FACTORS) != 1)[:, None])
            fitness = np.where(self.usable[rows], self.combine(taus) - cost, -np.inf)
            factor, place = np.unravel_index(np.argmax(fitness), fitness.shape)
            if fitness[factor, place] > best[0]:
                best = (float(fitness[factor, place]), FACTORS[factor], start + int(place))
        value, coefficient, number = best
        return Sum((*rest, (coefficient, self.terms[number]))), value
