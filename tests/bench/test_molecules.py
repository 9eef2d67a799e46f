import numpy as np
import pytest
from rdkit import DataStructs
from rdkit.Chem import MolFromSmiles, rdFingerprintGenerator

from celllm.base.errors import InputError
from celllm.bench.methods.molecules import fingerprints, tanimoto

SMILES = ["CCO", "CC(=O)OC1=CC=CC=C1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "OCC"]


def test_similarities_equal_those_of_rdkit():
    bits = fingerprints(["a", "b", "c", "d"], SMILES)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    references = [generator.GetFingerprint(MolFromSmiles(text)) for text in SMILES]

    wanted = [[DataStructs.TanimotoSimilarity(one, other) for other in references[1:]] for one in references]
    np.testing.assert_allclose(tanimoto(bits, bits[1:]), wanted)


def test_two_ways_to_write_a_structure_are_one_structure():
    bits = fingerprints(["a", "d"], [SMILES[0], SMILES[3]])

    assert tanimoto(bits[:1], bits[1:])[0, 0] == 1


def test_strangers_have_similarity_zero_and_so_have_empty_fingerprints():
    none = np.zeros((1, 8), dtype=bool)
    one = none.copy()
    one[0, 3] = True

    np.testing.assert_array_equal(tanimoto(np.vstack([none, one]), np.vstack([none, one])), [[0, 0], [0, 1]])


@pytest.mark.parametrize("broken", ["C1CC(", "", "not a structure"])
def test_a_structure_that_cannot_be_read_names_the_drug(broken):
    with pytest.raises(InputError, match="smiles of drug erlotinib"):
        fingerprints(["fine", "erlotinib"], ["C", broken])
