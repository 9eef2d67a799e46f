"""Files with every mess of docs/bad-input.md at once: read right or refused, never in silence wrong, never a traceback.

`CELLLM_FUZZ=10000 python -m pytest tests/sources/test_fuzz.py` generates so many of each form.
"""

from __future__ import annotations

import gzip
import os
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from celllm.base.errors import CellLMError
from celllm.config.tables import Dataset
from celllm.harmonise.align import Aligner
from celllm.harmonise.symbols import SymbolIndex
from celllm.harmonise.vocabulary import of_locus_group
from celllm.sources import hgnc, raw
from celllm.sources.readers.registry import read_raw

ROOT = Path(__file__).resolve().parents[2]
N_EXAMPLES = int(os.environ.get("CELLLM_FUZZ", "30"))
CODING = "protein-coding gene"
SPELLINGS = ("{s}", " {s}", "{s} ", "GRCh38_{s}", "hg19-{s}", "{i}", "{i}.12", "{s}_{i}", "{s}_{i}.3", "GRCh38_____{i}")
UNITS = {
    "factor": lambda x: x * 3,
    "CPM": lambda x: np.rint(x / x.sum(axis=1, keepdims=True) * 1e6),
    "CP10K": lambda x: x / x.sum(axis=1, keepdims=True) * 1e4,
    "ln": lambda x: np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4),
    "log2": lambda x: np.log2(1 + x / x.sum(axis=1, keepdims=True) * 1e4),
    "scaled": lambda x: x - x.mean(axis=0),
    "ambient": lambda x: np.maximum(x - 0.137, 0),
    "float rounding": lambda x: x * (1 + 1e-6),
}
"""What may have been done to counts; none of it is to pass for counts."""
MISSING = (None, "NA", "nan", "unknown", " ", "Unassigned")


@dataclass(frozen=True)
class Made:
    """A file, and what it says; one that is sound may not be refused."""

    name: str
    content: bytes | ad.AnnData
    row: Dataset
    counts: dict[str, float]
    is_sound: bool
    labels: tuple[str, ...] = ()


HGNC = hgnc.read(ROOT / "config/demo/hgnc_demo.tsv")
GENES = HGNC[(HGNC["locus_group"] == CODING) & (HGNC["ensembl_gene_id"] != "")].head(300)
INDEX, VOCABULARY = SymbolIndex(HGNC), of_locus_group(HGNC, CODING)
ROW = Dataset("d", "D", "corpus", "h5ad", "counts", False, None, None, "unknown", 1, None, None)


