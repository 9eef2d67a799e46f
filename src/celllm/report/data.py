"""The report's tables about data: names and cells on their way to the vocabulary, the corpus, the gene embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from celllm.base.interval import mean_interval
from celllm.base.report_table import Column, ReportTable
from celllm.genes.link_scores import METHODS, NEGATIVES, LinkScore
from celllm.harmonise.harmonisation import Harmonisation

PAPER_GENES: Final = 19_379
"""Rows of the released gene embedding, CLS and PAD left out: BioFM/OpenBioMed, cell encoder of CellLM."""
# Lost names shown for each data set; the full list stands in its harmonisation.json.
_TOP_LOST: Final = 5
_TABLES: Final = {
    "graphmae": "GraphMAE",
    "svd": "SVD of the adjacency",
    "random": "random table",
    "features": "features that GraphMAE starts from",
    "adamic_adar": "Adamic-Adar",
    "common_neighbours": "common neighbours",
    "degree_product": "product of degrees",
}


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
                "min_share": report.threshold,
                "cells_kept": report.cells_kept,
                "cells_dropped": report.cells_dropped,
                "top_lost": "; ".join(f"{name} {share:.2%}" for name, share in report.top_lost[:_TOP_LOST]),
            }
            for report in reports
        ],
    )
    counts = ("names", "mapped", "merged", "ambiguous", "outside_vocabulary", "unknown")
    shares = ("mapped_share", "ambiguous_share", "outside_share", "unknown_share", "min_share")
    columns = [
        Column("title", "data set"),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, show=".1%") for name in shares),
        *(Column(name, show=",d") for name in ("cells_kept", "cells_dropped")),
        Column("top_lost"),
    ]
    return ReportTable("harmonisation", rows, columns)


def samples_table(reports: Sequence[Harmonisation], *, titles: Mapping[str, str]) -> ReportTable:
    """Count each sample's cells, kept and dropped."""
    counts = ("kept", "empty", "too_few_genes")
    rows = pd.DataFrame(
        [
            {
                "dataset": report.dataset,
                "title": titles.get(report.dataset, report.dataset),
                "sample": name,
                **{count: getattr(sample, count) for count in counts},
            }
            for report in reports
            for name, sample in report.samples.items()
        ],
        columns=["dataset", "title", "sample", *counts],
    )
    columns = [Column("title", "data set"), Column("sample"), *(Column(name, show=",d") for name in counts)]
    note = "Empty cells have no count at all; too few genes: fewer expressed genes at the source than its row asks for."
    return ReportTable("samples", rows, columns, "Cells kept and dropped by sample", note)


def vocabulary_table(
    *,
    locus_group: str,
    gene_annotation: str,
    is_named: npt.NDArray[np.bool_],
    has_edge: npt.NDArray[np.bool_] | None,
    network: str,
) -> ReportTable:
    """Count the genes of the vocabulary beside the paper's 19,379, and those that other rules would take.

    Parameters
    ----------
    locus_group, gene_annotation
        Where the vocabulary comes from.
    is_named
        For each gene: whether a data set of the report has a name for it.
    has_edge
        For each gene: whether the network has an edge of it; None: the network is made from the corpus itself.
    network
        Name of the network.
    """
    counted = [
        (f"{locus_group} of {gene_annotation}: the vocabulary", len(is_named)),
        ("of these, named by a data set of this report", int(is_named.sum())),
    ]
    if has_edge is not None:
        counted += [
            (f"of these, with an edge in {network}", int(has_edge.sum())),
            ("named or with an edge", int((is_named | has_edge).sum())),
            ("named and with an edge", int((is_named & has_edge).sum())),
        ]
    counted.append(("the paper's gene embedding", PAPER_GENES))
    rows = pd.DataFrame(
        [{"genes": what, "number": number, "beyond_paper": number - PAPER_GENES} for what, number in counted]
    )
    columns = [Column("genes"), Column("number", show=",d"), Column("beyond_paper", "beyond the paper's", "+,d")]
    note = (
        "The paper's list of genes was not released; which rule gave its number is not known. Shards, encoders and "
        "scores carry the digest of the list, and lists are never mixed."
    )
    return ReportTable("vocabulary", rows, columns, "Gene vocabulary", note)


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
    labels = {"tumour_share": 1, "normal_share": 0, "unknown_share": -1}
    rows = []
    for name, stats in datasets.items():
        own = is_malignant[dataset == name]
        rows.append(
            {
                "dataset": name,
                "title": titles.get(name, name),
                "simulated": "simulated" if stats["simulated"] else "real",
                "cells_kept": int(stats["kept"]),
                "test_cells_excluded": int(stats["excluded_test"]),
                "equal_to_benchmark_excluded": int(stats["excluded_equal"]),
                **{share: float((own == value).mean()) if len(own) else math.nan for share, value in labels.items()},
            },
        )
    counts = ("cells_kept", "test_cells_excluded", "equal_to_benchmark_excluded")
    columns = [
        Column("title", "data set"),
        Column("simulated", "cells"),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, show=".1%") for name in labels),
    ]
    return ReportTable("corpus", pd.DataFrame(rows), columns)


def links_table(scores: Sequence[LinkScore]) -> ReportTable:
    """Average each method over seeds, with either kind of negatives."""
    rows = []
    for negatives in NEGATIVES:
        for method in METHODS:
            found = [score for score in scores if (score.method, score.negatives) == (method, negatives)]
            if not found:
                continue
            row: dict[str, object] = {"method": method, "negatives": negatives}
            for metric in ("auroc", "average_precision"):
                interval = mean_interval(getattr(score, metric) for score in found)
                row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), interval, strict=True))
            row |= {"held_out": found[0].held_out, "without_edge": found[0].without_edge}
            rows.append(row | {"cut_off": mean_interval(s.cut_off for s in found)[0], "seeds": len(found)})
    columns = [
        Column("method", show=lambda name: _TABLES[name]),
        Column("negatives", show=lambda name: name.replace("_", " ")),
        Column("auroc", "AUROC", ".3f", is_interval=True),
        Column("average_precision", show=".3f", is_interval=True),
        Column("held_out", "edges held out", ",d"),
        Column("without_edge", "genes without an edge", ",d"),
        Column("cut_off", "genes cut off", ".1f"),
        Column("seeds", show=",d"),
    ]
    return ReportTable("link_prediction", pd.DataFrame(rows), columns)
