"""Training of the classifier that ships with the package."""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from autogas.datasets import load_images, load_labels
from autogas.errors import InputError
from autogas.files import replacing, write_json
from autogas.metrics.cifarnet import CLASSES, SIZE, WHITENED, CifarNet, read_cifarnet
from autogas.runs import progress
from autogas.seeding import derive_seed, seeded, torch_generator
from autogas.settings import Settings


class CifarNetRecipe(Settings):
    """SGD with Nesterov momentum, a one-cycle learning rate, label smoothing, flips and translations.

    With ``noise`` and ``blur`` a network learns that neither changes what an image shows.
    """

    epochs: int = Field(18, ge=1, description="passes over the images")
    batch_size: int = Field(256, ge=2, description="images a step")
    learning_rate: float = Field(0.4, gt=0, description="peak of the one-cycle schedule, after a fifth of the steps")
    momentum: float = Field(0.9, gt=0, lt=1, description="Nesterov")
    weight_decay: float = Field(5e-4, ge=0, description="of every weight")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="probability that is spread over all classes")
    translation: int = Field(2, ge=0, description="pixels, either way, mirrored at the border")
    noise: float = Field(0.0, ge=0, description="most standard deviation of noise on half of the images, range 1")
    blur: float = Field(0.0, ge=0, description="most standard deviation of a blur of half of the images, pixels")


def train_cifarnet(
    pixels: Tensor, labels: Tensor, recipe: CifarNetRecipe, *, seed: int = 0, device: str = "cpu"
) -> CifarNet:
    """Train on ``uint8 [n, 3, 32, 32]`` and ``int64 [n]``; convolutions run in bfloat16, weights stay float32."""
    generator = torch_generator("cifarnet", seed)
    with seeded(derive_seed("cifarnet weights", seed)):
        model = CifarNet()
    model.whiten.weight.copy_(whitening_filters(model.normalise(pixels[:5000])))
    model.train().to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    steps = recipe.epochs * (len(pixels) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=steps,
        pct_start=0.2,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    order = (
        index
        for _ in range(recipe.epochs)
        for index in torch.randperm(len(pixels), generator=generator).split(recipe.batch_size)
        if len(index) == recipe.batch_size
    )
    for index in progress(order, steps, "training cifarnet"):
        batch = spoil(augment(pixels[index], recipe.translation, generator), recipe, generator).to(device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            logits = model(batch)[1]
        loss = F.cross_entropy(logits.float(), labels[index].to(device), label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def whitening_filters(images: Tensor) -> Tensor:
    """Filters ``[24, 3, 2, 2]``: on ``[n, 3, h, w]`` the first 12 outputs have covariance 1, the others are negated."""
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, WHITENED // 2).double()
    variances, directions = torch.linalg.eigh(torch.cov(patches.T))
    filters = (directions / (variances + 5e-4).sqrt()).T.reshape(-1, 3, 2, 2)
    return torch.cat([filters, -filters]).float()


def augment(pixels: Tensor, translation: int, generator: torch.Generator) -> Tensor:
    """Each image of ``[n, 3, h, w]`` mirrored with probability 1/2 and moved by up to ``translation`` pixels."""
    count, _, height, width = pixels.shape
    padded = F.pad(pixels.float(), (translation,) * 4, mode="reflect")
    offsets = torch.randint(2 * translation + 1, (2, count, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = offsets[1] + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(count)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def spoil(images: Tensor, recipe: CifarNetRecipe, generator: torch.Generator) -> Tensor:
    """Of ``[n, 3, h, w]`` in 0 to 255 a random half blurred, one strength a batch, and a random half with noise."""
    if recipe.blur:
        chosen = torch.rand(len(images), generator=generator) < 0.5
        sigma = recipe.blur * max(float(torch.rand(1, generator=generator)), 0.05)
        images[chosen] = gaussian_blur(images[chosen], [2 * math.ceil(2 * sigma) + 1] * 2, [sigma, sigma])
    if recipe.noise:
        strength = 255 * recipe.noise * torch.rand(len(images), 1, 1, 1, generator=generator)
        strength *= torch.rand(strength.shape, generator=generator) < 0.5
        images = images + strength * torch.randn(images.shape, generator=generator)
    return images


@torch.no_grad()
def accuracy(model: CifarNet, pixels: Tensor, labels: Tensor, *, device: str = "cpu") -> float:
    """Share of images whose largest logit is at their label."""
    right = 0
    for index in torch.arange(len(pixels)).split(500):
        right += int((model(pixels[index].to(device))[1].argmax(1).cpu() == labels[index]).sum())
    return right / len(pixels)


def make_cifarnet(
    images: str, held_out: str, path: Path, recipe: CifarNetRecipe, *, data: str, seed: int = 0, device: str = "cpu"
) -> dict[str, Any]:
    """Train, write the weights as float16, read them back and measure; returns what is written beside them as JSON.

    Args:
        images: labelled training images, ``cifar10`` or a Parquet file.
        held_out: labelled images to measure on.
        path: ``.safetensors`` file to write.
        recipe: how to train.
        data: what the images are, for the record.
        seed: of weights, order and augmentation.
        device: where to train.

    Raises:
        InputError: images that cannot be read or have no labels, or a file that cannot be written.
    """
    if not path.parent.is_dir():
        raise InputError(f"file {str(path)!r}: expected one in a folder that exists")
    train = load_images(images, size=SIZE), load_labels(images)
    test = load_images(held_out, size=SIZE, train=False), load_labels(held_out, train=False)
    for labels in (train[1], test[1]):
        if int(labels.min()) < 0 or int(labels.max()) >= CLASSES:
            raise InputError(f"labels from {int(labels.min())} to {int(labels.max())}: expected 0 to {CLASSES - 1}")
    start = time.process_time()
    model = train_cifarnet(train[0].pixels, train[1], recipe, seed=seed, device=device)
    seconds = time.process_time() - start
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in model.cpu().state_dict().items()
    }
    with replacing(path) as temporary:
        save_file(weights, temporary)
    loaded, sha256 = read_cifarnet(path)
    provenance = {
        "data": data,
        "recipe": recipe.model_dump(),
        "seed": seed,
        "train_images": len(train[1]),
        "held_out_images": len(test[1]),
        "held_out_accuracy": accuracy(loaded, test[0].pixels, test[1]),
        "parameters": sum(p.numel() for p in loaded.parameters()),
        "sha256": sha256,
        "cpu_seconds": round(seconds),
        "versions": {name: version(name) for name in ("torch", "numpy", "safetensors")}
        | {"python": platform.python_version()},
    }
    write_json(path.with_suffix(".json"), provenance)
    return provenance
