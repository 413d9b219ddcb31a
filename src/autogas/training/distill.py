"""Distillation of a generator into a narrower one through its features (GAN Compression, Li et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.spaces.layers import Conv2d
from autogas.spaces.translation import TranslationSpace
from autogas.training.layout import memory_layout


class Teacher(nn.Module):
    """A trained generator, frozen, and the learned 1x1 convolutions that map a student's features to its own.

    Args:
        network: the teacher's.
        student: the generator in training.
        space: the student's space.
        seed: of the convolutions, which are initialised as the generator is.

    Raises:
        InputError: a teacher that does not take the student's inputs, or of another kind.
    """

    def __init__(self, network: nn.Module, student: nn.Module, space: TranslationSpace, *, seed: int = 0) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False).to(memory_format=memory_layout(network))
        self.points = space.distilled_at
        widths = [self._widths(model, space) for model in (student, network)]
        self.connectors = nn.ModuleList(Conv2d(a, b, 1) for a, b in zip(*widths, strict=True))
        with torch.no_grad():
            space.initialise(self.connectors, torch_generator("connectors", seed))

    def train(self, mode: bool = True) -> Teacher:
        """The convolutions' mode; the teacher itself always evaluates."""
        super().train(mode)
        self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The teacher's images and features."""
        with captured(self.network, self.points) as features:
            images = self.network(inputs)
        return images, features

    def loss(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Sum over points of the mean squared difference of mapped features of the student and the teacher's."""
        rows = zip(self.connectors, student, teacher, strict=True)
        return torch.stack([F.mse_loss(connect(s).float(), t.float()) for connect, s, t in rows]).sum()

    def _widths(self, model: nn.Module, space: TranslationSpace) -> list[int]:
        device = next(model.parameters()).device
        x = torch.zeros(1, *space.input_shapes[0], device=device)
        training = model.training
        try:
            with torch.no_grad(), captured(model.eval(), self.points) as features:
                model(x)
        except (AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"teacher: expected a {space.family} for inputs of {tuple(x.shape[1:])} ({reason})"
            ) from None
        finally:
            model.train(training)
        return [feature.shape[1] for feature in features]


@contextmanager
def captured(model: nn.Module, points: tuple[str, ...]) -> Iterator[list[Tensor]]:
    """A list that fills with the outputs of the named parts, in their order, when the model runs."""
    features: list[Tensor] = []

    def keep(_part: nn.Module, _inputs: object, output: Tensor) -> None:
        features.append(output)

    handles = [model.get_submodule(point).register_forward_hook(keep) for point in points]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()
