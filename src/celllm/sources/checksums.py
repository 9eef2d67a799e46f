"""`config/checksums.tsv`: size and checksum of each file at its first arrival, where nobody has published them.

The table is committed. A line, once there, is expected of every later copy of that file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Annotated, Final

from filelock import FileLock
from pydantic import Field
from pydantic.dataclasses import dataclass

from celllm.base.atomic import writing
from celllm.config.table import ROW, Table, read_rows

MIRROR: Final = "mirror"
"""The source of a file that a mirror folder gave."""


@dataclass(frozen=True, config=ROW)
class Checksum:
    """One row: a file as it first arrived."""

    dataset: str
    """The dataset it belongs to."""
    file: str
    """Its name."""
    bytes: Annotated[int, Field(ge=0)]
    """Its size."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Its checksum in hex."""
    source: str
    """The address that gave it, or `mirror`."""
    date: str
    """The day it arrived, in UTC: 2026-01-31."""

    def line(self) -> str:
        """Return the row as it stands in the table, its end included."""
        return "\t".join(map(str, astuple(self))) + "\n"


HEADER: Final = "\t".join(field.name for field in fields(Checksum)) + "\n"


def read(path: Path | str) -> Table[Checksum]:
    """Read the table; one that does not exist yet is empty. InputError as in config/table.py."""
    path = Path(path)
    if not path.exists():
        return Table(file=path, key="dataset", rows=())
    return read_rows(path, Checksum, key="dataset", unique=("dataset", "file"))


def of(table: Table[Checksum], *, dataset: str, file: str) -> Checksum | None:
    """Return a file's row, if it has one."""
    return next((row for row in table if (row.dataset, row.file) == (dataset, file)), None)


def record(row: Checksum, path: Path | str, *, lock: Path) -> None:
    """Put a file's row into the table, in place of the one it may have; rows stand sorted by dataset and file.

    Parameters
    ----------
    row
        The row.
    path
        The table; made if it does not exist.
    lock
        A file that all writers of the table lock while they read and rewrite it, so that none loses a row of another.

    Raises
    ------
    OSError
        If the table cannot be written.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        others = [old for old in read(path) if (old.dataset, old.file) != (row.dataset, row.file)]
        write([*others, row], path)


def write(rows: Iterable[Checksum], path: Path | str) -> None:
    """Write the table, sorted by dataset and file."""
    ordered = sorted(rows, key=lambda row: (row.dataset, row.file))
    with writing(path) as part:
        part.write_text(HEADER + "".join(row.line() for row in ordered), encoding="utf-8")
