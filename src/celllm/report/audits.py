"""The report's tables of the audits: leakage, exact duplicates, batch-confounding probe, embedding diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celllm.base.report_table import Column, ReportTable
from celllm.bench.embedding import BATCH_METRICS, LABEL_METRICS
from celllm.bench.overlap import ACROSS, Leakage, Twins
from celllm.bench.source import MAJORITY, Answer, Taught
from celllm.config.recipe import Recipe
from celllm.sources.readers.cells import MALIGNANCY

HEAD: Final = "tumour, by the head of pretraining on its validation cells"
SPREAD: Final = ("uniformity", "mean_cosine", "effective_rank")
_LABELS: Final = {value: name for name, value in MALIGNANCY.items()}
_EMBEDDING_TITLES: Final = {
    "silhouette_label": "silhouette",
    "nmi_kmeans": "NMI k-means",
    "ari_kmeans": "ARI k-means",
    "nmi_leiden": "NMI Leiden",
    "ari_leiden": "ARI Leiden",
    "ilisi": "iLISI",
    "kbet": "kBET",
    "pcr_comparison": "PCR",
}


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
        columns=["task_dataset", "task_title", "benchmark_cells", "corpus_dataset", *[*columns][1:], "verdict"],
    )
    numbers = [Column(name, title, ",d") for name, title in columns.items()]
    texts = [Column("task_title", "task data set"), Column("corpus_dataset", "corpus data set"), Column("verdict")]
    return ReportTable("audit_leakage", rows, [*texts[:2], *numbers, texts[2]])


def duplicates_table(
    found: Mapping[tuple[str, int], Twins], *, parts: Mapping[tuple[str, int], Mapping[str, int]]
) -> ReportTable:
    """Count the exact duplicates within each task's split files.

    Parameters
    ----------
    found
        By task and split seed.
    parts
        By task and split seed: units of each subset.
    """
    rows = pd.DataFrame(
        [
            {
                "task": task,
                "split": seed,
                "cells": one.n_cells,
                **{f"{part}_units": parts[task, seed].get(part, 0) for part in ("train", "validation", "test")},
                "exact_duplicates": one.n_twins,
                **{f"{part}_in_{other}": one.across[part, other] for part, other in ACROSS},
            }
            for (task, seed), one in found.items()
        ],
        columns=[
            *("task", "split", "cells", "train_units", "validation_units", "test_units", "exact_duplicates"),
            *(f"{part}_in_{other}" for part, other in ACROSS),
        ],
    )
    numbers = [Column(name, show=",d") for name in rows.columns[2:]]
    note = (
        "Cells (or lines) of a task with exactly the counts of another one of the same task. Test in train: test cells "
        "with a duplicate among the training cells, whose label gives theirs away. A line that a split by pairs has in "
        "several subsets is no duplicate of its own."
    )
    columns = [Column("task"), Column("split"), *numbers]
    return ReportTable("exact_duplicates", rows, columns, "Exact duplicates within a task", note)


def head_rows(history: pd.DataFrame, recipe: Recipe) -> list[dict[str, object]]:
    """Return what the tumour head of pretraining said of validation cells, at the step whose weights were kept.

    The head itself is in no file but the checkpoints; its accuracy stands in the history. Empty where it was not
    trained, or no cells were held out.
    """
    if "validation_malignancy_accuracy" not in history:
        return []
    rows = history.dropna(subset=["validation_malignancy_accuracy"])
    if rows.empty:
        return []
    is_best = recipe.training.select == "best"
    kept = rows.sort_values("validation_loss").iloc[0] if is_best else rows.iloc[-1]
    names = {"majority": MAJORITY, "accuracy": "CellLM, the head itself"}
    return [
        {"question": HEAD, "view": name, "accuracy": float(kept[f"validation_malignancy_{key}"])}
        for key, name in names.items()
    ]


def source_table(answers: Sequence[Answer], heads: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put what each view knows of the data set beside what it knows of the tumour."""
    metrics = ("accuracy", "macro_f1", "auroc")
    probes = [
        {
            "question": one.question,
            "view": one.view,
            "n_train": one.n_train,
            "n_test": one.n_test,
            **{name: one.metrics[name] for name in metrics},
        }
        for one in answers
    ]
    rows = pd.DataFrame([*probes, *heads], columns=["question", "view", "n_train", "n_test", *metrics])
    columns = [
        *(Column("question"), Column("view", "asked of")),
        *(Column("accuracy", show=".3f"), Column("macro_f1", "macro F1", ".3f"), Column("auroc", "AUROC", ".3f")),
        *(Column("n_train", "training cells", ",d"), Column("n_test", "held-out cells", ",d")),
    ]
    return ReportTable("audit_source", rows, columns)


