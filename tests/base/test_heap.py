"""Free memory of the C library goes back to the system."""

import os
import platform
import subprocess
import sys

import pytest

# A block of 24 MiB that is freed teaches glibc to keep blocks up to that size.
GROWING = """
import gc
import numpy as np
from celllm.base.heap import return_large_blocks

if {is_set}:
    return_large_blocks()
lesson = np.ones(3 << 20)
del lesson
blocks = [np.ones(n << 17) for n in range(1, 21)]
kept = [np.ones(10), blocks.pop()]
del blocks
gc.collect()
fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(fields["VmRSS"].split()[0]) / 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere it does nothing")
def test_large_blocks_go_back_when_they_are_freed(root):
    resident_mb = []
    for is_set in (False, True):
        command = [sys.executable, "-c", GROWING.format(is_set=is_set)]
        env = {**os.environ, "PYTHONPATH": str(root / "src")}
        resident_mb.append(float(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout))
    assert resident_mb[1] < resident_mb[0] - 50
