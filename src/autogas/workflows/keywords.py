"""Typed keywords of workflows, made from their classes by ``python -m autogas.workflows.typed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict


class DiscoverKeywords(TypedDict, total=False):
    """Settings of ``discover``."""

    space_settings: Mapping[str, object]
    strategy: str
    population: int
    iterations: int
    sampling_ratio: float
    top_k: int
    fitness: Literal["kendall_b", "kendall_a"]
    validation: int | str | None
    test: int | None
    batch_size: int
    controls: bool
    seed: int
    device: str


class DiscoverAcrossKeywords(TypedDict, total=False):
    """Settings of ``discover_across``."""

    objective: Literal["worst", "mean", "balanced", "pareto"]
    within_counts: bool
    targets: Mapping[str, object]
    strategy: str
    terms: int
    penalty: float
    rounds: int
    starts: Sequence[str]
    population: int
    iterations: int
    sampling_ratio: float
    top_k: int
    validation: int | str | None
    test: int | None
    batch_size: int
    seed: int
    scoring_seeds: int
    device: str


class RankKeywords(TypedDict, total=False):
    """Settings of ``rank``."""

    space_settings: Mapping[str, object]
    test: int | None
    everything: bool
    batch_size: int
    images: str | None
    seed: int
    device: str


class SearchKeywords(TypedDict, total=False):
    """Settings of ``search``."""

    space_settings: Mapping[str, object]
    scored_at: Mapping[str, object] | None
    strategy: str
    objectives: Sequence[Literal["score", "params", "macs"]]
    population: int
    iterations: int
    sampling_ratio: float
    top_k: int
    max_params: float | None
    max_macs: float | None
    max_latency: float | None
    sample: int
    agreement: int
    batch_size: int
    images: str | None
    seed: int
    device: str


class ReproduceKeywords(TypedDict, total=False):
    """Settings of ``reproduce``."""

    everything: bool
    batch_size: int
    images: str | None
    repeats: int
    population: int
    iterations: int
    validation: int
    seed: int
    device: str


class EvaluateKeywords(TypedDict, total=False):
    """Settings of ``evaluate``."""

    extractor: str
    inception_weights: str | None
    samples: int | None
    reference_samples: int | None
    size: int | None
    splits: int
    batch_size: int
    seed: int
    device: str


class EvaluateTranslationKeywords(TypedDict, total=False):
    """Settings of ``evaluate_translation``."""

    segmentation: str | None
    segmentation_weights: str | None
    segmentation_map: str | None
    split: Literal["train", "test", "val"]
    direction: Literal["AtoB", "BtoA"] | None
    reference: str | None
    extractor: str
    inception_weights: str | None
    samples: int | None
    batch_size: int
    device: str


class TrainKeywords(TypedDict, total=False):
    """Settings of ``train``."""

    log_every: int
    checkpoint_every: int
    tensorboard: bool
    csv: bool
    devices: int
    precision: Literal["32-true", "bf16-mixed"]
    graphs: Literal["auto", "on", "off"]
    compile: bool
    space_settings: Mapping[str, object]
    seed: int
    device: str
    images: str
    train_images: int | None
    held_out: str | None
    held_out_images: int
    extractor: str
    inception_weights: str | None
    reference: str | None
    checkpoint_samples: int | None
    samples: int | None
    generator: str
    generator_width: int
    segmentation: str | None
    segmentation_weights: str | None
    segmentation_map: str | None
    task: Literal["pix2pix", "cyclegan", "gaugan"]
    data: str
    direction: Literal["AtoB", "BtoA"]
    teacher: str | None


class BuildKeywords(TypedDict, total=False):
    """Settings of ``build``."""

    count: int
    repeats: int
    repeat_space: str | None
    macs_band: Sequence[float]
    seeds: int
    measurements: int
    precision: Literal["32-true", "bf16-mixed"]
    space_settings: Mapping[str, object]
    seed: int
    device: str
    images: str
    train_images: int | None
    held_out: str | None
    held_out_images: int
    recipe: Mapping[str, object]
    extractor: str
    inception_weights: str | None
    reference: str | None
    checkpoint_samples: int | None
    samples: int | None
    generator: str
    generator_width: int
    segmentation: str | None
    segmentation_weights: str | None
    segmentation_map: str | None
    task: Literal["pix2pix", "cyclegan", "gaugan"]
    data: str
    direction: Literal["AtoB", "BtoA"]
    teacher: str | None
