"""What a kind of training is to the workflow: its settings, its task, its pictures and its measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from autogas.errors import InputError
from autogas.metrics import FeatureExtractor, FeatureStatistics, get_extractor
from autogas.spaces import Space
from autogas.training.loop import Task
from autogas.training.machine import Graphs, Precision
from autogas.workflows.evaluate import Evaluation


class TrainSettings(BaseModel):
    """What determines a training, whatever is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arch: str = Field(description="architecture of the space")
    log_every: int = Field(100, ge=1, description="steps between rows of losses")
    checkpoint_every: int = Field(5000, ge=1, description="steps between checkpoints, samples and metrics")
    extractor: Literal["cifarnet", "inception"] = Field("cifarnet", description="what features are compared")
    inception_weights: str | None = Field(None, description="file of Inception's weights; None: downloaded")
    tensorboard: bool = Field(False, description="write logs for TensorBoard")
    seed: int = Field(0, ge=0, description="of weights, batches and latents")
    device: str = Field("cpu", description="where to train")
    devices: int = Field(1, ge=1, description="on how many of them")
    precision: Precision = Field("32-true", description="32-true or bf16-mixed")
    graphs: Graphs = Field("auto", description="steps as CUDA graphs: auto, where one GPU trains a GAN; on; off")


S = TypeVar("S", bound=TrainSettings)


class ExportableTask(Task, Protocol):
    """A task one of whose networks is kept when training ends."""

    @property
    def exported(self) -> nn.Module:
        """The network that is kept."""
        ...


class Trainer(ABC, Generic[S]):
    """One kind of training with its settings.

    Attributes:
        settings: what was asked for.
        space: of the generator, at the training's size.
        equal_until: see :func:`autogas.training.loop.train`.
    """

    equal_until: ClassVar[int] = 0
    settings: S
    space: Space[Any]

    @classmethod
    @abstractmethod
    def read(cls, given: Mapping[str, Any]) -> Trainer[S]:
        """From settings by name, complete or not; raises ``ValidationError`` or ``InputError`` for bad ones."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many in all."""

    @property
    def trained_for(self) -> Mapping[str, str]:
        """What an exported generator says of its training, beside its architecture."""
        return {}

    @abstractmethod
    def check(self, known: Path | None) -> FeatureStatistics:
        """Say at once what would fail later; returns the statistics that generated images are compared with.

        Args:
            known: file of these statistics, if they were saved before.

        Raises:
            InputError: bad settings, images or weights.
        """

    @abstractmethod
    def task(self) -> ExportableTask:
        """What the loop trains."""

    @abstractmethod
    def picture(self, task: Any) -> bytes:
        """What the task's generator makes, as PNG, of the same latents or inputs every time."""

    @abstractmethod
    def measure(self, task: Any, known: FeatureStatistics, extractor: FeatureExtractor) -> Evaluation:
        """Metrics of the task's generator while it is trained."""

    @abstractmethod
    def evaluate(self, path: Path, known: FeatureStatistics, extractor: FeatureExtractor) -> Evaluation:
        """Metrics of the generator that was exported to ``path``."""

    def extractor(self) -> FeatureExtractor:
        """The one that the settings name."""
        s = self.settings
        return get_extractor(s.extractor, inception_weights=s.inception_weights, device=s.device)

    def check_batches(self, *batches: int) -> None:
        """Raise for batches that devices cannot share evenly."""
        devices = self.settings.devices
        for batch in batches:
            if batch % devices:
                raise InputError(f"a batch of {batch} on {devices} devices: accepted are multiples of {devices}")


AnyTrainer = Trainer[Any]
Reader = Callable[[Mapping[str, Any]], AnyTrainer]
