"""One network under examination: passes that several scorers need are run once, when the first of them asks."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from autogas.errors import InputError
from autogas.interception import Interceptor
from autogas.proxies.gradients import gradients
from autogas.proxies.isolation.replacing import OnlyReplaced, stand_in
from autogas.proxies.isolation.saved import Change
from autogas.proxies.isolation.unchanged import ONE_AT_A_TIME, Snapshot, unchanged
from autogas.proxies.objective import Loss, reconstruction
from autogas.proxies.passes.binding import own
from autogas.proxies.passes.capture import Watch, folds_of
from autogas.proxies.passes.features import OUTER, Fold, as_feature, is_bias, scales_of
from autogas.proxies.passes.graphs import graphs_as_needed, with_graphs_if_needed
from autogas.proxies.passes.liveness import ROUNDING, must_have_values, principal, tensors
from autogas.proxies.passes.recording import Graphs, Recorded, Recorder
from autogas.proxies.passes.shared import Passes, shared
from autogas.proxies.primitives.layers import activations, convolutions
from autogas.proxies.telling import as_number
from autogas.seeding import same_randomness, seed_everything, torch_generator

T = TypeVar("T")
CANCELLED = 1e-2
"""Share of an output's changes that a derivative by the input explains, below which it may be rounding."""
UNDIFFERENTIABLE = "is not implemented"
"""What torch says of a function without a second derivative."""


@dataclass(frozen=True)
class Gradient:
    """Derivatives of the objective by weights (in the order of ``Probe.weights``) and convolution outputs."""

    weights: list[Tensor]
    convolutions: list[Tensor]


WRITTEN_LEAF = "a leaf Variable that requires grad"
"""What torch says of code that writes a parameter with a gradient in place."""
NO_LEAF = re.compile("requires.grad|created explicitly by the user")
"""What torch says of code that takes no tensor with a graph, as of numpy and deepcopy."""


