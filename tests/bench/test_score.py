from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.bench import commands, predictions, runs, scores
from celllm.bench.predictions import Trial
from celllm.bench.runs import Failure, Runs
from celllm.config.tables import Task

TYPES = Task(
    task="types",
    kind="classification",
    title="Types",
    dataset="tiny",
    response=None,
    split="random",
    split_seeds=(0, 1),
    train=0.7,
    validation=0.1,
    test=0.2,
    min_class_size=5,
    protocol="clean",
    headline="macro_f1",
)
LINES = replace(TYPES, task="lines", kind="regression", split="pairs", response="tiny", headline="pearson")
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
def scored(tmp_path):
    """Score runs; return the folder of the tables."""

    def score(*paths, tasks=(TYPES, LINES)):
        names = {"scores": "scores.tsv", "trials": "trials.tsv", "failures": "failures.json"}
        commands.score(runs=list(paths), tasks=list(tasks), **{key: tmp_path / name for key, name in names.items()})
        return tmp_path

    return score


def test_each_kind_gets_its_metrics_and_the_costs(written, scored):
    folder = scored(written(CELLS), written(PAIRS, method="n"))
    found = scores.read(folder / "scores.tsv").set_index(["task", "method", "seed", "metric"])["value"]

    assert found["types", "m", 1, "accuracy"] == 0.75
    error = scores.read(folder / "scores.tsv").set_index(["task", "metric"])["error"]["types", "accuracy"]
    assert error == pytest.approx(np.sqrt(0.75 * 0.25 / 3))
    assert found["types", "m", 1, "macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["lines", "n", 1, "rmse"] == 1
    assert found["lines", "n", 1, "pearson_per_drug"] == pytest.approx(10 / np.sqrt(140))
    # of the first three: deviations (-1, 0, 1) and (-1/3, -4/3, 5/3)
    assert found["lines", "n", 1, "pearson_per_line"] == pytest.approx(2 / np.sqrt(2 * 42 / 9))
    assert [found["types", "m", 1, cost] for cost in scores.COSTS] == [1.5, 0.5, 100, 7, 0]
    assert [found["types", "m", 1, size] for size in scores.SIZES] == [10, 0, 4, 0.2, 0.7]


def test_a_failed_run_is_listed_and_does_not_stop_the_others(written, scored):
    failure = Failure("types", "n", 0, 1, status=137, message="out of memory", log="logs/n.log")
    folder = scored(written(CELLS), written(CELLS, method="n", seed=2, failures=(failure,)))

    found = scores.read(folder / "scores.tsv")
    assert set(zip(found["method"], found["seed"], strict=True)) == {("m", 1), ("n", 2)}
    (row,) = scores.read_failures(folder / "failures.json").to_dict("records")
    assert Failure(**row) == failure


def test_where_every_run_failed_the_tables_are_empty(tmp_path, scored):
    failure = Failure("types", "m", 0, 0, status=1, message="no room", log="logs/m.log")
    runs.write(Runs("types", "m", (), (failure,), {}), tmp_path / "runs.json")
    folder = scored(tmp_path / "runs.json")

    assert scores.read(folder / "scores.tsv").empty
    assert scores.read_trials(folder / "trials.tsv").empty
    assert len(scores.read_failures(folder / "failures.json")) == 1


def test_trials_are_listed_with_the_chosen_one(written, scored):
    trials = (Trial({"C": 1.0}, 0.5), Trial({"C": 0.1}, 0.75), Trial({"C": 10.0}, np.nan))
    table = scores.read_trials(scored(written(CELLS, trials=trials)) / "trials.tsv")

    assert list(table["options"]) == ['{"C": 1.0}', '{"C": 0.1}', '{"C": 10.0}']
    np.testing.assert_array_equal(table["value"], [0.5, 0.75, np.nan])
    assert list(table["chosen"]) == ["no", "yes", "no"]


def test_a_headline_that_is_no_metric_of_the_task_is_refused(written, scored):
    with pytest.raises(InputError, match="headline of types"):
        scored(written(CELLS), tasks=[replace(TYPES, headline="f1_sensitive")])
