"""`results/responses/{dataset}.parquet`: drug responses, one row a pair of cell line and drug.

Columns line, drug, smiles (str), response (float64): ln IC50, the natural logarithm of µM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.contracts.atomic import writing
from celllm.contracts.raw import RawManifest
from celllm.contracts.tables import Dataset
from celllm.errors import InputError

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
    """

    table: pd.DataFrame
    simulated: bool


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
    table = READERS[dataset.reader](manifest)
    table = table.astype({"line": str, "drug": str, "smiles": str, "response": np.float64})
    table = table.sort_values(["line", "drug"], ignore_index=True)
    return Responses(table=table[list(COLUMNS)], simulated=dataset.simulated)


def read_gdsc_tgsa(manifest: RawManifest) -> pd.DataFrame:
    """Read the long table of GDSC (drug, DepMap_ID, ln_ic50) and the table of SMILES beside it."""
    pairs_file, smiles_file = manifest.ending(".parquet")[0].path, manifest.ending(".csv")[0].path
    pairs = pd.read_parquet(pairs_file)
    smiles = pd.read_csv(smiles_file, dtype=str)
    _require(pairs, ("drug", "DepMap_ID", "ln_ic50"), pairs_file)
    _require(smiles, ("drug", "smiles"), smiles_file)
    joined = pairs.merge(smiles, on="drug", how="left", validate="many_to_one")
    without = joined["drug"][joined["smiles"].isna()].unique()
    if len(without):
        raise InputError(
            file=smiles_file,
            field="drug",
            expected=f"a SMILES for every drug of {pairs_file.name}",
            found=f"none for {', '.join(map(str, without[:5]))}",
            remedy="add them, or drop the drugs from the responses",
        )
    return joined.rename(columns={"DepMap_ID": "line", "ln_ic50": "response"})


def read_table(manifest: RawManifest) -> pd.DataFrame:
    """Read a parquet file that already has the columns of this format, such as the simulator's."""
    file = manifest.ending(".parquet")[0].path
    table = pd.read_parquet(file)
    _require(table, COLUMNS, file)
    return table


def _require(table: pd.DataFrame, columns: tuple[str, ...], file: Path | str) -> None:
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
    _require(table, COLUMNS, path)
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


READERS: dict[str, Callable[[RawManifest], pd.DataFrame]] = {
    "gdsc_tgsa": read_gdsc_tgsa,
    "h5ad": read_table,
}
"""By name. A dataset whose cells are h5ad keeps its responses, if it has any, in a parquet file beside it."""
