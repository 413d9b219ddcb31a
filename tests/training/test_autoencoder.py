import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import nn

from autogas.datasets import Images
from autogas.spaces import get_space
from autogas.training.autoencoder import AutoencoderRecipe, AutoencoderTask, evaluate_autoencoder
from autogas.training.loop import train
from autogas.training.machine import launch


def train_autoencoder(model, images, recipe, *, seed=0):
    """Train in place; the mean absolute error over the last tenth of the steps."""
    task = AutoencoderTask(model, images, recipe, seed=seed)
    rows = launch(
        lambda machine: train(task, machine, steps=recipe.steps, seed=seed, log_every=1, equal_until=recipe.steps)
    )
    return np.mean([row["train_l1"] for row in rows[-max(1, recipe.steps // 10) :]])


@pytest.mark.parametrize(("width", "layout"), [(4, torch.contiguous_format), (8, torch.channels_last)])
def test_narrow_strided_convolutions_are_not_trained_in_channels_last(width, layout):
    space = get_space("transnas", base_width=width, decoder_divisor=16, stem_stride=1, image_size=32)
    model = space.build(space.parse("64-4342-basic"))
    recipe = AutoencoderRecipe(steps=1, batch_size=2)
    train_autoencoder(model, noise(4, 32), recipe)
    assert all(p.is_contiguous(memory_format=layout) for p in model.parameters() if p.dim() == 4)


def noise(n, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Images(torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8), "noise")


def gradients(n, size=16, seed=0):
    """Images that go from one colour to another."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randint(0, 256, (n, 3, 1, 1), generator=generator).float() for _ in range(2))
    t = torch.linspace(0, 1, size)
    return Images((left + (right - left) * t).expand(n, 3, size, size).round().to(torch.uint8), "gradients")


def grey(levels, size=16):
    pixels = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None]
    return Images(pixels.expand(-1, 3, size, size).contiguous(), "grey")


def best_constant(images):
    """Mean absolute error of the best single image for all, on [0, 1]."""
    pixels = images.pixels.float() / 255
    return float((pixels - pixels.median(0).values).abs().mean())


def tiny(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, padding=1),
            nn.Tanh(),
        )


class Scale(nn.Module):
    """A fixed distortion with one weight."""

    def __init__(self, scale, shift=0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.shift = shift

    def forward(self, x):
        return x * self.scale + self.shift


class Blur(nn.Module):
    def forward(self, x):
        return nn.functional.avg_pool2d(x, 3, 1, padding=1)


class Spy(nn.Module):
    """Remembers what it is shown."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone().contiguous())
        return self.model(x)


def state(model):
    return {key: value.clone().contiguous() for key, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def ssim(x, y):
    """SSIM of Wang et al. for two planes on [0, 1], mirrored at their borders so that every pixel has a window."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def local(plane):
        return ndimage.correlate(plane, window, mode="mirror")

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * (2 * covariance + c2) / (var_x + var_y + c2)).mean()


# Training


def test_a_tiny_autoencoder_learns_gradients():
    shown, held_out = gradients(64), gradients(32, seed=1)
    model = tiny()
    before_ssim, before_l1 = evaluate_autoencoder(model, held_out)
    train_l1 = train_autoencoder(model, shown, AutoencoderRecipe(steps=100, batch_size=16, learning_rate=1e-2))
    ssim, l1 = evaluate_autoencoder(model, held_out)
    assert l1 < before_l1 / 3
    assert l1 < best_constant(held_out) / 3
    assert train_l1 < best_constant(shown) / 3
    assert ssim > before_ssim + 0.2


def test_an_architecture_of_the_space_learns_gradients():
    space = get_space("transnas", base_width=8, decoder_divisor=16, stem_stride=1, image_size=16)
    held_out = gradients(32, seed=1)
    model = space.build(space.parse("64-3211-basic"))
    recipe = AutoencoderRecipe(steps=60, batch_size=16, learning_rate=1e-2)
    train_autoencoder(model, gradients(64), recipe)
    assert evaluate_autoencoder(model, held_out)[1] < 0.92 * best_constant(held_out)


RECIPE = AutoencoderRecipe(steps=5, batch_size=4)


def test_the_same_seed_gives_the_same_weights():
    first, second = tiny(), tiny()
    torch.manual_seed(1)
    loss = train_autoencoder(first, noise(8), RECIPE, seed=3)
    torch.manual_seed(2)
    assert train_autoencoder(second, noise(8), RECIPE, seed=3) == loss
    assert same(state(first), state(second))


def test_another_seed_gives_other_weights():
    first, second = tiny(), tiny()
    for seed, model in enumerate((first, second)):
        train_autoencoder(model, noise(8), RECIPE, seed=seed)
    assert not same(state(first), state(second))


def test_training_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    train_autoencoder(tiny(), noise(8), RECIPE)
    assert torch.equal(before, torch.get_rng_state())


def test_every_model_sees_the_same_batches():
    first, second, other = Spy(tiny()), Spy(Scale(0.5)), Spy(tiny())
    for model, seed in ((first, 1), (second, 1), (other, 2)):
        train_autoencoder(model, noise(32), RECIPE, seed=seed)
    assert [x.shape for x in first.seen] == [(4, 3, 16, 16)] * 5
    assert all(torch.equal(a, b) for a, b in zip(first.seen, second.seen, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.seen, other.seen, strict=True))


def test_batches_are_images_of_the_set():
    images = grey([0, 51, 255])
    spy = Spy(Scale(0.5))
    train_autoencoder(spy, images, AutoencoderRecipe(steps=10, batch_size=8))
    shown = torch.cat(spy.seen).unique().tolist()
    assert shown == pytest.approx([-1, -0.6, 1])


def test_a_batch_may_be_larger_than_the_set():
    spy = Spy(Scale(0.5))
    train_autoencoder(spy, grey([7]), AutoencoderRecipe(steps=1, batch_size=8))
    assert len(spy.seen[0]) == 8


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
def test_few_steps_are_enough(steps):
    model = tiny()
    before = state(model)
    loss = train_autoencoder(model, noise(8), AutoencoderRecipe(steps=steps, batch_size=4))
    assert 0 < loss < 1
    assert not same(before, state(model))
    assert int(model[1].num_batches_tracked) == steps


def test_train_l1_is_on_zero_to_one():
    # White images are 1 on [-1, 1], and a model that halves them is wrong by 0.5, a quarter of the range.
    recipe = AutoencoderRecipe(steps=20, batch_size=4, learning_rate=1e-12)
    assert train_autoencoder(Scale(0.5), grey([255]), recipe) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(("steps", "tail"), [(1, 1), (9, 1), (20, 2), (35, 3)])
def test_train_l1_is_the_mean_over_the_last_tenth(steps, tail):
    class Worse(nn.Module):
        """Wrong by 0.01 more in each step."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))
            self.step = 0

        def forward(self, x):
            self.step += 1
            return x + 0.01 * self.step + 0 * self.weight

    recipe = AutoencoderRecipe(steps=steps, batch_size=2)
    expected = np.mean([0.01 * step for step in range(steps - tail + 1, steps + 1)]) / 2
    assert train_autoencoder(Worse(), noise(4), recipe) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("peak", [1e-3, 1e-2])
def test_the_rate_rises_to_its_peak_and_falls(peak):
    # The gradient of a lone weight far from its optimum is constant, so that Adam moves it by the rate of each step.
    class Remember(Scale):
        def forward(self, x):
            places.append(float(self.scale.detach()))
            return super().forward(x)

    places = []
    model = Remember(-5.0)
    train_autoencoder(model, grey([255]), AutoencoderRecipe(steps=50, batch_size=2, learning_rate=peak))
    rates = np.diff([*places, float(model.scale.detach())])
    assert rates.max() == pytest.approx(peak, rel=0.01)
    assert rates.argmax() == 14  # three tenths of the steps
    assert (np.diff(rates)[:14] > -1e-6).all()
    assert (np.diff(rates)[14:] < 1e-6).all()
    assert rates[-1] < peak / 100


def test_training_minimises_the_absolute_error():
    # The best constant for the absolute error is the median, for the squared one the mean.
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.level = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return self.level.expand_as(x)

    model = Constant()
    recipe = AutoencoderRecipe(steps=200, batch_size=64, learning_rate=5e-2)
    train_autoencoder(model, grey([255, 255, 255, 255, 0]), recipe)
    assert float(model.level.detach()) == pytest.approx(1, abs=0.02)


def test_training_switches_to_training_mode():
    model = tiny().eval()
    train_autoencoder(model, noise(8), RECIPE)
    assert all(module.training for module in model.modules())


# Evaluation


def test_a_perfect_reconstruction():
    assert evaluate_autoencoder(nn.Identity(), noise(5)) == pytest.approx((1, 0), abs=1e-6)


@pytest.mark.parametrize("images", [noise(5, 24), gradients(5, 24)], ids=["noise", "gradients"])
@pytest.mark.parametrize(
    "model", [Scale(0.7), Scale(0.8, 0.15), Scale(-1.0), Blur()], ids=["flat", "shift", "negative", "blur"]
)
def test_ssim_equals_its_definition(images, model):
    x = images.batch(torch.arange(5))
    target, output = (((t + 1) / 2).double().numpy() for t in (x, model(x).detach()))
    expected = np.mean([ssim(output[i, c], target[i, c]) for i in range(5) for c in range(3)])
    assert evaluate_autoencoder(model, images)[0] == pytest.approx(expected, abs=1e-3)


def test_ssim_of_two_constants_is_their_luminance():
    # Without variance all that is left is (2ab + c1) / (a² + b² + c1); here a = 1 and b = 0.75.
    value, _ = evaluate_autoencoder(Scale(0.5), grey([255]))
    assert value == pytest.approx((2 * 0.75 + 1e-4) / (1 + 0.75**2 + 1e-4), abs=1e-3)


def test_l1_is_on_zero_to_one():
    # 255 and 0 are wrong by 0.5 of 2, 51 (-0.6) by 0.3 of 2.
    _, l1 = evaluate_autoencoder(Scale(0.5), grey([255, 0, 51]))
    assert l1 == pytest.approx((0.25 + 0.25 + 0.15) / 3, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 100])
def test_the_mean_does_not_depend_on_the_size_of_a_batch(batch_size):
    images, model = noise(5, 24), Scale(0.7, 0.1)
    whole = evaluate_autoencoder(model, images, batch_size=5)
    assert evaluate_autoencoder(model, images, batch_size=batch_size) == pytest.approx(whole, abs=1e-5)


def test_evaluation_changes_no_weight_and_no_statistic():
    model = tiny()
    train_autoencoder(model, noise(8), RECIPE)
    before = state(model)
    first = evaluate_autoencoder(model, noise(6, seed=1))
    assert same(before, state(model))
    assert evaluate_autoencoder(model, noise(6, seed=1)) == first


def test_evaluation_uses_the_running_statistics():
    model = tiny()
    nn.init.constant_(model[1].running_mean, 3.0)
    images = noise(4)
    _, l1 = evaluate_autoencoder(model, images)
    x = images.batch(torch.arange(4))
    with torch.no_grad():
        y = model[4](model[3](model[2]((model[0](x) - 3) / (1 + model[1].eps) ** 0.5)))
    assert l1 == pytest.approx(float((y - x).abs().mean()) / 2, abs=1e-5)


def test_evaluation_builds_no_graph():
    model = Spy(tiny())
    outputs = []
    model.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    evaluate_autoencoder(model, noise(2))
    assert [output.requires_grad for output in outputs] == [False]


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"batch_size": 1},
        {"learning_rate": 0},
        {"learning_rate": -1e-3},
        {"beta1": 1},
        {"beta1": -0.1},
        {"momentum": 0.9},
        {"steps": "many"},
    ],
    ids=str,
)
def test_a_bad_recipe_names_its_field(bad):
    with pytest.raises(ValidationError) as error:
        AutoencoderRecipe(**bad)
    assert [entry["loc"] for entry in error.value.errors()] == [tuple(bad)]


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError):
        AutoencoderRecipe().steps = 5
