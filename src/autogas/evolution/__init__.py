"""The search loop that proxies and architectures share."""

from autogas.evolution.loop import Evolution, GenomeSpace, RandomSearch, Strategy
from autogas.evolution.registry import known_strategy, make_strategy, register_strategy

__all__ = [
    "Evolution",
    "GenomeSpace",
    "RandomSearch",
    "Strategy",
    "known_strategy",
    "make_strategy",
    "register_strategy",
]
