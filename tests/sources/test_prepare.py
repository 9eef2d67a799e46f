"""From a source to the cells that a row means: facts, labels beside, columns renamed, cells kept, counts recovered."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.rows import as_json
from celllm.config.tables import Dataset, SourceFile
from celllm.sources import raw
from celllm.sources.fetch import FetchContext, fetch_all
from celllm.sources.readers.prepare import recovered
from celllm.sources.readers.registry import read_raw

ROW = Dataset("d", "D", "corpus", "genes_by_cells", "counts", False, None, None, "normal", 0, None, None)
TABLE = '"","c1","c2","c3"\n"CD3E",1,0,2\n"RPL5",4,5,6\n'
LABELS = '"kind","n"\n"c1","T",1\n"c2","B",2\n"c3","T",3\n'


def cells_of(tmp_path, row=ROW, *, labels=LABELS, use="labels", table=TABLE, key=None, **file):
    (tmp_path / "a.csv").write_text(table)
    (tmp_path / "meta.csv").write_text(labels)
    beside = replace(raw.describe(tmp_path / "meta.csv"), use=use, part=key)
    files = [replace(raw.describe(tmp_path / "a.csv"), **file), beside]
    raw.write("d", files, tmp_path / "manifest.json")
    (cells,) = read_raw(raw.read(tmp_path / "manifest.json"), row)
    return cells


def test_labels_stand_beside_cells_under_the_names_of_the_row_and_facts_are_columns(tmp_path):
    cells = cells_of(tmp_path, replace(ROW, obs={"cell_type": "kind"}), facts={"tissue": "blood"})
    assert list(cells.obs["cell_type"]) == ["T", "B", "T"]
    assert set(cells.obs["tissue"]) == {"blood"}


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ({"kind": {"T*": "t cell", "*": "other"}}, ["t cell", "other", "t cell"]),
        ({"": "c([12])"}, ["1", "2", None]),
    ],
    ids=["by a map", "by a pattern, from the cells' names"],
)
def test_columns_are_made_from_others(tmp_path, said, made):
    cells = cells_of(tmp_path, replace(ROW, obs={"mine": said}))
    assert [value if isinstance(value, str) else None for value in cells.obs["mine"]] == made


def test_a_table_of_labels_may_have_no_header(tmp_path):
    cells = cells_of(tmp_path, labels="T,c1\nB,c3\nT,c2\n", key="2")
    assert list(cells.obs["1"]) == ["T", "T", "B"]


def test_cells_of_one_name_are_kept_once_if_they_are_equal(tmp_path):
    table = TABLE.replace("c3", "c1").replace("0,2", "0,1").replace("5,6", "5,4")
    assert cells_of(tmp_path, replace(ROW, keep={"": "once"}), table=table, use="some_labels").matrix.shape == (2, 2)
    with pytest.raises(InputError, match=r"a.csv: cell c1\n(?s:.*)others of that name"):
        cells_of(tmp_path, replace(ROW, keep={"": "once"}), table=TABLE.replace("c3", "c1"), use="some_labels")


def test_cells_are_kept_by_what_a_column_says(tmp_path):
    cells = cells_of(tmp_path, replace(ROW, keep={"kind": ["T"]}))
    assert list(cells.obs.index) == ["c1", "c3"]
    assert cells.matrix.toarray().tolist() == [[1, 4], [2, 6]]


@pytest.mark.parametrize(
    ("row", "labels", "message"),
    [
        (ROW, LABELS.replace('"c2"', '"c9"'), r"1 of 3 cells without labels, such as c2"),
        (ROW, LABELS + '"c4","T",4\n', r"1 of 4 labels without a cell, such as c4"),
        (replace(ROW, keep={"none": ["T"]}), LABELS, r"column none\n(?s:.*)found: +the columns kind, n"),
    ],
    ids=["a cell without a label", "a label without a cell", "no such column"],
)
def test_labels_of_other_cells_and_columns_that_are_not_there_are_refused(tmp_path, row, labels, message):
    with pytest.raises(InputError, match=message):
        cells_of(tmp_path, row, labels=labels)


def test_some_labels_may_miss_cells_and_be_over(tmp_path):
    cells = cells_of(tmp_path, labels=LABELS.replace('"c2"', '"c9"'), use="some_labels")
    assert cells.obs["kind"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(("taken", "of"), [("x", lambda x: x), ("ln(x+1)", np.log1p)])
def test_counts_are_recovered_from_multiples_of_them(taken, of):
    counts = sparse.csr_matrix(np.random.default_rng(0).negative_binomial(0.3, 0.05, (40, 300)))
    counts.data[counts.indptr[3] : counts.indptr[4]] = np.resize([2, 3, 5], np.diff(counts.indptr)[3])  # none of 1
    held = sparse.csr_matrix(counts.multiply(np.linspace(0.3, 7, 40)[:, None]))
    held.data = of(held.data)
    assert (recovered(held, taken, file="f") != counts).nnz == 0


def test_numbers_that_are_no_multiples_of_counts_are_refused():
    held = sparse.csr_matrix(np.array([[1.0, 1.37, 2.61]]))
    with pytest.raises(InputError, match=r"f: cell 1\n(?s:.*)no multiples of 1"):
        recovered(held, "x", file="f")


def test_a_mirror_that_holds_the_built_cells_stands_for_the_published_files(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/d.h5ad").write_bytes(b"cells")
    row = SourceFile("d", "a.rda", "https://example.org/a.rda", None, None, None, part="a", use="cells")
    assert '"part":"a"' in as_json(row)
    (file,) = fetch_all(
        [(row, {})], FetchContext(folder=tmp_path / "d", mirrors=[tmp_path / "mirror"], built=("d.h5ad",))
    )
    assert (file.name, file.source) == ("d.h5ad", "mirror")
