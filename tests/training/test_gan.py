import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from toys_of_training import TINY, noise_images, run, tiny_gan

from autogas.datasets import Images
from autogas.errors import InputError
from autogas.spaces import get_space
from autogas.training.augment import augmented
from autogas.training.gan import PUBLISHED_RECIPES, GANRecipe, GANTask, gan_task


def test_published_recipes():
    cifar10, stl10 = PUBLISHED_RECIPES["cifar10"], PUBLISHED_RECIPES["stl10"]
    for recipe in (cifar10, stl10):
        assert (recipe.beta1, recipe.beta2, recipe.average_decay, recipe.critic_steps) == (0.0, 0.9, 0.999, 5)
        assert recipe.discriminator_width == 128
        assert not recipe.linear_decay
    assert (cifar10.generator_batch, cifar10.discriminator_batch) == (80, 40)
    assert (stl10.generator_batch, stl10.discriminator_batch) == (256, 128)
    assert (cifar10.generator_lr, cifar10.discriminator_lr, cifar10.clip) == (2e-4, 2e-4, None)
    assert (stl10.generator_lr, stl10.discriminator_lr, stl10.clip) == (3e-4, 2e-4, 50)
    # 600 passes in batches of the discriminator, of which five make a step
    assert cifar10.steps == 600 * (50_000 // 40) / 5
    assert stl10.steps == 600 * math.ceil(105_000 / 128) / 5


@pytest.mark.parametrize(
    "fault", [{"steps": 0}, {"beta1": 1.0}, {"clip": 0}, {"generator_batch": 1}, {"average_decay": 1.0}, {"lr": 1e-3}]
)
def test_a_recipe_out_of_range_is_refused(fault):
    with pytest.raises(ValidationError, match=next(iter(fault))):
        GANRecipe(**fault)


class Pixels(nn.Module):
    """Latents to images, each pixel from all."""

    def __init__(self, size=4, latent=5):
        super().__init__()
        self.linear = nn.Linear(latent, 3 * size * size)
        self.size = size

    def forward(self, z):
        return self.linear(z).view(-1, 3, self.size, self.size).tanh()


class Fitness(nn.Sequential):
    def __init__(self, size=4, hidden=6):
        super().__init__(nn.Flatten(), nn.Linear(3 * size * size, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))


def simple(recipe, images=None, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GANTask(Pixels(), Fitness(), images or noise_images(8, 4), recipe, latent_shape=(5,))


def copies(module):
    return [weight.detach().clone() for weight in module.parameters()]


def test_one_step_is_that_by_hand():
    """With betas (0, 0.9) the first step of Adam moves each weight by the learning rate against its gradient."""
    recipe = GANRecipe(steps=1, generator_batch=3, discriminator_batch=4, critic_steps=1, generator_lr=0.01)
    recipe = recipe.model_copy(update={"discriminator_lr": 0.03, "average_decay": 0.9, "average_ramp": False})
    task = simple(recipe)
    generator, discriminator = task.generator, task.discriminator
    start, judged = copies(generator), copies(discriminator)

    numbers = torch.Generator().manual_seed(7)
    index = torch.randint(8, (4,), generator=numbers)
    real, z = task.images.batch(index), torch.randn(4, 5, generator=numbers)
    fooling = torch.randn(3, 5, generator=numbers)
    loss = torch.relu(1 - discriminator(real)).mean() + torch.relu(1 + discriminator(generator(z).detach())).mean()
    gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
    expected = [weight - 0.03 * g.sign() for weight, g in zip(judged, gradients, strict=True)]

    from autogas.training.machine import launch

    losses = launch(lambda machine: task.step(0, torch.Generator().manual_seed(7), machine))
    assert losses["discriminator_loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    for weight, value, gradient in zip(discriminator.parameters(), expected, gradients, strict=True):
        sure = gradient.abs() > 1e-5
        torch.testing.assert_close(weight.detach()[sure], value[sure])

    fresh = Pixels()
    fresh.load_state_dict(dict(zip(generator.state_dict(), start, strict=True)))
    against = -discriminator(fresh(fooling)).mean()
    assert losses["generator_loss"].item() == pytest.approx(against.item(), rel=1e-4)
    gradients = torch.autograd.grad(against, list(fresh.parameters()))
    rows = zip(generator.parameters(), task.average.parameters(), start, gradients, strict=True)
    for weight, mean, before, gradient in rows:
        sure = gradient.abs() > 1e-5
        torch.testing.assert_close(weight.detach()[sure], (before - 0.01 * gradient.sign())[sure])
        torch.testing.assert_close(mean, 0.9 * before + 0.1 * weight.detach())


def test_the_discriminator_is_updated_so_often_and_the_generator_once():
    task = tiny_gan(TINY.model_copy(update={"critic_steps": 3}))
    seen = []
    for name, optimizer in task.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, name=name: seen.append(name))
    run(task, steps=2)
    assert seen == 2 * ["discriminator", "discriminator", "discriminator", "generator"]


@pytest.mark.parametrize(("decay", "share"), [(False, [1, 1, 1, 1]), (True, [1, 0.75, 0.5, 0.25])])
def test_learning_rates_are_constant_or_fall_to_zero(decay, share):
    task = simple(GANRecipe(steps=4, generator_lr=0.2, discriminator_lr=0.1, linear_decay=decay))
    seen = []
    for optimizer in task.optimizers.values():
        optimizer.register_step_post_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    run(task, steps=4)
    by_step = np.reshape(seen, (4, 6))  # five updates of the discriminator and one of the generator
    np.testing.assert_allclose(by_step[:, :5], np.outer(share, 5 * [0.1]))
    np.testing.assert_allclose(by_step[:, 5], np.multiply(share, 0.2))


def test_gradients_of_both_networks_are_clipped():
    task = simple(TINY.model_copy(update={"clip": 1e-3}))
    run(task, steps=1)
    for network in (task.generator, task.discriminator):
        total = torch.cat([weight.grad.flatten() for weight in network.parameters()]).norm().item()
        assert total == pytest.approx(1e-3, rel=1e-3)


def test_samples_are_those_of_the_averaged_generator():
    task = simple(TINY)
    run(task, steps=2)
    latents = torch.randn(600, 5, generator=torch.Generator().manual_seed(3))
    expected = (task.average(latents) + 1) / 2
    torch.testing.assert_close(task.samples(600, torch.Generator().manual_seed(3)), expected)
    assert not torch.allclose(expected, (task.generator(latents) + 1) / 2, atol=1e-4)


@pytest.mark.parametrize("ramp", [False, True])
def test_the_average_of_few_steps_is_near_the_network_if_its_decay_ramps_up(ramp):
    recipe = TINY.model_copy(update={"steps": 20, "average_decay": 0.999, "average_ramp": ramp})
    task = simple(recipe)
    start = copies(task.generator)
    run(task, steps=20)
    rows = zip(start, task.generator.parameters(), task.average.parameters(), strict=True)
    ways = [((now - old).norm().item(), (now - mean).norm().item()) for old, now, mean in rows]
    moved, behind = map(sum, zip(*ways, strict=True))
    assert (behind < 0.5 * moved) == ramp


def test_a_generator_learns_the_colour_of_images():
    colour = torch.tensor([200, 120, 40], dtype=torch.uint8)
    images = Images(colour.view(1, 3, 1, 1).expand(16, 3, 4, 4).contiguous(), "one colour")
    recipe = GANRecipe(
        steps=400,
        generator_batch=16,
        discriminator_batch=16,
        critic_steps=1,
        generator_lr=1e-2,
        discriminator_lr=1e-2,
        average_decay=0.98,
        linear_decay=True,
    )
    task = simple(recipe, images)

    def distance():
        mean = task.samples(64, torch.Generator().manual_seed(0)).mean((0, 2, 3))
        return (mean - colour / 255).abs().max().item()

    before = distance()
    run(task, steps=400)
    assert distance() < 0.1 < 0.2 < before


def test_stl10_takes_a_step_at_48_pixels():
    task = tiny_gan(TINY.model_copy(update={"discriminator": "eagan-best-stl10", "clip": 50.0}), "stl10")
    (row,) = run(task, steps=1)
    assert math.isfinite(row["generator_loss"])
    samples = task.samples(3, torch.Generator().manual_seed(0))
    assert samples.shape == (3, 3, 48, 48)
    assert 0 <= samples.min() < samples.max() <= 1


def test_weights_are_in_channels_last():
    task = tiny_gan()
    run(task, steps=1)
    for module in task.modules.values():
        weights = [p for p in module.parameters() if p.dim() == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_an_unknown_discriminator_is_refused():
    space = get_space("eagan-generator", width=2)
    with pytest.raises(InputError, match="'best'"):
        gan_task(space, space.parse("eagan-best"), noise_images(), TINY.model_copy(update={"discriminator": "best"}))


def test_bfloat16_follows_float32():
    from autogas.training.loop import train
    from autogas.training.machine import launch

    losses = [
        launch(lambda machine: train(tiny_gan(), machine, steps=1), precision=precision)[0]["discriminator_loss"]
        for precision in ("32-true", "bf16-mixed")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.cuda
def test_cuda_follows_the_cpu():
    from autogas.training.loop import train
    from autogas.training.machine import launch

    rows = [launch(lambda machine: train(tiny_gan(), machine, steps=1), device=device)[0] for device in ("cpu", "cuda")]
    assert rows[0] == pytest.approx(rows[1], rel=1e-2)


@pytest.mark.cuda
@pytest.mark.parametrize("more", [{}, {"loss": "mmd"}, {"augment": "color,translation,cutout"}])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_graphs_train_as_single_kernels_do(precision, more):
    """Twelve steps: three before the capture, nine replayed, with a learning rate that falls and a clipped norm."""
    from autogas.training.loop import train
    from autogas.training.machine import launch

    recipe = TINY.model_copy(update={"steps": 12, "clip": 1.0, "generator_lr": 1e-3, **more})
    rows = [
        launch(
            lambda machine: train(tiny_gan(recipe), machine, steps=12, log_every=4),
            device="cuda",
            precision=precision,
            graphs=graphs,
        )
        for graphs in ("off", "on")
    ]
    for single, graph in zip(*rows, strict=True):
        assert graph == pytest.approx(single, rel=2e-2)


COMPILER_WARNS = "ignore:The .grad attribute of a Tensor that is not a leaf"


@pytest.mark.filterwarnings(COMPILER_WARNS)
def test_compiled_networks_train_as_others_do(monkeypatch):
    """By the tracing of the compiler, without the minute that making kernels takes; samples are never compiled."""
    from autogas.training.loop import train
    from autogas.training.machine import launch

    traced = []

    def compile_traced(module, **options):
        traced.append((type(module).__name__, options))
        module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_traced)
    rows = [
        launch(lambda machine: train(tiny_gan(), machine, steps=2, log_every=1), compile=compile)
        for compile in (False, True)
    ]
    assert [name for name, _ in traced] == ["Generator", "Discriminator"]
    for usual, compiled in zip(*rows, strict=True):
        assert compiled == pytest.approx(usual, rel=1e-4)


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore")  # the compiler's and Triton's own
def test_kernels_made_for_the_networks_train_as_others_do():
    from autogas.training.loop import train
    from autogas.training.machine import launch

    recipe = TINY.model_copy(update={"steps": 12})
    rows = [
        launch(lambda machine: train(tiny_gan(recipe), machine, steps=12, log_every=4), device="cuda", compile=compile)
        for compile in (False, True)
    ]
    for usual, compiled in zip(*rows, strict=True):
        assert compiled == pytest.approx(usual, rel=2e-2)


@pytest.mark.cuda
def test_a_graphed_training_continues_from_its_checkpoint(tmp_path):
    from autogas.training.loop import train
    from autogas.training.machine import launch

    recipe = TINY.model_copy(update={"steps": 12})
    straight = launch(lambda machine: train(tiny_gan(recipe), machine, steps=12, log_every=6), device="cuda")
    for steps in (6, 12):
        rows = launch(
            lambda machine, steps=steps: train(tiny_gan(recipe), machine, steps=steps, log_every=6, folder=tmp_path),
            device="cuda",
        )
    assert rows[-1] == pytest.approx(straight[-1], rel=2e-2)


@pytest.mark.parametrize("loss", ["hinge", "mmd"])
def test_augmented_steps_judge_what_augmentation_made(loss, monkeypatch):
    """Both networks see images that were augmented by numbers of their own, drawn ahead."""
    seen = []

    def spy(images, policy, numbers):
        seen.append((policy, len(images), numbers.clone()))
        return augmented(images, policy, numbers)

    monkeypatch.setattr("autogas.training.gan.augmented", spy)
    recipe = TINY.model_copy(update={"loss": loss, "augment": "color,translation", "steps": 2})
    rows = run(tiny_gan(recipe), steps=2, seed=0, log_every=1)
    assert all(math.isfinite(row["generator_loss"]) for row in rows)
    assert [count for _, count, _ in seen] == [4, 4, 8 if loss == "mmd" else 4] * 2
    assert {policy for policy, *_ in seen} == {"color,translation"}
    assert len({numbers.sum().item() for *_, numbers in seen}) == 6


def test_the_mmd_loss_takes_embeddings():
    task = tiny_gan(TINY.model_copy(update={"loss": "mmd"}))
    assert task.discriminator(torch.zeros(2, 3, 32, 32)).shape == (2, 16)
    assert tiny_gan().discriminator(torch.zeros(2, 3, 32, 32)).shape == (2, 1)


@pytest.mark.parametrize("fault", [{"augment": "blur"}, {"loss": "wasserstein"}])
def test_unknown_losses_and_augmentations_are_refused(fault):
    with pytest.raises(ValidationError, match=next(iter(fault))):
        GANRecipe(**fault)
