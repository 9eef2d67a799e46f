"""DeepCDR as a method: it learns, the validation part stops it, and nothing leaks."""

from dataclasses import replace

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.bench.methods.deepcdr import DeepCDRResponse, _batches
from celllm.config.settings import FitBudget

NOTHING = np.array([], dtype=np.int64)
QUICK = {"epochs": 3, "batch": 16}


def _method(vocabulary, **options):
    return DeepCDRResponse({**QUICK, **options}, seed=0, encoder=None, vocabulary=vocabulary)


@pytest.fixture
def divided(pairs):
    order = np.random.default_rng(2).permutation(len(pairs.line))
    return order[:65], order[65:75], order[75:]


def test_it_learns_the_drugs_and_comes_back_in_units_of_ln_ic50(vocabulary, pairs, divided):
    train, validation, test = divided
    pairs = replace(pairs, response=10 * pairs.response + 500)
    method = _method(vocabulary, epochs=30, patience=30)
    method.fit(pairs.hiding(test), train, validation)
    predicted, truth = method.predict(pairs.hiding(test), test), pairs.response[test]

    assert np.corrcoef(predicted, truth)[0, 1] > 0.5
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < truth.std()


@pytest.mark.parametrize("select", ["pearson", "rmse"])
def test_the_check_that_is_best_on_the_validation_part_is_kept(vocabulary, pairs, divided, select):
    train, validation, test = divided
    method, seen = _method(vocabulary, epochs=8, patience=2, select=select), []
    judged = method._judged

    def noting(*args):
        seen.append(judged(*args))
        return seen[-1]

    method._judged = noting
    method.fit(pairs.hiding(test), train, validation)

    assert judged(pairs, validation) == pytest.approx(max(seen), abs=1e-6)
    assert max(seen) > min(seen)
    truth, predicted = pairs.response[validation], method.predict(pairs, validation)
    wanted = np.corrcoef(truth, predicted)[0, 1] if select == "pearson" else -np.sqrt(np.mean((truth - predicted) ** 2))
    assert max(seen) == pytest.approx(wanted, abs=1e-5)


def test_without_validation_the_whole_budget_is_used(vocabulary, pairs, divided):
    method = _method(vocabulary, epochs=None)
    method.budget = FitBudget(pairs=130, epochs=30)
    method.fit(pairs, divided[0], NOTHING)

    assert method.shown_units == 130


def test_hidden_responses_and_the_order_of_what_is_asked_do_not_matter(vocabulary, pairs, divided):
    train, validation, test = divided
    predicted = []
    for shown, rows in ((pairs, test), (pairs.hiding(test), test[::-1])):
        method = _method(vocabulary)
        method.fit(shown, train, validation)
        predicted.append(method.predict(shown, rows))

    np.testing.assert_allclose(predicted[1][::-1], predicted[0], rtol=1e-4, atol=1e-5)


def test_a_drug_that_was_never_met_is_answered_by_its_graph(vocabulary, pairs):
    train, test = np.flatnonzero(pairs.drug < 2), np.flatnonzero(pairs.drug == 2)
    method = _method(vocabulary)
    method.fit(pairs.hiding(test), train, NOTHING)
    predicted = method.predict(pairs.hiding(test), test)

    assert np.isfinite(predicted).all()
    assert (method.predict(replace(pairs, smiles=[*pairs.smiles[:2], "ClCCCl"]), test) != predicted).any()


def test_constant_responses_stay_finite_and_near_the_constant(vocabulary, pairs, divided):
    constant = replace(pairs, response=np.full(90, -2.5))
    method = _method(vocabulary)
    method.fit(constant, *divided[:2])

    assert np.abs(method.predict(constant, divided[2]) + 2.5).max() < 1


def test_a_structure_that_cannot_be_read_names_the_drug(vocabulary, pairs, divided):
    with pytest.raises(InputError, match="caffeine"):
        _method(vocabulary).fit(replace(pairs, smiles=["CCO", "C1CC(", "C"]), *divided[:2])


@pytest.mark.parametrize(
    ("n", "wanted"),
    [(1, [(0, 1)]), (4, [(0, 4)]), (5, [(0, 5)]), (6, [(0, 4), (4, 6)]), (9, [(0, 4), (4, 9)])],
)
def test_no_batch_but_an_only_one_is_of_a_single_pair(n, wanted):
    assert _batches(n, 4) == wanted
