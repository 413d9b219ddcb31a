"""Seeds that depend on names, never on order or on the worker that uses them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any printable parts, equal in every process and on every platform.

    Examples:
        >>> derive_seed(0, "64-1234-basic") == derive_seed(0, "64-1234-basic")
        True
    """
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def torch_generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by ``derive_seed``; CPU, so that every device gets the same numbers."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def numpy_generator(*parts: object) -> np.random.Generator:
    """A numpy generator seeded by ``derive_seed``."""
    return np.random.default_rng(derive_seed(*parts))


def seed_everything(seed: int, inputs: Iterable[torch.Tensor] = ()) -> None:
    """Seed the global generators of torch (on the CPU and where the inputs are), numpy and Python."""
    number = derive_seed("layers", seed)
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 - networks draw from it
    torch.default_generator.manual_seed(number)
    for x in inputs:
        if x.is_cuda:
            torch.cuda.default_generators[x.get_device()].manual_seed(number)
