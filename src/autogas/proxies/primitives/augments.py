"""Augments: shape the values of the layers ``[L]`` (or the score), and aggregate them over the layers of a network.

Augments are elementwise on numpy float64 arrays. Aggregates take all layers of many networks along the last axis with
the offset at which each network starts, as ``numpy.ufunc.reduceat`` does.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autogas.proxies.primitives.registry import Stage, primitive

Values: TypeAlias = NDArray[np.float64]
Offsets: TypeAlias = NDArray[np.intp]
Aggregate: TypeAlias = Callable[[Values, Offsets], Values]
augment = functools.partial(primitive, Stage.AUGMENT)
LEFT_OUT = "layers without a finite value are left out"


def aggregate(*, formula: str, beyond_paper: bool = False) -> Callable[[Aggregate], Aggregate]:
    """Register an aggregate; one layer without a finite value leaves the network without a score."""

    def register(function: Aggregate) -> Aggregate:
        @functools.wraps(function)
        def checked(x: Values, offsets: Offsets) -> Values:
            finite = np.logical_and.reduceat(np.isfinite(x), offsets, axis=-1)
            return np.where(finite, function(x, offsets), np.nan)

        edge = "one non-finite layer makes the score NaN"
        return primitive(Stage.AGGREGATE, formula=formula, edge=edge, beyond_paper=beyond_paper)(checked)

    return register


@augment(formula=r"|x|", edge="finite on finite input")
def abs_(x: Values) -> Values:
    """Absolute value."""
    return np.abs(x)


@augment(formula=r"x^2", edge="finite on finite input")
def pow2(x: Values) -> Values:
    """Square (``pow`` in the paper)."""
    return np.square(x)


@augment(formula=r"\sqrt{|x|}", edge="the sign is dropped")
def sqrt(x: Values) -> Values:
    """Square root of the magnitude."""
    return np.sqrt(np.abs(x))


@augment(formula=r"\ln|x|", edge="zero is not finite")
def log(x: Values) -> Values:
    """Natural logarithm of the magnitude."""
    return np.log(np.abs(x))


@augment(formula=r"\mathrm{sgn}(x)\ln(1+|x|)", edge="finite on finite input", increasing=True, keeps_sign=True)
def log1p(x: Values) -> Values:
    """Signed logarithm, strictly increasing everywhere."""
    return np.sign(x) * np.log1p(np.abs(x))


@augment(formula=r"-x", edge="finite on finite input")
def neg(x: Values) -> Values:
    """Negative: turns the ranking round."""
    return np.negative(x)


@aggregate(formula=r"\tfrac1L\sum_l x_l")
def mean(x: Values, offsets: Offsets) -> Values:
    """Mean over layers, the paper's aggregation and the default."""
    return np.add.reduceat(x, offsets, axis=-1) / _lengths(x, offsets)


@aggregate(formula=r"\sum_l x_l")
def sum_(x: Values, offsets: Offsets) -> Values:
    """Sum over layers."""
    return np.add.reduceat(x, offsets, axis=-1)


@aggregate(formula=r"\sqrt{\sum_l x_l^2}")
def l2_norm(x: Values, offsets: Offsets) -> Values:
    """Euclidean norm over layers."""
    return np.sqrt(np.add.reduceat(np.square(x), offsets, axis=-1))


@primitive(Stage.AGGREGATE, formula=r"\max_l x_l", edge=LEFT_OUT)
def max_(x: Values, offsets: Offsets) -> Values:
    """Largest layer value."""
    largest = np.maximum.reduceat(np.where(np.isfinite(x), x, -np.inf), offsets, axis=-1)
    return np.where(np.isfinite(largest), largest, np.nan)


@primitive(Stage.AGGREGATE, formula=r"\min_l x_l", edge=LEFT_OUT)
def min_(x: Values, offsets: Offsets) -> Values:
    """Smallest layer value."""
    smallest = np.minimum.reduceat(np.where(np.isfinite(x), x, np.inf), offsets, axis=-1)
    return np.where(np.isfinite(smallest), smallest, np.nan)


@aggregate(formula=r"\mathrm{std}_l\,x_l")
def spread(x: Values, offsets: Offsets) -> Values:
    """Standard deviation over layers."""
    centred = x - np.repeat(mean(x, offsets), _lengths(x, offsets), axis=-1)
    deviation: Values = np.sqrt(mean(np.square(centred), offsets))
    return deviation


@primitive(Stage.AGGREGATE, formula=r"\mathrm{med}_l\,x_l", edge=LEFT_OUT, beyond_paper=True)
def median(x: Values, offsets: Offsets) -> Values:
    """Median over layers, of an even number the mean of the two in the middle; NaN where no layer has a value."""
    parts = np.split(np.where(np.isfinite(x), x, np.nan), offsets[1:], axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a network without any value
        return np.stack([np.nanmedian(part, axis=-1) for part in parts], axis=-1)


@aggregate(formula=r"\mathrm{slope}_l\,x_l", beyond_paper=True)
def slope(x: Values, offsets: Offsets) -> Values:
    """Slope of the least-squares line through the layers, depth from -1 to 1; 0 for one layer."""
    lengths = _lengths(x, offsets)
    depth = np.concatenate([np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in lengths])
    squares = np.add.reduceat(np.square(depth), offsets)
    return np.add.reduceat(x * depth, offsets, axis=-1) / np.where(squares > 0, squares, 1.0)


@aggregate(formula=r"x_L")
def last(x: Values, offsets: Offsets) -> Values:
    """Value of the last layer in order of execution."""
    values: Values = x[..., np.append(offsets[1:], x.shape[-1]) - 1]
    return values


def _lengths(x: Values, offsets: Offsets) -> Offsets:
    return np.diff(offsets, append=x.shape[-1])
