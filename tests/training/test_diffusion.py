import pytest
import torch
from PIL import Image
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


def recording():
    """A denoiser that notes what it gets, in a closure."""
    seen = []

    class Recorder(Nothing):
        def forward(self, x, time):
            seen.append((x.detach().clone(), time.clone()))
            return super().forward(x, time) + self.weight

    return Recorder(), seen


def steps(model, count, images=None, **options):
    recipe = DiffusionRecipe(steps=10, batch=32, **options)
    made = DiffusionTask(model, images or flat([0, 255]), recipe, autogas.get_space("diffusion-unet", image_size=16))
    rates = []

    def run(machine):
        for step in range(count):
            made.step(step, torch.Generator().manual_seed(step), machine)
            rates.append(made.optimizers["model"].param_groups[0]["lr"])

    launch(run)
    return made, rates


def test_the_rate_of_each_step_is_that_of_the_recipe():
    made, rates = steps(recording()[0], 6, warmup=3)
    assert rates == [made.recipe.rate(step) for step in range(6)]


def test_gradients_are_clipped():
    for clip in (1e-3, None):
        made, _ = steps(recording()[0], 1, clip=clip)
        norm = float(made.model.weight.grad.abs())
        assert (norm <= 1.001e-3) == (clip is not None)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_average_lags_behind_the_network(decay):
    made, _ = steps(recording()[0], 4, average_decay=decay)
    assert torch.equal(made.average.weight, made.model.weight) == (decay == 0)


@pytest.mark.parametrize("flip", [True, False])
def test_times_are_uniform_and_images_are_mirrored_where_asked(flip):
    pixels = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    pixels[..., 8:] = 255
    model, seen = recording()
    steps(model, 10, Images(pixels, "halves"), flip=flip)
    times = torch.cat([time for _, time in seen]).flatten()
    assert len(times.unique()) == len(times) == 320
    assert torch.histc(times, 4, 0, 1).min() > 50
    brighter = torch.cat([x[..., 8:].mean((1, 2, 3)) - x[..., :8].mean((1, 2, 3)) for x, _ in seen])[times < 0.5]
    assert (0.3 < float((brighter > 0).float().mean()) < 0.7) == flip
    assert flip or bool((brighter > 0).all())


def test_quality_is_measured_on_images_that_were_held_out(tmp_path, monkeypatch):
    from autogas.training.kinds import diffusion as kind

    measured = []
    real = kind.denoising_loss
    monkeypatch.setattr(kind, "denoising_loss", lambda *args, **o: measured.append(args[1]) or real(*args, **o))
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i,) * 3).save(folder / f"{i:02}.png")
    arch = str(next(autogas.get_space("diffusion-unet", image_size=16).enumerate()))
    given = {"images": str(folder), "held_out_images": 4, "samples": 4, "checkpoint_samples": 2}
    recipe = {"steps": 1, "batch": 2}
    settings = {"space": "diffusion-unet", "space_settings": {"image_size": 16}, "out": str(tmp_path / "run")}
    autogas.train(arch, recipe=recipe, **settings, **given)
    assert all(sorted(images.pixels[:, 0, 0, 0].tolist()) == [160, 180, 200, 220] for images in measured)
    assert measured
