"""The files of a dataset, from wherever they are at hand: package, checkout, mirror, the folder itself, network."""

from __future__ import annotations

import gzip
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.base.provenance import digest
from celllm.config.tables import SourceFile
from celllm.sources.archives import is_archive, members, reading, unreadable, wrong_members
from celllm.sources.checksums import FILES, LOCKS, check, expected_of, record_first
from celllm.sources.download import DownloadError, download, public
from celllm.sources.mirror import find, has_built, shipped
from celllm.sources.raw import RawFile, describe
from celllm.sources.samples import SAFE

MAX_FAILURES: Final = 5
"""Files of one dataset that may fail before the rest is not tried any more."""


@dataclass(frozen=True)
class FetchContext:
    """Where files go and may come from."""

    folder: Path
    mirrors: Sequence[Path] = ()
    checkout: Path = Path()
    checksums: Path | None = None
    """`config/checksums.tsv`, committed; none: not kept."""
    built: tuple[str, ...] = ()
    """Files that stand for all published ones where a mirror has them."""
    how_to: str | None = None
    """What the file is and how to make it by hand, where it has no address."""


def fetch_all(wanted: Sequence[tuple[SourceFile, Mapping[str, str]]], context: FetchContext) -> list[RawFile]:
    """Fetch files, one after the other; each is a row without template and the facts of its sample.

    One that fails does not keep the others from arriving; after MAX_FAILURES the rest is not tried. InputError if any
    failed: that file's error, or one that names them all; or if another process fetches the dataset.
    """
    fetched: list[RawFile] = []
    failures: list[InputError] = []
    wanted = _built(context) or wanted
    with _alone(context):
        for number, (row, facts) in enumerate(wanted, start=1):
            try:
                file = fetch_file(row, context, facts)
            except InputError as error:
                failures.append(error)
                if len(wanted) > 1:
                    sys.stderr.write(f"failed: {error}\n")
                if len(failures) == MAX_FAILURES:
                    break
            else:
                is_chosen = file.part is not None and is_archive(file.name)
                fetched += _unpacked(file, context.folder) if is_chosen else [file]
                if file.source.startswith("http"):
                    sys.stderr.write(f"{row.file}: {file.bytes / 1e6:.1f} MB ({number} of {len(wanted)} files)\n")
    if len(failures) > 1:
        found, field = "; ".join(f"{error.file}: {error.found}" for error in failures), f"{len(failures)} files"
        raise unreadable(FILES, f"{len(wanted)} files", found, field=field, remedy=failures[0].remedy)
    if failures:
        raise failures[0]
    return fetched


def _built(context: FetchContext) -> list[tuple[SourceFile, Mapping[str, str]]]:
    """Return the rows of the files that stand for the published ones, where a mirror has them."""
    dataset = context.folder.name
    if not has_built(context.mirrors, dataset=dataset, built=context.built):
        return []
    return [(SourceFile(dataset, name, None, None, None, None), {}) for name in context.built]


@contextmanager
def _alone(context: FetchContext) -> Iterator[None]:
    """Lock the dataset's folder against other processes."""
    lock = context.folder.parent / LOCKS / f"{context.folder.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    context.folder.mkdir(exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        found, remedy = f"another one at it, which holds {lock}", "wait for it to end, then try again"
        raise unreadable(context.folder, "one process that fetches it", found, remedy=remedy) from None


def fetch_file(row: SourceFile, context: FetchContext, facts: Mapping[str, str]) -> RawFile:
    """Put one file into the dataset's folder: a copy out of package or checkout, a link into a mirror, or a download.

    InputError if the file is nowhere, or another than expected; or the folder cannot be written.
    """
    place = context.folder / Path(row.file).name
    try:
        facts = {name: str(said) for name, said in {**row.facts, **facts}.items()}
        is_shipped = (row.url or "").startswith(("package:", "repo:"))
        source, sha256 = (_copied if is_shipped else _published)(row, place, context)
        file = RawFile(place.name, place, place.stat().st_size, sha256, row.sample, facts, source, row.part, row.use)
        if not is_shipped and (row.url is not None or row.file in context.built):
            record_first(row, file, context.checksums)
    except OSError as error:
        expected = "a folder that can be written, with room enough"
        remedy = "make room, or correct the folder's permissions, then try again"
        raise unreadable(place, expected, error, remedy=remedy) from None
    return file


