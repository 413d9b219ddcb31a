"""What can be trained: one entry for each family of spaces, which every workflow that trains asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from autogas import plugins
from autogas.errors import InputError
from autogas.settings import over
from autogas.spaces import by_name, get_space, list_spaces
from autogas.training.kinds.autoencoder import AutoencoderTraining
from autogas.training.kinds.base import Quality, Training, TrainingSettings
from autogas.training.kinds.diffusion import DiffusionTraining
from autogas.training.kinds.gan import DiscriminatorTraining, GeneratorTraining
from autogas.training.kinds.translation import TranslationTraining

TRAINED, BUILT = "eagan-generator", "transnas"
"""The spaces that are meant where none is named: to train one network, and to build a benchmark."""
TRAININGS: dict[str, type[Training[Any, Any]]] = {
    "transnas": AutoencoderTraining,
    "eagan-generator": GeneratorTraining,
    "eagan-discriminator": DiscriminatorTraining,
    "resnet-translation": TranslationTraining,
    "spade-translation": TranslationTraining,
    "diffusion-unet": DiffusionTraining,
}
"""By family of spaces."""


def register_training(family: str, training: type[Training[Any, Any]], *, replace: bool = False) -> None:
    """Say how networks of a family of spaces are trained.

    Args:
        family: ``Space.family`` of the spaces.
        training: the class of it.
        replace: take the place of one for that family without a warning.

    Warns:
        UserWarning: there was one, which is replaced.
    """
    plugins.enter(TRAININGS, "the training of", family, training, replace=replace)
    plugins.note(register_training, family, training, replace=True)


def training_of(space: str) -> type[Training[Any, Any]]:
    """How networks of a space are trained.

    Raises:
        InputError: an unknown space, or one whose networks cannot be trained.
    """
    plugins.load()
    family = get_space(space).family
    if family not in TRAININGS:
        able = ", ".join(name for name in list_spaces() if get_space(name).family in TRAININGS)
        raise InputError(f"space {space!r}: no training is known for it; networks can be trained of {able}")
    return TRAININGS[family]


def all_settings() -> list[type[TrainingSettings]]:
    """Classes of the settings of every kind of training, for whoever takes any of them."""
    plugins.load()
    return [settings for training in dict.fromkeys(TRAININGS.values()) for settings in training.all_settings()]


def read_training(given: Mapping[str, Any], beside: type[BaseModel]) -> Training[Any, Any]:
    """The training that settings by name ask for; ``space``, a name or the space itself, says of which kind it is.

    Args:
        given: settings of the training and of the workflow that trains.
        beside: class of the settings of that workflow.

    Raises:
        InputError: bad settings.
    """
    space, own = by_name(given["space"])
    if own:
        given = {**given, "space_settings": over(own, given)}
    return training_of(space).read({**given, "space": space}, beside)


__all__ = [
    "TRAININGS",
    "AutoencoderTraining",
    "DiffusionTraining",
    "DiscriminatorTraining",
    "GeneratorTraining",
    "Quality",
    "Training",
    "TrainingSettings",
    "TranslationTraining",
    "all_settings",
    "read_training",
    "register_training",
    "training_of",
]
