"""Cell Ranger's matrices, as text and as HDF5."""

import dataclasses
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources import raw
from celllm.sources.readers import tenx
from celllm.sources.readers.cells import RawCells, annotate
from celllm.sources.readers.prepare import HumanGenes

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
V1 = FIXTURES / "simulated_tenx_v1.tar.gz"
LABELS = FIXTURES / "simulated_barcodes_annotation.tsv"
COUNTS = [[1, 0, 7], [0, 0, 0], [2, 3, 0], [0, 1, 120]]
NAMES = ["A1BG_ENSG00000121410", "CD3E_ENSG00000198851", "MT-CO1_ENSG00000198804"]
BARCODES = ["AAACATACACCACT-1", "AAACATACACCCAA-1", "AAACATACACTTCT-1", "AAACATACAGACTC-1"]
PARTS = {
    "matrix.mtx": "%%MatrixMarket matrix coordinate integer general\n%\n2 3 2\n1 1 5\n2 3 4\n",
    "genes.tsv": "ENSG00000000001\tA\nENSG00000000002\tB\n",
    "barcodes.tsv": "AA-1\nCC-1\nGG-1\n",
}


@pytest.fixture
def row(rows):
    return rows.row("zheng68k")


def parts(folder, prefix="", **changed):
    """Write the three parts, some of them changed or, None, left out; give their paths."""
    contents = PARTS | {name.replace("_", "."): content for name, content in changed.items()}
    paths = []
    for name, content in contents.items():
        if content is not None:
            paths.append(folder / f"{prefix}{name}")
            paths[-1].write_text(content)
    return paths


@pytest.mark.parametrize("name", ["tenx_v1.tar.gz", "tenx_v4.tar", "tenx_v2.h5", "tenx_v3.h5"])
def test_an_archive_or_hdf5_gives_cells_by_genes_and_no_antibodies(row, name, read):
    reader = "tenx_h5" if name.endswith(".h5") else "tenx_mtx"
    (cells,) = read(dataclasses.replace(row, reader=reader), FIXTURES / f"simulated_{name}")
    assert cells.matrix.toarray().tolist() == COUNTS
    assert cells.matrix.dtype == np.int32
    assert cells.names == NAMES
    assert list(cells.obs.index) == BARCODES
    assert cells.left_out == ({"Antibody Capture": 1} if name in {"tenx_v4.tar", "tenx_v3.h5"} else {})


def as_h5(folder):
    """Write PARTS' matrix with genes of two genomes and an antibody, as Cell Ranger 3 and later."""
    with h5py.File(folder / "barnyard.h5", "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"] = [9, 1, 7, 4, 5], [0, 1, 2, 1, 0]
        group["indptr"], group["shape"], group["barcodes"] = [0, 3, 4, 5], [3, 3], [b"AA-1", b"CC-1", b"GG-1"]
        ids = [b"GRCh38_ENSG00000000001", b"mm10___ENSMUSG00000000002", b"ab"]
        names = [b"GRCh38_A", b"mm10___A", b"CD3"]
        types = [b"Gene Expression", b"Gene Expression", b"Antibody Capture"]
        for name, values in {"id": ids, "name": names, "feature_type": types, "genome": names}.items():
            group[f"features/{name}"] = values
    return [folder / "barnyard.h5"]


def as_mtx(folder):
    features = (
        "GRCh38_ENSG00000000001\tGRCh38_A\tGene Expression\nmm10___ENSMUSG00000000002\tmm10___A\tGene Expression\n"
    )
    text = "%%MatrixMarket matrix coordinate integer general\n3 3 5\n1 1 9\n2 1 1\n3 1 7\n2 2 4\n1 3 5\n"
    return parts(folder, matrix_mtx=text, genes_tsv=f"{features}ab\tCD3\tAntibody Capture\n")


def test_a_human_gene_is_of_no_other_species():
    names = ["RN5-8S1", "MM-1", "DM1-AS", "CD3E_ENSG00000198851.9", "ENSG00000198851"]
    cells = RawCells(sparse.csr_matrix(np.eye(5)), names, pd.DataFrame(index=list("abcde")), Path("a"))
    assert HumanGenes().of(cells) is cells


