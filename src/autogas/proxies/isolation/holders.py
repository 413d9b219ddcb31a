"""Where a network may keep what a pass changes, and how each kind of holder gets back what it held."""

from __future__ import annotations

import argparse
import array
import functools
import operator
import queue
import random
import sys
import threading
import types
import weakref
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autogas.code import NO_VALUE, slot_value, slots_of
from autogas.proxies.isolation.saved import SavedArray

CONTAINERS = (dict, list, set, deque)
FIXED = (tuple, frozenset)
WRAPPERS = (
    *(
        UserDict,
        UserList,
        ChainMap,
        weakref.WeakKeyDictionary,
        weakref.WeakValueDictionary,
        types.SimpleNamespace,
        argparse.Namespace,
    ),
    *(threading.local, queue.Queue, torch.quasirandom.SobolEngine),
)
"""Classes of libraries whose objects are their attributes."""
GENERATORS = (torch.Generator, np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
BYTES = (bytearray, array.array)
VALUES = (np.ndarray, *BYTES, *GENERATORS)
REFERENCES = (functools.partial, types.MethodType, types.MappingProxyType)
HELD = (Tensor, nn.Module, *CONTAINERS, *FIXED, *WRAPPERS, *VALUES, *REFERENCES)
"""What is looked into."""
PLAIN = frozenset((type(None), bool, int, float, str, *weakref.ProxyTypes))
"""Types of most attributes, which are passed over at once."""

LIBRARIES = frozenset(("builtins", "torch", "numpy", "torchvision", "pydantic", "pandas", "scipy"))


def _own(kind: type) -> bool:
    """Whether objects of a class are looked into: those of the network's authors, not those of libraries."""
    return not of_library(kind.__module__) and (kind.__dictoffset__ != 0 or bool(slots_of(kind)))


@functools.cache
def of_library(module: str) -> bool:
    """Whether a module is of the standard library or of one that networks are written with."""
    where = module.partition(".")[0]
    return where in sys.stdlib_module_names or where in LIBRARIES


def looked_into(value: Any) -> bool:
    """Whether something may hold what a pass changes."""
    if type(value) in weakref.ProxyTypes:  # it answers for another, which may be gone
        return False
    if isinstance(value, type):
        return not of_library(value.__module__)
    return isinstance(value, HELD) or _own(type(value))


def behind(value: Any) -> Iterable[Any]:
    """What a reference leads to."""
    if isinstance(value, functools.partial):
        return (value.func, value.args, value.keywords)
    if isinstance(value, types.MethodType):
        return (value.__self__,)
    return tuple(value.values())


def fill_slots(value: Any, slots: Sequence[Any], kept: Sequence[Any]) -> None:
    """Let an object hold in its slots what it held, whatever its class makes of attributes."""
    for slot, before in zip(slots, kept, strict=True):
        now = slot_value(slot, value)
        if now is before:
            continue
        if before is NO_VALUE:
            slot.__delete__(value)
        else:
            slot.__set__(value, before)


def fill_class(cls: type, kept: Mapping[str, Any]) -> None:
    """Let a class have the attributes that it had."""
    now = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
    for name in now.keys() - kept.keys():
        delattr(cls, name)
    for name, value in kept.items():
        if now.get(name, now) is not value:
            setattr(cls, name, value)


def restorer(value: Any) -> Callable[[], object]:
    """What puts the values of an array, or the state of a generator, back."""
    if isinstance(value, np.ndarray):
        return SavedArray(value).restore
    if isinstance(value, BYTES):
        return functools.partial(value.__setitem__, slice(None), value[:])
    if isinstance(value, random.SystemRandom):  # which has no state
        return lambda: None
    if isinstance(value, random.Random):
        return functools.partial(value.setstate, value.getstate())
    if isinstance(value, np.random.BitGenerator):
        return functools.partial(setattr, value, "state", value.state)
    if isinstance(value, np.random.Generator):
        states = value.bit_generator.state
        return functools.partial(setattr, value.bit_generator, "state", states)
    return functools.partial(value.set_state, value.get_state())


def refill(container: Any, entries: Any) -> None:
    """Let a container hold the entries that it had, without touching one that still has them."""
    if _holds(container, entries):
        return
    container.clear()
    if entries:
        (container.update if isinstance(entries, dict | set) else container.extend)(entries)


def _holds(container: Any, entries: Any) -> bool:
    if not entries or len(container) != len(entries):
        return not entries and not container
    if isinstance(entries, set):
        return bool(container == entries)
    if isinstance(entries, dict):
        same = all(map(operator.is_, dict.values(container), entries.values()))
        return same and list(container) == list(entries)
    return all(map(operator.is_, container, entries))
