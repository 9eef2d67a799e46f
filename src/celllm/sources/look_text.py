"""What a text file holds: separator, header, text columns, orientation, units; what names of genes and cells are."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.sources.archives import no_data, opened, unreadable
from celllm.sources.readers.text import ANNOTATION, SEPARATORS
from celllm.sources.units import Evidence, evidence

N_BYTES: Final = 1 << 20
"""Bytes of a text that show its form."""
N_COLUMNS: Final = 300
"""Columns of numbers that are read to show units."""
GENES: Final = re.compile(
    r"(?:GRCh3[78]_+|hg19_|hg38_)?(?:.*ENSG\d{11}.*|RP[LS]\d+[AXYL]?\d*|MT-\w+|(?:ACTB|GAPDH|B2M|MALAT1|EEF1A1|TMSB4X|FTL|FTH1|"
    r"CD3[DEG]|CD74|CD8A|CD79A|CD44|MS4A1|NKG7|LYZ|CST3|HLA-\w+|KRT\d+|COL\d+A\d|IL\d+R?|CCL\d+|CXCL\d+|S100A\d+|TP53|MYC|"
    r"EGFR|VIM|SOX\d+|ZNF\d+|SLC\d+A\d+|TMEM\d+|FAM\d+[A-Z]\d?|LINC\d+|CCDC\d+|KIF\d+[A-Z]?|OR\d+[A-Z]\d+)(?:[._-]\d+)?)"
)
"""Names of human genes that nearly every list of genes has some of."""
BARCODE: Final = re.compile(r"(?:.*[^ACGT])?[ACGT]{8,}(?:[-.]\d+)?(?:[^ACGT].*)?|ACH-\d{6}")
"""What names of cells look like: a stretch of nucleotides; of cell lines: DepMap's id."""
IDS: Final = (
    ("Ensembl ids", re.compile(r"ENS(?:MUS)?G\d{11}(?:\.\d+)?")),
    ("symbols with Ensembl ids", re.compile(r".*ENSG\d{11}.*")),
    ("Entrez ids", re.compile(r"\d+")),
    ("symbols with Entrez ids", re.compile(r"\S+ \(\d+\)")),
)


@dataclass(frozen=True)
class Matrix:
    """A matrix of a file."""

    where: str
    """How the tables name it."""
    n_genes: int
    n_cells: int
    rows: str
    """What stands in rows: genes, cells, or unknown."""
    genes: Sequence[str]
    cells: Sequence[str]
    evidence: Evidence
    seen: str
    """Of which cells the evidence is; empty: of all."""

    def lines(self) -> list[str]:
        """Write what is known."""
        rows = {"genes": "", "cells": ", rows are cells", "unknown": ", rows taken to be genes: names do not show it"}[
            self.rows
        ]
        repeated = len(self.genes) - len(set(self.genes))
        more = f", {repeated:,} repeated" if repeated else ""
        return [
            f"matrix {self.where}: {self.n_cells:,} cells x {self.n_genes:,} genes{rows}",
            f"  genes  {kind_of(self.genes)}{more}: {first_few(self.genes)}",
            f"  cells  {first_few(self.cells)}",
            f"  values {self.evidence.line()}{f' ({self.seen})' if self.seen else ''}",
        ]


@dataclass
class Found:
    """What is in a file."""

    format: str
    parts: list[tuple[str, str]] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    reader: str | None = None


def columns(table: pd.DataFrame, before: str) -> list[tuple[str, str]]:
    """Say for each column how many values it has and which come first."""
    said = []
    for name in table.columns:
        values = table[name].dropna().astype(str)
        unique = list(dict.fromkeys(values))
        said.append((f"{before}{name}", f"{len(unique):,} values: {first_few(unique, 4)}"))
    return said


def line_of(begin: bytes) -> str:
    """Show how a text begins."""
    text = begin.decode("utf-8", "replace").split("\n")[0]
    return text[:60] if text.isprintable() or "\t" in text else "binary"


def table(path: Path) -> Found:
    """Look at a text file; InputError if it is none, or a page in place of data."""
    with opened(path) as stream:
        begin = stream.read(N_BYTES)
    disguise = no_data(path)
    if disguise is not None:
        raise unreadable(path, "a file of cells, a table or R objects", f"begins with {begin[:20]!r}")
    if b"\0" in begin[:4096]:
        raise unreadable(path, "a format that is known here", f"binary, beginning with {begin[:8]!r}")
    if begin.startswith(b"%%MatrixMarket"):
        sizes = next(line for line in begin.splitlines()[1:] if not line.startswith(b"%")).decode()
        return Found(
            f"a Matrix Market file, rows x columns x values: {sizes}",
            reader="tenx_mtx",
            remarks=["genes and barcodes stand in features.tsv and barcodes.tsv beside it"],
        )
    text = begin.decode("utf-8-sig", "replace")
    lines = text.splitlines()[: -1 if len(begin) == N_BYTES and text.count("\n") > 1 else None]
    comments = [line for line in lines[:50] if line.startswith("#")]
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    separator = separator_of(lines)
    if separator is None:
        return Found("a text of one column", [(line[:60], "") for line in lines[:5]])
    return _of_lines(path, lines, separator, len(comments))


