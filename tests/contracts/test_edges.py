"""edges.parquet: the gene network."""

import numpy as np
import pandas as pd
import pytest

from celllm.contracts import edges
from celllm.contracts.edges import Edges
from celllm.contracts.vocabulary import Vocabulary
from celllm.errors import InputError, VocabularyMismatch


def vocabulary(*symbols):
    rows = [{"symbol": s, "hgnc_id": f"HGNC:{i}", "ensembl": "", "entrez": ""} for i, s in enumerate(symbols)]
    return Vocabulary(pd.DataFrame(rows))


ABC = vocabulary("A", "B", "C")


def made(a, b, digest=ABC.digest):
    return Edges(a_E=np.array(a, np.int32), b_E=np.array(b, np.int32), vocabulary=digest, source="by hand")


def test_edges_read_back_what_was_written(tmp_path):
    edges.write(made([0, 0], [1, 2]), tmp_path / "edges.parquet")
    back = edges.read(tmp_path / "edges.parquet", vocabulary=ABC)
    assert back.a_E.tolist() == [0, 0]
    assert back.b_E.tolist() == [1, 2]
    assert back.b_E.dtype == np.int32
    assert back.source == "by hand"


def test_edges_of_another_vocabulary_are_refused(tmp_path):
    edges.write(made([0], [1]), tmp_path / "edges.parquet")
    with pytest.raises(VocabularyMismatch, match="build_network"):
        edges.read(tmp_path / "edges.parquet", vocabulary=vocabulary("A", "C", "B"))


@pytest.mark.parametrize(("a", "b"), [([1], [0]), ([1], [1]), ([0], [3]), ([-1], [0])])
def test_an_edge_out_of_order_or_range_is_refused(tmp_path, a, b):
    edges.write(made(a, b), tmp_path / "edges.parquet")
    with pytest.raises(InputError, match="0 <= a < b < 3"):
        edges.read(tmp_path / "edges.parquet", vocabulary=ABC)


def test_a_table_that_is_no_network_is_refused(tmp_path):
    pd.DataFrame({"a": [0], "b": [1]}).to_parquet(tmp_path / "edges.parquet")
    with pytest.raises(InputError, match="metadata vocabulary, source"):
        edges.read(tmp_path / "edges.parquet")


def test_published_pairs_must_have_columns_a_and_b(tmp_path):
    pd.DataFrame({"a": ["A"], "b": ["B"]}).to_parquet(tmp_path / "pairs.parquet")
    assert edges.read_pairs(tmp_path / "pairs.parquet") == (["A"], ["B"])
    pd.DataFrame({"from": ["A"], "to": ["B"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"other\.parquet: columns a, b"):
        edges.read_pairs(tmp_path / "other.parquet")
