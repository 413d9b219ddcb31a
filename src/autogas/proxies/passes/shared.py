"""Passes that several ask for: each is run once, and it is known what each took and which others it needed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast, overload

import torch

T = TypeVar("T")


class Passes:
    """Remembers what was run.

    Args:
        device: that is waited for when a pass is timed.

    Attributes:
        seconds: what each pass took, without the passes it needed.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        self._results: dict[str, object] = {}
        self._needs: dict[str, set[str]] = {}
        self._used: set[str] = set()
        self._inner = 0.0

    def once(self, name: str, run: Callable[[], object]) -> object:
        """The result of a pass, from memory where it ran before."""
        if name not in self._results:
            with self._clock(name):
                self._results[name] = run()
        self._used |= {name, *self._needs[name]}
        return self._results[name]

    def known(self, name: str) -> object:
        """The result of a pass, None where it did not run."""
        return self._results.get(name)

    def forget(self, name: str) -> None:
        """Let a pass run again."""
        self._results.pop(name, None)

    def seconds_alone(self, name: str) -> float:
        """What a pass takes with all that it needs."""
        return self.seconds[name] + sum(self.seconds[needed] for needed in self._needs[name])

    @contextlib.contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        used, inner, self._used, self._inner = self._used, self._inner, set(), 0.0
        start = time.perf_counter()
        try:
            yield
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        finally:
            total = time.perf_counter() - start
            self.seconds[name] = total - self._inner
            self._needs[name] = self._used
            self._used, self._inner = used, inner + total


class shared(Generic[T]):  # noqa: N801 - used as a decorator, like property
    """A pass of ``Passes``: run once, timed without the passes that it asks for itself."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, passes: None, owner: type) -> shared[T]: ...
    @overload
    def __get__(self, passes: Passes, owner: type) -> T: ...
    def __get__(self, passes: Passes | None, owner: type) -> shared[T] | T:
        if passes is None:
            return self
        return cast("T", passes.once(self.name, lambda: self.function(passes)))
