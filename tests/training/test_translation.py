import copy

import numpy as np
import pytest
import torch
from toys_of_training import run
from toys_of_translation import RECIPES, RESNET, SPACES, tiny_data, tiny_teacher, tiny_translation

from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.training.checkpoint import load_tensors, state_tensors
from autogas.training.cyclegan import CycleGANRecipe
from autogas.training.gaugan import GauGANRecipe, plain
from autogas.training.loop import CHECKPOINT_FILE
from autogas.training.machine import launch
from autogas.training.pix2pix import Pix2PixRecipe
from autogas.training.translation import Translated, TranslationRecipe, build_discriminator, learning_rate_share

NAMES = ("pix2pix", "cyclegan", "gaugan")
EVERY = {"log_every": 1, "checkpoint_every": 2, "equal_until": 6}


def drawn(task, step=0):
    return launch(lambda machine: task.draw(torch_generator("train", 0, step), machine))


def mean(x):
    return x.mean().item()


def hinge(x):
    return mean(torch.relu(1 - x))


# Recipes


def test_published_recipes():
    pix2pix, cyclegan, gaugan = Pix2PixRecipe(), CycleGANRecipe(), GauGANRecipe()
    assert [r.loss for r in (pix2pix, cyclegan, gaugan)] == ["hinge", "lsgan", "hinge"]
    assert [r.discriminator_width for r in (pix2pix, cyclegan, gaugan)] == [128, 64, 64]
    assert [r.batch for r in (pix2pix, cyclegan, gaugan)] == [1, 1, 16]
    assert [r.distill_weight for r in (pix2pix, cyclegan, gaugan)] == [1, 0.01, 10]
    assert [(r.beta1, r.beta2) for r in (pix2pix, cyclegan, gaugan)] == [(0.5, 0.999), (0.5, 0.999), (0, 0.9)]
    assert [r.generator_lr for r in (pix2pix, cyclegan, gaugan)] == [2e-4, 2e-4, 1e-4]
    assert [r.discriminator_lr for r in (pix2pix, cyclegan, gaugan)] == [2e-4, 2e-4, 4e-4]
    assert (pix2pix.l1_weight, cyclegan.l1_weight) == (100, 10)
    assert (cyclegan.cycle_weight, cyclegan.identity_weight, cyclegan.pool) == (10, 0.5, 50)
    assert (gaugan.feature_weight, gaugan.perceptual_weight) == (10, 10)
    assert [round(256 * r.enlarge) for r in (pix2pix, cyclegan, gaugan)] == [286, 286, 256]


def test_passes_become_steps():
    data = tiny_data("cyclegan", count=30)
    assert TranslationRecipe(passes=10, batch=4).with_steps(data).steps == 75
    assert TranslationRecipe(passes=10, steps=3).with_steps(data).steps == 3


def test_rates_are_constant_and_then_fall_on_a_line():
    """200 passes constant, 200 linear, as CycleGAN's super-net: the rate at pass n is (400 - n) / 200."""
    shares = [learning_rate_share(step, 400, 0.5) for step in range(400)]
    assert shares[:201] == [1.0] * 201
    np.testing.assert_allclose(shares[200:], (400 - np.arange(200, 400)) / 200)
    assert [learning_rate_share(step, 3, 1.0) for step in range(3)] == [1, 1, 1]
    assert learning_rate_share(2, 4, 0.0) == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_both_optimisers_follow_the_schedule(name):
    recipe = RECIPES[name].model_copy(update={"steps": 4, "generator_lr": 0.2e-3, "discriminator_lr": 0.1e-3})
    task, seen = tiny_translation(name, recipe), {"generator": [], "discriminator": []}
    for key, optimizer in task.optimizers.items():
        optimizer.register_step_post_hook(lambda o, *_, key=key: seen[key].append(o.param_groups[0]["lr"]))
    run(task, steps=4, equal_until=4)
    np.testing.assert_allclose(seen["generator"], [0.2e-3, 0.2e-3, 0.2e-3, 0.1e-3])
    np.testing.assert_allclose(seen["discriminator"], [0.1e-3, 0.1e-3, 0.1e-3, 0.05e-3])


