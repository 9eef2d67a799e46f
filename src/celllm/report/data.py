"""The report's tables about data: names and cells on their way to the vocabulary, and the corpus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from celllm.base.report_table import Column, ReportTable
from celllm.config.catalogue import Catalogue
from celllm.corpus.reader import ShardReader
from celllm.harmonise import harmonisation as harmonisation_files
from celllm.harmonise.harmonisation import Harmonisation
from celllm.pretrain import history as history_files
from celllm.report.titles import title_of_dataset

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
