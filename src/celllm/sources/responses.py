"""Drug responses: their readers, and `results/responses/{dataset}.parquet`, one row a pair of cell line and drug.

Columns line, drug, smiles (str), response (float64): ln IC50, the natural logarithm of µM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.raw import RawManifest

READERS: Final = ("gdsc_tgsa", "gdsc_xlsx", "h5ad")
"""Names that `datasets.tsv` uses. A dataset whose cells are h5ad keeps its responses, if it has any, in a parquet file
beside it."""
COLUMNS = ("line", "drug", "smiles", "response")


@dataclass(frozen=True)
class Responses:
    """Pairs of line and drug.

    Parameters
    ----------
    table
        Columns line, drug, smiles, response (ln IC50, µM); sorted by line and drug; each pair once.
    simulated
        Whether they come from the simulator.
    left_out
        Why measurements of the source are not in the table, and how many each; empty once written and read.
    """

    table: pd.DataFrame
    simulated: bool
    left_out: Mapping[str, int] = field(default_factory=dict)


def write(responses: Responses, path: Path | str) -> None:
    """Check and write the pairs."""
    _check(responses.table, path)
    table = pa.Table.from_pandas(responses.table[list(COLUMNS)], preserve_index=False)
    table = table.replace_schema_metadata({"simulated": "yes" if responses.simulated else "no"})
    with writing(path) as part:
        pq.write_table(table, part)


def read(path: Path | str) -> Responses:
    """Read and check the pairs.

    Raises
    ------
    InputError
        If a column or the metadata is missing, a pair occurs twice, or a response is not finite.
    """
    table = pq.read_table(path)
    simulated = (table.schema.metadata or {}).get(b"simulated", b"").decode()
    if simulated not in {"yes", "no"}:
        raise InputError(
            file=path,
            field="metadata simulated",
            expected="yes or no",
            found=repr(simulated),
            remedy="rebuild it: snakemake --forcerun align_responses",
        )
    frame = table.to_pandas()
    _check(frame, path)
    return Responses(table=frame[list(COLUMNS)], simulated=simulated == "yes")


def require(table: pd.DataFrame, columns: tuple[str, ...], file: Path | str) -> None:
    """Raise InputError if a table lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            file=file,
            field="columns",
            expected=", ".join(columns),
            found=f"no {', '.join(missing)} among {', '.join(map(str, table.columns))}",
            remedy="check the dataset's reader in config/datasets.tsv",
        )


def _check(table: pd.DataFrame, path: Path | str) -> None:
    require(table, COLUMNS, path)
    fault: tuple[str, str, Any] | None = None
    repeated = table.duplicated(["line", "drug"]).to_numpy()
    unfinished = ~np.isfinite(table["response"].to_numpy(dtype=np.float64))
    if repeated.any():
        first = table.loc[repeated, ["line", "drug"]].iloc[0]
        fault = ("line, drug", "each pair once", f"{first['line']} with {first['drug']} more than once")
    elif unfinished.any():
        first = table.loc[unfinished, ["line", "drug"]].iloc[0]
        fault = ("response", "finite ln IC50", f"none for {first['line']} with {first['drug']}")
    if fault is not None:
        raise InputError(
            file=path,
            field=fault[0],
            expected=fault[1],
            found=fault[2],
            remedy="average or drop such pairs in the source file",
        )


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
    if dataset.reader == "h5ad":
        table, left_out = read_table(manifest)
    else:
        from celllm.sources import gdsc

        read_gdsc = {"gdsc_tgsa": gdsc.read_gdsc_tgsa, "gdsc_xlsx": gdsc.read_gdsc_xlsx}[dataset.reader]
        table, left_out = read_gdsc(manifest)
    table = table.astype({"line": str, "drug": str, "smiles": str, "response": np.float64})
    table = table.sort_values(["line", "drug"], ignore_index=True)
    return Responses(table=table[list(COLUMNS)], simulated=dataset.simulated, left_out=left_out)


def read_table(manifest: RawManifest) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """Read a parquet file that already has the columns of this format, such as the simulator's."""
    file = manifest.ending(".parquet")[0].path
    table = pd.read_parquet(file)
    require(table, COLUMNS, file)
    return table, {}
