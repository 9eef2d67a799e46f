"""Matrices, tables and vectors of R objects as numpy and pandas have them, and where in an object they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.sources.robjects import Part, numbers, roots, texts

if TYPE_CHECKING:
    from rdata.parser import RObject

SPARSE: Final = re.compile(r"[dln]g([CRT])Matrix")
"""R's sparse matrices of numbers, truth values or places; by column, by row or as triplets."""
TABLES: Final = ("data.frame", "DFrame", "DataFrame", "tbl_df", "data.table", "AnnotatedDataFrame")
MANY: Final = 10
"""Elements without names that are gone through."""
_VECTORS: Final = ("STR", "INT", "REAL", "LGL")
_CLOSED: Final = (*TABLES, "SeuratCommand", "LogMap", "factor", "formula", "CLO", "LANG", "package_version", "by")
MATRICES: Final = "a matrix (dgCMatrix, dgRMatrix, dgTMatrix, dgeMatrix, matrix, data.frame)"


def last_step(path: str) -> str:
    """Return the last name of a path."""
    return re.split(r"[@$]", path)[-1].strip("`")


def values_of(part: Part) -> tuple[Any, list[str] | None, list[str] | None]:
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
    rows, columns = (names_of(Part(one, part.path, part.file)) for one in names.value)
    return rows, columns


def names_of(part: Part) -> list[str] | None:
    """Return texts as names; none of NULL."""
    return None if part.is_null else [str(name) for name in texts(part.node)]


def _table_of_numbers(part: Part) -> tuple[Any, list[str] | None, list[str] | None]:
    """Return a data frame of numbers; one leading column of text holds the names of its rows."""
    columns = {child.path.rpartition("$")[2].strip("`"): child for child in part.children() if "$" in child.path}
    values = {name: numbers(child.node) for name, child in columns.items()}
    text = [name for name, value in values.items() if value is None]
    if text and (text != [next(iter(values))]):
        msg = "a data frame of numbers"
        raise part.wrong(msg, f"text in the column {text[-1]}")
    rows = names_of(columns[text[0]]) if text else row_names(part)
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
    columns = {name: texts(node) for name, node in _vectors(part).items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        msg = "a table, or a list of vectors of one length"
        raise part.wrong(msg, f"lengths of {min(lengths)} to {max(lengths)}")
    return pd.DataFrame(columns, index=row_names(part), dtype=object)


def _vectors(part: Part) -> dict[str, RObject]:
    """Return the columns of a table that are vectors, for R's tables hold matrices too."""
    children = {name: Part(node, part.path, part.file) for name, node in part.elements().items()}
    return {
        name: child.node
        for name, child in children.items()
        if child.node.info.type.name in _VECTORS and child.attribute("dim") is None
    }


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
        if child.is_null or child.path.endswith(("$.self", "$.refClassDef")):
            continue
        yield child
        number = re.search(r"\[\[(\d+)\]\]$", child.path)
        if number and int(number[1]) > MANY:
            return
        if deepest > 1 and child.classes[0] not in _CLOSED:
            yield from walk(child, deepest=deepest - 1)


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
        n_rows = max((len(node.value) for node in _vectors(part).values()), default=0)
        return f"{n_rows:,} rows of {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
    if part.node.info.type.name not in {*_VECTORS, "VEC"}:
        return ""
    values = part.node.value
    some = [] if part.node.info.type.name == "VEC" else texts(part.node)[:3]
    return f"{len(values):,} long" + (f": {', '.join(map(str, some))}" if some else "")
