"""Cells in R objects: sparse and plain matrices, data frames, and the containers of Seurat and Bioconductor.

A file's `part` (files.tsv) is the path of its matrix of genes x cells, as sources/robjects.py has it; `t(PATH)`
where rows are cells; several paths, separated by blanks, are stacked: the last name of a path then stands in the column
`part` of `obs` and before the cells' names. `PATH|PATH` puts a table or vector beside the cells, in their order;
`PATH|PATH|PATH`, Ensembl ids beside the genes too. The path of a container (LAYOUTS) stands for its counts; without a
path, the file's only object is meant. What a matrix has no names for, and what is known of cells, comes from the
container around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, in_pieces
from celllm.sources.readers.genes import named
from celllm.sources.readers.text import narrow
from celllm.sources.robjects import Part, find, load, paths, roots, texts
from celllm.sources.rvalues import is_matrix, last_step, names_of, table_of, values_of

TRANSPOSED: Final = re.compile(r"t\((.*)\)")


@dataclass(frozen=True)
class Layout:
    """Where a class of objects keeps its parts; of several paths, the first that is there counts."""

    counts: tuple[str, ...]
    obs: tuple[str, ...]
    genes: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


_EXPERIMENT: Final = Layout(
    counts=tuple(f"@assays{inner}${name}" for name in ("counts", "count") for inner in ("", "$data", "$.->data")),
    obs=("@colData",),
    genes=("@NAMES", "@rowRanges@ranges@NAMES", "@rowRanges@partitioning@NAMES", "@elementMetadata@rownames"),
    cells=("@colData@rownames",),
)
_SET: Final = Layout(counts=("@assayData$counts", "@assayData$exprs"), obs=("@phenoData@data",))
LAYOUTS: Final = {
    "Seurat": Layout(counts=("@assays$RNA@counts", "@assays$RNA@layers$counts"), obs=("@meta.data",)),
    "seurat": Layout(counts=("@raw.data",), obs=("@meta.data", "@data.info")),
    "SingleCellExperiment": _EXPERIMENT,
    "RangedSummarizedExperiment": _EXPERIMENT,
    "SummarizedExperiment": _EXPERIMENT,
    "ExpressionSet": _SET,
    "SCESet": _SET,
    "CellDataSet": _SET,
}
"""Seurat 3 to 5, Seurat 2, Bioconductor's experiments and expression sets, scater's and monocle's old ones."""


