"""The report's tables about data: the vocabulary, names and cells on their way to it, the pretraining corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from celllm.base.report_table import ReportTable, as_markdown
from celllm.harmonise.harmonisation import Harmonisation

PAPER_GENES: Final = 19_379
"""Rows of the released gene embedding, CLS and PAD left out: BioFM/OpenBioMed, cell encoder of CellLM."""
# Lost names shown for each data set; the full list stands in its harmonisation.json.
_TOP_LOST = 5


def harmonisation_table(reports: Sequence[Harmonisation], *, titles: Mapping[str, str]) -> ReportTable:
    """Say for each data set what became of its gene names, as names and as shares of the counts."""
    rows = pd.DataFrame(
        [
            {
                "dataset": report.dataset,
                "title": titles.get(report.dataset, report.dataset),
                "names": report.n_names,
                "mapped": report.mapped,
                "merged": report.merged,
                "ambiguous": report.ambiguous,
                "outside_vocabulary": report.by_route.get("outside_vocabulary", 0),
                "unknown": report.by_route.get("unknown", 0),
                "mapped_share": report.mapped_share_of_counts,
                "ambiguous_share": report.share_by_route.get("ambiguous", 0.0),
                "outside_share": report.share_by_route.get("outside_vocabulary", 0.0),
                "unknown_share": report.share_by_route.get("unknown", 0.0),
                "least_share": report.threshold,
                "cells_kept": report.cells_kept,
                "cells_dropped": report.cells_dropped,
                "top_lost": "; ".join(f"{name} {share:.2%}" for name, share in report.top_lost[:_TOP_LOST]),
            }
            for report in reports
        ],
    )
    shown = rows.copy()
    for column in ("mapped_share", "ambiguous_share", "outside_share", "unknown_share", "least_share"):
        shown[column] = [f"{value:.1%}" for value in rows[column]]
    shown.columns = [column.replace("_", " ") for column in shown.columns]
    note = (
        "Shares are of the kept cells' counts, spike-ins left out (z-scores have no counts: of names). Merged: "
        "mapped names beyond the first of their gene, whose counts are summed. Top lost: unmapped names with the most "
        "counts."
    )
    return ReportTable("harmonisation", rows, as_markdown(shown, title="Gene names", note=note))


def samples_table(reports: Sequence[Harmonisation], *, titles: Mapping[str, str]) -> ReportTable:
    """Count each sample's cells, kept and dropped."""
    rows = pd.DataFrame(
        [
            {
                "dataset": report.dataset,
                "title": titles.get(report.dataset, report.dataset),
                "sample": name,
                "kept": sample.kept,
                "empty": sample.empty,
                "too_few_genes": sample.too_few_genes,
            }
            for report in reports
            for name, sample in report.samples.items()
        ],
        columns=["dataset", "title", "sample", "kept", "empty", "too_few_genes"],
    )
    shown = rows.rename(columns={"too_few_genes": "too few genes"})
    note = "Empty cells have no count at all; too few genes: fewer expressed genes at the source than its row asks for."
    return ReportTable("samples", rows, as_markdown(shown, title="Cells kept and dropped by sample", note=note))


def vocabulary_table(
    *,
    locus_group: str,
    gene_table: str,
    is_named: npt.NDArray[np.bool_],
    has_edge: npt.NDArray[np.bool_] | None,
    network: str,
) -> ReportTable:
    """Count the genes of the vocabulary beside the paper's 19,379, and those that other rules would take.

    Parameters
    ----------
    locus_group, gene_table
        Where the vocabulary comes from.
    is_named
        For each gene: whether a data set of the report has a name for it.
    has_edge
        For each gene: whether the network has an edge of it; None: the network is made from the corpus itself.
    network
        Name of the network.
    """
    counted = [
        (f"{locus_group} of {gene_table}: the vocabulary", len(is_named)),
        ("of these, named by a data set of this report", int(is_named.sum())),
    ]
    if has_edge is not None:
        counted += [
            (f"of these, with an edge in {network}", int(has_edge.sum())),
            ("named or with an edge", int((is_named | has_edge).sum())),
            ("named and with an edge", int((is_named & has_edge).sum())),
        ]
    counted.append(("the paper's gene table", PAPER_GENES))
    rows = pd.DataFrame(
        [{"genes": what, "number": number, "beyond_paper": number - PAPER_GENES} for what, number in counted]
    )
    shown = rows.copy()
    shown["number"] = [f"{number:,}" for number in rows["number"]]
    shown["beyond_paper"] = [f"{number:+,}" for number in rows["beyond_paper"]]
    shown.columns = ["genes", "number", "beyond the paper's"]
    note = "The paper's list of genes was not released; which rule gave its number is not known."
    return ReportTable("vocabulary", rows, as_markdown(shown, title="Gene vocabulary", note=note))


def corpus_table(
    datasets: Mapping[str, Mapping[str, Any]],
    *,
    dataset: pd.Categorical[str],
    is_malignant: np.ndarray,
    titles: Mapping[str, str],
) -> ReportTable:
    """Say what the encoder was pretrained on.

    Parameters
    ----------
    datasets
        By data set: cells `kept`; cells left out because a test set holds them (`excluded_test`) or because a benchmark
        cell has the same counts (`excluded_equal`); `simulated`.
    dataset, is_malignant
        Data set and label of each cell kept: 1 tumour, 0 normal, -1 unknown.
    titles
        What readers call the data sets.
    """
    rows = []
    for name, facts in datasets.items():
        labels = is_malignant[dataset == name]
        shares = [float((labels == value).mean()) if len(labels) else math.nan for value in (1, 0, -1)]
        rows.append(
            {
                "dataset": name,
                "title": titles.get(name, name),
                "simulated": "simulated" if facts["simulated"] else "real",
                "cells_kept": int(facts["kept"]),
                "test_cells_excluded": int(facts["excluded_test"]),
                "equal_to_benchmark_excluded": int(facts["excluded_equal"]),
                **dict(zip(("tumour_share", "normal_share", "unknown_share"), shares, strict=True)),
            },
        )
    frame = pd.DataFrame(rows)
    shown = frame.copy()
    for column in ("tumour_share", "normal_share", "unknown_share"):
        shown[column] = ["" if math.isnan(value) else f"{value:.1%}" for value in frame[column]]
    shown.columns = [column.replace("_", " ") for column in shown.columns]
    note = "Left out: test cells of any seed, cells with the counts of a benchmark cell. Unknown: not in that loss."
    return ReportTable("corpus", frame, as_markdown(shown, title="Pretraining corpus", note=note))
