"""Named scorers that are not expressions, in one registry."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autogas import plugins
from autogas.proxies.probe import Probe
from autogas.spaces import Space

OfNetwork = Callable[[Probe], float]
OfArchitecture = Callable[[Space[Any], Any], float]


@dataclass(frozen=True)
class Scorer:
    """A named scorer that is not an expression.

    Attributes:
        name: its name.
        of_network: score of a network under a probe.
        of_architecture: score of an architecture in its space, without building it; None: build it and probe it.
        doc: what it is, in a line.
        undefined: why a network has no finite score, in words.
    """

    name: str
    of_network: OfNetwork
    of_architecture: OfArchitecture | None
    doc: str
    undefined: str = ""

    def __str__(self) -> str:
        return self.name


SCORERS: dict[str, Scorer] = {}


def scorer(
    of_architecture: OfArchitecture | None = None, *, undefined: str = "", replace: bool = False
) -> Callable[[OfNetwork], OfNetwork]:
    """Register a function of a probe under its own name; its docstring's first line says what it is.

    Args:
        of_architecture: see ``Scorer``.
        undefined: see ``Scorer``.
        replace: take the place of a scorer of that name without a warning.

    Raises:
        ValueError: the name is one of the package's own.

    Warns:
        UserWarning: there was a scorer of that name, as when a cell of a notebook is run again.
    """
    if isinstance(of_architecture, type(lambda: None)) and "probe" in inspect.signature(of_architecture).parameters:
        raise ValueError("@scorer: expected @scorer(), with parentheses")

    def register(function: OfNetwork) -> OfNetwork:
        doc = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".").lower()
        made = Scorer(function.__name__, function, of_architecture, doc, undefined)
        add_scorer(made, replace=replace)
        if not function.__module__.startswith("autogas."):
            plugins.note(add_scorer, made, replace=True)
        return function

    return register


def add_scorer(made: Scorer, *, replace: bool = False) -> None:
    """Make a scorer known under its name; see ``scorer``."""
    if made.name in _names_of_ours(own=made.of_network.__module__.startswith("autogas.")):
        raise ValueError(f"scorer {made.name!r} is registered twice")
    known = SCORERS.get(made.name)
    if known is not None and not replace:
        warnings.warn(f"scorer {made.name!r} is replaced", stacklevel=3)
    SCORERS[made.name] = made


def _names_of_ours(*, own: bool) -> set[str]:
    """Names that are taken: of the package's scorers, and of its expressions, which it names after them."""
    expressions: set[str] = set()
    if not own:
        from autogas.proxies.named import EXPRESSIONS  # which loads the package's scorers

        expressions |= set(EXPRESSIONS)
    return expressions | {n for n, known in SCORERS.items() if known.of_network.__module__.startswith("autogas.")}
