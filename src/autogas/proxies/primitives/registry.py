"""One registry a stage: a primitive is one small pure function with what must be known about it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar


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
        needs: a reduction of ``eigenvalues`` or of the ``matrix``; a kernel of ``binary`` or of any feature.
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
    needs: str = ""


REGISTRY: dict[Stage, dict[str, Primitive]] = {stage: {} for stage in Stage}
F = TypeVar("F", bound=Callable[..., Any])


def primitive(stage: Stage, *, formula: str, edge: str, **facts: Any) -> Callable[[F], F]:
    """Register a function as a primitive; its own name (less a trailing underscore) is the word in the language.

    Raises:
        ValueError: another primitive that takes the same kind has the word already.
    """

    def register(function: F) -> F:
        word = function.__name__.rstrip("_")
        for kind in stage.takes:
            if word in words_after(kind):
                raise ValueError(f"primitive {word!r} is registered twice")
        REGISTRY[stage][word] = Primitive(word, stage, function, formula, edge, **facts)
        return function

    return register


def words_after(kind: Kind) -> dict[str, Primitive]:
    """Every primitive that takes ``kind``, by name: the words that may follow at that point of a proxy."""
    return {word: p for stage, words in REGISTRY.items() if kind in stage.takes for word, p in words.items()}


def stages_of(word: str) -> list[Stage]:
    """The stages in which ``word`` is a primitive."""
    return [stage for stage, words in REGISTRY.items() if word in words]


def list_primitives() -> dict[str, list[str]]:
    """Names of all primitives by stage."""
    return {stage.label: list(words) for stage, words in REGISTRY.items()}
