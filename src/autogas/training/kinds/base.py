"""What a training is to whoever runs it: settings, task, pictures, measures, and the network that is kept."""

from __future__ import annotations

import copy
import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from pydantic import BaseModel, Field, create_model
from torch import nn

from autogas.datasets import Images, load_images
from autogas.datasets.images import DEAD_LEAVES, TORCHVISION
from autogas.errors import InputError
from autogas.metrics import FeatureExtractor, FeatureStatistics, get_extractor
from autogas.metrics.evaluation import Evaluation, reference_statistics
from autogas.metrics.features import Extractor, InceptionWeights
from autogas.settings import Device, Settings, SpaceSettings, on_command_line, validated
from autogas.spaces import Space, get_space
from autogas.training.loop import CollapseError, Row, Task, train
from autogas.training.machine import Precision, launch

REFERENCE_FILE = "reference.npz"


class TrainingSettings(Settings):
    """What determines what a training reaches, whatever is trained.

    Each kind adds its images and its ``recipe``.
    """

    space: str = Field(description="search space", json_schema_extra=on_command_line(always=True))
    space_settings: SpaceSettings = Field(default_factory=dict)
    seed: int = Field(0, ge=0, description="of weights, batches and latents")
    device: Device = Field("cpu", description="where to train")


class ComparedSettings(TrainingSettings):
    """Those of a training whose images are compared with others by a network's features."""

    extractor: Extractor = "cifarnet"
    inception_weights: InceptionWeights = None
    reference: str | None = Field(None, description="images or statistics to compare with; None: those of the source")


class HeldOutSettings(TrainingSettings):
    """Those of a training that is measured on images that it has not seen."""

    images: str = Field("cifar10", description="training images: cifar10, stl10, a folder, or a Parquet file")
    train_images: int = Field(50_000, ge=1, description="at most so many images to train on")
    held_out: str | None = Field(None, description="measured images; None: the test split, or the same source's tail")
    held_out_images: int = Field(512, ge=2, description="at most so many images to measure on")

    def load(self, size: int) -> tuple[Images, Images]:
        """Training and held-out images; no image is both.

        Raises:
            InputError: images that cannot be read, or too few of them.
        """
        has_test = self.images in (*TORCHVISION, DEAD_LEAVES)
        if self.held_out == self.images and not has_test:
            raise InputError(f"held_out={self.held_out!r} are the training images: leave it out, for the source's tail")
        held_out = self.held_out or (self.images if has_test else None)
        if held_out is not None:
            measured = load_images(held_out, size=size, limit=self.held_out_images, train=False)
            return load_images(self.images, size=size, limit=self.train_images), measured
        both = load_images(self.images, size=size, limit=self.train_images + self.held_out_images)
        if len(both) < 2 * self.held_out_images:
            count = self.held_out_images
            raise InputError(f"images {self.images!r}: {len(both)} images are too few to hold out {count}")
        cut = len(both) - self.held_out_images
        return Images(both.pixels[:cut], both.source), Images(both.pixels[cut:], both.source)


def column_of(metric: str) -> str:
    """Column of a metric in the table of a benchmark."""
    return metric.replace("-", "_")


@dataclass(frozen=True)
class Quality:
    """Which measure of a training is its quality in a benchmark.

    Attributes:
        metric: its column.
        higher_is_better: its direction.
        measured: what it is, in words.
    """

    metric: str
    higher_is_better: bool
    measured: str


class ExportableTask(Task, Protocol):
    """A task one of whose networks is kept when training ends."""

    @property
    def exported(self) -> nn.Module:
        """The network that is kept."""
        ...


S = TypeVar("S", bound=TrainingSettings)
T = TypeVar("T", bound=ExportableTask)


@functools.cache
def joined(beside: type[BaseModel], settings: type[TrainingSettings]) -> type[TrainingSettings]:
    """Settings of a workflow and of a kind of training in one class."""
    name = f"{settings.__name__}And{beside.__name__}"
    return create_model(name, __base__=(beside, settings), __doc__=settings.__doc__)  # type: ignore[arg-type]


