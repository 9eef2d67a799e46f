"""Options are chosen on validation, with the same number of trials for every method."""

import math

import numpy as np
import pytest

from celllm.base.errors import CellLMError
from celllm.bench.protocol import candidates, choose_options

SEARCH = {"C": [1.0, 0.1, 10.0], "penalty": ["l2", "l1"]}


def _chosen(values, *, metric="macro_f1", budget=6, search=SEARCH):
    """Choose among candidates whose worth is looked up by C and penalty."""

    def fit(options):
        value = values[options["C"], options["penalty"]]
        if value is None:
            message = "diverged"
            raise CellLMError(message)
        return value

    return choose_options(
        fit, lambda value: value, options={"iterations": 5}, search=search, budget=budget, seed=0, metric=metric
    )


def _all(value):
    return {(c, penalty): value for c in SEARCH["C"] for penalty in SEARCH["penalty"]}


def test_the_first_candidate_is_the_defaults():
    for seed in range(5):
        assert candidates(SEARCH, budget=2, seed=seed)[0] == {"C": 1.0, "penalty": "l2"}


def test_no_candidate_comes_twice_and_the_budget_is_kept():
    found = [tuple(one.values()) for one in candidates(SEARCH, budget=4, seed=1)]
    assert len(set(found)) == len(found) == 4


def test_a_budget_beyond_the_grid_tries_all_of_it():
    assert len(candidates(SEARCH, budget=100, seed=0)) == 6


def test_other_seeds_draw_other_candidates():
    drawn = {str(candidates(SEARCH, budget=2, seed=seed)[1]) for seed in range(20)}
    assert len(drawn) > 1


def test_without_search_there_is_one_candidate_without_options():
    assert candidates({}, budget=5, seed=0) == [{}]


def test_the_best_on_validation_is_chosen_and_all_trials_are_kept():
    choice = _chosen(_all(0.5) | {(0.1, "l1"): 0.9})

    assert choice.options == {"iterations": 5, "C": 0.1, "penalty": "l1"}
    assert choice.method == 0.9
    assert len(choice.trials) == 6
    assert max(trial.value for trial in choice.trials) == 0.9


def test_of_an_error_the_least_is_chosen():
    assert _chosen(_all(0.5) | {(10.0, "l2"): 0.1}, metric="rmse").options["C"] == 10.0


def test_a_tie_goes_to_the_defaults():
    assert _chosen(_all(0.5)).options == {"iterations": 5, "C": 1.0, "penalty": "l2"}


def test_an_undefined_score_never_wins():
    assert _chosen(_all(math.nan) | {(0.1, "l2"): -0.5}).options["C"] == 0.1


def test_a_candidate_that_fails_loses_and_is_told_of():
    choice = _chosen(_all(0.5) | {(1.0, "l2"): None})

    assert choice.method == 0.5
    assert np.isnan(choice.trials[0].value)


def test_a_candidate_whose_answers_are_no_numbers_loses():
    def judge(value):
        if math.isinf(value):
            message = "Input contains infinity"
            raise ValueError(message)
        return value

    answers = iter([math.inf, 0.4])
    choice = choose_options(
        lambda _: next(answers), judge, options={}, search={"C": [1.0, 0.1]}, budget=2, seed=0, metric="macro_f1"
    )
    assert choice.options == {"C": 0.1}
    assert math.isnan(choice.trials[0].value)


def test_when_the_time_is_over_no_further_trial_is_begun():
    choice = choose_options(
        lambda options: options["C"],
        lambda value: value,
        options={},
        search={"C": [1.0, 0.1, 10.0]},
        budget=3,
        seconds=0,
        seed=0,
        metric="macro_f1",
    )
    assert (choice.method, len(choice.trials)) == (1.0, 1)


def test_where_all_candidates_fail_the_error_of_the_first_is_raised():
    with pytest.raises(CellLMError, match="diverged"):
        _chosen(_all(None))


def test_a_budget_of_one_takes_the_defaults_and_judges_nothing():
    choice = _chosen(_all(0.5), budget=1)

    assert choice.options["C"] == 1.0
    assert choice.trials == ()
