"""Leave a network as it was: whatever a pass changes in it is put back, however the pass ends."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils import checkpoint

from autogas.code import slot_value, slots_of
from autogas.interception import Interceptor
from autogas.proxies.isolation.holders import (
    CONTAINERS,
    FIXED,
    PLAIN,
    REFERENCES,
    VALUES,
    behind,
    fill_class,
    fill_slots,
    looked_into,
    of_library,
    refill,
    restorer,
)
from autogas.proxies.isolation.saved import Change, Saved
from autogas.proxies.passes.writes import memory_of, written
from autogas.seeding import same_randomness

WITHOUT_ATTRIBUTES = frozenset((*CONTAINERS, OrderedDict))
"""Types of containers; classes that are made of them may have more."""
ONE_AT_A_TIME = threading.RLock()
"""Random states, and a network that two threads look at, are one for the whole process."""


class Snapshot(Interceptor):
    """What a network holds at one moment.

    That is every module's attributes, whatever they are (so its mode, its hooks, and which tensor has which name), the
    entries of the containers among them and the attributes of objects of its own classes, however nested, and of every
    tensor in there its values, dtype, memory and gradient; so too the values of numpy arrays and bytes, the states of
    random generators, and the attributes of the modules' classes. A tensor or layer with several names is held once.

    Parameters are many and hardly ever written, so their values are copied when a function that may write them is
    about to be called, for which this is a context. What a network keeps elsewhere is not seen: in globals, closures,
    attributes of functions, objects that only a class attribute holds, and inside objects of libraries; nor a parameter
    that scripted functions or operators of one's own write.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._containers: list[tuple[Any, Any]] = []
        self._tensors: list[Saved] = []
        self._others: list[Callable[[], object]] = []
        self._not_copied: dict[int, list[Saved]] = {}
        self._classes: set[type] = set()
        self._seen: set[int] = set()
        self.changes: list[Change] = []  # of tensors, known when everything is put back
        self.hold((model,))

    def hold(self, values: Iterable[Any]) -> None:
        """Hold these as they are now, and what is inside them."""
        waiting = list(values)
        while waiting:
            value = waiting.pop()
            if id(value) not in self._seen:
                self._seen.add(id(value))
                waiting += self._hold(value)

    @property
    def tensors(self) -> list[Tensor]:
        """All that are held."""
        return [saved.tensor for saved in self._tensors]

    def _hold(self, value: Any) -> Iterator[Any]:
        """Hold something as it is now; gives what is inside it."""
        if isinstance(value, type):
            yield from self._class(value)
            return
        if isinstance(value, Tensor):
            self._add(Saved(value))
        elif isinstance(value, VALUES):
            self._others.append(restorer(value))
            if isinstance(value, np.ndarray) and value.dtype == object:
                yield from filter(looked_into, value.flat)
        elif isinstance(value, REFERENCES):
            yield from filter(looked_into, behind(value))
        elif isinstance(value, nn.Module):
            self._others.append(functools.partial(_of_class, value, type(value)))
            yield from self._beside_attributes(value)
        elif isinstance(value, (*CONTAINERS, *FIXED)):
            yield from self._inside(value)
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict) and (attributes or not isinstance(value, Tensor)):
            yield from self._inside(attributes)
        yield from self._slots(value)

    def _slots(self, value: Any) -> Iterator[Any]:
        """Hold the attributes that have slots of their own; gives those that are looked into."""
        slots = () if of_library(type(value).__module__) else slots_of(type(value))
        if slots:
            kept = [slot_value(slot, value) for slot in slots]
            self._others.append(functools.partial(fill_slots, value, slots, kept))
            yield from (inside for inside in kept if looked_into(inside))

    def _beside_attributes(self, module: nn.Module) -> Iterator[Any]:
        """Hold what a module's classes have; gives what is looked into there, and the tensors of a scripted module."""
        for cls in type(module).__mro__:
            if not cls.__module__.startswith("torch."):
                yield from self._class(cls)
        if isinstance(module, torch.jit.ScriptModule):
            yield from [*module.parameters(), *module.buffers()]

    def _class(self, cls: type) -> Iterator[Any]:
        """Hold the attributes of a class; gives what is looked into there."""
        if cls in self._classes or cls is object:
            return
        self._classes.add(cls)
        kept = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        for name, value in kept.items():
            plain = without_cache(value)  # which would keep what is made of other weights
            if plain is not value:
                setattr(cls, name, plain)
        self._others.append(functools.partial(fill_class, cls, kept))
        yield from (value for value in kept.values() if isinstance(value, (Tensor, *CONTAINERS, *VALUES)))

    def _inside(self, entries: Any) -> Iterator[Any]:
        """Hold which entries a container has; gives those that are looked into."""
        if not isinstance(entries, FIXED):
            self._containers.append((entries, dict(entries) if isinstance(entries, dict) else entries.copy()))
        for inside in dict.values(entries) if isinstance(entries, dict) else entries:
            if type(inside) in PLAIN:
                continue
            if type(inside) in WITHOUT_ATTRIBUTES and not inside:  # such as unset hooks
                self._containers.append((inside, ()))
            elif looked_into(inside):
                yield inside

    def _add(self, saved: Saved) -> None:
        self._tensors.append(saved)
        if type(saved.tensor) is nn.Parameter and saved.plain:
            self._not_copied.setdefault(memory_of(saved.tensor), []).append(saved)
        else:
            saved.copy()

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Copy the values of parameters that a function may write, then call it."""
        self.expect(written(func, args, kwargs))
        return func(*args, **kwargs)

    def expect(self, memories: Iterable[int]) -> None:
        """Copy the values of parameters in memories that are about to be ``written``."""
        for memory in memories:
            for saved in self._not_copied.pop(memory, ()):
                saved.copy()

    def copies(self, tensors: Iterable[Tensor]) -> dict[int, Tensor]:
        """Copies of tensors, and of whatever else shares their memory and goes on to do so, by identity."""
        wanted = list(tensors)
        memories = {memory_of(tensor) for tensor in wanted} - {0}
        sharing = {id(s.tensor): s.tensor for s in self._tensors if s.plain and memory_of(s.tensor) in memories}
        holders = Counter(map(memory_of, sharing.values()))
        found: dict[int, Tensor] = {}
        storages: dict[int, torch.UntypedStorage] = {}
        for tensor in (*wanted, *sharing.values()):
            memory = memory_of(tensor)
            if id(tensor) in found or isinstance(tensor, nn.Parameter):
                continue
            if holders[memory] < 2:
                found[id(tensor)] = tensor.clone()
                continue
            if memory not in storages:
                storages[memory] = tensor.untyped_storage().clone()
            empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            found[id(tensor)] = empty.set_(storages[memory], tensor.storage_offset(), tensor.shape, tensor.stride())
        return found

    def replace(self, tensors: Mapping[int, Tensor]) -> None:
        """Let the network hold other tensors, by the identity of its own, under every name that those have."""
        for container, entries in self._containers:
            if isinstance(container, set):
                continue
            for key, value in entries.items() if isinstance(entries, dict) else enumerate(entries):
                if isinstance(value, Tensor) and id(value) in tensors:
                    container[key] = tensors[id(value)]

    def restore(self) -> None:
        """Put everything back; what cannot be does not keep the rest from it."""
        # Thousands of objects that are kept for later would set off Python's collector, which takes as long as a pass.
        errors = itertools.chain(
            (_failure(refill, *both) for both in self._containers),
            (_failure(self._put_back, saved) for saved in self._tensors),
            map(_failure, self._others),
        )
        failed = [error for error in errors if error]
        if failed:
            raise failed[0]

    def _put_back(self, saved: Saved) -> None:
        change = saved.restore()
        if change is not None:
            self.changes.append(change)

    def again(self, changes: Iterable[Change]) -> None:
        """Let tensors be what they were when an earlier snapshot put them back."""
        for change in changes:
            self.expect([memory_of(change.memory)])
            change.again()


def _of_class(module: nn.Module, cls: type[nn.Module]) -> None:
    """Let a module be of a class again, where parametrisations gave it another."""
    if type(module) is not cls:
        module.__class__ = cls


def _failure(function: Callable[..., object], *args: object) -> Exception | None:
    """What a function raises, or None."""
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001 - of the objects that networks hold
        return error
    return None


@contextlib.contextmanager
def unchanged(model: nn.Module, inputs: tuple[Tensor, ...], *, told: bool = False) -> Iterator[Snapshot]:
    """Put back a network (see ``Snapshot``) and all random states when the block ends, however it ends.

    Args:
        model: the network.
        inputs: say which devices have random states.
        told: another interceptor sees every call and tells the snapshot of what is written (``Snapshot.expect``):
            two that see a thousand calls each cost a twentieth of a pass.
    """
    with ONE_AT_A_TIME:
        snapshot = Snapshot(model)
        try:
            with (
                same_randomness(inputs),
                _without_checkpoints(),
                _without_cached_parametrisations(),
                _uncompiled(),
                contextlib.nullcontext() if told else snapshot,
            ):
                yield snapshot
        finally:
            snapshot.restore()


@contextlib.contextmanager
def _without_cached_parametrisations() -> Iterator[None]:
    """Let nothing that ``parametrize.cached()`` keeps come in, and nothing that is made meanwhile stay."""
    before = dict(parametrize._cache)
    parametrize._cache.clear()
    try:
        yield
    finally:
        parametrize._cache.clear()
        if parametrize._cache_enabled:
            parametrize._cache.update(before)


def _uncompiled() -> contextlib.AbstractContextManager[object]:
    """Run what was compiled as it was written, so that its layers are seen; nothing was where dynamo is not loaded."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


@contextlib.contextmanager
def _without_checkpoints() -> Iterator[None]:
    """Keep all features for the backward pass, which else would run layers again after everything was put back."""

    def forward_only(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
        return function(*args)

    def no_hook(_frame: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    reentrant = mock.patch.object(checkpoint.CheckpointFunction, "apply", forward_only)
    with reentrant, mock.patch.object(checkpoint, "_checkpoint_hook", no_hook):
        yield


def without_cache(value: Any) -> Any:
    """A method, property or class method whose function is cached, without its cache; anything else as it is."""
    if isinstance(value, functools._lru_cache_wrapper):
        return value.__wrapped__
    if isinstance(value, property) and isinstance(value.fget, functools._lru_cache_wrapper):
        return property(value.fget.__wrapped__, value.fset, value.fdel, value.__doc__)
    if isinstance(value, classmethod | staticmethod) and isinstance(value.__func__, functools._lru_cache_wrapper):
        return type(value)(value.__func__.__wrapped__)
    return value
