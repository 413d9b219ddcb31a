"""Score any network with any proxy, in one line."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import nn

from autogas.errors import InputError, describe
from autogas.proxies.language.expression import Expression, measured_prefixes, parts_read
from autogas.proxies.named import DEFAULT_PROXY, get_proxy
from autogas.proxies.objective import Loss, reconstruction
from autogas.proxies.passes.binding import Bound, Inputs, bind, hidden
from autogas.proxies.passes.recording import Recorded
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import Scorer
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import measure


def score(
    model: nn.Module,
    inputs: Inputs,
    proxy: str | Expression | Scorer = DEFAULT_PROXY,
    *,
    loss: Loss = reconstruction,
    seed: int = 0,
) -> float:
    """Score one network; bigger means predicted to become better.

    Args:
        model: any module, in the mode in which it is to be measured; weights, buffers, mode and random state stay.
        inputs: what ``model`` takes: a tensor ``[N, …]``, N at least 2; a tuple of its arguments; or a mapping of them
            by name. The first tensor of two or more dimensions says how many samples there are.
        proxy: a name, an expression as text, or what ``get_proxy`` and ``parse_proxy`` return.
        loss: objective of scorers that need one, see ``score_many``.
        seed: of scorers and of layers that draw random numbers.

    Raises:
        InputError: an unknown proxy, a scorer that needs an architecture instead of a module, or a score that is not
            finite, with the reason.

    Warns:
        UserWarning: a quarter of the layers or more were left out, or scripted modules hide theirs.

    Examples:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> images = torch.randn(8, 3, 16, 16, generator=generator)
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> score(net, images, "params")
        224.0
    """
    return next(iter(score_many(model, inputs, [proxy], loss=loss, seed=seed).values()))


def score_many(
    model: nn.Module,
    inputs: Inputs,
    proxies: Sequence[str | Expression | Scorer],
    *,
    loss: Loss = reconstruction,
    seed: int = 0,
    failures: dict[str, str] | None = None,
) -> dict[str, float]:
    """Scores of one network by the text or name of each proxy.

    All expressions share one forward pass; all gradient scorers share one forward and one backward pass.

    Args:
        model: any module; it is left as it was.
        inputs: as for ``score``.
        proxies: names, texts or proxies.
        loss: objective of scorers that need one, ``loss(output, inputs)`` with the inputs as a tuple, or as a mapping
            where that was given; default: reconstruct the input.
        seed: of scorers and of layers that draw random numbers, such as dropout.
        failures: gets the reasons of proxies that have no score, which are left out; None: the first is an error.

    Raises:
        InputError: as ``score``.
    """
    network, tensors = bind(model, inputs)
    if not callable(loss):
        raise InputError(f"loss {loss!r}: expected a function of the network's output and its inputs")
    named = _named(proxies, seed)
    _warn_of_scripted(network, named)
    rearranged = isinstance(network, Bound) and loss is not reconstruction
    objective: Loss = functools.partial(_loss_of_given, loss, network) if rearranged else loss
    evaluator = _evaluator(network, tensors, [p for p in named.values() if isinstance(p, Expression)], seed)
    probe = Probe(network, tensors, loss=objective, seed=seed)

    def value_of(name: str, proxy: Expression | Scorer) -> float | None:
        value = math.nan
        try:
            _must_be_seen(network, name)
            value = evaluator(proxy) if isinstance(proxy, Expression) else probe.cost_of(proxy.of_network)[0]
            if not math.isfinite(value):
                why = _why_not(proxy, value, evaluator, network)
                raise InputError(f"proxy {name!r} has no finite score on this network: {why}")
        except Exception as error:  # the network's own must not take the scores of others
            if failures is None:
                raise
            failures[name] = str(error) if isinstance(error, InputError) else describe(error)
            if not isinstance(error, InputError):
                raised.append(error)
        return value if math.isfinite(value) else None

    raised: list[Exception] = []
    found = {name: value_of(name, proxy) for name, proxy in named.items()}
    if not any(isinstance(proxy, Expression) for proxy in named.values()):  # which have said so
        observed = probe.known("observed")
        if isinstance(observed, Recorded):
            _warn(observed.left_out, observed.seen)
    if raised and all(value is None for value in found.values()):
        raise raised[0]
    return {name: value for name, value in found.items() if value is not None}


def _loss_of_given(loss: Loss, network: nn.Module, output: Any, tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The objective of whoever gave arguments by name, nested or in another order."""
    assert isinstance(network, Bound)
    return loss(output, network.as_given(tensors))


