"""Where a file lies in a mirror folder."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

from celllm.base.errors import InputError


def find(folders: Iterable[Path], *, dataset: str, file: str) -> Path | None:
    """Look for a file: in the folder of its dataset, then at the top, then both with `.gz` behind the name.

    Folders are asked in order, and each is asked for all four names before the next one is. A file whose name has
    grown by `.gz` holds the wanted bytes compressed: `unpack` gives them.
    """
    for folder in folders:
        for suffix in ("", ".gz"):
            for place in (folder / dataset / f"{file}{suffix}", folder / f"{file}{suffix}"):
                if place.is_file():
                    return place
    return None


def unpack(gzipped: Path, place: Path) -> None:
    """Write the bytes inside a gzipped file to `place`; InputError if it is broken."""
    try:
        with gzip.open(gzipped, "rb") as packed, place.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            file=gzipped,
            field="(whole file)",
            expected="a whole gzip file",
            found=f"{type(error).__name__}: {error}",
            remedy="replace it in the mirror folder",
        ) from None
