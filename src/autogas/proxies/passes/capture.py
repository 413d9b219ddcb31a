"""Watch the features of a network during a forward pass, without touching the network.

A torch function mode sees every call of an activation or convolution, whether it is a module (``nn.ReLU``) or a plain
function (``torch.relu``), so no hooks are registered and nothing has to be removed afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.interception import Interceptor, input_of
from autogas.proxies.isolation.unchanged import unchanged
from autogas.proxies.passes.binding import own
from autogas.proxies.passes.by_hand import ByHand, by_hand
from autogas.proxies.passes.channels import Channels
from autogas.proxies.passes.constants import Constants
from autogas.proxies.passes.features import (
    ACTIVATIONS,
    CONVOLUTIONS,
    DROPOUTS,
    LAYERS,
    MATRIX_PRODUCTS,
    NORMALISATIONS,
    OUTER,
    Fold,
    Function,
    Rows,
    as_feature,
    fold_of,
    is_cut_above,
    needs_a_fold,
    role,
    rows_of,
    without_bias,
)
from autogas.proxies.passes.graphs import graphs_as_needed
from autogas.proxies.passes.liveness import ALIKE, IGNORES, Finiteness, all_alike, failure, must_have_values
from autogas.proxies.passes.writes import written
from autogas.seeding import seed_everything, torch_generator

Consumer = Callable[[Tensor], None]
Selector = Callable[[Callable[..., Any]], bool]


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
        self.folded: dict[int, Rows] = {}
        self._number = 0
        self.fold = OUTER  # of the last feature
        self.weight: object = None  # of the layer whose feature is seen
        self.constants = Constants()
        self.by_hand = ByHand(self.constants)
        self.channels = Channels()
        self._channels_last = False  # in the feature that is looked at
        self._constant = False  # the feature that is looked at
        self.quiet = False  # whether dropout leaves nothing out
        self.drops = False  # whether it would
        self.finiteness = Finiteness()
        self.tell: Sequence[Callable[[Sequence[int]], None]] = ()

    def called(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the network gets from a function."""
        kind = self._role(func, args, kwargs)
        if kind in DROPOUTS and self._dropout_is_off(args, kwargs):
            return input_of(args, kwargs)
        memories = written(func, args, kwargs)
        constant = self.constants.alone(func, args, kwargs, memories)
        weight = self._weight_of(kind, args, kwargs)
        if kind in MATRIX_PRODUCTS and weight is not None:
            kind = F.linear
        # In place an activation overwrites its input, so what comes before must be read before the call.
        before = input_of(args, kwargs) if kind in ACTIVATIONS else self.by_hand.rectified(kind, args, kwargs)
        if before is not None and (before.is_floating_point() or before.is_complex()):  # no names of tokens, or places
            kind = kind if kind in ACTIVATIONS else by_hand
            self.finiteness.add(kind, before)
            self._constant = constant
            self._channels_last = self.channels.are_last(before)
            self.see(kind, before)
        if memories:
            for listener in self.tell:
                listener(memories)
        after = func(*args, **kwargs)
        if constant:
            self.constants.add(after)
            if memories:  # what was written has another stamp
                self.constants.add((*args, *kwargs.values()))
        else:
            self.by_hand.follow(kind, args, kwargs, after)
        if kind not in LAYERS and kind not in NORMALISATIONS:
            return after
        feature, *others = after if isinstance(after, tuple) else (after,)
        self._channels_last = self.channels.note(kind, args, kwargs, feature)
        if kind not in self.outputs:
            return after
        self._constant = constant
        self.weight = weight
        seen = self._layer(kind, feature)
        return (seen, *others) if isinstance(after, tuple) else seen

    def _layer(self, kind: Function, feature: Tensor) -> Tensor:
        """What the network goes on with as the output of a layer, which may be a copy."""
        self.finiteness.add(kind, feature)
        seen = self.see(kind, feature)
        if self._constant:
            self.constants.add(seen)
        return seen

    def _role(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Function:
        """``role``, but that of a rectifier which is part of a gate is another: ``relu6(x + 3)`` is six sigmoids."""
        kind = role(func, args, kwargs)
        gate = is_cut_above(func, kind) and self.by_hand.is_gate(input_of(args, kwargs))
        return F.hardsigmoid if gate else kind

    def _dropout_is_off(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether dropout is to leave nothing out; it is noted that it would."""
        self.drops = self.drops or bool(args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True)))
        return self.quiet

    def _weight_of(self, kind: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        """The weight of a convolution or linear layer, also of a product of samples and a matrix of weights alone."""
        if kind in CONVOLUTIONS:
            return args[1] if len(args) > 1 else kwargs.get("weight")
        if kind not in MATRIX_PRODUCTS:
            return None
        several = (part for x in (*args, *kwargs.values()) for part in (x if isinstance(x, tuple | list) else (x,)))
        factors = [x for x in several if isinstance(x, Tensor)][-2:]  # of baddbmm the first is a bias
        fixed = [x for x in factors if x.dim() > 1 and self.constants.fits(x)]
        return fixed[0] if len(factors) == 2 and len(fixed) == 1 else None

    def see(self, _func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Look at a rectifier's input or a layer's output; returns what the network goes on with as that output."""
        return feature

    def as_feature(self, tensor: Tensor) -> Tensor | None:
        """The tensor with its samples first, or None; to be called once for each, in order."""
        number = self._number
        self._number += 1
        if self._constant or is_functorch_wrapped_tensor(tensor):
            return None
        if needs_a_fold(tensor, self.batch_size):
            self.folded[number] = rows_of(tensor, self.batch_size)
        self.fold = replace(self.folds.get(number, OUTER), channels_last=self._channels_last)
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
        self.missed = 0

    def see(self, func: Callable[..., Any], feature: Tensor) -> Tensor:
        """Offer a feature to every consumer."""
        samples = self.as_feature(feature)
        if samples is not None:
            for selects, consume in self.consumers:
                if selects(func):
                    consume(samples)
        elif any(selects(func) for selects, _ in self.consumers):
            self.missed += 1
        return feature


@dataclass(frozen=True)
class Pass:
    """A forward pass with consumers.

    Attributes:
        output: of the network.
        failure: why the network cannot be scored, or empty.
        missed: how many features that a consumer selects have no samples.
        folded: rows of features whose shape does not say whose they are, by number of the feature.
        drops: whether dropout leaves entries out.
    """

    output: Any
    failure: str
    missed: int
    folded: Mapping[int, Rows]
    drops: bool


def watched(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    watch: Watch,
    seed: int = 0,
    on_write: Iterable[Callable[[Sequence[int]], None]] = (),
) -> Any:
    """The output of one forward pass of ``model(*inputs)`` that a watch sees.

    The network and all random states are the same afterwards, see ``unchanged``. Layers that draw random numbers, such
    as dropout, draw those of ``seed``.

    Args:
        model: the network.
        inputs: its arguments.
        watch: sees the features.
        seed: of the layers that draw random numbers.
        on_write: told of memories before the network may write them, see ``written``.
    """
    copies = [x.clone() for x in inputs]  # a network whose first layer works in place writes its input
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(unchanged(model, inputs, told=True))
        stack.enter_context(torch.no_grad())
        empty = {id(buffer): buffer.clone() for buffer in model.buffers() if not buffer.numel()}
        if empty:  # which it may resize, what could not be put back
            network.replace(empty)
        watch.constants.start(own(model, network.tensors))
        watch.tell = [network.expect, *on_write]
        stack.enter_context(watch)
        seed_everything(seed, inputs)
        with graphs_as_needed():
            return model(*copies)


def run(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    consumers: Sequence[tuple[Selector, Consumer]],
    seed: int = 0,
    *,
    on_write: Iterable[Callable[[Sequence[int]], None]] = (),
    folds: Mapping[int, Fold] = MappingProxyType({}),
    quiet: bool = False,
) -> Pass:
    """A pass, see ``watched``, with consumers that get the features of the functions that they select.

    In a ``quiet`` one dropout leaves nothing out.
    """
    must_have_values(model, inputs)
    offer = _Offer(consumers, len(inputs[0]), folds)
    offer.quiet = quiet
    output = watched(model, inputs, offer, seed, on_write)
    reason = failure(output, len(inputs[0]))
    if reason == IGNORES:
        reason = ALIKE if all_alike(inputs) else "" if _starts_at_zero(model, inputs, seed) else reason
    return Pass(output, reason or offer.finiteness.failure, offer.missed, offer.folded, offer.drops)


def folds_of(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    selectors: Iterable[Selector],
    folded: Mapping[int, Rows],
    seed: int = 0,
) -> dict[int, Fold]:
    """How the rows of folded features belong to samples, from a pass in which the samples come in reverse.

    Dropout, which draws by place, is left out of that one, and of another in order.

    Args:
        model: the network.
        inputs: of the pass before.
        selectors: of that pass.
        folded: rows of that pass, by number of the feature.
        seed: of that pass.
    """
    n = len(inputs[0])
    turned = tuple(x.flip(0) if x.dim() and len(x) == n else x for x in inputs)
    consumers: list[tuple[Selector, Consumer]] = [(selects, lambda _: None) for selects in selectors]
    try:
        reverse = run(model, turned, consumers, seed, quiet=True)
        others = reverse.folded
        if reverse.drops:
            folded = run(model, inputs, consumers, seed, quiet=True).folded
    except Exception:  # noqa: BLE001 - the network's own, which may want its samples in order
        return {number: rows.likely for number, rows in folded.items()}
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
                with graphs_as_needed():
                    output = model(*(x.clone() for x in given))
                if not failure(output, len(given[0])):
                    return True
    return False
