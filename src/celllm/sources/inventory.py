"""What files a configuration needs: size, licence, what is here, and where to put the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from celllm.config.tables import Dataset, SourceFile, Table, Task
from celllm.sources import raw, samples
from celllm.sources.checksums import Checksum
from celllm.sources.mirror import find, has_built, shipped

MISSING: Final = "missing"
MAX_NAMED: Final = 6
"""Missing files of a dataset that are printed one by one."""
COEXPRESSION: Final = "coexpression"
"""In place of a dataset with a network: it is made from the corpus."""


@dataclass(frozen=True)
class Inventory:
    """The tables of datasets, files and checksums, and where to look for files."""

    datasets: Table[Dataset]
    files: Table[SourceFile]
    checksums: Table[Checksum]
    raw: Path
    mirrors: Sequence[Path]
    checkout: Path
    """Where `repo:` addresses start."""
    excluded: Sequence[str]

    def entry(self, name: str) -> dict[str, Any]:
        """Look for a dataset's files: each with its address (none: only by hand), bytes (none: unknown) and state.

        States are `fetched`, `in mirror`, `in package`, `in checkout` and `missing`; is_template: the list of samples
        is not here yet, so that the number of files is not known.
        """
        dataset = self.datasets.row(name)
        rows = list(self.files.of(name))
        if has_built(self.mirrors, dataset=name, built=dataset.built):
            rows = [SourceFile(name, file, None, None, None, None) for file in dataset.built]
        elif dataset.samples is not None and (held := self._sample_list(dataset.samples)) is not None:
            listed = samples.read(held, self.datasets.row(dataset.samples).reader, dataset=dataset.samples)
            kept = samples.without_studies(listed, self.excluded)
            rows = [row for row, _ in samples.expand(rows, kept, excluded=self.excluded)]
        first = {row.file: row.bytes for row in self.checksums if row.dataset == name}
        return {
            "dataset": name,
            "title": dataset.title,
            "licence": dataset.licence,
            "citation": dataset.citation,
            "files": [
                {
                    "file": row.file,
                    "address": row.url,
                    "bytes": first.get(row.file) if row.bytes is None else row.bytes,
                    "state": self._state(row),
                }
                for row in rows
            ],
            "is_template": any("{" in row.file for row in rows),
            "how_to": samples.HOW_TO.get(dataset.reader),
        }

    def _sample_list(self, name: str) -> Path | None:
        """Return the list of samples, fetched or in the mirror; none where it is in neither."""
        fetched = self.raw / name / "manifest.json"
        if fetched.is_file():
            return raw.read(fetched).only().path
        files = self.datasets.row(name).built or (self.files.row(name).file,)
        return find(self.mirrors, dataset=name, file=files[0])

    def _state(self, row: SourceFile) -> str:
        scheme = (row.url or "").partition(":")[0]
        if scheme in {"package", "repo"}:
            here = shipped(str(row.url), self.checkout)
            return MISSING if here is None else {"package": "in package", "repo": "in checkout"}[scheme]
        if (self.raw / row.dataset / Path(row.file).name).is_file():
            return "fetched"
        return "in mirror" if find(self.mirrors, dataset=row.dataset, file=row.file) else MISSING


def needed(
    config: Mapping[str, Any], *, datasets: Table[Dataset], tasks: Table[Task], run_tasks: Sequence[str]
) -> list[str]:
    """Return the datasets that a configuration needs, each once, its list of samples before it; none simulated."""
    names = [config["gene_annotation"], config["network"], config["gene2vec"], *config["corpus"], *config["embed"]]
    for task in map(tasks.row, run_tasks):
        names += [task.dataset, task.response]
    rows = [datasets.row(name) for name in names if name not in {None, COEXPRESSION}]
    listed = [name for row in rows for name in (row.samples, row.dataset) if name is not None]
    return [name for name in dict.fromkeys(listed) if not datasets.row(name).simulated]


def as_text(entries: Sequence[Mapping[str, Any]], *, mirror: Path | None, cite: bool) -> str:
    """Write a table of the datasets, totals, and how to come by what is missing."""
    lines = [("dataset", "files", "size", "licence", "present")]
    for entry in entries:
        number = "list not fetched yet" if entry["is_template"] else str(len(entry["files"]))
        lines.append(
            (entry["dataset"], number, _size(entry["files"]), entry["licence"] or "-", _states(entry["files"]))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)
    every = [file for entry in entries if not entry["is_template"] for file in entry["files"]]
    missing = [file for file in every if file["state"] == MISSING]
    text += f"\n{len(entries)} datasets, {len(every)} files, {_size(every)}; missing: {len(missing)} files"
    text += f", {_size(missing)}\n" if missing else "\n"
    open_lists = [entry["dataset"] for entry in entries if entry["is_template"]]
    if open_lists:
        text += f"Not counted, as their lists of samples are not fetched yet: {', '.join(open_lists)}\n"
    if cite:
        text += "\nCite:\n" + "".join(f"  {entry['dataset']}: {entry['citation'] or '-'}\n" for entry in entries)
    folder = "MIRROR" if mirror is None else str(mirror)
    gone = "".join(_how(entry, folder) for entry in entries)
    if gone:
        text += f"\nMissing (fetched by the workflow from the address, or put by hand into {folder}):\n{gone}"
    if gone and mirror is None:
        text += "MIRROR is any folder; name it to the workflow: --config mirror=MIRROR\n"
    return text


def _size(every: Sequence[Mapping[str, Any]]) -> str:
    """Write the bytes of files for people, in powers of 1000: 21.4MB."""
    known = [file["bytes"] for file in every if file["bytes"] is not None]
    if every and not known:
        return "?"
    unknown = f" + {len(every) - len(known)} of unknown size" if len(known) < len(every) else ""
    return tqdm.format_sizeof(sum(known), "B") + unknown


def _states(every: Sequence[Mapping[str, Any]]) -> str:
    states = [file["state"] for file in every]
    if len(set(states)) == 1:
        return str(states[0])
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _how(entry: Mapping[str, Any], folder: str) -> str:
    """Say how to come by a dataset's missing files; of many, the first few stand for all."""
    gone = [file for file in entry["files"] if file["state"] == MISSING]
    text = ""
    for file in gone[:MAX_NAMED]:
        made = f" ({entry['how_to']})" if file["address"] is None and entry["how_to"] is not None else ""
        text += f"  {entry['dataset']}: {file['address'] or 'no address'}\n    by hand: {folder}/{file['file']}{made}\n"
    if len(gone) > MAX_NAMED:
        text += f"  {entry['dataset']}: and {len(gone) - MAX_NAMED} more of this kind; --json names all\n"
    return text
