"""What names look like: genes or cells, and of which kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

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


def _share(names: Sequence[str], pattern: re.Pattern[str]) -> float:
    """Return which share of names, at most 2,000 of them, are of a form."""
    some = [str(name) for name in names[:: max(1, len(names) // 2000)]]
    return sum(pattern.fullmatch(name) is not None for name in some) / max(1, len(some))


def rows_are(rows: Sequence[str] | None, columns: Sequence[str] | None) -> str:
    """Tell whether rows are `genes` or `cells`, by the names of rows and columns; `unknown` where neither shows."""
    of_rows, of_columns = (_share(names or (), GENES) - _share(names or (), BARCODE) for names in (rows, columns))
    score = of_rows - of_columns
    return "genes" if score > 0.02 else "cells" if score < -0.02 else "unknown"


def kind_of(names: Sequence[str]) -> str:
    """Tell what names of genes are: Ensembl ids, Entrez ids or symbols."""
    return next((kind for kind, pattern in IDS if _share(names, pattern) > 0.5), "symbols")


def first_few(names: Sequence[str], n: int = 3) -> str:
    """Write the first names."""
    return ", ".join(map(str, names[:n])) + (", …" if len(names) > n else "")