# Steps


def test_pairs_are_drawn_together_and_domains_apart():
    pairs = tiny_translation("pix2pix")
    pairs.data = type(pairs.data)(pairs.data.inputs, pairs.data.inputs, True, "", "train")
    for step in range(5):
        assert torch.equal(*drawn(pairs, step))
    apart = tiny_translation("cyclegan")
    apart.data = type(apart.data)(apart.data.inputs, apart.data.inputs, False, "", "train")
    assert not all(torch.equal(*drawn(apart, step)) for step in range(5))


def test_a_step_of_pix2pix_is_that_by_hand():
    recipe = RECIPES["pix2pix"].model_copy(update={"generator_lr": 1e-3, "discriminator_lr": 3e-3, "l1_weight": 7.0})
    task, fresh = tiny_translation("pix2pix", recipe), tiny_translation("pix2pix", recipe)
    (row,) = run(task, steps=1)
    x, y = drawn(fresh)
    generator, discriminator = fresh.generator, fresh.discriminator

    def logits(image):
        return discriminator(torch.cat([x, image], 1))[0][-1]

    fake = generator(x)
    loss = torch.relu(1 - logits(y)).mean() + torch.relu(1 + logits(fake.detach())).mean()
    assert row["discriminator_loss"] == pytest.approx(loss.item(), rel=1e-5)
    moves(discriminator, task.discriminator, torch.autograd.grad(loss, list(discriminator.parameters())), 3e-3)
    discriminator.load_state_dict(task.discriminator.state_dict())
    against, l1 = -logits(fake).mean(), (fake - y).abs().mean()
    assert row["generator_loss"] == pytest.approx(against.item(), rel=1e-3, abs=1e-5)
    assert row["l1_loss"] == pytest.approx(l1.item(), rel=1e-5)
    moves(generator, task.generator, torch.autograd.grad(against + 7 * l1, list(generator.parameters())), 1e-3)


def moves(before, after, gradients, rate):
    """The first step of Adam moves each weight by the learning rate against its gradient."""
    sure = 0
    for old, new, gradient in zip(before.parameters(), after.parameters(), gradients, strict=True):
        large = gradient.abs() > 1e-4
        torch.testing.assert_close(new.detach()[large], (old - rate * gradient.sign()).detach()[large])
        sure += int(large.sum())
    assert sure > 100


def test_a_step_of_cyclegan_is_that_by_hand():
    recipe = RECIPES["cyclegan"].model_copy(update={"pool": 0, "cycle_weight": 3.0, "identity_weight": 0.25})
    task, fresh = tiny_translation("cyclegan", recipe), tiny_translation("cyclegan", recipe)
    (row,) = run(task, steps=1)
    a, b = drawn(fresh)
    g, f = fresh.generator, fresh.reverse
    d_b, d_a = (lambda x, d=d: d(x)[0][-1] for d in (fresh.discriminator, fresh.reverse_discriminator))
    fooling = ((d_b(g(a)) - 1) ** 2).mean() + ((d_a(f(b)) - 1) ** 2).mean()
    cycle = (f(g(a)) - a).abs().mean() + (g(f(b)) - b).abs().mean()
    same = (g(b) - b).abs().mean() + (f(a) - a).abs().mean()
    expected = {
        "generator_loss": fooling,
        "cycle_loss": cycle,
        "identity_loss": same,
        "discriminator_loss": (((d_b(b) - 1) ** 2).mean() + (d_b(g(a)) ** 2).mean()) / 2,
        "reverse_discriminator_loss": (((d_a(a) - 1) ** 2).mean() + (d_a(f(b)) ** 2).mean()) / 2,
    }
    assert row == pytest.approx({"step": 1, **{name: value.item() for name, value in expected.items()}}, rel=1e-4)
    total = fooling + 3 * cycle + 0.75 * same
    for name, network in (("generator", g), ("reverse", f)):
        gradients = torch.autograd.grad(total, list(network.parameters()), retain_graph=True)
        moves(network, task.modules[name], gradients, 2e-4)
    assert any(not torch.equal(x, y) for x, y in zip(g.parameters(), f.parameters(), strict=True))


