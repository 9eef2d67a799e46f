from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from celllm.bench.methods.cell_lines import DrugAndLineMean, DrugMean, LeakedResponses, RidgePerDrug
from celllm.bench.methods.drug_structures import DrugNeighbour, RidgePairs, ShuffledResponses

NOTHING = np.array([], dtype=np.int64)


@pytest.fixture
def divided(pairs):
    order = np.random.default_rng(2).permutation(len(pairs.line))
    return order[:60], order[60:66], order[66:]


def _predicted(kind, pairs, divided, vocabulary, **options):
    method = kind(options, seed=0, encoder=None, vocabulary=vocabulary)
    train, validation, test = divided
    shown = pairs if method.sees_test_labels else pairs.hiding(test)
    method.fit(shown, train, validation)
    return method.predict(shown, test)


def _rmse(predicted, pairs, divided):
    return np.sqrt(np.mean((predicted - pairs.response[divided[2]]) ** 2))


def test_the_drug_mean_is_that_of_its_training_lines_and_an_unseen_drug_gets_the_grand_mean(pairs, vocabulary):
    response = np.arange(90, dtype=float)
    method = DrugMean({}, seed=0, encoder=None, vocabulary=vocabulary)
    # rows count through the drugs: 0 and 3 are of the first, 1 of the second, the third is not met
    method.fit(replace(pairs, response=response), np.array([0, 3, 1]), NOTHING)

    np.testing.assert_allclose(method.predict(pairs, np.array([6, 7, 8])), [1.5, 1.0, 4 / 3])


