"""Digests of the code of users, so that what was computed with it is told from what it computes after a change.

Two scripts that differ elsewhere have equal digests: what counts is what a function or class can reach. That is its own
instructions and constants, its defaults, what it closes over, and whatever of these it refers to by a global name, in
its own package or outside any. Code of libraries counts by its name.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from autogas.files import checksum

PACKAGE = __name__.partition(".")[0]
PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis))


def digest_of(things: Iterable[object]) -> str:
    """Digest of what is not the package's own among functions, classes and objects; empty where all of it is."""
    found = list(_Walk(things))
    return checksum(found) if found else ""


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


class _Walk:
    """Everything that functions and classes can reach, as texts and bytes in a fixed order."""

    def __init__(self, things: Iterable[object]) -> None:
        self.things = list(things)
        self.packages = {_package(getattr(thing, "__module__", type(thing).__module__)) for thing in self.things}
        self.seen: dict[int, object] = {}  # kept alive, so that no two have one identity

    def __iter__(self) -> Iterator[str | bytes]:
        for thing in self.things:
            yield from self._of(thing)

    def _foreign(self, module: str | None) -> bool:
        """Whether the code of a module is a user's: of the packages that are asked for, or no installed one."""
        package = _package(module)
        if package == PACKAGE or (package in sys.stdlib_module_names and package != "__main__"):
            return False
        file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
        return package in self.packages or "site-packages" not in Path(file).parts

    def _of(self, value: Any) -> Iterator[str | bytes]:
        if isinstance(value, PLAIN):
            yield f"{type(value).__name__} {value!r}"
            return
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value
        yield from self._inside(value)

    def _inside(self, value: Any) -> Iterator[str | bytes]:
        for kinds, parts in self.PARTS:
            if isinstance(value, kinds):
                yield from self._of(parts(value))
                return
        for kinds, method in self.KINDS:
            if isinstance(value, kinds):
                yield from method(self, value)
                return
        yield from self._of(type(value))
        if hasattr(value, "__dict__"):
            yield from self._of(vars(value))

    def _tensor(self, value: torch.Tensor) -> Iterator[str | bytes]:
        yield f"{value.dtype} {tuple(value.shape)}"
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()

    def _array(self, value: np.ndarray[Any, Any]) -> Iterator[str | bytes]:
        yield f"{value.dtype} {value.shape}"
        yield repr(value.tolist()) if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()

    def _mapping(self, value: Mapping[Any, Any]) -> Iterator[str | bytes]:
        yield f"{type(value).__name__} of {len(value)}"
        for key, entry in value.items():
            yield from self._of(key)
            yield from self._of(entry)

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> Iterator[str | bytes]:
        yield f"{type(value).__name__} of {len(value)}"
        for entry in value:
            yield from self._of(entry)

    def _set(self, value: set[Any] | frozenset[Any]) -> Iterator[str | bytes]:
        yield from sorted(map(repr, value))

    def _function(self, value: types.FunctionType) -> Iterator[str | bytes]:
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value]
        if self._foreign(value.__module__):
            yield value.__qualname__
            yield from self._of(value.__code__)
            yield from self._of([value.__defaults__, value.__kwdefaults__])
            for name in sorted(_names(value.__code__) & value.__globals__.keys()):
                yield from self._of(value.__globals__[name])
        if self._foreign(value.__module__) or not all(isinstance(cell, PLAIN) for cell in cells):
            yield from self._of(cells)  # also of the package's functions that are made for a user

    def _class(self, value: type) -> Iterator[str | bytes]:
        if not self._foreign(value.__module__):
            if _package(value.__module__) != PACKAGE:
                yield f"{value.__module__}.{value.__qualname__}"
            return
        yield value.__qualname__
        yield from self._of(value.__bases__)
        for name, entry in sorted(vars(value).items()):
            if name not in (
                "__module__",
                "__doc__",
                "__dict__",
                "__weakref__",
                "__firstlineno__",
                "__static_attributes__",
            ):
                yield name
                yield from self._of(entry)

    def _module(self, value: types.ModuleType) -> Iterator[str | bytes]:
        yield value.__name__
        file = getattr(value, "__file__", None)
        if file and self._foreign(value.__name__) and Path(file).is_file():
            yield Path(file).read_bytes()

    PARTS: ClassVar[Sequence[tuple[type | tuple[type, ...], Callable[[Any], Any]]]] = (
        (types.CodeType, lambda code: [code.co_code, code.co_names, code.co_consts]),
        (functools.partial, lambda call: [call.func, call.args, call.keywords]),
        (types.MethodType, lambda method: [method.__func__, method.__self__]),
        ((staticmethod, classmethod), lambda method: method.__func__),
        (property, lambda both: [both.fget, both.fset]),
        (pd.DataFrame, lambda table: table.to_json()),
    )
    """What stands for an object."""
    KINDS: ClassVar[Sequence[tuple[type | tuple[type, ...], Callable[[Any, Any], Iterator[str | bytes]]]]] = (
        (types.FunctionType, _function),
        (type, _class),
        (types.ModuleType, _module),
        (torch.Tensor, _tensor),
        (np.ndarray, _array),
        (Mapping, _mapping),
        ((set, frozenset), _set),
        ((list, tuple), _sequence),
    )


def _names(code: types.CodeType) -> set[str]:
    """Names that a function and those inside it look up."""
    inside = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, inside))