def test_the_discriminators_of_cyclegan_are_shown_the_pool():
    task = tiny_translation("cyclegan")
    run(task, steps=6)
    assert task.pool.count == task.reverse_pool.count == 3
    assert not torch.equal(task.pool.images, task.reverse_pool.images)
    task.pool.exchange = lambda images, generator: torch.zeros_like(images)
    shown = []
    task.discriminator.register_forward_hook(lambda module, inputs, output: shown.append(inputs[0]))
    launch(lambda machine: task.step(5, torch.Generator().manual_seed(0), machine))
    assert [bool((x == 0).all()) for x in shown] == [False, False, True]  # fooling, real, pool


def test_losses_of_gaugan_are_those_by_hand():
    recipe = RECIPES["gaugan"].model_copy(update={"discriminator_lr": 1e-9})  # so that the generator meets the same
    task, fresh = tiny_translation("gaugan", recipe), tiny_translation("gaugan", recipe)
    (row,) = run(task, steps=1, equal_until=1)
    x, y = drawn(fresh)
    with torch.no_grad():
        fake = fresh.generator(x)
        for layer in fresh.discriminator.modules():  # as often as in the step: once for each of four passes
            if hasattr(layer, "reset_vectors"):
                layer.eval()
        real, seen = (fresh.discriminator(torch.cat([x, image], 1)) for image in (y, fake))
    assert len(real) == 2
    against = np.mean([hinge(r[-1]) + hinge(-s[-1]) for r, s in zip(real, seen, strict=True)])
    assert row["discriminator_loss"] == pytest.approx(against, rel=0.02)
    assert row["generator_loss"] == pytest.approx(-np.mean([mean(s[-1]) for s in seen]), rel=0.02, abs=2e-3)
    features = [
        sum(mean((a - b).abs()) for a, b in zip(r[:-1], s[:-1], strict=True)) for r, s in zip(real, seen, strict=True)
    ]
    assert row["feature_loss"] == pytest.approx(np.mean(features), rel=0.02)


@pytest.mark.parametrize(
    ("name", "weight", "term", "options"),
    [
        ("gaugan", "feature_weight", "feature_loss", {}),
        ("cyclegan", "l1_weight", "l1_loss", {"teacher": True}),
        ("pix2pix", "l1_weight", "l1_loss", {}),
    ],
)
def test_what_images_should_show_counts_as_the_recipe_says(name, weight, term, options):
    recipe = RECIPES[name].model_copy(update={weight: 3.25})
    teacher = {"teacher": tiny_teacher(name)} if options else {}
    task = tiny_translation(name, recipe, **teacher)
    index = torch.arange(2)
    x, y = task.data.inputs.batch(index), task.data.targets.batch(index)
    fake, taught = task.generator(x), y + 1
    batch = Translated(inputs=x, targets=y, fake=fake, seen=task.judged(x, fake), taught=taught)
    found, loss = task.content(batch)[term]
    assert found == 3.25
    assert loss.item() > 0
    if term == "l1_loss":
        aim = taught if options else y
        assert loss.item() == pytest.approx((fake - aim).abs().mean().item(), rel=1e-5)


# Spectral normalisation of GauGAN


def test_the_exported_generator_is_plain_and_gives_the_same_images():
    task = tiny_translation("gaugan")
    run(task, steps=2, equal_until=2)
    space = SPACES["gaugan"]
    model = space.build(next(space.enumerate()))
    model.load_state_dict(task.exported.state_dict())  # the space's own network
    maps = task.held_out.inputs.batch(torch.arange(3))
    torch.testing.assert_close((model.eval()(maps) + 1) / 2, task.translate(maps))
    assert "blocks.head_0.conv_0.u" in task.generator.state_dict()
    norms = [
        torch.linalg.svdvals(b.conv_0.weight.flatten(1)).max().item() for b in plain(task.generator).blocks.values()
    ]
    assert norms == pytest.approx([1] * 7, abs=0.15)


