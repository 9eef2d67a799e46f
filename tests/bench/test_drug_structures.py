"""Baselines that know drugs by structure: equal to the plain formula, and sensible for what was never met."""

from dataclasses import replace

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.bench.methods.drug_structures import DrugNeighbour, RidgePairs
from celllm.bench.methods.molecules import fingerprints, tanimoto

NOTHING = np.array([], dtype=np.int64)
# Butane to heptane are near relatives; the two acids are of another family.
ALKANES, ACIDS = ["CCCC", "CCCCC", "CCCCCC", "CCCCCCC"], ["OC(=O)c1ccccc1", "OC(=O)c1ccccc1C"]


@pytest.fixture
def families(pairs):
    """Thirty lines and six drugs; a line's response to a family follows one gene, alkanes lie 4 above acids."""
    line, drug = (index.ravel() for index in np.meshgrid(np.arange(30), np.arange(6), indexing="ij"))
    genes = pairs.expression.toarray()
    is_acid = drug >= len(ALKANES)
    return replace(
        pairs,
        drugs=[f"drug{number}" for number in range(6)],
        smiles=ALKANES + ACIDS,
        line=line,
        drug=drug,
        response=4.0 * ~is_acid + genes[line, is_acid.astype(int)],
    )


def _fitted(kind, pairs, train, vocabulary, **options):
    method = kind(options, seed=0, encoder=None, vocabulary=vocabulary)
    shown = pairs.hiding(np.setdiff1d(np.arange(len(pairs.line)), train))
    method.fit(shown, train, NOTHING)
    return method


def test_ridge_on_pairs_equals_the_closed_form_with_the_whole_kernel(families, vocabulary, generator):
    order = generator.permutation(180)
    train, test = order[:100], order[100:]
    method = _fitted(RidgePairs, families, train, vocabulary, alpha=0.7)

    dense = families.expression.toarray().astype(float)
    seen = dense[np.unique(families.line[train])]
    genes = (dense - seen.mean(axis=0)) / seen.std(axis=0)
    bits = fingerprints(families.drugs, families.smiles)
    lines = 1 + genes @ genes.T / genes.shape[1]
    drugs = 1 + tanimoto(bits, bits) + np.eye(6)

    def kernel(left, right):
        line, drug = families.line, families.drug
        return lines[np.ix_(line[left], line[right])] * drugs[np.ix_(drug[left], drug[right])]

    mean = families.response[train].mean()
    weights = np.linalg.solve(kernel(train, train) + 0.7 * np.eye(100), families.response[train] - mean)
    np.testing.assert_allclose(method.predict(families, test), mean + kernel(test, train) @ weights, atol=1e-4)


def test_ridge_on_pairs_tells_lines_apart_for_a_drug_and_lines_it_never_met(families, vocabulary):
    is_new = families.drug == 1
    train, test = np.flatnonzero(~is_new & (families.line < 20)), np.flatnonzero(is_new & (families.line >= 20))
    predicted = _fitted(RidgePairs, families, train, vocabulary, alpha=0.1).predict(families, test)

    assert np.corrcoef(predicted, families.response[test])[0, 1] > 0.3
    assert abs(predicted.mean() - families.response[test].mean()) < 1


def test_a_penalty_of_zero_is_refused(vocabulary):
    with pytest.raises(InputError, match="a number above 0"):
        RidgePairs({"alpha": 0}, seed=0, encoder=None, vocabulary=vocabulary)


@pytest.mark.parametrize("kind", [RidgePairs, DrugNeighbour])
def test_the_order_of_the_training_pairs_does_not_matter(families, vocabulary, kind, generator):
    train, test = np.arange(0, 180, 2), np.arange(1, 180, 2)
    one = _fitted(kind, families, train, vocabulary).predict(families, test)
    other = _fitted(kind, families, generator.permutation(train), vocabulary).predict(families, test)

    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("kind", [RidgePairs, DrugNeighbour])
def test_a_structure_that_cannot_be_read_names_the_drug(families, vocabulary, kind):
    broken = replace(families, smiles=[*families.smiles[:5], "C1CC("])

    with pytest.raises(InputError, match="smiles of drug drug5"):
        _fitted(kind, broken, np.arange(100), vocabulary).predict(broken, np.arange(100, 180))


@pytest.mark.parametrize("kind", [RidgePairs, DrugNeighbour])
def test_one_drug_alone_is_enough_to_fit(families, vocabulary, kind):
    train = np.flatnonzero((families.drug == 0) & (families.line < 20))
    method = _fitted(kind, families, train, vocabulary)

    assert np.isfinite(method.predict(families, np.arange(180))).all()


def test_a_new_drug_has_the_mean_of_its_nearest_relatives_weighted_by_similarity(families, vocabulary):
    is_new = families.drug == 1
    train = np.flatnonzero(~is_new & (families.line < 20))
    method = _fitted(DrugNeighbour, families, train, vocabulary, neighbours=2)

    predicted = method.predict(families, np.flatnonzero(is_new & (families.line >= 20)))

    bits = fingerprints(families.drugs, families.smiles)
    alike = tanimoto(bits, bits)[1]
    nearest = sorted((0, 2, 3, 4, 5), key=lambda drug: -alike[drug])[:2]
    assert set(nearest) <= {0, 2, 3}
    means = [families.response[train][families.drug[train] == drug].mean() for drug in nearest]
    np.testing.assert_allclose(predicted, np.average(means, weights=alike[nearest]))


def test_a_known_line_differs_from_the_mean_as_it_does_with_the_nearest_drugs_that_it_met(families, vocabulary):
    # the first line never met the drug's nearest relative, the second did
    is_new = families.drug == 1
    bits = fingerprints(families.drugs, families.smiles)
    alike = tanimoto(bits, bits)[1]
    first, second = sorted((0, 2, 3), key=lambda drug: -alike[drug])[:2]
    train = np.flatnonzero(~is_new & ~((families.drug == first) & (families.line == 0)))
    method = _fitted(DrugNeighbour, families, train, vocabulary, neighbours=1)

    def mean(drug):
        return families.response[train][families.drug[train] == drug].mean()

    def response(line, drug):
        return families.response[(families.line == line) & (families.drug == drug)][0]

    predicted = method.predict(families, np.flatnonzero(is_new & (families.line < 2)))
    wanted = [mean(first) + response(0, second) - mean(second), response(1, first)]
    np.testing.assert_allclose(predicted, wanted)


def test_a_known_drug_keeps_its_own_mean_and_a_new_line_adds_nothing(families, vocabulary):
    train = np.flatnonzero(families.line < 20)
    predicted = _fitted(DrugNeighbour, families, train, vocabulary).predict(families, np.arange(174, 180))

    means = [families.response[train][families.drug[train] == drug].mean() for drug in range(6)]
    np.testing.assert_allclose(predicted, means)


def test_a_new_drug_like_no_other_has_the_plain_mean_of_its_neighbours(families, vocabulary):
    lone = replace(families, smiles=["[Xe]", *families.smiles[1:]])
    train = np.flatnonzero(lone.drug > 0)
    predicted = _fitted(DrugNeighbour, lone, train, vocabulary, neighbours=5).predict(lone, np.arange(0, 180, 6))

    assert predicted.mean() == pytest.approx(lone.response[train].mean())
