"""Text tables of published cells: CancerSCEM, Drop-seq, csv, GEO archives, TPM with labels, DepMap."""

import dataclasses
import gzip
import io
import itertools
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources import raw
from celllm.sources.readers import text
from celllm.sources.readers.cells import annotate
from celllm.sources.readers.prepare import Labels
from celllm.sources.readers.registry import read_raw
from celllm.sources.readers.text import TextTable, genes_by_cells

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def gz(path, content):
    path.write_bytes(gzip.compress(content if isinstance(content, bytes) else content.encode()))
    return path


def test_cancerscem_gives_cells_by_genes_though_its_header_is_one_field_short(rows, read):
    path = FIXTURES / "simulated.counts.matrix.tsv.gz"
    (cells,) = read(rows.row("cancerscem"), path, samples=["AML-029-27-1E"])
    assert cells.matrix.toarray().tolist() == [[1, 0, 7, 1], [0, 0, 0, 0], [2, 3, 0, 2], [0, 0, 120, 0], [5, 0, 0, 5]]
    assert cells.matrix.dtype == np.int32
    assert cells.names == ["A1BG", "CD3E", "MT-CO1", "A1BG"]
    assert list(cells.obs.index) == ["AAACCTGAGCATCATC", "AAACCTGAGCTAACTC", "AAACCTGAGGGATGGG", "CCC", "GGG"]
    assert cells.sample == "AML-029-27-1E"


def test_csv_and_dge_of_genes_by_cells_give_cells_by_genes(rows, read):
    (cells,) = read(rows.row("cancerscem"), FIXTURES / "simulated_genes_by_cells.csv.gz")
    assert cells.names == ["A1BG", "CD3E", "MT-CO1", "NA"]
    assert cells.matrix.toarray()[2].tolist() == [2, 3, 0, 1]
    (cells,) = read(rows.row("gse149383"), FIXTURES / "simulated.dge.txt.gz", samples=["day0"])
    assert cells.matrix.toarray().tolist() == [[1, 0, 7, 4], [0, 0, 0, 0], [2, 3, 0, 0], [0, 1, 120, 9]]
    assert annotate(cells, rows.row("gse149383"))["label"].tolist() == ["sensitive"] * 4


def test_tpm_get_the_labels_and_patients_of_their_cells(rows, tmp_path):
    row = rows.row("gse117872")
    tpm, info = (raw.describe(FIXTURES / f"simulated_good_Data_{part}.txt.gz") for part in ("TPM", "cellinfo"))
    files = (tpm, dataclasses.replace(info, use="labels", part="groups"))
    (cells,) = read_raw(raw.RawManifest("gse117872", files, tmp_path), row)
    assert cells.matrix.toarray().tolist() == [[0, 12.5, 999987.5], [250000, 0, 750000], [1e6, 0, 0]]
    made = annotate(cells, row)
    assert made["donor"].tolist() == ["HN120", "HN120", "HN137"]
    assert made["label"].tolist() == ["sensitive", "resistant", ""]


