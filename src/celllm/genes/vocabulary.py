"""The gene axis: which genes there are, and in which order."""

from __future__ import annotations

import pandas as pd

from celllm.contracts.vocabulary import COLUMNS, Vocabulary


def of_locus_group(hgnc: pd.DataFrame, locus_group: str) -> Vocabulary:
    """Take the approved genes of one locus group, sorted by symbol.

    Parameters
    ----------
    hgnc
        Approved entries, as contracts.hgnc reads them.
    locus_group
        HGNC's name of the group, e.g. `protein-coding gene`.

    Raises
    ------
    ValueError
        If no gene is of that group; the message lists the groups there are.
    """
    genes = hgnc[hgnc["locus_group"] == locus_group]
    if genes.empty:
        groups = sorted(hgnc["locus_group"].unique())
        msg = f"no gene of locus group {locus_group!r}; there are {', '.join(groups)}"
        raise ValueError(msg)
    genes = genes.rename(columns={"ensembl_gene_id": "ensembl", "entrez_id": "entrez"})
    genes = genes.sort_values("symbol", kind="stable", ignore_index=True)
    return Vocabulary(genes[list(COLUMNS)])
