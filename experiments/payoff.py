"""Does a search with the default proxy pay? The experiment of docs/payoff.md: search, train, compare.

python experiments/payoff.py search --out runs/payoff
python experiments/payoff.py train gan --images cifar10 --out runs/payoff --device cuda --jobs 16
python experiments/payoff.py train pix2pix --images edges2photo --out runs/payoff
python experiments/payoff.py report --out runs/payoff
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from trained import trained

import autogas
from autogas.benchmarks import load_benchmark
from autogas.errors import InputError
from autogas.runs import Run
from autogas.seeding import numpy_generator
from autogas.spaces import Space
from autogas.spaces.eagan.genotype import UP_OPS
from autogas.training.gan import GANRecipe
from autogas.workflows.build import read

PROXIES = ("separation", "autogas", "nwot")
FORMER = {
    "four terms": "16 * normalisations@decoder > gram > trace > log"
    " + activations@encoder > softmax > covariance > eigenvalue_floor > log > min"
    " + 0.125 * gram > coding_rate > spread"
    " - 16 * activations@decoder > covariance > trace > log > spread"
}
"""Proxies of arms that are no names: the default, `concord`, before it had a fifth term."""
SEEDS = range(8)
TASKS = {"gan": "eagan-generator", "pix2pix": "resnet-translation", "cyclegan": "resnet-translation"}
LATER = {"small-gan": "eagan-generator"}
"""Added when the results of the others were known: description, in no correction."""
TRANSLATION = {"image_size": 64, "divisor": 2}
MICRO_SAMPLE = 500
GAN_SEEDS = 2
GAN_RECIPE = GANRecipe(
    steps=1500,
    generator_batch=64,
    discriminator_batch=64,
    critic_steps=1,
    discriminator_width=64,
    generator_lr=5e-4,
    discriminator_lr=5e-4,
    average_decay=0.99,
    linear_decay=True,
)
SMALL_RECIPE = GAN_RECIPE.model_copy(
    update={
        "steps": 700,
        "generator_batch": 32,
        "discriminator_batch": 32,
        "discriminator_width": 32,
        "generator_lr": 3e-4,
        "discriminator_lr": 3e-4,
    }
)


def gan_training(width: int, recipe: GANRecipe) -> dict[str, Any]:
    """Settings of `autogas bench build`."""
    return {
        "space": "eagan-generator",
        "space_settings": {"width": width},
        "recipe": recipe.model_dump(),
        "train_images": 20_000,
        "samples": 5000,
    }


GAN_TRAININGS = {"gan": gan_training(64, GAN_RECIPE), "small-gan": gan_training(16, SMALL_RECIPE)}
TRANSLATION_RECIPE = {"steps": 500, "batch": 4, "discriminator_width": 32}


@functools.cache
def median_macs() -> float:
    """Of random generators of images from latents."""
    space = autogas.get_space("eagan-generator")
    drawn = space.sample_distinct(200, numpy_generator("payoff", "median"))
    return float(np.median([space.cost(arch).macs for arch in drawn]))


def searches() -> dict[str, dict[str, Any]]:
    """Settings of the search in each space."""
    return {
        "eagan-generator": {"max_macs": median_macs(), "iterations": 20},
        "resnet-translation": {"max_macs": 48e6, "iterations": 60, "space_settings": TRANSLATION},
    }


def searched(out: Path, space: str, arm: str, seed: int, settings: dict[str, Any]) -> str:
    """The winner of a search by the proxy of an arm, done now, continued or done before."""
    torch.set_num_threads(1)
    folder, proxy = out / f"{space}-{arm}-{seed}", FORMER.get(arm, arm)
    if not (folder / "results.json").exists():
        where: dict[str, Any] = {"resume": str(folder)} if folder.exists() else {"out": str(folder)}
        given = {} if folder.exists() else {"proxy": proxy, "seed": seed, "sample": 10, "agreement": 0, **settings}
        autogas.search(None if folder.exists() else space, **given, **where)
    return str(Run.open(folder, "search").results["winner"]["arch"])


def drawn(
    space: Space[Any],
    max_macs: float,
    name: str = "random",
    count: int = len(SEEDS),
    allowed: Callable[[Any], bool] = lambda _: True,
) -> list[str]:
    """Uniform architectures inside the budget."""
    rng = numpy_generator("payoff", name, space.name)
    found: dict[str, None] = {}
    while len(found) < count:
        arch = space.sample(rng)
        if allowed(arch) and space.cost(arch).macs <= max_macs:
            found[str(arch)] = None
    return list(found)


def plain() -> list[str]:
    """Random generators of images from latents without transposed convolutions, which random ones fail by."""
    space, transposed = autogas.get_space("eagan-generator"), UP_OPS.index("transposed")
    return drawn(
        space, median_macs(), "plain", allowed=lambda arch: all(transposed not in cell[:2] for cell in arch.cells)
    )


def smallest() -> list[str]:
    """Those with the fewest parameters among as many random ones as a search scores."""
    space, budget = autogas.get_space("eagan-generator"), median_macs()
    seen = (drawn(space, budget, f"smallest {seed}", count=640) for seed in SEEDS)
    return [min(archs, key=lambda arch: space.cost(space.parse(arch)).params) for archs in seen]


def search(options: argparse.Namespace) -> None:
    """Write winners.json: architectures by space and arm."""
    winners: dict[str, dict[str, list[str]]] = {}
    for space, settings in searches().items():
        work = list(itertools.product(PROXIES, SEEDS))
        calls = (delayed(searched)(options.out, space, proxy, seed, settings) for proxy, seed in work)
        found = Parallel(n_jobs=options.jobs)(calls)
        arms = {name: [a for a, (proxy, _) in zip(found, work, strict=True) if proxy == name] for name in PROXIES}
        own = autogas.get_space(space, **settings.get("space_settings", {}))
        winners[space] = {**arms, "random": drawn(own, settings["max_macs"])}
        (options.out / "winners.json").write_text(json.dumps(winners, indent=1))


def write_controls(options: argparse.Namespace) -> None:
    """Write controls.json: arms of GANs that were added when others were trained, which are kept.

    The trivial ones came when it was seen what random ones fail by, then winners of searches with the default of then,
    and with that of now.
    """
    file, space = options.out / "controls.json", TASKS["gan"]
    arms: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    for name, make in (("plain", plain), ("smallest", smallest)):
        arms[name] = arms.get(name) or make()
    for name in (*FORMER, "concord"):
        calls = (delayed(searched)(options.out, space, name, seed, searches()[space]) for seed in SEEDS)
        arms[name] = arms.get(name) or Parallel(n_jobs=options.jobs)(calls)
    file.write_text(json.dumps(arms, indent=1))


def worker(task: str, images: str, device: str) -> None:
    """Load what the trainings of a process share."""
    global shared
    torch.set_num_threads(1)
    shared = read({**GAN_TRAININGS[task], "images": images, "device": device})
    shared.prepare()


def fit(item: tuple[str, int]) -> tuple[tuple[str, int], dict[str, Any]]:
    """Train one generator; a row of the task's file."""
    try:
        return item, shared.row(*item)
    except InputError as error:
        return item, {"fid_cifarnet": None, "reason": str(error)}


