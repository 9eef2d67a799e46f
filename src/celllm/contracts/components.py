"""`pca.safetensors`: principal components of the corpus, mean and directions on the gene axis, JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from celllm.contracts.atomic import writing
from celllm.errors import InputError, VocabularyMismatch

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
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("celllm", "{}"))
            found = header.get("format")
            if found == FORMAT:
                mean_G, components_KG, explained_K = (file.get_tensor(x) for x in ("mean", "components", "explained"))
    except SafetensorError as error:
        found = f"no safetensors file ({error})"
    if found != FORMAT:
        raise InputError(file=path, field="format", expected=FORMAT, found=str(found), remedy=REMEDY)
    if vocabulary is not None and header["vocabulary"] != vocabulary:
        raise VocabularyMismatch(file=path, found=header["vocabulary"], expected=vocabulary, remedy=REMEDY)
    return Components(
        mean_G=mean_G,
        components_KG=components_KG,
        explained_K=explained_K,
        vocabulary=header["vocabulary"],
        n_cells=header["n_cells"],
        provenance=header["provenance"],
    )


def write(components: Components, path: Path | str) -> None:
    """Write components, whole or not at all."""
    header = {
        "format": FORMAT,
        "vocabulary": components.vocabulary,
        "n_cells": components.n_cells,
        "provenance": dict(components.provenance),
    }
    tensors = {
        "mean": components.mean_G,
        "components": components.components_KG,
        "explained": components.explained_K,
    }
    # one entry: safetensors writes several in an order that differs from run to run, and so would the file's digest
    metadata = {"celllm": json.dumps(header, sort_keys=True)}
    with writing(path) as part:
        save_file(
            {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()},
            str(part),
            metadata=metadata,
        )
