"""Watch the features of a network during a forward pass, without touching the network.

A torch function mode sees every call of an activation or convolution, whether it is a module (``nn.ReLU``) or a plain
function (``torch.relu``), so no hooks are registered and nothing has to be removed afterwards.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.interception import Interceptor, input_of
from autogas.proxies.features import (
    ACTIVATIONS,
    CONVOLUTIONS,
    LAYERS,
    NORMALISATIONS,
    Fold,
    Function,
    as_feature,
    fold_of,
    is_folded,
    is_square,
    known,
    row_means,
    without_bias,
)
from autogas.proxies.isolation import unchanged
from autogas.proxies.liveness import IGNORES, Finiteness, failure, must_have_values
from autogas.proxies.primitives.registry import Stage, primitive
from autogas.proxies.writes import memory_of, written
from autogas.seeding import seed_everything, torch_generator


@primitive(Stage.LAYERS, formula=r"F_l", edge="a layer that does not vary over the batch is left out")
def activations(called: Callable[..., Any]) -> bool:
    """Input of every rectifier (ReLU family, SiLU, GELU, …), the paper's layers; without any, of every convolution."""
    return called in ACTIVATIONS


@primitive(Stage.LAYERS, formula=r"C_l", edge="a layer that does not vary over the batch is left out")
def convolutions(called: Callable[..., Any]) -> bool:
    """Output of every convolution, transposed convolution, linear and recurrent layer, in order of execution."""
    return called in LAYERS


@primitive(Stage.LAYERS, formula=r"Z_l", edge="a layer that does not vary over the batch is left out")
def normalisations(called: Callable[..., Any]) -> bool:
    """Output of every batch, instance, group, layer and RMS normalisation; without any, of every convolution."""
    return called in NORMALISATIONS


@primitive(Stage.LAYERS, formula=r"X_l", edge="a layer that does not vary over the batch is left out")
def all_(_called: Callable[..., Any]) -> bool:
    """Activations, convolutions and normalisations together, in order of execution."""
    return True


Consumer = Callable[[Tensor], None]
Selector = Callable[[Callable[..., Any]], bool]


