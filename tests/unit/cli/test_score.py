import numpy as np
import pandas as pd
import pytest

from celllm.cli import score
from celllm.contracts import predictions, scores
from celllm.contracts.predictions import PredictionsMeta
from celllm.errors import InputError

TASKS = """task kind title dataset response split train validation test min_class_size protocol headline
types classification Types tiny - random 0.7 0.1 0.2 5 clean macro_f1
lines regression Lines tiny tiny pairs 0.8 0.1 0.1 0 clean pearson
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


def _written(folder, table, **changes):
    kind = "classification" if "score:a" in table else "regression"
    values = {
        "task": "types" if kind == "classification" else "lines",
        "method": "m",
        "seed": 1,
        "kind": kind,
        "simulated": False,
        "fit_s": 1.5,
        "predict_s": 0.5,
        "peak_mb": 100.0,
        "trained_parameters": 7,
        "vocabulary": "v",
        "encoder": None,
        "provenance": {},
    }
    meta = PredictionsMeta(**{**values, **changes})
    path = folder / f"{meta.task}-{meta.method}-{meta.seed}.parquet"
    predictions.write(table, meta, path)
    return path


def _scored(tasks, *files):
    out = tasks.with_name("scores.tsv")
    score.main(["--predictions", *map(str, files), "--tasks", str(tasks), "--scores", str(out)])
    return scores.read(out).set_index(["task", "method", "seed", "metric"])["value"]


def test_each_kind_gets_its_metrics_and_the_costs(tmp_path, tasks):
    found = _scored(tasks, _written(tmp_path, CELLS), _written(tmp_path, PAIRS, method="n"))

    assert found["types", "m", 1, "accuracy"] == 0.75
    assert found["types", "m", 1, "macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["lines", "n", 1, "rmse"] == 1
    assert found["lines", "n", 1, "pearson_per_drug"] == pytest.approx(10 / np.sqrt(140))
    # of the first three: deviations (-1, 0, 1) and (-1/3, -4/3, 5/3)
    assert found["lines", "n", 1, "pearson_per_line"] == pytest.approx(2 / np.sqrt(2 * 42 / 9))
    assert [found["types", "m", 1, cost] for cost in scores.COSTS] == [1.5, 0.5, 100, 7]


def test_the_same_predictions_twice_are_refused(tmp_path, tasks):
    path = _written(tmp_path, CELLS)

    with pytest.raises(InputError, match="more than once"):
        _scored(tasks, path, path)


def test_a_headline_that_is_no_metric_of_the_task_is_refused(tmp_path, tasks):
    tasks.write_text(tasks.read_text().replace("macro_f1", "pearson"))

    with pytest.raises(InputError, match="headline of types"):
        _scored(tasks, _written(tmp_path, CELLS))


def test_predictions_of_an_unknown_task_are_refused_with_a_hint(tmp_path, tasks):
    with pytest.raises(InputError, match="did you mean types"):
        _scored(tasks, _written(tmp_path, CELLS, task="typos"))
