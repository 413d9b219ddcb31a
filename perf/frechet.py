"""What the Fréchet distance costs by this package and by others, at the 2,048 dimensions of FID.

    python perf/frechet.py [--dimensions 2048] [--samples 5000] [--few 500] [--threads 1]

Features have a spectrum that falls as 1/rank, as those of photographs roughly do. Rows: ours with the reference's root
cached, and with the root to compute; the eigenvalues of the product (torch-fidelity); scipy's matrix square root
(pytorch-fid, clean-fid). Seconds are of the processor and of the wall; the error is relative to the distance by
singular values of the centred features, which takes no root of a rounding error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from autogas.metrics import FeatureAccumulator, FeatureStatistics, frechet_distance


def features_of(seed: int, samples: int, dimensions: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    scale = 1 / np.arange(1, dimensions + 1) ** 0.5
    mixing = np.linalg.qr(np.random.default_rng(9).normal(size=(dimensions, dimensions)))[0]
    return torch.from_numpy((rng.normal(0.05 * seed, 1, (samples, dimensions)) * scale) @ mixing)


def statistics_of(features: torch.Tensor) -> FeatureStatistics:
    accumulator = FeatureAccumulator()
    for batch in features.split(500):
        accumulator.update(batch)
    return accumulator.statistics()


def exact(first: torch.Tensor, second: torch.Tensor) -> float:
    """The trace of the root is the nuclear norm of the product of the centred features."""
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (first, second))
    moved = first.mean(0) - second.mean(0)
    norm = torch.linalg.svdvals(torch.linalg.qr(a)[1] @ torch.linalg.qr(b)[1].T).sum()
    return float(moved @ moved + (a * a).sum() + (b * b).sum() - 2 * norm)


def by_scipy(first: FeatureStatistics, second: FeatureStatistics) -> float:
    moved = first.mu - second.mu
    root = scipy.linalg.sqrtm(first.sigma @ second.sigma)
    return float(moved @ moved + np.trace(first.sigma) + np.trace(second.sigma) - 2 * np.trace(np.real(root)))


def timed(work: Callable[[], float], repeats: int = 1) -> tuple[float, float, float]:
    spent = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        value = work()
        spent.append((time.process_time() - cpu, time.perf_counter() - wall))
    return value, *min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.dimensions} dimensions; numpy {np.__version__}, scipy {scipy.__version__}, torch {torch.__version__}"
    )
    print(f"{'images':>7} {'route':<26} {'distance':>14} {'error':>9} {'cpu s':>8} {'wall s':>8}")
    real = features_of(0, options.samples, options.dimensions)
    for count in (options.samples, options.few):
        fake = features_of(1, count, options.dimensions)
        ours, reference = statistics_of(fake), statistics_of(real)
        true = exact(fake, real)
        theirs = [fid_features_to_statistics(x) for x in (fake, real)]
        assert len(reference.root) == options.dimensions  # computes and keeps it
        routes: dict[str, tuple[Callable[[], float], int]] = {
            "ours, root cached": (lambda a=ours, b=reference: frechet_distance(a, b), 3),
            "ours": (lambda a=ours, b=reference: frechet_distance(a, replace(b)), 1),
            "torch-fidelity (eigvals)": (
                lambda x=theirs: fid_statistics_to_metric(*x, False)["frechet_inception_distance"],
                1,
            ),
            "scipy sqrtm": (lambda a=ours, b=reference: by_scipy(a, b), 1),
        }
        for name, (work, repeats) in routes.items():
            value, cpu, wall = timed(work, repeats)
            print(
                f"{count:>7} {name:<26} {value:>14.8f} {abs(value / true - 1):>9.1e} {cpu:>8.2f} {wall:>8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
