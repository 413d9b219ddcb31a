"""A space under a budget of parameters and MACs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autogas.errors import InputError
from autogas.proxies.named import get_proxy
from autogas.spaces import Cost, Space
from autogas.workflows.scoring import scoring_inputs, space_key
from autogas.workflows.search_settings import SearchSettings, spaces_of

ENUMERABLE = 100_000
"""Architectures whose costs are listed before a search."""


def check(s: SearchSettings) -> Budget:
    """The space under its budget; says at once what is wrong with it, the proxy or the images."""
    get_proxy(s.proxy)
    for space in spaces_of(s):
        scoring_inputs(space_key(space), s.images, s.batch_size, s.seed)
    within = Budget(spaces_of(s)[0], s)
    if within.members == []:
        raise InputError(f"no architecture of {s.space} is inside the budget ({s.budget})")
    return within


class Budget:
    """A space under a budget of parameters and MACs: the operators of a search, with costs.

    Attributes:
        members: all architectures inside the budget, where costs are formulas and the space can be enumerated, or None.
    """

    def __init__(self, space: Space[Any], s: SearchSettings) -> None:
        self.space = space
        self.max_params = math.inf if s.max_params is None else s.max_params
        self.max_macs = math.inf if s.max_macs is None else s.max_macs
        self.limited = s.max_params is not None or s.max_macs is not None
        self.cost: Callable[[Any], Cost] = functools.lru_cache(maxsize=1 << 16)(space.cost)
        few = space.costs_by_formula and len(space) <= ENUMERABLE
        self.members = list(filter(self.admits, space.enumerate())) if few and self.limited else None

    def admits(self, arch: Any) -> bool:
        """Whether an architecture is inside the budget."""
        if not self.limited:
            return True
        cost = self.cost(arch)
        return cost.params <= self.max_params and cost.macs <= self.max_macs

    def sample(self, rng: np.random.Generator) -> Any:
        """Uniform over ``members`` where they are known, else a draw of the space, which may be outside."""
        return self.space.sample(rng) if self.members is None else self.members[int(rng.integers(len(self.members)))]

    def mutate(self, arch: Any, rng: np.random.Generator) -> Any:
        """As the space does."""
        return self.space.mutate(arch, rng)

    def crossover(self, first: Any, second: Any, rng: np.random.Generator) -> Any:
        """As the space does."""
        return self.space.crossover(first, second, rng)
