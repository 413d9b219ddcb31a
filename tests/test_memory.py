import platform
import subprocess
import sys

import pytest

from autogas.memory import keep_freed_memory

CODE = """
import resource, torch
from autogas.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
torch.set_num_threads(1)
for size in (1 << 21, 1 << 22, 1 << 23, 1 << 24):
    for _ in range(7):
        torch.ones(size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again():
    def faults(keep):
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert keep_freed_memory()
    assert faults(True) < 100
    assert faults(False) > 2 * faults(True)
