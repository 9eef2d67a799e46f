"""Cells in R objects: sparse and plain matrices, data frames, and the containers of Seurat and Bioconductor.

A file's `part` (files.tsv) is the path of its matrix of genes x cells, as sources/robjects.py describes paths;
`t(PATH)` where rows are cells; several paths, separated by blanks, are stacked: the last name of a path then
stands in the column `part` of `obs` and before the cells' names. `PATH|PATH` puts a table or vector beside the cells, in their order. The path of a container (LAYOUTS) stands for its counts; without a path, the file's only
object is meant. What a matrix has no names for, and what is known of cells, comes from the container around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, in_pieces
from celllm.sources.readers.text import narrow
from celllm.sources.robjects import Part, find, load, numbers, paths, roots, texts

TRANSPOSED: Final = re.compile(r"t\((.*)\)")
SPARSE: Final = re.compile(r"[dln]g([CRT])Matrix")
"""R's sparse matrices of numbers, truth values or places; by column, by row or as triplets."""
TABLES: Final = ("data.frame", "DFrame", "DataFrame", "tbl_df", "data.table", "AnnotatedDataFrame")
MATRICES: Final = "a matrix (dgCMatrix, dgRMatrix, dgTMatrix, dgeMatrix, matrix, data.frame)"


@dataclass(frozen=True)
class Layout:
    """Where a class of objects keeps its parts; of several paths, the first that is there counts."""

    counts: tuple[str, ...]
    obs: tuple[str, ...]
    genes: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


