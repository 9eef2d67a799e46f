"""What is done to a source's cells before they are checked: nothing that a row of the tables does not name.

In this order: genes of other species are taken out; facts of the file's row become columns of `obs`; tables of labels
are put beside the cells; columns get the names that the dataset's row uses; cells are kept by a column's values, or
once each; counts are recovered from multiples of them.
"""

from __future__ import annotations

import re
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
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, Reader, column_of
from celllm.sources.readers.text import narrow
from celllm.sources.texts import plain, read_texts, require, texts
from celllm.sources.values import without_log

OTHER: Final = re.compile(
    r"(?i:(?:mm(?:9|10|39)|grcm3[89])[_-]+|(?:rn[5-7]|mratbn[\d.]+|danrer\d+|grcz\d+|dm[36]|bdgp6|rhemac\d+|mmul\d*)_+).+"
    r"|(?:.*_)?ENS[A-Z]{3,4}G\d{11}.*"
)
"""A gene of another species: its genome before the name, as Cell Ranger writes it, or an Ensembl id that is no ENSG."""
PURE: Final = 0.9
"""Share of a cell's molecules from which it is of one species, else `mixed`."""
R_FILES: Final = (".rda", ".rds", ".rdata")
SUFFIX: Final = re.compile(r"-\d+$")
"""Cell Ranger's number of the GEM well behind a barcode, as in `AAACATACACCACT-1`."""
ONCE: Final = "once"
"""In place of the values of `keep`: of cells of one value, which must be equal, the first is kept."""
DIVISORS: Final = range(1, 13)
"""A cell's smallest number is taken for a count of 1, or else of 2, 3, …"""
RESIDUAL: Final = 0.01
"""Distance from a whole number up to which a recovered count is accepted; above 10 a thousandth of the count, which is
what numbers rounded to three decimals leave open."""


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
    """Return numbers rounded; none where one is too far from a whole multiple of their common factor."""
    counts = np.rint(numbers)
    off = np.abs(numbers * (counts @ counts) / (numbers @ counts) - counts) / np.maximum(1.0, counts / 10)
    return counts if off.max() <= RESIDUAL else None


class HumanGenes:
    """Takes the genes of other species away, piece by piece, and says in `obs` what share of the molecules they had."""

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._human: list[str] = []
        self._is_other = np.empty(0, dtype=bool)

    def of(self, cells: RawCells) -> RawCells:
        """Return the human genes; columns `species` (human, other, mixed) and `other_species`, the others' share.

        Cells whose genes are all of one species stay as they are.
        """
        if cells.names is not self._names:
            self._names = cells.names
            self._is_other = np.array([OTHER.fullmatch(name) is not None for name in cells.names], dtype=bool)
            kept = np.flatnonzero(~self._is_other)
            self._human = [cells.names[i] for i in kept]
        n_other = int(self._is_other.sum())
        if n_other in {0, len(cells.names)}:
            return cells
        human = cells.matrix[:, np.flatnonzero(~self._is_other)]
        total = np.asarray(cells.matrix.sum(axis=1, dtype=np.float64)).ravel()
        share = 1 - np.asarray(human.sum(axis=1, dtype=np.float64)).ravel() / np.maximum(total, 1e-12)
        share[total == 0] = 0
        said = np.select([share <= 1 - PURE, share >= PURE], ["human", "other"], "mixed")
        obs = cells.obs.assign(species=said, other_species=share)
        left_out = {**cells.left_out, "genes of other species": n_other}
        return replace(cells, matrix=human, names=self._human, obs=obs, left_out=left_out)


@dataclass
class Labels:
    """A table with a row a cell, indexed by cell, and which of its rows have met their cell."""

    file: RawFile
    table: pd.DataFrame
    met: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, file: RawFile) -> Labels:
        """Read a text table, or the part of an R object.

        Cells are named by the column `part` (a number: the table has no header, and its columns are called 1, 2, …), or
        by the first one.
        """
        if file.name.lower().removesuffix(".gz").endswith(R_FILES):
            from celllm.sources.readers.robjects import columns_of
            from celllm.sources.robjects import load, paths

            return cls(file, columns_of(load(file.path), paths(file.part or ".")))
        has_header = not (file.part or "").isdecimal()
        table = read_texts(file.path, header=has_header)
        if not has_header:
            table.columns = pd.Index([str(number) for number in range(1, table.shape[1] + 1)])
        if file.part is not None:
            require(table, [file.part], file.path, remedy="correct the column part in config/files.tsv")
        if file.part is not None or isinstance(table.index, pd.RangeIndex):
            table = table.set_index(file.part or table.columns[0])
        repeated = table.index[table.index.duplicated()]
        if len(repeated):
            field = str(table.index.name)
            raise unreadable(file.path, "each cell once", f"{repeated[0]} more than once", field=field)
        return cls(file, table)

    def beside(self, obs: pd.DataFrame, *, cells: Path) -> pd.DataFrame:
        """Put labels beside the cells of a file by name; one without is an error unless the row says `some_labels`.

        The number that Cell Ranger puts behind barcodes (`-1`) is overlooked where no name fits with it.
        """
        table, names = self.table, obs.index.astype(str)
        if not names.isin(table.index).any():
            bare = table.index.str.replace(SUFFIX, "", regex=True)
            names, table = names.str.replace(SUFFIX, "", regex=True), table.set_axis(bare)
        has = names.isin(table.index)
        is_clear = table.index.is_unique and (names.is_unique or self.file.use == "some_labels")
        if not is_clear or (self.file.use != "some_labels" and not has.all()):
            left = obs.index[~has]
            found = f"{len(left)} of {len(obs)} cells without labels, such as {left[0]}" if len(left) else ""
            raise self._wrong(found or "cells whose names repeat", f"one row for each cell of {cells.name}")
        self.met.update(self.table.index[table.index.isin(names)])
        new = [column for column in table.columns if column not in obs.columns]
        return pd.concat([obs, table[new].reindex(names).set_axis(obs.index)], axis=1)

    def check_all_met(self) -> None:
        """Raise InputError if some labels belong to no cell that was read."""
        left = self.table.index.difference(pd.Index(sorted(self.met), dtype=object))
        if len(left) and self.file.use != "some_labels":
            found = f"{len(left)} of {len(self.table)} labels without a cell, such as {left[0]}"
            raise self._wrong(found, "rows of the cells that were read, and no other")

    def _wrong(self, found: str, expected: str) -> InputError:
        remedy = "give the labels of these very cells; some_labels in the column use of config/files.tsv lets some be"
        return unreadable(self.file.path, expected, found, field="cell names", remedy=f"{remedy} without, or over")
