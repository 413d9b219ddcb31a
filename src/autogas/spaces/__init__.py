"""Search spaces: pure-data genotypes and the networks that they describe."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from autogas import plugins
from autogas.errors import InputError, unknown
from autogas.spaces.base import Arch, Space
from autogas.spaces.choice import Choices, ChoiceSpace
from autogas.spaces.cost import Cost
from autogas.spaces.diffusion import DiffusionUNet
from autogas.spaces.eagan import EAGANDiscriminator, EAGANGenerator
from autogas.spaces.translation import ResNetTranslation, SPADETranslation
from autogas.spaces.transnas import TransNAS, TransNASMacro, TransNASMicro

SPACES: dict[str, Callable[..., Space[Any]]] = {
    "transnas": TransNAS,
    "transnas-macro": TransNASMacro,
    "transnas-micro": TransNASMicro,
    "eagan-generator": EAGANGenerator,
    "eagan-discriminator": EAGANDiscriminator,
    "resnet-translation": ResNetTranslation,
    "spade-translation": SPADETranslation,
    "diffusion-unet": DiffusionUNet,
}


def register_space(space: Space[Arch] | type[Space[Arch]], *, replace: bool = False) -> None:
    """Make a space known by its name, to everything that takes the name of a space.

    Args:
        space: a space, which has no settings then, or its class.
        replace: take the place of a space of that name without a warning.

    Warns:
        UserWarning: there was a space of that name, which is replaced.
    """
    made = space if isinstance(space, type) else _Fixed(space)
    plugins.enter(SPACES, "space", space.name, made, replace=replace)
    plugins.note(register_space, space, replace=True)


def by_name(space: str | Space[Arch]) -> tuple[str, dict[str, Any]]:
    """Name and settings that ``get_space`` makes a space from; one that is not registered is registered now."""
    if isinstance(space, str):
        return space, {}
    if not isinstance(space, Space):
        raise InputError(f"space {space!r}: expected a name or a Space")
    known = SPACES.get(space.name)
    if known is type(space):
        return space.name, dict(space.settings)
    if not (isinstance(known, _Fixed) and known.space is space):
        register_space(space, replace=True)
    return space.name, {}


class _Fixed:
    """Gives the same space always."""

    def __init__(self, space: Space[Any]) -> None:
        self.space = space

    def __call__(self, **settings: Any) -> Space[Any]:
        if settings:
            raise InputError(f"space {self.space.name} has no settings: {', '.join(settings)} given")
        return self.space


def list_spaces(pattern: str = "*") -> list[str]:
    """Names of all search spaces that match a wildcard pattern.

    Examples:
        >>> list_spaces("transnas-*")
        ['transnas-macro', 'transnas-micro']
    """
    plugins.load()
    return sorted(fnmatch.filter(SPACES, pattern))


def get_space(name: str, /, **settings: object) -> Space[Any]:
    """A search space by name, with its settings by keyword.

    Raises:
        InputError: unknown name or setting, or a value outside its range.

    Examples:
        >>> len(get_space("transnas-macro"))
        3256
    """
    plugins.load()
    if name not in SPACES:
        error = unknown("space", name, SPACES)
        hint = "" if str(error).endswith("?") else "; one of your own needs --plugin FILE.py"
        raise InputError(f"{error}{hint}")
    accepted = inspect.signature(SPACES[name]).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        for setting in settings.keys() - accepted.keys():
            raise unknown(f"setting of space {name}", setting, accepted)
    try:
        return SPACES[name](**settings)
    except TypeError as error:
        raise InputError(f"space {name}: {error}") from None


def shared_space(name: str, settings: str) -> Space[Any]:
    """A space by its name and settings (JSON), made once in a process for as long as nothing else has the name."""
    plugins.load()
    return _made(name, settings, SPACES.get(name))


@functools.lru_cache(maxsize=8)
def _made(name: str, settings: str, _registered: object) -> Space[Any]:
    return get_space(name, **json.loads(settings))


__all__ = ["SPACES", "Arch", "ChoiceSpace", "Choices", "Cost", "Space", "get_space", "list_spaces", "register_space"]
