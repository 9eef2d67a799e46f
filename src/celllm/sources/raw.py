"""`resources/raw/{dataset}/manifest.json`: the files of a dataset as published, with their checksums.

The manifest is written last, so a half-fetched dataset has none. One of a file of one's own:
`raw.write("mine", [raw.describe("my.h5ad")], "manifest.json")`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from pathlib import Path

from pydantic.dataclasses import dataclass

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.base.provenance import digest
from celllm.sources.archives import unreadable


@dataclass(frozen=True)
class RawFile:
    """One file, unchanged since its source."""

    name: str
    """Its name at the source."""
    path: Path
    """Where it lies; absolute once read."""
    bytes: int
    sha256: str
    sample: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """What the list of samples says of that sample: study, tissue, malignancy …"""
    source: str = ""
    """The address that gave it, or `mirror`; empty where nobody fetched it."""
    part: str | None = None
    """What of it is meant, as its row of files.tsv says."""
    use: str = "cells"
    """`cells`; or `labels`, `some_labels`: a table of labels beside them."""


@dataclass(frozen=True)
class RawManifest:
    """All files of a dataset."""

    dataset: str
    files: tuple[RawFile, ...]
    """In the order of `files.tsv`."""
    file: Path

    def ending(self, *suffixes: str) -> tuple[RawFile, ...]:
        """Return the files whose names end so; InputError if there is none."""
        found = tuple(file for file in self.files if file.name.endswith(suffixes))
        if not found:
            expected = f"a file of {self.dataset} ending in {' or '.join(suffixes)}"
            remedy = "correct the dataset's reader in config/datasets.tsv or its rows in config/files.tsv"
            if any(file.name.removesuffix(".gz").endswith(suffixes) for file in self.files):
                remedy = "write the name without .gz into config/files.tsv: the file stays as it is, and is unpacked"
            raise self.other_files(expected, remedy)
        return found

    def only(self) -> RawFile:
        """Return the only file; InputError if there are several or none."""
        if len(self.files) != 1:
            expected = f"one file in {self.dataset}"
            raise self.other_files(expected, "keep one row of the dataset in config/files.tsv")
        return self.files[0]

    def other_files(self, expected: str, remedy: str = "correct the dataset's rows in config/files.tsv") -> InputError:
        """Say that the dataset has other files than are expected."""
        found = ", ".join(file.name for file in self.files) or "no file"
        return InputError(file=self.file, field="files", expected=expected, found=found, remedy=remedy)


def describe(path: Path | str, *, sample: str | None = None, facts: Mapping[str, str] | None = None) -> RawFile:
    """Measure a file: its name, size and checksum."""
    path = Path(path)
    return RawFile(path.name, path, path.stat().st_size, digest(path), sample, dict(facts or {}))


def write(dataset: str, files: Iterable[RawFile], path: Path | str) -> None:
    """Write the manifest. A file beside or below it is named by its relative path, so the folder can move."""
    path = Path(path)
    folder = path.parent.absolute()
    entries = []
    for file in files:
        place = file.path.absolute()
        relative = place.relative_to(folder) if place.is_relative_to(folder) else place
        entries.append(asdict(file) | {"path": relative.as_posix()})
    with writing(path) as part:
        part.write_text(json.dumps({"dataset": dataset, "files": entries}, indent=2) + "\n", encoding="utf-8")


def read(path: Path | str) -> RawManifest:
    """Read a manifest; InputError if it is malformed, or a file is gone or another than it gives.

    A file of the same size is taken for the same unless it is newer than the manifest; then its checksum is compared.
    """
    path = Path(path)
    folder = path.parent.absolute()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(RawFile(**entry | {"path": folder / entry["path"]}) for entry in values["files"])
        manifest = RawManifest(dataset=values["dataset"], files=files, file=path)
    except (KeyError, TypeError, ValueError) as error:
        expected = "a manifest with dataset and files (name, path, bytes, sha256, sample)"
        remedy = "remove the file and fetch the dataset again: snakemake --forcerun fetch"
        raise unreadable(path, expected, error, remedy=remedy) from None
    for file in files:
        found = f"{file.path.stat().st_size} bytes" if file.path.is_file() else "no file there"
        is_changed = found != f"{file.bytes} bytes"
        if not is_changed and file.path.stat().st_mtime_ns > path.stat().st_mtime_ns:
            is_changed = digest(file.path) != file.sha256
            found = "other content of the same size, written since"
        if is_changed:
            expected, field = f"{file.path} of {file.bytes} bytes", f"files: {file.name}"
            remedy = f"fetch it again: remove {path} and start the workflow once more"
            raise unreadable(path, expected, found, field=field, remedy=remedy)
    return manifest
