"""`embedding.safetensors`: a vector a gene, tensor `genes` (n_genes x width, float32), JSON in the header."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celllm.base import tensors

FORMAT = "celllm-genes-1"
REMEDY = "rebuild it: snakemake --forcerun embed_genes"


@dataclass(frozen=True)
class GeneEmbedding:
    """What the file holds."""

    genes_GD: NDArray[np.float32]
    """Row i belongs to gene i of the vocabulary; no rows for CLS and PAD."""
    vocabulary: str
    """Its digest."""
    method: str
    """The recipe's `genes.method`."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """How it went: genes without edges or without a vector, loss of each epoch."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Sha256 of vocabulary and numbers, in hex; what made them, and when, does not count."""
        return hashlib.sha256(self.vocabulary.encode() + self.genes_GD.tobytes()).hexdigest()


def read(path: Path | str, *, vocabulary: str | None = None) -> GeneEmbedding:
    """Read a gene embedding, made for the vocabulary of this digest (None: any); errors as of `base.tensors.read`."""
    header, found = tensors.read(path, form=FORMAT, remedy=REMEDY, vocabulary=vocabulary)
    del header["format"]
    return GeneEmbedding(genes_GD=found["genes"], **header)


def write(embedding: GeneEmbedding, path: Path | str) -> None:
    """Write a gene embedding, whole or not at all."""
    header = asdict(embedding)
    genes_GD = np.asarray(header.pop("genes_GD"), dtype=np.float32)
    tensors.write(path, form=FORMAT, header=header, tensors={"genes": genes_GD})
