"""autogas: find good image generators without training them.

Discover training-free proxies on benchmarks of trained generators, rank proxies against ground truth, score any
network, search architectures, train a generator for good.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autogas.benchmarks import Benchmark, Correlation, correlate, list_benchmarks, load_benchmark, make_benchmark
    from autogas.errors import InputError
    from autogas.metrics.evaluation import evaluate_generator
    from autogas.proxies.explain import Explanation, explain
    from autogas.proxies.language.expression import Expression, Proxy, Sum, parse_proxy
    from autogas.proxies.named import DEFAULT_PROXY, get_proxy, list_proxies
    from autogas.proxies.score import score, score_many
    from autogas.runs import Run
    from autogas.spaces import ChoiceSpace, Cost, Space, get_space, list_spaces, register_space
    from autogas.training.export import load_generator, load_network, load_translator
    from autogas.workflows.discover import discover
    from autogas.workflows.discover_across import discover_across
    from autogas.workflows.evaluate import evaluate
    from autogas.workflows.evaluate_translation import evaluate_translation
    from autogas.workflows.export import export
    from autogas.workflows.latency import latency
    from autogas.workflows.rank import rank
    from autogas.workflows.scoring import score_architecture
    from autogas.workflows.search import search
    from autogas.workflows.train import train

__version__ = "0.1.0"
__all__ = [
    "DEFAULT_PROXY",
    "Benchmark",
    "ChoiceSpace",
    "Correlation",
    "Cost",
    "Explanation",
    "Expression",
    "InputError",
    "Proxy",
    "Run",
    "Space",
    "Sum",
    "correlate",
    "discover",
    "discover_across",
    "evaluate",
    "evaluate_generator",
    "evaluate_translation",
    "explain",
    "export",
    "get_proxy",
    "get_space",
    "latency",
    "list_benchmarks",
    "list_proxies",
    "list_spaces",
    "load_benchmark",
    "load_generator",
    "load_network",
    "load_translator",
    "make_benchmark",
    "parse_proxy",
    "rank",
    "register_space",
    "score",
    "score_architecture",
    "score_many",
    "search",
    "train",
]

# Where the public names live; imported when first used, so that `autogas --help` does not wait for torch.
_HOMES = {
    "autogas.benchmarks": (
        "Benchmark",
        "Correlation",
        "correlate",
        "list_benchmarks",
        "load_benchmark",
        "make_benchmark",
    ),
    "autogas.errors": ("InputError",),
    "autogas.metrics.evaluation": ("evaluate_generator",),
    "autogas.proxies.explain": ("Explanation", "explain"),
    "autogas.proxies.language.expression": ("Expression", "Proxy", "Sum", "parse_proxy"),
    "autogas.proxies.named": ("DEFAULT_PROXY", "get_proxy", "list_proxies"),
    "autogas.proxies.score": ("score", "score_many"),
    "autogas.runs": ("Run",),
    "autogas.spaces": ("ChoiceSpace", "Cost", "Space", "get_space", "list_spaces", "register_space"),
    "autogas.training.export": ("load_generator", "load_network", "load_translator"),
    "autogas.workflows.discover": ("discover",),
    "autogas.workflows.discover_across": ("discover_across",),
    "autogas.workflows.evaluate": ("evaluate",),
    "autogas.workflows.evaluate_translation": ("evaluate_translation",),
    "autogas.workflows.export": ("export",),
    "autogas.workflows.latency": ("latency",),
    "autogas.workflows.rank": ("rank",),
    "autogas.workflows.scoring": ("score_architecture",),
    "autogas.workflows.search": ("search",),
    "autogas.workflows.train": ("train",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'autogas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
