"""Named scorers that are not expressions, in one registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def scorer(of_architecture: OfArchitecture | None = None, *, undefined: str = "") -> Callable[[OfNetwork], OfNetwork]:
    """Register a function of a probe under its own name; its docstring's first line says what it is."""

    def register(function: OfNetwork) -> OfNetwork:
        name = function.__name__
        if name in SCORERS:
            raise ValueError(f"scorer {name!r} is registered twice")
        doc = inspect.getdoc(function) or ""
        SCORERS[name] = Scorer(name, function, of_architecture, doc.partition("\n")[0].rstrip(".").lower(), undefined)
        return function

    return register