@st.composite
def counted(draw: st.DrawFn) -> tuple[np.ndarray, list[str], list[str], dict[str, float]]:
    """Cells x names, names of genes as some source spells them, names of cells, and the counts of each gene."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_cells, n_genes = draw(st.integers(6, 10)), draw(st.integers(14, 20))
    chosen = GENES.iloc[generator.choice(len(GENES), n_genes, replace=False)]
    spelling = st.sampled_from(SPELLINGS)
    spellings = [draw(spelling)] * n_genes if draw(st.booleans()) else [draw(spelling) for _ in range(n_genes)]
    symbols, ids = list(chosen["symbol"]), list(chosen["ensembl_gene_id"])
    names = [text.format(s=s, i=i) for text, s, i in zip(spellings, symbols, ids, strict=True)]
    if draw(st.booleans()):  # a name twice, made unique
        suffix = draw(st.sampled_from(["-1", ".1", ""]))
        names, symbols = [symbols[0], symbols[0] + suffix, *names[1:]], [symbols[0], *symbols]
    counts = generator.poisson(generator.uniform(0.5, 3, (n_cells, 1)), (n_cells, len(names))).astype(np.float64)
    counts[:, 0] += 1
    forms = {"barcode": "ACGTACGTAC{:04d}-1", "plain": "c{}", "number": "{}", "sample": "s1_AAAC{:03d}"}
    form = forms[draw(st.sampled_from(sorted(forms)))]
    totals: dict[str, float] = {}
    for symbol, total in zip(symbols, counts.sum(axis=0), strict=True):
        totals[symbol] = totals.get(symbol, 0.0) + float(total)
    return counts, names, [form.format(i) for i in range(n_cells)], totals


@st.composite
def tables_of_text(draw: st.DrawFn) -> Made:
    """Genes x cells as text, as some program writes them, perhaps with one thing wrong."""
    counts, names, cells, totals = draw(counted())
    kind = draw(st.sampled_from([""] * 16 + [*UNITS, *BROKEN]))
    matrix = UNITS[kind](counts).T if kind in UNITS else counts.T
    separator = draw(st.sampled_from([",", "\t", ";", "|", " "]))
    is_quoted = draw(st.booleans()) or separator == " "
    decimal = "," if separator in ";\t" and draw(st.booleans()) else "."
    form = draw(st.sampled_from(["{:g}", "{:.1f}"])) if kind not in UNITS else "{:.7g}"
    corner = draw(st.sampled_from([None, "", "gene", "GENE", "Geneid"]))
    numbers = [[form.format(value).replace(".", decimal) for value in line] for line in matrix.tolist()]
    header, rows = [corner, *cells], [[name, *line] for name, line in zip(names, numbers, strict=True)]
    if kind in BROKEN:
        header, rows = BROKEN[kind](header, rows)
    quote = '"{}"'.format if is_quoted else str
    lines = [separator.join([quote(header[0])] * (header[0] is not None) + [quote(name) for name in header[1:]])]
    lines += [separator.join([quote(row[0]), *row[1:]]) for row in rows]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join([*draw(st.sampled_from([[], ["# made by X"]])), *lines]) + draw(st.sampled_from([end, ""]))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    others = [b"", b"\n", b"<!DOCTYPE html><html>404</html>", b"version https://git-lfs.github.com/spec/v1\n"]
    others += [text.encode("utf-16"), b"K\xf6ln" + content, b"PK\x03\x04" + content, os.urandom(64)]
    is_spoilt = draw(st.integers(0, 9)) == 0
    content = draw(st.sampled_from(others)) if is_spoilt else content
    name = draw(st.sampled_from(["a.csv", "a.tsv", "a.txt"]))
    if draw(st.booleans()):
        name, content = f"{name}.gz", gzip.compress(content)
        is_cut = draw(st.integers(0, 9)) == 0
        content = content[: len(content) * draw(st.integers(1, 9)) // 10] if is_cut else content
        is_spoilt |= is_cut
    row = replace(ROW, reader="genes_by_cells")
    return Made(name, content, row, totals, is_sound=not kind and not is_spoilt)


def with_column(name, values):
    """Put a column of one's own behind the first."""
    return lambda header, rows: (
        [header[0] or "", name, *header[1:]],
        [[row[0], value, *row[1:]] for row, value in zip(rows, values(rows), strict=True)],
    )


def sums(rows):
    """Add up each row, where all of it are numbers."""
    return [f"{sum(float(value.replace(',', '.')) for value in row[1:]):g}" for row in rows]


def transposed(header, rows):
    """Turn rows into columns."""
    turned = [list(line) for line in zip(*(row[1:] for row in rows), strict=True)]
    return ["", *(row[0] for row in rows)], [[name, *line] for name, line in zip(header[1:], turned, strict=True)]


BROKEN = {
    "length": with_column("Length", lambda rows: ["1500"] * len(rows)),
    "description": with_column("description", lambda rows: ["a gene"] * len(rows)),
    "sum": with_column("everything", sums),
    "no header": lambda header, rows: (rows[0], rows[1:]),
    "transposed": transposed,
    "missing number": lambda header, rows: (header, [[*rows[0][:-1], "NA"], *rows[1:]]),
    "empty field": lambda header, rows: (header, [[*rows[0][:-1], ""], *rows[1:]]),
    "short row": lambda header, rows: (header, [rows[0], rows[1][:-1], *rows[2:]]),
    "long row": lambda header, rows: (header, [rows[0], [*rows[1], "7"], *rows[2:]]),
    "negative": lambda header, rows: (header, [[*rows[0][:-1], "-4"], *rows[1:]]),
    "huge": lambda header, rows: (header, [[*rows[0][:-1], "99999999999"], *rows[1:]]),
}


