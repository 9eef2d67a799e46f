"""What a file has to be, who says so, and what to type where it is something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from celllm.base.errors import InputError


@dataclass(frozen=True)
class Expected:
    """Size and checksum that somebody has written down."""

    said_by: str
    """Who says so, as the end of a sentence: `as config/files.tsv says of zheng68k`."""
    remedy: str
    """What to type where the file is something else."""
    bytes: int | None = None
    """Size; none where unknown."""
    sha256: str | None = None
    """Checksum in hex; none where unknown."""


def check_size(size: int, expected: Sequence[Expected], *, file: Path | str) -> None:
    """Raise InputError if `size` bytes are not what is expected; `file` is the path or address it is about."""
    for said in expected:
        if said.bytes is not None and said.bytes != size:
            raise InputError(
                file=file,
                field="size",
                expected=f"{said.bytes} bytes, {said.said_by}",
                found=f"{size} bytes",
                remedy=said.remedy,
            )


def check_digest(sha256: str, expected: Sequence[Expected], *, file: Path | str) -> None:
    """Raise InputError if the checksum (sha256, in hex) is not what is expected."""
    for said in expected:
        if said.sha256 is not None and said.sha256 != sha256:
            raise InputError(
                file=file,
                field="sha256",
                expected=f"{said.sha256}, {said.said_by}",
                found=sha256,
                remedy=said.remedy,
            )
