"""Whether what a scorer gives is a number, and says anything of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from autogas.errors import InputError

if TYPE_CHECKING:
    from autogas.proxies.probe import Probe

NO_GRADIENT = "the output starts at zero, no layer is alive, or the forward pass runs without gradients"


def as_number(score: object) -> float:
    """What a scorer gives; raises ``InputError`` for what is no number."""
    try:
        if isinstance(score, str | bytes):
            raise TypeError
        return float(cast("float", score))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        shown = f"{score!r:.40}" if isinstance(score, int | str) else f"a {type(score).__name__}"
        raise InputError(f"the scorer gives {shown}: expected a number") from None


def telling(probe: Probe, value: float, why: str = NO_GRADIENT) -> float:
    """The value, unless it is the zero that every network gets whose gradients or weights are zero, and ``why``.

    Raises:
        InputError: it is, although there are parameters.
    """
    if value == 0 and probe.weights:
        raise InputError(f"zero for every weight, which ranks nothing: {why}")
    if value == 0 and probe.parameters:
        raise InputError(
            "zero, which ranks nothing: the network has no weights of two or more dimensions, such as those of "
            "convolutions and linear layers"
        )
    return value