class Training(ABC, Generic[S, T]):
    """How one architecture is trained: a kind of training with its settings.

    ``autogas train`` runs one for long and keeps checkpoints, ``autogas bench build`` runs many for short.

    Args:
        settings: what determines it; those of the workflow may be among them.

    Attributes:
        space: of the architectures, with the settings that they are trained with.
        folder: of the run, if there is one.
    """

    folder: Path | None = None
    equal_until: ClassVar[int] = 0
    """See ``autogas.training.loop.train``."""
    short: ClassVar[Mapping[str, Any]] = {}
    """Defaults that differ where many are trained for a benchmark."""

    own_settings: ClassVar[type[TrainingSettings]]
    """The class of the settings, of a kind that has one."""

    def __init__(self, settings: S) -> None:
        self.settings = settings
        self.space: Space[Any] = get_space(settings.space, **settings.space_settings)

    @classmethod
    def read(cls, given: Mapping[str, Any], beside: type[BaseModel]) -> Training[S, T]:
        """From settings by name, those of a workflow among them; raises ``InputError``."""
        whole = cls.completed(given)
        return cls(validated(joined(beside, cls.settings_class(whole)), whole))  # type: ignore[arg-type]

    @classmethod
    def settings_class(cls, given: Mapping[str, Any]) -> type[S]:  # noqa: ARG003 - a kind of one class does not ask
        """The class of the settings; a kind that has several chooses by one of them."""
        return cast("type[S]", cls.own_settings)

    @classmethod
    def all_settings(cls) -> list[type[S]]:
        """Every class that ``settings_class`` may name."""
        return [cls.settings_class({})]

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with what they leave open and this kind knows."""
        return dict(given)

    def of(self, *, seed: int) -> Training[S, T]:
        """The same training with another seed; images that are loaded stay so."""
        other = copy.copy(self)
        other.settings = self.settings.model_copy(update={"seed": seed})
        return other

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many in all."""

    @property
    @abstractmethod
    def quality(self) -> Quality:
        """What of the measures is quality in a benchmark."""

    @property
    @abstractmethod
    def batches(self) -> tuple[int, ...]:
        """Sizes of the batches of a step, which several devices share."""

    @property
    def trained_for(self) -> Mapping[str, str]:
        """What an exported network says of its training, beside its architecture."""
        return {}

    def kept(self, arch: Any) -> tuple[Space[Any], Any]:
        """Space and architecture of the network that is kept when ``arch`` has been trained: its own, mostly."""
        return self.space, arch

    @abstractmethod
    def prepare(self) -> None:
        """Load images and what else is needed, so that nothing bad is found only later.

        Raises:
            InputError: bad settings, images or weights.
        """

    def keep(self) -> None:
        """Write what takes long to measure into the folder, for other processes and for a training that goes on."""

    @abstractmethod
    def task(self, arch: Any) -> T:
        """What the loop trains."""

    @abstractmethod
    def picture(self, task: T) -> bytes:
        """What the task's network makes, as PNG, of the same latents or inputs every time."""

    @abstractmethod
    def measure(self, task: T, *, final: bool = True) -> Evaluation:
        """Metrics of the task's network; ``final``: of as many samples as at the end, else as at a checkpoint."""

    @abstractmethod
    def evaluate(self, path: Path) -> Evaluation:
        """Metrics of the network that was exported to ``path``."""

    def check_devices(self, devices: int) -> None:
        """Raise ``InputError`` for batches that devices cannot share evenly."""
        for batch in self.batches:
            if batch % devices:
                raise InputError(f"a batch of {batch} on {devices} devices: expected multiples of {devices}")

    def check_compile(self) -> None:
        """Raise ``InputError`` where compiled networks would not train as others do."""

    def row(self, text: str, seed: int, *, precision: Precision = "32-true", measurements: int = 1) -> dict[str, Any]:
        """Train an architecture for a benchmark and measure it; nothing is kept on disk.

        One that collapses is measured as it is then, with the reason; one that diverges raises ``DivergenceError``.

        Args:
            text: the architecture.
            seed: of weights, batches and latents.
            precision: see ``autogas.training.machine.launch``.
            measurements: how often quality is measured, evenly over the steps, the last time at the end.

        Returns:
            Metrics (``-`` in their names is ``_``), quality after fewer steps as ``METRIC_at_STEP``, mean losses over
            the steps since the last row of losses (none after a collapse), ``params``, ``macs``, ``train_seconds``,
            ``evaluate_seconds``, ``reason``.
        """
        this = self.of(seed=seed)
        arch = this.space.parse(text)
        task = this.task(arch)
        metric = this.quality.metric
        part = -(-this.steps // measurements)
        early: dict[str, float] = {}
        evaluate_seconds = 0.0

        def measured() -> dict[str, Any]:
            nonlocal evaluate_seconds
            begun = time.perf_counter()
            metrics = {column_of(name): value for name, value in this.measure(task).metrics.items()}
            evaluate_seconds += time.perf_counter() - begun
            return metrics

        def observe(rows: Sequence[Row]) -> None:
            done = int(rows[-1]["step"])
            if done % part == 0 and done < this.steps:
                early[f"{metric}_at_{done}"] = measured()[metric]

        losses: Mapping[str, float] = {}
        reason = None
        start = time.perf_counter()
        try:
            rows = launch(
                lambda machine: train(
                    task,
                    machine,
                    steps=this.steps,
                    seed=seed,
                    log_every=max(1, this.steps // 10),
                    checkpoint_every=part,
                    equal_until=this.equal_until,
                    observe=observe,
                ),
                device=this.settings.device,
                precision=precision,
            )
            losses = {name: value for name, value in rows[-1].items() if name != "step"}
        except CollapseError as error:
            reason = str(error)
        train_seconds = time.perf_counter() - start - evaluate_seconds
        metrics = measured()
        cost = this.space.cost(arch)
        seconds = {"train_seconds": train_seconds, "evaluate_seconds": evaluate_seconds}
        return {**metrics, **early, "params": cost.params, "macs": cost.macs, **losses, **seconds, "reason": reason}


C = TypeVar("C", bound=ComparedSettings)


class ComparedTraining(Training[C, T]):
    """A training whose images are compared with real ones; their Fréchet distance is quality."""

    compared_with: ClassVar[str] = "training images"

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Whose features are compared."""
        s = self.settings
        return get_extractor(s.extractor, inception_weights=s.inception_weights, device=s.device)

    @property
    def size(self) -> int | None:
        """What images of a reference are cropped and resized to; None: as they are."""
        return None

    @cached_property
    def known(self) -> FeatureStatistics:
        """Statistics of real images: those in the folder, of the reference that was named, or measured now."""
        saved = None if self.folder is None else self.folder / REFERENCE_FILE
        if saved is not None and saved.exists():
            return reference_statistics(str(saved), self.extractor)
        if self.settings.reference is not None:
            return reference_statistics(self.settings.reference, self.extractor, size=self.size)
        return self.real_statistics()

    @abstractmethod
    def real_statistics(self) -> FeatureStatistics:
        """Statistics of the images that it trains on, or should reach."""

    def keep(self) -> None:
        """Write the statistics of real images."""
        assert self.folder is not None
        self.known.save(self.folder / REFERENCE_FILE)

    @property
    def quality(self) -> Quality:
        """The Fréchet distance by the extractor of the settings."""
        extractor = self.settings.extractor
        name = "fid" if extractor == "inception" else column_of(f"fid-{extractor}")
        return Quality(name, False, f"Fréchet distance by {extractor} to the {self.compared_with}")
