"""Whole files or none: writers fill a file of another name, which takes its own only when it is complete."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from celllm.base.errors import InputError

MARGIN = 1 << 22
"""Bytes that HDF5 may hold back until a file is closed."""
OWN = re.compile(r".+\.(\d{1,9})-[0-9a-f]{6}@(.*)\.tmp")
"""Name of the folder that a run writes a file in, with its process and machine."""


@contextmanager
def writing(path: Path | str) -> Iterator[Path]:
    """Yield a path to write to; on success it is renamed to `path`, on any failure it is removed.

    The rename is atomic on one file system, so a reader sees the old file, the new one or none. A run killed in
    between leaves a folder `x.PID-…@MACHINE.tmp` that nothing reads and the next run there removes; of two runs at
    once into one file each has its own, and the later one's stays.

    Missing parent folders are made. InputError if the disk is full, or nothing can be written there.
    """
    path = Path(path)
    own = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(3)}@{platform.node()}.tmp")
    part = own / f"{path.name}.part"
    try:
        require_room(path)
        clear(path.parent, path.name)
        own.mkdir()
        yield part
        part.replace(path)
    except BaseException as error:
        if _is_full(error) and not isinstance(error, InputError):
            raise _full(path, f"a full disk: {error}") from error
        if isinstance(error, OSError) and error.filename and Path(error.filename) in {own, part, path, *path.parents}:
            raise _closed(path, error.strerror or "") from error
        raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


def check_place(path: Path | str) -> None:
    """Raise InputError if no file can be written there, as is known before any work is done."""
    path = Path(path)
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir():
        raise _closed(path, "a folder")
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise _closed(path, f"{there}, which {'cannot be written to' if there.is_dir() else 'is no folder'}")


def clear(folder: Path, name: str = "") -> None:
    """Remove what ended runs of this machine were writing in a folder; of one file only if `name` is given.

    Of another machine's process on the same file system nobody here knows whether it still runs.
    """
    for own in folder.glob(f"{escape(name) or '*'}.*.tmp"):
        found = OWN.fullmatch(own.name)
        if found is None or found[2] != platform.node():
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(own, ignore_errors=True)
        except PermissionError:
            continue  # another user's run


def require_room(path: Path, n_bytes: int = 0) -> None:
    """Raise InputError if the disk lacks so many bytes and MARGIN; for HDF5, which may crash where a write fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < n_bytes + MARGIN:
        raise _full(path, f"{free:,} bytes free, {n_bytes + MARGIN:,} needed next")


def _closed(path: Path, found: str) -> InputError:
    remedy = "name another file, in a folder of your own"
    return InputError(
        file=path, field="(whole file)", expected="a file that can be written", found=found, remedy=remedy
    )


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