class Constants:
    """Which tensors are made of parameters and buffers alone, so that none of their dimensions is the samples."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor] | Tensor, object]] = {}
        self._mixed: set[int] = set()  # memories that something else was written to

    def start(self, tensors: Iterable[Tensor]) -> None:
        """Parameters and buffers are such; they are held until the pass ends."""
        for tensor in tensors:
            self._known[id(tensor)] = tensor, _stamp(tensor)

    def add(self, made: object) -> None:
        """A tensor that was made of them, or a tuple of such tensors, is one."""
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._known[id(tensor)] = weakref.ref(tensor), _stamp(tensor)

    def alone(self, args: Sequence[Any], kwargs: Mapping[str, Any], memories: Sequence[int]) -> bool:
        """Whether a function is applied to these alone; if not, the memories that it writes hold others."""
        first = args[0] if args else kwargs.get("input")
        if id(first) in self._known and not memories and all(map(self._fits, (*args, *kwargs.values()))):
            return True
        self._mixed.update(memories)
        return False

    def _fits(self, value: Any) -> bool:
        """Whether an argument can hold nothing of a sample: one of these tensors, or a number, size or name."""
        if isinstance(value, Tensor):
            held, stamp = self._known.get(id(value), (None, None))
            alive = held() if isinstance(held, weakref.ref) else held
            return alive is value and stamp == _stamp(value) and memory_of(value) not in self._mixed
        if isinstance(value, tuple):
            return all(map(self._fits, value))
        return value is None or value is Ellipsis or isinstance(value, bool | int | float | str | slice | torch.dtype)


def _stamp(tensor: Tensor) -> object:
    """What changes when a tensor is written, or has other memory."""
    if tensor.is_inference() or tensor.layout is not torch.strided or tensor.is_meta:
        return None
    if is_functorch_wrapped_tensor(tensor):
        return None
    return memory_of(tensor), tensor.data_ptr(), tensor._version


class Watch(Interceptor):
    """See the features of a network while it runs: inputs of rectifiers, outputs of layers.

    Args:
        batch_size: a feature ``[N, …]`` has one entry a sample; what has another length is none.
        outputs: functions whose output is a feature.
        folds: how the rows of folded features belong to samples, by number of the feature, see ``folds_of``.
    """

    def __init__(
        self,
        batch_size: int,
        outputs: frozenset[Function] = LAYERS,
        folds: Mapping[int, Fold] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.outputs = outputs
        self.folds = folds
        self.folded: dict[int, Tensor] = {}
        self._number = 0
        self.fold = Fold.OUTER  # of the last feature
        self.weight: object = None  # of the layer whose feature is seen
        self.constants = Constants()
        self._constant = False  # the feature that is looked at
        self.finiteness = Finiteness()
        self.tell: Sequence[Callable[[Sequence[int]], None]] = ()

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the network gets from a function."""
        kind = known(func)
        memories = written(func, args, kwargs)
        constant = self.constants.alone(args, kwargs, memories)
        if kind in ACTIVATIONS:
            # In place it overwrites its input, so what comes before must be read before the call.
            before = input_of(args, kwargs)
            self.finiteness.add(kind, before)
            self._constant = constant
            self.see(kind, before)
        if memories:
            for listener in self.tell:
                listener(memories)
        after = func(*args, **kwargs)
        if constant:
            self.constants.add(after)
        if kind not in self.outputs:
            return after
        self._constant = constant
        self.weight = (args[1] if len(args) > 1 else kwargs.get("weight")) if kind in CONVOLUTIONS else None
        feature = after[0] if isinstance(after, tuple) else after
        self.finiteness.add(kind, feature)
        seen = self.see(kind, feature)
        return (seen, *after[1:]) if isinstance(after, tuple) else seen

    def see(self, _func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Look at a rectifier's input or a layer's output; returns what the network goes on with as that output."""
        return feature

    def as_feature(self, tensor: Tensor) -> Tensor | None:
        """The tensor with its samples first, or None; to be called once for each, in order."""
        number = self._number
        self._number += 1
        if self._constant or is_functorch_wrapped_tensor(tensor):
            return None
        if is_folded(tensor, self.batch_size) or is_square(tensor, self.batch_size):
            self.folded[number] = row_means(tensor, self.batch_size)
        self.fold = self.folds.get(number, Fold.OUTER)
        return as_feature(tensor, self.batch_size, self.fold)

    def must_be_finite(self) -> None:
        """Raises ``InputError`` when a feature is not finite."""
        if self.finiteness.failure:
            raise InputError(self.finiteness.failure)


class _Offer(Watch):
    """Hand the selected features to their consumers."""

    def __init__(
        self, consumers: Sequence[tuple[Selector, Consumer]], batch_size: int, folds: Mapping[int, Fold]
    ) -> None:
        normalised = any(selects(F.batch_norm) for selects, _ in consumers)
        super().__init__(batch_size, LAYERS | NORMALISATIONS if normalised else LAYERS, folds)
        self.consumers = consumers
        self.on_miss: Callable[[Function], None] | None = None

    def see(self, func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Offer a feature to every consumer."""
        samples = self.as_feature(feature)
        if samples is not None:
            for selects, consume in self.consumers:
                if selects(func):
                    consume(samples)
        elif self.on_miss is not None:
            self.on_miss(func)
        return feature


def run(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    consumers: Sequence[tuple[Selector, Consumer]],
    seed: int = 0,
    on_write: Iterable[Callable[[Sequence[int]], None]] = (),
    on_miss: Callable[[Function], None] | None = None,
    folds: Mapping[int, Fold] = MappingProxyType({}),
    folded: dict[int, Tensor] | None = None,
) -> tuple[Any, str]:
    """One forward pass of ``model(*inputs)`` with consumers watching.

    The network and all random states are the same afterwards, see ``unchanged``. Layers that draw random numbers,
    such as dropout, draw those of ``seed``.

    Args:
        model: the network.
        inputs: its arguments.
        consumers: get the features of the functions that they select.
        seed: of the layers that draw random numbers.
        on_write: told of memories before the network may write them, see
            ``written``.
        on_miss: told of functions whose tensor has no dimension of samples.
        folds: see ``Watch``.
        folded: gets the means of rows of features that have more rows than samples.

    Returns:
        The network's output, and why the network cannot be scored, or empty.
    """
    must_have_values(model, inputs)
    copies = [x.clone() for x in inputs]  # a network whose first layer works in place writes its input
    watch = _Offer(consumers, len(inputs[0]), folds)
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(unchanged(model, inputs, told=True))
        stack.enter_context(torch.no_grad())
        empty = {id(buffer): buffer.clone() for buffer in model.buffers() if not buffer.numel()}
        if empty:  # which it may resize, what could not be put back
            network.replace(empty)
        watch.constants.start([p for _, p in (*model.named_parameters(), *model.named_buffers())])
        watch.tell = [network.expect, *on_write]
        watch.on_miss = on_miss
        stack.enter_context(watch)
        seed_everything(seed, inputs)
        output = model(*copies)
    reason = failure(output)
    if reason == IGNORES and _starts_at_zero(model, inputs, seed):
        reason = ""
    if folded is not None:
        folded.update(watch.folded)
    return output, reason or watch.finiteness.failure


def folds_of(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    selectors: Iterable[Selector],
    folded: Mapping[int, Tensor],
    seed: int = 0,
) -> dict[int, Fold]:
    """How the rows of folded features belong to samples, from a pass in which the samples come in reverse.

    Args:
        model: the network.
        inputs: of the pass before.
        selectors: of that pass.
        folded: means of rows of that pass, by number of the feature.
        seed: of that pass.
    """
    n = len(inputs[0])
    turned = tuple(x.flip(0) if x.dim() and len(x) == n else x for x in inputs)
    others: dict[int, Tensor] = {}
    try:
        run(model, turned, [(selects, lambda _: None) for selects in selectors], seed, folded=others)
    except Exception:  # noqa: BLE001 - the network's own, which may want its samples in order
        return {
            number: Fold.OUTER if len(rows) == n * n else Fold.NONE  # a square most likely has its samples first
            for number, rows in folded.items()
        }
    return {number: fold_of(rows, others.get(number, rows), n) for number, rows in folded.items()}


def _starts_at_zero(model: nn.Module, inputs: tuple[Tensor, ...], seed: int) -> bool:
    """Whether the output varies once weights that are all zero, as the last ones of many networks, are random.

    Two samples say it for a part of a pass; all are asked where those do not, or where the network takes no fewer.
    """
    zero = [p for p in without_bias(model.named_parameters()) if p.is_floating_point() and p.numel() and not p.any()]
    if not zero:
        return False
    generator = torch_generator("zero weights", seed)
    others = {id(p): torch.randn(p.shape, generator=generator).mul_(0.1).to(p) for p in zero}
    n = len(inputs[0])
    two = tuple(x[:2] if x.dim() and len(x) == n else x for x in inputs)
    for given in (two, inputs):
        with unchanged(model, inputs) as network, torch.no_grad():
            network.replace(others)
            seed_everything(seed, inputs)
            refused = () if given is inputs else (Exception,)
            with contextlib.suppress(*refused):
                if not failure(model(*(x.clone() for x in given))):
                    return True
    return False
