"""Lists of samples: which files a dataset of many consists of, and what is known of each.

A dataset with such a list has one row in `files.tsv`, whose name and address hold {fields} of the list.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from celllm.base.errors import InputError
from celllm.config.tables import SourceFile
from celllm.sources.raw import RawManifest

UNKNOWN: Final = r"\N"
"""PanglaoDB's unknown, as MySQL writes it."""
NO_ACCESSION: Final = "notused"
"""What PanglaoDB writes for a sample without an accession; it has no file."""
HUMAN: Final = "Homo sapiens"
PANGLAODB_COLUMNS: Final = (
    *("sra", "srs", "tissue", "protocol", "species", "instrument", "genes", "median_genes", "clusters"),
    *("tumour", "adult", "cell_line"),
)
"""PanglaoDB's table has no header."""
CANCERSCEM_NEEDED: Final = ("Project ID", "Sample ID", "Sample Type")
CANCERSCEM_KNOWN: Final = {
    "Primary site": "tissue",
    "Cancer type": "cancer_type",
    "Protocol": "protocol",
    "GEO": "geo",
}
"""Further columns that are taken where the table has them, and the fact each becomes."""
CANCERSCEM_TYPES: Final = {"Tumour": "tumour", "Normal": "normal", "PBMC": "normal"}
MALIGNANCY: Final = ("normal", "tumour", "unknown")
FIELD: Final = re.compile(r"\{(\w+)\}")
FILES: Final = "config/files.tsv"
"""Where templates stand; errors name it."""
SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""What becomes part of a file's name: no separators, no leading dot."""


@dataclass(frozen=True)
class Sample:
    """One sample of a list."""

    name: str
    """Its name in our tables."""
    fields: dict[str, str]
    """What stands for each {field} of the template."""
    facts: dict[str, str] = field(default_factory=dict)
    """`study`, `malignancy` (`normal`, `tumour`, `unknown`) and whatever else the list says."""


@dataclass(frozen=True)
class SampleList:
    """The samples of a dataset."""

    file: Path
    """The list; errors name it."""
    samples: tuple[Sample, ...]
    """In the order of the list."""
    remarks: tuple[str, ...] = ()
    """What was left out, and what the list is silent about; to be printed."""


def read(manifest: RawManifest, reader: str) -> SampleList:
    """Read the list of samples that a manifest's only file holds.

    Raises
    ------
    InputError
        If no reader of that name reads lists, or the file is not what the reader expects.
    """
    if reader not in READERS:
        raise InputError(
            file=manifest.file,
            field=f"reader of {manifest.dataset}",
            expected=f"one of {', '.join(READERS)}, which read lists of samples",
            found=reader,
            remedy="name the list of samples in the column samples of config/datasets.tsv",
        )
    return READERS[reader](manifest.only().path)


def without_studies(listed: SampleList, studies: Collection[str]) -> SampleList:
    """Leave the samples of some studies out; a remark says how many each had."""
    gone = Counter(study for sample in listed.samples if (study := sample.facts.get("study", "")) in studies)
    remarks = [f"study {study} is left out: {number} samples" for study, number in sorted(gone.items())]
    kept = tuple(sample for sample in listed.samples if sample.facts.get("study", "") not in studies)
    return replace(listed, samples=kept, remarks=(*listed.remarks, *remarks))


def expand(
    rows: Sequence[SourceFile], listed: SampleList | None, *, excluded: Collection[str] = ()
) -> list[tuple[SourceFile, Mapping[str, str]]]:
    """Fill templates in, one file a sample of the list.

    Returns
    -------
    Each file's row, and the facts of its sample.

    Raises
    ------
    InputError
        If there is a template and no list, or no sample is left without the studies `excluded`.
    """
    wanted: list[tuple[SourceFile, Mapping[str, str]]] = []
    for row in rows:
        template = next((text for text in (row.url or "", row.file) if "{" in text), None)
        if template is None:
            wanted.append((row, {}))
        elif listed is not None:
            wanted += [(fill(row, sample), sample.facts) for sample in listed.samples]
        else:
            raise InputError(
                file=FILES,
                field=f"url of {row.dataset}",
                expected="the address of one file, or a list of samples to fill it in",
                found=f"a template, {template}, and no list of samples",
                remedy=f"name the list in the column samples of {row.dataset} in config/datasets.tsv (by hand: give "
                "its manifest as --samples), or give each sample a row of its own",
            )
    if not wanted:
        raise InputError(
            file=FILES if listed is None else listed.file,
            field="sample",
            expected="at least one sample that is not left out",
            found=f"none without the studies {', '.join(excluded)}",
            remedy="shorten exclude_studies in the configuration, or take the dataset out of it",
        )
    return wanted