def read_robjects(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read the matrices that the files' parts name; R's format has no index, so a file is read whole."""
    for file in manifest.ending(".RData", ".rda", ".rds", ".Rds", ".RDS", ".rdata", ".rda.gz", ".rds.gz"):
        yield from _cells(file)


def _cells(file: RawFile) -> Iterator[RawCells]:
    root = load(file.path)
    wanted = paths(file.part or "")
    if not wanted:
        objects = roots(root)
        if len(objects) != 1:
            msg = "the path of a matrix in the column part of files.tsv"
            raise root.wrong(msg, "several objects", [one.path for one in objects])
        wanted = [objects[0].path]
    for item in wanted:
        path, beside, ids = (*item.split("|"), "", "")[:3]
        transposed = TRANSPOSED.fullmatch(path)
        part = counts_of(find(root, transposed[1] if transposed else path))
        matrix, genes, barcodes = matrix_of(part, rows_are_cells=transposed is not None)
        obs = _obs(part, barcodes)
        if beside:
            obs = _with(obs, find(root, beside))
        if ids:
            genes = _with_ids(genes, find(root, ids))
        if len(wanted) > 1:
            name = last_step(part.path)
            obs = obs.assign(part=name).set_axis([f"{name}:{barcode}" for barcode in barcodes])
        yield from in_pieces(RawCells.of(file, matrix, genes, obs))


def counts_of(part: Part) -> Part:
    """Return the counts of a container, and any other part as it is."""
    layout = LAYOUTS.get(part.classes[0])
    if layout is None:
        return part
    offered = (part.get(path) for path in layout.counts)
    found = next((counts for counts in offered if counts is not None and is_matrix(counts)), None)
    if found is None:
        msg = f"counts at {' or '.join(layout.counts)}"
        raise part.wrong(msg, f"none there in the {part.classes[0]}")
    return found


def matrix_of(part: Part, *, rows_are_cells: bool = False) -> tuple[sparse.csr_matrix, list[str], list[str]]:
    """Return a matrix as cells x genes, whole numbers as int32, and the names of genes and of cells."""
    matrix, rows, columns = values_of(part)
    matrix = sparse.csr_matrix(matrix if rows_are_cells else matrix.T)
    genes, cells = (columns, rows) if rows_are_cells else (rows, columns)
    around_genes, around_cells = _around(part, *reversed(matrix.shape))
    genes, cells = genes or around_genes, cells or around_cells or [str(n) for n in range(1, matrix.shape[0] + 1)]
    if genes is None or (len(cells), len(genes)) != matrix.shape:
        found = f"{matrix.shape[1]} genes and {matrix.shape[0]} cells, "
        msg = "a name for each gene"
        raise part.wrong(msg, f"{found}{len(genes or ())} gene and {len(cells)} cell names")
    return narrow(matrix), genes, cells


def _around(part: Part, n_genes: int, n_cells: int) -> tuple[list[str] | None, list[str] | None]:
    """Return the names of genes and cells that the container around a matrix has for it."""
    around, genes, cells = part.parent, None, None
    while around is not None:
        layout = LAYOUTS.get(around.classes[0])
        if around.classes[0] == "Assay5":
            layer = last_step(part.path)
            genes, cells = (_of_layer(around.get(slot), layer) for slot in ("@features", "@cells"))
        elif layout is not None:
            found = [[one for path in where if (one := around.get(path))] for where in (layout.genes, layout.cells)]
            genes, cells = (
                names or (names_of(one[0]) if one else None) for names, one in zip((genes, cells), found, strict=True)
            )
        around = around.parent
    right = [names if names and len(names) == n else None for names, n in ((genes, n_genes), (cells, n_cells))]
    return right[0], right[1]


def _of_layer(names: Part | None, layer: str) -> list[str] | None:
    """Return the names that Seurat's table of truth values (LogMap: names x layers) has for a layer."""
    table = None if names is None else names.attribute("dimnames")
    if names is None or table is None:
        return None
    rows, columns = (texts(one) for one in table.value)
    if layer not in columns:
        return None
    inside = np.ma.getdata(names.node.value).reshape(len(rows), len(columns), order="F")[:, columns.index(layer)]
    return [str(name) for name, is_in in zip(rows, inside, strict=True) if is_in]


def _with(obs: pd.DataFrame, part: Part) -> pd.DataFrame:
    """Put a table beside cells, in their order."""
    table = table_of(part)
    if len(table) != len(obs):
        expected = f"a row for each of {len(obs)} cells"
        raise part.wrong(expected, f"{len(table)} rows")
    new = [column for column in table.columns if column not in obs.columns]
    return pd.concat([obs, table[new].set_axis(obs.index)], axis=1)


def _with_ids(genes: list[str], part: Part) -> list[str]:
    """Put ids beside the genes' names, in their order."""
    ids = names_of(part) or []
    if len(ids) != len(genes):
        msg = f"an id for each of {len(genes)} genes"
        raise part.wrong(msg, f"{len(ids)} ids")
    return named(ids, genes)


def columns_of(root: Part, wanted: list[str]) -> pd.DataFrame:
    """Return a table of labels: a data frame or named vector; or, of several vectors, the first names the cells."""
    if len(wanted) == 1:
        return table_of(find(root, wanted[0]))
    names, *columns = (table_of(find(root, path)).iloc[:, 0] for path in wanted)
    return pd.concat([column.reset_index(drop=True) for column in columns], axis=1).set_axis(list(names))


def _obs(part: Part, barcodes: list[str]) -> pd.DataFrame:
    """Return what the container around a matrix says of its cells, in the matrix's order."""
    index = pd.Index(barcodes, dtype=object)
    around = part.parent
    while around is not None:
        layout = LAYOUTS.get(around.classes[0])
        found = None if layout is None else next((one for path in layout.obs if (one := around.get(path))), None)
        if found is not None:
            table = table_of(found)
            if index.isin(table.index).all() and table.index.is_unique:
                return table.loc[index]
            if len(table) == len(index):
                return table.set_axis(index)
        around = around.parent
    return pd.DataFrame(index=index)
