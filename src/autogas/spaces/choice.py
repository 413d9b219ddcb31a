"""A search space in a few lines: what can be chosen, and a function from the choices to a network."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from torch import nn

from autogas.errors import InputError, unknown
from autogas.seeding import derive_seed, seeded
from autogas.spaces.base import Space
from autogas.spaces.cost import Cost
from autogas.spaces.counting import count_macs

ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
"""What texts of objects hold that say nothing of themselves but where they are in memory."""
DRAWS = 10_000
"""Draws after which a constraint that admitted none is taken for one that admits none."""


class Choices(dict[str, Any]):
    """One architecture: a value for each name; frozen, and its text parses back to it."""

    def __hash__(self) -> int:  # type: ignore[override]  # a plain dictionary has none
        return hash(frozenset(_texts(self).items()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Choices):  # whose values may be equal as True is to 1
            return _texts(self) == _texts(other)
        return dict(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _frozen(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("an architecture cannot be changed")

    __setitem__ = __delitem__ = __ior__ = _frozen
    update = pop = popitem = clear = setdefault = _frozen

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.items())


def _texts(choices: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in choices.items()}


Shapes: TypeAlias = Sequence[Sequence[int]]


def _check(name: object, choices: object, build: object, inputs: object) -> None:
    """Raise ``InputError`` for what cannot be a space, whatever its values are."""
    if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"space {name!r}: expected letters, digits, - and _")
    if not isinstance(choices, Mapping) or not choices:
        raise InputError(f"space {name}: choices {choices!r}: expected values by name, such as {{'width': [16, 32]}}")
    for key, values in choices.items():
        if not isinstance(key, str) or key != key.strip() or not key or set(key) & set("=,"):
            raise InputError(f"space {name}, choice {key!r}: expected a name without =, commas or spaces around it")
        if isinstance(values, str | set | frozenset) or not isinstance(values, Iterable):
            given = f"a {type(values).__name__}" if isinstance(values, set | frozenset) else repr(values)
            raise InputError(f"space {name}, choice {key!r}: {given}: expected a list of values, which has an order")
    if not callable(build):
        raise InputError(f"space {name}: build {build!r}: expected a function that makes a network")
    shapes = list(inputs) if isinstance(inputs, Sequence) and not isinstance(inputs, str) else []
    sizes = [size for shape in shapes for size in (shape if isinstance(shape, Sequence | np.ndarray) else [None])]
    whole = (isinstance(size, Integral) and not isinstance(size, bool) and int(size) > 0 for size in sizes)
    if not shapes or not all(whole):
        raise InputError(
            f"space {name}: inputs {inputs!r}: expected the shape of a sample of each, such as [(3, 32, 32)]"
        )


class ChoiceSpace(Space[Choices]):
    """Every combination of some choices that a constraint admits.

    Args:
        name: of the space; letters, digits, ``-`` and ``_``.
        choices: values by name; their texts must differ and hold no comma.
        build: makes the network from a value for each name, by keyword, with torch's own initialisation.
        inputs: shape of one sample of each input of a network.
        constraint: says of values by keyword whether they belong to the space; None: all do.
        traits: counts by name, of values by keyword, to hold proxies against.

    Raises:
        InputError: no choice, values that are told apart by nothing, or a constraint that admits none.

    Examples:
        >>> def build(width, depth):
        ...     layers = [nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()) for _ in range(depth)]
        ...     return nn.Sequential(nn.Conv2d(3, width, 1), *layers, nn.Conv2d(width, 3, 1))
        >>> space = ChoiceSpace("plain", {"width": [8, 16], "depth": range(1, 4)}, build, [(3, 16, 16)])
        >>> len(space), str(next(space.enumerate())), space.cost(space.parse("width=8,depth=1")).params
        (6, 'width=8,depth=1', 643)
    """

    def __init__(
        self,
        name: str,
        choices: Mapping[str, Sequence[Any]],
        build: Callable[..., nn.Module],
        inputs: Shapes,
        *,
        constraint: Callable[..., bool] | None = None,
        traits: Callable[..., Mapping[str, float]] | None = None,
    ) -> None:
        _check(name, choices, build, inputs)
        self.name = name
        self.family = name
        self._choices = {key: tuple(values) for key, values in choices.items()}
        self._texts = {key: {str(value): value for value in values} for key, values in self._choices.items()}
        self._build = build
        self._inputs = tuple(tuple(map(int, shape)) for shape in inputs)
        self._free = constraint is None
        self._asked = constraint
        self._traits = traits
        for key, texts in self._texts.items():
            plain = all(text == text.strip() and "," not in text for text in texts)
            if not texts or len(texts) < len(self._choices[key]) or not plain:
                raise InputError(
                    f"space {name}, choice {key!r}: expected values whose texts differ, without commas or spaces around"
                )
            passing = next((text for text in texts if ADDRESS.search(text)), None)
            if passing is not None:
                raise InputError(
                    f"space {name}, choice {key!r}: {passing!r} is another text in every process: expected values such "
                    "as numbers and names, by which build may look objects up"
                )
        self.image_size = self._inputs[0][1] if len(self._inputs[0]) > 1 else 1  # of a vector
        self._size: int | None = None
        self.traits(self.sample(np.random.default_rng(0)))

    @property
    def makers(self) -> tuple[object, ...]:
        """See ``Space``; of a user's space also what there is to choose from and what networks take."""
        if type(self) is not ChoiceSpace and type(self).__module__.startswith("autogas."):
            return (type(self), self._build)
        chosen = {"choices": self._choices, "inputs": self._inputs}
        return (type(self), functools.partial(self._build, self._asked, self._traits, **chosen))

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """See ``Space``."""
        return self._inputs

    @property
    def settings(self) -> Mapping[str, object]:
        """None: a space of other choices has another name."""
        return {}

    def _constraint(self, **choices: Any) -> bool:
        if self._asked is None:
            return True
        try:
            return bool(self._asked(**choices))
        except Exception as error:
            given = ",".join(f"{name}={value}" for name, value in choices.items())
            raise InputError(
                f"space {self.name}: its constraint fails on {given}: {type(error).__name__}: {error}"
            ) from error

    def parse(self, text: str) -> Choices:
        """Read ``name=value,…``, every name once, in any order."""
        parts = [part.partition("=") for part in text.split(",")]
        given = {key.strip(): value.strip() for key, _, value in parts}
        if given.keys() != self._choices.keys() or len(parts) > len(given):
            expected = ",".join(f"{key}={values[0]}" for key, values in self._choices.items())
            raise InputError(f"architecture {text!r}: expected the choices of space {self.name}, as {expected}")
        for key, value in given.items():
            if value not in self._texts[key]:
                raise unknown(f"value of {key}", value, self._texts[key])
        arch = Choices({key: self._texts[key][given[key]] for key in self._choices})
        if not self._constraint(**arch):
            raise InputError(f"architecture {text!r}: the constraint of space {self.name} excludes it")
        return arch

    def sample(self, rng: np.random.Generator) -> Choices:
        """Uniform over what the constraint admits."""
        for _ in range(DRAWS):
            arch = Choices({key: values[int(rng.integers(len(values)))] for key, values in self._choices.items()})
            if self._constraint(**arch):
                return arch
        raise InputError(f"space {self.name}: its constraint admitted none of {DRAWS:,} random architectures")

    def mutate(self, arch: Choices, rng: np.random.Generator) -> Choices:
        """One choice redrawn; where the constraint admits no such neighbour, another architecture."""
        neighbours = [
            Choices({**arch, key: value})
            for key, values in self._choices.items()
            for value in values
            if str(value) != str(arch[key]) and self._constraint(**{**arch, key: value})
        ]
        if neighbours:
            return neighbours[int(rng.integers(len(neighbours)))]
        if len(self) < 2:
            raise InputError(f"space {self.name} holds one architecture, which has no neighbour")
        while (other := self.sample(rng)) == arch:
            pass
        return other

    def crossover(self, first: Choices, second: Choices, rng: np.random.Generator) -> Choices:
        """Each choice from one of the parents; the first one where the constraint admits no mixture drawn."""
        for _ in range(100):
            child = Choices({key: (first, second)[int(rng.integers(2))][key] for key in self._choices})
            if self._constraint(**child):
                return child
        return first

    def enumerate(self) -> Iterator[Choices]:
        """Every architecture once, the last choice changing fastest."""
        for values in itertools.product(*self._choices.values()):
            arch = Choices(zip(self._choices, values, strict=True))
            if self._constraint(**arch):
                yield arch

    def __len__(self) -> int:
        """Number of architectures, as far as Python lets a length go."""
        if self._size is None:
            whole = math.prod(len(values) for values in self._choices.values())
            self._size = min(whole, sys.maxsize) if self._free else sum(1 for _ in self.enumerate())
        return self._size

    def traits(self, arch: Choices) -> Mapping[str, float]:
        """See ``Space``."""
        if self._traits is None:
            return {}
        try:
            return {str(name): float(value) for name, value in self._traits(**arch).items()}
        except Exception as error:
            raise InputError(
                f"space {self.name}: its traits fail on {arch}: {type(error).__name__}: {error}; "
                "expected numbers by name"
            ) from error

    def network(self, arch: Choices) -> nn.Module:
        """The user's network, with the weights that it comes with."""
        return self._build(**arch)

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """Leave the weights as they are: they were drawn when the network was made."""

    def build(self, arch: Choices, *, seed: int = 0) -> nn.Module:
        """The network on the CPU, in training mode, deterministic in ``(arch, seed)``."""
        with seeded(derive_seed("weights", seed, self.name, arch)):
            model = self._build(**arch)
        if not isinstance(model, nn.Module):
            raise InputError(f"space {self.name}: build made a {type(model).__name__}, expected a torch.nn.Module")
        return model.train()

    def cost(self, arch: Choices) -> Cost:
        """Parameters, and MACs for one sample: what two more add to two, and what any number needs once.

        Half of two where that is no such sum, as for attention over the batch.
        """
        model = self.build(arch).eval()

        def macs(samples: int) -> float:
            with torch.no_grad(), seeded(derive_seed("cost", self.name, arch)):
                return count_macs(lambda: model(*(torch.zeros(samples, *shape) for shape in self._inputs)))

        two = macs(2)
        one = two / 2
        with contextlib.suppress(Exception):  # the network's own, which may want two
            more = two - (macs(4) - two) / 2
            one = more if one <= more <= two else one
        return Cost(params=sum(p.numel() for p in model.parameters()), macs=math.ceil(one))
