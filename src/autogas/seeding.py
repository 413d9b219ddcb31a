"""Seeds that depend on names, never on order or on the worker that uses them."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterable, Iterator

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


@contextlib.contextmanager
def same_randomness(inputs: Iterable[torch.Tensor] = ()) -> Iterator[None]:
    """Put back the random states of Python, numpy and torch (on the CPU and where inputs are) when the block ends."""
    devices = sorted({x.get_device() for x in inputs if x.is_cuda})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state that networks may use
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def seeded(number: int) -> Iterator[None]:
    """A block in which the global generators on the CPU have this seed; afterwards they are as before."""
    with same_randomness():
        _seed(number)
        yield


def _seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 - networks draw from it
    torch.default_generator.manual_seed(number)


def seed_everything(seed: int, inputs: Iterable[torch.Tensor] = ()) -> None:
    """Seed the global generators of torch (on the CPU and where the inputs are), numpy and Python."""
    number = derive_seed("layers", seed)
    _seed(number)
    for x in inputs:
        if x.is_cuda:
            torch.cuda.default_generators[x.get_device()].manual_seed(number)
