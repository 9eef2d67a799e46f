"""Leakage: benchmark cells in the pretraining corpus, and exact duplicates within a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.base.report_table import Column, ReportTable, frame_of
from celllm.bench.overlap import ACROSS, Duplicates, exact_duplicates, leakage, subset_sizes
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
    cells: Sequence[Path],
    benchmark_cells: Sequence[Path],
    splits: Sequence[Path],
    corpus: ShardReader,
    catalogue: Catalogue,
) -> list[ReportTable]:
    """Say for each task data set and corpus data set how many cells they share, and how many are left in the shards.

    The second table has the exact duplicates within each task. A benchmark cell in the shards is a fault of the first.
    """
    drawn = [split_files.read(file) for file in split_files.files_of(splits)]
    own, benchmark = (dict(_cells_of(file) for file in files) for files in (cells, benchmark_cells))
    tested = {unit for split in drawn if catalogue.tasks[split.task].dataset in own for unit in split.units_of("test")}
    kept = _cells_in(corpus)
    rows, leaked = [], []
    for task, hashes in benchmark_hashes(benchmark_cells, cells, tested).items():
        for name, of_corpus in own.items():
            found = leakage(hashes, corpus=of_corpus, shards=kept[kept["dataset"] == name])
            leaked += found.in_shards
            rows.append(
                {
                    "task_dataset": task,
                    "task_title": title_of_dataset(catalogue, task),
                    "benchmark_cells": len(hashes),
                    "corpus_dataset": name,
                    "corpus_cells": len(of_corpus),
                    "equal_before_exclusion": found.before,
                    "left_out": found.left_out,
                    "in_shards": len(found.in_shards),
                    "verdict": "LEAK" if found.in_shards else "clean",
                }
            )
    columns = [
        Column("task_title", "task data set", is_key=True),
        Column("corpus_dataset", "corpus data set"),
        *(Column(name, show=",d") for name in ("benchmark_cells", "corpus_cells")),
        Column("equal_before_exclusion", "exact duplicates", ",d"),
        Column("left_out", show=",d"),
        Column("in_shards", "in the shards", ",d"),
        Column("verdict"),
    ]
    fault = InputError(
        file="pretraining corpus",
        field="cells",
        expected="no cell with the counts of a benchmark cell",
        found=f"{len(leaked)}, such as {next(iter(leaked), '')}",
        remedy="write the shards again: snakemake --forcerun write_shards; then pretrain again",
    )
    table = ReportTable("audit_leakage", frame_of(rows, columns), columns, fault=fault if leaked else None)
    return [table, _duplicates_table(drawn, benchmark, catalogue)]


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


def _duplicates_table(splits: Sequence[Split], cells: dict[str, pd.DataFrame], catalogue: Catalogue) -> ReportTable:
    """Count the exact duplicates within each split, and the units of its subsets."""
    rows = []
    for split in splits:
        task, sizes = catalogue.tasks[split.task], subset_sizes(split.subsets.tolist())
        found = _duplicates_in(split, cells[task.dataset], task.kind)
        rows.append(
            {
                "task": split.task,
                "split": split.seed,
                "cells": found.n_cells,
                **{f"{subset}_units": sizes.get(subset, 0) for subset in ("train", "validation", "test")},
                "exact_duplicates": found.n_duplicates,
                **{f"{subset}_in_{other}": found.across[subset, other] for subset, other in ACROSS},
            }
        )
    numbers = ["cells", "train_units", "validation_units", "test_units", "exact_duplicates"]
    numbers += [f"{subset}_in_{other}" for subset, other in ACROSS]
    columns = [Column("task"), Column("split"), *(Column(name, show=",d") for name in numbers)]
    note = (
        "Cells (or lines) of a task with exactly the counts of another one of the same task. Test in train: test cells "
        "with a duplicate among the training cells, whose label gives theirs away. A line that a split by pairs has in "
        "several subsets is no duplicate of its own."
    )
    return ReportTable("exact_duplicates", frame_of(rows, columns), columns, "Exact duplicates within a task", note)


def _duplicates_in(split: Split, cells: pd.DataFrame, kind: str) -> Duplicates:
    """Count the exact duplicates of a split; in a task of pairs of line and drug, the equal lines."""
    names, units = cells["cell_id"], split.units
    if kind == "regression":  # a unit is {line}|{drug}, a cell id {dataset}:{line}
        names, units = names.str.split(":", n=1).str[-1], [unit.split("|", 1)[0] for unit in units]
    hash_of = dict(zip(names, cells["cell_hash"], strict=True))
    return exact_duplicates(hash_of, cells=units, subsets=split.subsets.tolist())
