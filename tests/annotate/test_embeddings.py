import numpy as np
import pandas as pd
import pytest

from celllm.annotate import embeddings
from celllm.base.errors import InputError


def test_embeddings_come_back_in_the_order_of_their_numbers(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 12)
    embeddings.write(["d:a", "d:b"], values, ["B cell", ""], tmp_path / "e.parquet")
    cell_ids, found, labels = embeddings.read(tmp_path / "e.parquet")
    assert list(cell_ids) == ["d:a", "d:b"]
    np.testing.assert_array_equal(found, values)
    assert list(labels) == ["B cell", ""]


def test_embeddings_without_labels_are_refused(tmp_path):
    pd.DataFrame({"e0": [1.0]}, index=["d:a"]).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(InputError, match="e0, e1, … and label"):
        embeddings.read(tmp_path / "e.parquet")


def test_an_embedding_that_is_not_finite_is_refused(tmp_path):
    embeddings.write(["d:a"], np.array([[np.nan, 1.0]]), ["x"], tmp_path / "e.parquet")
    with pytest.raises(InputError, match="finite numbers"):
        embeddings.read(tmp_path / "e.parquet")
