"""Archives and compressed files read as streams: nothing is ever unpacked to disk, no path in an archive is trusted.

Compression (gzip, bzip2, xz) is seen by a file's first bytes, not by its name. What is read is bounded, because a few
kilobytes can unpack to terabytes.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final, cast

from celllm.base.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LIMIT: Final = 64 * 2**30
"""Bytes that one file or member may unpack to. The largest source, STRING's links, has 0.5 GB; CancerSCEM's tables
have some GB."""
UNPACKERS: Final = {
    re.compile(rb"\x1f\x8b"): gzip.GzipFile,
    re.compile(rb"BZh[1-9]1AY&SY"): bz2.BZ2File,
    re.compile(rb"\xfd7zXZ\x00"): lzma.LZMAFile,
}
"""What reads a file that begins so: gzip, bzip2, xz."""
N_MAGIC: Final = 10
N_FIRST: Final = 512
"""Bytes that tell what a file is."""
NO_DATA: Final = (
    (re.compile(rb"(?i)\s*<(!doctype html|html|\?xml|error)"), "a page of HTML or XML, as servers send for a file"),
    (re.compile(rb"(?i)\s*\{\s*\"(message|error|detail)"), "JSON, as servers send for an error"),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS, not the file itself: git lfs pull"),
    (re.compile(rb"(/|\.\./)*(\.git/)?annex/objects/"), "a pointer of git-annex, not the file itself: git annex get"),
    (re.compile(rb"\s*\Z"), "an empty file, as an interrupted download leaves it"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a zip archive or an Excel workbook"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "text in UTF-16, which Excel calls Unicode: save it as UTF-8"),
)
"""What a file's first bytes, unpacked, say of one that holds no cells."""
_OF_ARCHIVES: Final = (tarfile.TarError, zipfile.BadZipFile)
BROKEN: Final = (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, *_OF_ARCHIVES)
"""What Python's libraries raise for a truncated or damaged file."""


def unreadable(
    path: Path | str,
    expected: str,
    found: Exception | str,
    *,
    field: str = "(whole file)",
    remedy: str = "fetch the file again; if it is whole, it is of another format: celllm look FILE names its reader",
) -> InputError:
    """Say that a file is not what is expected of it, and what it is if its first bytes tell."""
    said = found if isinstance(found, str) else f"{type(found).__name__}: {found}"
    if isinstance(found, UnicodeDecodeError):
        byte = found.object[found.start]
        said = f"text that is not UTF-8, perhaps Latin-1 ({found.reason} 0x{byte:02x}): save it as UTF-8"
    return InputError(file=path, field=field, expected=expected, found=no_data(path) or said, remedy=remedy)


def no_data(path: Path | str) -> str | None:
    """Say what a file is, compressed or not, if its first bytes tell that it is no table or matrix of cells."""
    if not Path(path).is_file() or str(path).endswith((".zip", ".xlsx")):
        return None
    with Path(path).open("rb") as file:
        first = file.read(N_FIRST)
    unpack = next((unpack for magic, unpack in UNPACKERS.items() if magic.match(first)), None)
    if unpack is not None:
        # what is cut off or damaged says so elsewhere
        with suppress(*BROKEN), unpack(path) as packed:
            first = packed.read(N_FIRST)
    return next((what for pattern, what in NO_DATA if pattern.match(first)), None)


@contextmanager
def reading(path: Path | str, expected: str) -> Iterator[None]:
    """Turn what a broken file raises into an InputError that names the file."""
    try:
        yield
    except BROKEN as error:
        raise unreadable(path, expected, error) from None


@contextmanager
def opened(path: Path, *, limit: int = LIMIT) -> Iterator[IO[bytes]]:
    """Open a file, compressed or not; InputError on reading if it is damaged or unpacks to over `limit` bytes."""
    with path.open("rb") as file:
        yield _unpacked(file, path, limit)


def chained(first: bytes, rest: IO[bytes]) -> IO[bytes]:
    """Return bytes that were read already, then the rest of their stream."""
    return cast("IO[bytes]", io.BufferedReader(_Bounded(rest, "(stream)", LIMIT, first)))


