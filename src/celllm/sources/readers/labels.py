"""Labels that a source keeps in a file of their own, put beside the cells; none is lost in silence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pandas as pd

from celllm.base.errors import InputError
from celllm.sources.archives import opened, reading, unreadable

SUFFIX: Final = re.compile(r"-\d+$")
"""Cell Ranger's number of the GEM well behind a barcode, as in `AAACATACACCACT-1`."""
NOTHING: Final = re.compile(r"(?!)")


def read_labels(path: Path, *, key: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of labels, gzipped or not, comma-separated where its name says csv, and index it by cell.

    Its first line names the columns; where R left the corner out, the first column is the row's name. `key` has the
    names that the column of cell names may have: the first there is taken.

    Raises
    ------
    InputError
        If there is no such column, or a cell stands in it twice.
    """
    separator = "," if ".csv" in path.name else "\t"
    with reading(path, "a table of labels"), opened(path) as stream:
        try:
            table = pd.read_csv(stream, sep=separator, dtype=str, keep_default_na=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise unreadable(path, "a table of labels", str(error).strip()) from None
    column = next((name for name in key if name in table.columns), None)
    if column is None:
        raise unreadable(path, f"a column {' or '.join(key)}", ", ".join(map(str, table.columns)), field="columns")
    repeated = table[column][table[column].duplicated()]
    if len(repeated):
        raise unreadable(path, "each cell once", f"{repeated.iloc[0]} more than once", field=column)
    return table.set_index(column)


def joined(obs: pd.DataFrame, labels: pd.DataFrame, *, cells: Path, file: Path) -> pd.DataFrame:
    """Put each cell's labels beside it, by name.

    Every cell must have labels and every label a cell: where the two differ, one of the files is not the one meant.
    The numbers that Cell Ranger puts behind barcodes (`-1`) are overlooked only where that makes all join.

    `cells` and `file` are the files of the two, named in errors.

    Raises
    ------
    InputError
        If a cell has no labels or labels no cell; it says how many of each, and names one.
    """
    whole = obs.index.astype(str)
    for suffix in (NOTHING, SUFFIX):
        here, there = (names.str.replace(suffix, "", regex=True) for names in (whole, labels.index.astype(str)))
        if here.is_unique and there.is_unique and len(here) == len(there) and here.isin(there).all():
            found = labels.set_axis(there).loc[here].set_axis(obs.index)
            kept = [column for column in found.columns if column not in obs.columns]
            return pd.concat([obs, found[kept]], axis=1)
    lone_cells = whole[~whole.isin(labels.index)]
    lone_labels = labels.index[~labels.index.isin(whole)]
    found_text = f"{len(lone_cells)} of {len(whole)} cells without labels{_example(lone_cells)}; "
    found_text += f"{len(lone_labels)} of {len(labels)} labels without a cell{_example(lone_labels)}"
    if not len(lone_cells) and not len(lone_labels):
        found_text = "cells whose names repeat"
    raise InputError(
        file=file,
        field="cell names",
        expected=f"one row for each cell of {cells.name}, and no other",
        found=found_text,
        remedy="give the labels of these very cells: correct the dataset's rows in config/files.tsv",
    )


def _example(names: pd.Index[str]) -> str:
    return f", such as {names[0]}" if len(names) else ""
