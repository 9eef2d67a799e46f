"""Which structures are one compound."""

import numpy as np
import pytest

from celllm.splits.compounds import compounds

ERLOTINIB = "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(ERLOTINIB, f"{ERLOTINIB}.Cl", id="salt"),
        pytest.param("CC(=O)[O-].[Na+]", "CC(O)=O", id="charge"),
        pytest.param("C[C@H](N)C(=O)O", "CC(N)C(=O)O", id="stereo"),
        pytest.param("OCC", "CCO", id="spelling"),
    ],
)
def test_salts_charges_stereo_and_spelling_make_no_other_compound(one, other):
    found = compounds(np.array([one, other, "c1ccccc1", one]))

    assert found[0] == found[1] == found[3] == min(one, other)
    assert found[2] == "c1ccccc1"


def test_a_structure_that_cannot_be_read_is_a_compound_of_its_own():
    assert compounds(np.array(["s", "t", "s"])).tolist() == ["s", "t", "s"]
