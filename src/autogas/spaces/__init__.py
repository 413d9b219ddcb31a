"""Search spaces: pure-data genotypes and the networks that they describe."""

from __future__ import annotations

import fnmatch
from typing import Any

from autogas.errors import InputError, unknown
from autogas.spaces.base import Space
from autogas.spaces.cost import Cost
from autogas.spaces.eagan import EAGANDiscriminator, EAGANGenerator
from autogas.spaces.translation import ResNetTranslation, SPADETranslation
from autogas.spaces.transnas import TransNAS, TransNASMacro, TransNASMicro

SPACES: dict[str, type[Space[Any]]] = {
    space.name: space
    for space in (
        TransNAS,
        TransNASMacro,
        TransNASMicro,
        EAGANGenerator,
        EAGANDiscriminator,
        ResNetTranslation,
        SPADETranslation,
    )
}


def list_spaces(pattern: str = "*") -> list[str]:
    """Names of all search spaces that match a wildcard pattern.

    Examples:
        >>> list_spaces("transnas-*")
        ['transnas-macro', 'transnas-micro']
    """
    return sorted(fnmatch.filter(SPACES, pattern))


def get_space(name: str, /, **settings: Any) -> Space[Any]:
    """A search space by name, with its settings by keyword.

    Raises:
        InputError: unknown name or setting, or a value outside its range.

    Examples:
        >>> len(get_space("transnas-macro"))
        3256
    """
    if name not in SPACES:
        raise unknown("space", name, SPACES)
    try:
        return SPACES[name](**settings)
    except TypeError as error:
        raise InputError(f"space {name}: {error}") from None


__all__ = ["SPACES", "Cost", "Space", "get_space", "list_spaces"]
