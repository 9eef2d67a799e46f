"""The HGNC complete set: approved symbols, what they were called before, and cross-references.

As published (`hgnc_complete_set_*.txt`, tab separated, lists joined by `|`), gzipped or not, or as a
parquet file with the same column names.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from celllm.base.errors import InputError

COLUMNS = (
    "hgnc_id",
    "symbol",
    "locus_group",
    "status",
    "prev_symbol",
    "alias_symbol",
    "entrez_id",
    "ensembl_gene_id",
)
LISTS = ("prev_symbol", "alias_symbol")


def read(path: Path | str) -> pd.DataFrame:
    """Read the approved entries.

    Returns
    -------
    One row a gene in the order of the file, index 0…n-1; columns hgnc_id, symbol, locus_group,
    entrez_id, ensembl_gene_id (str, empty where unknown), prev_symbol, alias_symbol (lists of str).
    Withdrawn entries are left out.

    Raises
    ------
    InputError
        If a column is missing, no entry is approved, or a symbol or HGNC id occurs twice.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(
            file=path,
            field="columns",
            expected=", ".join(COLUMNS),
            found=f"no {', '.join(missing)} among {', '.join(map(str, table.columns[:12]))}",
            remedy="use the HGNC complete set, hgnc_complete_set_*.txt from genenames.org",
        )
    table = table[list(COLUMNS)].fillna("").astype(str)
    table = table[table["status"] == "Approved"].drop(columns="status").reset_index(drop=True)
    if table.empty:
        raise InputError(
            file=path,
            field="status",
            expected="entries of status Approved",
            found="none",
            remedy="use the HGNC complete set, hgnc_complete_set_*.txt from genenames.org",
        )
    for column in ("symbol", "hgnc_id"):
        twice = table[column][table[column].duplicated()]
        if len(twice):
            raise InputError(
                file=path,
                field=column,
                expected="each approved entry once",
                found=f"{twice.iloc[0]} more than once",
                remedy="use the file as published",
            )
    for column in LISTS:
        table[column] = [[name for name in cell.split("|") if name] for cell in table[column]]
    return table