def label_rule_table(taught: Sequence[Taught], *, malignancy_rule: str) -> ReportTable:
    """Say what probes answer on cells that the rule `by_source` labels wrongly, taught by either rule."""
    columns = {
        "n_train": "training cells",
        "n_wrong_in_train": "of these wrong by source",
        "n_wrong": "held out, wrong by source",
        "n_right": "held out, right",
        "accuracy_on_wrong": "accuracy on wrong",
        "accuracy_on_right": "accuracy on right",
    }
    rows = pd.DataFrame([vars(one) for one in taught], columns=["rule", "view", *columns])
    shown = [Column(name, title, ".3f" if "accuracy" in name else ",d") for name, title in columns.items()]
    note = (
        "Tumour probes taught the labels of one rule on cells that both rules label, judged by the labels of metadata. "
        "Wrong by source: a healthy cell of a tumour sample, or the reverse. CellLM's pretraining was taught this "
        "run's labels, so only the other views test the rule. Where a data set's own labels are predictions, so is "
        "this truth."
    )
    if malignancy_rule != "metadata":
        note += f" This run's labels are those of {malignancy_rule}, so the truth is not at hand: no cell is wrong."
    heads = [Column("rule", "taught by"), Column("view")]
    return ReportTable("label_rule", rows, [*heads, *shown], "What a label rule teaches", note)


def labels_table(
    dataset: pd.Categorical[str],
    is_malignant: NDArray[np.int8],
    *,
    by_source: Mapping[str, int],
    titles: Mapping[str, str],
) -> ReportTable:
    """Count, for all cells of the shards, the labels of either rule and the cells that `by_source` gets wrong.

    Parameters
    ----------
    dataset, is_malignant
        Of each cell; 1 tumour, 0 normal, -1 unknown.
    by_source
        By data set: the label of all its cells under the rule of that name.
    titles
        What readers call the data sets.
    """
    rows = []
    for name in dataset.categories:
        labels = is_malignant[dataset == name]
        said = by_source[name]
        is_wrong = (labels != -1) & (said != -1) & (labels != said)
        rows.append(
            {
                "dataset": name,
                "title": titles.get(name, name),
                "cells": len(labels),
                **{label: int((labels == value).sum()) for value, label in _LABELS.items()},
                "by_source": _LABELS[said],
                "wrong_by_source": int(is_wrong.sum()),
            }
        )
    counts = [Column(name, show=",d") for name in ("cells", *_LABELS.values())]
    columns = [Column("title", "data set"), *counts, Column("by_source"), Column("wrong_by_source", show=",d")]
    note = "Tumour, normal, unknown: by this run's labels. By source: the paper's literal rule, one label per data set."
    return ReportTable("labels", pd.DataFrame(rows), columns, "Labels of the corpus", note)


@dataclass(frozen=True)
class Measured:
    """One view of one data set.

    Parameters
    ----------
    title
        What readers call the data set.
    view
        Whose embedding.
    n_cells, n_labels, n_batches
        Cells measured; different labels and batches among the labelled ones.
    metrics
        By name; what does not apply is missing.
    """

    title: str
    view: str
    n_cells: int
    n_labels: int
    n_batches: int
    metrics: Mapping[str, float]


def embedding_table(measured: Sequence[Measured]) -> ReportTable:
    """Put the views of each data set below one another."""
    counts = ("cells", "labels", "batches")
    metrics = (*LABEL_METRICS, *BATCH_METRICS, *SPREAD)
    rows = pd.DataFrame(
        [
            {
                "dataset": one.title,
                "view": one.view,
                **dict(zip(counts, (one.n_cells, one.n_labels, one.n_batches), strict=True)),
                **one.metrics,
            }
            for one in measured
        ],
        columns=["dataset", "view", *counts, *metrics],
    )
    columns = [
        Column("dataset", "data set"),
        Column("view"),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, _EMBEDDING_TITLES.get(name, ""), _digits(name)) for name in metrics),
    ]
    return ReportTable("audit_embeddings", rows, columns)


def _digits(metric: str) -> str:
    return ".1f" if metric == "effective_rank" else ".3f"
