import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.bench import scores


def _table(**changes):
    rows = {
        "task": "t",
        "method": ["b", "a", "a"],
        "split": 3,
        "seed": 0,
        "metric": ["x", "x", "y"],
        "value": [0.1, 1 / 3, np.nan],
        "error": [0.01, np.nan, np.nan],
    }
    return pd.DataFrame({**rows, **changes})


def test_scores_come_back_sorted_with_undefined_values_kept(tmp_path):
    scores.write(_table(), tmp_path / "scores.tsv")
    read = scores.read(tmp_path / "scores.tsv")

    assert list(read["method"]) == ["a", "a", "b"]
    np.testing.assert_allclose(read["value"], [1 / 3, np.nan, 0.1], rtol=1e-9)
    np.testing.assert_array_equal(read["error"], [np.nan, np.nan, 0.01])


def test_the_order_of_the_rows_does_not_change_the_file(tmp_path):
    scores.write(_table(), tmp_path / "one.tsv")
    scores.write(_table().iloc[::-1], tmp_path / "two.tsv")

    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()


def test_a_score_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="t a 3 0 x more than once"):
        scores.write(_table(metric="x"), tmp_path / "scores.tsv")


def test_a_value_that_is_no_number_is_refused(tmp_path):
    (tmp_path / "scores.tsv").write_text("task\tmethod\tsplit\tseed\tmetric\tvalue\terror\nt\tm\t0\t0\tx\thigh\t\n")

    with pytest.raises(InputError, match="high"):
        scores.read(tmp_path / "scores.tsv")


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(InputError, match="task, method, split, seed, metric, value"):
        scores.write(_table().drop(columns="seed"), tmp_path / "scores.tsv")
