"""The report's tables of the audits: leakage, exact duplicates, batch-confounding probe, embedding diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from celllm.base.report_table import Column, ReportTable
from celllm.bench.embedding import BATCH_METRICS, LABEL_METRICS
from celllm.bench.overlap import ACROSS, Leakage, Twins
from celllm.bench.source import MAJORITY, Answer
from celllm.config.catalogue import Catalogue
from celllm.config.recipe import Recipe
from celllm.corpus.reader import ShardReader
from celllm.report.titles import title_of_dataset
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
_FORMATS: Final = {"effective_rank": ".1f"}


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
    found: Mapping[tuple[str, int], Twins], *, parts: Mapping[tuple[str, int], Mapping[str, int]]
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


def label_rows(corpus: ShardReader, catalogue: Catalogue, *, by_source: Mapping[str, int]) -> pd.DataFrame:
    """Count, for all cells of the shards, the labels of either rule and the cells that `by_source` gets wrong.

    Parameters
    ----------
    corpus
        The shards.
    catalogue
        Titles of the data sets.
    by_source
        By data set: the label of all its cells under the rule of that name; 1 tumour, 0 normal, -1 unknown.
    """
    rows = []
    for name, said in by_source.items():
        labels = corpus.is_malignant[corpus.dataset == name]
        is_wrong = (labels != -1) & (said != -1) & (labels != said)
        rows.append(
            {
                "dataset": name,
                "title": title_of_dataset(catalogue, name),
                "cells": len(labels),
                **{label: int((labels == value).sum()) for value, label in _LABELS.items()},
                "by_source": _LABELS[said],
                "wrong_by_source": int(is_wrong.sum()),
            }
        )
    return pd.DataFrame(rows)


def embedding_table(measured: Sequence[Mapping[str, object]]) -> ReportTable:
    """Put the views of each data set below one another.

    Parameters
    ----------
    measured
        One view of one data set each: dataset, view, cells, labels, batches and the metrics that apply.
    """
    counts = ("cells", "labels", "batches")
    metrics = (*LABEL_METRICS, *BATCH_METRICS, *SPREAD)
    columns = [
        Column("dataset", "data set"),
        Column("view"),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, _EMBEDDING_TITLES.get(name, ""), _FORMATS.get(name, ".3f")) for name in metrics),
    ]
    rows = pd.DataFrame(measured, columns=["dataset", "view", *counts, *metrics])
    return ReportTable("audit_embeddings", rows, columns)
