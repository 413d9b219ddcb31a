"""How much of a benchmark can be known? A predictor that is trained on labels, which no training-free score sees.

    python experiments/ceiling.py transnas-macro transnas-micro

Kernel ridge regression on the letters of an architecture's text (one-hot, Gaussian kernel): every architecture is
predicted from nine tenths of the others. Width and ridge are those with the best tau-a of a grid, so the figures are if
anything too high: what a score without labels reaches is to be held against them.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from autogas.benchmarks import load_benchmark
from autogas.benchmarks.correlation import correlate, ranks_failures_last
from autogas.seeding import numpy_generator
from autogas.workflows.judging.beyond import pick, usual
from autogas.workflows.judging.correlations import strata

Values = NDArray[np.float64]
WIDTHS = (0.02, 0.05, 0.1, 0.2, 0.4)
RIDGES = (0.03, 0.1, 0.3)
FOLDS = 10


def one_hot(texts: list[str]) -> Values:
    """``[texts, places * letters]``."""
    longest = max(map(len, texts))
    letters = np.array([list(text.ljust(longest)) for text in texts])
    _, numbers = np.unique(letters, return_inverse=True)
    numbers = numbers.reshape(letters.shape)
    found: Values = np.eye(numbers.max() + 1)[numbers].reshape(len(texts), -1)
    return found


def predicted(distances: Values, goodness: Values, width: float, ridge: float) -> Values:
    """Each architecture from those of the other folds."""
    kernel = np.exp(-width * distances)
    found = np.zeros(len(goodness))
    for fold in np.array_split(numpy_generator("ceiling").permutation(len(goodness)), FOLDS):
        known = np.setdiff1d(np.arange(len(goodness)), fold)
        mean = goodness[known].mean()
        weights = np.linalg.solve(kernel[np.ix_(known, known)] + ridge * np.eye(len(known)), goodness[known] - mean)
        found[fold] = mean + kernel[np.ix_(fold, known)] @ weights
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="+")
    for name in parser.parse_args().benchmarks:
        bench = load_benchmark(name)
        x = one_hot([str(arch) for arch in bench.archs])
        distances = cdist(x, x, "sqeuclidean")
        grid = [predicted(distances, bench.goodness, *given) for given in itertools.product(WIDTHS, RIDGES)]
        labels = strata(bench.space, bench.archs)
        found = [correlate(bench.goodness, scores, strata=labels) for scores in grid]
        best = int(np.argmax([one.kendall_a.value for one in found]))
        within = found[best].within
        ranks = ranks_failures_last(grid[best])
        order = np.argsort(-ranks)
        first = pick(order[:1], bench.goodness, bench.quality)["percentile"]
        print(
            f"{name}, {len(bench)}: tau-a {found[best].kendall_a.value:.3f}, within equal traits "
            f"{float('nan') if within is None else within.value:.3f}, rho {found[best].spearman.value:.3f}, "
            f"top-1 at percentile {first:.1f}, usually {usual(ranks, bench.goodness, 1):.1f}"
        )


if __name__ == "__main__":
    main()
