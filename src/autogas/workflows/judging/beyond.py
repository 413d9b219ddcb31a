"""What a score knows beyond size, and what somebody who trusts it gets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from autogas.benchmarks import Benchmark, correlate
from autogas.benchmarks.correlation import ranks_failures_last
from autogas.files import or_none
from autogas.runs import Failure, attempt
from autogas.seeding import numpy_generator
from autogas.spaces import Space

Values = NDArray[np.float64]
FIFTHS = (0.2, 0.4, 0.6, 0.8)
PICKS = (1, 10)
HALVES = 400


def beyond_size(bench: Benchmark, chosen: NDArray[np.intp], scores: Mapping[str, Values]) -> list[dict[str, Any]]:
    """One row a scorer.

    ``partial`` is the rank correlation given MACs and parameters, ``within_macs`` Kendall's tau-b among architectures
    of one fifth of MACs, and ``top`` is of the best 1 and of the best among the best 10 by score: ``quality``,
    ``percentile`` among the chosen architectures, and ``random``, what as many random picks reach on average. Since the
    one pick from all is a lottery ticket, ``usual`` is the mean percentile of the same pick from random halves. Where
    scores tie, what a random choice among them reaches on average.

    Args:
        bench: measured quality.
        chosen: numbers of the architectures that were scored.
        scores: ``[chosen]`` by scorer; NaN ranks last.
    """
    goodness = bench.goodness[chosen]
    macs, params = sizes(bench.space, [bench.archs[i] for i in chosen])
    known = macs[np.isfinite(macs)]
    limits = np.quantile(known, FIFTHS) if len(known) else np.empty(0)
    fifth = np.where(np.isfinite(macs), np.searchsorted(limits, macs), -1)  # those of unknown size are their own kind
    rows = []
    for name, given in scores.items():
        values = np.where(np.isfinite(given), given, np.nan)
        within = correlate(goodness, values, strata=fifth.tolist()).within
        ranks = ranks_failures_last(values)
        rows.append(
            {
                "name": name,
                "partial": or_none(partial_spearman(goodness, values, [macs, params])),
                "within_macs": None if within is None else or_none(within.value),
                "top": {
                    str(count): pick(ranks, goodness, count, higher_is_better=bench.higher_is_better)
                    | {"usual": usual(ranks, goodness, count)}
                    for count in PICKS
                },
            }
        )
    return rows


def sizes(space: Space[Any], archs: Sequence[Any]) -> tuple[Values, Values]:
    """MACs and parameters of architectures; NaN for one that cannot be built."""
    costs = [attempt(space.cost, arch) for arch in archs]
    macs, params = (
        [math.nan if isinstance(cost, Failure) else float(getattr(cost, name)) for cost in costs]
        for name in ("macs", "params")
    )
    return np.array(macs), np.array(params)


def partial_spearman(first: Values, second: Values, given: Sequence[Values]) -> float:
    """Pearson's r of what linear regression on the ranks of ``given`` leaves of the ranks; failures rank last.

    Examples:
        >>> size = np.arange(6.0)
        >>> round(partial_spearman(size + [0, 2, 0, 2, 0, 2], size + [0, 2, 0, 2, 0, 2], [size]), 3)
        1.0
    """
    known = np.column_stack([np.ones(len(first)), *(_mid_ranks(values) for values in given)])

    def rest(values: Values) -> Values:
        ranks = _mid_ranks(values)
        left: Values = ranks - known @ np.linalg.lstsq(known, ranks, rcond=None)[0]
        return left

    a, b = rest(first), rest(second)
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 1e-9 * len(first) else math.nan


def pick(ranks: NDArray[Any], goodness: Values, count: int, *, higher_is_better: bool) -> dict[str, float]:
    """Quality and percentile of the best of the ``count`` first, and the percentile of as many random picks."""
    beaten = 100 * shares_beaten(goodness)
    best = expected_best(ranks, goodness, count)
    return {
        "quality": best if higher_is_better else 0.0 - best,
        "percentile": expected_best(ranks, beaten, count),
        "random": expected_best(np.zeros(len(goodness)), beaten, count),
    }


def shares_beaten(goodness: Values) -> Values:
    """For each architecture, the share of all that are worse.

    Examples:
        >>> shares_beaten(np.array([3.0, 1.0, 3.0, 2.0]))
        array([0.5 , 0.  , 0.5 , 0.25])
    """
    return np.sort(goodness).searchsorted(goodness) / len(goodness)


def expected_best(ranks: NDArray[Any], values: Values, count: int) -> float:
    """Largest value among the ``count`` of highest rank; where ranks are equal, its mean over all choices among them.

    Examples:
        >>> expected_best(np.array([3, 2, 2, 1]), np.array([5.0, 0.0, 9.0, 7.0]), 2)
        7.0
    """
    count = min(count, len(ranks))
    least = np.partition(ranks, len(ranks) - count)[len(ranks) - count]
    sure, tied = values[ranks > least], np.sort(values[ranks == least])
    wanted = count - len(sure)
    # That the largest of the wanted ones is the i-th smallest of m: (i - 1 over wanted - 1) / (m over wanted).
    ways = comb(np.arange(wanted, len(tied) + 1) - 1, wanted - 1) / comb(len(tied), wanted)
    return float(np.maximum(tied[wanted - 1 :], sure.max(initial=-math.inf)) @ ways)


def usual(ranks: NDArray[Any], goodness: Values, count: int) -> float:
    """Mean percentile, in a random half, of the best of the ``count`` that have the highest score there."""
    rng = numpy_generator("halves", len(goodness))
    found = []
    for _ in range(HALVES):
        half = rng.permutation(len(goodness))[: (len(goodness) + 1) // 2]
        found.append(expected_best(ranks[half], shares_beaten(goodness[half]), count))
    return 100.0 * float(np.mean(found))


def _mid_ranks(values: Values) -> Values:
    return np.asarray(pd.Series(ranks_failures_last(values)).rank(), dtype=np.float64)