def _copied(row: SourceFile, place: Path, context: FetchContext) -> tuple[str, str]:
    """Copy a file of an installed package or of this checkout, whose versions are pinned anyway."""
    url = str(row.url)
    held = shipped(url, context.checkout)
    if held is None:
        found = f"no such file, with {context.checkout.absolute()} as the checkout"
        remedy = "give the checkout's root folder as --checkout, with the packages of the lock file installed"
        raise unreadable(FILES, f"the file {url}", found, field=f"url of {row.dataset}", remedy=remedy)
    with writing(place) as part:
        shutil.copyfile(held, part)
    sha256 = digest(place)
    check(expected_of(row, None), file=place, size=place.stat().st_size, sha256=sha256)
    return url, sha256


def _published(row: SourceFile, place: Path, context: FetchContext) -> tuple[str, str]:
    """Link, unpack, keep or download a file; return its source and checksum."""
    expected = expected_of(row, context.checksums)
    held = find(context.mirrors, dataset=row.dataset, file=row.file)
    if held is not None:
        with writing(place) as part:
            if held.name == f"{place.name}.gz":
                with reading(held, "a whole gzip file"), gzip.open(held) as packed, part.open("wb") as file:
                    shutil.copyfileobj(packed, file)
            else:
                part.symlink_to(held.resolve())
            sha256 = digest(part)
            check(expected, file=held, size=part.stat().st_size, sha256=sha256)
        return "mirror", sha256
    field = f"url of {row.dataset}"
    if row.url is None:
        folder = context.mirrors[0].absolute() if context.mirrors else FILES
        wanted = f"{row.file} of {row.dataset} in a mirror folder; it has no address to download from"
        raise unreadable(folder, wanted, _looked(row, context), field=row.file, remedy=_by_hand(row, context))
    if not row.url.startswith(("https://", "http://")):
        wanted = "https://…, package:<module>:<path>, repo:<path> or -"
        raise unreadable(FILES, wanted, public(row.url), field=field, remedy="correct the address")
    if place.is_symlink():
        place.unlink()
    try:
        sha256 = download(row.url, place, expected=expected)
    except DownloadError as error:
        remedy = f"try again later, or {_by_hand(row, context)}"
        wanted, found = f"{row.file} from {public(row.url)}", f"{error}; and {_looked(row, context)}"
        raise unreadable(FILES, wanted, found, field=field, remedy=remedy) from None
    return public(row.url), sha256


def _looked(row: SourceFile, context: FetchContext) -> str:
    if not context.mirrors:
        return "no mirror folder was given"
    folders = " and ".join(str(folder.absolute()) for folder in context.mirrors)
    if any((folder / row.file).is_dir() for folder in context.mirrors):
        return f"{row.file} is a folder there, such as a zarr store; write its cells as h5ad: adata.write_h5ad(…)"
    return f"{folders} has no file {row.file}"


def _by_hand(row: SourceFile, context: FetchContext) -> str:
    """Say where to put a file by hand, and what it is where it cannot be had from an address."""
    if context.mirrors:
        said = f"put {row.file} into {context.mirrors[0].absolute()}"
    else:
        said = f"put {row.file} into a folder and name the folder: --config mirror=FOLDER"
    return f"{said}: {context.how_to}" if context.how_to else said


def _unpacked(archive: RawFile, folder: Path) -> list[RawFile]:
    """Unpack the members in whose names the pattern `part` is found; its group is the sample, also as a fact.

    Names of folders stand before a file's, with `_` between; `.gz` goes. InputError if no member fits, or a name
    is unsafe.
    """
    pattern = _pattern(archive)
    files: list[RawFile] = []
    names = []
    for name, stream in members(archive.path):
        names.append(name)
        found = pattern.search(name)
        if found is None:
            continue
        place = folder / name.removesuffix(".gz").removeprefix("./").replace("/", "_")
        if not SAFE.fullmatch(place.name) or place == archive.path or any(place == file.path for file in files):
            expected = "members that become files of different names, of letters, digits and . _ + -"
            raise unreadable(archive.path, expected, place.name, field=f"member {name}")
        with writing(place) as part, part.open("wb") as file:
            shutil.copyfileobj(stream, file)
        sample = found[1]
        made = describe(place, sample=sample, facts=archive.facts | {"sample": sample})
        files.append(RawFile(**vars(made) | {"source": archive.source, "use": archive.use}))
    if not files:
        raise wrong_members(archive.path, expected=f"members that fit {archive.part}", found=names)
    return files


def _pattern(archive: RawFile) -> re.Pattern[str]:
    try:
        pattern = re.compile(str(archive.part))
    except re.error as error:
        found = f"{archive.part}: {error}"
    else:
        if pattern.groups == 1:
            return pattern
        found = f"{archive.part}, with {pattern.groups} groups"
    expected = "a pattern of members' names with one group, the sample: (GSM\\d+)_.*"
    raise unreadable(FILES, expected, found, field=f"part of {archive.name}", remedy="correct the column part")
