"""List the files that a configuration needs: size, licence, what is here, and where to put the rest."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.config import tables
from celllm.config.table import Table
from celllm.config.tables import Dataset, Run, SourceFile, Task
from celllm.sources import checksums, raw, samples
from celllm.sources.checksums import Checksum
from celllm.sources.mirror import find, unpack
from celllm.sources.progress import amount
from celllm.sources.raw import RawManifest
from celllm.sources.samples import SampleList

MISSING: Final = "missing"
MOST_NAMED: Final = 6
"""Missing files of a dataset that are printed one by one."""


@dataclass(frozen=True)
class File:
    """A file and where it is."""

    file: str
    """Its name."""
    address: str | None
    """Where it is downloaded from; none: it has to be put into a mirror folder by hand."""
    bytes: int | None
    """Its size; none where nobody has written it down."""
    state: str
    """`fetched`, `in mirror`, `in package`, `in checkout` or `missing`."""


@dataclass(frozen=True)
class Source:
    """A dataset and its files."""

    dataset: str
    """Its name."""
    title: str
    """What it is."""
    licence: str | None
    """Licence of the source."""
    citation: str | None
    """Whom to cite."""
    files: tuple[File, ...]
    """All files; one for the template if the list of samples is not here yet."""
    is_template: bool
    """Whether the list of samples is not here yet, so that the number of files is not known."""
    how_to: str | None
    """What its file is and how to make it by hand, where it has no address."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm sources", description=__doc__, allow_abbrev=False)
    options.add_argument(
        "--config", type=Path, action="append", default=[], help="overlay of config.yaml; without any: all datasets"
    )
    options.add_argument("--checkout", type=Path, default=Path(), help="folder that holds config.yaml and config/")
    options.add_argument("--raw", type=Path, default=Path("resources/raw"), help="where fetched files lie")
    options.add_argument("--mirror", type=Path, help="mirror folder; without it the configuration's")
    options.add_argument("--verbose", action="store_true", help="print whom to cite, too")
    options.add_argument("--json", action="store_true", help="print JSON")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is needed, what is here, and where to put the rest."""
    args = parser().parse_args(argv)
    tables_folder = args.checkout / "config"
    datasets = tables.read_datasets(tables_folder / "datasets.tsv")
    config = merged([args.checkout / "config.yaml", *args.config])
    mirror = args.mirror or (Path(config["mirror"]) if config.get("mirror") else None)
    names = [row.dataset for row in datasets if not row.simulated]
    if args.config:
        names = needed(
            config,
            datasets=datasets,
            tasks=tables.read_tasks(tables_folder / "tasks.tsv"),
            runs=tables.read_runs(args.checkout / config["runs"]),
        )
    look = Look(
        files=tables.read_files(tables_folder / "files.tsv"),
        datasets=datasets,
        lock=checksums.read(tables_folder / "checksums.tsv"),
        raw=args.raw,
        mirror=mirror,
        checkout=args.checkout,
        excluded=tuple(config.get("exclude_studies", [])),
    )
    found = [look.source(datasets.row(name)) for name in names]
    if args.json:
        print(json.dumps([asdict(source) for source in found], indent=2))
    else:
        sys.stdout.write(as_text(found, mirror=mirror, cite=args.verbose))


def merged(paths: Sequence[Path]) -> dict[str, Any]:
    """Read configuration files, each overlaying the ones before it key by key, as Snakemake does.

    Raises
    ------
    InputError
        If one is missing or not a mapping.
    """
    config: dict[str, Any] = {}
    for path in paths:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            values = f"{type(error).__name__}: {error}"
        if not isinstance(values, dict):
            raise InputError(
                file=path,
                field="(whole file)",
                expected="a configuration: YAML, key: value",
                found=str(values),
                remedy="start this in the checkout, or name its folder as --checkout",
            )
        config = overlaid(config, values)
    return config


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`; mappings in both are overlaid in turn."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = overlaid(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


def needed(config: Mapping[str, Any], *, datasets: Table[Dataset], tasks: Table[Task], runs: Table[Run]) -> list[str]:
    """Return the datasets that a configuration needs, each once, its list of samples before it; none simulated."""
    names = [config["gene_annotation"]]
    if config["network"] != "coexpression":
        names.append(config["network"])
    if config["gene2vec"] is not None:
        names.append(config["gene2vec"])
    names += [*config["corpus"], *config["embed"]]
    for planned in runs:
        task = tasks.row(planned.task)
        names += [name for name in (task.dataset, task.response) if name is not None]
    rows = [datasets.row(name) for name in names]
    listed = [name for row in rows for name in (row.samples, row.dataset) if name is not None]
    return [name for name in dict.fromkeys(listed) if not datasets.row(name).simulated]


@dataclass(frozen=True)
class Look:
    """Where to look for files."""

    files: Table[SourceFile]
    """`config/files.tsv`."""
    datasets: Table[Dataset]
    """`config/datasets.tsv`."""
    lock: Table[Checksum]
    """`config/checksums.tsv`."""
    raw: Path
    """`resources/raw`."""
    mirror: Path | None
    """The mirror folder."""
    checkout: Path
    """Where `repo:` addresses start."""
    excluded: tuple[str, ...]
    """Studies that are left out."""

    def source(self, dataset: Dataset) -> Source:
        """Look for a dataset's files."""
        rows = list(self.files.of(dataset.dataset))
        template = any("{" in row.file for row in rows)
        every = self.samples(dataset) if template else None
        if every is not None:
            kept = samples.without_studies(every, self.excluded).samples
            rows = [samples.fill(row, sample, table=self.files.file) for row in rows for sample in kept]
            template = False
        return Source(
            dataset=dataset.dataset,
            title=dataset.title,
            licence=dataset.licence,
            citation=dataset.citation,
            files=tuple(self.file(row) for row in rows),
            is_template=template,
            how_to=samples.HOW_TO.get(dataset.reader),
        )

    def samples(self, dataset: Dataset) -> SampleList | None:
        """Read a dataset's list of samples, fetched or in the mirror; none where it is in neither."""
        if dataset.samples is None:
            return None
        kind = self.datasets.row(dataset.samples)
        fetched = self.raw / kind.dataset / "manifest.json"
        if fetched.is_file():
            return samples.read(raw.read(fetched), kind)
        row = self.files.row(kind.dataset)
        held = None if self.mirror is None else find([self.mirror], dataset=row.dataset, file=row.file)
        if held is None:
            return None
        with TemporaryDirectory() as folder:
            place = Path(folder, row.file)
            if held.gzipped:
                unpack(held, place)
            else:
                place.symlink_to(held.path.absolute())
            return samples.read(RawManifest(kind.dataset, (raw.describe(place),), held.path), kind)

    def file(self, row: SourceFile) -> File:
        """Look for one file."""
        locked = checksums.of(self.lock, dataset=row.dataset, file=row.file)
        return File(
            file=row.file,
            address=row.url,
            bytes=row.bytes if row.bytes is not None or locked is None else locked.bytes,
            state=self.state(row),
        )

    def state(self, row: SourceFile) -> str:
        """Say where a file is."""
        scheme, _, rest = (row.url or "").partition(":")
        if scheme == "package":
            module, _, inside = rest.partition(":")
            here = find_spec(module) is not None and files(module).joinpath(inside).is_file()
            return "in package" if here else MISSING
        if scheme == "repo":
            return "in checkout" if (self.checkout / rest).is_file() else MISSING
        if (self.raw / row.dataset / Path(row.file).name).is_file():
            return "fetched"
        held = None if self.mirror is None else find([self.mirror], dataset=row.dataset, file=row.file)
        return MISSING if held is None else "in mirror"


