"""Activations that a network writes out, such as ``x * torch.sigmoid(x)`` and ``torch.where(x > 0, x, 0)``."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from autogas.proxies.passes.constants import Constants, stamp


class Step(Flag):
    """What was done to a tensor on the way to another one, entry by entry."""

    SCALED = 0
    GATED = 1
    """Something bounded, or exponential, or a comparison with zero."""
    ABSOLUTE = 2
    CURVED = 4


STEPS = {
    Step.SCALED: "mul multiply rmul imul div divide true_divide truediv add radd iadd sub subtract rsub isub "
    "neg clone contiguous float half double to type type_as detach",
    Step.GATED: "sigmoid tanh erf erfc ndtr expit hardsigmoid exp expm1 softplus softsign sign sgn heaviside clamp "
    "clip atan arctan logical_not bitwise_not invert",
    Step.ABSOLUTE: "abs absolute",
    Step.CURVED: "pow rpow square sqrt rsqrt reciprocal rdiv rtruediv log log1p log2 sin cos logsigmoid log_sigmoid",
}
"""Functions that work on every entry for itself, by name, without the underscores of operators and places."""
PRODUCTS = frozenset(("mul", "multiply", "rmul", "imul", "div", "divide", "true_divide", "truediv"))
SUMS = frozenset(("add", "radd", "iadd", "sub", "subtract", "rsub", "isub"))
CHOICES = frozenset(("where", "masked_fill", "setitem"))
LARGER = frozenset(("max", "maximum", "fmax"))
COMPARISONS = frozenset(["gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"])
BY_NAME = ("condition", "input", "self", "mask", "value", "other")
"""Arguments of these, in the order in which they follow those that are given by place."""
STEP_OF = {name: step for step, names in STEPS.items() for name in names.split()}
NEARLY = 1e-6
"""What is no more than this is zero to whoever compares with it."""
RAISE = 3
"""What is added to a tensor of which a piecewise linear sigmoid is computed, ``relu6(x + 3) / 6``."""
LONGEST = 12
"""Steps from a tensor to what rectifies it; the tanh of a GELU takes seven."""


@functools.cache
def name_of(func: Callable[..., Any]) -> str:
    """Name of a function of torch, without the underscores of operators and of what works in place."""
    if getattr(func, "__self__", None) is torch.Tensor.data:
        return "detach"
    name: str = getattr(func, "__name__", "")
    return name.strip("_").removeprefix("special_")


@dataclass(frozen=True, eq=False)
class _Made:
    """A tensor, and those that it was made of entry by entry, the last first, each with all that was done since.

    It was ``raised`` where it is another plus ``RAISE``.
    """

    tensor: weakref.ref[Tensor]
    stamp: object
    before: Sequence[tuple[_Made, Step]] = ()
    raised: bool = False

    def line(self) -> Iterator[tuple[_Made, Step]]:
        """Itself, and what is before it."""
        yield self, Step.SCALED
        yield from self.before

    def now(self) -> Tensor | None:
        """The tensor, if it is still what it was."""
        tensor = self.tensor()
        return tensor if tensor is not None and stamp(tensor) == self.stamp else None


class ByHand:
    """Finds activations that are no function of torch.

    Args:
        constants: tensors of these are numbers to it, such as a slope that is learned.
    """

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._known: dict[int, _Made] = {}

    def rectified(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
        """The input of the activation that this call completes, or None."""
        name = name_of(func)
        given = [*args, *(kwargs[known] for known in BY_NAME if known in kwargs)] if kwargs else args
        if name in PRODUCTS:
            return self._gated(given[:2], Step.GATED)
        if name in SUMS:
            return self._gated(given[:2], Step.ABSOLUTE)
        if name in CHOICES and len(given) > 1:
            first, second, *others = given  # of torch.where the mask comes first
            mask, *values = (first, second, *others) if _is_mask(first) else (second, first, *others)
            found = (self._gated((value, mask), Step.GATED, both=False) for value in values)
            return next((x for x in found if x is not None), None)
        if name in LARGER and len(given) == 2 and len(args) + len(kwargs) == 2:
            return self._larger(*given)
        return None

    def follow(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], made: object) -> None:
        """Note what a call made of its arguments."""
        name, given = name_of(func), (*args, *kwargs.values())
        zero = None
        if name in COMPARISONS:  # a number says so without reading a tensor
            zero = next((x for x in sorted(given, key=torch.is_tensor) if self._is_zero(x)), None)
        step = STEP_OF.get(name) if zero is None else Step.GATED
        if step is None or not isinstance(made, Tensor):
            return
        sources = [self._made(x) for x in given if x is not zero and self._varies(x)]
        if not sources or len(sources) > 2:
            return
        last, steps = (sources[0], step) if len(sources) == 1 else self._shared(*sources)
        if last is None:
            return
        before = [(source, done | steps | step) for source, done in last.line() if source.tensor() is not made]
        raised = name in SUMS and any(type(x) in (int, float) and x == RAISE for x in given)
        self._known[id(made)] = _Made(weakref.ref(made), stamp(made), before[:LONGEST], raised)

    def is_gate(self, x: Tensor) -> bool:
        """Whether what is cut at zero and six is the sum that a piecewise linear sigmoid is computed of."""
        return self._made(x).raised

    def _gated(self, pair: Sequence[Any], how: Step, *, both: bool = True) -> Tensor | None:
        """What one of a pair is but for its scale, and the other computes such a thing of."""
        if len(pair) < 2 or not all(map(self._varies, pair)):
            return None
        first, second = map(self._made, pair)
        for value, gate in ((first, second), (second, first))[: 2 if both else 1]:
            scaled = {id(source) for source, done in value.line() if done is Step.SCALED}
            for source, done in gate.line():
                if id(source) in scaled:
                    if how in done:
                        return source.now()
                    break
        return None

    def _larger(self, first: Any, second: Any) -> Tensor | None:
        """What is compared with zero, or with a part of itself."""
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return None
        for value, other in ((first, second), (second, first)):
            if self._varies(value) and self._is_zero(other):
                return value
        last, steps = self._shared(self._made(first), self._made(second))
        return last.now() if last is not None and steps is Step.SCALED and first is not second else None

    @staticmethod
    def _shared(first: _Made, second: _Made) -> tuple[_Made | None, Step]:
        """The last tensor that both were made of, and what was done to it since."""
        others = {id(source): done for source, done in second.line()}
        for source, done in first.line():
            if id(source) in others:
                return source, done | others[id(source)]
        return None, Step.SCALED

    @staticmethod
    def _is_zero(value: object) -> bool:
        """Whether it is the number zero but for what keeps from dividing by it, or a tensor of zeros."""
        if isinstance(value, Tensor):
            readable = value.numel() > 0 and not value.is_meta and not is_functorch_wrapped_tensor(value)
            return readable and not bool(value.any())
        return isinstance(value, Real) and abs(float(value)) <= NEARLY

    def _varies(self, value: object) -> bool:
        """Whether it is a tensor that is no number and not made of weights alone."""
        return isinstance(value, Tensor) and value.numel() > 1 and not self._constants.fits(value)

    def _made(self, tensor: Tensor) -> _Made:
        made = self._known.get(id(tensor))
        if made is None or made.tensor() is not tensor or made.stamp != stamp(tensor):
            made = self._known[id(tensor)] = _Made(weakref.ref(tensor), stamp(tensor))
        return made


def _is_mask(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype is torch.bool


def by_hand(x: Tensor) -> Tensor:
    """Stands among the functions of torch for an activation that is none of them."""
    return x
