"""Which columns of a source name its genes, judged by what they hold: symbols, Ensembl ids, or both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

INDEX: Final = "index"
ENSEMBL: Final = re.compile(r"ENSG\d+")
BUILD: Final = re.compile(
    r"(?:(?:GRCh3[78](?:\.p\d+)?|hg19|hg38|b37|DEPRECATED)(?:[_-]premrna)?[_.-]+)+(?=.)", re.IGNORECASE
)
"""A genome before every name, as Cell Ranger writes it for several (`GRCh38_CD3D`), and 10x's withdrawn probes."""
ID_COLUMNS: Final[tuple[str, ...]] = ("ensembl_id", "gene_ids")
"""Columns of ids that are taken first; `gene_ids` is Cell Ranger's by way of scanpy."""
SYMBOL_COLUMNS: Final = (
    *("feature_name", "gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "symbols", "hgnc_symbol"),
    *("gene_short_name", "features", "_index", "gene", "genes", "name"),
)
"""Columns of symbols, in lower case, where the index of `var` holds ids or numbers."""
OF_GENES: Final = ("gene expression", "gene", "genes", "rna")
"""How the type of a feature that is a gene is called, in lower case."""
TYPE_COLUMNS: Final = ("feature_types", "feature_type", "feature_biotype", "modality")
"""Columns that tell genes from antibodies, guides and peaks, where they call a feature as OF_GENES does."""


def cleaned(name: str) -> str:
    """Take away what is no part of a gene's name: blanks and quotes around it, a genome before it."""
    bare = name.strip().strip("\"'\ufeff\u200b").strip()
    build = BUILD.match(bare)
    return bare[build.end() :] if build else bare


def genes_of(var: pd.DataFrame) -> tuple[npt.NDArray[np.intp], dict[str, int]]:
    """Return the places of the genes in `var`, and how many features of each other type there are.

    All are genes, unless a column of TYPE_COLUMNS says so of some.
    """
    for name in TYPE_COLUMNS:
        if name in var:
            types = var[name].astype(str).str.strip()
            is_gene = types.str.casefold().isin(OF_GENES)
            if is_gene.any():
                others = types[~is_gene].value_counts()
                return np.flatnonzero(is_gene), {str(kind): int(n) for kind, n in others.items()}
    return np.arange(len(var)), {}


def names_of(var: pd.DataFrame) -> list[str]:
    """Name the genes of an AnnData file's `var`: `SYMBOL_ENSG…` where it has both."""
    return naming(var)[1]


def naming(var: pd.DataFrame) -> tuple[str, list[str]]:
    """Return the columns that name the genes of `var`, and the names.

    Symbols are the index; where that holds ids or numbers, the first column of SYMBOL_COLUMNS. Ids are a column of
    ID_COLUMNS, or the first that holds Ensembl ids.
    """
    texts = {str(name): _texts(var[name]) for name in var.columns if not pd.api.types.is_numeric_dtype(var[name])}
    ids: str | None = next((name for name in ID_COLUMNS if name in texts), None)
    ids = ids or next((name for name, values in texts.items() if _are(values, ENSEMBL.match)), None)
    index = [str(name) for name in var.index]
    symbols: str | None = INDEX
    if _are(index, ENSEMBL.match) or _are(index, str.isdecimal):
        by_name = {name.casefold(): name for name in texts}
        found = [by_name[name] for name in SYMBOL_COLUMNS if name in by_name]
        is_id = {name: _are(texts[name], ENSEMBL.match) or _are(texts[name], str.isdecimal) for name in found}
        symbols = next((name for name in found if not is_id[name]), None)
        ids = INDEX if _are(index, ENSEMBL.match) or (ids is None and symbols is None) else ids
    texts[INDEX] = index
    chosen = [texts[name] for name in (ids, symbols) if name is not None]
    return " and ".join(name for name in (symbols, ids) if name), chosen[0] if len(chosen) < 2 else named(*chosen)


def named(ids: Iterable[Any], symbols: Iterable[Any]) -> list[str]:
    """Name genes `SYMBOL_ENSG…`, or by the symbol alone where the id is none of Ensembl's, or is the symbol."""
    pairs = ((str(i), str(symbol)) for i, symbol in zip(ids, symbols, strict=True))
    return [_named(i, symbol) for i, symbol in pairs]


def _named(identifier: str, symbol: str) -> str:
    if not ENSEMBL.match(cleaned(identifier)) or identifier == symbol:
        return symbol
    return f"{symbol}_{cleaned(identifier)}" if symbol else identifier


def _texts(column: pd.Series[Any]) -> list[str]:
    return ["" if value is None or value is pd.NA or value != value else str(value) for value in column]


def _are(values: list[str], fits: Any) -> bool:  # noqa: ANN401 - any predicate of a text
    """Tell whether at least half of the values are of a kind."""
    return bool(values) and 2 * sum(bool(fits(cleaned(value))) for value in values) >= len(values)
