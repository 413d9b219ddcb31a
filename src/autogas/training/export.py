"""A trained generator as one safetensors file, whose header says in JSON which network it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.spaces import Space, get_space
from autogas.spaces.translation import TranslationSpace
from autogas.training.checkpoint import load_tensors, save_tensors

GENERATOR_FILE = "generator.safetensors"
WEIGHTS_SUFFIX = ".safetensors"
ABOUT = ("space", "space_settings", "arch")


def save_generator(
    path: Path, model: nn.Module, space: Space[Any], arch: Any, trained: Mapping[str, str] | None = None
) -> None:
    """Write the weights and what they belong to; the inverse of ``load_generator``.

    Args:
        path: the file.
        model: the network.
        space: its space.
        arch: its architecture.
        trained: what it was trained for, such as its ``task`` and ``direction``.
    """
    about = {"space": space.name, "space_settings": dict(space.settings), "arch": str(arch)}
    save_tensors(path, model.state_dict(), {**about, "trained": dict(trained or {})})


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network of any kind, in evaluation mode.

    Attributes:
        network: the module.
        space: its space.
        arch: its architecture.
        trained: what for: its ``task`` and ``direction``, as far as they are known.
    """

    network: nn.Module
    space: Space[Any]
    arch: Any
    trained: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)


class TrainedGenerator(TrainedNetwork):
    """A generator of images from latents, as ``autogas.evaluate_generator`` takes it."""

    @torch.no_grad()
    def __call__(self, count: int, generator: torch.Generator) -> Tensor:
        """Images ``[count, 3, H, W]`` in [0, 1]; latents are drawn on the CPU."""
        return self.space.images(self.network, count, generator)


class TrainedTranslator(TrainedNetwork):
    """A generator of images from images or label maps."""

    space: TranslationSpace

    def direction(self, asked: str | None = None) -> str:
        """The direction that the network was trained for; raises ``InputError`` when another one is ``asked``."""
        known = self.trained.get("direction", asked or "AtoB")
        if asked not in (None, known):
            raise InputError(f"--direction {asked}: the generator was trained {known}, which is accepted")
        return known

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Images ``[N, 3, H, W]`` in [0, 1] from inputs of the space: images in [-1, 1], or label maps."""
        images: Tensor = (self.network(inputs.to(next(self.network.parameters()).device)) + 1) / 2
        return images


def load_network(path: str | Path, *, device: str = "cpu") -> TrainedNetwork:
    """Read any network that was exported after training.

    Args:
        path: the file, or the folder of its training.
        device: where to run it.

    Raises:
        InputError: a file that cannot be read, or is none of these.
    """
    path = Path(path)
    model, space, arch, trained = _load(path / GENERATOR_FILE if path.is_dir() else path)
    return TrainedNetwork(model.to(device), space, arch, trained)


def load_generator(path: str | Path, *, device: str = "cpu") -> TrainedGenerator:
    """Read a generator of images from latents that was exported after training.

    Args:
        path: the file, or the folder of its training.
        device: where to run it.

    Raises:
        InputError: a file that cannot be read, or is no such generator.
    """
    found = load_network(path, device=device)
    if isinstance(found.space, TranslationSpace):
        raise InputError(
            f"generator {str(path)!r}: of {found.space.name}, which translates images: name its data with --data"
        )
    if not found.space.makes_images:
        raise InputError(f"generator {str(path)!r}: of {found.space.name}, expected one of images from latents")
    return TrainedGenerator(found.network, found.space, found.arch)


def load_translator(path: str | Path, *, device: str = "cpu") -> TrainedTranslator:
    """Read a generator of images from images or label maps that was exported after training.

    Args:
        path: the file, or the folder of its training.
        device: where to run it.

    Raises:
        InputError: a file that cannot be read, or is no such generator.
    """
    found = load_network(path, device=device)
    if not isinstance(found.space, TranslationSpace):
        raise InputError(f"generator {str(path)!r}: of {found.space.name}, expected one that translates images")
    return TrainedTranslator(found.network, found.space, found.arch, found.trained)


def _load(path: Path) -> tuple[nn.Module, Space[Any], Any, dict[str, str]]:
    tensors, about = load_tensors(path)
    if not all(name in about for name in ABOUT):
        raise InputError(f"generator {str(path)!r}: expected an exported generator, not a checkpoint")
    try:
        space = get_space(str(about["space"]), **about["space_settings"])
        arch = space.parse(str(about["arch"]))
        # Counted without memory, so that a header cannot ask for more weights than its file has.
        fits = space.cost(arch).params <= sum(tensor.numel() for tensor in tensors.values())
        trained = {str(name): str(value) for name, value in about.get("trained", {}).items()}
    except (TypeError, ValueError, RuntimeError, AttributeError, OverflowError, MemoryError) as error:
        raise InputError(f"generator {str(path)!r}: {(str(error).splitlines() or ['no architecture'])[0]}") from None
    if not fits:
        raise InputError(f"generator {str(path)!r}: it has fewer weights than its architecture {arch}")
    model = space.build(arch)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"generator {str(path)!r}: {str(error).splitlines()[-1].strip()}") from None
    return model, space, arch, trained
