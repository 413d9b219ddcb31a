"""Does the searched student translate better than a random one of its budget? Several seeds of teacher and students.

    autogas search resnet-translation --set image_size=64 --set divisor=2 --max-macs 48e6 --out runs/search
    python experiments/translators.py runs/search --task pix2pix --data e2p --out runs/pix2pix

For each seed: a teacher, the widest network of the family, from scratch; then, learning from that teacher, the winner
of the search, a random architecture inside the budget (another one for each seed), and the architectures given as
``NAME=ARCHITECTURE``. What is trained already is not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from joblib import Parallel, delayed
from trained import trained

import autogas
from autogas.runs import Run
from autogas.seeding import numpy_generator
from autogas.spaces.translation import TranslationSpace
from autogas.workflows.searching.budget import Budget
from autogas.workflows.searching.settings import SearchSettings


def space_of(search: Mapping[str, Any], **settings: Any) -> TranslationSpace:
    """The space that was searched, with other ``settings``."""
    return cast("TranslationSpace", autogas.get_space(search["space"], **{**search["space_settings"], **settings}))


def random_arch(search: Mapping[str, Any], seed: int) -> str:
    """A uniformly drawn architecture inside the budget of ``search``."""
    space, rng = space_of(search), numpy_generator("translators", seed)
    within = Budget(space, SearchSettings.model_validate(search))
    while not within.admits(arch := space.sample(rng)):
        pass
    return str(arch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search", type=Path)
    parser.add_argument("archs", nargs="*")
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--segmentation")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, help="of the generator, where the task's own is not meant")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    run = Run.open(options.search, "search")
    search = run.settings
    if search["max_latency"] is not None or options.seeds < 2:
        raise SystemExit("expected searches under a budget of parameters or MACs, and two seeds or more")
    recipe = {"steps": options.steps, "batch": options.batch, "discriminator_width": 32}
    if options.lr is not None:
        recipe["generator_lr"] = options.lr
    settings = {
        "space": search["space"],
        "task": options.task,
        "data": options.data,
        "recipe": recipe,
        "segmentation": options.segmentation,
        "samples": options.samples,
    }
    wide = space_of(search, choices=space_of(search).largest_set)
    widest = str(wide.original()[1])
    teachers = [settings | {"space_settings": dict(wide.settings), "seed": seed} for seed in range(options.seeds)]
    parallel = Parallel(n_jobs=options.jobs)
    results = {"teacher": parallel(delayed(trained)(options.out / f"teacher-{t['seed']}", widest, t) for t in teachers)}
    own = {"spectral": True} if options.task == "gaugan" else {}
    students = {"searched": run.results["winner"]["arch"], **dict(text.split("=") for text in options.archs)}
    work = [
        (name, seed, students.get(name) or random_arch(search, seed))
        for name in (*students, "random")
        for seed in range(options.seeds)
    ]
    learnt = settings | {"space_settings": search["space_settings"], "recipe": recipe | own}
    done = parallel(
        delayed(trained)(
            options.out / f"{name}-{seed}",
            arch,
            learnt | {"seed": seed, "teacher": str(options.out / f"teacher-{seed}")},
        )
        for name, seed, arch in work
    )
    for (name, *_), result in zip(work, done, strict=True):
        results.setdefault(name, []).append(result)
    metrics = list(results["teacher"][0]["metrics"])
    print(f"{options.task}, {options.steps} steps, {options.seeds} seeds: mean and standard deviation")
    print(f"{'generator':<10} {'parameters':>23} {'MACs':>27}" + "".join(f"{metric:>19}" for metric in metrics))
    for name, mine in results.items():
        sizes = "".join(
            f" {spread([r[size] for r in mine]):>{width}}" for size, width in (("params", 23), ("macs", 27))
        )
        values = [np.array([r["metrics"][metric] for r in mine]) for metric in metrics]
        print(f"{name:<10}{sizes}" + "".join(f"{v.mean():>11.4g} ± {v.std(ddof=1):<5.2g}" for v in values))


def spread(sizes: list[int]) -> str:
    """The size of them all, or the smallest and the largest."""
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


if __name__ == "__main__":
    main()