def test_depmap_gives_lines_by_genes_with_the_logarithm_undone(rows, read):
    path = FIXTURES / "simulated_CCLE_expression.csv"
    (cells,) = read(rows.row("ccle_22q1"), path)
    assert cells.names == ["TSPAN6 (7105)", "TNMD (64102)", "DPM1 (8813)"]
    assert list(cells.obs.index) == ["ACH-001113", "ACH-001289"]
    assert cells.matrix.toarray()[0] == pytest.approx([2**4.33 - 1, 0, 2**7.36 - 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", r"\(whole file\)\n.*a header and at least one row\n.*an empty file", id="empty"),
        pytest.param("GENE\tc1\tc2\n", "a header and no row", id="header-only"),
        pytest.param("GENE\tc1\tc2\nA\t1\t2\nB\t3\n", r"line 3, column c2\n.*a number\n.*too few fields", id="short"),
        pytest.param("GENE\tc1\tc2\nA\t1\t2\nB\t3\t4\t5\n", r"line 3\n.*3 fields\n.*4 fields", id="long"),
        pytest.param("GENE\tc1\tc2\nA\t1\t2\n\nB\t3\t4\n", r"line 3, column c1\n.*a number", id="blank-line"),
        pytest.param("GENE\tc1\tc2\nA\t1\tNA\n", r"line 2, column c2\n.*a number\n.*'NA'", id="NA"),
        pytest.param("GENE\tc1\tc2\nA\t1\tx\n", r"line 2, column c2\n.*a number\n.*'x'\n.*label_column", id="text"),
        pytest.param("GENE\tc1\tc2\nA\t1\tinf\n", "1 of 2 values not a finite number", id="infinity"),
        pytest.param("GENE\tc1\tc2\nA\t1\tTrue\n", r"line 2, column c2\n.*a number\n.*'True'", id="boolean"),
        pytest.param("c1\nA\t1\t2\n", r"line 1\n.*names of the 3.*\n.*1 names", id="header"),
        pytest.param("A\t5\t0\t0\nB\t1\t2\t3\n", r"line 1\n.*of cells\n.*line of names is missing", id="no-header"),
        pytest.param("GENE\tLength\tc1\nA\t900\t1\n", r"line 1\n(?s:.*)Length: of genes, as feature", id="length"),
        pytest.param("# x\nId\tChr\tStart\tc1\nA\t1\t9\t1\n", r"line 2\n(?s:.*)Chr, Start: of genes", id="counts"),
        pytest.param("<!DOCTYPE html>\n<html><body>404</body></html>\n", "a page of HTML or XML", id="page"),
        pytest.param("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS", id="lfs"),
        pytest.param("GENE\tc1\nA\t1\n".encode("utf-16"), "UTF-16, which Excel calls Unicode", id="utf-16"),
        pytest.param("GENE\tc1\nA\t1.5\n", "log-normalised: max 1.5", id="fraction"),
        pytest.param("GENE\tc1\nA\t-1\n", "negative value -1", id="negative"),
        pytest.param("GENE\tc1\nA\t3000000000\n", "a count of 3000000000, beyond the largest", id="32-bits"),
        pytest.param("GENE\tc1\nA\t9223372036854775808\n", "a count of 9223372036854775808", id="64-bits"),
        pytest.param("GENE\tc1\nA\t99999999999999999999999\n", "beyond the largest that 32 bits hold", id="beyond"),
        pytest.param(b"GENE\tc1\nK\xf6ln\t1\n", "not UTF-8, perhaps Latin-1 .*0xf6", id="not-utf8"),
    ],
)
def test_a_table_that_is_not_of_its_format_is_refused_by_line(rows, tmp_path, content, message, read):
    path = gz(tmp_path / "a.dge.txt.gz", content)
    with pytest.raises(InputError, match=rf"a\.dge\.txt\.gz: (?s:.*){message}"):
        read(rows.row("gse149383"), path)


def test_an_error_far_down_is_named_by_its_line(rows, tmp_path, monkeypatch, read):
    monkeypatch.setattr(text, "AT_ONCE", 30)
    lines = [f"G{i}\t{i}\t{i}" for i in range(100)]
    for spoilt, message in (("G77\t1\tx", "line 79, column c2"), ("G77\t1\t2\t3", r"line 79\n.*3 fields")):
        content = "\n".join(["GENE\tc1\tc2", *lines[:77], spoilt, *lines[78:]]) + "\n"
        with pytest.raises(InputError, match=message):
            read(rows.row("gse149383"), gz(tmp_path / "a.dge.txt.gz", content))


@settings(deadline=None, max_examples=20)
@given(
    matrix=st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=1, max_size=9)
    ),
    at_once=st.integers(1, 40),
    corner=st.sampled_from(["GENE\t", '""\t', ""]),
)
def test_a_table_read_in_pieces_equals_the_whole(matrix, at_once, corner):
    header = corner + "\t".join(f"c{i}" for i in range(len(matrix[0])))
    body = "\n".join("\t".join([f"G{i}", *map(str, row)]) for i, row in enumerate(matrix))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "AT_ONCE", at_once)
        table = TextTable(io.BytesIO(f"{header}\n{body}\n".encode()), "a", separator="\t")
        found, names, cells = genes_by_cells(table)
    assert found.T.toarray().tolist() == matrix
    assert names == [f"G{i}" for i in range(len(matrix))]
    assert cells == [f"c{i}" for i in range(len(matrix[0]))]


@pytest.mark.parametrize(("labelled", "cells"), [("AA CC", "AA-1 CC-1"), ("AA-1 CC-1", "AA CC")])
def test_suffixes_of_barcodes_are_overlooked_only_where_all_join_then(tmp_path, labelled, cells):
    cells = cells.split()
    (tmp_path / "l.tsv").write_text("cell\tcelltype\n" + "".join(f"{name}\t{name[0]}\n" for name in labelled.split()))

    def joined(index):
        labels = Labels.read(raw.describe(tmp_path / "l.tsv"))
        made = labels.beside(pd.DataFrame(index=index), cells=Path("m"))
        labels.check_all_met()
        return list(made["celltype"])

    assert joined(cells) == ["A", "C"]
    for index in ([cells[0], "GG-1"], ["AA-1", "AA-2"], cells[:1]):
        with pytest.raises(InputError, match="cell names"):
            joined(index)


