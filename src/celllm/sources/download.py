"""One file from the network, by pooch: only a whole and right file takes the name.

pooch downloads to a temporary name, compares checksums and renames; resume.py is what it downloads with.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Never

import pooch  # type: ignore[import-untyped] # it has no types
from tqdm import tqdm

from celllm.base.errors import CellLMError, InputError
from celllm.sources.checksums import Expected, check
from celllm.sources.resume import PATIENCE, Patience, Refused, Report, Resuming, public

LOG_EVERY_S: Final = 10.0
"""Seconds between two lines of a log about one file."""


class DownloadError(CellLMError):
    """No address gave the file; `answers` says what each gave instead."""

    def __init__(self, answers: Sequence[tuple[str, str]]) -> None:
        self.answers = tuple(answers)
        super().__init__("; ".join(f"{address} answered: {text}" for address, text in answers))


def download(
    addresses: Sequence[str],
    place: Path,
    *,
    expected: Sequence[Expected] = (),
    patience: Patience = PATIENCE,
    report: Report = lambda _size, _total: None,
) -> tuple[str, str]:
    """Download a file from the first address that gives it, and check it before it takes its name.

    Parameters
    ----------
    addresses
        `https://` or `http://`; the same file each, tried in order.
    place
        Where it is to stand. A download that broke off for good leaves its part in `.partial/` if the server can
        resume it, and the next call does; a wrong file is removed.
    expected
        What is known of its size and checksum.
    patience
        How long to try.
    report
        Called as bytes arrive; what it raises ends the download.

    Returns
    -------
    The address that gave it, and its sha256 in hex.

    Raises
    ------
    InputError
        If the only address gives a file of another size or checksum.
    DownloadError
        If no address gives the file.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    known = next((f"sha256:{said.sha256}" for said in expected if said.sha256 is not None), None)
    if known is None:
        # nothing says that it is the file, and pooch would keep it
        place.unlink(missing_ok=True)
    answers: list[tuple[str, str]] = []
    for address in addresses:
        resuming = Resuming(place, expected, patience, report)
        try:
            try:
                pooch.retrieve(address, known, fname=place.name, path=place.parent, downloader=resuming)
            except InputError:
                raise
            except ValueError:  # how pooch says that the checksum is another
                check(expected, file=public(address), sha256=resuming.sha256)
                raise
        except Refused as error:
            answers.append((public(address), str(error)))
        except InputError as error:
            if len(addresses) == 1:
                raise
            answers.append((public(address), f"a file with {error.field} {error.found}, not {error.expected}"))
        else:
            return address, resuming.sha256
    raise DownloadError(answers)


@contextmanager
def progress(name: str) -> Iterator[Report]:
    """Show a download: a bar with size and rate on a terminal, a plain line now and then in a log."""
    every_s = 0.1 if sys.stderr.isatty() else LOG_EVERY_S
    stream = sys.stderr if sys.stderr.isatty() else _Lines()
    bar: tqdm[Never] = tqdm(
        desc=name, file=stream, leave=False, unit="B", unit_scale=True, mininterval=every_s, delay=every_s, miniters=1
    )
    with bar:

        def report(size: int, total: int | None) -> None:
            if size < bar.n or not bar.n:
                # resumed bytes do not count for the rate
                bar.initial = size
                bar.reset(total)
            bar.update(size - bar.n)

        yield report


class _Lines:
    """Gives whole lines to a log, where tqdm goes back to the start of its line."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(f"{text.strip()}\n")

    def flush(self) -> None:
        sys.stderr.flush()