def members(path: Path, *, limit: int = LIMIT) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and stream of each regular file of a tar or zip archive, compression undone, but for macOS's own.

    A stream is good until the next one is asked for. InputError if it is no archive, or truncated; if a member has an
    absolute path or one with `..`, is a link or a device, or unpacks to more than `limit` bytes. tarfile's filters
    would mend some of these paths in silence.
    """
    with reading(path, "a tar or zip archive"):
        for name, size, is_regular, content in _zip(path) if zipfile.is_zipfile(path) else _tar(path, limit):
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if ".." in parts or (parts and (parts[0].startswith("/") or parts[0].endswith(":"))):
                raise _refused(path, name, "a path that leaves the archive's folder")
            if not is_regular:
                raise _refused(path, name, "a link or a device")
            if size > limit:
                raise _too_large(limit, name=f"{path}: {name}")
            if content is not None and "__MACOSX" not in parts and not PurePosixPath(name).name.startswith("._"):
                yield name, _unpacked(content, f"{path}: {name}", limit)


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that `members` reads."""
    return name.endswith((".tar", ".tar.gz", ".tgz", ".zip"))


def wrong_members(path: Path, *, expected: str, found: Iterable[str]) -> InputError:
    """Say that an archive holds other files than its reader needs."""
    names = list(found)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    remedy = "check the dataset's reader in config/datasets.tsv and its rows in config/files.tsv"
    return unreadable(path, expected, (", ".join(names[:10]) or "no file") + more, field="members", remedy=remedy)


Member = tuple[str, int, bool, IO[bytes] | None]
"""Name, size, whether it is a file or a folder, and what a file holds."""


def _tar(path: Path, limit: int) -> Iterator[Member]:
    # Streamed: the archive is read once, front to back. The bound on the whole stops a bomb of many members.
    with opened(path, limit=16 * limit) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                yield member.name, member.size, member.isfile() or member.isdir(), content
        # tarfile stops at the end mark; gzip's checksum stands behind it.
        while stream.read(1 << 20):
            pass


def _zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = member.external_attr >> 28  # upper four bits of the Unix mode: 8 a file, 4 a folder, 0 not given
            with archive.open(member) as content:
                yield member.filename, member.file_size, kind in {0, 4, 8}, None if member.is_dir() else content


def _refused(path: Path, name: str, what: str) -> InputError:
    expected = "files and folders with paths inside the archive"
    remedy = "get the archive from its publisher again; such a one is not to be trusted"
    return unreadable(path, expected, what, field=f"member {name}", remedy=remedy)


def _too_large(limit: int, *, name: Path | str) -> InputError:
    remedy = "take a larger machine, or a form that is read in pieces, such as h5ad; of text, raise LIMIT in "
    remedy += "sources/archives.py; a small file that unpacks to so much is damaged: get it again"
    return unreadable(name, f"at most {limit} bytes", "more", field="size once unpacked", remedy=remedy)


def _unpacked(stream: IO[bytes], name: Path | str, limit: int, *, times: int = 2) -> IO[bytes]:
    """Return the stream itself or, if it is compressed, once or twice, what is in it; at most `limit` bytes of it."""
    first = stream.read(N_MAGIC)
    whole = cast("IO[bytes]", io.BufferedReader(_Bounded(stream, name, limit, first)))
    unpack = next((unpack for magic, unpack in UNPACKERS.items() if magic.match(first)), None)
    if unpack is None or not times:
        return whole
    with reading(name, "a whole file"):
        content = unpack(whole) if unpack is not gzip.GzipFile else gzip.GzipFile(fileobj=whole)
        return _unpacked(cast("IO[bytes]", content), name, limit, times=times - 1)


class _Bounded(io.RawIOBase):
    """Bytes that were read already, then at most so many of a stream; says what file it was that broke off."""

    def __init__(self, stream: IO[bytes], name: Path | str, limit: int, first: bytes = b"") -> None:
        self._stream, self._name, self._first = stream, name, first
        self._limit = self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with reading(self._name, "a whole file"):
            data = self._first[: len(view)] or self._stream.read(len(view))
        self._first = self._first[len(data) :]
        view[: len(data)] = data
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._limit, name=self._name)
        return len(data)
