"""Fitness of proxies: how well they rank validation architectures."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autogas.benchmarks.correlation import Kendall, dense_ranks, kendall_of_ranks
from autogas.errors import InputError
from autogas.proxies.language.expression import Expression
from autogas.proxies.language.grammar import Grammar
from autogas.proxies.statistics.enumeration import score_grammar
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import Statistics

Values = NDArray[np.float64]
KEPT = 20
BINS = 100


@dataclass(frozen=True)
class Judged:
    """Kendall's tau of a candidate on validation architectures (NaN when it failed), and why it failed."""

    fitness: float
    reason: str = ""


@dataclass
class Enumeration:
    """The whole grammar on the validation architectures.

    Attributes:
        expressions: distinct expressions evaluated (those with equal canonical form count once).
        rankings: distinct rankings among them: expressions that rank these architectures alike count once.
        failed: expressions without a finite score on some architecture, or constant.
        top: the best distinct rankings, ``(tau, expression)``, best first.
        taus: Kendall's tau of every distinct ranking, sorted, best first.
    """

    expressions: int = 0
    rankings: int = 0
    failed: int = 0
    top: list[tuple[float, str]] = field(default_factory=list)
    taus: Values = field(default_factory=lambda: np.empty(0))

    def place(self, fitness: float) -> int:
        """Place of a fitness among all distinct rankings, 1 is the best."""
        return int(np.count_nonzero(self.taus > fitness + 1e-12)) + 1


class Fitness:
    """Judges candidates by their rank correlation with measured quality; remembers equal rankings.

    Args:
        statistics: of the validation architectures.
        goodness: their measured quality, bigger is better.
        variant: which of Kendall's coefficients is the fitness.
    """

    def __init__(self, statistics: Sequence[Statistics], goodness: Values, variant: Kendall = "kendall_b") -> None:
        self.evaluator = Evaluator(statistics)
        self.goodness = goodness
        self.variant = variant
        self._known: dict[bytes, Judged] = {}
        if len(self.evaluator.live_networks) < 3:
            live = len(self.evaluator.live_networks)
            why = next(iter(self.evaluator.failures.values()), "")
            raise InputError(f"only {live} validation networks have scores; 3 are needed{why and f' ({why})'}")

    def __call__(self, proxy: Expression) -> Judged:
        """Judge one candidate; a ranking that was judged before is not correlated again."""
        scores = self.evaluator.scores(proxy)
        reason = self.evaluator.why_failed(proxy, scores)
        if reason:
            return Judged(float("nan"), reason)
        ranks = self._with_failures_last(dense_ranks(scores[None, self.evaluator.live_networks]))
        fingerprint = ranks.tobytes()
        if fingerprint not in self._known:
            tau = float(kendall_of_ranks(self.goodness, ranks, self.variant)[0])
            self._known[fingerprint] = Judged(tau, "" if np.isfinite(tau) else "constant on all networks")
        return self._known[fingerprint]

    def _with_failures_last(self, ranks: NDArray[np.int32]) -> NDArray[np.int32]:
        """Ranks of all architectures from those of the networks that have a score."""
        every = np.zeros((len(ranks), len(self.goodness)), dtype=np.int32)
        every[:, self.evaluator.live_networks] = ranks + 1
        return every

    def enumerate(self, grammar: Grammar) -> Enumeration:
        """Judge every expression of a grammar."""
        out = Enumeration()
        seen: set[bytes] = set()
        taus: list[Values] = []
        best: list[tuple[float, int, str]] = []
        for proxies, block in score_grammar(grammar, self.evaluator):
            out.expressions += len(proxies)
            finite = np.asarray(np.isfinite(block).all(axis=1))
            ranks = self._with_failures_last(dense_ranks(np.where(finite[:, None], block, 0.0)))
            new = []
            for row in map(int, np.flatnonzero(finite)):
                fingerprint = ranks[row].tobytes()
                if fingerprint not in seen:
                    seen.add(fingerprint)
                    new.append(row)
            block_taus = kendall_of_ranks(self.goodness, ranks[new], self.variant)
            taus.append(block_taus)
            constant = ranks.max(axis=1) == ranks.min(axis=1)
            out.failed += int(np.count_nonzero(~finite | constant))
            for row, tau in zip(new, block_taus, strict=True):
                entry = (float(tau), -out.expressions - row, str(proxies[row]))
                if np.isfinite(tau) and len(best) < KEPT:
                    heapq.heappush(best, entry)
                elif np.isfinite(tau) and entry > best[0]:
                    heapq.heapreplace(best, entry)
        every = np.concatenate(taus) if taus else np.empty(0)
        out.taus = np.sort(every[np.isfinite(every)])[::-1]
        out.rankings = len(out.taus)
        out.top = [(tau, text) for tau, _, text in sorted(best, reverse=True)]
        return out


def histogram(taus: Values) -> dict[str, Any]:
    """Counts of tau in bins of 0.02 from -1 to 1."""
    counts, _ = np.histogram(taus, bins=BINS, range=(-1, 1))
    return {"counts": counts.tolist(), "low": -1.0, "high": 1.0}
