import pytest
import torch

from celllm.base.errors import InputError
from celllm.bench.methods.drugs import N_ATOM_FEATURES, DrugEncoder, drug_graphs


def test_ethanol_is_three_atoms_and_two_bonds_in_both_directions():
    graphs = drug_graphs(["ethanol"], ["CCO"])

    assert graphs.x.shape == (3, N_ATOM_FEATURES)
    assert sorted(map(tuple, graphs.edge_index.t().tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    # each of the nine features is one-hot
    assert graphs.x.sum(dim=1).tolist() == [9, 9, 9]
    assert graphs.x[:, [6, 8]].tolist() == [[1, 0], [1, 0], [0, 1]]  # carbon, carbon, oxygen


@pytest.mark.parametrize("smiles", ["C1CC(", "", "no structure"])
def test_a_structure_that_cannot_be_read_names_its_drug_and_keeps_the_terminal_clean(smiles, capfd):
    with pytest.raises(InputError, match="smiles of drug mystery"):
        drug_graphs(["ethanol", "mystery"], ["CCO", smiles])

    assert capfd.readouterr().err == ""


def test_a_drugs_embedding_follows_its_structure_not_its_spelling_or_its_companions():
    torch.manual_seed(0)
    encoder = DrugEncoder(width=8).eval()
    one = encoder(drug_graphs(["a", "b", "c"], ["OCC", "CCO", "CCCl"]))
    alone = encoder(drug_graphs(["b"], ["CCO"]))

    torch.testing.assert_close(one[0], one[1])
    torch.testing.assert_close(one[1], alone[0])
    assert not torch.allclose(one[1], one[2], atol=1e-4)
