"""`config/*.tsv`: datasets, the files behind them, benchmark tasks and methods; one row a thing.

config/rows.py says how a table is written, config/converters.py how a cell is read. Imports the standard
library only, because the workflow reads these tables where nothing but Snakemake is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celllm.base.errors import InputError
from celllm.config.converters import (
    NONE,
    Converter,
    json_object,
    logarithm,
    malignancy,
    matrix,
    one_of,
    optional,
    optional_whole,
    search,
    seeds,
    sha256,
    share,
    whole,
    words,
    yes_no,
)
from celllm.config.rows import Table, read_rows

__all__ = [
    "COMPONENTS",
    "SPLITS",
    "Dataset",
    "Method",
    "SourceFile",
    "Table",
    "Task",
    "read_datasets",
    "read_files",
    "read_methods",
    "read_tasks",
]


COMPONENTS = "components"
"""In place of a recipe: the method starts from principal components of the corpus."""


@dataclass(frozen=True)
class Dataset:
    """One row of `datasets.tsv`: something that is fetched or simulated."""

    dataset: str
    """Key; also the name of its folders and files."""
    title: str
    """What tables and figures call it."""
    role: str
    """`corpus`, `task`, `genes`, `network`, `response`, `samples` (a list of samples) or `embedding` (of genes)."""
    reader: str
    """Name of the format its files come in; sources/readers.py and sources/responses.py."""
    values: str | None
    """What the numbers are once `log` is undone: `counts` (whole), `expected_counts` (counts with decimals, as RSEM
    gives them), `tpm`, `cp10k` or `zscore`; none for tables without cells."""
    simulated: bool
    """Whether the values come from the simulator and not from cells."""
    label_column: str | None
    """Column of `obs` with the label to be predicted."""
    sample_column: str | None
    """Column of `obs` with the sample (donor, run)."""
    malignancy: str
    """`normal`, `tumour` or `unknown` for all cells; `obs:COLUMN:VALUE`: tumour where the column holds it;
    `samples`: as the list of samples says."""
    min_genes: int
    """Cells with fewer expressed genes, counted before harmonisation, are dropped."""
    citation: str | None
    """Whom to cite."""
    licence: str | None
    """Licence of the source."""
    matrix: str = "X"
    """Which matrix of an h5ad file: `X`, `raw` or `layers:NAME`."""
    log: str | None = None
    """The logarithm that the source has taken, such as `log2(x+1)`; it is undone when the cells are read."""
    label_map: dict[str, str | None] = field(default_factory=dict)
    """Source label to label, a JSON object in the file; null takes the label away. Empty: labels stay as they are."""
    donor_column: str | None = None
    """Column of `obs` with the donor; none: the sample stands for its donor."""
    source_malignancy: str = "unknown"
    """What all cells are under the label rule `by_source`: `normal`, `tumour` or `unknown`."""
    samples: str | None = None
    """The dataset that lists the samples, where the dataset's row in `files.tsv` is a template with {fields}."""


@dataclass(frozen=True)
class SourceFile:
    """One row of `files.tsv`: a file of a dataset, as published."""

    dataset: str
    """The dataset it belongs to."""
    file: str
    """Its name, also in a mirror folder."""
    url: str | None
    """`https://…`, `package:<module>:<path in it>`, `repo:<path in the checkout>`; none: a mirror only."""
    bytes: int | None
    """Size; none where unknown."""
    sha256: str | None
    """Checksum in hex; none where unknown."""
    sample: str | None
    """Name of the sample that the file holds, where a dataset has one file a sample."""
    mirrors: tuple[str, ...] = ()
    """Further addresses of the same file, tried in order when `url` fails."""


@dataclass(frozen=True)
class Task:
    """One row of `tasks.tsv`: a benchmark."""

    task: str
    """Key."""
    kind: str
    """`classification` (of cells) or `regression` (over pairs of line and drug)."""
    title: str
    """What tables and figures call it."""
    dataset: str
    """Where its cells come from."""
    response: str | None
    """Where its drug responses come from."""
    split: str
    """`random` over cells, stratified; `donors`: one donor's cells are tested at a time; `pairs`; `lines`, `drugs`:
    whole cell lines, whole drugs; `both`: neither line nor drug is met in training."""
    split_seeds: tuple[int, ...]
    """Seeds of the draws of the parts; of `donors`, places of the tested donor among all, sorted by name."""
    train: float
    """Share of the units for training."""
    validation: float
    """Share of the units for model selection."""
    test: float
    """Share of the units for the reported score."""
    min_class_size: int
    """Classes with fewer labelled cells take no part."""
    protocol: str
    """`clean` (ours), or `compat`: what the released code does, so the epoch is chosen on the very cells whose score is
    reported."""
    headline: str
    """Name of the metric that the main table leads with."""


@dataclass(frozen=True)
class Method:
    """One row of `methods.tsv`: something that is fitted to tasks."""

    method: str
    """Key."""
    kind: str
    """`classification` or `regression`."""
    title: str
    """What tables and figures call it."""
    module: str
    """Where its class is."""
    recipe: str | None
    """Recipe of the pretrained encoder it starts from, or `components`; none: it needs no encoder."""
    options: dict[str, Any]
    """Settings of the class, a JSON object in the file."""
    search: dict[str, list[Any]]
    """Values of options to choose from on the validation part, JSON lists by option; empty: nothing is chosen."""
    seeded: bool
    """Whether the outcome depends on the model seed; if not, one seed is run."""
    role: str
    """What it is there for: one of ROLES."""