def train_gans(options: argparse.Namespace, archs: Iterable[str]) -> None:
    """Append to the task's file what is not in it yet, first seeds first."""
    file = options.out / f"{options.task}.jsonl"
    done = {(row["arch"], row["seed"]) for row in rows_of(file)}
    work = [(arch, seed) for seed in range(options.seeds) for arch in archs if (arch, seed) not in done]
    pool = multiprocessing.get_context("spawn").Pool(
        options.jobs, worker, (options.task, options.images, options.device)
    )
    with pool, file.open("a") as out:
        for (arch, seed), result in pool.imap_unordered(fit, work):
            out.write(json.dumps({"arch": arch, "seed": seed, **result}) + "\n")
            out.flush()


def train_translators(options: argparse.Namespace, archs: Iterable[str]) -> None:
    """Append to the task's file what is not in it yet; run folders are in a folder of the task's name."""
    settings = {
        "space": "resnet-translation",
        "space_settings": TRANSLATION,
        "task": options.task,
        "data": options.images,
        "recipe": TRANSLATION_RECIPE,
        "seed": 0,
    }
    file = options.out / f"{options.task}.jsonl"
    done = {row["arch"] for row in rows_of(file)}
    work = [arch for arch in archs if arch not in done]
    calls = (delayed(trained)(options.out / options.task / arch, arch, settings) for arch in work)
    results = Parallel(n_jobs=options.jobs, return_as="generator")(calls)
    with file.open("a") as out:
        for arch, result in zip(work, results, strict=True):
            row = {"arch": arch, "seed": 0, "fid_cifarnet": result["metrics"]["fid-cifarnet"], **result["metrics"]}
            out.write(json.dumps(row) + "\n")
            out.flush()


def train(options: argparse.Namespace) -> None:
    """Train every distinct architecture of a task, so that no arm is far ahead of the others."""
    arms = arms_of(options.out, options.task).values()
    in_turns = itertools.chain.from_iterable(zip(*arms, strict=True))
    archs = list(dict.fromkeys(in_turns))
    (train_gans if options.task in GAN_TRAININGS else train_translators)(options, archs)


def arms_of(out: Path, task: str) -> dict[str, list[str]]:
    """Architectures by arm."""
    winners: dict[str, list[str]] = json.loads((out / "winners.json").read_text())[(TASKS | LATER)[task]]
    if task not in GAN_TRAININGS:
        return winners
    file = out / "controls.json"
    return winners | (json.loads(file.read_text()) if file.exists() else {})


