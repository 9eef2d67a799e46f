"""Aligned cells on disk, whole or in pieces: what goes in comes out, and nothing else goes in."""

import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise import cells as cells_file
from celllm.harmonise.vocabulary import Vocabulary


def vocabulary(*symbols):
    rows = [{"symbol": s, "hgnc_id": f"HGNC:{s}", "ensembl": "", "entrez": ""} for s in symbols]
    return Vocabulary(pd.DataFrame(rows))


ABC = vocabulary("A", "B", "C")
X = np.array([[0, 3, 1], [2, 0, 0], [0, 0, 0]])
FACTS = {"vocabulary": ABC, "dataset": "d", "simulated": False, "provenance": {"stage": "align_cells-1"}}


def cells(units="counts", matrix=X):
    obs = pd.DataFrame(
        {
            "sample": ["s1", "s2", "s2"],
            "donor": ["a", "b", "b"],
            "study": "d",
            "label": ["T cell", "", ""],
            "is_malignant": [1, -1, 0],
            "n_counts": [4.0, 2.0, 0.0],
            "n_genes": [2, 1, 0],
            "cell_hash": ["aa", "bb", "cc"],
        },
        index=["d:c1", "d:c2", "d:c3"],
    )
    return cells_file.build(sparse.csr_matrix(matrix), obs, units=units, **FACTS)


def write(path, made, size=2, is_named=None):
    with cells_file.writing_cells(path, units=made.uns["units"], **FACTS) as writer:
        for start in range(0, made.n_obs, size):
            writer.append(made.X[start : start + size], made.obs.iloc[start : start + size])
        writer.is_named = writer.is_named if is_named is None else np.array(is_named)
    return path


@pytest.mark.parametrize("size", [1, 2, 99])
def test_cells_written_and_read_in_pieces_of_any_size_are_the_same(tmp_path, size):
    path = write(tmp_path / "d.h5ad", cells(), size, is_named=[True, False, True])
    back = cells_file.read(path, vocabulary=ABC)
    assert (back.X.toarray() == X).all()
    assert (back.X.dtype, back.obs["is_malignant"].dtype) == (np.int32, np.int8)
    pd.testing.assert_frame_equal(back.obs, cells().obs, check_dtype=False, check_names=False)
    assert back[np.array([1])].obs.index.tolist() == ["d:c2"]
    assert (back.uns["dataset"], back.uns["units"], back.uns["simulated"]) == ("d", "counts", False)
    matrices, tables = zip(*cells_file.pieces(path, size=size), strict=True)
    assert max(map(len, tables)) == min(size, 3)
    assert (sparse.vstack(matrices).toarray() == X).all()
    pd.testing.assert_frame_equal(pd.concat(tables), back.obs)
    facts = cells_file.header(path, vocabulary=ABC.digest)
    assert (facts["dataset"], facts["n_cells"], facts["n_genes"]) == ("d", 3, 3)
    var = ad.read_h5ad(path).var
    assert dict(var["is_named"]) == {"A": True, "B": False, "C": True}


def test_what_is_no_count_stays_fractional_and_signed(tmp_path):
    back = cells_file.read(write(tmp_path / "d.h5ad", cells("zscore", X - 0.5)))
    assert (back.X.dtype, back.X.toarray()[0, 0]) == (np.float32, -0.5)


def test_cells_of_another_vocabulary_are_refused(tmp_path):
    path, other = write(tmp_path / "d.h5ad", cells()), vocabulary("A", "C", "B")
    with pytest.raises(VocabularyMismatch, match="align_cells"):
        cells_file.read(path, vocabulary=other)
    with pytest.raises(VocabularyMismatch, match="align_cells"):
        cells_file.header(path, vocabulary=other.digest)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda made: setattr(made, "obs_names", ["d:c1", "d:c1", "d:c2"]), "d:c1 more than once"),
        (lambda made: made.obs.__setitem__("is_malignant", [2, 0, 0]), "1 tumour, 0 normal or -1 unknown"),
        (lambda made: made.uns.update(units="log"), "'log'"),
        (lambda made: made.obs.pop("cell_hash"), "no cell_hash among"),
        (lambda made: made.uns.pop("vocabulary"), "no vocabulary among"),
        (lambda made: setattr(made, "X", made.X * -1), "negative value"),
    ],
    ids=["index", "malignancy", "units", "column", "uns", "counts"],
)
def test_cells_out_of_form_are_refused(tmp_path, fault, message):
    made = cells()
    fault(made)
    made.write_h5ad(tmp_path / "d.h5ad")
    with pytest.raises(InputError, match=message):
        cells_file.read(tmp_path / "d.h5ad")


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [(X, ["d:c1", "d:c2", "d:c1"], "(?s)cell names.*d:c1 more than once"), (X - 1, None, "negative value")],
    ids=["repeated id", "negative count"],
)
def test_cells_out_of_form_leave_no_file(tmp_path, matrix, names, message):
    obs = cells().obs if names is None else cells().obs.set_axis(names)
    made = ad.AnnData(sparse.csr_matrix(matrix), obs, uns={"units": "counts"})
    with pytest.raises(InputError, match=message):
        write(tmp_path / "d.h5ad", made)
    assert list(tmp_path.iterdir()) == []


def test_more_labels_than_a_byte_counts_stay_apart(tmp_path):
    obs = pd.concat([cells().obs.iloc[:1]] * 300)
    obs = obs.assign(label=[f"l{i}" for i in range(300)]).set_axis([f"d:{i}" for i in range(300)])
    with cells_file.writing_cells(tmp_path / "d.h5ad", units="counts", **FACTS) as writer:
        writer.append(sparse.csr_matrix((300, 3), dtype=np.int32), obs)
    assert cells_file.read(tmp_path / "d.h5ad").obs["label"].tolist() == obs["label"].tolist()


def test_reading_does_not_import_anndata(tmp_path, root):
    program = "import sys; from celllm.harmonise import cells; cells.read(sys.argv[1]); print(*sys.modules)"
    line = [sys.executable, "-c", program, write(tmp_path / "d.h5ad", cells())]
    env = {"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=env)
    assert "anndata" not in done.stdout.split()
