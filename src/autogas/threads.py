"""One torch thread: sums run in one order, and small matrices wait for nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run with one torch thread; results then do not depend on the number of processors.

    Two threads take twice as long for batches of 16x16 matrices, and twenty times as long beside other load, since each
    step ends in a barrier.
    """
    import torch  # here, since run folders are read without it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
