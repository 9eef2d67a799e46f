"""Cell Ranger's matrices as text: matrix.mtx, features.tsv or genes.tsv, barcodes.tsv; in an archive or side by side.

Layouts, as 10x Genomics documents them: `genes.tsv` (Cell Ranger 1 and 2: Ensembl id, symbol) or `features.tsv.gz`
(3 and later: id, name, type), `barcodes.tsv` (one a line), `matrix.mtx` (Matrix Market coordinates, genes x cells,
counted from 1). Each may be gzipped and lie at any depth of a tar or zip.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import is_archive, members, opened, reading, wrong_members
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, in_pieces
from celllm.sources.readers.labels import joined, read_labels
from celllm.sources.readers.text import narrow

PART: Final = re.compile(r"(.*?)(matrix\.mtx|features\.tsv|genes\.tsv|barcodes\.tsv)(?:\.gz)?$")
"""A part's name: what stands before it (folder, sample) belongs to all three parts."""
EXPECTED: Final = "matrix.mtx, features.tsv or genes.tsv, and barcodes.tsv of one matrix"
EXPRESSION: Final = "Gene Expression"
"""The type of a feature that is a gene; others are antibodies, guides, peaks."""
LINES: Final = 2_000_000
"""Lines of a matrix read at once."""
BARCODES: Final = ("barcodes", "barcode", "cell")
"""Names of the column of barcodes in a table of labels, as in `68k_pbmc_barcodes_annotation.tsv`."""


def read_tenx_mtx(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read Cell Ranger's matrices, one an archive or one a set of three files, and labels beside them.

    A further text file of the dataset holds labels, one row a cell, in a column `barcodes`: the dataset must then
    have one matrix. Where Ensembl ids stand beside symbols, a name is `SYMBOL_ENSG…`; features that are no genes are
    left out. Barcodes without a value are cells without a value. A matrix takes 12 bytes a value while it is read.
    """
    labels = [file for file in manifest.files if not is_archive(file.name) and not PART.match(file.name)]
    matrices = list(_separate(manifest))
    archives = [file for file in manifest.files if is_archive(file.name)]
    if not matrices and not archives:
        manifest.ending(".tar.gz", ".tar", ".tgz", ".zip", "matrix.mtx", "matrix.mtx.gz")
    if labels and (len(labels) > 1 or len(matrices) + len(archives) > 1):
        raise InputError(
            file=manifest.file,
            field="files",
            expected="one matrix and one table of labels, or matrices only",
            found=", ".join(file.name for file in manifest.files),
            remedy="make each matrix with labels a dataset of its own in config/files.tsv",
        )
    for file, parts in (*matrices, *((file, None) for file in archives)):
        cells = (parts or _in_archive(file)).cells(file)
        if labels:
            table = read_labels(labels[0].path, key=BARCODES)
            cells = replace(cells, obs=joined(cells.obs, table, cells=file.path, file=labels[0].path))
        yield from in_pieces(cells)


@dataclass
class _Parts:
    """The three parts of a matrix, in whatever order they come."""

    matrix: sparse.csr_matrix | None = None
    features: pd.DataFrame | None = None
    barcodes: list[str] | None = None
    seen: list[str] = field(default_factory=list)

    def add(self, part: str, stream: IO[bytes], name: Path | str) -> None:
        """Read a part."""
        with reading(name, f"Cell Ranger's {part}"):
            if part == "matrix.mtx":
                self.matrix = read_mtx(stream, name)
            elif part == "barcodes.tsv":
                self.barcodes = [line.split("\t")[0] for line in stream.read().decode("utf-8").splitlines()]
            else:
                self.features = _features(stream, name)

    def cells(self, file: RawFile) -> RawCells:
        """Put the parts together; InputError if one is missing or they are of different sizes."""
        if self.matrix is None or self.features is None or self.barcodes is None:
            raise wrong_members(file.path, expected=EXPECTED, found=self.seen)
        n_genes, n_cells = len(self.features), len(self.barcodes)
        if self.matrix.shape != (n_cells, n_genes):
            raise InputError(
                file=file.path,
                field="matrix.mtx",
                expected=f"{n_genes} genes x {n_cells} barcodes, as the other two parts have them",
                found=f"{self.matrix.shape[1]} x {self.matrix.shape[0]}",
                remedy="take the three parts from one and the same folder of Cell Ranger",
            )
        is_gene = is_expression(self.features["type"])
        return RawCells(
            matrix=self.matrix if is_gene.all() else self.matrix[:, np.flatnonzero(is_gene)],
            names=gene_names(self.features["id"][is_gene], self.features["name"][is_gene]),
            obs=pd.DataFrame(index=pd.Index(self.barcodes, dtype=object)),
            file=file.path,
            sample=file.sample,
            facts=file.facts,
        )


def _in_archive(file: RawFile) -> _Parts:
    """Read the only matrix of an archive."""
    parts = _Parts()
    folders: set[str] = set()
    for name, stream in members(file.path):
        parts.seen.append(name)
        found = PART.match(name)
        if found is None:
            continue
        folders.add(found[1])
        if len(folders) > 1:
            raise wrong_members(file.path, expected=EXPECTED, found=[f"matrices in {' and '.join(sorted(folders))}"])
        parts.add(found[2], stream, f"{file.path}: {name}")
    return parts


def _separate(manifest: RawManifest) -> Iterator[tuple[RawFile, _Parts]]:
    """Read the matrices whose parts are files of the dataset, grouped by what stands before the parts' names."""
    groups: defaultdict[tuple[str, str | None], dict[str, RawFile]] = defaultdict(dict)
    for file in manifest.files:
        found = PART.match(file.name)
        if found is not None and not is_archive(file.name):
            groups[found[1], file.sample][found[2]] = file
    for files in groups.values():
        parts = _Parts(seen=[file.name for file in files.values()])
        with ExitStack() as stack:
            for part, file in files.items():
                parts.add(part, stack.enter_context(opened(file.path)), file.path)
        yield files.get("matrix.mtx", next(iter(files.values()))), parts


def read_mtx(stream: IO[bytes], name: Path | str) -> sparse.csr_matrix:
    """Read Matrix Market coordinates of genes x cells, counted from 1, as cells x genes.

    The file begins `%%MatrixMarket matrix coordinate integer general`; further lines with `%` are comments; then come
    the numbers of genes, cells and values, and a line `gene cell value` for each value.

    Raises
    ------
    InputError
        If it begins otherwise, a line does not fit, or there are fewer or more values than it says.
    """
    banner = stream.readline().decode("utf-8").split()
    if [word.lower() for word in banner[:3]] != ["%%matrixmarket", "matrix", "coordinate"] or banner[4:] != ["general"]:
        raise _malformed(name, "line 1", "%%MatrixMarket matrix coordinate integer general", " ".join(banner[:5]))
    line = stream.readline()
    while line.startswith(b"%"):
        line = stream.readline()
    sizes = line.split()
    if len(sizes) != 3 or not all(size.isdigit() for size in sizes):
        raise _malformed(
            name, "sizes", "numbers of genes, cells and values", repr(line[:80].decode("utf-8", "replace"))
        )
    n_genes, n_cells, n_values = map(int, sizes)
    genes, cells, values = [], [], []
    n_read = 0
    for chunk in _coordinates(stream, name):
        gene, cell, value = (chunk[column].to_numpy() for column in chunk.columns)
        n_read += len(chunk)
        if not len(chunk):
            continue
        if gene.min() < 1 or gene.max() > n_genes or cell.min() < 1 or cell.max() > n_cells:
            raise _malformed(name, "values", f"genes 1 to {n_genes}, cells 1 to {n_cells}", "an index beyond these")
        genes.append((gene - 1).astype(np.int32))
        cells.append((cell - 1).astype(np.int32))
        values.append(_small(value))
    if n_read != n_values:
        raise _malformed(
            name, "values", f"{n_values} values, as its third line says", f"{n_read}; the file is truncated"
        )
    parts = (_joined(values), (_joined(cells), _joined(genes)))
    return narrow(sparse.csr_matrix(sparse.coo_matrix(parts, shape=(n_cells, n_genes))))


def _coordinates(stream: IO[bytes], name: Path | str) -> Iterator[pd.DataFrame]:
    try:
        yield from pd.read_csv(
            stream,
            sep=r"\s+",
            header=None,
            names=["gene", "cell", "value"],
            index_col=False,
            dtype={"gene": np.int64, "cell": np.int64},
            chunksize=LINES,
            na_filter=False,
            low_memory=False,
        )
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, ValueError) as error:
        raise _malformed(name, "values", "lines of gene, cell and value", str(error).strip()) from None