def separator_of(lines: Sequence[str]) -> str | None:
    """Return what separates fields: what gives the most lines one and the same number of them."""
    scores: dict[str, tuple[float, int]] = {}
    for separator in SEPARATORS:
        rows = csv.reader(lines[1:30] or lines, delimiter=separator, skipinitialspace=separator == " ")
        widths = Counter(map(len, rows))
        for width, times in widths.most_common(1):
            if width > 1:
                scores[separator] = times / widths.total(), width
    return max(scores, key=scores.__getitem__, default=None)


def _of_lines(path: Path, lines: Sequence[str], separator: str, n_comments: int) -> Found:
    rows = list(csv.reader(lines[:200], delimiter=separator, skipinitialspace=separator == " "))
    header, width = rows[0], len(rows[1] if len(rows) > 1 else rows[0])
    body = [row for row in rows[1:] if len(row) == width]
    decimal = "," if separator != "," and _share(body, r"-?\d+,\d+") > 0.05 and not _share(body, r"-?\d+\.\d+") else "."
    numeric = [n for n in range(width) if body and all(_is_number(row[n], decimal) for row in body)]
    texts = [column for column in range(width) if column not in numeric]
    is_short = len(header) == width - 1
    names = [""] * is_short + header
    beside = [names[column] for column in numeric[:12] if names[column] and ANNOTATION.fullmatch(names[column].strip())]
    remarks = {
        f"{n_comments} lines of comments before the header": n_comments > 0,
        "decimal commas": decimal == ",",
        "the header is one field short, as R writes it": is_short,
        "no header: the first line holds numbers": len(header) > 2 and all(_is_number(f, decimal) for f in header[1:]),
        f"columns of numbers that are no cells: {', '.join(beside)}": bool(beside),
    }
    found = Found(f"a {SEPARATORS[separator]}-separated table of {width} columns")
    found.remarks = [remark for remark, applies in remarks.items() if applies]
    first = body[0] if body else ["nothing"] * width
    found.parts = [(names[column] or "(first column)", f"text, such as {first[column]}") for column in texts]
    if len(numeric) > 3:
        some, labels = numeric[:N_COLUMNS], texts[:1] or [0]
        with opened(path) as stream:
            read = pd.read_csv(
                io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace"),
                sep=separator,
                decimal=decimal,
                header=None,
                names=range(width),
                skiprows=1 + n_comments,
                usecols=sorted({*labels, *some}),
                index_col=False,
                dtype=dict.fromkeys(labels, str),
                skipinitialspace=separator == " ",
                low_memory=False,
                na_filter=False,
            )
        values = read[some].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
        cells = [names[column] for column in some]
        found.matrices.append(
            of_values("(whole table)", values, list(read[labels[0]].astype(str)), cells, len(numeric))
        )
        found.reader = "genes_by_cells"
    return found


def of_frame(where: str, table: pd.DataFrame) -> Matrix:
    """Look at a data frame of numbers."""
    rows, names = [str(name) for name in table.index], [str(name) for name in table.columns]
    return of_values(where, table.to_numpy(dtype=np.float64), rows, names, len(names))


def of_values(where: str, values: np.ndarray, rows: list[str], names: list[str], n_columns: int) -> Matrix:
    """Look at numbers of which these columns have been read."""
    kind = rows_are(rows, names)
    if kind == "cells":
        matrix = sparse.csr_matrix(values[:2048])
        return Matrix(where, n_columns, len(rows), kind, names, rows, evidence(matrix), "")
    seen = "" if len(names) == n_columns else f"of the first {len(names)} cells"
    return Matrix(where, len(rows), n_columns, kind, rows, names, evidence(sparse.csr_matrix(values.T)), seen)


def _share(rows: Sequence[Sequence[str]], pattern: str) -> float:
    fields = [field for row in rows for field in row]
    return sum(re.fullmatch(pattern, field) is not None for field in fields) / max(1, len(fields))


def _is_number(text: str, decimal: str) -> bool:
    try:
        float(text.strip().replace(decimal, "."))
    except ValueError:
        return text.strip() in {"NA", ""}
    return True


def _share_of(names: Sequence[str], pattern: re.Pattern[str]) -> float:
    """Return which share of names, at most 2,000 of them, are of a form."""
    some = [str(name) for name in names[:: max(1, len(names) // 2000)]]
    return sum(pattern.fullmatch(name) is not None for name in some) / max(1, len(some))


def rows_are(rows: Sequence[str] | None, columns: Sequence[str] | None) -> str:
    """Tell whether rows are `genes` or `cells`, by the names of rows and columns; `unknown` where neither shows."""
    of_rows, of_columns = (_share_of(names or (), GENES) - _share_of(names or (), BARCODE) for names in (rows, columns))
    score = of_rows - of_columns
    return "genes" if score > 0.02 else "cells" if score < -0.02 else "unknown"


def kind_of(names: Sequence[str]) -> str:
    """Tell what names of genes are: Ensembl ids, Entrez ids or symbols."""
    return next((kind for kind, pattern in IDS if _share_of(names, pattern) > 0.5), "symbols")


def first_few(names: Sequence[str], n: int = 3) -> str:
    """Write the first names."""
    return ", ".join(map(str, names[:n])) + (", …" if len(names) > n else "")
