"""What is done to a source's cells before they are checked: nothing that a row of the tables does not name.

In this order: genes of other species are taken out; facts of the file's row become columns of `obs`; tables of labels
are put beside the cells; columns get the names that the dataset's row uses; cells are kept by a column's values, or
once each; counts are recovered from multiples of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.missing import plain, texts
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import RawCells, Reader, column_of
from celllm.sources.readers.labels import Labels
from celllm.sources.readers.species import HumanGenes
from celllm.sources.readers.text import narrow
from celllm.sources.values import without_log

ONCE: Final = "once"
"""In place of the values of `keep`: of cells of one value, which must be equal, the first is kept."""
DIVISORS: Final = range(1, 13)
"""A cell's smallest number is taken for a count of 1, or else of 2, 3, …"""
RESIDUAL: Final = 0.01
"""Distance from a whole number up to which a recovered count is accepted; of a count above 100, in percent of it."""


def prepared(manifest: RawManifest, dataset: Dataset, read: Reader) -> Iterator[RawCells]:
    """Read cells, and do to them what the rows of their files and dataset say; InputError where that can't be done."""
    tables = [Labels.read(file) for file in manifest.files if file.use != "cells"]
    files = tuple(file for file in manifest.files if file.use == "cells")
    seen: dict[str, int] = {}
    human = HumanGenes()
    for cells in map(human.of, read(replace(manifest, files=files), dataset)):
        obs = cells.obs.assign(**{name: said for name, said in cells.facts.items() if name not in cells.obs.columns})
        for table in tables:
            if table.file.sample in {None, cells.sample}:
                obs = table.beside(obs, cells=cells.file)
        for ours, said in dataset.obs.items():
            obs = obs.assign(**{ours: _made(obs, said, cells.file, dataset)})
        kept = np.ones(len(obs), dtype=bool)
        for name, values in dataset.keep.items():
            found = _column(obs, name, cells.file, dataset)
            if values == ONCE:
                kept &= _is_first(found, cells, seen)
            else:
                kept &= texts(found, known=map(str, values)).isin([plain(str(value)) for value in values]).to_numpy()
        matrix = cells.matrix if kept.all() else cells.matrix[np.flatnonzero(kept)]
        if dataset.recover is not None:
            matrix = recovered(matrix, dataset.recover, file=cells.file)
        yield replace(cells, matrix=matrix, obs=obs[kept])
    for table in tables:
        table.check_all_met()


def _is_first(names: pd.Series[str], cells: RawCells, seen: dict[str, int]) -> np.ndarray:
    """Tell which cells have a name that was not `seen`; InputError if one that was has other counts."""
    matrix = sparse.csr_matrix(cells.matrix, copy=True)
    matrix.sum_duplicates()
    is_first = np.ones(len(names), dtype=bool)
    for row, name in enumerate(names):
        inside = slice(matrix.indptr[row], matrix.indptr[row + 1])
        content = hash((matrix.indices[inside].tobytes(), matrix.data[inside].tobytes()))
        is_first[row] = name not in seen
        if seen.setdefault(name, content) != content:
            expected, found = f"cells of one name to be equal, as keep says: {ONCE}", "others of that name"
            remedy = "give each sample its own name in the column sample of config/files.tsv"
            raise unreadable(cells.file, expected, found, field=f"cell {name}", remedy=remedy)
    return is_first


def _made(obs: pd.DataFrame, said: str | dict[str, Any], file: Path, dataset: Dataset) -> pd.Series[str]:
    """Return a column as it is; what a pattern finds in it; or what a map has for its values, `*` for any signs."""
    if isinstance(said, str):
        return _column(obs, said, file, dataset)
    ((name, how),) = said.items()
    values = texts(_column(obs, name, file, dataset), known=how if isinstance(how, dict) else ())
    if isinstance(how, str):
        return values.str.extract(how, expand=False)
    found = [value for value in values.unique() if value]
    return values.map(
        {value: next((to for one, to in how.items() if fnmatchcase(value, one)), None) for value in found}
    )


def _column(obs: pd.DataFrame, name: str, file: Path, dataset: Dataset) -> pd.Series[str]:
    """Return a column of `obs`; of no name: the cells' names."""
    if not name:
        return pd.Series(obs.index, index=obs.index, dtype=object)
    expected = f"a column that obs or keep of {dataset.dataset} names in config/datasets.tsv"
    return column_of(obs, name, file=file, expected=expected, remedy="name one of these").astype(object)


def recovered(matrix: sparse.csr_matrix, taken: str, *, file: Path) -> sparse.csr_matrix:
    """Recover whole counts from a cell's multiples of them, `x`, or the logarithm `taken` of such multiples.

    The factor of a cell is its smallest number above 0, which stands for a count of 1, or else of 2, 3, …: the first
    with which all of the cell's numbers are whole.
    """
    plain = matrix.astype(np.float64) if taken == "x" else without_log(matrix, taken)
    plain.eliminate_zeros()
    for row, (begin, end) in enumerate(zip(plain.indptr[:-1], plain.indptr[1:], strict=True)):
        numbers = plain.data[begin:end]
        if not len(numbers):
            continue
        found = next((one for n in DIVISORS if (one := _whole(numbers * (n / numbers.min()))) is not None), None)
        if found is None:
            expected = f"{taken} of whole counts times one factor a cell, as recover says in config/datasets.tsv"
            said = f"numbers that are no multiples of {numbers.min():g} or of a {DIVISORS[-1]}th of it"
            remedy = "correct recover, or give the units as they are"
            raise unreadable(file, expected, said, field=f"cell {row + 1}", remedy=remedy)
        plain.data[begin:end] = found
    return narrow(plain)


def _whole(numbers: np.ndarray) -> np.ndarray | None:
    """Return numbers rounded; none where one is too far from a whole number."""
    counts = np.rint(numbers)
    off = np.abs(numbers - counts) / np.maximum(1.0, counts / 100)
    return counts if off.max() <= RESIDUAL else None
