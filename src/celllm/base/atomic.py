"""Whole files or none: writers fill `x.part`, which takes its name only when it is complete."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from celllm.base.errors import InputError

MARGIN = 1 << 22
"""Bytes that HDF5 may hold back until a file is closed."""


@contextmanager
def writing(path: Path | str) -> Iterator[Path]:
    """Yield a path to write to; on success it is renamed to `path`, on any failure it is removed.

    The rename is atomic on one file system, so a reader sees the old file, the new one or none,
    and a run killed in between leaves only a `.part` that nothing reads.

    Missing parent folders are made. InputError if the disk is full.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        require_room(path)
        part.unlink(missing_ok=True)
        yield part
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if _is_full(error) and not isinstance(error, InputError):
            raise _full(path, f"a full disk: {error}") from error
        raise


def require_room(path: Path, n_bytes: int = 0) -> None:
    """Raise InputError if the disk lacks so many bytes and MARGIN; for HDF5, which may crash where a write fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < n_bytes + MARGIN:
        raise _full(path, f"{free:,} bytes free, {n_bytes + MARGIN:,} needed next")


def _full(path: Path, found: str) -> InputError:
    return InputError(
        file=path,
        field="(whole file)",
        expected="room enough on the disk",
        found=found,
        remedy="make room, or link results/ to another disk, and start again; what is finished stays",
    )


def _is_full(error: BaseException) -> bool:
    """Tell whether the disk, or one's share of it, was full; HDF5 says so in the text of an error of its own."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in numbers or any(os.strerror(number) in str(error) for number in numbers)
