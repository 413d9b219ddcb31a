"""Which saturating functions of a network are gates, and which its ends."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from autogas.interception import Interceptor
from autogas.proxies.passes.by_hand import PRODUCTS, STEP_OF, Step, name_of
from autogas.proxies.passes.features import SATURATING, known


class Gates(Interceptor):
    """Which calls of saturating functions, counted from 0, multiply something: the others are ends of a network.

    Attributes:
        found: their numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[int] = set()
        self._calls = itertools.count()
        self._of: dict[int, tuple[weakref.ref[Tensor], int]] = {}

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Follow what such a call gives, also scaled and moved, to a product."""
        kind = known(func)
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.numel() > 1]
        calls = [call for x in tensors for alive, call in [self._of.get(id(x), (None, 0))] if alive and alive() is x]
        if len(tensors) == 2 and name_of(kind) in PRODUCTS:
            self.found.update(calls)
        after = func(*args, **kwargs)
        if kind in SATURATING:
            self._of[id(after)] = weakref.ref(after), next(self._calls)
        elif len(tensors) == 1 and calls and isinstance(after, Tensor) and STEP_OF.get(name_of(kind)) is Step.SCALED:
            self._of[id(after)] = weakref.ref(after), calls[0]
        return after
