"""The two TransNAS-Bench-101 spaces, at published size by default and in any smaller version."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import nn

from autogas.errors import InputError
from autogas.spaces.base import LARGEST_IMAGE, Space
from autogas.spaces.transnas import genotype, network
from autogas.spaces.transnas.genotype import TransNASArch

MINI_SETTINGS: Mapping[str, int] = {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32}
"""The small version that the embedded ``mini-autoencoder`` benchmark trains."""


class TransNASSpace(Space[TransNASArch]):
    """Autoencoders of TransNAS-Bench-101.

    Args:
        base_width: channels after the stem (published: 64).
        decoder_divisor: decoder widths are the published ones divided by this, at least 4.
        stem_stride: total stride of the stem, 1, 2 or 4 (published: 4).
        image_size: height and width of the input; a multiple of ``16 * stem_stride``. The published task runs at
            256; scoring at 64 ranks alike and costs a sixteenth.
    """

    def __init__(
        self, *, base_width: int = 64, decoder_divisor: int = 1, stem_stride: int = 4, image_size: int = 64
    ) -> None:
        for name, value in {
            "base_width": base_width,
            "decoder_divisor": decoder_divisor,
            "stem_stride": stem_stride,
            "image_size": image_size,
        }.items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise InputError(f"{self.name}: {name}={value!r}: expected whole numbers")
        if base_width < 4 or base_width % 2:
            raise InputError(f"{self.name}: base_width={base_width}: expected even numbers of 4 or more")
        if decoder_divisor < 1:
            raise InputError(f"{self.name}: decoder_divisor={decoder_divisor}: expected numbers of 1 or more")
        if stem_stride not in (1, 2, 4):
            raise InputError(f"{self.name}: stem_stride={stem_stride}: expected 1, 2 and 4")
        if not 1 <= image_size <= LARGEST_IMAGE or image_size % (16 * stem_stride):
            multiples = f"multiples of {16 * stem_stride} up to {LARGEST_IMAGE}"
            raise InputError(f"{self.name}: image_size={image_size}: expected {multiples}")
        self.base_width = base_width
        self.decoder_divisor = decoder_divisor
        self.stem_stride = stem_stride
        self.image_size = image_size

    family = "transnas"

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """One RGB image."""
        return ((3, self.image_size, self.image_size),)

    @property
    def settings(self) -> Mapping[str, object]:
        """The four constructor arguments."""
        return {
            "base_width": self.base_width,
            "decoder_divisor": self.decoder_divisor,
            "stem_stride": self.stem_stride,
            "image_size": self.image_size,
        }

    def contains(self, arch: TransNASArch) -> bool:
        """Whether ``arch`` is a member."""
        raise NotImplementedError

    @cached_property
    def _members(self) -> tuple[TransNASArch, ...]:
        return tuple(self.enumerate())

    def __len__(self) -> int:
        return len(self._members)

    def parse(self, text: str) -> TransNASArch:
        """Read a benchmark string; raises ``InputError`` for one outside this space."""
        arch = genotype.parse(text)
        if not self.contains(arch):
            raise InputError(f"architecture {text!r} is outside space {self.name}: {type(self).__doc__}")
        return arch

    def sample(self, rng: np.random.Generator) -> TransNASArch:
        """Uniform over all members."""
        return self._members[int(rng.integers(len(self)))]

    def network(self, arch: TransNASArch) -> nn.Module:
        """The autoencoder of ``arch``."""
        return network.Autoencoder(
            arch,
            base_width=self.base_width,
            decoder_divisor=self.decoder_divisor,
            stem_stride=self.stem_stride,
        )

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """As published; see ``autogas.spaces.transnas.network.initialise``."""
        network.initialise(model, generator)

    def traits(self, arch: TransNASArch) -> Mapping[str, float]:
        """``num_downsamples`` (modules of stride 2) and ``num_skips`` (skip edges of the cell)."""
        skips = 0 if arch.cell is None else arch.cell.count(1)
        return {"num_downsamples": float(arch.num_downsamples), "num_skips": float(skips)}


class TransNASMacro(TransNASSpace):
    """4 to 6 modules, of which 1 to 4 halve the resolution and 1 to 3 double the channels, with the basic block."""

    name = "transnas-macro"

    def contains(self, arch: TransNASArch) -> bool:
        """Whether ``arch`` is a macro architecture."""
        return genotype.in_macro(arch)

    def enumerate(self) -> Iterator[TransNASArch]:
        """All 3,256 architectures."""
        return genotype.enumerate_macro()

    def mutate(self, arch: TransNASArch, rng: np.random.Generator) -> TransNASArch:
        """Change, insert or remove one module, uniformly among the valid neighbours."""
        digits = arch.modules
        neighbours: set[tuple[int, ...]] = set()
        for i in range(len(digits) + 1):
            neighbours.update((*digits[:i], new, *digits[i:]) for new in (1, 2, 3, 4))
        for i in range(len(digits)):
            neighbours.update((*digits[:i], new, *digits[i + 1 :]) for new in (1, 2, 3, 4))
            neighbours.add(digits[:i] + digits[i + 1 :])
        valid = sorted(n for n in neighbours if n != digits and self.contains(TransNASArch(n)))
        return TransNASArch(valid[int(rng.integers(len(valid)))])

    def crossover(self, first: TransNASArch, second: TransNASArch, rng: np.random.Generator) -> TransNASArch:
        """Length of one parent, each module from either; redrawn until it is valid."""
        while True:
            template = (first, second)[int(rng.integers(2))].modules
            picks = rng.integers(2, size=len(template))
            parents = (first.modules, second.modules)
            digits = tuple(parents[pick][i] if i < len(parents[pick]) else template[i] for i, pick in enumerate(picks))
            child = TransNASArch(digits)
            if self.contains(child):
                return child


class TransNASMicro(TransNASSpace):
    """Six cell edges, each zero, skip, conv 1x1 or conv 3x3, in the fixed skeleton 41414."""

    name = "transnas-micro"

    def contains(self, arch: TransNASArch) -> bool:
        """Whether ``arch`` is a micro architecture."""
        return genotype.in_micro(arch)

    def enumerate(self) -> Iterator[TransNASArch]:
        """All 4,096 architectures."""
        return genotype.enumerate_micro()

    def mutate(self, arch: TransNASArch, rng: np.random.Generator) -> TransNASArch:
        """Change one edge to another operation."""
        assert arch.cell is not None
        edge = int(rng.integers(len(arch.cell)))
        new = int(rng.choice([op for op in range(4) if op != arch.cell[edge]]))
        return TransNASArch(arch.modules, (*arch.cell[:edge], new, *arch.cell[edge + 1 :]))

    def crossover(self, first: TransNASArch, second: TransNASArch, rng: np.random.Generator) -> TransNASArch:
        """Each edge from either parent."""
        assert first.cell is not None
        assert second.cell is not None
        picks = rng.integers(2, size=len(first.cell))
        cell = tuple((a, b)[pick] for a, b, pick in zip(first.cell, second.cell, picks, strict=True))
        return TransNASArch(first.modules, cell)


class TransNAS(TransNASSpace):
    """Any macro or micro architecture of TransNAS-Bench-101."""

    name = "transnas"

    def __init__(self, **settings: int) -> None:
        super().__init__(**settings)
        self._parts = (TransNASMacro(**settings), TransNASMicro(**settings))

    def _part(self, arch: TransNASArch) -> TransNASSpace:
        return self._parts[0] if arch.cell is None else self._parts[1]

    def contains(self, arch: TransNASArch) -> bool:
        """Whether ``arch`` is a macro or a micro architecture."""
        return self._part(arch).contains(arch)

    def enumerate(self) -> Iterator[TransNASArch]:
        """All 7,352 architectures, macro first."""
        for part in self._parts:
            yield from part.enumerate()

    def sample(self, rng: np.random.Generator) -> TransNASArch:
        """Macro or micro with equal chance, uniform within."""
        return self._parts[int(rng.integers(2))].sample(rng)

    def sample_distinct(self, count: int, rng: np.random.Generator) -> list[TransNASArch]:
        """Macro and micro in turn, uniform within; when one runs out, the rest is of the other."""
        if count > len(self):
            return super().sample_distinct(count, rng)  # which says so
        macro = min((count + 1) // 2, len(self._parts[0]))
        sizes = (max(macro, count - len(self._parts[1])), min(count - macro, len(self._parts[1])))
        halves = [part.sample_distinct(n, rng) for part, n in zip(self._parts, sizes, strict=True)]
        return [arch for pair in itertools.zip_longest(*halves) for arch in pair if arch is not None]

    def mutate(self, arch: TransNASArch, rng: np.random.Generator) -> TransNASArch:
        """A neighbour of the same kind."""
        return self._part(arch).mutate(arch, rng)

    def crossover(self, first: TransNASArch, second: TransNASArch, rng: np.random.Generator) -> TransNASArch:
        """Genes of both parents when they are of one kind; else one of the parents."""
        if (first.cell is None) != (second.cell is None):
            return (first, second)[int(rng.integers(2))]
        return self._part(first).crossover(first, second, rng)