def test_a_cell_that_is_labelled_twice_is_named(tmp_path):
    (tmp_path / "l.tsv").write_text("barcodes\tcelltype\nAA\tx\nAA\ty\n")
    with pytest.raises(InputError, match="AA more than once"):
        Labels.read(raw.describe(tmp_path / "l.tsv"))
    with pytest.raises(InputError, match=r"no cell among barcodes, celltype"):
        Labels.read(dataclasses.replace(raw.describe(tmp_path / "l.tsv"), part="cell"))


def test_the_first_genes_of_a_published_dge_table_equal_its_h5ad_twin(rows, mirror, tmp_path, read):
    with gzip.open(mirror / "raw_format/GSM4494348_PC9_Day11_control.dge.txt.gz") as file:
        path = gz(tmp_path / "a.dge.txt.gz", b"".join(itertools.islice(file, 101)))
    found = read(rows.row("gse149383"), path, samples=["day0"])
    assert [cells.matrix.shape for cells in found] == [(2048, 100), (2048, 100), (1904, 100)]
    assert found[0].names[:3] == ["A2M-AS1", "A2ML1", "A4GALT"]
    twin = ad.read_h5ad(mirror / "drug_pc9_erlotinib_gse149383.h5ad")
    twin = twin[twin.obs["sample"] == "Day11_control"]
    genes = [gene for gene in found[0].names if gene in twin.var_names]
    cells = pd.concat([cells.obs for cells in found]).index.get_indexer(twin.obs_names.str.removeprefix("d11ctrl_"))
    matrix = sparse.vstack([cells.matrix for cells in found], format="csr")[cells]
    assert len(genes) > 80
    assert (matrix[:, [found[0].names.index(gene) for gene in genes]] != twin[:, genes].X).nnz == 0


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('"";"c1";"c2"\n"A";1,0;2,5\n"B";0;4\n', id="semicolons and decimal commas"),
        pytest.param('"c1" "c2"\n"A" 1 2.5\n"B" 0 4\n', id="R's write.table"),
        pytest.param("\ufeffgene\tc1\tc2\r\nA\t1\t2.5\r\nB\t0\t4\r\n", id="byte order mark"),
        pytest.param("#made by X\n#\ngene|c1|c2\nA|1|2.5\nB|0|4\n", id="bars and remarks"),
    ],
)
def test_a_table_of_any_separator_is_read(rows, tmp_path, content, read):
    (tmp_path / "a.csv").write_text(content)
    (cells,) = read(dataclasses.replace(rows.row("cancerscem"), units="expected_counts"), tmp_path / "a.csv")
    assert cells.matrix.toarray().tolist() == [[1, 0], [2.5, 4]]
    assert (cells.names, list(cells.obs.index)) == (["A", "B"], ["c1", "c2"])


def test_depmaps_texts_before_the_genes_are_no_genes_and_a_line_is_its_default_profile(rows, tmp_path, read):
    header = ",SequencingID,ModelID,IsDefaultEntryForModel,TP53 (7157),ACTB (60)"
    lines = "0,CDS-1,ACH-1,Yes,1.0,2.0\n1,CDS-2,ACH-1,No,9.0,9.0\n2,CDS-3,ACH-2,Yes,0.0,3.0\n"
    (tmp_path / "CCLE_expression.csv").write_text(f"{header}\n{lines}")
    (cells,) = read(rows.row("ccle_22q1"), tmp_path / "CCLE_expression.csv")
    assert cells.names == ["TP53 (7157)", "ACTB (60)"]
    assert list(cells.obs.index) == ["ACH-1", "ACH-2"]
    assert cells.matrix.toarray().tolist() == pytest.approx(np.array([[1, 3], [0, 7]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(all=table.sum(axis=1)), "column all\n(?s:.*)the sum of all other columns"),
        (lambda table: pd.concat([table, table.sum().to_frame("All").T]), "row All\n(?s:.*)the sum of all other rows"),
        (lambda table: table.assign(no=range(1, 13)), "column no\n(?s:.*)numbers from 1 on"),
        (lambda table: table.reset_index(names="k"), "column k\n(?s:.*)expected: +a number"),
    ],
)
def test_a_column_or_row_that_is_no_cell_and_no_gene_is_refused(rows, tmp_path, change, message, read):
    counts = np.random.default_rng(0).poisson(3.0, (12, 5))
    table = change(pd.DataFrame(counts, index=[f"G{i}" for i in range(12)], columns=list("abcde")))
    table.to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match=message):
        read(rows.row("cancerscem"), tmp_path / "a.csv")
