"""The space of proxies that discovery searches: expressions as genomes, and all of them in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeAlias, TypeVar

import numpy as np

from autogas.proxies.language.expression import MAX_AUGMENTS, Prefix, Proxy
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.primitives.augments import Offsets, Values
from autogas.proxies.primitives.encodings import zero_one
from autogas.seeding import numpy_generator

TRIAL_NETWORKS = 300
T = TypeVar("T")
Tail: TypeAlias = tuple[tuple[str, ...], str, tuple[str, ...]]

# Transforms that discovery combines, each with the binarisers that add something: signs survive most transforms and
# medians survive monotone ones (Prefix.canonical), and each prefix costs a pass over the features of every network.
DEFAULT_PREFIXES: dict[tuple[str, ...], tuple[str | None, ...]] = {
    (): (None, "sign", "above_zero", "above_mean", "above_median"),
    ("relu",): (None, "above_mean"),
    ("leaky_relu",): (None, "above_mean"),
    ("swish",): (None, "above_mean", "above_median"),
    ("mish",): (None, "above_mean"),
    ("tanh",): (None, "above_mean"),
    ("sigmoid",): (None, "above_mean"),
    ("exp",): (None, "above_mean"),
    ("abs",): (None, "above_mean"),
    ("log",): (None, "above_zero"),
    ("scale",): (None, "above_zero"),
    ("norm",): (None, "above_mean"),
    ("softmax",): (None, "above_mean"),
}


def papers(stage: Stage) -> tuple[str, ...]:
    """Words of a stage that the paper's language has, and those of users."""
    return tuple(word for word, known in REGISTRY[stage].items() if not known.beyond_paper)


def default_prefixes() -> tuple[Prefix, ...]:
    """The 30 distinct prefixes of the default grammar, in canonical form."""
    prefixes = (
        Prefix(transforms=transforms, binariser=binariser).canonical()
        for transforms, binarisers in DEFAULT_PREFIXES.items()
        for binariser in binarisers
    )
    return tuple(dict.fromkeys(prefixes))


