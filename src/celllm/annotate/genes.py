"""The genes of an object of unknown origin: which of its names mean genes, and where they go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celllm.harmonise.symbols import Mapping, SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.archives import unreadable
from celllm.sources.readers.genes import INDEX, naming

MIN_MAPPED, MOST = 0.01, 0.5
"""Share of the counts below which names are no names of human genes, and above which they surely are."""
MIN_CALLED = 0.2
"""Share of cells called like genes from which on a matrix is taken to be transposed."""
NUMBERS = re.compile(r"entrez|ncbi|gene_?id", re.IGNORECASE)
"""Columns whose numbers are Entrez ids; other numbers, such as `n_cells`, only look so."""


def map_genes(
    var: pd.DataFrame,
    weights_N: NDArray[np.float64],
    *,
    index: SymbolIndex,
    vocabulary: Vocabulary,
    file: str,
    asked: str | None = None,
    cells: Callable[[], Iterable[object]] = tuple,
) -> tuple[str, Mapping]:
    """Find the columns of `var` that name genes, and map its names; return both.

    Those that the workflow takes (ids and symbols together, so a retired id is found by its symbol) are tried first;
    where they map few of the genes' counts, `weights_N`, the column is taken by which most map. `asked` is the column
    to take alone; `index` is the index. InputError, of `file`, if there is no such column, or hardly any name is a
    human gene's. `cells` gives names of cells, to tell a matrix of genes x cells.
    """
    columns: dict[str, pd.Index[Any] | pd.Series[Any]] = {INDEX: var.index, **{str(name): var[name] for name in var}}
    if asked is not None and asked not in columns:
        expected, found = "the column that --genes names", f"the columns {', '.join(columns)}"
        raise unreadable(file, expected, found, field=f"var column {asked}", remedy="give one of them: --genes COLUMN")
    best: tuple[float, str, Mapping] | None = None
    for column, names in [naming(var), *_others(columns)] if asked is None else [(asked, _texts(columns[asked]))]:
        mapping = map_names(names, index, vocabulary)
        share = float(weights_N[mapping.index_N >= 0].sum()) / (float(weights_N.sum()) or 1.0)
        if best is None or share > best[0]:
            best = share, column, mapping
        if share > MOST:
            break
    if best is None or best[0] < MIN_MAPPED:
        expected, names = "symbols, Ensembl or Entrez ids of human genes", _texts(columns[asked or INDEX])
        remedy = "name the column of var that has them: --genes COLUMN; genes of another species: "
        remedy += "replace them by their human orthologues first"
        of_cells = [name for name in map(str, cells()) if not name.isdecimal()]
        if (map_names(of_cells, index, vocabulary).index_N >= 0).sum() > MIN_CALLED * len(of_cells):
            remedy = "the cells are called like genes: transpose it, anndata.read_h5ad(FILE).T.copy().write_h5ad(NEW)"
        field = f"gene names ({asked or INDEX})"
        raise unreadable(file, expected, ", ".join(names[:8]) or "no gene", field=field, remedy=remedy)
    return best[1], best[2]


def _others(columns: dict[str, pd.Index[Any] | pd.Series[Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the columns whose values mostly differ, and are no plain numbers of another meaning than Entrez ids."""
    for column, values in columns.items():
        names = _texts(values)
        known = [name for name in names if name]
        are_numbers = 2 * sum(map(str.isdecimal, known)) > len(known)
        are_counted = known == [str(i) for i in range(len(known))]
        is_ids = (column == INDEX or NUMBERS.search(column) is not None) and not are_counted
        if len(set(known)) > MOST * len(names) and (is_ids or not are_numbers):
            yield column, names


def _texts(values: pd.Index[Any] | pd.Series[Any]) -> list[str]:
    """Return values as texts, "" where one is missing; Entrez ids with a gap are read as 672.0."""
    is_whole = pd.api.types.is_float_dtype(values.dtype)
    return ["" if pd.isna(value) else f"{value:.0f}" if is_whole else str(value).strip() for value in values]
