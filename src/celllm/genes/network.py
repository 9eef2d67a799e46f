"""The gene network: published edges or co-expression, and the file `edges.parquet` that holds it.

The file has columns a, b: int32 vocabulary indices, a < b, sorted, each pair once.

Shapes: C cells, G vocabulary genes, E edges.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.archives import opened, reading
from celllm.sources.raw import RawFile, RawManifest

REMEDY = "rebuild it: snakemake --forcerun build_network"
LINKS: Final = ("protein1", "protein2", "combined_score")
LINES: Final = 1_000_000
"""Lines of STRING's links read at once; version 11.0 has 12 million for human."""
BLOCK_GENES = 1024
"""Genes whose correlations are held at once."""

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Edges:
    """Undirected edges between vocabulary genes, a < b, sorted, no pair twice."""

    a_E: Indices
    b_E: Indices
    vocabulary: str
    """Digest of the vocabulary that the indices belong to."""
    source: str
    """What the edges were made from, for the report."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write(edges: Edges, path: Path | str) -> None:
    """Write the edges, whole or not at all."""
    table = pa.table({"a": pa.array(edges.a_E, pa.int32()), "b": pa.array(edges.b_E, pa.int32())})
    provenance = json.dumps(dict(edges.provenance), sort_keys=True)
    metadata = {"vocabulary": edges.vocabulary, "source": edges.source, "provenance": provenance}
    table = table.replace_schema_metadata(metadata)
    with writing(path) as part:
        pq.write_table(table, part)


def read(path: Path | str, *, vocabulary: Vocabulary | None = None) -> Edges:
    """Read the edges; errors name a missing column or metadata, an edge out of order or range, another vocabulary."""
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
    found = metadata["vocabulary"]
    if vocabulary is not None and found != vocabulary.digest:
        raise VocabularyMismatch(file=path, found=found, expected=vocabulary.digest, remedy=REMEDY)
    a_E, b_E = (table[end].to_numpy().astype(np.int32) for end in "ab")
    n_genes = vocabulary.n_genes if vocabulary is not None else np.iinfo(np.int32).max
    if not ((a_E >= 0) & (a_E < b_E) & (b_E < n_genes)).all():
        expected = f"0 <= a < b < {n_genes}"
        raise InputError(file=path, field="a, b", expected=expected, found="an edge that breaks this", remedy=REMEDY)
    return Edges(a_E, b_E, found, metadata["source"], json.loads(metadata.get("provenance", "{}")))


def from_pairs(first_E: npt.NDArray[np.int64], second_E: npt.NDArray[np.int64]) -> tuple[Indices, Indices]:
    """Turn pairs of vocabulary indices into undirected edges.

    Pairs with an unmapped end (-1) and self-loops go; each edge is kept once, a < b, sorted.
    """
    keep = (first_E >= 0) & (second_E >= 0) & (first_E != second_E)
    low, high = np.minimum(first_E, second_E)[keep], np.maximum(first_E, second_E)[keep]
    edges = np.unique(np.stack([low, high], axis=1), axis=0).astype(np.int32)
    return edges[:, 0], edges[:, 1]


def coexpression(values_CG: sparse.csr_matrix, *, n_partners: int = 10) -> tuple[Indices, Indices]:
    """Connect each gene to the genes it is most strongly co-expressed with in log-normalised cells.

    Pearson's correlation over cells; of each gene's positive partners the strongest `n_partners` are
    kept, ties to the lower index. A gene that never varies has none. An edge needs to be chosen from
    one side only, so a gene can end with more.

    A stand-in where no protein network is at hand: it follows the cells it was made from and must be
    called co-expression wherever it is shown.
    """
    n_cells = values_CG.shape[0]
    columns = sparse.csc_matrix(values_CG, dtype=np.float64)
    mean_G = np.asarray(columns.mean(axis=0)).ravel()
    square_G = np.asarray(columns.multiply(columns).mean(axis=0)).ravel()
    variance_G = np.maximum(square_G - mean_G**2, 0)
    # The difference of two equal squares is rounding, some 1e-16 of them, and no variance.
    varying = np.flatnonzero(variance_G > 1e-12 * square_G)
    spread_G = np.sqrt(variance_G)
    columns, mean_V, spread_V = columns[:, varying], mean_G[varying], spread_G[varying]
    chosen: list[npt.NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(varying), BLOCK_GENES):
        block = slice(start, min(start + BLOCK_GENES, len(varying)))
        product = np.asarray((columns[:, block].T @ columns).todense()) / n_cells
        correlation = (product - np.outer(mean_V[block], mean_V)) / np.outer(spread_V[block], spread_V)
        rows = np.arange(block.stop - block.start)
        correlation[rows, rows + start] = -np.inf
        # Rounded, so that ties do not hang on the last digit of a sum's order.
        order = np.argsort(-np.round(correlation, 9), axis=1, kind="stable")[:, :n_partners]
        positive = np.take_along_axis(correlation, order, axis=1) > 0
        gene, rank = np.nonzero(positive)
        chosen.append(np.stack([varying[gene + start], varying[order[gene, rank]]], axis=1))
    return from_pairs(*np.concatenate(chosen).T)


def read_published(manifest: RawManifest, *, min_score: int = 700) -> tuple[Sequence[str], Sequence[str]]:
    """Read a published network as pairs of gene symbols, by what its files are.

    A parquet file is a table of symbols, columns a and b, one edge a row, and is taken whole; so is an R file whose
    `part` is a list of neighbours by symbol. Otherwise there must be
    STRING's `protein.links` and `protein.info`, whose links come as often as the file has them (both ways round), but
    for those whose combined score, 0 to 1000, is below `min_score`. InputError if the files are neither, or broken.
    """
    files = manifest.ending(".parquet", ".txt.gz", ".txt", ".rda")
    for file in files:
        if file.name.endswith(".parquet"):
            return _symbol_pairs(file.path)
        if file.name.endswith(".rda"):
            return _neighbours(file)
    links, info = ([file.path for file in files if f".protein.{part}." in file.name] for part in ("links", "info"))
    if len(links) != 1 or len(info) != 1:
        raise InputError(
            file=manifest.file,
            field="files",
            expected="a parquet table of symbols, or STRING's *.protein.links.* and *.protein.info.*, one of each",
            found=", ".join(file.name for file in manifest.files),
            remedy="correct the dataset's rows in config/files.tsv",
        )
    return _string_pairs(links[0], info[0], min_score=min_score)


def _neighbours(file: RawFile) -> tuple[list[str], list[str]]:
    """Read a list in an R file, of vectors of symbols, each by the symbol whose neighbours they are."""
    from celllm.sources.robjects import find, load, texts

    lists = find(load(file.path), file.part or ".").elements()
    pairs = [(gene, str(other)) for gene, node in lists.items() for other in texts(node)]
    return [gene for gene, _ in pairs], [other for _, other in pairs]


def _symbol_pairs(path: Path) -> tuple[list[str], list[str]]:
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


def _string_pairs(links: Path, info: Path, *, min_score: int) -> tuple[list[str], list[str]]:
    """Read STRING's links, whose ends are proteins `9606.ENSP…`, and name the ends by `info`.

    Columns: protein1 protein2 combined_score, separated by blanks (links); protein_external_id (v11) or
    #string_protein_id (v12), preferred_name, …, tab-separated (info).
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
    with _string_file(path, "links: protein1 protein2 combined_score, separated by blanks") as stream:
        for chunk in pd.read_csv(stream, sep=" ", chunksize=LINES):
            if tuple(chunk.columns) != LINKS or chunk["combined_score"].dtype.kind != "i":
                raise _other_columns(chunk)
            yield chunk


def _string_names(path: Path) -> pd.Series[str]:
    with _string_file(path, "info: protein_external_id, preferred_name, …, tab-separated") as stream:
        table = pd.read_csv(stream, sep="\t", dtype=str, quoting=3, keep_default_na=False)
        if "preferred_name" not in table.columns or not table.iloc[:, 0].is_unique:
            raise _other_columns(table)
    return table.set_index(table.columns[0])["preferred_name"]


def _other_columns(table: pd.DataFrame) -> pd.errors.ParserError:
    return pd.errors.ParserError(f"the columns {', '.join(map(str, table.columns[:5]))}")


@contextmanager
def _string_file(path: Path, content: str) -> Iterator[IO[bytes]]:
    """Open a file of STRING; what pandas cannot read of it is said as an InputError."""
    expected = f"STRING's {content}"
    with reading(path, expected), opened(path) as stream:
        try:
            yield stream
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise InputError(
                file=path,
                field="(whole file)",
                expected=expected,
                found=str(error).strip(),
                remedy="fetch the file again; if it is whole, check the dataset's rows in config/files.tsv",
            ) from None
