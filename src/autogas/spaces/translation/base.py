"""What both translation spaces of GAN Compression share: eight widths and the operators on them."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autogas.errors import InputError
from autogas.spaces.base import LARGEST_IMAGE, Space
from autogas.spaces.cost import Cost
from autogas.spaces.translation.genotype import NUM_WIDTHS, ORIGINAL, TranslationArch, read_widths
from autogas.spaces.translation.published import Choices

BLOCKS = ("mobile", "dense")
DRAWS: Mapping[str, Callable[[int, float], NDArray[np.floating[Any]]]] = {
    "uniform": lambda count, _ratio: np.ones(count),
    "arithmetic": lambda count, ratio: np.linspace(1, ratio, count),
    "geometric": lambda count, ratio: float(ratio) ** np.arange(count),
}
"""Weights of choices, largest choice first, from their number and the ratio."""
MUTATION_PROBABILITY = 0.2
DIVISORS = (1, 2, 4, 8)


class TranslationSpace(Space[TranslationArch]):
    """Eight widths, each among the choices that a published configuration set gives for its place.

    ``parse`` also accepts the ``published`` architectures, by name or by widths, when they lie outside the set:
    they can be built, costed and scored beside it. They are guests, not members: ``sample`` and ``enumerate``
    never give them, and children of ``mutate`` and ``crossover`` are always members.

    Args:
        choices: name of the configuration set.
        block: "mobile" makes the convolutions that GAN Compression names separable, "dense" keeps all plain.
        image_size: height of the images.
        draw: how ``sample`` favours small widths, for tight budgets. "uniform" does not; from the largest choice to
            the smallest, the weight of "arithmetic" rises linearly from 1 to ``ratio``, that of "geometric" is
            multiplied by ``ratio`` at each step. GAN Compression draws CycleGAN arithmetic with 2, GauGAN geometric
            with 3.
        ratio: of the weights, 1 or more; a uniform draw has none.
        divisor: 1, 2, 4 or 8: every width is divided by it, for small images and quick trials (published: 1).
    """

    search_population = 10
    search_iterations = 500
    costs_by_formula = True
    choice_sets: ClassVar[Mapping[str, Choices]]
    published: ClassVar[Mapping[str, TranslationArch]]
    """Released models by name."""
    largest_set: ClassVar[str]

    def __init__(self, *, choices: str, block: str, image_size: int, draw: str, ratio: float, divisor: int) -> None:
        self._check_one_of("choices", choices, self.choice_sets)
        self._check_one_of("block", block, BLOCKS)
        self._check_one_of("draw", draw, DRAWS)
        if divisor not in DIVISORS or isinstance(divisor, bool):
            raise InputError(f"{self.name}: divisor={divisor!r}: expected {', '.join(map(str, DIVISORS))}")
        if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 1 <= ratio < math.inf:
            raise InputError(f"{self.name}: ratio={ratio!r}: expected numbers of 1 or more")
        self.choices = choices
        self.block = block
        self.image_size = image_size
        self.draw = draw
        self.ratio = ratio
        self.divisor = divisor

    def _check_one_of(self, name: str, value: object, accepted: Collection[str]) -> None:
        if value not in tuple(accepted):
            raise InputError(f"{self.name}: {name}={value!r}: expected {', '.join(accepted)}")

    def _check_image_size(self, value: object, of: int, least: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST_IMAGE or value % of:
            raise InputError(
                f"{self.name}: image_size={value!r}: expected multiples of {of} from {least} to {LARGEST_IMAGE}"
            )

    @property
    def settings(self) -> Mapping[str, object]:
        """The constructor arguments."""
        return {
            "choices": self.choices,
            "block": self.block,
            "image_size": self.image_size,
            "draw": self.draw,
            "ratio": self.ratio,
            "divisor": self.divisor,
        }

    @property
    def widths(self) -> Choices:
        """Choices for each of the eight widths, largest first."""
        return self.choice_sets[self.choices]

    def narrowed(self, arch: TranslationArch) -> TranslationArch:
        """The widths that are built: those of ``arch`` over ``divisor``."""
        return TranslationArch(tuple(width // self.divisor for width in arch.widths))

    def contains(self, arch: TranslationArch) -> bool:
        """Whether ``arch`` is a member of the configuration set."""
        return len(arch.widths) == NUM_WIDTHS and all(
            width in choices for width, choices in zip(arch.widths, self.widths, strict=True)
        )

    def parse(self, text: str) -> TranslationArch:
        """Read eight widths or the name of a published architecture.

        Raises:
            InputError: neither, or widths that are neither a member nor published.
        """
        text = text.strip()
        if text in self.published:
            return self.published[text]
        widths = self._eight(read_widths(text) or ())
        if len(widths) != NUM_WIDTHS:
            names = ", ".join(self.published)
            raise InputError(f"architecture {text!r}: expected eight widths as {next(self.enumerate())} and {names}")
        arch = TranslationArch(widths)
        if not self.contains(arch) and arch not in self.published.values():
            place = next(i for i, width in enumerate(widths) if width not in self.widths[i])
            accepted = ", ".join(map(str, self.widths[place]))
            raise InputError(
                f"architecture {text!r} is outside space {self.name} with choices={self.choices}:"
                f" width {place + 1} is {widths[place]}, expected {accepted}"
            )
        return arch

    def _eight(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """Eight widths from what was read; other lengths as they are."""
        return widths

    @property
    def label_maps(self) -> tuple[int, int | None] | None:
        """Number of classes of the label maps that networks take, and the label of pixels without one; None: images."""
        return None

    @cached_property
    def _probabilities(self) -> list[NDArray[np.floating[Any]]]:
        weights = [DRAWS[self.draw](len(choices), self.ratio) for choices in self.widths]
        return [w / w.sum() for w in weights]

    def sample(self, rng: np.random.Generator) -> TranslationArch:
        """Each width on its own, with the probabilities of ``draw``."""
        drawn = zip(self.widths, self._probabilities, strict=True)
        return TranslationArch(tuple(int(rng.choice(choices, p=p)) for choices, p in drawn))

    def mutate(self, arch: TranslationArch, rng: np.random.Generator) -> TranslationArch:
        """Each width drawn anew with probability 0.2, a guest's own widths always; never ``arch`` itself."""
        while True:
            redrawn = rng.random(NUM_WIDTHS) < MUTATION_PROBABILITY
            child = TranslationArch(
                tuple(
                    int(rng.choice(choices)) if new or width not in choices else width
                    for new, width, choices in zip(redrawn, arch.widths, self.widths, strict=True)
                )
            )
            if child != arch:
                return child

    def crossover(self, first: TranslationArch, second: TranslationArch, rng: np.random.Generator) -> TranslationArch:
        """Each width from either parent; guests give only choices of the set, and where both have none it is drawn."""
        genes = []
        for *pair, choices in zip(first.widths, second.widths, self.widths, strict=True):
            options = [width for width in pair if width in choices] or choices
            genes.append(options[int(rng.integers(len(options)))])
        return TranslationArch(tuple(genes))

    def enumerate(self) -> Iterator[TranslationArch]:
        """Every member, largest first."""
        return map(TranslationArch, itertools.product(*self.widths))

    def __len__(self) -> int:
        return math.prod(map(len, self.widths))

    def original(self) -> tuple[TranslationSpace, TranslationArch]:
        """The uncompressed generator, as a space of dense networks and its architecture there: every width 64.

        Examples:
            >>> from autogas.spaces.translation import ResNetTranslation
            >>> space, arch = ResNetTranslation().original()
            >>> space.cost(arch).params
            11378179
        """
        settings: dict[str, Any] = {**self.settings, "choices": self.largest_set, "block": "dense"}
        return type(self)(**settings), ORIGINAL

    @abstractmethod
    def cost(self, arch: TranslationArch) -> Cost:
        """Parameters and MACs for one sample by GAN Compression's rule, see ``autogas.spaces.translation.cost``.

        MACs do not compare with those of other spaces: transposed convolutions count four times their work.
        """
