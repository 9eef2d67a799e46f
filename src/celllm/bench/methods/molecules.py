"""Structures of drugs as RDKit reads them, and how alike two drugs are.

Shapes: M molecules, N others, F bits of a fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

from celllm.base.errors import InputError

# Morgan fingerprints of radius 2 in 2,048 bits: the usual choice (Rogers & Hahn 2010, doi:10.1021/ci100050t, call
# radius 2 ECFP4).
RADIUS: Final = 2
N_BITS: Final = 2048


def molecule(drug: str, smiles: str) -> Chem.Mol:
    """Read a structure; InputError, naming the drug, if it cannot be read or has no atom."""
    with rdBase.BlockLogs():  # ours names the drug
        read = Chem.MolFromSmiles(smiles) if smiles else None
    if read is None or read.GetNumAtoms() == 0:
        raise InputError(
            file="responses",
            field=f"smiles of drug {drug}",
            expected="a structure that RDKit can read (SMILES)",
            found=repr(smiles),
            remedy="correct the structure in the table of drugs, or drop the drug's rows",
        )
    return read


def fingerprints(drugs: Sequence[str], smiles: Sequence[str]) -> NDArray[np.bool_]:
    """Return Morgan fingerprints, M x F: which surroundings of an atom a molecule holds; errors as of `molecule`."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=N_BITS)
    rows = [generator.GetFingerprintAsNumPy(molecule(drug, text)) for drug, text in zip(drugs, smiles, strict=True)]
    return np.asarray(rows, dtype=np.bool_).reshape(len(rows), N_BITS)


def tanimoto(bits_MF: NDArray[np.bool_], others_NF: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return bits that both have over bits that one of them has, M x N: 1 for equal fingerprints, 0 for strangers.

    As a kernel it is positive semi-definite (Gower 1971, doi:10.2307/2528823).
    """
    left, right = bits_MF.astype(np.float64), others_NF.astype(np.float64)
    common_MN = left @ right.T
    either_MN = left.sum(axis=1)[:, None] + right.sum(axis=1)[None, :] - common_MN
    return np.asarray(np.divide(common_MN, either_MN, out=np.zeros_like(common_MN), where=either_MN > 0))