def fill(row: SourceFile, sample: Sample) -> SourceFile:
    """Put a sample's fields into the name and addresses of a template; addresses are quoted."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in sample.fields:
            raise InputError(
                file=FILES,
                field=f"template of {row.dataset}",
                expected=f"the fields {', '.join(f'{{{name}}}' for name in sample.fields)} of the list of samples",
                found=f"{match[0]} in {match.string}",
                remedy="correct the template, or name another list in the column samples of config/datasets.tsv",
            )
        return sample.fields[match[1]]

    def quoted(address: str) -> str:
        return FIELD.sub(lambda match: quote(value(match), safe=""), address)

    return replace(
        row,
        file=FIELD.sub(value, row.file),
        url=None if row.url is None else quoted(row.url),
        mirrors=tuple(map(quoted, row.mirrors)),
        sample=sample.name,
    )


def _panglaodb(path: Path) -> SampleList:
    r"""Read PanglaoDB's table: quoted, no header, `\N` for unknown, mouse and human.

    A cell line is `unknown` also where it is flagged as tumour (13 of the 33 human tumour samples are): its cells are
    neither a tumour nor normal tissue, so they take no part in telling the two apart.
    """
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.reader(file), start=1):
            if len(cells) != len(PANGLAODB_COLUMNS):
                expected = f"{len(PANGLAODB_COLUMNS)} columns: {', '.join(PANGLAODB_COLUMNS)}"
                remedy = "fetch the version that config/files.tsv names; a table with other columns needs a reader"
                raise _error(path, f"line {number}", expected, f"{len(cells)} columns", remedy)
            rows.append(dict(zip(PANGLAODB_COLUMNS, cells, strict=True)))
    human = [row for row in rows if row["species"] == HUMAN]
    samples = tuple(_panglaodb_sample(row) for row in human if row["srs"] != NO_ACCESSION)
    silent = sum("note" in sample.facts for sample in samples)
    remarks = [
        f"{row['sra']} ({row['tissue']}) is skipped: no accession, so no file"
        for row in human
        if row["srs"] == NO_ACCESSION
    ]
    remarks += [
        f"{len(human)} human of {len(rows)} samples, {len(samples)} of them with an accession",
        _counted(samples) + (f"; {silent} counted as normal without a flag" if silent else ""),
    ]
    return _checked(SampleList(file=path, samples=samples, remarks=tuple(remarks)))


def _panglaodb_sample(row: dict[str, str]) -> Sample:
    facts = {"study": row["sra"], "tissue": row["tissue"], "protocol": row["protocol"]}
    if row["cell_line"] == "1":
        facts["malignancy"] = "unknown"
    elif row["tumour"] == "1":
        facts["malignancy"] = "tumour"
    else:
        facts["malignancy"] = "normal"
        if UNKNOWN in {row["tumour"], row["cell_line"]}:
            facts["note"] = "flag unknown"
    return Sample(name=f"{row['sra']}_{row['srs']}", fields={"sra": row["sra"], "srs": row["srs"]}, facts=facts)


def _cancerscem(path: Path) -> SampleList:
    """Read CancerSCEM's table of samples: CSV with a header. Blood of patients counts as normal."""
    columns, rows = _with_header(path, ",", needed=CANCERSCEM_NEEDED)
    samples = []
    for number, row in enumerate(rows, start=2):
        kind = row["Sample Type"]
        _check_value(path, number, "Sample Type", CANCERSCEM_TYPES, kind)
        facts = {"study": row["Project ID"], "malignancy": CANCERSCEM_TYPES[kind], "sample_type": kind}
        facts |= {fact: row[column] for column, fact in CANCERSCEM_KNOWN.items() if row.get(column)}
        samples.append(Sample(name=row["Sample ID"], fields={"sample": row["Sample ID"]}, facts=facts))
    unused = [column for column in columns if column not in {*CANCERSCEM_NEEDED, *CANCERSCEM_KNOWN}]
    remarks = [f"columns not used: {', '.join(unused)}"] if unused else []
    remarks.append(f"{len(samples)} samples; {_counted(samples)}")
    return _checked(SampleList(file=path, samples=tuple(samples), remarks=tuple(remarks)))


