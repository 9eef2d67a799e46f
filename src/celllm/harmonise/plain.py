"""Aligned cells without AnnData, whose import takes longer than many methods take to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from scipy import sparse

from celllm.harmonise import cells as cells_file
from celllm.harmonise.vocabulary import Vocabulary


@dataclass(frozen=True)
class PlainCells:
    """Matrix, `obs` and `uns` of aligned cells, by the names that AnnData gives them."""

    X: sparse.csr_matrix
    obs: pd.DataFrame
    uns: Mapping[str, Any]

    @property
    def obs_names(self) -> pd.Index[str]:
        """Ids of the cells."""
        return self.obs.index


def read(path: Path | str, *, vocabulary: Vocabulary | None = None) -> PlainCells:
    """Read and check aligned cells; errors as of `cells.read`."""
    obs = pd.concat(cells_file.obs_pieces(path))
    with h5py.File(path) as file:
        stored = {key: value[()] for key, value in file.get("uns", {}).items()}
        parts = tuple(file["X"][name][:] for name in ("data", "indices", "indptr"))
        matrix = sparse.csr_matrix(parts, shape=tuple(file["X"].attrs["shape"]))
    uns = {key: value.decode() if isinstance(value, bytes) else value for key, value in stored.items()}
    cells = PlainCells(matrix, obs, uns | {"simulated": bool(uns.get("simulated"))})
    cells_file.check(cells, path)
    cells_file.check_vocabulary(uns, None if vocabulary is None else vocabulary.digest, path)
    return cells
