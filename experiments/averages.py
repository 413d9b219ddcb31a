"""Is the average better than the network? Both measured as one GAN trains, with and without a ramp of the decay.

    python experiments/averages.py --images cifar10 --out runs/averages

EAGAN's generator, narrow, trained with decay 0.999; ``samples.png`` shows the same latents through the averaged
network at each of the steps. What is measured already is not measured again.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor, nn

from autogas.datasets import Images, load_images
from autogas.metrics import FeatureStatistics, get_extractor
from autogas.metrics.evaluation import evaluate_generator, reference_statistics
from autogas.seeding import torch_generator
from autogas.spaces.eagan import EAGANGenerator
from autogas.training.average import averaged_copy, ramped, update_average
from autogas.training.gan import GANRecipe, GANTask, gan_task
from autogas.training.loop import prepare
from autogas.training.machine import Machine, launch
from autogas.training.pictures import sample_grid

DECAY = 0.999
SHOWN = 16


def recipe_of(steps: int) -> GANRecipe:
    """A narrow one."""
    return GANRecipe(
        steps=steps,
        generator_batch=32,
        discriminator_batch=32,
        generator_lr=1e-3,
        discriminator_lr=1e-3,
        critic_steps=1,
        linear_decay=True,
        discriminator_width=32,
    )


def measured(net: nn.Module, task: GANTask, reference: FeatureStatistics, samples: int) -> dict[str, float | None]:
    """Metrics of images of a generator in evaluation mode."""

    def generate(count: int, generator: torch.Generator) -> Tensor:
        latents = torch.randn((count, *task.latent_shape), generator=generator)
        net.eval()
        try:
            return (net(latents) + 1) / 2
        finally:
            net.train(net is task.generator)

    return evaluate_generator(generate, reference=reference, samples=samples, splits=1).metrics


def trained(
    machine: Machine, images: Images, reference: FeatureStatistics, seed: int, options: argparse.Namespace
) -> None:
    """Train once; a line of metrics for each step and network."""
    steps, out = options.steps, options.out
    space = EAGANGenerator(width=16)
    task = gan_task(space, space.parse("eagan-best"), images, recipe_of(steps[-1]), seed=seed)
    prepare(task, machine)
    averages = {
        "average, constant decay": averaged_copy(task.generator),
        "average, ramp": averaged_copy(task.generator),
    }
    lines, pictures = [], []
    for step in range(steps[-1] + 1):
        if step in steps:
            for name, net in {"network": task.generator, **averages}.items():
                lines.append(
                    {"step": step, "what": name, "seed": seed, **measured(net, task, reference, options.samples)}
                )
            latents = torch.randn((SHOWN, *task.latent_shape), generator=torch_generator("shown", seed))
            with torch.no_grad():
                pictures.append((averages["average, ramp"](latents) + 1) / 2)
        task.step(step, torch_generator("train", seed, step), machine)
        for name, net in averages.items():
            update_average(net, task.generator, ramped(DECAY, step) if "ramp" in name else DECAY)
    (out / f"samples{seed}.png").write_bytes(sample_grid(torch.cat(pictures), columns=SHOWN))
    (out / f"seed{seed}.json").write_text(json.dumps(lines))


def one(seed: int, options: argparse.Namespace) -> None:
    """Train with a seed in this process."""
    torch.set_num_threads(1)
    if (options.out / f"seed{seed}.json").exists():
        return
    images = load_images(options.images, size=32, limit=options.train_images)
    reference = reference_statistics(options.images, get_extractor("cifarnet"), size=32, samples=options.train_images)
    launch(trained, images, reference, seed, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--train-images", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 50, 200, 1000, 5000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    Parallel(n_jobs=options.jobs)(delayed(functools.partial(one, options=options))(s) for s in range(options.seeds))
    lines = [line for s in range(options.seeds) for line in json.loads((options.out / f"seed{s}.json").read_text())]
    for metric in ("fid-cifarnet", "kid-cifarnet", "is-cifarnet"):
        print(f"\n{metric}: mean and standard deviation of {options.seeds} seeds")
        for what in dict.fromkeys(line["what"] for line in lines):
            shown = []
            for step in options.steps:
                values = [line[metric] for line in lines if (line["what"], line["step"]) == (what, step)]
                shown.append(f"{step}: {np.mean(values):.3g} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.2g}")
            print(f"{what:<26}" + "   ".join(shown))


if __name__ == "__main__":
    main()
