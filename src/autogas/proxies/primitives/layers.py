"""Which layers of a network a proxy looks at, by the function that they call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autogas.proxies.passes.features import ACTIVATIONS, LAYERS, NORMALISATIONS
from autogas.proxies.primitives.registry import Stage, primitive


@primitive(Stage.LAYERS, formula=r"F_l", edge="a layer that does not vary over the batch is left out")
def activations(called: Callable[..., Any]) -> bool:
    """Input of every rectifier (ReLU, SiLU, …, also written out), the paper's layers; without any, as convolutions."""
    return called in ACTIVATIONS


@primitive(Stage.LAYERS, formula=r"C_l", edge="a layer that does not vary over the batch is left out")
def convolutions(called: Callable[..., Any]) -> bool:
    """Output of every convolution, transposed convolution, linear and recurrent layer, in order of execution."""
    return called in LAYERS


@primitive(Stage.LAYERS, formula=r"Z_l", edge="a layer that does not vary over the batch is left out")
def normalisations(called: Callable[..., Any]) -> bool:
    """Output of every batch, instance, group, layer and RMS normalisation; without any, as convolutions."""
    return called in NORMALISATIONS


@primitive(Stage.LAYERS, formula=r"X_l", edge="a layer that does not vary over the batch is left out")
def all_(_called: Callable[..., Any]) -> bool:
    """Activations, convolutions and normalisations together, in order of execution."""
    return True
