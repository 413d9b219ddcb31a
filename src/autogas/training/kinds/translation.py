"""Training of generators that translate images or label maps: pix2pix, CycleGAN and GauGAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from autogas.datasets.domains import LabelMaps
from autogas.datasets.translation import Layout, TranslationData, load_data
from autogas.errors import InputError, unknown
from autogas.metrics import FeatureStatistics
from autogas.metrics.evaluation import Evaluation
from autogas.metrics.translation import (
    SegmentationSettings,
    Translate,
    measure_translation,
    square_of,
    target_statistics,
)
from autogas.runs import progress
from autogas.seeding import torch_generator
from autogas.settings import on_command_line
from autogas.spaces import get_space
from autogas.spaces.translation import TranslationSpace
from autogas.training.cyclegan import CycleGANRecipe, cyclegan_task
from autogas.training.export import load_translator
from autogas.training.gaugan import GauGANRecipe, gaugan_task
from autogas.training.kinds.base import ComparedSettings, ComparedTraining
from autogas.training.pictures import in_colours, sample_grid
from autogas.training.pix2pix import Pix2PixRecipe, pix2pix_task
from autogas.training.translation import TranslationRecipe, TranslationTask

GRID_INPUTS = 24
GRID_COLUMNS = 4


class TranslationSettings(ComparedSettings, SegmentationSettings):
    """What determines the training of a translation."""

    task: Literal["pix2pix", "cyclegan", "gaugan"] = Field(description="what is trained; gaugan of spade-translation")
    data: str = Field(description="folder of the data set")
    direction: Literal["AtoB", "BtoA"] = Field("AtoB", description="of paired and unpaired data")
    teacher: str | None = Field(None, description="a trained generator, or the folder of its training, to learn from")
    recipe: TranslationRecipe = Field(description="how to train", json_schema_extra=on_command_line(always=True))
    checkpoint_samples: int | None = Field(None, ge=2, description="inputs that are translated meanwhile; None: all")
    samples: int | None = Field(None, ge=2, description="inputs that are translated at the end; None: all")


class Pix2PixSettings(TranslationSettings):
    """Those of pix2pix."""

    recipe: Pix2PixRecipe = Field(
        Pix2PixRecipe(), description="how to train", json_schema_extra=on_command_line(always=True)
    )


class CycleGANSettings(TranslationSettings):
    """Those of CycleGAN."""

    recipe: CycleGANRecipe = Field(
        CycleGANRecipe(), description="how to train", json_schema_extra=on_command_line(always=True)
    )


class GauGANSettings(TranslationSettings):
    """Those of GauGAN."""

    recipe: GauGANRecipe = Field(
        GauGANRecipe(), description="how to train", json_schema_extra=on_command_line(always=True)
    )


@dataclass(frozen=True)
class TranslationKind:
    """A task of translation.

    Attributes:
        family: of the space of its generators.
        layout: of its data; see ``autogas.datasets.translation``.
        settings: what determines its training.
        task: from space, architecture, training data, held-out data and recipe to what the loop trains.
    """

    family: str
    layout: Layout
    settings: type[TranslationSettings]
    task: Callable[..., TranslationTask]


TASKS: Mapping[str, TranslationKind] = {
    "pix2pix": TranslationKind("resnet-translation", "paired", Pix2PixSettings, pix2pix_task),
    "cyclegan": TranslationKind("resnet-translation", "unpaired", CycleGANSettings, cyclegan_task),
    "gaugan": TranslationKind("spade-translation", "labels", GauGANSettings, gaugan_task),
}


class TranslationTraining(ComparedTraining[TranslationSettings, TranslationTask]):
    """A generator from images or label maps; the Fréchet distance to the target domain is quality."""

    equal_until = 1000
    compared_with = "target images"
    space: TranslationSpace

    @classmethod
    def settings_class(cls, given: Mapping[str, Any]) -> type[TranslationSettings]:
        """That of the task."""
        return TASKS[given["task"]].settings

    @classmethod
    def all_settings(cls) -> list[type[TranslationSettings]]:
        """Those of every task."""
        return [kind.settings for kind in TASKS.values()]

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """A space that only one task trains names the task.

        Raises:
            InputError: no task, or one of another space.
        """
        family = get_space(given["space"]).family
        fitting = [name for name, kind in TASKS.items() if kind.family == family]
        task = given.get("task") or (fitting[0] if len(fitting) == 1 else None)
        if task is None:
            raise InputError(f"say which task of {given['space']} is trained: --task {' or '.join(fitting)}")
        if task not in TASKS:
            raise unknown("task", str(task), TASKS)
        if task not in fitting:
            raise InputError(
                f"task {task!r} with space {given['space']!r}: expected one of family {TASKS[task].family}"
            )
        return {**given, "task": task}

    @property
    def kind(self) -> TranslationKind:
        """That of the settings."""
        return TASKS[self.settings.task]

    @cached_property
    def data(self) -> TranslationData:
        """Training images."""
        recipe = self.settings.recipe
        return self._load("train", enlarge=recipe.enlarge, flip=recipe.flip)

    @cached_property
    def held_out(self) -> TranslationData:
        """Images of the test split, or of val where there is none."""
        return self._load("test")

    @cached_property
    def recipe(self) -> TranslationRecipe:
        """That of the settings, with its number of steps."""
        return self.settings.recipe.with_steps(self.data)

    @property
    def steps(self) -> int:
        """Updates of the generator."""
        assert self.recipe.steps is not None
        return self.recipe.steps

    @property
    def batches(self) -> tuple[int, ...]:
        """Images an update."""
        return (self.settings.recipe.batch,)

    @property
    def trained_for(self) -> Mapping[str, str]:
        """Task and direction."""
        return {"task": self.settings.task, "direction": self.settings.direction}

    def prepare(self) -> None:
        """See ``Training.prepare``; every label map of the data is read."""
        s = self.settings
        for data in (self.data, self.held_out):
            if isinstance(data.inputs, LabelMaps):
                for i in progress(range(len(data.inputs)), len(data.inputs), f"checking labels of {data.split}"):
                    data.inputs.labels(i)
        s.fitting_segmenter(self.held_out, "cpu")
        held = len(self.held_out.inputs)
        for name, asked in (("samples", s.samples), ("checkpoint_samples", s.checkpoint_samples)):
            if asked is not None and asked > held:
                raise InputError(f"{name}={asked}: expected up to {held}, the split {self.held_out.split} of the data")
        self.task(self.space.sample(np.random.default_rng(0)))  # networks fit together and weights can be read
        _ = self.known

    def real_statistics(self) -> FeatureStatistics:
        """Of the target domain."""
        s = self.settings
        return target_statistics(self.space, self.held_out, self.kind.layout, self.extractor, direction=s.direction)

    def check_compile(self) -> None:
        """A student's features are taken by hooks, which compiled networks do not call."""
        if self.settings.teacher is not None:
            raise InputError("compile=True with a teacher: expected one of the two")

    def task(self, arch: Any) -> TranslationTask:
        """See ``Training.task``."""
        s = self.settings
        teacher = None
        if s.teacher is not None:
            translator = load_translator(s.teacher)
            translator.direction(s.direction)
            teacher = translator.network
        return self.kind.task(self.space, arch, self.data, self.held_out, self.recipe, teacher=teacher, seed=s.seed)

    def picture(self, task: TranslationTask) -> bytes:
        """Held-out inputs, each followed by its translation and, of pairs, by its target."""
        generator = torch_generator("grid", self.settings.seed)
        index = torch.randperm(len(self.held_out.inputs), generator=generator)[:GRID_INPUTS]
        inputs = self.held_out.inputs.batch(index)
        shown = in_colours(inputs) if isinstance(self.held_out.inputs, LabelMaps) else (inputs + 1) / 2
        rows = [shown, task.translate(inputs).cpu()]
        if self.held_out.paired:
            rows.append((self.held_out.targets.batch(index) + 1) / 2)
        return sample_grid(torch.stack(rows, 1).flatten(0, 1), columns=GRID_COLUMNS * len(rows))

    def measure(self, task: TranslationTask, *, final: bool = True) -> Evaluation:
        """See ``Training.measure``."""
        s = self.settings
        return self._evaluation(task.translate, s.samples if final else s.checkpoint_samples)

    def evaluate(self, path: Path) -> Evaluation:
        """See ``Training.evaluate``."""
        return self._evaluation(load_translator(path, device=self.settings.device), self.settings.samples)

    def _evaluation(self, translate: Translate, samples: int | None) -> Evaluation:
        s = self.settings
        segmenter = s.segmenter(s.device)
        result = measure_translation(
            translate, self.held_out, self.known, self.extractor, segmenter=segmenter, samples=samples
        )
        result.protocol |= {"direction": s.direction}
        return result

    @property
    def size(self) -> int | None:
        """See ``ComparedTraining.size``."""
        return square_of(self.space)

    def _load(self, split: str, **augmentation: Any) -> TranslationData:
        s = self.settings
        return load_data(self.space, s.data, self.kind.layout, split=split, direction=s.direction, **augmentation)
