"""The words of the proxy language."""

from autogas.proxies.primitives import augments, encodings, reductions, transforms
from autogas.proxies.primitives.registry import (
    REGISTRY,
    Kind,
    Primitive,
    Stage,
    list_primitives,
    primitive,
    stages_of,
    words_after,
)

__all__ = [
    "REGISTRY",
    "Kind",
    "Primitive",
    "Stage",
    "augments",
    "encodings",
    "list_primitives",
    "primitive",
    "reductions",
    "stages_of",
    "transforms",
    "words_after",
]
