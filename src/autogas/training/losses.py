"""Losses of adversarial training: what a discriminator and a generator minimise, from logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Scales = Sequence[Sequence[Tensor]]
"""What a discriminator of images gives: for each scale the features of its layers, the last being the logits."""


def discriminator_hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``mean relu(1 - D(x)) + mean relu(1 + D(G(z)))`` of logits, 0 or more (Lim & Ye, arXiv:1705.02894).

    Examples:
        >>> float(discriminator_hinge_loss(torch.tensor([2.0, 0.5]), torch.tensor([-0.5, -3.0])))
        0.5
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_hinge_loss(fake: Tensor) -> Tensor:
    """``-mean D(G(z))`` of logits.

    Examples:
        >>> float(generator_hinge_loss(torch.tensor([2.0, 1.0])))
        -1.5
    """
    return -fake.mean()


def discriminator_bce_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``-(mean log s(D(x)) + mean log(1 - s(D(G(z))))) / 2``, s the logistic function (Goodfellow et al., 2014).

    Examples:
        >>> round(float(discriminator_bce_loss(torch.zeros(1), torch.zeros(1))), 6)  # log 2
        0.693147
    """
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def generator_bce_loss(fake: Tensor) -> Tensor:
    """``-mean log s(D(G(z)))``, the form that does not saturate.

    Examples:
        >>> round(float(generator_bce_loss(torch.zeros(1))), 6)  # log 2
        0.693147
    """
    return F.softplus(-fake).mean()


def discriminator_least_squares_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``(mean (D(x) - 1)² + mean D(G(z))²) / 2`` (LSGAN, Mao et al., ICCV 2017).

    Examples:
        >>> float(discriminator_least_squares_loss(torch.tensor([3.0]), torch.tensor([1.0])))
        2.5
    """
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def generator_least_squares_loss(fake: Tensor) -> Tensor:
    """``mean (D(G(z)) - 1)²``, as CycleGAN has it.

    Examples:
        >>> float(generator_least_squares_loss(torch.tensor([3.0])))
        4.0
    """
    return (fake - 1).square().mean()


SMALLEST, LARGEST = 0.25, 4.0
"""Squared distances of embeddings beyond which a discriminator is not asked to bring generated images together, or to
drive real ones apart."""


def discriminator_repulsive_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``mean k(r, r') - mean k(f, f')`` over different images (Wang, Sun & Halgamuge, ICLR 2019, arXiv:1812.09916).

    The kernel is ``exp(-|a - b|² / 2)``, bounded: squared distances of real images count up to 4, of generated ones
    from 0.25.

    Args:
        real: embeddings of real images, ``[n, d]``, 2 or more.
        fake: of generated ones.

    Examples:
        >>> same, apart = torch.zeros(2, 3), torch.tensor([[0.0], [9.0]]).expand(2, 3)
        >>> round(float(discriminator_repulsive_loss(apart, same)), 6)  # exp(-4/2) - exp(-0.25/2)
        -0.747162
    """
    return _kernel_mean(real, largest=LARGEST) - _kernel_mean(fake, smallest=SMALLEST)


def generator_mmd_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``mean k(f, f') + mean k(r, r') - 2 mean k(r, f)``: squared maximum mean discrepancy of embeddings ``[n, d]``.

    The kernel is ``exp(-|a - b|² / 2)``; pairs of an image with itself are left out.

    Examples:
        >>> float(generator_mmd_loss(torch.zeros(2, 3), torch.zeros(2, 3)))
        0.0
    """
    across = torch.exp(-_squared_distances(real, fake) / 2).mean()
    return _kernel_mean(fake) + _kernel_mean(real) - 2 * across


def _kernel_mean(x: Tensor, smallest: float = 0.0, largest: float | None = None) -> Tensor:
    """Mean of the kernel over pairs of different rows, with squared distances between bounds."""
    kernel = torch.exp(-_squared_distances(x, x).clamp(smallest, largest) / 2)
    count = len(x)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    centre = b.mean(0)  # a common offset would take the digits of what sets rows apart
    a, b = a - centre, b - centre
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)


@dataclass(frozen=True)
class AdversarialLoss:
    """Both sides of a game.

    Attributes:
        discriminator: logits of real and of generated images to a scalar.
        generator: logits of generated images to a scalar.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


ADVERSARIAL: Mapping[str, AdversarialLoss] = {
    "hinge": AdversarialLoss(discriminator_hinge_loss, generator_hinge_loss),
    "bce": AdversarialLoss(discriminator_bce_loss, generator_bce_loss),
    "lsgan": AdversarialLoss(discriminator_least_squares_loss, generator_least_squares_loss),
}


def discriminator_loss(name: str, real: Scales, fake: Scales) -> Tensor:
    """The named loss of a discriminator, mean over its scales."""
    loss = ADVERSARIAL[name].discriminator
    return torch.stack([loss(r[-1].float(), f[-1].float()) for r, f in zip(real, fake, strict=True)]).mean()


def generator_loss(name: str, fake: Scales) -> Tensor:
    """The named loss of a generator, mean over the discriminator's scales."""
    loss = ADVERSARIAL[name].generator
    return torch.stack([loss(f[-1].float()) for f in fake]).mean()


def feature_matching_loss(real: Scales, fake: Scales) -> Tensor:
    """Mean absolute difference of features, summed over layers but the logits, mean over scales (pix2pixHD, CVPR 2018).

    No gradient flows to ``real``.

    Examples:
        >>> one, three, logits = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0), torch.zeros(1)
        >>> float(feature_matching_loss([[one, one, logits]], [[three, one, logits]]))
        2.0
    """
    terms = [
        torch.stack([F.l1_loss(b.float(), a.detach().float()) for a, b in zip(r[:-1], f[:-1], strict=True)]).sum()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()
