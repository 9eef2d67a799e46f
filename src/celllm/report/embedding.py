"""The report's table of embedding metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench.embedding import BATCH_METRICS, LABEL_METRICS

SPREAD = ("uniformity", "mean_cosine", "effective_rank")
_SHORT = {
    "silhouette_label": "silhouette",
    "isolated_labels": "isolated labels",
    "nmi_kmeans": "NMI k-means",
    "ari_kmeans": "ARI k-means",
    "nmi_leiden": "NMI Leiden",
    "ari_leiden": "ARI Leiden",
    "ilisi": "iLISI",
    "kbet": "kBET",
    "graph_connectivity": "graph connectivity",
    "pcr_comparison": "PCR",
    "mean_cosine": "mean cosine",
    "effective_rank": "effective rank",
}


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
    columns = ["dataset", "view", "cells", "labels", "batches", *LABEL_METRICS, *BATCH_METRICS, *SPREAD]
    rows = pd.DataFrame(
        [
            {
                "dataset": one.title,
                "view": one.view,
                "cells": one.n_cells,
                "labels": one.n_labels,
                "batches": one.n_batches,
                **one.metrics,
            }
            for one in measured
        ],
        columns=columns,
    )
    shown = rows.copy()
    for column in (*LABEL_METRICS, *BATCH_METRICS, *SPREAD):
        digits = 1 if column == "effective_rank" else 3
        shown[column] = ["" if pd.isna(value) else f"{value:.{digits}f}" for value in rows[column]]
    note = (
        "Silhouette to PCR: scib-metrics, larger is better; the encoder's vectors on the unit sphere. Batches are "
        "samples; without a label that occurs in two of them their mixing means nothing and is left out, and where "
        "labels do not keep together, mixed batches are no merit. PCR is 0 for the principal components, which it "
        "compares with. Uniformity near 0, mean cosine near 1 and effective rank near 1: the embedding has collapsed."
    )
    markdown = as_markdown(shown.rename(columns=_SHORT), title="Embedding metrics", note=note)
    return ReportTable("audit_embeddings", rows, markdown)
