"""Cells with genes of several species, as mixtures of human and mouse cells have them: human genes are kept."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import numpy as np

from celllm.sources.readers.cells import RawCells

OTHER: Final = re.compile(
    r"(?i:(?:mm(?:9|10|39)|grcm3[89])[_-]+|(?:rn[5-7]|mratbn[\d.]+|danrer\d+|grcz\d+|dm[36]|bdgp6|rhemac\d+|mmul\d*)_+).+"
    r"|(?:.*_)?ENS[A-Z]{3,4}G\d{11}.*"
)
"""A gene of another species: its genome before the name, as Cell Ranger writes it, or an Ensembl id that is no ENSG."""
PURE: Final = 0.9
"""Share of a cell's molecules from which it is of one species, else `mixed`."""


class HumanGenes:
    """Takes the genes of other species away, piece by piece, and says in `obs` what share of the molecules they had."""

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._human: list[str] = []
        self._is_other = np.empty(0, dtype=bool)

    def of(self, cells: RawCells) -> RawCells:
        """Return the human genes; columns `species` (human, other, mixed) and `other_species`, the others' share.

        Cells whose genes are all of one species stay as they are.
        """
        if cells.names is not self._names:
            self._names = cells.names
            self._is_other = np.array([OTHER.fullmatch(name) is not None for name in cells.names], dtype=bool)
            kept = np.flatnonzero(~self._is_other)
            self._human = [cells.names[i] for i in kept]
        n_other = int(self._is_other.sum())
        if n_other in {0, len(cells.names)}:
            return cells
        human = cells.matrix[:, np.flatnonzero(~self._is_other)]
        total = np.asarray(cells.matrix.sum(axis=1, dtype=np.float64)).ravel()
        share = 1 - np.asarray(human.sum(axis=1, dtype=np.float64)).ravel() / np.maximum(total, 1e-12)
        share[total == 0] = 0
        said = np.select([share <= 1 - PURE, share >= PURE], ["human", "other"], "mixed")
        obs = cells.obs.assign(species=said, other_species=share)
        left_out = {**cells.left_out, "genes of other species": n_other}
        return replace(cells, matrix=human, names=self._human, obs=obs, left_out=left_out)