@st.composite
def h5ads(draw: st.DrawFn) -> Made:
    """An AnnData file whose matrix, names and labels are as some program leaves them."""
    counts, names, cells, totals = draw(counted())
    kind = draw(st.sampled_from([""] * 8 + [*UNITS]))
    matrix = (UNITS[kind](counts) if kind else counts).astype(draw(st.sampled_from(["f4", "f8"])))
    form = draw(st.sampled_from([sparse.csr_matrix, sparse.csc_matrix, np.asarray]))
    columns = {"n_counts": matrix.sum(axis=0), "highly_variable": True}
    index = names
    if draw(st.booleans()):
        column = draw(st.sampled_from(["features", "gene_symbols", "Symbol", "feature_name"]))
        columns, index = columns | {column: names}, [str(number) for number in range(len(names))]
    label = [draw(st.sampled_from(["T", "B", *MISSING])) for _ in cells]
    kinds = {"text": list, "category": pd.Categorical, "string": lambda values: pd.array(values, dtype="string")}
    column = kinds[draw(st.sampled_from(sorted(kinds)))](label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = ad.AnnData(
            form(matrix), pd.DataFrame({"label": column}, index=cells), pd.DataFrame(columns, index=index)
        )
        place = draw(st.sampled_from(["X", "raw", "layers:counts"]))
        if place == "raw":
            made.raw = made.copy()
        elif place != "X":
            made.layers["counts"] = made.X.copy()
        if place != "X":
            made.X = form(np.log1p(matrix - matrix.min()))
    row = replace(ROW, matrix=place, label_column="label")
    labels = tuple("" if text in MISSING else str(text) for text in label)
    return Made("a.h5ad", made, row, totals, is_sound=not kind, labels=labels)


def outcome(made: Made, folder: Path) -> str:
    """Read a file as a user's row would: right, refused, or what went wrong."""
    path = folder / made.name
    if isinstance(made.content, bytes):
        path.write_bytes(made.content)
    else:
        with warnings.catch_warnings(), ad.settings.override(allow_write_nullable_strings=True):
            warnings.simplefilter("ignore")
            made.content.write_h5ad(path)
    try:
        raw.write("d", [raw.describe(path)], folder / "manifest.json")
        aligner = Aligner(made.row, index=INDEX, vocabulary=VOCABULARY)
        pieces = [aligner.add(piece) for piece in read_raw(raw.read(folder / "manifest.json"), made.row)]
        aligner.report(threshold=0.8)
    except CellLMError as error:
        return f"sound, but refused: {error}" if made.is_sound else "refused"
    except Exception as error:  # noqa: BLE001 - of any kind: that is what is looked for
        return f"foreign {type(error).__name__}: {error}"
    found = sum(np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel() for matrix, _ in pieces)
    totals = {symbol: total for symbol, total in zip(VOCABULARY.symbols, found, strict=True) if total}
    labels = tuple(label for _, obs in pieces for label in obs["label"])
    if totals != {symbol: total for symbol, total in made.counts.items() if total}:
        return f"wrong counts {totals}, not {made.counts}"
    return "right" if labels == made.labels or not made.labels else f"wrong labels {labels}, not {made.labels}"


@pytest.mark.parametrize("files", [tables_of_text(), h5ads()], ids=["text", "h5ad"])
def test_a_messy_file_is_read_right_or_refused(files, tmp_path_factory):
    seen: Counter[str] = Counter()

    @settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(files)
    def check(made: Made) -> None:
        found = outcome(made, tmp_path_factory.mktemp("messy"))
        seen[found] += 1
        assert found in {"right", "refused"}

    check()
    assert min(seen["right"], seen["refused"]) > 0
