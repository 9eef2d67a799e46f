"""Leakage: benchmark cells in the pretraining corpus, and exact duplicates within a task.

A cell is known by the hash of its counts (celllm.harmonise.quality.cell_hashes), whatever its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.base.report_table import Column, ReportTable, frame_of
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
_ACROSS = (("validation", "train"), ("test", "train"), ("test", "validation"))
"""Pairs of subsets whose duplicates flatter a score: subset, and the other subset that gives it away."""


def leakage_tables(
    cells: Sequence[Path],
    benchmark_cells: Sequence[Path],
    splits: Sequence[Path],
    corpus: ShardReader,
    catalogue: Catalogue,
) -> list[ReportTable]:
    """Say for each task data set and corpus data set how many cells they share, and how many are left in the shards.

    Aligned cells and shards are searched separately, the latter by hashes recomputed from the counts, so that a wrong
    column hides nothing. The second table has the exact duplicates within each task. A benchmark cell in the shards is
    a fault of the first.
    """
    drawn = [split_files.read(file) for file in split_files.files_of(splits)]
    own, benchmark = (dict(_cells_of(file) for file in files) for files in (cells, benchmark_cells))
    tested = {unit for split in drawn if catalogue.tasks[split.task].dataset in own for unit in split.units_of("test")}
    kept = _cells_in(corpus)
    rows: list[dict[str, object]] = []
    leaked: list[str] = []
    for task, hashes in benchmark_hashes(benchmark_cells, cells, tested).items():
        for name, of_corpus in own.items():
            of_shards = kept[kept["dataset"] == name]
            equal, in_shards = (
                each.loc[each["cell_hash"].isin(hashes), "cell_id"].tolist() for each in (of_corpus, of_shards)
            )
            leaked += in_shards
            rows.append(
                {
                    "task_dataset": task,
                    "task_title": title_of_dataset(catalogue, task),
                    "benchmark_cells": len(hashes),
                    "corpus_dataset": name,
                    "corpus_cells": len(of_corpus),
                    "equal_before_exclusion": len(equal),
                    "left_out": len(set(equal) - set(of_shards["cell_id"])),
                    "in_shards": len(in_shards),
                    "verdict": "LEAK" if in_shards else "clean",
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
        task = catalogue.tasks[split.task]
        sizes = {f"{subset}_units": int((split.subsets == subset).sum()) for subset in ("train", "validation", "test")}
        found = _duplicates_in(split, cells[task.dataset], task.kind)
        rows.append({"task": split.task, "split": split.seed, "cells": found.pop("cells"), **sizes, **found})
    columns = [
        Column("task"),
        Column("split"),
        *(Column(name, show=",d") for name in list(rows[0] if rows else [])[2:]),
    ]
    note = (
        "Cells (or lines) of a task with exactly the counts of another one of the same task. Test in train: test cells "
        "with a duplicate among the training cells, whose label gives theirs away. A line that a split by pairs has in "
        "several subsets is no duplicate of its own."
    )
    return ReportTable("exact_duplicates", frame_of(rows, columns), columns, "Exact duplicates within a task", note)


def _duplicates_in(split: Split, cells: pd.DataFrame, kind: str) -> dict[str, int]:
    """Count cells of a split, those with an exact duplicate, and those whose duplicate lies in another subset.

    In a task of pairs of line and drug, lines stand for cells: one may be in several subsets by design.
    """
    names, units = cells["cell_id"], split.units
    if kind == "regression":  # a unit is {line}|{drug}, a cell id {dataset}:{line}
        names, units = names.str.split(":", n=1).str[-1], [unit.split("|", 1)[0] for unit in units]
    table = pd.DataFrame({"cell": units, "subset": split.subsets.tolist()}).drop_duplicates()
    table["hash"] = table["cell"].map(dict(zip(names, cells["cell_hash"], strict=True)))
    repeated = table[table.groupby("hash")["cell"].transform("nunique") > 1]
    pairs = repeated.merge(repeated, on="hash", suffixes=("", "_other"))
    pairs = pairs[pairs["cell"] != pairs["cell_other"]]
    across = {
        f"{subset}_in_{other}": pairs.loc[
            (pairs["subset"] == subset) & (pairs["subset_other"] == other), "cell"
        ].nunique()
        for subset, other in _ACROSS
    }
    return {"cells": table["cell"].nunique(), "exact_duplicates": repeated["cell"].nunique(), **across}
