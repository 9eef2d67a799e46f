"""Drug responses: their readers, and `results/responses/{dataset}.parquet`, one row a pair of cell line and drug.

Columns line, drug, smiles (str), response (float64): ln IC50, the natural logarithm of µM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.base.atomic import writing
from celllm.base.parquet import read_frame
from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawManifest
from celllm.sources.texts import require

READERS: Final = ("gdsc_tgsa", "gdsc_xlsx", "h5ad")
"""Names that `datasets.tsv` uses. A dataset whose cells are h5ad keeps its responses, if it has any, in a parquet file
beside it."""
COLUMNS = ("line", "drug", "smiles", "response")


@dataclass(frozen=True)
class Responses:
    """Pairs of line and drug."""

    table: pd.DataFrame
    """Columns line, drug, smiles, response (ln IC50, µM); sorted by line and drug; each pair once."""
    simulated: bool
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why measurements of the source are not in the table, and how many each; empty once written and read."""


def write(responses: Responses, path: Path | str) -> None:
    """Check and write the pairs."""
    _check(responses.table, path)
    table = pa.Table.from_pandas(responses.table[list(COLUMNS)], preserve_index=False)
    table = table.replace_schema_metadata({"simulated": "yes" if responses.simulated else "no"})
    with writing(path) as part:
        pq.write_table(table, part)


def read(path: Path | str) -> Responses:
    """Read and check the pairs.

    InputError if a column or the metadata is missing, a pair occurs twice, or a response is not finite.
    """
    table = pq.read_table(path)
    simulated = (table.schema.metadata or {}).get(b"simulated", b"").decode()
    if simulated not in {"yes", "no"}:
        remedy = "rebuild it: snakemake --forcerun align_responses"
        raise unreadable(path, "yes or no", repr(simulated), field="metadata simulated", remedy=remedy)
    frame = table.to_pandas()
    _check(frame, path)
    return Responses(table=frame[list(COLUMNS)], simulated=simulated == "yes")


def _check(table: pd.DataFrame, path: Path | str) -> None:
    require(table, COLUMNS, path)
    remedy = "average or drop such pairs in the source file"
    pairs = table["line"].astype(str) + " with " + table["drug"].astype(str)
    repeated = pairs[table.duplicated(["line", "drug"])]
    if len(repeated):
        found = f"{repeated.iloc[0]} more than once"
        raise unreadable(path, "each pair once", found, field="line, drug", remedy=remedy)
    unfinished = pairs[~np.isfinite(table["response"].to_numpy(dtype=np.float64))]
    if len(unfinished):
        found = f"none for {unfinished.iloc[0]}"
        raise unreadable(path, "finite ln IC50", found, field="response", remedy=remedy)


def read_raw(manifest: RawManifest, dataset: Dataset) -> Responses:
    """Read the responses of a dataset as published; InputError if its reader gives none, or a file is broken."""
    if dataset.reader not in READERS:
        expected = f"one of {', '.join(READERS)}, which give drug responses"
        remedy = "name a dataset with responses in the task's column response in config/tasks.tsv"
        field = f"reader of {dataset.dataset}"
        raise unreadable(manifest.file, expected, dataset.reader, field=field, remedy=remedy)
    left_out: Mapping[str, int] = {}
    if dataset.reader == "h5ad":
        file = manifest.ending(".parquet")[0].path
        table = read_frame(file)
        require(table, COLUMNS, file)
    else:
        from celllm.sources import gdsc

        read_gdsc = {"gdsc_tgsa": gdsc.read_gdsc_tgsa, "gdsc_xlsx": gdsc.read_gdsc_xlsx}[dataset.reader]
        table, left_out = read_gdsc(manifest)
    table = table.astype({"line": str, "drug": str, "smiles": str, "response": np.float64})
    table = table.sort_values(["line", "drug"], ignore_index=True)
    return Responses(table=table[list(COLUMNS)], simulated=dataset.simulated, left_out=left_out)
