"""Proxies by name: the paper's, and every baseline that it is held against."""

from __future__ import annotations

import fnmatch

import autogas.proxies.zoo  # noqa: F401 - fills the registry
from autogas import plugins
from autogas.errors import InputError, unknown
from autogas.proxies.language.expression import SEPARATOR, Expression, Prefix, measured_prefixes, parse_proxy
from autogas.proxies.scorer import SCORERS, Scorer

DEFAULT_PROXY = "concord"
"""The proxy that search and score use when none is given: this project's own, found on five benchmarks at once."""
PAPERS_PROXY = "autogas"

EXPRESSIONS: dict[str, str] = {
    # Li et al., Auto-GAS (ECCV 2024), eq. 4: slogdet(F' F'^T)^2 with F' = above-mean(swish(F)), mean over layers.
    "autogas": "swish > above_mean > gram > slogdet > pow2",
    # Ours, chosen on 1,000 architectures each of transnas-macro and -micro, 57 each of mini-gan and -2 and 69 of
    # mini-diffusion (docs/concord.md): samples stay apart, on the way down most of all; the way up is even and wide.
    "concord": (
        "16 * normalisations@decoder > gram > trace > log"
        " + 2 * activations@encoder > softmax > covariance > eigenvalue_floor > log > min"
        " + 0.5 * softmax > covariance > eigenvalue_floor > log"
        " + 0.125 * gram > coding_rate > spread"
        " - 16 * activations@decoder > covariance > trace > log > spread"
    ),
    # Ours, chosen on 1,000 architectures of transnas-macro, 1,200 of transnas-micro and 100 of mini-gan
    # (docs/separation.md): late layers are wide and decided, and where maps are small the samples stay apart.
    "separation": (
        "normalisations@late > softmax > gram > trace > log > sum"
        " + 0.5 * convolutions@small > covariance > eigenvalue_floor > log > sum"
        " + 4 * convolutions@small > softmax > deviation > effective_rank > median"
    ),
    # Ours, chosen on 700 architectures each of transnas-macro and -micro, 57 of mini-gan and 54 of mini-diffusion
    # (docs/separation.md): knows denoisers best. It reads the bare Gram matrix of activations alone.
    "common": (
        "2 * activations@late > gram > eigenvalue_floor > log > max"
        " + 0.5 * activations@small > gram > eigenvalue_std > log > slope"
        " + gram > trace > log"
    ),
    # The paper's Table 5, I: the Gram matrix of the bare features.
    "vanilla_gram": "gram > slogdet",
}
ALIASES = {
    "flops": "macs",
    "parameters": "params",
    "naswot": "nwot",
    "default": DEFAULT_PROXY,
    "autogas-default": DEFAULT_PROXY,
}
"""What some are called elsewhere."""
TRIVIAL = ("params", "macs", "num_downsamples", "num_skips", "num_transposed")
"""Scorers that need no network: no proxy is worth its name without beating them. Of counts each space has its own."""


def list_proxies(pattern: str = "*") -> list[str]:
    """Names of all proxies that match a wildcard pattern."""
    return sorted(fnmatch.filter([*EXPRESSIONS, *SCORERS], pattern))


def named_prefixes() -> list[Prefix]:
    """The sufficient statistics that discovery's points of comparison need."""
    return measured_prefixes(parse_proxy(EXPRESSIONS[name]) for name in (DEFAULT_PROXY, PAPERS_PROXY, "vanilla_gram"))


def get_proxy(name: str) -> Expression | Scorer:
    """A proxy by name, or an expression by its text.

    Raises:
        InputError: no proxy of that name, or no valid expression.

    Examples:
        >>> str(get_proxy("autogas"))
        'swish > above_mean > gram > slogdet > pow2'
    """
    if not isinstance(name, str):
        raise InputError(f"proxy {name!r}: expected a name or the text of an expression")
    plugins.load()
    if name in EXPRESSIONS:
        return parse_proxy(EXPRESSIONS[name])
    if name in SCORERS:
        return SCORERS[name]
    if SEPARATOR.strip() in name:
        return parse_proxy(name)
    known = [*EXPRESSIONS, *SCORERS]
    meant = ALIASES.get(name.lower(), name.lower())
    if meant in known:
        raise InputError(f"unknown proxy {name!r}: did you mean {meant!r}?")
    raise unknown("proxy", name, known)
