"""Where a file lies in a mirror folder. Imports the standard library only, so that the workflow may ask too."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from celllm.base.errors import InputError


@dataclass(frozen=True)
class Held:
    """A file that a mirror folder has."""

    path: Path
    """Where it lies."""
    gzipped: bool
    """Whether it lies there compressed, `.gz` behind its name, and its bytes are those inside."""


def find(folders: Iterable[Path], *, dataset: str, file: str) -> Held | None:
    """Look for a file: in the folder of its dataset, then at the top, then both with `.gz` behind the name.

    Folders are asked in order, and each is asked for all four names before the next one is.
    """
    for folder in folders:
        for suffix in ("", ".gz"):
            for place in (folder / dataset / f"{file}{suffix}", folder / f"{file}{suffix}"):
                if place.is_file():
                    return Held(path=place, gzipped=suffix == ".gz")
    return None


def unpack(held: Held, place: Path) -> None:
    """Write the bytes inside a gzipped file to `place`; InputError if it is broken."""
    try:
        with gzip.open(held.path, "rb") as packed, place.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            file=held.path,
            field="(whole file)",
            expected="a whole gzip file",
            found=f"{type(error).__name__}: {error}",
            remedy="replace it in the mirror folder",
        ) from None
