"""What a waiting user sees: a bar with size and rate on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final, TextIO

from tqdm import tqdm

from celllm.sources.download import Report

EVERY_S: Final = 10.0
"""Seconds between two lines of a log."""


class Stopped(Exception):
    """Another file failed, or the user gave up, so this transfer ends too."""


@dataclass
class _UnderWay:
    size: int
    started_with: int
    total: int | None
    since: float


class Progress:
    """Bytes and rate of all files of a dataset together; safe to tell from several threads.

    Parameters
    ----------
    stream
        Where it is shown.
    n_files
        Files in all.
    every_s
        Seconds between two lines where `stream` is no terminal.
    """

    def __init__(self, stream: TextIO, *, n_files: int, every_s: float = EVERY_S) -> None:
        self._stream = stream
        self._n_files = n_files
        self._n_done = 0
        self._every_s = every_s
        self._last = time.monotonic()
        self._last_size = 0
        self._files: dict[str, _UnderWay] = {}
        self._finished_size = 0
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._bar = tqdm(file=stream, unit="B", unit_scale=True, dynamic_ncols=True) if stream.isatty() else None

    def report(self, name: str) -> Report:
        """Make what a transfer of that name tells its bytes to; once stopped, it raises Stopped."""

        def tell(size: int, total: int | None) -> None:
            if self._stop.is_set():
                raise Stopped(name)
            with self._guard:
                file = self._files.setdefault(name, _UnderWay(size, size, total, time.monotonic()))
                if size < file.size:
                    file.started_with = size
                file.size, file.total = size, total
                self._show()

        return tell

    def done(self, name: str, size: int) -> None:
        """Say that a file is there; one that was fetched gets a line with its size and rate."""
        with self._guard:
            self._n_done += 1
            file = self._files.pop(name, None)
            if file is None:
                return
            self._finished_size += size
            seconds = max(time.monotonic() - file.since, 1e-3)
            came = max(size - file.started_with, 0)
            self._line(f"{name}: {amount(size)}, {amount(came / seconds)}/s ({self._n_done} of {self._n_files} files)")

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        with self._guard:
            self._line(text)

    def stop(self) -> None:
        """End all transfers at their next byte."""
        self._stop.set()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        size = self._finished_size + sum(file.size for file in self._files.values())
        if self._bar is not None:
            totals = [file.total or file.size for file in self._files.values()]
            self._bar.total = self._finished_size + sum(totals)
            self._bar.set_description(f"{self._n_done}/{self._n_files} files", refresh=False)
            self._bar.update(size - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        rate = max(size - self._last_size, 0) / (now - self._last)
        under_way = ", ".join(
            f"{name} {amount(file.size)}" + (f" of {amount(file.total)}" if file.total else "")
            for name, file in self._files.items()
        )
        self._line(f"{self._n_done} of {self._n_files} files, {amount(rate)}/s; under way: {under_way}")
        self._last, self._last_size = now, size

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            self._stream.write(f"{text}\n")
            self._stream.flush()


def amount(size: float) -> str:
    """Write bytes for people, in powers of 1000: 21.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
