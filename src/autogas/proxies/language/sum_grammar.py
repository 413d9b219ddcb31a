"""The language in which proxies are found on several benchmarks at once: sums of terms that choose their layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from autogas.errors import InputError
from autogas.proxies.language.expression import MAX_TERMS, Prefix, Proxy, Sum, parse_proxy
from autogas.proxies.language.parts import PARTS, WHOLE

LAYERS = ("activations", "convolutions", "normalisations", "all")
TRANSFORMS: tuple[tuple[str, ...], ...] = ((), ("softmax",), ("swish",))
KERNELS = ("gram", "covariance", "deviation")
SIZES = ("eigenvalue_floor", "eigenvalue_max", "eigenvalue_std", "trace")
"""Reductions that are read as logarithms, so that sums of terms are products of what they measure."""
SHAPES = ("log_range", "effective_rank", "eigenvalue_entropy", "coding_rate", "cka_first", "cka_next", "cka_last")
"""Not slogdet: of a deviation, which always has a null direction, it is the logarithm of rounding."""
AGGREGATES = ("mean", "sum", "min", "max", "spread", "median", "slope", "last")
COEFFICIENTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class SumGrammar:
    """Sums of up to five terms; each is layers and part, transform, kernel, reduction and aggregate.

    It is a space of genomes for ``Evolution``, like the one-term
    ``Grammar``.

    Args:
        terms: at most so many terms, 1 to 5.
        layers: default ``LAYERS``.
        transforms: default ``TRANSFORMS``.
    """

    def __init__(
        self,
        terms: int = MAX_TERMS,
        *,
        layers: Sequence[str] = LAYERS,
        transforms: Sequence[tuple[str, ...]] = TRANSFORMS,
    ) -> None:
        self.most = terms
        self.layers = tuple(layers)
        self.transforms = tuple(transforms)

    @cached_property
    def genes(self) -> tuple[tuple[Any, ...], ...]:
        """Choices for each gene of a term."""
        return (self.layers, (WHOLE, *PARTS), self.transforms, KERNELS, (*SIZES, *SHAPES), AGGREGATES)

    @property
    def prefixes(self) -> list[Prefix]:
        """The sufficient statistics that terms need."""
        return [Prefix(layers, transforms) for layers in self.layers for transforms in self.transforms]

    def __len__(self) -> int:
        """Number of single terms."""
        return int(np.prod([len(choices) for choices in self.genes]))

    def terms(self) -> Iterator[Proxy]:
        """Every single term once."""
        for index in np.ndindex(*(len(choices) for choices in self.genes)):
            yield _term([choices[i] for choices, i in zip(self.genes, index, strict=True)])

    def read(self, text: str) -> Sum:
        """A sum of this grammar from its text; a coefficient may be any number.

        Raises:
            InputError: no expression, too many terms, or a term that is none of the grammar's.
        """
        terms = parse_proxy(text).terms
        if len(terms) > self.most:
            raise InputError(f"start {text!r}: {len(terms)} terms; expected at most {self.most}")
        for _, term in terms:
            known = all(gene in choices for gene, choices in zip(_genes(term), self.genes, strict=True))
            if not known or _term(_genes(term)) != term:
                *_, kernels, reductions, aggregates = self.genes
                raise InputError(
                    f"start {text!r}: {str(term)!r} is no term of this grammar; expected layers, perhaps a transform, "
                    f"{' or '.join(kernels)}, one of {', '.join(map(_with_log, reductions))}, {' or '.join(aggregates)}"
                )
        return _sum(terms)

    def sample(self, rng: np.random.Generator) -> Sum:
        """A number of terms, then each gene, uniform."""
        count = int(rng.integers(1, self.most + 1))
        return _sum([(self._coefficient(rng), self._draw(rng)) for _ in range(count)])

    def mutate(self, genome: Sum, rng: np.random.Generator) -> Sum:
        """Redraw one gene or the coefficient of one term, or add or drop a term."""
        while True:
            terms = list(genome.terms)
            place = int(rng.integers(len(terms)))
            kind = rng.random()
            if kind < 0.15 and len(terms) < self.most:
                terms.append((self._coefficient(rng), self._draw(rng)))
            elif kind < 0.25 and len(terms) > 1:
                del terms[place]
            elif kind < 0.4:
                terms[place] = (self._coefficient(rng), terms[place][1])
            else:
                genes = _genes(terms[place][1])
                gene = int(rng.integers(len(genes)))
                genes[gene] = _choose(self.genes[gene], rng)
                terms[place] = (terms[place][0], _term(genes))
            mutant = _sum(terms)
            if mutant != genome:
                return mutant

    def crossover(self, first: Sum, second: Sum, rng: np.random.Generator) -> Sum:
        """Terms of both parents, at least one and no more than there may be."""
        pool = list(dict.fromkeys((*first.terms, *second.terms)))
        count = min(int(rng.integers(1, self.most + 1)), len(pool))
        return _sum([pool[i] for i in rng.permutation(len(pool))[:count]])

    def _draw(self, rng: np.random.Generator) -> Proxy:
        return _term([_choose(choices, rng) for choices in self.genes])

    def _coefficient(self, rng: np.random.Generator) -> float:
        return float(_choose(COEFFICIENTS, rng)) * (1 if rng.integers(2) else -1)


def _term(genes: Sequence[Any]) -> Proxy:
    layers, part, transforms, kernel, reduction, aggregate = genes
    augments = ("log",) if reduction in SIZES else ()
    return Proxy(Prefix(layers, transforms, None, part), kernel, reduction, augments, aggregate)


def _with_log(reduction: str) -> str:
    return f"{reduction} > log" if reduction in SIZES else reduction


def _genes(term: Proxy) -> list[Any]:
    prefix = term.prefix
    return [prefix.layers, prefix.part, prefix.transforms, term.kernel, term.reduction, term.aggregate]


def _sum(terms: Sequence[tuple[float, Proxy]]) -> Sum:
    """In canonical order, equal terms added up; terms that cancel leave the first of them."""
    total: dict[Proxy, float] = {}
    for factor, term in terms:
        total[term] = total.get(term, 0.0) + factor
    kept = tuple((factor, term) for term, factor in total.items() if factor) or tuple(terms[:1])
    return Sum(kept).canonical()


def _choose(items: Sequence[Any], rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]
