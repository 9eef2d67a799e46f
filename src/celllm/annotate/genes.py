"""The genes of an object of unknown origin: which of its names mean genes, and where they go."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celllm.base.errors import InputError
from celllm.harmonise.symbols import Mapping, SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.readers.genes import ENSEMBL

INDEX = "index"
"""Name of the index among the columns."""
MIN_MAPPED = 0.01
"""Share of the counts below which the names are no names of human genes."""
MOST = 0.5
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
) -> tuple[str, Mapping]:
    """Find the column of `var` that names genes, and map its names.

    A column of Ensembl ids is preferred, else the one by which most counts map. A name that it leaves open is settled
    by the next best column, so a retired id is found by its symbol.

    Parameters
    ----------
    var
        Of N genes.
    weights_N
        Counts of each, of some cells.
    index, vocabulary
        As of `harmonise.symbols.map_names`.
    file
        Named in errors.
    asked
        The column to take alone; `index` is the index.

    Returns
    -------
    The column's name, and where its names go.

    Raises
    ------
    InputError
        If there is no such column, or hardly any name is a human gene's.
    """
    columns: dict[str, pd.Index[Any] | pd.Series[Any]] = {
        INDEX: var.index,
        **{str(name): var[name] for name in var.columns},
    }
    if asked is not None and asked not in columns:
        raise InputError(
            file=file,
            field=f"var column {asked}",
            expected="the column that --genes names",
            found=f"the columns {', '.join(columns)}",
            remedy="give one of them: --genes COLUMN",
        )
    names = {name: _texts(values) for name, values in columns.items() if asked in (None, name)}
    offered = [name for name in names if name == asked or _may_name_genes(name, names[name])]
    mapped = {name: map_names(names[name], index, vocabulary) for name in offered}
    shares = {name: _share(mapping, weights_N) for name, mapping in mapped.items()}
    if not shares or max(shares.values()) < MIN_MAPPED:
        looked = asked or (offered[0] if offered else INDEX)
        raise InputError(
            file=file,
            field=f"gene names ({looked})",
            expected="symbols, Ensembl or Entrez ids of human genes",
            found=", ".join((names.get(looked) or [])[:8]) or "no gene",
            remedy="name the column of var that has them: --genes COLUMN; genes of another species: "
            "replace them by their human orthologues first",
        )
    trust = {name: _trust(name, names[name]) if shares[name] > MOST else 0 for name in offered}
    ranked = sorted(offered, key=lambda name: (trust[name], shares[name]), reverse=True)
    best, others = mapped[ranked[0]], [name for name in ranked[1:] if trust[name]]
    return ranked[0], _filled(best, mapped[others[0]]) if others else best


def _texts(values: pd.Index[Any] | pd.Series[Any]) -> list[str]:
    is_whole = pd.api.types.is_float_dtype(values.dtype)  # Entrez ids with a gap are read as 672.0
    return [_text(value, is_whole=is_whole) for value in values]


def _text(value: object, *, is_whole: bool) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.0f}" if is_whole else str(value).strip()


def _may_name_genes(column: str, names: list[str]) -> bool:
    """Whether most names differ, and are no plain numbers of another meaning."""
    known = [name for name in names if name]
    if len(set(known)) < MOST * len(names):
        return False
    is_number = [name.isdecimal() for name in known]
    is_counted = known == [str(i) for i in range(len(known))]
    return bool(np.mean(is_number) < MOST) or (
        (column == INDEX or NUMBERS.search(column) is not None) and not is_counted
    )


def _trust(column: str, names: list[str]) -> int:
    """Return 2 for Ensembl ids, 1 for other names, 0 for numbers that nothing says are Entrez ids."""
    if sum(ENSEMBL.match(name) is not None for name in names) > MOST * len(names):
        return 2
    return int(NUMBERS.search(column) is not None or np.mean([name.isdecimal() for name in names]) < MOST)


def _share(mapping: Mapping, weights_N: NDArray[np.float64]) -> float:
    total = float(weights_N.sum())
    return float(weights_N[mapping.index_N >= 0].sum()) / total if total else 0.0


def _filled(best: Mapping, other: Mapping) -> Mapping:
    """Let another column settle what the best leaves open."""
    is_open = (best.index_N < 0) & (other.index_N >= 0)
    routes = [b if not i else o for b, o, i in zip(best.routes, other.routes, is_open, strict=True)]
    return replace(best, index_N=np.where(is_open, other.index_N, best.index_N), routes=routes)
