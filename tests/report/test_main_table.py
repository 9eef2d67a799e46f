from __future__ import annotations

import math

import pandas as pd
import pytest

from celllm.config.claims import Answer, Claim
from celllm.report.main_table import interval_text, main_table
from celllm.report.results import Results


def answers(**changes):
    values = {"claim": "c", "source": "s", "task": "blood", "method": "celllm", "metric": "macro_f1"}
    return [
        Answer(Claim(**(values | changes), paper=paper, tolerance=0.02), *(math.nan,) * 3, 0, "not run")
        for paper in (0.718, 0.66)
    ]


def row(table, task, method):
    (found,) = table.rows[(table.rows["task"] == task) & (table.rows["method"] == method)].to_dict("records")
    return found


def test_nothing_in_the_table_changes_with_the_time_a_fit_took(scores, catalogue):
    slower = scores.assign(value=scores["value"].where(scores["metric"] != "fit_s", 99.0))
    assert (
        main_table(Results(slower), [], catalogue=catalogue).markdown
        == main_table(Results(scores), [], catalogue=catalogue).markdown
    )
    assert "fit_s" not in main_table(Results(scores), [], catalogue=catalogue).rows.columns


def test_a_row_holds_mean_interval_and_splits(scores, catalogue):
    found = row(main_table(Results(scores), [], catalogue=catalogue), "blood", "logistic")
    assert found["value"] == pytest.approx(0.8)
    assert found["value_high"] - found["value"] == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert found["accuracy"] == pytest.approx(0.85)
    assert (found["n_splits"], found["n_seeds"], found["n_failed"]) == (3, 1, 0)


def test_rows_follow_the_tables_of_tasks_and_methods(scores, catalogue):
    table = main_table(Results(scores.sample(frac=1, random_state=0)), [], catalogue=catalogue)
    assert list(dict.fromkeys(table.rows["task"])) == ["blood", "invented"]
    assert list(table.rows["method"][:3]) == ["celllm", "celllm_scratch", "logistic"]


def test_simulated_data_are_called_simulated_in_every_row(scores, catalogue):
    table = main_table(Results(scores), [], catalogue=catalogue)
    titles = table.rows.loc[table.rows["task"] == "invented", "dataset"]
    assert all("simulated" in title.lower() for title in titles)
    assert not any("simulated" in title.lower() for title in table.rows.loc[table.rows["task"] == "blood", "dataset"])
    lines = [line for line in table.markdown.splitlines() if "of nothing" in line]
    assert len(lines) == 6
    assert all("simulated" in line.split("|")[1] for line in lines)


def test_the_paper_column_holds_published_values_of_the_headline_only(scores, catalogue):
    given = [*answers(), *answers(metric="accuracy"), *answers(task="blood+gland")]
    table = main_table(Results(scores), given, catalogue=catalogue)
    assert row(table, "blood", "celllm")["paper"] == "0.718; 0.66"
    assert row(table, "blood", "logistic")["paper"] == ""


def test_simulated_rows_have_no_published_value(scores, catalogue):
    table = main_table(Results(scores), answers(task="invented"), catalogue=catalogue)
    assert row(table, "invented", "celllm")["paper"] == ""


@pytest.mark.parametrize("absent", ["logistic", "celllm_scratch"])
def test_an_encoder_without_neighbour_shows_no_score(scores, catalogue, absent):
    table = main_table(Results(scores[scores["method"] != absent]), [], catalogue=catalogue)
    found = row(table, "blood", "celllm")
    assert found["value"] == "neighbour missing"
    assert math.isnan(found["accuracy"])
    line = next(line for line in table.markdown.splitlines() if "of blood" in line and "| CellLM " in line)
    assert "neighbour missing" in line
    assert "0.7" not in line


def test_a_task_that_was_not_run_has_a_row_saying_so(scores, catalogue):
    table = main_table(Results(scores), [], catalogue=catalogue, not_run=["gland"])
    assert row(table, "gland", "-")["value"] == "not run"
    assert any("of gland" in line and "not run" in line for line in table.markdown.splitlines())


def test_a_task_outside_the_configuration_has_no_row(scores, catalogue):
    table = main_table(Results(scores), [], catalogue=catalogue)
    assert "gland" not in set(table.rows["task"])


def test_an_undefined_score_is_called_undefined(scores, catalogue):
    scores.loc[(scores["method"] == "majority") & (scores["metric"] == "macro_f1"), "value"] = math.nan
    table = main_table(Results(scores), [], catalogue=catalogue)
    assert any("majority" in line and "undefined" in line for line in table.markdown.splitlines())


def test_no_score_at_all_makes_a_table_of_what_was_not_run(catalogue):
    empty = pd.DataFrame({"task": [], "method": [], "split": [], "seed": [], "metric": [], "value": []})
    table = main_table(Results(empty), [], catalogue=catalogue, not_run=["blood"])
    assert list(table.rows["value"]) == ["not run"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        pytest.param((0.5, 0.4, 0.6), "0.500 [0.400, 0.600]", id="several splits"),
        pytest.param((0.5, math.nan, math.nan), "0.500", id="one split"),
        pytest.param((math.nan, math.nan, math.nan), "undefined", id="undefined"),
    ],
)
def test_an_interval_is_written_where_there_is_one(numbers, text):
    assert interval_text(*numbers) == text
