"""`genes.tsv`: the gene axis, which genes and in which order. Row i is gene i in every matrix, shard and embedding.

Columns: index, symbol, hgnc_id, ensembl, entrez; an empty field is an unknown cross-reference.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError

COLUMNS = ("symbol", "hgnc_id", "ensembl", "entrez")


@dataclass(frozen=True)
class Vocabulary:
    """Genes in the order of the embedding table."""

    genes: pd.DataFrame
    """One row a gene; columns symbol, hgnc_id, ensembl, entrez, all str; index 0…n-1."""

    @property
    def n_genes(self) -> int:
        """Number of genes, without the CLS and PAD rows of an embedding table."""
        return len(self.genes)

    @cached_property
    def symbols(self) -> list[str]:
        """Approved symbols in order."""
        return [str(symbol) for symbol in self.genes["symbol"]]

    @cached_property
    def digest(self) -> str:
        """Sha256 over the ordered (symbol, hgnc_id) pairs, in hex; equal digests mean equal indices."""
        sha = hashlib.sha256()
        for symbol, hgnc_id in zip(self.genes["symbol"], self.genes["hgnc_id"], strict=True):
            sha.update(f"{symbol}\t{hgnc_id}\n".encode())
        return sha.hexdigest()


def of_locus_group(hgnc: pd.DataFrame, locus_group: str) -> Vocabulary:
    """Take the approved genes (sources.hgnc) of one locus group, e.g. `protein-coding gene`, sorted by symbol.

    ValueError if no gene is of that group; the message lists the groups there are.
    """
    genes = hgnc[hgnc["locus_group"] == locus_group]
    if genes.empty:
        groups = sorted(hgnc["locus_group"].unique())
        msg = f"no gene of locus group {locus_group!r}; there are {', '.join(groups)}"
        raise ValueError(msg)
    genes = genes.rename(columns={"ensembl_gene_id": "ensembl", "entrez_id": "entrez"})
    genes = genes.sort_values("symbol", kind="stable", ignore_index=True)
    return Vocabulary(genes[list(COLUMNS)])


def read(path: Path | str) -> Vocabulary:
    """Read `genes.tsv`; InputError if a column is missing, the index does not count 0…n-1, or a symbol stands twice."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if not {"index", *COLUMNS} <= set(table.columns):
        raise _damaged(path, "columns", ", ".join(("index", *COLUMNS)), ", ".join(table.columns))
    if list(table["index"]) != [str(i) for i in range(len(table))]:
        raise _damaged(path, "index", f"0 to {len(table) - 1} in order", "another order or a gap")
    repeated = table["symbol"][table["symbol"].duplicated()]
    if len(repeated):
        raise _damaged(path, "symbol", "each symbol once", f"{repeated.iloc[0]} more than once")
    return Vocabulary(table[list(COLUMNS)].copy())


def _damaged(path: Path | str, field: str, expected: str, found: str) -> InputError:
    remedy = "rebuild it: snakemake --forcerun build_vocabulary"
    return InputError(file=path, field=field, expected=expected, found=found, remedy=remedy)


def read_list(path: Path | str) -> Vocabulary:
    """Read `genes.tsv`, or a list of symbols, one a line, which knows no cross-references; errors as in `read`."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    if lines and "\t" in lines[0]:
        return read(path)
    symbols = [line.strip() for line in lines]
    counted = Counter(symbols)
    blank = [number for number, symbol in enumerate(symbols, start=1) if not symbol]
    twice = [symbol for symbol, n in counted.items() if n > 1 and symbol]
    if not lines or blank or twice:
        field, expected = f"line {blank[0]}" if blank else "symbol", "genes.tsv, or one symbol a line, each once"
        found = "nothing" if blank or not lines else f"{twice[0]} more than once"
        remedy = "give the genes in the order of the embedding table, one row each"
        raise InputError(file=path, field=field, expected=expected, found=found, remedy=remedy)
    return Vocabulary(pd.DataFrame({"symbol": symbols, "hgnc_id": "", "ensembl": "", "entrez": ""}))


def write(vocabulary: Vocabulary, path: Path | str) -> None:
    """Write `genes.tsv`."""
    with writing(path) as part:
        vocabulary.genes.reset_index(drop=True).to_csv(part, sep="\t", index=True, index_label="index")