def test_students_are_not_normalised_unless_it_is_said():
    teacher = tiny_teacher("gaugan")
    said = RECIPES["gaugan"].model_copy(update={"spectral": True})
    counts = [
        sum(
            key.endswith("conv_0.u")
            for key in tiny_translation("gaugan", recipe, teacher=teacher).generator.state_dict()
        )
        for recipe in (RECIPES["gaugan"], said)
    ]
    assert counts == [0, 7]


# Initialisation, samples


def test_discriminators_start_as_published_and_differ():
    first = build_discriminator(RESNET, 6, TranslationRecipe())
    weights = torch.cat([p.flatten() for p in first.parameters() if p.dim() == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert all(bool((p == 0).all()) for p in first.parameters() if p.dim() == 1)
    other = build_discriminator(RESNET, 6, TranslationRecipe(), name="other")
    assert not torch.equal(first.scales[0].layers[0][0].weight, other.scales[0].layers[0][0].weight)


def test_a_discriminator_too_deep_for_the_images_is_refused():
    with pytest.raises(InputError, match="discriminator_layers=4: images of 24x24 are too small"):
        tiny_translation("pix2pix", RECIPES["pix2pix"].model_copy(update={"discriminator_layers": 4}))


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_translations_of_held_out_inputs(name):
    task = tiny_translation(name)
    run(task, steps=1, equal_until=1)
    samples = task.samples(7, torch.Generator().manual_seed(0))
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    model = copy.deepcopy(task.generator).eval()
    with torch.no_grad():
        expected = (model(task.held_out.inputs.values[torch.cat([order, order[:2]])]) + 1) / 2
    torch.testing.assert_close(samples, expected)
    assert task.generator.training


# Resume


@pytest.mark.parametrize("student", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_equals_an_undisturbed_one(name, student, tmp_path):
    options = {"teacher": tiny_teacher(name)} if student else {}
    undisturbed = tiny_translation(name, **options)
    rows = run(undisturbed, steps=6, **EVERY)

    def stop(rows):
        if rows[-1]["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_translation(name, **options), steps=6, folder=tmp_path, observe=stop, **EVERY)
    assert load_tensors(tmp_path / CHECKPOINT_FILE)[1]["step"] == 4
    again = tiny_translation(name, seed=9, **options)  # whatever its weights are, the checkpoint's count
    assert run(again, steps=6, folder=tmp_path, **EVERY) == rows
    a, b = (state_tensors(task.modules, task.optimizers) for task in (again, undisturbed))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    run(tiny_translation("pix2pix"), steps=1, folder=tmp_path)
    wider = RECIPES["pix2pix"].model_copy(update={"discriminator_width": 5})
    with pytest.raises(InputError, match="the checkpoint is of another discriminator"):
        run(tiny_translation("pix2pix", wider), steps=2, folder=tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_follows_float32(name):
    from autogas.training.loop import train

    losses = [
        launch(lambda machine: train(tiny_translation(name), machine, steps=1, equal_until=1), precision=precision)[0]
        for precision in ("32-true", "bf16-mixed")
    ]
    assert losses[0]["discriminator_loss"] != losses[1]["discriminator_loss"]
    assert losses[0] == pytest.approx(losses[1], rel=0.1, abs=0.02)


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_graphs_translate_as_single_kernels_do(name):
    """Eight steps: three before the capture, five replayed."""
    from autogas.training.loop import train

    rows = [
        launch(
            lambda machine: train(tiny_translation(name), machine, steps=8, log_every=8), device="cuda", graphs=graphs
        )
        for graphs in ("off", "on")
    ]
    assert rows[1][-1] == pytest.approx(rows[0][-1], rel=5e-2)
