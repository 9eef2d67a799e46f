"""Bring a dataset's files here, as published, and write down their checksums."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.config import tables
from celllm.config.table import Table
from celllm.config.tables import Dataset, SourceFile
from celllm.sources import hosts, raw, samples
from celllm.sources.answers import Patience
from celllm.sources.bring import Surroundings, bring
from celllm.sources.download import PATIENCE, Manners
from celllm.sources.partial import FOLDER as PARTIAL
from celllm.sources.progress import Progress
from celllm.sources.raw import RawFile
from celllm.sources.records import Records

LOCKS: Final = ".hosts"
"""Folder beside the datasets' folders: locks that keep the hosts' limits, also between commands."""
JOURNAL: Final = ".fetched.tsv"
"""In a dataset's folder: what arrived when, so that a killed run goes on without asking for it again."""
MOST_FAILURES: Final = 5
"""Files of one dataset that may fail before the rest is not tried any more."""


@dataclass(frozen=True)
class Wanted:
    """A file to be brought."""

    row: SourceFile
    """Its row, templates filled in."""
    facts: dict[str, str] = field(default_factory=dict)
    """What the list of samples says of it."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm fetch", description=__doc__, allow_abbrev=False)
    options.add_argument("--dataset", required=True, help="name of the dataset")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv")
    options.add_argument("--files", required=True, type=Path, help="config/files.tsv")
    options.add_argument("--hosts", required=True, type=Path, help="config/hosts.tsv")
    options.add_argument(
        "--checksums",
        type=Path,
        help="config/checksums.tsv: what files without a published checksum were at first; new ones are added",
    )
    options.add_argument("--samples", type=Path, help="manifest of the dataset's list of samples, if it has one")
    options.add_argument(
        "--exclude-studies", nargs="*", default=[], metavar="STUDY", help="studies whose samples are left out"
    )
    options.add_argument(
        "--mirror",
        action="append",
        default=[],
        type=Path,
        help="folder in which files are looked for before any download; may be given again",
    )
    options.add_argument("--checkout", type=Path, default=Path(), help="folder that repo: addresses start from")
    options.add_argument("--stage", default="fetch", help="name and version of the stage")
    options.add_argument("--manifest", required=True, type=Path, help="where to write the manifest")
    return options


def main(argv: Sequence[str] | None = None, *, patience: Patience = PATIENCE) -> None:
    """Fetch all files of one dataset, then write its manifest."""
    args = parser().parse_args(argv)
    rows = tables.read_files(args.files).of(args.dataset)
    datasets = tables.read_datasets(args.datasets)
    folder = args.manifest.parent
    folder.mkdir(parents=True, exist_ok=True)
    locks = folder.parent / LOCKS
    wanted, remarks = expand(
        rows, table=args.files, datasets=datasets, listed=args.samples, excluded=args.exclude_studies
    )
    progress = Progress(sys.stderr, n_files=len(wanted))
    for remark in remarks:
        progress.say(remark)
    surroundings = Surroundings(
        table=args.files,
        mirrors=tuple(args.mirror),
        checkout=args.checkout,
        manners=Manners(hosts=hosts.read(args.hosts), locks=locks, patience=patience),
        how_to={row.dataset: f"{row.title}: {how}" for row in datasets if (how := samples.HOW_TO.get(row.reader))},
    )
    records = Records(table=args.files, lock=args.checksums, journal=folder / JOURNAL, locks=locks)
    fetched = fetch_all(wanted, folder, surroundings, records, progress)
    partial = folder / PARTIAL
    if partial.is_dir() and not any(partial.iterdir()):
        partial.rmdir()
    raw.write(args.dataset, fetched, args.manifest)


def expand(
    rows: Sequence[SourceFile],
    *,
    table: Path,
    datasets: Table[Dataset],
    listed: Path | None,
    excluded: Sequence[str] = (),
) -> tuple[list[Wanted], tuple[str, ...]]:
    """Fill templates in, one file a sample of the list.

    Returns
    -------
    The files, and what is to be said of the list.

    Raises
    ------
    InputError
        If there is a template and no list, or no file is left.
    """
    sample_list = None
    if listed is not None:
        manifest = raw.read(listed)
        sample_list = samples.without_studies(samples.read(manifest, datasets.row(manifest.dataset)), excluded)
    wanted: list[Wanted] = []
    for row in rows:
        template = next((text for text in (row.url or "", row.file) if "{" in text), None)
        if template is None:
            wanted.append(Wanted(row=row))
        elif sample_list is None:
            raise InputError(
                file=table,
                field=f"url of {row.dataset}",
                expected="the address of one file, or a list of samples to fill it in",
                found=f"a template, {template}, and no list of samples",
                remedy=f"name the list in the column samples of {row.dataset} in config/datasets.tsv (by hand: give "
                "its manifest as --samples), or give each sample a row of its own",
            )
        else:
            wanted += [
                Wanted(row=samples.fill(row, sample, table=table), facts=sample.facts) for sample in sample_list.samples
            ]
    if not wanted:
        raise InputError(
            file=listed or table,
            field="sample",
            expected="at least one sample that is not left out",
            found=f"none without the studies {', '.join(excluded)}",
            remedy="shorten exclude_studies in the configuration, or take the dataset out of it",
        )
    return wanted, sample_list.remarks if sample_list is not None else ()


def fetch_all(
    wanted: Sequence[Wanted],
    folder: Path,
    surroundings: Surroundings,
    records: Records,
    progress: Progress,
) -> list[RawFile]:
    """Bring all files, several at once where their hosts allow it.

    One that fails does not keep the others from arriving, so that the next call has less to do; after MOST_FAILURES
    the rest is not tried.

    Returns
    -------
    The files in the order of `wanted`.

    Raises
    ------
    InputError
        If any failed: that file's error, or one that names them all.
    """

    def one(item: Wanted) -> RawFile:
        row = item.row
        expected, known = records.known(row)
        try:
            brought = bring(row, folder, surroundings, expected=expected, known=known, report=progress.report(row.file))
            records.write(row, brought, progress)
        except OSError as error:
            raise InputError(
                file=folder / row.file,
                field="(whole file)",
                expected="a folder that can be written, with room enough",
                found=f"{type(error).__name__}: {error}",
                remedy="make room, or correct the folder's permissions, then try again",
            ) from None
        progress.done(row.file, brought.bytes)
        return RawFile(
            name=brought.path.name,
            path=brought.path,
            bytes=brought.bytes,
            sha256=brought.sha256,
            sample=row.sample,
            facts=item.facts,
        )

    failures: list[InputError] = []
    with ThreadPoolExecutor(max_workers=_workers(wanted, surroundings)) as pool:
        futures = [pool.submit(one, item) for item in wanted]
        try:
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, InputError):
                    failures.append(error)
                    if len(wanted) > 1:
                        progress.say(f"failed: {error}")
                elif error is not None:
                    raise error
                if len(failures) == MOST_FAILURES:
                    break
        finally:
            progress.stop()
            pool.shutdown(cancel_futures=True)
            progress.close()
    if failures:
        raise _all_of(failures, n_wanted=len(wanted), table=surroundings.table)
    return [future.result() for future in futures]


def _workers(wanted: Sequence[Wanted], surroundings: Surroundings) -> int:
    addresses = {address for item in wanted for address in (item.row.url, *item.row.mirrors) if address}
    connections = [hosts.row_for(address, surroundings.manners.hosts).connections for address in addresses]
    return max(1, min(len(wanted), max(connections, default=1)))


def _all_of(failures: Sequence[InputError], *, n_wanted: int, table: Path) -> InputError:
    if len(failures) == 1:
        return failures[0]
    return InputError(
        file=table,
        field=f"{len(failures)} files",
        expected=f"{n_wanted} files",
        found="; ".join(f"{error.field} of {error.file}: {error.found}" for error in failures),
        remedy=failures[0].remedy,
    )


if __name__ == "__main__":
    run(main)