def test_drug_and_line_effects_add_up(pairs, vocabulary):
    line, drug = np.arange(30.0) / 7, np.array([-3.0, 0.0, 5.0])
    additive = replace(pairs, response=line[pairs.line] + drug[pairs.drug])
    method = DrugAndLineMean({}, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(additive, np.arange(90), NOTHING)

    np.testing.assert_allclose(method.predict(additive, np.arange(90)), additive.response)


def test_an_unseen_line_counts_as_average(pairs, vocabulary):
    drug_only, both = (kind({}, seed=0, encoder=None, vocabulary=vocabulary) for kind in (DrugMean, DrugAndLineMean))
    train, test = np.flatnonzero(pairs.line < 20), np.flatnonzero(pairs.line >= 20)
    for method in (drug_only, both):
        method.fit(pairs, train, NOTHING)

    np.testing.assert_allclose(both.predict(pairs, test), drug_only.predict(pairs, test))


def test_ridge_equals_scikit_learn_on_standardised_lines(pairs, divided, vocabulary):
    predicted = _predicted(RidgePerDrug, pairs, divided, vocabulary, alphas=[5.0])
    train, test = divided[0], divided[2]
    dense = pairs.expression.toarray().astype(float)
    seen = dense[np.unique(pairs.line[train])]
    dense = (dense - seen.mean(axis=0)) / seen.std(axis=0)
    for drug in range(3):
        rows = train[pairs.drug[train] == drug]
        reference = Ridge(alpha=5.0).fit(dense[pairs.line[rows]], pairs.response[rows])
        of_drug = pairs.drug[test] == drug
        np.testing.assert_allclose(predicted[of_drug], reference.predict(dense[pairs.line[test[of_drug]]]), rtol=1e-6)


def test_ridge_with_two_pairs_of_a_drug_falls_back_on_the_mean(pairs, vocabulary):
    method = RidgePerDrug({}, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(pairs, np.array([0, 3]), NOTHING)

    assert method.predict(pairs, np.array([9])) == pytest.approx(pairs.response[[0, 3]].mean())


@pytest.mark.parametrize("kind", [DrugMean, DrugAndLineMean, RidgePerDrug, RidgePairs, DrugNeighbour])
def test_validation_pairs_teach_nothing(pairs, divided, vocabulary, kind):
    train, validation, test = divided
    other = pairs.response.copy()
    other[validation] = 1000.0

    np.testing.assert_array_equal(
        _predicted(kind, replace(pairs, response=other), divided, vocabulary),
        _predicted(kind, pairs, (train, NOTHING, test), vocabulary),
    )


@pytest.mark.parametrize("kind", [DrugMean, DrugAndLineMean, RidgePerDrug, RidgePairs, DrugNeighbour])
def test_hidden_responses_do_not_matter(pairs, divided, vocabulary, kind):
    train, _, test = divided
    method = kind({}, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(pairs, train, NOTHING)

    np.testing.assert_array_equal(
        method.predict(pairs, test), _predicted(kind, pairs, (train, NOTHING, test), vocabulary)
    )


@pytest.mark.parametrize("kind", [DrugMean, DrugAndLineMean, RidgePerDrug, RidgePairs, DrugNeighbour])
def test_constant_responses_are_predicted_as_they_are(pairs, divided, vocabulary, kind):
    constant = replace(pairs, response=np.full(90, -2.5))

    np.testing.assert_allclose(_predicted(kind, constant, divided, vocabulary), -2.5)


@pytest.mark.parametrize("kind", [DrugMean, DrugAndLineMean, RidgePerDrug])
def test_a_test_drug_that_no_training_pair_has_gets_the_grand_mean(pairs, vocabulary, kind):
    train, test = (
        np.flatnonzero((pairs.drug != 2) & (pairs.line < 20)),
        np.flatnonzero((pairs.drug == 2) & (pairs.line >= 20)),
    )
    predicted = _predicted(kind, pairs, (train, NOTHING, test), vocabulary)

    np.testing.assert_allclose(predicted, pairs.response[train].mean())


def test_a_gene_that_does_not_vary_among_training_lines_changes_nothing(pairs, divided, vocabulary):
    dense = pairs.expression.toarray()
    dense[:, 39] = 0
    before = _predicted(RidgePerDrug, replace(pairs, expression=type(pairs.expression)(dense)), divided, vocabulary)
    dense[:, 39] = 3
    after = _predicted(RidgePerDrug, replace(pairs, expression=type(pairs.expression)(dense)), divided, vocabulary)

    np.testing.assert_allclose(after, before)


def test_controls_win_and_lose(pairs, divided, vocabulary):
    honest = _rmse(_predicted(RidgePerDrug, pairs, divided, vocabulary, alphas=[5.0]), pairs, divided)
    leaked = _rmse(_predicted(LeakedResponses, pairs, divided, vocabulary, alphas=[5.0]), pairs, divided)
    shuffled = _rmse(_predicted(ShuffledResponses, pairs, divided, vocabulary), pairs, divided)
    mean = _rmse(_predicted(DrugMean, pairs, divided, vocabulary), pairs, divided)

    assert leaked < 0.1 * honest
    assert honest < mean < shuffled


def test_controls_win_and_lose_on_drugs_that_training_does_not_meet(pairs, vocabulary):
    train, test = np.flatnonzero(pairs.drug != 2), np.flatnonzero(pairs.drug == 2)
    divided = (train, NOTHING, test)
    honest = _rmse(_predicted(RidgePairs, pairs, divided, vocabulary), pairs, divided)
    leaked = _rmse(_predicted(LeakedResponses, pairs, divided, vocabulary), pairs, divided)
    shuffled = _predicted(ShuffledResponses, pairs, divided, vocabulary)

    assert leaked == 0 < honest
    assert np.ptp(shuffled) > 0  # so that its correlations are defined


def test_the_shuffled_control_knows_no_true_mean(pairs, divided, vocabulary):
    apart = replace(pairs, response=pairs.response + 100.0 * pairs.drug)
    train, _, test = divided
    shuffled = _predicted(ShuffledResponses, apart, (train, NOTHING, test), vocabulary)

    of_drug = [shuffled[pairs.drug[test] == drug].mean() for drug in range(3)]
    assert np.ptp(of_drug) < 100  # the true ones differ by 200
