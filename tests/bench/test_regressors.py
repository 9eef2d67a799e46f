"""What every shipped regression does, and what is told of baselines that know means, genes and structures."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from tests.bench.conftest import ROWS

from celllm.base.errors import InputError
from celllm.bench.methods.molecules import fingerprints, tanimoto

QUICK = {
    "celllm_response": {"epochs": 10, "lines": 6, "learning_rate": 3e-3, "patience": 10},
    "deepcdr": {"epochs": 15, "batch": 16, "patience": 15},
    "boosting_pairs": {"max_iter": 30},
}
CHOOSING = ("celllm_response", "deepcdr")
OTHERS = [
    "ridge",
    "celllm_ridge",
    "celllm_genes_ridge",
    "ridge_pairs",
    "elastic_net_pairs",
    "boosting_pairs",
    "drug_neighbour",
    "drug_mean",
    "drug_line_mean",
]
EACH = pytest.mark.parametrize("name", [*CHOOSING, *OTHERS])
BY_STRUCTURE = pytest.mark.parametrize("name", [*CHOOSING, "ridge_pairs", "drug_neighbour", "elastic_net_pairs"])
RIDGES = [("ridge", {}), ("celllm_genes_ridge", {"weight": 0.0}), ("celllm_genes_ridge", {"weight": 3.0})]
# Butane to heptane are near relatives; the two acids are of another family.
ALKANES, ACIDS = ["CCCC", "CCCCC", "CCCCCC", "CCCCCCC"], ["OC(=O)c1ccccc1", "OC(=O)c1ccccc1C"]


def brief(name):
    """Options with which a method that learns batch by batch learns but once."""
    return QUICK.get(name, {}) | ({"epochs": 1} if name in CHOOSING else {})


def rmse(predicted, pairs, at):
    return np.sqrt(np.mean((predicted - pairs.response[at.test]) ** 2))


def test_the_table_has_no_row_of_another_class():
    regressions = [row for row in ROWS if row.kind == "regression"]
    modules = {row.module for row in regressions if row.method in (*CHOOSING, *OTHERS) or "control" in row.method}
    assert {row.module for row in regressions} == modules


@EACH
def test_it_learns_the_drugs_in_units_of_ln_ic50_and_test_responses_teach_nothing(made, pairs, divided, name):
    pairs, answers = replace(pairs, response=10 * pairs.response + 500), []
    for shown in (pairs.hiding(divided.test), pairs) if name in OTHERS else (pairs.hiding(divided.test),):
        method = made(name, **QUICK.get(name, {}))
        method.fit(shown, divided.train, divided.validation)
        answers.append(method.predict(shown, divided.test))

    truth = pairs.response[divided.test]
    if name not in ("drug_neighbour", "drug_line_mean"):  # a line's other responses say nothing here
        assert np.corrcoef(answers[0], truth)[0, 1] > 0.3
    if name in CHOOSING:
        assert rmse(answers[0], pairs, divided) < truth.std()
    np.testing.assert_array_equal(answers[0], answers[-1])
    # and the company of other pairs, or their order, does not matter
    np.testing.assert_allclose(method.predict(shown, divided.test[::-1]), answers[0][::-1], rtol=1e-4)
    np.testing.assert_allclose(method.predict(shown, divided.test[:1]), answers[0][:1], rtol=1e-4)


@pytest.mark.parametrize("name", CHOOSING)
def test_hidden_responses_do_not_matter_to_what_learns_batch_by_batch(made, pairs, divided, name):
    answers = []
    for shown in (pairs, pairs.hiding(divided.test)):
        method = made(name, **brief(name))
        method.fit(shown, divided.train, divided.validation)
        answers.append(method.predict(shown, divided.test))

    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", OTHERS)
def test_validation_pairs_teach_nothing(answered, pairs, divided, name):
    other = pairs.response.copy()
    other[divided.validation] = 1000.0
    without = replace_at(divided, validation=divided.none)

    np.testing.assert_array_equal(
        answered(name, replace(pairs, response=other), divided), answered(name, pairs, without)
    )


def replace_at(at, **changes):
    return type(at)(**(vars(at) | changes))


@EACH
def test_constant_responses_stay_finite_and_near_the_constant(answered, pairs, divided, name):
    constant = replace(pairs, response=np.full(90, -2.5))

    answers = answered(name, constant, divided, **QUICK.get(name, {}))
    np.testing.assert_allclose(answers, -2.5, atol=1 if name in CHOOSING else 1e-7)


@BY_STRUCTURE
def test_a_drug_that_was_never_met_is_answered_by_its_structure_which_teaches_nothing(made, pairs, name):
    train, test = np.flatnonzero(pairs.drug < 2), np.flatnonzero(pairs.drug == 2)
    other = replace(pairs, smiles=[*pairs.smiles[:2], "OC(=O)c1ccccc1C(=O)Nc1ccncc1"])
    answers = []
    for shown in (pairs, other):
        method = made(name, **brief(name))
        method.fit(shown.hiding(test), train[:-9], train[-9:])
        answers.append([method.predict(shown.hiding(test), rows) for rows in (train, test)])

    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    assert np.isfinite(answers[0][1]).all()
    assert not np.array_equal(answers[0][1], answers[1][1])


@BY_STRUCTURE
def test_a_structure_that_cannot_be_read_names_the_drug(answered, pairs, divided, name):
    with pytest.raises(InputError, match="smiles of drug caffeine"):
        answered(name, replace(pairs, smiles=["CCO", "C1CC(", "C"]), divided, **brief(name))


@pytest.mark.parametrize("name", CHOOSING)
def test_a_task_without_training_pairs_is_refused(made, pairs, divided, name):
    with pytest.raises(InputError, match="training pairs"):
        made(name).fit(pairs, divided.none, divided.validation)


@pytest.mark.parametrize("name", ["drug_mean", "drug_line_mean", "ridge"])
def test_a_test_drug_that_no_training_pair_has_gets_the_grand_mean(answered, pairs, divided, name):
    train = np.flatnonzero((pairs.drug != 2) & (pairs.line < 20))
    at = replace_at(divided, train=train, test=np.flatnonzero((pairs.drug == 2) & (pairs.line >= 20)))

    np.testing.assert_allclose(answered(name, pairs, at), pairs.response[train].mean())


def test_drug_and_line_effects_add_up_and_an_unseen_line_counts_as_average(made, answered, pairs, divided):
    line, drug = np.arange(30.0) / 7, np.array([-3.0, 0.0, 5.0])
    additive, rows = replace(pairs, response=line[pairs.line] + drug[pairs.drug]), np.arange(90)
    method = made("drug_line_mean")
    method.fit(additive, rows, divided.none)
    new = replace_at(divided, train=np.flatnonzero(pairs.line < 20), test=np.flatnonzero(pairs.line >= 20))
    known = [np.mean(pairs.response[(pairs.line < 20) & (pairs.drug == drug)]) for drug in pairs.drug[new.test]]

    np.testing.assert_allclose(method.predict(additive, rows), additive.response)
    np.testing.assert_allclose(answered("drug_mean", pairs, new), known)
    np.testing.assert_allclose(answered("drug_line_mean", pairs, new), known)


def test_ridge_equals_scikit_learn_on_standardised_lines_whatever_a_constant_gene_says(answered, pairs, divided):
    dense = pairs.expression.toarray()
    dense[:, 39] = 3
    predicted = answered("ridge", replace(pairs, expression=type(pairs.expression)(dense)), divided, alphas=[5.0])
    varying = dense[:, :39].astype(float)
    seen = varying[np.unique(pairs.line[divided.train])]
    genes = (varying - seen.mean(axis=0)) / seen.std(axis=0)
    for drug in range(3):
        taught, asked = (rows[pairs.drug[rows] == drug] for rows in (divided.train, divided.test))
        reference = Ridge(alpha=5.0).fit(genes[pairs.line[taught]], pairs.response[taught])
        answers = predicted[pairs.drug[divided.test] == drug]
        np.testing.assert_allclose(answers, reference.predict(genes[pairs.line[asked]]), rtol=1e-6)


def test_without_weight_of_the_embedding_ridge_on_the_genes_is_left(answered, pairs, divided):
    ridge, joined, other = (answered(name, pairs, divided, **options) for name, options in RIDGES)

    np.testing.assert_allclose(joined, ridge, rtol=1e-6)
    assert np.abs(other - ridge).max() > 1e-3


def test_ridge_with_two_pairs_of_a_drug_falls_back_on_the_mean(answered, pairs, divided):
    at = replace_at(divided, train=np.array([0, 3]), test=np.array([9]))

    assert answered("ridge", pairs, at) == pytest.approx(pairs.response[[0, 3]].mean())


def test_controls_win_and_lose(answered, pairs, divided):
    honest, leaked, mean, shuffled = (
        rmse(answered(name, pairs, divided, **options), pairs, divided)
        for name, options in (
            ("ridge", {"alphas": [5.0]}),
            ("control_leaked_pairs", {"alphas": [5.0]}),
            ("drug_mean", {}),
            ("control_shuffled_pairs", {}),
        )
    )
    assert leaked < 0.1 * honest
    assert honest < mean < shuffled


def test_controls_win_and_lose_on_drugs_that_training_does_not_meet(answered, pairs, divided):
    at = replace_at(divided, train=np.flatnonzero(pairs.drug != 2), test=np.flatnonzero(pairs.drug == 2))
    honest, leaked = (rmse(answered(name, pairs, at), pairs, at) for name in ("ridge_pairs", "control_leaked_pairs"))

    assert leaked == 0 < honest
    assert np.ptp(answered("control_shuffled_pairs", pairs, at)) > 0  # so that its correlations are defined


@pytest.fixture
def families(pairs):
    """Thirty lines and six drugs; a line's response to a family follows one gene, alkanes lie 4 above acids."""
    line, drug = (index.ravel() for index in np.meshgrid(np.arange(30), np.arange(6), indexing="ij"))
    is_acid = drug >= len(ALKANES)
    response = 4.0 * ~is_acid + pairs.expression.toarray()[line, is_acid.astype(int)]
    drugs = [f"drug{number}" for number in range(6)]
    return replace(pairs, drugs=drugs, smiles=ALKANES + ACIDS, line=line, drug=drug, response=response)


