"""Keep freed memory in the process: handing it back to the kernel and getting it again costs a sixth of scoring."""

from __future__ import annotations

import ctypes
import functools

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""
LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks of any size; returns whether it listened (other C libraries do not).

    Without it every feature map of a forward pass is mapped anew and zeroed page by page.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: LARGEST, M_TOP_PAD: 1 << 28}
    accepted = [mallopt(name, value) for name, value in settings.items()]  # each of them is worth having
    return all(accepted)
