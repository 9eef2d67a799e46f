import math

import pandas as pd
import pytest
from tests.report.conftest import seen

from celllm.bench.runs import Failure
from celllm.config.tables import Claim
from celllm.report.main_table import costs_table, failures_table, main_table
from celllm.report.results import Results

FAILURES = pd.DataFrame(
    [
        Failure("blood", "logistic", 1, 0, 137, "killed", "logs/fit.log"),
        *(Failure("gland", "majority", split, 0, 1, "no", "logs/fit.log") for split in range(3)),
    ]
)


def published(catalogue, **changes):
    values = {"claim": "c", "source": "s", "task": "blood", "method": "celllm", "metric": "macro_f1"}
    claims = [Claim(**(values | changes), paper=paper, tolerance=0.02) for paper in (0.718, 0.66)]
    return catalogue.model_copy(update={"claims": claims})


def row(table, task, method):
    (found,) = table.rows[(table.rows["task"] == task) & (table.rows["method"] == method)].to_dict("records")
    return found


def test_nothing_in_the_table_changes_with_the_time_a_fit_took(scores, catalogue):
    slower = scores.assign(value=scores["value"].where(scores["metric"] != "fit_s", 99.0))
    assert seen(main_table(Results(slower), catalogue)) == seen(main_table(Results(scores), catalogue))
    assert "fit_s" not in main_table(Results(scores), catalogue).rows.columns


def test_a_row_holds_mean_interval_and_splits(scores, catalogue):
    found = row(main_table(Results(scores), catalogue), "blood", "logistic")
    assert found["value"] == pytest.approx(0.8)
    assert found["value_high"] - found["value_low"] == pytest.approx(
        2 * 4.3027 * 0.01 * math.sqrt(1 / 3 + 0.25), rel=0.1
    )
    assert found["accuracy"] == pytest.approx(0.85)
    assert (found["n_splits"], found["n_seeds"], found["n_failed"]) == (3, 1, 0)


def test_few_donors_are_shown_one_by_one_without_an_interval(scores, catalogue):
    scores.loc[scores["metric"] == "test_share", "value"] = 0
    table = main_table(Results(scores), catalogue)

    assert row(table, "blood", "logistic")["each"] == "0.790 0.800 0.810"
    assert {line["headline"] for line in seen(table) if line["method"] == "logistic regression"} == {
        "0.800 (0.790 0.800 0.810)"
    }


def test_rows_follow_the_tables_of_tasks_and_methods(scores, catalogue):
    table = main_table(Results(scores.sample(frac=1, random_state=0)), catalogue)
    assert list(dict.fromkeys(table.rows["task"])) == ["blood", "invented"]
    assert list(table.rows["method"][:3]) == ["celllm", "celllm_scratch", "logistic"]


def test_the_paper_column_holds_published_values_of_the_headline_only(scores, catalogue):
    known = published(catalogue)
    others = [
        *published(catalogue, metric="accuracy").claims,
        *published(catalogue, task="blood+gland").claims,
    ]
    table = main_table(Results(scores), known.model_copy(update={"claims": [*known.claims, *others]}))
    assert row(table, "blood", "celllm")["paper"] == "0.718; 0.66"
    assert row(table, "blood", "logistic")["paper"] == ""
    table = main_table(Results(scores), published(catalogue, task="invented"))
    assert row(table, "invented", "celllm")["paper"] == ""  # simulated


def test_a_task_that_was_not_run_has_a_row_saying_so_if_it_is_in_the_configuration(scores, catalogue):
    known = catalogue.model_copy(update={"not_run": ("gland",)})
    assert "gland" not in set(main_table(Results(scores), catalogue).rows["task"])
    for results in (scores, scores[:0]):
        (line,) = [line for line in seen(main_table(Results(results), known)) if "of gland" in line["task"]]
        assert (line["method"], line["headline"]) == ("-", "not run")


def test_an_undefined_score_is_called_undefined(scores, catalogue):
    scores.loc[(scores["method"] == "majority") & (scores["metric"] == "macro_f1"), "value"] = math.nan
    lines = seen(main_table(Results(scores), catalogue))
    assert {line["headline"] for line in lines if "majority" in line["method"]} == {"undefined"}


def test_cells_and_lines_are_sections_and_the_headline_metric_stands_once(scores, catalogue):
    pairs = scores[scores["method"] == "majority"].assign(task="lines", method="ridge", metric="rmse", value=1.0)
    table = main_table(Results(pd.concat([scores, pairs])), catalogue)
    assert list(dict.fromkeys(table.sections)) == [
        "Cells: annotation and drug sensitivity",
        "Cell lines: drug response",
    ]
    assert {line["macro F1"] for line in seen(table)} == {""}


def test_failed_runs_are_counted_and_a_method_without_any_other_has_failed(scores, catalogue):
    table = main_table(Results(scores), catalogue, FAILURES)
    found = row(table, "blood", "logistic")
    assert (found["n_failed"], found["value"]) == (1, pytest.approx(0.8))
    assert row(table, "gland", "majority")["value"] == "failed"
    assert [line["failed runs"] for line in seen(table) if line["headline"] == "failed"] == ["3"]


def test_a_failed_run_is_listed_with_its_message_and_log(catalogue):
    first = seen(failures_table(FAILURES, catalogue))[0]
    assert (first["task"], first["method"]) == ("Annotation of blood", "logistic regression")
    assert (first["status"], first["message"], first["log"]) == ("137", "killed", "logs/fit.log")


def test_costs_are_means_over_splits(scores, catalogue):
    scores.loc[(scores["metric"] == "fit_s") & (scores["split"] == 2), "value"] = 5.0
    table = costs_table(Results(scores), catalogue)
    first = table.rows.to_dict("records")[0]
    assert (first["fit_s"], first["peak_mb"], first["n_splits"]) == (3.0, 300.0, 3)
