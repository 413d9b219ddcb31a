"""What a feature extractor is, and those that exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias

from pydantic import AfterValidator, Field
from torch import Tensor

from autogas import plugins
from autogas.errors import InputError, unknown


class FeatureExtractor(Protocol):
    """A trained classifier whose features are compared and whose logits are scored.

    Attributes:
        name: part of the names of its metrics.
        dim: length of a feature vector.
        version: what else determines the features: weights, library.
        resizing: what happens to images of another size.
    """

    name: str
    dim: int
    version: str
    resizing: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[N, 3, H, W]``, uint8 or in [0, 1], to features ``[N, dim]`` and logits ``[N, classes]``."""


def _cifarnet(device: str) -> FeatureExtractor:
    from autogas.metrics.cifarnet import CifarNetExtractor

    return CifarNetExtractor(device)


def _robust(device: str) -> FeatureExtractor:
    from autogas.metrics.cifarnet import ROBUST_WEIGHTS, CifarNetExtractor

    return CifarNetExtractor(device, ROBUST_WEIGHTS)


def _inception(device: str) -> FeatureExtractor:
    from autogas.metrics.inception import InceptionExtractor

    return InceptionExtractor(None, device)


EXTRACTORS: dict[str, Callable[[str], FeatureExtractor]] = {
    "cifarnet": _cifarnet,
    "cifarnet-robust": _robust,
    "inception": _inception,
}
"""By name: a function of a device."""


def register_extractor(name: str, make: Callable[[str], FeatureExtractor], *, replace: bool = False) -> None:
    """Make a network known whose features are compared; its Fréchet distance is reported as ``fid-<name>``.

    Args:
        name: for ``--extractor``.
        make: from a device to the extractor.
        replace: take the place of an extractor of that name without a warning.

    Warns:
        UserWarning: there was an extractor of that name, which is replaced.
    """
    plugins.enter(EXTRACTORS, "extractor", name, make, replace=replace)
    plugins.note(register_extractor, name, make, replace=True)


def known_extractor(name: str) -> str:
    """The name, if it is that of an extractor; raises ``InputError`` for another."""
    plugins.load()
    if name not in EXTRACTORS:
        raise unknown("extractor", name, EXTRACTORS)
    return name


Extractor: TypeAlias = Annotated[
    str,
    AfterValidator(known_extractor),
    Field(description="whose features are compared: cifarnet, cifarnet-robust, inception, or a plug-in's"),
]
InceptionWeights: TypeAlias = Annotated[str | None, Field(description="file of Inception's weights; None: downloaded")]


def get_extractor(name: str, *, inception_weights: str | Path | None = None, device: str = "cpu") -> FeatureExtractor:
    """An extractor: ``cifarnet`` or ``cifarnet-robust`` (in the package), ``inception`` (of FID), or a plug-in's.

    Args:
        name: which.
        inception_weights: file of Inception's weights, so that nothing is downloaded.
        device: where it runs.

    Raises:
        InputError: an unknown name, or weights that cannot be had.
    """
    make = EXTRACTORS[known_extractor(name)]
    if inception_weights is None:
        return make(device)
    if name != "inception":
        raise InputError(
            f"--inception-weights {str(inception_weights)!r} with extractor {name!r}: accepted with inception"
        )
    from autogas.metrics.inception import InceptionExtractor

    return InceptionExtractor(Path(inception_weights), device)


def metric_name(metric: str, extractor: FeatureExtractor) -> str:
    """Name under which ``fid`` or ``is`` by an extractor is reported: bare for the published Inception alone.

    Examples:
        >>> metric_name("fid", get_extractor("cifarnet"))
        'fid-cifarnet'
    """
    return metric if extractor.name == "inception" else f"{metric}-{extractor.name}"
