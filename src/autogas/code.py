"""Digests of the code of users, so that what was computed with it is told from what it computes after a change.

Two scripts that differ elsewhere have equal digests: what counts is what a function or class can reach. That is its own
instructions and constants, its defaults, what it closes over, and whatever of these it refers to by a global name, in
its own package or outside any. Code of libraries counts by its name.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch.nn.parameter import is_lazy

from autogas.files import checksum

PACKAGE = __name__.partition(".")[0]
PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis))
BUILT_IN = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
INSTALLED = frozenset(("site-packages", "dist-packages"))
DEPTH = 100
"""How deep values are looked into."""
OF_PYTHON = frozenset(("__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__"))
"""Attributes of a class that say nothing of what it computes."""


def digest_of(things: Iterable[object]) -> str:
    """Digest of what is not the package's own among functions, classes and objects; empty where all of it is."""
    given = list(things)
    walk = _Walk({_package(getattr(thing, "__module__", type(thing).__module__)) for thing in given})
    found = [part for thing in given for part in walk.of(thing, 0)]
    return checksum(found) if found else ""


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


class _Walk:
    """Everything that functions and classes can reach, as texts and bytes in a fixed order."""

    def __init__(self, packages: Collection[str]) -> None:
        self.packages = packages
        self.seen: dict[int, tuple[int, object]] = {}  # kept alive, so that no two have one identity

    def _foreign(self, module: str | None) -> bool:
        """Whether the code of a module is a user's: of the packages that are asked for, or no installed one."""
        package = _package(module)
        if package == PACKAGE or (package in sys.stdlib_module_names and package != "__main__"):
            return False
        file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
        return package in self.packages or INSTALLED.isdisjoint(Path(file).parts)

    def of(self, value: Any, depth: int) -> Iterator[str | bytes]:
        """Parts of a value; of one that was met before, which one it was."""
        if isinstance(value, PLAIN):
            yield f"{type(value).__name__} {value!r}"
        elif depth > DEPTH:
            yield type(value).__qualname__
        elif isinstance(value, self.BY_VALUE):
            yield from self._inside(value, depth + 1)
        elif id(value) in self.seen:
            yield f"again {self.seen[id(value)][0]}"
        elif not self._silent(value):
            self.seen[id(value)] = len(self.seen), value
            yield from self._inside(value, depth + 1)

    def _silent(self, value: Any) -> bool:
        """Whether it is of the package itself, whose code does not count, and holds nothing of a user."""
        if isinstance(value, types.FunctionType) and value.__closure__:
            return False
        return isinstance(value, types.FunctionType | type) and _package(value.__module__) == PACKAGE

    def _inside(self, value: Any, depth: int) -> Iterator[str | bytes]:
        for kinds, parts in self.PARTS:
            if isinstance(value, kinds):
                yield from self.of(parts(value), depth)
                return
        for kinds, method in self.KINDS:
            if isinstance(value, kinds):
                yield from method(self, value, depth)
                return
        yield from self.of(type(value), depth)
        if self._foreign(type(value).__module__) or isinstance(value, torch.nn.Module):
            yield from self.of(getattr(value, "__dict__", None), depth)
            yield from self.of([slot_value(slot, value) for slot in slots_of(type(value))], depth)
            return
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - of a library: what cannot be copied counts by its type
            return
        yield from self.of(list(parts) if isinstance(parts, tuple) else parts, depth)

    def _tensor(self, value: torch.Tensor, _depth: int) -> Iterator[str | bytes]:
        yield f"{value.dtype} {value.layout} {value.device.type}"
        if is_lazy(value) or value.is_nested or value.is_meta:
            return
        yield f"{tuple(value.shape)}"
        dense = value.detach().resolve_conj().resolve_neg()
        dense = dense if dense.layout is torch.strided else dense.to_dense()
        if not dense.is_quantized:
            yield dense.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()

    def _array(self, value: np.ndarray[Any, Any], depth: int) -> Iterator[str | bytes]:
        yield f"{value.dtype} {value.shape}"
        if value.dtype.hasobject:
            yield from self.of(value.tolist(), depth)
        else:
            yield np.ascontiguousarray(value).tobytes()

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Iterator[str | bytes]:
        yield f"{type(value).__name__} of {len(value)}"
        for key, entry in value.items():
            yield from self.of(key, depth)
            yield from self.of(entry, depth)

    def _sequence(self, value: Iterable[Any], depth: int) -> Iterator[str | bytes]:
        entries = list(value)
        yield f"{type(value).__name__} of {len(entries)}"
        for entry in entries:
            yield from self.of(entry, depth)

    def _set(self, value: Iterable[Any], depth: int) -> Iterator[str | bytes]:
        yield from sorted(checksum(_Walk(self.packages).of(entry, depth)) for entry in value)

    def _function(self, value: types.FunctionType, depth: int) -> Iterator[str | bytes]:
        if self._foreign(value.__module__):
            yield value.__qualname__
            yield from self.of(value.__code__, depth)
            yield from self.of([value.__defaults__, value.__kwdefaults__, vars(value)], depth)
            for name in sorted(_names(value.__code__) & value.__globals__.keys()):
                yield from self.of(value.__globals__[name], depth)
            for name in sorted(_imported(value.__code__) & sys.modules.keys()):
                yield from self.of(sys.modules[name], depth)
        elif _package(value.__module__) != PACKAGE:
            yield f"{value.__module__}.{value.__qualname__}"
        for cell in value.__closure__ or ():  # also of the package's functions that are made for a user
            yield from self.of(_held(cell), depth)

    def _class(self, value: type, depth: int) -> Iterator[str | bytes]:
        yield f"{value.__module__}.{value.__qualname__}" if not self._foreign(value.__module__) else value.__qualname__
        if self._foreign(value.__module__):
            yield from self.of(list(value.__bases__), depth)
            for name, entry in sorted(vars(value).items()):
                if name not in OF_PYTHON:
                    yield name
                    yield from self.of(entry, depth)

    def _module(self, value: types.ModuleType, _depth: int) -> Iterator[str | bytes]:
        yield value.__name__
        if self._foreign(value.__name__):
            inside = [name for name in sys.modules if name == value.__name__ or name.startswith(f"{value.__name__}.")]
            for name in sorted(inside):
                file = getattr(sys.modules[name], "__file__", None)
                if file and Path(file).is_file():
                    yield Path(file).read_bytes()

    def _built_in(self, value: Any, _depth: int) -> Iterator[str | bytes]:
        yield f"{getattr(value, '__module__', '')}.{value.__qualname__}"

    BY_VALUE: ClassVar[tuple[type, ...]] = (tuple, frozenset, types.CodeType)
    """Equal ones may or may not be one object, as the compiler pleases."""
    PARTS: ClassVar[Sequence[tuple[type | tuple[type, ...], Callable[[Any], Any]]]] = (
        (
            types.CodeType,
            lambda code: [code.co_code, code.co_names, code.co_consts, code.co_flags, _arguments(code)],
        ),
        (functools.partial, lambda call: [call.func, call.args, call.keywords]),
        (types.MethodType, lambda method: [method.__func__, method.__self__]),
        ((staticmethod, classmethod), lambda method: method.__func__),
        (property, lambda both: [both.fget, both.fset]),
        (
            pd.DataFrame,
            lambda table: [list(table), list(map(str, table.dtypes)), pd.util.hash_pandas_object(table).to_numpy()],
        ),
    )
    """What stands for an object."""
    KINDS: ClassVar[Sequence[tuple[type | tuple[type, ...], Callable[[Any, Any, int], Iterator[str | bytes]]]]] = (
        (types.FunctionType, _function),
        (type, _class),
        (types.ModuleType, _module),
        (BUILT_IN, _built_in),
        (torch.Tensor, _tensor),
        (np.ndarray, _array),
        (Mapping, _mapping),
        ((set, frozenset), _set),
        ((list, tuple, deque), _sequence),
    )


