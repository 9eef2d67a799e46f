"""Free memory of the C library goes back to the system."""

import os
import platform
import subprocess
import sys

import pytest

GLIBC = platform.libc_ver()[0] == "glibc"

CHILD = """
import gc, sys
import numpy as np
from celllm.base.heap import return_large_blocks

def resident_mb():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmRSS"].split()[0]) / 1024

{body}
"""

# A block of 24 MiB that is freed teaches glibc to keep blocks up to that size.
GROWING = """
if {is_set}:
    return_large_blocks()
lesson = np.ones(3 << 20)
del lesson
blocks = [np.ones(n << 17) for n in range(1, 21)]
kept = [np.ones(10), blocks.pop()]
del blocks
gc.collect()
print(resident_mb())
"""


def printed(body, root):
    found = subprocess.run(
        [sys.executable, "-c", CHILD.format(body=body)],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in found.stdout.split()]


@pytest.mark.skipif(not GLIBC, reason="elsewhere it does nothing")
def test_large_blocks_go_back_when_they_are_freed(root):
    (without,), (with_limit,) = (printed(GROWING.format(is_set=is_set), root) for is_set in (False, True))
    assert with_limit < without - 50
