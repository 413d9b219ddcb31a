"""Which search finds the better generator? Networks trained alike, as those of a benchmark were, several seeds each.

    python experiments/winners.py --images cifar10 --out runs/winners autogas=runs/g nwot=runs/nwot eagan-best
    python experiments/winners.py --benchmark mini-diffusion --max-macs 2e7 --out runs/denoisers \
        --images TRAIN.parquet --held-out TEST.parquet separation=runs/s nwot=runs/nwot

Each argument is a published name, an architecture, or the folder of a search (``NAME=FOLDER``, or
``NAME=FOLDER:largest`` for its largest architecture inside the budget); ``--random`` more are drawn uniformly from the
space, inside ``--max-macs``. The recipe is that of the benchmark. What is trained already is not trained again.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from trained import trained

import autogas
from autogas.runs import Run
from autogas.seeding import numpy_generator
from autogas.spaces import Space


def architecture(given: str) -> tuple[str, str]:
    """Name and architecture of an argument."""
    name, _, value = given.rpartition("=")
    folder, _, what = value.partition(":")
    if not Path(folder).is_dir():
        return name or value, value
    results = Run.open(folder).results
    wanted = next((row for row in results["controls"] if row["name"].startswith(what)), None) if what else None
    return name or value, (wanted or results["winner"])["arch"]


def drawn(space: Space[Any], max_macs: float) -> Iterator[str]:
    """Different random architectures inside a budget."""
    rng = numpy_generator("winners")
    seen: set[str] = set()
    while True:
        arch = space.sample(rng)
        if str(arch) not in seen and space.cost(arch).macs <= max_macs:
            seen.add(str(arch))
            yield str(arch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archs", nargs="+")
    parser.add_argument("--benchmark", default="mini-gan")
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--held-out")
    parser.add_argument("--random", type=int, default=3)
    parser.add_argument("--max-macs", type=float, default=float("inf"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    bench = autogas.load_benchmark(options.benchmark)
    built = bench.provenance["settings"]
    space = bench.space
    randoms = itertools.islice(drawn(space, options.max_macs), options.random)
    archs = dict(map(architecture, options.archs)) | {f"random {i + 1}": arch for i, arch in enumerate(randoms)}
    archs = {name: str(space.parse(arch)) for name, arch in archs.items()}
    work = [(name, seed) for seed in range(options.seeds) for name in archs]
    settings = {
        "space": space.name,
        "space_settings": dict(space.settings),
        "recipe": built["recipe"] | ({} if options.steps is None else {"steps": options.steps}),
        "images": options.images,
        **({} if options.held_out is None else {"held_out": options.held_out}),
        "train_images": built["train_images"],
        "samples": built["samples"],
    }
    Parallel(n_jobs=options.jobs)(
        delayed(trained)(options.out / f"{name}-{seed}", archs[name], settings | {"seed": seed}) for name, seed in work
    )
    metrics = (bench.metric.replace("_", "-"), "fid-cifarnet", "is-cifarnet")
    shown = list(dict.fromkeys(metrics))
    print(f"{space.name}, as {bench.name}, {options.seeds} seeds: mean and standard deviation")
    print(f"{'network':<24} {'parameters':>10} {'MACs':>10}" + "".join(f"{metric:>22}" for metric in shown))
    for name, arch in archs.items():
        mine = [Run.open(options.out / f"{name}-{seed}").results["metrics"] for seed in range(options.seeds)]
        cost = space.cost(space.parse(arch))
        cells = []
        for metric in shown:
            values = np.array([row[metric] for row in mine])
            cells.append(f"{values.mean():>13.5g} ± {values.std(ddof=1):>6.2g}")
        print(f"{name:<24} {cost.params:>10,} {cost.macs:>10.3g}" + "".join(cells))


if __name__ == "__main__":
    main()
