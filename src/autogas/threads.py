"""How many threads torch has: with one, sums run in one order, and small matrices wait for nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run with one torch thread; results then do not depend on the number of processors.

    Two threads take twice as long for batches of 16x16 matrices, and twenty times as long beside other load, since each
    step ends in a barrier.
    """
    with with_threads(1):
        yield


@contextlib.contextmanager
def with_threads(count: int) -> Iterator[None]:
    """Run with so many torch threads."""
    import torch  # here, since run folders are read without it

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