class Grammar:
    """All expressions from a set of prefixes and the words of the later stages, in canonical form.

    Expressions with equal canonical form rank alike by construction and count once.

    Args:
        prefixes: transforms and binarisers; default ``default_prefixes``.
        kernels: default those of the paper; a prefix that fits none of them is left out.
        reductions: default those of the paper.
        augments: default all; every aggregate of the paper is in any grammar.
    """

    def __init__(
        self,
        prefixes: Sequence[Prefix] | None = None,
        *,
        kernels: Sequence[str] | None = None,
        reductions: Sequence[str] | None = None,
        augments: Sequence[str] | None = None,
    ) -> None:
        self.kernels = papers(Stage.KERNEL) if kernels is None else tuple(kernels)
        self.reductions = papers(Stage.REDUCTION) if reductions is None else tuple(reductions)
        given = dict.fromkeys(p.canonical() for p in (prefixes or default_prefixes()))
        fit = [p for p in given if any(self._fits(p, kernel) for kernel in self.kernels)]
        self.prefixes = tuple(prefix for prefix in fit if not prefix.constant)
        self.tails = self._tails(tuple(REGISTRY[Stage.AUGMENT] if augments is None else augments))

    @staticmethod
    def _tails(words: tuple[str, ...]) -> tuple[Tail, ...]:
        """Every distinct way to end: augments a layer, aggregate, augments of the score.

        Ends that rank random networks alike are one, the shortest of them.
        """
        sequences = [s for n in range(MAX_AUGMENTS + 1) for s in itertools.product(words, repeat=n)]
        ends = (
            Proxy(Prefix(), "gram", "trace", sequence[:cut], aggregate, sequence[cut:]).canonical()
            for aggregate in papers(Stage.AGGREGATE)
            for sequence in sequences
            for cut in range(len(sequence) + 1)
        )
        tails = dict.fromkeys((end.augments, end.aggregate, end.after) for end in ends)
        by_length = sorted(tails, key=lambda tail: len(tail[0]) + len(tail[2]))
        # Networks of every kind: layer values small and large, of one sign and of both.
        rng = numpy_generator("ends of proxies")
        lengths = rng.integers(2, 9, size=TRIAL_NETWORKS)
        shift, size = rng.choice([-3, 0, 3], size=TRIAL_NETWORKS), np.exp(rng.normal(scale=2, size=TRIAL_NETWORKS))
        values = np.repeat(size, lengths) * (np.repeat(shift, lengths) + rng.normal(size=lengths.sum()))
        offsets = np.cumsum([0, *lengths[:-1]])
        distinct: dict[bytes, Tail] = {}
        for tail in by_length:
            scores = apply_tail(tail, values, offsets)
            distinct.setdefault(np.argsort(scores, kind="stable").tobytes(), tail)
        return tuple(distinct.values())

    @cached_property
    def heads(self) -> tuple[tuple[Prefix, str, str], ...]:
        """Every prefix, kernel and reduction that fit together."""
        return tuple(
            (prefix, kernel, reduction)
            for prefix in self.prefixes
            for kernel in self.kernels
            if self._fits(prefix, kernel)
            for reduction in self.reductions
        )

    def __len__(self) -> int:
        return len(self.heads) * len(self.tails)

    def enumerate(self) -> Iterator[Proxy]:
        """Every expression once."""
        for head in self.heads:
            for augments, aggregate, after in self.tails:
                yield Proxy(*head, augments, aggregate, after)

    def sample(self, rng: np.random.Generator) -> Proxy:
        """Stage by stage, uniform in each (so a rare kernel is as likely as a common one)."""
        prefix = _choose(self.prefixes, rng)
        kernel = _choose([k for k in self.kernels if self._fits(prefix, k)], rng)
        return Proxy(prefix, kernel, _choose(self.reductions, rng), *_choose(self.tails, rng))

    def mutate(self, proxy: Proxy, rng: np.random.Generator) -> Proxy:
        """Redraw one stage: prefix, kernel, reduction, or the way it ends."""
        while True:
            prefix, kernel, reduction = proxy.prefix, proxy.kernel, proxy.reduction
            tail = (proxy.augments, proxy.aggregate, proxy.after)
            stage = int(rng.integers(4))
            if stage == 0:
                prefix = _choose(self.prefixes, rng)
            elif stage == 1:
                kernel = _choose(self.kernels, rng)
            elif stage == 2:
                reduction = _choose(self.reductions, rng)
            else:
                tail = _choose(self.tails, rng)
            mutant = Proxy(prefix, kernel, reduction, *tail)
            if mutant != proxy and self._fits(prefix, kernel):
                return mutant

    def crossover(self, first: Proxy, second: Proxy, rng: np.random.Generator) -> Proxy:
        """Each stage from either parent; a kernel that does not fit the prefix comes with its own prefix."""
        a, b = (second, first) if rng.integers(2) else (first, second)
        prefix = a.prefix
        kernel = _choose((a, b), rng).kernel
        if not self._fits(prefix, kernel):
            kernel = a.kernel
        tail = _choose((a, b), rng)
        return Proxy(prefix, kernel, _choose((a, b), rng).reduction, tail.augments, tail.aggregate, tail.after)

    @staticmethod
    def _fits(prefix: Prefix, kernel: str) -> bool:
        needs = REGISTRY[Stage.KERNEL][kernel].needs
        return needs != "binary" or zero_one(prefix.binariser)


def apply_tail(tail: Tail, layers: Values, offsets: Offsets) -> Values:
    """Score of every network from its layer values, by augments, aggregate and augments again."""
    before, aggregate, after = tail
    for word in before:
        layers = REGISTRY[Stage.AUGMENT][word].function(layers)
    score: Values = REGISTRY[Stage.AGGREGATE][aggregate].function(layers, offsets)
    for word in after:
        score = REGISTRY[Stage.AUGMENT][word].function(score)
    return score


def _choose(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]
