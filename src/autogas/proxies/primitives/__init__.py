"""The words of the proxy language."""

from autogas.proxies.primitives import augments, encodings, layers, reductions, transforms
from autogas.proxies.primitives.registry import (
    PARTNERS,
    REGISTRY,
    Kind,
    Primitive,
    Stage,
    primitive,
    stages_of,
    words_after,
)

__all__ = [
    "PARTNERS",
    "REGISTRY",
    "Kind",
    "Primitive",
    "Stage",
    "augments",
    "encodings",
    "layers",
    "primitive",
    "reductions",
    "stages_of",
    "transforms",
    "words_after",
]
