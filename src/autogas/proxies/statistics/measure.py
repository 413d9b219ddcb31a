"""Sufficient statistics of a network: everything that proxies need of it, from one forward pass.

They are the ``moments`` of its layers, with what tells the layers apart.
"""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.proxies.language.expression import Prefix
from autogas.proxies.language.parts import WHOLE, get_part
from autogas.proxies.passes import capture, liveness
from autogas.proxies.passes.features import OUTER, Fold
from autogas.proxies.passes.graphs import with_graphs_if_needed
from autogas.proxies.passes.writes import memory_of
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.statistics.moments import Moments, any_flat, moments

STAND_INS = ("activations", "normalisations")
"""Layers for which convolutions stand in, in a network that has none of them."""
ROOM = 1 << 19
"""Entries up to which layers of one shape wait for each other."""
HELD = 1 << 26
"""Entries of features up to which they are held until it is known which parts of the network they belong to."""


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of one network, layer by layer in order of execution.

    Attributes:
        gram: for each prefix ``float32 [L, N, N]``, or float64 where a layer is little but its mean.
        sums: for each prefix ``float64 [L, N]``.
        sizes: for each prefix ``int64 [L]``, the number D of entries a sample.
        live: for each word for layers ``bool [L]``: whether the layer varies over the batch; one entry is no layer.
        positions: for each word for layers ``int64 [L]``: height times width of its maps, 1 for a vector.
        failure: why the network cannot be scored, or empty.
        seconds: of ``build`` (if it was built for this), ``forward`` and ``statistics``.
        left_out: layers of these kinds whose tensor has no dimension of samples.
    """

    gram: dict[Prefix, NDArray[np.floating[Any]]]
    sums: dict[Prefix, NDArray[np.float64]]
    sizes: dict[Prefix, NDArray[np.int64]]
    live: dict[str, NDArray[np.bool_]]
    positions: dict[str, NDArray[np.int64]]
    failure: str
    seconds: dict[str, float]
    left_out: int = 0


class _LayerAccumulator:
    """Collects the statistics of one kind of layer from a network that runs.

    Layers of one shape wait for each other: together they are measured faster, and the network keeps the cache. Where
    only parts of the network are asked for, features are held until the end, when it is known which layers those are.

    Args:
        prefixes: what to measure.
        parts: of the network that will be read; other layers may be left unmeasured.

    Attributes:
        live: whether each layer varies over the batch.
        positions: of each layer's maps.
        seconds: spent here.
        lost: whether something that was held was written by code that no interceptor sees.
    """

    def __init__(self, prefixes: Sequence[Prefix], parts: frozenset[str] = frozenset((WHOLE,))) -> None:
        self.prefixes = prefixes
        self.parts = parts
        self.live: list[bool] = []
        self.positions: list[int] = []
        self.seconds = 0.0
        self.lost = False
        self._sources: list[int] = []  # the first layer that reads the same tensor as each
        self._waiting: dict[tuple[object, ...], list[tuple[int, Tensor]]] = {}
        self._held: dict[int, tuple[Tensor, int]] = {}  # by layer, with the count of writes
        self._found: list[tuple[Sequence[int], Moments]] = []
        self._seen: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}

    @torch.no_grad()  # also where the network itself switches gradients on
    def __call__(self, feature: Tensor) -> None:
        start = time.perf_counter()
        layer = len(self.live)
        self.positions.append(math.prod(feature.shape[2:]))
        # Several activations often read one tensor (all edges that leave a cell's node): it is measured once.
        known = self._seen.get(id(feature))
        if known is not None and known[0]() is feature and known[1] == feature._version:
            self._sources.append(known[2])
            self.live.append(self.live[known[2]])
        else:
            if not feature.is_inference():
                self._seen[id(feature)] = (weakref.ref(feature), feature._version, layer)
            self._sources.append(layer)
            self.live.append(feature[0].numel() > 1 and liveness.varies(feature))
            if self.live[layer] and WHOLE not in self.parts and not feature.is_inference():
                self._hold(layer, feature)
            elif self.live[layer]:
                self._wait(layer, feature)
            else:
                self._found.append(([layer], self._nothing(feature)))
        self._stop(start, feature.device)

    def _hold(self, layer: int, feature: Tensor) -> None:
        """Keep a feature, and measure the oldest ones where that is too much."""
        self._held[layer] = feature, feature._version
        while sum(held.numel() for held, _ in self._held.values()) > HELD:
            self._release(next(iter(self._held)))

    def _release(self, layer: int) -> None:
        feature, version = self._held.pop(layer)
        self.lost = self.lost or feature._version != version
        self._wait(layer, feature)

    def on_write(self, memories: Sequence[int]) -> None:
        """Copy what is held of memories that are about to be written."""
        for layer, (feature, _) in self._held.items():
            if memory_of(feature) in memories:
                kept = feature.clone()
                self._held[layer] = kept, kept._version

    def _read(self) -> set[int]:
        """The layers whose features some part reads."""
        live = np.flatnonzero(self.live)
        positions = np.array(self.positions, dtype=np.int64)[live]
        read = np.logical_or.reduce([get_part(part)(positions) for part in self.parts])
        return {self._sources[layer] for layer in live[read]}

    def _wait(self, layer: int, feature: Tensor) -> None:
        """Measure a feature with those of its shape as soon as there is no room for one more."""
        key = feature.shape, feature.dtype, feature.device
        waiting = self._waiting.setdefault(key, [])
        if (len(waiting) + 2) * feature.numel() <= ROOM:  # all of them, this one, one more
            waiting.append((layer, feature.clone()))  # as the network may write to it
        else:
            self._measure([*self._waiting.pop(key), (layer, feature)])

    def _measure(self, waiting: Iterable[tuple[int, Tensor]]) -> None:
        layers, features = zip(*waiting, strict=True)
        with _exactly(features[0].device.type):
            together = torch.stack(features) if len(features) > 1 else features[0][None]
            if together.is_complex():  # real and imaginary parts are entries of their own
                together = torch.view_as_real(together.resolve_conj())
            wide = together.is_floating_point() and together.dtype.itemsize >= 4
            self._found.append((layers, moments(together if wide else together.float(), self.prefixes)))

    def _nothing(self, feature: Tensor) -> Moments:
        """Place holders for a layer that no score will use."""
        n, p = len(feature), len(self.prefixes)
        zeros = torch.zeros(p, 1, n, n, dtype=torch.float64, device=feature.device)
        return Moments(zeros, zeros[..., 0], (feature[0].numel(),) * p)

    def finish(self) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
        """``G [P, L, N, N]``, ``s [P, L, N]`` and ``D [P, L]`` of all layers, in order of execution."""
        start = time.perf_counter()
        read = self._read() if self._held else set()
        for layer in list(self._held):
            if layer in read:
                self._release(layer)
            else:
                self._found.append(([layer], self._nothing(self._held.pop(layer)[0])))
        for waiting in self._waiting.values():
            self._measure(waiting)
        found = [moments for _, moments in self._found]
        place = {layer: i for i, layer in enumerate(layer for layers, _ in self._found for layer in layers)}
        places = [place[layer] for layer in self._sources]
        G = torch.cat([moments.gram for moments in found], dim=1)[:, places]
        s = torch.cat([moments.sums for moments in found], dim=1)[:, places]
        D = np.array([moments.sizes for layers, moments in self._found for _ in layers], dtype=np.int64).T[:, places]
        self._stop(start, G.device)
        return G, s, D

    def _stop(self, start: float, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += time.perf_counter() - start


def _exactly(device: str) -> contextlib.AbstractContextManager[object]:
    """Without autocast: counts are exact in float32, not in bfloat16."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext()


