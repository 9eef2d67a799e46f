"""`config/hosts.tsv`: how each host wants to be asked, and how many connections it is asked with at once.

The limits hold for all threads and processes that share a folder of locks: a connection is one of a host's n slots,
and a slot is a locked file. The kernel unlocks the files of a process that dies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from pydantic import Field
from pydantic.dataclasses import dataclass

from celllm import __version__
from celllm.base.errors import InputError
from celllm.config.table import ROW, Table, read_rows

ANY: Final = "*"
"""The row for hosts without a row of their own."""
OWN_NAME: Final = f"celllm/{__version__}"
"""User-Agent where a row names none."""
POLL_S: Final = 0.05
"""Seconds between two looks for a free slot."""


@dataclass(frozen=True, config=ROW)
class Host:
    """One row of `hosts.tsv`."""

    host: str
    """Its name, or the end of it (`nih.gov` is also `ftp.ncbi.nlm.nih.gov`); `*` for all others, each by itself."""
    user_agent: str | None
    """What the client calls itself; none: by its own name and version."""
    connections: Annotated[int, Field(ge=1)]
    """Connections at once, 1 or more."""
    pause_s: Annotated[float, Field(ge=0, le=3600)]
    """Seconds from one request to the next."""
    note: str | None
    """Why."""


def read(path: Path | str) -> Table[Host]:
    """Read `hosts.tsv`; InputError as in config/table.py, and if the row `*` is missing."""
    table = read_rows(path, Host, key="host", unique=("host",))
    if ANY not in table.names:
        raise InputError(
            file=path,
            field="host",
            expected=f"a row {ANY}, for hosts without a row of their own",
            found=", ".join(table.names) or "no rows",
            remedy=f"add a row {ANY}, e.g. with 4 connections and a pause of 0 seconds",
        )
    return table


def row_for(address: str, hosts: Table[Host]) -> Host:
    """Return the row of an address's host: of those that fit, the longest."""
    name = urlsplit(address).hostname or ""
    fitting = [row for row in hosts if name == row.host or name.endswith(f".{row.host}")]
    return max(fitting, key=lambda row: len(row.host), default=hosts.row(ANY))


@contextmanager
def connection(address: str, host: Host, locks: Path) -> Iterator[None]:
    """Wait until the host may be asked, and hold one of its connections.

    Parameters
    ----------
    address
        What will be asked for.
    host
        The row of its host.
    locks
        Folder of the locks; shared by all that are to keep the limit together.
    """
    name = host.host if host.host != ANY else urlsplit(address).netloc.replace(":", "_")
    locks.mkdir(parents=True, exist_ok=True)
    slot = _free_slot(locks, name, host.connections)
    try:
        if host.pause_s > 0:
            _wait(locks, name, host.pause_s)
        yield
    finally:
        slot.release()


def _free_slot(locks: Path, name: str, connections: int) -> FileLock:
    while True:
        for number in range(connections):
            slot = FileLock(locks / f"{name}.{number}.lock")
            try:
                slot.acquire(timeout=0)
            except Timeout:
                continue
            return slot
        time.sleep(POLL_S)


def _wait(locks: Path, name: str, pause_s: float) -> None:
    """Sleep until the pause since the host's last request is over; the time of that request is a file's."""
    last = locks / f"{name}.last"
    with FileLock(locks / f"{name}.pause.lock"):
        since = time.time() - last.stat().st_mtime if last.exists() else pause_s
        time.sleep(min(pause_s, max(0.0, pause_s - since)))
        last.touch()
