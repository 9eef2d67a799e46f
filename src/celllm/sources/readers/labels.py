"""Labels that stand beside cells in a file of their own; none is lost in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from celllm.base.errors import InputError
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawFile
from celllm.sources.texts import read_texts, require

R_FILES: Final = (".rda", ".rds", ".rdata")
SUFFIX: Final = re.compile(r"-\d+$")
"""Cell Ranger's number of the GEM well behind a barcode, as in `AAACATACACCACT-1`."""


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
