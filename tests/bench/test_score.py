import json

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.bench import predictions, scores
from celllm.bench.commands import score
from celllm.bench.predictions import Failure, Trial

TASKS = """task kind title dataset response split split_seeds train validation test min_class_size protocol headline
types classification Types tiny - random 0-4 0.7 0.1 0.2 5 clean macro_f1
lines regression Lines tiny tiny pairs 0-4 0.8 0.1 0.1 0 clean pearson
"""
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
def tasks(tmp_path):
    lines = [line.replace(" ", "\t") for line in TASKS.splitlines()]
    (tmp_path / "tasks.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "tasks.tsv"


@pytest.fixture
def written(tmp_path, made_of):
    """Write predictions and return which cell of the benchmark they are."""

    def write(table, **changes):
        is_cells = "score:a" in table
        task, kind = ("types", "classification") if is_cells else ("lines", "regression")
        meta = made_of(**{"task": task, "kind": kind, "seed": 1, **changes})
        where = {"task": meta.task, "method": meta.method, "split": meta.split, "seed": meta.seed}
        predictions.write(table, meta, predictions.path_of(tmp_path, **where))
        return where

    return write


def _run(tasks, *written):
    cells: dict = {}
    for one in written:
        cells.setdefault(one["task"], {})[one["method"]] = {"splits": [one["split"]], "seeds": [one["seed"]]}
    argv = ["--folder", str(tasks.parent), "--cells", json.dumps(cells), "--tasks", str(tasks)]
    for name in ("scores", "failed", "trials"):
        argv += [f"--{name}", str(tasks.with_name(f"{name}.tsv"))]
    score.main(argv)


def _scored(tasks, *written):
    _run(tasks, *written)
    return scores.read(tasks.with_name("scores.tsv")).set_index(["task", "method", "seed", "metric"])["value"]


def test_each_kind_gets_its_metrics_and_the_costs(tmp_path, tasks, written):
    found = _scored(tasks, written(CELLS), written(PAIRS, method="n"))

    assert found["types", "m", 1, "accuracy"] == 0.75
    assert found["types", "m", 1, "macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["lines", "n", 1, "rmse"] == 1
    assert found["lines", "n", 1, "pearson_per_drug"] == pytest.approx(10 / np.sqrt(140))
    # of the first three: deviations (-1, 0, 1) and (-1/3, -4/3, 5/3)
    assert found["lines", "n", 1, "pearson_per_line"] == pytest.approx(2 / np.sqrt(2 * 42 / 9))
    assert [found["types", "m", 1, cost] for cost in scores.COSTS] == [1.5, 0.5, 100, 7]
    assert [found["types", "m", 1, size] for size in scores.SIZES] == [10, 0, 4]


def test_a_failed_cell_is_told_apart_and_does_not_stop_the_others(tmp_path, tasks, written):
    fine, failed = written(CELLS), written(CELLS, method="n")
    failure = Failure(**failed, status=137, message="out of memory", log="logs/n.log")
    predictions.write_failure(failure, predictions.path_of(tmp_path, **failed))

    found = _scored(tasks, fine, failed)

    assert set(found.index.get_level_values("method")) == {"m"}
    (row,) = scores.read_failed(tmp_path / "failed.tsv").to_dict("records")
    assert (row["method"], row["status"], row["message"], row["log"]) == ("n", "137", "out of memory", "logs/n.log")


def test_trials_are_listed_with_the_chosen_one(tmp_path, tasks, written):
    trials = (Trial({"C": 1.0}, 0.5), Trial({"C": 0.1}, 0.75), Trial({"C": 10.0}, np.nan))
    _run(tasks, written(CELLS, trials=trials))

    table = scores.read_trials(tmp_path / "trials.tsv")

    assert list(table["options"]) == ['{"C": 1.0}', '{"C": 0.1}', '{"C": 10.0}']
    np.testing.assert_array_equal(table["value"], [0.5, 0.75, np.nan])
    assert list(table["chosen"]) == ["no", "yes", "no"]


def test_a_headline_that_is_no_metric_of_the_task_is_refused(tmp_path, tasks, written):
    tasks.write_text(tasks.read_text().replace("macro_f1", "pearson"))

    with pytest.raises(InputError, match="headline of types"):
        _scored(tasks, written(CELLS))


def test_predictions_of_an_unknown_task_are_refused_with_a_hint(tmp_path, tasks, written):
    with pytest.raises(InputError, match="did you mean types"):
        _scored(tasks, written(CELLS, task="typos"))
