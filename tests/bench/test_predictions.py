from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celllm.base.errors import InputError
from celllm.bench import predictions
from celllm.bench.predictions import PredictionsMeta, Trial, score_columns


@pytest.fixture
def meta():
    return PredictionsMeta(
        task="t",
        method="m",
        split=2,
        seed=3,
        kind="classification",
        simulated=True,
        n_train=7,
        n_validation=1,
        n_test=2,
        options={"C": 0.1},
        trials=(Trial({"C": 1.0}, 0.5), Trial({"C": 0.1}, 0.75)),
        fit_s=1.5,
        predict_s=0.25,
        peak_mb=321.0,
        trained_parameters=12,
        vocabulary="abc",
        encoder=None,
        provenance={"stage": "fit-1"},
    )


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "unit": ["x:1", "x:2"],
            "truth": ["b cell", "T"],
            "predicted": ["T", "T"],
            "score:T": [0.75, 0.5],
            "score:b cell": [0.25, 0.5],
        }
    )


def test_predictions_and_their_making_come_back_as_written(tmp_path, table, meta):
    predictions.write(table, meta, tmp_path / "p.parquet")
    read, read_meta = predictions.read(tmp_path / "p.parquet")

    pd.testing.assert_frame_equal(read, table)
    assert read_meta == meta


def test_classes_and_scores_are_found_by_their_prefix(table):
    classes, scores = score_columns(table)

    assert classes == ["T", "b cell"]
    np.testing.assert_array_equal(scores, [[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda t: t.drop(columns="truth"), "unit, truth, predicted", id="column missing"),
        pytest.param(lambda t: t.assign(unit="x:1"), "x:1 more than once", id="unit twice"),
        pytest.param(lambda t: t.assign(**{"score:T": [np.nan, 1]}), "finite numbers", id="nan"),
    ],
)
def test_wrong_tables_are_refused_and_leave_no_file(tmp_path, table, meta, change, message):
    with pytest.raises(InputError, match=message):
        predictions.write(change(table), meta, tmp_path / "p.parquet")

    assert not list(tmp_path.iterdir())


def test_a_parquet_file_of_another_kind_is_refused(tmp_path, table):
    pq.write_table(pa.Table.from_pandas(table), tmp_path / "p.parquet")

    with pytest.raises(InputError, match="the key celllm"):
        predictions.read(tmp_path / "p.parquet")


def test_what_a_run_was_asked_for_is_read_without_its_predictions(tmp_path, table, meta):
    assert predictions.request_of(tmp_path / "p.parquet") is None
    predictions.write(table, replace(meta, provenance={"request": "abc"}), tmp_path / "p.parquet")
    assert predictions.request_of(tmp_path / "p.parquet") == "abc"
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and then nothing")
    assert predictions.request_of(tmp_path / "p.parquet") is None
