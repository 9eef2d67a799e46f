"""Our method against every other, paired over splits, corrected for the number of comparisons; controls in order."""

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


def headline_of(scores, method):
    return (scores["method"] == method) & (scores["metric"] == "macro_f1")


def test_ours_stands_against_every_other_but_the_controls_and_a_steady_difference_is_found(scores, catalogue):
    scores.loc[headline_of(scores, "celllm"), "value"] += [0.001, 0, -0.001] * 2
    found = rows_of(scores, catalogue)
    assert set(found) == {(t, o) for t in ("blood", "invented") for o in ("celllm_scratch", "logistic", "majority")}
    assert found["blood", "celllm_scratch"]["difference"] == pytest.approx(0.1)
    assert [found["blood", name]["verdict"] for name in ("celllm_scratch", "logistic", "majority")] == [
        *("better", "worse", "better (p not corrected)"),
    ]


@pytest.mark.parametrize(
    ("splits", "donors", "verdict"),
    [
        pytest.param(3, False, "undecided: no spread", id="equal differences"),
        pytest.param(1, False, "undecided: too few splits", id="one split"),
        pytest.param(3, True, "undecided: fewer than 6 donors", id="few donors"),
    ],
)
def test_what_tells_of_no_spread_decides_nothing(scores, catalogue, splits, donors, verdict):
    if donors:
        scores.loc[scores["metric"] == "test_share", "value"] = 0
        blood = replace(catalogue.tasks["blood"], test=0, split="donors")
        catalogue = catalogue.model_copy(update={"tasks": {"blood": blood}})
    row = rows_of(scores[scores["split"] < splits], catalogue)["blood", "celllm_scratch"]
    assert row["verdict"] == verdict
    assert math.isnan(row["q"])


def test_a_difference_within_its_spread_is_not_shown(scores, catalogue):
    scores.loc[headline_of(scores, "logistic"), "value"] = [0.9, 0.5, 0.72, 0.9, 0.5, 0.72]
    row = rows_of(scores, catalogue)["blood", "logistic"]
    assert row["verdict"] == "no difference shown"
    assert row["difference_low"] < 0 < row["difference_high"]
    differences = np.array([0.69 - 0.9, 0.7 - 0.5, 0.71 - 0.72])
    # a fifth of the cells is tested, whatever is trained on
    t = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 3 + 0.2 / 0.8))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), df=2))


def test_what_is_corrected_for_was_stated_beforehand_whatever_else_is_compared(scores, catalogue):
    scores.loc[headline_of(scores, "celllm"), "value"] += [0.01, 0, -0.02] * 2
    alone = rows_of(scores[scores["method"] != "majority"], catalogue)
    found = rows_of(scores, catalogue)
    assert [found["blood", name]["question"] for name in ("celllm_scratch", "logistic", "majority")] == [
        *("itself without pretraining", "the best linear model", ""),
    ]
    assert found["blood", "logistic"]["q"] == alone["blood", "logistic"]["q"] > found["blood", "logistic"]["p"]
    assert math.isnan(found["blood", "majority"]["q"])


def test_the_best_of_the_linear_models_is_the_rival(scores, catalogue):
    better = replace(catalogue.methods["logistic"], method="svm", role="linear_baseline")
    known = catalogue.model_copy(update={"methods": {**catalogue.methods, "svm": better}})
    svm = scores[scores["method"] == "logistic"].assign(method="svm")
    svm["value"] += 0.05
    found = rows_of(pd.concat([scores, svm]), known)
    assert [found["blood", name]["question"] for name in ("svm", "logistic")] == ["the best linear model", ""]


def test_test_cells_count_where_splits_agree(scores, catalogue):
    # both splits have the same difference, of one cell in twenty
    scores = scores[scores["split"] < 2]
    one, two = (Influence(np.array([wins - 0.5] * 10 + [0.5 - wins] * 10)) for wins in (1.0, 0.9))
    influences = {("blood", name): {0: each, 1: each} for name, each in (("celllm", one), ("celllm_scratch", two))}
    rows = compare(Results(scores), catalogue, influences)
    (row,) = (row for row in rows if (row["task"], row["other"]) == ("blood", "celllm_scratch"))
    assert 0 < row["p"] < 1
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_the_published_difference_stands_beside_ours_where_both_are_published_the_first_of_several(scores, catalogue):
    published = (("celllm", 0.718), ("logistic", 0.7), ("logistic", 0.5))
    found = rows_of(scores, catalogue, [Claim(m, "s", "blood", m, "macro_f1", paper, 0.02) for m, paper in published])
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


def order_of(scores, catalogue, **changes):
    """Whether the controls of blood bound the linear model, by split and in words, with these scores of a split."""
    for name, value in changes.items():
        method, split = name.rsplit("_", 1)
        is_meant = headline_of(scores, method) & (scores["task"] == "blood") & (scores["split"] == int(split))
        scores.loc[is_meant, "value"] = value
    table = controls_table(Results(scores), catalogue)
    rows = table.rows[table.rows["metric"] != "accuracy"]
    (told,) = {
        row["splits in order"] for row in seen(table) if "of blood" in row["task"] and row["metric"] == "macro F1"
    }
    return list(rows.loc[rows["task"] == "Annotation of blood", "ordered"]), told


@pytest.mark.parametrize(
    ("changes", "ordered", "told"),
    [
        pytest.param({}, ["yes"] * 3, "3 of 3", id="in order"),
        pytest.param({"control_leaked_0": 0.5}, ["no", "yes", "yes"], "2 of 3", id="leaked loses"),
        pytest.param({"control_shuffled_0": 0.9}, ["no", "yes", "yes"], "2 of 3", id="shuffled wins"),
        pytest.param({"control_shuffled_0": math.nan}, ["undefined", "yes", "yes"], "2 of 2", id="undefined"),
        pytest.param({"logistic_0": 1, "control_leaked_0": 1}, ["yes"] * 3, "3 of 3", id="a tie at the top"),
        pytest.param({"logistic_0": 0.9, "control_leaked_0": 0.9}, ["no", "yes", "yes"], "2 of 3", id="another tie"),
    ],
)
def test_controls_are_in_order_or_called_what_they_are(scores, catalogue, changes, ordered, told):
    assert order_of(scores, catalogue, **changes) == (ordered, told)


@pytest.mark.parametrize(
    ("splits", "told"), [((0, 1, 2), "not run"), ((1, 2), "1 of 3 (2 without a control)")], ids=["never", "sometimes"]
)
def test_a_control_that_did_not_run_is_told_of(scores, catalogue, splits, told):
    rest = scores[(scores["method"] != "control_leaked") | ~scores["split"].isin(splits)]
    assert order_of(rest, catalogue)[1] == told


def test_of_an_error_less_is_better(scores, catalogue):
    names = {"control_leaked": "control_leaked_pairs", "logistic": "ridge"}
    names |= {"control_shuffled": "control_shuffled_pairs"}
    errors = scores[(scores["task"] == "blood") & (scores["metric"] == "macro_f1") & scores["method"].isin(names)]
    errors = errors.assign(task="lines", metric="rmse", method=errors["method"].map(names), value=1 - errors["value"])
    assert set(controls_table(Results(errors), catalogue).rows["ordered"]) == {"yes"}
