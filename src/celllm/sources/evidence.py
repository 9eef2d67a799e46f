"""What a matrix holds, as its numbers and names show it: units, genes or cells, and what speaks for that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

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
MAX_LOG: Final = 30.0
"""No logarithm of a sequencer's numbers is larger."""
SAME: Final = 1e-3
"""Sums of cells that differ by less, relatively, are one target sum; what rounding leaves open is smaller."""
LOGS: Final = {"ln(x+1)": np.e, "log2(x+1)": 2.0, "log10(x+1)": 10.0}


@dataclass(frozen=True)
class Evidence:
    """The units of some cells, and what speaks for them."""

    units: str
    """counts, counts times a factor, mixed, normalised, logarithms, scaled, decimals, nothing."""
    remark: str
    """What else is known: the target sum, the logarithm."""
    lowest: float
    highest: float
    whole: float
    """Share of the stored numbers that are whole."""
    sums: tuple[float, ...]
    """Of the first, the middle and the last of the cells."""

    @property
    def is_counts(self) -> bool:
        """Whether these are counts."""
        return self.units == "counts"

    def line(self) -> str:
        """Say all of it in one line."""
        said = f"{self.units}{f' ({self.remark})' if self.remark else ''}"
        if self.units == "nothing":
            return said
        sums = ", ".join(f"{value:,.6g}" for value in self.sums)
        return f"{said}: {self.lowest:,.6g} to {self.highest:,.6g}, {self.whole:.1%} whole, sums of three cells {sums}"


def evidence(matrix: sparse.csr_matrix) -> Evidence:
    """Tell the units of cells x genes by sign, wholeness, size and the sums of cells."""
    data = matrix.data.astype(np.float64)
    if not len(data):
        return Evidence("nothing", "no number but zero", 0.0, 0.0, 1.0, ())
    filled = np.flatnonzero(np.diff(matrix.indptr))
    rows = sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)[filled]
    sums = np.asarray(rows.sum(axis=1)).ravel()
    whole = float(np.mean(data == np.rint(data)))
    units, remark = _units(rows, sums, is_whole=whole == 1.0)
    three = tuple(float(sums[i]) for i in dict.fromkeys((0, len(sums) // 2, len(sums) - 1)))
    return Evidence(units, remark, float(data.min()), float(data.max()), whole, three)


def _units(rows: sparse.csr_matrix, sums: np.ndarray[Any, Any], *, is_whole: bool) -> tuple[str, str]:
    data = rows.data
    if not np.isfinite(data).all():
        return "nothing", f"{int((~np.isfinite(data)).sum())} of {len(data)} numbers are missing or infinite"
    if data.min() < 0:
        return "scaled", "negative numbers"
    if is_whole:
        target = _target(sums, tolerance=0.02) if data.max() > 1 else None
        return ("normalised", f"rounded, to a sum of {target:,.4g}") if target else ("counts", "")
    target = _target(sums)
    if target is not None and data.max() > 1:
        return "normalised", f"every cell sums to {target:,.6g}"
    is_whole_cell = np.logical_and.reduceat(data == np.rint(data), rows.indptr[:-1])
    if 0.05 < is_whole_cell.mean() < 1:
        return "mixed", f"counts in {int(is_whole_cell.sum()):,} of {len(sums):,} cells, decimals in the others"
    if data.max() <= MAX_LOG:
        for log, base in LOGS.items():
            undone = rows.copy()
            undone.data = base**data - 1
            target = _target(np.asarray(undone.sum(axis=1)).ravel(), tolerance=0.02)
            if target is not None:
                return "logarithms", f"{log} of cells that sum to {target:,.4g}"
    if _is_multiple(rows):
        return "counts times a factor", "each cell's numbers are multiples of its smallest"
    if data.max() <= MAX_LOG:
        return "logarithms", "or another small scale: fractions, and no large number"
    return "decimals", "expected counts, TPM of a part of the genes, or corrected counts"


def _target(sums: np.ndarray[Any, Any], *, tolerance: float = SAME) -> float | None:
    """Return what all cells sum to; none where they do not, or there are too few to tell."""
    middle = float(np.median(sums))
    near = np.abs(sums - middle) <= tolerance * middle
    return middle if len(sums) >= 3 and middle > 0 and near.mean() >= 0.95 else None


def _is_multiple(rows: sparse.csr_matrix) -> bool:
    """Whether the numbers of nearly every cell are whole multiples of the cell's smallest."""
    is_multiple = []
    for begin, end in zip(rows.indptr[:50], rows.indptr[1:51], strict=False):
        smallest = rows.data[begin:end].min()
        ratios = rows.data[begin:end] / smallest
        # numbers rounded to some decimals are multiples of 0.1, 0.01, …
        is_rounded = abs(np.log10(smallest) - np.rint(np.log10(smallest))) < 1e-6
        is_multiple.append(
            len(ratios) >= 10 and not is_rounded and float(np.abs(ratios - np.rint(ratios)).max()) < 0.01
        )
    return bool(is_multiple) and float(np.mean(is_multiple)) > 0.9


def gene_share(names: Sequence[str]) -> float:
    """Return which share of names are plainly those of human genes."""
    some = [str(name) for name in names[:: max(1, len(names) // 2000)]]
    return sum(GENES.fullmatch(name) is not None for name in some) / max(1, len(some))


def cell_share(names: Sequence[str]) -> float:
    """Return which share of names hold a barcode."""
    some = [str(name) for name in names[:: max(1, len(names) // 2000)]]
    return sum(BARCODE.fullmatch(name) is not None for name in some) / max(1, len(some))


def rows_are(rows: Sequence[str] | None, columns: Sequence[str] | None) -> str:
    """Tell whether rows are `genes` or `cells`, by the names of rows and columns; `unknown` where neither shows."""
    score = sum(
        sign * (gene_share(names) - cell_share(names)) for sign, names in ((1, rows or ()), (-1, columns or ()))
    )
    return "genes" if score > 0.02 else "cells" if score < -0.02 else "unknown"


def kind_of(names: Sequence[str]) -> str:
    """Tell what names of genes are: Ensembl ids, Entrez ids or symbols."""
    some = [str(name) for name in names[:: max(1, len(names) // 500)]]
    for kind, pattern in IDS:
        if some and sum(pattern.fullmatch(name) is not None for name in some) > 0.5 * len(some):
            return kind
    return "symbols"


def first_few(names: Sequence[str], n: int = 3) -> str:
    """Write the first names."""
    return ", ".join(map(str, names[:n])) + (", …" if len(names) > n else "")
