"""AnnData files in pieces: X, raw and layers; CSR, CSC and dense; what must be refused."""

import dataclasses
import warnings

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources import raw
from celllm.sources.readers import h5ad
from celllm.sources.readers.cells import annotate

N_CELLS, N_GENES = 7, 5
MATRIX = np.random.default_rng(0).poisson(1.0, (N_CELLS, N_GENES)).astype(np.float32)
MATRIX[2] = 0
CELLS = [f"c{i}" for i in range(N_CELLS)]
GENES = [f"G{i}" for i in range(N_GENES)]
FORMAT = {"encoding-type": "coo_matrix"}
FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


@pytest.fixture
def row(rows):
    return rows.row("simulated_drug_cells")


def cells_of(form="csr"):
    obs = pd.DataFrame(
        {
            "response": pd.Categorical(["r", "s", "r", "r", "s", None, "s"]),
            "sample": list("aabbccd"),
            "depth": np.arange(7.0),
            "flag": [True, False] * 3 + [True],
        },
        index=CELLS,
    )
    return ad.AnnData(FORMS[form](MATRIX), obs, pd.DataFrame(index=GENES))


def written(path, cells, matrix="X"):
    """Put the counts where `matrix` says and other numbers elsewhere."""
    if matrix != "X":
        counts, cells.X = cells.X, cells.X * 0.5
        if matrix == "raw":
            cells.raw = ad.AnnData(counts, var=cells.var)
        else:
            cells.layers[matrix.removeprefix("layers:")] = counts
    cells.write_h5ad(path)
    return path


def test_features_that_are_no_genes_are_left_out_and_counted(row, tmp_path, read):
    cells = cells_of()
    cells.var["feature_types"] = ["Gene Expression", "Antibody Capture", "Gene Expression", "Peaks", "Peaks"]
    (found,) = read(row, written(tmp_path / "a.h5ad", cells))
    assert found.names == ["G0", "G2"]
    assert found.matrix.toarray().tolist() == MATRIX[:, [0, 2]].tolist()
    assert found.left_out == {"Antibody Capture": 1, "Peaks": 2}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("matrix", ["X", "raw", "layers:counts"])
def test_the_matrix_that_the_row_names_is_read(row, tmp_path, form, matrix, read):
    path = written(tmp_path / "a.h5ad", cells_of(form), matrix)
    (cells,) = read(dataclasses.replace(row, matrix=matrix), path)
    assert cells.matrix.toarray().tolist() == MATRIX.tolist()
    assert cells.names == GENES
    assert list(cells.obs.index) == CELLS
    assert annotate(cells, row)["label"].tolist() == ["r", "s", "r", "r", "s", "", "s"]


