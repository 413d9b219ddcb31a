"""Where features have their channels: the second dimension, or the last one as linear layers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autogas.proxies.passes.features import CHANNELS_LAST, NORMALISATIONS, Function


class Channels:
    """Whether channels are last, as far as the layers of a pass tell."""

    def __init__(self) -> None:
        self._known: dict[torch.Size, bool] = {}  # of the last layer of each shape
        self._last_in: dict[int, bool] = {}  # the last layer of so many dimensions
        self._count: Sequence[int] = ()  # of the last layer, if they are last there

    def note(self, layer: Function, args: Sequence[Any], kwargs: Mapping[str, Any], feature: Tensor) -> bool:
        """Whether they are last in what a layer gives."""
        last = layer in CHANNELS_LAST and not _normalises_maps(layer, args, kwargs)
        self._known[feature.shape] = last
        self._last_in[feature.dim()] = last
        self._count = feature.shape[-1:] if last else ()
        return last

    def are_last(self, x: Tensor) -> bool:
        """In what a rectifier takes: as in the last layer of its shape, or else in one that has as many at the end.

        Not where the last layer of as many dimensions has them second: that a map is as wide is chance.
        """
        return self._known.get(x.shape, self._last_in.get(x.dim(), True) and x.shape[-1:] == self._count)


def _normalises_maps(layer: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a layer normalisation is over more than the last dimension, so that nobody knows that it is channels."""
    shape = args[1] if len(args) > 1 else kwargs.get("normalized_shape")
    return layer in NORMALISATIONS and isinstance(shape, list | tuple) and len(shape) > 1
