"""One registry a stage: a primitive is one small pure function with what must be known about it."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from autogas import plugins


class Kind(enum.Enum):
    """What flows between the stages of a proxy."""

    NETWORK = "network"
    FEATURE = "feature [N, …]"
    BINARY = "binary feature [N, …]"
    MATRIX = "matrix [N, N]"
    LAYERS = "one value a layer [L]"
    SCORE = "score"


class Stage(enum.Enum):
    """Stages in the order in which a proxy passes them, with the kinds they take and give."""

    LAYERS = ("layers", (Kind.NETWORK,), Kind.FEATURE)
    TRANSFORM = ("transform", (Kind.FEATURE,), Kind.FEATURE)
    BINARISER = ("binariser", (Kind.FEATURE,), Kind.BINARY)
    KERNEL = ("kernel", (Kind.FEATURE, Kind.BINARY), Kind.MATRIX)
    REDUCTION = ("reduction", (Kind.MATRIX,), Kind.LAYERS)
    AUGMENT = ("augment", (Kind.LAYERS, Kind.SCORE), Kind.LAYERS)
    AGGREGATE = ("aggregate", (Kind.LAYERS,), Kind.SCORE)

    def __init__(self, label: str, takes: tuple[Kind, ...], gives: Kind) -> None:
        self.label = label
        self.takes = takes
        self.gives = gives


@dataclass(frozen=True)
class Primitive:
    """A named step of the proxy language.

    Attributes:
        name: the word in the text form.
        stage: where it stands.
        function: what it computes.
        formula: how the report prints it, LaTeX with ``x`` for the argument.
        edge: what it does on non-finite, singular or constant input.
        keeps_sign: the result has the sign of the input, entry by entry.
        increasing: strictly increasing in every entry (so it preserves rank).
        affine: increasing and affine.
        positive: every result is above zero, so thresholds at zero see nothing.
        elementwise: entries do not see each other.
        zero_one: a binariser that gives zeros and ones, as the Hamming kernel needs.
        beyond_paper: the paper's language does not have it, and grammars leave it out unless it is named.
        needs: a reduction of ``eigenvalues``, of the ``matrix``, or of it and that of another layer of the part
            (``PARTNERS``); a kernel of ``binary`` or of any feature.
    """

    name: str
    stage: Stage
    function: Callable[..., Any]
    formula: str
    edge: str
    keeps_sign: bool = False
    increasing: bool = False
    affine: bool = False
    positive: bool = False
    elementwise: bool = True
    zero_one: bool = False
    beyond_paper: bool = False
    needs: str = ""


PARTNERS = ("first", "next", "last")
"""Which other layer a reduction looks at; the last one is its own next."""
REGISTRY: dict[Stage, dict[str, Primitive]] = {stage: {} for stage in Stage}
F = TypeVar("F", bound=Callable[..., Any])


def primitive(stage: Stage, *, formula: str, edge: str, replace: bool = False, **facts: Any) -> Callable[[F], F]:
    """Register a function as a primitive; its own name (less a trailing underscore) is the word in the language.

    Args:
        stage: where it stands.
        formula: see ``Primitive``.
        edge: see ``Primitive``.
        replace: take the place of a primitive of that word without a warning.
        **facts: the other fields of ``Primitive``.

    Raises:
        ValueError: the word is one of the package's own, or stands for a primitive of another stage.

    Warns:
        UserWarning: the word stood for another function, as when a cell of a notebook is run again.
    """

    def register(function: F) -> F:
        word = function.__name__.rstrip("_")
        made = Primitive(word, stage, function, formula, edge, **facts)
        add_primitive(made, replace=replace)
        if not function.__module__.startswith("autogas."):
            plugins.note(add_primitive, made, replace=True)
        return function

    return register


def add_primitive(made: Primitive, *, replace: bool = False) -> None:
    """Make a primitive known under its name; see ``primitive``."""
    for kind in made.stage.takes:
        known = words_after(kind).get(made.name)
        if known is None:
            continue
        if known.stage is not made.stage or known.function.__module__.startswith("autogas."):
            raise ValueError(f"primitive {made.name!r} is registered twice")
        if not replace:
            warnings.warn(f"primitive {made.name!r} is replaced", stacklevel=3)
    REGISTRY[made.stage][made.name] = made


def all_functions() -> list[Callable[..., Any]]:
    """What all words compute."""
    return [word.function for words in REGISTRY.values() for word in words.values()]


def words_after(kind: Kind) -> dict[str, Primitive]:
    """Every primitive that takes ``kind``, by name: the words that may follow at that point of a proxy."""
    return {word: p for stage, words in REGISTRY.items() if kind in stage.takes for word, p in words.items()}


def stages_of(word: str) -> list[Stage]:
    """The stages in which ``word`` is a primitive."""
    return [stage for stage, words in REGISTRY.items() if word in words]