def _evaluator(
    network: nn.Module, inputs: tuple[torch.Tensor, ...], expressions: Sequence[Expression], seed: int
) -> Callable[[Expression], float]:
    """Gives the score of each of these expressions, from one forward pass that is run when the first is asked for."""

    @functools.cache
    def evaluator() -> Evaluator:
        statistics = measure(network, inputs, measured_prefixes(expressions), seed=seed, parts=parts_read(expressions))
        _warn(statistics.left_out, sum(len(live) for live in statistics.live.values()))
        found = Evaluator([statistics])
        for reason in found.failures.values():
            raise InputError(f"the network has no score: {reason}")
        return found

    return lambda expression: float(evaluator().scores(expression)[0])


def _warn(left_out: int, seen: int) -> None:
    """Say that much of a network was not seen."""
    if 3 * left_out > seen:
        warnings.warn(
            f"{left_out} of {left_out + seen} layers have no dimension of samples and were left "
            "out: autogas.explain(network, inputs) lists them",
            stacklevel=4,
        )


COUNTED = ("params", "macs")
"""Scorers that see into scripted modules."""


def _must_be_seen(network: nn.Module, name: str) -> None:
    """Refuse a scripted network where a proxy wants to see its layers."""
    if isinstance(network, torch.jit.ScriptModule) and name not in COUNTED:
        raise InputError("the network is a scripted module, whose layers are not seen: score it unscripted")


def _warn_of_scripted(network: nn.Module, names: Iterable[str]) -> None:
    """Say that a network has scripted parts, where a proxy wants to see their layers."""
    if hidden(network) and not isinstance(network, torch.jit.ScriptModule) and not set(names) <= set(COUNTED):
        warnings.warn(
            f"the network has {hidden(network)} scripted modules or functions, whose layers are not seen: "
            "score it unscripted",
            stacklevel=4,
        )


def _named(proxies: object, seed: object) -> dict[str, Expression | Scorer]:
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise InputError(f"seed {seed!r}: expected a whole number")
    if isinstance(proxies, str):
        raise InputError(f"proxies {proxies!r}: expected a list, [{proxies!r}]; score takes one")
    if not isinstance(proxies, Iterable):
        raise InputError(f"proxies {proxies!r}: expected a list of names or expressions")
    return {str(p): _proxy(p) for p in proxies}


def _proxy(given: object) -> Expression | Scorer:
    if isinstance(given, str):
        return get_proxy(given)
    if isinstance(given, Expression | Scorer):
        return given
    raise InputError(f"proxy {given!r}: expected a name, an expression, or what get_proxy and parse_proxy return")


def _why_not(
    proxy: Expression | Scorer, value: float, evaluator: Callable[[Expression], float], network: nn.Module
) -> str:
    """Why a proxy has no finite score, with the first term of an expression that has none where it has several."""
    if isinstance(proxy, Scorer):
        return proxy.undefined or _kind(value)
    place = ""
    if len(proxy.terms) > 1:
        found = ((evaluator(term), f" in {term}") for _, term in proxy.terms)
        value, place = next((one for one in found if not math.isfinite(one[0])), (value, ""))
    return _kind(value) + place + _hint(network, value)


def _kind(value: float) -> str:
    return "a logarithm of zero or an overflow" if math.isinf(value) else "a value that is not defined for its features"


def _hint(network: nn.Module, value: float) -> str:
    """What may help where batch normalisation passes on what an untrained network makes ever smaller."""
    still = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.training for m in network.modules())
    hint = "; batch normalisation in evaluation mode may let signals of untrained weights vanish: try network.train()"
    return hint if still and math.isnan(value) else ""
