"""The search loop that proxies and architectures share."""

from autogas.evolution.loop import Evolution, GenomeSpace, RandomSearch, Strategy

__all__ = ["Evolution", "GenomeSpace", "RandomSearch", "Strategy"]