@pytest.fixture
def asked(answered, divided):
    """Answers of a method for some pairs, taught others."""

    def ask(name, pairs, train, test, **options):
        return answered(name, pairs, replace_at(divided, train=train, validation=divided.none, test=test), **options)

    return ask


def alike_to_second(families):
    bits = fingerprints(families.drugs, families.smiles)
    return tanimoto(bits, bits)[1]


def test_ridge_on_pairs_equals_the_closed_form_with_the_whole_kernel(asked, families, generator):
    order = generator.permutation(180)
    train, test, line, drug = order[:100], order[100:], families.line, families.drug
    dense = families.expression.toarray().astype(float)
    seen = dense[np.unique(line[train])]
    genes = (dense - seen.mean(axis=0)) / seen.std(axis=0)
    bits = fingerprints(families.drugs, families.smiles)
    lines, drugs = 1 + genes @ genes.T / genes.shape[1], 1 + tanimoto(bits, bits) + np.eye(6)

    def kernel(left, right):
        return lines[np.ix_(line[left], line[right])] * drugs[np.ix_(drug[left], drug[right])]

    mean = families.response[train].mean()
    weights = np.linalg.solve(kernel(train, train) + 0.7 * np.eye(100), families.response[train] - mean)
    wanted = mean + kernel(test, train) @ weights
    np.testing.assert_allclose(asked("ridge_pairs", families, train, test, alpha=0.7), wanted, atol=1e-4)
    again = asked("ridge_pairs", families, generator.permutation(train), test, alpha=0.7)
    np.testing.assert_allclose(again, wanted, atol=1e-4)


