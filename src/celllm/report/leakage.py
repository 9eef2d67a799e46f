"""Leakage: benchmark cells in the pretraining corpus, and exact duplicates within a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.report_table import Column, ReportTable
from celllm.bench.overlap import ACROSS, Duplicates, Leakage, exact_duplicates, leakage, subset_sizes
from celllm.config.catalogue import Catalogue
from celllm.corpus.reader import ShardReader
from celllm.corpus.writer import benchmark_hashes
from celllm.harmonise import cells as cell_files
from celllm.harmonise.quality import cell_hashes
from celllm.report.titles import title_of_dataset
from celllm.splits import format as split_files
from celllm.splits.format import Split

_AT_ONCE = 8_192
"""Cells of the shards read at once: about 100 MB at 1,600 expressed genes a cell."""


def leakage_tables(
    corpus_files: Sequence[Path],
    benchmark_files: Sequence[Path],
    *,
    splits: Sequence[Path],
    shards: Path,
    catalogue: Catalogue,
) -> tuple[ReportTable, pd.DataFrame, list[str]]:
    """Return the table of leakage, rows of exact duplicates, and the names of benchmark cells in the shards."""
    drawn = [split_files.read(file) for file in split_files.files_of(splits)]
    tasks = catalogue.tasks
    corpus = dict(_cells_of(file) for file in corpus_files)
    benchmark = dict(_cells_of(file) for file in benchmark_files)
    tested = {unit for split in drawn if tasks[split.task].dataset in corpus for unit in split.units_of("test")}
    hashes = benchmark_hashes(benchmark_files, corpus_files, tested)
    kept = _cells_in(ShardReader(shards))
    leaks = {
        (task, name): leakage(hashes[task], corpus=cells, shards=kept[kept["dataset"] == name])
        for task in hashes
        for name, cells in corpus.items()
    }
    equal = {
        (split.task, split.seed): _duplicates_in(split, benchmark[tasks[split.task].dataset], tasks[split.task].kind)
        for split in drawn
    }
    made = leakage_table(
        leaks,
        n_benchmark={name: len(own) for name, own in hashes.items()},
        n_corpus={name: len(cells) for name, cells in corpus.items()},
        catalogue=catalogue,
    )
    sizes = {(split.task, split.seed): subset_sizes(split.subsets.tolist()) for split in drawn}
    leaked = [name for leak in leaks.values() for name in leak.in_shards]
    return made, duplicates_rows(equal, parts=sizes), leaked


def _cells_of(file: Path) -> tuple[str, pd.DataFrame]:
    """Read name and cells of an aligned data set: columns cell_id, cell_hash."""
    hashes = pd.concat([obs["cell_hash"] for obs in cell_files.obs_pieces(file)])
    frame = pd.DataFrame({"cell_id": hashes.index.astype(str), "cell_hash": hashes.to_numpy(dtype=object)})
    return str(cell_files.header(file)["dataset"]), frame


def _cells_in(shards: ShardReader) -> pd.DataFrame:
    """Read the cells of the shards, their hashes made anew from the counts: columns cell_id, dataset, cell_hash."""
    pieces = np.split(np.arange(shards.n_cells), range(_AT_ONCE, shards.n_cells, _AT_ONCE))
    hashes = [one for rows in pieces for one in cell_hashes(shards.rows(rows))]
    return shards.cells[["cell_id", "dataset"]].assign(cell_hash=hashes)


def _duplicates_in(split: Split, cells: pd.DataFrame, kind: str) -> Duplicates:
    """Count the exact duplicates of a split; in a task of pairs of line and drug, the equal lines."""
    names, units = cells["cell_id"], split.units
    if kind == "regression":  # a unit is {line}|{drug}, a cell id {dataset}:{line}
        names, units = names.str.split(":", n=1).str[-1], [unit.split("|", 1)[0] for unit in units]
    hash_of = dict(zip(names, cells["cell_hash"], strict=True))
    return exact_duplicates(hash_of, cells=units, subsets=split.subsets.tolist())


def leakage_table(
    found: Mapping[tuple[str, str], Leakage],
    *,
    n_benchmark: Mapping[str, int],
    n_corpus: Mapping[str, int],
    catalogue: Catalogue,
) -> ReportTable:
    """Say for each task data set and corpus data set how many cells they share, and how many are left in the shards.

    Parameters
    ----------
    found
        By task data set and corpus data set.
    n_benchmark, n_corpus
        Benchmark cells of each task data set; aligned cells of each corpus data set.
    catalogue
        Titles of the data sets.
    """
    columns = {
        "benchmark_cells": "benchmark cells",
        "corpus_cells": "corpus cells",
        "equal_before_exclusion": "exact duplicates",
        "left_out": "left out",
        "in_shards": "in the shards",
    }
    rows = pd.DataFrame(
        [
            {
                "task_dataset": task,
                "task_title": title_of_dataset(catalogue, task),
                "benchmark_cells": n_benchmark[task],
                "corpus_dataset": corpus,
                "corpus_cells": n_corpus[corpus],
                "equal_before_exclusion": leak.before,
                "left_out": leak.left_out,
                "in_shards": len(leak.in_shards),
                "verdict": "LEAK" if leak.in_shards else "clean",
            }
            for (task, corpus), leak in found.items()
        ],
        columns=["task_dataset", "task_title", "benchmark_cells", "corpus_dataset", *[*columns][1:], "verdict"],
    )
    numbers = [Column(name, title, ",d") for name, title in columns.items()]
    texts = [
        Column("task_title", "task data set", is_key=True),
        Column("corpus_dataset", "corpus data set"),
        Column("verdict"),
    ]
    return ReportTable("audit_leakage", rows, [*texts[:2], *numbers, texts[2]])


def duplicates_rows(
    found: Mapping[tuple[str, int], Duplicates], *, parts: Mapping[tuple[str, int], Mapping[str, int]]
) -> pd.DataFrame:
    """Count the exact duplicates within each task's split files.

    Parameters
    ----------
    found
        By task and split seed.
    parts
        By task and split seed: units of each subset.
    """
    return pd.DataFrame(
        [
            {
                "task": task,
                "split": seed,
                "cells": one.n_cells,
                **{f"{part}_units": parts[task, seed].get(part, 0) for part in ("train", "validation", "test")},
                "exact_duplicates": one.n_duplicates,
                **{f"{part}_in_{other}": one.across[part, other] for part, other in ACROSS},
            }
            for (task, seed), one in found.items()
        ],
        columns=[
            *("task", "split", "cells", "train_units", "validation_units", "test_units", "exact_duplicates"),
            *(f"{part}_in_{other}" for part, other in ACROSS),
        ],
    )