def _sample_table(path: Path) -> SampleList:
    """Read a list of one's own: tab-separated; sample, study, malignancy, and any further column, field and fact."""
    _, rows = _with_header(path, "\t", needed=("sample", "study", "malignancy"))
    samples = []
    for number, row in enumerate(rows, start=2):
        _check_value(path, number, "malignancy", MALIGNANCY, row["malignancy"])
        facts = {name: value for name, value in row.items() if name != "sample"}
        samples.append(Sample(name=row["sample"], fields=dict(row), facts=facts))
    remarks = (f"{len(samples)} samples; {_counted(samples)}",)
    return _checked(SampleList(file=path, samples=tuple(samples), remarks=remarks))


def _with_header(path: Path, delimiter: str, *, needed: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = [line for line in csv.reader(file, delimiter=delimiter) if line]
    header = lines[0] if lines else []
    missing = [column for column in needed if column not in header]
    if missing:
        expected, remedy = f"a header line with {', '.join(needed)}", f"add the column {missing[0]}; others may stay"
        raise _error(path, f"column {missing[0]}", expected, ", ".join(header) or "an empty file", remedy)
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise _error(path, f"line {number}", f"{len(header)} fields, as in the header", f"{len(line)}")
    return header, [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _checked(listed: SampleList) -> SampleList:
    """Refuse a list without samples, a sample listed twice, and what cannot be part of a file's name."""
    if not listed.samples:
        remedy = "replace the list by the published one"
        raise _error(listed.file, "(whole file)", "at least one sample", "none that can be used", remedy)
    ((name, times),) = Counter(sample.name for sample in listed.samples).most_common(1)
    unsafe = [sample.name for sample in listed.samples if not SAFE.fullmatch(sample.name)]
    if times > 1 or unsafe:
        found = f"{name}, {times} times" if times > 1 else repr(unsafe[0])
        raise _error(listed.file, "sample", "each sample once, its name of letters, digits and . _ + -", found)
    return listed


def _check_value(path: Path, number: int, column: str, allowed: Collection[str], found: str) -> None:
    if found not in allowed:
        raise _error(path, f"{column} (line {number})", f"one of {', '.join(allowed)}", repr(found))


def _error(path: Path, field: str, expected: str, found: str, remedy: str = "correct the list") -> InputError:
    return InputError(file=path, field=field, expected=expected, found=found, remedy=remedy)


def _counted(samples: Sequence[Sample]) -> str:
    number = Counter(sample.facts["malignancy"] for sample in samples)
    return ", ".join(f"{number[name]} {name}" for name in MALIGNANCY)


READERS: Final[dict[str, Callable[[Path], SampleList]]] = {
    "panglaodb_metadata": _panglaodb,
    "cancerscem_samples": _cancerscem,
    "sample_table": _sample_table,
}
"""By the name that `datasets.tsv` uses."""
HOW_TO: Final = {
    "cancerscem_samples": "the release's table of samples, saved as CSV under that name: a header line with at least "
    f"{', '.join(CANCERSCEM_NEEDED)}, one line a sample",
    "sample_table": "tab-separated under that name: a header line with at least sample, study, malignancy, one line a "
    "sample",
}
"""How to make a list by hand where it has no address, by the name of its reader."""
