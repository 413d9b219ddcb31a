"""How much a ranking depends on what a user does not choose: weights, noise, number and size of samples.

    python experiments/robustness.py concord --out runs/robustness

Kendall's tau-a of a proxy on the same test architectures of four benchmarks, one thing varied at a time. What is
scored already is not scored again.
"""

from __future__ import annotations

import argparse
import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed

import autogas
from autogas.benchmarks import load_benchmark
from autogas.benchmarks.correlation import correlate
from autogas.errors import InputError
from autogas.spaces import Space
from autogas.workflows.scoring import scoring_inputs, space_key

BENCHMARKS = ("transnas-micro", "mini-gan", "mini-gan-2", "transnas-macro")
SIZED = ("transnas-macro", "transnas-micro")


@dataclass(frozen=True)
class Variation:
    """What a network is made of and scored on."""

    weights: int = 0
    noise: int = 0
    samples: int = 16
    size: int = 0


GROUPS = {
    "weights": [Variation(weights=seed) for seed in range(5)],
    "noise": [Variation(noise=seed) for seed in range(3)],
    "samples": [Variation(samples=n) for n in (8, 16, 32)],
    "size": [Variation(size=size) for size in (64, 128)],  # these spaces take multiples of 64
}


def score(space: Space[Any], proxy: str, arch: str, v: Variation) -> float | None:
    """None where the proxy refuses."""
    torch.set_num_threads(1)
    net = space.build(space.parse(arch), seed=v.weights)
    try:
        return autogas.score(net, scoring_inputs(space_key(space), None, v.samples, v.noise), proxy)
    except InputError:
        return None


def scores(name: str, proxy: str, v: Variation, count: int, out: Path, jobs: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the first test architectures of a benchmark, or of all of a small one, with their goodness."""
    bench = load_benchmark(name)
    chosen = bench.split(validation=None, test=None).test[:count] if name in SIZED else np.arange(len(bench))
    space = autogas.get_space(
        bench.space.name, **{**bench.space.settings, **({"image_size": v.size} if v.size else {})}
    )
    file = out / f"{name}-{len(chosen)}-{v.weights}-{v.noise}-{v.samples}-{v.size}.json"
    if not file.exists():
        one = functools.partial(score, space, proxy)
        found = Parallel(n_jobs=jobs)(delayed(one)(str(bench.archs[i]), v) for i in chosen)
        file.write_text(json.dumps(found))
    values = np.array([np.nan if value is None else value for value in json.loads(file.read_text())])
    return values, bench.goodness[chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proxy", nargs="?", default=autogas.DEFAULT_PROXY)
    parser.add_argument("--count", type=int, default=200, help="test architectures of macro and of micro")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folder = options.out / options.proxy
    folder.mkdir(parents=True, exist_ok=True)
    for name in BENCHMARKS:
        usual = load_benchmark(name).space.settings.get("image_size", 0)
        for group, variations in GROUPS.items():
            if group == "size" and name not in SIZED:
                continue
            taus = []
            for v in variations:
                same = replace(v, size=0) if v.size == usual else v
                values, goodness = scores(name, options.proxy, same, options.count, folder, options.jobs)
                taus.append(correlate(goodness, values).kendall_a.value)
            shown = "  ".join(f"{tau:.3f}" for tau in taus)
            print(f"{name:<16}{group:<9}{shown}   smallest / largest {min(taus) / max(taus):.2f}", flush=True)


if __name__ == "__main__":
    main()