@torch.no_grad()
def measure(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    prefixes: Sequence[Prefix],
    *,
    seed: int = 0,
    parts: Mapping[str, frozenset[str]] | None = None,
) -> Statistics:
    """Sufficient statistics of every captured layer for every prefix, from one forward pass.

    A network without any rectifier or normalisation has a second pass where those are asked for: its convolutions stand
    in.

    Args:
        model: any module, in the mode in which it is to be measured; it is left as it was.
        inputs: what ``model(*inputs)`` takes; the first has the batch dimension N first, N at least 2.
        prefixes: canonical prefixes (see ``Prefix.canonical``), without duplicates.
        seed: of layers that draw random numbers, such as dropout.
        parts: which parts of the network will be read, by word for layers; the statistics of other layers may be zeros.
            None: all of it.

    Raises:
        InputError: fewer than two samples, or no layer of the asked kind.
    """
    if not inputs[0].dim() or len(inputs[0]) < 2:
        raise InputError(f"input of shape {tuple(inputs[0].shape)}: expected batches [N, …] of at least 2 samples")
    start = time.perf_counter()
    accumulators, seen, folds = _pass(model, inputs, prefixes, seed, parts, {})
    if any(fold != OUTER for fold in folds.values()):
        accumulators, seen, _ = _pass(model, inputs, prefixes, seed, parts, folds)
    forward_seconds = time.perf_counter() - start - sum(a.seconds for a in accumulators.values())
    found = _collected(accumulators, seen, forward_seconds)
    if any(accumulator.lost for accumulator in accumulators.values()):
        return measure(model, inputs, prefixes, seed=seed)
    return found


