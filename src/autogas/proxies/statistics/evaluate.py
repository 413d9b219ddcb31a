"""Scores of many expressions on many networks, from sufficient statistics alone; no network is touched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autogas.errors import InputError, shape_of
from autogas.proxies.language.expression import Expression, Prefix, Proxy
from autogas.proxies.language.grammar import apply_tail
from autogas.proxies.language.parts import PARTS, WHOLE, get_part
from autogas.proxies.primitives import PARTNERS, REGISTRY, Stage
from autogas.proxies.statistics.measure import Statistics
from autogas.threads import one_thread

Values = NDArray[np.float64]
TOGETHER = 1 << 16
"""Entries of matrices that are reduced at a time: temporaries stay in the cache, and memory in one piece."""


class Evaluator:
    """Evaluates expressions on a fixed list of networks, all layers of all networks at once.

    Layers that do not vary over the batch are left out; a network whose output ignores its input, or without any live
    layer, has no score (NaN) whatever the expression, with the reason in ``failures``.

    Args:
        statistics: one entry a network, all covering the prefixes that will be asked for.
    """

    def __init__(self, statistics: Sequence[Statistics]) -> None:
        self._statistics = statistics
        self.failures: dict[int, str] = {}
        self._odd: dict[str, str] = {}
        for i, network in enumerate(statistics):
            if network.failure:
                self.failures[i] = network.failure
            elif not all(live.any() for live in network.live.values()):
                self.failures[i] = "no layer varies over the batch"
        self._networks = [i for i in range(len(statistics)) if i not in self.failures]
        # A kernel and its spectrum serve all reductions, so these are computed together and only their values are kept.
        self._reductions = lru_cache(maxsize=None)(self._compute_reductions)
        self._comparisons = lru_cache(maxsize=None)(self._compute_comparisons)
        self._moments = lru_cache(maxsize=1)(self._compute_moments)
        self._chosen = lru_cache(maxsize=None)(self._compute_chosen)

    def scores(self, proxy: Expression) -> Values:
        """One score a network, in order; NaN where the network has none, and non-finite where the expression fails."""
        out = np.full(len(self._statistics), np.nan)
        if self._networks:
            with np.errstate(all="ignore"):
                out[self._networks] = sum(factor * self._score_live(term) for factor, term in proxy.terms)
        return out

    def why_failed(self, proxy: Expression, scores: Values) -> str:
        """Why ``proxy`` fails on a network that has a score, or the empty text when it is finite on all of them."""
        bad = [i for i in self._networks if not np.isfinite(scores[i])]
        if not bad:
            return ""
        return f"not finite on {len(bad)} of {len(self._statistics)} networks, first on number {bad[0]}: {proxy}"

    def layer_values(self, prefix: Prefix, kernel: str, reduction: str) -> Values:
        """Reduction of every live layer of a part of every live network, concatenated."""
        if REGISTRY[Stage.REDUCTION][reduction].needs in PARTNERS:
            values = self._comparisons(prefix.measured, kernel)[prefix.part][reduction]
        else:
            values = self._reductions(prefix.measured, kernel)[reduction]
            values = values[self._chosen(prefix.layers, prefix.part)[0]] if prefix.part else values
        if reduction in self._odd:
            raise InputError(self._odd[reduction])
        return values

    def offsets(self, prefix: Prefix) -> NDArray[np.intp]:
        """Where each live network starts in ``layer_values``."""
        return self._chosen(prefix.layers, prefix.part)[1]

    @property
    def live_networks(self) -> list[int]:
        """Numbers of the networks that have a score."""
        return self._networks

    def _score_live(self, term: Proxy) -> Values:
        values = self.layer_values(term.prefix, term.kernel, term.reduction)
        return apply_tail((term.augments, term.aggregate, term.after), values, self.offsets(term.prefix))

    def _compute_chosen(self, layers: str, part: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of the live layers of all live networks are in a part, and where each network starts among those."""
        of_part = get_part(part)
        networks = (self._statistics[i] for i in self._networks)
        masks = [of_part(network.positions[layers][network.live[layers]]) for network in networks]
        lengths = [np.count_nonzero(mask) for mask in masks]
        return np.flatnonzero(np.concatenate(masks)), np.cumsum([0, *lengths[:-1]]).astype(np.intp)

    @one_thread()
    def _compute_reductions(self, prefix: Prefix, kernel: str) -> dict[str, Values]:
        G, s, D = self._moments(prefix)
        kernels = REGISTRY[Stage.KERNEL]
        words = {name: word for name, word in REGISTRY[Stage.REDUCTION].items() if word.needs not in PARTNERS}
        found = {name: np.empty(len(G)) for name in words}
        step = max(TOGETHER // G[0].numel(), 1)
        for rows in (slice(first, first + step) for first in range(0, len(G), step)):
            matrix: torch.Tensor = kernels[kernel].function(G[rows], s[rows], D[rows])
            finite = torch.isfinite(matrix).all(dim=2).all(dim=1)
            spectrum = torch.full(matrix.shape[:2], float("nan"), dtype=torch.float64, device=matrix.device)
            spectrum[finite] = torch.linalg.eigvalsh(matrix[finite])
            for name, word in words.items():
                self._keep(found, name, rows, word.function(spectrum if word.needs == "eigenvalues" else matrix))
        return found

    @one_thread()
    def _compute_comparisons(self, prefix: Prefix, kernel: str) -> dict[str, dict[str, Values]]:
        """By part, reductions that compare its layers with one another, for every such layer."""
        unit = REGISTRY[Stage.KERNEL][kernel].function(*self._moments(prefix))
        unit = unit / torch.linalg.matrix_norm(unit)[:, None, None]
        words = {name: word for name, word in REGISTRY[Stage.REDUCTION].items() if word.needs in PARTNERS}
        step = max(TOGETHER // unit[0].numel(), 1)
        found: dict[str, dict[str, Values]] = {}
        for part in (WHOLE, *PARTS):
            chosen, starts = self._chosen(prefix.layers, part)
            ends = np.append(starts[1:], len(chosen)) - 1
            first, last = (np.repeat(places, ends - starts + 1) for places in (starts, ends))
            partners = {"first": first, "next": np.minimum(np.arange(len(chosen)) + 1, last), "last": last}
            found[part] = {name: np.empty(len(chosen)) for name in words}
            for rows in (slice(start, start + step) for start in range(0, len(chosen), step)):
                matrix = unit[chosen[rows]]
                for name, word in words.items():
                    other = unit[chosen[partners[word.needs][rows]]]
                    self._keep(found[part], name, rows, word.function(matrix, other))
        return found

    def _keep(self, found: dict[str, Values], name: str, rows: slice, values: Any) -> None:
        if np.shape(values) == np.shape(found[name][rows]):
            found[name][rows] = values
        else:  # of a user's word, which other expressions do not read
            self._odd[name] = f"reduction {name!r} gives {shape_of(values)}: expected a number for each layer"

    def _compute_moments(self, prefix: Prefix) -> tuple[torch.Tensor, ...]:
        parts: list[tuple[NDArray[np.float32], Values, NDArray[np.int64]]] = []
        for i in self._networks:
            network = self._statistics[i]
            if prefix not in network.gram:
                raise InputError(f"no statistics for prefix {str(prefix)!r}: they were not kept with the features")
            live = network.live[prefix.layers]
            parts.append((network.gram[prefix][live], network.sums[prefix][live], network.sizes[prefix][live]))
        columns = (np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True))
        return tuple(map(torch.from_numpy, columns))
