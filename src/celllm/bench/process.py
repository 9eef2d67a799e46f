"""The process that makes runs: how often it was killed during one, how it ends, and its largest memory."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from celllm.base.errors import CellLMError

MAX_KILLS = 2
"""A run during which the process was killed so often is a failure; the other runs go on."""


class Killed(CellLMError):
    """The process was killed each time it came to a run."""

    status = 137


@contextmanager
def counted(file: Path) -> Iterator[None]:
    """Count in `file` how often a run was begun; the count outlives a process that is killed, and no other one.

    Killed is raised where that was as often as is allowed.
    """
    n_kills = int(file.read_text()) if file.is_file() else 0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(n_kills + 1))
    try:
        if n_kills >= MAX_KILLS:
            msg = f"the process was killed {n_kills} times during this run, mostly for memory: raise mem_mb of rule fit"
            raise Killed(msg)
        yield
    finally:
        file.unlink()


def end_on_sigterm() -> None:
    """Leave as an exit does when the scheduler ends the job, so that its wall clock does not count as a kill."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def reset_peak() -> None:
    """Let the peak of resident memory start anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Return the largest resident memory since `reset_peak`, in MiB; elsewhere than on Linux since the start."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024  # in kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
