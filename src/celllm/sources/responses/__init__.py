"""Drug responses: their own file (table.py), and one reader a source format."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.raw import RawManifest
from celllm.sources.responses.gdsc import read_gdsc_tgsa, read_gdsc_xlsx
from celllm.sources.responses.table import COLUMNS, Responses, read, require, write

__all__ = ["COLUMNS", "READERS", "Responses", "read", "read_raw", "write"]

Reader = Callable[[RawManifest], tuple[pd.DataFrame, Mapping[str, int]]]
"""Gives the pairs, columns as in COLUMNS, and what was left out."""


def read_raw(manifest: RawManifest, dataset: Dataset) -> Responses:
    """Read the responses of a dataset as published.

    Raises
    ------
    InputError
        If no reader of that name gives responses, or a file is not of its format.
    """
    if dataset.reader not in READERS:
        raise InputError(
            file=manifest.file,
            field=f"reader of {dataset.dataset}",
            expected=f"one of {', '.join(READERS)}, which give drug responses",
            found=dataset.reader,
            remedy="name a dataset with responses in the task's column response in config/tasks.tsv",
        )
    table, left_out = READERS[dataset.reader](manifest)
    table = table.astype({"line": str, "drug": str, "smiles": str, "response": np.float64})
    table = table.sort_values(["line", "drug"], ignore_index=True)
    return Responses(table=table[list(COLUMNS)], simulated=dataset.simulated, left_out=left_out)


def read_table(manifest: RawManifest) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """Read a parquet file that already has the columns of this format, such as the simulator's."""
    file = manifest.ending(".parquet")[0].path
    table = pd.read_parquet(file)
    require(table, COLUMNS, file)
    return table, {}


READERS: dict[str, Reader] = {
    "gdsc_tgsa": read_gdsc_tgsa,
    "gdsc_xlsx": read_gdsc_xlsx,
    "h5ad": read_table,
}
"""By name. A dataset whose cells are h5ad keeps its responses, if it has any, in a parquet file beside it."""
