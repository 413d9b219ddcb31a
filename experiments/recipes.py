"""Under which recipe do two seeds agree about generators? The recipe of a benchmark is chosen by that alone.

    python experiments/recipes.py train --images cifar10 --out runs/recipes
    python experiments/recipes.py table --images cifar10 --out runs/recipes --extractor cifarnet-robust

The first trains the same random generators of EAGAN's space under several short recipes with two seeds and keeps 2,000
images of each at a quarter, a half, three quarters and the whole of its steps; the second measures them, as often as
there are metrics to try. What is trained or measured already is not again.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy.stats import kendalltau

from autogas.datasets import Images, load_images
from autogas.metrics import get_extractor
from autogas.metrics.evaluation import evaluation_of, reference_statistics
from autogas.seeding import numpy_generator, torch_generator
from autogas.spaces.eagan import EAGANGenerator
from autogas.training.gan import GANRecipe, gan_task
from autogas.training.loop import prepare
from autogas.training.machine import Machine, launch

NARROW = {"critic_steps": 1, "discriminator_width": 32, "linear_decay": True, "average_decay": 0.99}
BATCH_32 = {"generator_batch": 32, "discriminator_batch": 32}
RECIPES = {
    "mini-gan": GANRecipe(steps=700, generator_lr=1e-3, discriminator_lr=1e-3, **BATCH_32, **NARROW),
    "lower rate": GANRecipe(steps=700, generator_lr=3e-4, discriminator_lr=3e-4, **BATCH_32, **NARROW),
    "mmd, augmented": GANRecipe(
        steps=700,
        generator_lr=3e-4,
        discriminator_lr=3e-4,
        loss="mmd",
        augment="color,translation",
        **BATCH_32,
        **NARROW,
    ),
}
KEPT = 2000
QUARTERS = 4
SPACE = EAGANGenerator(width=16)


def architectures(count: int) -> list[str]:
    """Random ones."""
    rng = numpy_generator("recipes")
    return [str(SPACE.sample(rng)) for _ in range(count)]


def file_of(out: Path, name: str, number: int, seed: int) -> Path:
    """Images of one training, ``uint8 [quarters, images, 3, 32, 32]``."""
    return out / f"{name.replace(', ', '-').replace(' ', '-')}-{number}-{seed}.npy"


def trained(machine: Machine, images: Images, recipe: GANRecipe, arch: str, seed: int, file: Path) -> None:
    """Train once."""
    task = gan_task(SPACE, SPACE.parse(arch), images, recipe, seed=seed)
    prepare(task, machine)
    kept = []
    for step in range(recipe.steps):
        task.step(step, torch_generator("train", seed, step), machine)
        if (step + 1) % (recipe.steps // QUARTERS) == 0:
            samples = task.samples(KEPT, torch_generator("kept", seed))
            kept.append((samples * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())
    with file.with_suffix(".part").open("wb") as opened:
        np.save(opened, np.stack(kept))
    file.with_suffix(".part").rename(file)


def train(options: argparse.Namespace) -> None:
    """All of them, so that each number of architectures has all recipes and seeds before the next begins."""
    archs = architectures(options.count)

    def one(number: int, seed: int, name: str) -> None:
        file = file_of(options.out, name, number, seed)
        if not file.exists():
            torch.set_num_threads(1)
            launch(trained, load_images(options.images, size=32), RECIPES[name], archs[number], seed, file)

    work = itertools.product(range(options.count), range(2), RECIPES)
    Parallel(n_jobs=options.jobs)(delayed(one)(*item) for item in work)


def table(options: argparse.Namespace) -> None:
    """Distance after each quarter, and whether two seeds agree."""
    extractor = get_extractor(options.extractor)
    known = reference_statistics(options.images, extractor, size=32)
    record = options.out / f"{options.extractor}.json"
    found = json.loads(record.read_text()) if record.exists() else {}
    for name in RECIPES:
        rows = []
        for number in range(options.count):
            files = [file_of(options.out, name, number, seed) for seed in range(2)]
            if not all(file.exists() for file in files):
                continue
            for file in files:
                if file.name not in found:
                    found[file.name] = [
                        evaluation_of(
                            torch.from_numpy(part).split(100), file.name, known, extractor, None, 1, 100
                        ).metrics
                        for part in np.load(file)
                    ]
                    record.write_text(json.dumps(found))
            rows.append([[m[f"fid-{options.extractor}"] for m in found[file.name]] for file in files])
        values = np.array(rows)  # [architectures, seeds, quarters]
        print(f"{name}: {len(values)} architectures")
        for quarter in range(values.shape[2] if len(values) > 1 else 0):
            a, b = values[:, 0, quarter], values[:, 1, quarter]
            spread = f"median {np.median(values[..., quarter]):.1f}, {a.min():.1f} to {a.max():.1f}"
            agree = f"tau between seeds {kendalltau(a, b)[0]:.2f}, r {np.corrcoef(np.log(a), np.log(b))[0, 1]:.2f}"
            print(f"  {quarter + 1}/{QUARTERS} of the steps: {spread}; {agree}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "table"))
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--extractor", default="cifarnet-robust")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    {"train": train, "table": table}[options.what](options)


if __name__ == "__main__":
    main()
