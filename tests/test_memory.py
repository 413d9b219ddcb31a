import ctypes
import platform
import subprocess
import sys

import pytest

from autogas.memory import keep_freed_memory

CODE = """
import ctypes, torch
from autogas.memory import keep_freed_memory

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
if {keep}:
    assert keep_freed_memory()
before = mallinfo2()
block = torch.ones(1 << 24)
held = mallinfo2()
del block
after = mallinfo2()
print(held.hblkhd - before.hblkhd, after.fordblks)
"""
"""Counts of the allocator itself: what the kernel does with the pages differs between machines."""

BYTES = 4 << 24
C_LIBRARY = ctypes.CDLL(None)


@pytest.mark.skipif(not hasattr(C_LIBRARY, "mallinfo2"), reason="mallinfo2(3) came with glibc 2.33")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_stays_in_the_process(keep):
    code = CODE.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mapped_for_the_block, free_after_it = map(int, done.stdout.split())
    if keep:
        assert mapped_for_the_block == 0
        assert free_after_it >= BYTES
    else:
        assert mapped_for_the_block >= BYTES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_glibc_listens():
    assert keep_freed_memory()
