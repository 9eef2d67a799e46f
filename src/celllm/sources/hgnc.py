"""The HGNC complete set: approved symbols, what they were called before, and cross-references.

As published (`hgnc_complete_set_*.txt`, tab separated, lists joined by `|`), gzipped or not, or as a parquet file with
the same column names.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from celllm.base.parquet import read_frame
from celllm.sources.archives import unreadable
from celllm.sources.texts import read_texts, require

LISTS = ("prev_symbol", "alias_symbol")
COLUMNS = ("hgnc_id", "symbol", "locus_group", "status", *LISTS, "entrez_id", "ensembl_gene_id")
REMEDY = "use the HGNC complete set as published, hgnc_complete_set_*.txt from genenames.org"


def read(path: Path | str) -> pd.DataFrame:
    """Read the approved entries, a row a gene in the order of the file: COLUMNS, "" where unknown, lists as lists.

    InputError if a column is missing, no entry is approved, or a symbol or HGNC id occurs twice.
    """
    path = Path(path)
    table = read_frame(path) if path.suffix == ".parquet" else read_texts(path, separator="\t")
    require(table, COLUMNS, path, remedy=REMEDY)
    table = table[list(COLUMNS)].fillna("").astype(str)
    table = table[table["status"] == "Approved"].drop(columns="status").reset_index(drop=True)
    if table.empty:
        raise unreadable(path, "entries of status Approved", "none", field="status", remedy=REMEDY)
    for column in ("symbol", "hgnc_id"):
        twice = table[column][table[column].duplicated()]
        if len(twice):
            found = f"{twice.iloc[0]} more than once"
            raise unreadable(path, "each approved entry once", found, field=column, remedy=REMEDY)
    for column in LISTS:
        table[column] = [[name for name in cell.split("|") if name] for cell in table[column]]
    return table
