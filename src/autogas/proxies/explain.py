"""What a proxy saw of a network: every layer, whether it counted and why not, and its part of the score."""

from __future__ import annotations

import contextlib
import html
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from autogas.errors import InputError
from autogas.proxies.language.expression import Expression, Proxy, measured_prefixes
from autogas.proxies.language.grammar import apply_tail
from autogas.proxies.language.parts import get_part
from autogas.proxies.named import DEFAULT_PROXY, get_proxy
from autogas.proxies.passes.binding import Bound, Inputs, bind, hidden
from autogas.proxies.passes.capture import Watch, folds_of, watched
from autogas.proxies.passes.features import (
    ACTIVATIONS,
    LAYERS,
    NORMALISATIONS,
    NOWHERE,
    OF_NO_SAMPLE,
    Fold,
    Function,
    why_not,
)
from autogas.proxies.passes.graphs import with_graphs_if_needed
from autogas.proxies.passes.liveness import must_have_values, varies
from autogas.proxies.score import score
from autogas.proxies.scorer import Scorer
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import STAND_INS, measure


@dataclass(frozen=True)
class Layer:
    """One call that has a feature.

    Attributes:
        module: path of the module that made the call; empty for the network itself.
        call: name of torch's function.
        kind: activations (whose input is read), convolutions or normalisations (whose output is).
        shape: of the feature, as it was.
        entries: numbers that a sample has of it; None where no dimension is the samples.
        left_out: why it does not count, or empty.
        values: of the layer in each term of the proxy; None where the term does not read it.
    """

    module: str
    call: str
    kind: str
    shape: tuple[int, ...]
    entries: int | None
    left_out: str
    values: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """What a proxy saw; prints as a table, and in a notebook too.

    Attributes:
        proxy: in text.
        terms: of the proxy, in text; empty for scorers that are no expressions.
        score: None where there is none.
        why: there is no score, or empty.
        layers: in order of execution.
        hidden: scripted modules, whose layers nobody sees.
    """

    proxy: str
    terms: tuple[str, ...]
    score: float | None
    why: str
    layers: tuple[Layer, ...]
    hidden: int

    def frame(self) -> pd.DataFrame:
        """One row a layer."""
        rows = [
            {
                "module": layer.module,
                "call": layer.call,
                "kind": layer.kind,
                "shape": "x".join(map(str, layer.shape)),
                "entries": layer.entries,
                "left out": layer.left_out,
                **{f"term {i + 1}": value for i, value in enumerate(layer.values)},
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows)

    def _lines(self) -> list[str]:
        found = f"{self.score:.8g}" if self.score is not None else f"no score: {self.why}"
        out = sum(bool(layer.left_out) for layer in self.layers)
        lines = [f"{self.proxy}: {found}", f"{len(self.layers)} layers, {out} of them left out"]
        lines += [f"term {i + 1}: {term}" for i, term in enumerate(self.terms)] if len(self.terms) > 1 else []
        lines += [f"no {kind}: convolutions are read where these are named" for kind in _absent(self.layers)]
        if self.hidden:
            lines.append(f"{self.hidden} scripted modules or functions, whose layers are not seen")
        return lines

    def __str__(self) -> str:
        table = self.frame()
        shown = table.to_string(index=False, na_rep="", float_format=lambda x: f"{x:.5g}") if len(table) else ""
        return "\n".join([*self._lines(), shown])

    def _repr_html_(self) -> str:
        lines = "<br>".join(map(html.escape, self._lines()))
        return f"<p>{lines}</p>{self.frame().to_html(index=False, na_rep='')}"


def explain(
    model: nn.Module, inputs: Inputs, proxy: str | Expression | Scorer = DEFAULT_PROXY, *, seed: int = 0
) -> Explanation:
    """What a proxy sees of a network: its layers, those left out with the reason, and what each gives to the score.

    Args:
        model: any module; it is left as it was.
        inputs: as for ``score``.
        proxy: as for ``score``.
        seed: of layers that draw random numbers, such as dropout.

    Raises:
        InputError: no proxy of that name, or bad inputs. A network without a score is explained nevertheless.
    """
    known = get_proxy(proxy) if isinstance(proxy, str) else proxy
    if not isinstance(known, Expression | Scorer):
        raise InputError(f"proxy {proxy!r}: expected a name, an expression, or what get_proxy and parse_proxy return")
    network, tensors = bind(model, inputs)
    why, value = "", None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # which say to call this, or that compiled modules see hooks twice
        try:
            value = score(model, inputs, known, seed=seed)
        except InputError as error:
            why = str(error)
        layers = _seen(network, tensors, seed)
    terms: Sequence[tuple[float, Proxy]] = known.terms if isinstance(known, Expression) else ()
    if value is not None and terms:
        layers = _valued(layers, network, tensors, terms, seed)
    return Explanation(str(proxy), tuple(str(term) for _, term in terms), value, why, tuple(layers), hidden(network))


class _List(Watch):
    """Notes every call that has a feature, be it one or not."""

    def __init__(self, batch_size: int, path: Callable[[], str], folds: Mapping[int, Fold]) -> None:
        super().__init__(batch_size, LAYERS | NORMALISATIONS, folds)
        self.path = path
        self.layers: list[Layer] = []

    def see(self, func: Function, feature: Tensor) -> Tensor:
        """Note a feature."""
        number = len(self.layers)
        samples = self.as_feature(feature)
        left_out = why_not(feature, self.batch_size) if samples is None else ""
        if self._constant:
            left_out = "is made of weights alone"
        if self.folds.get(number) == NOWHERE:
            left_out = f"{OF_NO_SAMPLE}: {feature.shape[0]} for {self.batch_size} samples"
        if samples is not None and not (samples[0].numel() > 1 and varies(samples)):
            left_out = "is one number a sample" if samples[0].numel() == 1 else "does not vary over the samples"
        kind = "activations" if func in ACTIVATIONS else "convolutions" if func in LAYERS else "normalisations"
        entries = None if samples is None else samples[0].numel()
        self.layers.append(Layer(self.path(), func.__name__, kind, tuple(feature.shape), entries, left_out))
        return feature


@with_graphs_if_needed
def _seen(network: nn.Module, tensors: tuple[Tensor, ...], seed: int) -> list[Layer]:
    must_have_values(network, tensors)
    watch = _listed(network, tensors, seed, {})
    if watch.folded:
        folds = folds_of(network, tensors, [lambda _: True], watch.folded, seed)
        watch = _listed(network, tensors, seed, folds)
    return watch.layers


def _listed(network: nn.Module, tensors: tuple[Tensor, ...], seed: int, folds: Mapping[int, Fold]) -> _List:
    inner = network.model if isinstance(network, Bound) else network
    with _paths(inner) as path:
        watch = _List(len(tensors[0]), path, folds)
        watched(network, tensors, watch, seed)
    return watch


@contextlib.contextmanager
def _paths(network: nn.Module) -> Iterator[Callable[[], str]]:
    """The path of the module that runs."""
    names = {id(module): name for name, module in network.named_modules()}
    running: list[str] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        running.append(names.get(id(module), running[-1] if running else ""))

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        running.pop()

    before, after = (
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    )
    try:
        yield lambda: running[-1] if running else ""
    finally:
        before.remove()
        after.remove()


def _absent(layers: Sequence[Layer]) -> list[str]:
    """Kinds of layers that the network has none of, for which its convolutions stand in."""
    kinds = {layer.kind for layer in layers if layer.entries is not None}
    return [kind for kind in STAND_INS if kind not in kinds]


def _valued(
    layers: Sequence[Layer],
    network: nn.Module,
    tensors: tuple[Tensor, ...],
    terms: Sequence[tuple[float, Proxy]],
    seed: int,
) -> list[Layer]:
    """The layers with their value in each term."""
    expressions = [term for _, term in terms]
    statistics = measure(network, tensors, measured_prefixes(expressions), seed=seed)
    evaluator = Evaluator([statistics])
    columns = [_column(layers, evaluator, statistics.live, statistics.positions, term) for term in expressions]
    return [replace(layer, values=tuple(column.get(i) for column in columns)) for i, layer in enumerate(layers)]


def _column(
    layers: Sequence[Layer],
    evaluator: Evaluator,
    live: Mapping[str, np.ndarray[Any, np.dtype[np.bool_]]],
    positions: Mapping[str, np.ndarray[Any, np.dtype[np.int64]]],
    term: Proxy,
) -> dict[int, float]:
    """Value of each layer that a term reads, by its place in the list."""
    word = term.prefix.layers
    read = "convolutions" if word in _absent(layers) else word
    places = [i for i, layer in enumerate(layers) if read in ("all", layer.kind) and layer.entries is not None]
    alive = np.flatnonzero(live[word])
    chosen = alive[get_part(term.prefix.part)(positions[word][alive])]
    values = evaluator.layer_values(term.prefix, term.kernel, term.reduction)
    one_each = np.arange(len(values), dtype=np.intp)
    own = apply_tail((term.augments, term.aggregate, term.after), values, one_each)
    return {places[layer]: float(value) for layer, value in zip(chosen, own, strict=True) if math.isfinite(value)}