def read_datasets(path: Path | str) -> Table[Dataset]:
    """Read `datasets.tsv`; InputError names the file, the row's column and what it may hold."""
    table = read_rows(path, Dataset, key="dataset", unique=("dataset",), convert=_DATASET)
    for row in table:
        where = f"simulated of {row.dataset}"
        if row.simulated and not ("simulated" in row.dataset and "simulated" in row.title.lower()):
            raise InputError(
                file=path,
                field=where,
                expected="the word simulated in the name and in the title of simulated data",
                found=f"{row.dataset}, {row.title}",
                remedy=f"name it simulated_{row.dataset.removeprefix('simulated_')} and say so in its title",
            )
    return table


def read_files(path: Path | str) -> Table[SourceFile]:
    """Read `files.tsv`; errors as in `read_datasets`."""
    return read_rows(path, SourceFile, key="dataset", unique=("dataset", "file"), convert=_FILE)


def read_tasks(path: Path | str) -> Table[Task]:
    """Read `tasks.tsv`; refused are shares that make no parts, unknown metrics, and `compat` with a validation part."""
    table = read_rows(path, Task, key="task", unique=("task",), convert=_TASK)
    for row in table:
        total = row.train + row.validation + row.test
        if total > 1 + 1e-9:
            raise InputError(
                file=path,
                field=f"train, validation, test of {row.task}",
                expected="shares that sum to at most 1",
                found=f"{row.train} + {row.validation} + {row.test} = {total:g}",
                remedy="lower one of the three",
            )
        if not row.train or not (row.test or row.split == "donors"):
            raise InputError(
                file=path,
                field=f"train, test of {row.task}",
                expected="shares above 0; of donors test 0, since a donor is tested",
                found=f"{row.train:g}, {row.test:g}",
                remedy="raise the one that is 0",
            )
        if row.headline not in METRICS[row.kind]:
            raise InputError(
                file=path,
                field=f"headline of {row.task}",
                expected=f"a metric of {row.kind}: {', '.join(METRICS[row.kind])}",
                found=row.headline,
                remedy="correct the cell",
            )
        of_kind = SPLITS[row.kind]
        if row.split not in of_kind or (row.split == "donors" and row.test):
            raise InputError(
                file=path,
                field=f"split, test of {row.task}",
                expected=f"a split of {row.kind}: {', '.join(of_kind)}; of donors with test 0, since a donor is tested",
                found=f"{row.split}, {row.test:g}",
                remedy="correct the cells; config/README.md explains the columns",
            )
        if row.protocol == "compat" and row.validation:
            raise InputError(
                file=path,
                field=f"validation of {row.task}",
                expected="0 under the protocol compat, which chooses on the test part",
                found=f"{row.validation:g}",
                remedy="set it to 0, or the protocol to clean",
            )
    return table


def read_methods(path: Path | str) -> Table[Method]:
    """Read `methods.tsv`; an option that stands in `options` and in `search` is refused."""
    table = read_rows(path, Method, key="method", unique=("method",), convert=_METHOD)
    for row in table:
        twice = sorted(set(row.options) & set(row.search))
        if twice:
            raise InputError(
                file=path,
                field=f"search of {row.method}",
                expected="options that are not fixed in the column options",
                found=twice[0],
                remedy="keep it in one of the two columns",
            )
    return table


SPLITS = {"classification": ("random", "donors"), "regression": ("pairs", "lines", "drugs", "both")}
"""Rules by which units are divided, by kind of task."""
METRICS = {
    "classification": (
        *("accuracy", "macro_f1", "balanced_accuracy", "auroc", "ece", "brier"),
        *("f1_sensitive", "f1_resistant"),
    ),
    "regression": ("pearson", "spearman", "rmse", "mae", "r2", "pearson_per_drug", "pearson_per_line"),
}
"""Metrics that a task may lead with, by its kind; F1 of sensitive or resistant where those are the labels."""
ROLES = ("ours", "ablation", "baseline", "neighbour", "trivial", "control")
"""What a method may be there for."""
_KIND = one_of(*SPLITS)
_DATASET: dict[str, Converter] = {
    "role": one_of("corpus", "task", "genes", "network", "response", "samples", "embedding"),
    "values": one_of("counts", "expected_counts", "tpm", "cp10k", "zscore", NONE),
    "matrix": matrix,
    "log": logarithm,
    "label_map": json_object,
    "donor_column": optional,
    "source_malignancy": one_of("normal", "tumour", "unknown"),
    "samples": optional,
    "simulated": yes_no,
    "label_column": optional,
    "sample_column": optional,
    "malignancy": malignancy,
    "min_genes": whole,
    "citation": optional,
    "licence": optional,
}
_FILE: dict[str, Converter] = {
    "url": optional,
    "bytes": optional_whole,
    "sha256": sha256,
    "sample": optional,
    "mirrors": words,
}
_TASK: dict[str, Converter] = {
    "kind": _KIND,
    "response": optional,
    "split": one_of(*SPLITS["classification"], *SPLITS["regression"]),
    "train": share,
    "validation": share,
    "test": share,
    "min_class_size": whole,
    "split_seeds": seeds,
    "protocol": one_of("clean", "compat"),
}
_METHOD: dict[str, Converter] = {
    "kind": _KIND,
    "recipe": optional,
    "options": json_object,
    "search": search,
    "seeded": yes_no,
    "role": one_of(*ROLES),
}
