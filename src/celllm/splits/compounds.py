"""Which structures are one compound: salts, charges and stereochemistry aside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize


def compounds(smiles: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return for each structure the first, by text, of those with its parent molecule.

    The parent is the largest fragment, uncharged and without stereochemistry: catalogues give one compound as several
    salts, and leave stereo marks out. A structure that RDKit cannot read is a compound of its own.
    """
    different, of_each = np.unique(smiles, return_inverse=True)
    first: dict[str, str] = {}
    with rdBase.BlockLogs():
        names = [first.setdefault(_parent(text), text) for text in different.tolist()]
    return np.array(names, dtype=str)[of_each]


def _parent(smiles: str) -> str:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        return smiles
    return str(Chem.MolToSmiles(rdMolStandardize.ChargeParent(molecule), isomericSmiles=False))
