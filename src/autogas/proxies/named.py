"""Proxies by name: the paper's, and every baseline that it is held against."""

from __future__ import annotations

import fnmatch

import autogas.proxies.zoo  # noqa: F401 - fills the registry
from autogas.errors import unknown
from autogas.proxies.expression import SEPARATOR, Expression, parse_proxy
from autogas.proxies.scorer import SCORERS, Scorer

DEFAULT_PROXY = "separation"
"""The proxy that search and score use when none is given: this project's own, found on three benchmarks at once."""
PAPERS_PROXY = "autogas"

EXPRESSIONS: dict[str, str] = {
    # Li et al., Auto-GAS (ECCV 2024), eq. 4: slogdet(F' F'^T)^2 with F' = above-mean(swish(F)), mean over layers.
    "autogas": "swish > above_mean > gram > slogdet > pow2",
    # Ours: late layers and the decoder keep the samples apart in every direction, and no late layer loses the signal.
    # Chosen on 400 architectures of transnas-macro, 400 of transnas-micro and 60 of mini-gan (docs/separation.md).
    "separation": (
        "2 * normalisations@late > softmax > covariance > eigenvalue_floor > log"
        " + convolutions@late > swish > covariance > eigenvalue_max > log > max"
        " + 2 * normalisations@decoder > softmax > gram > eigenvalue_floor > log"
    ),
    # The paper's Table 5, I: the Gram matrix of the bare features.
    "vanilla_gram": "gram > slogdet",
}
TRIVIAL = ("params", "macs", "num_downsamples", "num_skips")
"""Scorers that need no network: no proxy is worth its name without beating them."""


def list_proxies(pattern: str = "*") -> list[str]:
    """Names of all proxies that match a wildcard pattern."""
    return sorted(fnmatch.filter([*EXPRESSIONS, *SCORERS], pattern))


def get_proxy(name: str) -> Expression | Scorer:
    """A proxy by name, or an expression by its text.

    Raises:
        InputError: no proxy of that name, or no valid expression.

    Examples:
        >>> str(get_proxy("autogas"))
        'swish > above_mean > gram > slogdet > pow2'
    """
    if name in EXPRESSIONS:
        return parse_proxy(EXPRESSIONS[name])
    if name in SCORERS:
        return SCORERS[name]
    if SEPARATOR.strip() in name:
        return parse_proxy(name)
    raise unknown("proxy", name, [*EXPRESSIONS, *SCORERS])