def _ignore(_feature: Tensor) -> None:
    """Stands for a consumer in a pass of which only others are asked."""


@with_graphs_if_needed
def _pass(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    prefixes: Sequence[Prefix],
    seed: int,
    parts: Mapping[str, frozenset[str]] | None,
    folds: Mapping[int, Fold],
) -> tuple[dict[str, _LayerAccumulator], capture.Pass, Mapping[int, Fold]]:
    """Accumulators, the pass that filled them, and how folded rows should have been taken.

    Features are taken as ``folds`` say; without, as if the rows of a sample were neighbours, and it is looked up how.
    """
    accumulators = _accumulators(prefixes, parts)
    selects = {layers: REGISTRY[Stage.LAYERS][layers].function for layers in accumulators}
    consumers = [(selects[layers], accumulator) for layers, accumulator in accumulators.items()]
    on_write = [accumulator.on_write for accumulator in accumulators.values()]
    seen = capture.run(model, inputs, consumers, seed, on_write=on_write, folds=folds)
    absent = [accumulators[word] for word in STAND_INS if word in accumulators and not accumulators[word].live]
    if absent:
        convolutions = REGISTRY[Stage.LAYERS]["convolutions"].function
        others = [(select, _ignore) for select in selects.values()]  # so that features have the numbers that they had
        instead: list[tuple[capture.Selector, capture.Consumer]]
        instead = [*((convolutions, accumulator) for accumulator in absent), *others]
        on_write = [accumulator.on_write for accumulator in absent]
        capture.run(model, inputs, instead, seed, on_write=on_write, folds=folds)
    if seen.folded and not folds:
        folds = capture.folds_of(model, inputs, selects.values(), seen.folded, seed)
    return accumulators, seen, folds


def _accumulators(
    prefixes: Sequence[Prefix], parts: Mapping[str, frozenset[str]] | None = None
) -> dict[str, _LayerAccumulator]:
    whole = frozenset((WHOLE,))
    return {
        layers: _LayerAccumulator([p for p in prefixes if p.layers == layers], (parts or {}).get(layers, whole))
        for layers in dict.fromkeys(p.layers for p in prefixes)
    }


def _as_kept(prefix: Prefix, G: Tensor) -> NDArray[np.floating[Any]]:
    """Gram matrices in float32, or in float64 where a layer is little but its mean, which kernels leave out."""
    kept: NDArray[np.floating[Any]] = (G if prefix.binariser is None and any_flat(G) else G.float()).numpy()
    return kept


def _collected(accumulators: Mapping[str, _LayerAccumulator], seen: capture.Pass, forward_seconds: float) -> Statistics:
    gram, sums, sizes = {}, {}, {}
    for layers, accumulator in accumulators.items():
        if not accumulator.live:
            missing = f"the network has no layer of kind {layers!r} with features [N, …]"
            raise InputError(f"the network has no score: {seen.failure}" if seen.failure else missing)
        G, s, D = accumulator.finish()
        for prefix, *found in zip(accumulator.prefixes, G.cpu(), s.cpu(), D, strict=True):
            gram[prefix], sums[prefix], sizes[prefix] = _as_kept(prefix, found[0]), found[1].numpy(), found[2]
    return Statistics(
        gram=gram,
        sums=sums,
        sizes=sizes,
        live={layers: np.array(a.live, dtype=bool) for layers, a in accumulators.items()},
        positions={layers: np.array(a.positions, dtype=np.int64) for layers, a in accumulators.items()},
        failure=seen.failure,
        seconds={"forward": forward_seconds, "statistics": sum(a.seconds for a in accumulators.values())},
        left_out=seen.missed,
    )
