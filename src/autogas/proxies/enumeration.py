"""Score a whole grammar on a fixed list of networks, a block of expressions at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autogas.proxies.evaluate import Evaluator
from autogas.proxies.expression import Proxy
from autogas.proxies.grammar import Grammar
from autogas.proxies.primitives import REGISTRY, Stage

Values = NDArray[np.float64]


def score_grammar(grammar: Grammar, evaluator: Evaluator) -> Iterator[tuple[list[Proxy], Values]]:
    """Blocks of expressions with one head (prefix, kernel, reduction) and their scores ``[expressions, networks]``.

    Scores cover the networks that have one (:attr:`Evaluator.live_networks`), in order. Values of the layers after each
    sequence of augments are shared by all aggregates.
    """
    augments, aggregates = REGISTRY[Stage.AUGMENT], REGISTRY[Stage.AGGREGATE]
    for prefix, kernel, reduction in grammar.heads:
        layers: dict[tuple[str, ...], Values] = {(): evaluator.layer_values(prefix, kernel, reduction)}
        offsets = evaluator.offsets(prefix.layers)
        aggregated: dict[tuple[tuple[str, ...], str], Values] = {}
        scores = np.empty((len(grammar.tails), len(offsets)))
        with np.errstate(all="ignore"):
            for row, (before, aggregate, after) in enumerate(grammar.tails):
                if (before, aggregate) not in aggregated:
                    for n in range(1, len(before) + 1):
                        if before[:n] not in layers:
                            layers[before[:n]] = augments[before[n - 1]].function(layers[before[: n - 1]])
                    aggregated[before, aggregate] = aggregates[aggregate].function(layers[before], offsets)
                score = aggregated[before, aggregate]
                for word in after:
                    score = augments[word].function(score)
                scores[row] = score
        yield [Proxy(prefix, kernel, reduction, *tail) for tail in grammar.tails], scores
