"""A forward pass whose features stay, for scorers that share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from autogas.proxies.isolation.saved import Change
from autogas.proxies.passes.capture import Watch
from autogas.proxies.passes.features import ACTIVATIONS, CONVOLUTIONS, Fold
from autogas.proxies.passes.writes import memory_of


@dataclass
class Recorded:
    """A forward pass with its graph.

    Attributes:
        inputs: what went in; floating-point ones collect gradients.
        output: what came out.
        activations: input of every rectifier, in order of execution; without any, the convolutions.
        convolutions: output of every convolution, transposed convolution, linear and recurrent layer.
        sources: the tensors that ``convolutions`` are views of, as the network has them.
        folds: how the rows of each of these belong to samples.
        used: the weight of each of these, where it is a convolution or linear layer.
        rectified: whether there is any rectifier.
        left_out: how many features have no dimension of samples.
        written: tensors of the network that it had written when the pass ended, and what they were then.

    Features are those of the moment, also where the network overwrites them later.
    """

    inputs: tuple[Tensor, ...]
    output: Any = None
    activations: list[Tensor] = field(default_factory=list)
    convolutions: list[Tensor] = field(default_factory=list)
    sources: list[Tensor] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    used: list[object] = field(default_factory=list)
    rectified: bool = True
    left_out: int = 0
    written: Sequence[Change] = ()

    @property
    def through(self) -> list[Tensor]:
        """Inputs to which a backward pass must go, so that it runs again what had no graph in this pass."""
        whole = all(source.requires_grad for source in self.sources)
        return [] if whole else [x for x in self.inputs if x.requires_grad]

    @property
    def seen(self) -> int:
        """How many features have a dimension of samples."""
        return len(self.convolutions) + len(self.activations) * self.rectified


class Recorder(Watch):
    """Keep the features of a network.

    Args:
        record: what they are added to.
        copies: keep them apart from what the network goes on with, which it may overwrite.
        folds: see ``Watch``.
    """

    def __init__(self, record: Recorded, *, copies: bool, folds: Mapping[int, Fold]) -> None:
        super().__init__(len(record.inputs[0]), folds=folds)
        self.record = record
        self.copies = copies
        self.tell = (self._on_write,)
        self._versions: list[tuple[Tensor, int]] = []
        self._memories: set[int] = set()
        self._told = False

    @property
    def overwritten(self) -> bool:
        """Whether the network overwrote a feature after it was kept, or may have."""
        return self._told or any(feature._version != version for feature, version in self._versions)

    def _on_write(self, memories: Sequence[int]) -> None:
        self._told = self._told or not self._memories.isdisjoint(memories)

    def see(self, func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Keep a feature."""
        if func in ACTIVATIONS:
            self._keep(self.record.activations, feature.detach().clone() if self.copies else feature)
            return feature
        if self._keep(self.record.convolutions, feature):
            self.record.sources.append(feature)
            self.record.folds.append(self.fold)
            self.record.used.append(self.weight)
        return feature.clone() if self.copies else feature

    def _keep(self, features: list[Tensor], feature: Tensor) -> bool:
        """Whether it is a feature."""
        samples = self.as_feature(feature)
        if samples is None:
            self.record.left_out += 1
            return False
        features.append(samples.clone() if feature.is_inference() else samples)
        self._memories.add(memory_of(feature))
        if not feature.is_inference():
            self._versions.append((feature, feature._version))
        return True


class Graphs(Watch):
    """Whether the network runs layers without a graph.

    Attributes:
        without: it does.
    """

    without = False

    def see(self, func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Look at a layer."""
        self.without = self.without or (func in CONVOLUTIONS and not feature.requires_grad)
        return feature
