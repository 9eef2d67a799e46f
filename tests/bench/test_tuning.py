"""Options are chosen on validation, with the same number of trials for every method."""

import math

import numpy as np
import pytest

from celllm.base.errors import CellLMError
from celllm.bench.protocol import candidates, choose_options

SEARCH = {"C": [1.0, 0.1, 10.0], "penalty": ["l2", "l1"]}
DEFAULTS = (1.0, "l2")


def chosen(worth, *, budget=6, metric="macro_f1"):
    """Choose among candidates that are worth 0.5, or what is said of their C and penalty; an error is raised."""

    def fit(options):
        value = worth.get((options["C"], options["penalty"]), worth.get("others", 0.5))
        if isinstance(value, Exception):
            raise value
        return value

    return choose_options(
        fit,
        lambda value: value,
        options={"iterations": 5},
        search=SEARCH,
        budget=budget,
        seed=0,
        metric=metric,
    )


def test_candidates_begin_with_the_defaults_come_once_and_differ_by_seed():
    drawn = [[tuple(one.values()) for one in candidates(SEARCH, budget=4, seed=seed)] for seed in range(20)]

    assert {tuple(map(len, (found, set(found)))) for found in drawn} == {(4, 4)}
    assert {found[0] for found in drawn} == {DEFAULTS}
    assert len({found[1] for found in drawn}) > 1
    assert len(candidates(SEARCH, budget=100, seed=0)) == 6
    assert candidates({}, budget=5, seed=0) == [{}]


@pytest.mark.parametrize(
    ("worth", "metric", "wanted"),
    [
        pytest.param({(0.1, "l1"): 0.9}, "macro_f1", (0.1, "l1"), id="the best"),
        pytest.param({(10.0, "l2"): 0.1}, "rmse", (10.0, "l2"), id="the least error"),
        pytest.param({}, "macro_f1", DEFAULTS, id="a tie goes to the defaults"),
        pytest.param({"others": math.nan, (0.1, "l2"): -0.5}, "macro_f1", (0.1, "l2"), id="undefined never wins"),
    ],
)
def test_the_best_on_validation_is_chosen_and_all_trials_are_kept(worth, metric, wanted):
    choice = chosen(worth, metric=metric)

    assert choice.options == {"iterations": 5, "C": wanted[0], "penalty": wanted[1]}
    assert len(choice.trials) == 6
    np.testing.assert_equal(choice.method, worth.get(wanted, 0.5))


@pytest.mark.parametrize("error", [CellLMError("diverged"), ValueError("Input contains infinity")])
def test_a_candidate_that_fails_loses_and_is_told_of(error):
    choice = chosen({DEFAULTS: error})

    assert choice.method == 0.5
    assert np.isnan(choice.trials[0].value)
    with pytest.raises(type(error), match=str(error)):
        chosen({"others": error})


def test_a_budget_of_one_takes_the_defaults_and_judges_nothing():
    choice = chosen({}, budget=1)

    assert (choice.options["C"], choice.trials) == (1.0, ())
