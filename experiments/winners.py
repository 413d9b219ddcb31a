"""Which search finds the better GAN? Generators trained alike at one small budget, several seeds each.

    python experiments/winners.py --images cifar10 --out runs/winners autogas=runs/g nwot=runs/nwot eagan-best

Each argument is a published name, an architecture, or the folder of a search (``NAME=FOLDER``); ``--random`` more are
drawn uniformly from the space. The recipe is that of the benchmark mini-gan. What is trained already is not trained
again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from trained import trained

import autogas
from autogas.runs import Run
from autogas.seeding import numpy_generator

RECIPE = autogas.load_benchmark("mini-gan").provenance["settings"]["recipe"]


def architecture(given: str) -> tuple[str, str]:
    """Name and architecture of an argument."""
    name, _, value = given.rpartition("=")
    arch = Run.open(value).results["winner"]["arch"] if Path(value).is_dir() else value
    return name or value, arch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archs", nargs="+")
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--random", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=RECIPE["steps"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    space = autogas.get_space("eagan-generator", width=options.width)
    drawn = space.sample_distinct(options.random, numpy_generator("winners"))
    archs = dict(map(architecture, options.archs)) | {f"random {i + 1}": str(arch) for i, arch in enumerate(drawn)}
    archs = {name: str(space.parse(arch)) for name, arch in archs.items()}
    work = [(name, seed) for seed in range(options.seeds) for name in archs]
    settings = {
        "recipe": {**RECIPE, "steps": options.steps},
        "images": options.images,
        "width": options.width,
        "samples": 5000,
    }
    results = Parallel(n_jobs=options.jobs)(
        delayed(trained)(options.out / f"{name}-{seed}", archs[name], settings | {"seed": seed}) for name, seed in work
    )
    print(f"width {options.width}, {options.steps} steps, {options.seeds} seeds: mean and standard deviation")
    print(f"{'generator':<16} {'parameters':>10} {'fid-cifarnet':>17} {'is-cifarnet':>15}")
    for name, arch in archs.items():
        mine = [r["metrics"] for r, (other, _) in zip(results, work, strict=True) if other == name]
        fid, score = (np.array([m[metric] for m in mine]) for metric in ("fid-cifarnet", "is-cifarnet"))
        params = space.cost(space.parse(arch)).params
        print(
            f"{name:<16} {params:>10,} {fid.mean():>9.1f} ± {fid.std(ddof=1):>5.1f} "
            f"{score.mean():>8.3f} ± {score.std(ddof=1):>4.3f}"
        )


if __name__ == "__main__":
    main()