def as_text(found: Sequence[Source], *, mirror: Path | None, cite: bool) -> str:
    """Write a table of the datasets, totals, and how to come by what is missing."""
    head = ("dataset", "files", "size", "licence", "present")
    lines = [head, *[(s.dataset, _number(s), _size(s.files), s.licence or "-", _states(s)) for s in found]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
    every = [file for source in found if not source.is_template for file in source.files]
    missing = [file for file in every if file.state == MISSING]
    text += f"\n{len(found)} datasets, {len(every)} files, {_size(every)}; missing: {len(missing)} files"
    text += f", {_size(missing)}\n" if missing else "\n"
    open_lists = [source.dataset for source in found if source.is_template]
    if open_lists:
        text += f"Not counted, as their lists of samples are not fetched yet: {', '.join(open_lists)}\n"
    if cite:
        text += "\nCite:\n" + "".join(f"  {source.dataset}: {source.citation or '-'}\n" for source in found)
    folder = str(mirror) if mirror is not None else "MIRROR"
    gone = "".join(_how(source, folder) for source in found)
    if gone:
        text += f"\nMissing (fetched by the workflow from the address, or put by hand into {folder}):\n{gone}"
    if gone and mirror is None:
        text += "MIRROR is any folder; name it to the workflow: --config mirror=MIRROR\n"
    return text


def _number(source: Source) -> str:
    return "list not fetched yet" if source.is_template else str(len(source.files))


def _size(every: Sequence[File]) -> str:
    known = [file.bytes for file in every if file.bytes is not None]
    if len(known) == len(every):
        return amount(sum(known))
    return f"{amount(sum(known))} + {len(every) - len(known)} of unknown size" if known else "?"


def _states(source: Source) -> str:
    states = [file.state for file in source.files]
    if len(set(states)) == 1:
        return states[0]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _how(source: Source, folder: str) -> str:
    """Say how to come by a dataset's missing files; of many, the first few stand for all."""
    gone = [file for file in source.files if file.state == MISSING]
    text = ""
    for file in gone[:MOST_NAMED]:
        made = f" ({source.how_to})" if file.address is None and source.how_to is not None else ""
        text += f"  {source.dataset}: {file.address or 'no address'}\n    by hand: {folder}/{file.file}{made}\n"
    if len(gone) > MOST_NAMED:
        text += f"  {source.dataset}: and {len(gone) - MOST_NAMED} more of this kind; --json names all\n"
    return text


if __name__ == "__main__":
    run(main)
