"""Which saturating functions of a network are gates, and which its ends."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from autogas.interception import input_of
from autogas.proxies.passes.by_hand import PRODUCTS, STEP_OF, Step, name_of
from autogas.proxies.passes.capture import Watch
from autogas.proxies.passes.features import SATURATING, known

DIFFERENCES = frozenset(("sub", "subtract", "rsub", "isub"))
FILLED = frozenset(["full_like", "ones_like", "zeros_like", "new_full", "new_ones", "new_zeros"])
"""Functions that take the shape of a tensor, and nothing else of it."""


class Gates(Watch):
    """Which calls of saturating functions, counted from 0, are no ends of a network.

    They multiply something that depends on samples, or are subtracted from what they were given.

    Attributes:
        found: their numbers.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size)
        self.found: set[int] = set()
        self._calls = itertools.count()
        self._of: dict[int, tuple[weakref.ref[Tensor], int, weakref.ref[Tensor]]] = {}

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Follow what such a call gives, also scaled and moved, to a product."""
        kind = known(func)
        name = name_of(kind)
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.numel() > 1]
        tensors = [x for x in given if not self.constants.fits(x)]
        calls = [self._of[id(x)] for x in tensors if id(x) in self._of and self._of[id(x)][0]() is x]
        if len(tensors) == 2 and name in PRODUCTS:
            self.found.update(call for _, call, _ in calls)
        if len(tensors) == 2 and name in DIFFERENCES:
            self.found.update(call for _, call, source in calls if any(source() is x for x in tensors))
        after = super().called(func, args, kwargs)
        if name in FILLED:
            self.constants.add(after)
        elif kind in SATURATING:
            self._of[id(after)] = weakref.ref(after), next(self._calls), weakref.ref(input_of(args, kwargs))
        elif len(tensors) == 1 and calls and isinstance(after, Tensor) and STEP_OF.get(name) is Step.SCALED:
            self._of[id(after)] = weakref.ref(after), *calls[0][1:]
        return after
