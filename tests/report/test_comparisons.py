"""Our method against every other, paired over splits, corrected for the number of comparisons."""

import math

import numpy as np
import pytest
from scipy import stats

from celllm.config.claims import Claim
from celllm.report.comparisons import compare, comparisons_table, corrected
from celllm.report.results import Results


def rows_of(scores, catalogue, claims=()):
    table = comparisons_table(compare(Results(scores), catalogue, claims), catalogue)
    return {(row["task"], row["other"]): row for row in table.rows.to_dict("records")}, table.markdown


def test_ours_stands_against_every_other_but_the_controls(scores, catalogue):
    found, _ = rows_of(scores, catalogue)

    assert set(found) == {(t, o) for t in ("blood", "invented") for o in ("celllm_scratch", "logistic", "majority")}


def test_a_difference_that_is_the_same_on_every_split_is_certain_in_both_directions(scores, catalogue):
    found, _ = rows_of(scores, catalogue)

    assert found["blood", "celllm_scratch"]["difference"] == pytest.approx(0.1)
    assert found["blood", "celllm_scratch"]["verdict"] == "better"
    assert found["blood", "logistic"]["verdict"] == "worse"


def test_a_difference_within_its_spread_is_not_shown(scores, catalogue):
    is_logistic = (scores["method"] == "logistic") & (scores["metric"] == "macro_f1")
    scores.loc[is_logistic, "value"] = [0.9, 0.5, 0.72, 0.9, 0.5, 0.72]
    found, _ = rows_of(scores, catalogue)

    row = found["blood", "logistic"]
    assert row["verdict"] == "no difference shown"
    assert row["difference_low"] < 0 < row["difference_high"]


def test_the_test_allows_for_the_cells_that_splits_share(scores, catalogue):
    is_logistic = (scores["method"] == "logistic") & (scores["metric"] == "macro_f1")
    scores.loc[is_logistic, "value"] = [0.9, 0.5, 0.72, 0.9, 0.5, 0.72]
    found, _ = rows_of(scores, catalogue)

    differences = np.array([0.69 - 0.9, 0.7 - 0.5, 0.71 - 0.72])
    # a fifth of the cells is tested, whatever is trained on
    t = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 3 + 0.2 / 0.8))
    assert found["blood", "logistic"]["p"] == pytest.approx(2 * stats.t.sf(abs(t), df=2))


def test_only_splits_that_both_have_are_compared(scores, catalogue):
    scores = scores[(scores["method"] != "majority") | (scores["split"] != 2)]
    found, _ = rows_of(scores, catalogue)

    assert found["blood", "majority"]["n_splits"] == 2
    assert found["blood", "logistic"]["n_splits"] == 3


def test_a_single_split_decides_nothing(scores, catalogue):
    found, _ = rows_of(scores[scores["split"] == 0], catalogue)

    assert found["blood", "logistic"]["verdict"] == "undecided: too few splits"


def test_a_method_without_its_neighbour_is_not_compared(scores, catalogue):
    found, _ = rows_of(scores[scores["method"] != "celllm_scratch"], catalogue)

    assert found == {}


def test_the_published_difference_stands_beside_ours_where_both_are_published(scores, catalogue):
    claims = [Claim(m, "s", "blood", m, "macro_f1", paper, 0.02) for m, paper in (("celllm", 0.718), ("logistic", 0.7))]
    found, _ = rows_of(scores, catalogue, claims)

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
    _, text = rows_of(scores, catalogue)
    lines = [line for line in text.splitlines() if "of nothing" in line]
    assert len(lines) == 3
    assert all("simulated" in line.lower() for line in lines)


def test_of_several_published_numbers_of_a_method_the_first_counts(scores, catalogue):
    claims = [
        Claim(name, "a paper", "blood", method, "macro_f1", value, 0.02)
        for name, method, value in (
            ("ours", "celllm", 0.718),
            ("theirs", "logistic", 0.688),
            ("again", "logistic", 0.5),
        )
    ]
    found, _ = rows_of(scores, catalogue, claims)

    assert found["blood", "logistic"]["paper"] == pytest.approx(0.030)
