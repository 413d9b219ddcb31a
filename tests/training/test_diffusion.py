import pytest
import torch
from torch import nn

import autogas
from autogas.datasets import Images
from autogas.spaces.diffusion.schedule import signal
from autogas.training.diffusion import LEVELS, DiffusionRecipe, DiffusionTask, denoising_loss
from autogas.training.loop import train
from autogas.training.machine import launch


def flat(levels, size=16):
    pixels = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None]
    return Images(pixels.expand(-1, 3, size, size).contiguous(), "flat")


def task(steps=60, **options):
    space = autogas.get_space("diffusion-unet", image_size=16)
    arch = next(space.enumerate())
    recipe = DiffusionRecipe(steps=steps, batch=8, learning_rate=5e-3, warmup=5, **options)
    return DiffusionTask(space.build(arch), flat([128] * 8), recipe, space)


class Nothing(nn.Module):
    """Says that there is no noise."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, time):
        return 0 * x * self.weight


class Grey(nn.Module):
    """Knows that every image is black, so what is not is noise."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, time):
        share = signal(time)[:, :, None, None]
        return (x + share.sqrt()) / (1 - share).sqrt() + 0 * self.weight


def test_the_loss_is_the_power_of_the_noise_that_is_not_found():
    assert denoising_loss(Nothing(), flat([0] * 20))["denoising-loss"] == pytest.approx(1, abs=0.02)
    assert denoising_loss(Grey(), flat([0] * 20))["denoising-loss"] == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_mean_of_its_halves_and_has_no_chance_in_it():
    model, images = Nothing(), flat([0, 100, 200])
    first, again = denoising_loss(model, images), denoising_loss(model, images)
    assert first == again
    halves = (first["denoising-loss-early"] + first["denoising-loss-late"]) / 2
    assert first["denoising-loss"] == pytest.approx(halves)
    assert LEVELS % 2 == 0


def test_training_learns_to_see_noise():
    trained = task()
    before = denoising_loss(trained.average, flat([128] * 8))["denoising-loss"]
    launch(lambda machine: train(trained, machine, steps=60, equal_until=60))
    after = denoising_loss(trained.average, flat([128] * 8))["denoising-loss"]
    assert after < before / 3
    assert float(trained.samples(4, torch.Generator().manual_seed(0)).mean()) == pytest.approx(0.5, abs=0.15)


def test_the_rate_rises_and_falls():
    recipe = DiffusionRecipe(steps=100, warmup=10, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(1 / 90)


def test_the_same_seed_gives_the_same_weights():
    first, second = task(3), task(3)
    for each in (first, second):
        launch(lambda machine, each=each: train(each, machine, steps=3, seed=4, equal_until=3))
    for a, b in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)
