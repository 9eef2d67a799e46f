"""What is done to a source's cells before they are checked: nothing that a row of the tables does not name.

In this order: facts of the file's row become columns of `obs`; tables of labels are put beside the cells; columns get
the names that the dataset's row uses; cells are kept by a column's values; counts are recovered from multiples of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import opened, reading
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, Reader
from celllm.sources.readers.labels import SUFFIX
from celllm.sources.readers.text import narrow
from celllm.sources.values import without_log

R_FILES: Final = (".rda", ".rds", ".rdata")
DIVISORS: Final = range(1, 13)
"""A cell's smallest number is taken for a count of 1, or else of 2, 3, …"""
RESIDUAL: Final = 0.01
"""Distance from a whole number up to which a recovered count is accepted; of a count above 100, in percent of it."""


def prepared(manifest: RawManifest, dataset: Dataset, read: Reader) -> Iterator[RawCells]:
    """Read cells, and do to them what the rows of their files and dataset say.

    Raises
    ------
    InputError
        If a column that is named is missing, labels and cells do not meet, or no whole counts can be recovered.
    """
    tables = [Labels.read(file) for file in manifest.files if file.use != "cells"]
    files = tuple(file for file in manifest.files if file.use == "cells")
    for cells in read(replace(manifest, files=files), dataset):
        obs = cells.obs.assign(**{name: said for name, said in cells.facts.items() if name not in cells.obs.columns})
        for table in tables:
            if table.file.sample in {None, cells.sample}:
                obs = table.beside(obs, cells)
        for ours, said in dataset.obs.items():
            obs = obs.assign(**{ours: _made(obs, said, cells.file, dataset)})
        kept = np.ones(len(obs), dtype=bool)
        for name, values in dataset.keep.items():
            kept &= _column(obs, name, cells.file, dataset).isin(values).to_numpy()
        matrix = cells.matrix if kept.all() else cells.matrix[np.flatnonzero(kept)]
        if dataset.recover is not None:
            matrix = recovered(matrix, dataset.recover, file=cells.file)
        yield replace(cells, matrix=matrix, obs=obs[kept])
    for table in tables:
        table.check_all_met()


def _made(obs: pd.DataFrame, said: str | dict[str, Any], file: Path, dataset: Dataset) -> pd.Series[str]:
    """Return a column as it is; what a pattern finds in it; or what a map has for its values, `*` for any signs."""
    if isinstance(said, str):
        return _column(obs, said, file, dataset)
    ((name, how),) = said.items()
    values = _column(obs, name, file, dataset)
    if isinstance(how, str):
        return values.astype(str).str.extract(how, expand=False)
    return values.map(lambda value: next((to for one, to in how.items() if fnmatchcase(str(value), one)), None))


def _column(obs: pd.DataFrame, name: str, file: Path, dataset: Dataset) -> pd.Series[str]:
    """Return a column of `obs`; of no name: the cells' names."""
    if name and name not in obs.columns:
        raise InputError(
            file=file,
            field=f"column {name}",
            expected=f"a column that obs or keep of {dataset.dataset} names in config/datasets.tsv",
            found=f"the columns {', '.join(map(str, obs.columns)) or '(none)'}",
            remedy="name one of these",
        )
    return obs[name].astype(object) if name else pd.Series(obs.index, index=obs.index, dtype=object)


@dataclass
class Labels:
    """A table with a row a cell, in a file of its own."""

    file: RawFile
    table: pd.DataFrame
    met: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, file: RawFile) -> Labels:
        """Read a text table, or the part of an R object; cells are named by the column `part`, or by the first."""
        if file.name.lower().removesuffix(".gz").endswith(R_FILES):
            from celllm.sources.readers.robjects import columns_of
            from celllm.sources.robjects import load, paths

            return cls(file, columns_of(load(file.path), paths(file.part or ".")))
        with reading(file.path, "a table of labels"), opened(file.path) as stream:
            separator = "," if ".csv" in file.name else "\t"
            table = pd.read_csv(stream, sep=separator, dtype=str, keep_default_na=False)
        if file.part is not None:
            table = table.set_index(file.part) if file.part in table.columns else table
        elif isinstance(table.index, pd.RangeIndex):
            table = table.set_index(table.columns[0])
        return cls(file, table)

    def beside(self, obs: pd.DataFrame, cells: RawCells) -> pd.DataFrame:
        """Put labels beside cells by name; a cell without one is an error unless the row says `some_labels`.

        The number that Cell Ranger puts behind barcodes (`-1`) is overlooked where no name fits with it.
        """
        names = obs.index
        if not names.isin(self.table.index).any():
            names = names.str.replace(SUFFIX, "", regex=True)
        has = names.isin(self.table.index)
        if not self.table.index.is_unique or (self.file.use == "labels" and not has.all()):
            missing = obs.index[~has]
            raise InputError(
                file=self.file.path,
                field="cell names",
                expected=f"one row for each cell of {cells.file.name}",
                found=f"{len(missing)} of {len(obs)} cells without one, such as {missing[0]}"
                if len(missing)
                else "rows whose names repeat",
                remedy="give the labels of these very cells; some_labels in the column use lets some be without",
            )
        self.met.update(names[has])
        new = [column for column in self.table.columns if column not in obs.columns]
        return pd.concat([obs, self.table[new].reindex(names).set_axis(obs.index)], axis=1)

    def check_all_met(self) -> None:
        """Raise InputError if some labels belong to no cell that was read."""
        left = self.table.index.difference(pd.Index(sorted(self.met), dtype=object))
        if len(left) and self.file.use == "labels":
            raise InputError(
                file=self.file.path,
                field="cell names",
                expected="rows of the cells that were read, and no other",
                found=f"{len(left)} of {len(self.table)} rows without a cell, such as {left[0]}",
                remedy="give the labels of these very cells; some_labels in the column use lets some be over",
            )


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
            raise InputError(
                file=file,
                field=f"cell {row + 1}",
                expected=f"{taken} of whole counts times one factor a cell, as recover says in config/datasets.tsv",
                found=f"numbers that are no multiples of {numbers.min():g} or of a {DIVISORS[-1]}th of it",
                remedy="correct recover, or give the units as they are",
            )
        plain.data[begin:end] = found
    return narrow(plain)


def _whole(numbers: np.ndarray) -> np.ndarray | None:
    """Return numbers rounded; none where one is too far from a whole number."""
    counts = np.rint(numbers)
    off = np.abs(numbers - counts) / np.maximum(1.0, counts / 100)
    return counts if off.max() <= RESIDUAL else None
