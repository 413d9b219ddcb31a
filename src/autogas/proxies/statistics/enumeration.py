"""Score a whole grammar on a fixed list of networks, a block of expressions at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autogas.proxies.language.expression import Proxy
from autogas.proxies.language.grammar import Grammar
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.statistics.evaluate import Evaluator

Values = NDArray[np.float64]


def score_grammar(grammar: Grammar, evaluator: Evaluator) -> Iterator[tuple[list[Proxy], Values]]:
    """Blocks of expressions with one head (prefix, kernel, reduction) and their scores ``[expressions, networks]``.

    Scores cover the networks that have one (``Evaluator.live_networks``), in order. All sequences of augments of a
    head are aggregated in one go.
    """
    augments, aggregates = REGISTRY[Stage.AUGMENT], REGISTRY[Stage.AGGREGATE]
    sequences = sorted({before[:n] for before, _, _ in grammar.tails for n in range(len(before) + 1)}, key=len)
    row_of = {sequence: row for row, sequence in enumerate(sequences)}
    endings: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for place, (_, aggregate, after) in enumerate(grammar.tails):
        endings.setdefault((aggregate, after), []).append(place)
    wanted = {aggregate for _, aggregate, _ in grammar.tails}
    for prefix, kernel, reduction in grammar.heads:
        values = evaluator.layer_values(prefix, kernel, reduction)
        layers = np.empty((len(sequences), len(values)))
        scores = np.empty((len(grammar.tails), len(evaluator.live_networks)))
        with np.errstate(all="ignore"):
            for row, sequence in enumerate(sequences):
                before = layers[row_of[sequence[:-1]]] if sequence else values
                layers[row] = augments[sequence[-1]].function(before) if sequence else values
            offsets = evaluator.offsets(prefix)
            aggregated = {name: word.function(layers, offsets) for name, word in aggregates.items() if name in wanted}
            for (aggregate, after), places in endings.items():
                score = aggregated[aggregate][[row_of[grammar.tails[place][0]] for place in places]]
                for word in after:
                    score = augments[word].function(score)
                scores[places] = score
        yield [Proxy(prefix, kernel, reduction, *tail) for tail in grammar.tails], scores
