"""Strategies by name: the package's own, and those that users add."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from autogas import plugins
from autogas.errors import unknown
from autogas.evolution.loop import Evolution, GenomeSpace, RandomSearch, Strategy

STRATEGIES: dict[str, Callable[..., Strategy[Any]]] = {"evolution": Evolution, "random": RandomSearch}


def register_strategy(name: str, make: Callable[..., Strategy[Any]], *, replace: bool = False) -> None:
    """Make a strategy known to ``search`` and ``discover``.

    Args:
        name: for ``--strategy``.
        make: takes a space, ``population`` and ``rng``; of ``admits``, ``redraws``, ``sampling_ratio`` and ``top_k``
            it gets those that it takes. A subclass of ``Strategy`` does.
        replace: take the place of a strategy of that name without a warning.

    Warns:
        UserWarning: there was a strategy of that name, which is replaced.
    """
    plugins.enter(STRATEGIES, "strategy", name, make, replace=replace)
    plugins.note(register_strategy, name, make, replace=True)


def known_strategy(name: str, *others: str) -> str:
    """The name, if it is that of a strategy or one of the others.

    Raises:
        InputError: another name.
    """
    plugins.load()
    if name not in STRATEGIES and name not in others:
        raise unknown("strategy", name, [*STRATEGIES, *others])
    return name


def make_strategy(
    name: str, space: GenomeSpace[Any], *, population: int, rng: np.random.Generator, **options: Any
) -> Strategy[Any]:
    """A strategy by name, with those of the options that it takes."""
    make = STRATEGIES[known_strategy(name)]
    parameters = inspect.signature(make).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = {name: value for name, value in options.items() if takes_all or name in parameters}
    return make(space, population=population, rng=rng, **taken)
