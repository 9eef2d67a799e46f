"""DeepCDR: its network, the check that is kept, its batches; and the drug graphs and structures it hangs on."""

import numpy as np
import pytest
from rdkit import DataStructs
from rdkit.Chem import MolFromSmiles, rdFingerprintGenerator

from celllm.base.errors import InputError
from celllm.bench.methods.deepcdr import DeepCDR
from celllm.bench.methods.drugs import N_ATOM_FEATURES, drug_graphs
from celllm.bench.methods.molecules import fingerprints, tanimoto
from celllm.config.settings import FitBudget

SMILES = ["CC(=O)OC1=CC=CC=C1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C", "CCO", "OCC"]


@pytest.mark.parametrize("select", ["pearson", "rmse"])
def test_the_check_that_is_best_on_the_validation_part_is_kept(made, pairs, divided, select, monkeypatch):
    method, seen = made("deepcdr", epochs=8, batch=16, patience=2, select=select), []
    predict, truth = method.predict, pairs.response[divided.validation]

    def noting(shown, rows):
        predicted = predict(shown, rows)
        is_pearson = select == "pearson"
        seen.append(np.corrcoef(truth, predicted)[0, 1] if is_pearson else -np.sqrt(np.mean((truth - predicted) ** 2)))
        return predicted

    monkeypatch.setattr(method, "predict", noting)
    method.fit(pairs.hiding(divided.test), divided.train, divided.validation)
    n_checks = len(seen)
    method.predict(pairs, divided.validation)

    assert seen[-1] == pytest.approx(max(seen[:n_checks]), abs=1e-5)
    assert max(seen) > min(seen)
    assert method.shown_units == (n_checks - 1) * len(divided.train)  # the first check is before the first batch


def test_without_validation_the_whole_budget_is_used(made, pairs, divided):
    method = made("deepcdr", batch=16)
    method.budget = FitBudget(pairs=130, epochs=30)
    method.fit(pairs, divided.train, divided.none)

    assert method.shown_units == 130


def test_it_has_as_many_weights_as_the_papers_sizes_ask_for():
    graph = (N_ATOM_FEATURES + 1) * 256 + 2 * 257 * 256 + 257 * 100 + 2 * (3 * 256 + 100)
    expression = (697 + 1) * 256 + 2 * 256 + 257 * 100
    joined = 201 * 300 + (150 + 1) * 30 + (30 * 5 + 1) * 10 + (10 * 5 + 1) * 5 + 31

    assert sum(weight.numel() for weight in DeepCDR(697).parameters()) == graph + expression + joined


def test_ethanol_is_three_atoms_and_two_bonds_in_both_directions():
    graphs = drug_graphs(["ethanol"], ["CCO"])

    assert graphs.x.shape == (3, N_ATOM_FEATURES)
    assert sorted(map(tuple, graphs.edge_index.t().tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    # each of the nine features is one-hot
    assert graphs.x.sum(dim=1).tolist() == [9, 9, 9]
    assert graphs.x[:, [6, 8]].tolist() == [[1, 0], [1, 0], [0, 1]]  # carbon, carbon, oxygen


@pytest.mark.parametrize("read", [drug_graphs, fingerprints])
@pytest.mark.parametrize("smiles", ["C1CC(", "", "no structure"])
def test_a_structure_that_cannot_be_read_names_its_drug_and_keeps_the_terminal_clean(read, smiles, capfd):
    with pytest.raises(InputError, match="smiles of drug mystery"):
        read(["ethanol", "mystery"], ["CCO", smiles])

    assert capfd.readouterr().err == ""


def test_similarities_equal_those_of_rdkit_and_spelling_does_not_matter():
    bits = fingerprints("abcde", SMILES)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    references = [generator.GetFingerprint(MolFromSmiles(text)) for text in SMILES]

    wanted = [[DataStructs.TanimotoSimilarity(one, other) for other in references[1:]] for one in references]
    np.testing.assert_allclose(tanimoto(bits, bits[1:]), wanted)
    assert tanimoto(bits[3:4], bits[4:])[0, 0] == 1


def test_strangers_have_similarity_zero_and_so_have_empty_fingerprints():
    bits = np.zeros((2, 8), dtype=bool)
    bits[1, 3] = True

    np.testing.assert_array_equal(tanimoto(bits, bits), [[0, 0], [0, 1]])
