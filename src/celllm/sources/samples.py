"""Lists of samples: which files a dataset of many consists of, and what is known of each.

A dataset with such a list has one row in `files.tsv`, whose name and address hold {fields} of the list.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from celllm.config.tables import SourceFile
from celllm.sources.archives import opened, reading, unreadable

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
CANCERSCEM_KNOWN: Final = {"Primary site": "tissue", "Cancer type": "cancer_type", "Protocol": "protocol", "GEO": "geo"}
"""Further columns that are taken where the table has them, and the fact each becomes."""
CANCERSCEM_TYPES: Final = {"Tumour": "tumour", "Normal": "normal", "PBMC": "normal"}
MALIGNANCY: Final = ("normal", "tumour", "unknown")
FIELD: Final = re.compile(r"\{(\w+)\}")
FILES: Final = "config/files.tsv"
CORRECT: Final = "correct the list, or take the published one"
SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""What becomes part of a file's name: no separators, no leading dot."""


@dataclass(frozen=True)
class Sample:
    """One sample of a list."""

    name: str
    fields: dict[str, str]
    """What stands for each {field} of the template."""
    facts: dict[str, str] = field(default_factory=dict)
    """`study`, `malignancy` (`normal`, `tumour`, `unknown`) and whatever else the list says."""


@dataclass(frozen=True)
class SampleList:
    """The samples of a dataset, in the order of the list."""

    file: Path
    samples: tuple[Sample, ...]
    remarks: tuple[str, ...] = ()
    """What was left out, and what the list is silent about; to be printed."""


def read(path: Path, reader: str, *, dataset: str) -> SampleList:
    """Read a list of samples, packed or not.

    InputError if it is not what the reader expects, has no sample, one twice, or one whose name can't be a file's.
    """
    if reader not in READERS:
        expected = f"one of {', '.join(READERS)}, which read lists of samples"
        remedy = "name the list of samples in the column samples of config/datasets.tsv"
        raise unreadable(path, expected, reader, field=f"reader of {dataset}", remedy=remedy)
    samples, remarks = READERS[reader](path)
    if not samples:
        raise unreadable(path, "at least one sample", "none that can be used", remedy=CORRECT)
    ((name, times),) = Counter(sample.name for sample in samples).most_common(1)
    unsafe = [sample.name for sample in samples if not SAFE.fullmatch(sample.name)]
    if times > 1 or unsafe:
        found = f"{name}, {times} times" if times > 1 else repr(unsafe[0])
        expected = "each sample once, its name of letters, digits and . _ + -"
        raise unreadable(path, expected, found, field="sample", remedy=CORRECT)
    number = Counter(sample.facts["malignancy"] for sample in samples)
    counted = f"{len(samples)} samples; {', '.join(f'{number[name]} {name}' for name in MALIGNANCY)}"
    return SampleList(path, tuple(samples), (*remarks, counted))


def without_studies(listed: SampleList, studies: Collection[str]) -> SampleList:
    """Leave the samples of some studies out; a remark says how many each had."""
    gone = Counter(study for sample in listed.samples if (study := sample.facts.get("study", "")) in studies)
    remarks = [f"study {study} is left out: {number} samples" for study, number in sorted(gone.items())]
    kept = tuple(sample for sample in listed.samples if sample.facts.get("study", "") not in studies)
    return replace(listed, samples=kept, remarks=(*listed.remarks, *remarks))


def expand(
    rows: Sequence[SourceFile], listed: SampleList | None, *, excluded: Collection[str] = ()
) -> list[tuple[SourceFile, Mapping[str, str]]]:
    """Fill templates in, one file a sample of the list; give each file's row and the facts of its sample.

    InputError if there is a template and no list, or no sample is left without the studies `excluded`.
    """
    wanted: list[tuple[SourceFile, Mapping[str, str]]] = []
    for row in rows:
        template = next((text for text in (row.url or "", row.file) if "{" in text), None)
        if template is None:
            wanted.append((row, {}))
        elif listed is not None:
            wanted += [(fill(row, sample), sample.facts) for sample in listed.samples]
        else:
            expected, found = "the address of one file, or a list of samples to fill it in", f"a template, {template}"
            remedy = f"name a list in the column samples of {row.dataset} in config/datasets.tsv (by hand: give its "
            remedy += "manifest as --samples), or give each sample a row of its own"
            field = f"url of {row.dataset}"
            raise unreadable(FILES, expected, f"{found}, and no list of samples", field=field, remedy=remedy)
    if not wanted:
        file, found = FILES if listed is None else listed.file, f"none without the studies {', '.join(excluded)}"
        remedy = "shorten exclude_studies in the configuration, or take the dataset out of it"
        raise unreadable(file, "at least one sample that is not left out", found, field="sample", remedy=remedy)
    return wanted


