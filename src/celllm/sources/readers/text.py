"""Tables of numbers as text, read some rows at a time and kept sparse; the dense matrix never exists.

Layouts: genes x cells (`genes_by_cells`), whose first line holds the cells' names, and cells x genes
(`cells_by_genes`), whose first line holds the genes'. R's `write.table` leaves the corner of such a table out, so its
header is one field short; `write.csv`, Drop-seq tools and pandas put ``""``, `GENE` or a name there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.archives import chained, reading, unreadable
from celllm.sources.readers.cells import PIECE

AT_ONCE: Final = 16_000_000
"""Numbers of a table that are dense in memory at a time: 128 MB. pandas spends as long on a column as on a thousand
numbers, so fewer would be slow in tables of thousands of cells."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a table.

    Parameters
    ----------
    texts
        The leading columns, as text; column 0 holds the rows' names.
    matrix
        The numbers, rows x columns.
    """

    texts: pd.DataFrame
    matrix: sparse.csr_matrix


class TextTable:
    """A table of numbers with a header, and row names in its first column.

    Parameters
    ----------
    stream
        Its bytes, UTF-8.
    path
        Named in errors.
    separator
        Between fields.
    n_texts
        Leading columns that hold text, at least the row names.

    Raises
    ------
    InputError
        If it has no header or no row, or header and first row do not fit each other.
    """

    def __init__(self, stream: IO[bytes], path: Path | str, *, separator: str, n_texts: int = 1) -> None:
        self._path = path
        self._separator = separator
        self._n_texts = n_texts
        with reading(path, f"a table of {self._what} as text"):
            header, first = stream.readline(), stream.readline()
            fields, values = self._fields(header), self._fields(first)
        self._n_fields = len(values)
        if not header.strip() or not first.strip():
            found = "a header and no row" if header.strip() else "an empty file"
            raise unreadable(self._path, field="(whole file)", expected="a header and at least one row", found=found)
        if self._n_fields <= n_texts or len(fields) not in {self._n_fields, self._n_fields - 1}:
            raise unreadable(
                self._path,
                field="line 1",
                expected=f"names of the {self._n_fields} {self._what} fields of line 2; the first name may be left out",
                found=f"{len(fields)} names",
            )
        missing = self._n_fields - len(fields)
        self.text_names = [""] * missing + fields[: n_texts - missing]
        """Names of the leading columns; the first may be empty."""
        self.columns = fields[n_texts - missing :]
        """Names of the columns of numbers."""
        self._stream = chained(first, stream)

    def rows(self, *, at_most: int) -> Iterator[Rows]:
        """Read the rows, at most so many at a time.

        Raises
        ------
        InputError
            If a line has too many or too few fields, or a field is no number; or the file breaks off.
        """
        n_rows = max(1, min(at_most, AT_ONCE // len(self.columns)))
        chunks = pd.read_csv(
            self._stream,
            sep=self._separator,
            header=None,
            names=range(self._n_fields),
            index_col=False,
            dtype=dict.fromkeys(range(self._n_texts), str),
            na_filter=False,  # text such as NA is no number and has to be said so
            skip_blank_lines=False,
            chunksize=n_rows,
            encoding="utf-8",
            low_memory=False,
        )
        line = 2
        with reading(self._path, f"a table of {self._what} as text"):
            while True:
                try:
                    chunk = next(chunks)
                except StopIteration:
                    return
                except pd.errors.ParserError as error:
                    raise self._ragged(str(error)) from None
                values = self._numbers(chunk.iloc[:, self._n_texts :], line)
                yield Rows(texts=chunk.iloc[:, : self._n_texts], matrix=sparse.csr_matrix(values))
                line += len(chunk)

    @property
    def _what(self) -> str:
        return {"\t": "tab-separated", ",": "comma-separated"}.get(self._separator, "separated")

    def _fields(self, line: bytes) -> list[str]:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        return next(csv.reader([text], delimiter=self._separator), [])

    def _numbers(self, table: pd.DataFrame, line: int) -> npt.NDArray[Any]:
        """Return the numbers of a chunk that begins at `line`; whole where the text is whole."""
        kinds = {dtype.kind for dtype in table.dtypes}
        if not kinds <= set("iuf"):
            table = pd.DataFrame({column: self._column(table[column], line) for column in table.columns})
        values = np.asarray(table.to_numpy())
        # whole numbers beyond 64 bits come as objects
        return values.astype(np.float64) if values.dtype == object else values

    def _column(self, column: pd.Series[Any], line: int) -> pd.Series[Any]:
        if column.dtype.kind in "iuf":
            return column
        numbers = pd.to_numeric(column.astype(str), errors="coerce")
        bad = np.flatnonzero(~np.isfinite(numbers.to_numpy(dtype=np.float64)))
        if len(bad):
            found = str(column.iloc[bad[0]])
            name = self.columns[int(column.name) - self._n_texts]  # type: ignore[call-overload]
            raise unreadable(
                self._path,
                field=f"line {line + bad[0]}, column {name}",
                expected="a number",
                found=repr(found) if found else "nothing, or too few fields in the line",
            )
        return numbers

    def _ragged(self, message: str) -> InputError:
        # pandas counts lines from our second one: "Expected 4 fields in line 3, saw 5"
        words = message.split()
        if "line" in words and "saw" in words:
            line = int(words[words.index("line") + 1].rstrip(",")) + 1
            return unreadable(
                self._path,
                field=f"line {line}",
                expected=f"{self._n_fields} fields",
                found=f"{words[words.index('saw') + 1]} fields",
            )
        return unreadable(
            self._path, field="(whole file)", expected=f"a table of {self._what} fields", found=message.strip()
        )


def genes_by_cells(table: TextTable) -> tuple[sparse.csr_matrix, list[str], list[str]]:
    """Read a table whose rows are genes.

    Parameters
    ----------
    table
        One leading column, the genes' names.

    Returns
    -------
    Matrix cells x genes; names of genes, repeats kept; names of cells.
    """
    parts: list[sparse.csr_matrix] = []
    names: list[str] = []
    for rows in table.rows(at_most=PIECE):
        parts.append(narrow(rows.matrix))
        names.extend(rows.texts[0])
    matrix = sparse.vstack(parts, format="csr")
    return narrow(sparse.csr_matrix(matrix.T)), names, table.columns


def cells_by_genes(table: TextTable) -> Iterator[Rows]:
    """Read a table whose rows are cells, in pieces of at most PIECE cells."""
    for rows in table.rows(at_most=PIECE):
        yield Rows(texts=rows.texts, matrix=narrow(rows.matrix))


def narrow(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Hold whole values that fit into 32 bits as int32; all others stay as they are."""
    data = matrix.data
    if data.dtype == np.int32 or (len(data) and not _fits(data)):
        return matrix
    return sparse.csr_matrix((data.astype(np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)


def _fits(data: npt.NDArray[Any]) -> bool:
    limits = np.iinfo(np.int32)
    if not (np.isfinite(data.min()) and np.isfinite(data.max())):
        return False
    if data.min() < limits.min or data.max() > limits.max:
        return False
    return data.dtype.kind in "iu" or bool(np.array_equal(data, np.rint(data)))
