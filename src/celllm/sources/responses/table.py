"""`results/responses/{dataset}.parquet`: drug responses, one row a pair of cell line and drug.

Columns line, drug, smiles (str), response (float64): ln IC50, the natural logarithm of µM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.base.atomic import writing
from celllm.base.errors import InputError

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
