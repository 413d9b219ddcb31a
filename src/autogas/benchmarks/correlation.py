"""How well scores rank measured quality: Kendall's tau-b and tau-a, Spearman, Pearson, with bootstrap intervals.

Scores are rounded to 12 significant digits first, so that floating-point noise is not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autogas.errors import InputError
from autogas.seeding import numpy_generator

Values: TypeAlias = NDArray[np.float64]
Kendall: TypeAlias = Literal["kendall_b", "kendall_a"]
RESAMPLES = 1000
LEVEL = 0.95
SIGNIFICANT_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % percentile-bootstrap interval; NaN where it is undefined.

    Of a constant all are, but for tau-a, which is 0. An interval is undefined where more than a twentieth of the
    resamples leave the statistic so, as of a few pairs in strata.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Correlation:
    """Agreement of scores with quality over ``count`` architectures.

    Attributes:
        kendall_b: Kendall's tau-b: pairs tied in either variable leave the denominator (flatters scores with ties).
        kendall_a: Kendall's tau-a: tied pairs count as neither right nor wrong but stay in the denominator.
        spearman: Pearson's r of mid-ranks.
        pearson: Pearson's r of the values.
        within: tau-b over pairs of equal stratum only; None without strata, NaN when no such pair is comparable.
        count: architectures.
    """

    kendall_b: Estimate
    kendall_a: Estimate
    spearman: Estimate
    pearson: Estimate
    within: Estimate | None
    count: int


def correlate(
    quality: ArrayLike, scores: ArrayLike, *, strata: Sequence[object] | None = None, seed: int = 0
) -> Correlation:
    """Correlate measured quality with scores; a score of NaN or minus infinity ranks last, tied with its like.

    An architecture that cannot be scored is one that a search would not pick, hence last. Pearson's r takes the
    smallest finite score for it, and the largest for plus infinity.

    Args:
        quality: ``[n]``, bigger is better, finite.
        scores: ``[n]``, bigger means predicted better.
        strata: ``[n]`` labels; ``Correlation.within`` compares only pairs of equal label.
        seed: of the bootstrap, 1,000 resamples of architectures.

    Raises:
        InputError: lengths differ, fewer than 3 architectures, or quality that is not finite.

    Examples:
        >>> result = correlate([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5])
        >>> print(f"{result.kendall_b.value:.3f} {result.spearman.value:.3f}")
        0.867 0.943
    """
    y, x = _numbers("quality", quality), _numbers("scores", scores)
    if y.ndim != 1 or x.shape != y.shape:
        raise InputError(f"quality of shape {y.shape}, scores of shape {x.shape}: expected two lists of one length")
    _check_quality(y)
    n = len(y)
    weights = _resamples(n, seed)
    sign_x, sign_y = _signs(ranks_failures_last(x)), _signs(y)
    within = None
    if strata is not None:
        if len(strata) != n:
            raise InputError(f"{len(strata)} strata of {n} architectures: expected a label for each")
        labels = np.unique(np.asarray([str(s) for s in strata]), return_inverse=True)[1]
        same = labels[:, None] == labels[None, :]
        within = _estimate(_tau_b(weights, sign_x * same, sign_y * same))
    return Correlation(
        kendall_b=_estimate(_tau_b(weights, sign_x, sign_y)),
        kendall_a=_estimate(_tau_a(weights, sign_x, sign_y)),
        spearman=_estimate(_weighted_pearson(weights, _ranks(weights, sign_x), _ranks(weights, sign_y))),
        pearson=_estimate(_weighted_pearson(weights, _unit(_filled(x)), _unit(y))),
        within=within,
        count=n,
    )


def _numbers(name: str, given: ArrayLike) -> Values:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected a list of numbers") from None


def compare(quality: ArrayLike, first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Estimate:
    """Kendall's tau-b of ``first`` minus that of ``second``, both ``[n]``, on the same resamples of architectures.

    Failures rank last and errors are raised as by ``correlate``.

    Examples:
        >>> print(compare([1, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1]))
        2.000 [2.000, 2.000]
    """
    y = np.asarray(quality, dtype=np.float64)
    _check_quality(y)
    weights, sign_y = _resamples(len(y), seed), _signs(y)
    taus = [
        _tau_b(weights, _signs(ranks_failures_last(np.asarray(x, dtype=np.float64))), sign_y) for x in (first, second)
    ]
    return _estimate(taus[0] - taus[1])


def _resamples(n: int, seed: int) -> Values:
    """How often each of ``n`` architectures occurs, ``[1 + RESAMPLES, n]``; the first row is the sample itself."""
    draws = numpy_generator("bootstrap", seed, n).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.vstack([np.ones(n), draws]).astype(np.float64)


def _check_quality(quality: Values) -> None:
    if len(quality) < 3:
        raise InputError(f"{len(quality)} architectures: a correlation needs at least 3")
    if not np.isfinite(quality).all():
        raise InputError(f"quality holds {np.count_nonzero(~np.isfinite(quality))} values that are not finite")


def kendall_many(quality: ArrayLike, scores: ArrayLike) -> Values:
    """Kendall's tau-b of every row of ``scores [m, n]`` with ``quality [n]``; NaN for a row with a non-finite entry.

    Raises:
        InputError: as ``correlate``.
    """
    y = np.asarray(quality, dtype=np.float64)
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if rows.shape[1] != len(y):
        raise InputError(f"scores of shape {rows.shape} do not fit quality of shape {y.shape}")
    _check_quality(y)
    out = np.full(len(rows), np.nan)
    finite = np.isfinite(rows).all(axis=1)
    out[finite] = kendall_of_ranks(y, dense_ranks(rows[finite]))
    return out


def kendall_of_ranks(quality: Values, ranks: NDArray[np.int32], variant: Kendall = "kendall_b") -> Values:
    """Kendall's tau of rows of ``dense_ranks`` with ``quality [n]``; NaN for a constant row.

    Args:
        quality: ``[n]``, bigger is better.
        ranks: ``[m, n]``.
        variant: tau-b leaves out pairs that tie; tau-a counts them as neither right nor wrong.
    """
    first, second = np.triu_indices(len(quality), 1)
    sign_y = np.sign(quality[first] - quality[second]).astype(np.float32)
    untied_y = np.count_nonzero(sign_y)
    out = np.empty(len(ranks))
    block = max(1, (1 << 22) // max(len(first), 1))
    for start in range(0, len(ranks), block):
        part = ranks[start : start + block]
        signs = np.sign(part[:, first] - part[:, second]).astype(np.float32)
        with np.errstate(invalid="ignore"):
            untied = np.square(signs).sum(axis=1, dtype=np.float64)
            pairs = np.sqrt(untied * untied_y) if variant == "kendall_b" else np.where(untied > 0, len(first), 0)
            out[start : start + block] = (signs @ sign_y) / pairs
    return out


def dense_ranks(scores: Values) -> NDArray[np.int32]:
    """Ranks 0, 1, … of every row ``[m, n]``, equal for scores that agree to 12 digits."""
    rounded = round_significant(scores)
    order = np.argsort(rounded, axis=1, kind="stable")
    ordered = np.take_along_axis(rounded, order, axis=1)
    ranks = np.zeros(scores.shape, dtype=np.int32)
    steps = np.zeros(scores.shape, dtype=np.int32)
    np.cumsum(ordered[:, 1:] > ordered[:, :-1], axis=1, out=steps[:, 1:])
    np.put_along_axis(ranks, order, steps, axis=1)
    return ranks


def round_significant(x: Values) -> Values:
    """Round to 12 significant digits."""
    with np.errstate(all="ignore"):
        magnitude = np.power(10.0, SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(x))))
        rounded = np.round(x * magnitude) / magnitude
    return np.where(np.isfinite(rounded), rounded, x)


def ranks_failures_last(scores: Values) -> Values:
    """Dense ranks of ``[n]`` scores from 1; NaN and minus infinity share rank 0."""
    failed = np.isnan(scores) | np.isneginf(scores)
    ranks = np.zeros(len(scores))
    ranks[~failed] = dense_ranks(scores[None, ~failed])[0] + 1.0
    return ranks


def _filled(scores: Values) -> Values:
    """Scores with infinities and NaN replaced by the largest and the smallest finite one."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.zeros(len(scores))
    filled: Values = np.nan_to_num(scores, nan=finite.min(), neginf=finite.min(), posinf=finite.max())
    return round_significant(filled)


