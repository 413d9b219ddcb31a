"""Moments of features: what kernels are functions of.

For a feature flattened to ``B [N, D]`` (transformed, perhaps binarised) they are ``G = B Bᵀ``, ``s = B 1`` and ``D``.
Gram, Pearson, covariance and Hamming kernels are functions of these, so features are forgotten once they are measured.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autogas.errors import InputError, shape_of
from autogas.proxies.language.expression import Prefix
from autogas.proxies.primitives import Primitive
from autogas.proxies.primitives.encodings import above
from autogas.proxies.statistics import gram_matrices
from autogas.proxies.statistics.plan import Plan, Transforms, Wanted, plan

BLOCK = 1 << 20
"""Entries that are worked on at a time: column blocks that stay in the cache between two steps."""
FLAT = 0.99
"""Share of the squares of a feature beyond which it is little but its mean over the batch."""
SMALL = 1 << 16
"""Entries up to which all transforms of features are measured together."""


@dataclass(frozen=True)
class Moments:
    """``G [P, K, N, N]`` and ``s [P, K, N]`` of K features in float64, for P prefixes, and ``D`` of each prefix."""

    gram: Tensor
    sums: Tensor
    sizes: tuple[int, ...]


def moments(features: Tensor, prefixes: Sequence[Prefix]) -> Moments:
    """Sufficient statistics of K features ``[K, N, …]`` for every prefix.

    Transforms are shared between binarisers, and what follows from the statistics of another prefix is not measured.
    """
    found = _Found(plan(tuple(prefixes)), features.device)
    for stack in _stacks(features, found.plan.groups):
        found.add(stack)
    return found.moments(range(len(prefixes)))


def any_flat(gram: Tensor) -> bool:
    """Whether one of the features of these Gram matrices ``[K, N, N]`` is little but its mean over the batch."""
    squares = gram.diagonal(dim1=1, dim2=2).mean(dim=1)
    return bool((gram.mean(dim=(1, 2)) > FLAT * squares).any())


@dataclass(frozen=True)
class _Stack:
    """K features after each of T transforms that give one size, measured together.

    Attributes:
        wanted: of each transform.
        size: entries of a sample.
        blocks: gives blocks ``[T, K, N, columns]``, which large features compute anew for each reading.
    """

    wanted: list[Wanted]
    size: int
    blocks: Callable[[], Iterable[Tensor]]

    @functools.cached_property
    def sums(self) -> Tensor:
        """Over the entries of each sample, ``[T, K, N]``."""
        return _total(block.sum(dim=3) for block in self.blocks())

    @functools.cached_property
    def means(self) -> Tensor:
        """Of all entries of each feature, ``[T, K]``."""
        return self.sums.sum(dim=2) / (self.sums.shape[2] * self.size)

    def about_the_mean(self, row: int) -> tuple[Tensor, Tensor]:
        """Gram matrices ``[K, N, N]`` and sums ``[K, N]`` by way of those of features less their mean over the batch.

        In float32 what sets samples apart would be the difference of two numbers that are nearly the same.
        """
        gram, with_mean, of_mean, sums = [], [], [], []
        for block in self.blocks():
            mean = block[row].double().mean(dim=1).to(block)  # [K, columns]
            less = block[row] - mean[:, None]
            gram.append(gram_matrices.gram(less))
            with_mean.append((less.double() @ mean.double()[:, :, None])[:, :, 0])
            of_mean.append(mean.double().square().sum(dim=1))
            sums.append(less.sum(dim=2, dtype=torch.float64) + mean.double().sum(dim=1)[:, None])
        cross = _total(with_mean)
        return _total(gram) + cross[:, :, None] + cross[:, None, :] + _total(of_mean)[:, None, None], _total(sums)

    def thresholds(self, binariser: str, row: int) -> Tensor:
        """What entries of each feature must be above after a transform: ``[K]``, or ``[1]`` if all have the same."""
        if binariser == "above_median":
            return _medians(block[row] for block in self.blocks())
        return self.means[row] if binariser == "above_mean" else torch.zeros(1, device="cpu")


def _stacks(features: Tensor, groups: Iterable[tuple[Transforms, Wanted]]) -> Iterator[_Stack]:
    """One stack for all transforms where calls cost more than arithmetic, else one for each, to stay in the cache."""
    if features.numel() > SMALL:
        for words, wanted in groups:
            yield _Stack([wanted], *_transformed(features, words))
        return
    by_size: dict[int, list[tuple[Wanted, Tensor]]] = {}
    for words, wanted in groups:
        flat = _chain(words, features).flatten(2)
        by_size.setdefault(flat.shape[2], []).append((wanted, flat))
    for size, members in by_size.items():
        stacked = (torch.stack([flat for _, flat in members]),)
        yield _Stack([wanted for wanted, _ in members], size, functools.partial(iter, stacked))


def _transformed(features: Tensor, words: Transforms) -> tuple[int, Callable[[], Iterable[Tensor]]]:
    """Entries of a sample, and blocks ``[1, K, N, columns]``, which large features compute anew for each reading."""
    if features.numel() <= BLOCK or not all(word.elementwise for word in words):
        features, words = _chain(words, features), ()
    flat = features.flatten(2)[None]
    rows = flat.shape[1] * flat.shape[2]
    pieces = (flat,) if flat.numel() <= BLOCK else flat.split(max(BLOCK // rows, 1), dim=3)
    return flat.shape[3], functools.partial(map, functools.partial(_chain, words), pieces)


def _chain(words: Transforms, features: Tensor) -> Tensor:
    """What transforms make of features ``[K, N, …]``, each of which is transformed alone."""
    for word in words:
        if word.elementwise:
            features = _with_samples(word, features, word.function(features))
        else:
            features = torch.stack([_with_samples(word, feature, word.function(feature)) for feature in features])
    return features


def _with_samples(word: Primitive, given: Tensor, made: object) -> Tensor:
    """What a transform makes; raises ``InputError`` for what has no row for each sample."""
    rows = 2 if word.elementwise else 1
    if not isinstance(made, Tensor) or made.shape[:rows] != given.shape[:rows] or made.dim() <= rows:
        raise InputError(f"{word.stage.label} {word.name!r} gives {shape_of(made)}: expected entries for each sample")
    return made


class _Found:
    """What is known of K features, by place."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.plan = plan
        self._as_bits = device.type == "cpu"
        self._grams: dict[int, Tensor] = {}
        self._sums: dict[int, Tensor] = {}
        self._sizes: dict[int, int] = {}
        self._packed: dict[int, list[tuple[list[int], gram_matrices.Words]]] = {}

    def add(self, stack: _Stack) -> None:
        """Measure a stack; what is counted as bits is only packed."""
        plain, binary = {}, {}
        for row, wanted in enumerate(stack.wanted):
            for binariser, place in wanted.items():
                self._sizes[place] = stack.size
                if binariser is None:
                    self._sums[place] = stack.sums[row]
                    if place not in self.plan.derived:
                        plain[place] = row
                elif binariser == "sign":
                    self._add_sign(place, [block[row].sign() for block in stack.blocks()])
                else:
                    binary[place] = row, stack.thresholds(binariser, row)
        if plain:
            squares = _total(map(gram_matrices.gram, stack.blocks()))
            for place, row in plain.items():
                self._grams[place] = squares[row]
                if any_flat(squares[row]):
                    self._grams[place], self._sums[place] = stack.about_the_mean(row)
        if binary:
            self._add_binary(binary, stack.blocks)

    def moments(self, places: Sequence[int]) -> Moments:
        """Count the bits, derive what follows from other statistics, and give what was asked for."""
        for same_size in self._packed.values():
            words = np.concatenate([words for _, words in same_size])
            counted = [place for places, _ in same_size for place in places]
            self._add_common(counted, torch.from_numpy(gram_matrices.ones_in_common(words)))
        for place, base in self.plan.derived.items():
            lengths = self._grams[base].diagonal(dim1=1, dim2=2).sqrt().clamp_min(1e-12)  # zero stays zero
            self._grams[place] = self._grams[base] / lengths[:, None] / lengths[:, :, None]
        return Moments(
            torch.stack([self._grams[place] for place in places]),
            torch.stack([self._sums[place] for place in places]),
            tuple(self._sizes[place] for place in places),
        )

    def _add_sign(self, place: int, blocks: Sequence[Tensor]) -> None:
        self._grams[place] = _total(map(gram_matrices.gram, blocks))
        self._sums[place] = _total(block.sum(dim=2) for block in blocks)

    def _add_binary(self, binary: dict[int, tuple[int, Tensor]], blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Features by row that are above their thresholds, for each place."""
        if self._as_bits:
            words = gram_matrices.pack(blocks(), list(binary.values()))
            self._packed.setdefault(words.shape[3], []).append((list(binary), words))
            return
        for place, (row, thresholds) in binary.items():
            limits = thresholds[:, None, None]
            common = _total(gram_matrices.gram(above(block[row], limits.to(block))) for block in blocks())
            self._add_common([place], common[None])

    def _add_common(self, places: Iterable[int], common: Tensor) -> None:
        self._grams.update(zip(places, common, strict=True))
        self._sums.update(zip(places, common.diagonal(dim1=2, dim2=3), strict=True))  # ones are their own squares


def _total(parts: Iterable[Tensor]) -> Tensor:
    """Sum over blocks in float64."""
    return functools.reduce(torch.add, (part.double() for part in parts))


def _medians(blocks: Iterable[Tensor]) -> Tensor:
    """The lower median of all entries of each feature ``[N, columns]`` of blocks ``[K, N, columns]``.

    On the CPU numpy's vectorised selection is ten times faster than torch's.
    """
    whole = torch.cat([block.flatten(1) for block in blocks], dim=1)
    if whole.device.type != "cpu":
        return torch.stack([feature.median() for feature in whole])
    values = whole.numpy()
    middle = (values.shape[1] - 1) // 2
    values.partition(middle, axis=1)
    return whole[:, middle].clone()
