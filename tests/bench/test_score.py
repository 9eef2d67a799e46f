"""Predictions become scores; the files of both come back as written and refuse what is malformed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celllm.base.errors import InputError
from celllm.bench import commands, predictions, runs, scores
from celllm.bench.predictions import Trial, score_columns
from celllm.bench.runs import Failure, Runs
from celllm.splits.format import request_of

CELLS = pd.DataFrame(
    {
        "unit": ["1", "2", "3", "4"],
        "truth": ["a", "a", "b", "new"],
        "predicted": ["a", "a", "b", "b"],
        "score:a": [0.9, 0.8, 0.1, 0.2],
        "score:b": [0.1, 0.2, 0.9, 0.8],
    }
)
PAIRS = pd.DataFrame(
    {
        "unit": ["1", "2", "3", "4"],
        "truth": [1.0, 2.0, 3.0, 6.0],
        "predicted": [2.0, 1.0, 4.0, 5.0],
        "line": ["1", "1", "1", "2"],
        "drug": "d",
    }
)
FAILURE = Failure("types", "n", 0, 1, status=137, message="out of memory", log="logs/n.log")


@pytest.fixture
def written(tmp_path, made_of):
    """Write predictions, and beside them that there are such and what failed; return the path of the latter."""

    def write(table, *, failures=(), **changes):
        is_cells = "score:a" in table
        task, kind = ("types", "classification") if is_cells else ("lines", "regression")
        meta = made_of(**{"task": task, "kind": kind, "seed": 1, **changes})
        path = tmp_path / meta.task / meta.method / "runs.json"
        predictions.write(table, meta, runs.predictions_path(path, split=meta.split, seed=meta.seed))
        runs.write(Runs(meta.task, meta.method, ((meta.split, meta.seed),), failures, {}), path)
        return path

    return write


@pytest.fixture
def scored(tmp_path, cells_task, pairs_task):
    """Score runs; return the tables of scores, trials and failures."""

    def score(*paths, **changes):
        names = {"scores": "scores.tsv", "trials": "trials.tsv", "failures": "failures.json"}
        files = {key: tmp_path / name for key, name in names.items()}
        commands.score(runs=list(paths), tasks=[replace(cells_task, **changes), pairs_task], **files)
        return (
            scores.read(files["scores"]),
            pd.read_table(files["trials"]),
            scores.read_failures(files["failures"]),
        )

    return score


def test_each_kind_gets_its_metrics_and_the_costs(written, scored):
    table, _, _ = scored(written(CELLS), written(PAIRS, method="n"))
    found = table.set_index(["task", "method", "seed", "metric"])["value"]

    assert found["types", "m", 1, "accuracy"] == 0.75
    error = table.set_index(["task", "metric"])["error"]["types", "accuracy"]
    assert error == pytest.approx(np.sqrt(0.75 * 0.25 / 3))
    assert found["types", "m", 1, "macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["lines", "n", 1, "rmse"] == 1
    assert found["lines", "n", 1, "pearson_per_drug"] == pytest.approx(10 / np.sqrt(140))
    # of the first three: deviations (-1, 0, 1) and (-1/3, -4/3, 5/3)
    assert found["lines", "n", 1, "pearson_per_line"] == pytest.approx(2 / np.sqrt(2 * 42 / 9))
    assert [found["types", "m", 1, cost] for cost in scores.COSTS] == [1.5, 0.5, 100, 7, 0]
    assert [found["types", "m", 1, size] for size in scores.SIZES] == [10, 0, 4, 0.2, 0.7]


def test_a_failed_run_is_listed_and_does_not_stop_the_others(written, scored):
    table, _, failures = scored(written(CELLS), written(CELLS, method="n", seed=2, failures=(FAILURE,)))

    assert set(zip(table["method"], table["seed"], strict=True)) == {("m", 1), ("n", 2)}
    (row,) = failures.to_dict("records")
    assert Failure(**row) == FAILURE


def test_where_every_run_failed_the_tables_are_empty(tmp_path, scored):
    runs.write(Runs("types", "m", (), (FAILURE,), {}), tmp_path / "runs.json")

    assert [len(table) for table in scored(tmp_path / "runs.json")] == [0, 0, 1]


def test_trials_are_listed_with_the_chosen_one(written, scored):
    trials = (Trial({"C": 1.0}, 0.5), Trial({"C": 0.1}, 0.75), Trial({"C": 10.0}, np.nan))
    _, table, _ = scored(written(CELLS, trials=trials))

    assert list(table["options"]) == ['{"C": 1.0}', '{"C": 0.1}', '{"C": 10.0}']
    np.testing.assert_array_equal(table["value"], [0.5, 0.75, np.nan])
    assert list(table["chosen"]) == ["no", "yes", "no"]


def test_a_headline_that_is_no_metric_of_the_task_is_refused(written, scored):
    with pytest.raises(InputError, match="headline of types"):
        scored(written(CELLS), headline="f1_sensitive")


@pytest.fixture
def table():
    """Scores of three runs, in no order."""
    keys = {"task": "t", "method": ["b", "a", "a"], "split": 3, "seed": 0, "metric": ["x", "x", "y"]}
    return pd.DataFrame({**keys, "value": [0.1, 1 / 3, np.nan], "error": [0.01, np.nan, np.nan]})


def test_scores_come_back_sorted_whatever_their_order_with_undefined_values_kept(tmp_path, table):
    scores.write(table, tmp_path / "scores.tsv")
    scores.write(table.iloc[::-1], tmp_path / "two.tsv")
    read = scores.read(tmp_path / "scores.tsv")

    assert (tmp_path / "scores.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
    assert list(read["method"]) == ["a", "a", "b"]
    np.testing.assert_allclose(read["value"], [1 / 3, np.nan, 0.1], rtol=1e-9)
    np.testing.assert_array_equal(read["error"], [np.nan, np.nan, 0.01])


def test_malformed_scores_are_refused(tmp_path, table):
    with pytest.raises(InputError, match="t a 3 0 x more than once"):
        scores.write(table.assign(metric="x"), tmp_path / "scores.tsv")
    with pytest.raises(InputError, match="task, method, split, seed, metric, value"):
        scores.write(table.drop(columns="seed"), tmp_path / "scores.tsv")
    table.assign(value="high").to_csv(tmp_path / "scores.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="high"):
        scores.read(tmp_path / "scores.tsv")


def test_predictions_their_making_and_what_was_asked_for_come_back_as_written(tmp_path, made_of):
    path = tmp_path / "p.parquet"
    meta = made_of(trials=(Trial({"C": 1.0}, 0.5), Trial({"C": 0.1}, np.inf)), provenance={"request": "abc"})
    assert request_of(path) is None
    predictions.write(CELLS, meta, path)
    read, read_meta = predictions.read(path)

    pd.testing.assert_frame_equal(read, CELLS)
    assert read_meta == meta
    assert score_columns(read)[0] == ["a", "b"]
    np.testing.assert_array_equal(score_columns(read)[1], CELLS[["score:a", "score:b"]])
    assert request_of(path) == "abc"
    path.write_bytes(b"PAR1 and then nothing")
    assert request_of(path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda t: t.drop(columns="truth"), "unit, truth, predicted", id="column missing"),
        pytest.param(lambda t: t.assign(unit="x:1"), "x:1 more than once", id="unit twice"),
        pytest.param(lambda t: t.assign(**{"score:a": np.nan}), "finite numbers", id="nan"),
    ],
)
def test_malformed_predictions_are_refused_and_leave_no_file(tmp_path, made_of, change, message):
    with pytest.raises(InputError, match=message):
        predictions.write(change(CELLS), made_of(), tmp_path / "p.parquet")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [(None, "the key celllm"), ({"celllm": "{}"}, "metadata celllm: task")],
)
def test_a_parquet_file_of_another_kind_is_refused(tmp_path, metadata, message):
    other = pa.Table.from_pandas(CELLS).replace_schema_metadata(metadata)
    pq.write_table(other, tmp_path / "p.parquet")

    with pytest.raises(InputError, match=message):
        predictions.read(tmp_path / "p.parquet")
