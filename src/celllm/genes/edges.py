"""`edges.parquet`: the gene network. Columns a, b: int32 vocabulary indices, a < b, each pair once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.archives import opened, reading
from celllm.sources.raw import RawManifest

REMEDY = "rebuild it: snakemake --forcerun build_network"
MIN_SCORE: Final = 700
"""STRING's own bound of high confidence, of its combined score from 0 to 1000."""
LINKS: Final = ("protein1", "protein2", "combined_score")
LINES: Final = 1_000_000
"""Lines of STRING's links read at once; version 11.0 has 12 million for human."""


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


def read_published(manifest: RawManifest, *, min_score: int = MIN_SCORE) -> tuple[list[str], list[str]]:
    """Read a published network as pairs of gene symbols, by what its files are.

    A parquet file is an edge list as `read_pairs` takes it; otherwise there must be STRING's `protein.links` and
    `protein.info`.

    Parameters
    ----------
    manifest
        Files of the network.
    min_score
        STRING's pairs with a lower combined score are left out; a list without scores is taken whole.

    Raises
    ------
    InputError
        If the files are neither, or not of their format.
    """
    files = manifest.ending(".parquet", ".txt.gz", ".txt")
    tables = [file for file in files if file.name.endswith(".parquet")]
    if tables:
        return read_pairs(tables[0].path)
    links = [file for file in files if ".protein.links." in file.name]
    info = [file for file in files if ".protein.info." in file.name]
    if len(links) != 1 or len(info) != 1:
        raise InputError(
            file=manifest.file,
            field="files",
            expected="a parquet table of symbols, or STRING's *.protein.links.* and *.protein.info.*, one of each",
            found=", ".join(file.name for file in manifest.files),
            remedy="correct the dataset's rows in config/files.tsv",
        )
    return read_string(links[0].path, info[0].path, min_score=min_score)


def read_string(links: Path, info: Path, *, min_score: int = MIN_SCORE) -> tuple[list[str], list[str]]:
    """Read STRING's links as pairs of symbols, each as often as the file has it (both ways round).

    Parameters
    ----------
    links
        `9606.protein.links.v11.0.txt.gz`: separated by blanks; line 1 is protein1 protein2 combined_score; proteins are
        `9606.ENSP…`.
    info
        `9606.protein.info.v11.0.txt.gz`: tab-separated; column 1 is protein_external_id (v11) or #string_protein_id
        (v12), column 2 preferred_name.
    min_score
        Least combined score, 0 to 1000.

    Raises
    ------
    InputError
        If a file is not of its format, or a protein of a kept link has no name.
    """
    names = _string_names(info)
    first: list[str] = []
    second: list[str] = []
    for chunk in _string_links(links):
        kept = chunk[chunk["combined_score"] >= min_score]
        ends = kept["protein1"].map(names), kept["protein2"].map(names)
        nameless = kept[ends[0].isna() | ends[1].isna()]
        if len(nameless):
            raise InputError(
                file=info,
                field="protein_external_id",
                expected=f"a name for every protein of {links.name}",
                found=f"none for {nameless['protein1'].iloc[0]} or {nameless['protein2'].iloc[0]}",
                remedy="fetch both files in one and the same version of STRING",
            )
        first.extend(ends[0])
        second.extend(ends[1])
    return first, second


def _string_links(path: Path) -> Iterator[pd.DataFrame]:
    expected = "STRING's links: protein1 protein2 combined_score, separated by blanks"
    with reading(path, expected), opened(path) as stream:
        try:
            for chunk in pd.read_csv(stream, sep=" ", chunksize=LINES):
                if tuple(chunk.columns) != LINKS or chunk["combined_score"].dtype.kind != "i":
                    raise _unlike_string(path, expected, f"the columns {', '.join(map(str, chunk.columns[:5]))}")
                yield chunk
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise _unlike_string(path, expected, str(error).strip()) from None


def _string_names(path: Path) -> pd.Series[str]:
    expected = "STRING's info: protein_external_id, preferred_name, …, tab-separated"
    with reading(path, expected), opened(path) as stream:
        try:
            table = pd.read_csv(stream, sep="\t", dtype=str, quoting=3, keep_default_na=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise _unlike_string(path, expected, str(error).strip()) from None
    if "preferred_name" not in table.columns or not table.iloc[:, 0].is_unique:
        raise _unlike_string(path, expected, f"the columns {', '.join(map(str, table.columns[:5]))}")
    return table.set_index(table.columns[0])["preferred_name"]


def _unlike_string(path: Path, expected: str, found: str) -> InputError:
    return InputError(
        file=path,
        field="(whole file)",
        expected=expected,
        found=found,
        remedy="fetch the file again; if it is whole, check the dataset's rows in config/files.tsv",
    )
