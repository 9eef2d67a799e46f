"""`pca.safetensors`: principal components of the corpus, mean and directions on the gene axis, JSON in the header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celllm.base import tensors

FORMAT = "celllm-components-1"
REMEDY = "fit them again: snakemake --forcerun fit_components"


@dataclass(frozen=True)
class Components:
    """What the file holds; K components, G genes.

    Parameters
    ----------
    mean_G
        Mean log-normalised expression of each gene over the corpus.
    components_KG
        Orthonormal directions, of falling variance.
    explained_K
        Share of the corpus's variance along each.
    vocabulary
        Digest of the gene axis.
    n_cells
        Cells of the corpus.
    provenance
        What made it.
    """

    mean_G: NDArray[np.float32]
    components_KG: NDArray[np.float32]
    explained_K: NDArray[np.float32]
    vocabulary: str
    n_cells: int
    provenance: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path | str, *, vocabulary: str | None = None) -> Components:
    """Read components.

    Parameters
    ----------
    path
        The file.
    vocabulary
        Digest they must have been fitted for; None: any.

    Raises
    ------
    InputError
        If the file holds no components.
    VocabularyMismatch
        If its genes are others than those of `vocabulary`.
    """
    header, found = tensors.read(path, form=FORMAT, remedy=REMEDY, vocabulary=vocabulary)
    return Components(
        mean_G=found["mean"],
        components_KG=found["components"],
        explained_K=found["explained"],
        vocabulary=header["vocabulary"],
        n_cells=header["n_cells"],
        provenance=header["provenance"],
    )


def write(components: Components, path: Path | str) -> None:
    """Write components, whole or not at all."""
    header = {
        "vocabulary": components.vocabulary,
        "n_cells": components.n_cells,
        "provenance": dict(components.provenance),
    }
    arrays = {
        "mean": components.mean_G,
        "components": components.components_KG,
        "explained": components.explained_K,
    }
    tensors.write(
        path,
        form=FORMAT,
        header=header,
        tensors={name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()},
    )
