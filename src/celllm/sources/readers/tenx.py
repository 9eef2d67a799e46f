"""Cell Ranger's matrices, as text and as HDF5, in the layouts that 10x Genomics documents.

Text, in an archive or side by side: `genes.tsv` (Cell Ranger 1 and 2: Ensembl id, symbol) or `features.tsv.gz` (3 and
later: id, name, type), `barcodes.tsv` (one a line), `matrix.mtx` (Matrix Market coordinates, genes x cells, counted
from 1). Each may be gzipped and lie at any depth of a tar or zip.

HDF5, `*_bc_matrix.h5`, read a few thousand cells at a time: a group `matrix` with data, indices, indptr, shape (genes,
cells), barcodes and features/{id, name, feature_type, genome} (Cell Ranger 3 and later), or one group a genome, such as
`hg19`, with data, indices, indptr, shape, barcodes, genes and gene_names. Columns of the compressed matrix are cells.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.io import mmread

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import chained, is_archive, members, opened, reading, unreadable, wrong_members
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import PIECE, RawCells, in_pieces
from celllm.sources.readers.genes import OF_GENES, genes_of, named
from celllm.sources.readers.h5ad import opening
from celllm.sources.readers.text import narrow

PART: Final = re.compile(r"(.*?)(matrix\.mtx|features\.tsv|genes\.tsv|barcodes\.tsv)(?:\.gz)?$")
"""A part's name: what stands before it (folder, sample) belongs to all three parts."""
EXPECTED: Final = "matrix.mtx, features.tsv or genes.tsv, and barcodes.tsv of one matrix"
EXPRESSION: Final = "Gene Expression"
HEADERS: Final = re.compile(r"(?i)(gene|feature|cell|ensembl)([_ .]?ids?)?|ids?|genes|cells|barcodes?|x|v1")
"""First fields of lines of names, which Cell Ranger does not write."""
BANNER: Final = re.compile(rb"(?i)%%matrixmarket\s+matrix\s+coordinate\s+(integer|real|double)\s+general\s*$")
TYPES: Final = "feature_type"
FEATURES: Final = ("id", "name", TYPES)
GENOME: Final = re.compile(r"(?i)grch3[78]|hg19|hg38")
"""A human genome: of several groups its is read."""
HDF5: Final = "Cell Ranger's HDF5 file with one group, matrix or that of a genome"


