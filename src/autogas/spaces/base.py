"""What every search space offers: genotypes to work with and networks to build from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.spaces.cost import Cost, count_cost
from autogas.spaces.diagram import Diagram

Arch = TypeVar("Arch", bound=Hashable)
LARGEST_IMAGE = 8192
"""Height and width of the largest images that networks of the package's spaces are made for."""


class Space(ABC, Generic[Arch]):
    """A search space: architectures are frozen, hashable, and ``str(arch)`` parses back to the same architecture.

    Subclasses give the genotype operators and the network; weights depend on ``(seed, arch)`` only: an architecture has
    the same in every space of its ``family``.
    """

    name: str
    family: str
    image_size: int

    # What workflows ask of a space; the defaults fit a space that knows nothing special of itself.
    smaller: ClassVar[Mapping[str, Any]] = {}
    """Settings of a small version whose scores have the same order: searches score candidates in it."""
    search_proxy: ClassVar[str | None] = None
    """What a search maximises where nothing is said; None: the default proxy."""
    search_population: ClassVar[int] = 32
    """Candidates an iteration of a search."""
    search_iterations: ClassVar[int] = 150
    """Iterations of a search."""
    scored_samples: ClassVar[int] = 16
    """Samples that networks are scored on in a search."""
    costs_by_formula: ClassVar[bool] = False
    """Whether costs take microseconds, so that all architectures inside a budget can be listed first."""
    makes_images: ClassVar[bool] = False
    """Whether networks make images from nothing but random numbers, see ``images``."""
    distilled_at: ClassVar[tuple[str, ...]] = ()
    """Names of the modules whose outputs a student learns from its teacher."""

    def __bool__(self) -> bool:
        return True  # without counting its architectures

    @property
    @abstractmethod
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of one sample of each input of a network: ``((3, 64, 64),)`` for one image."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """Every setting that changes a network or its input; ``get_space(name, **settings)`` is the same space."""

    @property
    def makers(self) -> tuple[object, ...]:
        """Classes and functions whose code makes the networks: when it changes, what was measured counts no more."""
        return (type(self),)

    @abstractmethod
    def parse(self, text: str) -> Arch:
        """Read an architecture string; raises ``InputError`` for one outside the space."""

    def holds(self, text: str) -> bool:
        """Whether ``text`` is an architecture of this space."""
        try:
            self.parse(text)
        except InputError:
            return False
        return True

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture uniformly."""

    def sample_distinct(self, count: int, rng: np.random.Generator) -> list[Arch]:
        """Draw ``count`` different architectures; raises ``InputError`` when the space holds fewer."""
        if count > len(self):
            raise InputError(f"{count} architectures asked of space {self.name}, which holds {len(self)}")
        drawn: dict[Arch, None] = {}
        while len(drawn) < count:
            drawn[self.sample(rng)] = None
        return list(drawn)

    @abstractmethod
    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """A neighbour of ``arch``, never ``arch`` itself."""

    @abstractmethod
    def crossover(self, first: Arch, second: Arch, rng: np.random.Generator) -> Arch:
        """A child whose genes all come from one of two parents."""

    @abstractmethod
    def enumerate(self) -> Iterator[Arch]:
        """Every architecture once, in a fixed order."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of architectures."""

    @abstractmethod
    def network(self, arch: Arch) -> nn.Module:
        """The network with uninitialised weights, on whatever device is the default."""

    @abstractmethod
    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """Fill every parameter and buffer of ``network`` in place, as the benchmark's authors do."""

    def traits(self, arch: Arch) -> Mapping[str, float]:  # noqa: ARG002 - a space without countable traits has none
        """Counts read off the genotype (the trivial scorers): name to value."""
        return {}

    @property
    def scored_images(self) -> str | None:
        """Source of the images that networks are scored on in a search where none is named; None: their inputs."""
        return None

    def images(self, network: nn.Module, count: int, generator: torch.Generator) -> torch.Tensor:
        """Images ``[count, 3, H, W]`` in [0, 1] that a trained network makes; random numbers are drawn on the CPU."""
        device = next(network.parameters()).device
        drawn = (torch.randn((count, *shape), generator=generator).to(device) for shape in self.input_shapes)
        made: torch.Tensor = (network(*drawn) + 1) / 2
        return made

    def original(self) -> tuple[Space[Arch], Arch] | None:
        """The uncompressed network that a search makes smaller: a space and an architecture of it, or None."""
        return None

    def diagrams(self, arch: Arch) -> list[Diagram]:  # noqa: ARG002 - a space without cells has none
        """A drawing of every searched cell, in order of execution."""
        return []

    def build(self, arch: Arch, *, seed: int = 0) -> nn.Module:
        """The network of ``arch`` on the CPU, in training mode, deterministic in ``(arch, seed)``.

        Every weight is written once: the skeleton is made on the meta device, then filled.
        """
        with torch.device("meta"):
            model = self.network(arch)
        model.to_empty(device="cpu")
        with torch.no_grad():
            self.initialise(model, torch_generator("weights", seed, self.family, arch))
        return model

    def inputs(self, *, batch_size: int = 16, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Standard-normal noise ``[batch_size, *shape]`` for each of ``input_shapes``, for ``model(*x)``."""
        generator = torch_generator("inputs", seed)
        return tuple(torch.randn((batch_size, *shape), generator=generator) for shape in self.input_shapes)

    def cost(self, arch: Arch) -> Cost:
        """Parameters and MACs for one sample, counted on the meta device (no memory, no arithmetic)."""
        with torch.device("meta"):
            samples = [torch.empty(1, *shape) for shape in self.input_shapes]
            model = self.network(arch).eval()
        return count_cost(model, samples)
