"""Free memory of the C library goes back to the system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

GLIBC = platform.libc_ver()[0] == "glibc"

CHILD = """
import gc, sys
import numpy as np
from celllm.base.heap import give_back_free, return_large_blocks

def resident_mb():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmRSS"].split()[0]) / 1024

{body}
"""

# Blocks of 200 KB lie in the heap; every tenth stays, so that the free ones are between blocks in use.
GAPS = """
blocks = [np.ones(25_000) for _ in range(1_000)]
kept = blocks[::10]
del blocks
gc.collect()
held = resident_mb()
give_back_free()
assert all((block == 1).all() for block in kept)
print(held, resident_mb())
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


def printed(body: str, root: Path) -> list[float]:
    found = subprocess.run(
        [sys.executable, "-c", CHILD.format(body=body)],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in found.stdout.split()]


@pytest.mark.skipif(not GLIBC, reason="elsewhere the two functions do nothing")
def test_gaps_between_blocks_in_use_are_given_back(root: Path) -> None:
    held, left = printed(GAPS, root)
    assert held - left > 100  # of 180 MB that were freed


@pytest.mark.skipif(not GLIBC, reason="elsewhere the two functions do nothing")
def test_large_blocks_go_back_when_they_are_freed(root: Path) -> None:
    (without,), (with_limit,) = (printed(GROWING.format(is_set=is_set), root) for is_set in (False, True))
    assert with_limit < without - 50
