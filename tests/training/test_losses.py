import math

import numpy as np
import pytest
import torch

from autogas.training.losses import (
    ADVERSARIAL,
    discriminator_hinge_loss,
    discriminator_loss,
    feature_matching_loss,
    generator_hinge_loss,
    generator_loss,
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
