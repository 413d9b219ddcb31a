"""Axes: where a value stands between two ends, and which values get a label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
FEW = 10
WIDE = 30.0
"""Positive values that span a larger factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Position of a value: 0 at the low end, 1 at the high end."""
        low, high, value = (
            (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return (value - low) / (high - low)

    def ticks(self, count: int = 4) -> list[tuple[float, str]]:
        """About ``count`` round values inside the axis with their labels."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            inside = [10.0**p for p in powers if self.low <= 10.0**p <= self.high]
            step = max(1, math.ceil(len(inside) / count))
            if len(inside) >= 2:
                return [(v, short_number(v)) for v in inside[::step]]
            values = [m * 10.0**p for p in powers for m in (1, 2, 5)]
        else:
            values = [float(v) for v in MaxNLocator(count).tick_values(self.low, self.high)]
        return [(v, short_number(v)) for v in values if self.low <= v <= self.high]


def axis_over(values: ArrayLike, *, log: bool = False, margin: float = 0.05) -> Axis:
    """An axis that holds all finite values with a margin; of length one when there is only one value."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if log:
        low, high = math.log10(numbers.min()), math.log10(numbers.max())
        pad = margin * (high - low)
        return Axis(10 ** (low - pad), 10 ** (high + pad), log=True)
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    if low == high:
        return Axis(low - 0.5 * max(1.0, abs(low)), high + 0.5 * max(1.0, abs(high)))
    pad = margin * (high - low)
    return Axis(low - pad, high + pad)


def plotted(scores: Values) -> tuple[Values, str]:
    """Scores as drawn, and how: ``linear``, ``log`` for wide positive ones, ``rank`` where a few hide the rest."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.full(len(scores), np.nan), "linear"
    if finite.min() > 0 and finite.max() / finite.min() > WIDE:
        return np.where(np.isfinite(scores), scores, np.nan), "log"
    low, middle_low, middle_high, high = np.sort(finite)[[0, len(finite) // 10, -1 - len(finite) // 10, -1]] / 2
    few_hide_the_rest = high - low > 5 * (middle_high - middle_low) or not np.isfinite(2 * (high - low))
    if few_hide_the_rest and len(np.unique(finite)) > FEW:
        ranks = np.full(len(scores), np.nan)
        ranks[np.isfinite(scores)] = pd.Series(finite).rank()
        return ranks, "rank"
    return np.where(np.isfinite(scores), scores, np.nan), "linear"


def short_number(value: float) -> str:
    """A number as an axis or a table shows it: four digits, k, M and G, a true minus sign.

    Examples:
        >>> short_number(30965250.0), short_number(-0.5), short_number(1e-7)
        ('30.97M', '−0.5', '1e−7')
    """
    size = abs(value)
    for least, unit, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if least <= size < 1e13:
            return f"{value / unit:.4g}{suffix}".replace("-", "−")
    text = f"{value:.4g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")
