"""Tables about single cells of the benchmark."""

import pandas as pd
import pytest

from celllm.bench.scores import FAILED_COLUMNS, TRIAL_COLUMNS
from celllm.report.bench_tables import classes_table, failed_table, spread_table, trials_table
from celllm.report.main_table import main_table
from celllm.report.results import Results


def test_a_failed_cell_is_listed_with_its_message_and_log(catalogue):
    failed = pd.DataFrame([("blood", "logistic", "1", "0", "137", "killed", "logs/fit.log")], columns=FAILED_COLUMNS)
    text = failed_table(failed, catalogue).markdown

    assert "| Annotation of blood | logistic regression | 1       | 0      | 137" in text
    assert "killed" in text
    assert "logs/fit.log" in text


def test_without_failures_the_table_says_no_rows(catalogue):
    text = failed_table(pd.DataFrame(columns=FAILED_COLUMNS), catalogue).markdown
    assert "No rows." in text


def test_the_main_table_says_how_many_cells_failed_and_failed_where_all_did(scores, catalogue):
    failed = {("blood", "logistic"): 1, ("gland", "majority"): 3}
    table = main_table(Results(scores), [], catalogue=catalogue, failed=failed)
    rows = {(row["task"], row["method"]): row for row in table.rows.to_dict("records")}

    assert rows["blood", "logistic"]["n_failed"] == 1
    assert rows["blood", "logistic"]["value"] == pytest.approx(0.8)
    assert rows["gland", "majority"]["value"] == "failed"
    assert any("failed" in line for line in table.markdown.splitlines() if "of gland" in line)


def test_trials_are_counted_by_options_with_how_often_each_was_chosen(scores, catalogue):
    rows = [
        ("blood", "logistic", 0, 0, 0, '{"C": 1.0}', 0.5, "no"),
        ("blood", "logistic", 0, 0, 1, '{"C": 0.1}', 0.7, "yes"),
        ("blood", "logistic", 1, 0, 0, '{"C": 1.0}', float("nan"), "no"),
        ("blood", "logistic", 1, 0, 1, '{"C": 0.1}', 0.6, "yes"),
    ]
    frame = pd.DataFrame(rows, columns=TRIAL_COLUMNS)
    table = trials_table(frame, Results(scores), catalogue).rows.set_index("options")

    assert list(table.loc['{"C": 0.1}', ["tried", "failed", "chosen"]]) == [2, 0, 2]
    assert table.loc['{"C": 0.1}', "validation"] == pytest.approx(0.65)
    assert list(table.loc['{"C": 1.0}', ["tried", "failed", "chosen"]]) == [2, 1, 0]


def test_trials_of_an_encoder_without_neighbours_show_no_score(scores, catalogue):
    frame = pd.DataFrame([("blood", "celllm", 0, 0, 0, '{"C": 1.0}', 0.5, "yes")], columns=TRIAL_COLUMNS)
    rest = scores[scores["method"] != "celllm_scratch"]
    (row,) = trials_table(frame, Results(rest), catalogue).rows.to_dict("records")

    assert row["chosen"] == 1
    assert pd.isna(row["validation"])


def test_spreads_of_splits_and_of_model_seeds_stand_apart(scores, catalogue):
    second = scores.assign(seed=1)
    second.loc[second["metric"] == "macro_f1", "value"] += 0.1
    table = spread_table(Results(pd.concat([scores, second])), catalogue).rows.set_index(["task", "method"])

    row = table.loc[("blood", "celllm")]
    assert (row["n_splits"], row["n_seeds"]) == (3, 2)
    assert row["sd_splits"] == pytest.approx(0.01)
    assert row["sd_seeds"] == pytest.approx(0.1 / 2**0.5)


def test_each_class_has_a_row_over_the_splits_that_have_it(scores, catalogue):
    extra = pd.DataFrame(
        [("blood", "logistic", split, 0, "f1:B cell", 0.4 + 0.1 * split) for split in (0, 1)], columns=scores.columns
    )
    (row,) = classes_table(Results(pd.concat([scores, extra])), catalogue).rows.to_dict("records")

    assert (row["method"], row["class"], row["n_splits"]) == ("logistic", "B cell", 2)
    assert row["f1"] == pytest.approx(0.45)
