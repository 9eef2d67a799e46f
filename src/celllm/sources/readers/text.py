"""Tables of numbers as text, read some rows at a time and kept sparse; the dense matrix never exists.

R's `write.table` leaves the corner of such a table out, so its header is one field short; `write.csv`, Drop-seq tools
and pandas put ``""``, `GENE` or a name there.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
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
SEPARATORS: Final = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", " ": "blank"}
ANNOTATION: Final = re.compile(
    r"(?i)(gene|exon|effective|transcript)?[_. ]?(length|width)|total|sum|chr|chrom|chromosome|start|end|strand|seqname"
    r"|(gene[_. ]?)?(biotype|type|description)|mean|basemean|unnamed: \d+|index|entrez.*|gene[_. ]?ids?"
)
"""Names of columns that say something of a gene and are no cells: featureCounts' Length, Excel's Total."""
RAGGED: Final = re.compile(r"in line (\d+), saw (\d+)")
NUMBER: Final = re.compile(r"-?\d+([.,]\d+)?([eE][-+]?\d+)?")
MIN_SUMMED: Final = 20
"""Numbers above 0 of a table of which a column or row may be seen to be the sum of the others."""
MIN_COUNTED: Final = 10
"""Rows, or columns, that a column, or row, may be seen to number."""
CORNER: Final = re.compile(r"(?i)|genes?\b.*|.*id|.*symbols?|.*names?|x|unnamed.*|index|probes?.*|features?.*|cells?.*")
"""What stands above the names of rows, where a name of a row does not."""
DECIMAL_COMMA: Final = re.compile(r"-?\d+,\d+")


class TextTable:
    """A table of numbers with a header, and row names in its first column; remarks (`#`) before it are skipped.

    Where lines 1 and 2 do not fit each other with `separator`, the one of SEPARATORS is taken that makes them.
    `n_texts` leading columns hold text, at least the row names.
    """

    def __init__(self, stream: IO[bytes], path: Path | str, *, separator: str, n_texts: int = 1) -> None:
        self._path = path
        self._n_texts = n_texts
        with reading(path, f"a table of {SEPARATORS[separator]}-separated text"):
            self._n_header, header = 1, stream.readline()
            while header.removeprefix(codecs.BOM_UTF8).startswith(b"#"):
                self._n_header, header = self._n_header + 1, stream.readline()
            first = stream.readline()
            self._separator = self._separator_of(header, first, separator)
            fields, values = self._fields(header), self._fields(first)
        self._what = f"{SEPARATORS[self._separator]}-separated"
        self._decimal = "," if self._separator != "," and any(map(DECIMAL_COMMA.fullmatch, values[n_texts:])) else "."
        self._n_fields = len(values)
        if not header.strip() or not first.strip():
            found = "a header and no row" if header.strip() else "an empty file"
            raise unreadable(path, "a header and at least one row", found)
        if not self._fit(header, first):
            place = f"line {self._n_header}"
            expected = f"names of the {self._n_fields} {self._what} fields of the line below; the first may be left out"
            raise unreadable(path, expected, f"{len(fields)} names", field=place)
        missing = self._n_fields - len(fields)
        self.text_names = [""] * missing + fields[: n_texts - missing]
        """Names of the leading columns; the first may be empty."""
        self.columns = fields[n_texts - missing :]
        """Names of the columns of numbers."""
        self._check_columns()
        self._stream = chained(first, stream)

    def _separator_of(self, header: bytes, first: bytes, expected: str) -> str:
        """Return the separator under which header and first row fit, the expected one if it does, else that of most."""
        self._separator = expected
        if self._fit(header, first):
            return expected
        fitting = []
        for separator in SEPARATORS:
            self._separator = separator
            if self._fit(header, first):
                fitting.append((len(self._fields(first)), separator))
        return max(fitting)[1] if fitting else expected

    def _fit(self, header: bytes, first: bytes) -> bool:
        n_fields = len(self._fields(first))
        return n_fields > self._n_texts and len(self._fields(header)) in {n_fields, n_fields - 1}

    def _check_columns(self) -> None:
        """Raise InputError if the names of columns are numbers of a row, or columns say something of genes."""
        place, names = f"line {self._n_header}", self.columns
        are_counted = any(names == [str(start + i) for i in range(len(names))] for start in (0, 1))
        are_names = len(set(names)) == len(names) and CORNER.fullmatch(self.text_names[0])
        if len(names) > 1 and not are_counted and not are_names and all(map(NUMBER.fullmatch, names)):
            found = f"numbers, such as {', '.join(names[:3])}: the line of names is missing"
            raise unreadable(self._path, "names of cells", found, field=place)
        annotations = [name for name in names if ANNOTATION.fullmatch(name.strip())]
        if annotations:
            found = f"{', '.join(annotations)}: of genes, as featureCounts and spreadsheets add them; remove them"
            raise unreadable(self._path, "names of cells or genes only", found, field=place)

    def rows(self) -> Iterator[tuple[pd.DataFrame, sparse.csr_matrix]]:
        """Read the rows, at most PIECE at a time: the leading columns as text, and the numbers."""
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
            decimal=self._decimal,
            low_memory=False,
        )
        line = self._n_header + 1
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

    def check_sums(self, matrix: sparse.csr_matrix, rows: Sequence[str]) -> None:
        """Raise InputError if a column, or a row, of rows x columns is the sum of all others, or numbers them."""
        if matrix.nnz < MIN_SUMMED:
            return
        for what, names, along in (("column", self.columns, matrix), ("row", rows, matrix.T)):
            totals = np.asarray(along.sum(axis=1, dtype=np.float64)).ravel()
            shares = np.asarray(along.sum(axis=0, dtype=np.float64)).ravel()
            looked_for = {f"the sum of all other {what}s": totals / 2}
            if len(totals) >= MIN_COUNTED:
                looked_for |= {f"numbers from {n} on": np.arange(n, n + len(totals), dtype=np.float64) for n in (0, 1)}
            for found, values in looked_for.items():
                for place in map(int, np.flatnonzero(shares == values.sum())):
                    if np.array_equal(along[:, [place]].toarray().ravel(), values):
                        expected, field = "names of cells and genes, and counts", f"{what} {names[place]}"
                        raise unreadable(self._path, expected, f"{found}; remove it", field=field)

    def _fields(self, line: bytes) -> list[str]:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        try:
            return next(csv.reader([text], delimiter=self._separator), [])
        except csv.Error as error:  # line ends of old Macs, or no text at all
            raise unreadable(self._path, "lines of fields", f"{error}".split(" - ")[0], field="lines 1 and 2") from None

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
            remedy = (
                "correct it; a column that is no gene is named in the row (label_column, obs) or taken out of the file"
            )
            raise unreadable(self._path, "a number", found, field=f"line {line + bad[0]}, column {name}", remedy=remedy)
        return numbers

    def _ragged(self, message: str) -> InputError:
        found = RAGGED.search(message)
        if found is None:
            return unreadable(self._path, f"a table of {self._what} fields", message)
        # pandas counts lines from our first row
        field = f"line {int(found[1]) + self._n_header}"
        return unreadable(self._path, f"{self._n_fields} fields", f"{found[2]} fields", field=field)


def genes_by_cells(table: TextTable) -> tuple[sparse.csr_matrix, list[str], list[str]]:
    """Read a table whose rows are genes: the matrix, cells x genes; names of genes, repeats kept; names of cells."""
    parts: list[sparse.csr_matrix] = []
    names: list[str] = []
    for texts, matrix in table.rows():
        parts.append(matrix)
        names.extend(texts[0])
    matrix = sparse.vstack(parts, format="csr")
    table.check_sums(matrix, names)
    return narrow(sparse.csr_matrix(matrix.T)), names, table.columns


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
