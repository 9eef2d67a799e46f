"""Whole files or none: writers fill `x.part`, which takes its name only when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: Path | str) -> Iterator[Path]:
    """Yield a path to write to; on success it is renamed to `path`, on any failure it is removed.

    The rename is atomic on one file system, so a reader sees the old file, the new one or none,
    and a run killed in between leaves only a `.part` that nothing reads.

    Parameters
    ----------
    path
        Where the finished file is to stand. Missing parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