@pytest.mark.parametrize("write", [as_h5, as_mtx])
def test_of_two_species_the_human_genes_are_read_and_each_cells_share_is_said(row, tmp_path, write, read):
    reader = "tenx_h5" if write is as_h5 else "tenx_mtx"
    (cells,) = read(dataclasses.replace(row, reader=reader), *write(tmp_path))
    assert cells.matrix.toarray().tolist() == [[9], [0], [5]]
    assert cells.names == ["GRCh38_A_ENSG00000000001"]
    assert cells.left_out == {"Antibody Capture": 1, "genes of other species": 1}
    assert list(cells.obs["other_species"]) == pytest.approx([0.1, 1, 0])
    assert list(cells.obs["species"]) == ["human", "other", "human"]
    kept = dataclasses.replace(row, reader=reader, keep={"species": ["human"]})
    assert read(kept, *write(tmp_path))[0].matrix.toarray().tolist() == [[9], [5]]


@pytest.mark.parametrize("piece", [1, 3, 5])
def test_hdf5_in_pieces_equals_the_whole(piece):
    found = list(tenx.read_h5(raw.describe(FIXTURES / "simulated_tenx_v3.h5"), piece=piece))
    assert np.vstack([cells.matrix.toarray() for cells in found]).tolist() == COUNTS
    assert [name for cells in found for name in cells.obs.index] == BARCODES
    assert max(cells.matrix.shape[0] for cells in found) <= piece


def test_labels_are_joined_by_barcode_and_not_by_order(row, read):
    (cells,) = read(row, V1, LABELS, use="labels", part="barcodes")
    labels = annotate(cells, row)["label"]
    assert labels.tolist() == ["CD8+ Cytotoxic T", "CD19+ B", "CD56+ NK", "CD14+ Monocyte"]
    with pytest.raises(InputError, match=r"of labels, the word labels in the column use"):
        read(row, V1, LABELS)


def mtx(text=None, *, general="general", integer="integer", sizes="2 3 2", last="2 3 4"):
    text = text or f"%%MatrixMarket matrix coordinate {integer} {general}\n%\n{sizes}\n1 1 5\n{last}\n"
    return {"matrix_mtx": text}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(mtx(PARTS["matrix.mtx"][:-6]), "as its sizes say(?s:.*)Truncated file", id="cut"),
        pytest.param(mtx("3 3 2\n"), r"line 1\n.*MatrixMarket", id="no-banner"),
        pytest.param(mtx(general="symmetric"), r"line 1\n", id="symmetric"),
        pytest.param(mtx(integer="pattern"), r"line 1\n", id="pattern"),
        pytest.param(mtx(last="2 3"), "Line 5: Invalid", id="short-line"),
        pytest.param(mtx(sizes="2 3"), "Invalid integer value", id="sizes"),
        pytest.param(mtx(last="3 3 4"), "Line 5: Row index out of bounds", id="index"),
        pytest.param(mtx(last="0 3 4"), "Line 5: Row index out of bounds", id="from-0"),
        pytest.param(mtx(last="2 x 4"), "lines of gene, cell and value", id="text"),
        pytest.param(mtx(last="2 3 3000000000"), "a count of 3000000000", id="int64"),
        pytest.param(mtx(last="2 3 nan"), "NaN or infinite", id="nan"),
        pytest.param(mtx(last="2 3 -4"), "negative value -4", id="negative"),
        pytest.param(mtx(last="2 3 4.5"), "fractional values", id="decimal"),
        pytest.param(mtx(last="2 3 4\n1 2 7"), "Too many lines", id="longer"),
        pytest.param({"matrix_mtx": ""}, r"line 1\n", id="empty"),
        pytest.param({"genes_tsv": "ENSG1\tA\n"}, r"1 genes x 3 barcodes(?s:.*)found: +2 x 3", id="genes"),
        pytest.param({"barcodes_tsv": "AA-1\n"}, r"2 genes x 1 barcodes(?s:.*)found: +2 x 3", id="barcodes"),
        pytest.param({"genes_tsv": ""}, r"columns\n(?s:.*)an empty file", id="no-genes"),
        pytest.param({"genes_tsv": "a\tb\tc\td\n"}, r"columns\n(?s:.*)a line of 4 columns", id="columns"),
        pytest.param({"genes_tsv": None}, r"members\n(?s:.*)found: +matrix\.mtx, barcodes\.tsv", id="part"),
        pytest.param(
            {"genes_tsv": "a\tA\tAntibody Capture\nb\tB\tAntibody Capture\n"},
            r"(?s)features.*Gene Expression.*Antibody Capture \(2\)",
            id="types",
        ),
    ],
)
def test_parts_that_are_not_of_the_format_are_refused(row, tmp_path, changed, message, read):
    with pytest.raises(InputError, match=message):
        read(row, *parts(tmp_path, **changed))


