"""Each drug's correlation: counted by hand, drawn against the mean of the drug, never without its references."""

import numpy as np
import pandas as pd
import pytest
from tests.report.conftest import seen

from celllm.base.errors import InputError
from celllm.report.figures.drugs import correlations, correlations_of, draw_per_drug, per_drug_table

TRUTH = [1.0, 2, 3, 1, 2, 3, 7, 8]
METHODS = ("celllm_response", "celllm_scratch_response", "ridge")


def _table(predicted, *, drugs=("x", "x", "x", "y", "y", "y", "z", "z")):
    lines = [str(number) for number in range(len(drugs))]
    return pd.DataFrame({"unit": lines, "truth": TRUTH, "predicted": predicted, "line": lines, "drug": list(drugs)})


UP = _table([1.0, 2, 3, 1, 2, 3, 0, 1])  # x 1, y 1; z has two lines
MIXED = _table([3.0, 2, 1, 1, 3, 2, 0, 1])  # x -1, y 0.5


@pytest.fixture
def values():
    return correlations([("celllm_response", UP), ("celllm_response", MIXED), ("ridge", MIXED)])


def test_each_drug_has_the_mean_over_a_methods_tables(values):
    assert list(values.columns) == ["celllm_response", "ridge"]
    assert list(values.index) == ["x", "y"]
    np.testing.assert_allclose(values, [[0, -1], [0.75, 0.5]])


def test_a_drug_that_one_method_lacks_is_left_out():
    other = _table([3.0, 2, 1, 1, 3, 2, 0, 1], drugs=("x", "x", "x", "v", "v", "v", "w", "w"))

    assert list(correlations([("a", UP), ("b", other)]).index) == ["x"]


@pytest.fixture
def of_run(made_of):
    """Predictions of a run, as they are read."""

    def make(method, table=UP, *, task="lines", seed=0):
        return table, made_of(task=task, method=method, split=seed, kind="regression", n_test=len(table))

    return make


def test_the_table_has_a_row_for_each_drug_and_the_medians_above(of_run, catalogue):
    runs = [of_run("ridge", MIXED)]
    table = per_drug_table(runs, catalogue, "lines")
    assert table.rows.to_dict("list") == {"drug": ["x", "y"], "ridge": pytest.approx([-1, 0.5])}
    assert table.note == "2 drugs. Medians: ridge regression -0.250."
    assert seen(table)[0] == {"drug": "x", "ridge regression": "-1.000"}


def test_dots_stand_at_their_values(of_run, catalogue):
    runs = [of_run(method) for method in METHODS[:2]] + [of_run("ridge", MIXED)]
    figure = draw_per_drug(runs, catalogue, "lines")
    (rows,) = figure.axes
    dots = [line.get_xdata() for line in rows.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [[1, 1], [1, 1], [-1, 0.5]], atol=1e-12)
    assert rows.texts[2].get_text() == "-0.25  (50 %)"
    assert figure.get_suptitle() == "Drug_response: each of 2 drugs"


def test_methods_stand_in_the_order_of_the_table_whatever_the_order_of_files(of_run, catalogue):
    runs = [of_run(method, seed=seed) for method in METHODS[::-1] for seed in (0, 1)]
    assert list(correlations_of(runs, catalogue, "lines").columns) == list(METHODS)


def test_an_encoder_without_its_references_on_the_same_splits_is_left_out(of_run, catalogue):
    runs = [of_run(METHODS[0], seed=0), of_run(METHODS[0], seed=1), of_run(METHODS[1]), of_run("ridge")]
    assert METHODS[0] not in correlations_of(runs, catalogue, "lines").columns


def test_where_all_runs_failed_the_figure_says_so_and_the_table_is_empty(catalogue):
    assert "All runs failed" in draw_per_drug([], catalogue, "lines").texts[0].get_text()
    assert per_drug_table([], catalogue, "lines").rows.empty


def test_predictions_of_two_tasks_are_not_mixed(of_run, catalogue):
    with pytest.raises(InputError, match=r"lines, .*regression"):
        correlations_of([of_run("ridge"), of_run("ridge", task="other")], catalogue, "lines")


def test_predictions_without_a_drug_of_three_lines_are_refused(of_run, catalogue):
    runs = [of_run("ridge", _table([1.0, 2, 3, 1, 2, 3, 0, 1], drugs="abcdefgh"))]
    with pytest.raises(InputError, match="three test lines or more"):
        correlations_of(runs, catalogue, "lines")