def _small(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Hold values of a chunk in 32 bits where they are whole and fit."""
    if value.dtype.kind in "iu" and value.max() <= np.iinfo(np.int32).max and value.min() >= np.iinfo(np.int32).min:
        return value.astype(np.int32)
    return value.astype(np.float64) if value.dtype == object else value


def _joined(chunks: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Concatenate chunks and let go of them."""
    whole = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int32)
    chunks.clear()
    return whole


def _features(stream: IO[bytes], name: Path | str) -> pd.DataFrame:
    lines = [line.split("\t") for line in stream.read().decode("utf-8").splitlines()]
    if not lines or any(len(line) not in {1, 2, 3, 6} for line in lines):
        found = f"a line of {max((len(line) for line in lines), default=0)} columns" if lines else "an empty file"
        raise _malformed(name, "columns", "id, name and type, tab-separated", found)
    rows = [(line[0], line[min(1, len(line) - 1)], line[2] if len(line) > 2 else EXPRESSION) for line in lines]
    return pd.DataFrame(rows, columns=["id", "name", "type"], dtype=object)


def gene_names(ids: Iterable[Any], names: Iterable[Any]) -> list[str]:
    """Name genes `SYMBOL_ENSG…`: the id settles what a repeated or an ambiguous symbol leaves open."""
    pairs = ((str(i), str(name)) for i, name in zip(ids, names, strict=True))
    return [f"{name}_{i}" if i.startswith("ENSG") and i != name else name for i, name in pairs]


def is_expression(types: Iterable[Any]) -> npt.NDArray[np.bool_]:
    """Tell which features are genes by their type."""
    return np.array([kind == EXPRESSION for kind in types], dtype=bool)


def _malformed(name: Path | str, what: str, expected: str, found: str) -> InputError:
    return InputError(
        file=name,
        field=what,
        expected=expected,
        found=found,
        remedy="fetch the file again; if it is whole, check the dataset's reader in config/datasets.tsv",
    )