def test_real_values_stay_what_they_are(tmp_path):
    path = tmp_path / "matrix.mtx"
    path.write_text("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 0.5\n2 1 1e6\n")
    with path.open("rb") as stream:
        assert tenx.read_mtx(stream, path).toarray().tolist() == [[0.5, 1e6], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda file: file.copy(file["matrix"], file, "mm10"), "the groups matrix, mm10", id="two-genomes"),
        pytest.param(lambda file: file.move("matrix/indptr", "matrix/pointers"), "matrix without indptr", id="layout"),
        pytest.param(
            lambda file: file["matrix/shape"].write_direct(np.array([4, 2])), "shape 4 x 2, 4 features, 4", id="sizes"
        ),
        pytest.param(lambda file: file["matrix/indices"].write_direct(np.full(8, 99)), "ValueError", id="index"),
    ],
)
def test_hdf5_of_another_layout_is_refused(row, tmp_path, change, message, read):
    path = Path(shutil.copyfile(FIXTURES / "simulated_tenx_v3.h5", tmp_path / "a.h5"))
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputError, match=rf"a\.h5: \(whole file\)\n(?s:.*){message}"):
        read(dataclasses.replace(row, reader="tenx_h5"), path)


def test_an_unfiltered_published_matrix_keeps_its_empty_barcodes(row, mirror, read):
    found = read(row, mirror / "raw_format/GSM6544281_2001_Pre_10x_mtx.tar.gz")
    n_genes = np.concatenate([cells.matrix.getnnz(axis=1) for cells in found])
    assert len(n_genes) == 83_683
    assert found[0].matrix.shape == (2048, 36_601)
    assert (n_genes == 0).sum() == 14_924
    assert (n_genes >= 200).sum() == 223
    assert found[0].names[0] == "MIR1302-2HG_ENSG00000243485"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="as they are"),
        pytest.param({"barcodes_tsv": "barcode\nAA-1\nCC-1\nGG-1\n"}, id="header"),
        pytest.param({"barcodes_tsv": "1\tAA-1\n2\tCC-1\n3\tGG-1\n"}, id="numbered"),
        pytest.param({"barcodes_tsv": '"x"\n"AA-1"\n"CC-1"\n"GG-1"\n'}, id="R's quotes"),
        pytest.param({"genes_tsv": "gene_id\tgene_name\nENSG00000000001\tA\nENSG00000000002\tB\n"}, id="gene header"),
        pytest.param({"genes_tsv": "ENSG00000000001\tA\tgene expression\nENSG00000000002\tB\tGene\n"}, id="types"),
        pytest.param({"genes_tsv": '"1"\t"ENSG00000000001"\t"A"\n"2"\t"ENSG00000000002"\t"B"\n'}, id="row numbers"),
        pytest.param(
            {"matrix_mtx": "%%MatrixMarket matrix coordinate integer general\n%\n3 2 2\n1 1 5\n3 2 4\n"},
            id="cells x genes",
        ),
    ],
)
def test_what_other_programs_write_is_read_as_cell_rangers(row, tmp_path, changed, read):
    (cells,) = read(row, *parts(tmp_path, **changed))
    assert cells.matrix.toarray().tolist() == [[5, 0], [0, 0], [0, 4]]
    assert cells.names == ["A_ENSG00000000001", "B_ENSG00000000002"]
    assert list(cells.obs.index) == ["AA-1", "CC-1", "GG-1"]


def test_samples_may_share_a_list_of_features(row, tmp_path, read):
    paths = [path for prefix in ("GSM1_", "GSM2_") for path in parts(tmp_path, prefix=prefix)]
    features = next(path for path in paths if path.name == "GSM1_genes.tsv").rename(tmp_path / "GSE1_genes.tsv")
    given = [path for path in paths if not path.name.endswith("genes.tsv")]
    found = read(row, *given, features)
    assert [cells.matrix.sum() for cells in found] == [9, 9]
    assert [cells.file.name for cells in found] == ["GSM1_matrix.mtx", "GSM2_matrix.mtx"]
