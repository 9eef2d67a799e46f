"""The report's tables of the leakage audit: benchmark cells in the corpus, and equal cells within a task."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench.overlap import ACROSS, Leakage, Twins


def leakage_table(
    found: Mapping[tuple[str, str], Leakage],
    *,
    n_benchmark: Mapping[str, int],
    n_corpus: Mapping[str, int],
    titles: Mapping[str, str],
) -> ReportTable:
    """Say for each task data set and corpus data set how many cells they share, and how many are left in the shards.

    Parameters
    ----------
    found
        By task data set and corpus data set.
    n_benchmark, n_corpus
        Benchmark cells of each task data set; aligned cells of each corpus data set.
    titles
        What readers call the data sets.
    """
    rows = pd.DataFrame(
        [
            {
                "task_dataset": task,
                "task_title": titles.get(task, task),
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
        columns=[
            *("task_dataset", "task_title", "benchmark_cells", "corpus_dataset", "corpus_cells"),
            *("equal_before_exclusion", "left_out", "in_shards", "verdict"),
        ],
    )
    columns = ["task data set", "benchmark cells", "corpus", "cells", "equal", "left out", "in the shards", "verdict"]
    shown = [line for _, own in rows.groupby("task_dataset", sort=False) for line in _lines(own)]
    note = (
        "Cells of the corpus with exactly the counts of a benchmark cell, by hash; in the shards the hash is made anew "
        "from the counts. In the shards must be 0. Of a task data set that is in the corpus itself, the benchmark "
        "cells are the test cells of its splits. A cell that another pipeline counted differs and is not found."
    )
    markdown = as_markdown(pd.DataFrame(shown, columns=columns), title="Benchmark cells in the corpus", note=note)
    return ReportTable("audit_leakage", rows, markdown)


def _lines(own: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return a task data set's rows as a reader sees them: corpus data sets that share nothing with it are one row."""
    is_shared = (own["equal_before_exclusion"] > 0) | (own["in_shards"] > 0)
    shared, others = own[is_shared], own[~is_shared]
    lines: list[tuple[object, ...]] = list(shared.drop(columns="task_dataset").itertuples(index=False, name=None))
    if len(others):
        which = f"{len(others)} other data sets" if lines else f"all {len(others)} data sets"
        first = others.iloc[0]
        n_cells = int(others["corpus_cells"].sum())
        lines.append((first["task_title"], first["benchmark_cells"], which, n_cells, 0, 0, 0, "clean"))
    return lines


def twins_table(
    found: Mapping[tuple[str, int], Twins], *, parts: Mapping[tuple[str, int], Mapping[str, int]]
) -> ReportTable:
    """Count equal cells within each task's split files.

    Parameters
    ----------
    found
        By task and split seed.
    parts
        By task and split seed: units of each part.
    """
    rows = pd.DataFrame(
        [
            {
                "task": task,
                "split": seed,
                "cells": twin.n_cells,
                **{f"{part}_units": parts[task, seed].get(part, 0) for part in ("train", "validation", "test")},
                "cells_with_twin": twin.n_twins,
                **{f"{part}_in_{other}": twin.across[part, other] for part, other in ACROSS},
            }
            for (task, seed), twin in found.items()
        ],
        columns=[
            *("task", "split", "cells", "train_units", "validation_units", "test_units", "cells_with_twin"),
            *(f"{part}_in_{other}" for part, other in ACROSS),
        ],
    )
    shown = rows.rename(columns={name: name.replace("_", " ") for name in rows.columns})
    note = (
        "Twins: other cells (or lines) of the same task with exactly the same counts. Test in train: test cells with a "
        "twin in the training part, whose label gives theirs away. A line that a split by pairs has in several parts "
        "is no twin of its own."
    )
    return ReportTable("audit_twins", rows, as_markdown(shown, title="Equal cells within a task", note=note))
