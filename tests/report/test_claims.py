import math

import pandas as pd
import pytest
from tests.report.conftest import seen

from celllm.base.errors import InputError
from celllm.config.tables import Claim
from celllm.report.claims import claims_table
from celllm.report.results import Results


def claim(**changes):
    values = {
        "claim": "c",
        "source": "abstract",
        "task": "blood",
        "method": "celllm",
        "metric": "macro_f1",
        "paper": 0.7,
        "tolerance": 0.02,
    }
    return Claim(**(values | changes))


def answered(scores, catalogue, not_run=(), **changes):
    known = catalogue.model_copy(update={"claims": [claim(**changes)], "not_run": not_run})
    (answer,) = claims_table(Results(scores), known).rows.to_dict("records")
    return answer


def steady(scores):
    """Leave a hundredth of the spread between splits: an interval of 0.7 +- 0.0003."""
    means = scores.groupby(["task", "method", "metric"])["value"].transform("mean")
    return scores.assign(value=means + (scores["value"] - means) / 100)


@pytest.mark.parametrize(
    ("paper", "verdict"),
    [
        (0.715, "reproduced"),
        (0.7195, "reproduced"),
        (0.72, "undecided"),
        (0.7205, "not reproduced"),
        (0.679, "not reproduced"),
    ],
)
def test_an_interval_within_the_tolerance_is_reproduced_and_one_outside_is_not(scores, catalogue, paper, verdict):
    answer = answered(steady(scores), catalogue, paper=paper)

    assert answer["verdict"] == verdict
    assert answer["ours"] == pytest.approx(0.7)
    assert answer["ours_low"] < 0.7 < answer["ours_high"]
    assert answer["n_splits"] == 3


def test_a_mean_that_equals_the_published_value_decides_nothing_where_the_interval_is_wide(scores, catalogue):
    answer = answered(scores, catalogue, paper=0.7)

    assert answer["verdict"] == "undecided"
    assert answer["ours_high"] > 0.72


def test_a_single_split_decides_nothing(scores, catalogue):
    assert answered(scores[scores["split"] == 0], catalogue, paper=0.69)["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("changes", "absent", "verdict", "note"),
    [
        pytest.param({"task": "gland"}, None, "not run", "no score for gland", id="no score"),
        pytest.param({"not_run": ["blood"]}, None, "not run", "no score for blood", id="said not to be run"),
        pytest.param(
            {"task": "blood+gland", "method": "majority"}, None, "not run", "no score for gland", id="one of two tasks"
        ),
        pytest.param({"task": "invented"}, None, "not comparable", "simulated data", id="simulated"),
        pytest.param({}, "logistic", "not comparable", "withheld: no baseline on blood", id="no reference"),
        pytest.param(
            {"method": "majority"}, "a value", "not comparable", "macro_f1 is undefined for a split", id="undefined"
        ),
    ],
)
def test_a_number_that_is_not_there_or_may_not_be_compared_says_why(scores, catalogue, changes, absent, verdict, note):
    scores.loc[(scores["method"] == "majority") & (scores["split"] == 1), "value"] = math.nan
    answer = answered(scores[scores["method"] != absent], catalogue, **changes)
    assert (answer["verdict"], answer["note"]) == (verdict, note)
    assert math.isnan(answer["ours"])


def test_a_mean_over_two_tasks_is_taken_split_by_split(scores, catalogue):
    gland = scores[scores["task"] == "blood"].assign(task="gland")
    gland["value"] += 0.1 * gland["split"]
    both = pd.concat([scores, gland])
    answer = answered(both, catalogue, task="blood+gland", method="majority", paper=0.15)
    # blood 0.09 0.10 0.11, gland 0.09 0.20 0.31: means 0.09 0.15 0.21
    assert answer["ours"] == pytest.approx(0.15)
    assert answer["n_splits"] == 3


def test_a_misspelt_method_is_refused_with_the_nearest_name(scores, catalogue):
    with pytest.raises(InputError, match="did you mean celllm"):
        answered(scores, catalogue, method="cellm")


def test_the_table_shows_tolerance_verdict_and_reason(scores, catalogue):
    known = catalogue.model_copy(update={"claims": [claim(paper=0.718), claim(task="gland")]})
    first, second = seen(claims_table(Results(steady(scores)), known))
    assert (first["paper"], first["± tolerance"], first["verdict"]) == ("0.718", "0.02", "reproduced")
    assert first["ours"].startswith("0.700 [")
    assert (second["ours"], second["note"]) == ("", "no score for gland")