def test_a_penalty_of_zero_is_refused(made):
    with pytest.raises(InputError, match="a number above 0"):
        made("ridge_pairs", alpha=0)


@pytest.mark.parametrize("name", ["ridge_pairs", "drug_neighbour"])
def test_one_drug_alone_is_enough_to_fit(asked, families, name):
    train = np.flatnonzero((families.drug == 0) & (families.line < 20))

    assert np.isfinite(asked(name, families, train, np.flatnonzero(families.line >= 20))).all()


def test_a_new_drug_has_the_mean_of_its_nearest_relatives_weighted_by_similarity(asked, families):
    is_new, alike = families.drug == 1, alike_to_second(families)
    train, test = np.flatnonzero(~is_new & (families.line < 20)), np.flatnonzero(is_new & (families.line >= 20))
    nearest = sorted((0, 2, 3, 4, 5), key=lambda drug: -alike[drug])[:2]
    means = [families.response[train][families.drug[train] == drug].mean() for drug in nearest]

    assert set(nearest) <= {0, 2, 3}
    wanted = np.average(means, weights=alike[nearest])
    np.testing.assert_allclose(asked("drug_neighbour", families, train, test, neighbours=2), wanted)


def test_a_known_line_differs_from_the_mean_as_it_does_with_the_nearest_drugs_that_it_met(asked, families):
    # the first line never met the drug's nearest relative, the second did
    is_new, alike = families.drug == 1, alike_to_second(families)
    first, second = sorted((0, 2, 3), key=lambda drug: -alike[drug])[:2]
    train = np.flatnonzero(~is_new & ~((families.drug == first) & (families.line == 0)))

    def mean(drug):
        return families.response[train][families.drug[train] == drug].mean()

    def response(line, drug):
        return families.response[(families.line == line) & (families.drug == drug)][0]

    predicted = asked("drug_neighbour", families, train, np.flatnonzero(is_new & (families.line < 2)), neighbours=1)
    wanted = [mean(first) + response(0, second) - mean(second), response(1, first)]
    np.testing.assert_allclose(predicted, wanted)


def test_a_known_drug_keeps_its_own_mean_and_a_new_line_adds_nothing(asked, families):
    train = np.flatnonzero(families.line < 20)
    means = [families.response[train][families.drug[train] == drug].mean() for drug in range(6)]

    np.testing.assert_allclose(asked("drug_neighbour", families, train, np.arange(174, 180)), means)


def test_a_new_drug_like_no_other_has_the_plain_mean_of_its_neighbours(asked, families):
    lone = replace(families, smiles=["[Xe]", *families.smiles[1:]])
    train = np.flatnonzero(lone.drug > 0)

    predicted = asked("drug_neighbour", lone, train, np.arange(0, 180, 6), neighbours=5)
    assert predicted.mean() == pytest.approx(lone.response[train].mean())