@pytest.mark.parametrize("matrix", ["raw", "layers:spliced"])
def test_a_matrix_that_is_not_there_is_refused_with_those_that_are(row, tmp_path, matrix, read):
    path = written(tmp_path / "a.h5ad", cells_of(), "layers:counts")
    with pytest.raises(InputError, match=rf"a\.h5ad: {matrix}\n(?s:.*)the matrices X, layers:counts"):
        read(dataclasses.replace(row, matrix=matrix), path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    return {form: raw.describe(written(folder / f"{form}.h5ad", cells_of(form))) for form in FORMS}


@pytest.mark.parametrize(("piece", "form"), [(1, "csr"), (3, "csr"), (3, "csc"), (2, "dense"), (9, "dense")])
def test_pieces_of_any_size_equal_the_whole(files, piece, form):
    found = list(h5ad.read_one(files[form], piece=piece))
    assert max(cells.matrix.shape[0] for cells in found) <= piece
    assert np.vstack([cells.matrix.toarray() for cells in found]).tolist() == MATRIX.tolist()
    whole = ad.read_h5ad(files[form].path).obs
    together = pd.concat([cells.obs.astype(object) for cells in found])
    assert together.index.tolist() == whole.index.tolist()
    for column in whole:
        assert together[column].astype(str).tolist() == whole[column].astype(str).tolist()
    assert all(cells.names is found[0].names for cells in found)


def cut(name, names):
    def change(file):
        del file[name]
        ad.io.write_elem(file, name, pd.DataFrame(index=names[:3]))

    return change


def wild(file):
    file["X/indices"][0] = 99


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        pytest.param("csr", cut("obs", CELLS), "X of 7 x 5, 3 rows of obs, 5 of var", id="obs"),
        pytest.param("csr", cut("var", GENES), "X of 7 x 5, 7 rows of obs, 3 of var", id="var"),
        pytest.param("csr", lambda file: file.pop("obs/depth"), "KeyError", id="torn obs"),
        pytest.param("csr", lambda file: file.pop("var"), "the groups X, layers", id="no-var"),
        pytest.param("csr", lambda file: file["X"].attrs.update(FORMAT), "encoding coo_matrix", id="format"),
        pytest.param("csr", wild, "ValueError", id="index"),
        pytest.param("csc", wild, "ValueError", id="index, csc"),
        pytest.param("csr", None, "OSError", id="cut off"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(row, tmp_path, form, change, message, read):
    path = written(tmp_path / "a.h5ad", cells_of(form))
    if change is None:
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        with h5py.File(path, "a") as file:
            change(file)
    with pytest.raises(InputError, match=rf"a\.h5ad: \(whole file\)\n(?s:.*){message}"):
        read(row, path)


def test_a_file_of_an_old_release_is_read(row, tmp_path, read):
    """AnnData 0.6 stored obs and var as compound arrays and the matrix with `h5sparse` attributes."""
    matrix = sparse.csr_matrix(MATRIX)
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": np.array(matrix.shape)})
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(matrix, part)
        obs = [(name.encode(), "rs".index(label), label) for name, label in zip(CELLS, "rsrrssr", strict=True)]
        file["obs"] = np.array(obs, dtype=[("index", "S5"), ("response", "i1"), ("letter", "S1")])
        file["uns/response_categories"] = ["r", "s"]
        file["var"] = np.array([(name.encode(),) for name in GENES], dtype=[("index", "S5")])
    (cells,) = read(row, tmp_path / "old.h5ad")
    assert cells.matrix.toarray().tolist() == MATRIX.tolist()
    assert list(cells.obs.index) == CELLS
    assert cells.names == GENES
    made = annotate(cells, dataclasses.replace(row, sample_column=None))
    assert made["label"].tolist() == cells.obs["letter"].tolist() == list("rsrrssr")


def test_the_callers_warnings_are_as_before_between_pieces(files):
    before = list(warnings.filters)
    pieces = h5ad.read_one(files["csr"], piece=2)
    next(pieces)
    assert warnings.filters == before
    pieces.close()


IDS = [f"ENSG0000000000{i}" for i in range(N_GENES)]
SYMBOLS = ["CD3D", "LYZ", "NKG7", "MS4A1", "GNLY"]
JOINED = [f"{symbol}_{identifier}" for symbol, identifier in zip(SYMBOLS, IDS, strict=True)]


@pytest.mark.parametrize(
    ("var", "names"),
    [
        pytest.param(pd.DataFrame({"feature_name": SYMBOLS}, index=IDS), JOINED, id="CELLxGENE"),
        pytest.param(pd.DataFrame({"mean": 1.0, "ENSEMBL": IDS}, index=SYMBOLS), JOINED, id="ids by what they are"),
        pytest.param(pd.DataFrame({"features": SYMBOLS}, index=list("25789")), SYMBOLS, id="SeuratDisk"),
        pytest.param(pd.DataFrame(index=list("25789")), list("25789"), id="Entrez"),
        pytest.param(pd.DataFrame({"gene_ids": [*IDS[:4], "x"]}, index=SYMBOLS), [*JOINED[:4], SYMBOLS[4]], id="no id"),
        pytest.param(pd.DataFrame({"gene_ids": [f"GRCh38_{i}" for i in IDS]}, index=SYMBOLS), JOINED, id="genome"),
        pytest.param(
            pd.DataFrame({"gene_name": [*SYMBOLS[:4], None]}, index=IDS), [*JOINED[:4], IDS[4]], id="no symbol"
        ),
    ],
)
def test_genes_are_named_by_the_columns_that_hold_names(row, tmp_path, var, names, read):
    ad.AnnData(sparse.csr_matrix(MATRIX.astype(np.float32)), pd.DataFrame(index=CELLS), var).write_h5ad(
        tmp_path / "a.h5ad"
    )
    assert read(row, tmp_path / "a.h5ad")[0].names == names


def test_wrong_units_are_refused_with_the_matrices_that_would_pass(row, tmp_path, read):
    cells = cells_of()
    cells.layers["counts"] = cells.X.copy()
    cells.raw = cells
    cells.X = sparse.csr_matrix(np.log1p(cells.X.toarray()))
    cells.layers["scaled"] = -cells.X
    path = written(tmp_path / "a.h5ad", cells)
    with pytest.raises(
        InputError, match=r"(?s)units.*in X; raw and layers:counts would pass.*write raw into the column"
    ):
        read(row, path)
