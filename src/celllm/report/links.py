"""The report's table on the gene embedding: held-out edges told from pairs that are no edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from celllm.base.interval import mean_interval
from celllm.base.report_table import ReportTable, as_markdown
from celllm.genes.link_scores import METHODS, NEGATIVES, LinkScore
from celllm.report.main_table import interval_text

_TITLES: Final = {
    "graphmae": "GraphMAE",
    "svd": "SVD of the adjacency",
    "random": "random table",
    "features": "features that GraphMAE starts from",
    "adamic_adar": "Adamic-Adar",
    "common_neighbours": "common neighbours",
    "degree_product": "product of degrees",
}


def links_table(scores: Sequence[LinkScore]) -> ReportTable:
    """Average each method over seeds, with either kind of negatives."""
    rows, shown = [], []
    for negatives in NEGATIVES:
        for method in METHODS:
            found = [score for score in scores if (score.method, score.negatives) == (method, negatives)]
            if not found:
                continue
            auroc = mean_interval(score.auroc for score in found)
            precision = mean_interval(score.average_precision for score in found)
            counts = {
                "held_out": found[0].held_out,
                "without_edge": found[0].without_edge,
                "cut_off": mean_interval(score.cut_off for score in found)[0],
                "seeds": len(found),
            }
            named = {
                f"{name}{part}": value
                for name, values in (("auroc", auroc), ("average_precision", precision))
                for part, value in zip(("", "_low", "_high"), values, strict=True)
            }
            rows.append({"method": method, "negatives": negatives, **named, **counts})
            shown.append(
                {
                    "method": _TITLES[method],
                    "negatives": negatives.replace("_", " "),
                    "AUROC": interval_text(*auroc),
                    "average precision": interval_text(*precision),
                    "edges held out": f"{counts['held_out']:,}",
                    "genes without an edge": f"{counts['without_edge']:,}",
                    "genes cut off": f"{counts['cut_off']:.1f}",
                    "seeds": counts["seeds"],
                },
            )
    note = (
        "A tenth of the network's edges is held out before any table is made, and told from as many pairs of genes "
        "that are no edge; mean over seeds with the 95 % t interval. Knowing nothing gives 0.5 of either. "
        "Degree-matched pairs have the genes of the held-out edges, so that degree alone is no answer. Cut off: genes "
        "that lose all their edges to the held-out ones."
    )
    table = as_markdown(pd.DataFrame(shown), title="What the gene embedding knows", note=note)
    return ReportTable("links", pd.DataFrame(rows), table)
