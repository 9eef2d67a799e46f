"""Published gene networks as pairs of symbols: STRING's own files, tables, and R lists of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celllm.base.errors import InputError
from celllm.sources.archives import opened, reading
from celllm.sources.raw import RawFile, RawManifest

LINKS: Final = ("protein1", "protein2", "combined_score")
LINES: Final = 1_000_000
"""Lines of STRING's links read at once; version 11.0 has 12 million for human."""


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
    from celllm.sources.robjects import find, load, texts  # the package rdata, which this reading alone needs

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