def read_tenx_mtx(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read Cell Ranger's matrices, one an archive or one a set of three files; 16 bytes a value while one is read.

    Features that are no genes are left out and counted. Barcodes without a value are cells without a value.
    """
    archives = [file for file in manifest.files if is_archive(file.name)]
    others = [file for file in manifest.files if file not in archives and not PART.match(file.name)]
    if others or not manifest.files:
        expected = f"archives, or {EXPECTED}; of labels, the word labels in the column use"
        remedy = "name the files so at their end, the sample before: SAMPLE_matrix.mtx.gz"
        raise manifest.other_files(expected, remedy)
    for file, parts in (*_separate(manifest), *((file, None) for file in archives)):
        yield from in_pieces((parts or _in_archive(file)).cells(file))


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
                self.barcodes = [fields[0] for fields in _fields(stream)]
            else:
                self.features = _features(stream, name)

    def cells(self, file: RawFile) -> RawCells:
        """Put the parts together; InputError if one is missing or they are of different sizes."""
        if self.matrix is None or self.features is None or self.barcodes is None:
            raise wrong_members(file.path, expected=EXPECTED, found=self.seen)
        n_genes, n_cells = len(self.features), len(self.barcodes)
        if self.matrix.shape == (n_genes, n_cells) != (n_cells, n_genes):  # kb-python and alevin write cells x genes
            self.matrix = sparse.csr_matrix(self.matrix.T)
        if self.matrix.shape != (n_cells, n_genes):
            expected = f"{n_genes} genes x {n_cells} barcodes, as the other two parts have them"
            found, remedy = f"{self.matrix.shape[1]} x {self.matrix.shape[0]}", "take the three parts from one folder"
            raise unreadable(file.path, expected, found, field="matrix.mtx", remedy=remedy)
        genes, left_out = _genes(self.features, file.path)
        matrix = self.matrix if len(genes) == n_genes else self.matrix[:, genes.index]
        return RawCells.of(file, matrix, named(genes["id"], genes["name"]), self.barcodes, left_out)


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
            said = f"matrices in {' and '.join(sorted(folders))}"
            remedy = "write a pattern of the members to take, whose group is the sample, into the column part of "
            remedy += f"config/files.tsv, such as ({re.escape(min(folders)).rstrip('/')})/"
            raise unreadable(file.path, EXPECTED, said, field="members", remedy=remedy)
        parts.add(found[2], stream, f"{file.path}: {name}")
    return parts


def _separate(manifest: RawManifest) -> Iterator[tuple[RawFile, _Parts]]:
    """Read the matrices whose parts are files of the dataset, grouped by what stands before the parts' names."""
    groups: defaultdict[tuple[str, str | None], dict[str, RawFile]] = defaultdict(dict)
    for file in manifest.files:
        found = PART.match(file.name)
        if found is not None and not is_archive(file.name):
            groups[found[1], file.sample][found[2]] = file
    # GEO series may have one list of features for all samples, under a name of its own.
    lists = [place for place, files in groups.items() if set(files) <= {"features.tsv", "genes.tsv"}]
    shared = groups.pop(lists[0]) if len(lists) == 1 and len(groups) > 1 else {}
    for files in groups.values():
        files |= {} if {"features.tsv", "genes.tsv"} & set(files) else shared
        parts = _Parts(seen=[file.name for file in files.values()])
        with ExitStack() as stack:
            for part, file in files.items():
                parts.add(part, stack.enter_context(opened(file.path)), file.path)
        yield files.get("matrix.mtx", next(iter(files.values()))), parts


def read_mtx(stream: IO[bytes], name: Path | str) -> sparse.csr_matrix:
    """Read Matrix Market coordinates of genes x cells, counted from 1, as cells x genes.

    InputError if it does not begin as BANNER says, a line does not fit, or it has fewer or more values than it says.
    """
    banner = stream.readline()
    if BANNER.match(banner) is None:
        found = banner[:60].decode("utf-8", "replace").strip()
        raise unreadable(name, "%%MatrixMarket matrix coordinate integer general", found, field="line 1")
    try:
        # as real numbers: of integers scipy would drop what stands behind a decimal point
        matrix = mmread(chained(b"%%MatrixMarket matrix coordinate real general\n", stream))
    except InputError:
        raise
    except (ValueError, OverflowError) as error:
        expected = "as many lines of gene, cell and value as its sizes say"
        raise unreadable(name, expected, str(error), field="values") from None
    return narrow(sparse.csr_matrix(matrix.T))


def _genes(features: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the features that are genes, and how many others there are; InputError if none is a gene."""
    places, left_out = genes_of(features)
    if len(features) and not left_out and features[TYPES].iloc[0].strip().casefold() not in OF_GENES:
        found = ", ".join(f"{kind} ({n})" for kind, n in features[TYPES].value_counts().items())
        raise unreadable(path, f"features of the type {EXPRESSION}", f"the types {found}", field="features")
    return features.iloc[places], left_out


def _fields(stream: IO[bytes]) -> list[list[str]]:
    """Read tab-separated lines without the quotes, header line and row numbers that R may have written."""
    text = stream.read().decode("utf-8-sig")
    lines = [[field.strip().strip('"') for field in line.split("\t")] for line in text.splitlines()]
    if lines and HEADERS.fullmatch(lines[0][0]):
        lines = lines[1:]
    if lines and all(len(line) > 1 and line[0] == str(number) for number, line in enumerate(lines, start=1)):
        lines = [line[1:] for line in lines]
    return lines


def _features(stream: IO[bytes], name: Path | str) -> pd.DataFrame:
    lines = _fields(stream)
    if not lines or any(len(line) not in {1, 2, 3, 6} for line in lines):
        found = f"a line of {max((len(line) for line in lines), default=0)} columns" if lines else "an empty file"
        raise unreadable(name, "id, name and type, tab-separated", found, field="columns")
    rows = [
        (line[0], line[min(1, len(line) - 1)], line[2] if len(line) > 2 and line[2] else EXPRESSION) for line in lines
    ]
    return pd.DataFrame(rows, columns=FEATURES, dtype=object)


def read_tenx_h5(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read Cell Ranger's HDF5 matrices; names and features as in `read_tenx_mtx`."""
    for file in manifest.ending(".h5"):
        yield from read_h5(file)


def read_h5(file: RawFile, *, piece: int = PIECE) -> Iterator[RawCells]:
    """Read one file in pieces of at most `piece` cells.

    scanpy's reader would hold counts as float32 and take the first of two groups in silence.
    """
    with opening(file.path, HDF5) as source:
        groups = [name for name in source if isinstance(source[name], h5py.Group) and "indptr" in source[name]]
        human = [name for name in groups if GENOME.match(name)] or groups
        if len(human) != 1:
            found = f"the groups {', '.join(groups)}" if groups else f"{', '.join(source) or 'nothing'} without indptr"
            raise unreadable(file.path, HDF5, found)
        group = source[human[0]]
        features = _h5_features(group)
        n_genes, n_cells = (int(n) for n in group["shape"][:])
        barcodes = group["barcodes"].asstr()[:]
        indptr = group["indptr"][:].astype(np.int64)
        if len(features) != n_genes or not len(barcodes) == len(indptr) - 1 == n_cells:
            found = f"shape {n_genes} x {n_cells}, {len(features)} features, {len(barcodes)} barcodes, "
            found += f"{len(indptr)} indptr"
            raise unreadable(file.path, "as many features and barcodes as the shape says", found)
        genes, left_out = _genes(features, file.path)
        names = named(genes["id"], genes["name"])
        for start in range(0, max(1, n_cells), piece):
            stop = min(start + piece, n_cells)
            begin, end = int(indptr[start]), int(indptr[stop])
            parts = (group["data"][begin:end], group["indices"][begin:end], indptr[start : stop + 1] - begin)
            matrix = sparse.csr_matrix(parts, shape=(stop - start, n_genes))
            matrix.check_format()
            kept = matrix if len(genes) == n_genes else matrix[:, genes.index]
            yield RawCells.of(file, kept, names, barcodes[start:stop], left_out)


def _h5_features(group: h5py.Group) -> pd.DataFrame:
    """Return id, name and type of the features; of files older than Cell Ranger 3, which hold genes only."""
    if "features" not in group:
        columns = {"id": group["genes"].asstr()[:], "name": group["gene_names"].asstr()[:]}
        return pd.DataFrame(columns).assign(**{TYPES: EXPRESSION})
    features = group["features"]
    return pd.DataFrame({name: features[name].asstr()[:] for name in FEATURES})
