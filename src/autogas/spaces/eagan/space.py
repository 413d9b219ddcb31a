"""EAGAN's two search spaces, at published size by default and in any smaller width."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from autogas.errors import InputError
from autogas.spaces.base import Space
from autogas.spaces.diagram import Diagram
from autogas.spaces.eagan import genotype, network
from autogas.spaces.eagan.diagrams import discriminator_cell, generator_cell
from autogas.spaces.eagan.genotype import Block, EAGANArch

BOTTOM_WIDTHS: Mapping[str, int] = {"cifar10": 4, "stl10": 6}
"""Height and width of the first feature map of a generator, an eighth of those of an image."""


class EAGANSpace(Space[EAGANArch]):
    """Generators or discriminators of three searched cells.

    Args:
        dataset: ``"cifar10"`` (32x32 images) or ``"stl10"`` (48x48).
        width: channels of every feature map, 1 or more.
    """

    cell: tuple[Block, ...]
    """The blocks of genes of one cell."""
    rules: str
    """What the genes of a cell may be, in one line."""

    def __init__(self, dataset: str, width: int) -> None:
        if not isinstance(dataset, str) or dataset not in BOTTOM_WIDTHS:
            raise InputError(f"{self.name}: dataset={dataset!r}: expected {' and '.join(BOTTOM_WIDTHS)}")
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise InputError(f"{self.name}: width={width!r}: expected whole numbers of 1 or more")
        self.dataset = dataset
        self.width = width
        self.bottom_width = BOTTOM_WIDTHS[dataset]
        self.image_size = 8 * self.bottom_width

    @property
    def settings(self) -> Mapping[str, object]:
        """The two constructor arguments."""
        return {"dataset": self.dataset, "width": self.width}

    @property
    def published(self) -> Mapping[str, EAGANArch]:
        """The architectures that ``parse`` also knows by name."""
        return genotype.PUBLISHED[self.name]

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return self.cell * genotype.NUM_CELLS

    def contains(self, arch: EAGANArch) -> bool:
        """Whether every cell of ``arch`` keeps the rules."""
        return all(genes in block for genes, block in zip(genotype.split(arch, self.cell), self._blocks, strict=True))

    def parse(self, text: str) -> EAGANArch:
        """Read an array of genes or a published name; raises ``InputError`` for one outside this space."""
        if text.strip() in self.published:
            return self.published[text.strip()]
        try:
            arch = genotype.parse(text)
        except InputError as error:
            raise InputError(f"{error}, or {' or '.join(self.published)}") from None
        if not self.contains(arch):
            raise InputError(
                f"architecture {text!r} is outside space {self.name}: accepted in each cell are {self.rules}"
            )
        return arch

    def sample(self, rng: np.random.Generator) -> EAGANArch:
        """Uniform over the space."""
        return genotype.join(block[rng.integers(len(block))] for block in self._blocks)

    def mutate(self, arch: EAGANArch, rng: np.random.Generator) -> EAGANArch:
        """Change one gene, uniformly chosen, to another legal value, uniformly chosen."""
        parts = genotype.split(arch, self.cell)
        places = [(i, place) for i, part in enumerate(parts) for place in range(len(part))]
        i, place = places[rng.integers(len(places))]
        options = genotype.neighbours(self._blocks[i], parts[i], place)
        parts[i] = options[rng.integers(len(options))]
        return genotype.join(parts)

    def crossover(self, first: EAGANArch, second: EAGANArch, rng: np.random.Generator) -> EAGANArch:
        """Each gene from either parent, uniform over the legal choices."""
        parents = (genotype.split(arch, self.cell) for arch in (first, second))
        options = [genotype.mixes(block, *pair) for block, *pair in zip(self._blocks, *parents, strict=True)]
        return genotype.join(choices[rng.integers(len(choices))] for choices in options)

    def enumerate(self) -> Iterator[EAGANArch]:
        """Every architecture, one at a time."""
        return map(genotype.join, itertools.product(*self._blocks))

    def __len__(self) -> int:
        return math.prod(map(len, self._blocks))

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """As published; see ``autogas.spaces.eagan.network.initialise``."""
        network.initialise(model, generator)


class EAGANGenerator(EAGANSpace):
    """Latents of 120 numbers to images: cells ``[u0, u1, a, b, c, d, e]`` that double the resolution."""

    name = family = "eagan-generator"
    cell = genotype.GENERATOR_CELL
    makes_images = True
    search_proxy = "separation"  # the one whose winners are shown to train well, docs/payoff.md
    smaller: ClassVar[Mapping[str, Any]] = {"width": 64}
    rules = "two genes 0 to 2, two genes 0 to 6 but not both 0, three genes 0 to 6 but not all 0"

    def __init__(self, *, dataset: str = "cifar10", width: int = 256) -> None:
        super().__init__(dataset, width)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """One latent."""
        return ((network.LATENT_PARTS * network.LATENT_PART_SIZE,),)

    def network(self, arch: EAGANArch) -> nn.Module:
        """The generator of ``arch``."""
        return network.Generator(arch, width=self.width, bottom_width=self.bottom_width)

    def diagrams(self, arch: EAGANArch) -> list[Diagram]:
        """The three cells."""
        return [generator_cell(genes, place) for place, genes in enumerate(arch.cells)]

    def traits(self, arch: EAGANArch) -> Mapping[str, float]:
        """``num_skips`` (skip edges), ``num_convolutions`` (edges with one) and ``num_transposed`` of the three cells.

        The last counts up-samplings by a transposed convolution.
        """
        ups = [genotype.UP_OPS[gene] for cell in arch.cells for gene in cell[:2]]
        edges = _edge_counts(gene for cell in arch.cells for gene in cell[2:])
        return {**edges, "num_transposed": float(ups.count("transposed"))}


class EAGANDiscriminator(EAGANSpace):
    """Images to logits: cells ``[c0, c1, c2, c3, c4, d0, d1]`` that halve the resolution or keep it.

    Args:
        dataset: ``"cifar10"`` (32x32 images) or ``"stl10"`` (48x48).
        width: channels of every feature map, 1 or more.
        outputs: numbers that an image becomes: one logit, or an embedding.
    """

    name = family = "eagan-discriminator"
    cell = genotype.DISCRIMINATOR_CELL
    smaller: ClassVar[Mapping[str, Any]] = {"width": 32}
    rules = "one gene 1 to 6, twice two genes 0 to 6 but not both 0, two genes 0 to 5 or both -1"

    def __init__(self, *, dataset: str = "cifar10", width: int = 128, outputs: int = 1) -> None:
        super().__init__(dataset, width)
        if not isinstance(outputs, int) or isinstance(outputs, bool) or outputs < 1:
            raise InputError(f"{self.name}: outputs={outputs!r}: expected whole numbers of 1 or more")
        self.outputs = outputs

    @property
    def settings(self) -> Mapping[str, object]:
        """The constructor arguments; ``outputs`` where it is not 1."""
        return {**super().settings, **({} if self.outputs == 1 else {"outputs": self.outputs})}

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """One RGB image."""
        return ((3, self.image_size, self.image_size),)

    def network(self, arch: EAGANArch) -> nn.Module:
        """The discriminator of ``arch``."""
        return network.Discriminator(arch, width=self.width, outputs=self.outputs)

    @property
    def scored_images(self) -> str:
        """A discriminator is scored on images of its data set."""
        return self.dataset

    def diagrams(self, arch: EAGANArch) -> list[Diagram]:
        """The three cells."""
        return [discriminator_cell(genes, place) for place, genes in enumerate(arch.cells)]

    def traits(self, arch: EAGANArch) -> Mapping[str, float]:
        """``num_downsamples`` (cells that halve the resolution), ``num_skips`` and ``num_convolutions`` of all edges.

        Down-samplings with a convolution are not edges.
        """
        downs = sum(cell[5] != genotype.KEEP for cell in arch.cells)
        return {"num_downsamples": float(downs), **_edge_counts(gene for cell in arch.cells for gene in cell[:5])}


def _edge_counts(genes: Iterable[int]) -> dict[str, float]:
    names = Counter(genotype.NORMAL_OPS[gene] for gene in genes)
    return {
        "num_skips": float(names["skip"]),
        "num_convolutions": float(names.total() - names["skip"] - names["none"]),
    }