class Probe(Passes):
    """A network, its inputs and the objective, with the passes that scorers share.

    The network is never written to: passes run on detached views of its parameters and copies of its inputs, and
    buffers, mode and random states are put back.

    Args:
        model: any module, in the mode in which it is to be measured.
        inputs: what ``model(*inputs)`` takes, batches ``[N, …]``.
        loss: the objective of gradient scorers, ``loss(output, inputs)``, a scalar tensor for a batch of any size.
        seed: of what draws random numbers: scorers, and layers such as dropout, which draw the same in every pass.

    Attributes:
        parameters: detached views by name.
        written: what the network had written when its last pass ended, of tensors that are no buffers.
        weight_names: of those that are weights of convolutions and linear layers.
    """

    def __init__(
        self, model: nn.Module, inputs: tuple[Tensor, ...], *, loss: Loss = reconstruction, seed: int = 0
    ) -> None:
        self.model = model
        self.inputs = tuple(x.clone() if x.is_inference() else x for x in inputs)
        self.loss = loss
        self.seed = seed
        device = self.inputs[0].device.type
        cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        self._autocast = torch.get_autocast_dtype(device) if cast else None
        self._own = dict(model.named_parameters())
        # One that is written in the forward pass must be no leaf with a gradient, and a vector needs none. With a count
        # of writes of its own, a graph of it stays valid when a later pass writes the network's.
        self.parameters = {
            name: stand_in(
                p,
                p.detach().clone() if p.is_inference() else p.data,
                requires_grad=p.is_floating_point() and (p.requires_grad or p.dim() > 1),
            )
            for name, p in self._own.items()
        }
        self._replaced = frozenset(map(id, self._own.values()))
        self._originals = {id(p): self._own[name] for name, p in self.parameters.items()}
        self._frozen = any(p.is_floating_point() and not p.requires_grad for p in self._own.values())
        self._complex = any(p.is_complex() for p in self.parameters.values())
        scales = set(map(id, scales_of(model)))
        self.weight_names = frozenset(
            name
            for name, p in self._own.items()
            if p.dim() > 1 and p.is_floating_point() and not is_bias(name) and id(p) not in scales
        )
        self._weights = [p for name, p in self.parameters.items() if name in self.weight_names]
        super().__init__(self.inputs[0].device)
        self._last_output = self.inputs[0]
        self.written: Sequence[Change] = ()

    @property
    def weights(self) -> list[Tensor]:
        """Weights of convolutions and linear layers, of two or more dimensions, which gradient scorers score.

        Raises:
            InputError: the network has complex weights, whose gradients these scorers do not define.
        """
        if self._complex:
            raise InputError("the network has complex weights: expected real ones")
        return self._weights

    def cost_of(self, run: Callable[[Probe], float]) -> tuple[float, float]:
        """A score and the seconds that it takes alone, with all passes that it needs."""
        self.forget("score")
        # Passes that need a graph switch gradients on themselves, which an inference mode around would not let them.
        # What is called under autocast is the network, not the arithmetic of the package's scorers.
        ours = self._autocast is not None and run.__module__.startswith("autogas.")
        plain = torch.autocast(self.inputs[0].device.type, enabled=False) if ours else contextlib.nullcontext()
        with torch.inference_mode(False), torch.no_grad(), plain:
            score = functools.partial(with_graphs_if_needed(self.once), "score", lambda: run(self))
            try:
                value = score()
            except RuntimeError as error:
                if WRITTEN_LEAF not in str(error) or not self._free():
                    raise
                value = score()
        return as_number(value), self.seconds_alone("score")

    def as_called(self) -> contextlib.AbstractContextManager[object]:
        """For the network alone: autocast as it was around the probe, without copies of weights that may change."""
        if self._autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.inputs[0].device.type, self._autocast, cache_enabled=False)

    def generator(self) -> torch.Generator:
        """Random numbers of a scorer: the same for every network, on the CPU so that every device gets the same."""
        return torch_generator("scorer", self.seed)

    def must_have_values(self) -> None:
        """Raise ``InputError`` for a network without values."""
        must_have_values(self.model, self.inputs)

    def is_batch(self, x: Tensor) -> bool:
        """Whether an input has a row for each sample; one such as a time step or a mask has none."""
        return x.dim() > 0 and len(x) == len(self.inputs[0])

    def samples(self, part: slice) -> tuple[Tensor, ...]:
        """The inputs for some samples of the batch; an input that is not a batch stays whole."""
        return tuple(x[part] if self.is_batch(x) else x for x in self.inputs)

    def on_few(self, counts: Iterable[int], function: Callable[[tuple[Tensor, ...]], T]) -> T:
        """A function of the inputs for the first of these numbers of samples that the network takes, else for all.

        A network that makes as many of few samples as of all, by something that it keeps, does not take them.
        """
        for count in counts:
            if count < len(self.inputs[0]):
                with contextlib.suppress(Exception):  # the network's own: a batch norm wants two, a graph all of them
                    result = function(self.samples(slice(count)))
                    if not self.is_batch(self._last_output) or self._has_rows_of_its_own(count + 1):
                        return result
        return function(self.inputs)

    def _has_rows_of_its_own(self, count: int) -> bool:
        """Whether the output has as many rows as there are samples also for this number of them, so by chance."""
        if count >= len(self.inputs[0]):
            return False
        self.run(self.samples(slice(count)))
        return self.is_batch(self._last_output)

    def loss_of(self, output: Any, inputs: tuple[Tensor, ...]) -> Tensor:
        """The objective; raises ``InputError`` when it is not a scalar tensor.

        It draws the same random numbers whenever it is asked, and may write what it is given.
        """
        try:
            with same_randomness(inputs):
                seed_everything(self.seed, inputs)
                with self.as_called():
                    value = self.loss(output, tuple(x.clone() for x in inputs))
        except (TypeError, AttributeError) as error:
            raise InputError(
                f"the loss fails: {error}; it gets the output of the network and what that was given, "
                "as a tuple or by name"
            ) from None
        if not isinstance(value, Tensor) or value.dim():
            given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"loss gives {given}: expected a scalar tensor")
        return value

    def run(
        self, inputs: tuple[Tensor, ...], parameters: Mapping[str, Tensor] | None = None, *modes: Interceptor
    ) -> Any:
        """``model(*inputs)`` under interceptors, leaving no trace.

        Args:
            inputs: as ``inputs``.
            parameters: parameters and buffers by name, to be held instead of ``parameters``.
            modes: interceptors.
        """
        with contextlib.ExitStack() as stack:
            network, others = stack.enter_context(self._holding(inputs, parameters))
            held = [x for x in network.tensors if id(x) not in self._replaced]
            for watch in modes:
                if isinstance(watch, Watch):
                    watch.constants.start(own(self.model, (*others, *held)))
            seed_everything(self.seed, inputs)
            if parameters is not None or self._frozen:
                stack.enter_context(OnlyReplaced(self._own.values()))
            for mode in modes:
                stack.enter_context(mode)
            stack.enter_context(self.as_called())
            stack.enter_context(graphs_as_needed())
            # A network whose first layer works in place writes its input.
            output = self.model(*(x.clone() for x in inputs))
        self.written = network.changes
        self._last_output = next((x for x in tensors(output) if x.dim()), self.inputs[0].new_zeros(()))
        return output

    def _free(self) -> bool:
        """Ask no gradients of parameters that the network has frozen, and may write; returns whether any were asked."""
        frozen = [p for name, p in self.parameters.items() if p.requires_grad and not self._own[name].requires_grad]
        for p in frozen:
            p.requires_grad_(False)
        return bool(frozen)

    @contextlib.contextmanager
    def _holding(
        self, inputs: tuple[Tensor, ...], parameters: Mapping[str, Tensor] | None = None
    ) -> Iterator[tuple[Snapshot, Iterable[Tensor]]]:
        """Let the network hold other tensors meanwhile, which are given, and put it back; see ``run``."""
        own = {**self._own, **dict(self.model.named_buffers())}
        given = parameters or self.parameters
        held = {id(own[name]): tensor for name, tensor in given.items()}
        with unchanged(self.model, inputs) as network:
            # Buffers are written by batch norms in the forward pass; a graph must not refer to what is put back then.
            others = network.copies([b for b in self.model.buffers() if id(b) not in held])
            network.replace({**others, **held})
            network.hold(held.values())
            yield network, (*others.values(), *held.values())

    @shared
    def recorded(self) -> Recorded:
        """One forward pass on ``inputs`` with its graph and features.

        More where layers work in place, and where features have more rows than samples.

        Raises:
            InputError: the output or a feature is not finite.
        """
        return self._record(graph=True)

    @shared
    def observed(self) -> Recorded:
        """``recorded``, or without a graph where the network does not run with one."""
        try:
            return self.recorded
        except (RuntimeError, TypeError) as error:  # as of features that it reads as numpy arrays
            try:
                return self._record(graph=False)
            except Exception:  # noqa: BLE001 - the network's own, which it raises in either way
                raise error from None

    def _record(self, *, graph: bool) -> Recorded:
        self.must_have_values()
        inputs = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in self.inputs)
        copies, folds = False, dict[int, Fold]()
        while True:
            record = Recorded(inputs)
            watch = Recorder(record, copies=copies, folds=folds)
            try:
                with torch.set_grad_enabled(graph):
                    record.output = self.run(inputs, None, watch)
            except RuntimeError as error:
                if not NO_LEAF.search(str(error)) or not any(x.requires_grad for x in inputs):
                    raise
                inputs = self.inputs  # which the network itself asks gradients of, as it may of leaves only
                continue
            if watch.overwritten and not copies:
                copies = True
            elif watch.folded and not folds:
                layers = (convolutions, activations)
                folds = folds_of(self.model, self.inputs, layers, watch.folded, self.seed)
                if all(fold == OUTER for fold in folds.values()):
                    break
            else:
                break
        if not all(bool(x.isfinite().all()) for x in tensors(record.output)):
            raise InputError("the output of the network is not finite")
        watch.must_be_finite()
        record.written = self.written
        record.rectified = bool(record.activations)
        record.activations = record.activations or record.convolutions
        return record

    @shared
    def objective(self) -> Tensor:
        """The loss of the recorded pass."""
        with torch.enable_grad():
            return self.loss_of(self.recorded.output, self.inputs)

    @shared
    def gradient(self) -> Gradient:
        """One backward pass of the objective."""
        record, n = self.recorded, len(self.inputs[0])
        found = self.derivatives(self.objective, [*self.weights, *record.sources], through=record.through)
        found = [x.float() if x.dtype.itemsize < 4 else x for x in found]
        by_source = zip(found[len(self.weights) :], record.folds, strict=True)
        turned = [as_feature(derivative, n, fold) for derivative, fold in by_source]
        return Gradient(found[: len(self.weights)], [feature for feature in turned if feature is not None])

    @shared
    def weights_then(self) -> list[Tensor]:
        """Values of the weights when the recorded pass ended: a network may write its own, such as to mask them."""
        if not self.recorded.written:
            return self.weights
        with self._holding(self.inputs) as (network, _):
            network.again(self.recorded.written)
            return [w.detach().clone() for w in self.weights]

    def must_not_rerun(self, by_weights: Sequence[Tensor]) -> None:
        """Refuse what would say something of a part of the network only.

        Args:
            by_weights: derivatives of the objective by the weights.

        Raises:
            InputError: a layer has a derivative by its weight and none by its output, since the network runs it without
                a graph and again in its backward pass, as a checkpoint of one's own does.
        """
        record = self.recorded
        graphs = {id(w) for w, source in zip(record.used, record.sources, strict=True) if source.requires_grad}
        without = {id(w) for w in record.used} - graphs
        if any(id(w) in without and bool(g.any()) for w, g in zip(self.weights, by_weights, strict=True)):
            raise InputError(
                "the network runs layers without gradients and again in its backward pass, where they are not seen: "
                "expected torch.utils.checkpoint, or none"
            )

    @shared
    def jacobian(self) -> Tensor:
        """Derivative of the summed output by the first input, ``[N, D]``; raises ``InputError`` for whole numbers."""
        return self._by_input(torch.ones_like)

    def _by_input(self, weights: Callable[[Tensor], Tensor]) -> Tensor:
        """Derivative of a weighted sum of the output by the first input, ``[N, D]``."""
        record = self.recorded
        if not record.inputs[0].requires_grad:
            raise InputError(f"input of {record.inputs[0].dtype} has no derivative: expected floating-point inputs")
        with torch.enable_grad():
            output = principal(record.output, len(self.inputs[0]))
            if output.is_complex():
                raise InputError("the output of the network is complex: expected real numbers")
            total = (output * weights(output.detach())).sum()
        return self.derivatives(total, [record.inputs[0]])[0].reshape(len(self.inputs[0]), -1)

    def jacobian_is_rounding(self) -> bool:
        """Whether the derivatives of single entries cancel in that of their sum, as behind a last normalisation.

        That is asked of a sum with random signs, and only where the derivative is small beside what the output varies.
        """
        output, x = principal(self.recorded.output, len(self.inputs[0])).detach(), self.inputs[0]
        moved = float(self.jacobian.norm()) * float((x - x.mean(0)).square().mean().sqrt())
        if moved > CANCELLED * float((output - output.mean(0)).norm()):
            return False
        signed = self._by_input(lambda y: torch.randn(y.shape, generator=self.generator()).sign().to(y))
        least = ROUNDING * torch.finfo(signed.dtype).eps * float(signed.abs().max())
        return float(self.jacobian.abs().max()) <= least

    @shared
    def differentiable_gradient(self) -> list[Tensor]:
        """Derivatives of the objective by the weights, themselves with a graph (for Hessian-vector products)."""
        return self.derivatives(self.objective, self.weights, through=self.recorded.through, create_graph=True)

    def hessian_vector(self, vector: Sequence[Tensor]) -> list[Tensor]:
        """The Hessian of the objective by the weights, times a vector."""
        try:
            return self._second(self.differentiable_gradient, vector)
        except InputError as error:
            if UNDIFFERENTIABLE not in str(error):
                raise
        return self._second(self._gradient_of_plain_attention, vector)

    @shared
    def _gradient_of_plain_attention(self) -> list[Tensor]:
        """``differentiable_gradient`` of a network whose attention is made of products, which have two derivatives."""
        with ONE_AT_A_TIME, sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            loss = self.loss_of(self.run(self.inputs), self.inputs)
            return self.derivatives(loss, self.weights, create_graph=True)

    def _second(self, first: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
        pairs = [(g, v) for g, v in zip(first, vector, strict=True) if g.requires_grad]
        if not pairs:
            return [torch.zeros_like(w) for w in self.weights]
        return self.derivatives([g for g, _ in pairs], self.weights, grad_outputs=[v for _, v in pairs])

    def derivatives(
        self,
        of: Tensor | Sequence[Tensor],
        by: Sequence[Tensor],
        *,
        parameters: Mapping[str, Tensor] | None = None,
        written: Sequence[Change] | None = None,
        through: Sequence[Tensor] = (),
        **options: Any,
    ) -> list[Tensor]:
        """``gradients``, by weights also where the network has them under names that nobody looks into.

        The network, which may run layers again, holds what it held in the forward pass, and is put back.

        Args:
            of: what is differentiated.
            by: by what.
            parameters: as ``run`` had them.
            written: as it was after that run; default: after the recorded one.
            through: tensors to which the backward pass must go too, by way of layers that it runs again.
            options: of ``gradients``.

        Raises:
            InputError: the backward pass of the network fails.
        """
        written = self.recorded.written if written is None else written
        with self._holding(self.inputs, parameters) as (network, _):
            network.again(written)
            try:
                seed_everything(self.seed, self.inputs)  # of layers that draw in their backward pass
                also = [self._originals.get(id(x)) for x in by]
                return gradients(of, [*by, *through], also=also, **options)[: len(by)]
            except (RuntimeError, AttributeError, TypeError) as error:
                raise InputError(f"the backward pass of the network fails: {error}") from None

    @shared
    def batch_gradients(self) -> list[list[Tensor]]:
        """Derivatives of the objective by the weights on each half of the batch; raises ``InputError`` for N = 1."""
        half = len(self.inputs[0]) // 2
        if not half:
            raise InputError("1 sample has no two halves: expected batches of at least 2 samples")
        return [self._half_gradients(part) for part in (slice(0, half), slice(half, 2 * half))]

    @contextlib.contextmanager
    def on_a_part(self, share: object) -> Iterator[None]:
        """Refuse a network that does not run on a part of the samples: half, or so many."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - the network's own
            _ = self.recorded  # whose error it is, where it does not run on all of them either
            raise InputError(f"the network does not run on {share} of the samples: {error}") from None

    def _half_gradients(self, part: slice) -> list[Tensor]:
        self.must_have_values()
        watch, inputs = Graphs(part.stop - part.start), self.samples(part)
        with self.on_a_part("half"), torch.enable_grad():
            output, written = self.run(inputs, None, watch), self.written
            if watch.without:  # a graph, so that they are run again in a backward pass that goes on to the inputs
                inputs = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in inputs)
                output, written = self.run(inputs), self.written
        watch.must_be_finite()
        with torch.enable_grad():
            loss = self.loss_of(output, inputs)
        through = [x for x in inputs if x.requires_grad] if watch.without else []
        return self.derivatives(loss, self.weights, written=written, through=through, retain_graph=False)