def fill(row: SourceFile, sample: Sample) -> SourceFile:
    """Put a sample's fields into the name and address of a template; the address is quoted."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in sample.fields:
            expected = f"the fields {', '.join(f'{{{name}}}' for name in sample.fields)} of the list of samples"
            found, field = f"{match[0]} in {match.string}", f"template of {row.dataset}"
            remedy = "correct the template, or name another list in the column samples of config/datasets.tsv"
            raise unreadable(FILES, expected, found, field=field, remedy=remedy)
        return sample.fields[match[1]]

    url = None if row.url is None else FIELD.sub(lambda match: quote(value(match), safe=""), row.url)
    return replace(row, file=FIELD.sub(value, row.file), url=url, sample=sample.name)


Listed = tuple[list[Sample], list[str]]


def _panglaodb(path: Path) -> Listed:
    r"""Read PanglaoDB's table: quoted, no header, `\N` for unknown, mouse and human.

    A cell line is `unknown` also where it is flagged as tumour (13 of the 33 human tumour samples are): its cells are
    neither a tumour nor normal tissue, so they take no part in telling the two apart.
    """
    rows = _rows(path, ",", header=PANGLAODB_COLUMNS)
    human = [row for row in rows if row["species"] == HUMAN]
    samples, remarks, n_silent = [], [], 0
    for row in human:
        if row["srs"] == NO_ACCESSION:
            remarks.append(f"{row['sra']} ({row['tissue']}) is skipped: no accession, so no file")
            continue
        said = "unknown" if row["cell_line"] == "1" else "tumour" if row["tumour"] == "1" else "normal"
        facts = {"study": row["sra"], "tissue": row["tissue"], "protocol": row["protocol"], "malignancy": said}
        if said == "normal" and UNKNOWN in {row["tumour"], row["cell_line"]}:
            facts["note"] = "flag unknown"
            n_silent += 1
        samples.append(Sample(f"{row['sra']}_{row['srs']}", {"sra": row["sra"], "srs": row["srs"]}, facts))
    remarks.append(f"{len(human)} human of {len(rows)} samples, {len(samples)} of them with an accession")
    if n_silent:
        remarks.append(f"{n_silent} counted as normal without a flag")
    return samples, remarks


def _cancerscem(path: Path) -> Listed:
    """Read CancerSCEM's table of samples: CSV with a header. Blood of patients counts as normal."""
    rows = _rows(path, ",", needed=CANCERSCEM_NEEDED)
    samples = []
    for number, row in enumerate(rows, start=2):
        kind = row["Sample Type"]
        _check_value(path, number, "Sample Type", CANCERSCEM_TYPES, kind)
        facts = {"study": row["Project ID"], "malignancy": CANCERSCEM_TYPES[kind], "sample_type": kind}
        facts |= {fact: row[column] for column, fact in CANCERSCEM_KNOWN.items() if row.get(column)}
        samples.append(Sample(row["Sample ID"], {"sample": row["Sample ID"]}, facts))
    unused = [column for row in rows[:1] for column in row if column not in {*CANCERSCEM_NEEDED, *CANCERSCEM_KNOWN}]
    return samples, [f"columns not used: {', '.join(unused)}"] if unused else []


def _sample_table(path: Path) -> Listed:
    """Read a list of one's own: tab-separated; sample, study, malignancy, and any further column, field and fact."""
    samples = []
    for number, row in enumerate(_rows(path, "\t", needed=("sample", "study", "malignancy")), start=2):
        _check_value(path, number, "malignancy", MALIGNANCY, row["malignancy"])
        samples.append(Sample(row["sample"], row, {name: value for name, value in row.items() if name != "sample"}))
    return samples, []


def _rows(
    path: Path, delimiter: str, *, header: Sequence[str] = (), needed: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Read the lines of a table as dicts; without a `header` given, its first line names the columns."""
    with reading(path, "a list of samples"), opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        lines = [line for line in csv.reader(text, delimiter=delimiter) if line]
    first = 1 if header else 2
    if not header:
        header, lines = (lines[0], lines[1:]) if lines else ([], [])
    missing = [column for column in needed if column not in header]
    if missing:
        expected, remedy = f"a header line with {', '.join(needed)}", f"add the column {missing[0]}; others may stay"
        found, field = ", ".join(header) or "an empty file", f"column {missing[0]}"
        raise unreadable(path, expected, found, field=field, remedy=remedy)
    for number, line in enumerate(lines, start=first):
        if len(line) != len(header):
            expected, field = f"{len(header)} columns: {', '.join(header)}", f"line {number}"
            raise unreadable(path, expected, f"{len(line)} columns", field=field, remedy=CORRECT)
    return [dict(zip(header, line, strict=True)) for line in lines]


def _check_value(path: Path, number: int, column: str, allowed: Collection[str], found: str) -> None:
    if found not in allowed:
        field = f"{column} (line {number})"
        raise unreadable(path, f"one of {', '.join(allowed)}", repr(found), field=field, remedy=CORRECT)


READERS: Final[dict[str, Callable[[Path], Listed]]] = {
    "panglaodb_metadata": _panglaodb,
    "cancerscem_samples": _cancerscem,
    "sample_table": _sample_table,
}
HOW_TO: Final = {
    "cancerscem_samples": "the release's table of samples, saved as CSV under that name: a header line with at least "
    f"{', '.join(CANCERSCEM_NEEDED)}, one line a sample",
    "sample_table": "tab-separated under that name: a header line with at least sample, study, malignancy, one line a "
    "sample",
}
"""How to make a list by hand where it has no address, by the name of its reader."""
