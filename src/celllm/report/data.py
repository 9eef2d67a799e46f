"""The report's tables about data: names and cells on their way to the vocabulary, and the corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from celllm.base.report_table import Column, ReportTable
from celllm.config.catalogue import Catalogue
from celllm.corpus.reader import ShardReader
from celllm.genes.network import Edges
from celllm.harmonise import harmonisation as harmonisation_files
from celllm.harmonise.harmonisation import Harmonisation
from celllm.harmonise.vocabulary import Vocabulary
from celllm.pretrain import history as history_files
from celllm.report.titles import title_of_dataset

PAPER_GENES: Final = 19_379
"""Rows of the released gene embedding, CLS and PAD left out: BioFM/OpenBioMed, cell encoder of CellLM."""
# Lost names shown for each data set; the full list stands in its harmonisation.json.
_TOP_LOST: Final = 5


def read_harmonisation(paths: Sequence[Path]) -> list[Harmonisation]:
    """Read what became of the names of several data sets."""
    return [harmonisation_files.read(path) for path in paths]


def read_histories(paths: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read the histories of several runs, named by encoder and seed."""
    names = [f"{path.parent.parent.name}, {path.parent.name.replace('seed', 'seed ')}" for path in paths]
    return {name: history_files.read(path) for name, path in zip(names, paths, strict=True)}


def harmonisation_table(harmonisation: Sequence[Harmonisation], catalogue: Catalogue) -> ReportTable:
    """Say for each data set what became of its gene names, as names and as shares of the counts."""
    rows = pd.DataFrame(
        [
            {
                "dataset": report.dataset,
                "title": title_of_dataset(catalogue, report.dataset),
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
                "missing": "; ".join(f"{what} {n_cells:,d}" for what, n_cells in report.missing.items() if n_cells),
                "top_lost": "; ".join(f"{name} {share:.2%}" for name, share in report.top_lost[:_TOP_LOST]),
            }
            for report in harmonisation
        ],
    )
    counts = ("names", "mapped", "merged", "ambiguous", "outside_vocabulary", "unknown")
    shares = ("mapped_share", "ambiguous_share", "outside_share", "unknown_share", "min_share")
    columns = [
        Column("title", "data set", is_key=True),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, show=".1%") for name in shares),
        *(Column(name, show=",d") for name in ("cells_kept", "cells_dropped")),
        Column("missing", "cells without"),
        Column("top_lost"),
    ]
    return ReportTable("harmonisation", rows, columns)


def vocabulary_table(
    vocabulary: Vocabulary,
    *,
    is_named: npt.NDArray[np.bool_],
    edges: Edges | None,
    config: Mapping[str, Any],
) -> ReportTable:
    """Count the genes of the vocabulary beside the paper's 19,379, and those that other rules would take.

    `is_named`: for each gene, whether a data set of the report has a name for it; `edges` None: the network is made
    from the corpus itself.
    """
    counted = {
        f"{config['locus_group']} of {config['gene_annotation']}: the vocabulary": vocabulary.n_genes,
        "of these, named by a data set of this report": int(is_named.sum()),
    }
    if edges is not None:
        has_edge = np.zeros(vocabulary.n_genes, dtype=bool)
        has_edge[edges.a_E] = has_edge[edges.b_E] = True
        counted |= {
            f"of these, with an edge in {edges.source}": int(has_edge.sum()),
            "named or with an edge": int((is_named | has_edge).sum()),
            "named and with an edge": int((is_named & has_edge).sum()),
        }
    counted["the paper's gene embedding"] = PAPER_GENES
    rows = pd.DataFrame(
        [{"genes": what, "number": number, "beyond_paper": number - PAPER_GENES} for what, number in counted.items()]
    )
    columns = [Column("genes"), Column("number", show=",d"), Column("beyond_paper", "beyond the paper's", "+,d")]
    note = (
        "The paper's list of genes was not released; which rule gave its number is not known. Shards, encoders and "
        "scores carry the digest of the list, and lists are never mixed."
    )
    return ReportTable("vocabulary", rows, columns, "Gene vocabulary", note)


def corpus_table(corpus: ShardReader, catalogue: Catalogue) -> ReportTable:
    """Say what the encoder was pretrained on, and which cells were left out of it."""
    labels = {"tumour_share": 1, "normal_share": 0, "unknown_share": -1}
    rows = []
    for name, stats in corpus.datasets.items():
        own = corpus.is_malignant[corpus.dataset == name]
        rows.append(
            {
                "dataset": name,
                "title": title_of_dataset(catalogue, name),
                "simulated": "simulated" if stats["simulated"] else "real",
                "cells_kept": int(stats["kept"]),
                "test_cells_excluded": int(stats["excluded_test"]),
                "equal_to_benchmark_excluded": int(stats["excluded_equal"]),
                **{share: float((own == value).mean()) if len(own) else math.nan for share, value in labels.items()},
            },
        )
    counts = ("cells_kept", "test_cells_excluded", "equal_to_benchmark_excluded")
    columns = [
        Column("title", "data set", is_key=True),
        Column("simulated", "cells"),
        *(Column(name, show=",d") for name in counts),
        *(Column(name, show=".1%") for name in labels),
    ]
    return ReportTable("corpus", pd.DataFrame(rows), columns)
