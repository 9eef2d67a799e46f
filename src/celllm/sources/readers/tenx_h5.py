"""Cell Ranger's HDF5 matrices, `*_bc_matrix.h5`, read a few thousand cells at a time.

Layouts, as 10x Genomics documents them. Cell Ranger 3 and later: a group `matrix` with data, indices, indptr, shape
(genes, cells), barcodes and features/{id, name, feature_type, genome}. Cell Ranger 1 and 2: one group a genome, such
as `hg19`, with data, indices, indptr, shape, barcodes, genes and gene_names. Columns of the compressed matrix are
cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import PIECE, RawCells, unreadable
from celllm.sources.readers.h5ad import opening
from celllm.sources.readers.tenx import gene_names, is_expression

EXPECTED = "Cell Ranger's HDF5 file with one group, matrix or that of a genome"


def read_tenx_h5(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read Cell Ranger's HDF5 matrices; names and features as in sources/readers/tenx.py."""
    for file in manifest.ending(".h5"):
        yield from read_one(file)


def read_one(file: RawFile, *, piece: int = PIECE) -> Iterator[RawCells]:
    """Read one file in pieces of at most `piece` cells."""
    with opening(file.path, EXPECTED) as source:
        group = _group(source, file)
        ids, symbols, types = _features(group)
        n_genes, n_cells = (int(n) for n in group["shape"][:])
        barcodes = group["barcodes"].asstr()[:]
        indptr = group["indptr"][:].astype(np.int64)
        if not len(ids) == len(symbols) == len(types) == n_genes or not len(barcodes) == len(indptr) - 1 == n_cells:
            found = f"shape {n_genes} x {n_cells}, {len(ids)} features, {len(barcodes)} barcodes, {len(indptr)} indptr"
            raise unreadable(file.path, "as many features and barcodes as the shape says", found)
        kept = np.flatnonzero(is_expression(types))
        names = gene_names(ids[kept], symbols[kept])
        for start in range(0, max(1, n_cells), piece):
            stop = min(start + piece, n_cells)
            begin, end = int(indptr[start]), int(indptr[stop])
            parts = (group["data"][begin:end], group["indices"][begin:end], indptr[start : stop + 1] - begin)
            matrix = sparse.csr_matrix(parts, shape=(stop - start, n_genes))
            matrix.check_format()
            yield RawCells(
                matrix=matrix if len(kept) == n_genes else matrix[:, kept],
                names=names,
                obs=pd.DataFrame(index=pd.Index(barcodes[start:stop], dtype=object)),
                file=file.path,
                sample=file.sample,
                facts=file.facts,
            )


def _group(source: h5py.File, file: RawFile) -> h5py.Group:
    groups = [name for name in source if isinstance(source[name], h5py.Group) and "indptr" in source[name]]
    if len(groups) != 1:
        found = f"the groups {', '.join(groups)}" if groups else f"{', '.join(source) or 'nothing'} without indptr"
        raise unreadable(file.path, EXPECTED, found)
    return source[groups[0]]


def _features(group: h5py.Group) -> tuple[Any, Any, Any]:
    """Return ids, names and types of the features."""
    if "features" in group:
        features = group["features"]
        return features["id"].asstr()[:], features["name"].asstr()[:], features["feature_type"].asstr()[:]
    ids = group["genes"].asstr()[:]
    return ids, group["gene_names"].asstr()[:], np.full(len(ids), "Gene Expression", dtype=object)