_EXPERIMENT: Final = Layout(
    counts=("@assays$counts", "@assays$data$counts", "@assays$.->data$counts"),
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
        path, _, beside = item.partition("|")
        transposed = TRANSPOSED.fullmatch(path)
        part = counts_of(find(root, transposed[1] if transposed else path))
        matrix, genes, barcodes = matrix_of(part, rows_are_cells=transposed is not None)
        obs = _obs(part, barcodes)
        if beside:
            obs = _with(obs, find(root, beside))
        if len(wanted) > 1:
            name = last_step(part.path)
            obs = obs.assign(part=name).set_axis([f"{name}:{barcode}" for barcode in barcodes])
        yield from in_pieces(RawCells.of(file, matrix, genes, obs))


def last_step(path: str) -> str:
    """Return the last name of a path."""
    return re.split(r"[@$]", path)[-1].strip("`")


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
    """Return a matrix as cells x genes, whole numbers as int32, and the names of genes and of cells.

    Raises
    ------
    InputError
        If the part is of another class, which the message names, or genes or cells have no names.
    """
    matrix, rows, columns = _values(part)
    matrix = sparse.csr_matrix(matrix if rows_are_cells else matrix.T)
    genes, cells = (columns, rows) if rows_are_cells else (rows, columns)
    around_genes, around_cells = _around(part, *reversed(matrix.shape))
    genes, cells = genes or around_genes, cells or around_cells or [str(n) for n in range(1, matrix.shape[0] + 1)]
    if genes is None or (len(cells), len(genes)) != matrix.shape:
        found = (
            f"{matrix.shape[1]} genes and {matrix.shape[0]} cells, {len(genes or ())} gene and {len(cells)} cell names"
        )
        msg = "a name for each gene"
        raise part.wrong(msg, found)
    return narrow(matrix), genes, cells


def _values(part: Part) -> tuple[Any, list[str] | None, list[str] | None]:
    """Return a matrix as it stands in R, and the names of its rows and columns where it has them."""
    kind = part.classes[0]
    stored = SPARSE.fullmatch(kind)
    if stored is not None or kind == "dgeMatrix":
        shape = tuple(int(n) for n in _slot(part, "Dim"))
        rows, columns = _dimnames(part, "Dimnames")
        if stored is None:
            return _slot(part, "x").reshape(shape, order="F"), rows, columns
        return _sparse(part, stored[1], shape), rows, columns
    dimensions, values = part.attribute("dim"), numbers(part.node)
    if dimensions is not None and values is not None and len(dimensions.value) == 2:
        rows, columns = _dimnames(part, "dimnames")
        shape = tuple(int(n) for n in dimensions.value)
        return values.reshape(shape, order="F"), rows, columns
    if kind in TABLES:
        return _table_of_numbers(part)
    offered = [f"{child.path} ({child.classes[0]})" for child in part.children()]
    raise part.wrong(MATRICES, f"an object of class {kind}", offered)


def _sparse(part: Part, kind: str, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - one of scipy's matrices
    is_place = part.classes[0].startswith("n")
    first, second = {"C": ("i", "p"), "R": ("j", "p"), "T": ("i", "j")}[kind]
    one, two = _slot(part, first), _slot(part, second)
    values = np.ones(len(one), dtype=np.int32) if is_place else _slot(part, "x")
    if kind == "T":
        return sparse.coo_matrix((values, (one, two)), shape=shape)
    matrix = (sparse.csc_matrix if kind == "C" else sparse.csr_matrix)((values, one, two), shape=shape)
    matrix.check_format()
    return matrix


def _slot(part: Part, name: str) -> np.ndarray[Any, Any]:
    found = part.attribute(name)
    values = None if found is None else numbers(found)
    if values is None:
        msg = f"a {part.classes[0]} with the slot {name}"
        raise part.wrong(msg, f"the slots {', '.join(part.slots())}")
    return values


def _dimnames(part: Part, attribute: str) -> tuple[list[str] | None, list[str] | None]:
    names = part.attribute(attribute)
    if names is None:
        return None, None
    rows, columns = (_names(Part(one, part.path, part.file)) for one in names.value)
    return rows, columns


def _names(part: Part) -> list[str] | None:
    return None if part.is_null else [str(name) for name in texts(part.node)]


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
                names or (_names(one[0]) if one else None) for names, one in zip((genes, cells), found, strict=True)
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


def _table_of_numbers(part: Part) -> tuple[Any, list[str] | None, list[str] | None]:
    """Return a data frame of numbers; one leading column of text holds the names of its rows."""
    columns = {child.path.rpartition("$")[2].strip("`"): child for child in part.children() if "$" in child.path}
    values = {name: numbers(child.node) for name, child in columns.items()}
    text = [name for name, value in values.items() if value is None]
    if text and (text != [next(iter(values))]):
        msg = "a data frame of numbers"
        raise part.wrong(msg, f"text in the column {text[-1]}")
    rows = _names(columns[text[0]]) if text else row_names(part)
    numeric = [value for value in values.values() if value is not None]
    return np.column_stack(numeric), rows, [name for name in values if name not in text]


def row_names(part: Part) -> list[str] | None:
    """Return the row names of a data frame; none where R has only numbered them."""
    found = part.attribute("row.names") or part.attribute("rownames")
    return None if found is None or found.info.type.name != "STR" else [str(name) for name in texts(found)]


def table_of(part: Part) -> pd.DataFrame:
    """Return a data frame, a list of equally long vectors, or one vector, as texts; NA is None.

    A vector's column is called as the last step of its path; its names are the rows' names.
    """
    named_columns = part.elements() if part.classes[0] in (*TABLES, "list") else {}
    if part.classes[0] == "AnnotatedDataFrame":
        return table_of(part.at("@data"))
    if not named_columns:
        name = last_step(part.path)
        labels = part.attribute("names")
        index = None if labels is None else texts(labels)
        return pd.DataFrame({name: pd.Series(texts(part.node), index=index, dtype=object)})
    columns = {name: texts(node) for name, node in named_columns.items() if node.info.type.name in _VECTORS}
    return pd.DataFrame(columns, index=row_names(part), dtype=object)


_VECTORS: Final = ("STR", "INT", "REAL", "LGL")


def _with(obs: pd.DataFrame, part: Part) -> pd.DataFrame:
    """Put a table beside cells, in their order."""
    table = table_of(part)
    if len(table) != len(obs):
        raise part.wrong(f"a row for each of {len(obs)} cells", f"{len(table)} rows")
    new = [column for column in table.columns if column not in obs.columns]
    return pd.concat([obs, table[new].set_axis(obs.index)], axis=1)


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


def is_matrix(part: Part) -> bool:
    """Whether a part is a matrix of numbers that has genes and cells, by its class and size."""
    kind = part.classes[0]
    if SPARSE.fullmatch(kind) or kind == "dgeMatrix":
        return bool(min(_slot(part, "Dim")) > 1)
    if kind in TABLES:
        columns = [numbers(child.node) for child in part.children() if "$" in child.path]
        return sum(one is not None for one in columns) > max(10, len(columns) - 2)
    dimensions = part.attribute("dim")
    is_table = dimensions is not None and len(dimensions.value) == 2 and bool(min(dimensions.value) > 2)
    return is_table and part.node.info.type.name in {"INT", "REAL"}


def walk(part: Part, *, deepest: int = 8) -> Iterator[Part]:
    """Go through the parts of a part, each before its own; matrices and what is in no use for cells are not entered."""
    for child in () if is_matrix(part) else part.children():
        if child.is_null or child.path.endswith("$.self"):
            continue
        yield child
        number = re.search(r"\[\[(\d+)\]\]$", child.path)
        if number and int(number[1]) > MANY:
            return
        if deepest > 1 and child.classes[0] not in _CLOSED:
            yield from walk(child, deepest=deepest - 1)


MANY: Final = 10
"""Elements without names that are gone through."""
_CLOSED: Final = (*TABLES, "SeuratCommand", "LogMap", "factor", "formula", "CLO", "LANG", "package_version", "by")


def matrices(root: Part) -> Iterator[Part]:
    """Go through all matrices of a file."""
    for one in roots(root):
        if is_matrix(one):
            yield one
        else:
            yield from (part for part in walk(one) if is_matrix(part))


def extent(part: Part) -> str:
    """Say how large a part is: rows x columns of a matrix or table, length of a vector or list."""
    if SPARSE.fullmatch(part.classes[0]) or part.classes[0] == "dgeMatrix":
        return " x ".join(f"{int(n):,}" for n in _slot(part, "Dim"))
    dimensions = part.attribute("dim")
    if dimensions is not None:
        return " x ".join(f"{int(n):,}" for n in dimensions.value)
    if part.classes[0] in TABLES:
        names = list(part.elements())
        n_rows = max((len(node.value) for node in part.elements().values() if node.value is not None), default=0)
        return f"{n_rows:,} rows of {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
    if part.node.info.type.name not in {*_VECTORS, "VEC"}:
        return ""
    values = part.node.value
    some = [] if part.node.info.type.name == "VEC" else texts(part.node)[:3]
    return f"{len(values):,} long" + (f": {', '.join(map(str, some))}" if some else "")
