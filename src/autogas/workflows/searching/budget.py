"""A space under a budget of parameters and MACs."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from autogas.errors import InputError
from autogas.proxies.named import get_proxy
from autogas.runs import Failure, attempt
from autogas.seeding import numpy_generator
from autogas.spaces import Cost, Space
from autogas.workflows.scoring import scoring_inputs, space_key
from autogas.workflows.searching.settings import SearchSettings, spaces_of

ENUMERABLE = 100_000
"""Architectures whose costs are listed before a search."""
REDRAWS = 200
"""Draws of an architecture outside the budget before a place in a population stays empty."""
DRAWS = 5 * REDRAWS
"""Draws outside the budget before it counts as empty."""


def check(s: SearchSettings) -> Budget:
    """The space under its budget; says at once what is wrong with it, the proxy or the images."""
    get_proxy(s.proxy)
    for space in spaces_of(s):
        scoring_inputs(space_key(space), s.images, s.batch_size, s.seed)
    within = Budget(spaces_of(s)[0], s)
    if not within.holds_any(draws=DRAWS):
        raise within.nothing_inside()
    return within


class Budget:
    """A space under a budget of parameters and MACs: the operators of a search, with costs.

    Attributes:
        failure: why the first one that could not be built could not.
        least: the fewest parameters and the fewest MACs of those that were asked for.
        open: whether everything is inside, and costs need not be asked for.
        members: all architectures inside the budget, where costs are formulas and the space can be enumerated, or None.
    """

    def __init__(self, space: Space[Any], s: SearchSettings) -> None:
        self.space = space
        self.s = s
        self.least = Cost(sys.maxsize, sys.maxsize)
        self.failure = ""
        self.max_params = math.inf if s.max_params is None else s.max_params
        self.max_macs = math.inf if s.max_macs is None else s.max_macs
        limited = s.max_params is not None or s.max_macs is not None
        self.open = space.costs_by_formula and not limited
        self.cost: Callable[[Any], Cost] = functools.lru_cache(maxsize=1 << 16)(space.cost)
        few = space.costs_by_formula and len(space) <= ENUMERABLE
        self.members = list(filter(self.admits, space.enumerate())) if few and limited else None

    def admits(self, arch: Any) -> bool:
        """Whether an architecture can be built and is inside the budget."""
        if self.open:
            return True
        cost = attempt(self.cost, arch)
        if isinstance(cost, Failure):  # it cannot be built, or does not run
            self.failure = self.failure or cost.reason
            return False
        self.least = Cost(min(self.least.params, cost.params), min(self.least.macs, cost.macs))
        return cost.params <= self.max_params and cost.macs <= self.max_macs

    def holds_any(self, draws: int) -> bool:
        """Whether any architecture is inside; where they cannot be listed, any of so many random ones."""
        if self.members is not None:
            return bool(self.members)
        if self.open:
            return True
        rng = numpy_generator("budget", self.s.seed)
        return any(self.admits(self.space.sample(rng)) for _ in range(draws))

    def nothing_inside(self, milliseconds: float = math.inf) -> InputError:
        """What to raise when no architecture was found inside, with the smallest and fastest that were looked at."""
        if self.failure and self.least.params == sys.maxsize:
            return InputError(f"no architecture of {self.s.space} can be built and run: {self.failure}")
        seen = [
            f"{least:.4g} {name}"
            for name, limit, least in (
                ("parameters", self.s.max_params, self.least.params),
                ("MACs", self.s.max_macs, self.least.macs),
                ("ms", self.s.max_latency, milliseconds),
            )
            if limit is not None and math.isfinite(least)
        ]
        smallest = f": the smallest seen has {', another '.join(seen)}" if seen else f" among {REDRAWS} draws"
        return InputError(f"no architecture of {self.s.space} is inside the budget ({self.s.budget}){smallest}")

    def sample(self, rng: np.random.Generator) -> Any:
        """Uniform over ``members`` where they are known, else a draw of the space, which may be outside."""
        return self.space.sample(rng) if self.members is None else self.members[int(rng.integers(len(self.members)))]

    def mutate(self, arch: Any, rng: np.random.Generator) -> Any:
        """As the space does."""
        return self.space.mutate(arch, rng)

    def crossover(self, first: Any, second: Any, rng: np.random.Generator) -> Any:
        """As the space does."""
        return self.space.crossover(first, second, rng)
