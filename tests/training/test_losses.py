import math

import numpy as np
import pytest
import torch

from autogas.training.losses import (
    ADVERSARIAL,
    discriminator_hinge_loss,
    discriminator_loss,
    discriminator_repulsive_loss,
    feature_matching_loss,
    generator_hinge_loss,
    generator_loss,
    generator_mmd_loss,
)


def logits(seed=0):
    return np.random.default_rng(seed).normal(0, 2, (2, 50))


def test_hinge_losses_are_their_formulas():
    real, fake = np.random.default_rng(0).normal(0, 2, (2, 50))
    by_hand = np.mean([max(0.0, 1 - x) for x in real]) + np.mean([max(0.0, 1 + x) for x in fake])
    loss = discriminator_hinge_loss(torch.from_numpy(real), torch.from_numpy(fake))
    assert loss.item() == pytest.approx(by_hand)
    assert generator_hinge_loss(torch.from_numpy(fake)).item() == pytest.approx(-fake.sum() / 50)


def test_hinge_gradients_stop_at_the_margin():
    real = torch.tensor([-3.0, 0.5, 1.5, 9.0], requires_grad=True)
    fake = torch.tensor([-3.0, -0.5, 1.5, 9.0], requires_grad=True)
    discriminator_hinge_loss(real, fake).backward()
    assert real.grad.tolist() == [-0.25, -0.25, 0, 0]
    assert fake.grad.tolist() == [0, 0.25, 0.25, 0.25]


def log_of_logistic(x):
    return -math.log(1 + math.exp(-x))


def test_cross_entropies_are_their_formulas():
    real, fake = logits()
    by_hand = -(np.mean([log_of_logistic(x) for x in real]) + np.mean([log_of_logistic(-x) for x in fake])) / 2
    loss = ADVERSARIAL["bce"]
    assert loss.discriminator(torch.from_numpy(real), torch.from_numpy(fake)).item() == pytest.approx(by_hand)
    assert loss.generator(torch.from_numpy(fake)).item() == pytest.approx(-np.mean([log_of_logistic(x) for x in fake]))


def test_least_squares_are_their_formulas():
    real, fake = logits()
    loss = ADVERSARIAL["lsgan"]
    by_hand = (sum((x - 1) ** 2 for x in real) / 50 + sum(x**2 for x in fake) / 50) / 2
    assert loss.discriminator(torch.from_numpy(real), torch.from_numpy(fake)).item() == pytest.approx(by_hand)
    assert loss.generator(torch.from_numpy(fake)).item() == pytest.approx(sum((x - 1) ** 2 for x in fake) / 50)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_generator_gains_where_the_discriminator_loses(name):
    real, fake = (torch.from_numpy(x).requires_grad_() for x in logits())
    ADVERSARIAL[name].generator(fake).backward()
    inside = fake.detach().abs() < 0.9  # where no loss has turned or is flat
    assert bool((fake.grad[inside] < 0).all())
    fake.grad = None
    ADVERSARIAL[name].discriminator(real, fake).backward()
    assert bool((real.grad[real.detach().abs() < 0.9] < 0).all())
    assert bool((fake.grad[(fake.detach() > 0) & inside] > 0).all())


def test_scales_count_alike_whatever_their_size():
    real = [[torch.full((1, 1, 4, 4), 3.0)], [torch.full((1, 1, 2, 2), 0.0)]]
    fake = [[torch.full((1, 1, 4, 4), 2.0)], [torch.full((1, 1, 2, 2), -2.0)]]
    assert discriminator_loss("hinge", real, fake).item() == (3 + 1) / 2
    assert generator_loss("hinge", fake).item() == 0
    assert discriminator_loss("lsgan", real, fake).item() == ((4 + 4) / 2 + (1 + 4) / 2) / 2
    assert generator_loss("lsgan", fake).item() == (1 + 9) / 2


def test_feature_matching_sums_layers_and_averages_scales():
    def scale(first, second):
        return [torch.full((1, 2, 4, 4), first), torch.full((1, 4, 2, 2), second), torch.full((1, 1), 100.0)]

    real = [[x.requires_grad_() for x in scale(1.0, 2.0)], scale(0.0, 0.0)]
    fake = [[x.requires_grad_() for x in scale(1.5, 5.0)], scale(-1.0, 0.25)]
    loss = feature_matching_loss(real, fake)
    assert loss.item() == ((0.5 + 3) + (1 + 0.25)) / 2
    loss.backward()
    assert real[0][0].grad is None
    assert fake[0][0].grad.unique().item() == pytest.approx(0.5 / 32)
    assert fake[0][2].grad is None


def mean_of_kernel(x, bound):
    """Over pairs of different rows, one by one."""
    pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
    return sum(math.exp(-bound(float((x[i] - x[j]).square().sum())) / 2) for i, j in pairs) / len(pairs)


def test_repulsive_losses_pair_by_pair():
    generator = torch.Generator().manual_seed(3)
    real, fake = (scale * torch.randn(7, 3, generator=generator) for scale in (1.5, 0.3))
    ours = discriminator_repulsive_loss(real, fake)
    expected = mean_of_kernel(real, lambda d: min(d, 4)) - mean_of_kernel(fake, lambda d: max(d, 0.25))
    assert float(ours) == pytest.approx(expected, rel=1e-5)
    across = sum(math.exp(-float((a - b).square().sum()) / 2) for a in real for b in fake) / 49
    whole = mean_of_kernel(real, float) + mean_of_kernel(fake, float) - 2 * across
    assert float(generator_mmd_loss(real, fake)) == pytest.approx(whole, rel=1e-5, abs=1e-7)


def test_a_repulsive_discriminator_drives_real_ones_apart_and_generated_ones_together():
    real, fake = torch.zeros(2, 2, requires_grad=True), torch.tensor([[0.0, 1.0], [0.0, -1.0]], requires_grad=True)
    moved = real + torch.tensor([[0.1, 0.0], [-0.1, 0.0]])
    discriminator_repulsive_loss(moved, fake).backward()
    assert real.grad[0, 0] < 0 < real.grad[1, 0]  # against the gradient they go further apart
    assert fake.grad[0, 1] > 0 > fake.grad[1, 1]


def test_the_mmd_loss_is_least_where_both_are_distributed_alike():
    generator = torch.Generator().manual_seed(5)
    real = torch.randn(300, 2, generator=generator) * torch.tensor([1.0, 0.4]) + torch.tensor([1.0, -1.0])
    points = torch.randn(300, 2, generator=generator)
    scale, moved = torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([scale, moved], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        generator_mmd_loss(real, points * scale + moved).backward()
        optimizer.step()
    torch.testing.assert_close(scale.detach(), torch.tensor([1.0, 0.4]), atol=0.15, rtol=0)
    torch.testing.assert_close(moved.detach(), torch.tensor([1.0, -1.0]), atol=0.15, rtol=0)


@pytest.mark.parametrize("loss", [generator_mmd_loss, discriminator_repulsive_loss])
def test_a_common_offset_of_embeddings_does_not_matter(loss):
    generator = torch.Generator().manual_seed(0)
    real, fake = (0.35 * torch.randn(40, 16, generator=generator) for _ in range(2))
    expected = loss(real.double(), fake.double())
    assert float(loss(real + 100, fake + 100)) == pytest.approx(float(expected), abs=1e-4)
