"""How the statistics of some prefixes are found: what is measured once, and what follows from something else."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TypeAlias

from autogas.proxies.language.expression import Prefix
from autogas.proxies.primitives import REGISTRY, Primitive, Stage

Transforms: TypeAlias = tuple[Primitive, ...]
Wanted: TypeAlias = dict[str | None, int]
"""Where the statistics of a transformed feature stand, for each binariser and for none."""


KNOWN_BINARISERS = ("sign", "above_zero", "above_mean", "above_median")
"""Those that the engine needs no function for: thresholds are counted as bits, signs multiplied."""


@dataclass(frozen=True)
class Plan:
    """What to measure; a place is that in the list of prefixes.

    Attributes:
        groups: transforms that are applied once, and what is wanted of what they give.
        derived: places whose Gram matrix follows from that of another, x / |x| from x; bases before what they give.
    """

    groups: tuple[tuple[Transforms, Wanted], ...]
    derived: dict[int, int]


def plan(prefixes: tuple[Prefix, ...]) -> Plan:
    """The plan for some prefixes; places after theirs are of bases that are needed besides.

    What can be derived always is, so that company changes nothing.
    """
    known = {**REGISTRY[Stage.BINARISER], **REGISTRY[Stage.TRANSFORM]}
    named = {word for prefix in prefixes for word in (*prefix.transforms, prefix.binariser) if word is not None}
    return _plan(prefixes, tuple(known[word] for word in sorted(named)))


@functools.lru_cache(maxsize=64)
def _plan(prefixes: tuple[Prefix, ...], known: tuple[Primitive, ...]) -> Plan:
    """For words as they are known now: one of a user may be registered anew."""
    words = {word.name: word for word in known}
    needed = list(prefixes)
    for prefix in needed:  # grows while it is read
        if _derived(prefix) and _base(prefix) not in needed:
            needed.append(_base(prefix))
    groups: dict[tuple[str, ...], Wanted] = {}
    for place, prefix in enumerate(needed):
        if prefix.binariser is None or prefix.binariser in KNOWN_BINARISERS:
            groups.setdefault(prefix.transforms, {})[prefix.binariser] = place
        else:  # any other is applied as it is
            groups.setdefault((*prefix.transforms, prefix.binariser), {})[None] = place
    derived = sorted(filter(_derived, needed), key=lambda prefix: len(prefix.transforms))
    return Plan(
        tuple((tuple(words[name] for name in transforms), wanted) for transforms, wanted in groups.items()),
        {needed.index(prefix): needed.index(_base(prefix)) for prefix in derived},
    )


def _derived(prefix: Prefix) -> bool:
    """Whether the Gram matrix follows from that of what is transformed: of x / |x| from that of x."""
    return prefix.binariser is None and prefix.transforms[-1:] == ("norm",)


def _base(prefix: Prefix) -> Prefix:
    return dataclasses.replace(prefix, transforms=prefix.transforms[:-1])
