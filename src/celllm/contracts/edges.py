"""`edges.parquet`: the gene network. Columns a, b: int32 vocabulary indices, a < b, each pair once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.contracts.atomic import writing
from celllm.contracts.vocabulary import Vocabulary
from celllm.errors import InputError, VocabularyMismatch

REMEDY = "rebuild it: snakemake --forcerun build_network"


@dataclass(frozen=True)
class Edges:
    """Undirected edges between vocabulary genes, E of them.

    Parameters
    ----------
    a_E, b_E
        Vocabulary indices, int32; a < b; sorted; no pair twice.
    vocabulary
        Digest of the vocabulary that the indices belong to.
    source
        What the edges were made from, for the report.
    """

    a_E: npt.NDArray[np.int32]
    b_E: npt.NDArray[np.int32]
    vocabulary: str
    source: str


def write(edges: Edges, path: Path | str) -> None:
    """Write the edges."""
    table = pa.table({"a": pa.array(edges.a_E, pa.int32()), "b": pa.array(edges.b_E, pa.int32())})
    table = table.replace_schema_metadata({"vocabulary": edges.vocabulary, "source": edges.source})
    with writing(path) as part:
        pq.write_table(table, part)


def read(path: Path | str, *, vocabulary: Vocabulary | None = None) -> Edges:
    """Read the edges.

    Raises
    ------
    InputError
        If a column or the metadata is missing, or an edge is out of order or out of range.
    VocabularyMismatch
        If they were made for another vocabulary than the one given.
    """
    table = pq.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if not {"a", "b"} <= set(table.column_names) or not {"vocabulary", "source"} <= set(metadata):
        raise InputError(
            file=path,
            field="columns and metadata",
            expected="columns a, b; metadata vocabulary, source",
            found=f"columns {', '.join(table.column_names)}; metadata {', '.join(metadata) or 'none'}",
            remedy=REMEDY,
        )
    a_E = table["a"].to_numpy().astype(np.int32)
    b_E = table["b"].to_numpy().astype(np.int32)
    if vocabulary is not None and metadata["vocabulary"] != vocabulary.digest:
        raise VocabularyMismatch(
            file=path,
            found=metadata["vocabulary"],
            expected=vocabulary.digest,
            remedy=REMEDY,
        )
    n_genes = vocabulary.n_genes if vocabulary is not None else np.iinfo(np.int32).max
    if len(a_E) and not ((a_E >= 0) & (a_E < b_E) & (b_E < n_genes)).all():
        raise InputError(
            file=path,
            field="a, b",
            expected=f"0 <= a < b < {n_genes}",
            found="an edge that breaks this",
            remedy=REMEDY,
        )
    return Edges(a_E=a_E, b_E=b_E, vocabulary=metadata["vocabulary"], source=metadata["source"])


def read_pairs(path: Path | str) -> tuple[list[str], list[str]]:
    """Read a published edge list: a parquet table whose columns a and b hold gene symbols.

    Raises
    ------
    InputError
        If the file is no such table.
    """
    try:
        table = pq.read_table(path, columns=["a", "b"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise InputError(
            file=path,
            field="columns a, b",
            expected="a parquet table of gene symbols, columns a and b, one edge a row",
            found=f"{type(error).__name__}: {error}",
            remedy="convert the edge list to such a table, and name it in config/files.tsv",
        ) from None
    return [str(name) for name in table["a"].to_pylist()], [str(name) for name in table["b"].to_pylist()]
