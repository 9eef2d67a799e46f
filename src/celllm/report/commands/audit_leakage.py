"""Look for benchmark cells in the pretraining corpus, and for equal cells within a task: `audit_leakage`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base import report_table
from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.bench.overlap import Twins, leakage, part_sizes, twins
from celllm.config import tables
from celllm.corpus.commands.write_shards import benchmark_hashes
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as cells_file
from celllm.harmonise.quality import cell_hashes
from celllm.report.leakage import leakage_table, twins_table
from celllm.splits import format as splits
from celllm.splits.format import Split

_AT_ONCE = 8_192
"""Cells of the shards read at once: about 100 MB at 1,600 expressed genes a cell."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm audit_leakage", description=__doc__, allow_abbrev=False)
    options.add_argument("--cells", required=True, type=Path, nargs="+", help="aligned cells of the corpus")
    options.add_argument("--benchmark-cells", required=True, type=Path, nargs="+", help="aligned cells of the tasks")
    options.add_argument("--splits", required=True, type=Path, nargs="+", help="split files of all tasks and seeds")
    options.add_argument("--shards", required=True, type=Path, help="results/shards/manifest.json")
    options.add_argument("--tasks", required=True, type=Path, help="config/tasks.tsv")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv, for the titles")
    options.add_argument("--stage", default="audit_leakage", help="name and version of the stage")
    options.add_argument("--tables", required=True, type=Path, help="folder the tables are written to")
    return options


def cells_of(file: Path) -> tuple[str, pd.DataFrame]:
    """Read name and cells of an aligned data set: columns cell_id, cell_hash."""
    hashes = pd.concat([obs["cell_hash"] for obs in cells_file.obs_pieces(file)])
    frame = pd.DataFrame({"cell_id": hashes.index.astype(str), "cell_hash": hashes.to_numpy(dtype=object)})
    return str(cells_file.header(file)["dataset"]), frame


def cells_in(shards: ShardReader) -> pd.DataFrame:
    """Read the cells of the shards, their hashes made anew from the counts: columns cell_id, dataset, cell_hash."""
    pieces = np.split(np.arange(shards.n_cells), range(_AT_ONCE, shards.n_cells, _AT_ONCE))
    hashes = [one for rows in pieces for one in cell_hashes(shards.rows(rows))]
    return shards.cells[["cell_id", "dataset"]].assign(cell_hash=hashes)


def twins_in(split: Split, cells: pd.DataFrame, kind: str) -> Twins:
    """Count the equal cells of a split; in a task of pairs of line and drug, the equal lines."""
    names, units = cells["cell_id"], split.units
    if kind == "regression":  # a unit is {line}|{drug}, a cell id {dataset}:{line}
        names, units = names.str.split(":", n=1).str[-1], [unit.split("|", 1)[0] for unit in units]
    return twins(dict(zip(names, cells["cell_hash"], strict=True)), cells=units, parts=split.parts.tolist())


def main(argv: Sequence[str] | None = None) -> None:
    """Read cells, splits and shards, compare hashes, write; fail where a benchmark cell is in the shards."""
    args = parser().parse_args(argv)
    titles = {row.dataset: row.title for row in tables.read_datasets(args.datasets)}
    tasks = {row.task: row for row in tables.read_tasks(args.tasks)}
    drawn = [splits.read(file) for file in args.splits]
    corpus = dict(cells_of(file) for file in args.cells)
    benchmark = dict(cells_of(file) for file in args.benchmark_cells)
    tested = {unit for split in drawn if tasks[split.task].dataset in corpus for unit in split.units_of("test")}
    hashes = benchmark_hashes(args.benchmark_cells, args.cells, tested)
    kept = cells_in(ShardReader(args.shards))
    leaks = {
        (task, name): leakage(hashes[task], corpus=cells, shards=kept[kept["dataset"] == name])
        for task in hashes
        for name, cells in corpus.items()
    }
    equal = {
        (split.task, split.seed): twins_in(split, benchmark[tasks[split.task].dataset], tasks[split.task].kind)
        for split in drawn
    }
    made = [
        leakage_table(
            leaks,
            n_benchmark={name: len(own) for name, own in hashes.items()},
            n_corpus={name: len(cells) for name, cells in corpus.items()},
            titles=titles,
        ),
        twins_table(equal, parts={(split.task, split.seed): part_sizes(split.parts.tolist()) for split in drawn}),
    ]
    for table in made:
        report_table.write(table, args.tables)
    leaked = [name for leak in leaks.values() for name in leak.in_shards]
    print(f"{sum(leak.before for leak in leaks.values())} equal before exclusion, {len(leaked)} in the shards")
    if leaked:
        raise InputError(
            file=args.shards,
            field="cells",
            expected="no cell with the counts of a benchmark cell",
            found=f"{len(leaked)}, such as {leaked[0]}; all counts stand in {args.tables / 'audit_leakage.tsv'}",
            remedy="write the shards again: snakemake --forcerun write_shards; then pretrain again",
        )


if __name__ == "__main__":
    run(main)
