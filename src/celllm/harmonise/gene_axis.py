"""The gene axis: which genes there are, and in which order."""

from __future__ import annotations

import pandas as pd

from celllm.harmonise.symbols import MAPPED_ROUTES, SymbolIndex
from celllm.harmonise.vocabulary import COLUMNS, Vocabulary


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


def identified(listed: Vocabulary, hgnc: pd.DataFrame) -> Vocabulary:
    """Give genes that are known by symbol alone their ids, by which cells are aligned; symbols and order stay.

    A list that was made with an older HGNC may call one gene by two symbols. Then the approved symbol gets the gene,
    else the previous one, else the alias, and of equals the first. The others, and symbols that HGNC does not know,
    have no id: no cell will ever express them.

    Parameters
    ----------
    listed
        Genes in the order of an embedding table.
    hgnc
        Approved entries.
    """
    index = SymbolIndex(hgnc)
    settled = [index.settle(symbol) for symbol in listed.symbols]
    mapped = [i for i, (row, _) in enumerate(settled) if row >= 0]
    genes = listed.genes.assign(hgnc_id="", ensembl="", entrez="")
    taken = set()
    for i in sorted(mapped, key=lambda i: MAPPED_ROUTES.index(settled[i][1])):
        row = settled[i][0]
        if row not in taken:
            taken.add(row)
            found = hgnc.iloc[row]
            ids = [found["hgnc_id"], found["ensembl_gene_id"], found["entrez_id"]]
            genes.loc[genes.index[i], ["hgnc_id", "ensembl", "entrez"]] = ids
    return Vocabulary(genes)