def _unit(x: Values) -> Values:
    """The same values up to origin and scale, of a size whose squares neither overflow nor vanish."""
    x = x / (np.abs(x).max() or 1.0)
    x = x - x[0]
    return x / (np.abs(x).max() or 1.0)


def _signs(x: Values) -> Values:
    return (x[:, None] > x[None, :]).astype(np.float64) - (x[:, None] < x[None, :])


def _pairs(weights: Values, matrix: Values) -> Values:
    """``Σ_ij w_i w_j M_ij`` for every row of weights: copies of one architecture never make a pair."""
    product: Values = np.einsum("bi,bi->b", weights @ matrix, weights)
    return product


def _tau_b(weights: Values, sign_x: Values, sign_y: Values) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        untied = np.sqrt(_pairs(weights, np.abs(sign_x)) * _pairs(weights, np.abs(sign_y)))
        return _pairs(weights, sign_x * sign_y) / untied


def _tau_a(weights: Values, sign_x: Values, sign_y: Values) -> Values:
    pairs = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: Values = _pairs(weights, sign_x * sign_y) / pairs
    return tau


def _ranks(weights: Values, signs: Values) -> Values:
    """Mid-ranks within each resample, up to a constant."""
    return weights @ signs.T


def _weighted_pearson(weights: Values, x: Values, y: Values) -> Values:
    total = weights.sum(axis=1, keepdims=True)
    dx = x - (weights * x).sum(axis=1, keepdims=True) / total
    dy = y - (weights * y).sum(axis=1, keepdims=True) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((weights * dx**2).sum(axis=1) * (weights * dy**2).sum(axis=1))
        r = np.where(spread > 0, (weights * dx * dy).sum(axis=1) / spread, np.nan)
    return np.clip(r, -1.0, 1.0)


def _estimate(resampled: Values) -> Estimate:
    draws = resampled[1:][np.isfinite(resampled[1:])]
    if len(draws) < LEVEL * (len(resampled) - 1):
        return Estimate(float(resampled[0]), float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(resampled[0]), float(low), float(high))