def rows_of(file: Path) -> list[dict[str, Any]]:
    """What a file of JSON lines holds, nothing if it is not there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def qualities(out: Path, task: str) -> dict[str, list[float]]:
    """By arm, more is better."""
    if task == "micro":
        return micro()
    arms = arms_of(out, task)
    rows = rows_of(out / f"{task}.jsonl")
    done = {(row["arch"], row["seed"]) for row in rows}
    needed = [*PROXIES, "random"]
    seeds = [seed for seed in range(GAN_SEEDS) if all((a, seed) in done for arm in needed for a in arms[arm])]
    if not seeds:
        raise InputError(f"{len(rows)} trainings are done")
    whole = {arm: archs for arm, archs in arms.items() if all((a, seed) in done for seed in seeds for a in archs)}
    worst = max(row["fid_cifarnet"] for row in rows if row["fid_cifarnet"] is not None)
    reached = {(row["arch"], row["seed"]): row["fid_cifarnet"] or worst for row in rows}
    return {arm: [-float(np.mean([reached[a, seed] for seed in seeds])) for a in archs] for arm, archs in whole.items()}


def micro() -> dict[str, list[float]]:
    """SSIM of the highest score in samples of the real table."""
    table = load_benchmark("transnas-micro")
    run = autogas.rank("transnas-micro", list(PROXIES), everything=True, jobs=2)
    scores = run.read_table("scores").set_index("arch")
    quality = dict(zip(map(str, table.archs), table.quality, strict=True))
    names, arms = list(scores.index), {proxy: [] for proxy in PROXIES} | {"random": []}
    for seed in SEEDS:
        sample = [names[i] for i in numpy_generator("payoff", seed).choice(len(names), MICRO_SAMPLE, replace=False)]
        for proxy in PROXIES:
            arms[proxy].append(quality[scores.loc[sample, proxy].idxmax()])
        arms["random"].append(quality[sample[0]])
    return arms


def permutation(first: list[float], second: list[float]) -> float:
    """Two-sided p of the difference of means, over all splits."""
    both = np.array([*first, *second])
    chosen = np.array(list(itertools.combinations(range(len(both)), len(first))))
    means = both[chosen].mean(1)
    others = (both.sum() - means * len(first)) / len(second)
    seen = abs(np.mean(first) - np.mean(second))
    return float(np.mean(np.abs(means - others) >= seen - 1e-12))


def interval(first: list[float], second: list[float]) -> tuple[float, float]:
    """Bootstrap 95 % of the difference of means."""
    rng = numpy_generator("payoff", "bootstrap")
    a, b = (np.array(arm)[rng.integers(len(arm), size=(10_000, len(arm)))].mean(1) for arm in (first, second))
    low, high = np.quantile(a - b, [0.025, 0.975])
    return float(low), float(high)


def report(options: argparse.Namespace) -> None:
    """Print the table of all tasks whose trainings are done."""
    primary: dict[str, tuple[float, float]] = {}
    print(f"{'task':<10}{'arm':<12}{'mean':>9}{'sd':>8}  difference from random, 95 % interval, p")
    for task in (*TASKS, "micro", *LATER):
        try:
            arms = qualities(options.out, task)
        except (InputError, KeyError, FileNotFoundError, ValueError) as error:
            print(f"{task:<10}not done: {error}")
            continue
        for arm, values in arms.items():
            line = f"{task:<10}{arm:<12}{abs(np.mean(values)):>9.3f}{np.std(values, ddof=1):>8.3f}"
            if arm != "random":
                difference, p = np.mean(values) - np.mean(arms["random"]), permutation(values, arms["random"])
                low, high = interval(values, arms["random"])
                line += f"  {difference:+.3f} [{low:+.3f}, {high:+.3f}] {p:.4f}"
                if arm == PROXIES[0] and task not in LATER:
                    primary[task] = (float(difference), p)
            print(line)
    corrected = 0.0
    for rank, (task, (difference, p)) in enumerate(sorted(primary.items(), key=lambda item: item[1][1])):
        corrected = max(corrected, min(1.0, p * (len(TASKS) + 1 - rank)))  # those that are not done count too
        verdict = "not shown" if corrected >= 0.05 else "pays" if difference > 0 else "harms"
        print(f"{task}: {verdict} (p {p:.4f}, corrected {corrected:.4f})")


def picture(options: argparse.Namespace) -> None:
    """Draw what every trained generator of images from latents reached, by arm."""
    import matplotlib.pyplot as plt

    arms = qualities(options.out, "gan")
    figure, axes = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
    for row, (arm, values) in enumerate(reversed(arms.items())):
        distances = -np.array(values)
        axes.plot(distances, np.full(len(values), row), "o", alpha=0.6, color="C3" if arm == PROXIES[0] else "C0")
        axes.plot([distances.mean()], [row], "|", markersize=22, markeredgewidth=2, color="black")
    axes.set_yticks(range(len(arms)), reversed(arms.keys()))
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.set_xlabel("fid-cifarnet after training, lower is better; the bar is the mean of eight")
    figure.savefig(options.out / "gan.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("search", "controls", "train", "report", "picture"))
    parser.add_argument("task", nargs="?", choices=TASKS | LATER)
    parser.add_argument("--images", help="of gan: as of `autogas train`; of the others: the folder of their data")
    parser.add_argument("--device", default="cpu", help="of gan")
    parser.add_argument("--seeds", type=int, default=GAN_SEEDS, choices=(1, 2), help="of gan")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stages = {"search": search, "controls": write_controls, "train": train, "report": report, "picture": picture}
    stages[options.stage](options)


if __name__ == "__main__":
    main()
