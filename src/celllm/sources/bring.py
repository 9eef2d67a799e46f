"""One file of a dataset, from wherever it is at hand: package, checkout, what is there already, mirror, network."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.base.provenance import digest
from celllm.config.tables import SourceFile
from celllm.sources.checksums import MIRROR, Checksum
from celllm.sources.download import Manners, Report, TransferError, download
from celllm.sources.mirror import Held, find, unpack
from celllm.sources.verify import Expected, check_digest, check_size


@dataclass(frozen=True)
class Surroundings:
    """Where files may come from, and the tables that say so."""

    table: Path
    """`config/files.tsv`; errors name it."""
    mirrors: tuple[Path, ...]
    """Folders that are looked in before the network."""
    checkout: Path
    """Folder that `repo:` addresses start from."""
    manners: Manners
    """How servers are asked."""
    how_to: dict[str, str] = field(default_factory=dict)
    """What the file of a dataset is and how to make it by hand, by dataset, where it has no address."""


@dataclass(frozen=True)
class Brought:
    """A file that is in its place and is what was expected."""

    path: Path
    """Where."""
    bytes: int
    """Its size."""
    sha256: str
    """Its checksum in hex."""
    source: str
    """The address that gave it, or `mirror`."""


def is_shipped(row: SourceFile) -> bool:
    """Whether a file comes with an installed package or with this checkout, whose versions are pinned anyway."""
    return (row.url or "").startswith(("package:", "repo:"))


def bring(
    row: SourceFile,
    folder: Path,
    surroundings: Surroundings,
    *,
    expected: Sequence[Expected],
    known: Checksum | None = None,
    report: Report = lambda _size, _total: None,
) -> Brought:
    """Put one file into the folder, checked.

    Parameters
    ----------
    row
        The file; no template.
    folder
        Where it is put: a copy out of package or checkout, a link into a mirror folder, else a download.
    surroundings
        Where to look.
    expected
        What its size and checksum have to be.
    known
        What it was when it came here before. A file that still is that, from an address of its row, is kept.
    report
        Told the bytes of a download.

    Raises
    ------
    InputError
        If the file is nowhere, or another than expected.
    """
    place = folder / Path(row.file).name
    if is_shipped(row):
        return _checked(_shipped(row, place, surroundings), expected, source=str(row.url))
    kept = _kept(row, place, expected, known)
    if kept is not None:
        return kept
    held = find(surroundings.mirrors, dataset=row.dataset, file=row.file)
    if held is not None:
        return _from_mirror(held, place, expected)
    addresses = _addresses(row, surroundings)
    if place.is_symlink():
        place.unlink()
    try:
        got = download(addresses, place, expected=expected, manners=surroundings.manners, report=report)
    except TransferError as error:
        raise InputError(
            file=surroundings.table,
            field=f"url of {row.dataset}",
            expected=f"{row.file} from {' or '.join(addresses)}",
            found=f"{error}; and {_looked(row, surroundings)}",
            remedy=f"try again later, or {_by_hand(row, surroundings)}",
        ) from None
    return Brought(path=place, bytes=got.bytes, sha256=got.sha256, source=got.source)


def _checked(path: Path, expected: Sequence[Expected], *, source: str) -> Brought:
    size = path.stat().st_size
    check_size(size, expected, file=path)
    sha256 = digest(path)
    check_digest(sha256, expected, file=path)
    return Brought(path=path, bytes=size, sha256=sha256, source=source)


def _shipped(row: SourceFile, place: Path, surroundings: Surroundings) -> Path:
    scheme, _, rest = str(row.url).partition(":")
    if scheme == "repo":
        return _copy(surroundings.checkout / rest, place, row, surroundings)
    module, _, inside = rest.partition(":")
    if find_spec(module) is None:
        raise _absent(row, surroundings, found=f"no installed package {module}")
    with as_file(files(module).joinpath(inside)) as source:
        return _copy(source, place, row, surroundings)


def _copy(source: Path, place: Path, row: SourceFile, surroundings: Surroundings) -> Path:
    if not source.is_file():
        raise _absent(row, surroundings, found=f"no file at {source.absolute()}")
    with writing(place) as part:
        shutil.copyfile(source, part)
    return place


def _absent(row: SourceFile, surroundings: Surroundings, *, found: str) -> InputError:
    return InputError(
        file=surroundings.table,
        field=f"url of {row.dataset}",
        expected=f"the file {row.url}",
        found=found,
        remedy="give the checkout's root folder as --checkout, with the packages of the lock file installed",
    )


def _kept(row: SourceFile, place: Path, expected: Sequence[Expected], known: Checksum | None) -> Brought | None:
    """Return the file that is there, if it came from where its row says and has not changed since."""
    if known is None or place.is_symlink() or not place.is_file():
        return None
    if known.source not in {MIRROR, row.url, *row.mirrors} or place.stat().st_size != known.bytes:
        return None
    if digest(place) != known.sha256:
        return None
    try:
        check_size(known.bytes, expected, file=place)
        check_digest(known.sha256, expected, file=place)
    except InputError:
        return None
    return Brought(path=place, bytes=known.bytes, sha256=known.sha256, source=known.source)


def _from_mirror(held: Held, place: Path, expected: Sequence[Expected]) -> Brought:
    """Link to a mirror's file, or unpack it if the mirror holds it gzipped; checked before it takes its name."""
    if not held.gzipped:
        found = _checked(held.path.resolve(), expected, source=MIRROR)
        place.unlink(missing_ok=True)
        place.symlink_to(found.path)
        return Brought(path=place, bytes=found.bytes, sha256=found.sha256, source=MIRROR)
    with writing(place) as part:
        unpack(held, part)
        size, sha256 = part.stat().st_size, digest(part)
        check_size(size, expected, file=held.path)
        check_digest(sha256, expected, file=held.path)
    return Brought(path=place, bytes=size, sha256=sha256, source=MIRROR)


def _addresses(row: SourceFile, surroundings: Surroundings) -> list[str]:
    """All addresses of a file; InputError if it has none, or one of a kind that is unknown here."""
    if row.url is None and not row.mirrors:
        first = surroundings.mirrors[0].absolute() if surroundings.mirrors else surroundings.table
        raise InputError(
            file=first,
            field=row.file,
            expected=f"{row.file} of {row.dataset} in a mirror folder; it has no address to download from",
            found=_looked(row, surroundings),
            remedy=_by_hand(row, surroundings),
        )
    addresses = [address for address in (row.url, *row.mirrors) if address is not None]
    for address in addresses:
        if not address.startswith(("https://", "http://")):
            raise InputError(
                file=surroundings.table,
                field=f"url of {row.dataset}",
                expected="https://…, package:<module>:<path>, repo:<path> or -",
                found=address,
                remedy="correct the address",
            )
    return addresses


def _looked(row: SourceFile, surroundings: Surroundings) -> str:
    if not surroundings.mirrors:
        return "no mirror folder was given"
    folders = " and ".join(str(folder.absolute()) for folder in surroundings.mirrors)
    return f"{folders} has no file {row.file}"


def _by_hand(row: SourceFile, surroundings: Surroundings) -> str:
    """Say where to put a file by hand, and what it is where it cannot be had from an address."""
    if surroundings.mirrors:
        said = f"put {row.file} into {surroundings.mirrors[0].absolute()}"
    else:
        said = f"put {row.file} into a folder and name the folder: --config mirror=FOLDER"
    made = surroundings.how_to.get(row.dataset)
    return f"{said}: {made}" if made else said
