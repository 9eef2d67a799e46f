import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.responses import Responses
from celllm.splits.units import cells_from, pairs_from


@pytest.fixture
def lines():
    return ad.AnnData(
        sparse.csr_matrix(np.arange(6, dtype=np.float32).reshape(3, 2)),
        obs=pd.DataFrame({"label": ["", "x", ""]}, index=["set:L2", "set:L1", "set:L:3"]),
        uns={"units": "counts", "simulated": False},
    )


def _responses(*, simulated=False, **changes):
    columns = {"line": ["L1", "L:3", "L9"], "drug": ["b", "a", "a"], "smiles": ["CC", "C", "C"], "response": [1, 2, 3]}
    return Responses(pd.DataFrame({**columns, **changes}), simulated=simulated)


def test_pairs_point_to_the_row_of_their_line_and_lines_without_expression_fall_out(lines):
    pairs = pairs_from(lines, _responses(simulated=True), file="r")

    assert pairs.units == ["L1|b", "L:3|a"]
    np.testing.assert_array_equal(pairs.expression[pairs.line].toarray(), [[2, 3], [4, 5]])
    assert [pairs.smiles[drug] for drug in pairs.drug] == ["CC", "C"]
    np.testing.assert_array_equal(pairs.response, [1, 2])
    assert pairs.simulated
    cells = cells_from(lines)
    assert cells.units == ["set:L2", "set:L1", "set:L:3"]
    assert cells.labels.tolist() == ["", "x", ""]
    assert (cells.values, cells.simulated) == ("counts", False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"line": ["X1", "X2", "X3"]}, r"such as L2, L1, L:3(.|\n)*such as X1, X2, X3", id="no common line"
        ),
        *(pytest.param({"smiles": [no, "C", "C"]}, "for drug b", id=f"structure {no!r}") for no in (None, "", " ")),
        pytest.param(
            {"line": ["L1", "L1", "L2"], "smiles": ["C", "C", "O"]}, "one structure for drug a", id="two structures"
        ),
    ],
)
def test_a_table_without_common_lines_or_one_structure_a_drug_is_refused(lines, changes, message):
    with pytest.raises(InputError, match=message):
        pairs_from(lines, _responses(**changes), file="r")


def test_hiding_blanks_the_answers_of_these_rows_and_leaves_the_original(cells, pairs):
    rows = np.array([2, 5])

    hidden = cells.hiding(rows).labels
    assert list(hidden[rows]) == ["", ""]
    assert (np.delete(hidden, rows) == np.delete(cells.labels, rows)).all()
    assert "" not in cells.labels

    response = pairs.hiding(rows).response
    assert np.flatnonzero(np.isnan(response)).tolist() == [2, 5]
    assert not np.isnan(pairs.response).any()


def test_index_arrays_of_two_types_as_anndata_reads_them_become_one(lines, tmp_path):
    """Else scipy converts the whole matrix each time a batch of cells is taken."""
    lines.write_h5ad(tmp_path / "lines.h5ad")
    read = ad.read_h5ad(tmp_path / "lines.h5ad")
    read.X.indptr = read.X.indptr.astype(np.int64)

    for values in (cells_from(read).counts, pairs_from(read, _responses(), file="r").expression):
        assert values.indptr.dtype == values.indices.dtype == np.int32
        np.testing.assert_array_equal(values.toarray(), lines.X.toarray())