def _held(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return "empty"


def _arguments(code: types.CodeType) -> list[object]:
    """Names of the arguments, and how many are by position."""
    count = code.co_argcount + code.co_kwonlyargcount
    return [code.co_argcount, code.co_posonlyargcount, list(code.co_varnames[:count])]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and that of those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _names(code: types.CodeType) -> set[str]:
    """Names that a function and those inside it look up."""
    return {name for one in _codes(code) for name in one.co_names}


def _imported(code: types.CodeType) -> set[str]:
    """Modules that a function imports when it runs."""
    return {
        str(step.argval) for one in _codes(code) for step in dis.get_instructions(one) if step.opname == "IMPORT_NAME"
    }


NO_VALUE = "no value"
"""Of a slot that nobody filled."""


def slots_of(kind: type) -> tuple[types.MemberDescriptorType, ...]:
    """What reads and writes the attributes that objects of a class hold in slots, those of its bases too."""
    return tuple(
        entry for cls in kind.__mro__ for entry in vars(cls).values() if isinstance(entry, types.MemberDescriptorType)
    )


def slot_value(slot: types.MemberDescriptorType, value: object) -> Any:
    """What an object holds in a slot, whatever its class makes of attributes; ``NO_VALUE`` if nothing."""
    try:
        return slot.__get__(value)
    except AttributeError:
        return NO_VALUE
