"""Bring a dataset's files here, as published, and write down their checksums."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

import pooch

from celllm.cli.entry import run
from celllm.contracts import raw, tables
from celllm.contracts.atomic import writing
from celllm.contracts.tables import SourceFile
from celllm.errors import InputError
from celllm.provenance import digest

USER_AGENT = "Mozilla/5.0 (compatible; celllm)"
"""PanglaoDB answers 403 to a client that does not look like a browser."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.fetch", description=__doc__, allow_abbrev=False)
    options.add_argument("--dataset", required=True, help="name of the dataset")
    options.add_argument("--files", required=True, type=Path, help="config/files.tsv")
    options.add_argument("--mirror", type=Path, help="folder in which files are looked for before any download")
    options.add_argument("--checkout", type=Path, default=Path(), help="folder that repo: addresses start from")
    options.add_argument("--stage", default="fetch", help="name and version of the stage")
    options.add_argument("--manifest", required=True, type=Path, help="where to write the manifest")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch all files of one dataset, then write its manifest."""
    args = parser().parse_args(argv)
    table = tables.read_files(args.files)
    rows = table.of(args.dataset)
    folder = args.manifest.parent
    folder.mkdir(parents=True, exist_ok=True)
    fetched = []
    for row in rows:
        place = _bring(row, folder, args.mirror, args.files, checkout=args.checkout)
        check(place, row, args.files)
        fetched.append(raw.describe(place, sample=row.sample))
    raw.write(args.dataset, fetched, args.manifest)


def _bring(row: SourceFile, folder: Path, mirror: Path | None, table: Path, *, checkout: Path) -> Path:
    """Put one file into the folder: out of the package or checkout, the mirror, or the internet."""
    place = folder / Path(row.file).name
    scheme, _, rest = (row.url or "").partition(":")
    if scheme == "package":
        module, _, inside = rest.partition(":")
        if find_spec(module) is None:
            raise _absent(row, table, found=f"no installed package {module}")
        with as_file(files(module).joinpath(inside)) as source:
            return _copy(source, place, row, table)
    if scheme == "repo":
        return _copy(checkout / rest, place, row, table)
    if mirror is not None and (mirror / row.file).is_file():
        source = (mirror / row.file).resolve()
        check(source, row, table)
        place.unlink(missing_ok=True)
        place.symlink_to(source)
        return place
    return _download(row, place, mirror, table)


def _copy(source: Path, place: Path, row: SourceFile, table: Path) -> Path:
    if not source.is_file():
        raise _absent(row, table, found=f"no file at {source.absolute()}")
    with writing(place) as part:
        shutil.copyfile(source, part)
    return place


def _absent(row: SourceFile, table: Path, *, found: str) -> InputError:
    return InputError(
        file=table,
        field=f"url of {row.dataset}",
        expected=f"the file {row.url}",
        found=found,
        remedy="give the checkout's root folder as --checkout, with the packages of the lock file installed",
    )


def _download(row: SourceFile, place: Path, mirror: Path | None, table: Path) -> Path:
    looked = "no mirror folder was given" if mirror is None else f"{mirror.absolute()} has no file {row.file}"
    if row.url is None:
        raise InputError(
            file=mirror.absolute() if mirror is not None else table,
            field=row.file,
            expected=f"{row.file} of {row.dataset} in a mirror folder; it has no address to download from",
            found=looked,
            remedy=f"put {row.file} into {mirror.absolute()}"
            if mirror is not None
            else "name the folder that has it: --config mirror=FOLDER",
        )
    if "{" in row.url:
        raise InputError(
            file=table,
            field=f"url of {row.dataset}",
            expected="the address of one file",
            found=f"a template, {row.url}; and {looked}",
            remedy="give each sample a row of its own, its address filled in; or take the dataset out of the config",
        )
    if not row.url.startswith(("https://", "http://")):
        raise InputError(
            file=table,
            field=f"url of {row.dataset}",
            expected="https://…, package:<module>:<path>, repo:<path> or -",
            found=row.url,
            remedy="correct the address",
        )
    try:
        pooch.retrieve(
            row.url,
            known_hash=f"sha256:{row.sha256}" if row.sha256 else None,
            fname=place.name,
            path=place.parent,
            downloader=pooch.HTTPDownloader(
                progressbar=sys.stderr.isatty(), timeout=60, headers={"User-Agent": USER_AGENT}
            ),
        )
    except (OSError, ValueError) as error:
        raise InputError(
            file=table,
            field=f"url of {row.dataset}",
            expected=f"{row.file} from {row.url}",
            found=f"{type(error).__name__}: {error}; and {looked}",
            remedy=f"try again later, or put {row.file} into a folder and name it: --config mirror=FOLDER",
        ) from None
    return place


def check(place: Path, row: SourceFile, table: Path) -> None:
    """Raise InputError if a file has another size or checksum than its row gives."""
    size = place.stat().st_size
    if row.bytes is not None and size != row.bytes:
        raise InputError(
            file=place,
            field="size",
            expected=f"{row.bytes} bytes, as {table} says of {row.dataset}",
            found=f"{size} bytes",
            remedy="replace the file by the published one, or correct the row if the publisher changed it",
        )
    if row.sha256 is not None:
        found = digest(place)
        if found != row.sha256:
            raise InputError(
                file=place,
                field="sha256",
                expected=f"{row.sha256}, as {table} says of {row.dataset}",
                found=found,
                remedy="replace the file by the published one, or correct the row if the publisher changed it",
            )


if __name__ == "__main__":
    run(main)
