"""Tables of numbers as text, read some rows at a time and kept sparse; the dense matrix never exists.

R's `write.table` leaves the corner of such a table out, so its header is one field short; `write.csv`, Drop-seq tools
and pandas put ``""``, `GENE` or a name there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
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
RAGGED: Final = re.compile(r"in line (\d+), saw (\d+)")
"""How pandas says that a line has too many fields."""


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
        self._what = "tab-separated" if separator == "\t" else "comma-separated"
        with reading(path, f"a table of {self._what} text"):
            header, first = stream.readline(), stream.readline()
            fields, values = self._fields(header), self._fields(first)
        self._n_fields = len(values)
        if not header.strip() or not first.strip():
            found = "a header and no row" if header.strip() else "an empty file"
            raise unreadable(path, "a header and at least one row", found)
        if self._n_fields <= n_texts or len(fields) not in {self._n_fields, self._n_fields - 1}:
            expected = f"names of the {self._n_fields} {self._what} fields of line 2; the first name may be left out"
            raise unreadable(path, expected, f"{len(fields)} names", field="line 1")
        missing = self._n_fields - len(fields)
        self.text_names = [""] * missing + fields[: n_texts - missing]
        """Names of the leading columns; the first may be empty."""
        self.columns = fields[n_texts - missing :]
        """Names of the columns of numbers."""
        self._stream = chained(first, stream)

    def rows(self) -> Iterator[tuple[pd.DataFrame, sparse.csr_matrix]]:
        """Read the rows, at most PIECE at a time: the leading columns as text, and the numbers.

        Raises
        ------
        InputError
            If a line has too many or too few fields, or a field is no number; or the file breaks off.
        """
        chunks = pd.read_csv(
            self._stream,
            sep=self._separator,
            header=None,
            names=range(self._n_fields),
            index_col=False,
            dtype=dict.fromkeys(range(self._n_texts), str),
            na_filter=False,  # text such as NA is no number and has to be said so
            skip_blank_lines=False,
            chunksize=max(1, min(PIECE, AT_ONCE // len(self.columns))),
            encoding="utf-8",
            low_memory=False,
        )
        line = 2
        with reading(self._path, f"a table of {self._what} text"):
            while True:
                try:
                    chunk = next(chunks)
                except StopIteration:
                    return
                except pd.errors.ParserError as error:
                    raise self._ragged(str(error).strip()) from None
                values = self._numbers(chunk.iloc[:, self._n_texts :], line)
                yield chunk.iloc[:, : self._n_texts], narrow(sparse.csr_matrix(values))
                line += len(chunk)

    def _fields(self, line: bytes) -> list[str]:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        return next(csv.reader([text], delimiter=self._separator), [])

    def _numbers(self, table: pd.DataFrame, line: int) -> npt.NDArray[Any]:
        """Return the numbers of a chunk that begins at `line`; whole where the text is whole."""
        if not {dtype.kind for dtype in table.dtypes} <= set("iuf"):
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
            text = str(column.iloc[bad[0]])
            name = self.columns[int(column.name) - self._n_texts]  # type: ignore[call-overload]
            found = repr(text) if text else "nothing, or too few fields in the line"
            raise unreadable(self._path, "a number", found, field=f"line {line + bad[0]}, column {name}")
        return numbers

    def _ragged(self, message: str) -> InputError:
        found = RAGGED.search(message)
        if found is None:
            return unreadable(self._path, f"a table of {self._what} fields", message)
        # pandas counts lines from our second one
        field = f"line {int(found[1]) + 1}"
        return unreadable(self._path, f"{self._n_fields} fields", f"{found[2]} fields", field=field)


def genes_by_cells(table: TextTable) -> tuple[sparse.csr_matrix, list[str], list[str]]:
    """Read a table whose rows are genes: the matrix, cells x genes; names of genes, repeats kept; names of cells."""
    parts: list[sparse.csr_matrix] = []
    names: list[str] = []
    for texts, matrix in table.rows():
        parts.append(matrix)
        names.extend(texts[0])
    return narrow(sparse.csr_matrix(sparse.vstack(parts, format="csr").T)), names, table.columns


def narrow(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Hold whole values that fit into 32 bits as int32; all others stay as they are."""
    data, limits = matrix.data, np.iinfo(np.int32)
    if data.dtype == np.int32:
        return matrix
    # a comparison with NaN is false
    if len(data) and not (limits.min <= data.min() and data.max() <= limits.max):
        return matrix
    if data.dtype.kind not in "iu" and not np.array_equal(data, np.rint(data)):
        return matrix
    return sparse.csr_matrix((data.astype(np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)
