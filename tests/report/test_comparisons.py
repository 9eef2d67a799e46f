"""Our method against every other, paired over splits, corrected for the number of comparisons."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.report.conftest import seen

from celllm.bench.influence import Influence
from celllm.config.tables import Claim
from celllm.report.comparisons import compare, comparisons_table, controls_table, corrected
from celllm.report.results import Results


def rows_of(scores, catalogue, claims=()):
    table = comparisons_table(Results(scores), catalogue.model_copy(update={"claims": claims}))
    return {(row["task"], row["other"]): row for row in table.rows.to_dict("records")}


def test_ours_stands_against_every_other_but_the_controls(scores, catalogue):
    found = rows_of(scores, catalogue)

    assert set(found) == {(t, o) for t in ("blood", "invented") for o in ("celllm_scratch", "logistic", "majority")}


def test_a_steady_difference_is_found_in_both_directions(scores, catalogue):
    scores.loc[(scores["method"] == "celllm") & (scores["metric"] == "macro_f1"), "value"] += [0.001, 0, -0.001] * 2
    found = rows_of(scores, catalogue)

    assert found["blood", "celllm_scratch"]["difference"] == pytest.approx(0.1)
    assert found["blood", "celllm_scratch"]["verdict"] == "better"
    assert found["blood", "logistic"]["verdict"] == "worse"
    assert found["blood", "majority"]["verdict"] == "better (p not corrected)"


def test_a_difference_that_is_the_same_on_every_split_decides_nothing_by_itself(scores, catalogue):
    found = rows_of(scores, catalogue)

    assert found["blood", "celllm_scratch"]["verdict"] == "undecided: no spread"
    assert math.isnan(found["blood", "celllm_scratch"]["q"])


def test_a_difference_within_its_spread_is_not_shown(scores, catalogue):
    is_logistic = (scores["method"] == "logistic") & (scores["metric"] == "macro_f1")
    scores.loc[is_logistic, "value"] = [0.9, 0.5, 0.72, 0.9, 0.5, 0.72]
    found = rows_of(scores, catalogue)

    row = found["blood", "logistic"]
    assert row["verdict"] == "no difference shown"
    assert row["difference_low"] < 0 < row["difference_high"]
    differences = np.array([0.69 - 0.9, 0.7 - 0.5, 0.71 - 0.72])
    # a fifth of the cells is tested, whatever is trained on
    t = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 3 + 0.2 / 0.8))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), df=2))


def test_what_is_corrected_for_was_stated_beforehand_whatever_else_is_compared(scores, catalogue):
    scores.loc[(scores["method"] == "celllm") & (scores["metric"] == "macro_f1"), "value"] += [0.01, 0, -0.02] * 2
    alone = rows_of(scores[scores["method"] != "majority"], catalogue)
    found = rows_of(scores, catalogue)

    assert {key: row["question"] for key, row in found.items() if key[0] == "blood"} == {
        ("blood", "celllm_scratch"): "itself without pretraining",
        ("blood", "logistic"): "the best linear model",
        ("blood", "majority"): "",
    }
    assert found["blood", "logistic"]["q"] == alone["blood", "logistic"]["q"] > found["blood", "logistic"]["p"]
    assert math.isnan(found["blood", "majority"]["q"])


def test_the_best_of_the_linear_models_is_the_rival(scores, catalogue):
    better = replace(catalogue.methods["logistic"], method="svm", role="linear_baseline")
    known = catalogue.model_copy(update={"methods": {**catalogue.methods, "svm": better}})
    svm = scores[scores["method"] == "logistic"].assign(method="svm")
    svm["value"] += 0.05
    found = rows_of(pd.concat([scores, svm]), known)

    assert found["blood", "svm"]["question"] == "the best linear model"
    assert found["blood", "logistic"]["question"] == ""


def test_test_cells_count_where_splits_agree(scores, catalogue):
    # both splits have the same difference, of one cell in twenty
    scores = scores[scores["split"] < 2]
    one, two = (Influence(np.array([wins - 0.5] * 10 + [0.5 - wins] * 10)) for wins in (1.0, 0.9))
    influences = {("blood", name): {0: each, 1: each} for name, each in (("celllm", one), ("celllm_scratch", two))}
    (row,) = (
        row
        for row in compare(Results(scores), catalogue, influences)
        if (row["task"], row["other"]) == ("blood", "celllm_scratch")
    )

    assert 0 < row["p"] < 1
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_few_donors_decide_nothing(scores, catalogue):
    scores.loc[scores["metric"] == "test_share", "value"] = 0
    tasks = {name: replace(task, test=0, split="donors") for name, task in catalogue.tasks.items() if name == "blood"}
    found = rows_of(scores, catalogue.model_copy(update={"tasks": tasks}))

    assert found["blood", "logistic"]["verdict"] == "undecided: fewer than 6 donors"


def test_only_splits_that_both_have_are_compared(scores, catalogue):
    scores = scores[(scores["method"] != "majority") | (scores["split"] != 2)]
    found = rows_of(scores, catalogue)

    assert found["blood", "majority"]["n_splits"] == 2
    assert found["blood", "logistic"]["n_splits"] == 3


def test_a_single_split_decides_nothing(scores, catalogue):
    found = rows_of(scores[scores["split"] == 0], catalogue)

    assert found["blood", "logistic"]["verdict"] == "undecided: too few splits"


def test_a_method_without_its_reference_is_not_compared(scores, catalogue):
    found = rows_of(scores[scores["method"] != "celllm_scratch"], catalogue)

    assert found == {}


def test_the_published_difference_stands_beside_ours_where_both_are_published(scores, catalogue):
    claims = [Claim(m, "s", "blood", m, "macro_f1", paper, 0.02) for m, paper in (("celllm", 0.718), ("logistic", 0.7))]
    found = rows_of(scores, catalogue, claims)

    assert found["blood", "logistic"]["paper"] == pytest.approx(0.018)
    assert math.isnan(found["blood", "majority"]["paper"])
    assert math.isnan(found["invented", "logistic"]["paper"])


def test_q_values_grow_with_the_number_of_comparisons_and_pass_over_undefined_ones():
    assert corrected([0.04]) == pytest.approx([0.04])
    q_values = corrected([0.04, 0.5, math.nan, 0.04])
    # Benjamini and Yekutieli: 0.04 x 3 x (1 + 1/2 + 1/3) / 2 for the two smallest of three
    assert q_values[0] == q_values[3] == pytest.approx(0.04 * 3 * (1 + 1 / 2 + 1 / 3) / 2)
    assert math.isnan(q_values[2])
    assert np.isnan(corrected([math.nan])).all()


def test_simulated_data_are_called_simulated(scores, catalogue):
    titles = [line["task"] for line in seen(comparisons_table(Results(scores), catalogue)) if "nothing" in line["task"]]
    assert len(titles) == 3
    assert all("simulated" in title for title in titles)


def test_of_several_published_numbers_of_a_method_the_first_counts(scores, catalogue):
    claims = [
        Claim(name, "a paper", "blood", method, "macro_f1", value, 0.02)
        for name, method, value in (
            ("ours", "celllm", 0.718),
            ("theirs", "logistic", 0.688),
            ("again", "logistic", 0.5),
        )
    ]
    found = rows_of(scores, catalogue, claims)

    assert found["blood", "logistic"]["paper"] == pytest.approx(0.030)


def set_score(scores, method, value, *, task="blood", split=0):
    rows = (scores["task"] == task) & (scores["method"] == method) & (scores["split"] == split)
    scores.loc[rows & (scores["metric"] == "macro_f1"), "value"] = value


def ordered(scores, catalogue):
    table = controls_table(Results(scores), catalogue).rows
    table = table[table["metric"] != "accuracy"]
    return dict(zip(zip(table["task"], table["split"], strict=True), table["ordered"], strict=True))


def counted(scores, catalogue):
    lines = seen(controls_table(Results(scores), catalogue))
    return next(x["splits in order"] for x in lines if "of blood" in x["task"] and x["metric"] == "macro F1")


def test_controls_in_order_are_called_so_for_each_task_and_split(scores, catalogue):
    found = ordered(scores, catalogue)
    assert len(found) == 6
    assert set(found.values()) == {"yes"}


@pytest.mark.parametrize(
    ("method", "value"),
    [
        pytest.param("control_leaked", 0.5, id="leaked loses"),
        pytest.param("control_shuffled", 0.9, id="shuffled wins"),
    ],
)
def test_controls_out_of_order_are_called_so(scores, catalogue, method, value):
    set_score(scores, method, value)
    found = ordered(scores, catalogue)
    assert found[("Annotation of blood", 0)] == "no"
    assert found[("Annotation of blood", 1)] == "yes"


def test_where_a_metric_is_undefined_there_is_no_order(scores, catalogue):
    set_score(scores, "control_shuffled", math.nan)
    assert ordered(scores, catalogue)[("Annotation of blood", 0)] == "undefined"
    assert counted(scores, catalogue) == "2 of 2"


def test_a_tie_with_the_leaked_control_counts_at_the_top_of_the_scale_only(scores, catalogue):
    set_score(scores, "logistic", 1.0)
    set_score(scores, "control_leaked", 1.0)
    set_score(scores, "logistic", 0.9, split=1)
    set_score(scores, "control_leaked", 0.9, split=1)
    found = ordered(scores, catalogue)
    assert found[("Annotation of blood", 0)] == "yes"
    assert found[("Annotation of blood", 1)] == "no"


def test_controls_that_did_not_run_are_called_so(scores, catalogue):
    found = ordered(scores[scores["method"] != "control_leaked"], catalogue)
    assert set(found.values()) == {"not run"}


def test_a_control_that_is_missing_on_a_split_is_counted_and_told_of(scores, catalogue):
    is_gone = (scores["method"] == "control_leaked") & (scores["split"] != 0) & (scores["task"] == "blood")
    assert counted(scores[~is_gone], catalogue) == "1 of 3 (2 without a control)"


def test_of_an_error_less_is_better(scores, catalogue):
    names = {
        "control_leaked": "control_leaked_pairs",
        "logistic": "ridge",
        "control_shuffled": "control_shuffled_pairs",
    }
    errors = scores[(scores["task"] == "blood") & (scores["metric"] == "macro_f1") & scores["method"].isin(names)]
    errors = errors.assign(task="lines", metric="rmse", method=errors["method"].map(names), value=1 - errors["value"])
    assert set(ordered(errors, catalogue).values()) == {"yes"}
