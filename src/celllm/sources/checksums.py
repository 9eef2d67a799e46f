"""`config/checksums.tsv`: size and checksum of each file at its first arrival, where nobody has published them.

The table is committed. A line, once there, is expected of every later copy of that file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from filelock import FileLock
from pydantic import Field
from pydantic.dataclasses import dataclass

from celllm.base.atomic import writing
from celllm.config.table import ROW, Table, read_rows
from celllm.config.tables import SourceFile
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawFile

FILES: Final = "config/files.tsv"
"""Where the rows of files stand; errors name it."""
LOCKS: Final = ".locks"
"""Beside the datasets' folders: files that processes lock."""


@dataclass(frozen=True, config=ROW)
class Checksum:
    """One row: a file as it first arrived."""

    dataset: str
    file: str
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    source: str
    """The address that gave it, or `mirror`."""
    date: str
    """The day it arrived, in UTC: 2026-01-31."""

    def line(self) -> str:
        """Return the row as it stands in the table, its end included."""
        return "\t".join(map(str, astuple(self))) + "\n"


HEADER: Final = "\t".join(field.name for field in fields(Checksum)) + "\n"


def read(path: Path) -> Table[Checksum]:
    """Read the table; one that does not exist yet is empty. InputError as in config/table.py."""
    if not path.exists():
        return Table(file=path, key="dataset", rows=())
    return read_rows(path, Checksum, key="dataset", unique=("dataset", "file"))


def of(path: Path | None, *, dataset: str, file: str) -> Checksum | None:
    """Return a file's row of the table, if there is one."""
    rows = () if path is None else read(path)
    return next((row for row in rows if (row.dataset, row.file) == (dataset, file)), None)


def record(row: Checksum, path: Path, *, lock: Path) -> None:
    """Put a file's row into the table, in place of the one it may have; rows stand sorted by dataset and file.

    All writers lock the file `lock` while they read and rewrite the table, so that none loses a row of another.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        others = [old for old in read(path) if (old.dataset, old.file) != (row.dataset, row.file)]
        ordered = sorted([*others, row], key=lambda row: (row.dataset, row.file))
        with writing(path) as part:
            part.write_text(HEADER + "".join(row.line() for row in ordered), encoding="utf-8")


def record_first(row: SourceFile, file: RawFile, table: Path | None) -> None:
    """Record a file that has arrived, unless its row or the table say already what it has to be, or it is one's own.

    A file without an address is one's own: nobody else has it, and it may change.
    """
    if table is None or row.sha256 is not None or of(table, dataset=row.dataset, file=row.file) is not None:
        return
    today = datetime.now(UTC).date().isoformat()
    line = Checksum(row.dataset, row.file, file.bytes, file.sha256, file.source, today)
    try:
        record(line, table, lock=file.path.parents[1] / LOCKS / "checksums.lock")
    except OSError as error:
        sys.stderr.write(f"{table} cannot be written ({error}); add this line to it:\n{line.line()}")


@dataclass(frozen=True)
class Expected:
    """Size and checksum that somebody has written down; none where unknown."""

    said_by: str
    """Who says so, as the end of a sentence: `as config/files.tsv says of zheng68k`."""
    remedy: str
    """What to type where the file is something else."""
    bytes: int | None = None
    sha256: str | None = None


def check(
    expected: Sequence[Expected], *, file: Path | str, size: int | None = None, sha256: str | None = None
) -> None:
    """Raise InputError if a size in bytes or a checksum is not what is expected; `file` is a path or an address."""
    for said in expected:
        for field, wanted, found, unit in (("size", said.bytes, size, " bytes"), ("sha256", said.sha256, sha256, "")):
            if wanted is not None and found is not None and wanted != found:
                expected_text = f"{wanted}{unit}, {said.said_by}"
                raise unreadable(file, expected_text, f"{found}{unit}", field=field, remedy=said.remedy)


def expected_of(row: SourceFile, table: Path | None) -> list[Expected]:
    """Return what a file has to be: as its row says, and, where that has no checksum, as the table does."""
    remedy = "replace the file by the published one, or correct the row if the publisher changed it"
    expected = [Expected(f"as {FILES} says of {row.dataset}", remedy, row.bytes, row.sha256)]
    first = None if row.sha256 is not None else of(table, dataset=row.dataset, file=row.file)
    if first is not None:
        said_by = f"as {table} says since {first.date}, when it came from {first.source}"
        remedy = f"to accept a file that the publisher changed, delete the line of {row.dataset} {row.file} "
        remedy += f"from {table} and try again"
        expected.append(Expected(said_by, remedy, first.bytes, first.sha256))
    return expected
