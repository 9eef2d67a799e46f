"""What `look` says of files: format, orientation, names, units with their evidence, and which part holds counts."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources import commands
from celllm.sources.look import look
from celllm.sources.raw import RawFile
from celllm.sources.readers import loom

GENES = ["CD3E", "RPL5", "MT-CO1", "GAPDH", "LYZ", "KRT18", "COL1A1", "TP53"]
CELLS = [f"{letters}ACGTACGT-1" for letters in ("AA", "AC", "AG", "AT", "CA", "CC", "CG", "CT", "GA", "GC")]
COUNTS = np.random.default_rng(0).poisson(2.0, (10, 8)) + np.eye(10, 8, dtype=int) * 7
CP10K = COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4
VALUES = {
    "counts": (COUNTS, "values counts: "),
    "normalised": (CP10K, "normalised"),
    "logarithms": (np.log1p(CP10K), "ln(x+1)"),
    "scaled": (CP10K - CP10K.mean(axis=0), "scaled"),
}


@pytest.mark.parametrize("rows", ["genes", "cells"])
@pytest.mark.parametrize(
    ("separator", "kind"), [("\t", "counts"), (",", "normalised"), (";", "logarithms"), (" ", "scaled")]
)
def test_a_table_shows_separator_orientation_and_units(tmp_path, rows, separator, kind):
    values, units = VALUES[kind]
    table = pd.DataFrame(values, CELLS, GENES)
    (table.T if rows == "genes" else table).to_csv(tmp_path / "a.txt", sep=separator)
    page = look(tmp_path / "a.txt")
    assert "10 cells x 8 genes" in page
    assert ("rows are cells" in page) == (rows == "cells")
    assert units in page
    assert ("counts: (whole table)" in page) == (units == VALUES["counts"][1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("g;AA;CC\nCD3E;1,5;2\nRPL5;2,5;0\n", "decimal commas"),
        ("g\tLength\tAA\tCC\tGG\nCD3E\t1500\t1\t2\t3\n", "columns of numbers that are no cells: Length"),
        ("CD3E\t1\t2\t3\t4\nRPL5\t1\t2\t3\t4\n", "no header: the first line holds numbers"),
        ('"AA"\t"CC"\t"GG"\t"TT"\n"CD3E"\t1\t2\t3\t4\n', "one field short, as R writes it"),
        ("# made by featureCounts\ng\tAA\tCC\tGG\tTT\nCD3E\t1\t2\t3\t4\n", "1 lines of comments"),
    ],
    ids=["decimal comma", "length", "no header", "R", "comments"],
)
def test_a_table_shows_its_mess(tmp_path, content, said):
    (tmp_path / "a.txt").write_text(content)
    assert said in look(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>404", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "LFS"),
        (b'{"message": "rate limit"}', "JSON"),
        (b"\x89HDF\r\n\x1a\n cut off", "a whole HDF5 file"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x00\x01\x02\x03", "binary"),
    ],
    ids=["empty", "page", "pointer", "message", "cut", "pickle", "binary"],
)
def test_what_is_no_data_is_refused_by_its_kind(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"(?i){said}"):
        look(tmp_path / "a.csv")


def test_an_h5ad_shows_which_of_its_matrices_holds_counts(tmp_path):
    cells = ad.AnnData(
        sparse.csr_matrix(np.log1p(CP10K)), pd.DataFrame({"type": "T"}, CELLS), pd.DataFrame(index=GENES)
    )
    cells.layers["raw counts"] = sparse.csr_matrix(COUNTS)
    cells.write_h5ad(tmp_path / "a.h5ad")
    page = look(tmp_path / "a.h5ad")
    assert "counts: layers:raw counts\n" in page
    assert "reader h5ad, units counts, matrix layers:raw counts" in page
    assert "obs:type  1 values: T" in page
    cells.T.copy().write_h5ad(tmp_path / "a.h5ad")
    assert "genes in obs: transpose it" in look(tmp_path / "a.h5ad")


def write_loom(path):
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T.astype("f4")
        file["row_attrs/Gene"] = GENES
        file["row_attrs/Accession"] = [f"ENSG{n:011d}" for n in range(8)]
        file["col_attrs/CellID"] = CELLS
        file["col_attrs/Cluster"] = np.arange(10)
        file.create_group("layers")
    return path


def test_loom_is_read_with_ids_beside_symbols(tmp_path, monkeypatch):
    monkeypatch.setattr(loom, "AT_ONCE", 24)
    path = write_loom(tmp_path / "a.loom")
    pieces = list(loom.read_one(RawFile("a.loom", path, 0, "")))
    assert [len(piece.obs) for piece in pieces] == [3, 3, 3, 1]
    assert np.vstack([piece.matrix.toarray() for piece in pieces]).tolist() == COUNTS.tolist()
    assert pieces[0].names[0] == "CD3E_ENSG00000000000"
    assert list(pieces[1].obs["Cluster"]) == ["3", "4", "5"]
    assert "counts: matrix" in look(path)


def test_the_command_prints_a_page_a_file_and_an_archive_shows_its_members(root, capsys):
    folder = root / "tests/fixtures"
    commands.look(folder / "simulated_CCLE_expression.csv", folder / "simulated_tenx_v4.tar")
    said = capsys.readouterr().out
    for words in ("simulated_CCLE_expression.csv: a comma-separated table", "sample/matrix.mtx.gz    matrix.mtx"):
        assert words in said
    assert "counts: matrix.mtx\n" in said
