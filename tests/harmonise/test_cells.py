"""Aligned cells: the form every later stage reads."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise import cells as counts
from celllm.harmonise.vocabulary import Vocabulary


def vocabulary(*symbols):
    rows = [{"symbol": s, "hgnc_id": f"HGNC:{s}", "ensembl": "", "entrez": ""} for s in symbols]
    return Vocabulary(pd.DataFrame(rows))


ABC = vocabulary("A", "B", "C")
X = np.array([[0, 3, 1], [2, 0, 0]])


def cells(units="counts", matrix=X):
    obs = pd.DataFrame(
        {
            "sample": ["s1", "s2"],
            "donor": ["a", "b"],
            "study": "d",
            "label": ["T cell", ""],
            "is_malignant": [1, -1],
            "n_counts": [4.0, 2.0],
            "n_genes": [2, 1],
            "cell_hash": ["aa", "bb"],
        },
        index=["d:c1", "d:c2"],
    )
    return counts.build(
        sparse.csr_matrix(matrix),
        obs,
        vocabulary=ABC,
        dataset="d",
        units=units,
        simulated=False,
        provenance={"stage": "align_cells-1"},
    )


def test_cells_read_back_what_was_written(tmp_path):
    counts.write(cells(), tmp_path / "d.h5ad")
    back = counts.read(tmp_path / "d.h5ad", vocabulary=ABC)
    assert (back.X.toarray() == X).all()
    assert back.X.dtype == np.int32
    assert list(back.obs["label"]) == ["T cell", ""]
    assert list(back.obs["sample"]) == ["s1", "s2"]
    assert back.obs["is_malignant"].tolist() == [1, -1]
    assert back.obs["is_malignant"].dtype == np.int8
    assert list(back.obs_names) == ["d:c1", "d:c2"]
    assert list(back.var_names) == ["A", "B", "C"]
    assert back.uns["simulated"] is False
    assert (back.uns["dataset"], back.uns["units"], back.uns["vocabulary"]) == ("d", "counts", ABC.digest)


def test_what_is_no_count_stays_fractional_and_signed(tmp_path):
    counts.write(cells("zscore", X - 0.5), tmp_path / "d.h5ad")
    back = counts.read(tmp_path / "d.h5ad")
    assert back.X.dtype == np.float32
    assert back.X.toarray()[0, 0] == -0.5


def test_cells_of_another_vocabulary_are_refused(tmp_path):
    counts.write(cells(), tmp_path / "d.h5ad")
    with pytest.raises(VocabularyMismatch, match="align_cells"):
        counts.read(tmp_path / "d.h5ad", vocabulary=vocabulary("A", "C", "B"))


def break_index(made):
    made.obs_names = ["d:c1", "d:c1"]


def break_malignancy(made):
    made.obs["is_malignant"] = [2, 0]


def break_units(made):
    made.uns["units"] = "log"


def break_columns(made):
    del made.obs["cell_hash"]


def break_uns(made):
    del made.uns["vocabulary"]


def break_matrix(made):
    made.X = made.X.toarray()


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(break_index, "d:c1 more than once", id="index"),
        pytest.param(break_malignancy, "1 tumour, 0 normal or -1 unknown", id="malignancy"),
        pytest.param(break_units, "'log'", id="units"),
        pytest.param(break_columns, "no cell_hash among", id="column"),
        pytest.param(break_uns, "no vocabulary among", id="uns"),
        pytest.param(break_matrix, "a CSR matrix", id="dense"),
    ],
)
def test_cells_out_of_form_are_not_written(tmp_path, fault, message):
    made = cells()
    fault(made)
    with pytest.raises(InputError, match=message):
        counts.write(made, tmp_path / "d.h5ad")
    assert list(tmp_path.iterdir()) == []
